//! `WWW-Authenticate`: what a registry wants to see (RFC 9110, section 11.6.1).

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// `bearer`, `basic`, …, in lower case.
    pub(crate) scheme: String,
    /// Keys in lower case, values unquoted, in order.
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of that (lower-case) name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of all header lines, in order. A line may hold several, and a scheme may come without parameters or
/// with one token; what cannot be read is passed over, because real registries leave out quotes and commas.
pub(crate) fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for line in lines {
        parse_line(line, &mut challenges);
    }
    challenges
}

/// The challenge that this client answers: Bearer with a realm before Basic, and nothing else.
pub(crate) fn preferred(challenges: &[Challenge]) -> Option<&Challenge> {
    let bearer = |one: &&Challenge| {
        one.scheme == "bearer" && one.parameter("realm").is_some_and(|realm| !realm.is_empty())
    };
    challenges.iter().find(bearer).or_else(|| challenges.iter().find(|one| one.scheme == "basic"))
}

fn parse_line(line: &str, challenges: &mut Vec<Challenge>) {
    let mut rest = Cursor(line);
    let first_of_line = challenges.len();
    loop {
        let separated = rest.skip_separators();
        let word = rest.word();
        if word.is_empty() {
            if rest.0.is_empty() {
                return;
            }
            rest.skip_character();
            continue;
        }
        let before_equals = rest.0;
        rest.skip_blanks();
        let of_this_line = challenges.len() > first_of_line;
        if rest.0.starts_with('=') && of_this_line {
            rest.skip_character();
            rest.skip_blanks();
            let value = rest.value();
            if let Some(challenge) = challenges.last_mut() {
                challenge.parameters.push((word.to_ascii_lowercase(), value));
            }
            continue;
        }
        rest.0 = before_equals;
        let is_token68 =
            !separated && of_this_line && challenges.last().is_some_and(|one| one.parameters.is_empty());
        if !is_token68 {
            challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
        }
    }
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Skips blanks and commas; whether there was a comma.
    fn skip_separators(&mut self) -> bool {
        let before = self.0;
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        before[..before.len() - self.0.len()].contains(',')
    }

    fn skip_character(&mut self) {
        let mut characters = self.0.chars();
        characters.next();
        self.0 = characters.as_str();
    }

    fn word(&mut self) -> &'a str {
        let end = self.0.find(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | '=' | '"'));
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        word
    }

    fn value(&mut self) -> String {
        let Some(quoted) = self.0.strip_prefix('"') else {
            let end = self.0.find(|c: char| c.is_ascii_whitespace() || c == ',').unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(end);
            self.0 = rest;
            return value.to_owned();
        };
        let mut value = String::new();
        let mut characters = quoted.chars();
        while let Some(c) = characters.next() {
            match c {
                '"' => break,
                '\\' => value.extend(characters.next()),
                c => value.push(c),
            }
        }
        self.0 = characters.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(challenges: &[Challenge]) -> String {
        let one = |challenge: &Challenge| {
            let parameters: Vec<_> =
                challenge.parameters.iter().map(|(key, value)| format!("{key}=<{value}>")).collect();
            format!("{}({})", challenge.scheme, parameters.join(" "))
        };
        challenges.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn reads_what_registries_send() {
        let table = include_str!("../../../testdata/registry/challenges.txt");
        let mut rows = 0;
        for row in table.lines().filter(|row| !row.is_empty() && !row.starts_with('#')) {
            let (header, expected) = row.split_once(" => ").or_else(|| row.split_once(" =>")).unwrap();
            assert_eq!(written(&parse(header.split(" && "))), expected, "{header}");
            rows += 1;
        }
        assert!(rows >= 25, "{rows}");
    }

    #[test]
    fn bearer_before_basic_before_nothing() {
        let scheme = |line: &str| preferred(&parse([line])).map(|one| one.scheme.clone());
        assert_eq!(scheme(r#"Basic realm="x", Bearer realm="https://a/t""#).as_deref(), Some("bearer"));
        assert_eq!(scheme(r#"Negotiate, Basic realm="x""#).as_deref(), Some("basic"));
        assert_eq!(scheme("Bearer, Basic").as_deref(), Some("basic"));
        assert_eq!(scheme("Negotiate"), None);
    }

    #[test]
    fn agrees_with_a_strict_parser() {
        for line in [
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#,
            r#"Basic realm="a \"quoted\" realm", charset="UTF-8""#,
            r#"Basic realm="one", Bearer realm="https://a/t",service="s",scope="repository:a:pull""#,
        ] {
            let strict = http_auth::parse_challenges(line).unwrap();
            let ours = parse([line]);
            assert_eq!(strict.len(), ours.len(), "{line}");
            for (strict, ours) in strict.iter().zip(&ours) {
                assert!(strict.scheme.eq_ignore_ascii_case(&ours.scheme));
                let strict: Vec<_> = strict
                    .params
                    .iter()
                    .map(|(key, value)| (key.to_ascii_lowercase(), value.to_unescaped()))
                    .collect();
                assert_eq!(strict, ours.parameters);
            }
        }
    }
}
