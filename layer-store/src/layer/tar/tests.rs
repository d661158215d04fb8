use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::index::{Builder, Entry, Index, Kind, TarFacts};
use crate::layer::TarLimits;
use crate::{Digest, Result};

/// The index that `bytes` give.
pub(super) fn read(bytes: &[u8]) -> Result<Index> {
    let mut reader = Reader::new(bytes, TarLimits::default());
    let mut builder = Builder::new();
    while let Some(member) = reader.next()? {
        match member {
            Member::Entry { entry, extents, .. } => {
                let path = entry.path.clone();
                builder.insert(entry)?;
                if let Some(extents) = extents {
                    builder.set_extents(&path, extents);
                }
            }
            Member::Opaque(path) => builder.set_opaque(&path)?,
            Member::Nothing => {}
        }
    }
    let size = reader.finish()?;
    Ok(builder.finish(TarFacts { size, canonical: false }))
}

/// The canonical tar of `entries`, with zeros for data, and the entries with their offsets.
fn written(entries: &[Entry]) -> (Vec<u8>, Vec<Entry>) {
    let mut out = Vec::new();
    let mut placed = entries.to_vec();
    for entry in &mut placed {
        encode(entry, &mut out).unwrap();
        if let Kind::File { size, offset } = &mut entry.kind {
            *offset = out.len() as u64;
            out.resize(out.len() + *size as usize + padding(*size), 0);
        }
    }
    out.extend_from_slice(&END);
    (out, placed)
}

fn entry(path: &str, kind: Kind) -> Entry {
    Entry { kind, ..Entry::implied_directory(path.into()) }
}

#[test]
fn an_empty_layer_has_the_digest_that_everybody_knows() {
    let digest = Digest::of(&written(&[]).0).to_string();
    assert_eq!(digest, "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
    assert!(read(&END).unwrap().entries().is_empty());
    assert!(read(b"").unwrap().entries().is_empty());
}

#[test]
fn the_canonical_header_is_this() {
    let file = Entry { mode: 0o4755, uid: 1, gid: 0o7_777_777, mtime: 8, ..entry("a/b", Kind::Fifo) };
    let (bytes, _) = written(&[Entry { kind: Kind::File { size: 3, offset: 0 }, ..file }]);
    let text = bytes[..BLOCK].escape_ascii().to_string().replace("\\x00", ".");
    let dots = |count| ".".repeat(count);
    assert_eq!(
        text,
        format!(
            "a/b{}0004755.0000001.7777777.00000000003.00000000010.007654. 0{}ustar.00{}0000000.0000000.{}",
            dots(97),
            dots(100),
            dots(64),
            dots(167)
        )
    );
    assert_eq!(bytes.len(), 4 * BLOCK);
}

#[test]
fn what_a_header_cannot_say_is_in_records() {
    let path = format!("d/{}", "x".repeat(99));
    let mut file = Entry { uid: 0o10_000_000, mtime: -5, ..entry(&path, Kind::Fifo) };
    file.xattrs = BTreeMap::from([(b"user.b".to_vec(), b"1\n2\0".to_vec()), (b"user.a".to_vec(), vec![])]);
    let mut bytes = Vec::new();
    encode(&file, &mut bytes).unwrap();
    assert!(bytes.starts_with(format!("d/PaxHeaders.0/{}", "x".repeat(85)).as_bytes()));
    let records = format!(
        "24 SCHILY.xattr.user.a=\n28 SCHILY.xattr.user.b=1\n2\0\n12 mtime=-5\n111 path={path}\n15 uid=2097152\n"
    );
    assert_eq!(bytes[BLOCK..2 * BLOCK].escape_ascii().to_string().trim_end_matches("\\x00"), {
        records.as_bytes().escape_ascii().to_string()
    });
    assert_eq!(bytes.len(), 3 * BLOCK);
    bytes.extend_from_slice(&END);
    assert_eq!(read(&bytes).unwrap().entries(), [file]);
}

#[test]
fn whiteouts_and_opaque_directories_have_their_names() {
    let entries = [entry("d", Kind::Directory { opaque: true }), entry("d/gone", Kind::Whiteout)];
    let (bytes, _) = written(&entries);
    let names: Vec<_> = bytes.chunks(BLOCK).map(|block| block[..20].escape_ascii().to_string()).collect();
    assert!(names[0].starts_with("d/\\x00"));
    assert!(names[1].starts_with("d/.wh..wh..opq\\x00"));
    assert!(names[2].starts_with("d/.wh.gone\\x00"));
    for path in [".wh.x", "a/.wh.x/b", ".wh..wh..opq"] {
        assert!(encode(&entry(path, Kind::Fifo), &mut Vec::new()).is_err(), "{path}");
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        any::<bool>().prop_map(|opaque| Kind::Directory { opaque }),
        (0..2000_u64).prop_map(|size| Kind::File { size, offset: 0 }),
        "[a-zé]{1,150}".prop_map(|target| Kind::Symlink { target: target.into() }),
        "[a-zé]{1,150}".prop_map(|target| Kind::Hardlink { target: format!("lower/{target}").into() }),
        (1..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
        Just(Kind::Fifo),
        Just(Kind::Whiteout),
    ]
}

pub(crate) fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let owner = || prop_oneof![0..5_u32, 0..u32::MAX];
    let entry = (
        "[a-zé]{1,3}(/[a-zA-Zé ]{1,80}){0,2}",
        kind(),
        0..0o10000_u32,
        owner(),
        owner(),
        prop_oneof![
            0..2_000_000_000_i64,
            -10_000..0_i64,
            any::<i32>().prop_map(|time| i64::from(time) << 10)
        ],
        prop::collection::btree_map(
            "user\\.[a-z]{1,9}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 1..40),
            0..3,
        ),
    )
        .prop_map(|(path, kind, mode, uid, gid, mtime, mut xattrs)| {
            let (mut mode, mut uid, mut gid, mut mtime) = (mode, uid, gid, mtime);
            if kind == Kind::Whiteout {
                (mode, uid, gid, mtime) = (0, 0, 0, 0);
            }
            if matches!(kind, Kind::Whiteout | Kind::Hardlink { .. }) {
                xattrs = BTreeMap::new();
            }
            Entry { path: path.into(), kind, mode, uid, gid, mtime, xattrs }
        });
    prop::collection::vec(entry, 0..12).prop_map(|entries| {
        let mut builder = Builder::new();
        for entry in entries {
            let _ = builder.insert(entry);
        }
        builder.finish(TarFacts::default()).entries().to_vec()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in entries()) {
        let (bytes, placed) = written(&entries);
        let index = read(&bytes).unwrap();
        prop_assert_eq!(index.entries(), &placed[..]);
        prop_assert_eq!(index.tar().size, bytes.len() as u64);
    }

    #[test]
    fn rubbish_never_panics(entries in entries(), at: prop::sample::Index, with: u8, cut: prop::sample::Index) {
        let (mut bytes, _) = written(&entries);
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        let whole = read(&bytes);
        let _ = read(&bytes[..cut.index(bytes.len())]);
        // What no checksum covers, records and data, may say something else, but nothing that is not clean.
        if let Ok(whole) = whole {
            prop_assert!(whole.entries().iter().all(|entry| crate::index::path::is_clean(&entry.path)));
        }
    }
}
