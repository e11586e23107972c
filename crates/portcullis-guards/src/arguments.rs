//! Validates a call's arguments against the tool's own `inputSchema` (A40). Never changes them and never repeats them.

use portcullis_core::call::Call;
use portcullis_core::guard::{About, Decision, Effect, Finding, Guard, Mode, Pass, Phase};
use portcullis_core::refusal::{Denial, DenialCode, Manner};
use portcullis_core::wire::{Direction, Limits, view_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::registry::Configured;
use crate::schema::{Cache, Mismatch, Unusable};

static ABOUT: About = About {
    code: "G001",
    name: "arguments",
    phase: Phase::Content,
    purpose: "Refuses tool calls whose arguments do not fit the tool's own `inputSchema`.",
};

/// Settings of the `arguments` guard.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ArgumentsSettings {
    /// Largest arguments that are checked, in bytes; larger ones are refused. Default 4 MiB: the reader's own limit for a
    /// whole message, so that by itself this refuses nothing the reader let in.
    max_bytes: usize,
}

impl Default for ArgumentsSettings {
    fn default() -> Self {
        Self { max_bytes: 4 << 20 }
    }
}

#[derive(Debug)]
pub(crate) struct Arguments {
    settings: ArgumentsSettings,
    schemas: Cache,
}

impl Configured for Arguments {
    const ABOUT: &'static About = &ABOUT;
    // A call that breaks the tool's own rules is refused by a correct server too (A41); the gateway only says so earlier.
    const DEFAULT_MODE: Mode = Mode::Enforce;
    type Settings = ArgumentsSettings;

    fn new(settings: ArgumentsSettings) -> Self {
        Self { settings, schemas: Cache::default() }
    }
}

impl Guard for Arguments {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, call: &Call) -> Decision {
        if call.method() != "tools/call" || call.direction() != Direction::ToServer {
            return Decision::pass();
        }
        // Whether an unknown tool may be called is for the policy to say.
        let Some(tool) = call.tool() else { return passed(Vec::new()) };
        let Some(text) = &tool.input_schema else {
            let detail = format!("tool `{}` declares no inputSchema", tool.name);
            return passed(vec![Finding { guard: ABOUT.name, code: "schema_missing", detail, effect: Effect::Noted }]);
        };
        let schema = match self.schemas.compiled(text) {
            Ok(schema) => schema,
            Err(unusable) => {
                return Decision::Deny(Box::new(unusable_schema(&ABOUT, &tool.name, "inputSchema", &unusable)));
            }
        };
        let judged = match call.arguments() {
            Some(arguments) => schema.check(arguments, self.settings.max_bytes),
            // Left out means empty.
            None => match view_json(b"{}", &Limits::default()) {
                Ok(empty) => schema.check(empty, self.settings.max_bytes),
                Err(_) => Err(Mismatch::Unjudgeable("cannot be checked".to_owned())),
            },
        };
        match judged {
            Ok(()) => passed(Vec::new()),
            Err(mismatch) => Decision::Deny(Box::new(misfit(&tool.name, &mismatch))),
        }
    }
}

fn passed(findings: Vec<Finding>) -> Decision {
    Decision::Pass(Pass { policies: None, findings, repeatable: false })
}

fn misfit(tool: &str, mismatch: &Mismatch) -> Denial {
    let public = match mismatch {
        Mismatch::Misfit(text) => format!("the arguments do not fit the tool's input schema: {text}"),
        Mismatch::Unjudgeable(text) => format!("the arguments are refused: {text}"),
    };
    Denial {
        code: DenialCode::ArgumentsInvalid,
        guard: ABOUT.name,
        public: public.into(),
        detail: format!("tool `{tool}`: {mismatch}"),
        policies: Vec::new(),
        manner: Manner::Correctable,
        challenge: None,
    }
}

/// The refusal of a tool whose schema cannot be used; both schema guards say it the same way.
pub(crate) fn unusable_schema(about: &'static About, tool: &str, which: &str, unusable: &Unusable) -> Denial {
    Denial {
        code: DenialCode::SchemaUnusable,
        guard: about.name,
        public: format!("the tool cannot be called: its `{which}` cannot be used for validation").into(),
        detail: format!(
            "tool `{tool}`, `{which}`: {unusable}; to let it through unchecked, set `guards.{}` to `shadow` or `off`",
            about.name
        ),
        policies: Vec::new(),
        manner: Manner::Plain,
        challenge: None,
    }
}
