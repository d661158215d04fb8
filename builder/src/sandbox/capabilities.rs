//! Capability sets by name, and how a step's process comes down to its own.

use rustix::thread::{CapabilitySet, CapabilitySets};

/// What Docker leaves to a container's root: enough for package managers and little more.
/// (moby `daemon/pkg/oci/caps/defaults.go`.)
pub(super) const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// The set that a step gets: the default, or everything for an insecure step, changed as moby's `TweakCapabilities` does
/// (`daemon/pkg/oci/caps/utils.go`): `ALL` added is everything but what is dropped, `ALL` dropped is nothing but what is
/// added, and else what is added comes last. An unknown name is returned as the error.
pub(super) fn wanted(insecure: bool, add: &[String], drop: &[String]) -> Result<CapabilitySet, String> {
    let union = |names: &[String]| {
        names.iter().try_fold(CapabilitySet::empty(), |set, name| named(name).map(|one| set | one))
    };
    let all = |names: &[String]| names.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
    let base = if insecure { CapabilitySet::all() } else { DEFAULT };
    let (added, dropped) = (union(add)?, union(drop)?);
    Ok(if all(add) {
        let named: Vec<String> =
            drop.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")).cloned().collect();
        CapabilitySet::all() - union(&named)?
    } else if all(drop) {
        added
    } else {
        (base - dropped) | added
    })
}

/// Takes every capability that is not in `set` out of the bounding set, as far as this process may.
pub(super) fn bound(set: CapabilitySet) {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !set.contains(capability) {
            // EINVAL past the kernel's last capability; EPERM without SETPCAP, when there is nothing to lose.
            if rustix::thread::remove_capability_from_bounding_set(capability)
                == Err(rustix::io::Errno::INVAL)
            {
                break;
            }
        }
    }
}

/// Keeps of this process's capabilities only those in `set`.
pub(super) fn keep(set: CapabilitySet) -> rustix::io::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    let kept = held.permitted & set;
    // Nothing inheritable: a program that becomes another user by setuid starts with none (moby's fix of
    // CVE-2022-24769).
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )
}

/// What this process may do now.
pub(super) fn effective() -> CapabilitySet {
    rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}

/// The first of these capabilities that this process cannot give. `ALL` is all that it has.
pub(super) fn not_ours(names: &[String]) -> Option<&str> {
    let held = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let asked = names.iter().filter(|name| !name.eq_ignore_ascii_case("ALL"));
    asked.map(String::as_str).find(|name| named(name).is_ok_and(|wanted| !held.contains(wanted)))
}

fn named(name: &str) -> Result<CapabilitySet, String> {
    let upper = name.to_ascii_uppercase();
    let upper = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if upper == "ALL" {
        return Ok(CapabilitySet::all());
    }
    NAMES
        .iter()
        .position(|known| *known == upper)
        .map(|bit| CapabilitySet::from_bits_retain(1 << bit))
        .ok_or_else(|| name.to_owned())
}

/// In the order of their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_their_bits() {
        assert_eq!(named("cap_sys_admin"), Ok(CapabilitySet::SYS_ADMIN));
        assert_eq!(named("CHECKPOINT_RESTORE"), Ok(CapabilitySet::CHECKPOINT_RESTORE));
        assert_eq!(named("sys_admn"), Err("sys_admn".to_owned()));
        assert_eq!(DEFAULT.bits().count_ones(), 14);
    }

    #[test]
    fn sets_change_as_in_docker() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let set = |add: &str, drop: &str| wanted(false, &names(add), &names(drop)).unwrap();
        assert_eq!(set("NET_ADMIN", "NET_ADMIN"), DEFAULT | CapabilitySet::NET_ADMIN);
        assert_eq!(set("chown", "all"), CapabilitySet::CHOWN);
        assert_eq!(set("ALL", "SYS_ADMIN"), CapabilitySet::all() - CapabilitySet::SYS_ADMIN);
        assert_eq!(set("", "CAP_MKNOD"), DEFAULT - CapabilitySet::MKNOD);
        assert!(wanted(false, &names("x"), &[]).is_err());
    }
}
