//! Directories of `RUN --mount=type=cache`, which outlive builds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer_store::digest::Hasher;
use layer_store::store::Lock;
use layer_store::{Digest, Store, View};

use crate::copy::path::PathBytes;
use crate::error::{Error, Result};
use crate::graph::Sharing;

/// Which cache is wanted.
pub(crate) struct Request {
    /// Its identity, as written. It is hashed, never joined into a path.
    pub(crate) id: String,
    /// What a new one begins with: a filesystem and the directory in it.
    pub(crate) seed: Option<(View, String)>,
    /// What a new one begins with, from a shared cache.
    pub(crate) imported: Option<View>,
    /// Who may use it at the same time.
    pub(crate) sharing: Sharing,
    /// Mode of a new one without a seed; with one, it is the seed's, like the owner and the group.
    pub(crate) mode: u32,
    /// Owner of a new one without a seed.
    pub(crate) uid: u32,
    /// Group of a new one without a seed.
    pub(crate) gid: u32,
}

/// A cache that may be used.
pub(crate) struct Cache {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// Held while it is used, unless it is shared.
    pub(crate) lock: Option<Lock>,
}

/// How many private copies of a cache are tried before another one waits.
const PRIVATE_COPIES: u32 = 64;

impl Request {
    /// What the cache is known by, of those of private copies the first.
    pub(crate) fn key(&self) -> Digest {
        self.copy_key(0)
    }

    fn copy_key(&self, copy: u32) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("cache-mount").field(&self.id).field(copy.to_le_bytes());
        // A cache that begins with something else is another cache.
        if let Some((view, source)) = &self.seed {
            hasher.field(source);
            for (layer, _) in view.layers() {
                hasher.field(layer.as_bytes());
            }
        }
        hasher.finish()
    }

    fn attributes(&self) -> Result<Attributes> {
        let (mode, uid, gid) = match &self.seed {
            Some((view, source)) => {
                let part = seeded(view, source)?;
                let found = view.lookup(&part).map_or(view.root(), |found| found.entry);
                (found.mode, found.uid, found.gid)
            }
            None => (self.mode, self.uid, self.gid),
        };
        Ok(Attributes { mode: mode & 0o7777, uid, gid })
    }
}

/// What the directory of a new cache is like.
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
}

/// The directory that a seed names, links followed.
fn seeded(view: &View, source: &str) -> Result<PathBytes> {
    Ok(view.resolve(source.trim_start_matches('/').as_bytes(), true)?.path)
}

/// Whether there is a cache of that key.
pub(crate) fn exists(store: &Store, key: &Digest) -> bool {
    place(store, key).exists()
}

fn place(store: &Store, key: &Digest) -> PathBuf {
    store.root().join("mounts").join(key.hex())
}

/// Opens the cache, and makes it if it is new.
pub(crate) fn open(store: &Store, request: &Request) -> Result<Cache> {
    let key = |copy: u32| request.copy_key(copy);
    match request.sharing {
        Sharing::Shared => make(store, request, &key(0)).map(|path| Cache { path, lock: None }),
        Sharing::Locked => {
            let key = key(0);
            let lock = store.lock("mounts", &key)?;
            make(store, request, &key).map(|path| Cache { path, lock: Some(lock) })
        }
        Sharing::Private => {
            for copy in 0..PRIVATE_COPIES {
                let key = key(copy);
                if let Some(lock) = store.try_lock("mounts", &key)? {
                    return make(store, request, &key).map(|path| Cache { path, lock: Some(lock) });
                }
            }
            let key = key(0);
            let lock = store.lock("mounts", &key)?;
            make(store, request, &key).map(|path| Cache { path, lock: Some(lock) })
        }
    }
}

fn make(store: &Store, request: &Request, key: &Digest) -> Result<PathBuf> {
    let path = store.mount(key, &request.id)?;
    let failed = |action: &'static str, source: std::io::Error| Error::File {
        action,
        path: path.display().to_string(),
        source: Arc::new(source),
    };
    match fs::create_dir(&path) {
        Ok(()) => {
            if let Some(view) = &request.imported {
                if crate::cache::import_mount(store, view, &path).is_err() {
                    // A cache that begins empty is as right, and half a one may not be.
                    let _ = fs::remove_dir_all(&path);
                    fs::create_dir(&path).map_err(|error| failed("create", error))?;
                }
            } else if let Some((view, source)) = &request.seed {
                let part = seeded(view, source)?;
                let entries = crate::output::flat::entries(view, &part, None);
                if let Err(error) = crate::output::directory::write(store, entries, &path) {
                    // Half a seed is none.
                    let _ = fs::remove_dir_all(&path);
                    return Err(error);
                }
            }
            let Attributes { mode, uid, gid } = request.attributes()?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .map_err(|error| failed("set the mode of", error))?;
            if (uid, gid) != (0, 0) {
                own(store, &path, mode, uid, gid).map_err(|error| failed("set the owner of", error))?;
            }
            Ok(path)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(failed("create", error)),
    }
}

/// Gives a new cache its owner: by hand where this process may, else through the custodian, who may give subordinate
/// ids. Where only one id is mapped the owner stays what it is.
fn own(store: &Store, path: &Path, mode: u32, uid: u32, gid: u32) -> std::io::Result<()> {
    match (std::os::unix::fs::chown(path, Some(uid), Some(gid)), store.custodian()) {
        (Err(error), Some(custodian)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let owner = layer_store::store::Ownership {
                path: Vec::new(),
                uid,
                gid,
                mode: Some(mode),
                xattrs: Vec::new(),
            };
            custodian.own(path, &[owner])
        }
        (result, _) => result,
    }
}
