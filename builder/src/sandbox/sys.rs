//! The system calls that have no safe wrapper, and the only `unsafe` of the sandbox.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// One BPF instruction of a seccomp filter.
pub(super) use libc::sock_filter as Instruction;

/// Which side of a fork this is.
pub(super) enum Forked {
    /// The new process. It leaves with [`exit_now`] and never returns to its caller's caller.
    Child,
    /// The old one.
    Parent {
        /// The new process.
        pid: Pid,
        /// The same, as a descriptor that cannot come to mean another.
        pidfd: OwnedFd,
    },
}

/// Forks, with the child in the new namespaces that `namespaces` (`CLONE_NEW*`) names.
///
/// The caller must be single-threaded, which every process that reaches this code is: the keeper never starts a
/// thread.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn fork_into(namespaces: i32) -> io::Result<Forked> {
    let flags = i64::from(namespaces | libc::CLONE_PIDFD | libc::SIGCHLD);
    let mut pidfd: RawFd = -1;
    // SAFETY: without CLONE_VM this is fork: the child gets a copy of everything, on a copy of this stack. No other
    // thread exists that could hold a lock. The kernel writes the descriptor to the address of `pidfd`.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel made this descriptor for us; nothing else owns it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Forked::Parent { pid, pidfd })
        }
    }
}

/// Ends the process at once, without running destructors: descriptors of a forked child are its parent's.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: always sound; it does not return.
    unsafe { libc::_exit(status) }
}

/// Kills every process of this PID namespace but this one, which is its first.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn kill_all_others() {
    if std::process::id() == 1 {
        // SAFETY: always sound; process 1 itself is spared.
        unsafe { libc::kill(-1, libc::SIGKILL) };
    }
}

/// Which child has ended and can be waited for, without waiting for it.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn ended_child() -> Option<Pid> {
    // SAFETY: an all-zero `siginfo_t` is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the kernel writes one `siginfo_t` to this address.
    if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } != 0 {
        return None;
    }
    // SAFETY: waitid filled in the fields of SIGCHLD, or left zeros.
    Pid::from_raw(unsafe { info.si_pid() })
}

/// Enters new namespaces. None of `flags` may be `FILES`.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // SAFETY: unsafe only for `FILES`, which is refused here.
    unsafe { rustix::thread::unshare_unsafe(flags.difference(UnshareFlags::FILES)) }
}

/// The descriptor that was passed as standard input, taken out of the way of what follows.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(Into::into)
}

