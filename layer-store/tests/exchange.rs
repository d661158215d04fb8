//! Images that go out to other tools and come back.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;

use layer_store::archive;
use layer_store::config::RootFs;
use layer_store::layer::{Compression, Encoder};
use layer_store::layout::{ExportImage, LayoutDirectory, write_directory, write_tar};
use layer_store::manifest::media_type;
use layer_store::{Descriptor, Digest, ImageConfig, Manifest, Platform, Store, StoreOptions};

fn open(path: &Path) -> Store {
    Store::open(path, StoreOptions::default()).unwrap()
}

fn ingest(store: &Store, kind: &str, bytes: &[u8]) -> Descriptor {
    let blob = Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64);
    if let Some(mut ingest) = store.ingest(&blob.digest, blob.size).unwrap() {
        ingest.write(bytes).unwrap();
        ingest.commit().unwrap();
    }
    blob
}

/// A tar with one file.
fn layer(name: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_mtime(1);
    builder.append_data(&mut header, name, content).unwrap();
    builder.into_inner().unwrap()
}

/// An image of two layers, one with gzip and one with `second`.
fn image(store: &Store, names: &[&str], second: Compression) -> ExportImage {
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    let parts = [("etc/motd", Compression::Gzip(6)), ("bin/app", second)];
    for (name, compression) in parts {
        let tar = layer(name, format!("{name} of {names:?}").repeat(1000).as_bytes());
        let mut encoder = Encoder::new(Vec::new(), compression, NonZeroUsize::MIN).unwrap();
        encoder.write_all(&tar).unwrap();
        layers.push(ingest(store, compression.media_type(), &encoder.finish().unwrap()));
        diff_ids.push(Digest::of(&tar));
    }
    let config = ImageConfig {
        architecture: Platform::host().architecture,
        os: "linux".to_owned(),
        rootfs: RootFs { diff_ids, ..RootFs::default() },
        ..ImageConfig::default()
    };
    let config = ingest(store, media_type::OCI_CONFIG, &config.to_bytes());
    ExportImage {
        manifest: Manifest::image(config, layers, BTreeMap::new()),
        platform: Some(Platform::host()),
        names: names.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// Runs a program that this test needs; which Debian package it is from is said when it is not there.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("this test needs the Debian package `{program}`: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

const NAMES: [&str; 2] = ["docker.io/library/app:1.0", "example.com/team/app:latest"];

#[test]
fn a_layout_goes_out_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (open(&dir.path().join("here")), open(&dir.path().join("there")));
    let image = image(&here, &NAMES, Compression::Zstd(3));
    let layout = dir.path().join("layout");
    write_directory(&here, std::slice::from_ref(&image), &layout).unwrap();
    let first = std::fs::read(layout.join("index.json")).unwrap();
    write_directory(&here, std::slice::from_ref(&image), &layout).unwrap();
    assert_eq!(std::fs::read(layout.join("index.json")).unwrap(), first, "written again, nothing is twice");

    let read = LayoutDirectory::open(&layout).unwrap();
    assert_eq!(read.descriptors().len(), 2);
    assert_eq!(read.descriptors()[1].annotations["org.opencontainers.image.ref.name"], "latest");
    assert_eq!(read.descriptors()[1].annotations["io.containerd.image.name"], NAMES[1]);
    assert_eq!(read.descriptors()[0].platform, Some(Platform::host()));
    read.import(&there, &read.descriptors()[0]).unwrap();
    assert_eq!(there.manifest(&image.manifest.descriptor()).unwrap(), image.manifest);
    let mut tar = Vec::new();
    write_tar(&there, std::slice::from_ref(&image), &mut tar).unwrap();

    let third = open(&dir.path().join("third"));
    let loaded = archive::read(&third, &mut &tar[..]).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].manifest, image.manifest);
    assert_eq!(loaded[0].names, NAMES);
}

