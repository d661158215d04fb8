//! Copies between registries that misbehave, and what else the toolkit asks of them: each scenario ends in time, with
//! every byte right or with one clear message.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use layer_store::layout::{LayoutDirectory, create_directory};
use layer_store::manifest::media_type;
use layer_store::{Blobs, Descriptor, Digest, Manifest, Platform};
use registry_client::testing::{Access, Action, Fault, TestRegistry};
use registry_client::{
    Artifact, Client, Copied, Deleted, Error, Platforms, Reference, Repository, Step, Supply, Tree,
};
use support::{Image, client, reference, store};

/// No scenario takes longer; what would is a hang.
const LIMIT: Duration = Duration::from_secs(45);

const UPLOADS: &str = "/blobs/uploads/";

/// A text that an error has to hold, or `None` where everything has to arrive.
type Expect = Option<&'static str>;

struct Scenario(&'static str, Vec<Fault>, Vec<Fault>, Expect);

fn full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        text.push_str(&format!(": {one}"));
        cause = one.source();
    }
    text
}

/// Two images as the platforms of one index.
struct Both {
    images: [Image; 2],
    index: Manifest,
}

impl Both {
    fn new(seed: u64) -> Self {
        let images = [Image::new(seed, &[150_000, 90_000]), Image::new(seed + 1, &[120_000])];
        let entry = |image: &Image, platform: &str| Descriptor {
            platform: Some(platform.parse().unwrap()),
            ..image.manifest.descriptor()
        };
        let entries = vec![entry(&images[0], "linux/amd64"), entry(&images[1], "linux/arm64")];
        Self { index: Manifest::index(entries, BTreeMap::new()), images }
    }

    fn serve(&self, registry: &TestRegistry, repository: &str) {
        for image in &self.images {
            image.serve(registry, repository, "part");
        }
        registry.put_manifest(repository, Some("1"), &self.index.media_type, &self.index.raw);
    }

    fn is_at(&self, registry: &TestRegistry, repository: &str, tag: &str) -> bool {
        let blobs = self.images.iter().flat_map(|image| image.layers.iter().chain([&image.config]));
        registry.tagged(repository, tag).as_ref() == Some(&self.index.raw)
            && blobs
                .into_iter()
                .all(|blob| registry.blob(repository, &Digest::of(blob)).as_ref() == Some(blob))
    }

    fn layers_size(&self) -> u64 {
        self.images.iter().flat_map(|image| &image.layers).map(|layer| layer.len() as u64).sum()
    }
}

