//! `rbuild bake --call` and `call` of targets: what the Dockerfiles of several targets answer

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Context, check, outline, print, tell};
use crate::args::build::BuildArgs;
use crate::args::call::{Call, Format, Method};
use crate::bake::print::for_html;
use crate::bake::select::Selection;
use crate::failure::{Failure, Result};

/// Asks the Dockerfiles of the targets that are not to be built, and prints the answers: below the names of the targets,
/// or as one JSON document with buildx's fields. Returns the builds that are left.
pub(super) async fn answer(
    context: &Context,
    selection: &Selection,
    builds: BTreeMap<String, BuildArgs>,
    asked: Option<Call>,
) -> Result<BTreeMap<String, BuildArgs>> {
    let mut rest = BTreeMap::new();
    let mut answers = Map::new();
    let mut failed = None;
    for (name, args) in builds {
        let target = &selection.targets[&name];
        let own = target.call.as_deref().map(str::parse).transpose().map_err(|reason: String| {
            Failure::usage(format!("`call` of the target `{name}` cannot be used: {reason}"))
        })?;
        let call: Call = asked.or(own).unwrap_or_default();
        if call.method == Method::Build {
            rest.insert(name, args);
            continue;
        }
        if target.linked {
            continue;
        }
        let (text, found) = ask(context, &args, call).await?;
        match found {
            Some(failure) if call.ignore_status => tell(&failure.to_string()),
            Some(failure) => failed = Some(failure.note(format!("it is the target `{name}`"))),
            None => {}
        }
        if call.format == Format::Json {
            let answer: Value = serde_json::from_str(&text).map_err(|error| Failure::of(&error))?;
            answers.insert(name, json!({"build": target, (key(call.method)): answer}));
        } else {
            print(&format!("{name}\n\n{text}\n"))?;
        }
    }
    if !answers.is_empty() {
        let all = json!({"group": selection.groups, "target": answers});
        print(&(for_html(&format!("{all:#}")) + "\n"))?;
    }
    failed.map_or(Ok(rest), Err)
}

async fn ask(context: &Context, args: &BuildArgs, call: Call) -> Result<(String, Option<Failure>)> {
    match call.method {
        Method::Check => check::findings(context, args, call.format).await,
        Method::Outline => Ok((outline::outline(context, args, call.format).await?, None)),
        Method::Targets | Method::Build => Ok((outline::targets(context, args, call.format).await?, None)),
    }
}

fn key(method: Method) -> &'static str {
    match method {
        Method::Check => "check",
        Method::Outline => "outline",
        Method::Targets | Method::Build => "targets",
    }
}