#[test]
fn a_layout_keeps_its_other_images() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let layout = dir.path().join("layout");
    for (names, second) in [
        (["example.com/one:1"], Compression::None),
        (["example.com/two:2"], Compression::None),
        (["example.com/one:1"], Compression::Gzip(1)),
    ] {
        write_directory(&store, &[image(&store, &names, second)], &layout).unwrap();
    }
    let read = LayoutDirectory::open(&layout).unwrap();
    let names: Vec<_> =
        read.descriptors().iter().map(|one| one.annotations["io.containerd.image.name"].as_str()).collect();
    assert_eq!(names, ["example.com/two:2", "example.com/one:1"]);
}

#[test]
fn the_same_images_give_the_same_stream() {
    let dir = tempfile::tempdir().unwrap();
    let streams = ["a", "b"].map(|name| {
        let store = open(&dir.path().join(name));
        let image = image(&store, &NAMES, Compression::Gzip(6));
        let (mut layout, mut docker) = (Vec::new(), Vec::new());
        write_tar(&store, std::slice::from_ref(&image), &mut layout).unwrap();
        archive::write(&store, &[image], &mut docker).unwrap();
        (layout, docker)
    });
    assert!(streams[0] == streams[1]);
}

#[test]
fn a_damaged_blob_never_goes_out() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let image = image(&store, &NAMES, Compression::None);
    let mut tar = Vec::new();
    write_tar(&store, std::slice::from_ref(&image), &mut tar).unwrap();
    let layers = tar.windows(8).position(|part| part == b"bin/app\0").unwrap();
    let mut damaged = tar.clone();
    damaged[layers] ^= 1;
    let other = open(&dir.path().join("other"));
    assert!(matches!(
        archive::read(&other, &mut &damaged[..]),
        Err(layer_store::Error::DigestMismatch { .. })
    ));
    for length in [100, 5000, tar.len() / 2, tar.len() - 1200] {
        assert!(archive::read(&other, &mut &tar[..length]).is_err(), "cut after {length} bytes");
    }

    let layer_store::manifest::ManifestContent::Image { layers, .. } = &image.manifest.content else {
        panic!("not an image")
    };
    let path = store.root().join("blobs/sha256").join(layers[1].digest.hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[700] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let layout = dir.path().join("layout");
    for result in [
        write_tar(&store, std::slice::from_ref(&image), &mut Vec::new()),
        write_directory(&store, std::slice::from_ref(&image), &layout),
        archive::write(&store, std::slice::from_ref(&image), &mut Vec::new()),
    ] {
        assert!(matches!(result, Err(layer_store::Error::DigestMismatch { .. })), "{result:?}");
    }
    assert!(!layout.join("index.json").exists());
    std::fs::remove_file(&path).unwrap();
    let result = write_tar(&store, &[image], &mut Vec::new());
    assert!(matches!(result, Err(layer_store::Error::Missing { .. })), "{result:?}");
}

#[test]
fn skopeo_and_umoci_read_a_layout() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    // umoci 0.4.7 knows no zstd.
    let image = image(&store, &NAMES, Compression::None);
    let layout = dir.path().join("layout");
    write_directory(&store, std::slice::from_ref(&image), &layout).unwrap();
    let path = layout.to_str().unwrap();
    let inspected = run("skopeo", &["inspect", &format!("oci:{path}:1.0")]);
    assert!(inspected.contains(&image.manifest.digest().to_string()), "{inspected}");
    let bundle = dir.path().join("bundle");
    run("umoci", &["unpack", "--rootless", "--image", &format!("{path}:latest"), bundle.to_str().unwrap()]);
    let motd = std::fs::read_to_string(bundle.join("rootfs/etc/motd")).unwrap();
    assert!(motd.starts_with("etc/motd of "), "{motd}");

    let tar = dir.path().join("layout.tar");
    write_tar(&store, &[image], &mut std::fs::File::create(&tar).unwrap()).unwrap();
    let copy = dir.path().join("copy");
    let source = format!("oci-archive:{}:1.0", tar.display());
    run("skopeo", &["--insecure-policy", "copy", &source, &format!("dir:{}", copy.display())]);
    assert!(copy.join("manifest.json").exists());
}

