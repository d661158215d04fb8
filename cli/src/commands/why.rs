//! `rbuild why`, and `rbuild build --explain`.

use std::fmt::Write as _;

use builder::explain::{Explained, Verdict, explain, last};
use layer_store::Store;

use super::{Context, print};
use crate::args::plan::{FormatArg, WhyArgs};
use crate::failure::{Failure, Result};
use crate::progress::printable;

/// Says of the steps of the last build why they were done or not.
pub(super) fn run(context: &Context, args: &WhyArgs) -> Result<()> {
    let store = context.store()?;
    let mut steps = answers(&store)?.ok_or_else(|| {
        Failure::new("nothing was built with this store yet").hint("`rbuild build` comes first")
    })?;
    if let Some(wanted) = &args.step {
        let line = wanted.rsplit(':').next().and_then(|number| number.parse::<usize>().ok());
        let fits = |step: &Explained| match line {
            Some(_) => line == step.line,
            None => step.name.to_lowercase().contains(&wanted.to_lowercase()),
        };
        if !steps.iter().any(fits) {
            return Err(Failure::new(format!("the last build had no step `{wanted}`"))
                .hint("a step is named by words of its text, or by its line of the Dockerfile"));
        }
        steps.retain(fits);
    }
    match args.format {
        FormatArg::Text => print(&text(&steps)),
        FormatArg::Json => {
            let text = serde_json::to_string_pretty(&steps).map_err(|error| Failure::of(&error))?;
            print(&format!("{text}\n"))
        }
    }
}

/// What is to be said of the steps of the last build, if there was one.
pub(super) fn answers(store: &Store) -> Result<Option<Vec<Explained>>> {
    let of = |error: builder::Error| Failure::of(&error).hint(error.hint());
    let Some(report) = last(store).map_err(of)? else { return Ok(None) };
    explain(store, &report).map(Some).map_err(of)
}

/// The answers for people.
pub(super) fn text(steps: &[Explained]) -> String {
    let mut text = String::new();
    for step in steps {
        let verdict = match &step.verdict {
            Verdict::Hit { from: None } => "hit".to_owned(),
            Verdict::Hit { from: Some(cache) } => format!("hit, from {cache}"),
            Verdict::Miss => "miss".to_owned(),
            Verdict::Refused => "miss: stored results were not to be used".to_owned(),
            Verdict::Expired { created } => format!("miss: the result of {created} is too old"),
            Verdict::Lost => "miss: the layer that it made is gone from the store".to_owned(),
        };
        let _ = writeln!(text, "{}: {verdict}", printable(&step.name));
        match (&step.verdict, &step.nearest) {
            (Verdict::Miss, Some(asked)) => {
                let _ =
                    writeln!(text, "    against the one of {}:", asked.split('.').next().unwrap_or(asked));
                for difference in &step.differences {
                    let _ = writeln!(text, "    {}", printable(&difference.to_string()));
                }
                if step.differences.is_empty() {
                    let _ = writeln!(text, "    nothing that is kept of it differs");
                }
                if step.more > 0 {
                    let _ = writeln!(text, "    and {} more", step.more);
                }
            }
            (Verdict::Miss, None) => {
                let _ = writeln!(text, "    nothing like it was done before");
            }
            _ => {}
        }
    }
    text
}
