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
    Ok(tally)
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
    use super::targets;

    #[test]
    fn relative_links_are_found_and_code_is_not() {
        let text = "[a](b.md#c) [d](https://e) `[f](g)` [h](i/j.rs)\n```\n[k](l)\n```\n[m](#n)\n";
        assert_eq!(targets(text), ["b.md", "i/j.rs"]);
    }
}