/// Closes every descriptor from `first` on but those of `keep`.
pub(super) fn close_all_but(first: RawFd, keep: &[RawFd]) {
    let mut keep: Vec<u32> =
        keep.iter().filter(|fd| **fd >= first).filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut from = u32::try_from(first).unwrap_or(0);
    for fd in keep {
        if fd > from {
            close_range(from, fd - 1, 0);
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX, 0);
}

/// Marks every descriptor from `first` on to be closed by exec.
pub(super) fn close_on_exec_from(first: u32) {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
}

#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
fn close_range(first: u32, last: u32, flags: u32) {
    // SAFETY: closing descriptors is sound for memory; the callers' `OwnedFd`s of closed numbers are never used or
    // dropped, since these processes leave by exec or `exit_now`.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done == 0 {
        return;
    }
    // Kernels before 5.9, and filters that do not know the call.
    for fd in first..=last.min(4096) {
        let Ok(fd) = RawFd::try_from(fd) else { return };
        // SAFETY: as above.
        unsafe {
            if flags == 0 {
                libc::close(fd);
            } else {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

/// Changes the flags of a mount (`MOUNT_ATTR_*`), and of all mounts below it where `recursive`.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, set: u64) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attributes = Attributes { set, clear: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { 0x8000 } else { 0 };
    // SAFETY: the path is a static C string and the struct is of the size that is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Installs a seccomp filter on this process, for good.
pub(super) fn install_filter(program: &[Instruction]) -> io::Result<()> {
    seccomp(program, 0).map(drop)
}

/// Installs a seccomp filter whose `USER_NOTIF` verdicts are answered through the descriptor that is returned.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn install_notifying_filter(program: &[Instruction]) -> io::Result<OwnedFd> {
    let fd = seccomp(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    let fd = RawFd::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
fn seccomp(program: &[Instruction], flags: u64) -> io::Result<i64> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from the slice, which outlives the call, and writes nothing.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

/// Replaces this process by `program`. Returns only the reason why not.
/// Gives every signal its default action and blocks none, as a command expects it: Rust ignores SIGPIPE, and what is
/// ignored stays so through exec.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: changes only this process's table of actions; the kernel refuses SIGKILL, SIGSTOP and what is none.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: a set of signals is plain data, for which all zeros is the empty set, and outlives the call.
    unsafe {
        let none: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays hold pointers to live C strings and end with a null pointer.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces this process by the program in an open file. Returns only the reason why not.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn execute_file(
    program: BorrowedFd<'_>,
    arguments: &[CString],
    environment: &[CString],
) -> io::Error {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: as in `execute`; the empty path with AT_EMPTY_PATH means the descriptor itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Brings the loopback interface of this network namespace up.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero `ifreq` is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq` from this address.
    let done =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notification {
    /// Which wait it is.
    pub(super) id: u64,
    /// The thread, as numbered in this process's PID namespace.
    pub(super) pid: u32,
    /// The call's number.
    pub(super) call: i64,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

/// How a waiting call goes on.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It returns this.
    Returns(i64),
    /// It returns a new descriptor of this, closed on exec if that is among the flags.
    Opens(OwnedFd, rustix::fs::OFlags),
    /// It fails with this errno.
    Fails(i32),
    /// The kernel carries it out after all.
    Continues,
}

/// Lets who waits and who answers run on one CPU in turn, which halves the cost of each call (Linux 6.6).
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn wake_in_turn(listener: BorrowedFd<'_>) {
    // SAFETY: this request takes a number, not an address.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, 1_u64) };
}

/// Takes the next call that waits. `NotFound` if its thread was killed meanwhile.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn next_notification(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // SAFETY: an all-zero `seccomp_notif` is valid, and what the kernel demands.
    let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `seccomp_notif` to this address.
    let done =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut raw) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Notification { id: raw.id, pid: raw.pid, call: raw.data.nr.into(), arguments: raw.data.args })
}

/// Answers a call. `NotFound` if its thread was killed meanwhile.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn answer(listener: BorrowedFd<'_>, id: u64, verdict: Verdict) -> io::Result<()> {
    let (val, error, flags) = match verdict {
        Verdict::Opens(file, flags) => return hand_over(listener, id, &file, flags),
        Verdict::Returns(value) => (value, 0, 0),
        Verdict::Fails(errno) => (0, -errno, 0),
        Verdict::Continues => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
    };
    let response = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: the kernel reads one `seccomp_notif_resp` from this address.
    let done = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const response)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts a descriptor into the table of who waits, and lets its call return the number.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
fn hand_over(listener: BorrowedFd<'_>, id: u64, file: &OwnedFd, flags: rustix::fs::OFlags) -> io::Result<()> {
    let request = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: file.as_raw_fd().cast_unsigned(),
        newfd: 0,
        newfd_flags: (flags & rustix::fs::OFlags::CLOEXEC).bits(),
    };
    // SAFETY: the kernel reads one `seccomp_notif_addfd` from this address.
    let added = unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw const request)
    };
    if added >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOENT) => Err(error),
        // A full table is the caller's to know.
        error => answer(listener, id, Verdict::Fails(error.raw_os_error().unwrap_or(libc::EPERM))),
    }
}

/// Whether descriptors can be handed over in an answer (Linux 5.14): asked with a call that nobody waits in.
pub(super) fn can_hand_over(listener: &OwnedFd) -> bool {
    let nobody = hand_over(listener.as_fd(), u64::MAX, listener, rustix::fs::OFlags::empty());
    nobody.is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
}

/// Does something with another user and group, and comes back to root.
pub(super) fn with_identity<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    use rustix::fs::{Gid, Uid};
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let changed = rustix::thread::set_thread_res_gid(group, group, Gid::ROOT)
        .and_then(|()| rustix::thread::set_thread_res_uid(user, user, Uid::ROOT));
    let result = work();
    if changed.is_ok() {
        let _ = rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT);
    }
    let _ = rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT);
    // The kernel forgets it with every change of identity.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    result
}

/// Whether the call still waits: what was read of its process meanwhile is that process's.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads one number from this address.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id) == 0 }
}

/// What a file is to look like, where the disk says something else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    /// Owner.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Type bits and number of a device.
    pub(super) device: Option<(u32, u64)>,
}

/// What `fstat` gives for an open place, with these looks in the place of those on the disk, as the kernel writes it.
#[expect(unsafe_code, reason = "rustix converts what has to stay as it is")]
pub(super) fn stat_bytes(place: BorrowedFd<'_>, looks: Looks) -> io::Result<Vec<u8>> {
    // SAFETY: an all-zero `stat` is valid.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `stat` to this address.
    if unsafe { libc::fstat(place.as_raw_fd(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    (stat.st_uid, stat.st_gid) = (looks.uid, looks.gid);
    if let Some((kind, number)) = looks.device {
        stat.st_mode = stat.st_mode & !libc::S_IFMT | kind;
        stat.st_rdev = number;
    }
    // SAFETY: the struct is plain data that was all zeros before the kernel wrote to it, so that its padding is set.
    let bytes =
        unsafe { std::slice::from_raw_parts((&raw const stat).cast::<u8>(), size_of::<libc::stat>()) };
    Ok(bytes.to_vec())
}

/// The same of `statx` with a mask.
#[expect(unsafe_code, reason = "rustix converts what has to stay as it is")]
pub(super) fn statx_bytes(place: BorrowedFd<'_>, mask: u32, looks: Looks) -> io::Result<Vec<u8>> {
    // SAFETY: an all-zero `statx` is valid.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: the path is a static C string, and the kernel writes one `statx` to this address.
    if unsafe { libc::statx(place.as_raw_fd(), c"".as_ptr(), flags, mask, &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    (stat.stx_uid, stat.stx_gid) = (looks.uid, looks.gid);
    if let Some((kind, number)) = looks.device {
        // Both fit: the file's type stands in the upper of 16 bits.
        stat.stx_mode = (u32::from(stat.stx_mode) & !libc::S_IFMT | kind) as u16;
        (stat.stx_rdev_major, stat.stx_rdev_minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    }
    // SAFETY: as above.
    let bytes =
        unsafe { std::slice::from_raw_parts((&raw const stat).cast::<u8>(), size_of::<libc::statx>()) };
    Ok(bytes.to_vec())
}

/// Reads another process's memory; gives how many bytes could be read.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn read_memory(pid: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(0)),
        iov_len: buffer.len(),
    };
    // SAFETY: the kernel writes at most `len` bytes to the local buffer; the remote address is only a number here.
    let read =
        unsafe { libc::process_vm_readv(pid.cast_signed(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Writes to another process's memory.
#[expect(unsafe_code, reason = "rustix has no safe wrapper for it")]
pub(super) fn write_memory(pid: u32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(usize::try_from(address).unwrap_or(0)),
        iov_len: bytes.len(),
    };
    // SAFETY: the kernel reads `len` bytes of the local buffer; the remote address is only a number here.
    let written =
        unsafe { libc::process_vm_writev(pid.cast_signed(), &raw const local, 1, &raw const remote, 1, 0) };
    if written == bytes.len().cast_signed() { Ok(()) } else { Err(io::Error::last_os_error()) }
}
