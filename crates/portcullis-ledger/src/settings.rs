//! What the operator may set about the audit log. Every default has its reason in its description.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::AuditError;

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// Where the log is: a folder, or a path ending in `.jsonl` whose name becomes the stem of the segment files. No default here: the
    /// command that starts the gateway chooses one and prints it.
    pub path: Option<PathBuf>,
    /// Refuse traffic while the log cannot be written. Default `false`: a full disk should not take a working service down unless the
    /// operator decided that an unrecorded call is worse than no call. Lost records are always counted and the gap is recorded.
    pub strict: bool,
    /// Size in bytes at which a new segment file is begun, at least 4096. Default 67108864 (64 MiB): about 50,000 calls; opens in an editor,
    /// and the check of the newest segment at start takes a fraction of a second.
    pub rotate_bytes: u64,
    /// Milliseconds that an entry may wait for the disk to confirm it, 1 to 10000. Default 20: one confirmation costs about 4 ms on an
    /// ordinary disk, so this keeps the disk mostly idle, and a power cut loses at most the last 20 ms.
    pub sync_interval_ms: u64,
    /// Records that may wait for the writer, 16 to 1000000. Default 16384: rides out a disk that stalls for most of a second at 10,000
    /// calls per second.
    pub queue: usize,
    /// Bytes that the waiting records may hold in memory, at least 65536. Default 67108864 (64 MiB): the bound that matters once content is
    /// stored, because one record may then be large.
    pub queue_bytes: usize,
    /// Whether arguments and results are stored. Default `none`: they are other people's data, and a digest of the arguments is enough to
    /// prove what was sent.
    pub content: Content,
}

/// How much of the messages themselves is stored. Values that look like secrets are replaced in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Digests and sizes only.
    #[default]
    None,
    /// Arguments, not results.
    Arguments,
    /// Arguments and results.
    Full,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            path: None,
            strict: false,
            rotate_bytes: 64 << 20,
            sync_interval_ms: 20,
            queue: 16_384,
            queue_bytes: 64 << 20,
            content: Content::None,
        }
    }
}

impl AuditSettings {
    /// Checks the limits that the descriptions name.
    ///
    /// # Errors
    /// The first setting outside its limits.
    pub fn validate(&self) -> Result<(), AuditError> {
        let limits = [
            (
                "rotate_bytes",
                self.rotate_bytes >= 4096,
                "must be at least 4096: smaller segments would be mostly headers",
            ),
            ("sync_interval_ms", (1..=10_000).contains(&self.sync_interval_ms), "must be between 1 and 10000"),
            ("queue", (16..=1_000_000).contains(&self.queue), "must be between 16 and 1000000"),
            ("queue_bytes", self.queue_bytes >= 65_536, "must be at least 65536: one record has to fit"),
        ];
        for (key, fits, why) in limits {
            if !fits {
                return Err(AuditError::Setting { key, why });
            }
        }
        Ok(())
    }

    pub(crate) const fn sync_interval(&self) -> Duration {
        Duration::from_millis(self.sync_interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::{AuditSettings, Content};

    #[test]
    fn an_empty_section_means_the_defaults() {
        let settings: AuditSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, AuditSettings::default());
        assert_eq!(settings.content, Content::None);
        settings.validate().unwrap();
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(serde_json::from_str::<AuditSettings>(r#"{"strickt":true}"#).is_err());
    }

    #[test]
    fn a_setting_outside_its_limits_is_named() {
        let settings = AuditSettings { sync_interval_ms: 0, ..AuditSettings::default() };
        assert!(settings.validate().unwrap_err().to_string().contains("sync_interval_ms"));
    }
}
