//! Downloads that go wrong.

use std::time::Duration;

use layer_store::Digest;
use layer_store::manifest::media_type;
use registry_client::testing::{Action, Fault, TestRegistry};

use crate::Expect::{Fails, Fine};
use crate::support::{Image, client, reference, store};
use crate::{Expect, LIMIT, judge, platform};

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
            manifests(Action::Append(vec![b' '; 17 << 20])),
            Fails("more than 16777216 bytes"),
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
            Fails("more than 16777216 bytes"),
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
