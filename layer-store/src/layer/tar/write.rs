//! The canonical writer. Its form is described in the parent module.

use super::{BLOCK, OPAQUE, WHITEOUT, pax};
use crate::index::{Entry, Kind, path};
use crate::{Error, Result};

/// What ends a tar.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// How many zeros follow `size` bytes of data.
pub(crate) const fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

/// Appends all that is before the data of `entry` (or, of an entry without data, all of it).
///
/// # Errors
///
/// [`Error::Entry`] for what no layer can hold: a name that begins with `.wh.`, an extended attribute with `=` in its
/// name.
pub(crate) fn encode(entry: &Entry, out: &mut Vec<u8>) -> Result<()> {
    let marked = entry.path.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT));
    if marked {
        return Err(refuse(entry, "a name that begins with `.wh.` means a removal in a layer"));
    }
    let name = match &entry.kind {
        Kind::Directory { .. } if entry.path.is_empty() => b"./".to_vec(),
        Kind::Directory { .. } => [entry.path.as_slice(), b"/"].concat(),
        Kind::Whiteout => return encode_whiteout(entry, out),
        _ => entry.path.clone(),
    };
    let mut header =
        Header { name: &name, mode: entry.mode & 0o7777, mtime: entry.mtime, ..Header::default() };
    (header.uid, header.gid) = (entry.uid, entry.gid);
    match &entry.kind {
        Kind::Directory { .. } => header.kind = b'5',
        Kind::File { size, .. } => header.size = *size,
        Kind::Hardlink { target } => (header.kind, header.link) = (b'1', target),
        Kind::Symlink { target } => (header.kind, header.link) = (b'2', target),
        Kind::CharDevice { major, minor } => {
            (header.kind, header.major, header.minor) = (b'3', *major, *minor);
        }
        Kind::BlockDevice { major, minor } => {
            (header.kind, header.major, header.minor) = (b'4', *major, *minor);
        }
        Kind::Fifo => header.kind = b'6',
        Kind::Whiteout => {}
    }
    // A hard link is the file under another name; the file's entry has its attributes.
    let mut records = Vec::new();
    if header.kind != b'1' {
        for (name, value) in &entry.xattrs {
            if name.contains(&b'=') || name.contains(&0) {
                return Err(refuse(entry, "the name of an extended attribute contains `=`"));
            }
            records.push(([pax::XATTR, name].concat(), value.clone()));
        }
    }
    header.encode(records, out);
    if entry.kind == (Kind::Directory { opaque: true }) {
        let name = path::join(&entry.path, OPAQUE);
        Header { name: &name, ..Header::default() }.encode(Vec::new(), out);
    }
    Ok(())
}

fn encode_whiteout(entry: &Entry, out: &mut Vec<u8>) -> Result<()> {
    let Some((parent, name)) = path::split(&entry.path) else {
        return Err(refuse(entry, "the root is always a directory"));
    };
    let name = path::join(parent, &[WHITEOUT, name].concat());
    Header { name: &name, ..Header::default() }.encode(Vec::new(), out);
    Ok(())
}

fn refuse(entry: &Entry, reason: &str) -> Error {
    Error::Entry { entry: path::printable(&entry.path), reason: reason.to_owned() }
}

/// What a header says, with what it cannot say itself.
struct Header<'a> {
    name: &'a [u8],
    kind: u8,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: i64,
    link: &'a [u8],
    major: u32,
    minor: u32,
}

impl Default for Header<'_> {
    fn default() -> Self {
        Self {
            name: b"",
            kind: b'0',
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: b"",
            major: 0,
            minor: 0,
        }
    }
}

