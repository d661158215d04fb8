//! Answers that are few, come in pages, or lead elsewhere.

use std::time::Duration;

use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest, Manifest};
use registry_client::testing::{Access, Action, Fault, TestRegistry};
use registry_client::{Error, PushRequest};

use crate::credentials::bearer;
use crate::platform;
use crate::support::{Image, client, reference, store};

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
        assert!(layer_store::error::chain(&error).contains(message), "{}", layer_store::error::chain(&error));
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
