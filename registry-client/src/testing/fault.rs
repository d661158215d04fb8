//! Ways to misbehave.

use std::time::Duration;

use super::http::Request;

/// A misbehaviour and when it shows.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    pass: usize,
    left: usize,
    pub(crate) action: Action,
}

/// A misbehaviour.
#[derive(Debug, Clone)]
pub enum Action {
    /// An answer of its own.
    Answer {
        /// HTTP status.
        status: u16,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Body.
        body: String,
    },
    /// The connection closes without an answer.
    Close,
    /// The body breaks after so many bytes; the announced length stays.
    CutAfter(u64),
    /// The body stops after so many bytes, and the connection stays open.
    StallAfter(u64),
    /// The answer comes after a time.
    Delay(Duration),
    /// The body comes at so many bytes per second.
    Throttle(u64),
    /// The announced length is so much more than the body's (or less).
    LieAboutLength(i64),
    /// No length is announced; the body ends with the connection.
    NoLength,
    /// One byte of the body is wrong.
    Corrupt,
    /// The whole body comes, whatever range was asked for.
    IgnoreRange,
    /// Another part of the body comes than the one asked for.
    WrongRange,
    /// These bytes come after the body, and the announced length counts them.
    Append(Vec<u8>),
    /// A header is replaced, or removed with an empty value.
    Header(&'static str, String),
    /// The request's body is read so far and the connection closes; what was read is kept if it is an upload.
    CutUploadAfter(u64),
}

impl Fault {
    /// For requests with this method (empty: any) whose path and query contain `path`.
    #[must_use]
    pub fn on(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), pass: 0, left: 0, action: Action::Close }
    }

    /// Lets the first so many requests pass.
    #[must_use]
    pub fn after(self, requests: usize) -> Self {
        Self { pass: requests, ..self }
    }

    /// Shows once.
    #[must_use]
    pub fn once(self, action: Action) -> Self {
        self.times(1, action)
    }

    /// Shows so many times.
    #[must_use]
    pub fn times(self, times: usize, action: Action) -> Self {
        Self { left: times, action, ..self }
    }

    /// Shows every time.
    #[must_use]
    pub fn always(self, action: Action) -> Self {
        self.times(usize::MAX, action)
    }

    /// Whether it shows for `request`.
    pub(crate) fn shows(&mut self, request: &Request) -> bool {
        let fits =
            (self.method.is_empty() || self.method == request.method) && request.path.contains(&self.path);
        if !fits || self.left == 0 {
            return false;
        }
        if self.pass > 0 {
            self.pass -= 1;
            return false;
        }
        self.left -= 1;
        true
    }
}

impl Action {
    /// A plain answer.
    #[must_use]
    pub fn status(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.to_owned() }
    }

    /// An answer with one header.
    #[must_use]
    pub fn with_header(status: u16, name: &str, value: &str) -> Self {
        Self::Answer { status, headers: vec![(name.to_owned(), value.to_owned())], body: String::new() }
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(status: u16, to: &str) -> Self {
        Self::with_header(status, "Location", to)
    }
}
