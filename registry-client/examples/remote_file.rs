//! Prints one file of an image in a registry and fetches no more than it has to: `remote_file IMAGE PATH`.
//!
//! Layers are read from the top one down while they arrive, and the download ends where the file does. A file that a
//! layer above removed is not looked for below it; links are not followed.

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer_store::layer::{Limits, decompress};
use layer_store::manifest::ManifestContent;
use layer_store::{Descriptor, Platform, Store, StoreOptions};
use registry_client::{Client, ClientSettings, Reference, Silent};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [image, path] = &words[..] else { return Err("remote_file IMAGE PATH".into()) };
    let image: Reference = image.parse()?;
    let client = Client::new(ClientSettings::default(), Arc::new(Silent))?;
    let manifest = client.resolve(&image, &Platform::host()).await?.manifest;
    let ManifestContent::Image { layers, .. } = &manifest.content else { return Err("not an image".into()) };
    for layer in layers.iter().rev() {
        match in_layer(&client, &image, layer, path.trim_start_matches('/').into()).await? {
            Found::File(bytes) => return Ok(io::stdout().write_all(&bytes)?),
            Found::Removed => break,
            Found::Nothing => {}
        }
    }
    Err(format!("there is no file `{path}` in `{image}`").into())
}

/// What a layer says of a path.
enum Found {
    File(Vec<u8>),
    Removed,
    Nothing,
}

/// Downloads a layer until the file has come.
async fn in_layer(
    client: &Client,
    image: &Reference,
    layer: &Descriptor,
    path: PathBuf,
) -> Result<Found, Error> {
    let place = tempfile::tempdir()?;
    let store = Arc::new(Store::open(place.path(), StoreOptions::default())?);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let download = client.fetch(image, layer, &store, |ingest| drop(sender.send(ingest.follow())));
    let search = async {
        let bytes = receiver.await??;
        tokio::task::spawn_blocking(move || find(bytes, &path)).await?
    };
    tokio::pin!(download, search);
    tokio::select! {
        found = &mut search => found,
        // All of it is here, and what has to be read of it is left.
        done = &mut download => { done?; search.await }
    }
}

fn find(blob: impl Read, path: &Path) -> Result<Found, Error> {
    let mut layer = tar::Archive::new(decompress(blob, Limits::default())?);
    let removed = path.with_file_name(format!(".wh.{}", path.file_name().unwrap_or_default().display()));
    for entry in layer.entries()? {
        let mut entry = entry?;
        let name = entry.path()?;
        let name = name.strip_prefix("./").unwrap_or(&name);
        if name == removed {
            return Ok(Found::Removed);
        }
        if name == path && entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(Found::File(bytes));
        }
    }
    Ok(Found::Nothing)
}
