//! Filters and sizes of `rbuild prune` and `rbuild du`, as `docker buildx prune` has them.

use jiff::{SignedDuration, Timestamp};
use layer_store::store::{Category, Item, Limits};

use super::values;
use crate::args::store::PruneArgs;
use crate::failure::{Failure, Result};

/// What the sizes ask for; `None` if there are none.
pub(crate) fn limits(args: &PruneArgs) -> Result<Option<Limits>> {
    let bytes = |text: &Option<String>| text.as_deref().map(values::bytes).transpose();
    let limits = Limits {
        max_used: bytes(&args.max_used_space)?,
        min_free: bytes(&args.min_free_space)?,
        reserved: bytes(&args.reserved_space)?,
    };
    Ok((limits != Limits::default()).then_some(limits))
}

/// A `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    key: Key,
    negated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    /// Last used at this second or before.
    UsedBefore(i64),
    Type(String),
    Id(String),
    Description {
        text: String,
        whole: bool,
    },
    InUse,
    Shared,
    Private,
    Mutable,
    Immutable,
}

/// Reads filters, of which all have to fit.
pub(crate) fn filters(texts: &[String], now: Timestamp) -> Result<Vec<Filter>> {
    texts.iter().flat_map(|text| text.split(',')).map(|text| filter(text, now)).collect()
}

fn filter(text: &str, now: Timestamp) -> Result<Filter> {
    let at = text.find(['=', '!', '~']).unwrap_or(text.len());
    let (key, rest) = text.split_at(at);
    let operators = [("!~=", true, false), ("~=", false, false), ("!=", true, true), ("=", false, true)];
    let found = operators
        .into_iter()
        .find_map(|(operator, negated, whole)| Some((negated, whole, rest.strip_prefix(operator)?)));
    let (negated, whole, value) = match found {
        Some(found) => found,
        None if rest.is_empty() => (false, true, "true"),
        None => return Err(unknown(text)),
    };
    let is = |key: Key| -> Result<(Key, bool)> {
        match value {
            "true" | "1" => Ok((key, negated)),
            "false" | "0" => Ok((key, !negated)),
            _ => Err(Failure::usage(format!("`--filter {text}` is neither true nor false"))),
        }
    };
    let (key, negated) = match key {
        "until" | "unused-for" => (Key::UsedBefore(moment(value, now)?), negated),
        "type" => (Key::Type(kind(value)?), negated),
        "id" => (Key::Id(value.to_owned()), negated),
        "description" => (Key::Description { text: value.to_owned(), whole }, negated),
        "inuse" => is(Key::InUse)?,
        "shared" => is(Key::Shared)?,
        "private" => is(Key::Private)?,
        "mutable" => is(Key::Mutable)?,
        "immutable" => is(Key::Immutable)?,
        _ => return Err(unknown(text)),
    };
    Ok(Filter { key, negated })
}

fn unknown(text: &str) -> Failure {
    Failure::usage(format!("`--filter {text}` is not known")).hint(
        "filters are until=24h, type=, id=, description~=, inuse, shared, private, mutable and immutable",
    )
}

/// What an item is for people and filters, in BuildKit's words where it has them.
pub(crate) fn type_of(category: Category) -> &'static str {
    match category {
        Category::Image => "image",
        Category::Step => "regular",
        Category::Mount => "exec.cachemount",
        Category::Context => "source.local",
        Category::Download => "download",
        Category::Log => "log",
        Category::Leftover => "leftover",
        _ => "internal",
    }
}

fn kind(text: &str) -> Result<String> {
    const TYPES: [&str; 8] =
        ["image", "regular", "exec.cachemount", "source.local", "internal", "download", "log", "leftover"];
    if TYPES.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Failure::usage(format!("there is no type `{text}`")).hint(format!("types are {}", TYPES.join(", "))))
}

/// The second that is so long ago (`24h`, `1h30m`, `7d`), or a time as RFC 3339 or seconds since the epoch.
fn moment(text: &str, now: Timestamp) -> Result<i64> {
    if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok()) {
        return Ok(now.as_second() - days * 86_400);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_second());
    }
    let ago: SignedDuration = text.parse().map_err(|_| {
        Failure::usage(format!("`{text}` is neither a duration nor a time"))
            .hint("write it as `24h`, `7d` or `2026-01-31T12:00:00Z`")
    })?;
    Ok(now.as_second() - ago.as_secs())
}

impl Filter {
    /// Whether an item fits.
    pub(crate) fn accepts(&self, item: &Item) -> bool {
        let changes = matches!(item.category, Category::Mount | Category::Context | Category::Download);
        let fits = match &self.key {
            Key::UsedBefore(second) => item.last_used <= *second,
            Key::Type(name) => type_of(item.category) == name,
            Key::Id(id) => item.id.starts_with(id.strip_prefix("sha256:").unwrap_or(id)),
            Key::Description { text, whole: true } => item.name == *text,
            Key::Description { text, whole: false } => item.name.contains(text.as_str()),
            Key::InUse => item.in_use,
            Key::Shared => item.unique < item.size,
            Key::Private => item.unique == item.size,
            Key::Mutable => changes,
            Key::Immutable => !changes,
        };
        fits != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_as_in_buildx() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let key = |text: &str| filter(text, now).map(|filter| (filter.key, filter.negated)).ok();
        for (text, wanted) in [
            ("until=24h", (Key::UsedBefore(913_600), false)),
            ("unused-for=1h30m", (Key::UsedBefore(994_600), false)),
            ("until=2d", (Key::UsedBefore(827_200), false)),
            ("until=1970-01-01T00:01:00Z", (Key::UsedBefore(60), false)),
            ("type=exec.cachemount", (Key::Type("exec.cachemount".to_owned()), false)),
            ("type!=regular", (Key::Type("regular".to_owned()), true)),
            ("description~=RUN a=b", (Key::Description { text: "RUN a=b".to_owned(), whole: false }, false)),
            ("private", (Key::Private, false)),
            ("inuse=false", (Key::InUse, true)),
        ] {
            assert_eq!(key(text), Some(wanted), "{text}");
        }
        for text in ["until=soon", "type=nothing", "size=3", "", "private=maybe", "inuse!"] {
            assert_eq!(key(text), None, "{text}");
        }
        assert_eq!(filters(&["private,inuse=false".to_owned()], now).unwrap().len(), 2);
    }
}
