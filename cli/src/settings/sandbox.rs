//! What a command in the sandbox sees and may.

use std::path::{Path, PathBuf};

use builder::graph::{ExecSettings, Volume};
use builder::sandbox::Limits;

use super::values;
use crate::args::build::SandboxArgs;
use crate::failure::{Failure, Result};

/// The settings that every RUN of a build, or the command of `rbuild run`, gets.
pub(crate) fn settings(args: &SandboxArgs) -> Result<ExecSettings> {
    let mut settings = ExecSettings {
        extra_hosts: args.add_host.iter().map(|text| values::host(text)).collect::<Result<_>>()?,
        shm_size: args.shm_size.as_deref().map(values::bytes).transpose()?,
        ulimits: args.ulimit.iter().map(|text| values::ulimit(text)).collect::<Result<_>>()?,
        cap_add: args.cap_add.iter().map(|name| capability(name)).collect::<Result<_>>()?,
        cap_drop: args.cap_drop.iter().map(|name| capability(name)).collect::<Result<_>>()?,
        devices: args.device.iter().map(|text| device(text)).collect::<Result<_>>()?,
        volumes: args.volume.iter().map(|text| volume(text)).collect::<Result<_>>()?,
        limits: limits(args)?,
        ..ExecSettings::default()
    };
    for option in &args.security_opt {
        match option.split_once(['=', ':']).unwrap_or((option, "true")) {
            ("seccomp", "unconfined") => settings.unfiltered = true,
            ("no-new-privileges", "true") => settings.no_new_privileges = true,
            // What happens anyway.
            ("no-new-privileges", "false")
            | ("apparmor", "unconfined")
            | ("label", "disable")
            | ("systempaths", "confined") => {}
            _ => {
                return Err(Failure::usage(format!("`--security-opt {option}` is not supported"))
                    .hint("it is `seccomp=unconfined` or `no-new-privileges`"));
            }
        }
    }
    Ok(settings)
}

fn capability(name: &str) -> Result<String> {
    if builder::sandbox::is_capability(name) {
        return Ok(name.to_owned());
    }
    Err(Failure::usage(format!("there is no capability `{name}`"))
        .hint("an example is `NET_ADMIN`; `ALL` is all"))
}

/// `/dev/fuse`, or with the same place twice as Docker writes it.
fn device(text: &str) -> Result<PathBuf> {
    let mut parts = text.split(':');
    let (host, inside) = (parts.next().unwrap_or_default(), parts.next());
    let path = Path::new(host);
    if inside.is_some_and(|inside| inside != host) || !path.starts_with("/dev/") {
        return Err(Failure::usage(format!("`--device {text}` does not name a device"))
            .hint("an example is `--device /dev/fuse`: a device is at the same place inside"));
    }
    use std::os::unix::fs::FileTypeExt as _;
    let kind = std::fs::metadata(path)
        .map_err(|error| Failure::new(format!("the device `{host}` cannot be used: {error}")))?
        .file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Ok(path.to_owned());
    }
    Err(Failure::new(format!("`{host}` is not a device")))
}

/// `HOST:CONTAINER[:ro]`
fn volume(text: &str) -> Result<Volume> {
    let wrong = || {
        Failure::usage(format!("`--volume {text}` is not of the form HOST:CONTAINER[:ro]"))
            .hint("an example is `--volume /srv/cache:/var/cache:ro`; CONTAINER is an absolute path")
    };
    let mut parts = text.split(':');
    let (host, target) = parts.next().zip(parts.next()).ok_or_else(wrong)?;
    let mut readonly = false;
    for option in parts.flat_map(|options| options.split(',')) {
        match option {
            "ro" => readonly = true,
            // What SELinux and user namespaces would relabel is not.
            "rw" | "z" | "Z" => {}
            _ => return Err(wrong()),
        }
    }
    if !target.starts_with('/') || target == "/" || host.is_empty() {
        return Err(wrong());
    }
    let host = std::path::absolute(host)
        .and_then(|path| std::fs::metadata(&path).map(|_| path))
        .map_err(|error| Failure::new(format!("the volume `{host}` cannot be used: {error}")))?;
    Ok(Volume { host, target: target.to_owned(), readonly })
}

fn limits(args: &SandboxArgs) -> Result<Limits> {
    let memory = args.memory.as_deref().map(values::bytes).transpose()?;
    let memory_swap = match args.memory_swap.as_deref() {
        None => None,
        Some("-1") => Some(-1),
        Some(text) => Some(i64::try_from(values::bytes(text)?).unwrap_or(i64::MAX)),
    };
    if memory_swap.is_some_and(|swap| swap >= 0 && memory.is_none_or(|memory| (swap as u64) < memory)) {
        return Err(Failure::usage(
            "`--memory-swap` is memory and swap together: it takes a `--memory` that is not more",
        ));
    }
    Ok(Limits {
        memory,
        memory_swap,
        cpu_period: args.cpu_period,
        cpu_quota: args.cpu_quota,
        cpu_shares: args.cpu_shares,
        cpuset_cpus: args.cpuset_cpus.clone(),
        cpuset_mems: args.cpuset_mems.clone(),
        parent: args.cgroup_parent.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_devices() {
        let read = |text: &str| volume(text).map(|volume| (volume.host, volume.target, volume.readonly));
        assert_eq!(read("/tmp:/data").unwrap(), ("/tmp".into(), "/data".to_owned(), false));
        assert_eq!(read("/tmp:/data:ro,z").unwrap(), ("/tmp".into(), "/data".to_owned(), true));
        for text in ["/tmp", "/tmp:data", "/tmp:/", ":/data", "/tmp:/data:exec", "/none/such:/data"] {
            assert!(volume(text).is_err(), "{text}");
        }
        assert_eq!(device("/dev/null:/dev/null:rwm").unwrap(), PathBuf::from("/dev/null"));
        for text in ["/dev/null:/dev/zero", "/etc/passwd", "/dev/none"] {
            assert!(device(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_of_security_and_memory() {
        let args = |options: &[&str]| SandboxArgs {
            security_opt: options.iter().map(|option| (*option).to_owned()).collect(),
            ..SandboxArgs::default()
        };
        let both = settings(&args(&["seccomp=unconfined", "no-new-privileges"])).unwrap();
        assert!(both.unfiltered && both.no_new_privileges);
        assert!(settings(&args(&["seccomp=profile.json"])).is_err());
        let memory = |memory: Option<&str>, swap: &str| {
            let (memory, memory_swap) = (memory.map(str::to_owned), Some(swap.to_owned()));
            settings(&SandboxArgs { memory, memory_swap, ..SandboxArgs::default() })
        };
        assert!(memory(None, "1g").is_err() && memory(Some("2g"), "1g").is_err());
        assert_eq!(memory(Some("1g"), "-1").unwrap().limits.memory_swap, Some(-1));
        assert!(capability("net_admin").is_ok() && capability("CAP_X").is_err());
    }
}
