//! Docker's `daemon.json`.

use serde::Deserialize;
use url::Url;

use super::HostSettings;
use crate::error::ConfigError;

#[derive(Deserialize)]
struct DaemonJson {
    #[serde(default, rename = "registry-mirrors")]
    mirrors: Option<Vec<String>>,
    #[serde(default, rename = "insecure-registries")]
    insecure: Option<Vec<String>>,
}

pub(super) fn merge(settings: &mut HostSettings, json: &[u8]) -> Result<(), ConfigError> {
    let wrong = |reason: String| ConfigError { file: "daemon.json".to_owned(), reason };
    if json.trim_ascii().is_empty() {
        return Ok(());
    }
    // By way of a map: a list would be read as the fields in order.
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    let read =
        DaemonJson::deserialize(serde_json::Value::Object(map)).map_err(|error| wrong(error.to_string()))?;
    let mut mirrors = Vec::new();
    for text in read.mirrors.unwrap_or_default() {
        let url = Url::parse(&text).map_err(|error| wrong(format!("registry-mirrors: `{text}`: {error}")))?;
        let usable = matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !usable {
            return Err(wrong(format!(
                "registry-mirrors: `{text}` is not of the form http[s]://host[:port][/path]"
            )));
        }
        mirrors.push(url);
    }
    let mut insecure = Vec::new();
    for text in read.insecure.unwrap_or_default() {
        insecure.push(text.parse().map_err(|error| wrong(format!("insecure-registries: {error}")))?);
    }
    settings.mirrors.extend(mirrors);
    settings.insecure.extend(insecure);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_settings_file() {
        for json in [
            "[]",
            "{",
            r#"{"registry-mirrors":"https://a"}"#,
            r#"{"registry-mirrors":["a.example"]}"#,
            r#"{"registry-mirrors":["ftp://a.example"]}"#,
            r#"{"registry-mirrors":["https://user:pw@a.example"]}"#,
            r#"{"insecure-registries":["a b"]}"#,
            r#"{"insecure-registries":["10.0.0.0/99"]}"#,
        ] {
            let mut settings = HostSettings::default();
            assert!(merge(&mut settings, json.as_bytes()).is_err(), "{json}");
            assert!(settings.mirrors.is_empty() && settings.insecure.is_empty());
        }
        for json in ["", "{}", r#"{"registry-mirrors":null,"log-level":"debug"}"#] {
            assert!(merge(&mut HostSettings::default(), json.as_bytes()).is_ok(), "{json}");
        }
    }
}
