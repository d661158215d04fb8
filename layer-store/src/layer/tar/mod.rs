//! The tar of a layer: a strict reader for what registries hold, and the canonical writer.
//!
//! # Canonical form
//!
//! The tar of a layer that is made here depends on its entries alone, byte for byte:
//!
//! - Entries are in path order ([`crate::index::path::order`]): parents before children, whiteouts where the name that
//!   they remove would be. Of files that are hard links of each other the first in this order carries the bytes.
//! - Each entry is a ustar header (magic `ustar`, version `00`): the name without prefix, mode (`07777` at most), uid,
//!   gid and size as octal digits up to a final NUL, the time in whole seconds likewise, the checksum as six digits, NUL
//!   and a space, no user and group name, device numbers (0 where there is none) as seven digits and a NUL.
//!   The names of directories end in a slash; the root is `./`.
//! - What such a header cannot say is in a PAX header before it (type `x`, named `<directory>/PaxHeaders.0/<name>`, all
//!   numbers 0), with its records sorted by key: `path` and `linkpath` of more than 100 bytes or not ASCII; `uid`,
//!   `gid`, `size` and `mtime` that have too many digits or are negative; each extended attribute as
//!   `SCHILY.xattr.<name>`. A name that is in a record is cut to 100 bytes in the header, with `_` for all that is not
//!   ASCII; a number is 0 there. There are no access and change times.
//! - A whiteout is an empty regular file `.wh.<name>`, mode, owner and time 0. An opaque directory is its entry and after
//!   that `<directory>/.wh..wh..opq` likewise.
//! - Data is padded with zeros to 512 bytes, and two blocks of zeros end the tar. Sparse files are written out.

mod header;
mod pax;
mod read;
mod sparse;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use read::{Member, Reader};
pub(crate) use write::{END, encode, padding};

/// The unit of a tar, in bytes.
pub(crate) const BLOCK: usize = 512;

/// What the name of a whiteout begins with.
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// The name of the marker in an opaque directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// What the names of other markers begin with, which unions before overlay left in layers.
const MARKER: &[u8] = b".wh..wh.";
