//! What goes into the record, and what never became a call but is recorded all the same.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use portcullis_core::call::{Call, Subject};
use portcullis_core::caller::Caller;
use portcullis_core::ledger::{Intent, Notice, Record, Refused};
use portcullis_core::own::id_hex;
use portcullis_core::proofs::Hop;
use portcullis_core::refusal::Violation;
use portcullis_core::wire::Direction;

use crate::answer::{Asked, Refusal};
use crate::gateway::{Gateway, Plan};
use crate::proxies::Via;

/// The part of an intent that does not depend on the decision.
pub(crate) fn intent(gateway: &Gateway, plan: &Plan, call: &Call) -> Intent {
    let context = &call.context;
    let message = call.message();
    let judged = message.and_then(|message| call.arguments().or_else(|| message.params()));
    let keep = gateway.ledger.keeps_content();
    Intent {
        call: context.trace.span_hex(),
        at: context.now,
        caller: context.caller.name.as_str().into(),
        proof: context.caller.proof.as_str(),
        peer: context.proofs.client.address,
        agent: context.proofs.agent.as_ref().map(|agent| agent.name.clone()),
        signed_by: context.proofs.signature.as_ref().map(|signature| Arc::clone(&signature.key_id)),
        chain: context.proofs.chain.hops.iter().map(hands).collect(),
        session: context.session.as_ref().map(|session| Arc::clone(&session.hash)),
        server: Arc::clone(&context.server),
        version: context.version.as_str(),
        direction: match call.direction() {
            Direction::ToServer => "to_server",
            Direction::ToClient => "to_client",
        },
        method: call.method().into(),
        name: call.name().map(Into::into),
        id: message.and_then(|message| message.id()).map(|id| id.raw().into()),
        // Only arguments: other params hold our own trace ids by now, and what they are about is the name.
        arguments_blake3: call.arguments().map(|view| id_hex(blake3::hash(view.raw()).as_bytes())),
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

/// One hop of a chain, as the log names it.
fn hands(hop: &Hop) -> String {
    let asserted = if hop.verified { "" } else { " (unverified)" };
    format!("{} via {}{asserted}", hop.agent.name, hop.gateway)
}

/// What is known of a request that was refused early.
#[derive(Debug)]
pub(crate) struct RefusedFacts {
    /// Whose request it is, as far as trusted hops tell.
    pub(crate) client: IpAddr,
    /// The trusted proxy that spoke for it.
    pub(crate) proxy: Option<IpAddr>,
    pub(crate) caller: Option<Arc<Caller>>,
    /// Of the client's own trace, if it sent one.
    pub(crate) trace_id: Option<String>,
    pub(crate) bytes: usize,
}

impl RefusedFacts {
    /// All that is known before a request is looked at.
    pub(crate) const fn of(client: IpAddr) -> Self {
        Self { client, proxy: None, caller: None, trace_id: None, bytes: 0 }
    }

    pub(crate) fn came(&mut self, via: &Via) {
        (self.client, self.proxy) = (via.client().address.unwrap_or(self.client), via.proxy());
    }
}

/// Counts and records something that never became a call.
pub(crate) fn refused(gateway: &Gateway, refusal: &Refusal, facts: &RefusedFacts, asked: &Asked) {
    entry(gateway, refusal, facts, refusal.detail(), Some(refusal.answer(asked).status));
}

/// Counts and records a connection that never came to a request. `detail`: what is known beyond the code. `answered`: what hyper said by
/// itself, if it said anything.
pub(crate) fn hung_up(
    gateway: &Gateway,
    violation: Violation,
    detail: Option<String>,
    client: IpAddr,
    answered: Option<StatusCode>,
) {
    let refusal = Refusal::Violation(violation);
    let detail = detail.unwrap_or_else(|| refusal.detail());
    entry(gateway, &refusal, &RefusedFacts::of(client), detail, answered);
}

fn entry(gateway: &Gateway, refusal: &Refusal, facts: &RefusedFacts, detail: String, answered: Option<StatusCode>) {
    gateway.ledger.count(refusal.family(), refusal.code());
    let refused = Refused {
        at: gateway.clock.now(),
        family: refusal.family(),
        code: refusal.code(),
        detail: Some(detail),
        peer: Some(facts.client.to_string()),
        via: facts.proxy.map(|proxy| proxy.to_string()),
        caller: facts.caller.as_ref().map(|caller| caller.name.clone()),
        bytes: facts.bytes as u64,
        http_status: answered.map(|status| status.as_u16()),
        trace_id: facts.trace_id.clone(),
    };
    // The refusal stands whether or not it can be recorded; the ledger counts what it loses.
    let _lost = gateway.ledger.append(Record::Refused(Box::new(refused)));
}

/// Something the operator will ask about later.
pub(crate) fn notice(gateway: &Gateway, code: &'static str, detail: String) {
    let notice = Notice { at: gateway.clock.now(), code, server: None, detail };
    let _lost = gateway.ledger.append(Record::Notice(Box::new(notice)));
}
