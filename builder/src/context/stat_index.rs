//! Digests of files by their stat data, so that an unchanged file is never read twice.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use layer_store::{Digest, Store};

use super::ContextError;

/// What `stat` says of a file that changes whenever its bytes or attributes may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    /// Device of the filesystem.
    pub(crate) device: u64,
    /// Inode number.
    pub(crate) inode: u64,
    /// Length in bytes.
    pub(crate) size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub(crate) mtime: i64,
    /// Change time, nanoseconds since the epoch. The kernel sets it; nobody can set it back.
    pub(crate) ctime: i64,
    /// File type and mode bits.
    pub(crate) mode: u32,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// The digest of its bytes.
    pub(crate) content: Digest,
    /// Whether it has extended attributes that go into an image; their values are read each time.
    pub(crate) xattrs: bool,
}

impl Stamp {
    /// Whether a file with this stamp, read at `now` (nanoseconds since the epoch, taken before it was opened) could
    /// change again without a new change time: the tick of its last change may not have passed yet. The slack is two
    /// of the kernel's slowest ticks, or two seconds where the filesystem seems to count whole ones.
    pub(crate) const fn is_racy(&self, now: i64) -> bool {
        const SECOND: i64 = 1_000_000_000;
        let coarse = self.ctime % SECOND == 0 && self.mtime % SECOND == 0;
        let slack = if coarse { 2 * SECOND } else { 20_000_000 };
        self.ctime.saturating_add(slack) >= now
    }
}

const MAGIC: [u8; 8] = *b"rbstat01";
const RECORD: usize = 80;
/// How many saves a file survives that no build has asked for: other Dockerfiles share the context.
const MAX_AGE: u8 = 16;

/// What is known of a context's files: stat data to content digest. Shared by all that read the context.
#[derive(Debug, Default)]
pub struct StatIndex {
    context: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The records of the last save, sorted by device and inode, undecoded: loading costs nothing per file.
    saved: Vec<u8>,
    /// Which of them were asked for.
    seen: Vec<bool>,
    learnt: HashMap<(u64, u64), (Stamp, Known)>,
}

impl StatIndex {
    /// The index of the context at `path`; empty if there is none or it is damaged. Costs one read.
    pub fn load(store: &Store, path: &Path) -> Result<Self, ContextError> {
        let context =
            path.canonicalize().map_err(|source| ContextError::Open { path: path.to_owned(), source })?;
        let saved =
            store.record("contexts", &key(&context))?.as_deref().and_then(records).unwrap_or_default();
        let seen = vec![false; saved.len() / RECORD];
        Ok(Self { context, state: Mutex::new(State { saved, seen, learnt: HashMap::new() }) })
    }

    /// Keeps the index for the next build, if it learnt something. Atomic; of two at once the last one wins.
    pub fn save(&self, store: &Store) -> Result<(), ContextError> {
        let mut state = self.state();
        if state.learnt.is_empty() || self.context.as_os_str().is_empty() {
            return Ok(());
        }
        let records = state.merged();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&records);
        store.put_record("contexts", &key(&self.context), &bytes)?;
        state.seen = vec![true; records.len() / RECORD];
        state.saved = records;
        state.learnt.clear();
        Ok(())
    }

    /// What is known of a file with this stamp.
    pub(crate) fn known(&self, stamp: &Stamp) -> Option<Known> {
        let mut state = self.state();
        if let Some((learnt, known)) = state.learnt.get(&(stamp.device, stamp.inode)) {
            return (learnt == stamp).then_some(*known);
        }
        let at = state.find(stamp.device, stamp.inode)?;
        let (saved, known, _) = decode(&state.saved[at * RECORD..][..RECORD]);
        if saved != *stamp {
            return None;
        }
        state.seen[at] = true;
        Some(known)
    }

    /// Remembers a file. The caller has made sure that the stamp is not racy.
    pub(crate) fn learn(&self, stamp: Stamp, known: Known) {
        self.state().learnt.insert((stamp.device, stamp.inode), (stamp, known));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, device: u64, inode: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.saved.len() / RECORD);
        while low < high {
            let middle = usize::midpoint(low, high);
            match number_pair(&self.saved[middle * RECORD..]).cmp(&(device, inode)) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn merged(&self) -> Vec<u8> {
        let mut records: Vec<(Stamp, Known, u8)> =
            self.learnt.values().map(|(stamp, known)| (*stamp, *known, 0)).collect();
        for (at, record) in self.saved.chunks_exact(RECORD).enumerate() {
            let (stamp, known, age) = decode(record);
            let age = if self.seen[at] { 0 } else { age.saturating_add(1) };
            if age < MAX_AGE && !self.learnt.contains_key(&(stamp.device, stamp.inode)) {
                records.push((stamp, known, age));
            }
        }
        records.sort_unstable_by_key(|(stamp, ..)| (stamp.device, stamp.inode));
        records.iter().flat_map(|(stamp, known, age)| encode(stamp, *known, *age)).collect()
    }
}

