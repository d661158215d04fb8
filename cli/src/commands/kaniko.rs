//! `rbuild kaniko`: a build in the words of kaniko's executor

use std::fs;
use std::path::Path;

use builder::Built;
use layer_store::Digest;
use registry_client::Reference;

use super::{Context, build, engine, tell};
use crate::args::build::BuildArgs;
use crate::args::kaniko::KanikoArgs;
use crate::failure::{Failure, Result};
use crate::settings;
use crate::settings::kaniko::KanikoBuild;

/// Builds an image and pushes it.
pub(super) async fn run(context: &Context, args: KanikoArgs) -> Result<()> {
    let meant = settings::kaniko::read(&args, &context.global, &context.environment)?;
    let KanikoBuild { build, global, environment, destinations } = meant;
    for note in &args.notes {
        tell(&format!("note: {note}"));
    }
    let (stop, status) = (context.stop.clone(), context.status.clone());
    let context = Context { global, environment, stop, status };
    let built = build::image(&context, &build).await?;
    let named = |tags| destinations.iter().map(move |one| line(one, tags));
    let files: [(&Option<String>, Option<bool>); 3] = [
        (&args.digest_file, None),
        (&args.image_name_with_digest_file, Some(false)),
        (&args.image_name_tag_with_digest_file, Some(true)),
    ];
    if files.iter().all(|(path, _)| path.is_none()) {
        return Ok(());
    }
    let digest = digest(&context, &build, &built).await?;
    for (path, names) in files {
        let Some(path) = path else { continue };
        let text = match names {
            None => digest.to_string(),
            Some(tags) => named(tags).map(|name| format!("{name}@{digest}\n")).collect(),
        };
        write(Path::new(path), &text)?;
    }
    Ok(())
}

/// A destination as kaniko writes it into a file: Docker Hub has its long name there.
fn line(destination: &Reference, tag: bool) -> String {
    let name = destination.name();
    let name = match name.strip_prefix("docker.io/") {
        Some(rest) => format!("index.docker.io/{rest}"),
        None => name,
    };
    match destination.tag() {
        Some(text) if tag => format!("{name}:{text}"),
        _ => name,
    }
}

/// The digest of the manifest: the one that went somewhere, or else the one that would.
async fn digest(context: &Context, args: &BuildArgs, built: &Built) -> Result<Digest> {
    if let Some(manifest) = &built.manifest {
        return Ok(manifest.digest);
    }
    let config = built.images.first().map(|image| image.config.to_bytes());
    let config = config.ok_or_else(|| Failure::new("the build has no image"))?;
    let packing = settings::output_packing(args)?;
    let (engine, renderer) = engine::open(context, true)?;
    let _in_use = engine.store.in_use()?;
    let packed = engine.pack(config, packing, false).await;
    renderer.finish();
    Ok(packed?.manifest.digest())
}

/// Writes a file and the directories above it.
fn write(path: &Path, text: &str) -> Result<()> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("the image is built, but `{}` cannot be written: {error}", path.display()))
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_kaniko_does() {
        let name = |text: &str, tag| line(&Reference::parse(text).unwrap(), tag);
        assert_eq!(name("docker.io/library/app:1", true), "index.docker.io/library/app:1");
        assert_eq!(name("r.example:5000/team/app:1", true), "r.example:5000/team/app:1");
        assert_eq!(name("r.example:5000/team/app:1", false), "r.example:5000/team/app");
    }
}
