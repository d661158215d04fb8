//! A registry that is far away: a proxy on loopback that delays what passes and holds each connection to a rate, as
//! object storage and long lines do. It counts requests, too.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How far the registry is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distance {
    /// What a round trip takes.
    pub(super) round_trip: Duration,
    /// Bytes a second of each connection, in each direction; `None`: as fast as it goes.
    pub(super) rate: Option<f64>,
}

/// A running proxy. Its threads end with the process.
pub(super) struct Far {
    address: String,
    requests: Arc<AtomicUsize>,
}

/// Pieces on their way: with the largest of them, half a second of 20 MB/s.
const ON_THE_WAY: usize = 160;
const PIECE: usize = 64 << 10;

impl Far {
    /// Listens before `registry` (`host:port`).
    pub(super) fn start(registry: &str, distance: Distance) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let (registry, counted) = (registry.to_owned(), Arc::clone(&requests));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (registry, counted) = (registry.clone(), Arc::clone(&counted));
                thread::spawn(move || {
                    // Making a connection is a round trip of its own.
                    thread::sleep(distance.round_trip);
                    let _ = carry(client, &registry, distance, counted);
                });
            }
        });
        Ok(Self { address, requests })
    }

    /// `127.0.0.1:port`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// How many requests there were since the last call.
    pub(super) fn requests(&self) -> usize {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

fn carry(client: TcpStream, registry: &str, distance: Distance, requests: Arc<AtomicUsize>) -> Result<()> {
    let server = TcpStream::connect(registry)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut counter = Counter::new(requests);
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || one_way(from, to, distance, |bytes| counter.see(bytes)));
    one_way(server, client, distance, |_| {});
    Ok(())
}

/// Carries bytes from one side to the other, late and slow enough.
fn one_way(mut from: TcpStream, to: TcpStream, distance: Distance, mut see: impl FnMut(&[u8])) {
    let (sender, receiver): (SyncSender<(Instant, Vec<u8>)>, _) = sync_channel(ON_THE_WAY);
    let writer = thread::spawn(move || deliver(to, &receiver, distance));
    let mut buffer = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        see(&buffer[..count]);
        if sender.send((Instant::now(), buffer[..count].to_vec())).is_err() {
            break;
        }
    }
    drop(sender);
    let _ = writer.join();
}

fn deliver(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>, distance: Distance) {
    let mut free = Instant::now();
    while let Ok((sent, bytes)) = receiver.recv() {
        let due = (sent + distance.round_trip / 2).max(free);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if let Some(rate) = distance.rate {
            #[expect(clippy::cast_precision_loss, reason = "a piece is small")]
            let time = Duration::from_secs_f64(bytes.len() as f64 / rate);
            free = due.max(free) + time;
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Counts the requests of one connection of HTTP/1.1. Bodies have to announce their length.
struct Counter {
    requests: Arc<AtomicUsize>,
    head: Vec<u8>,
    body: u64,
}

impl Counter {
    fn new(requests: Arc<AtomicUsize>) -> Self {
        Self { requests, head: Vec::new(), body: 0 }
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
            self.body -= skipped as u64;
            bytes = &bytes[skipped..];
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.head.push(*byte);
            bytes = rest;
            if self.head.ends_with(b"\r\n\r\n") {
                self.requests.fetch_add(1, Ordering::Relaxed);
                let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
                self.body = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
                self.head.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_whatever_their_pieces() {
        let text = b"GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\nPUT /x HTTP/1.1\r\nContent-Length: 4\r\n\r\n\r\n\r\nHEAD / HTTP/1.1\r\n\r\n";
        for size in [1, 3, text.len()] {
            let requests = Arc::new(AtomicUsize::new(0));
            let mut counter = Counter::new(Arc::clone(&requests));
            text.chunks(size).for_each(|piece| counter.see(piece));
            assert_eq!(requests.load(Ordering::Relaxed), 3, "pieces of {size}");
        }
    }
}
