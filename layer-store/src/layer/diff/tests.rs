use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::layer::tests::{dir, file, link, new, seen_but_times, store, tar_of};
use crate::layer::{NewEntry, NewKind};

/// Two layers, the upper with what a layer can say of the lower.
fn layers() -> [Vec<NewEntry>; 2] {
    let mut tool = file("usr/tool", b"tool");
    tool.mode = 0o4755;
    let mut owned = file("etc/owned", b"owned");
    (owned.uid, owned.gid) = (7, 8);
    owned.xattrs.insert(b"user.note".to_vec(), b"x".to_vec());
    let lower = vec![
        dir("etc"),
        dir("usr"),
        dir("usr/lib"),
        dir("gone"),
        file("etc/a", b"a"),
        file("etc/b", b"b"),
        owned,
        tool,
        file("usr/lib/one", b"1"),
        file("usr/lib/two", b"2"),
        file("linked", b"linked"),
        link("linked2", "linked"),
        new("sym", NewKind::Symlink { target: b"etc".to_vec() }),
        file("gone/file", b"x"),
        new("pipe", NewKind::Fifo),
    ];
    let upper = vec![
        new("gone", NewKind::Whiteout),
        new("usr/lib", NewKind::Directory { opaque: true }),
        file("usr/lib/three", b"3"),
        file("usr/lib/four", b"4"),
        new("etc/b", NewKind::Whiteout),
        dir("var"),
        dir("var/deep"),
        dir("var/deep/er"),
        file("var/deep/er/x", b"x"),
    ];
    [lower, upper]
}

struct Case {
    _dir: tempfile::TempDir,
    store: Store,
    view: View,
    options: DiffOptions,
}

impl Case {
    fn new() -> Self {
        let (_dir, store) = store();
        let ids = layers().map(|entries| store.write_layer(entries, Form::Tree).unwrap());
        let view = store.view(&ids).unwrap();
        // All that a script changes has the same time then.
        let options = DiffOptions { clamp_mtime: Some(5000), owners: None };
        Self { _dir, store, view, options }
    }

    /// Runs a script in an overlay of the view, in a mount namespace that goes with it, and returns the upper directory.
    fn overlay(&self, script: &str) -> PathBuf {
        let scratch = self.store.scratch().unwrap();
        let place = scratch.path().with_extension("kept");
        std::fs::create_dir(&place).unwrap();
        for name in ["upper", "work", "merged"] {
            std::fs::create_dir(place.join(name)).unwrap();
        }
        let lowers = self.store.trees(&self.view).unwrap();
        let lowers: Vec<_> = lowers.iter().rev().map(|tree| tree.display().to_string()).collect();
        let script = format!(
            "mount -t overlay overlay -o userxattr,lowerdir={},upperdir={place}/upper,workdir={place}/work \
             {place}/merged && cd {place}/merged && set -e && {script}",
            lowers.join(":"),
            place = place.display(),
        );
        let status = Command::new("unshare").args(["-m", "sh", "-c", &script]).status().unwrap();
        assert!(status.success(), "{script}");
        place.join("upper")
    }

    /// Runs a script in a copy of the view and returns that with the moment before the script.
    fn whole(&self, script: &str) -> (PathBuf, Moment) {
        let scratch = self.store.scratch().unwrap();
        let place = scratch.path().with_extension("whole");
        let moment = self.store.checkout(&self.view, &place).unwrap();
        let script = format!("cd {} && set -e && {script}", place.display());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "{script}");
        (place, moment)
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("needs root to mount an overlay: layer::diff::tests");
    }
    root
}

/// What a script changes, as names of the layer's tar.
fn check(script: &str, expected: &[&str]) {
    if !is_root() {
        return;
    }
    let case = Case::new();
    let upper = case.overlay(script);
    let by_overlay = case.store.commit_upper(&upper, &case.view, &case.options).unwrap();
    let tar = tar_of(&case.store, &by_overlay);
    let mut listed = Command::new("tar");
    listed.args(["-tf", "-"]).stdin(std::process::Stdio::piped());
    assert_eq!(names(&mut listed, &tar), expected, "{script}");

    for since in [false, true] {
        let (whole, moment) = case.whole(script);
        let since = since.then_some(moment);
        let by_comparing =
            case.store.commit_whole(&whole, &case.view, &case.options, since, Form::Tree).unwrap();
        assert_eq!(by_comparing, by_overlay, "{script}");
        // The layers below and this one are the filesystem that the script left.
        let mut ids: Vec<Digest> = case.view.layers().iter().map(|(id, _)| *id).collect();
        ids.push(by_overlay);
        let after = case.store.scratch().unwrap().path().with_extension("after");
        case.store.checkout(&case.store.view(&ids).unwrap(), &after).unwrap();
        // But for times, which were clamped.
        assert_eq!(seen_but_times(&after), seen_but_times(&whole), "{script}");
    }
    // The tree that was the upper directory stands for the layer as well as one that is extracted.
    let (_dir, other) = store();
    other.apply(&mut tar.as_slice(), &by_overlay, Form::Index).unwrap();
    assert_eq!(other.index(&by_overlay).unwrap().entries(), case.store.index(&by_overlay).unwrap().entries());
}

