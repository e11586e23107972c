//! Licences and crates that must not come in, of everything that is built: product, fixtures, benchmarks, developer commands, fuzz targets,
//! on every platform. Read from what cargo resolved.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Failure;
use crate::layout::Layout;
use crate::process;
use crate::report::Tally;

const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Licences that ask for no more than their own text, and go together with ours.
const ALLOWED: [&str; 15] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "0BSD",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "NCSA", // libFuzzer, which only the fuzz targets link
    "OpenSSL",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not be in any tree, not even behind a test.
const BANNED: [(&str, &str); 6] = [
    ("ring", "one crypto provider, which is aws-lc-rs"),
    ("openssl", "one crypto provider, which is aws-lc-rs"),
    ("openssl-sys", "one crypto provider, which is aws-lc-rs"),
    ("native-tls", "TLS is rustls"),
    ("rustls-pemfile", "unmaintained; rustls reads PEM itself"),
    ("serde_yaml", "unmaintained; configuration is read by serde-saphyr"),
];

pub(crate) fn check(layout: &Layout) -> Result<Tally, Failure> {
    let mut found = BTreeMap::new();
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let mut cargo =
            layout.cargo(&["tree", "--locked", "--workspace", "--target", "all", "--edges", "normal,build,dev"]);
        cargo.args(["--prefix", "none", "--format", "{p}\t{l}", "--manifest-path", manifest]);
        let before = found.len();
        found.extend(process::must(&mut cargo, LIMIT)?.iter().filter_map(|line| package(line)));
        if found.len() == before {
            return Err(format!("`cargo tree` named no package of {manifest}").into());
        }
    }
    let mut tally = Tally::default();
    for (package, licence) in &found {
        tally.check(is_allowed(licence), || format!("{package} has the licence `{licence}`, which is not on the list"));
        let name = package.split(' ').next().unwrap_or_default();
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            tally.fail(format!("{package} must not come in: {why}; see `cargo tree --target all -i {name}`"));
        }
    }
    Ok(tally)
}

/// Package with its version, and its licence. Downloads and warnings share the stream; they have no tabulator.
fn package(line: &str) -> Option<(String, String)> {
    let (package, licence) = line.split_once('\t')?;
    let licence = licence.trim_end_matches(" (*)").to_owned();
    Some((package.split(' ').take(2).collect::<Vec<_>>().join(" "), licence))
}

/// Whether some choice that the expression leaves satisfies the list. `/` and `or` are the `OR` of old manifests. What cannot be read is not allowed.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ").replace(" or ", " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut holds = all(rest)?;
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        holds |= all(rest)?;
    }
    Some(holds)
}

fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut holds = one(rest)?;
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        holds &= one(rest)?;
    }
    Some(holds)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    match *rest {
        ["(", inner @ ..] => {
            *rest = inner;
            let holds = any(rest)?;
            let [")", after @ ..] = *rest else { return None };
            *rest = after;
            Some(holds)
        }
        [licence, "WITH", exception, after @ ..] => {
            *rest = after;
            Some(ALLOWED.contains(&format!("{licence} WITH {exception}").as_str()))
        }
        [licence, after @ ..] => {
            *rest = after;
            Some(ALLOWED.contains(licence))
        }
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_allowed, package};

    #[test]
    fn an_expression_is_allowed_when_some_choice_of_it_is() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "MIT or Apache-2.0",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0-only",
            "ISC AND (Apache-2.0 OR ISC)",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in [
            "",
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "(MIT OR Apache-2.0) AND (GPL-3.0-only OR AGPL-3.0-only)",
            "GPL-2.0-only WITH LLVM-exception",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT Apache-2.0",
        ] {
            assert!(!is_allowed(refused), "{refused}");
        }
    }

    #[test]
    fn a_line_of_the_tree_gives_package_and_licence_and_chatter_gives_nothing() {
        let line = "xtask v0.1.0 (/somewhere)\tApache-2.0 (*)";
        assert_eq!(package(line), Some(("xtask v0.1.0".to_owned(), "Apache-2.0".to_owned())));
        assert_eq!(package("  Downloaded serde v1.0.0"), None);
    }
}
