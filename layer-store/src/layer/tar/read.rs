//! The reader: strict where tools differ, since what two of them read differently is how one is deceived.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::pax::{self, Records};
use super::{BLOCK, MARKER, OPAQUE, WHITEOUT, header, sparse};
use crate::index::{Entry, Extent, Kind, PathBytes, path};
use crate::layer::TarLimits;
use crate::{Error, Result};

/// The entries of a tar as they come, and their data.
pub(crate) struct Reader<R> {
    input: R,
    limits: TarLimits,
    /// Where the input is, in bytes from the tar's beginning.
    position: u64,
    /// Data of the present entry that was not read yet, and the zeros after it.
    data: u64,
    padding: u64,
    global: Records,
    entries: usize,
    /// Lengths of all files, holes included.
    content: u64,
    /// Names that begin with `.wh.` are names like others.
    literal: bool,
}

/// What a tar's entry means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// An entry; of a file the data is next, `stored` bytes of it. A sparse one has its extents.
    Entry { entry: Entry, stored: u64, extents: Option<Vec<Extent>> },
    /// The directory hides what is below it.
    Opaque(PathBytes),
    /// Nothing: a volume's name, or a marker of unions before overlay.
    Nothing,
}

/// The extended headers before an entry.
#[derive(Debug, Default)]
struct Extended {
    records: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(input: R, limits: TarLimits) -> Self {
        Self {
            input,
            limits,
            position: 0,
            data: 0,
            padding: 0,
            global: Records::default(),
            entries: 0,
            content: 0,
            literal: false,
        }
    }

    /// Takes names that begin with `.wh.` as names like others: in archives that are no layers.
    pub(crate) fn literal(self) -> Self {
        Self { literal: true, ..self }
    }

