//! Attestations: in the index as BuildKit has them, and as referrers of a plain image.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::lab::{Lab, as_caller, as_each_user, peer};

const PROJECT: &str = "FROM busybox:1\nARG API_TOKEN\nARG WORD\n\
    COPY <<EOF /var/lib/dpkg/status\nPackage: bash\nStatus: install ok installed\nVersion: 5.2+b1\nArchitecture: amd64\n\nEOF\n\
    COPY <<EOF /lib/apk/db/installed\nP:musl\nV:1.2.4-r2\nA:x86_64\n\nEOF\n\
    COPY <<EOF /etc/os-release\nID=debian\nVERSION_ID=12\nEOF\n\
    RUN --mount=type=secret,id=key --mount=type=secret,id=named,env=NAMED cat /run/secrets/key >/dev/null\n";

/// Builds on a store of its own with secrets and arguments, and a fixed epoch.
fn build_on(lab: &Lab, store: &str, words: &[&str]) -> Output {
    lab.write("Dockerfile", PROJECT);
    lab.write("key", "correct-horse");
    let mut command = lab.command(&["build", "--secret", "id=key,src=key", "--secret", "id=named,env=NAMED"]);
    command
        .args(["--build-arg", "API_TOKEN=battery-staple", "--build-arg", "WORD=word"])
        .args(words)
        .arg(".");
    command.env("NAMED", "correct-zebra").env("SOURCE_DATE_EPOCH", "1700000000");
    let output = command.env("RBUILD_ROOT", lab.path("home").join(store)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn raw(image: &str) -> Value {
    let image = format!("docker://{image}");
    serde_json::from_str(&peer("skopeo", &["inspect", "--tls-verify=false", "--raw", &image])).unwrap()
}

fn digest(value: &Value) -> &str {
    value["digest"].as_str().unwrap()
}

/// The statements of an attestation manifest in `team/app`, by the kind of their predicates.
fn statements(lab: &Lab, manifest: &Value) -> Vec<(String, Value)> {
    let layers = manifest["layers"].as_array().unwrap();
    let read = |layer: &Value| {
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        let kind = layer["annotations"]["in-toto.io/predicate-type"].as_str().unwrap().to_owned();
        let name = format!("{}@{}", lab.remote("team/app"), digest(layer));
        let statement: Value = serde_json::from_str(&lab.answer(&["blob", "get", &name])).unwrap();
        assert_eq!(statement["predicateType"], kind.as_str());
        (kind, statement)
    };
    layers.iter().map(read).collect()
}

/// What SLSA's and SPDX's schemas require, what this build took, and no secret.
fn check_statements(statements: &[(String, Value)], about: &str, platform: &str) {
    let kinds: Vec<&str> = statements.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]);
    for (_, statement) in statements {
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v0.1");
        let subject = &statement["subject"][0];
        assert_eq!(format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap()), about);
        let name = subject["name"].as_str().unwrap();
        assert!(name.starts_with("pkg:docker/127.0.0.1:") && name.ends_with(platform), "{name}");
        let text = statement.to_string();
        for secret in ["correct-horse", "correct-zebra", "battery-staple"] {
            assert!(!text.contains(secret), "{secret} is in\n{text}");
        }
    }
    let sbom = &statements[0].1["predicate"];
    assert_eq!((&sbom["spdxVersion"], &sbom["dataLicense"]), (&"SPDX-2.3".into(), &"CC0-1.0".into()));
    assert_eq!(sbom["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    assert!(sbom["documentNamespace"].is_string() && sbom["creationInfo"]["creators"][0].is_string());
    let urls: Vec<&str> = sbom["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| package["externalRefs"][0]["referenceLocator"].as_str())
        .collect();
    assert_eq!(
        urls,
        [
            "pkg:apk/debian/musl@1.2.4-r2?arch=x86_64&distro=debian-12",
            "pkg:deb/debian/bash@5.2%2Bb1?arch=amd64&distro=debian-12",
        ]
    );
    let provenance = &statements[1].1["predicate"];
    let build = &provenance["buildDefinition"];
    assert!(build["buildType"].is_string() && provenance["runDetails"]["builder"]["id"].is_string());
    let request = &build["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:WORD"], "word");
    assert_eq!(request["args"]["build-arg:API_TOKEN"], "(hidden)");
    assert_eq!(request["secrets"][0]["id"], "key");
    let steps = build["internalParameters"]["buildConfig"]["llbDefinition"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["op"]["Op"]["exec"]["secretenv"][0]["name"] == "NAMED"));
    let base = &build["resolvedDependencies"][0];
    assert!(base["uri"].as_str().unwrap().starts_with("pkg:docker/busybox@1?platform="), "{base}");
    assert_eq!(base["digest"]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn attestations_stand_in_the_index() {
    as_each_user(&["skopeo"], |lab| {
        let app = lab.remote("team/app:1.0");
        let plain = lab.remote("team/app:plain");
        build_on(lab, "plain", &["-t", &plain, "--push"]);
        let plain_digest = peer(
            "skopeo",
            &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{plain}")],
        );
        let words = ["-t", &app, "--push", "--provenance=mode=max", "--sbom=true"];
        build_on(lab, "one", &words);
        let index = raw(&app);
        let entries = index["manifests"].as_array().unwrap();
        let [image, attestation] = entries.as_slice() else { panic!("{index}") };
        assert_eq!(digest(image), plain_digest.trim(), "the image is what it is without attestations");
        assert_eq!(attestation["platform"], serde_json::json!({"os": "unknown", "architecture": "unknown"}));
        assert_eq!(attestation["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
        assert_eq!(attestation["annotations"]["vnd.docker.reference.digest"], image["digest"]);
        let manifest = raw(&format!("{}@{}", lab.remote("team/app"), digest(attestation)));
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
        assert!(manifest["subject"].is_null() && manifest["artifactType"].is_null());
        let platform = image["platform"]["architecture"].as_str().unwrap();
        check_statements(&statements(lab, &manifest), digest(image), platform);
        // With the epoch set the same build gives the same bytes, attestations and all.
        build_on(lab, "two", &words);
        assert_eq!(raw(&app), index);
        // As an artifact, as BuildKit writes it with `oci-artifact=true`.
        let output = format!("type=image,name={app},push=true,oci-artifact=true");
        build_on(lab, "one", &["--output", &output, "--attest", "type=provenance,mode=min"]);
        let entry = &raw(&app)["manifests"][1];
        let manifest = raw(&format!("{}@{}", lab.remote("team/app"), digest(entry)));
        assert_eq!(manifest["artifactType"], "application/vnd.docker.attestation.manifest.v1+json");
        assert_eq!(manifest["subject"]["digest"], image["digest"]);
        let read = statements(lab, &manifest);
        let request = &read[0].1["predicate"]["buildDefinition"]["externalParameters"]["request"];
        assert!(request["args"]["build-arg:WORD"].is_null() && request["secrets"].is_null(), "{request}");
        // What runs the image finds it.
        let run = lab.command(&["run", "--pull=always", &app, "echo", "runs"]).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            "runs\n",
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        for store in ["plain", "one", "two"] {
            lab.drop_store(store);
        }
    });
}

#[test]
fn attestations_refer_to_a_plain_image() {
    as_caller(&["skopeo"], |lab| {
        let app = lab.remote("team/app:1.0");
        let words = ["-t", &app, "--push", "--provenance=true", "--sbom=true", "--attest-storage=referrers"];
        build_on(lab, "one", &words);
        let image = raw(&app);
        assert_eq!(image["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
        let listed = lab.answer(&["referrers", "--json", &app]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let referrers = listed["referrers"].as_array().unwrap();
        assert_eq!(referrers.len(), 2, "{listed}");
        let mut all = Vec::new();
        for referrer in referrers {
            assert_eq!(referrer["artifactType"], "application/vnd.in-toto+json");
            assert!(referrer["annotations"]["in-toto.io/predicate-type"].is_string(), "{referrer}");
            let manifest = raw(&format!("{}@{}", lab.remote("team/app"), digest(referrer)));
            assert_eq!(manifest["subject"]["digest"], listed["subject"]);
            all.extend(statements(lab, &manifest));
        }
        check_statements(&all, digest(&serde_json::json!({"digest": listed["subject"]})), "amd64");
        // The same again adds nothing.
        build_on(lab, "one", &words);
        assert_eq!(lab.answer(&["referrers", "--json", &app]), format!("{listed:#}\n"));
        // A layout holds them beside the image.
        let layout = lab.path("home/layout");
        let output = format!("type=oci,tar=false,dest={}", layout.display());
        build_on(lab, "one", &["-t", &app, "-o", &output, "--sbom=true", "--attest-storage=referrers"]);
        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][1]["artifactType"], "application/vnd.in-toto+json", "{index}");
        lab.answer(&["manifest", "digest", &format!("oci:{}", layout.display())]);
        let said = lab.fail(2, &["build", "-t", "a", "--sbom=true", "--attest-storage=referrers", "."]);
        assert!(said.contains("--push"), "{said}");
    });
}

#[test]
fn the_store_keeps_an_index_that_goes_whole() {
    as_caller(&["skopeo"], |lab| {
        lab.write("a", "a");
        lab.write("Dockerfile", "FROM busybox:1\nARG TARGETARCH\nCOPY a /$TARGETARCH\n");
        for (name, words) in [
            ("several", &["--platform=linux/amd64,linux/amd64/v3"][..]),
            ("attested", &["--provenance=true", "--sbom=true"]),
        ] {
            let (file, tag) = (lab.path("home/id"), format!("{name}:1.0"));
            let build = ["build", "-t", &tag, "--iidfile", file.to_str().unwrap()];
            let build: Vec<&str> = build.into_iter().chain(words.iter().copied()).chain(["."]).collect();
            lab.succeed(&build);
            let id = fs::read_to_string(&file).unwrap();
            let listed = lab.answer(&["images", "--format", "{{.Digest}}", &tag]);
            assert!(listed.lines().count() > 0 && listed.lines().all(|line| line == id), "{listed} {id}");
            for known in [&tag, &id, &id["sha256:".len()..][..12].to_owned()] {
                let top = lab.answer(&["inspect", "--format", "{{.Descriptor.digest}}", known]);
                assert_eq!(top.trim(), id, "{known}");
            }
            assert!(lab.answer(&["inspect", &tag]).contains(&format!("{name}@{id}")));
            // By name and by id the whole index arrives, with the digest that it has here.
            for (source, target) in [(&tag, "one"), (&id, "two")] {
                let remote = lab.remote(&format!("{name}:{target}"));
                lab.succeed(&["push", source, &remote]);
                let arrived = lab.answer(&["manifest", "digest", &remote]);
                assert_eq!(arrived.trim(), id);
                peer("skopeo", &["inspect", "--tls-verify=false", &format!("docker://{remote}")]);
            }
            lab.succeed(&["tag", &id, &format!("{name}:again")]);
            let again =
                lab.answer(&["inspect", "--format", "{{.Descriptor.digest}}", &format!("{name}:again")]);
            assert_eq!(again.trim(), id);
            lab.succeed(&["prune", "--force"]);
            lab.succeed(&["push", &tag, &lab.remote(&format!("other/{name}:1.0"))]);
            lab.succeed(&["store", "check"]);
        }
    });
}
