//! A static server on loopback, just enough for ADD: GET and HEAD of files, with `Last-Modified` where a file's time
//! was set.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Serves `root` until the process ends. Returns `127.0.0.1:port`.
pub(crate) fn serve(root: PathBuf) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            // A client that goes away is no concern of the server.
            std::thread::spawn(move || drop(answer(&stream, &root)));
        }
    });
    Ok(address.to_string())
}

fn answer(mut stream: &TcpStream, root: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while reader.read_line(&mut head)? > 2 {}
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(path) = path(root, target) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let body = fs::read(&path)?;
    let modified = modified(&path)?.map(|when| format!("Last-Modified: {when}\r\n")).unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: application/octet-stream\r\n{modified}\
         Connection: close\r\n\r\n",
        body.len()
    )?;
    if method == "HEAD" { Ok(()) } else { stream.write_all(&body) }
}

/// `/case/a/b?query` is `root/case/http/a/b`; a folder's answer is its `index`.
fn path(root: &Path, target: &str) -> Option<PathBuf> {
    let path = target.split('?').next()?;
    let (case, rest) = path.trim_start_matches('/').split_once('/')?;
    let rest = Path::new(rest);
    if !rest.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let path = root.join(case).join("http").join(rest);
    let path = if path.is_dir() { path.join("index") } else { path };
    path.is_file().then_some(path)
}

/// The file's time, unless the file is as young as the test: most servers of interest send the header or not, and a
/// case says which by `mtime=`.
fn modified(path: &Path) -> std::io::Result<Option<String>> {
    let time = fs::metadata(path)?.modified()?;
    let old = SystemTime::now().duration_since(time).is_ok_and(|age| age > Duration::from_secs(86_400));
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Ok(old.then(|| http_date(seconds)))
}

/// RFC 9110's date, from seconds since 1970.
fn http_date(seconds: u64) -> String {
    let timestamp = jiff::Timestamp::from_second(seconds.cast_signed()).unwrap_or_default();
    timestamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
