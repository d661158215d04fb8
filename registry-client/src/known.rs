//! Which repositories are known to have a blob: what lets a push mount instead of upload.

use std::sync::Arc;

use layer_store::{Digest, Store};

use crate::error::Error;
use crate::reference::Reference;
use crate::sink::blocking;

const SPACE: &str = "locations";
/// Newest first; older ones are forgotten.
const MOST: usize = 8;

/// Notes that the repository of `reference` has these blobs. It is a hint: a registry may forget, and is asked in any case.
pub(crate) async fn remember(
    store: &Arc<Store>,
    reference: &Reference,
    blobs: Vec<Digest>,
) -> Result<(), Error> {
    let (store, name) = (Arc::clone(store), reference.name());
    blocking(move || {
        for blob in blobs {
            let mut names = read(&store, &blob)?;
            if names.first() == Some(&name) {
                continue;
            }
            names.retain(|one| *one != name);
            names.insert(0, name.clone());
            names.truncate(MOST);
            store.put_record(SPACE, &blob, &serde_json::to_vec(&names).unwrap_or_default())?;
        }
        Ok(())
    })
    .await
}

/// The repositories that were noted to have `blob`, newest first.
pub(crate) async fn places(store: &Arc<Store>, blob: Digest) -> Result<Vec<Reference>, Error> {
    let store = Arc::clone(store);
    let names = blocking(move || read(&store, &blob)).await?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn read(store: &Store, blob: &Digest) -> layer_store::Result<Vec<String>> {
    let record = store.record(SPACE, blob)?;
    Ok(record.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}
