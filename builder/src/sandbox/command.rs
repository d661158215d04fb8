//! The last steps of a process before it becomes the user's command: streams, limits, identity, program.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::failure::{Refused as _, because};
use super::report::Failure;
use super::step::Step;
use super::sys::{self, Instruction};
use super::wire::{self, NotRun};
use super::{capabilities, console, emulation, foreign, landlock};

/// A process that is inside the step's root and only has to become its command.
pub(super) struct Ready<'a> {
    pub(super) step: &'a Step,
    pub(super) filter: &'a [Instruction],
    pub(super) seccomp: bool,
    pub(super) cwd: OwnedFd,
    /// Its input, if it has one and no terminal.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// In the place of all three.
    pub(super) terminal: Option<OwnedFd>,
    /// The root to change to, where nothing is mounted.
    pub(super) root: Option<OwnedFd>,
    /// Where the descriptor goes by which calls are answered, where some are.
    pub(super) listener: Option<OwnedFd>,
    /// Whether the step is kept in its directory by Landlock.
    pub(super) confined: bool,
}

/// Becomes the command. Returns only why it could not.
pub(super) fn become_it(ready: &Ready<'_>) -> NotRun {
    match prepare(ready) {
        Ok(()) => execute(ready.step),
        Err(failure) => failure.into(),
    }
}

