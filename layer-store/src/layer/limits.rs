//! How much a layer may ask for.

/// What the tar of a layer that comes from outside may hold. Past a limit reading stops with an error. What its bytes
/// may inflate to is [`super::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TarLimits {
    /// Entries.
    pub entries: usize,
    /// Bytes of the tar, and of all its files with the holes of sparse ones.
    pub bytes: u64,
    /// Bytes of a path.
    pub path: usize,
    /// Directories above an entry.
    pub depth: usize,
    /// Bytes of one extended header: of records, a long name.
    pub extended_header: usize,
    /// Stored parts of one sparse file.
    pub extents: usize,
}

impl Default for TarLimits {
    fn default() -> Self {
        Self {
            // The largest images in use have some 400,000 files over all layers.
            entries: 2_000_000,
            bytes: 1 << 40,
            // The longest path that a system call takes, without its NUL.
            path: 4095,
            depth: 512,
            extended_header: 1 << 20,
            extents: 100_000,
        }
    }
}
