//! Packages of dpkg: `/var/lib/dpkg/status`, and `status.d` of images that are put together without dpkg (one file for
//! each package, as distroless images have it).

use super::os::OsRelease;
use super::{Image, Package, purl};
use crate::error::Result;

const STATUS: &str = "var/lib/dpkg/status";
const PARTS: &str = "var/lib/dpkg/status.d";

pub(super) fn packages(image: &Image<'_>, os: &OsRelease) -> Result<Vec<Package>> {
    let mut found = Vec::new();
    if let Some(text) = image.text(STATUS)? {
        found.extend(parse(&text, STATUS, os));
    }
    for name in image.names(PARTS) {
        // Beside each package may lie the checksums of its files.
        if name.ends_with(".md5sums") || name.ends_with(".preinst") {
            continue;
        }
        let path = format!("{PARTS}/{name}");
        if let Some(text) = image.text(&path)? {
            found.extend(parse(&text, &path, os));
        }
    }
    Ok(found)
}

/// The packages of a file of paragraphs (`deb-control(5)`), but for those that were removed.
fn parse(text: &str, listed_in: &str, os: &OsRelease) -> Vec<Package> {
    let paragraphs = text.split("\n\n").map(str::trim_start);
    paragraphs.filter_map(|paragraph| package(paragraph, listed_in, os)).collect()
}

fn package(paragraph: &str, listed_in: &str, os: &OsRelease) -> Option<Package> {
    let field = |name: &str| {
        let mut lines = paragraph.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    let (name, version) = (field("Package"), field("Version"));
    let status = field("Status");
    let is_there = status.is_empty() || status.ends_with(" installed");
    if name.is_empty() || version.is_empty() || !is_there {
        return None;
    }
    let distribution = os.distribution();
    let source = upstream(field("Source"), version);
    let qualifiers =
        [("arch", field("Architecture")), ("distro", &distribution), ("upstream", source.as_str())];
    Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: purl::package("deb", os.namespace("debian"), name, version, &qualifiers),
        maintainer: field("Maintainer").to_owned(),
        home: field("Homepage").to_owned(),
        licence: String::new(),
        listed_in: format!("/{listed_in}"),
    })
}

/// `name@version` of the source package where it is another one: what vulnerabilities are filed under.
fn upstream(source: &str, version: &str) -> String {
    match source.split_once(" (") {
        Some((name, own)) => format!("{name}@{}", own.trim_end_matches(')')),
        None if source.is_empty() => String::new(),
        None => format!("{source}@{version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs() {
        let os = OsRelease { id: "debian".to_owned(), version: "12".to_owned() };
        let text = "Package: libstdc++6\nStatus: install ok installed\nArchitecture: amd64\n\
                    Source: gcc-12 (12.2.0-14)\nVersion: 12.2.0-14\nMaintainer: A <a@b>\n\
                    Description: GNU\n Version: 9\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: half\nVersion:\n\n\n\nPackage: plain\nVersion: 2:1+b1\n";
        let found = parse(text, STATUS, &os);
        let urls: Vec<&str> = found.iter().map(|package| package.purl.as_str()).collect();
        assert_eq!(
            urls,
            [
                "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12%4012.2.0-14",
                "pkg:deb/debian/plain@2:1%2Bb1?distro=debian-12",
            ]
        );
        assert_eq!(
            (found[0].maintainer.as_str(), found[0].listed_in.as_str()),
            ("A <a@b>", "/var/lib/dpkg/status")
        );
    }
}