    /// The next entry; what was not read of the one before is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        self.skip_data()?;
        let mut extended = Extended::default();
        loop {
            let Some(block) = self.block()? else {
                return match extended {
                    Extended { records: None, long_name: None, long_link: None } => Ok(None),
                    _ => Err(malformed("it ends after an extended header")),
                };
            };
            if block.iter().all(|byte| *byte == 0) {
                // One block of zeros alone is how some end; what follows two is nobody's.
                return match self.block()? {
                    Some(second) if second.iter().any(|byte| *byte != 0) => {
                        Err(malformed("a block of zeros is followed by data"))
                    }
                    _ if extended.records.is_some() => Err(malformed("it ends after an extended header")),
                    _ => Ok(None),
                };
            }
            if !header::checksum_holds(&block) {
                return Err(malformed("a header has a wrong checksum"));
            }
            let fields = tar::Header::from_byte_slice(&block);
            match fields.as_bytes()[156] {
                b'x' | b'X' => {
                    let data = self.extended_data(fields)?;
                    if extended.records.is_some() {
                        return Err(malformed("two extended headers are for one entry"));
                    }
                    extended.records = Some(Records::parse(&data).map_err(malformed)?);
                }
                b'g' => {
                    let data = self.extended_data(fields)?;
                    self.set_global(&data)?;
                }
                b'L' => {
                    let data = self.extended_data(fields)?;
                    set_once(&mut extended.long_name, &data)?;
                }
                b'K' => {
                    let data = self.extended_data(fields)?;
                    set_once(&mut extended.long_link, &data)?;
                }
                _ => return self.member(fields, extended).map(Some),
            }
        }
    }

    /// The next bytes of the present entry's data, empty at its end. Followed by [`Reader::consume`].
    pub(crate) fn fill(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let bytes = fill(&mut self.input)?;
        if bytes.is_empty() {
            return Err(malformed("it ends inside an entry"));
        }
        let length = bytes.len().min(usize::try_from(self.data).unwrap_or(usize::MAX));
        Ok(&bytes[..length])
    }

    /// Passes over bytes that [`Reader::fill`] gave.
    pub(crate) fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.data -= count as u64;
        self.position += count as u64;
    }

    /// Reads what follows the tar's end, to the end of the input. Returns the length of all.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.skip_data()?;
        loop {
            let length = fill(&mut self.input)?.len();
            if length == 0 {
                return Ok(self.position);
            }
            self.input.consume(length);
            self.position += length as u64;
            self.check_length()?;
        }
    }

    fn skip_data(&mut self) -> Result<()> {
        let mut left = self.data + self.padding;
        while left > 0 {
            let available = fill(&mut self.input)?.len();
            if available == 0 {
                // Some writers leave out the padding of the last entry and the blocks behind it; all readers take that.
                if left <= self.padding {
                    break;
                }
                return Err(malformed("it ends inside an entry"));
            }
            let count = available.min(usize::try_from(left).unwrap_or(usize::MAX));
            self.input.consume(count);
            self.position += count as u64;
            left -= count as u64;
        }
        (self.data, self.padding) = (0, 0);
        self.check_length()
    }

    fn check_length(&self) -> Result<()> {
        if self.position > self.limits.bytes {
            return Err(malformed("it is longer than layers may be"));
        }
        Ok(())
    }

    /// The next block, `None` at the end of the input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let bytes = fill(&mut self.input)?;
            if bytes.is_empty() {
                return if filled == 0 { Ok(None) } else { Err(malformed("it ends inside a block")) };
            }
            let count = bytes.len().min(BLOCK - filled);
            block[filled..filled + count].copy_from_slice(&bytes[..count]);
            self.input.consume(count);
            filled += count;
        }
        self.position += BLOCK as u64;
        Ok(Some(block))
    }

    /// The data of a header that extends another. It has the size that its own field says, whatever records are about.
    fn extended_data(&mut self, fields: &tar::Header) -> Result<Vec<u8>> {
        let size = size_of(fields).map_err(malformed)?;
        let length = usize::try_from(size).ok().filter(|length| *length <= self.limits.extended_header);
        let length = length.ok_or_else(|| malformed("an extended header is too long"))?;
        let mut data = vec![0; length.next_multiple_of(BLOCK)];
        for at in (0..data.len()).step_by(BLOCK) {
            let block = self.block()?.ok_or_else(|| malformed("it ends inside an extended header"))?;
            data[at..at + BLOCK].copy_from_slice(&block);
        }
        data.truncate(length);
        Ok(data)
    }

    fn set_global(&mut self, data: &[u8]) -> Result<()> {
        let records = Records::parse(data).map_err(malformed)?;
        // What is about one entry and said about all is a trap.
        let about_one: &[&[u8]] = &[b"path", b"linkpath", b"size"];
        let sparse = records.has_any(&sparse::KEYS);
        if sparse || records.has_any(about_one) || records.xattrs().next().is_some() {
            return Err(malformed("a global header says what can be said of one entry only"));
        }
        self.global = records.over(&self.global);
        Ok(())
    }

    fn member(&mut self, fields: &tar::Header, extended: Extended) -> Result<Member> {
        let records = match extended.records {
            Some(records) => records.over(&self.global),
            None if self.global.is_empty() => Records::default(),
            None => self.global.clone(),
        };
        let raw_name = name_of(fields, &records, extended.long_name)?;
        let refuse = |reason: &str| refuse(&raw_name, reason);
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(refuse("the layer has too many entries"));
        }
        let name = path::clean(&raw_name)?;
        if name.len() > self.limits.path || path::ancestors(&name).count() > self.limits.depth {
            return Err(refuse("the path is too long or too deep"));
        }
        if name.split(|byte| *byte == b'/').any(|part| part.len() > 255) {
            return Err(refuse("a name in the path is too long"));
        }
        let header_size = size_of(fields).map_err(&refuse)?;
        let size = match records.number(b"size").map_err(&refuse)? {
            // A size that a header cannot hold is 0 or the greatest there is, by writer.
            Some(size) if header_size != 0 && header_size != size && header_size != 0o77_777_777_777 => {
                return Err(refuse("its size is said in two ways"));
            }
            Some(size) => size,
            None => header_size,
        };
        if size > i64::MAX.cast_unsigned() {
            return Err(refuse("its size is too large"));
        }
        let kind_byte = fields.as_bytes()[156];
        if kind_byte == b'V' {
            self.expect_data(size, &refuse)?;
            return Ok(Member::Nothing);
        }
        if matches!(kind_byte, b'1'..=b'6') && size != 0 {
            return Err(refuse("it has a size, but can have no data"));
        }
        let slash = raw_name.ends_with(b"/");
        let kind = match kind_byte {
            // Before there was a type for them, directories were files with a slash.
            0 | b'0' if slash && size == 0 => Kind::Directory { opaque: false },
            0 | b'0' | b'7' | b'S' if slash => {
                return Err(refuse("it is a file with the name of a directory"));
            }
            0 | b'0' | b'7' | b'S' => Kind::File { size, offset: 0 },
            b'1' => {
                let target = path::clean(&link_of(fields, &records, extended.long_link)?)?;
                Kind::Hardlink { target }
            }
            b'2' => {
                let target = link_of(fields, &records, extended.long_link)?;
                if target.is_empty() || target.contains(&0) || target.len() >= 4096 {
                    return Err(refuse("its target is empty, too long or contains NUL"));
                }
                Kind::Symlink { target }
            }
            b'3' | b'4' => device(fields, kind_byte).map_err(&refuse)?,
            b'5' => Kind::Directory { opaque: false },
            b'6' => Kind::Fifo,
            _ => return Err(refuse("its type is unknown")),
        };
        if !self.literal
            && let Some(member) = self.marker(&name, size, &refuse)?
        {
            return Ok(member);
        }
        let mut entry = Entry {
            kind,
            mode: number_of(&fields.as_old().mode).map_err(&refuse)? as u32 & 0o7777,
            uid: owner(&records, b"uid", &fields.as_old().uid).map_err(&refuse)?,
            gid: owner(&records, b"gid", &fields.as_old().gid).map_err(&refuse)?,
            mtime: match records.value(b"mtime") {
                Some(time) => pax::seconds(time).map_err(&refuse)?,
                None => number_of(&fields.as_old().mtime).map_err(&refuse)?,
            },
            xattrs: xattrs(&records).map_err(&refuse)?,
            path: name,
        };
        if !matches!(entry.kind, Kind::File { .. }) {
            return Ok(Member::Entry { entry, stored: 0, extents: None });
        }
        self.expect_data(size, &refuse)?;
        let (length, extents) = self.extents(fields, &records, size, &refuse)?;
        self.content = self.content.saturating_add(length);
        if self.content > self.limits.bytes {
            return Err(refuse("the files of the layer are too large together"));
        }
        entry.kind = Kind::File { size: length, offset: self.position };
        Ok(Member::Entry { entry, stored: self.data, extents })
    }

    fn expect_data(&mut self, size: u64, refuse: &impl Fn(&str) -> Error) -> Result<()> {
        if size > self.limits.bytes {
            return Err(refuse("its size is too large"));
        }
        self.data = size;
        self.padding = super::padding(size) as u64;
        Ok(())
    }

    /// What a name that begins with `.wh.` means.
    fn marker(&mut self, name: &[u8], size: u64, refuse: &impl Fn(&str) -> Error) -> Result<Option<Member>> {
        let parts = || name.split(|byte| *byte == b'/');
        if !parts().any(|part| part.starts_with(WHITEOUT)) {
            return Ok(None);
        }
        self.expect_data(size, refuse)?;
        let (parent, last) = path::split(name).unwrap_or((b"", b""));
        let above = parent.split(|byte| *byte == b'/').find(|part| part.starts_with(WHITEOUT));
        if above.is_some_and(|part| part.starts_with(MARKER)) {
            return Ok(Some(Member::Nothing));
        }
        if above.is_some() {
            return Err(refuse("it is below a whiteout's name"));
        }
        if last == OPAQUE {
            return Ok(Some(Member::Opaque(parent.to_vec())));
        }
        if last.starts_with(MARKER) {
            return Ok(Some(Member::Nothing));
        }
        let removed = &last[WHITEOUT.len()..];
        if matches!(removed, b"" | b"." | b"..") {
            return Err(refuse("it removes no name"));
        }
        let bare = Entry { mode: 0, ..Entry::implied_directory(path::join(parent, removed)) };
        let entry = Entry { kind: Kind::Whiteout, ..bare };
        Ok(Some(Member::Entry { entry, stored: 0, extents: None }))
    }

    /// The length of a file and, if it is sparse, where its parts are. Reads the map where that is in the data.
    fn extents(
        &mut self,
        fields: &tar::Header,
        records: &Records,
        size: u64,
        refuse: &impl Fn(&str) -> Error,
    ) -> Result<(u64, Option<Vec<Extent>>)> {
        let old = fields.as_bytes()[156] == b'S';
        let described = sparse::from_records(records).map_err(refuse)?;
        let (length, pairs) = match (described, old) {
            (None, false) => return Ok((size, None)),
            (Some(_), true) => return Err(refuse("it is sparse in two ways")),
            (None, true) => self.old_map(fields, refuse)?,
            (Some((length, sparse::Map::Pairs(pairs))), false) => (length, pairs),
            (Some((length, sparse::Map::InData)), false) => (length, self.map_in_data(refuse)?),
        };
        if pairs.len() > self.limits.extents {
            return Err(refuse("its sparse map is too long"));
        }
        if length > i64::MAX.cast_unsigned() {
            return Err(refuse("its size is too large"));
        }
        let extents = sparse::extents(&pairs, length, self.data, self.position).map_err(refuse)?;
        Ok((length, Some(extents)))
    }

    fn old_map(
        &mut self,
        fields: &tar::Header,
        refuse: &impl Fn(&str) -> Error,
    ) -> Result<(u64, Vec<(u64, u64)>)> {
        const TABLE: std::ops::Range<usize> = 386..482;
        let block = fields.as_bytes();
        if fields.as_gnu().is_none() {
            return Err(refuse("it is sparse in another's header"));
        }
        let mut pairs = Vec::new();
        sparse::add_old_pairs(&mut pairs, &block[TABLE]).map_err(refuse)?;
        let length = number_of(&block[483..495]).map_err(refuse)?;
        let length = u64::try_from(length).map_err(|_| refuse("its size is negative"))?;
        let mut more = block[482] != 0;
        while more {
            let next = self.block()?.ok_or_else(|| refuse("it ends inside a sparse map"))?;
            sparse::add_old_pairs(&mut pairs, &next[..504]).map_err(refuse)?;
            if pairs.len() > self.limits.extents {
                return Err(refuse("its sparse map is too long"));
            }
            more = next[504] != 0;
            // A table that is not full is the last, else blank ones could go on for ever.
            if more && next[480] == 0 {
                return Err(refuse("its sparse map is malformed"));
            }
        }
        Ok((length, pairs))
    }

    fn map_in_data(&mut self, refuse: &impl Fn(&str) -> Error) -> Result<Vec<(u64, u64)>> {
        let mut map = sparse::MapReader::default();
        loop {
            if self.data < BLOCK as u64 {
                return Err(refuse("its sparse map is cut short"));
            }
            let block = self.block()?.ok_or_else(|| refuse("its sparse map is cut short"))?;
            self.data -= BLOCK as u64;
            if let Some(pairs) = map.block(&block, self.limits.extents).map_err(refuse)? {
                return Ok(pairs);
            }
        }
    }
}

