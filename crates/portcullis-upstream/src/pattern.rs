//! Patterns of tool names: `*` stands for any characters, `?` for one. Exact and case-sensitive otherwise, like the names themselves.

use std::fmt;

/// A pattern that whole names are held against.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// Every text is a pattern; one without `*` and `?` is the name itself.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// Whether the whole of `name` fits. Takes time in proportion to both lengths multiplied, at worst.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut next) = (0, 0);
        // Where the last star stands, and how far it reached: a mismatch makes it take one more.
        let mut star: Option<(usize, usize)> = None;
        while let Some(letter) = name.get(next) {
            match self.0.get(at) {
                Some('*') => {
                    star = Some((at, next));
                    at += 1;
                }
                Some(wanted) if wanted == letter || *wanted == '?' => {
                    at += 1;
                    next += 1;
                }
                _ => {
                    let Some((from, reached)) = star else { return false };
                    star = Some((from, reached + 1));
                    at = from + 1;
                    next = reached + 1;
                }
            }
        }
        self.0.iter().skip(at).all(|rest| *rest == '*')
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().collect::<String>().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_fits_whole_names_and_case_counts() {
        let table = [
            ("search", "search", true),
            ("search", "search_all", false),
            ("search", "Search", false),
            ("search_*", "search_", true),
            ("*_all", "search_all", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a?c", "abc", true),
            ("a?c", "aäc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*aab", "aaaab", true),
        ];
        for (pattern, name, fits) in table {
            assert_eq!(Pattern::new(pattern).fits(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_against_a_name_that_almost_fits_take_no_exponential_time() {
        let pattern = Pattern::new(&"*a".repeat(64));
        assert!(!pattern.fits(&format!("{}b", "a".repeat(4096))));
    }
}
