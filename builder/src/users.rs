//! Names of users and groups, as an image's `/etc/passwd` and `/etc/group` have them.
//!
//! `--chown` and `USER` of a RUN have different rules in BuildKit: `solver/llbsolver/ops/user_linux.go` the one,
//! `moby/sys/user` the other. Both are here.

use layer_store::{Store, View};

use crate::copy::Owner;

/// The largest file that is searched, in bytes, as in BuildKit.
const MAX_FILE: u64 = 10 << 20;
/// The largest id that is taken, as in BuildKit and runc.
const MAX_ID: u32 = i32::MAX as u32;
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Why a user is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The name is in no line of the file.
    #[error("no {what} `{name}` in `{file}` of the image")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// As given.
        name: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
    },
    /// The text is no `user[:group]`.
    #[error("`{0}` is not a user: an id is at most 2147483647")]
    Malformed(String),
    /// The file cannot be read.
    #[error(transparent)]
    Store(#[from] layer_store::Error),
}

/// Who a RUN runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunUser {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups. The primary one leads them, as in BuildKit.
    pub groups: Vec<u32>,
    /// Home directory, `/` where there is no line for the user.
    pub home: String,
}

/// Whether `user[:group]` is understood without a look into the image.
#[must_use]
pub fn is_numeric(text: &str) -> bool {
    text.splitn(2, ':').all(|part| part.is_empty() || chown_id(part).is_some())
}

/// The owner that `--chown=user[:group]` names, or a WORKDIR's under `USER user[:group]`: a numeric user without a
/// group is its own group, a named one brings its primary group, an empty part is 0.
///
/// # Errors
///
/// A name that is not in the image (BuildKit takes root instead and says nothing).
pub fn chown(store: &Store, view: &View, text: &str) -> Result<Owner, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let mut owner = match chown_id(user) {
        Some(id) => Owner { uid: id, gid: id },
        None if user.is_empty() => Owner::default(),
        None => {
            let passwd = read(store, view, PASSWD)?;
            let line = passwd_lines(&passwd).find(|line| line.name == user);
            let line = line.ok_or_else(|| unknown("user", user, PASSWD))?;
            Owner { uid: line.uid, gid: line.gid }
        }
    };
    if let Some(group) = group {
        owner.gid = match chown_id(group) {
            Some(id) => id,
            None if group.is_empty() => 0,
            None => {
                let groups = read(store, view, GROUP)?;
                let line = group_lines(&groups).find(|line| line.name == group);
                line.ok_or_else(|| unknown("group", group, GROUP))?.gid
            }
        };
    }
    Ok(owner)
}

/// Whom `USER user[:group]` names: an unknown number has group 0, a given group drops the supplementary ones. Empty
/// text is root.
///
/// # Errors
///
/// A name that is not in the image, a number that is too large.
pub fn run_user(store: &Store, view: &View, text: &str) -> Result<RunUser, UserError> {
    let passwd = read(store, view, PASSWD)?;
    let group = read(store, view, GROUP)?;
    run_user_in(&passwd, &group, text)
}

