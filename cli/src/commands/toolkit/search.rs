//! `rbuild search`

use registry_client::SearchResult;
use serde_json::{Value, json, to_value};

use super::open::{pair, with_client};
use crate::args::toolkit::SearchArgs;
use crate::commands::{Context, print};
use crate::failure::{Failure, Result};
use crate::template;

/// What `docker search` prints.
const DOCKERS_TABLE: &str = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
/// What stands above columns whose field has another name.
const HEADERS: [(&str, &str); 3] =
    [("StarCount", "STARS"), ("IsOfficial", "OFFICIAL"), ("IsAutomated", "AUTOMATED")];

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
    let format = args.format.as_deref().filter(|format| *format != "table").unwrap_or(DOCKERS_TABLE);
    let rows: Vec<Value> = found.iter().map(|one| row(one, args.no_trunc, format == "json")).collect();
    print(&template::rows(format, &HEADERS, &rows)?)
}

/// A result in the fields of `docker search --format`, whose truth is a word in JSON and a mark elsewhere.
fn row(one: &SearchResult, whole: bool, is_json: bool) -> Value {
    let mut description = one.description.split_whitespace().collect::<Vec<_>>().join(" ");
    if !whole && description.chars().count() > SHOWN {
        description = description.chars().take(SHOWN - 1).chain(['…']).collect();
    }
    let mark = |truth: bool| match (is_json, truth) {
        (true, truth) => truth.to_string(),
        (false, true) => "[OK]".to_owned(),
        (false, false) => String::new(),
    };
    json!({
        "Name": one.name,
        "Description": description,
        "StarCount": one.stars.to_string(),
        "IsOfficial": mark(one.official),
        "IsAutomated": mark(false),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_fields_are_dockers() {
        let one = SearchResult {
            name: "busybox".to_owned(),
            description: "a tiny\tbox of many tools that people know by their names".to_owned(),
            stars: 3500,
            official: true,
        };
        let printed =
            |format: &str| template::rows(format, &HEADERS, &[row(&one, false, format == "json")]).unwrap();
        insta::assert_snapshot!(printed(DOCKERS_TABLE), @"
        NAME      DESCRIPTION                                     STARS     OFFICIAL
        busybox   a tiny box of many tools that people know by…   3500      [OK]
        ");
        assert_eq!(printed("{{.Name}}:{{.StarCount}}:{{.IsOfficial}}"), "busybox:3500:[OK]\n");
        assert!(
            printed("json")
                .contains(r#""IsAutomated":"false","IsOfficial":"true","Name":"busybox","StarCount":"3500""#)
        );
    }
}
