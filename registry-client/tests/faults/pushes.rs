//! Uploads that go wrong.

use std::time::Duration;

use layer_store::Digest;
use registry_client::PushRequest;
use registry_client::testing::{Action, Fault, TestRegistry};

use crate::Expect::{Fails, Fine};
use crate::support::{Image, client, reference, store};
use crate::{Expect, LIMIT, judge};

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
