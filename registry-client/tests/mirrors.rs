//! Mirrors of docker.io: which endpoint gives what, what happens when one does not, and how long it takes.

mod support;

use std::time::{Duration, Instant};

use layer_store::{Digest, Manifest, Platform};
use registry_client::testing::{Access, Action, Fault, TestRegistry};
use registry_client::{ClientSettings, Error, HostSettings, PushRequest, ResolvePolicy};
use support::{Image, client, reference, store};

/// Settings whose docker.io is only these mirrors: upstream is an address where nobody listens, by way of a proxy that
/// does not exist, so that no test leaves this machine.
fn only(settings: &mut ClientSettings, mirrors: &[&TestRegistry]) {
    let list: Vec<String> = mirrors.iter().map(|mirror| format!("\"http://{}\"", mirror.host())).collect();
    let json = format!("{{\"registry-mirrors\":[{}]}}", list.join(","));
    settings.hosts.merge_daemon_json(json.as_bytes()).unwrap();
    settings.proxies.https = Some("http://127.0.0.1:1".parse().unwrap());
}

fn platform() -> Platform {
    Platform::new("linux", "amd64", None)
}

#[tokio::test]
async fn a_mirror_serves_where_upstream_cannot_be_reached() {
    let mirror = TestRegistry::start().await.unwrap();
    let image = Image::new(1, &[1000, 2000]);
    image.serve(&mirror, "library/debian", "bookworm");
    let (client, _) = client(|settings| only(settings, &[&mirror]));
    let (_place, store) = store();
    let start = Instant::now();
    let resolved = client.pull(&reference("debian:bookworm"), &platform(), &store).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(
        resolved.reference.canonical(),
        format!("docker.io/library/debian:bookworm@{}", image.manifest.digest())
    );
    assert!(image.is_in(&store));
    assert_eq!(mirror.count(), 4);
}

#[tokio::test]
async fn what_came_through_a_mirror_is_mounted_where_that_takes_images_too() {
    let mirror = TestRegistry::start().await.unwrap();
    let image = Image::new(3, &[1000, 2000]);
    image.serve(&mirror, "library/debian", "bookworm");
    let (client, _) = client(|settings| only(settings, &[&mirror]));
    let (_place, store) = store();
    client.pull(&reference("debian:bookworm"), &platform(), &store).await.unwrap();
    let request = PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
    let own = reference(&format!("{}/team/app:1", mirror.host()));
    let pushed = client.push(&own, &store, request.clone()).await.unwrap();
    assert_eq!((pushed.mounted, pushed.uploaded), (3, 0));

    // One that has forgotten it is sent the bytes, in the session that it opens instead.
    let forgetful = TestRegistry::start().await.unwrap();
    let (client, _) = support::client(|settings| only(settings, &[&forgetful, &mirror]));
    let (_place, store) = support::store();
    client.pull(&reference("debian:bookworm"), &platform(), &store).await.unwrap();
    forgetful.forget();
    let own = reference(&format!("{}/team/app:1", forgetful.host()));
    let pushed = client.push(&own, &store, request).await.unwrap();
    assert_eq!((pushed.mounted, pushed.uploads), (0, 3));
    // HEAD of the manifest, three of POST and PUT, the manifest.
    assert_eq!(forgetful.count(), 8);
}

