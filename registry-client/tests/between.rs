//! What stands between the client and Debian's docker-registry: a token server, nginx that sends blobs elsewhere, a line
//! that breaks.

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use layer_store::Platform;
use registry_client::{PushRequest, Reference};
use support::peer::{Line, Peer, free_port, spawn, twenty_points};
use support::{Image, client, reference, store};

const MIB: usize = 1 << 20;

fn platform() -> Platform {
    Platform::new("linux", "amd64", None)
}

fn request(image: &Image) -> PushRequest {
    PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() }
}

fn openssl(place: &Path, words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(words)
        .current_dir(place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the package openssl is needed for this test");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {words:?}");
    output.stdout
}

/// A token server that signs what the registry believes: everybody may pull, `jane` with `secret` may push. Its thread
/// ends with the process.
struct TokenServer {
    port: u16,
    place: tempfile::TempDir,
    /// The queries that it got.
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    /// Tokens are good for so many seconds.
    fn start(lifetime: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        let words =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"];
        openssl(place.path(), &[&words[..], &["-subj", "/CN=tokens", "-days", "2"]].concat(), b"");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (directory, heard) = (place.path().to_owned(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                answer(connection, &directory, lifetime, &heard);
            }
        });
        Self { port, place, asked }
    }

    fn registry_settings(&self) -> String {
        format!(
            "auth: {{token: {{realm: \"http://127.0.0.1:{}/token\", service: test, issuer: tokens, rootcertbundle: {}}}}}\n",
            self.port,
            self.place.path().join("cert.pem").display()
        )
    }
}

