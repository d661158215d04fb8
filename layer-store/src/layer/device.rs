//! Devices where none can be made: an empty file with a mark says what it stands for.

use crate::index::Kind;

/// What an empty file of a sandbox's directory stands for. Only one whose owners mean nothing has such files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMark {
    /// Whether it is a block device; else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl DeviceMark {
    /// The extended attribute that says so. Overlayfs shows its names to nobody in a mount, and no layer holds them.
    pub const NAME: &[u8] = b"user.overlay.rbuild.device";

    /// The attribute's value.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let Self { block, major, minor } = self;
        format!("{} {major} {minor}", if block { 'b' } else { 'c' }).into_bytes()
    }

    /// Reads the attribute's value; `None` if it is none.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(value).ok()?.split(' ');
        let block = match words.next()? {
            "b" => true,
            "c" => false,
            _ => return None,
        };
        let (major, minor) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(Self { block, major, minor })
    }

    pub(crate) fn kind(self) -> Kind {
        let Self { block, major, minor } = self;
        if block { Kind::BlockDevice { major, minor } } else { Kind::CharDevice { major, minor } }
    }
}
