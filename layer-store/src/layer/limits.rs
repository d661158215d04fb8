//! How much a layer may ask for.

/// What a layer that comes from outside may take. Past a limit reading stops with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one layer.
    pub entries: usize,
    /// Bytes of the uncompressed tar, and of all its files with the holes of sparse ones.
    pub bytes: u64,
    /// Uncompressed bytes for each byte of the blob, once [`Limits::ratio_from`] is passed.
    pub ratio: u64,
    /// Uncompressed bytes that are never held against the ratio.
    pub ratio_from: u64,
    /// Bytes of a path.
    pub path: usize,
    /// Components of a path.
    pub depth: usize,
    /// Bytes of one extended header, a long name's or a sparse map's.
    pub extended_header: usize,
    /// Stored parts of one sparse file.
    pub extents: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The largest images in use have some 400,000 files over all layers.
            entries: 2_000_000,
            bytes: 1 << 40,
            // gzip cannot pass 1032; zstd gives 30,000 for a file of zeros, so large ones only count when they are
            // larger than any disk image that a layer sensibly holds.
            ratio: 2_000,
            ratio_from: 64 << 30,
            // The kernel's own bounds for a path and, at one letter each, its components.
            path: 4096,
            depth: 1024,
            extended_header: 1 << 20,
            extents: 100_000,
        }
    }
}
