//! `rbuild save`

use std::io::{self, IsTerminal as _};

use builder::output::{Destination, Output, Packing, write_images};
use layer_store::layout::ExportImage;
use layer_store::manifest::DOCUMENT_LIMIT;

use super::{Context, engine};
use crate::args::look::{ArchiveFormat, SaveArgs};
use crate::catalog;
use crate::failure::{Failure, Result};

/// Writes images into one archive. Layers that were never needed here are fetched for it.
pub(super) async fn run(context: &Context, args: &SaveArgs) -> Result<()> {
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::usage("an archive is no text for a terminal").hint("pass `-o FILE`, or a pipe"));
    }
    let (engine, renderer) = engine::open(context, false)?;
    let _in_use = engine.store.in_use()?;
    let work = async {
        let mut images: Vec<ExportImage> = Vec::new();
        for text in &args.images {
            let image = catalog::find(&engine.store, text)?;
            // A name is written with the image, an id gives it none.
            let name = catalog::name(&engine.store, text)?;
            let bytes = engine.store.read_blob(&image.id, DOCUMENT_LIMIT)?;
            let packed = engine.pack(bytes, Packing::default(), true).await;
            let manifest = packed.map_err(|error| Failure::of(&error).hint(error.hint()))?.manifest;
            match images.iter_mut().find(|known| known.manifest.digest() == manifest.digest()) {
                Some(known) => known.names.extend(name),
                None => images.push(ExportImage {
                    manifest,
                    platform: Some(image.config.platform()),
                    names: name.into_iter().collect(),
                }),
            }
        }
        let dest = args.output.clone().map_or(Destination::Stdout, Destination::File);
        let output = match args.format {
            ArchiveFormat::Docker => Output::Docker { dest },
            ArchiveFormat::Oci => Output::Oci { dest, tar: true },
        };
        let store = engine.store.clone();
        engine::blocking(move || {
            write_images(&store, &images, &output).map_err(|error| Failure::of(&error).hint(error.hint()))
        })
        .await
    };
    let result = tokio::select! {
        biased;
        () = context.stop.cancelled() => Err(Failure::new("it was stopped")),
        result = work => result,
    };
    renderer.finish();
    result
}
