//! Against programs that others wrote: Debian's docker-registry and skopeo.

mod support;

use std::path::Path;
use std::process::Command;

use layer_store::Platform;
use registry_client::PushRequest;
use support::peer::Peer;
use support::{Image, client, reference, store};

fn skopeo(arguments: &[&str]) -> String {
    let output =
        Command::new("skopeo").args(arguments).output().expect("the package skopeo is needed for this test");
    assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn push_request(image: &Image) -> PushRequest {
    PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() }
}

#[tokio::test]
async fn what_is_pushed_is_read_by_skopeo_and_pulled_again() {
    let peer = Peer::start("");
    let image = Image::new(1, &[1 << 20, 300_000, 10, 5_000_000]);
    let (_place, from) = store();
    image.keep(&from);
    let (client, _) = client(|_| {});
    let name = reference(&peer.name("team/app:1.0"));
    let pushed = client.push(&name, &from, push_request(&image)).await.unwrap();
    assert_eq!((pushed.uploads, pushed.skipped, pushed.mounted), (5, 0, 0));

    let seen = skopeo(&["inspect", "--tls-verify=false", &format!("docker://{}", peer.name("team/app:1.0"))]);
    assert!(seen.contains(&image.manifest.digest().to_string()), "{seen}");
    let raw = skopeo(&[
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{}", peer.name("team/app:1.0")),
    ]);
    assert_eq!(raw.as_bytes(), image.manifest.raw);

    let (_place, to) = store();
    let resolved = client.pull(&name, &Platform::new("linux", "amd64", None), &to).await.unwrap();
    assert_eq!(resolved.manifest.raw, image.manifest.raw);
    assert!(image.is_in(&to));

    let again = client.push(&name, &from, push_request(&image)).await.unwrap();
    assert_eq!((again.uploads, again.skipped), (0, 5));
    let sibling = reference(&peer.name("team/other:1.0"));
    let mounted = client.push(&sibling, &from, push_request(&image)).await.unwrap();
    assert_eq!((mounted.uploads, mounted.mounted), (0, 5));
    assert_eq!(client.tags(&name).await.unwrap(), ["1.0"]);
    assert!(client.head(&reference(&peer.name("team/app:2.0"))).await.unwrap().is_none());
}

#[tokio::test]
async fn an_image_of_skopeo_is_pulled() {
    let peer = Peer::start("");
    let (_place, from) = store();
    let image = Image::new(2, &[100_000, 200_000]);
    image.keep(&from);
    let (client, _) = client(|_| {});
    client.push(&reference(&peer.name("a/b:1")), &from, push_request(&image)).await.unwrap();
    // Its own conversion: Docker's media types.
    let (source, target) =
        (format!("docker://{}", peer.name("a/b:1")), format!("docker://{}", peer.name("c/d:2")));
    skopeo(&[
        "copy",
        "-q",
        "--format=v2s2",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &source,
        &target,
    ]);
    let (_place, to) = store();
    let resolved = client
        .pull(&reference(&peer.name("c/d:2")), &Platform::new("linux", "amd64", None), &to)
        .await
        .unwrap();
    assert!(resolved.manifest.media_type.contains("docker"), "{}", resolved.manifest.media_type);
    assert_eq!(resolved.config.rootfs.diff_ids.len(), 2);
}

#[tokio::test]
async fn basic_authentication() {
    let place = tempfile::tempdir().unwrap();
    // user `jane`, password `secret`
    std::fs::write(place.path().join("htpasswd"), HTPASSWD).unwrap();
    let extra =
        format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", place.path().join("htpasswd").display());
    let auth_file = place.path().join("config.json");
    let peer = Peer::start_in(place, &extra);
    let image = Image::new(3, &[1000]);
    let (_place, from) = store();
    image.keep(&from);
    let name = reference(&peer.name("x/y:1"));

    let (anonymous, _) = client(|_| {});
    let refused = anonymous.push(&name, &from, push_request(&image)).await.unwrap_err();
    assert_eq!(refused.status(), Some(401));
    assert!(refused.hint().unwrap().contains("without credentials"), "{:?}", refused.hint());

    write_auth(&auth_file, peer.port, "amFuZTp3cm9uZw==");
    let (wrong, _) = client(|settings| settings.credentials.files.push(auth_file.clone()));
    let refused = wrong.push(&name, &from, push_request(&image)).await.unwrap_err();
    assert_eq!(refused.status(), Some(401));
    assert!(refused.hint().unwrap().contains("user `jane` from"), "{:?}", refused.hint());

    write_auth(&auth_file, peer.port, "amFuZTpzZWNyZXQ=");
    let (right, _) = client(|settings| settings.credentials.files.push(auth_file.clone()));
    right.push(&name, &from, push_request(&image)).await.unwrap();
    let (_place, to) = store();
    right.pull(&name, &Platform::new("linux", "amd64", None), &to).await.unwrap();
    assert!(image.is_in(&to));
}