fn answer(mut connection: TcpStream, place: &Path, lifetime: u64, heard: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let is_jane = lines
        .take_while(|line| !line.is_empty())
        .any(|line| line.eq_ignore_ascii_case("authorization: basic amFuZTpzZWNyZXQ="));
    let query = first.split(' ').nth(1).and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
    heard.lock().unwrap().push(query.to_owned());
    let mut access = Vec::new();
    for scope in url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "scope") {
        let parts: Vec<&str> = scope.1.split(':').collect();
        let [kind, name, actions] = parts[..] else { continue };
        let granted: Vec<&str> = actions.split(',').filter(|action| is_jane || *action == "pull").collect();
        access.push(serde_json::json!({ "type": kind, "name": name, "actions": granted }));
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let certificate = std::fs::read_to_string(place.join("cert.pem")).unwrap();
    let certificate: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(&serde_json::json!({ "typ": "JWT", "alg": "RS256", "x5c": [certificate] }));
    let claims = encode(&serde_json::json!({
        "iss": "tokens", "sub": if is_jane { "jane" } else { "" }, "aud": "test", "jti": now.to_string(),
        "iat": now, "nbf": now - 10, "exp": now + lifetime, "access": access,
    }));
    let signed = format!("{header}.{claims}");
    let signature = openssl(place, &["dgst", "-sha256", "-sign", "key.pem"], signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let body = serde_json::json!({ "token": token, "expires_in": lifetime }).to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = connection.write_all(format!("{head}{body}").as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_server_before_docker_registry() {
    let tokens = TokenServer::start(300);
    let registry = Peer::start(&tokens.registry_settings());
    let image = Image::new(20, &[100_000, 50_000]);
    let (_place, from) = store();
    image.keep(&from);
    let name = reference(&registry.name("team/app:1"));

    let (nobody, _) = client(|_| {});
    let refused = nobody.push(&name, &from, request(&image)).await.unwrap_err();
    assert_eq!(refused.status(), Some(401), "{refused}");
    assert!(refused.hint().unwrap().contains("repository:team/app:pull,push"), "{:?}", refused.hint());

    let auth = STANDARD.encode("jane:secret");
    let inline = format!("{{\"auths\":{{\"127.0.0.1:{}\":{{\"auth\":\"{auth}\"}}}}}}", registry.port);
    let (jane, _) = client(|settings| settings.credentials.inline = Some(inline));
    tokens.asked.lock().unwrap().clear();
    jane.push(&name, &from, request(&image)).await.unwrap();
    // One token for the whole push.
    assert_eq!(tokens.asked.lock().unwrap().len(), 1, "{:?}", tokens.asked.lock().unwrap());
    // A mount needs to read the one and write the other.
    let sibling = reference(&registry.name("team/sibling:1"));
    let pushed = jane.push(&sibling, &from, request(&image)).await.unwrap();
    assert_eq!((pushed.mounted, pushed.uploaded), (3, 0));

    let (_place, to) = store();
    nobody.pull(&name, &platform(), &to).await.unwrap();
    assert!(image.is_in(&to));
}

/// nginx in the foreground, ended with the value.
struct Nginx {
    child: Child,
    port: u16,
    place: tempfile::TempDir,
}

impl Nginx {
    /// Before `registry`: downloads of blobs are redirected to another port, as object storage does it, which refuses
    /// whoever sends credentials along and notes what it hears.
    fn before(registry: u16) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (port, storage) = (free_port(), free_port());
        let at = |name: &str| place.path().join(name).display().to_string();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {pid};\nerror_log {errors};\nevents {{}}\nhttp {{\n\
             access_log off;\nclient_body_temp_path {temporary};\nproxy_temp_path {temporary};\n\
             fastcgi_temp_path {temporary};\nuwsgi_temp_path {temporary};\nscgi_temp_path {temporary};\n\
             client_max_body_size 0;\nproxy_request_buffering off;\nproxy_http_version 1.1;\n\
             map $request_method $download {{ default 0; GET 1; HEAD 1; }}\n\
             server {{\n listen 127.0.0.1:{port};\n\
              location ~ ^/v2/.*/blobs/sha256: {{\n\
               if ($download) {{ return 307 http://127.0.0.1:{storage}$request_uri?signature=a%2Fb; }}\n\
               proxy_pass http://127.0.0.1:{registry};\n }}\n\
              location / {{ proxy_pass http://127.0.0.1:{registry}; proxy_set_header Host $http_host; }}\n}}\n\
             log_format heard '$request_method $request_uri $http_range [$http_authorization]';\n\
             server {{\n listen 127.0.0.1:{storage};\n access_log {heard} heard;\n\
              location / {{\n\
               if ($http_authorization) {{ return 400 'only one auth mechanism allowed'; }}\n\
               proxy_pass http://127.0.0.1:{registry};\n }}\n}}\n}}\n",
            pid = at("pid"),
            errors = at("errors"),
            temporary = at("temporary"),
            heard = at("heard"),
        );
        std::fs::write(place.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new(nginx());
        command.arg("-p").arg(place.path()).arg("-e").arg(place.path().join("errors"));
        command.arg("-c").arg(place.path().join("nginx.conf"));
        let child = spawn(command, "nginx-light", port);
        Self { child, port, place }
    }

    /// What the storage heard, a line for each request.
    fn heard(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.place.path().join("heard")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian keeps it where a plain user's PATH does not lead.
fn nginx() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/nginx");
    if debian.exists() { debian } else { "nginx".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_sends_downloads_elsewhere() {
    let place = tempfile::tempdir().unwrap();
    // jane, secret
    let password = "jane:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
    std::fs::write(place.path().join("htpasswd"), password).unwrap();
    let file = place.path().join("htpasswd");
    let basic = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
    let private = Peer::start_in(place, &basic);
    let open = Peer::start("");
    for (registry, asks) in [(&open, false), (&private, true)] {
        let front = Nginx::before(registry.port);
        let name = reference(&format!("127.0.0.1:{}/team/app:1", front.port));
        let image = Image::new(21, &[3 * MIB, 50_000]);
        let (_place, from) = store();
        image.keep(&from);
        let inline = format!(
            "{{\"auths\":{{\"127.0.0.1:{}\":{{\"auth\":\"{}\"}}}}}}",
            front.port,
            STANDARD.encode("jane:secret")
        );
        let (client, _) = client(|settings| settings.credentials.inline = Some(inline));
        let (_place, to) = store();
        if asks {
            // The storage behind asks for a password that must not be sent there: the refusal is the storage's.
            let error = client.push(&name, &from, request(&image)).await.unwrap_err();
            assert_eq!(error.status(), Some(401), "{error}");
        } else {
            client.push(&name, &from, request(&image)).await.unwrap();
            client.pull(&name, &platform(), &to).await.unwrap();
            assert!(image.is_in(&to));
            assert!(front.heard().iter().any(|line| line.starts_with("GET")), "{:?}", front.heard());
        }
        assert!(front.heard().iter().all(|line| line.ends_with("[-]")), "{:?}", front.heard());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_breaks_twenty_times_is_got_over() {
    let registry = Peer::start("");
    let size = 112 * MIB;
    let image = Image::new(22, &[size]);
    let (_place, from) = store();
    image.keep(&from);
    let settings = |settings: &mut registry_client::ClientSettings| {
        settings.idle_timeout = Duration::from_secs(20);
        settings.retries = 4;
    };
    let at = |line: &Line| -> Reference { reference(&format!("127.0.0.1:{}/team/app:1", line.port)) };
    // This registry throws away an upload whose connection breaks within a request, so nothing can be said about how
    // much moves; with one that keeps what it got, `large.rs` says it.
    let line = Line::to(registry.port, twenty_points(1, size as u64));
    let (pusher, _) = client(settings);
    pusher.push(&at(&line), &from, request(&image)).await.unwrap();

    let line = Line::to(registry.port, twenty_points(2, size as u64));
    let (_place, to) = store();
    let (puller, _) = client(settings);
    puller.pull(&at(&line), &platform(), &to).await.unwrap();
    assert!(image.is_in(&to));
    assert!(line.carried() < (size * 12 / 10) as u64, "{} bytes for {size}", line.carried());
}
