//! What came back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use serde::Deserialize;
use url::Url;

use super::retry::retry_after;
use crate::error::{Authorized, ConnectionFailure, Error, Place, Refusal};

/// How much of an error's body is read.
const LARGEST_ERROR: usize = 16 << 10;
/// How much of a body that is no error document is shown.
const SHOWN: usize = 200;

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The address that answered, after redirects.
    pub(crate) url: Url,
    /// How the request was authorised.
    pub(crate) trace: Option<Arc<Authorized>>,
    /// The body of an error, its start.
    text: Vec<u8>,
    response: Option<reqwest::Response>,
}

impl Answer {
    /// The body of a success is left to be read; that of anything else is short and read at once, so that the connection
    /// can be used again.
    pub(super) async fn of(
        mut response: reqwest::Response,
        url: Url,
        place: &Place,
        idle: Duration,
    ) -> Result<Self, Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut text = Vec::new();
        if status.is_success() {
            return Ok(Self { status, headers, url, trace: None, text, response: Some(response) });
        }
        while text.len() < LARGEST_ERROR {
            match chunk(&mut response, place, idle).await {
                Ok(Some(bytes)) => text.extend_from_slice(&bytes),
                // The status says enough.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(Self { status, headers, url, trace: None, text, response: None })
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self, place: &Place, idle: Duration) -> Result<Option<Bytes>, Error> {
        match &mut self.response {
            Some(response) => chunk(response, place, idle).await,
            None => Ok(None),
        }
    }

    /// The whole body, of at most `limit` bytes.
    pub(crate) async fn read(mut self, place: &Place, limit: u64, idle: Duration) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.chunk(place, idle).await? {
            if bytes.len() as u64 + piece.len() as u64 > limit {
                return Err(Error::TooLarge { place: Box::new(place.clone()), limit });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Reads what is left of a short body, so that the connection can be used again.
    pub(crate) async fn drain(self, place: &Place, idle: Duration) {
        let _ = self.read(place, LARGEST_ERROR as u64, idle).await;
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type, without parameters.
    pub(crate) fn content_type(&self) -> Option<String> {
        let text = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
    }

    /// The `Location`, read against the address that answered.
    pub(crate) fn location(&self) -> Option<Url> {
        self.url.join(self.headers.get(LOCATION)?.to_str().ok()?).ok()
    }

    /// Whether this may be a TLS server's answer to plain http. That of a HEAD has no words to tell by.
    pub(super) fn may_want_https(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && {
            if self.text.is_empty() {
                return true;
            }
            let text = String::from_utf8_lossy(&self.text).to_ascii_lowercase();
            text.contains("https server") || text.contains("https port")
        }
    }

    /// This answer as an error.
    pub(crate) fn refused(&self, place: &Place) -> Error {
        let (code, message) = explain(&self.text);
        let limit = |name: &str| self.header(name).map(|value| format!("{name}: {value}"));
        let limits: Vec<String> =
            ["ratelimit-limit", "ratelimit-remaining"].into_iter().filter_map(limit).collect();
        let refusal = Refusal {
            status: self.status.as_u16(),
            code,
            message,
            authorization: self.trace.clone(),
            retry_after: retry_after(&self.headers),
            rate_limit: (!limits.is_empty()).then(|| limits.join(", ")),
        };
        Error::Refused { place: Box::new(place.clone()), refusal: Box::new(refusal) }
    }
}

async fn chunk(
    response: &mut reqwest::Response,
    place: &Place,
    idle: Duration,
) -> Result<Option<Bytes>, Error> {
    let lost = |source| Error::Connection { place: Box::new(place.clone()), source };
    match tokio::time::timeout(idle, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        // Whatever the client calls it, a body that does not end well is a cut.
        Ok(Err(error)) => Err(lost(ConnectionFailure::cut(ConnectionFailure::of(&error).message))),
        Err(_) => Err(lost(ConnectionFailure::silence(idle))),
    }
}

/// Code and message of the first error in a registry's error document; the start of anything else, made printable.
fn explain(text: &[u8]) -> (Option<String>, String) {
    #[derive(Deserialize)]
    struct Document {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        code: Option<String>,
        message: Option<String>,
    }
    let printable = |text: &str| -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().filter(|c| !c.is_control()).take(SHOWN).collect()
    };
    if let Ok(Document { errors }) = serde_json::from_slice(text)
        && let Some(One { code, message }) = errors.into_iter().next()
    {
        let code = code.map(|code| printable(&code)).filter(|code| !code.is_empty());
        return (code, printable(&message.unwrap_or_default()));
    }
    // Token servers answer `{"details": "…"}` or `{"message": "…"}`.
    if let Ok(serde_json::Value::Object(map)) = serde_json::from_slice(text) {
        let said = ["details", "message", "error_description", "error"]
            .iter()
            .find_map(|key| map.get(*key)?.as_str());
        if let Some(said) = said {
            return (None, printable(said));
        }
    }
    (None, printable(&String::from_utf8_lossy(text)))
}

#[cfg(test)]
mod tests {
    use super::explain;

    #[test]
    fn shows_what_the_registry_says() {
        let check = |text: &str, code: Option<&str>, message: &str| {
            assert_eq!(explain(text.as_bytes()), (code.map(str::to_owned), message.to_owned()), "{text}");
        };
        check(r#"{"errors":[{"code":"DENIED","message":"no","detail":{}}]}"#, Some("DENIED"), "no");
        check(r#"{"errors":[{"code":"UNKNOWN"},{"code":"B"}]}"#, Some("UNKNOWN"), "");
        check(r#"{"errors":[]}"#, None, r#"{"errors":[]}"#);
        check(r#"{"details":"incorrect username or password"}"#, None, "incorrect username or password");
        check("<html>\n  <b>502</b>\u{1b}[31m</html>", None, "<html> <b>502</b>[31m</html>");
        check("", None, "");
        assert_eq!(explain("x".repeat(999).as_bytes()).1.len(), 200);
    }
}