#[test]
fn skopeo_reads_and_writes_docker_archives() {
    let dir = tempfile::tempdir().unwrap();
    let (here, there) = (open(&dir.path().join("here")), open(&dir.path().join("there")));
    let image = image(&here, &NAMES, Compression::Zstd(3));
    let tar = dir.path().join("docker.tar");
    archive::write(&here, std::slice::from_ref(&image), &mut std::fs::File::create(&tar).unwrap()).unwrap();
    let source = format!("docker-archive:{}:app:1.0", tar.display());
    // skopeo writes the old form: layers uncompressed, `<hex>.json`, links for the ids of old.
    let old = dir.path().join("old.tar");
    let target = format!("docker-archive:{}:example.com/app:2", old.display());
    run("skopeo", &["--insecure-policy", "copy", &source, &target]);
    let loaded = archive::read(&there, &mut std::fs::File::open(&old).unwrap()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].names, ["example.com/app:2"]);
    let config = |store: &Store, manifest: &Manifest| {
        let layer_store::manifest::ManifestContent::Image { config, .. } = &manifest.content else {
            panic!("not an image")
        };
        ImageConfig::from_slice(&store.read_blob(&config.digest, 1 << 20).unwrap()).unwrap()
    };
    let diff_ids = config(&here, &image.manifest).rootfs.diff_ids;
    assert_eq!(config(&there, &loaded[0].manifest).rootfs.diff_ids, diff_ids);
    assert_eq!(there.known_blobs(&diff_ids[1]).unwrap()[0].digest, diff_ids[1]);
}

#[test]
fn the_root_of_a_store_is_a_layout_that_skopeo_reads() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let image = image(&store, &NAMES[..1], Compression::Zstd(3));
    store.put_blob(&image.manifest.raw).unwrap();
    let layer_store::manifest::ManifestContent::Image { config, .. } = &image.manifest.content else {
        panic!("not an image")
    };
    let platform = layer_store::store::PlatformImage {
        config: config.clone(),
        manifest: Some(image.manifest.descriptor()),
        origin: None,
    };
    store
        .tag(&layer_store::store::ImageRecord {
            name: NAMES[0].to_owned(),
            platforms: vec![platform],
            index: None,
            tagged: "2026-01-01T00:00:00Z".to_owned(),
        })
        .unwrap();
    let inspected = run("skopeo", &["inspect", &format!("oci:{}:{}", store.root().display(), NAMES[0])]);
    assert!(inspected.contains(&image.manifest.digest().to_string()), "{inspected}");
}

/// Old archives in all their shapes: links for equal layers, files of no interest, a name that leads out.
#[test]
fn old_docker_archives() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let tar = layer("etc/motd", b"hello");
    let diff_id = Digest::of(&tar);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let manifest = r#"[{"Config":"abc.json","RepoTags":null,"Layers":["1/layer.tar","2/layer.tar"]}]"#;
    let build = |link: &str, manifest: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut put = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes).unwrap();
        };
        put("./1/VERSION", b"1.0");
        put("./1/json", b"{}");
        put("./1/layer.tar", &tar);
        put("abc.json", config.as_bytes());
        put("manifest.json", manifest.as_bytes());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "2/layer.tar", link).unwrap();
        builder.into_inner().unwrap()
    };
    let loaded = archive::read(&store, &mut &build("../1/layer.tar", manifest)[..]).unwrap();
    assert_eq!(loaded[0].names, [] as [&str; 0]);
    assert_eq!(store.known_blobs(&diff_id).unwrap().len(), 1);
    for (link, manifest) in [
        ("../../../etc/passwd", manifest),
        ("../2/layer.tar", manifest),
        ("../1/layer.tar", r#"[{"Config":"abc.json","Layers":["1/layer.tar"]}]"#),
        ("../1/layer.tar", r#"[{"Config":"1/layer.tar","Layers":[]}]"#),
        ("../1/layer.tar", "[}"),
    ] {
        let error = archive::read(&store, &mut &build(link, manifest)[..]).unwrap_err();
        assert!(matches!(error, layer_store::Error::Malformed { .. }), "{link} {manifest}: {error}");
    }
}
