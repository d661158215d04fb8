//! What a person writes for a place that images come from or go to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use registry_client::Reference;

/// A place that images come from or go to. Transports are written as skopeo writes them; a plain name is a registry's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `debian:12`, `docker://debian:12`: an image of a registry.
    Registry(Reference),
    /// `store:app:1.0`: an image of this machine's store, by name or id.
    Store(String),
    /// `oci:DIRECTORY[:NAME]`: an OCI layout.
    Layout {
        /// The directory.
        path: PathBuf,
        /// The name of one image in it (`org.opencontainers.image.ref.name`).
        name: Option<String>,
    },
    /// `oci-archive:FILE[:NAME]`: the tar of an OCI layout.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The name of one image in it.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes and `docker load` reads.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The name of one image in it.
        name: Option<String>,
    },
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place for images: {reason}")]
pub struct InvalidLocation {
    /// As written.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Transports of other tools that mean nothing here.
const FOREIGN: [&str; 6] =
    ["docker-daemon", "containers-storage", "dir", "ostree", "atomic", "docker-archive-tar"];

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let wrong = |reason: &str| InvalidLocation { text: text.to_owned(), reason: reason.to_owned() };
        let registry = |name: &str| {
            let parsed = Reference::parse(name);
            parsed.map(Self::Registry).map_err(|error| wrong(error.reason))
        };
        if let Some(name) = text.strip_prefix("docker://") {
            return registry(name);
        }
        let (transport, rest) = match text.split_once(':') {
            Some(("oci" | "oci-archive" | "docker-archive" | "store", "")) => {
                return Err(wrong("nothing stands after the colon"));
            }
            Some((transport @ ("oci" | "oci-archive" | "docker-archive" | "store"), rest)) => {
                (transport, rest)
            }
            Some((transport, _)) if FOREIGN.contains(&transport) => {
                return Err(wrong(
                    "the transports are docker://, oci:, oci-archive:, docker-archive: and store:",
                ));
            }
            _ if looks_like_file(text) => {
                return Err(wrong(
                    "a file or directory needs its format in front: oci:, oci-archive: or docker-archive:",
                ));
            }
            _ => return registry(text),
        };
        if transport == "store" {
            return Ok(Self::Store(rest.to_owned()));
        }
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) if !name.is_empty() => (path, Some(name.to_owned())),
            Some((path, _)) => (path, None),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(wrong("the path is missing"));
        }
        let path = PathBuf::from(path);
        Ok(match transport {
            "oci" => Self::Layout { path, name },
            "oci-archive" => Self::OciArchive { path, name },
            _ => Self::DockerArchive { path, name },
        })
    }
}

/// Whether a text cannot have been meant as an image name.
fn looks_like_file(text: &str) -> bool {
    text.starts_with(['.', '/', '~'])
        || Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Self::Registry(reference) => return write!(f, "{reference}"),
            Self::Store(name) => return write!(f, "store:{name}"),
            Self::Layout { path, name } => ("oci", path, name),
            Self::OciArchive { path, name } => ("oci-archive", path, name),
            Self::DockerArchive { path, name } => ("docker-archive", path, name),
        };
        write!(f, "{transport}:{}", path.display())?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_as_skopeo_writes_them() {
        for (text, wanted) in [
            ("debian", Some("debian")),
            ("docker://debian:12", Some("debian:12")),
            ("docker://127.0.0.1:5000/a/b:1", Some("127.0.0.1:5000/a/b:1")),
            ("oci:out", Some("oci:out")),
            ("oci:/tmp/out:v1", Some("oci:/tmp/out:v1")),
            ("oci:out:", Some("oci:out")),
            ("oci-archive:a.tar:team/app:1.0", Some("oci-archive:a.tar:team/app:1.0")),
            ("docker-archive:/tmp/a.tar", Some("docker-archive:/tmp/a.tar")),
            ("store:app:1.0", Some("store:app:1.0")),
            ("oci", Some("oci")),
            ("oci:", None),
            ("oci::v1", None),
            ("store:", None),
            ("./a.tar", None),
            ("/tmp/out", None),
            ("image.tar", None),
            ("docker-daemon:app:1", None),
            ("containers-storage:app", None),
            ("docker://", None),
            ("A", None),
        ] {
            let found = text.parse::<Location>().map(|location| location.to_string()).ok();
            assert_eq!(found.as_deref(), wanted, "{text}");
        }
    }
}
