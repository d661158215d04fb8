//! Copies an image from one registry to another with all its platforms, byte for byte: `copy_image FROM TO`.

use std::io::Write as _;
use std::sync::Arc;

use layer_store::{Store, StoreOptions};
use registry_client::{Client, ClientSettings, Platforms, Reference, Repository, Silent, Supply};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &words[..] else { return Err("copy_image FROM TO".into()) };
    let from: Reference = from.parse()?;
    let client = Client::new(ClientSettings::default(), Arc::new(Silent))?;

    let source = Repository::Remote(from.clone());
    let top = client.manifest(&from).await?;
    let tree = client.tree(std::slice::from_ref(&source), top, &Platforms::All).await?;

    // Layers stream through. The store only remembers how far uploads are, so that a cut copy can be gone on with.
    let memory = tempfile::tempdir()?;
    let store = Arc::new(Store::open(memory.path(), StoreOptions::default())?);
    let target = Repository::Remote(to.parse()?);
    let copied = client.copy(&tree, &Supply::from(source), &target, &store).await?;

    let digest = tree.top().digest();
    writeln!(std::io::stdout(), "{digest}: {} blobs moved, {} bytes", copied.moved, copied.bytes)?;
    Ok(())
}
