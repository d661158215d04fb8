//! Directories of `RUN --mount=type=cache`, which outlive builds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use layer_store::digest::Hasher;
use layer_store::store::Lock;
use layer_store::{Digest, Store, View};

use crate::error::{Error, Result};
use crate::graph::Sharing;

/// Which cache is wanted.
pub(crate) struct Request {
    /// Its identity, as written. It is hashed, never joined into a path.
    pub(crate) id: String,
    /// What a new one begins with: a filesystem and the directory in it.
    pub(crate) seed: Option<(View, String)>,
    /// Who may use it at the same time.
    pub(crate) sharing: Sharing,
    /// Mode of a new one.
    pub(crate) mode: u32,
    /// Owner of a new one.
    pub(crate) uid: u32,
    /// Group of a new one.
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

/// Opens the cache, and makes it if it is new.
pub(crate) fn open(store: &Store, request: &Request) -> Result<Cache> {
    let key = |copy: u32| {
        let mut hasher = Hasher::default();
        hasher.field("cache-mount").field(&request.id).field(copy.to_le_bytes());
        // A cache that begins with something else is another cache.
        if let Some((view, source)) = &request.seed {
            hasher.field(source);
            for (layer, _) in view.layers() {
                hasher.field(layer.as_bytes());
            }
        }
        hasher.finish()
    };
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
            if let Some((view, source)) = &request.seed {
                let part = view.resolve(source.trim_start_matches('/').as_bytes(), true)?.path;
                let entries = crate::output::flat::entries(view, &part, None);
                if let Err(error) = crate::output::directory::write(store, entries, &path) {
                    // Half a seed is none.
                    let _ = fs::remove_dir_all(&path);
                    return Err(error);
                }
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(request.mode & 0o7777))
                .map_err(|error| failed("set the mode of", error))?;
            if (request.uid, request.gid) != (0, 0) {
                own(store, &path, request).map_err(|error| failed("set the owner of", error))?;
            }
            Ok(path)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(failed("create", error)),
    }
}

/// Gives a new cache its owner: by hand where this process may, else through the custodian, who may give subordinate
/// ids. Where only one id is mapped the owner stays what it is.
fn own(store: &Store, path: &std::path::Path, request: &Request) -> std::io::Result<()> {
    match (std::os::unix::fs::chown(path, Some(request.uid), Some(request.gid)), store.custodian()) {
        (Err(error), Some(custodian)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let owner = layer_store::store::Ownership {
                path: Vec::new(),
                uid: request.uid,
                gid: request.gid,
                mode: Some(request.mode & 0o7777),
                xattrs: Vec::new(),
            };
            custodian.own(path, &[owner])
        }
        (result, _) => result,
    }
}
