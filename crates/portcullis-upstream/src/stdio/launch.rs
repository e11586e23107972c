//! How a child server is started: which program, with which environment, under which guardian. Only operators decide that (F45).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use portcullis_core::refusal::{Fault, FaultKind};
use tokio::process::{Child, Command};

use super::guardian;
use crate::settings::{SettingsError, StdioSettings, resolve};

/// Of our own environment, what programs need to run at all. None of these holds secrets.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "LANG", "TMPDIR", "USER"];

pub(super) struct Launcher {
    command: String,
    args: Vec<String>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    /// The program that ties a child's life to ours; without one the child is started directly.
    guardian: Option<PathBuf>,
    memory: Option<u64>,
    files: Option<u64>,
}

impl Launcher {
    pub(super) fn new(settings: &StdioSettings, guardian: Option<PathBuf>) -> Result<Self, SettingsError> {
        let bad = |reason: &str| SettingsError::BadCommand { reason: reason.to_owned() };
        if settings.command.is_empty() {
            return Err(bad("is empty"));
        }
        if settings.command.contains('\0') || settings.args.iter().any(|argument| argument.contains('\0')) {
            return Err(bad("holds a NUL, which no system can pass on"));
        }
        let mut env: Vec<(OsString, OsString)> = Vec::new();
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name).filter(|_| !settings.env.contains_key(name)) {
                env.push((name.into(), value));
            }
        }
        for (name, secret) in &settings.env {
            let value = resolve(secret, &format!("env.{name}"))?;
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(bad(&format!(
                    "environment variable `{name}` has a name or value that no system can pass on"
                )));
            }
            env.push((name.into(), value.into()));
        }
        Ok(Self {
            command: settings.command.clone(),
            args: settings.args.clone(),
            env,
            cwd: settings.cwd.clone(),
            guardian,
            memory: settings.max_memory,
            files: settings.max_open_files,
        })
    }

    /// Starts one child in a process group of its own, its three streams piped to us.
    pub(super) fn launch(&self) -> Result<Child, Fault> {
        let program = self.find()?;
        let mut command = match &self.guardian {
            Some(guardian) => {
                let mut command = Command::new(guardian);
                command.args(guardian::arguments(self.memory, self.files, program.into_os_string()));
                command
            }
            None => Command::new(program),
        };
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(|error| unreachable(format!("`{}` cannot be started: {error}", self.command)))
    }

    /// The program's absolute path. Looked up here, so that a wrong name is a clear fault and not a child that dies at once.
    pub(super) fn find(&self) -> Result<PathBuf, Fault> {
        let missing = |why: &str| unreachable(format!("`{}` cannot be started: {why}", self.command));
        let command = Path::new(&self.command);
        if self.command.contains('/') {
            let path = std::path::absolute(command).map_err(|error| missing(&error.to_string()))?;
            return if path.is_file() { Ok(path) } else { Err(missing("no such file")) };
        }
        let path = self.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value);
        path.into_iter()
            .flat_map(std::env::split_paths)
            .map(|folder| folder.join(command))
            .find(|candidate| is_program(candidate))
            .ok_or_else(|| missing("no such program in `PATH`"))
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn unreachable(detail: String) -> Fault {
    Fault::before_sending(FaultKind::Unreachable, detail)
}
