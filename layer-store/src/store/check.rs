//! Finds what the disk lost.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;

use super::collect::names;
use crate::digest::Hasher;
use crate::error::IoContext as _;
use crate::store::graph::Closure;
use crate::store::writing::fresh_name;
use crate::{Digest, Error, Index, Result, Store};

/// Something in the store that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "problem")]
#[non_exhaustive]
pub enum Problem {
    /// A blob's bytes are not those that its name says.
    DamagedBlob {
        /// Its name.
        digest: Digest,
        /// What its bytes hash to.
        actual: Digest,
    },
    /// A named image lacks a document, or a document is damaged or malformed.
    DamagedImage {
        /// The image.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A layer's index is malformed or its checksum is wrong.
    DamagedIndex {
        /// The layer.
        diff_id: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A layer's bytes do not give its diffID. Found by a deep check.
    DamagedLayer {
        /// The layer.
        diff_id: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A file whose name does not belong where it is.
    StrayFile {
        /// Its path below the store.
        path: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedBlob { digest, actual } => {
                write!(f, "the bytes of blob {digest} are damaged: they are {actual}")
            }
            Self::DamagedImage { name, reason } => write!(f, "image `{name}` is damaged: {reason}"),
            Self::DamagedIndex { diff_id, reason } => {
                write!(f, "the index of layer {diff_id} is damaged: {reason}")
            }
            Self::DamagedLayer { diff_id, reason } => {
                write!(f, "the files of layer {diff_id} are damaged: {reason}")
            }
            Self::StrayFile { path } => write!(f, "`{path}` does not belong here"),
        }
    }
}

impl Store {
    /// Reads every blob and every layer's index and says which are damaged, and which named images are; `deep` also
    /// reads the bytes of every layer. Changes nothing. Costs as much as reading the store once, twice if deep.
    ///
    /// # Errors
    ///
    /// Only what kept it from looking; what it finds is in the result.
    pub fn check(&self, deep: bool) -> Result<Vec<Problem>> {
        let _in_use = self.in_use()?;
        let mut problems = Vec::new();
        self.check_blobs(&mut problems)?;
        self.check_layers(deep, &mut problems)?;
        self.check_images(&mut problems)?;
        Ok(problems)
    }

    /// Takes away what is damaged, so that it is made again from what is left, or fetched again: blobs, and the forms
    /// of layers beside their blobs. Returns how many things were removed.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while anybody holds [`Store::in_use`].
    pub fn repair(&self, problems: &[Problem]) -> Result<usize> {
        let Some(_alone) = self.alone()? else { return Err(Error::Busy) };
        let mut removed = 0;
        for problem in problems {
            match problem {
                Problem::DamagedBlob { digest, .. } => self.remove_all(&self.blob_path(digest))?,
                Problem::DamagedIndex { diff_id, .. } | Problem::DamagedLayer { diff_id, .. } => {
                    self.forget_forms(diff_id)?;
                }
                Problem::DamagedImage { .. } | Problem::StrayFile { .. } => continue,
            }
            removed += 1;
        }
        self.refresh_layout()?;
        Ok(removed)
    }

    /// Removes a layer's forms; which blobs hold it stays known.
    fn forget_forms(&self, diff_id: &Digest) -> Result<()> {
        self.indexes.forget(diff_id);
        let directory = self.layer_dir(diff_id);
        let aside = self.root.join("tmp").join(format!("{}.dead", fresh_name()));
        match std::fs::rename(&directory, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context("rename", directory),
        }
        if aside.join("blobs").exists() {
            std::fs::create_dir(&directory).context("create", &directory)?;
            std::fs::rename(aside.join("blobs"), directory.join("blobs")).context("rename", &directory)?;
        }
        self.remove_all(&aside)
    }

    fn check_blobs(&self, problems: &mut Vec<Problem>) -> Result<()> {
        for name in names(&self.root.join("blobs/sha256"))? {
            match Digest::from_hex(&name) {
                Ok(digest) => {
                    let actual = hash(&self.blob_path(&digest))?;
                    // A collection cannot run meanwhile, but a blob may be replaced by an equal one.
                    if actual.is_some_and(|actual| actual != digest) {
                        problems.extend(actual.map(|actual| Problem::DamagedBlob { digest, actual }));
                    }
                }
                Err(_) => problems.push(Problem::StrayFile { path: format!("blobs/sha256/{name}") }),
            }
        }
        Ok(())
    }

    fn check_layers(&self, deep: bool, problems: &mut Vec<Problem>) -> Result<()> {
        for name in names(&self.root.join("layers"))? {
            let Ok(diff_id) = Digest::from_hex(&name) else {
                problems.push(Problem::StrayFile { path: format!("layers/{name}") });
                continue;
            };
            let path = self.layer_dir(&diff_id).join("index");
            // From disk, not from what this process has in memory.
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context("read", path),
            };
            if let Err(error) = Index::decode(&bytes) {
                problems.push(Problem::DamagedIndex { diff_id, reason: error.to_string() });
            } else if deep && self.has_bytes(&diff_id) {
                let mut sink = Sink(Hasher::default());
                let reason = match self.write_tar(&diff_id, &mut sink) {
                    Ok(()) => Some(sink.0.finish())
                        .filter(|actual| *actual != diff_id)
                        .map(|actual| format!("they make {actual}")),
                    Err(error) => Some(error.to_string()),
                };
                problems.extend(reason.map(|reason| Problem::DamagedLayer { diff_id, reason }));
            }
        }
        Ok(())
    }

    fn check_images(&self, problems: &mut Vec<Problem>) -> Result<()> {
        for record in self.images()? {
            let platforms = record.platforms.iter();
            let tops = platforms.flat_map(|image| [Some(&image.config), image.manifest.as_ref()]);
            for top in tops.chain([record.index.as_ref()]).flatten() {
                let reason = match self.closure(top) {
                    // Layers may be elsewhere, documents may not.
                    Ok(Closure { missing, .. }) if missing.iter().any(|one| one.digest == top.digest) => {
                        Some(format!("{} {} is missing", top.media_type, top.digest))
                    }
                    Ok(_) => None,
                    Err(error @ Error::Io { .. }) => return Err(error),
                    Err(error) => Some(error.to_string()),
                };
                let name = record.name.clone();
                problems.extend(reason.map(|reason| Problem::DamagedImage { name, reason }));
            }
        }
        Ok(())
    }
}

/// The digest of a file; `None` if it is gone.
fn hash(path: &Path) -> Result<Option<Digest>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("open", path),
    };
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).context("read", path)? {
            0 => return Ok(Some(hasher.finish())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Keeps nothing but the digest.
struct Sink(Hasher);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ImageRecord, PlatformImage};
    use crate::{Descriptor, StoreOptions};

    #[test]
    fn a_flipped_bit_is_found_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let good = store.put_blob(b"good").unwrap();
        let bad = store.put_blob(b"bad").unwrap();
        assert_eq!(store.check(false).unwrap(), []);
        std::fs::remove_file(store.blob_path(&bad)).unwrap();
        std::fs::write(store.blob_path(&bad), b"bae").unwrap();
        std::fs::write(dir.path().join("blobs/sha256/notes.txt"), b"").unwrap();
        let layer = Digest::of(b"layer");
        store.remember_blob(&layer, &Descriptor::new("x", good, 4)).unwrap();
        std::fs::write(store.layer_dir(&layer).join("index"), b"no index").unwrap();
        let platform = PlatformImage { config: Descriptor::new("x", layer, 5), manifest: None, origin: None };
        let (name, tagged) = ("app:1".to_owned(), "2026-01-01T00:00:00Z".to_owned());
        store.tag(&ImageRecord { name, platforms: vec![platform], index: None, tagged }).unwrap();

        let problems = store.check(true).unwrap();
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 4, "{texts:?}");
        assert!(problems.contains(&Problem::DamagedBlob { digest: bad, actual: Digest::of(b"bae") }));
        assert!(texts.contains(&"`blobs/sha256/notes.txt` does not belong here".to_owned()));
        assert!(texts.iter().any(|text| text.starts_with("image `app:1` is damaged")), "{texts:?}");
        assert!(texts.iter().any(|text| text.starts_with("the index of layer")), "{texts:?}");
        assert_eq!(store.repair(&problems).unwrap(), 2);
        assert_eq!(store.check(true).unwrap().len(), 2);
        assert_eq!(store.known_blobs(&layer).unwrap().len(), 1);
        assert_eq!(store.read_blob(&good, 4).unwrap(), b"good");
    }
}
