//! The packages of an image, as the databases of its package manager list them. Nothing is run and nothing is extracted:
//! a few files are read through the image's view. What an image says is not trusted: sizes are bounded, and what cannot be
//! read is left out.

mod apk;
mod dpkg;
mod os;

use std::sync::Arc;

use layer_store::{Store, View};

use self::os::OsRelease;
use super::purl;
use crate::error::Result;

/// The largest database that is read, in bytes; Debian's whole archive has a smaller one.
const LARGEST: u64 = 128 << 20;

/// The databases of rpm, which are no text: Berkeley DB, ndb and SQLite.
const RPM: [&str; 6] = [
    "var/lib/rpm/Packages",
    "var/lib/rpm/Packages.db",
    "var/lib/rpm/rpmdb.sqlite",
    "usr/lib/sysimage/rpm/Packages",
    "usr/lib/sysimage/rpm/Packages.db",
    "usr/lib/sysimage/rpm/rpmdb.sqlite",
];

/// What is installed.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The distribution, `debian-12`; empty where the image does not say.
    pub(super) distribution: String,
    /// The packages, sorted by package URL, each once.
    pub(super) packages: Vec<Package>,
    /// What is there and was not read, in words.
    pub(super) unread: Vec<String>,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: String,
    /// Its package URL.
    pub(super) purl: String,
    /// Who looks after it, as the database says.
    pub(super) maintainer: String,
    /// Its home page.
    pub(super) home: String,
    /// Its licence, in the words of the database.
    pub(super) licence: String,
    /// The file that lists it.
    pub(super) listed_in: String,
}

/// Reads the databases of an image.
pub(super) fn read(store: &Arc<Store>, view: &View) -> Result<Found> {
    let image = Image { store, view };
    let os = OsRelease::read(&image)?;
    let mut found = Found { distribution: os.distribution(), ..Found::default() };
    found.packages.extend(dpkg::packages(&image, &os)?);
    found.packages.extend(apk::packages(&image, &os)?);
    found.packages.sort_by(|one, other| one.purl.cmp(&other.purl));
    found.packages.dedup_by(|one, other| one.purl == other.purl);
    let rpm = RPM.iter().find(|path| image.is_file(path));
    found.unread.extend(rpm.map(|path| {
        format!("the packages of rpm are not listed: `/{path}` is a database that rbuild does not read")
    }));
    Ok(found)
}

/// The files of an image.
struct Image<'a> {
    store: &'a Store,
    view: &'a View,
}

impl Image<'_> {
    /// A text file; `None` where there is none, or one that is too large to be what it should be.
    fn text(&self, path: &str) -> Result<Option<String>> {
        match self.store.read_file(self.view, path.as_bytes(), LARGEST) {
            Ok(bytes) => Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
            Err(layer_store::Error::Path { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn is_file(&self, path: &str) -> bool {
        let resolved = self.view.resolve(path.as_bytes(), true);
        resolved.ok().and_then(|resolved| resolved.found).and_then(|found| self.view.content(found)).is_some()
    }

    /// The names in a directory, sorted; none where there is no such directory.
    fn names(&self, path: &str) -> Vec<String> {
        let Ok(resolved) = self.view.resolve(path.as_bytes(), true) else { return Vec::new() };
        let entries = self.view.list(&resolved.path).into_iter();
        let names = entries.filter_map(|located| {
            let path = &located.entry.path;
            let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            String::from_utf8(path[start..].to_vec()).ok()
        });
        names.collect()
    }
}
