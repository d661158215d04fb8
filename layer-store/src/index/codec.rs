//! The index on disk.
//!
//! ```text
//! magic     8 bytes  "rbuildIX"
//! version   1 byte   2
//! flags     1 byte   bit 0: the tar is canonical
//! tar size  varint
//! entries   count, then each: shared (bytes of the path that are the previous path's), rest (framed), kind (byte),
//!           mode, uid, gid, mtime (zigzag), xattrs (count, then name and value framed), what the kind has
//!           (a file: size, offset, CRC-32 or 0)
//! sparse    count, then each: path (framed), extents (count, then position, length, offset)
//! inline    count, then each: path (framed), bytes (framed)
//! sha256    32 bytes of all before
//! ```
//!
//! Numbers are varints (LEB128, shortest form), framed bytes have their length in front. The decoder takes exactly
//! what the encoder gives: nothing else decodes, so equal indexes are equal files.

use std::collections::BTreeMap;

use super::{Entry, Extent, Index, Kind, PathBytes, TarFacts, implied_by, path};
use crate::{Digest, Error, Result};

const MAGIC: &[u8; 8] = b"rbuildIX";
const VERSION: u8 = 2;
const CANONICAL: u8 = 1;
const SUM: usize = 32;

impl Index {
    /// The index as it stands on disk.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 40 * self.entries.len());
        out.extend_from_slice(MAGIC);
        out.push(VERSION);
        out.push(if self.tar.canonical { CANONICAL } else { 0 });
        number(&mut out, self.tar.size);
        number(&mut out, self.entries.len() as u64);
        let mut previous: &[u8] = b"";
        for (entry, sum) in self.entries.iter().zip(&self.sums) {
            encode_entry(&mut out, entry, *sum, previous);
            previous = &entry.path;
        }
        number(&mut out, self.sparse.len() as u64);
        for (path, extents) in &self.sparse {
            framed(&mut out, path);
            number(&mut out, extents.len() as u64);
            for extent in extents {
                number(&mut out, extent.position);
                number(&mut out, extent.length);
                number(&mut out, extent.offset);
            }
        }
        number(&mut out, self.inline.len() as u64);
        for (path, bytes) in &self.inline {
            framed(&mut out, path);
            framed(&mut out, bytes);
        }
        let sum = Digest::of(&out);
        out.extend_from_slice(sum.as_bytes());
        out
    }

    /// Reads what [`Index::encode`] wrote. Takes memory in proportion to `bytes` only, whatever they claim.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] for anything else, a flipped bit included.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        decode(bytes).map_err(|reason| Error::Malformed { what: "layer index", reason: reason.to_owned() })
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn framed(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry, sum: u32, previous: &[u8]) {
    let shared = entry.path.iter().zip(previous).take_while(|(a, b)| a == b).count();
    number(out, shared as u64);
    framed(out, &entry.path[shared..]);
    out.push(match entry.kind {
        Kind::Directory { opaque: false } => 0,
        Kind::Directory { opaque: true } => 1,
        Kind::File { .. } => 2,
        Kind::Hardlink { .. } => 3,
        Kind::Symlink { .. } => 4,
        Kind::CharDevice { .. } => 5,
        Kind::BlockDevice { .. } => 6,
        Kind::Fifo => 7,
        Kind::Whiteout => 8,
    });
    number(out, u64::from(entry.mode));
    number(out, u64::from(entry.uid));
    number(out, u64::from(entry.gid));
    number(out, zigzag(entry.mtime));
    number(out, entry.xattrs.len() as u64);
    for (name, value) in &entry.xattrs {
        framed(out, name);
        framed(out, value);
    }
    match &entry.kind {
        Kind::File { size, offset } => {
            number(out, *size);
            number(out, *offset);
            number(out, u64::from(sum));
        }
        Kind::Hardlink { target } | Kind::Symlink { target } => framed(out, target),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            number(out, u64::from(*major));
            number(out, u64::from(*minor));
        }
        Kind::Directory { .. } | Kind::Fifo | Kind::Whiteout => {}
    }
}

