//! SARIF 2.1.0 (OASIS), which code hosts read.

use std::fmt::Write as _;

use builder::dockerfile::Diagnostic;
use builder::dockerfile::lint::RULES;
use serde_json::{Value, json};

use super::place::Regions;
use super::{Findings, level};

/// The rule that errors of the grammar stand under.
const SYNTAX: &str = "SyntaxError";

/// Rules that the parser has beside those of the lint.
const OF_THE_PARSER: [(&str, &str); 3] = [
    (SYNTAX, "the file is a Dockerfile"),
    ("IgnoredFlag", "an instruction has no flags that do nothing"),
    ("InvalidTrigger", "the trigger of an ONBUILD is an instruction"),
];

/// The log of one run over one file.
pub(super) fn of(findings: &Findings<'_>) -> Value {
    let rules = rules();
    let uri = uri(&findings.source.name);
    let mut regions = Regions::of(findings.source);
    let results: Vec<Value> =
        findings.list.iter().map(|finding| result(finding, &rules, &uri, &mut regions)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "rbuild",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "artifacts": [{"location": {"uri": uri}, "encoding": "UTF-8"}],
            "results": results,
        }],
    })
}

fn rules() -> Vec<Value> {
    let mut rules: Vec<Value> = OF_THE_PARSER
        .iter()
        .map(|(id, summary)| {
            let level = if *id == SYNTAX { "error" } else { "warning" };
            json!({
                "id": id,
                "shortDescription": {"text": summary},
                "defaultConfiguration": {"level": level},
            })
        })
        .collect();
    for rule in RULES {
        let mut value = json!({
            "id": rule.id,
            "shortDescription": {"text": rule.summary},
            "defaultConfiguration": {"level": "warning", "enabled": !rule.experimental},
        });
        if let Some(url) = rule.url {
            value["helpUri"] = url.into();
        }
        rules.push(value);
    }
    rules
}

fn result(finding: &Diagnostic, rules: &[Value], uri: &str, regions: &mut Regions<'_>) -> Value {
    let id = finding.code.unwrap_or(SYNTAX);
    let region = regions.region(finding.span);
    let mut message = finding.message.clone();
    if let Some(help) = &finding.help {
        let _ = write!(message, " ({help})");
    }
    let mut value = json!({
        "ruleId": id,
        "level": level(finding),
        "message": {"text": message},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri, "index": 0},
            "region": {
                "startLine": region.start.0,
                "startColumn": region.start.1,
                "endLine": region.end.0,
                "endColumn": region.end.1,
            },
        }}],
    });
    if let Some(index) = rules.iter().position(|rule| rule["id"] == id) {
        value["ruleIndex"] = index.into();
    }
    value
}

/// A path as a URI reference (RFC 3986): what has a meaning there, or none, is escaped.
fn uri(path: &str) -> String {
    if path.contains("://") {
        return path.replace(' ', "%20");
    }
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte.into());
            }
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_uris() {
        assert_eq!(uri("app/Dockerfile"), "app/Dockerfile");
        assert_eq!(uri("<stdin>"), "%3Cstdin%3E");
        assert_eq!(uri("a b:é"), "a%20b%3A%C3%A9");
        assert_eq!(uri("https://example.org/a"), "https://example.org/a");
    }
}
