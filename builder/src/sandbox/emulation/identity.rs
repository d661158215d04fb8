//! Who each process of a step believes to be.

use std::collections::HashMap;
use std::io;

use super::process::{self, Process};
use crate::sandbox::step::StepUser;
use crate::sandbox::sys::Verdict;

/// The calls about identity.
pub(super) const CALLS: &[i64] = &[
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
];

/// Real, effective and saved ids, and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    uids: [u32; 3],
    gids: [u32; 3],
    groups: Vec<u32>,
}

impl Identity {
    pub(super) fn is_root(&self) -> bool {
        self.uids[1] == 0
    }

    /// The owner of what the process creates.
    pub(super) fn owner(&self) -> (u32, u32) {
        (self.uids[1], self.gids[1])
    }
}

/// A process is its number and when it began.
type Key = (u32, u64);

/// The identities of all processes that do not have the step's own.
pub(super) struct Identities {
    first: Identity,
    changed: HashMap<Key, Identity>,
}

/// As far as inheritance is followed.
const MAX_GENERATIONS: usize = 64;

impl Identities {
    pub(super) fn new(user: &StepUser) -> Self {
        let first = Identity { uids: [user.uid; 3], gids: [user.gid; 3], groups: user.groups.clone() };
        Self { first, changed: HashMap::new() }
    }

    /// The identity of the process, which is that of its nearest ancestor that changed its own.
    pub(super) fn of(&self, process: &Process) -> io::Result<Identity> {
        if self.changed.is_empty() {
            return Ok(self.first.clone());
        }
        let mut number = process.status(&["Tgid"])?[0];
        for _ in 0..MAX_GENERATIONS {
            let directory = Process::sibling(number);
            let Ok(began) = process::began(&directory) else { break };
            if let Some(identity) = self.changed.get(&(number, began)) {
                return Ok(identity.clone());
            }
            match process::status(&directory, &["PPid"]) {
                Ok(parent) if parent[0] > 1 => number = parent[0],
                _ => break,
            }
        }
        Ok(self.first.clone())
    }

    /// Answers a call about identity; `None` for another.
    pub(super) fn answer(&mut self, process: &Process) -> io::Result<Option<Verdict>> {
        if !CALLS.contains(&process.call) {
            return Ok(None);
        }
        let before = self.of(process)?;
        let mut identity = before.clone();
        let value = match process.call {
            libc::SYS_getuid => i64::from(identity.uids[0]),
            libc::SYS_geteuid => i64::from(identity.uids[1]),
            libc::SYS_getgid => i64::from(identity.gids[0]),
            libc::SYS_getegid => i64::from(identity.gids[1]),
            libc::SYS_getresuid => three(process, &identity.uids)?,
            libc::SYS_getresgid => three(process, &identity.gids)?,
            libc::SYS_getgroups => groups(process, &identity.groups)?,
            libc::SYS_setgroups => {
                privileged(&identity)?;
                identity.groups = process.numbers(process.address(1), process.number(0))?;
                0
            }
            // They return the id before, and change only what no other call shows.
            libc::SYS_setfsuid => i64::from(identity.uids[1]),
            libc::SYS_setfsgid => i64::from(identity.gids[1]),
            call => {
                let root = identity.is_root();
                let (ids, others) = match call {
                    libc::SYS_setuid | libc::SYS_setreuid | libc::SYS_setresuid => {
                        (&mut identity.uids, [libc::SYS_setuid, libc::SYS_setreuid])
                    }
                    _ => (&mut identity.gids, [libc::SYS_setgid, libc::SYS_setregid]),
                };
                let form = match call {
                    call if call == others[0] => Form::One,
                    call if call == others[1] => Form::Two,
                    _ => Form::Three,
                };
                let wanted = [process.number(0), process.number(1), process.number(2)];
                *ids = form
                    .change(*ids, wanted, root)
                    .ok_or_else(|| io::Error::from_raw_os_error(libc::EPERM))?;
                0
            }
        };
        if identity != before {
            let number = process.status(&["Tgid"])?[0];
            let began = process::began(&Process::sibling(number))?;
            self.changed.insert((number, began), identity);
        }
        Ok(Some(Verdict::Returns(value)))
    }
}

/// The three shapes of set*id.
enum Form {
    /// `setuid`
    One,
    /// `setreuid`
    Two,
    /// `setresuid`
    Three,
}

const UNCHANGED: u32 = u32::MAX;

impl Form {
    /// What the ids become by the rules of setresuid(2); `None` where that takes privilege.
    fn change(&self, ids: [u32; 3], wanted: [u32; 3], privileged: bool) -> Option<[u32; 3]> {
        let [real, effective, saved] = ids;
        let mut new = ids;
        let allowed = |id: u32| privileged || ids.contains(&id);
        match self {
            Self::One if privileged => new = [wanted[0]; 3],
            Self::One if wanted[0] == real || wanted[0] == saved => new[1] = wanted[0],
            Self::One => return None,
            Self::Two => {
                let [to_real, to_effective, _] = wanted;
                if to_real != UNCHANGED {
                    if !privileged && to_real != real && to_real != effective {
                        return None;
                    }
                    new[0] = to_real;
                }
                if to_effective != UNCHANGED {
                    if !allowed(to_effective) {
                        return None;
                    }
                    new[1] = to_effective;
                }
                if to_real != UNCHANGED || (to_effective != UNCHANGED && to_effective != real) {
                    new[2] = new[1];
                }
            }
            Self::Three => {
                for (id, to) in new.iter_mut().zip(wanted) {
                    if to != UNCHANGED {
                        if !allowed(to) {
                            return None;
                        }
                        *id = to;
                    }
                }
            }
        }
        Some(new)
    }
}

fn privileged(identity: &Identity) -> io::Result<()> {
    if identity.is_root() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
}

fn three(process: &Process, ids: &[u32; 3]) -> io::Result<i64> {
    for (argument, id) in ids.iter().enumerate() {
        process.write(process.address(argument), &[*id])?;
    }
    Ok(0)
}

fn groups(process: &Process, groups: &[u32]) -> io::Result<i64> {
    let count = i64::try_from(groups.len()).unwrap_or(0);
    if process.number(0) == 0 {
        return Ok(count);
    }
    if i64::from(process.number(0)) < count {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    process.write(process.address(1), groups)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_change_as_the_manual_says() {
        let root = [0, 0, 0];
        assert_eq!(Form::One.change(root, [5, 0, 0], true), Some([5, 5, 5]));
        assert_eq!(Form::One.change([5, 5, 5], [0, 0, 0], false), None);
        assert_eq!(Form::Three.change(root, [UNCHANGED, 42, UNCHANGED], true), Some([0, 42, 0]));
        assert_eq!(Form::Three.change([0, 42, 0], [UNCHANGED, 0, UNCHANGED], false), Some([0, 0, 0]));
        assert_eq!(Form::Two.change([7, 8, 9], [8, 7, 0], false), Some([8, 7, 7]));
        assert_eq!(Form::Two.change([7, 7, 7], [UNCHANGED, 9, 0], false), None);
    }
}
