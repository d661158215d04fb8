//! Reads a layer whatever its compression.

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// What a compressed stream may become at most. A stream that becomes more is a bomb, or meant as one.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Uncompressed bytes.
    pub bytes: u64,
    /// Uncompressed bytes for each compressed one, asked once there are more than [`Limits::free`].
    pub ratio: u64,
    /// Uncompressed bytes that need no justification by `ratio`: small layers of zeros are common.
    pub free: u64,
}

impl Default for Limits {
    /// 1 TiB, and a ratio of 1100 past 1 GiB: deflate cannot do more than 1032, so only zstd meets it.
    fn default() -> Self {
        Self { bytes: 1 << 40, ratio: 1100, free: 1 << 30 }
    }
}

/// The uncompressed bytes of `reader`: gzip of any number of members, zstd of any number of frames, or as they are, by
/// what they begin with. Reading past `limits`, a cut stream and a wrong checksum are errors. Memory: what zstd's
/// largest window of 128 MiB asks for, as far as the stream uses it; 0.3 MiB for others.
pub fn decompress<R: Read>(reader: R, limits: Limits) -> io::Result<Decompressor<R>> {
    let taken = Arc::new(AtomicU64::new(0));
    let mut counted = Counted { reader, taken: Arc::clone(&taken) };
    let mut magic = Vec::with_capacity(4);
    (&mut counted).take(4).read_to_end(&mut magic)?;
    let kind = Magic::of(&magic);
    let input = BufReader::with_capacity(256 * 1024, Cursor::new(magic).chain(counted));
    let stream = match kind {
        Magic::Gzip => Stream::Gzip(Box::new(MultiGzDecoder::new(input))),
        Magic::Zstd => Stream::Zstd(zstd::Decoder::with_buffer(input)?),
        Magic::Other => Stream::Plain(input),
    };
    Ok(Decompressor { stream, limits, taken, given: 0 })
}

/// A reader of uncompressed bytes, see [`decompress`].
pub struct Decompressor<R: Read> {
    stream: Stream<R>,
    limits: Limits,
    taken: Arc<AtomicU64>,
    given: u64,
}

type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, Counted<R>>>;

enum Stream<R: Read> {
    Plain(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(zstd::Decoder<'static, Input<R>>),
}

impl<R: Read> Decompressor<R> {
    /// How many compressed bytes were read so far; a buffer's length ahead of what they became.
    #[must_use]
    pub fn compressed(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.stream {
            Stream::Plain(input) => input.read(buffer),
            Stream::Gzip(decoder) => decoder.read(buffer),
            Stream::Zstd(decoder) => decoder.read(buffer),
        }?;
        self.given += read as u64;
        let Limits { bytes, ratio, free } = self.limits;
        let justified = free.max(self.compressed().saturating_mul(ratio));
        if self.given > bytes.min(justified) {
            let reason = format!("{} bytes became more than {}", self.compressed(), bytes.min(justified));
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(read)
    }
}

struct Counted<R> {
    reader: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

enum Magic {
    Gzip,
    Zstd,
    Other,
}

impl Magic {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable one (RFC 8878 sections 3.1.1 and 3.1.2), with which some tools begin.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Self::Zstd,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(bytes: &[u8], limits: Limits) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decompress(bytes, limits)?.read_to_end(&mut all)?;
        Ok(all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_frames_and_neither() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(&two, Limits::default()).unwrap(), b"one two");
        let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc".to_vec();
        let frames = [
            skippable,
            zstd::encode_all(&b"one "[..], 1).unwrap(),
            zstd::encode_all(&b"two"[..], 1).unwrap(),
        ];
        assert_eq!(read(&frames.concat(), Limits::default()).unwrap(), b"one two");
        for plain in [&b""[..], b"\x1f", b"tar and so on"] {
            assert_eq!(read(plain, Limits::default()).unwrap(), plain);
        }
    }

    #[test]
    fn cut_or_damaged_streams_are_errors() {
        for whole in [gzip(&[7; 5000]), zstd::encode_all(&[7; 5000][..], 1).unwrap()] {
            for length in 4..whole.len() {
                assert!(read(&whole[..length], Limits::default()).is_err(), "{length} of {}", whole.len());
            }
        }
        let mut damaged = gzip(b"some bytes");
        let at = damaged.len() - 8;
        damaged[at] ^= 1;
        assert!(read(&damaged, Limits::default()).is_err());
    }

    #[test]
    fn bombs_stop() {
        let zeros = vec![0; 3 << 20];
        for bomb in [gzip(&zeros), zstd::encode_all(&zeros[..], 3).unwrap()] {
            assert!(read(&bomb, Limits { bytes: 1 << 20, ..Limits::default() }).is_err());
            assert!(read(&bomb, Limits { ratio: 10, free: 1 << 20, ..Limits::default() }).is_err());
            assert_eq!(read(&bomb, Limits { ratio: 10, free: 4 << 20, ..Limits::default() }).unwrap(), zeros);
        }
    }
}
