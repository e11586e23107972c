//! "Did you mean": the nearest known word to a misspelt one.

/// The candidate nearest to `word`, if it is near enough to be what was meant: a third of its letters may differ.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = fold(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and the choice between `-` and `_` are the commonest slips and cost nothing.
fn fold(word: &str) -> Vec<char> {
    word.chars().flat_map(char::to_lowercase).map(|letter| if letter == '-' { '_' } else { letter }).take(64).collect()
}

/// Edit distance (Levenshtein), one row at a time.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.iter().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(before);
        for (to, above) in right.iter().zip(row.iter().skip(1)) {
            let cost = diagonal + usize::from(from != to);
            before = cost.min(above + 1).min(before + 1);
            diagonal = *above;
            next.push(before);
        }
        row = next;
    }
    row.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_known_key_is_suggested_and_a_stranger_is_not() {
        let known = ["listen", "upstream", "allowed_hosts", "audit"];
        assert_eq!(nearest("lissten", known), Some("listen"));
        assert_eq!(nearest("Allowed-Hosts", known), Some("allowed_hosts"));
        assert_eq!(nearest("upsteram", known), Some("upstream"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}
