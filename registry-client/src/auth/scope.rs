//! What a token allows: `repository:library/debian:pull,push`.

use std::collections::{BTreeMap, BTreeSet};

/// A set of scopes, one per resource, actions merged and sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// `repository:<name>:pull`.
    pub(crate) fn pull(repository: &str) -> Self {
        Self::of(repository, &["pull"])
    }

    /// `repository:<name>:pull,push`.
    pub(crate) fn push(repository: &str) -> Self {
        Self::of(repository, &["pull", "push"])
    }

    /// `repository:<name>:delete,pull,push`: some registries want all of them where something is removed.
    pub(crate) fn delete(repository: &str) -> Self {
        Self::of(repository, &["delete", "pull", "push"])
    }

    fn of(repository: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self(BTreeMap::from([(format!("repository:{repository}"), actions)]))
    }

    /// Reads the `scope` parameter of a challenge. A name may hold colons, so the actions stand after the last.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for scope in text.split_ascii_whitespace() {
            let (resource, actions) = match scope.rsplit_once(':') {
                Some((resource, actions)) if resource.contains(':') => (resource, actions),
                _ => (scope, ""),
            };
            let actions = actions.split(',').filter(|action| !action.is_empty()).map(str::to_owned);
            scopes.0.entry(resource.to_owned()).or_default().extend(actions);
        }
        scopes
    }

    /// Adds what `other` allows.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (resource, actions) in &other.0 {
            self.0.entry(resource.clone()).or_default().extend(actions.iter().cloned());
        }
    }

    /// Whether all that `other` allows is in this set.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|(resource, actions)| self.0.get(resource).is_some_and(|mine| mine.is_superset(actions)))
    }

    /// Whether something is asked for, and nothing but reading, so that an anonymous try is worth it.
    pub(crate) fn only_pull(&self) -> bool {
        !self.0.is_empty() && self.0.values().flatten().all(|action| action == "pull")
    }

    /// One text per resource, the `first` repository's before the others, since some token servers read one scope only.
    pub(crate) fn texts(&self, first: &str) -> Vec<String> {
        let text = |(resource, actions): (&String, &BTreeSet<String>)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            if actions.is_empty() { resource.clone() } else { format!("{resource}:{}", actions.join(",")) }
        };
        let first = format!("repository:{first}");
        let (mut ahead, rest): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|(resource, _)| **resource == first);
        ahead.extend(rest);
        ahead.into_iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Scopes;

    #[test]
    fn merges_and_covers() {
        let mut scopes = Scopes::parse("repository:b:pull repository:host:5000/a:push registry:catalog:*");
        scopes.merge(&Scopes::push("b"));
        assert_eq!(
            scopes.texts("b"),
            ["repository:b:pull,push", "registry:catalog:*", "repository:host:5000/a:push"]
        );
        assert!(scopes.covers(&Scopes::pull("b")));
        assert!(!Scopes::pull("b").covers(&scopes));
        assert!(Scopes::pull("b").only_pull() && !scopes.only_pull());
        assert_eq!(Scopes::parse("odd").texts(""), ["odd"]);
    }
}
