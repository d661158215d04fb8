//! Names and the images that have them.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::records::{with_sum, without_sum};
use super::writing::Sync;
use crate::error::IoContext as _;
use crate::{Descriptor, Digest, Error, Result, Store};

/// An image by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The canonical name, `docker.io/library/app:1.0` for instance.
    pub name: String,
    /// One for each platform.
    pub platforms: Vec<PlatformImage>,
    /// The index that the image was pulled with, if it was one. Its bytes are a blob here.
    pub index: Option<Descriptor>,
    /// When the name was given, RFC 3339.
    pub tagged: String,
}

/// The image of one platform. Its configuration, which lists the diffIDs, is a blob here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformImage {
    /// The configuration; its digest is the image id.
    pub config: Descriptor,
    /// The manifest, for an image that was pulled or has been pushed or exported. Its bytes are a blob here.
    pub manifest: Option<Descriptor>,
    /// Where layers that are not here can be fetched from (canonical reference without tag).
    pub origin: Option<String>,
}

/// Names.
impl Store {
    /// Gives an image its name; an earlier image of that name loses it. Atomic; survives a power cut.
    pub fn tag(&self, record: &ImageRecord) -> Result<()> {
        // Strings, numbers and ordered maps only, which serde_json cannot refuse.
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        self.write_whole(&self.image_path(&record.name), &with_sum(&bytes), Sync::Named)?;
        self.apart().refresh_layout()
    }

    /// The image of that canonical name.
    pub fn image(&self, name: &str) -> Result<Option<ImageRecord>> {
        let path = self.image_path(name);
        match std::fs::read(&path) {
            Ok(bytes) => parse(&path, bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read", path),
        }
    }

    /// All images, sorted by name. Reads one small file for each.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let directory = self.root.join("images");
        let mut images = Vec::new();
        for entry in std::fs::read_dir(&directory).context("list", &directory)? {
            let path = entry.context("list", &directory)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match std::fs::read(&path) {
                Ok(bytes) => images.push(parse(&path, bytes)?),
                // Untagged since the listing.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context("read", path),
            }
        }
        images.sort_by(|one: &ImageRecord, other| one.name.cmp(&other.name));
        Ok(images)
    }

    /// As [`Store::images`], without those whose record the disk changed.
    pub(super) fn images_that_can_be_read(&self) -> Result<Vec<ImageRecord>> {
        match self.images() {
            Err(Error::Malformed { .. }) => {}
            images => return images,
        }
        let directory = self.root.join("images");
        let read = |name: String| {
            let path = directory.join(name);
            std::fs::read(&path).ok().and_then(|bytes| parse(&path, bytes).ok())
        };
        Ok(super::names(&directory)?.into_iter().filter_map(read).collect())
    }

    /// Takes the name away; whether there was one. Content stays until [`Store::collect`].
    pub fn untag(&self, name: &str) -> Result<bool> {
        let path = self.image_path(name);
        match std::fs::remove_file(&path) {
            Ok(()) => self.apart().refresh_layout().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context("remove", path),
        }
    }

    /// Names are hashed, never joined into a path.
    pub(super) fn image_path(&self, name: &str) -> PathBuf {
        self.root.join("images").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }
}

pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<ImageRecord> {
    let malformed = |reason: &str| Error::Malformed {
        what: "image record",
        reason: format!("{reason}, in `{}`", path.display()),
    };
    let bytes = without_sum(bytes).ok_or_else(|| malformed("its bytes are damaged"))?;
    serde_json::from_slice(&bytes).map_err(|error| malformed(&error.to_string()))
}
