//! gzip in parallel blocks, with the same bytes at any number of threads.
//!
//! The input is cut into blocks of a fixed size. Each is compressed by a fresh compressor that knows the 32 KiB before
//! the block, and ends at a byte boundary, so that the results follow one another in one gzip member. A compressor
//! that is reset and used again keeps tables whose contents depend on which blocks it saw before, that is on
//! scheduling: crates that do so give other bytes on every run.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Crc, FlushCompress, Status};

/// How much one compressor gets, in bytes. Part of the format: another value gives other bytes.
const BLOCK: usize = 128 * 1024;

/// How far deflate looks back, in bytes.
const WINDOW: usize = 32 * 1024;

/// Compresses what is written to it. [`GzipWriter::finish`] has to be called.
///
/// Memory: about 0.4 MiB for each thread, and twice as many blocks as threads wait in line.
pub(super) struct GzipWriter<W> {
    output: W,
    /// What came last of the block before (at most [`WINDOW`] bytes), then what came of this one.
    buffer: Vec<u8>,
    window: usize,
    level: u32,
    crc: Crc,
    jobs: Option<SyncSender<Job>>,
    waiting: VecDeque<Receiver<Done>>,
    most_waiting: usize,
    workers: Vec<JoinHandle<()>>,
}

struct Job {
    buffer: Vec<u8>,
    window: usize,
    level: u32,
    last: bool,
    done: Sender<Done>,
}

type Done = io::Result<(Vec<u8>, Crc)>;

impl<W: Write> GzipWriter<W> {
    /// A writer at a level from 0 to 9, with that many threads beside the calling one.
    pub(super) fn new(mut output: W, level: u32, threads: NonZeroUsize) -> io::Result<Self> {
        let level = level.min(9);
        // RFC 1952 section 2.3.1, XFL: 2 for the slowest algorithm, 4 for the fastest; OS 255: not said.
        let effort = match level {
            9 => 2,
            1 => 4,
            _ => 0,
        };
        output.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 255])?;
        let most_waiting = threads.get() * 2;
        let (jobs, queue) = sync_channel::<Job>(most_waiting);
        let queue = Arc::new(Mutex::new(queue));
        let workers = (0..threads.get())
            .map(|_| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new().name("gzip".to_owned()).spawn(move || work(&queue))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            output,
            buffer: Vec::with_capacity(WINDOW + BLOCK),
            window: 0,
            level,
            crc: Crc::new(),
            jobs: Some(jobs),
            waiting: VecDeque::new(),
            most_waiting,
            workers,
        })
    }

    /// Compresses what is left and ends the member. Returns the output.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        while !self.waiting.is_empty() {
            self.take()?;
        }
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        // ISIZE is the length modulo 2^32, as `amount` counts.
        self.output.write_all(&self.crc.amount().to_le_bytes())?;
        self.output.flush()?;
        self.jobs = None;
        for worker in self.workers.drain(..) {
            worker.join().map_err(|_| died())?;
        }
        Ok(self.output)
    }

    fn submit(&mut self, last: bool) -> io::Result<()> {
        if self.waiting.len() >= self.most_waiting {
            self.take()?;
        }
        let from = self.buffer.len().saturating_sub(WINDOW);
        let mut next = Vec::with_capacity(WINDOW + BLOCK);
        next.extend_from_slice(&self.buffer[from..]);
        let window = std::mem::replace(&mut self.window, next.len());
        let buffer = std::mem::replace(&mut self.buffer, next);
        let (done, result) = channel();
        let job = Job { buffer, window, level: self.level, last, done };
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(died)?;
        self.waiting.push_back(result);
        Ok(())
    }

    fn take(&mut self) -> io::Result<()> {
        let Some(result) = self.waiting.pop_front() else { return Ok(()) };
        let (bytes, crc) = result.recv().map_err(|_| died())??;
        self.crc.combine(&crc);
        self.output.write_all(&bytes)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.window + BLOCK - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if taken == room {
            self.submit(false)?;
        }
        Ok(taken)
    }

    /// Hands on what is compressed; does not cut a block short, which would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn died() -> io::Error {
    io::Error::other("a compressor thread died")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let done = compress(&job);
        // Nobody waits any more when the writer was dropped.
        let _ = job.done.send(done);
    }
}

fn compress(job: &Job) -> Done {
    let (window, block) = job.buffer.split_at(job.window);
    let mut crc = Crc::new();
    crc.update(block);
    let mut compress = Compress::new(flate2::Compression::new(job.level), false);
    if !window.is_empty() {
        compress.set_dictionary(window).map_err(io::Error::other)?;
    }
    let mut output = Vec::with_capacity(block.len() / 2 + 1024);
    let flush = if job.last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let taken = usize::try_from(compress.total_in()).unwrap_or(block.len());
        let status = compress.compress_vec(&block[taken..], &mut output, flush).map_err(io::Error::other)?;
        let complete = if job.last {
            status == Status::StreamEnd
        } else {
            // Room that is left over says that the flush is complete (zlib.h, `deflate`).
            compress.total_in() == block.len() as u64 && output.len() < output.capacity()
        };
        if complete {
            return Ok((output, crc));
        }
        output.reserve(block.len() / 4 + 1024);
    }
}
