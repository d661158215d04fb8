//! What counts in a content key, and that nobody reads a file twice.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use layer_store::Digest;

use super::case;
use super::{LocalContext, Request, Source, World, select};
use crate::context::StatIndex;

/// The digest of a case's selection. Its instruction is `COPY`; a `stage` is the source, if there is one.
fn key(world: &World, text: &str) -> Digest {
    let cases = case::parse(&format!("=== key\n{text}"));
    let case = &cases[0];
    let context = world.context(case);
    let stage = world.view(&case.stage);
    let source = if case.from { Source::View(&world.store, &stage) } else { Source::Context(&context) };
    let digest = select(source, &case.request).unwrap().digest(&case.request).unwrap();
    let again = if case.from { Source::View(&world.store, &stage) } else { Source::Context(&context) };
    assert_eq!(
        select(again, &case.request).unwrap().digest(&case.request).unwrap(),
        digest,
        "unstable: {text}"
    );
    digest
}

#[test]
fn what_counts() {
    let world = World::new();
    let base = "context\n  d d 755 @1\n  f d/a 644 @1 \"1\"\n  f d/b 644 @1 \"2\"\n";
    for (what, one, other, same) in [
        ("times", format!("{base}COPY d /x"), base.replace("@1", "@2") + "COPY d /x", true),
        ("modes", format!("{base}COPY d /x"), base.replace("d/a 644", "d/a 600") + "COPY d /x", false),
        (
            "modes under --chmod",
            format!("{base}COPY --chmod=644 d /x"),
            base.replace("d/a 644", "d/a 600") + "COPY --chmod=644 d /x",
            true,
        ),
        (
            "modes that a symbolic --chmod makes equal",
            format!("{base}COPY --chmod=go=r d /x"),
            base.replace("d/a 644", "d/a 600") + "COPY --chmod=go=r d /x",
            true,
        ),
        (
            "modes that a symbolic --chmod leaves different",
            format!("{base}COPY --chmod=go=r d /x"),
            base.replace("d/a 644", "d/a 744") + "COPY --chmod=go=r d /x",
            false,
        ),
        ("bytes", format!("{base}COPY d /x"), base.replace("\"1\"", "\"9\"") + "COPY d /x", false),
        ("names inside", format!("{base}COPY d /x"), base.replace("d/b", "d/c") + "COPY d /x", false),
        (
            "the mode of the top directory",
            format!("{base}COPY d /x"),
            base.replace("d d 755", "d d 700") + "COPY d /x",
            true,
        ),
        (
            "the name of the top directory",
            format!("{base}COPY d /x"),
            base.replace(" d", " e").replace("e e 755", "d e 755") + "COPY e /x",
            true,
        ),
        (
            "another parent",
            format!("{base}COPY d/a /x"),
            "context\n  d e\n  d e/f\n  f e/f/a \"1\"\nCOPY e/f/a /x".to_owned(),
            true,
        ),
        (
            "another name",
            format!("{base}COPY d/a /x/"),
            "context\n  d d\n  f d/z \"1\"\nCOPY d/z /x/".to_owned(),
            false,
        ),
        (
            "a name under a wildcard",
            format!("{base}COPY d/* /x/"),
            base.replace("d/b", "d/c") + "COPY d/* /x/",
            false,
        ),
        (
            "what a wildcard does not match",
            format!("{base}COPY d/a* /x/"),
            base.replace("\"2\"", "\"9\"") + "COPY d/a* /x/",
            true,
        ),
        (
            "what is excluded",
            format!("{base}COPY --exclude=b d /x/"),
            base.replace("\"2\"", "\"9\"") + "COPY --exclude=b d /x/",
            true,
        ),
        (
            "user attributes",
            format!("{base}COPY d /x"),
            base.replace("d/a 644", "d/a 644 user.a=b") + "COPY d /x",
            false,
        ),
        (
            "an empty directory",
            format!("{base}COPY d /x"),
            base.replace("COPY", "") + "  d d/empty\nCOPY d /x",
            false,
        ),
        (
            "hard links",
            "context\n  d d\n  f d/a \"1\"\n  f d/b \"1\"\nCOPY d /x".to_owned(),
            "context\n  d d\n  f d/a \"1\"\n  h d/b -> d/a\nCOPY d /x".to_owned(),
            true,
        ),
        (
            "a symlink's text",
            "context\n  d d\n  l d/a -> b\nCOPY d /x".to_owned(),
            "context\n  d d\n  l d/a -> c\nCOPY d /x".to_owned(),
            false,
        ),
        (
            "a symlink or a file",
            "context\n  d d\n  l d/a -> b\nCOPY d /x".to_owned(),
            "context\n  d d\n  f d/a 777 \"b\"\nCOPY d /x".to_owned(),
            false,
        ),
        (
            "a symlink that is followed",
            "context\n  f a \"1\"\nCOPY a /x".to_owned(),
            "context\n  f b \"1\"\n  l a -> b\nCOPY a /x".to_owned(),
            true,
        ),
        (
            "where the same files are: a directory or an image",
            format!("{base}COPY d /x"),
            base.replace("context", "stage").replace(" @1", "") + "COPY d /x",
            true,
        ),
        (
            "owners",
            "stage\n  f a 644 1:1 \"1\"\nCOPY a /x".to_owned(),
            "stage\n  f a 644 2:1 \"1\"\nCOPY a /x".to_owned(),
            false,
        ),
        (
            "owners under --chown",
            "stage\n  f a 644 1:1 \"1\"\nCOPY --chown=5:5 a /x".to_owned(),
            "stage\n  f a 644 2:1 \"1\"\nCOPY --chown=5:5 a /x".to_owned(),
            true,
        ),
        (
            "attributes that no image keeps",
            "stage\n  f a security.selinux=x \"1\"\nCOPY a /x".to_owned(),
            "stage\n  f a \"1\"\nCOPY a /x".to_owned(),
            true,
        ),
        (
            "capabilities",
            "stage\n  f a security.capability=x \"1\"\nCOPY a /x".to_owned(),
            "stage\n  f a \"1\"\nCOPY a /x".to_owned(),
            false,
        ),
        (
            "device numbers",
            "stage\n  d d\n  c d/a \"1,3\"\nCOPY d /x".to_owned(),
            "stage\n  d d\n  c d/a \"1,5\"\nCOPY d /x".to_owned(),
            false,
        ),
        (
            "where a name ends and another begins",
            "context\n  d d\n  d d/a\n  f d/a/b \"1\"\nCOPY d /x".to_owned(),
            "context\n  d d\n  d d/a\n  f d/b \"1\"\nCOPY d /x".to_owned(),
            false,
        ),
    ] {
        let equal = key(&world, &one) == key(&world, &other);
        assert_eq!(equal, same, "{what}\n{one}\n--\n{other}");
    }
}

