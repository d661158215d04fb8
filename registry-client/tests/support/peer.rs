//! Debian's docker-registry, and a line to it that breaks.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A docker-registry on a free port, which ends with the value.
pub(crate) struct Peer {
    child: Child,
    pub(crate) port: u16,
    _place: tempfile::TempDir,
}

impl Peer {
    /// `extra` is added to its settings, below `http:` where it is indented.
    pub(crate) fn start(extra: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), extra)
    }

    pub(crate) fn start_in(place: tempfile::TempDir, extra: &str) -> Self {
        let port = free_port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{extra}",
            root = place.path().join("data").display(),
        );
        let path = place.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path);
        let child = spawn(command, "docker-registry", port);
        Self { child, port, _place: place }
    }

    pub(crate) fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server and waits until it listens.
pub(crate) fn spawn(mut command: Command, package: &str, port: u16) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child =
        child.unwrap_or_else(|error| panic!("the package {package} is needed for this test: {error}"));
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "{package} does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// A line to a server that breaks again and again. Its threads end with the process.
pub(crate) struct Line {
    pub(crate) port: u16,
    /// Bytes that went to the server and those that came from it, of all connections.
    carried: Arc<[AtomicU64; 2]>,
}

impl Line {
    /// Breaks whichever connection carries the bytes at each of these points, counted over both directions together.
    pub(crate) fn to(server: u16, breaks: Vec<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let carried: Arc<[AtomicU64; 2]> = Arc::default();
        let (counted, breaks) = (Arc::clone(&carried), Arc::new(Mutex::new(breaks)));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let ends = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                for (direction, from, to) in
                    [(0, client, ends[1].try_clone().unwrap()), (1, server, ends[0].try_clone().unwrap())]
                {
                    let (counted, breaks) = (Arc::clone(&counted), Arc::clone(&breaks));
                    let ends = [ends[0].try_clone().unwrap(), ends[1].try_clone().unwrap()];
                    std::thread::spawn(move || carry(direction, from, to, &ends, &counted, &breaks));
                }
            }
        });
        Self { port, carried }
    }

    /// All bytes so far, both ways.
    pub(crate) fn carried(&self) -> u64 {
        total(&self.carried)
    }
}

fn total(carried: &[AtomicU64; 2]) -> u64 {
    carried.iter().map(|one| one.load(Ordering::Relaxed)).sum()
}

fn carry(
    direction: usize,
    mut from: TcpStream,
    mut to: TcpStream,
    ends: &[TcpStream; 2],
    carried: &[AtomicU64; 2],
    breaks: &Mutex<Vec<u64>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        carried[direction].fetch_add(count as u64, Ordering::Relaxed);
        let mut left = breaks.lock().unwrap();
        if left.first().is_some_and(|point| total(carried) >= *point) {
            left.remove(0);
            drop(left);
            for end in ends {
                let _ = end.shutdown(Shutdown::Both);
            }
            return;
        }
        drop(left);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Twenty points at random below `size`, in order.
pub(crate) fn twenty_points(seed: u64, size: u64) -> Vec<u64> {
    let mut state = seed;
    let mut points: Vec<u64> = (0..20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 16) % size
        })
        .collect();
    points.sort_unstable();
    points
}
