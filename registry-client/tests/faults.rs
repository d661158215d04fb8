//! Registries that misbehave: each scenario ends in time, with every byte right, or with one clear message; and nobody
//! sees credentials that were not meant for them.

mod support;

use std::time::Duration;

use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest, Manifest, Platform};
use registry_client::testing::{Access, Action, Fault, TestRegistry};
use registry_client::{Error, PushRequest};
use support::{Image, client, reference, store};

/// What a scenario ends with.
enum Expect {
    /// Everything is there.
    Fine,
    /// An error whose message, with its causes, holds this text.
    Fails(&'static str),
}
use Expect::{Fails, Fine};

/// No scenario takes longer; what would is a hang.
const LIMIT: Duration = Duration::from_secs(45);

fn platform() -> Platform {
    Platform::new("linux", "amd64", None)
}

fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text.push_str(&format!(": {one}"));
        cause = one.source();
    }
    text
}

fn judge(name: &str, result: Result<(), Error>, expect: &Expect) {
    match (result, expect) {
        (Ok(()), Fine) => {}
        (Ok(()), Fails(text)) => panic!("{name}: succeeded, should fail with `{text}`"),
        (Err(error), Fine) => panic!("{name}: {}", full(&error)),
        (Err(error), Fails(text)) => {
            let message = full(&error);
            assert!(message.contains(text), "{name}: `{message}` does not say `{text}`");
            assert!(message.len() < 700 && !message.contains('\n'), "{name}: {message}");
            assert!(message.contains("127.0.0.1:"), "{name}: `{message}` does not say where");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls() {
    let image = Image::new(1, &[200_000, 120_000]);
    let first_layer = format!("/blobs/{}", Digest::of(&image.layers[0]));
    let first_layer = first_layer.as_str();
    let blob = |action: Action| vec![Fault::on("GET", first_layer).once(action)];
    let always = |action: Action| vec![Fault::on("GET", first_layer).always(action)];
    let manifest = |action: Action| vec![Fault::on("GET", "/manifests/").once(action)];
    let manifests = |action: Action| vec![Fault::on("GET", "/manifests/").always(action)];
    let retry_after = |status, value: &str| Action::with_header(status, "Retry-After", value);
    let page = || Action::status(502, "<html>\n<h1>Bad gateway</h1></html>");
    let scenarios: Vec<(&str, Vec<Fault>, Expect)> = vec![
        ("nothing wrong", vec![], Fine),
        // Bodies.
        ("a blob is cut at once", blob(Action::CutAfter(0)), Fine),
        ("a blob is cut in the middle", blob(Action::CutAfter(70_000)), Fine),
        ("a blob is cut before its last byte", blob(Action::CutAfter(199_999)), Fine),
        (
            "each blob is cut again and again",
            vec![Fault::on("GET", first_layer).times(20, Action::CutAfter(40_000))],
            Fine,
        ),
        ("a blob never gives a byte", always(Action::CutAfter(0)), Fails("the body ended after 0 of")),
        ("a blob stalls", blob(Action::StallAfter(1000)), Fine),
        ("a blob always stalls at its start", always(Action::StallAfter(0)), Fails("no answer for 2 s")),
        ("a blob is corrupt", always(Action::Corrupt), Fails("but its bytes are sha256:")),
        ("a blob announces too much", always(Action::LieAboutLength(5)), Fails("should have")),
        ("a blob announces too little", always(Action::LieAboutLength(-5)), Fails("should have")),
        ("a blob announces too much once", blob(Action::LieAboutLength(5)), Fails("should have")),
        ("a blob goes on after its end", always(Action::Append(b"more".to_vec())), Fails("should have")),
        ("a blob has no length", always(Action::NoLength), Fine),
        ("a blob has no type", always(Action::Header("Content-Type", String::new())), Fine),
        (
            "a blob claims to be compressed",
            always(Action::Header("Content-Encoding", "gzip".to_owned())),
            Fine,
        ),
        // Ranges.
        (
            "the range is passed over",
            vec![
                Fault::on("GET", first_layer).once(Action::CutAfter(50_000)),
                Fault::on("GET", first_layer).always(Action::IgnoreRange),
            ],
            Fine,
        ),
        (
            "another range comes",
            vec![
                Fault::on("GET", first_layer).once(Action::CutAfter(50_000)),
                Fault::on("GET", first_layer).always(Action::WrongRange),
            ],
            Fails("it was asked for bytes from"),
        ),
        (
            "the range is refused",
            vec![
                Fault::on("GET", first_layer).once(Action::CutAfter(50_000)),
                Fault::on("GET", first_layer).once(Action::status(416, "")),
            ],
            Fine,
        ),
        (
            "the range has no range",
            vec![
                Fault::on("GET", first_layer).once(Action::CutAfter(50_000)),
                Fault::on("GET", first_layer).always(Action::Header("Content-Range", String::new())),
            ],
            Fails("`Content-Range: `"),
        ),
        (
            "the range is of something else",
            vec![
                Fault::on("GET", first_layer).once(Action::CutAfter(50_000)),
                Fault::on("GET", first_layer)
                    .always(Action::Header("Content-Range", "bytes 5-9/10".to_owned())),
            ],
            Fails("does not fit a blob"),
        ),
        // Statuses.
        ("503 once", blob(Action::status(503, "")), Fine),
        ("500 for ever", always(Action::status(500, "{}")), Fails("500")),
        ("429 with Retry-After", blob(retry_after(429, "0")), Fine),
        ("429 with Retry-After of a day", always(retry_after(429, "86400")), Fails("429")),
        ("429 with Retry-After as a date", blob(retry_after(429, "Wed, 21 Oct 2015 07:28:00 GMT")), Fine),
        ("429 with nonsense in Retry-After", blob(retry_after(429, "later")), Fine),
        ("a storm of 429", vec![Fault::on("GET", "").times(2, retry_after(429, "0"))], Fine),
        ("a page instead of an answer", always(page()), Fails("502: <html> <h1>Bad gateway</h1></html>")),
        ("Cloudflare's 522", blob(Action::status(522, "")), Fine),
        ("a blob is missing", always(Action::status(404, "")), Fails("404")),
        (
            "a blob is forbidden",
            always(Action::status(403, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}")),
            Fails("403 DENIED: no"),
        ),
        ("204 for a blob", always(Action::status(204, "")), Fails("204")),
        ("the connection closes once", blob(Action::Close), Fine),
        ("the connection always closes", always(Action::Close), Fails("download")),
        (
            "every other connection closes",
            vec![
                Fault::on("", "").after(1).once(Action::Close),
                Fault::on("", "").after(2).once(Action::Close),
            ],
            Fine,
        ),
        ("an answer is late", blob(Action::Delay(Duration::from_millis(2500))), Fine),
        // Redirects.
        ("a redirect without an address", always(Action::status(307, "")), Fails("307")),
        ("a redirect to nowhere", always(Action::redirect(307, "http://[")), Fails("no address")),
        (
            "a redirect to a file",
            always(Action::redirect(307, "file:///etc/passwd")),
            Fails("neither http nor https"),
        ),
        (
            "a redirect to link-local metadata",
            always(Action::redirect(302, "http://169.254.169.254/latest")),
            Fails("127.0.0.1:"),
        ),
        ("a redirect in a circle", always(Action::redirect(307, "?again")), Fails("redirects without end")),
        // Manifests.
        ("a manifest is cut", manifest(Action::CutAfter(10)), Fine),
        ("a manifest is always cut", manifests(Action::CutAfter(10)), Fails("read the manifest")),
        (
            "a manifest has parameters in its type",
            manifests(Action::Header("Content-Type", format!("{}; charset=utf-8", media_type::OCI_MANIFEST))),
            Fine,
        ),
        (
            "a manifest comes as another type",
            manifests(Action::Header("Content-Type", media_type::DOCKER_MANIFEST.to_owned())),
            Fails("but says that it is"),
        ),
        ("a manifest has no type", manifests(Action::Header("Content-Type", String::new())), Fine),
        (
            "a manifest comes as plain text",
            manifests(Action::Header("Content-Type", "text/plain".to_owned())),
            Fine,
        ),
        (
            "a manifest has a digest of its own",
            manifests(Action::Header("Docker-Content-Digest", "sha256:0".to_owned())),
            Fine,
        ),
        (
            "a manifest is a page",
            manifests(Action::status(200, "<html>Welcome to the hotel</html>")),
            Fails("manifest is malformed"),
        ),
        ("a manifest is empty", manifests(Action::status(200, "")), Fails("manifest is malformed")),
        (
            "a manifest is JSON of something else",
            manifests(Action::status(200, "[1]")),
            Fails("manifest is malformed"),
        ),
        (
            "a manifest is of schema 1",
            manifests(Action::status(200, "{\"schemaVersion\":1}")),
            Fails("schemaVersion 1"),
        ),
        (
            "a manifest has no end",
            manifests(Action::Append(vec![b' '; 9 << 20])),
            Fails("more than 8388608 bytes"),
        ),
        (
            "a manifest is missing",
            manifests(Action::status(
                404,
                "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}",
            )),
            Fails("404 MANIFEST_UNKNOWN: manifest unknown"),
        ),
        (
            "a manifest lists a negative size",
            manifests(Action::status(
                200,
                "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a\",\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":-1},\"layers\":[]}",
            )),
            Fails("manifest is malformed"),
        ),
        (
            "the configuration is huge",
            manifests(Action::status(
                200,
                "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a\",\"digest\":\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"size\":99999999999},\"layers\":[]}",
            )),
            Fails("more than 8388608 bytes"),
        ),
        // Authorisation.
        ("401 without a challenge", always(Action::status(401, "")), Fails("401")),
        (
            "401 with an unknown challenge",
            always(Action::with_header(401, "WWW-Authenticate", "Negotiate")),
            Fails("401"),
        ),
        ("401 with nonsense", always(Action::with_header(401, "WWW-Authenticate", "=,\"\\")), Fails("401")),
        (
            "401 with a realm that is a file",
            always(Action::with_header(401, "WWW-Authenticate", "Bearer realm=\"file:///etc/passwd\"")),
            Fails("neither http nor https"),
        ),
        (
            "401 with a realm that is nowhere",
            always(Action::with_header(401, "WWW-Authenticate", "Bearer realm=\"http://[\"")),
            Fails("no address"),
        ),
        (
            "401 with a realm that is dead",
            always(Action::with_header(401, "WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/token\"")),
            Fails("no token from `http://127.0.0.1:1`"),
        ),
        (
            "401 with a realm that is missing",
            always(Action::with_header(401, "WWW-Authenticate", "Bearer realm=\"/nothing\"")),
            Fails("no token from"),
        ),
        ("Warning headers", always(Action::Header("Warning", "299 - \"soon to be gone\"".to_owned())), Fine),
    ];
    let count = scenarios.len();
    let mut running = tokio::task::JoinSet::new();
    for (name, faults, expect) in scenarios {
        running.spawn(async move {
            let registry = TestRegistry::start().await.unwrap();
            let image = Image::new(1, &[200_000, 120_000]);
            image.serve(&registry, "team/app", "1");
            for fault in faults {
                registry.inject(fault);
            }
            let (client, _) = client(|_| {});
            let (_place, store) = store();
            let name_of_image = reference(&format!("{}/team/app:1", registry.host()));
            let wanted = platform();
            let pull = client.pull(&name_of_image, &wanted, &store);
            let result = tokio::time::timeout(LIMIT, pull).await.unwrap_or_else(|_| panic!("{name}: hangs"));
            if result.is_ok() {
                assert!(image.is_in(&store), "{name}: a byte is wrong");
            }
            // Whatever happened, what is in the store is right.
            for blob in &image.layers {
                let digest = Digest::of(blob);
                if store.blob_size(&digest).unwrap().is_some() {
                    assert_eq!(store.read_blob(&digest, 1 << 20).unwrap(), *blob, "{name}");
                }
            }
            judge(name, result.map(drop), &expect);
        });
    }
    while let Some(result) = running.join_next().await {
        result.unwrap();
    }
    assert!(count >= 60, "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes() {
    let on =
        |method: &'static str, path: &'static str, action: Action| vec![Fault::on(method, path).once(action)];
    let ever = |method: &'static str, path: &'static str, action: Action| {
        vec![Fault::on(method, path).always(action)]
    };
    const UPLOADS: &str = "/blobs/uploads/";
    let denied =
        "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access to the resource is denied\"}]}";
    let scenarios: Vec<(&str, Vec<Fault>, Expect)> = vec![
        ("nothing wrong", vec![], Fine),
        ("HEAD of the manifest fails once", on("HEAD", "/manifests/", Action::status(503, "")), Fine),
        ("HEAD of a blob fails once", on("HEAD", "/blobs/", Action::status(503, "")), Fine),
        ("HEAD of a blob is denied", ever("HEAD", "/blobs/", Action::status(403, denied)), Fails("403")),
        ("no session once", on("POST", UPLOADS, Action::status(500, "")), Fine),
        ("no session", ever("POST", UPLOADS, Action::status(500, "")), Fails("500")),
        (
            "a session is denied",
            ever("POST", UPLOADS, Action::status(403, denied)),
            Fails("403 DENIED: requested access"),
        ),
        (
            "a session without an address",
            ever("POST", UPLOADS, Action::status(202, "")),
            Fails("without saying where"),
        ),
        (
            "a session at a file",
            ever("POST", UPLOADS, Action::with_header(202, "Location", "file:///etc/passwd")),
            Fails("neither http nor https"),
        ),
        (
            "a session that is unknown",
            ever("POST", UPLOADS, Action::with_header(202, "Location", "/v2/team/app/blobs/uploads/none")),
            Fails("404 BLOB_UPLOAD_UNKNOWN"),
        ),
        (
            "a session that is unknown once",
            on("POST", UPLOADS, Action::with_header(202, "Location", "/v2/team/app/blobs/uploads/none")),
            Fine,
        ),
        ("the connection closes at the session", on("POST", UPLOADS, Action::Close), Fine),
        ("an upload is cut", on("PUT", UPLOADS, Action::CutUploadAfter(30_000)), Fine),
        ("an upload is cut at its start", on("PUT", UPLOADS, Action::CutUploadAfter(0)), Fine),
        (
            "uploads are cut twice",
            vec![Fault::on("PUT", UPLOADS).times(2, Action::CutUploadAfter(30_000))],
            Fine,
        ),
        ("an upload is answered 500 once", on("PUT", UPLOADS, Action::status(500, "")), Fine),
        (
            "an upload is answered 502 for ever",
            ever("PUT", UPLOADS, Action::status(502, "<html>no</html>")),
            Fails("502: <html>no</html>"),
        ),
        ("an upload is answered 429", on("PUT", UPLOADS, Action::with_header(429, "Retry-After", "0")), Fine),
        ("an upload is too large", ever("PUT", UPLOADS, Action::status(413, "")), Fails("413")),
        (
            "an upload is called wrong",
            ever("PUT", UPLOADS, Action::status(400, "{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}")),
            Fails("400 DIGEST_INVALID"),
        ),
        (
            "an upload is never answered",
            ever("PUT", UPLOADS, Action::Delay(Duration::from_secs(60))),
            Fails("no answer"),
        ),
        ("the manifest fails once", on("PUT", "/manifests/", Action::status(503, "")), Fine),
        ("the manifest's connection closes once", on("PUT", "/manifests/", Action::Close), Fine),
        (
            "the manifest is refused",
            ever(
                "PUT",
                "/manifests/",
                Action::status(400, "{\"errors\":[{\"code\":\"MANIFEST_INVALID\",\"message\":\"no\"}]}"),
            ),
            Fails("400 MANIFEST_INVALID: no"),
        ),
        (
            "the manifest gets another digest",
            ever(
                "PUT",
                "/manifests/",
                Action::Header("Docker-Content-Digest", format!("sha256:{}", "0".repeat(64))),
            ),
            Fails("should be"),
        ),
        (
            "the manifest gets no digest",
            ever("PUT", "/manifests/", Action::Header("Docker-Content-Digest", String::new())),
            Fine,
        ),
        (
            "a redirect of the manifest",
            ever("PUT", "/manifests/", Action::redirect(301, "/elsewhere")),
            Fails("301"),
        ),
    ];
    let count = scenarios.len();
    let mut running = tokio::task::JoinSet::new();
    for (n, (name, faults, expect)) in scenarios.into_iter().enumerate() {
        running.spawn(async move {
            let registry = TestRegistry::start().await.unwrap();
            let image = Image::new(1000 + n as u64, &[150_000, 90_000]);
            for fault in faults {
                registry.inject(fault);
            }
            let (client, _) = client(|_| {});
            let (_place, store) = store();
            image.keep(&store);
            let target = reference(&format!("{}/team/app:1", registry.host()));
            let request = PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
            let push = client.push(&target, &store, request);
            let result = tokio::time::timeout(LIMIT, push).await.unwrap_or_else(|_| panic!("{name}: hangs"));
            if result.is_ok() {
                assert_eq!(registry.tagged("team/app", "1").as_ref(), Some(&image.manifest.raw), "{name}");
                for blob in image.layers.iter().chain([&image.config]) {
                    assert_eq!(registry.blob("team/app", &Digest::of(blob)).as_ref(), Some(blob), "{name}");
                }
            } else if !name.contains("another digest") {
                assert_eq!(registry.tagged("team/app", "1"), None, "{name}: a tag of half an image");
            }
            judge(name, result.map(drop), &expect);
        });
    }
    while let Some(result) = running.join_next().await {
        result.unwrap();
    }
    assert!(count >= 27, "{count}");
}

fn bearer(lifetime: u64, anonymous_pull: bool) -> Access {
    Access::Bearer {
        user: "jane".to_owned(),
        password: "secret".to_owned(),
        lifetime: Duration::from_secs(lifetime),
        anonymous_pull,
    }
}

fn auths(host: &str, entry: &str) -> String {
    format!("{{\"auths\":{{\"{host}\":{entry}}}}}")
}

const RIGHT: &str = "{\"auth\":\"amFuZTpzZWNyZXQ=\"}";
const WRONG: &str = "{\"auth\":\"amFuZTp3cm9uZw==\"}";

#[tokio::test]
async fn redirected_blobs_see_no_credentials() {
    for status in [301, 302, 303, 307, 308] {
        let (registry, storage) =
            (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
        let image = Image::new(7, &[100_000]);
        image.serve(&registry, "team/app", "1");
        image.serve(&storage, "team/app", "1");
        registry.set_access(bearer(300, false));
        for blob in image.layers.iter().chain([&image.config]) {
            let path = format!("/v2/team/app/blobs/{}", Digest::of(blob));
            let to = storage.url(&format!("{path}?signature=a%2Fb+c"));
            registry.inject(Fault::on("GET", &path).after(0).always(Action::redirect(status, &to)));
        }
        let (client, _) =
            client(|settings| settings.credentials.inline = Some(auths(&registry.host(), RIGHT)));
        let (_place, store) = store();
        let name = reference(&format!("{}/team/app:1", registry.host()));
        client.pull(&name, &platform(), &store).await.unwrap();
        assert!(image.is_in(&store));
        let requests = storage.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(request.header("authorization"), None);
            assert!(request.path.ends_with("?signature=a%2Fb+c"), "{}", request.path);
            assert_eq!(request.header("accept-encoding"), None);
        }
        assert!(registry.requests().iter().any(|request| request.header("authorization").is_some()));
    }
}

#[tokio::test]
async fn an_upload_elsewhere_sees_no_credentials() {
    let (registry, storage) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    registry.set_access(Access::Basic { user: "jane".to_owned(), password: "secret".to_owned() });
    let place = Fault::on("POST", "/blobs/uploads/");
    registry.inject(place.after(1).always(Action::with_header(
        202,
        "Location",
        &storage.url("/upload?key=1"),
    )));
    storage.inject(Fault::on("PUT", "/upload").always(Action::status(201, "")));
    let image = Image::new(8, &[1000]);
    let (_place, store) = store();
    image.keep(&store);
    let (client, _) = client(|settings| settings.credentials.inline = Some(auths(&registry.host(), RIGHT)));
    let request = PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
    client.push(&reference(&format!("{}/a/b:1", registry.host())), &store, request).await.unwrap();
    let requests = storage.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.header("authorization"), None);
        assert!(request.path.starts_with("/upload?key=1&digest=sha256%3A"), "{}", request.path);
    }
}

#[tokio::test]
async fn a_head_that_storage_forbids_is_asked_as_a_get() {
    let (registry, storage) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    let image = Image::new(9, &[1000]);
    image.serve(&registry, "a/b", "0");
    image.serve(&storage, "a/b", "0");
    storage.inject(Fault::on("HEAD", "").always(Action::status(403, "<Error/>")));
    for blob in image.layers.iter().chain([&image.config]) {
        let path = format!("/v2/a/b/blobs/{}", Digest::of(blob));
        registry.inject(Fault::on("", &path).always(Action::redirect(307, &storage.url(&path))));
    }
    let (_place, store) = store();
    image.keep(&store);
    let (client, _) = client(|_| {});
    // Another manifest, so that blobs are asked for one by one.
    let mut manifest = image.manifest.clone();
    manifest.raw.push(b'\n');
    let request = PushRequest { manifests: vec![manifest], ..PushRequest::default() };
    let pushed =
        client.push(&reference(&format!("{}/a/b:1", registry.host())), &store, request).await.unwrap();
    assert_eq!((pushed.skipped, pushed.uploads), (2, 0));
}

#[tokio::test]
async fn tokens_are_fetched_once_and_again_when_they_end() {
    let registry = TestRegistry::start().await.unwrap();
    registry.set_access(bearer(300, true));
    let image = Image::new(10, &[1000, 2000, 3000, 4000]);
    image.serve(&registry, "team/app", "1");
    let tokens = |registry: &TestRegistry| {
        registry.requests().iter().filter(|request| request.path.starts_with("/token")).count()
    };
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let (patient, _) = client(|_| {});
    let (_place, to) = store();
    patient.pull(&name, &platform(), &to).await.unwrap();
    assert_eq!(tokens(&registry), 1);
    // One refusal, then each request once.
    assert_eq!(registry.count(), 7);

    // A token that ends at once is renewed wherever it has to be.
    registry.set_access(bearer(1, true));
    registry.forget();
    let (hasty, _) = client(|_| {});
    for (n, layer) in image.layers.iter().enumerate() {
        let descriptor = Descriptor::new(media_type::OCI_LAYER, Digest::of(layer), layer.len() as u64);
        assert_eq!(hasty.blob(&name, &descriptor, 1 << 20).await.unwrap(), *layer);
        if n < 2 {
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
    assert_eq!(tokens(&registry), 3);
}

#[tokio::test]
async fn a_token_that_the_registry_refuses_is_replaced_once() {
    let registry = TestRegistry::start().await.unwrap();
    registry.set_access(bearer(300, true));
    let image = Image::new(11, &[1000]);
    image.serve(&registry, "team/app", "1");
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let (client, _) = client(|_| {});
    client.manifest(&name).await.unwrap();
    // A storm: every token is refused.
    registry.forget();
    let challenge = format!("Bearer realm=\"{}\",service=\"test\"", registry.url("/token"));
    registry.inject(Fault::on("GET", "/manifests/").always(Action::with_header(
        401,
        "WWW-Authenticate",
        &challenge,
    )));
    let error = client.manifest(&name).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(registry.requests().len() <= 6, "{}", registry.requests().len());
}

#[tokio::test]
async fn credentials_decide() {
    let host_of = |registry: &TestRegistry| registry.host();
    // (access, entry of the auth file, whether a pull works, whether a push works, what the hint says)
    let cases = [
        (bearer(300, true), None, true, false, "without credentials"),
        (bearer(300, true), Some(RIGHT), true, true, ""),
        (bearer(300, false), None, false, false, "asked for repository:team/app:pull,push"),
        (bearer(300, false), Some(RIGHT), true, true, ""),
        (bearer(300, true), Some(WRONG), true, false, ""),
        (bearer(300, false), Some(WRONG), false, false, ""),
        (bearer(300, false), Some("{\"identitytoken\":\"secret\"}"), true, true, ""),
        (bearer(300, false), Some("{\"identitytoken\":\"stale\"}"), false, false, ""),
        (
            Access::Basic { user: "jane".to_owned(), password: "secret".to_owned() },
            Some(RIGHT),
            true,
            true,
            "",
        ),
        (
            Access::Basic { user: "jane".to_owned(), password: "secret".to_owned() },
            Some(WRONG),
            false,
            false,
            "user `jane` from DOCKER_AUTH_CONFIG",
        ),
        (
            Access::Basic { user: "jane".to_owned(), password: "secret".to_owned() },
            None,
            false,
            false,
            "without credentials",
        ),
        (Access::Open, Some(WRONG), true, true, ""),
    ];
    for (n, (access, entry, pulls, pushes, hint)) in cases.into_iter().enumerate() {
        let registry = TestRegistry::start().await.unwrap();
        let image = Image::new(20 + n as u64, &[1000]);
        image.serve(&registry, "team/app", "1");
        registry.set_access(access);
        let (client, reporter) = client(|settings| {
            settings.credentials.inline = entry.map(|entry| auths(&host_of(&registry), entry));
        });
        let name = reference(&format!("{}/team/app:1", registry.host()));
        let (_place, to) = store();
        let pulled = client.pull(&name, &platform(), &to).await;
        assert_eq!(pulled.is_ok(), pulls, "case {n}: {:?}", pulled.err().map(|error| full(&error)));
        let new = Image::new(50 + n as u64, &[1000]);
        new.keep(&to);
        let request = PushRequest { manifests: vec![new.manifest.clone()], ..PushRequest::default() };
        let pushed = client.push(&name.with_tag("2").unwrap(), &to, request).await;
        assert_eq!(pushed.is_ok(), pushes, "case {n}: {:?}", pushed.err().map(|error| full(&error)));
        if let Err(error) = pushed {
            let said = format!("{} / {}", full(&error), error.hint().unwrap_or_default());
            assert!(said.contains(hint), "case {n}: {said}");
            assert!(
                !said.contains("secret") && !said.contains("wrong") && !said.contains("amFuZ"),
                "case {n}: {said}"
            );
        }
        if pulls && entry == Some(WRONG) && n == 4 {
            assert!(reporter.notices().contains("going on without credentials"), "{}", reporter.notices());
        }
    }
}

#[tokio::test]
async fn tags_come_in_pages() {
    let registry = TestRegistry::start().await.unwrap();
    for tag in ["b", "a", "e", "d", "c"] {
        registry.put_manifest("team/app", Some(tag), media_type::OCI_MANIFEST, b"{}");
    }
    registry.set_page(2);
    let (client, _) = client(|_| {});
    let name = reference(&format!("{}/team/app", registry.host()));
    assert_eq!(client.tags(&name).await.unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(registry.count(), 3);
    let link = |to: &str| Action::Header("Link", format!("<{to}>; rel=\"next\""));
    for (to, message) in [
        ("/v2/team/app/tags/list?last=a", "circle"),
        ("https://evil.example/", "another host"),
        ("http://[", "no address"),
    ] {
        let registry = TestRegistry::start().await.unwrap();
        registry.put_manifest("team/app", Some("a"), media_type::OCI_MANIFEST, b"{}");
        registry.inject(Fault::on("GET", "/tags/list").always(link(to)));
        let name = reference(&format!("{}/team/app", registry.host()));
        let error = client.tags(&name).await.unwrap_err();
        assert!(full(&error).contains(message), "{}", full(&error));
    }
    for (body, expected) in [
        ("{\"tags\":null}", Some(0)),
        ("{\"tags\":[\"x\",\"x\"]}", Some(1)),
        ("<html>", None),
        ("{}", Some(0)),
    ] {
        let registry = TestRegistry::start().await.unwrap();
        registry.inject(Fault::on("GET", "/tags/list").always(Action::status(200, body)));
        let name = reference(&format!("{}/team/app", registry.host()));
        assert_eq!(client.tags(&name).await.ok().map(|tags| tags.len()), expected, "{body}");
    }
}

#[tokio::test]
async fn requests_are_few() {
    let registry = TestRegistry::start().await.unwrap();
    let image = Image::new(30, &[1000, 2000, 3000, 4000]);
    let (_place, from) = store();
    image.keep(&from);
    let (client, _) = client(|_| {});
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let request = || PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
    client.push(&name, &from, request()).await.unwrap();
    assert!(registry.count() <= 17, "{}", registry.count());
    registry.forget();
    client.push(&name, &from, request()).await.unwrap();
    assert!(registry.count() <= 3, "{}", registry.count());
    registry.forget();
    let (_place, to) = store();
    client.pull(&name, &platform(), &to).await.unwrap();
    assert!(registry.count() <= 7, "{}", registry.count());
    registry.forget();
    client.push(&reference(&format!("{}/team/sibling:1", registry.host())), &from, request()).await.unwrap();
    assert_eq!(
        registry
            .requests()
            .iter()
            .filter(|request| request.path.contains("/blobs/"))
            .map(|request| request.received)
            .sum::<u64>(),
        0
    );
    registry.forget();
    client.pull(&name.with_digest(image.manifest.digest()), &platform(), &to).await.unwrap();
    assert_eq!(registry.count(), 0, "what is there is not asked for");
}

#[tokio::test]
async fn a_mount_that_opens_a_session_uses_it() {
    let registry = TestRegistry::start().await.unwrap();
    let image = Image::new(31, &[5000]);
    let (_place, from) = store();
    image.keep(&from);
    let (client, _) = client(|_| {});
    let origin = reference(&format!("{}/gone/repo", registry.host()));
    let origins =
        image.layers.iter().chain([&image.config]).map(|blob| (Digest::of(blob), origin.clone())).collect();
    let request = PushRequest { manifests: vec![image.manifest.clone()], origins, ..PushRequest::default() };
    let pushed =
        client.push(&reference(&format!("{}/a/b:1", registry.host())), &from, request).await.unwrap();
    assert_eq!(pushed.uploads, 2);
    // HEAD of the manifest, two of POST and PUT, the manifest.
    assert_eq!(registry.count(), 6);
}

#[tokio::test]
async fn a_blob_that_is_not_here_is_fetched_from_where_it_is() {
    let (origin, target) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    let image = Image::new(32, &[5000]);
    image.serve(&origin, "base/image", "1");
    let (_place, store) = store();
    let (client, _) = client(|_| {});
    let name = reference(&format!("{}/a/b:1", target.host()));
    let request = PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
    let error = client.push(&name, &store, request).await.unwrap_err();
    assert!(matches!(error, Error::NothingToPush { .. }), "{error}");
    let from = reference(&format!("{}/base/image", origin.host()));
    let origins =
        image.layers.iter().chain([&image.config]).map(|blob| (Digest::of(blob), from.clone())).collect();
    let request = PushRequest { manifests: vec![image.manifest.clone()], origins, ..PushRequest::default() };
    client.push(&name, &store, request).await.unwrap();
    assert_eq!(target.tagged("a/b", "1"), Some(image.manifest.raw));
}

#[tokio::test]
async fn an_index_is_followed_to_the_platform() {
    let registry = TestRegistry::start().await.unwrap();
    let (one, two) = (Image::new(40, &[100]), Image::new(41, &[100]));
    let mut entries = Vec::new();
    for (image, platform) in [(&one, "linux/arm64"), (&two, "linux/amd64")] {
        image.serve(&registry, "team/app", "part");
        let mut descriptor = image.manifest.descriptor();
        descriptor.platform = Some(platform.parse().unwrap());
        entries.push(descriptor);
    }
    let index = Manifest::index(entries, std::collections::BTreeMap::new());
    registry.put_manifest("team/app", Some("all"), &index.media_type, &index.raw);
    let (client, _) = client(|_| {});
    let name = reference(&format!("{}/team/app:all", registry.host()));
    let resolved = client.resolve(&name, &platform()).await.unwrap();
    assert_eq!(resolved.manifest, two.manifest);
    assert_eq!(resolved.reference.digest(), Some(index.digest()));
    assert_eq!(resolved.index, Some(index.clone()));
    assert_eq!(resolved.descriptor.platform, Some(platform()));
    let error = client.resolve(&name, &"linux/s390x".parse().unwrap()).await.unwrap_err();
    assert!(
        error.to_string().contains("no image for linux/s390x, only for linux/arm64, linux/amd64"),
        "{error}"
    );
    // Whole, to another place.
    let (_place, store) = store();
    for image in [&one, &two] {
        image.keep(&store);
    }
    let target = TestRegistry::start().await.unwrap();
    let request =
        PushRequest { manifests: vec![one.manifest, two.manifest, index.clone()], ..PushRequest::default() };
    client.push(&reference(&format!("{}/x/y:all", target.host())), &store, request).await.unwrap();
    assert_eq!(target.tagged("x/y", "all"), Some(index.raw));
}

#[tokio::test]
async fn a_download_goes_on_after_it_was_dropped() {
    let registry = TestRegistry::start().await.unwrap();
    let image = Image::new(42, &[3_000_000]);
    image.serve(&registry, "team/app", "1");
    registry.inject(Fault::on("GET", "/blobs/").once(Action::StallAfter(2_000_000)));
    let (_place, store) = store();
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let descriptor = Descriptor::new(media_type::OCI_LAYER, Digest::of(&image.layers[0]), 3_000_000);
    let (client, _) = client(|settings| settings.idle_timeout = Duration::from_secs(60));
    let fetch = client.fetch(&name, &descriptor, &store, |_| {});
    assert!(tokio::time::timeout(Duration::from_millis(500), fetch).await.is_err());
    registry.forget();
    let mut offset = 0;
    client.fetch(&name, &descriptor, &store, |ingest| offset = ingest.offset()).await.unwrap();
    assert!(offset >= 1_500_000, "{offset}");
    assert!(registry.sent() <= 1_500_000, "{}", registry.sent());
    assert_eq!(store.read_blob(&descriptor.digest, 1 << 22).unwrap(), image.layers[0]);
}

#[tokio::test]
async fn a_login_is_tried_for_what_it_is() {
    let basic = Access::Basic { user: "jane".to_owned(), password: "secret".to_owned() };
    for (access, password, accepted) in [
        (basic.clone(), "secret", true),
        (basic, "wrong", false),
        (bearer(300, true), "secret", true),
        // Anybody may pull there, which must not pass for a login.
        (bearer(300, true), "wrong", false),
        (bearer(300, false), "wrong", false),
    ] {
        let registry = TestRegistry::start().await.unwrap();
        registry.set_access(access.clone());
        let (client, _) = client(|_| {});
        let result = client.try_login(&registry.host(), "jane", password).await;
        assert_eq!(result.is_ok(), accepted, "{access:?} {password} {:?}", result.err());
    }
}

#[tokio::test]
async fn referrers_are_listed_by_the_registry_or_by_a_tag() {
    const OCI: &str = media_type::OCI_MANIFEST;
    for own_list in [true, false] {
        let registry = TestRegistry::start().await.unwrap();
        let image = Image::new(60, &[10]);
        image.serve(&registry, "a/b", "1");
        let subject = image.manifest.digest();
        let artifact = |kind: &str| {
            let json = serde_json::json!({ "schemaVersion": 2, "artifactType": kind, "subject": { "digest": subject } });
            registry.put_manifest("a/b", None, OCI, json.to_string().as_bytes())
        };
        let (sbom, signature) = (artifact("application/sbom"), artifact("application/signature"));
        if own_list {
            registry.serve_referrers();
        } else {
            let entry = |digest: Digest, kind: &str| serde_json::json!({ "mediaType": OCI, "digest": digest, "size": 1, "artifactType": kind });
            let index = serde_json::json!({ "schemaVersion": 2, "manifests": [
                entry(sbom, "application/sbom"), entry(signature, "application/signature"), entry(sbom, "application/sbom"),
            ] });
            let tag = format!("sha256-{}", subject.hex());
            registry.put_manifest("a/b", Some(&tag), media_type::OCI_INDEX, index.to_string().as_bytes());
        }
        let (client, _) = client(|_| {});
        let name = reference(&format!("{}/a/b:1", registry.host()));
        assert_eq!(client.referrers(&name, subject, None).await.unwrap().len(), 2);
        let found = client.referrers(&name, subject, Some("application/sbom")).await.unwrap();
        assert_eq!(found.iter().map(|one| one.descriptor.digest).collect::<Vec<_>>(), [sbom]);
        assert!(client.referrers(&name, sbom, None).await.unwrap().is_empty());
    }
}
