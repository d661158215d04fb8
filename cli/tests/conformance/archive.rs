//! Archives out of lines, packed as the name's end says.

use std::io::Write as _;

use crate::entry::{Entry, Kind};

/// A tar of these entries, in their order; no parents are added.
pub(crate) fn tar(entries: &[Entry]) -> Result<Vec<u8>, String> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        // A hard link's header repeats what its file is, and who unpacks may set it again.
        let described = match &entry.kind {
            Kind::Hard(target) => entries.iter().find(|other| other.path == *target).unwrap_or(entry),
            _ => entry,
        };
        append(&mut tar, entry, described).map_err(|error| format!("{}: {error}", entry.path))?;
    }
    tar.into_inner().map_err(|error| error.to_string())
}

fn append(tar: &mut tar::Builder<Vec<u8>>, entry: &Entry, described: &Entry) -> std::io::Result<()> {
    let xattrs = entry.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value));
    let records: Vec<_> = xattrs.collect();
    tar.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), value.as_slice())))?;
    let content = entry.content.as_deref().unwrap_or_default();
    let mut header = tar::Header::new_gnu();
    header.set_mode(described.mode);
    let (uid, gid) = described.owner.unwrap_or((0, 0));
    header.set_uid(u64::from(uid));
    header.set_gid(u64::from(gid));
    header.set_mtime(described.mtime.unwrap_or(1_700_000_000));
    header.set_size(content.len() as u64);
    let kind = match &entry.kind {
        Kind::File => tar::EntryType::Regular,
        Kind::Directory => tar::EntryType::Directory,
        Kind::Fifo => tar::EntryType::Fifo,
        Kind::Symlink(_) => tar::EntryType::Symlink,
        Kind::Hard(_) => tar::EntryType::Link,
        Kind::Character(major, minor) | Kind::Block(major, minor) => {
            header.set_device_major(*major)?;
            header.set_device_minor(*minor)?;
            if matches!(entry.kind, Kind::Block(..)) { tar::EntryType::Block } else { tar::EntryType::Char }
        }
        Kind::Socket | Kind::Gone => return Err(std::io::Error::other("a tar cannot hold this")),
    };
    header.set_entry_type(kind);
    match &entry.kind {
        Kind::Symlink(target) | Kind::Hard(target) => tar.append_link(&mut header, &entry.path, target),
        _ if entry.path.contains("..") || entry.path.starts_with('/') => {
            // A name that a careful writer refuses is what the case is about.
            let name = entry.path.as_bytes();
            let field = &mut header.as_old_mut().name;
            field.fill(0);
            field[..name.len()].copy_from_slice(name);
            header.set_cksum();
            tar.append(&header, content)
        }
        _ => tar.append_data(&mut header, &entry.path, content),
    }
}

/// Packs bytes as the name's end says; other names stay as they are.
pub(crate) fn pack(name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let packed = match name.rsplit('.').next().unwrap_or_default() {
        "gz" | "tgz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&bytes).and_then(|()| encoder.finish())
        }
        "bz2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(&bytes).and_then(|()| encoder.finish())
        }
        "xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(&bytes).and_then(|()| encoder.finish())
        }
        "zst" => zstd::stream::encode_all(bytes.as_slice(), 3),
        _ => Ok(bytes),
    };
    packed.map_err(|error| format!("{name}: {error}"))
}
