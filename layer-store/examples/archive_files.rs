//! Lists the files of the first image of an archive (`docker save`, or a tar of an OCI layout), or prints one of them:
//! `archive_files ARCHIVE [PATH]`. Layers are indexed, and nothing is extracted.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use layer_store::index::path::printable;
use layer_store::layer::Form;
use layer_store::manifest::ManifestContent;
use layer_store::{ImageConfig, Store, StoreOptions, archive};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, path @ ..] = &words[..] else { return Err("archive_files ARCHIVE [PATH]".into()) };
    let place = tempfile::tempdir()?;
    let store = Store::open(place.path(), StoreOptions::default())?;

    let images = archive::read(&store, &mut File::open(Path::new(file))?)?;
    let image = images.first().ok_or("there is no image in the archive")?;
    let ManifestContent::Image { config, layers, .. } = &image.manifest.content else {
        return Err("the first image is for several platforms".into());
    };
    let diff_ids = ImageConfig::from_slice(&store.read_blob(&config.digest, 8 << 20)?)?.rootfs.diff_ids;
    for (layer, diff_id) in layers.iter().zip(&diff_ids) {
        store.remember_blob(diff_id, layer)?;
        store.apply(&mut store.open_blob(&layer.digest)?, diff_id, Form::Index)?;
    }
    let view = store.view(&diff_ids)?;

    let mut output = io::stdout().lock();
    if let [path] = path {
        let found = store.read_file(&view, path.as_bytes(), 64 << 20)?;
        output.write_all(&found.ok_or_else(|| format!("there is no file `{path}`"))?)?;
    } else {
        for located in view.walk(b"") {
            writeln!(output, "{}", printable(&located.entry.path))?;
        }
    }
    Ok(())
}
