//! `rbuild images`

use jiff::Timestamp;
use layer_store::Store;
use registry_client::Reference;
use serde_json::{Value, json};

use super::{Context, print};
use crate::args::image::ImagesArgs;
use crate::catalog::{self, Image};
use crate::failure::{Failure, Result};
use crate::{size, table, template};

/// What stands for a name, tag or digest that there is not.
const NO_NAME: &str = "<none>";
/// What stands above columns whose field has another name.
const HEADERS: [(&str, &str); 3] =
    [("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("CreatedAt", "CREATED AT")];

/// Lists images in Docker's columns.
pub(super) fn run(context: &Context, args: &ImagesArgs) -> Result<()> {
    let store = context.store()?;
    let images = catalog::all(&store)?;
    let filters = filters(&args.filter, &images)?;
    let mut rows: Vec<Row> = images
        .iter()
        .flat_map(|image| rows(image, &store))
        .filter(|row| args.name.as_deref().is_none_or(|name| row.is_named(name)))
        .filter(|row| filters.iter().all(|filter| filter.accepts(row)))
        .collect();
    if args.quiet {
        // An image with several names has one id.
        rows.dedup_by(|one, other| one.image.id == other.image.id);
        let ids: String = rows.iter().map(|row| row.id(args.no_trunc) + "\n").collect();
        return print(&ids);
    }
    match args.format.as_deref() {
        None | Some("table") => print(&table(&rows, args)),
        Some(format) => {
            let values: Vec<_> = rows.iter().map(|row| row.value(args.no_trunc)).collect();
            print(&template::rows(format, &HEADERS, &values)?)
        }
    }
}

struct Row<'a> {
    image: &'a Image,
    repository: String,
    tag: String,
    digest: String,
    size: u64,
}

fn rows<'a>(image: &'a Image, store: &Store) -> Vec<Row<'a>> {
    let size = image.size(store);
    image
        .records
        .iter()
        .map(|record| {
            let reference = Reference::parse(&record.name).ok();
            let repository = reference.as_ref().map_or_else(|| NO_NAME.to_owned(), catalog::repository);
            let tag = reference.as_ref().and_then(Reference::tag).unwrap_or(NO_NAME).to_owned();
            let known = record.platforms.iter().find(|one| one.config.digest == image.id);
            let manifest = known.filter(|one| one.origin.is_some()).and_then(|one| one.manifest.as_ref());
            let digest = record
                .index
                .as_ref()
                .or(manifest)
                .map_or_else(|| NO_NAME.to_owned(), |descriptor| descriptor.digest.to_string());
            Row { image, repository, tag, digest, size }
        })
        .collect()
}

impl Row<'_> {
    fn id(&self, whole: bool) -> String {
        if whole { self.image.id.to_string() } else { self.image.id.short() }
    }

    fn created(&self) -> Option<Timestamp> {
        self.image.config.created.as_deref()?.parse().ok()
    }

    fn age(&self) -> String {
        self.created().map_or_else(
            || "N/A".to_owned(),
            |created| {
                let seconds = Timestamp::now().duration_since(created).as_secs();
                size::ago(u64::try_from(seconds).unwrap_or(0))
            },
        )
    }

    fn is_named(&self, name: &str) -> bool {
        let own = |text: &str| {
            Reference::parse(text)
                .ok()
                .map(|reference| (catalog::repository(&reference), reference.tag().map(str::to_owned)))
        };
        own(name).is_some_and(|(repository, tag)| {
            repository == self.repository && tag.is_none_or(|tag| tag == self.tag)
        })
    }

    fn value(&self, whole: bool) -> Value {
        json!({
            "Containers": "N/A",
            "CreatedAt": self.created().map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()),
            "CreatedSince": self.age(),
            "Digest": self.digest,
            "ID": self.id(whole),
            "Platform": self.image.config.platform().to_string(),
            "Repository": self.repository,
            "SharedSize": "N/A",
            "Size": size::bytes(self.size),
            "Tag": self.tag,
            "UniqueSize": "N/A",
        })
    }
}

fn table(rows: &[Row<'_>], args: &ImagesArgs) -> String {
    let cells = |row: &Row<'_>| {
        [row.repository.clone(), row.tag.clone(), row.id(args.no_trunc), row.age(), size::bytes(row.size)]
    };
    if !args.digests {
        let header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"];
        return table::columns(header, &rows.iter().map(cells).collect::<Vec<_>>());
    }
    let header = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"];
    let with_digest = |row: &Row<'_>| {
        let [repository, tag, id, age, size] = cells(row);
        [repository, tag, row.digest.clone(), id, age, size]
    };
    table::columns(header, &rows.iter().map(with_digest).collect::<Vec<_>>())
}

/// A `--filter`.
enum Filter {
    Reference(String),
    Label(String, Option<String>),
    Dangling(bool),
    Before(Option<String>),
    Since(Option<String>),
}

fn filters(texts: &[String], images: &[Image]) -> Result<Vec<Filter>> {
    let created = |name: &str| -> Result<Option<String>> {
        let wanted = Reference::parse(name).map(|reference| reference.canonical()).ok();
        let found = images.iter().find(|image| {
            image.records.iter().any(|record| Some(&record.name) == wanted.as_ref())
                || image.id.hex().starts_with(name.strip_prefix("sha256:").unwrap_or(name))
        });
        let image = found.ok_or_else(|| Failure::new(format!("there is no image `{name}` here")))?;
        Ok(image.config.created.clone())
    };
    texts
        .iter()
        .map(|text| {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                Failure::usage(format!("`--filter {text}` has no `=`")).hint("write it as KEY=VALUE")
            })?;
            Ok(match key {
                "reference" => Filter::Reference(value.to_owned()),
                "label" => match value.split_once('=') {
                    Some((name, value)) => Filter::Label(name.to_owned(), Some(value.to_owned())),
                    None => Filter::Label(value.to_owned(), None),
                },
                "dangling" => Filter::Dangling(matches!(value, "true" | "1")),
                "before" => Filter::Before(created(value)?),
                "since" => Filter::Since(created(value)?),
                _ => {
                    return Err(Failure::usage(format!("there is no filter `{key}`"))
                        .hint("filters are reference, label, dangling, before and since"));
                }
            })
        })
        .collect()
}

impl Filter {
    fn accepts(&self, row: &Row<'_>) -> bool {
        let created = &row.image.config.created;
        match self {
            Self::Reference(pattern) => {
                matches(pattern, &row.repository)
                    || matches(pattern, &format!("{}:{}", row.repository, row.tag))
            }
            Self::Label(name, value) => row
                .image
                .config
                .config
                .labels
                .get(name)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found)),
            Self::Dangling(wanted) => *wanted == (row.repository == NO_NAME),
            Self::Before(time) => created < time,
            Self::Since(time) => created > time,
        }
    }
}

/// A shell pattern with `*` and `?`, where `*` stops at a slash (Go's `path.Match`, without classes).
fn matches(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            matches(rest, text)
                || text
                    .chars()
                    .next()
                    .is_some_and(|first| first != '/' && matches(pattern, &text[first.len_utf8()..]))
        }
        (Some('?'), Some(first)) if first != '/' => matches(&pattern[1..], &text[first.len_utf8()..]),
        (Some(wanted), Some(first)) if wanted == first => {
            matches(&pattern[wanted.len_utf8()..], &text[first.len_utf8()..])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("app*", "app:1.0", true),
            ("app:*", "app:1.0", true),
            ("*", "team/app", false),
            ("*/app", "team/app", true),
            ("a?p", "app", true),
            ("a?p", "ap", false),
            ("é*", "éa", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
