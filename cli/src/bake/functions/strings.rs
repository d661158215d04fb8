//! Functions of texts.

use regex::{Captures, Regex};

use super::{Arguments, Table, texts};
use crate::bake::value::Value;

pub(super) const TABLE: Table = &[
    ("basename", |arguments| changed(arguments, basename)),
    ("chomp", |arguments| changed(arguments, |text| text.trim_end_matches(['\n', '\r']).to_owned())),
    ("dirname", |arguments| changed(arguments, dirname)),
    ("indent", indent),
    ("join", join),
    ("lower", |arguments| changed(arguments, str::to_lowercase)),
    ("regex", regex),
    ("regex_replace", regex_replace),
    ("regexall", regexall),
    ("regexreplace", regex_replace),
    ("replace", |arguments| {
        let [text, old, new] = arguments.exactly()?;
        Ok(Value::text(text.to_text()?.replace(&old.to_text()?, &new.to_text()?)))
    }),
    ("reverse", |arguments| changed(arguments, |text| text.chars().rev().collect())),
    ("sanitize", |arguments| changed(arguments, sanitize)),
    ("semvercmp", semvercmp),
    ("split", |arguments| {
        let [separator, text] = arguments.exactly()?;
        let (separator, text) = (separator.to_text()?, text.to_text()?);
        Ok(Value::List(split(&text, &separator)))
    }),
    ("strlen", |arguments| {
        arguments.exactly::<1>().and_then(|[text]| text.to_text()).map(|text| text.chars().count().into())
    }),
    ("substr", substr),
    ("title", |arguments| changed(arguments, title)),
    ("trim", |arguments| {
        let [text, characters] = arguments.exactly()?;
        let (text, characters) = (text.to_text()?, characters.to_text()?);
        Ok(Value::text(text.trim_matches(|one| characters.contains(one))))
    }),
    ("trimprefix", |arguments| {
        let [text, prefix] = arguments.exactly()?;
        let (text, prefix) = (text.to_text()?, prefix.to_text()?);
        Ok(Value::text(text.strip_prefix(prefix.as_str()).unwrap_or(&text)))
    }),
    ("trimspace", |arguments| changed(arguments, |text| text.trim().to_owned())),
    ("trimsuffix", |arguments| {
        let [text, suffix] = arguments.exactly()?;
        let (text, suffix) = (text.to_text()?, suffix.to_text()?);
        Ok(Value::text(text.strip_suffix(suffix.as_str()).unwrap_or(&text)))
    }),
    ("upper", |arguments| changed(arguments, str::to_uppercase)),
];

fn changed(arguments: Arguments<'_>, change: fn(&str) -> String) -> Result<Value, String> {
    let [text] = arguments.exactly()?;
    Ok(Value::String(change(&text.to_text()?)))
}

fn basename(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".".to_owned(),
        "" => "/".to_owned(),
        path => path.rsplit('/').next().unwrap_or(path).to_owned(),
    }
}

fn dirname(path: &str) -> String {
    let Some((directory, _)) = path.rsplit_once('/') else { return ".".to_owned() };
    crate::bake::paths::clean(if directory.is_empty() { "/" } else { directory })
}

/// What the name of a target may not have becomes `_`.
fn sanitize(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_ascii_alphanumeric() || "_-".contains(one) { one } else { '_' })
        .collect()
}

fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|one| {
            let first = !before.is_alphanumeric() && before != '_';
            before = one;
            if first { one.to_uppercase().to_string() } else { one.to_string() }
        })
        .collect()
}

fn indent(arguments: Arguments<'_>) -> Result<Value, String> {
    let [width, text] = arguments.exactly()?;
    let width = width.to_number()?;
    if !(0.0..=1000.0).contains(&width) {
        return Err("an indent is between 0 and 1000".to_owned());
    }
    Ok(Value::text(text.to_text()?.replace('\n', &format!("\n{}", " ".repeat(width as usize)))))
}

fn join(arguments: Arguments<'_>) -> Result<Value, String> {
    let separator = arguments.text(0)?;
    arguments.at(1)?;
    let mut all = Vec::new();
    for place in 1..arguments.0.len() {
        all.extend(texts(arguments.list(place)?)?);
    }
    Ok(Value::String(all.join(&separator)))
}

fn split(text: &str, separator: &str) -> Vec<Value> {
    if separator.is_empty() {
        return text.chars().map(|one| Value::String(one.to_string())).collect();
    }
    text.split(separator).map(Value::text).collect()
}

