//! Why the kernel refuses, as far as it can be told from outside, and the one line that mends it.

use std::fs;

use super::report::{Failure, Report, Rung};

/// Fills in the cause and the remedy of a failure that has none.
pub(super) fn explain(failure: Failure) -> Failure {
    if !failure.cause.is_empty() && failure.remedy.is_some() {
        return failure;
    }
    let (cause, remedy) = cause_of(&failure, &Facts::read());
    Failure {
        cause: if failure.cause.is_empty() { cause } else { failure.cause },
        remedy: failure.remedy.or(remedy),
        ..failure
    }
}

/// The same for everything that a report says is missing.
pub(super) fn explain_all(mut report: Report) -> Report {
    for degradation in &mut report.degradations {
        degradation.failure = explain(degradation.failure.clone());
    }
    report
}

/// What `/proc` tells about this process and its kernel.
struct Facts {
    seccomp: bool,
    no_new_privs: bool,
    apparmor: Option<String>,
    restricted_by_apparmor: bool,
    clone_forbidden: bool,
    max_namespaces: Option<u64>,
    root: bool,
}

impl Facts {
    fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
        };
        let sysctl = |name: &str| {
            fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned())
        };
        let label = fs::read_to_string("/proc/self/attr/current").ok();
        Self {
            seccomp: field("Seccomp:").is_some_and(|mode| mode != "0"),
            no_new_privs: field("NoNewPrivs:").as_deref() == Some("1"),
            apparmor: label
                .map(|label| label.trim_end_matches(['\0', '\n']).to_owned())
                .filter(|label| !label.is_empty() && label != "unconfined"),
            restricted_by_apparmor: sysctl("kernel/apparmor_restrict_unprivileged_userns").as_deref()
                == Some("1"),
            clone_forbidden: sysctl("kernel/unprivileged_userns_clone").as_deref() == Some("0"),
            max_namespaces: sysctl("user/max_user_namespaces").and_then(|text| text.parse().ok()),
            root: rustix::process::geteuid().is_root(),
        }
    }
}

fn cause_of(failure: &Failure, facts: &Facts) -> (String, Option<String>) {
    let errno = failure.errno.unwrap_or(0);
    let call = failure.call.as_str();
    let refused = errno == libc::EPERM || errno == libc::EACCES;
    let say = |cause: &str, remedy: &str| (cause.to_owned(), (!remedy.is_empty()).then(|| remedy.to_owned()));
    if call == "unshare(CLONE_NEWUSER)" && errno == libc::ENOSPC || facts.max_namespaces == Some(0) && refused
    {
        return say(
            "user namespaces are switched off (user.max_user_namespaces)",
            "sudo sysctl user.max_user_namespaces=28633",
        );
    }
    if facts.clone_forbidden && !facts.root && call == "unshare(CLONE_NEWUSER)" {
        return say(
            "user namespaces are for root only (kernel.unprivileged_userns_clone)",
            "sudo sysctl kernel.unprivileged_userns_clone=1",
        );
    }
    if facts.restricted_by_apparmor
        && refused
        && (call.contains("uid_map") || call.contains("NEWNS") || call.contains("mount"))
    {
        return say(
            "AppArmor lets only known programs use user namespaces (kernel.apparmor_restrict_unprivileged_userns)",
            "printf 'abi <abi/4.0>,\\ninclude <tunables/global>\\nprofile rbuild /**/rbuild flags=(unconfined) { userns, }\\n' | sudo tee /etc/apparmor.d/rbuild && sudo apparmor_parser -r /etc/apparmor.d/rbuild",
        );
    }
    if matches!(call, "newuidmap" | "newgidmap") && facts.no_new_privs {
        return say(
            "no_new_privs is set, so set-user-id programs have no effect",
            "Kubernetes: securityContext.allowPrivilegeEscalation: true; docker: drop --security-opt no-new-privileges",
        );
    }
    if call.starts_with("mount(proc)") && refused {
        return say(
            "the surrounding container hides parts of its /proc, so no new one may be mounted",
            "docker: --security-opt systempaths=unconfined; Kubernetes: securityContext.procMount: Unmasked",
        );
    }
    if call.starts_with("mount(sysfs)") && refused {
        return say("a new sysfs takes a network namespace of one's own", "");
    }
    if call.contains("overlay") && matches!(errno, libc::EINVAL | libc::EOPNOTSUPP) {
        return say(
            "the store's filesystem cannot hold an overlay's changes (it may be an overlay itself)",
            "set RBUILD_ROOT to a directory on ext4, xfs, btrfs or tmpfs (docker: a volume)",
        );
    }
    if call == "write(uid_map)" && refused && failure.rung == Some(Rung::Userns) {
        return say("too few capabilities to map many ids (SETUID, SETGID, SETFCAP)", "");
    }
    let filtered = refused || errno == libc::ENOSYS;
    if filtered
        && facts.seccomp
        && (call.starts_with("unshare")
            || call.starts_with("clone")
            || call.contains("pivot_root")
            || call.contains("sethostname"))
    {
        return say(
            "a seccomp filter of the surrounding container refuses it",
            "docker: --security-opt seccomp=unconfined; Kubernetes: securityContext.seccompProfile.type: Unconfined",
        );
    }
    if let Some(label) = facts.apparmor.as_ref().filter(|_| refused) {
        return (
            format!("the AppArmor profile `{label}` refuses it"),
            Some("docker: --security-opt apparmor=unconfined".to_owned()),
        );
    }
    if call == "unshare(CLONE_NEWNS)" && refused {
        return if facts.root {
            say("root without the capability SYS_ADMIN", "docker: --privileged or --cap-add SYS_ADMIN")
        } else {
            say("only root may do so outside a user namespace", "")
        };
    }
    if (call == "chroot" || call.starts_with("fchown")) && refused && !facts.root {
        return say("only root may do so", "");
    }
    (if errno == 0 { String::new() } else { std::io::Error::from_raw_os_error(errno).to_string() }, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            seccomp: false,
            no_new_privs: false,
            apparmor: None,
            restricted_by_apparmor: false,
            clone_forbidden: false,
            max_namespaces: Some(1000),
            root: false,
        }
    }

    fn refused(call: &str, errno: i32) -> Failure {
        Failure {
            call: call.to_owned(),
            path: None,
            errno: Some(errno),
            rung: None,
            cause: String::new(),
            remedy: None,
        }
    }

    #[test]
    fn each_cause_has_its_remedy() {
        let unshare = refused("unshare(CLONE_NEWUSER)", libc::EPERM);
        let filtered = cause_of(&unshare, &Facts { seccomp: true, ..facts() });
        assert!(filtered.0.contains("seccomp") && filtered.1.unwrap().contains("seccomp=unconfined"));
        let switched_off = cause_of(&unshare, &Facts { max_namespaces: Some(0), ..facts() });
        assert!(switched_off.1.unwrap().contains("max_user_namespaces"));
        let ubuntu = cause_of(
            &refused("write(uid_map)", libc::EPERM),
            &Facts { restricted_by_apparmor: true, ..facts() },
        );
        assert!(ubuntu.1.unwrap().contains("userns,"));
        let masked = cause_of(&refused("mount(proc)", libc::EPERM), &facts());
        assert!(masked.1.unwrap().contains("systempaths=unconfined"));
        let store = cause_of(&refused("mount(overlay)", libc::EINVAL), &facts());
        assert!(store.1.unwrap().contains("RBUILD_ROOT"));
    }
}