fn names(command: &mut Command, tar: &[u8]) -> Vec<String> {
    use std::io::Write as _;
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(tar).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn nothing() {
    check("true", &[]);
    check("ls -R > /dev/null; cat etc/a > /dev/null", &[]);
}

#[test]
fn new_and_changed_files() {
    check("echo new > etc/new", &["etc/", "etc/new"]);
    check("echo more >> etc/a", &["etc/", "etc/a"]);
    check("chmod 600 usr/lib/three", &["usr/", "usr/lib/", "usr/lib/three"]);
    check("chown 5:6 sym -h", &["sym"]);
    check("setfattr -n user.new -v 1 etc/a", &["etc/", "etc/a"]);
    check("setfattr -x user.note etc/owned", &["etc/", "etc/owned"]);
    check("ln -sfn usr sym", &["sym"]);
    check("chmod 700 usr/lib", &["usr/", "usr/lib/"]);
    check("mkdir -p a/b/c; touch a/b/c/d", &["a/", "a/b/", "a/b/c/", "a/b/c/d"]);
    // Touched in the second in which it was made.
    check("touch -d $(stat -c @%Y etc/a).5 etc/a", &["etc/", "etc/a"]);
}

#[test]
fn what_is_as_it_was_is_left_out() {
    check(
        "touch -r etc/a /tmp/ref$$; echo a > etc/a; printf a > etc/a; touch -r /tmp/ref$$ etc/a; rm /tmp/ref$$",
        &[],
    );
    check("chmod 600 usr/tool; chmod 4755 usr/tool; chmod 700 usr; chmod 755 usr", &[]);
    // The time of a directory alone is nothing.
    check("touch etc; touch usr/new; rm usr/new", &[]);
    check(
        "rm -r var; mkdir -p var/deep/er; cp -p usr/lib/three var/deep/er/y; rm var/deep/er/y",
        &["var/", "var/deep/", "var/deep/er/", "var/deep/er/.wh.x"],
    );
    // Same length, same time, other bytes.
    check(
        "touch -r etc/a /tmp/ref$$; printf z > etc/a; touch -r /tmp/ref$$ etc/a; rm /tmp/ref$$",
        &["etc/", "etc/a"],
    );
}

#[test]
fn removals() {
    check("rm etc/a", &["etc/", "etc/.wh.a"]);
    check("rm -r usr", &[".wh.usr"]);
    check("rm -r usr/lib/three", &["usr/", "usr/lib/", "usr/lib/.wh.three"]);
    check("rm usr/lib/*", &["usr/", "usr/lib/", "usr/lib/.wh.four", "usr/lib/.wh.three"]);
    check("rm pipe sym; mkdir pipe; touch pipe/x", &["pipe/", "pipe/x", ".wh.sym"]);
    check("touch t; rm t; mkdir d; rmdir d", &[]);
    check("rm -r var; echo x > var", &["var"]);
    check("rm -rf *", &[".wh.etc", ".wh.linked", ".wh.linked2", ".wh.pipe", ".wh.sym", ".wh.usr", ".wh.var"]);
}

#[test]
fn directories_made_anew() {
    check(
        "rm -r usr/lib; mkdir usr/lib; echo 5 > usr/lib/five",
        &["usr/", "usr/lib/", "usr/lib/five", "usr/lib/.wh.four", "usr/lib/.wh.three"],
    );
    check(
        "rm -r usr/lib; mkdir usr/lib; echo 5 > usr/lib/three",
        &["usr/", "usr/lib/", "usr/lib/.wh.four", "usr/lib/three"],
    );
    // A directory where nothing was is not opaque, although overlayfs may say so.
    check("mkdir -p gone/again; touch gone/again/x", &["gone/", "gone/again/", "gone/again/x"]);
    check("mv var/deep moved", &["moved/", "moved/er/", "moved/er/x", "var/", "var/.wh.deep"]);
}

#[test]
fn hard_links() {
    check("ln etc/a etc/c", &["etc/", "etc/a", "etc/c"]);
    check("echo x > x; ln x y; ln x a", &["a", "x", "y"]);
    check("rm linked2", &[".wh.linked2"]);
    check("rm linked linked2; echo 1 > linked; ln linked linked2", &["linked", "linked2"]);
}

#[test]
fn sockets_are_left_out() {
    let socket = "import socket,os,sys; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1])";
    check(&format!("python3 -c '{socket}' sock"), &[]);
    check(&format!("rm etc/a; python3 -c '{socket}' etc/a"), &["etc/", "etc/.wh.a"]);
}

#[test]
fn a_link_of_two_that_changes_is_another_file() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    let upper = case.overlay("chmod 600 linked2");
    let id = case.store.commit_upper(&upper, &case.view, &case.options).unwrap();
    let index = case.store.index(&id).unwrap();
    assert!(matches!(index.entry(b"linked2").unwrap().kind, Kind::File { size: 6, .. }));
    assert!(index.entry(b"linked").is_none());
}

