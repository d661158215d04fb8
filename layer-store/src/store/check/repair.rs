//! Takes away what is damaged, and makes it again from what is left.

use std::fs::File;
use std::io::{self, BufReader, Read};

use serde::Serialize;

use super::Problem;
use super::names;
use crate::error::IoContext as _;
use crate::layer::{Form, KnownBlob, Limits, Origin, TarLimits};
use crate::store::writing::fresh_name;
use crate::{Digest, Error, Result, Store, View};

/// What became of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remedy {
    /// It was made again, and is what it was.
    Made,
    /// It was removed. It is made again from another form of the layer when somebody needs it.
    Removed,
    /// It was removed, and nothing here can give it again: it is fetched when it is needed, or the step that made it
    /// runs again.
    Lost,
    /// Nothing was done: what is left of it is for the user to judge.
    Left,
}

/// A problem and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
    /// What became of it.
    pub remedy: Remedy,
}

impl Store {
    /// Takes away what is damaged, and makes it again where another form of it is left. What is lost is known to be
    /// lost: the next build or push fetches it or runs its step, and never sees the damaged bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] while anybody holds [`Store::in_use`].
    pub fn repair(&self, problems: &[Problem]) -> Result<Vec<Repaired>> {
        let Some(_alone) = self.alone()? else { return Err(Error::Busy) };
        // First everything that is damaged goes, so that nothing is made from it.
        for problem in problems {
            self.take_away(problem)?;
        }
        let mut repaired = Vec::with_capacity(problems.len());
        for problem in problems {
            let remedy = self.make_good(problem)?;
            repaired.push(Repaired { problem: problem.clone(), remedy });
        }
        self.refresh_layout()?;
        Ok(repaired)
    }

    fn take_away(&self, problem: &Problem) -> Result<()> {
        match problem {
            Problem::DamagedBlob { digest, .. } => self.remove_all(&self.blob_path(digest)),
            Problem::DamagedIndex { diff_id, .. } => {
                self.indexes.forget(diff_id);
                self.remove_all(&self.index_path(diff_id))
            }
            Problem::DamagedTar { diff_id, .. } => self.remove_all(&self.tar_path(diff_id)),
            Problem::DamagedTree { diff_id, .. } => self.forget_trees(diff_id),
            Problem::DamagedList { diff_id, .. } => self.remove_all(&self.layer_dir(diff_id).join("blobs")),
            Problem::DamagedRecord { space, key } => self.remove_record(space, key).map(drop),
            Problem::DamagedName { key } => {
                self.remove_all(&self.root.join("images").join(format!("{}.json", key.hex())))
            }
            Problem::DamagedImage { .. } | Problem::StrayFile { .. } => Ok(()),
        }
    }

    fn make_good(&self, problem: &Problem) -> Result<Remedy> {
        Ok(match problem {
            Problem::DamagedBlob { digest, .. } if self.compress_again(digest)? => Remedy::Made,
            Problem::DamagedBlob { .. }
            | Problem::DamagedRecord { .. }
            | Problem::DamagedList { .. }
            | Problem::DamagedName { .. } => Remedy::Lost,
            Problem::DamagedIndex { diff_id, .. } if self.index_again(diff_id)? => Remedy::Made,
            Problem::DamagedTar { diff_id, .. } | Problem::DamagedTree { diff_id, .. }
                if self.has_bytes(diff_id) =>
            {
                Remedy::Removed
            }
            Problem::DamagedIndex { diff_id, .. }
            | Problem::DamagedTar { diff_id, .. }
            | Problem::DamagedTree { diff_id, .. } => {
                self.forget_forms(diff_id)?;
                Remedy::Lost
            }
            Problem::DamagedImage { .. } | Problem::StrayFile { .. } => Remedy::Left,
        })
    }

    /// Makes a blob that was compressed here once more; whether that gave the same.
    fn compress_again(&self, digest: &Digest) -> Result<bool> {
        for name in names(&self.root.join("layers"))? {
            let Ok(diff_id) = Digest::from_hex(&name) else { continue };
            for KnownBlob { descriptor, made_by } in self.blob_records(&diff_id).unwrap_or_default() {
                if descriptor.digest == *digest
                    && let Origin::Here { compression, .. } = made_by
                {
                    let mut same = false;
                    let made = self.layer_blob(&diff_id, compression, true);
                    done(made.map(|made| same = made.digest == *digest))?;
                    return Ok(same);
                }
            }
        }
        Ok(false)
    }

    /// Makes a layer's index once more from its tar, a blob or its tree.
    fn index_again(&self, diff_id: &Digest) -> Result<bool> {
        let again = |source: &mut dyn Read| {
            done(self.apply_locked(source, diff_id, Form::Index, Limits::default(), TarLimits::default()))
        };
        if self.has_tar(diff_id) {
            let path = self.tar_path(diff_id);
            if again(&mut File::open(&path).context("open", path)?)? {
                return Ok(true);
            }
        }
        if let Some(blob) = self.local_blob(diff_id)?
            && again(&mut BufReader::with_capacity(1 << 18, self.open_blob(&blob)?))?
        {
            return Ok(true);
        }
        if !self.has_tree(diff_id) {
            return Ok(false);
        }
        // Where the tree has all that the index had: a layer without whiteouts, on a disk that keeps owners.
        let (tree, below) = (self.tree_path(diff_id), View::default());
        let Ok(found) = self.commit_whole(&tree, &below, &Default::default(), None, Form::Index) else {
            return Ok(false);
        };
        if found != *diff_id && !self.has_bytes(&found) {
            self.forget_forms(&found)?;
        }
        Ok(found == *diff_id)
    }

    /// Removes a layer's trees; markers first.
    fn forget_trees(&self, diff_id: &Digest) -> Result<()> {
        let mut places = Vec::new();
        for (_, place, marker) in self.tree_places(diff_id) {
            self.remove_all(&marker)?;
            places.push(place);
        }
        for (place, marker) in self.patches(diff_id)? {
            self.remove_all(&marker)?;
            places.push(place);
        }
        places.iter().try_for_each(|place| self.remove_all(place))
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
}

/// Whether something could be made. A system call that failed says nothing about that: the disk may be full.
fn done(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error @ Error::Io { .. }) if is_of_the_system(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

fn is_of_the_system(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.raw_os_error().is_some())
}
