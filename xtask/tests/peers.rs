//! The registry and the base image that the other tests stand on.

use std::process::Command;

use xtask::registry::Registry;
use xtask::{base_image, packages, upload};

#[test]
fn busybox_is_pushed_and_read_back() {
    let registry = Registry::start().unwrap();
    let digest = base_image::push_busybox(registry.address()).unwrap();
    let accept = "application/vnd.oci.image.manifest.v1+json";
    let raw = upload::get(registry.address(), "/v2/library/busybox/manifests/1", accept).unwrap();
    assert_eq!(upload::sha256(&raw), digest);
    // Another tool reads it too, where there is one.
    if packages::find("skopeo").is_some() {
        let name = format!("docker://{}/library/busybox:1", registry.address());
        let output = Command::new("skopeo").args(["inspect", "--tls-verify=false", &name]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains(&digest));
    }
}

#[test]
fn a_stopped_registry_refuses() {
    let mut registry = Registry::start().unwrap();
    let address = registry.address().to_owned();
    registry.stop();
    assert!(upload::get(&address, "/v2/", "*/*").is_err());
}
