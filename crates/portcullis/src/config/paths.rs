//! Where files are: presets told from paths, relative paths, the default folder of the log.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use portcullis_policy::PRESETS;

/// One place policies come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicyPath {
    Preset(&'static str),
    /// A file, or a folder of `*.cedar` files.
    Path(PathBuf),
}

impl PolicyPath {
    /// A preset's exact name is the preset; everything else is a path that starts at `folder`.
    pub(crate) fn new(text: &str, folder: &Path) -> Self {
        PRESETS.into_iter().find(|preset| *preset == text).map_or_else(|| Self::Path(folder.join(text)), Self::Preset)
    }
}

impl fmt::Display for PolicyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(name) => write!(f, "preset `{name}`"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `$XDG_STATE_HOME/portcullis/audit`, or `~/.local/state/portcullis/audit`: the place that the XDG base directory specification gives
/// to logs, kept across restarts and upgrades, and private to the user. `None` without a home.
pub(crate) fn default_audit_folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("portcullis").join("audit"))
}

#[cfg(test)]
mod tests {
    use super::{Path, PathBuf, PolicyPath};

    #[test]
    fn a_preset_is_its_exact_name_and_a_file_of_that_name_is_reached_with_a_dot() {
        let folder = Path::new("etc");
        assert_eq!(PolicyPath::new("read-only", folder), PolicyPath::Preset("read-only"));
        assert_eq!(PolicyPath::new("./read-only", folder), PolicyPath::Path(PathBuf::from("etc/./read-only")));
        assert_eq!(PolicyPath::new("/a/b.cedar", folder), PolicyPath::Path(PathBuf::from("/a/b.cedar")));
    }
}
