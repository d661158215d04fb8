//! Which distribution an image is (`os-release(5)`).

use super::Image;
use crate::error::Result;

/// What `os-release` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OsRelease {
    /// `debian`.
    pub(super) id: String,
    /// `12`.
    pub(super) version: String,
}

impl OsRelease {
    pub(super) fn read(image: &Image<'_>) -> Result<Self> {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            if let Some(text) = image.text(path)? {
                return Ok(Self::parse(&text));
            }
        }
        Ok(Self::default())
    }

    fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
        };
        Self { id: value("ID"), version: value("VERSION_ID") }
    }

    /// `debian-12`; empty where the image does not say.
    pub(super) fn distribution(&self) -> String {
        match (self.id.as_str(), self.version.as_str()) {
            ("", _) => String::new(),
            (id, "") => id.to_owned(),
            (id, version) => format!("{id}-{version}"),
        }
    }

    /// The namespace of its packages, or what the package manager is usually found in.
    pub(super) fn namespace<'a>(&'a self, usual: &'a str) -> &'a str {
        if self.id.is_empty() { usual } else { &self.id }
    }
}

#[cfg(test)]
mod tests {
    use super::OsRelease;

    #[test]
    fn distributions() {
        for (text, distribution) in [
            ("PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n", "debian-12"),
            ("ID='alpine'\nVERSION_ID=3.19.1\n", "alpine-3.19.1"),
            ("ID=arch\n", "arch"),
            ("VERSION_ID=1\n", ""),
            ("", ""),
        ] {
            assert_eq!(OsRelease::parse(text).distribution(), distribution, "{text}");
        }
    }
}
