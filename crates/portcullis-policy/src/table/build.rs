//! From a case to a call.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::call::{Call, Context, SESSION_CLOSE, STREAM_OPEN, Session, SessionKey, Subject};
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::clock::Timestamp;
use portcullis_core::proofs::{Agent, Chain, Client, Hop, Proofs, Signature};
use portcullis_core::tally::History;
use portcullis_core::trace::TraceContext;
use portcullis_core::version::Version;
use portcullis_core::wire::{Direction, Limits, METHODS, Message, MethodKind, Way};
use serde_json::{Map, Value, json};

use super::{Case, CaseAgent, CaseCaller, CaseClient, CaseHop, CaseSession, CaseSignature, Servers, TestFile};

/// 2026-01-01T12:00:00Z, when a case does not say.
const NOON: Timestamp = Timestamp(1_767_268_800_000);

/// The call a case describes.
///
/// # Errors
/// What in the case cannot be understood, for the report.
pub(crate) fn call(file: &TestFile, case: &Case, servers: &Servers) -> Result<Call, String> {
    let mut context = context(file, case, servers)?;
    let method =
        case.method.as_deref().or(case.tool.as_ref().map(|_| "tools/call")).ok_or("a case needs `tool` or `method`")?;
    let subject = match method {
        STREAM_OPEN => Subject::Stream { last_event_id: None, request: None },
        SESSION_CLOSE => Subject::Close,
        _ => Subject::Message(message(case, method)?),
    };
    if let Some(case) = &case.session {
        let named = match &subject {
            Subject::Message(message) if method == "tools/call" => Some(message.name().unwrap_or_default()),
            _ => None,
        };
        context.session = Some(session(case, named)?);
    }
    Ok(Call { context: Arc::new(context), subject })
}

fn context(file: &TestFile, case: &Case, servers: &Servers) -> Result<Context, String> {
    let server = case.server.as_deref().unwrap_or(&file.server);
    let catalogue = servers.get(server);
    if catalogue.is_none() && !file.catalogues.is_empty() {
        let names: Vec<&str> = servers.keys().map(String::as_str).collect();
        return Err(format!("`server: {server}` is none of the servers in `catalogues`: {}", names.join(", ")));
    }
    let caller = case.caller.as_ref().map_or_else(|| Ok(Caller::anonymous()), caller)?;
    let version = match case.version.as_deref() {
        None => Version::LATEST_LEGACY,
        Some(text) => Version::parse(text).ok_or_else(|| format!("unknown protocol version `{text}`"))?,
    };
    let now = match case.now.as_deref() {
        None => NOON,
        Some(text) => {
            timestamp(text).ok_or_else(|| format!("`now: {text}` is not a time such as 2026-07-28T09:30:00Z"))?
        }
    };
    Ok(Context {
        caller: Arc::new(caller),
        proofs: Arc::new(proofs(case, now)),
        version,
        session: None,
        server: Arc::from(server),
        trace: TraceContext::from_request(&[], &[], None, [1; 16], [1; 8]),
        now,
        catalogue: catalogue.cloned().unwrap_or_default().into(),
        param_headers: Vec::new(),
        transports: Vec::new(),
        answers: None,
    })
}

fn caller(case: &CaseCaller) -> Result<Caller, String> {
    let CaseCaller { name, proof, groups, issuer, client, scopes, spiffe, attributes, actors } = case.clone();
    let proof = match proof.as_deref() {
        None if issuer.is_some() => Proof::Token,
        None if spiffe.is_some() => Proof::Certificate,
        None => Proof::ApiKey,
        Some(word) => {
            let found = Proof::ALL.into_iter().find(|proof| proof.as_str() == word);
            found.ok_or_else(|| format!("unknown proof `{word}`"))?
        }
    };
    Ok(Caller { name, proof, groups, issuer, client, scopes, spiffe, attributes, actors })
}

