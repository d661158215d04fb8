//! The dependency direction of the design: cli -> builder -> registry-client -> layer-store.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

const ALLOWED: [(&str, &[&str]); 5] = [
    ("layer-store", &[]),
    ("registry-client", &["layer-store"]),
    ("builder", &["layer-store", "registry-client"]),
    ("cli", &["layer-store", "registry-client", "builder"]),
    ("xtask", &[]),
];

/// What a crate never knows: its own words in the design, as crates.
const FORBIDDEN: [(&str, &[&str]); 3] = [
    ("layer-store", &["tokio", "reqwest", "clap", "indicatif", "anstream", "futures-util"]),
    ("registry-client", &["tar", "clap", "indicatif", "anstream"]),
    ("builder", &["reqwest", "clap", "indicatif", "anstream", "annotate-snippets"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let members = metadata.workspace_packages();
    members
        .iter()
        .map(|package| {
            let own = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), own)
        })
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let dependencies = dependencies();
    let members: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    assert_eq!(
        members,
        ALLOWED.iter().map(|(name, _)| *name).collect(),
        "a new crate needs its place in the design"
    );
    for (name, allowed) in ALLOWED {
        for dependency in dependencies[name].iter().filter(|one| members.contains(one.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn crates_do_not_know_what_they_must_not() {
    let dependencies = dependencies();
    for (name, forbidden) in FORBIDDEN {
        for crate_name in forbidden {
            assert!(!dependencies[name].contains(*crate_name), "{name} must not depend on {crate_name}");
        }
    }
}
