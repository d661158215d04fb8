//! Package URLs (ECMA-427): `pkg:deb/debian/bash@5.2?arch=amd64`.

use layer_store::Platform;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use registry_client::Reference;

/// What stands for itself: letters, digits, `-._~`, and the colon, which separates nothing.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A package URL. Qualifiers come sorted by name and without those that have no value.
pub(super) fn package(
    kind: &str,
    namespace: &str,
    name: &str,
    version: &str,
    qualifiers: &[(&str, &str)],
) -> String {
    let mut text = format!("pkg:{kind}/");
    for part in namespace.split('/').filter(|part| !part.is_empty()) {
        text.push_str(&encoded(part));
        text.push('/');
    }
    text.push_str(&encoded(name));
    if !version.is_empty() {
        text.push('@');
        text.push_str(&encoded(version));
    }
    let mut qualifiers: Vec<_> = qualifiers.iter().filter(|(_, value)| !value.is_empty()).collect();
    qualifiers.sort_unstable();
    for (at, (name, value)) in qualifiers.into_iter().enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(&format!("{name}={}", encoded(value)));
    }
    text
}

/// The package URL of an image by its name, as BuildKit writes it: `pkg:docker/debian@12?platform=linux%2Famd64`. What is
/// no name of an image comes back as it is.
pub(super) fn image(name: &str, platform: Option<&Platform>) -> String {
    let Ok(reference) = Reference::parse(name) else { return name.to_owned() };
    let familiar = reference.familiar();
    let repository = familiar.split('@').next().unwrap_or(&familiar);
    let repository = match reference.tag() {
        Some(tag) => repository.strip_suffix(&format!(":{tag}")).unwrap_or(repository),
        None => repository,
    };
    let (namespace, last) = repository.rsplit_once('/').unwrap_or(("", repository));
    let digest = reference.digest().map(|digest| digest.to_string()).unwrap_or_default();
    let tag = reference.tag().or_else(|| digest.is_empty().then_some("latest")).unwrap_or_default();
    let platform = platform.map(Platform::to_string).unwrap_or_default();
    package("docker", namespace, last, tag, &[("digest", &digest), ("platform", &platform)])
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_images() {
        let amd64: Platform = "linux/amd64".parse().unwrap();
        let deb = [("distro", "debian-12"), ("arch", "amd64"), ("upstream", "")];
        assert_eq!(
            package("deb", "debian", "libstdc++6", "1:12.2.0-14+deb12u1", &deb),
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1?arch=amd64&distro=debian-12"
        );
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (name, wanted) in [
            ("debian:12", "pkg:docker/debian@12?platform=linux%2Famd64".to_owned()),
            ("debian", "pkg:docker/debian@latest?platform=linux%2Famd64".to_owned()),
            ("docker.io/library/debian:12", "pkg:docker/debian@12?platform=linux%2Famd64".to_owned()),
            (
                "127.0.0.1:5000/team/app:1.0",
                "pkg:docker/127.0.0.1:5000/team/app@1.0?platform=linux%2Famd64".to_owned(),
            ),
            (
                &format!("debian@{digest}"),
                format!("pkg:docker/debian?digest={digest}&platform=linux%2Famd64"),
            ),
        ] {
            assert_eq!(image(name, Some(&amd64)), wanted, "{name}");
        }
    }
}
