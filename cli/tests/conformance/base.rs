//! Base images of a case: `from busybox` puts busybox below, `config {…}` is the image's config object, the other
//! lines are a layer.

use xtask::base_image;
use xtask::upload::{self, Layer};

use crate::archive;
use crate::entry::Entry;

/// Pushes the image as `library/NAME` to the registry at `address`.
pub(crate) fn push<'a>(
    address: &str,
    name: &str,
    lines: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let (repository, tag) = name.rsplit_once(':').ok_or("a base has a tag")?;
    let mut layers: Vec<Layer> = Vec::new();
    let mut config = serde_json::json!({});
    let mut entries = Vec::new();
    for line in lines {
        if line == "from busybox" {
            let tar = base_image::busybox_tar().map_err(|error| format!("{error:#}"))?;
            layers.push(upload::layer(&tar).map_err(|error| format!("{error:#}"))?);
        } else if let Some(text) = line.strip_prefix("config ") {
            config = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        } else {
            let mut entry = Entry::parse(line)?;
            entry.path = entry.path.trim_start_matches('/').to_owned();
            entries.push(entry);
        }
    }
    if !entries.is_empty() {
        layers.push(upload::layer(&archive::tar(&entries)?).map_err(|error| format!("{error:#}"))?);
    }
    let repository =
        if repository.contains('/') { repository.to_owned() } else { format!("library/{repository}") };
    upload::image(address, &repository, tag, &layers, &config).map_err(|error| format!("{error:#}"))?;
    Ok(())
}
