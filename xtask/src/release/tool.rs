//! `llvm-profdata`, which joins profiles: where it is, and whether it is new enough for what the compiler writes.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::layout::Layout;
use crate::process;

const ASKED: Duration = Duration::from_secs(60);
const NAME: &str = "llvm-profdata";

/// What the compiler builds for when nothing else is said.
pub(super) fn host(layout: &Layout) -> Result<String, Failure> {
    compiler(layout, "host: ")
}

fn compiler(layout: &Layout, key: &str) -> Result<String, Failure> {
    let lines = process::must(&mut layout.program("rustc", &["-vV"]), ASKED)?;
    let found = lines.iter().find_map(|line| line.strip_prefix(key));
    Ok(found.ok_or_else(|| format!("`rustc -vV` says no `{key}`"))?.to_owned())
}

/// The first that is new enough: named by the environment, the toolchain's own, one on the path.
///
/// # Errors
/// Says how to get one, and what was wrong with those that are there.
pub(super) fn find(layout: &Layout, host: &str) -> Result<PathBuf, Failure> {
    let wanted = major(&compiler(layout, "LLVM version: ")?).ok_or("`rustc -vV` says no version of LLVM")?;
    let mut seen = String::new();
    for candidate in candidates(layout, host, wanted)? {
        let Ok(lines) = process::must(Command::new(&candidate).arg("--version"), ASKED) else { continue };
        let version = lines.iter().find_map(|line| line.split_once("LLVM version ")).map_or("", |(_, version)| version);
        if major(version).is_some_and(|found| found >= wanted) {
            return Ok(candidate);
        }
        seen.push_str(&format!("\n`{}` is of LLVM {version}", candidate.display()));
    }
    Err(format!(
        "the compiler's profiles are of LLVM {wanted}, and no `{NAME}` here reads them: `rustup component add llvm-tools`, or install \
         LLVM {wanted} or newer and set LLVM_PROFDATA to its `{NAME}`{seen}"
    )
    .into())
}

fn candidates(layout: &Layout, host: &str, wanted: u32) -> Result<Vec<PathBuf>, Failure> {
    if let Some(named) = std::env::var_os("LLVM_PROFDATA") {
        return Ok(vec![PathBuf::from(named)]);
    }
    let lines = process::must(&mut layout.program("rustc", &["--print", "sysroot"]), ASKED)?;
    let sysroot = PathBuf::from(lines.first().ok_or("`rustc --print sysroot` says nothing")?);
    let own = sysroot.join("lib/rustlib").join(host).join("bin").join(NAME);
    Ok(vec![own, PathBuf::from(format!("{NAME}-{wanted}")), PathBuf::from(NAME)])
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_first_number_of_a_version_is_read() {
        let read = ["22.1.2", "22.1.8-rust-1.95.0-stable", "14", "", "new"].map(major);
        assert_eq!(read, [Some(22), Some(22), Some(14), None, None]);
    }
}
