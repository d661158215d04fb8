//! Pulls an image into a store, or pushes one that was pulled: `transfer pull|push REFERENCE STORE [TARGET]`. For
//! measuring the client alone, with `time`: the store does not wait for the disk.

use std::path::Path;
use std::sync::Arc;

use layer_store::store::Durability;
use layer_store::{Platform, Store, StoreOptions};
use registry_client::{Client, ClientSettings, Error, PushRequest, Reference, Silent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [action, reference, place, rest @ ..] = &arguments[..] else {
        return Err("transfer pull|push REFERENCE STORE [TARGET]".into());
    };
    let store = Arc::new(Store::open(
        Path::new(place),
        StoreOptions { durability: Durability::None, ..StoreOptions::default() },
    )?);
    let client = Client::new(ClientSettings::default(), Arc::new(Silent))?;
    let reference: Reference = reference.parse()?;
    match (action.as_str(), rest) {
        ("pull", []) => pull(&client, &reference, &store).await?,
        ("push", [target]) => push(&client, &reference, &target.parse()?, &store).await?,
        _ => return Err("transfer pull|push REFERENCE STORE [TARGET]".into()),
    }
    Ok(())
}

async fn pull(client: &Client, reference: &Reference, store: &Arc<Store>) -> Result<(), Error> {
    client.pull(reference, &Platform::host(), store).await.map(drop)
}

async fn push(
    client: &Client,
    reference: &Reference,
    target: &Reference,
    store: &Arc<Store>,
) -> Result<(), Error> {
    let resolved = client.resolve(reference, &Platform::host()).await?;
    let request = PushRequest { manifests: vec![resolved.manifest], ..PushRequest::default() };
    client.push(target, store, request).await.map(drop)
}
