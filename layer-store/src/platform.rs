//! Operating system, architecture and variant of an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform in normalised form: `linux/arm64`, `linux/arm/v7`, `windows(10.0.17763)/amd64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, as Go names it.
    pub os: String,
    /// Architecture, as Go names it.
    pub architecture: String,
    /// CPU variant, `v7` for instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system (used by Windows images).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform of the form os/architecture[/variant]")]
pub struct InvalidPlatform(pub String);

impl Platform {
    /// A normalised platform from its parts (`aarch64` becomes `arm64`, `arm` gets variant `v7`, and so on).
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (os, architecture) = (os.to_ascii_lowercase(), architecture.to_ascii_lowercase());
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_ascii_lowercase);
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("i386", _) => ("386", None),
            ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
        }
    }

    /// The platform that this program was compiled for.
    #[must_use]
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// How well an image of platform `self` serves a machine of platform `wanted`: `Some(0)` is exact, larger is
    /// worse, `None` does not run there. The order is containerd's; of versions of the operating system, where both are
    /// known, the first three numbers have to be the same.
    #[must_use]
    pub fn distance(&self, wanted: &Self) -> Option<usize> {
        if let (Some(own), Some(other)) = (&self.os_version, &wanted.os_version) {
            let build = |version: &str| version.split('.').take(3).map(str::to_owned).collect::<Vec<_>>();
            if build(own) != build(other) {
                return None;
            }
        }
        let candidates = wanted.acceptable();
        candidates.iter().position(|one| {
            one.os == self.os && one.architecture == self.architecture && one.variant == self.variant
        })
    }

    fn acceptable(&self) -> Vec<Self> {
        let of = |architecture: &str, variant: Option<String>| Self {
            os: self.os.clone(),
            architecture: architecture.to_owned(),
            variant,
            os_version: None,
        };
        let number = |variant: &Option<String>| {
            variant.as_deref().and_then(|text| text.trim_start_matches('v').parse::<u32>().ok())
        };
        let mut list = vec![of(&self.architecture, self.variant.clone())];
        match self.architecture.as_str() {
            "arm" => {
                let newest = number(&self.variant).unwrap_or(7);
                list.extend((5..newest).rev().map(|version| of("arm", Some(format!("v{version}")))));
                list.push(of("arm", None));
            }
            "arm64" => {
                if self.variant.is_some() {
                    list.push(of("arm64", None));
                }
                list.push(of("arm64", Some("v8".to_owned())));
                list.extend((5..=8).rev().map(|version| of("arm", Some(format!("v{version}")))));
            }
            "amd64" => {
                let newest = number(&self.variant).unwrap_or(1);
                list.extend((2..newest).rev().map(|version| of("amd64", Some(format!("v{version}")))));
                if newest > 1 {
                    list.push(of("amd64", None));
                }
                list.push(of("amd64", Some("v1".to_owned())));
                list.push(of("386", None));
            }
            _ => {}
        }
        list
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform(text.chars().take(100).collect());
        let fine = |part: &&str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        };
        let mut parts: Vec<&str> = text.split('/').collect();
        let versioned = parts[0].strip_suffix(')').and_then(|os| os.split_once('('));
        if let Some((os, _)) = versioned {
            parts[0] = os;
        }
        let version = versioned.map(|(_, version)| version);
        if !parts.iter().all(fine) || !version.iter().all(fine) {
            return Err(invalid());
        }
        let platform = match parts[..] {
            [os] if matches!(
                os.to_ascii_lowercase().as_str(),
                "linux" | "windows" | "darwin" | "freebsd"
            ) =>
            {
                Self::new(os, std::env::consts::ARCH, None)
            }
            [architecture] if version.is_none() => Self::new("linux", architecture, None),
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => return Err(invalid()),
        };
        Ok(Self { os_version: version.map(str::to_owned), ..platform })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (text, normal) in [
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("Linux/ARM/v6", "linux/arm/v6"),
            ("amd64", "linux/amd64"),
            ("windows(10.0.17763)/x86_64", "windows(10.0.17763)/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal);
        }
        for text in [
            "",
            "/",
            "linux/",
            "linux/amd64/v1/x",
            "linux/am d64",
            "windows()/amd64",
            "(1)/amd64",
            "amd64(1)",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn nearest_first() {
        let platform = |text: &str| text.parse::<Platform>().unwrap();
        assert_eq!(platform("linux/amd64").distance(&platform("linux/amd64")), Some(0));
        assert_eq!(platform("linux/arm64").distance(&platform("linux/amd64")), None);
        let windows = platform("windows(10.0.17763.1)/amd64");
        assert_eq!(windows.distance(&platform("windows(10.0.17763.2)/amd64")), Some(0));
        assert_eq!(windows.distance(&platform("windows(10.0.20348)/amd64")), None);
        assert_eq!(windows.distance(&platform("windows/amd64")), Some(0));
        let wanted = platform("linux/arm/v7");
        assert!(platform("linux/arm/v6").distance(&wanted) < platform("linux/arm/v5").distance(&wanted));
    }
}