fn run_user_in(passwd: &str, group: &str, text: &str) -> Result<RunUser, UserError> {
    let home = |uid: u32| {
        let line = passwd_lines(passwd).find(|line| line.uid == uid);
        line.map(|line| line.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned()
    };
    let text = if text.is_empty() { "0" } else { text };
    let mut parts = text.split(':');
    let (user, group_name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    // Two numbers need no lines, and so get nothing from them.
    if let (Some(uid), Some(gid)) = (fast_id(user), fast_id(group_name)) {
        return Ok(RunUser { uid, gid, groups: vec![gid], home: home(uid) });
    }
    let number = |part: &str| match numeric(part) {
        Numeric::Id(id) => Ok(Some(id)),
        Numeric::Name => Ok(None),
        Numeric::TooLarge => Err(UserError::Malformed(text.to_owned())),
    };
    let (uid, gid) = (number(user)?, number(group_name)?);
    let matched = passwd_lines(passwd).find(|line| match uid {
        Some(uid) => line.uid == uid,
        None if user.is_empty() => line.uid == 0,
        None => line.name == user,
    });
    let mut found = RunUser { uid: uid.unwrap_or(0), gid: 0, groups: Vec::new(), home: String::new() };
    match &matched {
        Some(line) => (found.uid, found.gid) = (line.uid, line.gid),
        None if uid.is_none() && !user.is_empty() => return Err(unknown("user", user, PASSWD)),
        None => {}
    }
    if !group_name.is_empty() {
        let line = group_lines(group).find(|line| match gid {
            Some(gid) => line.gid == gid,
            None => line.name == group_name,
        });
        found.gid = line.map(|line| line.gid).or(gid).ok_or_else(|| unknown("group", group_name, GROUP))?;
    } else if let Some(line) = matched.filter(|line| !line.name.is_empty()) {
        let member = |group: &GroupLine<'_>| group.members.split(',').any(|member| member == line.name);
        found.groups = group_lines(group).filter(member).map(|group| group.gid).collect();
        found.groups.sort_unstable();
        found.groups.dedup();
        found.groups.retain(|gid| *gid != found.gid);
    }
    found.groups.insert(0, found.gid);
    found.home = home(found.uid);
    Ok(found)
}

fn unknown(what: &'static str, name: &str, file: &'static str) -> UserError {
    UserError::Unknown { what, name: name.to_owned(), file }
}

fn read(store: &Store, view: &View, file: &str) -> Result<String, UserError> {
    let bytes = store.read_file(view, file.as_bytes(), MAX_FILE)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct PasswdLine<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupLine<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// `name:password:uid:gid:comment:home:shell`. Lines without ids name nobody, rather than root.
fn passwd_lines(text: &str) -> impl Iterator<Item = PasswdLine<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(PasswdLine { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// `name:password:gid:member,member`
fn group_lines(text: &str) -> impl Iterator<Item = GroupLine<'_>> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupLine { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// An id as `--chown` takes it without a look at a file.
fn chown_id(text: &str) -> Option<u32> {
    if text == "root" {
        return Some(0);
    }
    text.parse().ok().filter(|id| *id <= MAX_ID)
}

fn fast_id(text: &str) -> Option<u32> {
    if text == "root" { Some(0) } else { text.parse().ok() }
}

enum Numeric {
    Id(u32),
    Name,
    TooLarge,
}

fn numeric(text: &str) -> Numeric {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Numeric::Name;
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Numeric::Id(id),
        _ => Numeric::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        broken line\n\
        dockerio:x:1001:1001::/bin:/bin/false\n\
        noids:x:::\n\
        lonely:x:1002:7::\n\
        twice:x:5:5::/one:\n\
        twice:x:6:6::/two:\n";
    const GROUP: &str = "root:x:0:root\n\
        # comment:x:99:dockerio\n\
        wheel:x:10:root\n\
        dockerio:x:1001:\n\
        supplementary:x:1002:dockerio,other\n\
        more:x:900:other,dockerio\n";

    /// `uid:gid/groups/home`, or `error`.
    fn user(text: &str) -> String {
        match run_user_in(PASSWD, GROUP, text) {
            Ok(RunUser { uid, gid, groups, home }) => format!("{uid}:{gid}/{groups:?}{home}"),
            Err(_) => "error".to_owned(),
        }
    }

    #[test]
    fn users_of_run() {
        for (text, expected) in [
            ("", "0:0/[0, 10]/root"),
            ("root", "0:0/[0, 10]/root"),
            ("0", "0:0/[0, 10]/root"),
            ("root:root", "0:0/[0]/root"),
            ("dockerio", "1001:1001/[1001, 900, 1002]/bin"),
            ("1001", "1001:1001/[1001, 900, 1002]/bin"),
            ("dockerio:dockerio", "1001:1001/[1001]/bin"),
            ("1001:dockerio", "1001:1001/[1001]/bin"),
            ("dockerio:supplementary", "1001:1002/[1002]/bin"),
            ("dockerio:1002", "1001:1002/[1002]/bin"),
            ("dockerio:4242", "1001:4242/[4242]/bin"),
            ("1042", "1042:0/[0]/"),
            ("1042:1043", "1042:1043/[1043]/"),
            (":wheel", "0:10/[10]/root"),
            ("dockerio:", "1001:1001/[1001, 900, 1002]/bin"),
            ("lonely", "1002:7/[7]/"),
            ("twice", "5:5/[5]/one"),
            ("6", "6:6/[6]/two"),
            ("nobody", "error"),
            ("noids", "error"),
            ("dockerio:nogroup", "error"),
            ("4294967296", "error"),
            ("-1", "error"),
        ] {
            assert_eq!(user(text), expected, "{text}");
        }
    }

    #[test]
    fn images_without_files() {
        assert_eq!(run_user_in("", "", "").unwrap().uid, 0);
        assert_eq!(
            run_user_in("", "", "7").unwrap(),
            RunUser { uid: 7, gid: 0, groups: vec![0], home: "/".into() }
        );
        assert!(run_user_in("", "", "root").is_err());
        assert!(run_user_in("", "", "root:root").is_ok());
    }

    #[test]
    fn numbers_need_no_image() {
        for text in ["1", "1:2", "root", "root:0", "1:", ":1", ""] {
            assert!(is_numeric(text), "{text}");
        }
        for text in ["a", "1:a", "a:1", "2147483648", "-1"] {
            assert!(!is_numeric(text), "{text}");
        }
    }
}
