//! A filesystem tar made an image, as `docker import` does.

use std::fs::File;
use std::io::Read;

use layer_store::config::{History, RootFs};
use layer_store::manifest::media_type;
use layer_store::store::PlatformImage;
use layer_store::{Descriptor, Digest, ImageConfig, Platform};
use registry_client::Reference;

use crate::Engine;
use crate::copy::as_layer;
use crate::dockerfile::ast::InstructionKind;
use crate::dockerfile::{self, Diagnostic, Source};
use crate::error::{Error, Result};
use crate::lower::{LowerOptions, lower};
use crate::output::Packing;
use crate::resolve::{Pull, Resolver};
use crate::secret::Secrets;
use crate::{image, stored};

/// What becomes of the filesystem.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Its name; `None` for an image without one.
    pub tag: Option<Reference>,
    /// Instructions that only change the configuration: `CMD ["/bin/sh"]`, `ENV A=1`.
    pub changes: Vec<String>,
    /// The comment of its one line of history.
    pub message: String,
    /// What its programs run on.
    pub platform: Platform,
    /// The time that the image gets, in seconds; `None` for this moment.
    pub epoch: Option<i64>,
}

impl Engine {
    /// Makes an image of a tar, which may be compressed with gzip, zstd, bzip2 or xz. Owners, modes and times are those of
    /// the tar. Returns the image id. `name` is for people.
    ///
    /// # Errors
    ///
    /// [`Error::Dockerfile`] for a change that is none, [`Error::Invalid`] for what is no tar.
    pub async fn import(
        &self,
        input: impl Read + Send + 'static,
        name: &str,
        request: &ImportRequest,
    ) -> Result<Digest> {
        // What is mistyped is said before gigabytes were read.
        let mut config = self.changed(request).await?;
        let failed = |source| Error::from(layer_store::Error::Read { source });
        let input = as_layer(Box::new(input)).map_err(failed)?;
        let packing = Packing::default();
        let layer = self.take_layer(input, name, packing).await?;

        let created = request.epoch.map_or_else(|| Some(image::now()), image::timestamp);
        config.created.clone_from(&created);
        config.rootfs = RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() };
        let comment = Some(request.message.clone());
        config.history = vec![History { created, comment, ..History::default() }];
        let bytes = config.to_bytes();
        let id = self.store.put_blob(&bytes)?;
        let descriptor = Descriptor::new(media_type::OCI_CONFIG, id, bytes.len() as u64);
        let platform = PlatformImage { config: descriptor, manifest: None, origin: None };
        stored::name(&self.store, request.tag.as_slice(), id, &[platform], None)?;
        Ok(id)
    }

    /// Brings what is at an address, to be imported.
    pub async fn fetch_file(&self, url: &str) -> Result<File> {
        let scratch = self.store.scratch()?;
        let download = self.client.download(url, scratch.path(), None).await?;
        let download = download.ok_or_else(|| Error::Internal("an unasked-for 304".to_owned()))?;
        download.file.try_clone().map_err(|source| layer_store::Error::Read { source }.into())
    }

    /// The configuration that the changes make of an empty one.
    async fn changed(&self, request: &ImportRequest) -> Result<ImageConfig> {
        let text = format!("FROM scratch\n{}\n", request.changes.join("\n"));
        let (parsed, diagnostics) = dockerfile::parse(&Source::new("--change", text));
        let errors: Vec<Diagnostic> = diagnostics.into_iter().filter(Diagnostic::is_error).collect();
        if !errors.is_empty() {
            return Err(Error::Dockerfile(errors));
        }
        let mut sets_path = false;
        for instruction in parsed.stages.iter().flat_map(|stage| &stage.instructions) {
            match &instruction.kind {
                InstructionKind::Env(pairs) => sets_path |= pairs.iter().any(|(name, _)| name.text == "PATH"),
                kind if only_configures(kind) => {}
                other => {
                    return Err(not_a_change(other.name()));
                }
            }
        }
        if parsed.stages.len() != 1 || !parsed.meta_args.is_empty() {
            return Err(not_a_change("FROM"));
        }
        let platforms = vec![request.platform.clone()];
        let options = LowerOptions { platforms, platform_is_asked: true, ..LowerOptions::default() };
        let resolver = Resolver::new(self.store.clone(), self.client.clone(), Pull::Never);
        let lowered = lower(&parsed, &options, &Secrets::default(), &resolver).await?;
        let mut images = lowered.images.into_iter();
        let mut config =
            images.next().ok_or_else(|| Error::Internal("a file without stages".to_owned()))?.config;
        if !sets_path {
            // What a build on nothing begins with; of an imported system nobody knows it.
            config.config.env.retain(|variable| !variable.starts_with("PATH="));
        }
        Ok(config)
    }
}

fn not_a_change(keyword: &str) -> Error {
    Error::invalid_but(
        format!("`{keyword}` does not only change the configuration of an image"),
        "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR do",
    )
}

fn only_configures(kind: &InstructionKind) -> bool {
    matches!(
        kind,
        InstructionKind::Label(_)
            | InstructionKind::Workdir(_)
            | InstructionKind::User(_)
            | InstructionKind::Volume(_)
            | InstructionKind::Expose(_)
            | InstructionKind::StopSignal(_)
            | InstructionKind::Cmd(_)
            | InstructionKind::Entrypoint(_)
            | InstructionKind::Healthcheck(_)
            | InstructionKind::Shell(_)
            | InstructionKind::OnBuild(_)
    )
}