async fn copy(
    client: &Client,
    from: &Reference,
    to: &Repository,
    memory: &Arc<layer_store::Store>,
) -> Result<Copied, Error> {
    let supply: Supply = Repository::Remote(from.clone()).into();
    let top = client.manifest(from).await?;
    let tree = client.tree(&supply.repositories, top, &Platforms::All).await?;
    client.copy(&tree, &supply, to, memory).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_registry_to_registry() {
    let on = |method: &'static str, path: &'static str, action: Action| Fault::on(method, path).once(action);
    let ever =
        |method: &'static str, path: &'static str, action: Action| Fault::on(method, path).always(action);
    let blob = "/blobs/sha256";
    let denied = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not yours\"}]}";
    let scenarios = vec![
        Scenario("nothing wrong", vec![], vec![], None),
        // What is read.
        Scenario("the source is cut", vec![on("GET", blob, Action::CutAfter(40_000))], vec![], None),
        Scenario("the source is cut at once", vec![on("GET", blob, Action::CutAfter(0))], vec![], None),
        Scenario(
            "the source is cut again and again",
            vec![Fault::on("GET", blob).times(5, Action::CutAfter(30_000))],
            vec![],
            None,
        ),
        Scenario("the source stalls", vec![on("GET", blob, Action::StallAfter(1000))], vec![], None),
        Scenario(
            "the source is slow to answer",
            vec![on("GET", blob, Action::Delay(Duration::from_millis(700)))],
            vec![],
            None,
        ),
        Scenario("the source closes", vec![on("GET", blob, Action::Close)], vec![], None),
        Scenario("the source says 503 once", vec![on("GET", blob, Action::status(503, ""))], vec![], None),
        Scenario(
            "the source has lost a blob",
            vec![ever("GET", blob, Action::status(404, ""))],
            vec![],
            Some("404"),
        ),
        Scenario(
            "the source denies a blob",
            vec![ever("GET", blob, Action::status(403, denied))],
            vec![],
            Some("403 DENIED: not yours"),
        ),
        Scenario(
            "the source's blob is corrupt",
            vec![ever("GET", blob, Action::Corrupt)],
            vec![],
            Some("400"),
        ),
        Scenario(
            "the source ignores ranges",
            vec![on("GET", blob, Action::CutAfter(40_000)), ever("GET", blob, Action::IgnoreRange)],
            vec![],
            None,
        ),
        Scenario("the source has no length", vec![ever("GET", blob, Action::NoLength)], vec![], None),
        Scenario(
            "a child manifest is cut",
            vec![Fault::on("GET", "/manifests/sha256").once(Action::CutAfter(10))],
            vec![],
            None,
        ),
        Scenario(
            "a child manifest is missing",
            vec![ever("GET", "/manifests/sha256", Action::status(404, ""))],
            vec![],
            Some("404"),
        ),
        Scenario(
            "a child manifest is corrupt",
            vec![ever("GET", "/manifests/sha256", Action::Corrupt)],
            vec![],
            Some("but its bytes are"),
        ),
        // What is written.
        Scenario(
            "the target cuts an upload",
            vec![],
            vec![on("PUT", UPLOADS, Action::CutUploadAfter(30_000))],
            None,
        ),
        Scenario(
            "the target cuts three uploads",
            vec![],
            vec![Fault::on("PUT", UPLOADS).times(3, Action::CutUploadAfter(20_000))],
            None,
        ),
        Scenario(
            "the target opens no session once",
            vec![],
            vec![on("POST", UPLOADS, Action::status(502, ""))],
            None,
        ),
        Scenario(
            "the target takes no uploads",
            vec![],
            vec![ever("POST", UPLOADS, Action::status(403, denied))],
            Some("403 DENIED: not yours"),
        ),
        Scenario(
            "the target is full",
            vec![],
            vec![ever("PUT", UPLOADS, Action::status(507, "no space"))],
            Some("507: no space"),
        ),
        Scenario(
            "the target refuses a child",
            vec![],
            vec![ever("PUT", "/manifests/sha256", Action::status(400, denied))],
            Some("400 DENIED"),
        ),
        Scenario(
            "the target refuses the index",
            vec![],
            vec![ever("PUT", "/manifests/1", Action::status(400, denied))],
            Some("400 DENIED"),
        ),
        Scenario(
            "the target answers the index 503 once",
            vec![],
            vec![on("PUT", "/manifests/1", Action::status(503, ""))],
            None,
        ),
        Scenario(
            "the target says 429 once",
            vec![],
            vec![on("HEAD", blob, Action::with_header(429, "Retry-After", "0"))],
            None,
        ),
        // Both.
        Scenario(
            "both ends are cut",
            vec![Fault::on("GET", blob).times(3, Action::CutAfter(50_000))],
            vec![Fault::on("PUT", UPLOADS).times(3, Action::CutUploadAfter(30_000))],
            None,
        ),
    ];
    let count = scenarios.len();
    let mut running = tokio::task::JoinSet::new();
    for (n, Scenario(name, at_source, at_target, expect)) in scenarios.into_iter().enumerate() {
        running.spawn(async move {
            let (source, target) =
                (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
            let both = Both::new(5000 + 10 * n as u64);
            both.serve(&source, "team/app");
            at_source.into_iter().for_each(|fault| source.inject(fault));
            at_target.into_iter().for_each(|fault| target.inject(fault));
            let (client, _) = client(|settings| settings.retries = 4);
            let (_place, memory) = store();
            let from = reference(&format!("{}/team/app:1", source.host()));
            let to = Repository::Remote(reference(&format!("{}/copy/app:1", target.host())));
            let copying = copy(&client, &from, &to, &memory);
            let result =
                tokio::time::timeout(LIMIT, copying).await.unwrap_or_else(|_| panic!("{name}: hangs"));
            match (result, expect) {
                (Ok(copied), None) => {
                    assert!(both.is_at(&target, "copy/app", "1"), "{name}: a byte is wrong");
                    assert_eq!(copied.moved, 5, "{name}");
                    // What passes through stays nowhere.
                    for layer in both.images.iter().flat_map(|image| &image.layers) {
                        assert_eq!(memory.blob_size(&Digest::of(layer)).unwrap(), None, "{name}");
                    }
                }
                (Ok(_), Some(text)) => panic!("{name}: succeeded, should fail with `{text}`"),
                (Err(error), None) => panic!("{name}: {}", full(&error)),
                (Err(error), Some(text)) => {
                    let message = full(&error);
                    assert!(message.contains(text) && message.contains("127.0.0.1:"), "{name}: {message}");
                    assert!(message.len() < 700 && !message.contains('\n'), "{name}: {message}");
                    assert_eq!(target.tagged("copy/app", "1"), None, "{name}: a tag of half an image");
                }
            }
        });
    }
    while let Some(result) = running.join_next().await {
        result.unwrap();
    }
    assert!(count >= 26, "{count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_moves_each_blob_once_and_nothing_again() {
    let (source, target) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    let both = Both::new(1);
    both.serve(&source, "team/app");
    let (client, _) = client(|_| {});
    let (_place, memory) = store();
    let from = reference(&format!("{}/team/app:1", source.host()));
    let to = |name: &str| Repository::Remote(reference(&format!("{}/{name}", target.host())));
    let first = copy(&client, &from, &to("a/b:1"), &memory).await.unwrap();
    assert_eq!((first.moved, first.mounted, first.skipped), (5, 0, 0));
    assert!(source.sent() >= both.layers_size() && source.sent() < both.layers_size() + 10_000);
    source.forget();
    target.forget();
    // Another tag: one HEAD of the index, and the tag.
    let tagged = copy(&client, &from, &to("a/b:2"), &memory).await.unwrap();
    assert_eq!((tagged.moved, tagged.skipped), (0, 5));
    assert_eq!(target.count(), 2);
    // A sibling mounts.
    let sibling = copy(&client, &from, &to("c/d:1"), &memory).await.unwrap();
    assert_eq!((sibling.moved, sibling.mounted, sibling.bytes), (0, 5, 0));
    assert_eq!(source.sent(), 0);
    assert!(both.is_at(&target, "c/d", "1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_asks_and_changes_nothing() {
    let (source, target) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    let both = Both::new(1);
    both.serve(&source, "team/app");
    target.put_blob("a/b", &both.images[0].layers[0]);
    let (client, _) = client(|_| {});
    let (_place, memory) = store();
    let from = reference(&format!("{}/team/app:1", source.host()));
    let supply: Supply = Repository::Remote(from.clone()).into();
    let top = client.manifest(&from).await.unwrap();
    let tree = client.tree(&supply.repositories, top, &Platforms::All).await.unwrap();
    let to = Repository::Remote(reference(&format!("{}/a/b:1", target.host())));
    let plan = client.plan(&tree, &supply, &to, &memory).await.unwrap();
    let there = plan.blobs.iter().filter(|blob| blob.step == Step::There).count();
    assert_eq!((plan.blobs.len(), there, plan.manifests.len()), (5, 1, 3));
    let configs: u64 = both.images.iter().map(|image| image.config.len() as u64).sum();
    assert_eq!(plan.bytes, both.layers_size() - 150_000 + configs);
    assert!(target.requests().iter().all(|request| request.method == "HEAD"), "{:?}", target.requests());
    let copied = client.copy(&tree, &supply, &to, &memory).await.unwrap();
    assert_eq!(copied.bytes, plan.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layout_is_filled_and_gone_on_with() {
    let registry = TestRegistry::start().await.unwrap();
    let both = Both::new(1);
    both.serve(&registry, "team/app");
    let (_place, memory) = store();
    let directory = tempfile::tempdir().unwrap();
    create_directory(directory.path()).unwrap();
    let layout = || Repository::Local(Arc::new(LayoutDirectory::open(directory.path()).unwrap()));
    let name = reference(&format!("{}/team/app:1", registry.host()));
    // The first layer is cut for good, the process ends, and the next one goes on.
    let first = format!("/blobs/{}", Digest::of(&both.images[0].layers[0]));
    registry.inject(Fault::on("GET", &first).once(Action::CutAfter(100_000)));
    registry.inject(Fault::on("GET", &first).always(Action::status(403, "")));
    let (one, _) = client(|_| {});
    copy(&one, &name, &layout(), &memory).await.unwrap_err();
    registry.heal();
    registry.forget();
    let (two, _) = client(|_| {});
    copy(&two, &name, &layout(), &memory).await.unwrap();
    assert!(registry.sent() <= both.layers_size() - 100_000 + 10_000, "{}", registry.sent());
    let filled = LayoutDirectory::open(directory.path()).unwrap();
    for blob in both.images.iter().flat_map(|image| image.layers.iter().chain([&image.config])) {
        assert_eq!(filled.read_blob(&Digest::of(blob), 1 << 20).unwrap(), *blob);
    }
    // And back, with the layout as the source.
    let from: Supply = layout().into();
    let tree = two.tree(&from.repositories, both.index.clone(), &Platforms::All).await.unwrap();
    let back = Repository::Remote(reference(&format!("{}/back/app:1", registry.host())));
    two.copy(&tree, &from, &back, &memory).await.unwrap();
    assert!(both.is_at(&registry, "back/app", "1"));
}

#[tokio::test]
async fn fewer_platforms_only_where_that_is_asked() {
    let registry = TestRegistry::start().await.unwrap();
    let both = Both::new(1);
    both.serve(&registry, "team/app");
    let (client, _) = client(|_| {});
    let repositories = [Repository::Remote(reference(&format!("{}/team/app:1", registry.host())))];
    let tree = async |wanted: &[&str]| -> Result<Tree, Error> {
        let platforms: Vec<Platform> = wanted.iter().map(|text| text.parse().unwrap()).collect();
        client.tree(&repositories, both.index.clone(), &Platforms::Only(platforms)).await
    };
    assert_eq!(tree(&["linux/arm64"]).await.unwrap().top(), &both.images[1].manifest);
    assert_eq!(tree(&["linux/amd64", "linux/arm64"]).await.unwrap().manifests().len(), 3);
    let missing = tree(&["linux/s390x"]).await.unwrap_err();
    assert!(missing.to_string().contains("only for linux/amd64, linux/arm64"), "{missing}");
}

#[tokio::test]
async fn artifacts_are_listed_with_and_without_the_registrys_help() {
    for helps in [false, true] {
        let registry = TestRegistry::start().await.unwrap();
        if helps {
            registry.serve_referrers();
        }
        let image = Image::new(1, &[1000]);
        image.serve(&registry, "team/app", "1");
        let (client, _) = client(|_| {});
        let (_place, memory) = store();
        let name = reference(&format!("{}/team/app:1", registry.host()));
        let subject = image.manifest.descriptor();
        let file = memory.put_blob(b"{}x").unwrap();
        for kind in ["application/a", "application/b"] {
            let artifact = Artifact {
                artifact_type: kind.to_owned(),
                files: vec![Descriptor::new("text/plain", file, 3)],
                annotations: BTreeMap::new(),
            };
            client.attach(&name, &subject, &artifact, &memory).await.unwrap();
            // Twice is once.
            client.attach(&name, &subject, &artifact, &memory).await.unwrap();
        }
        let found = client.referrers(&name, subject.digest, None).await.unwrap();
        assert_eq!(found.len(), 2, "helps: {helps}, {found:?}");
        let found = client.referrers(&name, subject.digest, Some("application/a")).await.unwrap();
        assert_eq!(found.len(), 1, "helps: {helps}");
    }
}

#[tokio::test]
async fn a_refused_artifact_is_explained() {
    let registry = TestRegistry::start().await.unwrap();
    let image = Image::new(1, &[1000]);
    image.serve(&registry, "team/app", "1");
    let body = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"unknown manifest class for application/vnd.oci.empty.v1+json\"}]}";
    registry.inject(Fault::on("PUT", "/manifests/").always(Action::status(400, body)));
    let (client, _) = client(|_| {});
    let (_place, memory) = store();
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let artifact = Artifact {
        artifact_type: "application/a".to_owned(),
        files: Vec::new(),
        annotations: BTreeMap::new(),
    };
    let error = client.attach(&name, &image.manifest.descriptor(), &artifact, &memory).await.unwrap_err();
    assert!(error.hint().unwrap().contains("takes no OCI artifact manifests"), "{error}");
}

#[tokio::test]
async fn a_tag_goes_alone_on_registries_of_both_kinds() {
    // The first deletes tags; the second calls them wrong digests, as distribution 2 does.
    for refuses_tags in [false, true] {
        let registry = TestRegistry::start().await.unwrap();
        let image = Image::new(1, &[1000]);
        image.serve(&registry, "team/app", "1");
        image.serve(&registry, "team/app", "2");
        if refuses_tags {
            let body = "{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}";
            registry.inject(Fault::on("DELETE", "/manifests/1").always(Action::status(400, body)));
        }
        let (client, _) = client(|_| {});
        let name = reference(&format!("{}/team/app:1", registry.host()));
        let deleted = client.delete(&name).await.unwrap();
        let wanted = if refuses_tags { Deleted::TagByReplacement } else { Deleted::Tag };
        assert_eq!(deleted, wanted);
        assert_eq!(registry.tagged("team/app", "1"), None);
        assert_eq!(registry.tagged("team/app", "2").as_ref(), Some(&image.manifest.raw));
        assert_eq!(client.delete(&name).await.unwrap_err().status(), Some(404));
        let pinned = name.with_digest(image.manifest.digest());
        assert_eq!(client.delete(&pinned).await.unwrap(), Deleted::Manifest);
        assert_eq!(registry.tagged("team/app", "2"), None);
    }
}

#[tokio::test]
async fn deletion_that_is_switched_off_is_explained() {
    let registry = TestRegistry::start().await.unwrap();
    let image = Image::new(1, &[1000]);
    image.serve(&registry, "team/app", "1");
    registry.inject(Fault::on("DELETE", "").always(Action::status(405, "")));
    let (client, _) = client(|_| {});
    let name = reference(&format!("{}/team/app:1", registry.host()));
    let error = client.delete(&name.with_digest(image.manifest.digest())).await.unwrap_err();
    assert!(error.hint().unwrap().contains("switched off"), "{error}");
}

#[tokio::test]
async fn whose_credentials_are_used_is_said_and_tried() {
    let registry = TestRegistry::start().await.unwrap();
    registry.set_access(Access::Basic { user: "jane".to_owned(), password: "secret".to_owned() });
    let name = reference(&format!("{}/x", registry.host()));
    let with = |auth: &str| format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{auth}\"}}}}}}", registry.host());
    let (nobody, _) = client(|_| {});
    assert_eq!(nobody.whoami(&name).await.unwrap(), None);
    let (jane, _) = client(|settings| settings.credentials.inline = Some(with("amFuZTpzZWNyZXQ=")));
    let account = jane.whoami(&name).await.unwrap().unwrap();
    assert_eq!((account.user.as_deref(), account.source.as_str()), (Some("jane"), "DOCKER_AUTH_CONFIG"));
    let (wrong, _) = client(|settings| settings.credentials.inline = Some(with("amFuZTp3cm9uZw==")));
    assert_eq!(wrong.whoami(&name).await.unwrap_err().status(), Some(401));
}

#[tokio::test]
async fn a_search_reads_what_docker_hub_answers() {
    let registry = TestRegistry::start().await.unwrap();
    let body = r#"{"num_results":2,"results":[{"star_count":5,"is_official":true,"name":"debian","description":"An OS"},{"name":"x/y","description":null}]}"#;
    let answer = |status: u16, body: &str| Fault::on("GET", "/v1/search").once(Action::status(status, body));
    registry.inject(answer(200, body));
    registry.inject(answer(404, "<html>none</html>"));
    registry.inject(answer(200, "{"));
    let (client, _) = client(|_| {});
    let term = format!("{}/debian os", registry.host());
    let found = client.search(&term, 10).await.unwrap();
    assert_eq!((found[0].stars, found[0].official, found[1].description.as_str()), (5, true, ""));
    assert!(registry.requests()[0].path.contains("q=debian+os&n=10"), "{}", registry.requests()[0].path);
    assert!(full(&client.search(&term, 1).await.unwrap_err()).contains("404: <html>none</html>"));
    assert!(full(&client.search(&term, 1).await.unwrap_err()).contains("malformed"));
}

#[tokio::test]
async fn foreign_layers_and_docker_types_stay_what_they_are() {
    let (source, target) = (TestRegistry::start().await.unwrap(), TestRegistry::start().await.unwrap());
    let image = Image::new(1, &[1000, 2000]);
    image.serve(&source, "team/app", "x");
    let raw: serde_json::Value = serde_json::from_slice(&image.manifest.raw).unwrap();
    let mut raw = raw;
    raw["mediaType"] = media_type::DOCKER_MANIFEST.into();
    raw["layers"][0]["mediaType"] = media_type::DOCKER_FOREIGN_LAYER_GZIP.into();
    raw["layers"][0]["urls"] = serde_json::json!(["https://layers.example/x"]);
    let bytes = serde_json::to_vec_pretty(&raw).unwrap();
    source.put_manifest("team/app", Some("1"), media_type::DOCKER_MANIFEST, &bytes);
    let (client, _) = client(|_| {});
    let (_place, memory) = store();
    let from = reference(&format!("{}/team/app:1", source.host()));
    let to = Repository::Remote(reference(&format!("{}/a/b:1", target.host())));
    let copied = copy(&client, &from, &to, &memory).await.unwrap();
    assert_eq!(copied.moved, 2);
    assert_eq!(target.tagged("a/b", "1").unwrap(), bytes);
    assert_eq!(target.blob("a/b", &Digest::of(&image.layers[0])), None);
}
