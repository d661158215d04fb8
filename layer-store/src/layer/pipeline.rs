//! Bytes on their way through threads: one makes them, one hashes them, one uses them.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::digest::Hasher;
use crate::{Digest, Error, Result};

/// The length of what passes between threads. Small ones cost wake-ups, large ones the processor's cache.
const CHUNK: usize = 256 << 10;
/// How many chunks wait between two threads: many small files take their time, and a large one gives it back.
const WAITING: usize = 12;

/// Reads all of `source` in this thread, hashes it in a second and gives it to `consume` in a third. Returns the digest
/// and what `consume` made. `consume` reads to the end, or fails.
pub(crate) fn through<T: Send>(
    source: &mut dyn Read,
    consume: impl FnOnce(Chunks) -> Result<T> + Send,
) -> Result<(Digest, T)> {
    std::thread::scope(|scope| {
        let (to_hash, hashes) = sync_channel::<io::Result<Vec<u8>>>(WAITING);
        let (to_consumer, chunks) = sync_channel::<io::Result<Vec<u8>>>(WAITING);
        let (to_reader, spare) = sync_channel::<Vec<u8>>(3 * WAITING);
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::default();
            for chunk in hashes {
                if let Ok(chunk) = &chunk {
                    hasher.update(chunk);
                }
                if to_consumer.send(chunk).is_err() {
                    break;
                }
            }
            hasher.finish()
        });
        let consuming =
            scope.spawn(move || consume(Chunks { chunks, spare: to_reader, current: Vec::new(), at: 0 }));
        loop {
            let mut chunk = spare.try_recv().unwrap_or_default();
            chunk.resize(CHUNK, 0);
            let read = fill(source, &mut chunk, CHUNK).map(|length| {
                chunk.truncate(length);
                chunk
            });
            let last = read.as_ref().map_or(true, Vec::is_empty);
            // Nobody listens when the consumer failed, which it tells itself.
            if to_hash.send(read).is_err() || last {
                break;
            }
        }
        drop(to_hash);
        let digest = joined(hashing.join());
        let made = joined(consuming.join())?;
        Ok((digest, made))
    })
}

