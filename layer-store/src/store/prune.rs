//! Removal of what was not used for longest, until a store is as small as it should be.

use std::collections::HashMap;

use super::usage::{Category, Item, Part, Usage};
use crate::error::IoContext as _;
use crate::{Digest, Result, Store};

/// How large a store may be. All in bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The store is not larger than this.
    pub max_used: Option<u64>,
    /// Its filesystem has at least this much room.
    pub min_free: Option<u64>,
    /// A store that is not larger than this is left alone, whatever the others say.
    pub reserved: Option<u64>,
}

/// What goes.
pub struct Prune<'a> {
    /// Which things beside leftovers, which always go. What a running build uses never does.
    pub select: &'a dyn Fn(&Item) -> bool,
    /// With limits no more goes than they ask for, what was not used for longest first.
    pub limits: Option<Limits>,
    /// Only says what would go.
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// The things that were chosen, in the order in which they went.
    pub items: Vec<Item>,
    /// Bytes on disk that came back.
    pub freed: u64,
    /// Bytes on disk that the store takes after that.
    pub left: u64,
}

impl Limits {
    /// The size that a store of `used` bytes may keep where `free` bytes are left on its filesystem.
    fn keeps(&self, used: u64, free: u64) -> u64 {
        let mut keep = match self {
            // Alone it is the size to come down to, as in `docker buildx prune`.
            Self { max_used: None, min_free: None, reserved: Some(reserved) } => *reserved,
            _ => self.max_used.unwrap_or(u64::MAX),
        };
        if let Some(lacking) = self.min_free.and_then(|wanted| wanted.checked_sub(free)) {
            keep = keep.min(used.saturating_sub(lacking));
        }
        keep.max(self.reserved.unwrap_or(0))
    }
}

impl Store {
    /// Removes all blobs, layers and half-written things that no image, no step record and no running build needs,
    /// and step records whose layer is gone. Returns the bytes that came back, as the disk counts them.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Busy`] while somebody reads a store that is mounted read-only for them.
    pub fn collect(&self) -> Result<u64> {
        let store = self.apart();
        let freed = store.sweep(|| Ok(()))?;
        store.refresh_layout()?;
        Ok(freed)
    }

    /// Removes leftovers and what is chosen, while builds may run. A kill at any moment leaves what is not yet removed
    /// whole. Costs a `stat` of every file of the store.
    ///
    /// # Errors
    ///
    /// As [`Store::collect`].
    pub fn prune(&self, prune: &Prune<'_>) -> Result<Pruned> {
        let store = self.apart();
        let usage = self.usage()?;
        let keep = match &prune.limits {
            Some(limits) => limits.keeps(usage.total, self.free_bytes()?),
            None => 0,
        };
        let (items, freed) = chosen(&usage, prune, keep);
        let left = usage.total - freed.min(usage.total);
        if prune.dry_run {
            return Ok(Pruned { items, freed, left });
        }
        let freed = store.sweep(|| {
            let needed = store.needed()?;
            let free = |item: &&Item| !item.is_needed(&needed);
            items.iter().filter(free).try_for_each(|item| store.remove_root(item))
        })?;
        store.refresh_layout()?;
        Ok(Pruned { items, freed, left: usage.total.saturating_sub(freed) })
    }

    /// Takes away what makes a thing needed, or the thing itself.
    fn remove_root(&self, item: &Item) -> Result<()> {
        match item.category {
            Category::Image => self.remove_all(&self.image_path(&item.id)),
            Category::Step | Category::Context | Category::Record => match Digest::from_hex(&item.id) {
                Ok(key) => self.remove_record(&item.space, &key).map(drop),
                Err(_) => Ok(()),
            },
            Category::Mount => {
                let Ok(key) = Digest::from_hex(&item.id) else { return Ok(()) };
                let Some(_lock) = self.try_lock("mounts", &key)? else { return Ok(()) };
                self.set_aside(&self.root.join("mounts").join(&item.id))?;
                self.remove_all(&self.mount_mark(&key))
            }
            Category::Log => self.remove_all(&self.root.join("logs").join(&item.id)),
            // The sweep takes them.
            Category::Download | Category::Leftover => Ok(()),
        }
    }

    /// How many bytes this process may still write to the store's filesystem.
    fn free_bytes(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(self.root.as_path()).context("stat", &self.root)?;
        Ok(found.f_bavail * found.f_frsize)
    }
}

/// What goes, and what comes back with it.
fn chosen(usage: &Usage, prune: &Prune<'_>, keep: u64) -> (Vec<Item>, u64) {
    let mut count: HashMap<Part, u32> = HashMap::new();
    for part in usage.items.iter().flat_map(|item| &item.needs) {
        *count.entry(*part).or_default() += 1;
    }
    let goes = |item: &&Item| !item.in_use && (item.category == Category::Leftover || (prune.select)(item));
    let mut candidates: Vec<&Item> = usage.items.iter().filter(goes).collect();
    candidates.sort_by_key(|item| (item.category != Category::Leftover, item.last_used));
    let (mut items, mut freed) = (Vec::new(), 0);
    for item in candidates {
        let enough = prune.limits.is_some() && usage.total.saturating_sub(freed) <= keep;
        if enough && item.category != Category::Leftover {
            break;
        }
        freed += item.own();
        for part in &item.needs {
            let users = count.entry(*part).or_insert(1);
            *users -= 1;
            if *users == 0 {
                freed += usage.parts.get(part).copied().unwrap_or(0);
            }
        }
        items.push(item.clone());
    }
    (items, freed)
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn limits_as_buildx_means_them() {
        let limits = |max_used, min_free, reserved| Limits { max_used, min_free, reserved };
        for (limits, used, free, wanted) in [
            (limits(Some(100), None, None), 500, 0, 100),
            (limits(None, None, Some(100)), 500, 0, 100),
            (limits(Some(50), None, Some(100)), 500, 0, 100),
            (limits(None, Some(70), None), 500, 20, 450),
            (limits(None, Some(70), None), 500, 80, u64::MAX),
            (limits(Some(400), Some(70), None), 500, 20, 400),
            (limits(Some(480), Some(70), Some(460)), 500, 20, 460),
            (limits(None, Some(900), None), 500, 20, 0),
        ] {
            assert_eq!(limits.keeps(used, free), wanted, "{limits:?}");
        }
    }
}
