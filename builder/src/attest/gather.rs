//! What a finished build says of its images.

use layer_store::Platform;
use registry_client::Reference;
use serde_json::Value;

use super::{Attestations, Facts, Mode, Provenance, Statements, attached};
use crate::build::{BuildRequest, Built};
use crate::engine::Engine;
use crate::error::Result;
use crate::event::Event;
use crate::finish::FinishedImage;
use crate::image;
use crate::output::Packed;
use crate::resolve::UsedBase;
use crate::solve::Solver;
use crate::task;

/// What a build has to tell of itself.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    /// When it began, RFC 3339.
    pub(crate) started: String,
    /// The images that names stood for.
    pub(crate) bases: Vec<UsedBase>,
}

/// What is said of each image, in order, with the platform that it says it is for. Empty where nothing is asked for.
pub(crate) type Said = Vec<(Platform, Statements)>;

impl Engine {
    /// Makes the statements about each image. Layers are fetched where a bill of materials needs to look into them.
    pub(crate) async fn statements(
        &self,
        request: &BuildRequest,
        images: &[FinishedImage],
        solver: &Solver,
        story: &Story,
    ) -> Result<Said> {
        let Attestations { provenance, sbom, .. } = &request.attestations;
        let mut said = Said::new();
        if !request.attestations.is_wanted() {
            return Ok(said);
        }
        for image in images {
            let provenance =
                provenance.as_ref().map(|settings| self.provenance(request, image, solver, story, settings));
            let sbom = if *sbom { Some(self.sbom(request, image, solver).await?) } else { None };
            said.push((image.built.config.platform(), Statements { sbom, provenance }));
        }
        Ok(said)
    }

    /// The provenance of each image as the description of a build has it: what attestations say, or the short form.
    pub(crate) fn describe(
        &self,
        request: &BuildRequest,
        images: &[FinishedImage],
        solver: &Solver,
        story: &Story,
        built: &mut Built,
    ) {
        let short = Provenance { mode: Mode::Min, ..Provenance::default() };
        let settings = request.attestations.provenance.as_ref().unwrap_or(&short);
        let one = |image| self.provenance(request, image, solver, story, settings);
        built.provenance = images.iter().map(|image| (image.built.platform.clone(), one(image))).collect();
    }

    fn provenance(
        &self,
        request: &BuildRequest,
        image: &FinishedImage,
        solver: &Solver,
        story: &Story,
        settings: &Provenance,
    ) -> Value {
        let finished = image::now();
        let facts = Facts {
            request,
            graph: solver.graph(),
            node: image.node,
            bases: &story.bases,
            fetched: &solver.fetched(),
            // Who sets the epoch wants the same bytes again.
            times: request.epoch.is_none().then_some((story.started.as_str(), finished.as_str())),
        };
        super::provenance::predicate(&facts, settings)
    }

    async fn sbom(&self, request: &BuildRequest, image: &FinishedImage, solver: &Solver) -> Result<Value> {
        let view = solver.layers().view(&image.layers.diff_ids).await?;
        let created = request.epoch.and_then(image::timestamp).unwrap_or_else(|| seconds(&image::now()));
        let name = request.tags.first().map_or_else(|| image.built.id.to_string(), Reference::familiar);
        let (store, config) = (self.store.clone(), image.built.config.clone());
        let (document, unread) = task::blocking(move || {
            let found = super::packages::read(&store, &view)?;
            Ok((super::sbom::document(&found, &config, &name, &created), found.unread))
        })
        .await?;
        for message in unread {
            self.reporter.event(Event::Warning { message });
        }
        Ok(document)
    }

    /// Puts what was said beside the images.
    pub(crate) async fn attach(&self, request: &BuildRequest, packed: Packed, said: &Said) -> Result<Packed> {
        if said.is_empty() {
            return Ok(packed);
        }
        let (store, said) = (self.store.clone(), said.clone());
        let (names, storage) = (request.tags.clone(), request.attestations.storage);
        task::blocking(move || attached(&store, packed, &said, &names, storage)).await
    }
}

/// A time in whole seconds, as SPDX has it.
fn seconds(time: &str) -> String {
    time.parse::<jiff::Timestamp>()
        .ok()
        .and_then(|time| image::timestamp(time.as_second()))
        .unwrap_or_else(|| time.to_owned())
}
