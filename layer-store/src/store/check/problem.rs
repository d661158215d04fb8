//! What a check can find.

use std::fmt;

use serde::Serialize;

use crate::Digest;

/// Something in the store that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", tag = "problem")]
#[non_exhaustive]
pub enum Problem {
    /// A blob's bytes are not those that its name says.
    DamagedBlob {
        /// Its name.
        digest: Digest,
        /// What its bytes hash to.
        actual: Digest,
    },
    /// A layer's index is malformed or its digest is wrong.
    DamagedIndex {
        /// The layer.
        diff_id: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A layer's uncompressed tar does not have its diffID.
    DamagedTar {
        /// The layer.
        diff_id: Digest,
        /// What its bytes hash to.
        actual: Digest,
    },
    /// A layer's extracted files are not those of its index.
    DamagedTree {
        /// The layer.
        diff_id: Digest,
        /// Which file, and what is wrong with it.
        reason: String,
    },
    /// The list of a layer's blobs cannot be read.
    DamagedList {
        /// The layer.
        diff_id: Digest,
        /// What is wrong.
        reason: String,
    },
    /// A record, of the build cache for instance, is not what was written.
    DamagedRecord {
        /// What it is a record of: the directory that it is in.
        space: String,
        /// Its key.
        key: Digest,
    },
    /// What an image's name stands for cannot be read, and so neither can the name.
    DamagedName {
        /// The digest of the name.
        key: Digest,
    },
    /// A named image lacks a document or a layer, or a document is damaged or malformed.
    DamagedImage {
        /// The image.
        name: String,
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
            Self::DamagedIndex { diff_id, reason } => {
                write!(f, "the index of layer {diff_id} is damaged: {reason}")
            }
            Self::DamagedTar { diff_id, actual } => {
                write!(f, "the tar of layer {diff_id} is damaged: its bytes are {actual}")
            }
            Self::DamagedTree { diff_id, reason } => {
                write!(f, "the files of layer {diff_id} are damaged: {reason}")
            }
            Self::DamagedList { diff_id, reason } => {
                write!(f, "the list of blobs of layer {diff_id} is damaged: {reason}")
            }
            Self::DamagedRecord { space, key } => write!(f, "the record `{space}/{}` is damaged", key.hex()),
            Self::DamagedName { key } => {
                write!(f, "the record of an image, `images/{}.json`, is damaged", key.hex())
            }
            Self::DamagedImage { name, reason } => write!(f, "image `{name}` is damaged: {reason}"),
            Self::StrayFile { path } => write!(f, "`{path}` does not belong here"),
        }
    }
}
