//! Reads a layout from a directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::write::blob_name;
use crate::error::IoContext as _;
use crate::manifest::ManifestContent;
use crate::store::graph::{Closure, MANIFEST_LIMIT};
use crate::store::root_layout::check_marker;
use crate::{Descriptor, Digest, Error, Manifest, Result, Store};

/// A layout in a directory. What it holds is not trusted: all that is taken from it is verified.
#[derive(Debug)]
pub struct LayoutDirectory {
    pub(super) path: PathBuf,
    pub(super) descriptors: Vec<Descriptor>,
}

impl LayoutDirectory {
    /// Reads the layout's two documents.
    ///
    /// # Errors
    ///
    /// `path` holds no layout, one of a version that is not 1.0.0, or an index that is malformed.
    pub fn open(path: &Path) -> Result<Self> {
        let malformed = |reason: &str| Error::Malformed {
            what: "OCI layout",
            reason: format!("{reason}, in `{}`", path.display()),
        };
        let index = read_index(path)?.ok_or_else(|| malformed("there is no oci-layout file"))?;
        let ManifestContent::Index { manifests: descriptors, .. } = index.content else {
            return Err(malformed("index.json is not an index"));
        };
        Ok(Self { path: path.to_owned(), descriptors })
    }

    /// The images that it names, in its order. Names are in their annotations.
    #[must_use]
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }

    /// Takes `top`, which need not be one of [`LayoutDirectory::descriptors`], and all that it leads to into the
    /// store. An index may lead to images that are not in the layout.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when something else is not in the layout, [`Error::DigestMismatch`] or
    /// [`Error::SizeMismatch`] when it is not what it should be.
    pub fn import(&self, store: &Store, top: &Descriptor) -> Result<()> {
        self.take(store, top)?;
        // What a manifest names is known once it is here, so this goes a level deeper each time.
        let mut tried = 0;
        loop {
            let Closure { missing, elsewhere, .. } = store.closure(top)?;
            let wanted = missing.len() + elsewhere.len();
            let mut taken = 0;
            for blob in missing.iter().chain(&elsewhere) {
                taken += usize::from(self.take(store, blob)?);
            }
            tried += 1;
            if taken == 0 || wanted == 0 || tried > 16 {
                return store.complete_closure(top).map(drop);
            }
        }
    }

    /// The bytes of a blob, for documents; `None` where the layout does not have it. They are not verified.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when there are more than `limit`.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(blob_name(&Descriptor::new("", *digest, 0)));
        let Some(file) = open_regular(&path)? else { return Ok(None) };
        read_at_most(file, limit, &path).map(Some)
    }

    /// Takes one blob, if the layout has it.
    fn take(&self, store: &Store, blob: &Descriptor) -> Result<bool> {
        let path = self.path.join(blob_name(blob));
        let Some(mut file) = open_regular(&path)? else { return Ok(false) };
        store.take_in(blob, &mut file)?;
        Ok(true)
    }
}

/// The index of the layout at `path`; `None` where there is nothing like a layout.
pub(super) fn read_index(path: &Path) -> Result<Option<Manifest>> {
    let Some(marker) = read_small(&path.join("oci-layout"))? else { return Ok(None) };
    check_marker(&marker)?;
    let name = path.join("index.json");
    match read_small(&name)? {
        Some(bytes) => parse_index(bytes).map(Some),
        None => Err(io::Error::from(io::ErrorKind::NotFound)).context("open", name),
    }
}

/// Reads an `index.json`, which has to be an image index for the specification's own types as well.
pub(crate) fn parse_index(bytes: Vec<u8>) -> Result<Manifest> {
    oci_spec::image::ImageIndex::from_reader(&bytes[..])
        .map_err(|error| Error::Malformed { what: "index.json", reason: error.to_string() })?;
    Manifest::parse(bytes, None)
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    let Some(file) = open_regular(path)? else { return Ok(None) };
    read_at_most(file, MANIFEST_LIMIT, path).map(Some)
}

fn read_at_most(file: File, limit: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).context("read", path)?;
    if bytes.len() as u64 > limit {
        let reason = format!("`{}` is larger than {limit} bytes", path.display());
        return Err(Error::Malformed { what: "OCI layout", reason });
    }
    Ok(bytes)
}

/// Symlinks are followed, since build systems make layouts of them, and content is verified anyway; a pipe or device
/// is not opened for long.
pub(super) fn open_regular(path: &Path) -> Result<Option<File>> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error).context("open", path),
    };
    if !file.metadata().context("stat", path)?.is_file() {
        let reason = format!("`{}` is no regular file", path.display());
        return Err(Error::Malformed { what: "OCI layout", reason });
    }
    Ok(Some(file))
}
