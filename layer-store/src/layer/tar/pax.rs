//! PAX records: `<length> <key>=<value>\n`, the length in decimal and of the whole record.

use std::collections::BTreeMap;

/// What the keys of extended attributes begin with.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of one extended header by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The map of a sparse file in format 0.0, whose keys repeat: offset and length in turn.
    pub(super) sparse_pairs: Vec<Vec<u8>>,
}

impl Records {
    /// Reads all of `data`.
    ///
    /// # Errors
    ///
    /// Why it is malformed. A key that comes twice is, since readers differ in which one they take.
    pub(super) fn parse(mut data: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        while !data.is_empty() {
            let (record, rest) = split_record(data).ok_or("its extended header is malformed")?;
            data = rest;
            let equals =
                record.iter().position(|byte| *byte == b'=').ok_or("its extended header is malformed")?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            if key.is_empty() || key.contains(&0) {
                return Err("its extended header has a malformed key");
            }
            if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
                let offset_is_next = records.sparse_pairs.len().is_multiple_of(2);
                if offset_is_next != (key == b"GNU.sparse.offset") {
                    return Err("its sparse map is malformed");
                }
                records.sparse_pairs.push(value.to_vec());
            } else if records.values.insert(key.to_vec(), value.to_vec()).is_some() {
                return Err("its extended header says something twice");
            }
        }
        if !records.sparse_pairs.len().is_multiple_of(2) {
            return Err("its sparse map is malformed");
        }
        Ok(records)
    }

    /// The value of `key`. An empty one is as good as none (POSIX: it takes back a global one).
    pub(super) fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// The value of `key` as a decimal number.
    pub(super) fn number(&self, key: &[u8]) -> Result<Option<u64>, &'static str> {
        self.value(key).map(decimal).transpose()
    }

    /// The extended attributes by name.
    pub(super) fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.values
            .iter()
            .filter_map(|(key, value)| key.strip_prefix(XATTR).map(|name| (name, value.as_slice())))
    }

    /// Whether one of `keys` is here.
    pub(super) fn has_any(&self, keys: &[&[u8]]) -> bool {
        !self.sparse_pairs.is_empty() || keys.iter().any(|key| self.values.contains_key(*key))
    }

    /// These records over `global` ones.
    pub(super) fn over(mut self, global: &Self) -> Self {
        for (key, value) in &global.values {
            self.values.entry(key.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    /// Whether there is no record.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.sparse_pairs.is_empty()
    }
}

/// The first record of `data` without length and line end, and what follows it.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = data.iter().take(21).position(|byte| *byte == b' ')?;
    if data[0] == b'0' {
        return None;
    }
    let length = usize::try_from(decimal(&data[..space]).ok()?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

/// A number of decimal digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Result<u64, &'static str> {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or("its extended header has a malformed number")
}

/// The whole seconds (rounded down) of a time with or without a fraction, perhaps negative.
pub(super) fn seconds(text: &[u8]) -> Result<i64, &'static str> {
    const MALFORMED: &str = "its extended header has a malformed time";
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(MALFORMED);
    }
    let whole = i64::try_from(decimal(whole).map_err(|_| MALFORMED)?).map_err(|_| MALFORMED)?;
    let down = i64::from(negative && fraction.iter().any(|digit| *digit != b'0'));
    Ok(if negative { -whole - down } else { whole })
}

/// Appends a record.
pub(super) fn encode_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The space, the equals sign and the line end, and then the digits of the length, which count too.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if digits(length) != digits(rest) {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

const fn digits(number: usize) -> usize {
    number.ilog10() as usize + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_records() {
        for data in [
            "6 a=b",
            "5 a=b\n",
            "7 a=b\n",
            "06 a=b\n",
            "6  a=b\n",
            "6 =ab\n",
            "6 abc\n",
            "-6 a=b\n",
            "a=b\n",
            "6",
            "99999999999999999999999 a=b\n",
            "6 a=b\n6 a=c\n",
            "6 a=b\n\n",
            "0 a=b\n",
            "2 \n",
        ] {
            assert!(Records::parse(data.as_bytes()).is_err(), "{data:?}");
        }
        assert_eq!(Records::parse(b"6 a=b\n6 b=c\n").unwrap().value(b"b"), Some(&b"c"[..]));
        assert_eq!(Records::parse(b"5 a=\n").unwrap().value(b"a"), None);
    }

    #[test]
    fn times_round_down() {
        for (text, expected) in [
            ("5", 5),
            ("5.9", 5),
            ("-5", -5),
            ("-5.1", -6),
            ("-5.0", -5),
            ("0.5", 0),
            ("-0.5", -1),
            ("7.", 7),
        ] {
            assert_eq!(seconds(text.as_bytes()), Ok(expected), "{text}");
        }
        for text in ["", "-", ".5", "1e3", "1.x", "--1", "9223372036854775808", "+1"] {
            assert!(seconds(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn records_come_back(key in "[a-zA-Z.]{1,120}", value: Vec<u8>) {
            let mut data = Vec::new();
            encode_record(&mut data, key.as_bytes(), &value);
            let records = Records::parse(&data).unwrap();
            prop_assert_eq!(records.values.get(key.as_bytes()), Some(&value));
        }

        #[test]
        fn any_length_counts_itself(length in 0..1200_usize) {
            let mut data = Vec::new();
            encode_record(&mut data, b"k", &vec![b'v'; length]);
            prop_assert!(Records::parse(&data).is_ok());
        }
    }
}
