//! Values that several formats of host settings have.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// A value, or a list of them.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// Headers by name. Their values are kept out of logs: a header may be a credential.
pub(super) fn headers(table: BTreeMap<String, OneOrMany<String>>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, values) in table {
        let header: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header"))?;
        for value in values.into_vec() {
            let mut value: HeaderValue =
                value.parse().map_err(|_| format!("the value of `{name}` is no header"))?;
            value.set_sensitive(true);
            headers.append(header.clone(), value);
        }
    }
    Ok(headers)
}

/// Durations as Go writes them, as far as a time-out needs: `300ms`, `5s`, `1m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read = || {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = text.split_at(end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
    };
    read().ok_or_else(|| format!("`{text}` is no duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for text in ["", "5", "s", "soon", "-1s", "1h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
