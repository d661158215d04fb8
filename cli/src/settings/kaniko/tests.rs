use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: KanikoArgs,
}

fn meant(line: &str, variables: &[(&str, &str)]) -> Result<KanikoBuild, String> {
    let words = std::iter::once("kaniko").chain(line.split_whitespace());
    let args = Line::try_parse_from(words).map_err(|error| error.to_string())?.args;
    let environment = Environment::fake(true, variables);
    read(&args, &GlobalArgs::default(), &environment).map_err(|error| error.to_string())
}

#[track_caller]
fn build(line: &str) -> BuildArgs {
    meant(line, &[]).unwrap().build
}

#[test]
fn contexts() {
    let check = |line: &str, context: &str, file: Option<&str>| {
        let build = build(&format!("--no-push {line}"));
        assert_eq!(build.context, context, "{line}");
        assert_eq!(build.file.as_deref(), file, "{line}");
    };
    check("", "/workspace", None);
    check("--context dir:///src -f docker/Dockerfile", "/src", Some("docker/Dockerfile"));
    check("--context=/src --context-sub-path=a/b", "/src/a/b", None);
    check("--context tar:///a.tar.gz", "tar:///a.tar.gz", None);
    check("--context tar://stdin --dockerfile other", "-", Some("other"));
    check("--context https://h.example/a.tar.gz", "https://h.example/a.tar.gz", None);
    let git = "--context git://h.example/team/app";
    let remote = "https://h.example/team/app.git";
    check(git, &format!("{remote}?submodules=false"), None);
    check(&format!("{git}.git#refs/heads/main#0123"), &format!("{remote}?submodules=false#0123"), None);
    let options = "--git branch=dev --git recurse-submodules=true --git single-branch=true";
    check(&format!("{git} --context-sub-path /a {options}"), &format!("{remote}#dev:a"), None);
    for line in [
        "--context s3://bucket/a.tar.gz",
        "--context tar:///a.tar --context-sub-path a",
        "--context git://h.example/a --git branch",
        "--context git://h.example/a --git depth=1",
        "--context git://h.example/a --git insecure-skip-tls=true",
    ] {
        assert!(meant(&format!("--no-push {line}"), &[]).is_err(), "{line}");
    }
}

#[test]
fn a_repository_knows_who_asks() {
    let header = |line: &str, variables: &[(&str, &str)]| {
        let meant = meant(&format!("--no-push {line}"), variables).unwrap();
        let text = meant.environment.text("KANIKO_GIT_AUTH_HEADER").map(str::to_owned);
        (meant.build.secret, text)
    };
    let known = |host: &str, text: &str| {
        (vec![format!("id=GIT_AUTH_HEADER.{host},env=KANIKO_GIT_AUTH_HEADER")], Some(text.to_owned()))
    };
    let nobody = (Vec::new(), None);
    let git = "--context git://h.example:8443/team/app#refs/heads/main";
    // `secret:`, `me:pass`, `me:`
    assert_eq!(
        header(git, &[("GIT_TOKEN", "secret"), ("GIT_USERNAME", "me")]),
        known("h.example:8443", "Basic c2VjcmV0Og==")
    );
    assert_eq!(
        header(git, &[("GIT_USERNAME", "me"), ("GIT_PASSWORD", "pass")]),
        known("h.example:8443", "Basic bWU6cGFzcw==")
    );
    assert_eq!(
        header("--context git://me@h.example", &[("GIT_USERNAME", "me")]),
        known("h.example", "Basic bWU6")
    );
    assert_eq!(header(git, &[]), nobody);
    assert_eq!(header("--context https://h.example/a.tar", &[("GIT_TOKEN", "secret")]), nobody);
}

#[test]
fn what_is_pushed_and_written() {
    let outputs = |line: &str| build(line).output;
    assert_eq!(outputs("-d r.example/a:1 -d r.example/b"), ["type=registry"]);
    assert_eq!(
        outputs("-d a --tarPath=/o/a.tar --oci-layout-path /o/l --compression zstd --compression-level=3"),
        [
            "type=oci,tar=false,\"dest=/o/l\",compression=zstd,compression-level=3",
            "type=docker,\"dest=/o/a.tar\",compression=zstd,compression-level=3",
            "type=registry,compression=zstd,compression-level=3",
        ]
    );
    assert!(outputs("--no-push -d a --compression-level=-1").is_empty());
    assert!(meant("", &[("KANIKO_NO_PUSH", "true")]).is_ok_and(|meant| meant.build.output.is_empty()));
    let two = meant("-d a -d r.example/b:2", &[]).unwrap();
    assert_eq!(two.build.tag, ["a", "r.example/b:2"]);
    assert_eq!(two.destinations[0].canonical(), "docker.io/library/a:latest");
    for line in ["", "--no-push --image-name-with-digest-file f", "-d r.example/a@sha256:00", "-d A"] {
        assert!(meant(line, &[]).is_err(), "{line}");
    }
}

