//! Makes a tar from a description, however wrong that is.
//!
//! One entry a line: its type (`file`, `dir`, `sym`, `link`, `char`, `block`, `fifo`, or `type=<letter>`), its name, then
//! `to=`, `data=`, `size=`, `mode=`, `uid=`, `mtime=`, `major=`, `minor=`, `prefix=`, `sum=`, and `sizeraw=` and
//! `uidraw=` for the very bytes of a field. `pax` and `global` with `key=value` make an extended header, `paxraw` one with
//! these bytes, `longname` and `longlink` GNU's. `zero` is one block of zeros, `bytes` any bytes, `noend` leaves the two
//! last blocks out, `repeat <n>` does what follows, parted by `;`, so often. `%41` is a byte, `%[a*9]` repeats, `%n` counts.

const BLOCK: usize = 512;

pub(crate) fn build(text: &str) -> Result<Vec<u8>, String> {
    let mut tar = Vec::new();
    let mut end = true;
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') || line.starts_with("expect ") {
            continue;
        }
        if line == "noend" {
            end = false;
        } else if let Some(rest) = line.strip_prefix("repeat ") {
            let (count, lines) = rest.split_once(' ').ok_or("repeat what?")?;
            for at in 0..count.parse::<usize>().map_err(|error| error.to_string())? {
                for line in lines.split(';') {
                    add(&mut tar, line.trim(), at)?;
                }
            }
        } else {
            add(&mut tar, line, 0)?;
        }
    }
    if end {
        tar.resize(tar.len() + 2 * BLOCK, 0);
    }
    Ok(tar)
}

fn add(tar: &mut Vec<u8>, line: &str, at: usize) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let kind = words.next().ok_or("an empty line")?;
    let words: Vec<Vec<u8>> = words.map(|word| unescape(word, at)).collect::<Result<_, _>>()?;
    let special = |letter: u8, data: Vec<u8>| Entry {
        kind: letter,
        name: b"special".to_vec(),
        data,
        ..Entry::default()
    };
    match kind {
        "pax" | "global" => {
            let data = words.iter().flat_map(|word| record(word)).collect();
            special(if kind == "pax" { b'x' } else { b'g' }, data).write(tar);
        }
        "paxraw" => special(b'x', words.concat()).write(tar),
        "longname" => special(b'L', [&words.concat()[..], b"\0"].concat()).write(tar),
        "longlink" => special(b'K', [&words.concat()[..], b"\0"].concat()).write(tar),
        "zero" => tar.resize(tar.len() + BLOCK, 0),
        "bytes" => tar.extend(words.concat()),
        _ => Entry::parse(kind, &words)?.write(tar),
    }
    Ok(())
}

fn record(pair: &[u8]) -> Vec<u8> {
    let mut length = pair.len() + 3;
    while format!("{length} ").len() + pair.len() + 1 != length {
        length += 1;
    }
    [format!("{length} ").as_bytes(), pair, b"\n"].concat()
}

fn unescape(word: &str, at: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((plain, escaped)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        if let Some(after) = escaped.strip_prefix('n') {
            bytes.extend_from_slice(at.to_string().as_bytes());
            rest = after;
        } else if let Some(inside) = escaped.strip_prefix('[') {
            let (inside, after) = inside.split_once(']').ok_or("an open bracket")?;
            let (text, count) = inside.rsplit_once('*').ok_or("repeat how often?")?;
            let count = count.parse::<usize>().map_err(|error| error.to_string())?;
            bytes.extend(unescape(text, at)?.repeat(count));
            rest = after;
        } else {
            let (digits, after) = escaped.split_at_checked(2).ok_or("half an escape")?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?);
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[derive(Default)]
struct Entry {
    kind: u8,
    name: Vec<u8>,
    data: Vec<u8>,
    /// Fields by name, as they are written.
    fields: Vec<(String, Vec<u8>)>,
}

impl Entry {
    fn parse(kind: &str, words: &[Vec<u8>]) -> Result<Self, String> {
        let letter = match kind {
            "file" => b'0',
            "link" => b'1',
            "sym" => b'2',
            "char" => b'3',
            "block" => b'4',
            "dir" => b'5',
            "fifo" => b'6',
            other => *other.strip_prefix("type=").and_then(|rest| rest.as_bytes().first()).ok_or(other)?,
        };
        let (name, options) = words.split_first().ok_or("an entry without a name")?;
        let mut entry = Self { kind: letter, name: name.clone(), ..Self::default() };
        for option in options {
            let equals = option.iter().position(|byte| *byte == b'=').ok_or("an option without a value")?;
            let (key, value) = (String::from_utf8_lossy(&option[..equals]), option[equals + 1..].to_vec());
            if key == "data" {
                entry.data = value;
            } else {
                entry.fields.push((key.into_owned(), value));
            }
        }
        Ok(entry)
    }

    fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_slice())
    }

    fn write(&self, tar: &mut Vec<u8>) {
        let mut block = [0; BLOCK];
        let number = |name: &str, default: u64| {
            let given = self.field(name).map(|value| String::from_utf8_lossy(value).into_owned());
            let value = given.map_or(default, |text| match text.strip_prefix('0') {
                Some(octal) if !octal.is_empty() => u64::from_str_radix(octal, 8).unwrap_or(0),
                _ => text.parse().unwrap_or(0),
            });
            format!("{value:o}")
        };
        put(&mut block, 0..100, &self.name);
        put(&mut block, 100..107, pad(&number("mode", 0o644), 7).as_bytes());
        put(&mut block, 108..115, pad(&number("uid", 0), 7).as_bytes());
        put(&mut block, 116..123, b"0000000");
        put(&mut block, 124..135, pad(&number("size", self.data.len() as u64), 11).as_bytes());
        put(&mut block, 136..147, pad(&number("mtime", 1000), 11).as_bytes());
        block[156] = self.kind;
        put(&mut block, 157..257, self.field("to").unwrap_or_default());
        put(&mut block, 257..265, b"ustar\x0000");
        put(&mut block, 329..336, pad(&number("major", 0), 7).as_bytes());
        put(&mut block, 337..344, pad(&number("minor", 0), 7).as_bytes());
        put(&mut block, 345..500, self.field("prefix").unwrap_or_default());
        for (name, range) in [("sizeraw", 124..136), ("uidraw", 108..116)] {
            if let Some(raw) = self.field(name) {
                put(&mut block, range, raw);
            }
        }
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() + 8 * u64::from(b' ');
        match self.field("sum") {
            Some(sum) => put(&mut block, 148..156, sum),
            None => put(&mut block, 148..156, format!("{sum:06o}\0 ").as_bytes()),
        }
        tar.extend_from_slice(&block);
        tar.extend_from_slice(&self.data);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
}

fn pad(digits: &str, width: usize) -> String {
    format!("{digits:0>width$}")
}

fn put(block: &mut [u8; BLOCK], range: std::ops::Range<usize>, bytes: &[u8]) {
    for (to, from) in block[range].iter_mut().zip(bytes) {
        *to = *from;
    }
}
