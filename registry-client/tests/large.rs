//! Large blobs: over several connections, in chunks, and going on after cuts and restarts.

mod support;

use std::time::Duration;

use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest};
use registry_client::PushRequest;
use registry_client::testing::{Action, Fault, TestRegistry};
use support::{Image, client, noise, reference, store};

const MIB: usize = 1 << 20;

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::of(bytes), bytes.len() as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_connection_is_not_alone() {
    let registry = TestRegistry::start().await.unwrap();
    let bytes = noise(1, 40 * MIB);
    registry.put_blob("team/app", &bytes);
    registry.inject(Fault::on("GET", "/blobs/").always(Action::Throttle(6_000_000)));
    let (client, _) = client(|settings| settings.idle_timeout = Duration::from_secs(10));
    let (_place, store) = store();
    let name = reference(&format!("{}/team/app:1", registry.host()));
    client.fetch(&name, &layer(&bytes), &store, |_| {}).await.unwrap();
    // Alone it would be one request.
    assert!(registry.count() > 5, "{}", registry.count());
    assert!(registry.sent() < (bytes.len() + 8 * MIB) as u64, "{}", registry.sent());
    assert_eq!(store.read_blob(&Digest::of(&bytes), 1 << 30).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_that_fail_leave_the_single_stream() {
    let mut running = tokio::task::JoinSet::new();
    for action in [
        Action::status(429, "slow down"),
        Action::status(403, ""),
        Action::IgnoreRange,
        Action::WrongRange,
        Action::CutAfter(70_000),
        Action::Header("Content-Range", "bytes 0-1/2".to_owned()),
    ] {
        running.spawn(ranges_fail_with(action));
    }
    while let Some(result) = running.join_next().await {
        result.unwrap();
    }
}

async fn ranges_fail_with(action: Action) {
    let registry = TestRegistry::start().await.unwrap();
    let bytes = noise(2, 28 * MIB);
    registry.put_blob("team/app", &bytes);
    registry.inject(Fault::on("GET", "/blobs/").once(Action::Throttle(8_000_000)));
    registry.inject(Fault::on("GET", "/blobs/").times(9, action.clone()));
    let (client, _) = client(|settings| settings.idle_timeout = Duration::from_secs(10));
    let (_place, store) = store();
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let result = client.fetch(&name, &layer(&bytes), &store, |_| {}).await;
    // The faults may outlast the ranges and meet the stream that goes on: then the answer is an error, never a
    // wrong byte.
    if let Err(error) = result {
        assert_eq!(store.blob_size(&Digest::of(&bytes)).unwrap(), None, "{action:?}: {error}");
        registry.heal();
        client.fetch(&name, &layer(&bytes), &store, |_| {}).await.unwrap();
    }
    assert_eq!(store.read_blob(&Digest::of(&bytes), 1 << 30).unwrap(), bytes, "{action:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_goes_on_after_cuts_and_restarts() {
    let registry = TestRegistry::start().await.unwrap();
    let size = 100 * MIB;
    let image = Image::new(3, &[size]);
    let (_place, store) = store();
    image.keep(&store);
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let request = || PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
    // Chunks are cut, and then the process ends.
    registry.inject(Fault::on("PATCH", "/uploads/").times(4, Action::CutUploadAfter(9_000_000)));
    registry.inject(Fault::on("PATCH", "/uploads/").after(1).always(Action::status(403, "")));
    let (first, _) = client(|settings| settings.idle_timeout = Duration::from_secs(10));
    first.push(&name, &store, request()).await.unwrap_err();
    let before = registry.received();
    assert!(before > 20 * MIB as u64, "{before}");

    registry.heal();
    let (second, _) = client(|settings| settings.idle_timeout = Duration::from_secs(10));
    second.push(&name, &store, request()).await.unwrap();
    assert_eq!(registry.blob("team/app", &Digest::of(&image.layers[0])).unwrap(), image.layers[0]);
    let total = registry.received();
    assert!(total < (size * 12 / 10) as u64, "{total} bytes for {size}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_limits_bodies_gets_chunks() {
    let registry = TestRegistry::start().await.unwrap();
    let image = Image::new(4, &[40 * MIB]);
    let (_place, store) = store();
    image.keep(&store);
    let layer = Digest::of(&image.layers[0]);
    registry
        .inject(Fault::on("PUT", &format!("digest=sha256%3A{}", layer.hex())).once(Action::status(413, "")));
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let (client, _) = client(|settings| settings.idle_timeout = Duration::from_secs(10));
    let request = PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
    client.push(&name, &store, request).await.unwrap();
    assert!(registry.requests().iter().any(|request| request.method == "PATCH"));
    assert_eq!(registry.blob("team/app", &layer).unwrap(), image.layers[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_cut_twenty_times_moves_little_twice() {
    let registry = TestRegistry::start().await.unwrap();
    let size = 64 * MIB;
    let bytes = noise(5, size);
    registry.put_blob("team/app", &bytes);
    let mut state = 7_u64;
    for _ in 0..20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        registry
            .inject(Fault::on("GET", "/blobs/").once(Action::CutAfter((state >> 33) % (6 * MIB as u64) + 1)));
    }
    let (client, _) = client(|_| {});
    let (_place, store) = store();
    let name = reference(&format!("{}/team/app:1", registry.host()));
    client.fetch(&name, &layer(&bytes), &store, |_| {}).await.unwrap();
    assert!(registry.sent() < (size * 12 / 10) as u64, "{}", registry.sent());
    assert_eq!(store.read_blob(&Digest::of(&bytes), 1 << 30).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_cut_twenty_times_moves_little_twice() {
    let registry = TestRegistry::start().await.unwrap();
    let size = 112 * MIB;
    let image = Image::new(6, &[size]);
    let (_place, store) = store();
    image.keep(&store);
    let mut state = 11_u64;
    for _ in 0..20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) % (16 * MIB as u64);
        registry.inject(Fault::on("PATCH", "/uploads/").once(Action::CutUploadAfter(at)));
    }
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let (client, _) = client(|settings| settings.idle_timeout = Duration::from_secs(20));
    let request = PushRequest { manifests: vec![image.manifest.clone()], ..PushRequest::default() };
    client.push(&name, &store, request).await.unwrap();
    assert_eq!(registry.blob("team/app", &Digest::of(&image.layers[0])).unwrap(), image.layers[0]);
    assert!(registry.received() < (size * 12 / 10) as u64, "{}", registry.received());
}
