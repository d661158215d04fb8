//! `rbuild cat`

use std::io::{self, Write as _};

use layer_store::index::Kind;

use super::{Context, engine, inside};
use crate::args::look::CatArgs;
use crate::failure::{Failure, Result};

/// Writes files of an image to standard output, byte for byte.
pub(super) async fn run(context: &Context, args: &CatArgs) -> Result<()> {
    let inside = inside::open(context, &args.image).await?;
    let (image, paths) = (args.image.clone(), args.paths.clone());
    engine::blocking(move || {
        let mut output = io::stdout().lock();
        for path in &paths {
            let found = inside.view.resolve(path.as_bytes(), true)?.found;
            let found = found.ok_or_else(|| Failure::new(format!("there is no `{path}` in `{image}`")))?;
            let content = inside.view.content(found);
            let file = content.filter(|content| matches!(content.entry.kind, Kind::File { .. }));
            let file = file.ok_or_else(|| {
                let kind = super::ls::kind(found.entry);
                Failure::new(format!("`{path}` in `{image}` is a {kind}, not a file"))
            })?;
            let mut input = inside.engine.store.open_file(&file.diff_id, &file.entry.path)?;
            match io::copy(&mut input, &mut output).and_then(|_| output.flush()) {
                // A reader that has seen enough is no failure.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => result?,
            };
        }
        Ok(())
    })
    .await
}
