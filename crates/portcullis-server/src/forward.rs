//! Judge, open the entry, forward: one call from its reading to the begin of its reply.

use std::sync::Arc;

use futures_util::StreamExt as _;
use portcullis_core::call::Call;
use portcullis_core::capabilities;
use portcullis_core::classify::META_CAPABILITIES;
use portcullis_core::gate::{Cleared, Exposure, Judgement, Verdict};
use portcullis_core::guard::{Effect, Finding};
use portcullis_core::ledger::{Entry, Intent, Status};
use portcullis_core::mirror;
use portcullis_core::refusal::{Denial, DenialCode, Fault, FaultKind, Violation};
use portcullis_core::upstream::{Arrived, Media, Reply};
use portcullis_core::version::Era;
use portcullis_core::wire::{Malformed, Message};

use crate::answer::{Asked, Refusal, Unread, gateway_denial};
use crate::endpoint::Server;
use crate::gateway::{Gateway, Plan};
use crate::journey::{Baggage, Journey};
use crate::read::Read;
use crate::record;
use crate::settings::Errors;

/// A call whose reply has begun.
#[derive(Debug)]
pub(crate) struct Forwarded {
    pub(crate) journey: Journey,
}

/// What an answer to this call must know.
pub(crate) fn asked(gateway: &Gateway, call: &Call, plan: &Plan) -> Asked {
    Asked {
        id: call.message().filter(|_| call.expects_response()).and_then(|message| message.id().cloned()),
        method: Some(call.method().into()),
        modern: call.era() == Era::Modern,
        refusals: plan.refusals,
        tells_attempts: gateway.settings.errors == Errors::Attempts,
    }
}

