//! Follows the named images.

use std::io;

use super::{Checked, Problem};
use crate::error::IoContext as _;
use crate::manifest::media_type;
use crate::store::ImageRecord;
use crate::store::graph::Closure;
use crate::store::images::parse;
use crate::{Descriptor, Digest, Error, Result, Store};

impl Store {
    pub(super) fn check_images(&self, checked: &mut Checked) -> Result<()> {
        let directory = self.root.join("images");
        for name in super::names(&directory)? {
            let path = directory.join(&name);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context("read", path),
            };
            // The name of the file is the digest of the image's name.
            let Some(key) = name.strip_suffix(".json").and_then(|name| Digest::from_hex(name).ok()) else {
                checked.problems.push(Problem::StrayFile { path: format!("images/{name}") });
                continue;
            };
            let record = parse(&path, bytes).ok();
            let Some(record) = record.filter(|record| Digest::of(record.name.as_bytes()) == key) else {
                checked.problems.push(Problem::DamagedName { key });
                continue;
            };
            checked.images += 1;
            if let Some(reason) = self.image_damage(&record)? {
                checked.problems.push(Problem::DamagedImage { name: record.name, reason });
            }
        }
        Ok(())
    }

    fn image_damage(&self, record: &ImageRecord) -> Result<Option<String>> {
        for image in &record.platforms {
            let tops = [Some(&image.config), image.manifest.as_ref(), record.index.as_ref()];
            for top in tops.into_iter().flatten() {
                let reason = match self.closure(top) {
                    // Layers may be elsewhere, documents may not.
                    Ok(Closure { missing, .. }) => missing
                        .iter()
                        .find(|one| one.digest == top.digest)
                        .map(|one| format!("{} {} is missing", one.media_type, one.digest)),
                    Err(error @ Error::Io { .. }) => return Err(error),
                    Err(error) => Some(error.to_string()),
                };
                if reason.is_some() {
                    return Ok(reason);
                }
            }
            // One that was built here has its layers nowhere else.
            if image.origin.is_none()
                && let Some(lost) = self.lost_layer(&image.config)?
            {
                return Ok(Some(format!("its layer {lost} is lost")));
            }
        }
        Ok(None)
    }

    /// A layer of an image that is here in no form, and is not known to be elsewhere.
    fn lost_layer(&self, config: &Descriptor) -> Result<Option<Digest>> {
        if !matches!(config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG) {
            return Ok(None);
        }
        let is_here = |blob: &Descriptor| self.blob_size(&blob.digest).is_ok_and(|size| size.is_some());
        for diff_id in self.diff_ids(config)? {
            let elsewhere = self
                .known_blobs(&diff_id)
                .is_ok_and(|known| known.iter().any(|blob| !blob.annotations.is_empty() || is_here(blob)));
            if !elsewhere && !self.has_bytes(&diff_id) {
                return Ok(Some(diff_id));
            }
        }
        Ok(None)
    }
}
