//! Names of images.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use layer_store::Digest;

/// The name of an image in a registry, normalised as Docker does: `debian` is `docker.io/library/debian`.
///
/// The grammar and its published cases are those of github.com/distribution/reference. A value is always valid; the
/// tag is kept beside a digest for display, but the digest decides what is meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid image name: {reason}")]
pub struct InvalidReference {
    /// What was given (its first 300 characters).
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const HUB: &str = "docker.io";
const OFFICIAL: &str = "library/";
/// Counts the path alone, as distribution/reference does since 0.6.
const LONGEST_REPOSITORY: usize = 255;

impl Reference {
    /// Reads `[domain/]path[:tag][@digest]`.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        parse(text).map_err(|reason| InvalidReference { text: text.chars().take(300).collect(), reason })
    }

    /// The registry as it is named, with its port: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path inside the registry, `library/` included.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag that was written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that was written.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// `docker.io/library/debian`: everything but tag and digest.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// `docker.io/library/debian:bookworm`, with `@digest` where there is one. A name with neither tag nor digest gets
    /// the tag `latest`.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.written(&self.name(), true)
    }

    /// `debian:bookworm`: the shortest text that means the same. No tag is added.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.written(&self.familiar_name(), false)
    }

    /// The same name with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        if !is_tag(tag) {
            return Err(InvalidReference { text: tag.chars().take(300).collect(), reason: BAD_TAG });
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name and tag, pinned to this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// What stands after `manifests/` in a request: the digest, else the tag, else `latest`.
    pub(crate) fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    fn familiar_name(&self) -> String {
        if self.domain != HUB {
            return self.name();
        }
        let short = match self.repository.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.repository,
        };
        // `docker.io/localhost/app` would be read as an image of the host `localhost`, and 64 hex digits as an image id.
        if split_domain(short) == (HUB, short) && !is_image_id(short) {
            short.to_owned()
        } else {
            self.name()
        }
    }

    fn written(&self, name: &str, complete: bool) -> String {
        let mut text = name.to_owned();
        match &self.tag {
            Some(tag) => text.extend([":", tag]),
            None if complete && self.digest.is_none() => text.push_str(":latest"),
            None => {}
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

const BAD_TAG: &str =
    "a tag has at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two";

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.contains("://") {
        return Err("a name has no scheme such as https://");
    }
    if is_image_id(text) {
        return Err("64 hex digits are an image id, not a name");
    }
    let (domain, rest) = split_domain(text);
    let (rest, digest) = match rest.split_once('@') {
        None => (rest, None),
        Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
    };
    let (path, tag) = match rest.split_once(':') {
        None => (rest, None),
        Some((path, tag)) if is_tag(tag) => (path, Some(tag)),
        Some(_) => return Err(BAD_TAG),
    };
    if !is_domain(domain) {
        return Err("the registry is not a host name with an optional port");
    }
    if path.is_empty() {
        return Err("the repository is missing");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("the repository has to be in lower case");
    }
    if !path.split('/').all(is_path_component) {
        return Err(
            "each part of the repository is made of lower-case letters and digits, with single `.`, `_`, `__` or any number of `-` between them",
        );
    }
    let domain = if domain == "index.docker.io" { HUB } else { domain };
    let repository =
        if domain == HUB && !path.contains('/') { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    if repository.len() > LONGEST_REPOSITORY {
        return Err("the repository has more than 255 characters");
    }
    Ok(Reference { domain: domain.to_owned(), repository, tag: tag.map(str::to_owned), digest })
}

/// The first segment is a registry if it could not be part of a Docker Hub path.
fn split_domain(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (HUB, text),
    }
}

fn parse_digest(text: &str) -> Result<Digest, &'static str> {
    match text.split_once(':') {
        Some(("sha256", _)) => text.parse().map_err(|_| "a sha256 digest has 64 lower-case hex digits"),
        _ => Err("only digests of the form sha256:<64 hex digits> are supported"),
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => (None, port),
            _ => return false,
        },
        None => match domain.split_once(':') {
            Some((host, _)) => (Some(host), &domain[host.len()..]),
            None => (Some(domain), ""),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let port_is_fine = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        });
    port_is_fine && host.is_none_or(|host| host.split('.').all(label))
}

fn is_path_component(component: &str) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    ends.is_some_and(|(first, last)| is_alphanumeric(first) && is_alphanumeric(last))
        && bytes.split(is_alphanumeric).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
        })
}

fn is_image_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn valid_names_are_normalised() {
        let table = include_str!("../../testdata/references/valid.tsv");
        let mut rows = 0;
        for row in table.lines().filter(|row| !row.starts_with('#')) {
            let columns: Vec<&str> = row.split('\t').collect();
            let [input, canonical, familiar] = columns[..] else { panic!("{row}") };
            let reference = Reference::parse(input).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(reference.canonical(), canonical, "{input}");
            assert_eq!(reference.familiar(), familiar, "{input}");
            assert_eq!(reference.familiar().parse(), Ok(reference.clone()), "{input}");
            rows += 1;
        }
        assert!(rows >= 85, "{rows}");
    }

    #[test]
    fn invalid_names_are_refused() {
        let table = include_str!("../../testdata/references/invalid.txt");
        let mut rows = 0;
        for row in table.lines().filter(|row| !row.starts_with('#')) {
            let input: String = serde_json::from_str(row).unwrap();
            assert!(Reference::parse(&input).is_err(), "{input}");
            rows += 1;
        }
        assert!(rows >= 70, "{rows}");
    }

    #[test]
    fn tag_and_digest_change() {
        let digest = Digest::of(b"");
        let reference: Reference = "r.example/a:1".parse().unwrap();
        assert_eq!(reference.with_digest(digest).canonical(), format!("r.example/a:1@{digest}"));
        assert_eq!(reference.with_digest(digest).selector(), digest.to_string());
        assert_eq!(reference.with_digest(digest).with_tag("2").unwrap().familiar(), "r.example/a:2");
        assert!(reference.with_tag("a/b").is_err());
        assert_eq!(Reference::parse("a").unwrap().selector(), "latest");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}|[a-zA-Z0-9.:/@_\\[\\]-]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                let canonical = Reference::parse(&reference.canonical()).unwrap();
                prop_assert_eq!(canonical.name(), reference.name());
                prop_assert_eq!(Reference::parse(&reference.familiar()).unwrap(), reference);
            }
        }
    }
}
