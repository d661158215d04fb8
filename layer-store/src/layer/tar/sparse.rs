//! Sparse files, in the four ways that GNU tar has written them. Nobody should in a layer; some do.

use super::header;
use super::pax::{Records, decimal};
use crate::index::Extent;

/// The PAX keys that make a file sparse.
pub(super) const KEYS: [&[u8]; 6] = [
    b"GNU.sparse.major",
    b"GNU.sparse.minor",
    b"GNU.sparse.map",
    b"GNU.sparse.realsize",
    b"GNU.sparse.size",
    b"GNU.sparse.numblocks",
];

const MALFORMED: &str = "its sparse map is malformed";

/// Where a sparse file's map is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Map {
    /// In front of the data (format 1.0).
    InData,
    /// These offsets and lengths.
    Pairs(Vec<(u64, u64)>),
}

/// The length with holes and the map of a file that extended headers make sparse; `None` if they do not.
pub(super) fn from_records(records: &Records) -> Result<Option<(u64, Map)>, &'static str> {
    if !records.has_any(&KEYS) {
        return Ok(None);
    }
    let version = (records.value(b"GNU.sparse.major"), records.value(b"GNU.sparse.minor"));
    let (size, map) = match version {
        (Some(b"1"), Some(b"0")) => (records.number(b"GNU.sparse.realsize")?, Map::InData),
        (None | Some(b"0"), None | Some(b"0" | b"1")) => {
            let size = records.number(b"GNU.sparse.size")?;
            let numbers = match records.value(b"GNU.sparse.map") {
                Some(_) if !records.sparse_pairs.is_empty() => return Err(MALFORMED),
                Some(map) => map.split(|byte| *byte == b',').map(decimal).collect::<Result<Vec<_>, _>>()?,
                None => records.sparse_pairs.iter().map(|n| decimal(n)).collect::<Result<Vec<_>, _>>()?,
            };
            if !numbers.len().is_multiple_of(2) {
                return Err(MALFORMED);
            }
            let pairs: Vec<(u64, u64)> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            if records.number(b"GNU.sparse.numblocks")?.is_some_and(|count| count != pairs.len() as u64) {
                return Err(MALFORMED);
            }
            (size, Map::Pairs(pairs))
        }
        _ => return Err("its sparse format is unknown"),
    };
    Ok(Some((size.ok_or(MALFORMED)?, map)))
}

/// Adds the pairs of an old GNU header (24 bytes each) to `pairs`, up to the first that is blank.
pub(super) fn add_old_pairs(pairs: &mut Vec<(u64, u64)>, table: &[u8]) -> Result<(), &'static str> {
    for pair in table.chunks_exact(24) {
        if pair[0] == 0 {
            return Ok(());
        }
        let part = |field| match header::number(field) {
            Ok(value) => u64::try_from(value.unwrap_or(0)).map_err(|_| MALFORMED),
            Err(_) => Err(MALFORMED),
        };
        pairs.push((part(&pair[..12])?, part(&pair[12..])?));
    }
    Ok(())
}

/// Takes decimal numbers, each on its own line, as they come in blocks: a count, then as many pairs.
#[derive(Debug, Default)]
pub(super) struct MapReader {
    digits: Vec<u8>,
    count: Option<u64>,
    numbers: Vec<u64>,
}

impl MapReader {
    /// Takes a block; the pairs once they are complete. The rest of that block is padding.
    pub(super) fn block(
        &mut self,
        block: &[u8],
        most: usize,
    ) -> Result<Option<Vec<(u64, u64)>>, &'static str> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            match byte {
                b'\n' => {
                    let number = decimal(&self.digits).map_err(|_| MALFORMED)?;
                    self.digits.clear();
                    match self.count {
                        None if number > most as u64 => return Err("its sparse map is too long"),
                        None => self.count = Some(number),
                        Some(_) => self.numbers.push(number),
                    }
                }
                b'0'..=b'9' if self.digits.len() < 20 => self.digits.push(*byte),
                _ => return Err(MALFORMED),
            }
        }
        let pairs = || self.numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Ok(self.is_complete().then(pairs))
    }

    fn is_complete(&self) -> bool {
        self.count.is_some_and(|count| self.numbers.len() as u64 == 2 * count)
    }
}

/// The extents of a map whose `stored` bytes begin at `offset` of the tar.
pub(super) fn extents(
    pairs: &[(u64, u64)],
    size: u64,
    stored: u64,
    mut offset: u64,
) -> Result<Vec<Extent>, &'static str> {
    let mut extents = Vec::with_capacity(pairs.len());
    let (mut end, mut sum) = (0_u64, 0_u64);
    for &(position, length) in pairs {
        if position < end {
            return Err("its sparse map overlaps itself");
        }
        end = position
            .checked_add(length)
            .filter(|end| *end <= size)
            .ok_or("its sparse map leaves the file")?;
        sum += length;
        if length > 0 {
            extents.push(Extent { position, length, offset });
        }
        offset = offset.checked_add(length).ok_or(MALFORMED)?;
    }
    if sum == stored { Ok(extents) } else { Err("its sparse map does not match its size") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_fit() {
        assert_eq!(
            extents(&[(0, 5), (10, 5), (20, 0)], 20, 10, 512).unwrap(),
            [Extent { position: 0, length: 5, offset: 512 }, Extent { position: 10, length: 5, offset: 517 }]
        );
        for (pairs, size, stored) in [
            (&[(5, 5), (0, 5)][..], 20, 10),
            (&[(0, 5), (4, 5)], 20, 10),
            (&[(18, 5)], 20, 5),
            (&[(0, 5)], 20, 6),
            (&[(u64::MAX, 5)], u64::MAX, 5),
        ] {
            assert!(extents(pairs, size, stored, 0).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_map_in_front_of_the_data() {
        let mut reader = MapReader::default();
        assert_eq!(reader.block(b"2\n0\n5\n1", 10), Ok(None));
        assert_eq!(reader.block(b"0\n5\n\0\0\0", 10), Ok(Some(vec![(0, 5), (10, 5)])));
        assert!(MapReader::default().block(b"11\n", 10).is_err());
        assert!(MapReader::default().block(b"\n", 10).is_err());
        assert!(MapReader::default().block(b"1\n-1\n", 10).is_err());
        assert_eq!(MapReader::default().block(b"0\n\0", 10), Ok(Some(vec![])));
    }
}
