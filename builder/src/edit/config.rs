//! Changes to an image's configuration.

use std::collections::BTreeMap;

use super::Draft;
use crate::error::{Error, Result};

/// What is changed; everything else stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigEdit {
    /// Labels; `None` removes one.
    pub labels: Vec<(String, Option<String>)>,
    /// Annotations of each image's manifest; `None` removes one.
    pub annotations: Vec<(String, Option<String>)>,
    /// Variables; `None` removes one.
    pub env: Vec<(String, Option<String>)>,
    /// The entry point; an empty one is none. As in a Dockerfile, a new one resets the command unless that is given too.
    pub entrypoint: Option<Vec<String>>,
    /// The command; an empty one is none.
    pub cmd: Option<Vec<String>>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// The working directory, absolute.
    pub working_dir: Option<String>,
}

impl ConfigEdit {
    /// Changes `draft`.
    ///
    /// # Errors
    ///
    /// The working directory is not absolute.
    pub fn apply(&self, draft: &mut Draft) -> Result<()> {
        let config = &mut draft.config.config;
        put(&mut config.labels, &self.labels);
        put(&mut draft.annotations, &self.annotations);
        for (name, value) in &self.env {
            let is_it = |line: &String| line.split('=').next() == Some(name);
            match (config.env.iter().position(is_it), value) {
                (Some(at), Some(value)) => config.env[at] = format!("{name}={value}"),
                (None, Some(value)) => config.env.push(format!("{name}={value}")),
                (Some(at), None) => drop(config.env.remove(at)),
                (None, None) => {}
            }
        }
        let some = |words: &Vec<String>| Some(words.clone()).filter(|words| !words.is_empty());
        if let Some(entrypoint) = &self.entrypoint {
            config.entrypoint = some(entrypoint);
            config.cmd = None;
            config.args_escaped = false;
        }
        if let Some(cmd) = &self.cmd {
            config.cmd = some(cmd);
            config.args_escaped = false;
        }
        if let Some(user) = &self.user {
            config.user.clone_from(user);
        }
        if let Some(directory) = &self.working_dir {
            if !directory.starts_with('/') {
                return Err(Error::invalid(format!("the working directory `{directory}` is not absolute")));
            }
            config.working_dir.clone_from(directory);
        }
        Ok(())
    }
}

/// Sets and removes entries of a map.
fn put(map: &mut BTreeMap<String, String>, changes: &[(String, Option<String>)]) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(map.insert(key.clone(), value.clone())),
            None => drop(map.remove(key)),
        }
    }
}

/// The words of an entry point or command as it is typed: a JSON array as in a Dockerfile's exec form, or words that
/// single and double quotes hold together. No shell is asked, and no variable is put in.
///
/// # Errors
///
/// A quote is not closed, or the JSON is no array of strings.
pub fn split_words(text: &str) -> Result<Vec<String>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("`{text}` is no JSON array of strings: {error}")));
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, open @ ('"' | '\'')) => {
                quote = Some(open);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    if let Some(open) = quote {
        return Err(Error::invalid(format!("the quote `{open}` in `{text}` is not closed")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use layer_store::{Descriptor, Digest, ImageConfig, Manifest};

    use super::*;

    fn draft() -> Draft {
        let mut config = ImageConfig::default();
        config.config.env = vec!["PATH=/bin".to_owned(), "A=1".to_owned()];
        config.config.cmd = Some(vec!["sh".to_owned()]);
        config.config.labels.insert("old".to_owned(), "x".to_owned());
        let manifest = Manifest::image(Descriptor::new("c", Digest::of(b""), 0), Vec::new(), BTreeMap::new());
        Draft { manifest, was: config.clone(), config, layers: Vec::new(), annotations: BTreeMap::new() }
    }

    #[test]
    fn changes_what_is_asked_and_nothing_else() {
        let pair = |key: &str, value: Option<&str>| vec![(key.to_owned(), value.map(str::to_owned))];
        let mut edited = draft();
        ConfigEdit::default().apply(&mut edited).unwrap();
        assert_eq!(edited.config, draft().config);

        let edit = ConfigEdit {
            labels: [pair("new", Some("y")), pair("old", None), pair("none", None)].concat(),
            annotations: pair("a", Some("b")),
            env: [pair("A", Some("2")), pair("B", Some("")), pair("PATH", None)].concat(),
            entrypoint: Some(vec!["/app".to_owned()]),
            cmd: None,
            user: Some("1000".to_owned()),
            working_dir: Some("/srv".to_owned()),
        };
        edit.apply(&mut edited).unwrap();
        let config = &edited.config.config;
        assert_eq!(config.env, ["A=2", "B="]);
        assert_eq!(config.labels.keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(edited.annotations["a"], "b");
        assert_eq!((config.entrypoint.as_deref(), &config.cmd), (Some(&["/app".to_owned()][..]), &None));
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("1000", "/srv"));
        let relative = ConfigEdit { working_dir: Some("srv".to_owned()), ..ConfigEdit::default() };
        assert!(relative.apply(&mut draft()).is_err());
    }

    #[test]
    fn words() {
        for (text, wanted) in [
            ("", Some(vec![])),
            ("/app --port 80", Some(vec!["/app", "--port", "80"])),
            (r#"sh -c "echo 'a b' \"c\"""#, Some(vec!["sh", "-c", "echo 'a b' \"c\""])),
            (r#"["a b","c"]"#, Some(vec!["a b", "c"])),
            ("a '' b", Some(vec!["a", "", "b"])),
            ("'a", None),
            ("[1]", None),
        ] {
            let wanted = wanted.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(split_words(text).ok(), wanted, "{text}");
        }
    }
}
