//! How large the store may become: a limit that holds while a build runs, not only after it.

use std::sync::Arc;

use layer_store::Store;
use layer_store::store::{Category, Item, Limits, Prune};

use crate::error::{Error, Result};

/// The limit of a build's store.
#[derive(Clone)]
pub struct Budget {
    store: Arc<Store>,
    /// Bytes on disk; `None` for no limit.
    most: Option<u64>,
}

impl Budget {
    /// A limit of `most` bytes on disk for all that `store` holds.
    #[must_use]
    pub fn new(store: Arc<Store>, most: Option<u64>) -> Self {
        Self { store, most }
    }

    /// Whether there is a limit to keep.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.most.is_some()
    }

    /// Removes what was not used for longest until the store is as small as it has to be. Blocks; costs a `stat` of
    /// every file of the store where there is a limit, and nothing where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where images and what this build needs are larger than the limit.
    pub fn keep(&self) -> Result<()> {
        let Some(most) = self.most else { return Ok(()) };
        let select = |item: &Item| item.category != Category::Image || item.name.starts_with("<none>@");
        let limits = Limits { max_used: Some(most), ..Limits::default() };
        let left = self.store.prune(&Prune { select: &select, limits: Some(limits), dry_run: false })?.left;
        if left <= most {
            return Ok(());
        }
        Err(Error::Invalid {
            message: format!(
                "images and what this build needs take {left} bytes of the store, more than its limit of {most}"
            ),
            help: Some(
                "raise `--max-used-space`, or remove images with `rbuild rmi`; `rbuild du` shows them"
                    .to_owned(),
            ),
        })
    }
}
