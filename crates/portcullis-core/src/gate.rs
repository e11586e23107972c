//! The only maker of the two seals: [`Cleared`] (what an upstream accepts) and [`Inspected`] (what a listener writes).
//! Behind an endpoint of several servers what passed inspection is shown in other words ([`Exposure`]), and several answers become one
//! ([`Inspected::merged`]); neither lets through what was not inspected.
//!
//! ```compile_fail,E0451
//! // A seal cannot be made outside the gate.
//! let call: portcullis_core::call::Call = todo!();
//! let _ = portcullis_core::gate::Cleared { call };
//! ```
//! ```compile_fail,E0624
//! // Nor can what no inspector saw be passed off as inspected.
//! let message: portcullis_core::wire::Message = todo!();
//! let _ = portcullis_core::gate::Inspected::of(message, None, None);
//! ```

mod cleared; // what a seal lets be done with what it seals
mod inspected;

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

pub use self::inspected::Inspected;
use crate::call::Call;
use crate::guard::{Decision, Effect, Finding, Guard, Mode, Phase, Sight, Watch};
use crate::own;
use crate::refusal::{Denial, DenialCode, Manner};
use crate::tally::Tally;
use crate::upstream::Arrived;
use crate::wire::{Direction, Id, Kind, Limits, Malformed, Message};

/// All guards in their fixed order. Immutable; a new plan is a new gate.
#[derive(Debug)]
pub struct Gate {
    guards: Vec<(Arc<dyn Guard>, Mode)>,
    heeds_tally: bool,
}

/// A call that was judged and may be sent. Made only by [`Gate`].
#[derive(Debug)]
pub struct Cleared {
    call: Call,
}

/// The gate's answer to a call.
#[derive(Debug)]
pub enum Verdict {
    /// May be sent; its reply goes through the inspector.
    Cleared(Cleared, Inspector),
    /// A person must approve first; nothing was sent.
    Held(Denial),
    /// No.
    Denied(Denial),
}

/// A verdict with what led to it.
#[derive(Debug)]
pub struct Judgement {
    pub verdict: Verdict,
    /// `@id`s of the policies that permitted; for denials they are in the denial.
    pub policies: Option<Arc<[Arc<str>]>>,
    pub findings: Vec<Finding>,
}

/// One guard's answer, for `explain`.
#[derive(Debug)]
pub struct Step {
    pub guard: &'static str,
    pub phase: Phase,
    pub mode: Mode,
    pub decision: Decision,
}

impl Gate {
    /// No gate without a policy. `others` are sorted into their phases; guards that are off are left out.
    #[must_use]
    pub fn new(policy: Arc<dyn Guard>, others: Vec<(Arc<dyn Guard>, Mode)>) -> Self {
        let mut guards = others;
        // The policy cannot be switched off or shadowed: it is the decision point.
        guards.push((policy, Mode::Enforce));
        guards.retain(|(_, mode)| *mode != Mode::Off);
        guards.sort_by_key(|(guard, _)| guard.about().phase);
        let heeds_tally = guards.iter().any(|(guard, _)| guard.heeds_tally());
        Self { guards, heeds_tally }
    }

    /// Whether a guard looks at what a session has called. Its messages must then be judged one after the other, and each cleared call be
    /// counted before the next is judged.
    #[must_use]
    pub const fn heeds_tally(&self) -> bool {
        self.heeds_tally
    }

    /// Lets every guard take over what the guard of its name remembers in the plan before: a reload forgets nothing that guards. To be
    /// called before the first judgement.
    pub fn inherit(&self, before: &Self) {
        for (guard, _) in &self.guards {
            let name = guard.about().name;
            let known = before.guards.iter().find(|(old, _)| old.about().name == name);
            if let Some(memory) = known.and_then(|(old, _)| old.memory()) {
                guard.inherit(memory);
            }
        }
    }

    /// Judges one call in all phases. The first enforced denial or hold ends it.
    #[must_use]
    pub fn judge(self: &Arc<Self>, call: Call) -> Judgement {
        let mut findings = Vec::new();
        let mut policies = None;
        for (guard, mode) in &self.guards {
            match guard.check(&call) {
                Decision::Pass(pass) => {
                    policies = policies.or(pass.policies);
                    findings.extend(pass.findings);
                }
                Decision::Hold(denial) if *mode == Mode::Enforce => {
                    findings.push(noticed(&denial, Effect::Held));
                    return Judgement { verdict: Verdict::Held(*denial), policies, findings };
                }
                Decision::Deny(denial) if *mode == Mode::Enforce => {
                    findings.push(noticed(&denial, Effect::Denied));
                    return Judgement { verdict: Verdict::Denied(*denial), policies, findings };
                }
                Decision::Hold(denial) | Decision::Deny(denial) => findings.push(noticed(&denial, Effect::Shadowed)),
            }
        }
        let watches =
            self.guards.iter().filter_map(|(guard, mode)| guard.watch(&call).map(|watch| (watch, *mode))).collect();
        let permitted = SmallVec::new();
        let inspector = Inspector { gate: Arc::clone(self), call: call.clone(), watches, permitted, exposure: None };
        Judgement { verdict: Verdict::Cleared(Cleared { call }, inspector), policies, findings }
    }

