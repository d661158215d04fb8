//! When registries are asked for base images that are here.

use builder::resolve::Pull;
use registry_client::testing::{Action, Fault, TestRegistry};

use crate::machine::{Machine, put_base, request};

/// What a build of the base image alone gives: the diffID of its layer, or the error.
async fn build(machine: &Machine, registry: &TestRegistry, pull: Pull) -> Result<String, String> {
    let mut request = request(&format!("FROM {}/team/base:1\nLABEL a=b\n", registry.host()));
    request.pull = pull;
    let built = machine.build(request).await.map_err(|error| layer_store::error::chain(&error))?;
    Ok(built.images[0].config.rootfs.diff_ids[0].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_asked_when_it_should_be() {
    let registry = TestRegistry::start().await.unwrap();
    let old = put_base(&registry, "old").to_string();
    let machine = Machine::new();
    let error = build(&machine, &registry, Pull::Never).await.unwrap_err();
    assert!(error.contains("team/base") && registry.count() == 0, "{error}");
    for pull in [Pull::Missing, Pull::Missing, Pull::Never] {
        assert_eq!(build(&machine, &registry, pull).await, Ok(old.clone()), "{pull:?}");
    }
    // The tag moves. Who does not ask does not see it.
    let new = put_base(&registry, "new").to_string();
    registry.forget();
    for pull in [Pull::Missing, Pull::Never] {
        assert_eq!(build(&machine, &registry, pull).await, Ok(old.clone()), "{pull:?}");
    }
    assert_eq!(registry.count(), 0);
    // The registry is out of order: who has to ask fails, who wants news is content with what is here.
    registry.inject(Fault::on("", "/v2/").always(Action::status(503, "")));
    assert_eq!(build(&machine, &registry, Pull::Newer).await, Ok(old.clone()));
    assert!(registry.count() > 0);
    build(&machine, &registry, Pull::Always).await.unwrap_err();
    registry.heal();
    let other = Machine::new();
    for (machine, pull) in [(&machine, Pull::Newer), (&other, Pull::Always), (&machine, Pull::Missing)] {
        assert_eq!(build(machine, &registry, pull).await, Ok(new.clone()), "{pull:?}");
    }
    // An image that is gone is no news: what is here stays good.
    registry.inject(Fault::on("", "/manifests/").always(Action::status(404, "")));
    assert_eq!(build(&machine, &registry, Pull::Newer).await, Ok(new));
    build(&machine, &registry, Pull::Always).await.unwrap_err();
}
