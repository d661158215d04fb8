use super::*;

#[track_caller]
fn refuse(csv: &str, expected: &str) {
    match parse_mount(csv) {
        Ok(mount) => panic!("{csv}: {mount:?}"),
        Err(error) => assert!(error.message.contains(expected), "{csv}: {}", error.message),
    }
}

#[test]
fn a_bind_mount_has_the_context_read_only() {
    let expected = BindMount { target: "/src".into(), source: "/".into(), from: None, writable: false };
    for csv in ["target=/src", "type=bind,dst=/src", "Type=BIND,destination=/src,ro", "target=/src,rw=false"]
    {
        assert_eq!(parse_mount(csv), Ok(Mount::Bind(expected.clone())), "{csv}");
    }
    let writable = BindMount {
        target: "x".into(),
        source: "/lib/a".into(),
        from: Some("alpine:3.20".into()),
        writable: true,
    };
    let csv = "type=bind,from=alpine:3.20,src=./lib//a/,target=x,readwrite";
    assert_eq!(parse_mount(csv), Ok(Mount::Bind(writable)));
}

#[test]
fn a_cache_mount_is_shared_and_named_after_its_target() {
    let Ok(Mount::Cache(cache)) = parse_mount("type=cache,target=/root/.cache/") else { panic!() };
    assert_eq!((cache.id.as_str(), cache.sharing, cache.read_only), ("/root/.cache", Sharing::Shared, false));
    let csv = "type=cache,id=go,target=/c,sharing=LOCKED,mode=0700,uid=1000,gid=1001,from=base,source=/s,ro";
    let Ok(Mount::Cache(cache)) = parse_mount(csv) else { panic!() };
    assert_eq!((cache.id.as_str(), cache.sharing, cache.read_only), ("go", Sharing::Locked, true));
    assert_eq!((cache.mode, cache.uid, cache.gid), (Some(0o700), Some(1000), Some(1001)));
    assert_eq!((cache.from.as_deref(), cache.source.as_str()), (Some("base"), "/s"));
}

#[test]
fn a_tmpfs_may_have_a_size() {
    let Ok(Mount::Tmpfs(tmpfs)) = parse_mount("type=tmpfs,target=/tmp,size=64m") else { panic!() };
    assert_eq!(tmpfs.size, Some(64 << 20));
    let Ok(Mount::Tmpfs(tmpfs)) = parse_mount("type=tmpfs,target=/tmp") else { panic!() };
    assert_eq!(tmpfs.size, None);
}