#[test]
fn caches() {
    let cached = build("-d r.example/team/app:1 --cache");
    assert_eq!(cached.cache_from, ["type=registry,\"ref=r.example/team/app/cache\""]);
    assert_eq!(cached.cache_to, ["type=registry,\"ref=r.example/team/app/cache\",mode=max"]);
    assert_eq!(cached.cache_ttl.as_deref(), Some("336h"));
    let read = build("--no-push --cache=true --cache-repo oci:/c --no-push-cache --cache-ttl 6h");
    assert_eq!(read.cache_from, ["type=local,\"src=/c\""]);
    assert!(read.cache_to.is_empty() && !read.no_cache);
    assert_eq!(read.cache_ttl.as_deref(), Some("6h"));
    let usual = build("--no-push");
    assert!(usual.cache_from.is_empty() && usual.cache_ttl.is_none() && !usual.no_cache);
    assert!(build("--no-push --cache=false").no_cache);
    assert!(build("--no-push --cache-run-layers=false").no_cache);
    assert!(meant("--no-push --cache", &[]).is_err());
}

#[test]
fn arguments_of_the_build() {
    let variables = [("SET", "value")];
    let meant =
        meant("--no-push --build-arg A=b --build-arg SET --build-arg UNSET --reproducible", &variables)
            .unwrap();
    assert_eq!(meant.build.build_arg, ["A=b", "SET=value", "UNSET="]);
    assert_eq!(meant.environment.text("SOURCE_DATE_EPOCH"), Some("0"));
    let build =
        build("--no-push --single-snapshot --target t --label a=b --customPlatform linux/arm64 -v warn");
    assert!(build.squash && build.target == ["t"] && build.label == ["a=b"]);
    assert!(build.platform == ["linux/arm64"] && build.progress == ProgressArg::None);
}

#[test]
fn credentials_are_where_kaniko_has_them() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join(".docker")).unwrap();
    let own = place.path().to_str().unwrap();
    let found = |line: &str, variables: &[(&str, &str)]| {
        meant(line, variables).unwrap().environment.text("DOCKER_CONFIG").map(str::to_owned)
    };
    let wanted = Some(format!("{own}/.docker"));
    assert_eq!(found(&format!("--no-push --kaniko-dir {own}"), &[]), wanted);
    assert_eq!(found("--no-push", &[("KANIKO_DIR", own)]), wanted);
    assert_eq!(found("--no-push", &[("KANIKO_DIR", own), ("DOCKER_CONFIG", "/d")]).as_deref(), Some("/d"));
    assert_eq!(found("--no-push --kaniko-dir /none/such", &[]), None);
}

#[test]
fn registries() {
    let global = |line: &str, variables: &[(&str, &str)]| meant(line, variables).unwrap().global;
    let insecure = |line: &str| global(line, &[]).insecure;
    assert_eq!(insecure("-d r.example:5000/a --insecure"), ["r.example:5000"]);
    assert!(insecure("-d r.example:5000/a --insecure=false").is_empty());
    assert_eq!(
        insecure("-d a.example/a --skip-tls-verify --cache-repo b.example/c"),
        ["a.example", "b.example"]
    );
    assert_eq!(insecure("--no-push --insecure-pull --insecure-registry h:5000"), ["*", "h:5000"]);
    assert!(global("--no-push", &[]).registries.is_none());
    let line = "--no-push --registry-mirror m.example/hub --registry-map=q.example=127.0.0.1:5000 \
                --registry-certificate q.example=/ca.pem --registry-client-cert q.example=/c.pem,/k.pem \
                --skip-default-registry-fallback";
    let text = global(line, &[("KANIKO_REGISTRY_MIRROR", "second.example")]).registries.unwrap();
    let mut hosts = registry_client::HostSettings::default();
    hosts.merge_registries_toml(&text, std::path::Path::new("/")).unwrap();
    let endpoints = |name: &str| hosts.endpoints(&name.parse().unwrap()).unwrap();
    assert_eq!(
        endpoints("debian"),
        [
            "m.example/hub/library/debian",
            "second.example/library/debian",
            "registry-1.docker.io/library/debian"
        ]
    );
    assert_eq!(endpoints("q.example/app"), ["127.0.0.1:5000/app", "q.example/app"]);
    assert!(
        text.contains("resolve = \"mirror\"") && text.contains("url = \"http://127.0.0.1:5000\""),
        "{text}"
    );
    for line in ["--registry-map=a", "--registry-client-cert h=/c.pem", "--registry-certificate =/c.pem"] {
        assert!(meant(&format!("--no-push {line}"), &[]).is_err(), "{line}");
    }
}
