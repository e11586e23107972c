//! What must not compile: each `compile_fail,E…` example in the documentation of the crates that have seals, and that it fails with that error
//! and no other.
//! Stable rustdoc checks only that an example fails, so a renamed field would keep a broken seal green.

use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::layout::Layout;
use crate::process::{self, Echo};
use crate::report::Tally;

const COMPILE: Duration = Duration::from_secs(120);
/// Crates with seals. The core makes what may be sent and shown; the server what is known of the way a request took.
const CRATES: [&str; 2] = ["portcullis-core", "portcullis-server"];

#[derive(Debug, PartialEq, Eq)]
struct Example {
    code: String,
    text: String,
}

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let folder = layout.fresh("seals")?;
    let mut tally = Tally::default();
    for name in CRATES {
        of_crate(layout, name, &folder, &mut tally)?;
    }
    Ok(tally)
}

fn of_crate(layout: &Layout, name: &str, folder: &Path, tally: &mut Tally) -> Result<(), Failure> {
    let (sources, library) = (format!("crates/{name}/src"), name.replace('-', "_"));
    let before = tally.passed + tally.failed;
    for path in layout.files(&sources, ".rs")? {
        for (number, example) in examples(&std::fs::read_to_string(&path)?).into_iter().enumerate() {
            let source = folder.join(format!("seal{}.rs", tally.passed + tally.failed));
            std::fs::write(&source, format!("fn main() {{\n{}}}\n", example.text))?;
            let mut rustc =
                layout.program("rustc", &["--edition", "2024", "--crate-type", "bin", "--emit", "metadata"]);
            rustc.arg("-L").arg(format!("dependency={}", layout.built("deps").display()));
            rustc.arg("--extern").arg(format!("{library}={}", layout.built(&format!("lib{library}.rlib")).display()));
            rustc.arg("--out-dir").arg(folder).arg(&source);
            let ended = process::run(&mut rustc, COMPILE, Echo::Kept)?;
            let found = errors(&ended.lines);
            tally.check(found == [example.code.as_str()], || {
                let name = layout.short(&path);
                format!(
                    "{name}: example {number} should fail with {}, fails with {found:?}\n{}",
                    example.code,
                    ended.tail(30)
                )
            });
        }
    }
    if tally.passed + tally.failed == before {
        tally.fail(format!("no `compile_fail` example in {sources}"));
    }
    Ok(())
}

/// The examples of one file's doc comments that name their error.
fn examples(text: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim_start();
        let Some(comment) = line.strip_prefix("//!").or_else(|| line.strip_prefix("///")) else {
            inside = false;
            continue;
        };
        let comment = comment.strip_prefix(' ').unwrap_or(comment);
        if let Some(code) = comment.strip_prefix("```compile_fail,") {
            found.push(Example { code: code.trim().to_owned(), text: String::new() });
            inside = true;
        } else if comment.starts_with("```") {
            inside = false;
        } else if let Some(example) = found.last_mut().filter(|_| inside) {
            // Rustdoc's hidden lines are part of the example.
            example.text.push_str(comment.strip_prefix("# ").unwrap_or(comment));
            example.text.push('\n');
        }
    }
    found
}

/// The codes of all errors, such as `E0451`.
fn errors(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("error[")?.split(']').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Example, errors, examples};

    #[test]
    fn only_examples_that_name_their_error_are_taken() {
        let text =
            "//! ```compile_fail,E0451\n//! # use a::B;\n//! B { c: 1 };\n//! ```\n//! ```\n//! fine();\n//! ```\n";
        assert_eq!(examples(text), [Example { code: "E0451".to_owned(), text: "use a::B;\nB { c: 1 };\n".to_owned() }]);
    }

    #[test]
    fn error_codes_are_read() {
        let lines =
            ["error[E0451]: field `call` is private", "error: aborting due to 1 previous error"].map(str::to_owned);
        assert_eq!(errors(&lines), ["E0451"]);
    }
}
