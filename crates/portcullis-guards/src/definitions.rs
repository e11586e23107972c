//! Drops modern tools whose `x-mcp-header` annotations are invalid (D4): a client must not use them, so no caller of ours sees or calls
//! them. Legacy clients mirror nothing, and see them.

use portcullis_core::call::Call;
use portcullis_core::guard::{About, Decision, Effect, Finding, Guard, Mode, Pass, Phase, Sight, Watch};
use portcullis_core::mirror;
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, JsonKind, Limits, Message, View};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry::Configured;

static ABOUT: About = About {
    code: "G003",
    name: "definitions",
    phase: Phase::Content,
    purpose: "Drops modern tools whose `x-mcp-header` annotations are invalid from lists, and refuses calls to them.",
};

/// What is recorded for each dropped tool.
const INVALID: &str = "header_annotation_invalid";

/// Settings of the `definitions` guard; it has none of its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DefinitionsSettings {}

#[derive(Debug)]
pub(crate) struct Definitions;

impl Configured for Definitions {
    const ABOUT: &'static About = &ABOUT;
    // The specification leaves clients no choice (D4), and a tool that cannot be called right is of no use to anyone.
    const DEFAULT_MODE: Mode = Mode::Enforce;
    type Settings = DefinitionsSettings;

    fn new(_settings: DefinitionsSettings) -> Self {
        Self
    }
}

impl Guard for Definitions {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, call: &Call) -> Decision {
        if call.era() == Era::Legacy || call.method() != "tools/call" || call.direction() != Direction::ToServer {
            return Decision::pass();
        }
        match call.tool() {
            Some(tool) if !tool.header_params_valid => Decision::Deny(Box::new(Denial {
                code: DenialCode::SchemaUnusable,
                guard: ABOUT.name,
                public: "unknown tool".into(),
                detail: format!("tool `{}` has invalid `x-mcp-header` annotations (D4)", tool.name),
                policies: Vec::new(),
                // Not in the list, so not there to call.
                manner: Manner::Unknown,
                challenge: None,
            })),
            _ => Decision::Pass(Pass::default()),
        }
    }

    fn watch(&self, call: &Call) -> Option<Box<dyn Watch>> {
        let listing = call.era() == Era::Modern && call.method() == "tools/list" && call.expects_response();
        listing.then(|| Box::new(DefinitionsWatch) as Box<dyn Watch>)
    }
}

#[derive(Debug)]
struct DefinitionsWatch;

impl Watch for DefinitionsWatch {
    fn see(&mut self, message: &Message) -> Sight {
        let Some(tools) = message.result_member("tools").filter(|tools| tools.kind() == JsonKind::Array) else {
            return Sight::Keep;
        };
        if !mirror::may_annotate(tools) {
            return Sight::Keep;
        }
        let reasons: Vec<Option<String>> = tools.elements().map(invalid).collect();
        let dropped: Vec<&str> = reasons.iter().flatten().map(String::as_str).collect();
        if dropped.is_empty() {
            return Sight::Keep;
        }
        let finding =
            Finding { guard: ABOUT.name, code: INVALID, detail: dropped.join("; "), effect: Effect::Replaced };
        let keep = |index: usize| reasons.get(index).is_some_and(Option::is_none);
        // The message was within the limits and only gets shorter.
        match message.edit().remove_elements(tools, &keep).apply(&Limits { bytes: usize::MAX, ..Limits::default() }) {
            Ok(edited) => Sight::Replace(Box::new(edited), Some(finding)),
            Err(malformed) => Sight::Cut(Box::new(Denial {
                code: DenialCode::SchemaUnusable,
                guard: ABOUT.name,
                public: "the server's list of tools cannot be used".into(),
                detail: format!("cannot drop tools: {malformed}"),
                policies: Vec::new(),
                manner: Manner::Plain,
                challenge: None,
            })),
        }
    }
}

/// Why a listed tool must be dropped; `None` when it may stay.
fn invalid(tool: View<'_>) -> Option<String> {
    let error = mirror::header_params(tool.get("inputSchema")?).err()?;
    let name = tool.get("name").and_then(View::as_str).unwrap_or_default();
    Some(format!("tool `{}`: {error}", name.chars().take(128).collect::<String>()))
}