fn key(context: &Path) -> Digest {
    let mut hasher = layer_store::digest::Hasher::default();
    hasher.field("context").field(context.as_os_str().as_encoded_bytes());
    hasher.finish()
}

fn records(bytes: &[u8]) -> Option<Vec<u8>> {
    let records = bytes.strip_prefix(&MAGIC)?.to_vec();
    let sorted = records
        .chunks_exact(RECORD)
        .zip(records.chunks_exact(RECORD).skip(1))
        .all(|(a, b)| number_pair(a) < number_pair(b));
    (records.len() % RECORD == 0 && sorted).then_some(records)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at * 8..][..8]);
    u64::from_le_bytes(number)
}

fn number_pair(record: &[u8]) -> (u64, u64) {
    (number(record, 0), number(record, 1))
}

fn encode(stamp: &Stamp, known: Known, age: u8) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let flags = u64::from(stamp.mode) | u64::from(known.xattrs) << 32 | u64::from(age) << 40;
    let numbers = [
        stamp.device,
        stamp.inode,
        stamp.size,
        stamp.mtime.cast_unsigned(),
        stamp.ctime.cast_unsigned(),
        flags,
    ];
    for (at, number) in numbers.into_iter().enumerate() {
        record[at * 8..][..8].copy_from_slice(&number.to_le_bytes());
    }
    record[48..].copy_from_slice(known.content.as_bytes());
    record
}

fn decode(record: &[u8]) -> (Stamp, Known, u8) {
    let flags = number(record, 5);
    let mut content = [0; 32];
    content.copy_from_slice(&record[48..]);
    let [mode, rest] = [flags & 0xffff_ffff, flags >> 32];
    (
        Stamp {
            device: number(record, 0),
            inode: number(record, 1),
            size: number(record, 2),
            mtime: number(record, 3).cast_signed(),
            ctime: number(record, 4).cast_signed(),
            mode: u32::try_from(mode).unwrap_or_default(),
        },
        Known { content: Digest::from_bytes(content), xattrs: rest & 1 == 1 },
        u8::try_from(rest >> 8 & 0xff).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(inode: u64) -> Stamp {
        Stamp { device: 7, inode, size: 3, mtime: 1_500_000_001, ctime: 1_500_000_002, mode: 0o100_644 }
    }

    fn known(text: &str) -> Known {
        Known { content: Digest::of(text.as_bytes()), xattrs: text.is_empty() }
    }

    #[test]
    fn a_record_round_trips() {
        for text in ["", "a"] {
            assert_eq!(decode(&encode(&stamp(5), known(text), 9)), (stamp(5), known(text), 9));
        }
    }

    #[test]
    fn any_change_is_a_miss() {
        let index = StatIndex::default();
        index.learn(stamp(1), known("a"));
        assert_eq!(index.known(&stamp(1)), Some(known("a")));
        for changed in [
            Stamp { size: 4, ..stamp(1) },
            Stamp { mtime: 0, ..stamp(1) },
            Stamp { ctime: 0, ..stamp(1) },
            Stamp { mode: 0o100_755, ..stamp(1) },
            Stamp { inode: 2, ..stamp(1) },
            Stamp { device: 8, ..stamp(1) },
        ] {
            assert_eq!(index.known(&changed), None, "{changed:?}");
        }
    }

    #[test]
    fn saved_records_are_found_and_age() {
        let mut saved = Vec::new();
        for inode in 0..100 {
            saved.extend(encode(&stamp(inode * 3), known(&inode.to_string()), 14));
        }
        let state = State { saved, seen: vec![false; 100], learnt: HashMap::new() };
        let index = StatIndex { context: PathBuf::new(), state: Mutex::new(state) };
        assert_eq!(index.known(&stamp(30)), Some(known("10")));
        assert_eq!(index.known(&stamp(31)), None);
        index.learn(stamp(31), known("new"));
        let merged = index.state().merged();
        assert_eq!(merged.len(), 101 * RECORD, "age 15 is kept");
        let mut all = MAGIC.to_vec();
        all.extend(&merged);
        assert_eq!(records(&all), Some(merged));
        all.pop();
        assert_eq!(records(&all), None, "a truncated index is no index");
    }

    #[test]
    fn a_file_of_this_tick_is_racy() {
        let recent = stamp(1);
        assert!(recent.is_racy(recent.ctime + 1_000_000));
        assert!(!recent.is_racy(recent.ctime + 50_000_000));
        let coarse = Stamp { mtime: 1_000_000_000, ctime: 2_000_000_000, ..recent };
        assert!(coarse.is_racy(coarse.ctime + 1_900_000_000));
        assert!(!coarse.is_racy(coarse.ctime + 2_100_000_000));
    }
}