    /// Whether a guard that decides rules out every request of the server by this method in the exchange of `call`.
    #[must_use]
    pub fn never_permits(&self, call: &Call, method: &str) -> bool {
        self.guards.iter().any(|(guard, mode)| *mode == Mode::Enforce && guard.never_permits(call, method))
    }

    /// What each guard says, in order, without stopping at the first no: for `explain`. Clears nothing.
    #[must_use]
    pub fn explain(&self, call: &Call) -> Vec<Step> {
        self.guards
            .iter()
            .map(|(guard, mode)| {
                let about = guard.about();
                Step { guard: about.name, phase: about.phase, mode: *mode, decision: guard.check(call) }
            })
            .collect()
    }
}

fn noticed(denial: &Denial, effect: Effect) -> Finding {
    Finding { guard: denial.guard, code: denial.code.as_str(), detail: denial.detail.clone(), effect }
}

/// A notification has no entry of its own, so its finding names it.
fn noticed_of(method: &str, denial: &Denial, effect: Effect) -> Finding {
    let finding = noticed(denial, effect);
    Finding { detail: format!("{method}: {}", finding.detail), ..finding }
}

/// What clients see of a message that passed.
fn shown(exposure: &dyn Exposure, message: &Message) -> Result<Message, Denial> {
    let detail = match exposure.expose(message) {
        Ok(shown) if is_the_same(message, &shown) => return Ok(shown),
        Ok(_) => "another message took the place of this one".to_owned(),
        Err(malformed) => malformed.to_string(),
    };
    Err(Denial {
        code: DenialCode::Unexposable,
        guard: "gateway",
        public: "the server's message cannot be shown here".into(),
        detail: format!("cannot be said in the clients' words: {detail}"),
        policies: Vec::new(),
        manner: Manner::Plain,
        challenge: None,
    })
}

/// Whether one message can be the other in other words. A server's requests may be numbered anew: ids of several servers meet.
fn is_the_same(message: &Message, shown: &Message) -> bool {
    let is_request = message.kind() == Kind::Request;
    message.kind() == shown.kind()
        && message.direction() == shown.direction()
        && message.method() == shown.method()
        && (is_request || message.id() == shown.id())
}

/// The clients' words for what one server says, where several servers share an endpoint. It renames; it does not judge, and it sees only
/// what passed every guard and watcher.
pub trait Exposure: Send + Sync + fmt::Debug {
    /// The message in the clients' words: of the same kind, method and, but for a request of the server, id. Anything else is blocked.
    ///
    /// # Errors
    /// What the reader says about the outcome; the message is then blocked.
    fn expose(&self, message: &Message) -> Result<Message, Malformed>;
}

/// Inspects the messages of one reply, in order.
#[derive(Debug)]
pub struct Inspector {
    gate: Arc<Gate>,
    call: Call,
    watches: SmallVec<[(Box<dyn Watch>, Mode); 4]>,
    /// Methods of server messages that need no second look in this reply (see [`crate::guard::Pass::repeatable`]).
    permitted: SmallVec<[String; 2]>,
    /// How clients are shown what passed, where they use other words than the server.
    exposure: Option<Arc<dyn Exposure>>,
}

/// What became of one arrival.
#[derive(Debug)]
pub enum Inspection {
    /// Goes to the client.
    Pass(Inspected, Vec<Finding>),
    /// A server request was refused: the client never sees it, the server gets the error that [`RefusedRequest::answer`] makes.
    Refuse(Box<RefusedRequest>, Denial, Vec<Finding>),
    /// A notification was refused: it is dropped.
    Drop(Denial, Vec<Finding>),
    /// The response itself was blocked: the client gets an error with its id, and the reply ends.
    Cut(Denial, Vec<Finding>),
}

impl Inspector {
    /// From here on what passes is shown through `exposure`, after all watchers: guards and watchers see the server's own words.
    #[must_use]
    pub fn facing(mut self, exposure: Arc<dyn Exposure>) -> Self {
        self.exposure = Some(exposure);
        self
    }

    /// What the session has called by now: what the server sends from here on is judged by that.
    pub fn tallied(&mut self, tally: Tally) {
        if let Some(session) = &mut Arc::make_mut(&mut self.call.context).session {
            session.tally = Some(tally);
        }
    }

