//! Validates a tool's `structuredContent` against the tool's own `outputSchema` (A48, I15). Looks at nothing else of the answer.

use std::sync::Arc;

use portcullis_core::call::Call;
use portcullis_core::guard::{About, Decision, Guard, Mode, Pass, Phase, Sight, Watch};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Direction, JsonKind, Kind, Message, View};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arguments::unusable_schema;
use crate::registry::Configured;
use crate::schema::{Cache, Compiled};

static ABOUT: About = About {
    code: "G002",
    name: "outputs",
    phase: Phase::Content,
    purpose: "Blocks tool results whose `structuredContent` does not fit the tool's own `outputSchema`.",
};

/// Settings of the `outputs` guard.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OutputsSettings {
    /// Largest `structuredContent` that is checked, in bytes; larger ones are blocked. Default 4 MiB: the reader's own limit
    /// for a whole message, so that by itself this blocks nothing the reader let in.
    max_bytes: usize,
}

impl Default for OutputsSettings {
    fn default() -> Self {
        Self { max_bytes: 4 << 20 }
    }
}

#[derive(Debug)]
pub(crate) struct Outputs {
    settings: OutputsSettings,
    schemas: Cache,
}

impl Configured for Outputs {
    const ABOUT: &'static About = &ABOUT;
    // Servers MUST keep to their own schema (A48) so conforming servers are not blocked; what is left is a server that
    // has changed or lies. Operators with servers that do not conform start with `shadow`.
    const DEFAULT_MODE: Mode = Mode::Enforce;
    type Settings = OutputsSettings;

    fn new(settings: OutputsSettings) -> Self {
        Self { settings, schemas: Cache::default() }
    }
}

impl Guard for Outputs {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    /// A tool whose answer could not be judged is refused before it acts, not after.
    fn check(&self, call: &Call) -> Decision {
        if call.method() != "tools/call" || call.direction() != Direction::ToServer {
            return Decision::pass();
        }
        let Some((tool, text)) = call.tool().and_then(|tool| Some((tool, tool.output_schema.as_ref()?))) else {
            return Decision::Pass(Pass::default());
        };
        match self.schemas.compiled(text) {
            Ok(_) => Decision::Pass(Pass::default()),
            Err(unusable) => Decision::Deny(Box::new(unusable_schema(&ABOUT, &tool.name, "outputSchema", &unusable))),
        }
    }

    fn watch(&self, call: &Call) -> Option<Box<dyn Watch>> {
        if !call.expects_response() {
            return None;
        }
        let tool = call.tool()?;
        // Unusable schemas were denied above; in shadow mode there is nothing to hold the answer against.
        let schema = self.schemas.compiled(tool.output_schema.as_ref()?).ok()?;
        let version = call.context.version;
        Some(Box::new(OutputsWatch { tool: tool.name.clone(), schema, version, max_bytes: self.settings.max_bytes }))
    }
}

#[derive(Debug)]
struct OutputsWatch {
    tool: String,
    schema: Arc<Compiled>,
    version: Version,
    max_bytes: usize,
}

impl Watch for OutputsWatch {
    fn see(&mut self, message: &Message) -> Sight {
        let Some(result) = message.result().filter(|_| message.kind() == Kind::Result) else {
            return Sight::Keep;
        };
        match self.judge(result) {
            Ok(()) => Sight::Keep,
            Err(what) => Sight::Cut(Box::new(Denial {
                code: DenialCode::OutputInvalid,
                guard: ABOUT.name,
                public: "the tool's answer does not fit its own output schema".into(),
                detail: format!("tool `{}`: {what}", self.tool),
                policies: Vec::new(),
                manner: Manner::Plain,
            })),
        }
    }
}

impl OutputsWatch {
    fn judge(&self, result: View<'_>) -> Result<(), String> {
        if result.get("isError").and_then(View::as_bool) == Some(true) {
            return Ok(());
        }
        let Some(content) = result.get("structuredContent") else {
            return if self.may_be_absent(result) {
                Ok(())
            } else {
                Err("no `structuredContent`, although the tool has an `outputSchema`".to_owned())
            };
        };
        // Any JSON value since 2026-07-28 (C50), an object before (A48).
        if self.version.era() == Era::Legacy && content.kind() != JsonKind::Object {
            return Err("`structuredContent` is not an object".to_owned());
        }
        self.schema.check(content, self.max_bytes).map_err(|mismatch| format!("`structuredContent`: {mismatch}"))
    }

    /// Answers that are not the tool's final one, and revisions that do not know `structuredContent`.
    fn may_be_absent(&self, result: View<'_>) -> bool {
        match self.version.era() {
            // Absent means complete.
            Era::Modern => {
                result.get("resultType").is_some_and(|kind| kind.as_str().is_none_or(|kind| kind != "complete"))
            }
            Era::Legacy => self.version < Version::V2025_06_18 || result.get("task").is_some(),
        }
    }
}
