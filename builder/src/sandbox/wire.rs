//! What the builder and its keeper say to each other: one datagram a message, descriptors beside it.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use layer_store::Digest;
use layer_store::layer::{DiffOptions, Moment};
use layer_store::store::Ownership;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::report::{Failure, Report};
use super::step::{ExitStatus, Shortage, Step};

/// Bodies up to this many bytes travel in the datagram; longer ones in a memfd beside it, since a datagram may not
/// exceed the socket's buffer.
const INLINE: usize = 60_000;
/// No message has more descriptors (the kernel's own limit is 253).
const MAX_DESCRIPTORS: usize = 250;

/// What the builder asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Run a step. Descriptors: its stdout, its stderr, what `input` says, the socket to who makes its network if that is
    /// private, then one for each secret in order.
    Run { id: u64, step: Box<Step>, input: InputKind },
    /// Kill a step.
    Cancel { id: u64 },
    /// Make what a step left a layer.
    Commit { id: u64, directory: RawPath, left: Left, below: Vec<Digest>, options: DiffOptions },
    /// Give owners, modes and extended attributes.
    Own { id: u64, tree: RawPath, owners: Vec<Ownership> },
    /// Remove a directory with all that is in it.
    Remove { id: u64, path: RawPath },
    /// Open a regular file for reading.
    Open { id: u64, path: RawPath },
    /// Stream a layer's tar into the descriptor.
    WriteTar { id: u64, diff_id: Digest },
    /// How the id maps were written, or why not.
    Mapped { outcome: Result<String, Failure> },
}

/// What a step's directory is after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Left {
    /// The upper directory of an overlay.
    Upper,
    /// The step's whole filesystem. Before that moment, where it is known, it was what the layers below say.
    Copy { since: Option<Moment> },
}

/// What the descriptor of a step's input is, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum InputKind {
    Nothing,
    /// Its standard input.
    Stream,
    /// A socket for the other side of its terminal.
    Terminal,
}

/// What the keeper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// It is in a new user namespace and waits for its id maps.
    NeedsIdMap,
    /// It is ready for requests.
    Ready { report: Report },
    /// This rung does not work.
    Refused { failure: Failure },
    /// A step ran to its end.
    Finished {
        id: u64,
        status: ExitStatus,
        shortage: Option<Shortage>,
        owners: Option<Vec<(Vec<u8>, u32, u32)>>,
    },
    /// A step could not be run.
    NotRun { id: u64, why: NotRun },
    /// A layer was made.
    Committed { id: u64, diff_id: Digest },
    /// It is done; the descriptor is what was opened, if anything was.
    Done { id: u64 },
    /// It could not be done.
    Failed { id: u64, errno: Option<i32>, message: String },
}

impl Reply {
    /// Which request it answers.
    pub(super) fn id(&self) -> Option<u64> {
        match self {
            Self::NeedsIdMap | Self::Ready { .. } | Self::Refused { .. } => None,
            Self::Finished { id, .. }
            | Self::NotRun { id, .. }
            | Self::Committed { id, .. }
            | Self::Done { id }
            | Self::Failed { id, .. } => Some(*id),
        }
    }
}

/// Why a step was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NotRun {
    /// Its surroundings could not be made.
    Setup(Failure),
    /// One of its mounts is impossible.
    Mount { target: String, reason: String },
    /// Its command could not be started.
    Command { program: OsString, reason: String, status: i32 },
    /// It was cancelled, or something killed its first process.
    Killed,
}

impl From<Failure> for NotRun {
    fn from(failure: Failure) -> Self {
        Self::Setup(failure)
    }
}

/// Sends one message. Blocks while the other side is behind.
pub(super) fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[impl AsFd]) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let mut all: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let spilled;
    let mut tag = *b"I";
    let mut payload: &[u8] = &body;
    if body.len() > INLINE {
        spilled = memory_file(&body)?;
        all.push(spilled.as_fd());
        tag = *b"M";
        payload = b"";
    }
    if all.len() > MAX_DESCRIPTORS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors in one message"));
    }
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !all.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&all));
    }
    let parts = [IoSlice::new(&tag), IoSlice::new(payload)];
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one message; `None` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; INLINE + 1];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    });
    let received = match received {
        Ok(received) => received.bytes,
        Err(rustix::io::Errno::CONNRESET) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let Some((tag, inline)) = buffer.get(..received).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    let message = if *tag == b'M' {
        let file = fds.pop().ok_or(io::ErrorKind::InvalidData)?;
        let mut file = std::fs::File::from(file);
        let mut body = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut body)?;
        serde_json::from_slice(&body)?
    } else {
        serde_json::from_slice(inline)?
    };
    Ok(Some((message, fds)))
}

/// A file of memory that holds `bytes`, positioned at its start.
pub(super) fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("rbuild", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// A path of any bytes: text where it is UTF-8, which it nearly always is, else numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum RawPath {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl From<&std::path::Path> for RawPath {
    fn from(path: &std::path::Path) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        path.to_str().map_or_else(
            || Self::Bytes(path.as_os_str().as_bytes().to_vec()),
            |text| Self::Text(text.to_owned()),
        )
    }
}

impl From<RawPath> for PathBuf {
    fn from(path: RawPath) -> Self {
        use std::os::unix::ffi::OsStringExt as _;
        match path {
            RawPath::Text(text) => text.into(),
            RawPath::Bytes(bytes) => OsString::from_vec(bytes).into(),
        }
    }
}

/// For `#[serde(with = "wire::path")]` on a `PathBuf` that may hold any bytes.
pub(super) mod path {
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::RawPath;

    pub(in super::super) fn serialize<S: Serializer>(
        path: &std::path::Path,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        RawPath::from(path).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        RawPath::deserialize(from).map(Into::into)
    }
}

/// The same for lists of paths and of words.
pub(super) mod list {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::RawPath;

    pub(in super::super) fn serialize<S: Serializer, T: AsRef<Path>>(
        list: &[T],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(|item| RawPath::from(item.as_ref())))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>, T: From<OsString>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let list = Vec::<RawPath>::deserialize(from)?;
        Ok(list.into_iter().map(|path| PathBuf::from(path).into_os_string().into()).collect())
    }
}

/// The two ends of a connection that keeps messages apart.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_odd_messages_arrive_with_their_descriptors() {
        let (left, right) = pair().unwrap();
        let odd = RawPath::from(std::path::Path::new(
            <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/a\xff"),
        ));
        let owners = (0..5000)
            .map(|n| Ownership {
                path: format!("usr/share/{n}").into_bytes(),
                uid: n,
                gid: n,
                mode: Some(0o644),
                xattrs: vec![],
            })
            .collect();
        let request = Request::Own { id: 7, tree: odd.clone(), owners };
        let passed = memory_file(b"passed").unwrap();
        send(&left, &request, &[passed]).unwrap();
        let (arrived, fds): (Request, _) = receive(&right).unwrap().unwrap();
        let Request::Own { id: 7, tree, owners } = arrived else { panic!("not what was sent") };
        assert_eq!(tree, odd);
        assert_eq!(owners.len(), 5000);
        let text = io::read_to_string(std::fs::File::from(fds.into_iter().next().unwrap())).unwrap();
        assert_eq!(text, "passed");
        drop(left);
        assert!(receive::<Request>(&right).unwrap().is_none());
    }
}
