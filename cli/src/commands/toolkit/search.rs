//! `rbuild search`

use registry_client::SearchResult;
use serde_json::to_value;

use super::open::{pair, with_client};
use crate::args::toolkit::SearchArgs;
use crate::commands::{Context, print};
use crate::failure::{Failure, Result};
use crate::table;

/// As much of a description is shown, as Docker does.
const SHOWN: usize = 45;

/// Searches Docker Hub.
pub(super) async fn run(context: &Context, args: &SearchArgs) -> Result<()> {
    let filters = args.filter.iter().map(|text| filter(text)).collect::<Result<Vec<_>>>()?;
    let mut found = with_client(context, "search", async |client| {
        Ok(client.search(&args.term, usize::from(args.limit)).await?)
    })
    .await?;
    found.retain(|one| filters.iter().all(|filter| filter.accepts(one)));
    if args.json {
        return print(&format!("{:#}\n", to_value(&found).unwrap_or_default()));
    }
    let rows: Vec<[String; 4]> = found
        .iter()
        .map(|one| {
            let mut description = one.description.split_whitespace().collect::<Vec<_>>().join(" ");
            if !args.no_trunc && description.chars().count() > SHOWN {
                description = description.chars().take(SHOWN - 1).chain(['…']).collect();
            }
            let official = if one.official { "[OK]" } else { "" };
            [one.name.clone(), description, one.stars.to_string(), official.to_owned()]
        })
        .collect();
    print(&table::columns(["NAME", "DESCRIPTION", "STARS", "OFFICIAL"], &rows))
}

/// A `--filter`.
enum Filter {
    Stars(u64),
    Official(bool),
}

fn filter(text: &str) -> Result<Filter> {
    let (key, value) = pair("--filter", text)?;
    let wrong = || {
        Failure::usage(format!("there is no filter `{text}`"))
            .hint("filters are `stars=N` and `is-official=true` or `false`")
    };
    match key {
        "stars" => value.parse().map(Filter::Stars).map_err(|_| wrong()),
        "is-official" => value.parse().map(Filter::Official).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

impl Filter {
    fn accepts(&self, one: &SearchResult) -> bool {
        match self {
            Self::Stars(least) => one.stars >= *least,
            Self::Official(wanted) => one.official == *wanted,
        }
    }
}
