//! When a request is tried again, and how long the client waits first.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// How long to wait before try `again` (1 for the first repetition): doubling, with up to half of it taken off at random,
/// so that many clients do not come back together.
pub(crate) fn backoff(again: u32) -> Duration {
    let whole = FIRST_WAIT.saturating_mul(1 << again.saturating_sub(1).min(10)).min(LONGEST_BACKOFF);
    // A fresh `RandomState` is seeded at random: enough for jitter, without a random number crate.
    let part = RandomState::new().hash_one(again) % 512;
    whole - whole.mul_f64(part as f64 / 1024.0)
}

/// `Retry-After`, in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    const DATE: jiff::fmt::rfc2822::DateTimeParser =
        jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let at = DATE.parse_timestamp(text).ok()?.as_second();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(u64::try_from(at).ok()?.saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        for again in 1..40 {
            let whole = FIRST_WAIT.saturating_mul(1 << (again - 1).min(10)).min(LONGEST_BACKOFF);
            let wait = backoff(again);
            assert!(wait <= whole && wait >= whole / 2, "{again}: {wait:?}");
        }
    }

    #[test]
    fn reads_seconds_and_dates() {
        let read = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(read("Fri, 31 Dec 2099 23:59:59 GMT").unwrap() > Duration::from_secs(1 << 30));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-1"), None);
    }
}
