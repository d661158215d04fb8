//! The nearest name to one that does not exist.

/// Names at this distance or further are no suggestion.
const TOO_FAR: usize = 3;

/// The candidate nearest to a word by edits of characters, whatever the case, if it is near enough
/// to be meant. A word that is itself a candidate has none. The first of equals wins.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    let mut best = None;
    for candidate in candidates {
        let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
        if letters == word {
            return None;
        }
        if letters.len().abs_diff(word.len()) >= TOO_FAR {
            continue;
        }
        let distance = distance(&word, &letters);
        if distance < best.map_or(TOO_FAR, |(best, _)| best) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Levenshtein's, in one row.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_within_two_edits() {
        let names = ["ADD", "ARG", "RUN", "COPY", "FROM"];
        assert_eq!(nearest("FORM", names), Some("FROM"));
        assert_eq!(nearest("cpy", names), Some("COPY"));
        assert_eq!(nearest("run", names), None);
        assert_eq!(nearest("apt-get", names), None);
    }
}