#[test]
fn secrets_are_named_by_what_is_there() {
    let secret = |csv: &str| match parse_mount(csv) {
        Ok(Mount::Secret(secret)) => (secret.id, secret.target, secret.env),
        other => panic!("{csv}: {other:?}"),
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(secret("type=secret,id=a/b"), ("a/b".into(), some("/run/secrets/b"), None));
    assert_eq!(secret("type=secret,source=s"), ("s".into(), some("/run/secrets/s"), None));
    assert_eq!(secret("type=secret,target=/root/.npmrc"), (".npmrc".into(), some("/root/.npmrc"), None));
    assert_eq!(secret("type=secret,id=t,env=TOKEN"), ("t".into(), None, some("TOKEN")));
    assert_eq!(secret("type=secret,id=t,env=TOKEN,target=/t"), ("t".into(), some("/t"), some("TOKEN")));
    assert_eq!(secret("type=secret,id=T,env="), ("T".into(), None, some("T")));
    let Ok(Mount::Secret(full)) = parse_mount("type=secret,id=x,required,mode=0440,uid=1,gid=2") else {
        panic!()
    };
    assert_eq!((full.required, full.mode, full.uid, full.gid), (true, 0o440, 1, 2));
    let Ok(Mount::Secret(plain)) = parse_mount("type=secret,id=x,required=false") else { panic!() };
    assert_eq!((plain.required, plain.mode), (false, 0o400));
}

#[test]
fn an_ssh_mount_has_defaults() {
    let Ok(Mount::Ssh(ssh)) = parse_mount("type=ssh") else { panic!() };
    assert_eq!((ssh.id.as_str(), ssh.target, ssh.mode, ssh.required), ("default", None, 0o600, false));
}

#[test]
fn options_of_other_types_are_refused() {
    refuse("type=foo,target=/x", "unsupported mount type `foo`");
    refuse("required,type=secret,id=x", "unexpected key `required`");
    refuse("type=cache,target=/x,required", "unexpected key `required`");
    refuse("type=cache,target=/x,size=1m", "unexpected key `size`");
    refuse("type=tmpfs,target=/x,size=lots", "invalid value for `size`");
    refuse("target=/x,sharing=locked", "`sharing` not allowed");
    refuse("type=cache,target=/x,sharing=mine", "unsupported sharing value");
    refuse("target=/x,mode=0700", "`mode` not allowed for `bind`");
    refuse("type=tmpfs,target=/x,uid=1", "`uid` not allowed for `tmpfs`");
    refuse("type=cache,target=/x,mode=9", "invalid value `9` for `mode`");
    refuse("type=cache,target=/x,uid=+1", "invalid value `+1` for `uid`");
    refuse("type=secret", "one of");
    refuse("type=secret,id=a,source=b", "both");
    refuse("type=secret,id=a,from=b", "do not support `from`");
    refuse("type=secret,id=a,sharing=locked", "`sharing` not allowed");
    refuse("type=ssh,source=x", "do not support `source`");
    refuse("target=/x,ro=maybe", "invalid value for `ro`");
    refuse("target=/x,bogus", "must be a key=value pair");
    refuse("target=/x,tagret=/y", "unexpected key `tagret`");
    assert_eq!(parse_mount("tagret=/x").unwrap_err().help.unwrap(), "did you mean `target`?");
}

#[test]
fn csv_quotes_protect_commas() {
    let Ok(Mount::Bind(bind)) = parse_mount(r#""source=a,b""c",target=/x"#) else { panic!() };
    assert_eq!(bind.source, r#"/a,b"c"#);
    refuse(r#"source=a"b,target=/x"#, "bare quote");
    refuse(r#""source=a,target=/x"#, "missing closing quote");
    refuse(r#""source=a"b,target=/x"#, "text after a closing quote");
    refuse("", "must be a key=value pair");
}

#[test]
fn a_comma_in_a_variable_is_no_separator() {
    let mount = parse_mount_with("target=$T,ro", &mut |value| Ok(value.replace("$T", "/a,rw")));
    let Ok(Mount::Bind(bind)) = mount else { panic!() };
    assert_eq!((bind.target.as_str(), bind.writable), ("/a,rw", false));
}

#[test]
fn before_expansion_only_from_is_looked_at() {
    assert!(check_unexpanded("type=$T,target=$X,size=?").is_ok());
    assert!(check_unexpanded("from=$IMAGE,target=/x").unwrap_err().message.contains("variable"));
    assert!(check_unexpanded("from=a$,target=/x").is_ok());
}

#[test]
fn targets_are_absolute_and_not_the_root() {
    assert_eq!(resolve_target("x/../y", "/app").unwrap(), "/app/y");
    assert_eq!(resolve_target("/x/", "/app").unwrap(), "/x");
    assert_eq!(resolve_target("", "/app").unwrap(), "/app");
    assert!(resolve_target("..", "/app").is_err());
    assert!(resolve_target("/", "/app").is_err());
}

#[test]
fn devices_have_a_name_and_may_be_required() {
    let device = |name: &str, required| Ok(Device { name: name.to_owned(), required });
    assert_eq!(parse_device("nvidia.com/gpu=all"), device("nvidia.com/gpu=all", false));
    assert_eq!(parse_device("name=a,required"), device("a", true));
    assert_eq!(parse_device("a,required=false"), device("a", false));
    assert!(parse_device("a,b").is_err());
    assert!(parse_device("a,requird=1").unwrap_err().help.unwrap().contains("`required`"));
}
