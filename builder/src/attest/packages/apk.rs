//! Packages of apk: `installed`, a file of paragraphs with lines of one letter (Alpine's "apk spec").

use super::os::OsRelease;
use super::{Image, Package, purl};
use crate::error::Result;

/// Where it is; the second since `/lib` is a link.
const INSTALLED: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

pub(super) fn packages(image: &Image<'_>, os: &OsRelease) -> Result<Vec<Package>> {
    for path in INSTALLED {
        if let Some(text) = image.text(path)? {
            return Ok(parse(&text, path, os));
        }
    }
    Ok(Vec::new())
}

fn parse(text: &str, listed_in: &str, os: &OsRelease) -> Vec<Package> {
    text.split("\n\n").filter_map(|paragraph| package(paragraph, listed_in, os)).collect()
}

fn package(paragraph: &str, listed_in: &str, os: &OsRelease) -> Option<Package> {
    // Lines about files follow, which have letters of their own; the first of each letter is the package's.
    let field = |letter: char| {
        let mut lines = paragraph.lines();
        lines.find_map(|line| line.strip_prefix(letter)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    let (name, version) = (field('P'), field('V'));
    if name.is_empty() || version.is_empty() {
        return None;
    }
    let distribution = os.distribution();
    let origin = field('o');
    let upstream =
        if origin.is_empty() || origin == name { String::new() } else { format!("{origin}@{version}") };
    let qualifiers = [("arch", field('A')), ("distro", &distribution), ("upstream", &upstream)];
    Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: purl::package("apk", os.namespace("alpine"), name, version, &qualifiers),
        maintainer: field('m').to_owned(),
        home: field('U').to_owned(),
        licence: field('L').to_owned(),
        listed_in: format!("/{listed_in}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs() {
        let os = OsRelease { id: "alpine".to_owned(), version: "3.19.1".to_owned() };
        let text = "C:Q1abc=\nP:musl-utils\nV:1.2.4-r2\nA:x86_64\nL:MIT AND BSD-2-Clause\nU:https://musl.libc.org/\n\
                    o:musl\nm:A <a@b>\nF:sbin\nR:ldconfig\na:0:0:755\n\nP:busybox\nV:1.36.1-r15\nA:x86_64\no:busybox\n\nF:x\n";
        let found = parse(text, INSTALLED[0], &os);
        let urls: Vec<&str> = found.iter().map(|package| package.purl.as_str()).collect();
        assert_eq!(
            urls,
            [
                "pkg:apk/alpine/musl-utils@1.2.4-r2?arch=x86_64&distro=alpine-3.19.1&upstream=musl%401.2.4-r2",
                "pkg:apk/alpine/busybox@1.36.1-r15?arch=x86_64&distro=alpine-3.19.1",
            ]
        );
        assert_eq!(found[0].licence, "MIT AND BSD-2-Clause");
    }
}
