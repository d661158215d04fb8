//! Small values as Go reads them: booleans, durations, sizes.

use std::time::Duration;

/// A boolean as Go's `strconv.ParseBool` reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go's `time.ParseDuration` reads it: `1h30m`, `1.5s`, `300ms`, `0`. The sign is
/// given apart, because a duration has none.
///
/// `None` when it is not one or does not fit 63 bits of nanoseconds.
pub fn parse_duration(text: &str) -> Option<(Duration, Sign)> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (Sign::Negative, &text[1..]),
        b'+' => (Sign::Positive, &text[1..]),
        _ => (Sign::Positive, text),
    };
    if rest == "0" {
        return Some((Duration::ZERO, Sign::Positive));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
                after.split_at(digits)
            }
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_length = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut scale = unit;
        for digit in fraction.bytes() {
            scale /= 10;
            total = total.checked_add(u64::from(digit - b'0') * scale)?;
        }
        rest = after;
    }
    if total > i64::MAX as u64 {
        return None;
    }
    Some((Duration::from_nanos(total), sign))
}

/// Before or after now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Forward.
    Positive,
    /// Backward; no instruction takes one.
    Negative,
}

/// A size as `go-units` `RAMInBytes` reads it: a number, possibly with a fraction and a space, and
/// a unit of powers of 1024 (`64m`, `1.5GiB`, `10 kb`, none for bytes).
pub fn parse_size(text: &str) -> Option<u64> {
    let number_length =
        text.bytes().rposition(|byte| byte.is_ascii_digit() || byte == b'.').map_or(0, |last| last + 1);
    let (number, unit) = text.split_at(number_length);
    if !number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '+')) {
        return None;
    }
    let value: f64 = number.parse().ok()?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let exponent = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let bytes = value * 1024f64.powi(exponent);
    (bytes.is_finite() && bytes < 9.2e18).then_some(bytes as u64)
}

/// The shortest equal path, as Go's `path.Clean`: no `.`, no `..` that could go, no doubled or last
/// slash; `.` for nothing.
pub fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("a//b/", "a/b"),
            ("./a/../b", "b"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/../a", "/a"),
            ("//a", "/a"),
        ] {
            assert_eq!(clean_path(path), cleaned, "{path}");
        }
    }

    #[test]
    fn durations_are_gos() {
        let nanos = |text| parse_duration(text).map(|(duration, sign)| (duration.as_nanos(), sign));
        assert_eq!(nanos("5s"), Some((5_000_000_000, Sign::Positive)));
        assert_eq!(nanos("1h30m"), Some((5_400_000_000_000, Sign::Positive)));
        assert_eq!(nanos("1.5s"), Some((1_500_000_000, Sign::Positive)));
        assert_eq!(nanos(".5ms"), Some((500_000, Sign::Positive)));
        assert_eq!(nanos("1.s"), Some((1_000_000_000, Sign::Positive)));
        assert_eq!(nanos("-1s"), Some((1_000_000_000, Sign::Negative)));
        assert_eq!(nanos("+3us"), Some((3_000, Sign::Positive)));
        assert_eq!(nanos("0"), Some((0, Sign::Positive)));
        for bad in ["", "5", "s", ".s", "5 s", "1d", "-", "1s2", "9999999999h", "1s-2s"] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("64m"), Some(64 << 20));
        assert_eq!(parse_size("1.5GiB"), Some(3 << 29));
        assert_eq!(parse_size("10 kb"), Some(10 << 10));
        assert_eq!(parse_size("42"), Some(42));
        assert_eq!(parse_size("1e3"), Some(1000));
        for bad in ["", "m", "-1m", "1x", "1 2m", "9999999p"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn booleans_are_gos() {
        assert_eq!(parse_bool("True"), Some(true));
        assert_eq!(parse_bool("0"), Some(false));
        assert_eq!(parse_bool("yes"), None);
    }
}
