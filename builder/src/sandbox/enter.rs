//! The helper process from its start until it is in its namespaces.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use layer_store::store::Durability;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;

use super::failure::{Refused as _, because};
use super::keeper::{self, Orders};
use super::mounting;
use super::pasta;
use super::report::{Failure, Rung};
use super::sys;
use super::wire::{self, Reply, Request};

/// What the helper is called in the list of processes, and how it knows that it is one.
pub(super) const NAME: &str = "rbuild-sandbox";

/// The helper's arguments: name, rung, store, durability, and how its ids are mapped once it is in its namespaces.
pub(super) fn arguments(rung: Rung, store_root: &Path, durability: Durability) -> [OsString; 3] {
    let durability = match durability {
        Durability::Full => "full",
        Durability::None => "none",
    };
    [rung.name().into(), store_root.into(), durability.into()]
}

/// Becomes the helper process if this process was started as one.
pub(super) fn run_if_asked() {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    pasta::attend_if_asked(&name);
    if name != NAME {
        return;
    }
    let arguments: Vec<OsString> = arguments.collect();
    let [rung, store_root, durability, entered @ ..] = arguments.as_slice() else { sys::exit_now(2) };
    let Some(rung) = Rung::ALL.into_iter().find(|known| rung == known.name()) else { sys::exit_now(2) };
    let orders = Orders {
        rung,
        store_root: store_root.into(),
        durability: if durability == "none" { Durability::None } else { Durability::Full },
    };
    let Ok(socket) = sys::take_stdin() else { sys::exit_now(2) };
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    if let [id_map, ..] = entered {
        if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
            let _ = rustix::stdio::dup2_stdin(null);
        }
        keeper::serve(orders, &id_map.to_string_lossy(), socket);
    }
    // Ctrl-C is for the builder, which then stops its steps in order.
    let _ = rustix::process::setsid();
    match enter(rung, &socket) {
        Ok(id_map) if rung == Rung::Chroot => keeper::serve(orders, &id_map, socket),
        Ok(id_map) => {
            start_sealed(&arguments, &id_map);
            // Refused (an odd filesystem, a filter): without the seal a step that may write to the file of this
            // program could do so, which takes a step as root on a machine where that is so anyway.
            keeper::serve(orders, &id_map, socket)
        }
        Err(failure) => keeper::refuse(&socket, Failure { rung: Some(rung), ..failure }),
    }
}

/// Enters the namespaces of a rung. Returns how ids are mapped.
fn enter(rung: Rung, socket: &OwnedFd) -> Result<String, Failure> {
    let id_map = match rung {
        Rung::Root => "none".to_owned(),
        Rung::Userns | Rung::Single => {
            sys::unshare(UnshareFlags::NEWUSER).refused("unshare(CLONE_NEWUSER)")?;
            let nothing: [OwnedFd; 0] = [];
            wire::send(socket, &Reply::NeedsIdMap, &nothing).refused("sendmsg")?;
            let map = match wire::receive(socket).refused("recvmsg")? {
                Some((Request::Mapped { outcome: Ok(map) }, _)) => map,
                Some((Request::Mapped { outcome: Err(failure) }, _)) => return Err(failure),
                _ => return Err(because("write(uid_map)", "the builder went away")),
            };
            let root = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
            if rung == Rung::Userns {
                rustix::thread::set_thread_groups(&[]).refused("setgroups")?;
            }
            rustix::thread::set_thread_res_gid(root.1, root.1, root.1).refused("setresgid(0)")?;
            rustix::thread::set_thread_res_uid(root.0, root.0, root.0).refused("setresuid(0)")?;
            map
        }
        Rung::Chroot => {
            // Without namespaces it is this process that ends what a killed step leaves behind.
            rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT))
                .refused("prctl(PR_SET_CHILD_SUBREAPER)")?;
            return Ok("none".to_owned());
        }
    };
    sys::unshare(UnshareFlags::NEWNS).refused("unshare(CLONE_NEWNS)")?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .refused_on("mount(MS_PRIVATE)", "/")?;
    Ok(id_map)
}

/// Starts this program once more, from a read-only view of its file: through `/proc/<pid>/exe` a step could
/// otherwise write to the builder's own program (the class of CVE-2019-5736). Returns only if it could not.
fn start_sealed(arguments: &[OsString], id_map: &str) {
    let Ok(path) = std::env::current_exe() else { return };
    let (Ok(running), Ok(found)) = (std::fs::metadata("/proc/self/exe"), std::fs::metadata(&path)) else {
        return;
    };
    if (running.dev(), running.ino()) != (found.dev(), found.ino()) {
        return;
    }
    let Ok(program) = mounting::clone_of_path(&path, MountAttrFlags::MOUNT_ATTR_RDONLY) else { return };
    let words = std::iter::once(NAME.as_bytes())
        .chain(arguments.iter().map(|argument| argument.as_bytes()))
        .chain([id_map.as_bytes()]);
    let Some(words) = words.map(|word| CString::new(word).ok()).collect::<Option<Vec<_>>>() else { return };
    let environment: Option<Vec<CString>> = std::env::vars_os()
        .map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok())
        .collect();
    sys::execute_file(program.as_fd(), &words, &environment.unwrap_or_default());
}