#[test]
fn the_cheap_key_of_an_image_costs_no_reading() {
    let world = World::new();
    let recipe = "=== x\nstage\n  d d\n  f d/a \"1\"\nCOPY d /x";
    let case = &case::parse(recipe)[0];
    let other = &case::parse(&recipe.replace("\"1\"", "\"2\""))[0];
    let cheap = |case: &case::Case| {
        let view = world.view(&case.stage);
        select(Source::View(&world.store, &view), &case.request).unwrap().cheap_key(&case.request)
    };
    assert!(cheap(case).is_some());
    assert_eq!(cheap(case), cheap(case));
    assert_ne!(cheap(case), cheap(other));
    let context = world.context(&case::parse("=== x\ncontext\n  f a \"1\"\nCOPY a /x")[0]);
    let request = Request { sources: vec!["a".to_owned()], ..Request::default() };
    assert_eq!(select(Source::Context(&context), &request).unwrap().cheap_key(&request), None);
}

#[test]
fn the_request_decides_too() {
    let key = |text: &str| case::parse(&format!("=== x\n{text}"))[0].request.key();
    let base = key("COPY a b /x");
    for same in ["COPY c /x", "cwd /\nCOPY a b x", "COPY a b /y/../x", "cwd /w\nCOPY a b /x"] {
        assert_eq!(key(same), base, "{same}");
    }
    for other in
        ["COPY a b /x/", "COPY a b /y", "COPY --chown=0:0 a b /x", "COPY --chmod=644 a b /x", "ADD a b /x"]
    {
        assert_ne!(key(other), base, "{other}");
    }
    assert_eq!(key("COPY --chmod=0755 a /x"), key("COPY --chmod=755 a /x"));
}

/// The content digest of the one file `f` of the context, through an index.
fn digest_of(path: &Path, index: &Arc<StatIndex>) -> Digest {
    let request =
        Request { sources: vec!["f".to_owned()], destination: "/f".to_owned(), ..Request::default() };
    let context = LocalContext::open(path, None).unwrap().with_index(Arc::clone(index));
    select(Source::Context(&context), &request).unwrap().digest(&request).unwrap()
}

#[test]
fn a_file_that_changes_within_one_tick_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f");
    let index = Arc::new(StatIndex::default());
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let mut seen = BTreeMap::new();
    for round in 0..500_u32 {
        // Same length, same modification time, the next moment.
        std::fs::write(&file, format!("{round:08}")).unwrap();
        std::fs::File::open(&file).unwrap().set_times(std::fs::FileTimes::new().set_modified(time)).unwrap();
        if let Some(before) = seen.insert(digest_of(directory.path(), &index), round) {
            panic!("{before} and {round} are taken for one");
        }
    }
}

#[test]
fn an_unchanged_file_is_not_read_again() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let file = path.join("f");
    std::fs::write(&file, "content").unwrap();
    // Older than any slack.
    std::thread::sleep(Duration::from_millis(50));
    let index = Arc::new(StatIndex::load(&world.store, path).unwrap());
    let digest = digest_of(path, &index);
    index.save(&world.store).unwrap();
    let index = Arc::new(StatIndex::load(&world.store, path).unwrap());
    let stamp = {
        let context = LocalContext::open(path, None).unwrap();
        let node = super::super::Tree::node(&context, b"f").unwrap().unwrap();
        match node.body {
            super::super::Body::File { identity: super::super::Identity::Host(stamp), .. } => stamp,
            _ => panic!("no file"),
        }
    };
    let known = index.known(&stamp).expect("the index knows the file");
    assert_eq!(known.content, Digest::of(b"content"));
    assert_eq!(digest_of(path, &index), digest);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_ne!(digest_of(path, &index), digest, "a mode is not content, but it counts");
}

#[test]
fn a_file_that_changes_after_it_was_selected_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("f"), "1").unwrap();
    let request =
        Request { sources: vec!["f".to_owned()], destination: "/f".to_owned(), ..Request::default() };
    let context = LocalContext::open(directory.path(), None).unwrap();
    let selection = select(Source::Context(&context), &request).unwrap();
    assert!(selection.verify().is_ok());
    std::fs::write(directory.path().join("f"), "22").unwrap();
    assert!(selection.verify().is_err());
    assert!(selection.digest(&request).is_err());
}