#[test]
fn the_upper_directory_becomes_the_tree() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    let upper = case.overlay("echo x > x; rm etc/a; rm -r usr/lib; mkdir usr/lib; touch usr/lib/new");
    let inode = upper.join("x").metadata().unwrap().ino();
    let id = case.store.commit_upper(&upper, &case.view, &case.options).unwrap();
    let tree = case.store.tree(&id).unwrap();
    assert_eq!(tree.join("x").metadata().unwrap().ino(), inode);
    assert_eq!(tree.join("x").metadata().unwrap().mtime(), 5000);
    assert!(!upper.exists());
    // It works as a lower directory again.
    let mut ids: Vec<Digest> = case.view.layers().iter().map(|(id, _)| *id).collect();
    ids.push(id);
    let view = case.store.view(&ids).unwrap();
    let again = Case { view, ..case };
    let upper = again.overlay("test ! -e etc/a; test \"$(ls usr/lib)\" = new; test $(cat x) = x; rm x");
    let id = again.store.commit_upper(&upper, &again.view, &again.options).unwrap();
    assert_eq!(again.store.index(&id).unwrap().entries()[0].kind, Kind::Whiteout);
}

#[test]
fn the_same_upper_twice_is_one_layer() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    let commit = || {
        let upper = case.overlay("echo x > x");
        let id = case.store.commit_upper(&upper, &case.view, &case.options).unwrap();
        assert!(!upper.exists());
        id
    };
    assert_eq!(commit(), commit());
}

#[test]
fn owners_that_mean_nothing() {
    let case = Case::new();
    let upper = case.store.scratch().unwrap().path().with_extension("kept");
    std::fs::create_dir_all(upper.join("etc")).unwrap();
    for (name, bytes) in [("etc/owned", "changed"), ("etc/new", "1"), ("etc/given", "2")] {
        std::fs::write(upper.join(name), bytes).unwrap();
    }
    let owners = Some(vec![(b"etc/given".to_vec(), 1, 2), (b"etc/none".to_vec(), 3, 4)]);
    let options = DiffOptions { clamp_mtime: Some(5000), owners };
    let id = case.store.commit_upper(&upper, &case.view, &options).unwrap();
    let index = case.store.index(&id).unwrap();
    let owner = |path: &[u8]| index.entry(path).map(|entry| (entry.uid, entry.gid));
    assert_eq!(owner(b"etc/owned"), Some((7, 8)));
    assert_eq!(owner(b"etc/new"), Some((0, 0)));
    assert_eq!(owner(b"etc/given"), Some((1, 2)));
}

#[test]
fn names_that_no_layer_can_hold() {
    let case = Case::new();
    let upper = case.store.scratch().unwrap().path().with_extension("kept");
    std::fs::create_dir_all(upper.join("etc")).unwrap();
    std::fs::write(upper.join("etc/.wh.x"), "").unwrap();
    let error = case.store.commit_upper(&upper, &case.view, &case.options).unwrap_err();
    assert!(error.to_string().contains("etc/.wh.x"), "{error}");
    assert!(upper.exists());
}
