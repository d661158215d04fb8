//! One writer for all compressions.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use zstd::zstd_safe::CParameter;

use super::Compression;
use super::gzip::GzipWriter;

/// How much one zstd job gets, in bytes. Part of what decides the bytes; the number of jobs at work decides memory.
const ZSTD_JOB: u32 = 4 << 20;

/// Compresses what is written to it. The same input and [`Compression`] give the same bytes, whatever the number of
/// threads and however the input is cut. [`Encoder::finish`] has to be called.
pub struct Encoder<W: Write>(Kind<W>);

enum Kind<W: Write> {
    None(W),
    Gzip(GzipWriter<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// An encoder with that many threads beside the calling one.
    pub fn new(output: W, compression: Compression, threads: NonZeroUsize) -> io::Result<Self> {
        Ok(Self(match compression {
            Compression::None => Kind::None(output),
            Compression::Gzip(level) => Kind::Gzip(GzipWriter::new(output, level, threads)?),
            Compression::Zstd(level) => {
                let mut encoder = zstd::Encoder::new(output, level.clamp(1, 22))?;
                encoder.include_checksum(true)?;
                // At least one worker: without workers zstd does not cut its input into jobs, and gives other bytes.
                encoder.multithread(u32::try_from(threads.get()).unwrap_or(1))?;
                encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
                Kind::Zstd(encoder)
            }
        }))
    }

    /// As many threads as the machine runs at once.
    #[must_use]
    pub fn threads() -> NonZeroUsize {
        std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }

    /// Ends the stream. Returns the output.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Kind::None(mut output) => output.flush().map(|()| output),
            Kind::Gzip(writer) => writer.finish(),
            Kind::Zstd(encoder) => {
                let mut output = encoder.finish()?;
                output.flush().map(|()| output)
            }
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::None(output) => output.write(bytes),
            Kind::Gzip(writer) => writer.write(bytes),
            Kind::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing but for an uncompressed stream: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::None(output) => output.flush(),
            Kind::Gzip(_) | Kind::Zstd(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::Digest;
    use crate::layer::compress::{Limits, decompress};

    /// Text-like bytes that compress to about a third, and a run of zeros.
    pub(crate) fn sample(count: usize) -> Vec<u8> {
        let words = ["usr", "lib", "share", "doc", "python3", "include", "copyright", "changelog", "\n", "/"];
        let mut state = 7_u64;
        let mut bytes = Vec::with_capacity(count + 16);
        while bytes.len() < count * 3 / 4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(words[(state >> 33) as usize % words.len()].as_bytes());
            bytes.push((state >> 57) as u8);
        }
        bytes.resize(count, 0);
        bytes
    }

    fn encode(input: &[u8], compression: Compression, threads: usize, step: usize) -> Vec<u8> {
        let threads = NonZeroUsize::new(threads).unwrap();
        let mut encoder = Encoder::new(Vec::new(), compression, threads).unwrap();
        for part in input.chunks(step) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn bytes_do_not_depend_on_threads_or_on_how_the_input_comes() {
        let input = sample(10_000_000);
        for compression in
            [Compression::Gzip(6), Compression::Gzip(1), Compression::Zstd(3), Compression::Zstd(1)]
        {
            let expected = Digest::of(&encode(&input, compression, 1, input.len()));
            for (threads, step) in [(1, 100_000), (2, 131_072), (3, 1 << 20), (4, 65_537), (4, 4096)] {
                let digest = Digest::of(&encode(&input, compression, threads, step));
                assert_eq!(digest, expected, "{compression:?} {threads} {step}");
            }
        }
    }

    /// A change of these is a change of every blob that is pushed: say so in the changelog, and raise
    /// `known::REVISION`.
    #[test]
    fn golden_bytes() {
        let input = sample(3_000_000);
        let compressions =
            [Compression::Gzip(6), Compression::Gzip(1), Compression::Gzip(9), Compression::Zstd(3)];
        let digests = compressions.map(|one| Digest::of(&encode(&input, one, 2, 70_000)).hex());
        let golden = [
            "3607de97445c0fd2f636513007a68111887287280c485c0d6332ad37e41dee8c",
            "2f2c980e14ce712cf26007e25b14b70247ee883e9175e3ca59ef9f46de85ae29",
            "d63c5125e25eeadfd1a834b63fee729650be0d6cab3a9c44ca2b991e93d26c42",
            "632a725cb27ec49c2dfd23f37cc96a710741cf268f0e6022ec6117b9f0e82549",
        ];
        assert_eq!(digests, golden);
    }

    #[test]
    fn comes_back_at_every_size_and_level() {
        let sizes = [0, 1, 131_071, 131_072, 131_073, 262_144, 700_001];
        let levels = (0..=9).map(Compression::Gzip).chain([1, 3, 9].map(Compression::Zstd));
        for compression in levels.chain([Compression::None]) {
            for size in sizes {
                let input = sample(size);
                let output = encode(&input, compression, 2, 50_000);
                let mut back = Vec::new();
                decompress(&output[..], Limits::default()).unwrap().read_to_end(&mut back).unwrap();
                assert!(back == input, "{compression:?} {size}");
            }
        }
    }

    #[test]
    fn gnu_gzip_and_zstd_accept_it() {
        let input = sample(5_000_001);
        for (compression, program) in
            [(Compression::Gzip(6), "gzip"), (Compression::Gzip(0), "gzip"), (Compression::Zstd(3), "zstd")]
        {
            let mut child = Command::new(program)
                .args(["-d", "-c"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap_or_else(|error| panic!("this test needs the Debian package `{program}`: {error}"));
            let mut stdin = child.stdin.take().unwrap();
            let output = encode(&input, compression, 2, 1 << 20);
            let feeder = std::thread::spawn(move || stdin.write_all(&output).unwrap());
            let result = child.wait_with_output().unwrap();
            feeder.join().unwrap();
            assert!(result.status.success(), "{program}");
            assert!(result.stdout == input, "{program}");
        }
    }

    #[test]
    fn a_full_disk_is_an_error_not_a_hang() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let input = sample(10_000_000);
        for compression in [Compression::Gzip(1), Compression::Zstd(1)] {
            let mut encoder = Encoder::new(Full(100_000), compression, NonZeroUsize::MIN).unwrap();
            let error = encoder.write_all(&input).and_then(|()| encoder.finish().map(drop)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression:?}");
        }
    }
}
