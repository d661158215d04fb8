//! Archives for cases: headers as written, hostile ones too.

use std::io::Write as _;

use layer_store::View;
use proptest::prelude::*;

use super::super::{Request, Source, entries, select};
use super::World;
use super::recipe::Line;

/// An archive in the context: `archive NAME [gz|bz2|xz|zst]`, then lines like those of trees. `x` is an entry of an
/// unknown type, `z` a GNU sparse file of 1 MiB with its content at the end.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    pub(super) name: String,
    pub(super) compression: String,
    pub(super) lines: Vec<Line>,
}

impl Archive {
    pub(super) fn parse(text: &str) -> Self {
        let (name, compression) = text.split_once(' ').unwrap_or((text, ""));
        Self { name: name.to_owned(), compression: compression.to_owned(), lines: Vec::new() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let tar = self.tar();
        match self.compression.as_str() {
            "" => tar,
            "gz" => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&tar).unwrap();
                encoder.finish().unwrap()
            }
            "bz2" => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(&tar).unwrap();
                encoder.finish().unwrap()
            }
            "xz" => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(&tar).unwrap();
                encoder.finish().unwrap()
            }
            "zst" => zstd::encode_all(tar.as_slice(), 1).unwrap(),
            // The end, the padding and half of the last file.
            "truncated" => tar[..tar.len() - 1520].to_vec(),
            other => panic!("no compression `{other}`"),
        }
    }

    fn tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for line in &self.lines {
            let pax: Vec<(String, &[u8])> = line
                .xattrs
                .iter()
                .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_bytes()))
                .collect();
            if !pax.is_empty() {
                builder
                    .append_pax_extensions(pax.iter().map(|(name, value)| (name.as_str(), *value)))
                    .unwrap();
            }
            let mut header = if line.kind == 'z' { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
            // Set as bytes, since the library refuses the names that a test is about.
            header.as_old_mut().name[..line.path.len()].copy_from_slice(line.path.as_bytes());
            header.set_mode(line.mode);
            header.set_uid(line.owner.0.into());
            header.set_gid(line.owner.1.into());
            header.set_mtime(u64::try_from(line.mtime.unwrap_or(1000)).unwrap());
            header.set_size(0);
            let mut data = &[][..];
            match line.kind {
                'f' | 'z' => {
                    data = line.body.as_bytes();
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_size(data.len() as u64);
                }
                'd' => header.set_entry_type(tar::EntryType::Directory),
                'p' => header.set_entry_type(tar::EntryType::Fifo),
                'x' => header.set_entry_type(tar::EntryType::new(b'Q')),
                'l' | 'h' => {
                    let kind = if line.kind == 'l' { tar::EntryType::Symlink } else { tar::EntryType::Link };
                    header.set_entry_type(kind);
                    header.as_old_mut().linkname[..line.body.len()].copy_from_slice(line.body.as_bytes());
                }
                'c' | 'b' => {
                    let kind = if line.kind == 'c' { tar::EntryType::Char } else { tar::EntryType::Block };
                    header.set_entry_type(kind);
                    let (major, minor) = line.device();
                    header.set_device_major(major).unwrap();
                    header.set_device_minor(minor).unwrap();
                }
                kind => panic!("`{kind}` cannot be in an archive"),
            }
            if line.kind == 'z' {
                header.set_entry_type(tar::EntryType::GNUSparse);
                let gnu = header.as_gnu_mut().unwrap();
                let start = (1 << 20) - data.len();
                for (field, number) in [
                    (&mut gnu.sparse[0].offset[..], start),
                    (&mut gnu.sparse[0].numbytes[..], data.len()),
                    (&mut gnu.realsize[..], 1 << 20),
                ] {
                    field.copy_from_slice(format!("{number:011o}\0").as_bytes());
                }
            }
            header.set_cksum();
            builder.append(&header, data).unwrap();
        }
        builder.into_inner().unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a few bytes of an archive become, unpacking ends, and nothing lands outside the destination.
    #[test]
    fn damaged_archives_do_no_harm(
        changes in prop::collection::vec((0..4096_usize, any::<u8>()), 1..6),
        checksums in any::<bool>(),
        compression in prop::sample::select(vec!["", "gz", "zst"]),
    ) {
        let lines = ["d dir 700 5:6", "f dir/f 640 \"hello\"", "h dir/h -> dir/f", "l l -> ../..", "f l/x \"x\"", "z s \"end\""];
        let lines = lines.map(Line::parse).to_vec();
        let archive = Archive { name: String::new(), compression: compression.to_owned(), lines };
        let mut bytes = archive.bytes();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if checksums && compression.is_empty() {
            for block in bytes.chunks_exact_mut(512) {
                let mut header = tar::Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let world = World::new();
        let fetched = Source::Inline(vec![("a".to_owned(), bytes)]);
        let request = Request { destination: "/in/".to_owned(), ..Request::default() };
        let mut selection = select(fetched, &request).unwrap();
        selection.parts[0].unpack = true;
        if let Ok(new) = entries(&world.store, &selection, &View::default(), &request) {
            for entry in new {
                prop_assert!(entry.path == b"in" || entry.path.starts_with(b"in/"), "{:?}", entry.path);
            }
        }
    }
}
