//! Judge, open the entry, forward: one call from its reading to the begin of its reply.

use std::fmt::Write as _;
use std::sync::Arc;

use portcullis_core::call::{Call, Subject};
use portcullis_core::gate::{Cleared, Judgement, Verdict};
use portcullis_core::ledger::{Entry, Intent, Status};
use portcullis_core::mirror;
use portcullis_core::refusal::{Denial, DenialCode, Fault, FaultKind, Manner, Violation};
use portcullis_core::upstream::Reply;
use portcullis_core::version::Era;
use portcullis_core::wire::Direction;
use sha2::{Digest, Sha256};

use crate::answer::{Asked, Refusal};
use crate::gateway::{Gateway, Plan};
use crate::journey::{Baggage, Journey};
use crate::read::{Read, Unread};

/// A call whose reply has begun.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) journey: Journey,
}

/// What an answer to this call must know.
pub(crate) fn asked(call: &Call, plan: &Plan) -> Asked {
    Asked {
        id: call.message().filter(|_| call.expects_response()).and_then(|message| message.id().cloned()),
        method: Some(call.method().to_owned()),
        modern: call.era() == Era::Modern,
        refusals: plan.refusals,
    }
}

/// Judges and forwards. Every path leaves an entry: an intent before anything is sent, and exactly one outcome.
pub(crate) async fn forward(gateway: &Arc<Gateway>, read: Read) -> Result<Forwarded, Box<Unread>> {
    let Read { call, session, opening, in_flight, count, permit } = read;
    let plan = gateway.plan.load_full();
    let asked = asked(&call, &plan);

    let Judgement { verdict, policies, findings } = plan.gate.judge(call.clone());
    for finding in &findings {
        gateway.ledger.count(finding.guard, finding.code);
    }
    let mut intent = intent(gateway, &plan, &call);
    intent.findings = findings;
    let (cleared, inspector) = match verdict {
        Verdict::Cleared(cleared, inspector) => {
            intent.policies = policies.map(|policies| policies.to_vec()).unwrap_or_default();
            (cleared, inspector)
        }
        Verdict::Held(denial) | Verdict::Denied(denial) => {
            if let Some(count) = count {
                count.take_back();
            }
            intent.policies.clone_from(&denial.policies);
            return Err(refuse(gateway, intent, denial.into(), asked));
        }
    };
    if let Err(violation) = check_params(&call) {
        return Err(refuse(gateway, intent, violation.into(), asked));
    }
    intent.decision = "allow";
    let mut entry = match Entry::open(Arc::clone(&gateway.ledger), Arc::clone(&gateway.clock), intent) {
        Ok(entry) => entry,
        Err(unwritable) => return Err(Unread::new(unrecorded(unwritable.0), asked)),
    };
    match send(gateway, &plan, cleared).await {
        Ok(reply) => {
            let baggage = Baggage { session, opening, in_flight, permit };
            let journey = Journey::new(Arc::clone(gateway), plan, reply, inspector, entry, asked, baggage);
            Ok(Forwarded { journey })
        }
        Err(fault) => {
            gateway.ledger.count("fault", fault.kind.code());
            session_lost(gateway, &call, &fault);
            let refusal = Refusal::Fault(fault.clone());
            if let Some(outcome) = entry.outcome() {
                outcome.http_status = Some(refusal.answer(&asked).status.as_u16());
            }
            entry.close(Status::Failed, Some(fault.kind.code().to_owned()), Some(fault.detail));
            Err(Unread::recorded(refusal, asked))
        }
    }
}

