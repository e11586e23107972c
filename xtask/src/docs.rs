//! Pages made from the code, and links between pages. A page that is generated is never edited, and never out of date.

use std::path::Path;
use std::time::Duration;

use crate::layout::Layout;
use crate::process;
use crate::report::Tally;
use crate::{Failure, rust, say};

const LIMIT: Duration = Duration::from_secs(60);
const BUILD: Duration = Duration::from_secs(30 * 60);

/// Pages that the program itself prints: where they are, and the command.
const PRINTED: [(&str, &[&str]); 2] =
    [("docs/configuration.md", &["config", "reference"]), ("docs/reference/cli.md", &["config", "commands"])];

/// The page with the table of codes, and what stands around the table.
const CODES: &str = "docs/operations.md";
const OPENS: &str = "<!-- Generated from the types by `cargo xtask docs`. -->\n";
const CLOSES: &str = "<!-- End of the generated table. -->\n";

/// Families of refusals: where their codes are written, after which words, and up to where.
const FAMILIES: [(&str, &str, [&str; 2], &str); 4] = [
    ("malformed", "crates/portcullis-core/src/wire/malformed.rs", ["impl Malformed {", "const ALL_CODES:"], "\n    ];"),
    ("violation", "crates/portcullis-core/src/refusal.rs", ["impl Violation {", "fn code("], "\n    }\n"),
    ("denial", "crates/portcullis-core/src/refusal.rs", ["impl DenialCode {", "fn as_str("], "\n    }\n"),
    ("fault", "crates/portcullis-core/src/refusal.rs", ["impl FaultKind {", "fn code("], "\n    }\n"),
];

/// Writes every generated page anew.
pub(crate) fn write(layout: &Layout) -> Result<bool, Failure> {
    let built = rust::build(layout)?;
    if built.failed > 0 {
        return Ok(false);
    }
    for (page, arguments) in PRINTED {
        std::fs::write(layout.root.join(page), printed(layout, arguments)?)?;
        say(format_args!("{page}"));
    }
    let page = layout.root.join(CODES);
    let text = std::fs::read_to_string(&page)?;
    std::fs::write(&page, with_table(&text, &table(layout)?)?)?;
    say(format_args!("{CODES}"));
    // The guards' own test writes their page, because it also holds it current.
    let mut guards =
        layout.cargo(&["test", "--quiet", "-p", "portcullis-guards", "--lib", "the_reference_page_is_current"]);
    process::must(guards.env("UPDATE_DOCS", "1"), BUILD)?;
    say(format_args!("docs/reference/guards.md"));
    Ok(true)
}

/// That every printed page is current; the guards' page is held by their own test.
pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for (page, arguments) in PRINTED {
        let now = printed(layout, arguments)?;
        let held = std::fs::read_to_string(layout.root.join(page)).unwrap_or_default();
        tally.check(now == held, || format!("{page} is not current: run `cargo xtask docs`"));
    }
    let held = std::fs::read_to_string(layout.root.join(CODES))?;
    let now = with_table(&held, &table(layout)?)?;
    tally.check(now == held, || format!("the codes in {CODES} are not current: run `cargo xtask docs`"));
    Ok(tally)
}

/// The page with its table replaced.
fn with_table(page: &str, table: &str) -> Result<String, Failure> {
    let parts = page.split_once(OPENS).and_then(|(before, rest)| Some((before, rest.split_once(CLOSES)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("{CODES} has no place for the table of codes"))?;
    Ok(format!("{before}{OPENS}\n{table}\n{CLOSES}{after}"))
}

/// Every code of every family, in the order of the variants.
fn table(layout: &Layout) -> Result<String, Failure> {
    let mut table = "| family | codes |\n|---|---|\n".to_owned();
    for (family, file, [item, part], end) in FAMILIES {
        let text = std::fs::read_to_string(layout.root.join(file))?;
        let codes = codes(&text, item, part, end).ok_or_else(|| format!("{file} has no `{part}` in `{item}`"))?;
        table.push_str(&format!("| `{family}` | `{}` |\n", codes.join("` `")));
    }
    Ok(table)
}

/// The string literals of one part of one item; `None` when there are none.
fn codes<'a>(text: &'a str, item: &str, part: &str, end: &str) -> Option<Vec<&'a str>> {
    let (_, rest) = text.split_once(item)?;
    let (_, rest) = rest.split_once(part)?;
    let (written, _) = rest.split_once(end)?;
    // Every second part of a text split at quotes is a literal.
    let codes: Vec<_> = written.split('"').skip(1).step_by(2).collect();
    (!codes.is_empty()).then_some(codes)
}

fn printed(layout: &Layout, arguments: &[&str]) -> Result<String, Failure> {
    let lines = process::must(&mut layout.program(layout.built("portcullis"), arguments), LIMIT)?;
    Ok(lines.join("\n") + "\n")
}

/// That every relative link of every page leads to a file of this repository.
pub(crate) fn links(layout: &Layout) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    for page in layout.files(".", ".md")? {
        let folder = page.parent().unwrap_or(&layout.root);
        for target in targets(&std::fs::read_to_string(&page)?) {
            tally
                .check(folder.join(&target).exists(), || format!("{}: `{target}` does not exist", layout.short(&page)));
        }
    }
    if tally.passed + tally.failed == 0 {
        tally.note("no page links to another".to_owned());
    }
    Ok(tally)
}

/// Targets of relative links, without their anchors; code is left out.
fn targets(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code || line.starts_with("    ") {
            continue;
        }
        // Every second part of a line split at backticks is code.
        for plain in line.split('`').step_by(2) {
            for rest in plain.split("](").skip(1) {
                let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
                if !target.is_empty() && !target.contains(':') && !Path::new(target).is_absolute() {
                    found.push(target.to_owned());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{CLOSES, OPENS, codes, targets, with_table};

    #[test]
    fn codes_are_read_from_the_part_of_the_item_that_is_named() {
        let text = "impl A {\n    fn code() {\n        \"not_mine\"\n    }\n}\nimpl B {\n    fn code() {\n        X => \"one\",\n        Y => \"two\",\n    }\n    fn public() {\n        \"words\"\n    }\n}\n";
        assert_eq!(codes(text, "impl B {", "fn code(", "\n    }\n"), Some(vec!["one", "two"]));
        assert_eq!(codes(text, "impl C {", "fn code(", "\n    }\n"), None);
    }

    #[test]
    fn a_table_replaces_the_one_before_and_nothing_else() {
        let page = format!("before\n{OPENS}old\n{CLOSES}after\n");
        assert_eq!(with_table(&page, "new\n").unwrap(), format!("before\n{OPENS}\nnew\n\n{CLOSES}after\n"));
        assert!(with_table("nothing", "new").is_err());
    }

    #[test]
    fn relative_links_are_found_and_code_is_not() {
        let text = "[a](b.md#c) [d](https://e) `[f](g)` [h](i/j.rs)\n```\n[k](l)\n```\n[m](#n)\n";
        assert_eq!(targets(text), ["b.md", "i/j.rs"]);
    }
}
