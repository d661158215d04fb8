//! Compression of layers, and its reverse.

use serde::{Deserialize, Serialize};

use crate::manifest::media_type;

mod blob;
mod decompress;
mod encoder;
mod gzip;
mod known;

pub use decompress::{Decompressor, Limits, decompress};
pub use encoder::Encoder;
pub use known::{KnownBlob, Origin};

/// How a blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level from 0 to 9.
    Gzip(u32),
    /// zstd at a level from 1 to 22.
    Zstd(i32),
}

impl Compression {
    /// The OCI media type of a layer that is compressed so.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::OCI_LAYER,
            Self::Gzip(_) => media_type::OCI_LAYER_GZIP,
            Self::Zstd(_) => media_type::OCI_LAYER_ZSTD,
        }
    }

    /// Whether a layer of that media type, OCI's or Docker's, is compressed by the same algorithm, at any level.
    #[must_use]
    pub fn matches(self, media_type: &str) -> bool {
        let gzip = media_type.ends_with("+gzip") || media_type.ends_with(".gzip");
        let zstd = media_type.ends_with("+zstd") || media_type.ends_with(".zstd");
        match self {
            Self::None => !gzip && !zstd,
            Self::Gzip(_) => gzip,
            Self::Zstd(_) => zstd,
        }
    }
}