fn joined<T>(result: std::thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn longer() -> io::Error {
    io::Error::other("it became longer while it was read")
}

/// Reads until `buffer` has at least `needed` bytes, or `source` ends.
fn fill(source: &mut dyn Read, buffer: &mut [u8], needed: usize) -> io::Result<usize> {
    let mut filled = 0;
    while filled < needed {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The consumer's end of [`through`].
pub(crate) struct Chunks {
    chunks: Receiver<io::Result<Vec<u8>>>,
    spare: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len()
            && let Ok(next) = self.chunks.recv()
        {
            let used = std::mem::replace(&mut self.current, next?);
            self.at = 0;
            let _ = self.spare.try_send(used);
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Bytes that are hashed, and perhaps written, by another thread while this one makes more.
pub(crate) struct Stream<'a> {
    /// Always as long as a chunk can be: to clear bytes that are read over would cost as much as to read them.
    chunk: Vec<u8>,
    /// How many bytes of it are filled.
    filled: usize,
    full: SyncSender<(Vec<u8>, usize)>,
    spare: Receiver<Vec<u8>>,
    position: u64,
    output: Option<&'a mut dyn Write>,
    failed: Option<io::Error>,
}

/// Hashes what `make` puts into the stream in another thread, which also writes it to `copy`; this one writes it to
/// `output`. Returns the digest and what `make` made.
pub(crate) fn hashing<'a, T>(
    copy: Option<&mut (dyn Write + Send)>,
    output: Option<&'a mut dyn Write>,
    make: impl FnOnce(&mut Stream<'a>) -> Result<T>,
) -> Result<(Digest, T)> {
    let failed = |source| Error::Io { action: "write", path: "layer".into(), source };
    std::thread::scope(|scope| {
        let (full, chunks) = sync_channel::<(Vec<u8>, usize)>(WAITING);
        let (to_maker, spare) = sync_channel::<Vec<u8>>(2 * WAITING);
        let hashing = scope.spawn(move || {
            let mut copy = copy;
            let mut hasher = Hasher::default();
            for (chunk, filled) in chunks {
                hasher.update(&chunk[..filled]);
                if let Some(copy) = &mut copy {
                    copy.write_all(&chunk[..filled])?;
                }
                let _ = to_maker.try_send(chunk);
            }
            Ok::<Digest, io::Error>(hasher.finish())
        });
        let chunk = vec![0; CHUNK];
        let mut stream = Stream { chunk, filled: 0, full, spare, position: 0, output, failed: None };
        let made = make(&mut stream);
        stream.pass_on();
        let written = stream.failed.take();
        drop(stream);
        let digest = joined(hashing.join()).map_err(failed)?;
        match written {
            Some(error) => Err(failed(error)),
            None => Ok((digest, made?)),
        }
    })
}

impl Stream<'_> {
    /// How many bytes were put in.
    pub(crate) const fn position(&self) -> u64 {
        self.position
    }

    /// Puts `bytes` in.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.filled));
            self.chunk[self.filled..][..now.len()].copy_from_slice(now);
            self.fill(now.len());
            bytes = later;
        }
    }

    /// Puts `count` zeros in.
    pub(crate) fn put_zeros(&mut self, mut count: u64) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while count > 0 {
            let now = count.min(ZEROS.len() as u64);
            self.put(&ZEROS[..now as usize]);
            count -= now;
        }
    }

    /// Puts exactly `size` bytes of `source` in, and shows them to `each` as they pass. More or fewer bytes are an error.
    pub(crate) fn put_file(
        &mut self,
        source: &mut dyn Read,
        size: u64,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut left = size;
        // Whether the last read asked for more than there should be, and got none of it.
        let mut at_end = false;
        while left > 0 {
            if self.failed.is_some() {
                return Err(io::Error::other("its copy cannot be written"));
            }
            let space = CHUNK - self.filled;
            let needed = space.min(usize::try_from(left).unwrap_or(usize::MAX));
            at_end = space > needed;
            let asked = needed + usize::from(at_end);
            let read = fill(source, &mut self.chunk[self.filled..][..asked], needed)?;
            if read > needed {
                return Err(longer());
            }
            each(&self.chunk[self.filled..][..read])?;
            left -= read as u64;
            self.fill(read);
            if read < needed {
                return Err(io::Error::other("it became shorter while it was read"));
            }
        }
        if !at_end && fill(source, &mut [0], 1)? > 0 {
            return Err(longer());
        }
        Ok(())
    }

    /// Puts all of `source` in.
    pub(crate) fn put_all(&mut self, source: &mut dyn Read) -> io::Result<()> {
        loop {
            let room = CHUNK - self.filled;
            let read = fill(source, &mut self.chunk[self.filled..], room)?;
            self.fill(read);
            if read < room || self.failed.is_some() {
                return Ok(());
            }
        }
    }

    /// Takes note of bytes that were put behind those that are there.
    fn fill(&mut self, count: usize) {
        self.position += count as u64;
        self.filled += count;
        if self.filled == CHUNK {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        if self.failed.is_none()
            && let Some(output) = &mut self.output
            && let Err(error) = output.write_all(&self.chunk[..self.filled])
        {
            self.failed = Some(error);
        }
        let next = self.spare.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
        let chunk = std::mem::replace(&mut self.chunk, next);
        // Nobody listens when the copy failed, which its thread tells.
        let _ = self.full.send((chunk, std::mem::take(&mut self.filled)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn all_bytes_pass_in_order() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 5] {
            let bytes = bytes(length);
            let (digest, seen) = through(&mut bytes.as_slice(), |mut chunks| {
                let mut seen = Vec::new();
                chunks.read_to_end(&mut seen).unwrap();
                Ok(seen)
            })
            .unwrap();
            assert_eq!((digest, &seen), (Digest::of(&bytes), &bytes));
            let mut copy = Vec::new();
            let (digest, ()) = hashing(Some(&mut copy), None, |stream| {
                stream.put(&bytes[..length / 3]);
                let rest = &bytes[length / 3..];
                stream.put_file(&mut &*rest, rest.len() as u64, |_| Ok(())).unwrap();
                assert_eq!(stream.position(), length as u64);
                Ok(())
            })
            .unwrap();
            assert_eq!((digest, copy), (Digest::of(&bytes), bytes));
        }
    }

    #[test]
    fn failures_on_either_side_end_it() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("torn"))?;
                Ok(buffer.len())
            }
        }
        let torn = through(&mut Failing(20), |mut chunks| {
            io::copy(&mut chunks, &mut io::sink()).map_err(|source| Error::Io {
                action: "read",
                path: "x".into(),
                source,
            })
        });
        assert!(torn.is_err());
        let refused = through(&mut Failing(usize::MAX), |mut chunks| {
            chunks.fill_buf().unwrap();
            Err::<(), _>(Error::Malformed { what: "test", reason: String::new() })
        });
        assert!(matches!(refused, Err(Error::Malformed { .. })));
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        for size in [3, 5] {
            let changed = hashing(None, None, |stream| {
                Ok(stream.put_file(&mut &b"four"[..], size, |_| Ok(())).is_err())
            });
            assert!(changed.unwrap().1);
        }
    }
}
