//! `rbuild attach`

use std::path::Path;

use registry_client::Artifact;
use serde_json::json;

use super::blob::open;
use super::open::{pair, platforms, reference, with_engine};
use super::referrers::subject;
use crate::args::toolkit::AttachArgs;
use crate::commands::{Context, engine, print};
use crate::failure::Result;

/// The media type of a file that nothing is said about.
const PLAIN: &str = "application/octet-stream";
/// The annotation with a file's name (image-spec `annotations.md`).
const TITLE: &str = "org.opencontainers.image.title";

/// Attaches files to an image as an artifact that refers to it. The image does not change.
pub(super) async fn run(context: &Context, args: &AttachArgs) -> Result<()> {
    let reference = reference(&args.image)?;
    let platforms = platforms(args.platform.as_slice())?;
    let annotations = args
        .annotation
        .iter()
        .map(|text| pair("--annotation", text).map(|(key, value)| (key.to_owned(), value.to_owned())));
    let annotations = annotations.collect::<Result<_>>()?;
    let entry = with_engine(context, false, "attach", async |engine| {
        let subject = subject(&engine.client, &reference, &platforms).await?;
        let mut files = Vec::new();
        for text in &args.files {
            let (path, kind) = file(text);
            let (store, path, kind) = (engine.store.clone(), path.to_owned(), kind.to_owned());
            files.push(
                engine::blocking(move || {
                    let mut blob = store.put_stream(&mut open(Path::new(&path))?)?;
                    blob.media_type = kind;
                    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
                    blob.annotations.extend(name.map(|name| (TITLE.to_owned(), name)));
                    Ok(blob)
                })
                .await?,
            );
        }
        let artifact = Artifact { artifact_type: args.artifact_type.clone(), files, annotations };
        Ok(engine.client.attach(&reference, &subject, &artifact, &engine.store).await?)
    })
    .await?;
    if args.json {
        return print(&format!("{:#}\n", serde_json::to_value(&entry).unwrap_or(json!({}))));
    }
    print(&format!("{}@{}\n", reference.name(), entry.digest))
}

/// A file and its media type, which has a slash and comes after the last colon.
fn file(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((path, kind)) if kind.contains('/') && !kind.starts_with('/') && !path.is_empty() => {
            (path, kind)
        }
        _ => (text, PLAIN),
    }
}

#[cfg(test)]
mod tests {
    use super::{PLAIN, file};

    #[test]
    fn files_with_types() {
        for (text, path, kind) in [
            ("a.json:application/spdx+json", "a.json", "application/spdx+json"),
            ("a.json", "a.json", PLAIN),
            ("/tmp/a:b", "/tmp/a:b", PLAIN),
            ("a:/tmp/x", "a:/tmp/x", PLAIN),
        ] {
            assert_eq!(file(text), (path, kind), "{text}");
        }
    }
}
