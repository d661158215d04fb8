//! The variables that commands and expansions see.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rpds::{HashTrieMapSync, VectorSync};

/// Variables in the order of their first definition. Copies share what is the same: in a file of thousands of
/// instructions each step keeps its own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `NAME=value`.
    pairs: VectorSync<Arc<str>>,
    /// Where the pair of each name stands.
    places: HashTrieMapSync<Arc<str>, usize>,
    /// The sum of the hashes of all pairs with their places: what it takes to hash them all at each step would grow with
    /// the square of the file.
    sum: u64,
}

impl Environment {
    /// The value of a variable.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.get(*self.places.get(name)?)?;
        Some(&pair[name.len() + 1..])
    }

    /// Sets a variable, at its old place if it has one.
    pub fn set(&mut self, name: &str, value: &str) {
        let pair: Arc<str> = Arc::from(format!("{name}={value}"));
        let place = self.places.get(name).copied();
        let old = place.and_then(|place| self.pairs.get(place).map(|old| hash(place, old)));
        let new = hash(place.unwrap_or(self.pairs.len()), &pair);
        self.sum = self.sum.wrapping_sub(old.unwrap_or(0)).wrapping_add(new);
        match place {
            Some(place) => drop(self.pairs.set_mut(place, pair)),
            None => {
                self.places.insert_mut(Arc::from(name), self.pairs.len());
                self.pairs.push_back_mut(pair);
            }
        }
    }

    /// `NAME=value` of each.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = &str> {
        self.pairs.iter().map(|pair| &**pair)
    }
}

impl PartialEq for Environment {
    fn eq(&self, other: &Self) -> bool {
        self.sum == other.sum && self.pairs == other.pairs
    }
}

impl Eq for Environment {}

impl Hash for Environment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.sum);
    }
}

fn hash(place: usize, pair: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (place, pair).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::Environment;

    #[test]
    fn a_variable_keeps_its_place() {
        let mut environment = Environment::default();
        for (name, value) in [("A", "1"), ("B", ""), ("A", "2=3")] {
            environment.set(name, value);
        }
        assert_eq!(environment.pairs().collect::<Vec<_>>(), ["A=2=3", "B="]);
        assert_eq!(["A", "B", "C"].map(|name| environment.value(name)), [Some("2=3"), Some(""), None]);
        let mut copy = environment.clone();
        assert_eq!(copy, environment);
        copy.set("B", "x");
        assert_ne!(copy, environment);
        assert_eq!(environment.value("B"), Some(""));
        copy.set("B", "");
        assert_eq!((copy.sum, &copy), (environment.sum, &environment));
    }
}