    /// Judges a server's request or notification, then shows the message to every watcher.
    pub fn inspect(&mut self, arrived: Arrived) -> Inspection {
        let Arrived { message, event_id, retry } = arrived;
        let Some(mut message) = message else {
            return Inspection::Pass(Inspected::signal(event_id, retry), Vec::new());
        };
        let mut findings = Vec::new();
        if let Some(denial) = self.judge_server_message(&message, &mut findings) {
            return self.blocked(&message, denial, findings);
        }
        for (watch, mode) in &mut self.watches {
            match watch.see(&message) {
                Sight::Keep => {}
                Sight::Note(finding) => findings.push(finding),
                Sight::Replace(_, Some(finding)) if *mode == Mode::Shadow => {
                    findings.push(Finding { effect: Effect::Shadowed, ..finding });
                }
                Sight::Replace(_, None) if *mode == Mode::Shadow => {}
                Sight::Replace(edited, finding) => {
                    message = *edited;
                    findings.extend(finding);
                }
                Sight::Cut(denial) if *mode == Mode::Shadow => findings.push(noticed(&denial, Effect::Shadowed)),
                Sight::Cut(denial) => {
                    findings.push(noticed(&denial, Effect::Cut));
                    return self.blocked(&message, *denial, findings);
                }
            }
        }
        match self.exposure.as_ref().map(|exposure| shown(exposure.as_ref(), &message)) {
            None => {}
            Some(Ok(shown)) => message = shown,
            Some(Err(denial)) => {
                findings.push(noticed(&denial, Effect::Cut));
                return self.blocked(&message, denial, findings);
            }
        }
        Inspection::Pass(Inspected::of(message, event_id, retry), findings)
    }

    /// Server requests and notifications are actions too; responses were judged with their request.
    fn judge_server_message(&mut self, message: &Message, findings: &mut Vec<Finding>) -> Option<Denial> {
        let method = message.method()?;
        if self.permitted.iter().any(|known| known == method) {
            return None;
        }
        let call = self.call.with_message(message.clone());
        let mut repeatable = true;
        for (guard, mode) in &self.gate.guards {
            match guard.check(&call) {
                Decision::Pass(pass) => {
                    repeatable &= pass.repeatable;
                    findings.extend(pass.findings);
                }
                Decision::Hold(denial) | Decision::Deny(denial) if *mode == Mode::Enforce => {
                    findings.push(noticed_of(method, &denial, Effect::Denied));
                    return Some(*denial);
                }
                Decision::Hold(denial) | Decision::Deny(denial) => {
                    repeatable = false;
                    findings.push(noticed_of(method, &denial, Effect::Shadowed));
                }
            }
        }
        // Bounded: a hostile server could invent methods without end.
        if repeatable && self.permitted.len() < 16 {
            self.permitted.push(method.to_owned());
        }
        None
    }

    fn blocked(&self, message: &Message, denial: Denial, findings: Vec<Finding>) -> Inspection {
        match (message.kind(), message.id()) {
            (Kind::Request, Some(id)) => {
                let request = Box::new(RefusedRequest { id: id.clone(), call: self.call.clone() });
                Inspection::Refuse(request, denial, findings)
            }
            (Kind::Request | Kind::Notification, _) => Inspection::Drop(denial, findings),
            (Kind::Result | Kind::Error, _) => Inspection::Cut(denial, findings),
        }
    }

    /// Refuses a server's request without judging it, for lack of room. `None` when the message is no request.
    #[must_use]
    pub fn refuse(&self, message: &Message) -> Option<RefusedRequest> {
        let id = message.id().filter(|_| message.kind() == Kind::Request)?.clone();
        Some(RefusedRequest { id, call: self.call.clone() })
    }

    /// What a client that stops waiting would send: `notifications/cancelled` for the request whose reply this is (A36, B10). The gateway
    /// sends it when it stops waiting on the client's behalf. `None` when there is no request.
    #[must_use]
    pub fn cancellation(&self, reason: &'static str) -> Option<Cleared> {
        let message = self.call.message()?;
        if message.kind() != Kind::Request || message.direction() != Direction::ToServer {
            return None;
        }
        let mut params = String::from(r#"{"requestId":"#);
        params.push_str(message.id()?.raw());
        params.push_str(r#","reason":"#);
        own::push_string(&mut params, reason);
        params.push('}');
        let bytes = own::notification("notifications/cancelled", &params);
        let cancelled = Message::read(bytes, Direction::ToServer, &Limits::default()).ok()?;
        Some(Cleared { call: self.call.with_message(cancelled) })
    }

    /// The call whose reply this is.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }
}

/// Proof that a server's request was refused; the only thing it can become is our error answer to it.
#[derive(Debug)]
pub struct RefusedRequest {
    id: Id,
    call: Call,
}

impl RefusedRequest {
    /// The error response to send to the server.
    ///
    /// # Errors
    /// When the text does not fit the reader's limits (an id at the limit).
    pub fn answer(self, code: i64, public: &str) -> Result<Cleared, Malformed> {
        let bytes = own::error(Some(&self.id), code, public, None);
        let message = Message::read(bytes, Direction::ToServer, &Limits::default())?;
        Ok(Cleared { call: self.call.with_message(message) })
    }
}

#[cfg(test)]
mod tests;