impl Header<'_> {
    /// Appends the header, and before it one with `records` and all that does not fit.
    fn encode(&self, mut records: Vec<(Vec<u8>, Vec<u8>)>, out: &mut Vec<u8>) {
        let mut record = |key: &str, value: Vec<u8>| records.push((key.into(), value));
        let mut block = tar::Header::new_ustar();
        let fields = block.as_old_mut();
        if !fits_text(self.name) {
            record("path", self.name.to_vec());
        }
        put_name(&mut fields.name, self.name);
        if !fits_text(self.link) {
            record("linkpath", self.link.to_vec());
        }
        put_text(&mut fields.linkname, self.link);
        octal(&mut fields.mode, u64::from(self.mode));
        for (key, field, id) in [("uid", &mut fields.uid, self.uid), ("gid", &mut fields.gid, self.gid)] {
            if !octal(field, u64::from(id)) {
                record(key, id.to_string().into_bytes());
            }
        }
        if !octal(&mut fields.size, self.size) {
            record("size", self.size.to_string().into_bytes());
        }
        let mtime = u64::try_from(self.mtime).unwrap_or(u64::MAX);
        if !octal(&mut fields.mtime, mtime) {
            record("mtime", self.mtime.to_string().into_bytes());
        }
        fields.linkflag = [self.kind];
        if let Some(fields) = block.as_ustar_mut() {
            octal(&mut fields.dev_major, u64::from(self.major));
            octal(&mut fields.dev_minor, u64::from(self.minor));
        }
        if !records.is_empty() {
            records.sort();
            let mut data = Vec::new();
            for (key, value) in &records {
                pax::encode_record(&mut data, key, value);
            }
            let (parent, name) = path::split(trim_slashes(self.name)).unwrap_or((b"", b"."));
            let name = path::join(&path::join(parent, b"PaxHeaders.0"), name);
            Header { name: &name, kind: b'x', size: data.len() as u64, ..Header::default() }.encode_cut(out);
            out.extend_from_slice(&data);
            out.resize(out.len() + padding(data.len() as u64), 0);
        }
        seal(&mut block);
        out.extend_from_slice(block.as_bytes());
    }

    /// Appends the header of records, whose name nobody reads.
    fn encode_cut(&self, out: &mut Vec<u8>) {
        let mut block = tar::Header::new_ustar();
        let fields = block.as_old_mut();
        put_text(&mut fields.name, trim_slashes(&self.name[..self.name.len().min(100)]));
        for field in [&mut fields.mode, &mut fields.uid, &mut fields.gid] {
            octal(field, 0);
        }
        octal(&mut fields.size, self.size);
        octal(&mut fields.mtime, 0);
        fields.linkflag = [self.kind];
        if let Some(fields) = block.as_ustar_mut() {
            octal(&mut fields.dev_major, 0);
            octal(&mut fields.dev_minor, 0);
        }
        seal(&mut block);
        out.extend_from_slice(block.as_bytes());
    }
}

/// Writes the checksum.
fn seal(block: &mut tar::Header) {
    block.as_old_mut().cksum = [b' '; 8];
    let sum: u64 = block.as_bytes().iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block.as_old_mut().cksum[..7], sum);
}

fn trim_slashes(name: &[u8]) -> &[u8] {
    &name[..name.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1)]
}

fn fits_text(text: &[u8]) -> bool {
    text.len() <= 100 && text.is_ascii()
}

/// Writes `name`, cut so that no file looks like a directory to those that do not read the record.
fn put_name(field: &mut [u8; 100], name: &[u8]) {
    if name.len() > field.len() {
        put_text(field, trim_slashes(&name[..field.len()]));
    } else {
        put_text(field, name);
    }
}

fn put_text(field: &mut [u8; 100], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text) {
        *to = if from.is_ascii() { *from } else { b'_' };
    }
}

/// Writes `value` as octal digits and a NUL, or zeros if it has too many; whether it fits.
fn octal(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = value < 1 << (3 * digits);
    let value = if fits { value } else { 0 };
    for (at, byte) in field[..digits].iter_mut().rev().enumerate() {
        *byte = b'0' + (value >> (3 * at) & 7) as u8;
    }
    field[digits] = 0;
    fits
}
