//! Base images of a case: `from busybox` puts busybox below, `config {…}` is the image's config object and `image {…}`
//! what else its document says, the other lines are a layer.

use serde_json::{Value, json};
use xtask::base_image;
use xtask::upload::{self, Compression, Dialect, Layer};

use crate::archive;
use crate::entry::Entry;

/// Pushes the image as `library/NAME` to the registry at `address`.
pub(crate) fn push<'a>(
    address: &str,
    name: &str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let (repository, tag) = split(name)?;
    let mut layers: Vec<Layer> = Vec::new();
    let (mut config, mut more) = (json!({}), json!({}));
    let (mut compression, mut dialect) = (Compression::default(), Dialect::default());
    let mut entries = Vec::new();
    for line in lines {
        let read = |text: &str| serde_json::from_str(text).map_err(|error| format!("{error}: {text}"));
        match line.split_once(' ').unwrap_or((line, "")) {
            ("from", "busybox") => {
                let tar = base_image::busybox_tar().map_err(|error| format!("{error:#}"))?;
                layers.push(upload::layer(&tar).map_err(|error| format!("{error:#}"))?);
            }
            ("config", text) => config = read(text)?,
            ("image", text) => more = read(text)?,
            ("zstd", "") => compression = Compression::Zstd,
            ("uncompressed", "") => compression = Compression::None,
            ("docker", "") => dialect = Dialect::Docker,
            ("layer", "") => layers.push(layer(&std::mem::take(&mut entries), compression)?),
            _ => {
                let mut entry = Entry::parse(line)?;
                entry.path = entry.path.trim_start_matches('/').to_owned();
                entries.push(entry);
            }
        }
    }
    if !entries.is_empty() {
        layers.push(layer(&entries, compression)?);
    }
    let mut document = upload::document(&layers, &config);
    if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
        document.extend(more);
    }
    upload::push(address, &repository, tag, &layers, &document, dialect)
        .map_err(|error| format!("{error:#}"))?;
    Ok(())
}

/// Pushes an index as `library/NAME`: each line is a platform and the tag of an image of the same repository.
pub(crate) fn push_index<'a>(
    address: &str,
    name: &str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let (repository, tag) = split(name)?;
    let images = lines
        .map(|line| {
            let (platform, tag) = line.split_once(' ').ok_or("an index has lines of `PLATFORM TAG`")?;
            let mut parts = platform.split('/');
            let platform = json!({"os": parts.next(), "architecture": parts.next(), "variant": parts.next()});
            Ok((platform, tag))
        })
        .collect::<Result<Vec<_>, String>>()?;
    upload::index(address, &repository, tag, &images).map_err(|error| format!("{error:#}"))?;
    Ok(())
}

fn split(name: &str) -> Result<(String, &str), String> {
    let (repository, tag) = name.rsplit_once(':').ok_or("a base has a tag")?;
    let official = if repository.contains('/') { "" } else { "library/" };
    Ok((format!("{official}{repository}"), tag))
}

fn layer(entries: &[Entry], compression: Compression) -> Result<Layer, String> {
    let tar = archive::tar(entries)?;
    let name = match compression {
        Compression::Gzip => "layer.gz",
        Compression::Zstd => "layer.zst",
        Compression::None => "layer",
    };
    let diff_id = upload::sha256(&tar);
    Ok(Layer { blob: archive::pack(name, tar)?, compression, diff_id })
}
