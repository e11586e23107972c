//! How long files are, and that each begins by saying what it is for. Length is a smell and no law, so the exceptions are written
//! down with a date and a reason, and an exception that nothing needs any more has to go.

use std::path::Path;

use crate::Failure;
use crate::layout::Layout;
use crate::report::Tally;

/// Worth a look.
const GOAL: usize = 400;
/// Fails without an exception.
const LIMIT: usize = 500;
const EXCEPTIONS: &str = "xtask/sizes.txt";

#[derive(Debug, PartialEq, Eq)]
struct Exception {
    path: String,
    lines: usize,
}

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let text =
        std::fs::read_to_string(layout.root.join(EXCEPTIONS)).map_err(|error| format!("{EXCEPTIONS}: {error}"))?;
    let exceptions = parse(&text)?;
    let mut used = vec![false; exceptions.len()];
    let mut tally = Tally::default();
    for folder in ["crates", "fixtures", "fuzz", "xtask"] {
        for path in layout.files(folder, ".rs")? {
            let name = layout.short(&path).to_string();
            if is_test(Path::new(&name)) {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            tally.check(text.starts_with("//!"), || format!("{name} does not open with what it is for (`//!`)"));
            let lines = production(&text);
            let allowed = exceptions.iter().zip(&mut used).find(|(exception, _)| exception.path == name).map(
                |(exception, used)| {
                    *used = lines > LIMIT;
                    exception.lines
                },
            );
            tally.check(lines <= allowed.unwrap_or(LIMIT), || {
                format!("{name} has {lines} lines: split it where a reader would look for the second half under its own name")
            });
            if lines > GOAL && lines <= LIMIT {
                tally.note(format!("{name} has {lines} lines; {GOAL} is the goal"));
            }
        }
    }
    for (exception, used) in exceptions.iter().zip(used) {
        tally.check(used, || format!("{EXCEPTIONS}: {} needs no exception any more", exception.path));
    }
    Ok(tally)
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.file_name().is_some_and(|name| name == "tests.rs")
}

/// Lines before the inline tests.
fn production(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| matches!(pair, ["#[cfg(test)]", next] if next.starts_with("mod ") && next.ends_with('{')));
    tests.unwrap_or(lines.len())
}

/// One exception per line: path, lines allowed, date it was granted, reason; `#` begins a comment.
fn parse(text: &str) -> Result<Vec<Exception>, Failure> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.splitn(4, char::is_whitespace);
        let (path, lines, date, reason) = (words.next(), words.next(), words.next(), words.next());
        match (path, lines.and_then(|lines| lines.parse().ok()), date, reason.map(str::trim)) {
            (Some(path), Some(lines), Some(date), Some(reason)) if is_date(date) && !reason.is_empty() => {
                found.push(Exception { path: path.to_owned(), lines });
            }
            _ => return Err(format!("{EXCEPTIONS}: `{line}` is not `PATH LINES YYYY-MM-DD REASON`").into()),
        }
    }
    Ok(found)
}

fn is_date(word: &str) -> bool {
    let shape: String = word.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    shape == "0000-00-00"
}

#[cfg(test)]
mod tests {
    use super::{Exception, parse, production};

    #[test]
    fn inline_tests_do_not_count_as_production() {
        assert_eq!(production("a\nb\n#[cfg(test)]\nmod tests {\n}\n"), 2);
        assert_eq!(production("a\n#[cfg(test)]\nmod tests;\nb\n"), 4);
    }

    #[test]
    fn an_exception_without_date_or_reason_is_refused() {
        let good = parse("# why\n\na/b.rs 600 2026-11-22 one table, read top-down\n").unwrap();
        assert_eq!(good, [Exception { path: "a/b.rs".to_owned(), lines: 600 }]);
        assert!(parse("a/b.rs 600 a reason").is_err());
        assert!(parse("a/b.rs 600 2026-11-22").is_err());
    }
}
