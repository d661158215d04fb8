//! Names and the images that have them.

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Result, Store};

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
    /// Gives an image its name; an earlier image of that name loses it. Atomic.
    pub fn tag(&self, record: &ImageRecord) -> Result<()> {
        let _ = record;
        unimplemented!()
    }

    /// The image of that canonical name.
    pub fn image(&self, name: &str) -> Result<Option<ImageRecord>> {
        let _ = name;
        unimplemented!()
    }

    /// All images, sorted by name.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        unimplemented!()
    }

    /// Takes the name away; whether there was one.
    pub fn untag(&self, name: &str) -> Result<bool> {
        let _ = name;
        unimplemented!()
    }
}
