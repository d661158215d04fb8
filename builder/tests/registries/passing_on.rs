//! Layers that are only passed on stay where they are: nothing is downloaded to be pushed where it is already.

use builder::attest::{Attestations, Provenance};
use builder::cache::{CachePlace, CacheTarget};
use builder::output::Output;
use layer_store::{Digest, Platform};
use registry_client::Reference;
use registry_client::testing::TestRegistry;

use crate::machine::{Machine, put_base, request};

/// The layers that were fetched since the registry forgot its requests: configurations are small, and come.
fn fetched(registry: &TestRegistry, layers: &[Digest]) -> Vec<String> {
    let requests = registry.requests().into_iter().filter(|request| request.method == "GET");
    let paths = requests.map(|request| request.path);
    paths.filter(|path| layers.iter().any(|layer| path.contains(&layer.to_string()))).collect()
}

/// The digests of the layers of the image that a tag names, or of all images of its index.
fn layers_of(registry: &TestRegistry, repository: &str, tag: &str) -> Vec<Digest> {
    let top: serde_json::Value = serde_json::from_slice(&registry.tagged(repository, tag).unwrap()).unwrap();
    let layers = top["layers"].as_array().into_iter().flatten();
    layers.map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_layer_is_pushed_without_being_fetched() {
    let registry = TestRegistry::start().await.unwrap();
    let base = put_base(&registry, "base");
    let dockerfile = format!("FROM {}/team/base:1\nCOPY --link <<EOF /own\nown\nEOF\n", registry.host());
    let amd64: Platform = "linux/amd64".parse().unwrap();
    let v3: Platform = "linux/amd64/v3".parse().unwrap();
    for (tag, platforms, attested) in [
        ("plain", vec![amd64.clone()], false),
        ("several", vec![amd64.clone(), v3], false),
        ("attested", vec![amd64], true),
    ] {
        registry.forget();
        let machine = Machine::new();
        let mut request = request(&dockerfile);
        let name = format!("{}/team/app:{tag}", registry.host());
        request.tags = vec![Reference::parse(&name).unwrap()];
        request.outputs = vec![Output::Registry];
        request.options.platforms = platforms;
        let provenance = attested.then(Provenance::default);
        request.attestations = Attestations { provenance, ..Attestations::default() };
        let built = machine.build(request).await.unwrap();
        assert_eq!(fetched(&registry, &[base]), [""; 0], "{tag}");
        assert!(registry.blob("team/app", &base).is_some(), "{tag}: it was mounted");
        assert_eq!(machine.engine.store.blob_size(&base).unwrap(), None, "{tag}: it is not here");
        let top = Digest::of(&registry.tagged("team/app", tag).unwrap());
        assert_eq!(built.manifest.unwrap().digest, top, "{tag}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_a_shared_cache_are_pushed_without_being_fetched() {
    let registry = TestRegistry::start().await.unwrap();
    let base = put_base(&registry, "base");
    let dockerfile =
        format!("FROM {}/team/base:1\nCOPY <<EOF /one\n1\nEOF\nCOPY <<EOF /two\n2\nEOF\n", registry.host());
    let named = |name: &str| Reference::parse(&format!("{}/{name}", registry.host())).unwrap();
    let place = CachePlace::Registry(named("team/cache:main"));
    let mut first = request(&dockerfile);
    first.cache.to = vec![CacheTarget::Place { place: place.clone(), all_steps: true }];
    first.tags = vec![named("team/first:1")];
    first.outputs = vec![Output::Registry];
    Machine::new().build(first).await.unwrap();

    registry.forget();
    let machine = Machine::new();
    let mut second = request(&dockerfile);
    second.cache.from = vec![place];
    second.tags = vec![named("team/second:1")];
    second.outputs = vec![Output::Registry];
    let built = machine.build(second).await.unwrap();
    assert_eq!((built.ran, machine.warnings.take()), (0, Vec::new()));
    let layers = layers_of(&registry, "team/second", "1");
    assert_eq!(layers, layers_of(&registry, "team/first", "1"));
    assert_eq!((layers.len(), layers[0]), (3, base));
    assert_eq!(fetched(&registry, &layers), [""; 0]);
    // What is in the store is enough for another push, too: all of it is where it goes.
    registry.forget();
    let mut again = request(&dockerfile);
    again.tags = vec![named("team/second:1")];
    again.outputs = vec![Output::Registry];
    again.cache.from = vec![CachePlace::Registry(named("team/cache:main"))];
    machine.build(again).await.unwrap();
    assert_eq!(fetched(&registry, &layers), [""; 0]);
}
