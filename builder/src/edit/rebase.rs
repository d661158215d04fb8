//! Another base below the layers of an image.

use layer_store::manifest::ManifestContent;
use layer_store::{Digest, Manifest};
use registry_client::{Platforms, Supply};

use super::Draft;
use crate::Engine;
use crate::error::{Error, Result};

/// The annotation with a base's name (image-spec `annotations.md`).
const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The annotation with a base's digest.
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// A base image, to be taken out or put in.
#[derive(Clone)]
pub struct Base {
    /// Its manifest or index.
    pub top: Manifest,
    /// Where its parts are.
    pub supply: Supply,
    /// Its name, for the annotations of what stands on it.
    pub name: Option<String>,
}

impl Engine {
    /// Exchanges the base below an image: the layers of `old` at its bottom give way to those of `new`. Configuration and
    /// own layers stay. That is right where the own layers do not depend on what changed in the base, which nobody can
    /// know but their maker.
    ///
    /// # Errors
    ///
    /// The image does not stand on `old`, or one of the bases is not there for the image's platform.
    pub async fn rebase(&self, draft: &mut Draft, old: &Base, new: &Base) -> Result<()> {
        let platform = draft.config.platform();
        let (old_image, _) = self.base_for(old, &platform).await?;
        let (new_image, new_digest) = self.base_for(new, &platform).await?;
        let count = old_image.layers.len();
        let own = &draft.config.rootfs.diff_ids;
        if !own.starts_with(&old_image.config.rootfs.diff_ids) {
            let same = own.iter().zip(&old_image.config.rootfs.diff_ids).take_while(|(a, b)| a == b).count();
            return Err(Error::invalid_but(
                format!(
                    "the image for {platform} does not stand on the old base: {same} of {count} layers are the same"
                ),
                "name the base that it was built on, by digest if the tag has moved since".to_owned(),
            ));
        }
        let upper = own[count..].to_vec();
        draft.config.rootfs.diff_ids = [new_image.config.rootfs.diff_ids, upper].concat();
        let upper = draft.layers.split_off(count);
        draft.layers = [new_image.layers, upper].concat();
        let lines = old_image.config.history.len().min(draft.config.history.len());
        let upper = draft.config.history.split_off(lines);
        draft.config.history = [new_image.config.history, upper].concat();
        if let Some(name) = &new.name {
            draft.annotations.insert(BASE_NAME.to_owned(), name.clone());
        }
        draft.annotations.insert(BASE_DIGEST.to_owned(), new_digest.to_string());
        Ok(())
    }

    /// The base that the annotations of an image name, where they do: its name, then its digest.
    #[must_use]
    pub fn recorded_base(manifest: &Manifest) -> Option<(String, Option<Digest>)> {
        let (ManifestContent::Image { annotations, .. } | ManifestContent::Index { annotations, .. }) =
            &manifest.content;
        let digest = annotations.get(BASE_DIGEST).and_then(|text| text.parse().ok());
        Some((annotations.get(BASE_NAME)?.clone(), digest))
    }

    async fn base_for(&self, base: &Base, platform: &layer_store::Platform) -> Result<(Draft, Digest)> {
        let platforms = Platforms::Only(vec![platform.clone()]);
        let tree = self.client.tree(&base.supply.repositories, base.top.clone(), &platforms).await?;
        let draft = self.draft(tree.top(), &base.supply).await?;
        Ok((draft, tree.top().digest()))
    }
}
