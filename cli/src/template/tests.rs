use serde_json::json;

use super::*;

const CASES: &str = include_str!("../../../testdata/templates/values.txt");
const VALUE: &str = include_str!("../../../testdata/templates/value.json");

/// The templates of the cases, each with the lines of what it gives and the error that it ends with.
fn cases() -> Vec<(&'static str, Vec<&'static str>, Option<&'static str>)> {
    let mut cases: Vec<(&str, Vec<&str>, Option<&str>)> = Vec::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let last = cases.last_mut();
        match (line.strip_prefix("= "), line.strip_prefix("! "), last) {
            (Some(text), None, Some((_, lines, _))) => lines.push(text),
            (None, Some(text), Some((_, _, error))) => *error = Some(text),
            _ => cases.push((line, Vec::new(), None)),
        }
    }
    cases
}

#[test]
fn templates_give_what_go_gives() {
    let value: Value = serde_json::from_str(VALUE).unwrap();
    let mut wrong = String::new();
    for (template, lines, error) in cases() {
        let given = Template::parse(template).and_then(|template| template.fill(&value));
        let fits = match (&given, error) {
            (Ok(given), None) => *given == lines.join("\n"),
            (Err(failure), Some(error)) => failure.to_string().contains(error),
            _ => false,
        };
        if !fits {
            wrong += &format!("{template}\n{given:?}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn mistakes_show_their_place() {
    let value = json!({"Id": "1", "Size": 2});
    let shown = |template: &str| {
        let failure = Template::parse(template).and_then(|template| template.fill(&value)).unwrap_err();
        let mut plain = anstream::StripStream::new(Vec::new());
        failure.write(&mut plain).unwrap();
        String::from_utf8(plain.into_inner()).unwrap()
    };
    insta::assert_snapshot!(shown("{{.Id}} {{.Sise}}"), @"
    error: the format cannot be used: no field `Sise`
     --> --format:1:11
      |
    1 | {{.Id}} {{.Sise}}
      |           ^^^^^
    hint: did you mean `Size`?
    ");
    insta::assert_snapshot!(shown(r"{{.Id}}\n{{uper .Id}}"), @"
    error: the format cannot be used: function uper not defined
     --> --format:2:3
      |
    2 | {{uper .Id}}
      |   ^^^^
    hint: did you mean `upper`?
    ");
}

#[test]
fn listings() {
    let values = [json!({"ID": "abc", "Size": "1MB"}), json!({"ID": "d", "Size": "20MB"})];
    let listed = |format: &str| rows(format, &[("ID", "IMAGE ID")], &values).unwrap();
    assert_eq!(listed("{{.ID}}"), "abc\nd\n");
    assert_eq!(listed("json"), "{\"ID\":\"abc\",\"Size\":\"1MB\"}\n{\"ID\":\"d\",\"Size\":\"20MB\"}\n");
    assert_eq!(listed("{{json .}}"), listed("json"));
    assert_eq!(listed(r"table {{.ID}}\t{{.Size}}"), "IMAGE ID   SIZE\nabc        1MB\nd          20MB\n");
    assert_eq!(
        listed(r"table {{upper .ID}}\t{{lower .Size}}"),
        "IMAGE ID   SIZE\nABC        1mb\nD          20mb\n"
    );
}
