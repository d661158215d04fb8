//! Files by URL: what `ADD https://…` and remote build contexts fetch. No registry is involved, and no credentials.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use layer_store::Digest;
use layer_store::digest::Hasher;
use reqwest::header::{ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::Client;
use crate::transport::backoff;

const MOST_REDIRECTS: usize = 10;

/// A file that was fetched.
#[derive(Debug, Clone)]
pub struct Download {
    /// Its bytes, in a file that has no name; read from the beginning.
    pub file: Arc<File>,
    /// How many.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// What the server said of this version.
    pub version: Version,
}

/// What a server said of a version of a file: enough to ask whether it is still the newest.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Version {
    /// `ETag`, as it came.
    pub etag: Option<String>,
    /// `Last-Modified`, as it came.
    pub last_modified: Option<String>,
}

impl Version {
    /// `Last-Modified` in seconds since the epoch.
    #[must_use]
    pub fn modified(&self) -> Option<i64> {
        let text = self.last_modified.as_deref()?;
        jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp().as_second())
    }
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// It is no URL of a scheme that is known.
    #[error("`{url}` is not an http or https address")]
    Address {
        /// As given.
        url: String,
    },
    /// The server refused.
    #[error("`{url}` answered {status}")]
    Refused {
        /// Which address, after redirects, without its query.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The connection could not be made, or broke.
    #[error("cannot fetch `{url}`: {reason}")]
    Connection {
        /// Which address, without its query.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The file could not be kept.
    #[error("cannot keep what `{url}` sends")]
    Keep {
        /// Which address, without its query.
        url: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl Client {
    /// Fetches a file into an unnamed temporary file in `directory`. With `known` it asks whether that version is
    /// still the newest: `None` means that it is. Passing failures are tried again from the beginning.
    pub async fn download(
        &self,
        address: &str,
        directory: &Path,
        known: Option<&Version>,
    ) -> Result<Option<Download>, DownloadError> {
        let url = Url::parse(address)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| DownloadError::Address { url: address.to_owned() })?;
        let mut again = 0;
        loop {
            let result = self.download_once(&url, directory, known).await;
            again += 1;
            let passing = match &result {
                Err(DownloadError::Connection { .. }) => true,
                Err(DownloadError::Refused { status, .. }) => {
                    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
                }
                _ => false,
            };
            if !passing || again > self.settings().retries {
                return result;
            }
            tokio::time::sleep(backoff(again)).await;
        }
    }

    async fn download_once(
        &self,
        url: &Url,
        directory: &Path,
        known: Option<&Version>,
    ) -> Result<Option<Download>, DownloadError> {
        let answer = self.get(url, known).await?;
        let shown = shown(answer.url());
        if answer.status() == StatusCode::NOT_MODIFIED && known.is_some() {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(DownloadError::Refused { url: shown, status: answer.status().as_u16() });
        }
        let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let version = Version { etag: text(ETAG), last_modified: text(LAST_MODIFIED) };
        let (file, size, digest) = self.keep(answer, directory, &shown).await?;
        Ok(Some(Download { file: Arc::new(file), size, digest, version }))
    }

    /// Asks, and follows redirects.
    async fn get(&self, url: &Url, known: Option<&Version>) -> Result<Response, DownloadError> {
        let mut url = url.clone();
        let mut headers = HeaderMap::new();
        let asked =
            known.map(|known| [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)]);
        for (name, value) in asked.into_iter().flatten() {
            if let Some(value) = value.as_deref().and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        }
        for _ in 0..=MOST_REDIRECTS {
            let failed = |reason: String| DownloadError::Connection { url: shown(&url), reason };
            let client = self.transport.files(&url).map_err(|error| failed(error.to_string()))?;
            let request = client.get(url.clone()).headers(headers.clone()).send();
            let answer = tokio::time::timeout(self.settings().idle_timeout, request)
                .await
                .map_err(|_| failed("the server does not answer".to_owned()))?
                .map_err(|error| failed(reason(&error)))?;
            let next = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            match next.and_then(|next| url.join(next).ok()) {
                Some(next)
                    if answer.status().is_redirection() && answer.status() != StatusCode::NOT_MODIFIED =>
                {
                    if !matches!(next.scheme(), "http" | "https") {
                        return Err(failed(format!("it points to a `{}` address", next.scheme())));
                    }
                    url = next;
                }
                _ => return Ok(answer),
            }
        }
        Err(DownloadError::Connection {
            url: shown(&url),
            reason: format!("more than {MOST_REDIRECTS} redirects"),
        })
    }

    async fn keep(
        &self,
        mut answer: Response,
        directory: &Path,
        shown: &str,
    ) -> Result<(File, u64, Digest), DownloadError> {
        let keep = |source| DownloadError::Keep { url: shown.to_owned(), source };
        let broken = |reason: String| DownloadError::Connection { url: shown.to_owned(), reason };
        let announced = answer.content_length();
        let mut file = tempfile::tempfile_in(directory).map_err(keep)?;
        let mut hasher = Hasher::default();
        loop {
            let chunk = tokio::time::timeout(self.settings().idle_timeout, answer.chunk())
                .await
                .map_err(|_| broken("the server stopped sending".to_owned()))?
                .map_err(|error| broken(reason(&error)))?;
            let Some(chunk) = chunk else { break };
            hasher.update(&chunk);
            // Pieces of some kilobytes into the page cache: shorter than a switch to another thread.
            file.write_all(&chunk).map_err(keep)?;
        }
        let size = hasher.bytes();
        if let Some(announced) = announced.filter(|announced| *announced != size) {
            return Err(broken(format!("{size} bytes came of {announced}")));
        }
        file.rewind().map_err(keep)?;
        Ok((file, size, hasher.finish()))
    }
}

/// An address without user, password, query and fragment, which may be secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // These fail only for addresses that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The innermost cause says what happened.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let version = Version { etag: None, last_modified: Some("Wed, 21 Oct 2015 07:28:00 GMT".to_owned()) };
        assert_eq!(version.modified(), Some(1_445_412_480));
    }

    #[test]
    fn secrets_do_not_show() {
        let url = Url::parse("https://me:word@example.org/a?token=x#y").unwrap();
        assert_eq!(shown(&url), "https://example.org/a");
    }
}