fn prepare(ready: &Ready<'_>) -> Result<(), Failure> {
    let step = ready.step;
    let _ = rustix::process::setsid();
    let open_null = || rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let outer = open_null();
    if let Some(root) = &ready.root {
        rustix::process::fchdir(root).refused("fchdir(root)")?;
        rustix::process::chroot(".").refused("chroot")?;
    }
    // Where no device node can be made, what is there in its place is a file.
    let null = outer.or_else(|_| open_null()).refused_on("open", "/dev/null")?;
    if let Some(terminal) = &ready.terminal {
        console::take(terminal)?;
    }
    let of = |own| ready.terminal.as_ref().unwrap_or(own);
    rustix::stdio::dup2_stdin(of(ready.stdin.as_ref().unwrap_or(&null))).refused("dup2")?;
    rustix::stdio::dup2_stdout(of(&ready.stdout)).refused("dup2")?;
    rustix::stdio::dup2_stderr(of(&ready.stderr)).refused("dup2")?;
    let uid = Uid::from_raw(step.user.uid);
    // So that the command can open /dev/stdout and /proc/self/fd/2 by name. Only comfort.
    let _ = rustix::fs::fchown(&ready.stdout, Some(uid), None);
    let _ = rustix::fs::fchown(&ready.stderr, Some(uid), None);
    for limit in &step.ulimits {
        raise(limit)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    enter_working_directory(ready)?;
    sys::close_on_exec_from(3);

    let wanted = capabilities::wanted(step.insecure, &step.cap_add, &step.cap_drop)
        .map_err(|name| because("capset", format!("there is no capability `{name}`")))?;
    // With it a step could leave the directory that is all it has for a root.
    let wanted =
        if ready.root.is_some() { wanted - rustix::thread::CapabilitySet::SYS_CHROOT } else { wanted };
    if let Some(missing) = capabilities::not_ours(&step.cap_add) {
        return Err(because(
            "capset",
            format!("rbuild does not hold the capability `{missing}` itself here"),
        ));
    }
    if step.no_new_privileges {
        rustix::thread::set_no_new_privs(true).refused("prctl(PR_SET_NO_NEW_PRIVS)")?;
    }
    if ready.root.is_some() && ready.listener.is_some() {
        // Without SYS_ADMIN a filter takes this.
        rustix::thread::set_no_new_privs(true).refused("prctl(PR_SET_NO_NEW_PRIVS)")?;
        if ready.confined {
            let root =
                rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).refused("open(/)")?;
            landlock::confine(root.as_fd()).refused("landlock_restrict_self")?;
        }
    }
    // Before anything is given up, since without no_new_privs it takes SYS_ADMIN.
    let filtered = !step.insecure && !step.unfiltered;
    if (ready.seccomp || rustix::thread::no_new_privs().unwrap_or(false)) && filtered {
        sys::install_filter(ready.filter).refused("seccomp(SECCOMP_SET_MODE_FILTER)")?;
    }
    capabilities::bound(wanted);
    if let Some(socket) = &ready.listener {
        let filter = if ready.root.is_some() {
            emulation::filter_without_mounts()
        } else {
            emulation::filter_one_id()
        };
        let listener =
            sys::install_notifying_filter(&filter).refused("seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER)")?;
        wire::send(socket, &(), &[listener]).refused("sendmsg")?;
        if ready.root.is_none() {
            // Who this process is process 1 knows, and says from here on.
            return capabilities::keep(wanted).refused("capset");
        }
    }
    become_user(step)?;
    if ready.root.is_some() {
        // No PID namespace ends it with its keeper.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
    capabilities::keep(if uid.is_root() { wanted } else { rustix::thread::CapabilitySet::empty() })
        .refused("capset")
}

fn become_user(step: &Step) -> Result<(), Failure> {
    let groups: Vec<Gid> = step.user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(step.user.uid), Gid::from_raw(step.user.gid));
    rustix::thread::set_thread_groups(&groups).refused("setgroups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).refused(&format!("setresgid({})", gid.as_raw()))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).refused(&format!("setresuid({})", uid.as_raw()))
}

/// A working directory outside the root would be a way out of it (CVE-2024-21626 of runc): checked after the fact.
fn enter_working_directory(ready: &Ready<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(&ready.cwd).refused_on("chdir", &ready.step.cwd)?;
    let name = rustix::process::getcwd(Vec::new()).refused_on("getcwd", &ready.step.cwd)?;
    if !name.as_bytes().starts_with(b"/") {
        return Err(because("getcwd", "the working directory is outside the image"));
    }
    Ok(())
}

/// A limit that may not be raised is raised as far as it may: a build must not fail where it would have enough.
fn raise(limit: &super::step::Ulimit) -> Result<(), Failure> {
    let resource = match limit.name.as_str() {
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        "as" => Resource::As,
        other => return Err(because("setrlimit", format!("there is no limit named `{other}`"))),
    };
    let wanted = Rlimit { current: limit.soft, maximum: limit.hard };
    if rustix::process::setrlimit(resource, wanted) == Err(Errno::PERM) {
        let held = rustix::process::getrlimit(resource).maximum;
        let lower = |value: Option<u64>| match (value, held) {
            (Some(value), Some(held)) => Some(value.min(held)),
            (value, held) => value.or(held),
        };
        let _ = rustix::process::setrlimit(
            resource,
            Rlimit { current: lower(wanted.current), maximum: lower(wanted.maximum) },
        );
    }
    Ok(())
}

/// Looks the program up as a shell would, in the `PATH` that the step gets.
fn execute(step: &Step) -> NotRun {
    let Some(program) = step.argv.first() else {
        return because("execve", "there is no command").into();
    };
    sys::default_signals();
    let failed = |errno: i32| {
        let error = std::io::Error::from_raw_os_error(errno);
        let (reason, status) = match errno {
            libc::ENOENT if program.as_bytes().contains(&b'/') => {
                ("there is no such file, or the interpreter that it names is missing".to_owned(), 127)
            }
            libc::ENOENT => ("there is no such program in `PATH`".to_owned(), 127),
            libc::ENOEXEC => (foreign::reason(program), 126),
            _ => (error.to_string(), 126),
        };
        NotRun::Command { program: program.clone(), reason, status }
    };
    let strings = |list: &[OsString]| -> Option<Vec<CString>> {
        list.iter().map(|item| CString::new(item.as_bytes()).ok()).collect()
    };
    let (Some(arguments), Some(environment)) = (strings(&step.argv), strings(&step.env)) else {
        return because("execve", "an argument or a variable contains a NUL byte").into();
    };
    if program.as_bytes().contains(&b'/') {
        return failed(run(program, &arguments, &environment));
    }
    let path = step.env.iter().rev().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut worst = libc::ENOENT;
    for directory in path.split(|byte| *byte == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate = Path::new(OsStr::from_bytes(directory)).join(program);
        match run(candidate.as_os_str(), &arguments, &environment) {
            libc::ENOENT | libc::ENOTDIR => {}
            errno => worst = errno,
        }
        if worst != libc::ENOENT && worst != libc::EACCES {
            break;
        }
    }
    failed(worst)
}

fn run(program: &OsStr, arguments: &[CString], environment: &[CString]) -> i32 {
    let Ok(program) = CString::new(program.as_bytes()) else { return libc::EINVAL };
    sys::execute(&program, arguments, environment).raw_os_error().unwrap_or(libc::EINVAL)
}
