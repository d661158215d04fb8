//! Bytes and durations for people.

use std::time::Duration;

/// Bytes as Docker writes them: decimal units, three significant digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count}B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// A duration of which a part of a second may be all: `7ms`, `412ms`, else as [`duration`].
pub(crate) fn short_duration(time: Duration) -> String {
    if time.as_secs() == 0 { format!("{}ms", time.as_millis()) } else { duration(time) }
}

/// A duration: `0.4s`, `12.3s`, `2m 05s`, `1h 02m`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How long ago, as Docker writes it: `About a minute ago`, `3 weeks ago`.
pub(crate) fn ago(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    const MONTH: u64 = 30 * DAY;
    const YEAR: u64 = 365 * DAY;
    match seconds {
        0 => "Less than a second ago".to_owned(),
        1 => "1 second ago".to_owned(),
        2..MINUTE => format!("{seconds} seconds ago"),
        MINUTE..120 => "About a minute ago".to_owned(),
        120..HOUR => format!("{} minutes ago", seconds / MINUTE),
        HOUR..7200 => "About an hour ago".to_owned(),
        // From here on one whole unit is left out, as in "26 hours", "9 days", "5 weeks".
        7200..172_800 => format!("{} hours ago", seconds / HOUR),
        172_800..1_209_600 => format!("{} days ago", seconds / DAY),
        1_209_600..5_184_000 => format!("{} weeks ago", seconds / WEEK),
        5_184_000..63_072_000 => format!("{} months ago", seconds / MONTH),
        _ => format!("{} years ago", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1949, "1.95kB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (4_260_000, "4.26MB"),
            (12_340_000, "12.3MB"),
            (100_000_000, "100MB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn ages_read_as_in_docker() {
        for (seconds, text) in [
            (5, "5 seconds ago"),
            (61, "About a minute ago"),
            (3600, "About an hour ago"),
            (90_000, "25 hours ago"),
            (86_400 * 9, "9 days ago"),
            (86_400 * 21, "3 weeks ago"),
            (86_400 * 90, "3 months ago"),
            (86_400 * 800, "2 years ago"),
        ] {
            assert_eq!(ago(seconds), text);
        }
        assert_eq!(short_duration(Duration::from_millis(7)), "7ms");
        assert_eq!(short_duration(Duration::from_millis(1234)), "1.2s");
        assert_eq!(duration(Duration::from_millis(432)), "0.4s");
        assert_eq!(duration(Duration::from_secs(125)), "2m 05s");
    }
}
