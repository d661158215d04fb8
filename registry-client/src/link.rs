//! The `Link` header of paged answers (RFC 8288).

/// The target of the first link with `rel="next"` in any of the header's lines.
pub(crate) fn next<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<String> {
    lines.into_iter().find_map(next_of_line)
}

fn next_of_line(line: &str) -> Option<String> {
    let mut rest = line;
    while let Some(start) = rest.find('<') {
        let (target, after) = rest[start + 1..].split_once('>')?;
        let end = end_of_link(after);
        let target = target.trim();
        // No address has such a character: who follows it would follow another one than was written.
        if !target.contains(char::is_control) && after[..end].split(';').any(is_next) {
            return Some(target.to_owned());
        }
        rest = &after[end..];
    }
    None
}

/// Where the parameters of a link end: at a comma outside quotes.
fn end_of_link(parameters: &str) -> usize {
    let mut quoted = false;
    for (at, c) in parameters.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => return at + 1,
            _ => {}
        }
    }
    parameters.len()
}

fn is_next(parameter: &str) -> bool {
    let parameter = parameter.trim().trim_end_matches(',');
    parameter.split_once('=').is_some_and(|(key, value)| {
        key.trim().eq_ignore_ascii_case("rel")
            && value
                .trim()
                .trim_matches('"')
                .split_ascii_whitespace()
                .any(|rel| rel.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn finds_the_next_page() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(next([line]).as_deref(), expected, "{line}");
        };
        check(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#, Some("/v2/a/tags/list?last=b&n=2"));
        check("</v2/x>; rel=next", Some("/v2/x"));
        check(
            r#"<https://r.example/v2/x?n=1>; rel="next"; title="a, b""#,
            Some("https://r.example/v2/x?n=1"),
        );
        check(r#"</first>; rel="prev", </second>; rel="next""#, Some("/second"));
        check(r#"</first>; rel="prev"; title="x, <y>", </second>;rel="last next""#, Some("/second"));
        check(r#"</x>; REL="Next""#, Some("/x"));
        check(r#"</x>; rel="prev""#, None);
        check("", None);
        check("</x", None);
        check("/x; rel=next", None);
        check("</x\ry>; rel=next", None);
    }
}
