//! Shared caches that are slow: whatever a registry does, the build ends, and with the right image.

use std::time::Duration;

use builder::cache::{CachePlace, CacheSettings, CacheTarget};
use builder::output::Output;
use registry_client::Reference;
use registry_client::testing::{Action, Fault, TestRegistry};

use crate::machine::{Machine, request};

const DOCKERFILE: &str =
    "FROM scratch AS a\nCOPY <<EOF /one\none\nEOF\nFROM scratch\nCOPY --from=a /one /two\n";

/// Builds with these caches, which are soon lost patience with: what is in `/two`, and the warnings.
async fn build(machine: &Machine, from: Option<&Reference>, to: Option<&Reference>) -> (String, Vec<String>) {
    let place = |reference: &Reference| CachePlace::Registry(reference.clone());
    let target = |reference| CacheTarget::Place { place: place(reference), all_steps: true };
    let mut request = request(DOCKERFILE);
    let out = machine.directory.path().join("out");
    request.outputs = vec![Output::Local { dest: out.clone() }];
    request.cache = CacheSettings {
        from: from.map(place).into_iter().collect(),
        to: to.map(target).into_iter().collect(),
        patience: Duration::from_millis(400),
        ..CacheSettings::default()
    };
    machine.build(request).await.unwrap();
    (std::fs::read_to_string(out.join("two")).unwrap(), machine.warnings.take())
}

async fn registry() -> (TestRegistry, Reference) {
    let registry = TestRegistry::start().await.unwrap();
    let cache = Reference::parse(&format!("{}/team/cache:main", registry.host())).unwrap();
    (registry, cache)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_never_answers_is_given_up() {
    let (registry, cache) = registry().await;
    build(&Machine::new(), None, Some(&cache)).await;
    let warm = build(&Machine::new(), Some(&cache), None).await;
    assert_eq!(warm, ("one\n".to_owned(), Vec::new()));
    let late = Action::Delay(Duration::from_secs(30));
    for (at, action) in [
        // A question has no answer, or half of one; the layer of a record that was found stops on its way.
        ("/v2/", late.clone()),
        ("/manifests/main", late.clone()),
        ("/manifests/main", Action::StallAfter(10)),
        ("/blobs/", late.clone()),
        ("/blobs/", Action::StallAfter(2)),
    ] {
        registry.heal();
        registry.inject(Fault::on("GET", at).always(action.clone()));
        let (two, warnings) = build(&Machine::new(), Some(&cache), None).await;
        assert_eq!(two, "one\n", "{at} {action:?}");
        let [warning] = warnings.as_slice() else { panic!("{at} {action:?}: {warnings:?}") };
        assert!(warning.contains("is not used: ") && warning.contains("no answer"), "{warning}");
    }
    // Only the layers stop: the records are small and come.
    registry.heal();
    let layers = registry.requests();
    let layer =
        layers.iter().rev().find(|request| request.method == "GET" && request.path.contains("/blobs/"));
    let path = layer.unwrap().path.clone();
    registry.inject(Fault::on("GET", &path).always(Action::StallAfter(2)));
    let (two, warnings) = build(&Machine::new(), Some(&cache), None).await;
    assert_eq!((two.as_str(), warnings.len()), ("one\n", 1), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_takes_nothing_is_given_up() {
    for (method, at) in [("GET", "/manifests/"), ("POST", "/uploads/"), ("PUT", "/"), ("", "/v2/")] {
        let (registry, cache) = registry().await;
        registry.inject(Fault::on(method, at).always(Action::Delay(Duration::from_secs(30))));
        let (two, warnings) = build(&Machine::new(), None, Some(&cache)).await;
        assert_eq!(two, "one\n");
        let [warning] = warnings.as_slice() else { panic!("{method} {at}: {warnings:?}") };
        assert!(warning.contains("is not written: there was no answer"), "{warning}");
    }
}
