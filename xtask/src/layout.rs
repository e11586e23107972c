//! Where things are. Knows no step.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The repository and its build folder.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    /// Cargo's target folder; honours `CARGO_TARGET_DIR`.
    pub(crate) target: PathBuf,
}

impl Layout {
    pub(crate) fn find() -> Result<Self, Failure> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask is not in a folder of the repository")?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |given| root.join(given));
        Ok(Self { root: root.to_owned(), target })
    }

    /// A folder for what a step leaves behind: logs, installed packages, results.
    pub(crate) fn work(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.target.join("xtask").join(name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    /// As [`Self::work`], emptied first: results of an earlier run must not be taken for this one's.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.target.join("xtask").join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        self.work(name)
    }

    /// A program of this workspace, as the build step leaves it.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.compiled("debug", name)
    }

    /// A program of this workspace, of one profile's folder.
    pub(crate) fn compiled(&self, folder: &str, name: &str) -> PathBuf {
        self.target.join(folder).join(name)
    }

    /// `cargo`, at the root, with colour only where the outer cargo has it.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("cargo", arguments);
        command.env("CARGO_TARGET_DIR", &self.target).env("CARGO_TERM_PROGRESS_WHEN", "never");
        command
    }

    /// Any program, at the root.
    pub(crate) fn program(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// Every file below a folder of the repository whose name ends so, sorted; build folders and packages are left out.
    pub(crate) fn files(&self, under: &str, ending: &str) -> Result<Vec<PathBuf>, Failure> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.join(under)];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            for entry in entries {
                let entry = entry?;
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                if entry.file_type()?.is_dir() {
                    if !name.starts_with('.') && !matches!(name.as_ref(), "target" | "node_modules") {
                        folders.push(path);
                    }
                } else if name.ends_with(ending) {
                    found.push(path);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// A path as people write it: from the root.
    pub(crate) fn short<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}
