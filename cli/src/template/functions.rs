//! The functions of Docker's templates that Go does not have, and those of Go that have to do with fields that are not set.

use gtmpl_ng::{Func, FuncError, NumberKind, Value as Filling, funcs};
use serde_json::Value;

type Result = std::result::Result<Filling, FuncError>;

/// For the values themselves.
pub(super) const OF_VALUES: [(&str, Func); 10] = [
    ("json", json),
    ("split", split),
    ("join", join),
    ("title", title),
    ("lower", lower),
    ("upper", upper),
    ("pad", pad),
    ("truncate", truncate),
    ("len", len),
    ("index", index),
];

/// For the header of a table, whose words they leave as they are.
pub(super) const OF_HEADERS: [(&str, Func); 9] = [
    ("json", same),
    ("split", same),
    ("join", same),
    ("title", same),
    ("lower", same),
    ("upper", same),
    ("pad", pad),
    ("truncate", same),
    ("len", same),
];

fn same(arguments: &[Filling]) -> Result {
    arguments.first().cloned().ok_or_else(|| FuncError::AtLeastXArgs("this function".to_owned(), 1))
}

fn json(arguments: &[Filling]) -> Result {
    let [value] = exactly("json", arguments)?;
    Ok(of_filling(value).to_string().into())
}

fn split(arguments: &[Filling]) -> Result {
    let [value, separator] = exactly("split", arguments)?;
    let (text, separator) = (text("split", value)?, text("split", separator)?);
    let parts: Vec<&str> = match separator {
        "" => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
        separator => text.split(separator).collect(),
    };
    Ok(Filling::Array(parts.into_iter().map(Filling::from).collect()))
}

fn join(arguments: &[Filling]) -> Result {
    let [list, separator] = exactly("join", arguments)?;
    let separator = text("join", separator)?;
    match list {
        Filling::Array(list) => {
            Ok(list.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator).into())
        }
        Filling::Nil | Filling::NoValue => Ok("".into()),
        other => Err(wrong("join", other, "a list")),
    }
}

/// The first letter of each word in capitals.
fn title(arguments: &[Filling]) -> Result {
    let [value] = exactly("title", arguments)?;
    let mut before = ' ';
    let mut titled = String::new();
    for c in text("title", value)?.chars() {
        let inside = before.is_alphanumeric() || matches!(before, '_' | '\'');
        before = c;
        if inside { titled.push(c) } else { titled.extend(c.to_uppercase()) }
    }
    Ok(titled.into())
}

fn lower(arguments: &[Filling]) -> Result {
    let [value] = exactly("lower", arguments)?;
    Ok(text("lower", value)?.to_lowercase().into())
}

fn upper(arguments: &[Filling]) -> Result {
    let [value] = exactly("upper", arguments)?;
    Ok(text("upper", value)?.to_uppercase().into())
}

/// A text with so many spaces before and behind it; nothing stays nothing.
fn pad(arguments: &[Filling]) -> Result {
    /// Wider than any terminal.
    const WIDEST: usize = 10_000;
    let [value, before, behind] = exactly("pad", arguments)?;
    let text = text("pad", value)?;
    let (before, behind) = (count("pad", before)?.min(WIDEST), count("pad", behind)?.min(WIDEST));
    if text.is_empty() {
        return Ok("".into());
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(behind)).into())
}

fn truncate(arguments: &[Filling]) -> Result {
    let [value, length] = exactly("truncate", arguments)?;
    Ok(text("truncate", value)?.chars().take(count("truncate", length)?).collect::<String>().into())
}

fn len(arguments: &[Filling]) -> Result {
    match arguments {
        [Filling::Nil | Filling::NoValue] => Ok(0_i64.into()),
        arguments => funcs::len(arguments),
    }
}

/// What is not there is the empty text, as it is in Go's maps of texts.
fn index(arguments: &[Filling]) -> Result {
    match arguments {
        [Filling::Nil | Filling::NoValue, _, ..] => Ok("".into()),
        arguments => match funcs::index(arguments) {
            Ok(Filling::Nil | Filling::NoValue) => Ok("".into()),
            Ok(found) => Ok(found),
            Err(_) => {
                let keys: Vec<String> = arguments.iter().skip(1).map(ToString::to_string).collect();
                Err(FuncError::Generic(format!("`index` finds nothing at `{}`", keys.join(" "))))
            }
        },
    }
}

fn exactly<'a, const N: usize>(
    function: &str,
    arguments: &'a [Filling],
) -> std::result::Result<&'a [Filling; N], FuncError> {
    arguments.try_into().map_err(|_| FuncError::ExactlyXArgs(function.to_owned(), N))
}

/// A text, or a field that is not set.
fn text<'a>(function: &str, value: &'a Filling) -> std::result::Result<&'a str, FuncError> {
    match value {
        Filling::String(text) => Ok(text),
        Filling::Nil | Filling::NoValue => Ok(""),
        other => Err(wrong(function, other, "a text")),
    }
}

fn count(function: &str, value: &Filling) -> std::result::Result<usize, FuncError> {
    let number = if let Filling::Number(number) = value { number.as_u64() } else { None };
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| wrong(function, value, "a count"))
}

fn wrong(function: &str, value: &Filling, wanted: &str) -> FuncError {
    FuncError::Generic(format!("`{function}` takes {wanted}, and not `{value}`"))
}

/// JSON whose fields are sorted, as those of Go's maps.
fn of_filling(value: &Filling) -> Value {
    match value {
        Filling::NoValue | Filling::Nil | Filling::Function(_) => Value::Null,
        Filling::Bool(truth) => Value::Bool(*truth),
        Filling::String(text) => Value::String(text.clone()),
        Filling::Array(list) => list.iter().map(of_filling).collect(),
        Filling::Map(map) | Filling::Object(map) => {
            map.iter().map(|(name, value)| (name.clone(), of_filling(value))).collect()
        }
        Filling::Number(number) => match number.kind() {
            NumberKind::Signed(number) => number.into(),
            NumberKind::Unsigned(number) => number.into(),
            NumberKind::Float(number) => number.into(),
        },
    }
}