fn write_auth(path: &Path, port: u16, auth: &str) {
    let json = serde_json::json!({ "auths": { format!("127.0.0.1:{port}"): { "auth": auth } } });
    std::fs::write(path, json.to_string()).unwrap();
}

const HTPASSWD: &str = "jane:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A certificate authority and a certificate for 127.0.0.1, made with openssl.
fn certificates(place: &Path) {
    let openssl = |arguments: &[&str]| {
        let output =
            Command::new("openssl").args(arguments).current_dir(place).output().expect("openssl is needed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let with = |rest: &[&'static str]| -> Vec<&'static str> { [&["req"], &key[..], rest].concat() };
    openssl(&with(&["-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Test CA", "-days", "2"]));
    for (name, subject) in [("server", "/CN=server"), ("client", "/CN=client")] {
        let (out_key, request, out) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.cert"));
        let mut arguments = vec!["req"];
        arguments.extend(key);
        arguments.extend(["-keyout", &out_key, "-out", &request, "-subj", subject]);
        openssl(&arguments);
        std::fs::write(place.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            &out,
            "-days",
            "2",
            "-extfile",
            "names",
        ]);
    }
}

#[tokio::test]
async fn tls_with_an_authority_and_a_client_certificate_of_certs_d() {
    let place = tempfile::tempdir().unwrap();
    certificates(place.path());
    let path = |name: &str| place.path().join(name);
    let tls = format!(
        "  tls: {{certificate: {}, key: {}, clientcas: [{}]}}\n",
        path("server.cert").display(),
        path("server.key").display(),
        path("ca.crt").display()
    );
    let peer = Peer::start(&tls);
    let image = Image::new(4, &[100_000]);
    let (_place, from) = store();
    image.keep(&from);
    let name = reference(&peer.name("x/y:1"));

    // Loopback needs no authority, but this server wants to know its clients.
    let (unknown, _) = client(|_| {});
    let error = unknown.push(&name, &from, push_request(&image)).await.unwrap_err();
    assert!(error.to_string().contains(&peer.name("x/y:1")), "{error}");

    let certs = tempfile::tempdir().unwrap();
    let host = certs.path().join(format!("127.0.0.1:{}", peer.port));
    std::fs::create_dir(&host).unwrap();
    for (from, to) in [("ca.crt", "ca.crt"), ("client.cert", "client.cert"), ("client.key", "client.key")] {
        std::fs::copy(path(from), host.join(to)).unwrap();
    }
    let (known, _) = client(|settings| settings.hosts.certs_dirs.push(certs.path().to_owned()));
    known.push(&name, &from, push_request(&image)).await.unwrap();

    // Another authority for the same host is not believed.
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    std::fs::copy(other.path().join("ca.crt"), host.join("ca.crt")).unwrap();
    let (wary, _) = client(|settings| settings.hosts.certs_dirs.push(certs.path().to_owned()));
    let error = wary.push(&name, &from, push_request(&image)).await.unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("certificate")), "{error:?}");
}

#[tokio::test]
async fn tls_on_loopback_is_found_out() {
    let place = tempfile::tempdir().unwrap();
    certificates(place.path());
    let path = |name: &str| place.path().join(name);
    let tls = format!(
        "  tls: {{certificate: {}, key: {}}}\n",
        path("server.cert").display(),
        path("server.key").display()
    );
    let peer = Peer::start(&tls);
    let image = Image::new(5, &[100_000]);
    let (_place, from) = store();
    image.keep(&from);
    let name = reference(&peer.name("x/y:1"));
    let (client, _) = client(|settings| settings.extra_ca.push(path("ca.crt")));
    client.push(&name, &from, push_request(&image)).await.unwrap();
    let (_place, to) = store();
    client.pull(&name, &Platform::new("linux", "amd64", None), &to).await.unwrap();
    assert!(image.is_in(&to));
}

#[tokio::test]
async fn docker_registry_as_a_mirror() {
    let upstream = Peer::start("");
    let image = Image::new(6, &[100_000, 50_000]);
    let (_place, from) = store();
    image.keep(&from);
    let (pusher, _) = client(|_| {});
    pusher.push(&reference(&upstream.name("library/debian:1")), &from, push_request(&image)).await.unwrap();
    // A pull-through cache of the other one.
    let mirror = Peer::start(&format!("proxy: {{remoteurl: http://127.0.0.1:{}}}\n", upstream.port));
    let (client, _) = client(|settings| {
        let json = format!("{{\"registry-mirrors\":[\"http://127.0.0.1:{}\"]}}", mirror.port);
        settings.hosts.merge_daemon_json(json.as_bytes()).unwrap();
        settings.proxies.https = Some("http://127.0.0.1:1".parse().unwrap());
    });
    let (_place, to) = store();
    let resolved =
        client.pull(&reference("debian:1"), &Platform::new("linux", "amd64", None), &to).await.unwrap();
    assert_eq!(resolved.manifest.raw, image.manifest.raw);
    assert!(image.is_in(&to));
}