/// Sends. A server without room for another session gets it from the caller's own longest idle one: clients that never end their
/// sessions must not lock themselves out, and never others.
async fn send(gateway: &Arc<Gateway>, plan: &Plan, cleared: Cleared) -> Result<Reply, Fault> {
    let call = cleared.call().clone();
    let result = gateway.upstream.send(cleared).await;
    let Err(Fault { kind: FaultKind::Overloaded, never_left: true, .. }) = &result else { return result };
    let Some(opening) = call.context.session.as_ref().filter(|_| call.method() == "initialize") else { return result };
    let Some(idle) = gateway.sessions.end_longest_idle(opening.key) else { return result };
    gateway.upstream.forget(idle).await;
    // Judged again from the start: a clearance is for one sending.
    match plan.gate.judge(call).verdict {
        Verdict::Cleared(cleared, _) => gateway.upstream.send(cleared).await,
        Verdict::Held(_) | Verdict::Denied(_) => result,
    }
}

/// The headers a tool itself declares (C31), which only a caller that may call the tool gets to hear about.
fn check_params(call: &Call) -> Result<(), Violation> {
    match call.message() {
        Some(message) if call.era() == Era::Modern => {
            mirror::check_params(message, &call.context.param_headers, call.tool().map(Arc::as_ref))
        }
        _ => Ok(()),
    }
}

/// A session the server lost is over for the client too: its next request gets 404 and it initializes again (A24, B7).
pub(crate) fn session_lost(gateway: &Gateway, call: &Call, fault: &Fault) {
    if let (FaultKind::SessionLost, Some(session)) = (&fault.kind, &call.context.session) {
        gateway.sessions.end(session.key);
    }
}

/// Intent and outcome of something that goes nowhere.
fn refuse(gateway: &Gateway, mut intent: Intent, refusal: Refusal, asked: Asked) -> Box<Unread> {
    let held = refusal.code() == DenialCode::ApprovalRequired.as_str();
    intent.decision = if held { "ask" } else { "deny" };
    intent.code = Some(refusal.code());
    intent.detail = Some(refusal.detail());
    gateway.ledger.count(refusal.family(), refusal.code());
    // Refused anyway: an unwritable log cannot make it more refused.
    if let Ok(mut entry) = Entry::open(Arc::clone(&gateway.ledger), Arc::clone(&gateway.clock), intent) {
        let status = if held { Status::Held } else { Status::Denied };
        if let Some(outcome) = entry.outcome() {
            outcome.http_status = Some(refusal.answer(&asked).status.as_u16());
        }
        entry.close(status, Some(refusal.code().to_owned()), None);
    }
    Unread::recorded(refusal, asked)
}

/// The part of an intent that does not depend on the decision.
pub(crate) fn intent(gateway: &Gateway, plan: &Plan, call: &Call) -> Intent {
    let context = &call.context;
    let message = call.message();
    let judged = message.and_then(|message| call.arguments().or_else(|| message.params()));
    let keep = gateway.ledger.keeps_content();
    Intent {
        call: context.trace.span_hex(),
        at: context.now,
        caller: context.caller.name.clone(),
        proof: context.caller.proof.as_str(),
        session: context.session.as_ref().map(|session| Arc::clone(&session.hash)),
        server: Arc::clone(&context.server),
        version: context.version.as_str(),
        direction: match call.direction() {
            Direction::ToServer => "to_server",
            Direction::ToClient => "to_client",
        },
        method: call.method().to_owned(),
        name: call.name().map(std::borrow::Cow::into_owned),
        id: message.and_then(|message| message.id()).map(|id| id.raw().to_owned()),
        arguments_sha256: judged.map(|view| hex(&Sha256::digest(view.raw()))),
        arguments: judged.filter(|_| keep).map(|view| view.text().to_owned()),
        bytes: match &call.subject {
            Subject::Message(message) => message.bytes().len() as u64,
            Subject::Stream { .. } | Subject::Close => 0,
        },
        plan: Arc::clone(&plan.digest),
        trace_id: context.trace.trace_id_hex(),
        parent_span: context.trace.parent_hex(),
        ..Intent::default()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unrecorded(detail: String) -> Denial {
    Denial {
        code: DenialCode::Unrecorded,
        guard: "gateway",
        public: "the audit log cannot be written, and this gateway serves nothing unrecorded".into(),
        detail,
        policies: Vec::new(),
        manner: Manner::Plain,
    }
}
