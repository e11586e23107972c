//! What a server asks the client in a legacy reply: held to what the client declared, registered for its answer, recorded, or refused.

use std::sync::Arc;

use portcullis_core::gate::RefusedRequest;
use portcullis_core::ledger::{Entry, Status};
use portcullis_core::own::id_hex;
use portcullis_core::refusal::{Denial, Fault, FaultKind};
use portcullis_core::wire::Message;

use super::Journey;
use crate::random;
use crate::record::intent;

/// What a server reads when its request is refused: "the user rejected it", which is what MCP has for a no from this side (H.1).
const REFUSED_SERVER_REQUEST: i64 = -1;

impl Journey {
    /// A server must not ask what the client never said it could do (A44, B13): it gets the error MCP has for that, and the client
    /// hears nothing. True when it was refused.
    pub(super) fn refuse_undeclared(&mut self, message: &Message) -> bool {
        let (Some(session), Some(method)) = (&self.baggage.session, message.method()) else { return false };
        let Some(lacking) = session.declared.lacks(method, message.params()) else { return false };
        let Some(request) = self.inspector.refuse(message) else { return false };
        let detail = format!("the server asks for {lacking}, which the client did not declare (A44, B13)");
        self.note_fault(&Fault::new(FaultKind::Garbage, detail));
        // An undeclared mode is a wrong parameter; an undeclared feature is no method at all.
        let code = if lacking.contains('.') { -32602 } else { -32601 };
        self.answer_server(request, code, "the client did not declare this capability");
        true
    }

    /// Registers a server request, so that the client's answer will be matched (I5). Too many unanswered ones are refused.
    pub(super) fn await_answer(&mut self, message: &Message) -> bool {
        let (Some(session), Some(id), Some(method)) = (&self.baggage.session, message.id(), message.method()) else {
            return true;
        };
        // Under the id that the client will answer with.
        let shown = self.baggage.place.facing.as_ref().map(|facing| facing.id(id));
        if session.asked(shown.as_ref().unwrap_or(id), method) {
            return true;
        }
        let overloaded = Fault::new(FaultKind::Overloaded, "too many server requests wait for this client");
        self.note_fault(&overloaded);
        if let Some(request) = self.inspector.refuse(message) {
            self.answer_server(request, -32603, FaultKind::Overloaded.public());
        }
        false
    }

    /// Server requests are judged messages with entries of their own. The client's answer is recorded when it comes, under the same method.
    pub(super) fn record_server_request(&self, message: &Message, denial: Option<&Denial>) {
        let call = self.inspector.call().with_message(message.clone());
        let mut intent = intent(&self.gateway, &self.plan, &call);
        if let Some(span) = random::id::<8>() {
            intent.parent_span = Some(std::mem::replace(&mut intent.call, id_hex(&span)));
        }
        intent.at = self.gateway.clock.now();
        intent.decision = if denial.is_some() { "deny" } else { "allow" };
        let code = denial.map(|denial| denial.code.as_str());
        intent.code = code;
        intent.detail = denial.map(|denial| denial.detail.clone());
        intent.policies = denial.map(|denial| denial.policies.clone()).unwrap_or_default();
        let (ledger, clock) = (Arc::clone(&self.gateway.ledger), Arc::clone(&self.gateway.clock));
        // In strict mode the next call is refused; this reply is already under way.
        if let Ok(mut entry) = Entry::open(ledger, clock, intent) {
            let status = if denial.is_some() { Status::Denied } else { Status::Accepted };
            entry.close(status, code.map(str::to_owned), None);
        }
    }

    /// The error that a refused server request gets from us; the client never sees the request.
    pub(super) fn refuse_server(&mut self, request: RefusedRequest, denial: &Denial) {
        self.gateway.ledger.count("denial", denial.code.as_str());
        self.answer_server(request, REFUSED_SERVER_REQUEST, &denial.public);
    }

    fn answer_server(&self, request: RefusedRequest, code: i64, public: &str) {
        let Ok(cleared) = request.answer(code, public) else { return };
        let (gateway, server) = (Arc::clone(&self.gateway), Arc::clone(&self.baggage.place.server));
        self.gateway.tasks.spawn(async move {
            if let Err(fault) = server.upstream.send(cleared).await {
                gateway.ledger.count("fault", fault.kind.code());
            }
        });
    }
}
