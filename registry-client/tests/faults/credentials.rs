//! Who sees which credentials, and what becomes of tokens.

use std::time::Duration;

use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest};
use registry_client::PushRequest;
use registry_client::testing::{Access, Action, Fault, TestRegistry};

use crate::platform;
use crate::support::{Image, client, reference, store};

pub(crate) fn bearer(lifetime: u64, anonymous_pull: bool) -> Access {
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
        assert_eq!(
            pulled.is_ok(),
            pulls,
            "case {n}: {:?}",
            pulled.err().map(|error| layer_store::error::chain(&error))
        );
        let new = Image::new(50 + n as u64, &[1000]);
        new.keep(&to);
        let request = PushRequest { manifests: vec![new.manifest.clone()], ..PushRequest::default() };
        let pushed = client.push(&name.with_tag("2").unwrap(), &to, request).await;
        assert_eq!(
            pushed.is_ok(),
            pushes,
            "case {n}: {:?}",
            pushed.err().map(|error| layer_store::error::chain(&error))
        );
        if let Err(error) = pushed {
            let said =
                format!("{} / {}", layer_store::error::chain(&error), error.hint().unwrap_or_default());
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
