//! Finds what the disk lost.

mod image;
mod problem;
mod repair;
#[cfg(test)]
mod tests;
mod tree;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

use super::TreeKind;
use super::collect::names;
use crate::digest::{Hasher, HashingWriter};
use crate::error::IoContext as _;
use crate::{Digest, Index, Result, Store};

pub use problem::Problem;
pub use repair::{Remedy, Repaired};

/// What a check looked at and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    /// Blobs that were read.
    pub blobs: u64,
    /// Layers whose index, tar and trees were read.
    pub layers: u64,
    /// Named images that were followed.
    pub images: u64,
    /// Records that were read.
    pub records: u64,
    /// Bytes that were read, of files as they are on disk.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

impl Store {
    /// Reads everything that the store holds and compares it with what it was when it was put there: blobs with their
    /// names, indexes with the digest at their end, tars with their diffIDs, each file of a tree with its checksum in
    /// the index, records with their checksums; and follows the named images. Changes nothing. Costs as much as
    /// reading the store once.
    ///
    /// # Errors
    ///
    /// Only what kept it from looking; what it finds is in the result.
    pub fn check(&self) -> Result<Checked> {
        let _in_use = self.in_use()?;
        let mut checked = Checked::default();
        self.check_blobs(&mut checked)?;
        self.check_layers(&mut checked)?;
        self.check_records(&mut checked)?;
        self.check_images(&mut checked)?;
        Ok(checked)
    }

    fn check_blobs(&self, checked: &mut Checked) -> Result<()> {
        for name in names(&self.root.join("blobs/sha256"))? {
            let Ok(digest) = Digest::from_hex(&name) else {
                checked.problems.push(Problem::StrayFile { path: format!("blobs/sha256/{name}") });
                continue;
            };
            // Gone, where it was replaced or collected meanwhile.
            let Some((actual, bytes)) = hash(&self.blob_path(&digest))? else { continue };
            checked.blobs += 1;
            checked.bytes += bytes;
            if actual != digest {
                checked.problems.push(Problem::DamagedBlob { digest, actual });
            }
        }
        Ok(())
    }

    fn check_layers(&self, checked: &mut Checked) -> Result<()> {
        for name in names(&self.root.join("layers"))? {
            match Digest::from_hex(&name) {
                Ok(diff_id) => self.check_layer(&diff_id, checked)?,
                Err(_) => checked.problems.push(Problem::StrayFile { path: format!("layers/{name}") }),
            }
        }
        Ok(())
    }

    fn check_layer(&self, diff_id: &Digest, checked: &mut Checked) -> Result<()> {
        let diff_id = *diff_id;
        if let Err(error) = self.blob_records(&diff_id) {
            checked.problems.push(Problem::DamagedList { diff_id, reason: error.to_string() });
        }
        if let Some((actual, bytes)) = hash(&self.tar_path(&diff_id))? {
            checked.bytes += bytes;
            if actual != diff_id {
                checked.problems.push(Problem::DamagedTar { diff_id, actual });
            }
        }
        let path = self.index_path(&diff_id);
        // From disk, not from what this process has in memory.
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context("read", path),
        };
        checked.layers += 1;
        checked.bytes += bytes.len() as u64;
        let index = match Index::decode(&bytes) {
            Ok(index) => index,
            Err(error) => {
                checked.problems.push(Problem::DamagedIndex { diff_id, reason: error.to_string() });
                return Ok(());
            }
        };
        let trees = self.tree_places(&diff_id).into_iter().filter(|(_, _, marker)| marker.exists());
        for (kind, place, _) in trees {
            checked.bytes += index.content_size();
            if let Some(reason) = self.tree_damage(&diff_id, kind, &place, &index)? {
                checked.problems.push(Problem::DamagedTree { diff_id, reason });
            }
        }
        for (place, marker) in self.patches(&diff_id)? {
            let bytes = std::fs::read(&marker).context("read", &marker)?;
            let damage = match Index::decode(&bytes) {
                Ok(index) => self.tree_damage(&diff_id, TreeKind::default(), &place, &index)?,
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = damage {
                checked.problems.push(Problem::DamagedTree { diff_id, reason });
            }
        }
        Ok(())
    }

    fn check_records(&self, checked: &mut Checked) -> Result<()> {
        for space in self.record_spaces()? {
            for key in self.record_keys(&space)? {
                checked.records += 1;
                if self.record_is_damaged(&space, &key)? {
                    checked.problems.push(Problem::DamagedRecord { space: space.clone(), key });
                }
            }
        }
        Ok(())
    }

    /// Whether the tree gives the canonical tar, for files of which no checksum is known.
    fn gives_its_tar(&self, diff_id: &Digest) -> Result<bool> {
        let mut output = HashingWriter::new(io::sink());
        Ok(self.write_tar(diff_id, &mut output).is_ok() && output.finish().1 == *diff_id)
    }
}

/// The digest and length of a file; `None` if it is gone.
fn hash(path: &Path) -> Result<Option<(Digest, u64)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("open", path),
    };
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).context("read", path)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    let bytes = hasher.bytes();
    Ok(Some((hasher.finish(), bytes)))
}
