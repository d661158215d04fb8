//! Maps the ids of a helper that has entered a user namespace. Done by the builder, which stayed outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;

use super::failure::{Refused as _, because};
use super::report::{Failure, Rung};
use super::{capabilities, probe};

/// Where distributions keep the set-user-id helpers.
const PLACES: [&str; 6] = ["/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin", "/run/wrappers/bin"];

/// Writes the maps of process `pid` as its rung wants them. Returns how: `identity`, `newuidmap` or `single`.
pub(super) fn map(pid: u32, rung: Rung) -> Result<&'static str, Failure> {
    if rung == Rung::Single {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        write(pid, "setgroups", "deny")?;
        write(pid, "uid_map", &format!("0 {uid} 1\n"))?;
        write(pid, "gid_map", &format!("0 {gid} 1\n"))?;
        return Ok("single");
    }
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETFCAP;
    if capabilities::effective().contains(needed) {
        // Every id that exists here keeps its number, so trees on disk look the same inside and outside.
        write(pid, "uid_map", &identity("/proc/self/uid_map"))?;
        write(pid, "gid_map", &identity("/proc/self/gid_map"))?;
        return Ok("identity");
    }
    let plan = Subordinate::find()?;
    plan.map(pid)?;
    Ok("newuidmap")
}

/// Whether a full map can be tried at all; cheaper than a helper process that fails.
pub(super) fn can_map_many() -> Result<(), Failure> {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETFCAP;
    if capabilities::effective().contains(needed) { Ok(()) } else { Subordinate::find().map(drop) }
}

fn identity(map: &str) -> String {
    probe::lines(map).into_iter().map(|(inside, _, count)| format!("{inside} {inside} {count}\n")).collect()
}

fn write(pid: u32, file: &str, text: &str) -> Result<(), Failure> {
    let path = format!("/proc/{pid}/{file}");
    fs::write(&path, text).refused_on(&format!("write({file})"), path)
}

/// A plain user's ranges of other ids, and the programs that may map them.
struct Subordinate {
    newuidmap: PathBuf,
    newgidmap: PathBuf,
    uids: Vec<(u64, u64)>,
    gids: Vec<(u64, u64)>,
}

impl Subordinate {
    fn find() -> Result<Self, Failure> {
        let uid = rustix::process::geteuid().as_raw();
        let user = user_name(uid).unwrap_or_default();
        let program = |name: &str| {
            PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists()).ok_or_else(
                || Failure {
                    remedy: Some("apt-get install uidmap (Fedora: dnf install shadow-utils)".to_owned()),
                    ..because(name, format!("the program `{name}` is not installed"))
                },
            )
        };
        let ranges = |file: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let ranges = ranges(&text, &user, uid);
            if ranges.is_empty() {
                return Err(Failure {
                    path: Some(file.into()),
                    remedy: Some(format!(
                        "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
                    )),
                    ..because("newuidmap", format!("`{file}` has no line for user `{user}` (uid {uid})"))
                });
            }
            Ok(ranges)
        };
        Ok(Self {
            newuidmap: program("newuidmap")?,
            newgidmap: program("newgidmap")?,
            uids: ranges("/etc/subuid")?,
            gids: ranges("/etc/subgid")?,
        })
    }

    fn map(&self, pid: u32) -> Result<(), Failure> {
        run(&self.newuidmap, pid, rustix::process::geteuid().as_raw(), &self.uids)?;
        run(&self.newgidmap, pid, rustix::process::getegid().as_raw(), &self.gids)
    }
}

/// Runs one of the two helpers: id 0 is the user, the ids from 1 on are the ranges in order.
fn run(program: &Path, pid: u32, own: u32, ranges: &[(u64, u64)]) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.args([pid.to_string(), "0".to_owned(), own.to_string(), "1".to_owned()]);
    let mut inside = 1;
    for (first, count) in ranges {
        command.args([inside.to_string(), first.to_string(), count.to_string()]);
        inside += count;
    }
    let output = command.stdin(Stdio::null()).output().refused_on("execve", program)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(Failure { path: Some(program.to_owned()), ..because(&name, said) })
}

/// The ranges of a user in `/etc/subuid` or `/etc/subgid`: by name or by number.
fn ranges(text: &str, user: &str, uid: u32) -> Vec<(u64, u64)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().splitn(3, ':');
            let owner = fields.next()?;
            let ours = (!user.is_empty() && owner == user) || owner.parse() == Ok(uid);
            let first = fields.next()?.parse().ok()?;
            let count: u64 = fields.next()?.parse().ok()?;
            (ours && count > 0).then_some((first, count))
        })
        .collect()
}

fn user_name(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_lines_by_name_and_by_number() {
        let text = "root:1:1\nalice:100000:65536\n1000:300000:10\nalice:bad:1\nbob:5:0\n";
        assert_eq!(ranges(text, "alice", 1000), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(ranges(text, "bob", 1001), []);
        assert_eq!(ranges(text, "", 1), []);
    }
}