fn fill<R: BufRead>(input: &mut R) -> Result<&[u8]> {
    // Asked twice, since a borrow that is returned cannot be retried in a loop.
    loop {
        match input.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Io { action: "read", path: "layer".into(), source }),
        }
    }
    input.fill_buf().map_err(|source| Error::Io { action: "read", path: "layer".into(), source })
}

fn malformed(reason: &str) -> Error {
    Error::Malformed { what: "layer tar", reason: reason.to_owned() }
}

fn refuse(name: &[u8], reason: &str) -> Error {
    Error::Entry { entry: path::printable(name), reason: reason.to_owned() }
}

fn set_once(name: &mut Option<Vec<u8>>, data: &[u8]) -> Result<()> {
    match name.replace(header::text(data).to_vec()) {
        None => Ok(()),
        Some(_) => Err(malformed("two long names are for one entry")),
    }
}

/// The number in a field, 0 if it is blank.
fn number_of(field: &[u8]) -> Result<i64, &'static str> {
    header::number(field).map(Option::unwrap_or_default)
}

fn size_of(fields: &tar::Header) -> Result<u64, &'static str> {
    u64::try_from(number_of(&fields.as_old().size)?).map_err(|_| "its size is negative")
}

/// What the first of several ways to say a name says; two that differ are a trap.
fn agreed(pax: Option<&[u8]>, gnu: Option<Vec<u8>>, header: Vec<u8>) -> Result<Vec<u8>> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(refuse(pax, "its name is said in two ways")),
        (Some(name), _) => Ok(name.to_vec()),
        (None, Some(name)) => Ok(name),
        (None, None) => Ok(header),
    }
}

