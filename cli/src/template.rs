//! `--format`: the part of Go's templates that people write: field paths, `json`, `join`, `index`, `len`, `upper`,
//! `lower`, and text between.

use serde_json::Value;

/// Fills a template with the fields of `value`. The error says what is wrong with the template.
pub(crate) fn render(template: &str, value: &Value) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(&unescape(before));
        let (action, behind) = after
            .split_once("}}")
            .ok_or_else(|| format!("`{{{{` without `}}}}` in the format `{template}`"))?;
        text.push_str(&evaluate(action.trim_matches('-').trim(), value)?);
        rest = behind;
    }
    text.push_str(&unescape(rest));
    Ok(text)
}

/// Rows by the `--format` of a listing command: `json`, a template, or `table TEMPLATE` with a header above columns.
/// `headers` has the header of each field that is not called by its own name.
pub(crate) fn rows(format: &str, headers: &[(&str, &str)], values: &[Value]) -> Result<String, String> {
    if format == "json" {
        return Ok(values.iter().map(|value| format!("{value}\n")).collect());
    }
    let Some(template) = format.strip_prefix("table ") else {
        let lines = values.iter().map(|value| render(format, value).map(|line| line + "\n"));
        return lines.collect();
    };
    let named = |name: &str| {
        let known = headers.iter().find(|(field, _)| *field == name);
        known.map_or_else(|| name.to_uppercase(), |(_, header)| (*header).to_owned())
    };
    let words = template.split(|c: char| !c.is_alphanumeric() && c != '.');
    let fields = words.filter_map(|word| word.strip_prefix('.')).filter(|name| !name.is_empty());
    let header = Value::Object(fields.map(|name| (name.to_owned(), named(name).into())).collect());
    let lines = std::iter::once(&header).chain(values);
    let lines = lines.map(|value| render(template, value)).collect::<Result<Vec<_>, _>>()?;
    Ok(crate::table::aligned(&lines.iter().map(|line| line.split('\t').collect()).collect::<Vec<_>>()))
}

/// `\n` and `\t` as Docker's `--format` takes them.
fn unescape(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t")
}

fn evaluate(action: &str, value: &Value) -> Result<String, String> {
    let words = words(action)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [path] => Ok(show(&argument(path, value)?)),
        ["json", path] => Ok(argument(path, value)?.to_string()),
        ["upper", path] => Ok(show(&argument(path, value)?).to_uppercase()),
        ["lower", path] => Ok(show(&argument(path, value)?).to_lowercase()),
        ["len", path] => match argument(path, value)? {
            Value::Array(list) => Ok(list.len().to_string()),
            Value::Object(map) => Ok(map.len().to_string()),
            Value::String(text) => Ok(text.len().to_string()),
            _ => Ok("0".to_owned()),
        },
        ["join", path, separator] => {
            let separator = show(&argument(separator, value)?);
            match argument(path, value)? {
                Value::Array(list) => Ok(list.iter().map(show).collect::<Vec<_>>().join(&separator)),
                other => Ok(show(&other)),
            }
        }
        ["index", path, ref keys @ ..] if !keys.is_empty() => {
            let mut found = argument(path, value)?;
            for key in keys {
                found = match argument(key, value)? {
                    Value::String(key) => found.get(key).cloned().unwrap_or(Value::Null),
                    Value::Number(at) => {
                        let at = at.as_u64().and_then(|at| usize::try_from(at).ok());
                        at.and_then(|at| found.get(at)).cloned().unwrap_or(Value::Null)
                    }
                    _ => Value::Null,
                };
            }
            Ok(show(&found))
        }
        _ => Err(format!(
            "`{{{{{action}}}}}` is not understood; a format may use field paths, json, join, index, len, upper and lower"
        )),
    }
}

/// Words of an action; text in quotes keeps them, as a mark.
fn words(action: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = action.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = if first == '"' || first == '`' {
            rest[1..]
                .find(first)
                .map(|at| at + 2)
                .ok_or_else(|| format!("a quote in `{{{{{action}}}}}` has no end"))?
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

fn argument(word: &str, value: &Value) -> Result<Value, String> {
    if let Some(text) = word.strip_prefix(['"', '`']) {
        return Ok(Value::String(unescape(text.trim_end_matches(['"', '`']))));
    }
    if let Ok(number) = word.parse::<u64>() {
        return Ok(number.into());
    }
    let Some(path) = word.strip_prefix('.') else {
        return Err(format!(
            "`{word}` is not understood; a field path begins with a dot, as in `{{{{.Id}}}}`"
        ));
    };
    let mut found = value;
    let mut missing = false;
    for name in path.split('.').filter(|name| !name.is_empty()) {
        match found.get(name) {
            Some(inner) => found = inner,
            // Fields that an image may lack print as Go prints a missing map entry.
            None if found.is_object() && !std::ptr::eq(found, value) => missing = true,
            None => return Err(format!("there is no field `{word}`")),
        }
    }
    Ok(if missing { Value::Null } else { found.clone() })
}

/// A value as Go's templates print it.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}:{}", show(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_people_write() {
        let value = json!({
            "Id": "sha256:1", "Size": 5,
            "Config": {"Env": ["A=1", "B=2"], "Labels": {"a.b": "c"}, "ExposedPorts": {"80/tcp": {}}},
        });
        for (template, text) in [
            ("{{.Id}}", "sha256:1"),
            ("{{ .Id }}:{{.Size}}", "sha256:1:5"),
            (r"{{.Id}}\t{{.Size}}", "sha256:1\t5"),
            ("{{.Config.Env}}", "[A=1 B=2]"),
            ("{{json .Config.Env}}", r#"["A=1","B=2"]"#),
            (r#"{{join .Config.Env ","}}"#, "A=1,B=2"),
            (r#"{{index .Config.Labels "a.b"}}"#, "c"),
            ("{{index .Config.Env 1}}", "B=2"),
            ("{{len .Config.Env}}", "2"),
            ("{{.Config.ExposedPorts}}", "map[80/tcp:map[]]"),
            ("{{.Config.User}}", "<no value>"),
            ("{{upper .Id}}", "SHA256:1"),
            ("plain", "plain"),
        ] {
            assert_eq!(render(template, &value).as_deref(), Ok(text), "{template}");
        }
        let values = [json!({"ID": "abc", "Size": "1MB"}), json!({"ID": "d", "Size": "20MB"})];
        let listed = |format: &str| rows(format, &[("ID", "IMAGE ID")], &values).unwrap();
        assert_eq!(listed("{{.ID}}"), "abc\nd\n");
        assert_eq!(listed("json"), "{\"ID\":\"abc\",\"Size\":\"1MB\"}\n{\"ID\":\"d\",\"Size\":\"20MB\"}\n");
        assert_eq!(listed(r"table {{.ID}}\t{{.Size}}"), "IMAGE ID   SIZE\nabc        1MB\nd          20MB\n");
        for template in ["{{.Id", "{{.Nothing}}", "{{range .Config.Env}}", "{{Id}}", "{{join .Id \"}}"] {
            assert!(render(template, &value).is_err(), "{template}");
        }
    }
}
