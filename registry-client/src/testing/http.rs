//! As much of HTTP/1.1 as a test needs, with every byte in hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Action, Shared, serve};

const LARGEST_HEAD: usize = 64 << 10;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, ….
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// How many bytes of the body came.
    pub received: u64,
}

impl Request {
    /// The first header of that (lower-case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Arc<[u8]>,
    /// Whether the body is a blob's, so that ranges and byte counts are for it.
    pub(crate) is_blob: bool,
}

impl Response {
    pub(crate) fn new(status: u16, body: impl Into<Arc<[u8]>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), is_blob: false }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Serves one connection until it ends.
pub(crate) async fn connection(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    loop {
        let Some((mut request, rest)) = head(&mut stream, &mut buffer).await else { return };
        buffer = rest;
        let fault = {
            let mut state = shared.state();
            state.faults.iter_mut().find_map(|fault| fault.shows(&request).then(|| fault.action.clone()))
        };
        let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let cut = match fault {
            Some(Action::CutUploadAfter(bytes)) => usize::try_from(bytes).unwrap_or(length),
            _ => length,
        };
        let mut body = std::mem::take(&mut buffer);
        while body.len() < cut.min(length) {
            let mut piece = vec![0; (cut - body.len()).min(256 << 10)];
            match stream.read(&mut piece).await {
                Ok(read) if read > 0 => body.extend_from_slice(&piece[..read]),
                _ => break,
            }
        }
        let complete = body.len() >= length;
        if complete {
            buffer = body.split_off(length);
        } else {
            body.truncate(cut);
        }
        request.received = body.len() as u64;
        {
            let mut state = shared.state();
            state.received += request.received;
            state.requests.push(request.clone());
        }
        if !complete {
            serve::keep_part(&shared, &request, &body);
            return;
        }
        if let Some(Action::Delay(time)) = fault {
            tokio::time::sleep(time).await;
        }
        if matches!(fault, Some(Action::Close)) {
            return;
        }
        let response = match &fault {
            Some(Action::Answer { status, headers, body }) => {
                let mut response = Response::new(*status, body.as_bytes());
                response.headers.clone_from(headers);
                response
            }
            _ => serve::answer(&shared, &request, &body),
        };
        if !send(&mut stream, &shared, &request, response, fault.as_ref()).await {
            return;
        }
    }
}

async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Request, Vec<u8>)> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        buffer.extend_from_slice(&piece[..read]);
        if buffer.len() > LARGEST_HEAD {
            return None;
        }
    };
    let rest = buffer.split_off(end + 4);
    let text = String::from_utf8_lossy(buffer);
    let mut lines = text.lines();
    let mut words = lines.next()?.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(header).collect();
    Some((Request { method, path, headers, received: 0 }, rest))
}

/// Whether the connection can go on.
async fn send(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    mut response: Response,
    fault: Option<&Action>,
) -> bool {
    let mut body = Arc::clone(&response.body);
    if response.is_blob && !matches!(fault, Some(Action::IgnoreRange)) && request.method == "GET" {
        let size = body.len();
        match request.header("range").map(|text| range(text, size)) {
            None => {}
            Some(None) => {
                response = Response::new(416, *b"").with("Content-Range", format!("bytes */{size}"));
                body = Arc::clone(&response.body);
            }
            Some(Some((mut first, mut last))) => {
                if matches!(fault, Some(Action::WrongRange)) {
                    first = (first + 1).min(last);
                    last = size - 1;
                }
                response.status = 206;
                response = response.with("Content-Range", format!("bytes {first}-{last}/{size}"));
                body = body[first..=last].into();
            }
        }
    }
    let mut bytes = body.to_vec();
    match fault {
        Some(Action::Corrupt) => {
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
        }
        Some(Action::Append(more)) => bytes.extend_from_slice(more),
        Some(Action::Header(name, value)) => {
            response.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
            if !value.is_empty() {
                response = response.with(name, value.as_str());
            }
        }
        _ => {}
    }
    let mut announced = bytes.len() as u64;
    if let Some(Action::LieAboutLength(by)) = fault {
        announced = announced.saturating_add_signed(*by);
    }
    let mut head = format!("HTTP/1.1 {} Test\r\n", response.status);
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let no_length = matches!(fault, Some(Action::NoLength));
    if no_length {
        head.push_str("Connection: close\r\n");
    } else if response.status != 204 && !response.headers.iter().any(|(name, _)| name == "Content-Length") {
        head.push_str(&format!("Content-Length: {announced}\r\n"));
    }
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    if request.method == "HEAD" || response.status == 204 {
        return true;
    }
    let (end, then_stall) = match fault {
        Some(Action::CutAfter(at)) => (usize::try_from(*at).unwrap_or(0).min(bytes.len()), false),
        Some(Action::StallAfter(at)) => (usize::try_from(*at).unwrap_or(0).min(bytes.len()), true),
        _ => (bytes.len(), false),
    };
    let start = tokio::time::Instant::now();
    let mut written = 0;
    for piece in bytes[..end].chunks(64 << 10) {
        if let Some(Action::Throttle(speed)) = fault {
            tokio::time::sleep_until(start + Duration::from_secs_f64(written as f64 / *speed as f64)).await;
        }
        written += piece.len();
        if stream.write_all(piece).await.is_err() {
            return false;
        }
        if response.is_blob {
            shared.state().sent += piece.len() as u64;
        }
    }
    if then_stall {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    end == bytes.len() && announced == bytes.len() as u64 && !no_length
}

fn range(text: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let last = if last.is_empty() {
        size.checked_sub(1)?
    } else {
        last.parse::<usize>().ok()?.min(size.checked_sub(1)?)
    };
    (first <= last && first < size).then_some((first, last))
}