fn name_of(fields: &tar::Header, records: &Records, long: Option<Vec<u8>>) -> Result<Vec<u8>> {
    let mut name = header::text(&fields.as_old().name).to_vec();
    if let Some(posix) = fields.as_ustar() {
        // star's header has times after a shorter prefix.
        let prefix = if posix.pad.ends_with(b"tar\0") { &posix.prefix[..131] } else { &posix.prefix[..] };
        let prefix = header::text(prefix);
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
    }
    let sparse = records.has_any(&sparse::KEYS).then(|| records.value(b"GNU.sparse.name")).flatten();
    agreed(sparse.or_else(|| records.value(b"path")), long, name)
}

fn link_of(fields: &tar::Header, records: &Records, long: Option<Vec<u8>>) -> Result<Vec<u8>> {
    agreed(records.value(b"linkpath"), long, header::text(&fields.as_old().linkname).to_vec())
}

fn owner(records: &Records, key: &[u8], field: &[u8]) -> Result<u32, &'static str> {
    let id = match records.number(key)? {
        Some(id) => id,
        None => u64::try_from(number_of(field)?).map_err(|_| "its owner is negative")?,
    };
    // The last number is how system calls say "as it is".
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or("its owner is no user or group id")
}

fn device(fields: &tar::Header, kind: u8) -> Result<Kind, &'static str> {
    let bytes = fields.as_bytes();
    // As wide as Linux has them.
    let part = |field: &[u8], bits: u32| {
        u32::try_from(number_of(field)?)
            .ok()
            .filter(|n| n >> bits == 0)
            .ok_or("its device number is too large")
    };
    let (major, minor) = (part(&bytes[329..337], 12)?, part(&bytes[337..345], 20)?);
    Ok(match (kind, major, minor) {
        // In a tree that is a whiteout, whoever made it.
        (b'3', 0, 0) => Kind::Whiteout,
        (b'3', ..) => Kind::CharDevice { major, minor },
        _ => Kind::BlockDevice { major, minor },
    })
}

fn xattrs(records: &Records) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    let mut xattrs = BTreeMap::new();
    for (name, value) in records.xattrs() {
        // The kernel's bounds.
        if name.is_empty() || name.len() > 255 || name.contains(&0) || value.len() > 65536 {
            return Err("an extended attribute is too long or has no name");
        }
        xattrs.insert(name.to_vec(), value.to_vec());
    }
    Ok(xattrs)
}