/// Judges and forwards. Every path leaves an entry: an intent before anything is sent, and exactly one outcome.
pub(crate) async fn forward(gateway: &Arc<Gateway>, read: Read) -> Result<Forwarded, Box<Unread>> {
    let Read { call, endpoint, place, session, opening, in_flight, permit, until, directory, known } = read;
    let plan = endpoint.plan.load_full();
    let asked = asked(gateway, &call, &plan);

    let (mut call, withheld) = match withhold(gateway, &plan, call) {
        Ok(told) => told,
        Err(malformed) => return Err(Unread::new(malformed, asked)),
    };
    // Before any policy is asked: more scope would help here, and a policy's no must not look as if it would (F15, F18).
    if let Some(denial) = directory.lacks_scope(&call) {
        let intent = record::intent(gateway, &plan, &call);
        return Err(refuse(gateway, intent, denial.into(), asked));
    }
    if let Some(session) = &session {
        session.proves(&call, until);
    }
    let Judgement { verdict, policies, mut findings } = match &session {
        Some(session) => session.judge(&plan.gate, &mut call).await,
        None => plan.gate.judge(call.clone()),
    };
    findings.extend(withheld);
    for finding in &findings {
        gateway.ledger.count(finding.guard, finding.code);
    }
    let mut intent = record::intent(gateway, &plan, &call);
    intent.findings = findings;
    let (cleared, inspector) = match verdict {
        Verdict::Cleared(cleared, inspector) => {
            intent.policies = policies.map(|policies| policies.to_vec()).unwrap_or_default();
            (cleared, inspector)
        }
        Verdict::Held(denial) | Verdict::Denied(denial) => {
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
    let inspector = match &place.facing {
        Some(facing) => inspector.facing(Arc::clone(facing) as Arc<dyn Exposure>),
        None => inspector,
    };
    let replied = match known {
        Some(answer) => Ok(at_hand(answer)),
        None => send(gateway, &plan, &place.server, cleared).await,
    };
    match replied {
        Ok(reply) => {
            let baggage = Baggage { place, session, opening, in_flight, permit, until };
            let journey = Journey::new(Arc::clone(gateway), plan, reply, inspector, entry, asked, baggage);
            Ok(Forwarded { journey })
        }
        Err(fault) => {
            gateway.ledger.count("fault", fault.kind.code());
            gateway.session_lost(&call, &fault);
            if fault.kind == FaultKind::TimedOut {
                gateway.cancel(&place.server, &inspector, "the gateway waited long enough");
            }
            let refusal = Refusal::Fault(fault.clone());
            answered(&mut entry, &refusal, &asked);
            entry.attempted(fault.attempts);
            entry.close(Status::Failed, Some(fault.kind.code().to_owned()), Some(fault.detail));
            Err(Unread::recorded(refusal, asked))
        }
    }
}

/// Takes from the message what invites the server to questions that policy could never permit it (I1): a server that knows it cannot ask
/// does without, or says so. Before the judgement, so that what was judged is what is sent.
fn withhold(gateway: &Gateway, plan: &Plan, call: Call) -> Result<(Call, Option<Finding>), Malformed> {
    let Some(message) = call.message() else { return Ok((call, None)) };
    let declared = match call.era() {
        Era::Legacy => message.param("capabilities").filter(|_| message.method() == Some("initialize")),
        Era::Modern => message.meta(META_CAPABILITIES),
    };
    if declared.is_none_or(|capabilities| capabilities.members().next().is_none()) {
        return Ok((call, None));
    }
    let ruled_out = capabilities::QUESTIONS.iter().filter(|(method, _)| plan.gate.never_permits(&call, method));
    let ruled_out: Vec<&str> = ruled_out.map(|(_, capability)| *capability).collect();
    let Some(message) = capabilities::without(message, &ruled_out, &gateway.limits)? else { return Ok((call, None)) };
    let detail = format!("not told to the server, which could not use it: {}", ruled_out.join(", "));
    let effect = Effect::Replaced;
    let finding = Finding { guard: "gateway", code: "capability_withheld", detail, effect };
    Ok((call.with_message(message), Some(finding)))
}

/// Sends. A server without room for another session gets it from the caller's own longest idle one: clients that never end their
/// sessions must not lock themselves out, and never others.
async fn send(gateway: &Arc<Gateway>, plan: &Plan, server: &Server, cleared: Cleared) -> Result<Reply, Fault> {
    let call = cleared.call().clone();
    let result = server.upstream.send(cleared).await;
    let Err(Fault { kind: FaultKind::Overloaded, never_left: true, .. }) = &result else { return result };
    let Some(opening) = call.context.session.as_ref().filter(|_| call.method() == "initialize") else { return result };
    let Some((idle, hash)) = gateway.sessions.end_longest_idle(opening.key, gateway.clock.now()) else { return result };
    record::notice(gateway, "session_ended", format!("idle session {hash} made room for another of its caller"));
    gateway.forget(idle).await;
    // Judged again from the start: a clearance is for one sending.
    match plan.gate.judge(call).verdict {
        Verdict::Cleared(cleared, _) => server.upstream.send(cleared).await,
        Verdict::Held(_) | Verdict::Denied(_) => result,
    }
}

/// An answer that is there already, on its way through the same inspection.
fn at_hand(answer: Message) -> Reply {
    let arrived = Arrived { message: Some(answer), ..Arrived::default() };
    Reply::new(Media::Json, futures_util::stream::iter([Ok(arrived)]).boxed())
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
        answered(&mut entry, &refusal, &asked);
        entry.close(status, Some(refusal.code().to_owned()), None);
    }
    Unread::recorded(refusal, asked)
}

/// What the client reads in place of an answer of the server's.
fn answered(entry: &mut Entry, refusal: &Refusal, asked: &Asked) {
    let answer = refusal.answer(asked);
    if let Some(message) = &answer.message {
        entry.delivered(message.bytes().len());
    }
    if let Some(outcome) = entry.outcome() {
        outcome.http_status = Some(answer.status.as_u16());
    }
}

fn unrecorded(detail: String) -> Denial {
    let public = "the audit log cannot be written, and this gateway serves nothing unrecorded";
    gateway_denial(DenialCode::Unrecorded, public, detail)
}
