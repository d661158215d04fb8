//! Headers of archives that hold an image, which say nothing about who wrote them.

use std::io::Write;

use tar::{EntryType, Header};

use crate::{Error, Result};

/// Begins a regular file; its `size` bytes and [`pad`] have to follow.
pub(crate) fn file(output: &mut dyn Write, path: &str, size: u64) -> Result<()> {
    header(output, path, EntryType::Regular, 0o644, size)
}

/// A directory.
pub(crate) fn directory(output: &mut dyn Write, path: &str) -> Result<()> {
    header(output, path, EntryType::Directory, 0o755, 0)
}

/// A small file with its bytes.
pub(crate) fn whole_file(output: &mut dyn Write, path: &str, bytes: &[u8]) -> Result<()> {
    let size = bytes.len() as u64;
    file(output, path, size)?;
    output.write_all(bytes).map_err(|source| Error::Write { source })?;
    pad(output, size)
}

/// Fills up the last block of a file of `size` bytes.
pub(crate) fn pad(output: &mut dyn Write, size: u64) -> Result<()> {
    let missing = (512 - size % 512) % 512;
    output.write_all(&[0; 512][..missing as usize]).map_err(|source| Error::Write { source })
}

/// Ends the archive.
pub(crate) fn end(output: &mut dyn Write) -> Result<()> {
    output.write_all(&[0; 1024]).and_then(|()| output.flush()).map_err(|source| Error::Write { source })
}

fn header(output: &mut dyn Write, path: &str, kind: EntryType, mode: u32, size: u64) -> Result<()> {
    let mut header = Header::new_ustar();
    // Paths are ours, ASCII and at most 80 bytes, which fit.
    header.set_path(path).map_err(|source| Error::Write { source })?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    // Past 8 GiB this is GNU's binary form, which every reader of layouts knows.
    header.set_size(size);
    header.set_cksum();
    output.write_all(header.as_bytes()).map_err(|source| Error::Write { source })
}
