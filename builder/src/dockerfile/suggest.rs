//! The nearest name to one that does not exist.

/// Names at this distance or further are no suggestion.
const TOO_FAR: usize = 3;

/// Nobody mistypes a longer name than this, in characters, and the cost is the square of it.
const LONGEST: usize = 64;

/// The candidate nearest to a word by edits of characters, whatever the case, if it is near enough
/// to be meant. A word that is itself a candidate has none. The first of equals wins.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    if word.len() > LONGEST {
        return None;
    }
    let mut best = None;
    for candidate in candidates {
        // In bytes a name is never shorter than in characters, and four times as long at most.
        if candidate.len() > (LONGEST + TOO_FAR) * 4 {
            continue;
        }
        let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
        if letters == word {
            return None;
        }
        if letters.len().abs_diff(word.len()) >= TOO_FAR {
            continue;
        }
        let distance = distance(&word, &letters);
        // Half of a short word changed is another word.
        if distance * 2 <= word.len() && distance < best.map_or(TOO_FAR, |(best, _)| best) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Characters added, removed, changed, or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let changed = above[j] + usize::from(a[i] != b[j]);
            row[j + 1] = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_within_two_edits() {
        let names = ["ADD", "ARG", "RUN", "COPY", "FROM"];
        assert_eq!(nearest("FORM", names), Some("FROM"));
        assert_eq!(nearest("cpy", names), Some("COPY"));
        assert_eq!(nearest("RNU", names), Some("RUN"));
        assert_eq!(nearest("FOO", names), None);
        assert_eq!(nearest("run", names), None);
        assert_eq!(nearest("apt-get", names), None);
    }
}
