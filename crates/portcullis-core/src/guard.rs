//! The seam for everything that judges a call or watches its reply. Guards are synchronous and pure; an error denies.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::call::Call;
use crate::refusal::Denial;
use crate::wire::Message;

/// Fixed order of judgement, cheapest first, people last. Configuration cannot reorder it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Signatures, call chains.
    Integrity,
    /// Cedar. Exactly one guard, and there is no gate without it.
    Policy,
    /// Rates, concurrency.
    Quota,
    /// Definitions, arguments, secrets, injection, egress.
    Content,
    /// Approval by a person.
    Human,
}

impl Phase {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Policy => "policy",
            Self::Quota => "quota",
            Self::Content => "content",
            Self::Human => "human",
        }
    }
}

/// What the operator switched a guard to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Decides.
    #[default]
    Enforce,
    /// Decides and records, never blocks.
    Shadow,
    /// Does not run.
    Off,
}

impl Mode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// A guard's name plate; configuration, metrics and docs are generated from it.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// Stable code, `G001` upwards; never reused.
    pub code: &'static str,
    /// Key in the configuration; snake_case.
    pub name: &'static str,
    pub phase: Phase,
    /// One sentence: what it stops.
    pub purpose: &'static str,
}

/// Judges calls, in either direction.
pub trait Guard: Send + Sync + fmt::Debug {
    fn about(&self) -> &'static About;

    /// Passes, holds or denies. Must not block; an internal error is a denial.
    fn check(&self, call: &Call) -> Decision;

    /// Appoints a watcher for the reply to a cleared call, or none.
    fn watch(&self, _call: &Call) -> Option<Box<dyn Watch>> {
        None
    }

    /// Whether no request of the server by this method, whatever its params, could pass in the exchange of `call`. The server is then
    /// not told that the client could answer one (I1).
    fn never_permits(&self, _call: &Call, _method: &str) -> bool {
        false
    }

    /// Whether [`Guard::check`] looks at what the session has called ([`crate::call::Session::tally`]). Where none does, nobody waits for the
    /// order in which calls are counted, and there is no tally.
    fn heeds_tally(&self) -> bool {
        false
    }

    /// What the guard of the next plan must not forget (see [`Guard::inherit`]). Most guards remember nothing.
    fn memory(&self) -> Option<&dyn Any> {
        None
    }

    /// Takes over the memory of the guard of the same name in the plan before, ahead of the first call.
    fn inherit(&self, _memory: &dyn Any) {}
}

/// Sees every message of one reply before the client does. One per reply, so its state needs no lock.
pub trait Watch: Send + fmt::Debug {
    fn see(&mut self, message: &Message) -> Sight;
}

/// A guard's answer. There is no default: every path says what it means.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Nothing against it.
    Pass(Pass),
    /// A person must approve first.
    Hold(Box<Denial>),
    /// No.
    Deny(Box<Denial>),
}

/// Details of a pass.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// `@id`s of the policies that permitted.
    pub policies: Option<Arc<[Arc<str>]>>,
    /// Worth recording although nothing is blocked.
    pub findings: Vec<Finding>,
    /// The decision used nothing but caller, plan, direction and method: within one reply, the same method needs no second look.
    pub repeatable: bool,
}

impl Decision {
    /// A plain pass without findings that also holds for the reply's later messages of the same method.
    #[must_use]
    pub fn pass() -> Self {
        Self::Pass(Pass { repeatable: true, ..Pass::default() })
    }
}

/// What a watcher does with a message.
#[derive(Debug)]
pub enum Sight {
    /// As it is.
    Keep,
    /// Kept, but worth recording.
    Note(Finding),
    /// Replaced by an edited copy (a filtered list).
    Replace(Box<Message>, Option<Finding>),
    /// Blocked: the client gets an error with the request's id in place of the answer; a notification is dropped.
    Cut(Box<Denial>),
}

/// Something a guard noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the guard.
    pub guard: &'static str,
    /// Stable code of what was noticed.
    pub code: &'static str,
    /// Private explanation, for the log only. Never holds argument values.
    pub detail: String,
    pub effect: Effect,
}

/// What a finding led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    Noted,
    /// Would have been denied or cut, had the guard not been in shadow mode.
    Shadowed,
    Denied,
    Held,
    Replaced,
    Cut,
}

impl Effect {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Noted => "noted",
            Self::Shadowed => "shadowed",
            Self::Denied => "denied",
            Self::Held => "held",
            Self::Replaced => "replaced",
            Self::Cut => "cut",
        }
    }
}
