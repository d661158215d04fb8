//! What GNU tar and bsdtar write in each of their formats is read as they read it themselves.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use layer_store::layer::Form;
use layer_store::store::Durability;
use layer_store::{Digest, Store, StoreOptions};

/// A directory with what each format has a way of its own to say.
fn sources(root: &Path) {
    let script = r#"
        set -e
        cd "$1"
        mkdir -p plain "$(printf 'd%.0s' $(seq 90))/$(printf 'e%.0s' $(seq 90))" 'spaces and ü'
        echo text > plain/file
        : > plain/empty
        head -c 300000 /dev/urandom > plain/big
        ln plain/file plain/hard
        ln -s file plain/soft
        ln -s "$(printf 's%.0s' $(seq 150))" plain/long-target
        (cd d*/e*; echo deep > file)
        echo long > "$(printf 'n%.0s' $(seq 120))"
        echo ü > 'spaces and ü/ö'
        mkfifo plain/fifo
        truncate -s 3000000 plain/sparse
        printf 'begin' | dd of=plain/sparse conv=notrunc status=none
        printf 'middle' | dd of=plain/sparse bs=1 seek=1500000 conv=notrunc status=none
        chmod 4755 plain/file
        chmod 1777 plain
        touch -d @1 plain/file
        touch -h -d @1234567890 plain/soft
    "#;
    run(Command::new("sh").args(["-c", script, "sh"]).arg(root));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Path to kind, mode, bytes or target, number of names and, but for directories, time.
fn seen(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let metadata = entry.path().symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let text = if kind.is_file() {
            format!("file {} of {}", Digest::of(&std::fs::read(entry.path()).unwrap()), metadata.nlink())
        } else if kind.is_symlink() {
            format!("-> {}", std::fs::read_link(entry.path()).unwrap().display())
        } else if kind.is_fifo() {
            "fifo".to_owned()
        } else {
            "dir".to_owned()
        };
        let time = metadata.mtime();
        let mode = metadata.permissions().mode() & 0o7777;
        found.insert(
            entry.path().strip_prefix(root).unwrap().display().to_string(),
            format!("{text} {mode:o} {time}"),
        );
    }
    found
}

fn check(tool: &str, format: &[&str], changes: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let (source, extracted) = (dir.path().join("source"), dir.path().join("extracted"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&extracted).unwrap();
    sources(&source);
    for change in changes {
        run(Command::new("sh").args(["-c", change]).current_dir(&source));
    }
    let archive = dir.path().join("archive.tar");
    run(Command::new(tool).args(format).arg("-cf").arg(&archive).arg("-C").arg(&source).arg("."));
    run(Command::new(tool).arg("-xpf").arg(&archive).arg("-C").arg(&extracted));

    let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
    let store = Store::open(&dir.path().join("store"), options).unwrap();
    let bytes = std::fs::read(&archive).unwrap();
    let diff_id = Digest::of(&bytes);
    store.apply(&mut bytes.as_slice(), &diff_id, Form::Tree).unwrap();
    assert_eq!(seen(&store.tree(&diff_id).unwrap()), seen(&extracted), "{tool} {format:?}");
}

/// Old formats cannot say long names.
const SHORT: &[&str] = &["rm -r d* n* plain/long-target", "mv 'spaces and ü' short; rm short/*"];

#[test]
fn gnu_tar() {
    for format in ["pax", "posix", "gnu", "oldgnu"] {
        check("tar", &[&format!("--format={format}")], &[]);
    }
    for format in ["ustar", "v7"] {
        let changes: &[&str] = if format == "v7" {
            &["rm -r d* n* plain/long-target plain/fifo", "mv 'spaces and ü' short; rm short/*"]
        } else {
            SHORT
        };
        check("tar", &[&format!("--format={format}")], changes);
    }
}

#[test]
fn gnu_tar_sparse() {
    for version in ["0.0", "0.1", "1.0"] {
        check("tar", &["--format=pax", "--sparse", &format!("--sparse-version={version}")], &[]);
    }
    check("tar", &["--format=gnu", "--sparse"], &[]);
    check("tar", &["--format=oldgnu", "--sparse"], &[]);
    // So many parts that an old header needs others after it.
    let many = "for at in $(seq 1 60); do printf x | dd of=plain/sparse bs=1 seek=$((at*40000)) conv=notrunc status=none; done";
    check("tar", &["--format=gnu", "--sparse"], &[many]);
    check("tar", &["--format=pax", "--sparse"], &[many]);
}

#[test]
fn bsdtar() {
    for format in ["pax", "gnutar"] {
        check("bsdtar", &[&format!("--format={format}")], &[]);
    }
    for format in ["ustar", "v7"] {
        let changes: &[&str] = if format == "v7" {
            &["rm -r d* n* plain/long-target plain/fifo", "mv 'spaces and ü' short; rm short/*"]
        } else {
            SHORT
        };
        check("bsdtar", &[&format!("--format={format}")], changes);
    }
}

#[test]
fn canonical_tars_are_read_by_both() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    sources(&source);
    let options = StoreOptions { durability: Durability::None, ..StoreOptions::default() };
    let store = Store::open(&dir.path().join("store"), options).unwrap();
    let view = layer_store::View::default();
    let diff_id = store.commit_whole(&source, &view, &Default::default(), None, Form::Tar).unwrap();
    let archive = dir.path().join("archive.tar");
    store.write_tar(&diff_id, &mut std::fs::File::create(&archive).unwrap()).unwrap();
    // Seconds are all that a layer keeps.
    run(Command::new("find").arg(&source).args([
        "-exec",
        "sh",
        "-c",
        "touch -h -d @$(stat -c %Y \"$1\") \"$1\"",
        "sh",
        "{}",
        ";",
    ]));
    for tool in ["tar", "bsdtar"] {
        let extracted = dir.path().join(tool);
        std::fs::create_dir(&extracted).unwrap();
        run(Command::new(tool).arg("-xpf").arg(&archive).arg("-C").arg(&extracted));
        assert_eq!(seen(&extracted), seen(&source), "{tool}");
    }
}