type Decoded<T> = std::result::Result<T, &'static str>;

fn decode(bytes: &[u8]) -> Decoded<Index> {
    let (body, sum) = bytes.split_last_chunk::<SUM>().ok_or("it is cut short")?;
    if Digest::of(body).as_bytes() != sum {
        return Err("its bytes do not have the digest at their end");
    }
    let mut input = Input(body);
    if input.take(MAGIC.len())? != MAGIC {
        return Err("it does not begin as an index");
    }
    if input.byte()? != VERSION {
        return Err("it has another version");
    }
    let flags = input.byte()?;
    if flags & !CANONICAL != 0 {
        return Err("it has unknown flags");
    }
    let tar = TarFacts { size: input.number()?, canonical: flags & CANONICAL != 0 };
    let count = input.count(9)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count);
    let mut sums = Vec::with_capacity(count);
    for _ in 0..count {
        let (entry, sum) = input.entry(entries.last().map_or(&[], |entry| &entry.path))?;
        if entries.last().is_some_and(|last| path::order(&last.path, &entry.path).is_ge()) {
            return Err("its entries are not in order");
        }
        entries.push(entry);
        sums.push(sum);
    }
    let mut sparse = BTreeMap::new();
    for _ in 0..input.count(2)? {
        let path = input.framed()?.to_vec();
        let mut extents = Vec::new();
        for _ in 0..input.count(3)? {
            extents.push(Extent {
                position: input.number()?,
                length: input.number()?,
                offset: input.number()?,
            });
        }
        insert_after_last(&mut sparse, path, extents)?;
    }
    let mut inline = BTreeMap::new();
    for _ in 0..input.count(2)? {
        let path = input.framed()?.to_vec();
        let bytes = input.framed()?.to_vec();
        insert_after_last(&mut inline, path, bytes)?;
    }
    if !input.0.is_empty() {
        return Err("it goes on after its end");
    }
    let implied = implied_by(&entries);
    Ok(Index { entries, implied, sums, sparse, inline, tar })
}

