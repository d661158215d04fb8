//! The stages that are wanted.

use super::{LowerOptions, at};
use crate::dockerfile::ast::{Dockerfile, StageName};
use crate::dockerfile::{Span, nearest};
use crate::error::{Error, Result};

/// The stage that is the image.
pub(crate) fn image_stage(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<usize> {
    let targets = targets(dockerfile, options)?;
    Ok(targets.last().map_or(0, |(index, _)| *index))
}

/// The stages that are wanted, by position, with the names they were asked for by.
pub(super) fn targets(
    dockerfile: &Dockerfile,
    options: &LowerOptions,
) -> Result<Vec<(usize, Option<String>)>> {
    let Some(last) = dockerfile.stages.len().checked_sub(1) else {
        return Err(at(Span::default(), "the Dockerfile has no FROM"));
    };
    if options.targets.is_empty() {
        return Ok(vec![(last, None)]);
    }
    options.targets.iter().map(|name| Ok((target(dockerfile, name)?, Some(name.clone())))).collect()
}

fn target(dockerfile: &Dockerfile, name: &str) -> Result<usize> {
    if let Some(stage) = dockerfile.stage(name) {
        return Ok(stage.index);
    }
    let names: Vec<&str> =
        dockerfile.stages.iter().filter_map(|stage| stage.name.as_ref()).map(StageName::as_str).collect();
    let help = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "no stage of this Dockerfile has a name".to_owned(),
        None => format!("the stages are {}", names.join(", ")),
    };
    Err(Error::Invalid { message: format!("there is no target stage `{name}`"), help: Some(help) })
}