#[tokio::test]
async fn each_failure_of_a_mirror_is_made_good_by_the_next() {
    let faults = [
        ("the manifest is missing", Fault::on("GET", "/manifests/").always(Action::status(404, ""))),
        (
            "everything is forbidden",
            Fault::on("", "").always(Action::status(403, "denied: not in the allowlist")),
        ),
        (
            "everything needs a login",
            Fault::on("", "").always(Action::with_header(401, "WWW-Authenticate", "Basic realm=\"x\"")),
        ),
        (
            "the token server fails",
            Fault::on("", "").always(Action::with_header(
                401,
                "WWW-Authenticate",
                "Bearer realm=\"http://127.0.0.1:1/t\"",
            )),
        ),
        ("too many requests", Fault::on("", "").always(Action::with_header(429, "Retry-After", "3600"))),
        ("too many requests, no time", Fault::on("", "").always(Action::status(429, "slow down"))),
        ("it is broken", Fault::on("", "").always(Action::status(503, ""))),
        ("it closes connections", Fault::on("", "").always(Action::Close)),
        ("it is silent", Fault::on("", "").always(Action::Delay(Duration::from_secs(60)))),
        (
            "it answers with a page",
            Fault::on("GET", "/manifests/").always(Action::status(200, "<html>Log in to the hotel</html>")),
        ),
        ("blobs are forbidden", Fault::on("GET", "/blobs/").always(Action::status(403, ""))),
        ("blobs are corrupt", Fault::on("GET", "/blobs/").always(Action::Corrupt)),
        ("blobs are cut", Fault::on("GET", "/blobs/").always(Action::CutAfter(100))),
        ("blobs have another length", Fault::on("GET", "/blobs/").always(Action::LieAboutLength(-1))),
        ("blobs go on", Fault::on("GET", "/blobs/").always(Action::Append(vec![0; 9]))),
        (
            "it redirects to nowhere",
            Fault::on("GET", "/blobs/").always(Action::redirect(307, "http://127.0.0.1:1/x")),
        ),
    ];
    for (name, fault) in faults {
        let (bad, good) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
        let image = Image::new(2, &[1000, 2000]);
        for mirror in [&bad, &good] {
            image.serve(mirror, "library/debian", "bookworm");
        }
        bad.inject(fault);
        let (client, _) = client(|settings| only(settings, &[&bad, &good]));
        let (_place, store) = store();
        let start = Instant::now();
        let result = client.pull(&reference("debian:bookworm"), &platform(), &store).await;
        assert!(result.is_ok(), "{name}: {:?}", result.err().map(|error| error.to_string()));
        assert!(image.is_in(&store), "{name}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_dead_mirror_costs_one_short_time_out() {
    let good = TestRegistry::start().await.unwrap();
    let image = Image::new(3, &[1000, 2000, 3000]);
    image.serve(&good, "library/debian", "1");
    let (client, reporter) = client(|settings| {
        // A documentation address (RFC 5737): nobody answers there.
        settings.hosts.merge_daemon_json(b"{\"registry-mirrors\":[\"http://192.0.2.1:5000\"]}").unwrap();
        only(settings, &[&good]);
    });
    let (_place, store) = store();
    let start = Instant::now();
    client.pull(&reference("debian:1"), &platform(), &store).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(reporter.notices().contains("mirror `192.0.2.1:5000` is out of use"), "{}", reporter.notices());
}

#[tokio::test]
async fn every_endpoint_is_in_the_message() {
    let (one, two) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    one.inject(Fault::on("", "").always(Action::status(
        403,
        "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not in the allowlist\"}]}",
    )));
    let (client, _) = client(|settings| only(settings, &[&one, &two]));
    let error = client.resolve(&reference("debian:1"), &platform()).await.unwrap_err();
    let text = error.to_string();
    for part in [
        "cannot read the manifest of `debian:1`",
        &format!("`{}`: 403 DENIED: not in the allowlist", one.host()),
        &format!("`{}`: 404 MANIFEST_UNKNOWN", two.host()),
        "`registry-1.docker.io`: ",
    ] {
        assert!(text.contains(part), "`{text}` does not say `{part}`");
    }
    let Error::Exhausted { attempts, .. } = error else { panic!("{text}") };
    assert_eq!(attempts.len(), 3);
}

#[tokio::test]
async fn credentials_of_docker_hub_stay_away_from_mirrors() {
    let mirror = TestRegistry::start().await.unwrap();
    let image = Image::new(4, &[1000]);
    image.serve(&mirror, "library/debian", "1");
    mirror.set_access(Access::Bearer {
        user: "jane".to_owned(),
        password: "secret".to_owned(),
        lifetime: Duration::from_secs(300),
        anonymous_pull: true,
    });
    let (client, _) = client(|settings| {
        only(settings, &[&mirror]);
        settings.credentials.inline =
            Some("{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"amFuZTpzZWNyZXQ=\"}}}".to_owned());
    });
    let (_place, store) = store();
    client.pull(&reference("debian:1"), &platform(), &store).await.unwrap();
    for request in mirror.requests() {
        let sent = request.header("authorization").unwrap_or_default();
        assert!(!sent.starts_with("Basic"), "{sent}");
    }
}

#[tokio::test]
async fn a_digest_is_believed_only_when_it_is_right() {
    let (bad, good) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    let (image, other) = (Image::new(5, &[10]), Image::new(6, &[10]));
    image.serve(&good, "library/debian", "1");
    let wanted = image.manifest.digest();
    let body = String::from_utf8(other.manifest.raw.clone()).unwrap();
    bad.inject(Fault::on("GET", "/manifests/").always(Action::status(200, &body)));
    let (client, _) = client(|settings| only(settings, &[&bad, &good]));
    let manifest = client.manifest(&reference("debian:1").with_digest(wanted)).await.unwrap();
    assert_eq!(manifest.digest(), wanted);
    assert_ne!(Digest::of(body.as_bytes()), wanted);
}

#[tokio::test]
async fn with_the_upstream_policy_mirrors_still_serve_when_upstream_is_away() {
    let mirror = TestRegistry::start().await.unwrap();
    let image: Manifest = {
        let image = Image::new(7, &[10]);
        image.serve(&mirror, "library/debian", "1");
        image.manifest
    };
    let (client, _) = client(|settings| {
        only(settings, &[&mirror]);
        settings.hosts.resolve = ResolvePolicy::Upstream;
    });
    assert_eq!(client.manifest(&reference("debian:1")).await.unwrap(), image);
}

#[tokio::test]
async fn mirrors_are_for_docker_io_only() {
    let mirror = TestRegistry::start().await.unwrap();
    let own = TestRegistry::start().await.unwrap();
    let image = Image::new(8, &[10]);
    image.serve(&own, "a/b", "1");
    let (client, _) = client(|settings| only(settings, &[&mirror]));
    client.resolve(&reference(&format!("{}/a/b:1", own.host())), &platform()).await.unwrap();
    assert_eq!(mirror.count(), 0);
    assert!(HostSettings::default().merge_daemon_json(b"{\"registry-mirrors\":[\"oci://x\"]}").is_err());
}