fn insert_after_last<V>(map: &mut BTreeMap<PathBytes, V>, path: PathBytes, value: V) -> Decoded<()> {
    if map.last_key_value().is_some_and(|(last, _)| *last >= path) {
        return Err("its tables are not in order");
    }
    map.insert(path, value);
    Ok(())
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Decoded<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Decoded<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err("a number is too large");
            }
            value |= bits << shift;
            if byte < 0x80 {
                return if byte == 0 && shift > 0 {
                    Err("a number is not in its shortest form")
                } else {
                    Ok(value)
                };
            }
        }
        Err("a number is too large")
    }

    fn word(&mut self) -> Decoded<u32> {
        self.number()?.try_into().map_err(|_| "a number is too large")
    }

    /// A count of things that take at least `least` bytes each.
    fn count(&mut self, least: usize) -> Decoded<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| "a count is too large")?;
        if count > self.0.len() / least { Err("a count is too large") } else { Ok(count) }
    }

    fn framed(&mut self) -> Decoded<&'a [u8]> {
        let length = self.count(1)?;
        self.take(length)
    }

    /// An entry, and the sum of its bytes.
    fn entry(&mut self, previous: &[u8]) -> Decoded<(Entry, u32)> {
        let shared = usize::try_from(self.number()?).map_err(|_| "a number is too large")?;
        let shared = previous.get(..shared).ok_or("a path shares more than there is")?;
        let rest = self.framed()?;
        if previous.get(shared.len()).is_some_and(|next| rest.first() == Some(next)) {
            return Err("a path shares less than it could");
        }
        let entry_path = [shared, rest].concat();
        if !path::is_clean(&entry_path) {
            return Err("a path is not clean");
        }
        let kind = self.byte()?;
        let (mode, uid, gid) = (self.word()?, self.word()?, self.word()?);
        if mode > 0o7777 {
            return Err("a mode has unknown bits");
        }
        let mtime = unzigzag(self.number()?);
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.count(2)? {
            let name = self.framed()?.to_vec();
            let value = self.framed()?.to_vec();
            insert_after_last(&mut xattrs, name, value)?;
        }
        let mut sum = 0;
        let kind = match kind {
            0 => Kind::Directory { opaque: false },
            1 => Kind::Directory { opaque: true },
            2 => {
                let kind = Kind::File { size: self.number()?, offset: self.number()? };
                sum = self.word()?;
                kind
            }
            3 => {
                let target = self.framed()?.to_vec();
                if !path::is_clean(&target) {
                    return Err("a path is not clean");
                }
                Kind::Hardlink { target }
            }
            4 => Kind::Symlink { target: self.framed()?.to_vec() },
            5 => Kind::CharDevice { major: self.word()?, minor: self.word()? },
            6 => Kind::BlockDevice { major: self.word()?, minor: self.word()? },
            7 => Kind::Fifo,
            8 => Kind::Whiteout,
            _ => return Err("an entry has an unknown kind"),
        };
        Ok((Entry { path: entry_path, kind, mode, uid, gid, mtime, xattrs }, sum))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            any::<bool>().prop_map(|opaque| Kind::Directory { opaque }),
            any::<(u64, u64)>().prop_map(|(size, offset)| Kind::File { size, offset }),
            "[a-c]{1,3}".prop_map(|target| Kind::Hardlink { target: target.into_bytes() }),
            any::<Vec<u8>>().prop_map(|target| Kind::Symlink { target }),
            any::<(u32, u32)>().prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
            any::<(u32, u32)>().prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
            Just(Kind::Fifo),
            Just(Kind::Whiteout),
        ]
    }

    fn index() -> impl Strategy<Value = Index> {
        let entry = (
            "[a-c]{1,2}(/[a-c]{1,2}){0,3}",
            kind(),
            0..0o10000_u32,
            any::<(u32, u32, i64)>(),
            prop::collection::btree_map(any::<Vec<u8>>(), any::<Vec<u8>>(), 0..3),
        )
            .prop_map(|(path, kind, mode, (uid, gid, mtime), xattrs)| Entry {
                path: path.into_bytes(),
                kind,
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            });
        (prop::collection::vec(entry, 0..30), any::<(u64, bool, Vec<u8>)>()).prop_map(
            |(entries, (size, canonical, bytes))| {
                let mut index = Index::new(entries);
                for (entry, sum) in index.entries.iter().zip(&mut index.sums) {
                    if matches!(entry.kind, Kind::File { .. }) {
                        *sum = size as u32;
                    }
                }
                index.tar = TarFacts { size, canonical };
                index.inline.insert(b"etc/passwd".to_vec(), bytes);
                index
                    .sparse
                    .insert(b"sparse".to_vec(), vec![Extent { position: size, length: 1, offset: size }]);
                index
            },
        )
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(index in index()) {
            prop_assert_eq!(Index::decode(&index.encode()).unwrap(), index);
        }

        #[test]
        fn only_canonical_bytes_decode(index in index(), at: prop::sample::Index, flip in 1..=255_u8) {
            let mut bytes = index.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Index::decode(&bytes).is_err());
            // The same with the sum made right again, as somebody hostile would.
            let body = bytes.len() - SUM;
            let sum = Digest::of(&bytes[..body]);
            bytes[body..].copy_from_slice(sum.as_bytes());
            if let Ok(index) = Index::decode(&bytes) {
                prop_assert_eq!(index.encode(), bytes);
            }
        }

        #[test]
        fn rubbish_is_refused(bytes: Vec<u8>) {
            let mut framed = [MAGIC.as_slice(), &[VERSION, 0], &bytes].concat();
            let sum = Digest::of(&framed);
            framed.extend_from_slice(sum.as_bytes());
            if let Ok(index) = Index::decode(&framed) {
                prop_assert_eq!(index.encode(), framed);
            }
            prop_assert!(Index::decode(&bytes).is_err());
        }
    }
}
