//! What the headers of a request prove, shown one by one.

use portcullis_core::call::Call;
use portcullis_core::clock::Clock;
use portcullis_core::refusal::Denial;
use portcullis_server::{Examined, SystemClock};

use super::{list, step, verdict};
use crate::cli::ExplainArgs;
use crate::commands::runtime;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::out::{self, BAD, GOOD, WARN, escaped};

/// What came of the headers.
pub(super) enum Identified {
    Proven(Box<Examined>),
    /// Which was said.
    Refused,
}

/// Takes the headers through *identify*, if there are any.
pub(super) fn examined(
    args: &ExplainArgs,
    config: &Config,
    server: &str,
    body: &[u8],
) -> Result<Option<Identified>, Failure> {
    if args.headers.is_empty() {
        return Ok(None);
    }
    let headers = args.headers.iter().cloned().collect();
    let examined = Examined::new(&config.server, headers, body, server, SystemClock.now());
    let found = runtime()?.block_on(examined).map_err(Failure::usage)?;
    match found {
        Ok(examined) => Ok(Some(Identified::Proven(Box::new(examined)))),
        Err(denial) => refused("identify", &denial).map(|_| Some(Identified::Refused)),
    }
}

/// Says that a step refuses.
pub(super) fn refused(name: &str, denial: &Denial) -> Result<Exit, Failure> {
    step(name, BAD, format_args!("{}: {}", denial.code.as_str(), escaped(&denial.detail)))?;
    out::line(format_args!("{} the client reads “{}”", verdict(BAD, "refused:"), escaped(&denial.public)))?;
    Ok(Exit::Failure)
}

/// The caller, and everything that is proven beside it.
pub(super) fn show(call: &Call, examined: Option<&Examined>) -> Result<(), Failure> {
    let (caller, proofs) = (&call.context.caller, &call.context.proofs);
    let until =
        examined.and_then(|examined| examined.until).map(|until| format!(", until {until}")).unwrap_or_default();
    let (name, proof) = (escaped(&caller.name), caller.proof.as_str());
    step("identify", GOOD, format_args!("caller `{name}` ({proof}), groups: {}{until}", list(&caller.groups)))?;
    if let (Some(_), Some(issuer)) = (&proofs.token, &caller.issuer) {
        let client = caller.client.as_deref().unwrap_or("unknown");
        let (issuer, client, scopes) = (escaped(issuer), escaped(client), list(&caller.scopes));
        step("token", GOOD, format_args!("issuer {issuer}, client {client}, scopes: {scopes}"))?;
    }
    if !caller.actors.is_empty() {
        step("actors", GOOD, list(&caller.actors))?;
    }
    for (name, values) in &caller.attributes {
        step("tag", GOOD, format_args!("{}: {}", escaped(name), list(values)))?;
    }
    if let Some(agent) = &proofs.agent {
        step("agent", GOOD, format_args!("`{}`, groups: {}", escaped(&agent.name), list(&agent.groups)))?;
    }
    if let Some(signature) = &proofs.signature {
        let (workload, key, created) = (escaped(&signature.workload), escaped(&signature.key_id), signature.created);
        step("signature", GOOD, format_args!("`{workload}` with key `{key}` at {created}"))?;
    }
    for hop in &proofs.chain.hops {
        let (agent, gateway) = (escaped(&hop.agent.name), escaped(&hop.gateway));
        let style = if hop.verified { GOOD } else { WARN };
        let word = if hop.verified { "verified" } else { "not verified" };
        step("chain", style, format_args!("`{agent}` by `{gateway}` for `{}`, {word}", escaped(&hop.target)))?;
    }
    Ok(())
}