fn substr(arguments: Arguments<'_>) -> Result<Value, String> {
    arguments.exactly::<3>()?;
    let characters: Vec<char> = arguments.text(0)?.chars().collect();
    let (offset, length) = (arguments.whole(1)?, arguments.whole(2)?);
    let count = characters.len() as i64;
    let start = if offset < 0 { (count + offset).max(0) } else { offset.min(count) };
    let end = if length < 0 { count } else { (start.saturating_add(length)).min(count) };
    Ok(Value::String(characters[start as usize..end as usize].iter().collect()))
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        let reason = error.to_string();
        format!(
            "`{text}` is no pattern: {}",
            reason.lines().last().unwrap_or_default().trim_start_matches("error: ")
        )
    })
}

/// A match: the text, or the groups by number, or by name where they have names.
fn matched(pattern: &Regex, captures: &Captures<'_>) -> Value {
    let group =
        |found: Option<regex::Match<'_>>| found.map_or(Value::Null, |found| Value::text(found.as_str()));
    let names: Vec<&str> = pattern.capture_names().flatten().collect();
    if !names.is_empty() {
        return Value::Object(
            names.iter().map(|name| ((*name).to_owned(), group(captures.name(name)))).collect(),
        );
    }
    if captures.len() > 1 {
        return Value::List(captures.iter().skip(1).map(group).collect());
    }
    group(captures.get(0))
}

fn regex(arguments: Arguments<'_>) -> Result<Value, String> {
    let [expression, text] = arguments.exactly()?;
    let (pattern, text) = (pattern(&expression.to_text()?)?, text.to_text()?);
    let captures = pattern.captures(&text).ok_or_else(|| format!("`{pattern}` is not found in `{text}`"))?;
    Ok(matched(&pattern, &captures))
}

fn regexall(arguments: Arguments<'_>) -> Result<Value, String> {
    let [expression, text] = arguments.exactly()?;
    let (pattern, text) = (pattern(&expression.to_text()?)?, text.to_text()?);
    Ok(Value::List(pattern.captures_iter(&text).map(|captures| matched(&pattern, &captures)).collect()))
}

fn regex_replace(arguments: Arguments<'_>) -> Result<Value, String> {
    let [text, expression, new] = arguments.exactly()?;
    let (pattern, new) = (pattern(&expression.to_text()?)?, new.to_text()?);
    Ok(Value::text(pattern.replace_all(&text.to_text()?, new.as_str())))
}

/// Whether a version satisfies `>=1.2, <2 || 3`.
fn semvercmp(arguments: Arguments<'_>) -> Result<Value, String> {
    let [version, constraint] = arguments.exactly()?;
    let (text, constraint) = (version.to_text()?, constraint.to_text()?);
    let wrong = |what: &str| format!("`{what}` is no version");
    let plain = text.trim_start_matches('v');
    let numbers = plain.split(['-', '+']).next().unwrap_or_default();
    let missing = 2_usize.saturating_sub(numbers.matches('.').count());
    let whole = format!("{numbers}{}{}", ".0".repeat(missing), &plain[numbers.len()..]);
    let version = semver::Version::parse(&whole).map_err(|_| wrong(&text))?;
    for alternative in constraint.split("||") {
        // A space between two of them means `and`, as a comma does.
        let words: Vec<&str> = alternative.split([',', ' ']).filter(|word| !word.is_empty()).collect();
        let mut parts = Vec::new();
        let mut operator = String::new();
        for word in words {
            if word.chars().all(|one| "<>=~^!".contains(one)) {
                word.clone_into(&mut operator);
            } else {
                parts.push(format!("{operator}{}", word.replace('v', "")));
                operator.clear();
            }
        }
        let fits = |part: &String| match part.strip_prefix("!=") {
            Some(other) => semver::VersionReq::parse(&format!("={other}")).map(|one| !one.matches(&version)),
            None => {
                let exact = part.starts_with(|one: char| one.is_ascii_digit());
                let part = if exact { format!("={part}") } else { part.clone() };
                semver::VersionReq::parse(&part).map(|one| one.matches(&version))
            }
        };
        let fit = parts.iter().map(fits).collect::<Result<Vec<bool>, _>>().map_err(|_| wrong(&constraint))?;
        if fit.into_iter().all(|fits| fits) {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