fn proofs(case: &Case, now: Timestamp) -> Proofs {
    let CaseClient { address, secure, host, via_proxy } = case.client.clone();
    let agent = |CaseAgent { name, issuer, groups, attributes }| Agent { name, issuer, groups, attributes };
    let signature = |CaseSignature { key_id, workload, session_scoped, ephemeral }| {
        let (key_id, workload) = (Arc::from(key_id), Arc::from(workload));
        Signature { key_id, workload, session_scoped, ephemeral, created: now }
    };
    let hop = |CaseHop { agent, groups, attributes, verified }| {
        let agent = Caller { attributes, ..Caller::new(format!("agent:{agent}"), Proof::Chain, groups) };
        let (gateway, target) = (Arc::from("gateway"), Arc::from("tools/call"));
        Hop { agent: Arc::new(agent), gateway, target, at: now, verified, raw: Arc::from("") }
    };
    Proofs {
        client: Client { address, secure, host: host.map(Arc::from), via_proxy },
        agent: case.agent.clone().map(agent),
        signature: case.signature.clone().map(signature),
        chain: Chain { hops: case.chain.iter().cloned().map(hop).collect() },
        token: None,
    }
}

/// The session as traffic with the same calls makes it.
fn session(case: &CaseSession, tool: Option<&str>) -> Result<Session, String> {
    let mut history = History::default();
    case.called.iter().for_each(|tool| history.count(tool));
    let mut tally = history.seen_by(tool);
    if !case.called.is_empty() && case.calls.is_some_and(|calls| calls < tally.calls) {
        return Err("`session.calls` is less than the calls in `called` and this one".to_owned());
    }
    if case.called.is_empty()
        && let Some(calls) = case.calls
    {
        tally.tool_calls = calls;
    }
    tally.calls = case.calls.unwrap_or(tally.calls);
    tally.tool_calls = case.tool_calls.unwrap_or(tally.tool_calls);
    Ok(Session { key: SessionKey(1), hash: Arc::from("test"), tally: Some(tally) })
}

fn message(case: &Case, method: &str) -> Result<Message, String> {
    let info = METHODS.iter().find(|info| info.name == method);
    let direction = match info.map(|info| info.direction) {
        Some(Way::ToClient) => Direction::ToClient,
        Some(Way::ToServer | Way::Both) | None => Direction::ToServer,
    };
    let params = match &case.params {
        Some(params) => params.clone(),
        None => params(case, method),
    };
    let mut text = json!({ "jsonrpc": "2.0", "method": method, "params": params });
    let notification = info.is_some_and(|info| info.kind == MethodKind::Notification);
    if let (false, Some(members)) = (notification, text.as_object_mut()) {
        members.insert("id".to_owned(), json!(1));
    }
    Message::read(Bytes::from(text.to_string()), direction, &Limits::default())
        .map_err(|error| format!("not a message: {error}"))
}

fn params(case: &Case, method: &str) -> Value {
    let mut params = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            params.insert(name.to_owned(), value);
        }
    };
    put("name", case.tool.clone().map(Value::String));
    let subject = case.subject.clone().map(Value::String);
    put(if method.contains("tasks/") { "taskId" } else { "name" }, subject);
    put("uri", case.uri.clone().map(Value::String));
    put("arguments", case.arguments.clone());
    if method == "elicitation/create" {
        put("message", Some(json!("test")));
        put("mode", Some(json!(if case.url.is_some() { "url" } else { "form" })));
        put("url", case.url.clone().map(Value::String));
    }
    Value::Object(params)
}

/// `YYYY-MM-DDTHH:MM:SS[.mmm]Z`.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, millis) = match time.split_once('.') {
        Some((time, millis)) if millis.len() == 3 => (time, number(millis)?),
        Some(_) => return None,
        None => (time, 0),
    };
    let mut time = time.splitn(3, ':').map(number);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_before(year, month)?.checked_add(day.checked_sub(1)?)?;
    if days >= days_before(if month == 12 { year + 1 } else { year }, month % 12 + 1)? {
        return None;
    }
    Some(Timestamp((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01 to the first of this month.
fn days_before(year: u64, month: u64) -> Option<u64> {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let before_year = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let leap = u64::from(leaps(year) > leaps(year - 1));
    let lengths = [31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months = lengths.iter().take(usize::try_from(month).ok()?.checked_sub(1)?).sum::<u64>();
    Some(before_year + months)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_core_writes_them() {
        for millis in [0, 951_827_696_789, 1_785_231_000_000, NOON.0, 1_709_164_800_000] {
            assert_eq!(timestamp(&Timestamp(millis).to_string()), Some(Timestamp(millis)));
        }
        assert_eq!(NOON.to_string(), "2026-01-01T12:00:00.000Z");
        for bad in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01",
            "2026-01-00T00:00:00Z",
            "x",
        ] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }
}
