//! `portcullis explain`: a saved message taken through identify, read and judge, every step shown. Nothing is sent to the server and nothing is
//! recorded.

mod identify;
mod place; // where the message goes

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use portcullis_core::call::{Call, Context, Session, SessionKey, Subject};
use portcullis_core::caller::{Caller, Proof};
use portcullis_core::classify::{Evidence, classify};
use portcullis_core::clock::Clock;
use portcullis_core::gate::Step;
use portcullis_core::guard::Decision;
use portcullis_core::refusal::{Denial, Manner};
use portcullis_core::tally::History;
use portcullis_core::trace::TraceContext;
use portcullis_core::version::{Era, Version};
use portcullis_core::wire::{Direction, Kind, Malformed, Message};
use portcullis_policy::{Explained, Verdict, explain as each_policy, explain_agents};
use portcullis_server::{Examined, SystemClock};

use self::identify::Identified;
use self::place::Place;
use crate::cli::ExplainArgs;
use crate::commands::{config_failure, given, offline_config, said, saved_known};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::out::{self, BAD, DIM, GOOD, NAME, STRONG, Styled, WARN, escaped};
use crate::plan::{self, Judged};

/// Shows what would happen to a message.
pub(crate) fn explain(args: &ExplainArgs) -> Result<Exit, Failure> {
    let config = offline_config(&args.offline).map_err(config_failure)?;
    let known = saved_known(&config, &args.offline.catalogue)?;
    let bytes = text(&args.message)?;
    let (direction, size) = (direction(args), bytes.len());
    let read = Message::read(bytes.clone(), direction, &config.server.limits.reader());
    let place = match (Place::find(args, &config, &known, read.as_ref().ok()), &read) {
        // What cannot be read names no server, and needs none.
        (Err(_), Err(malformed)) if args.server.is_none() => return unreadable(malformed),
        (place, _) => place?,
    };
    let chosen = plan::choose(&config).ok_or_else(|| Failure::usage("no policy").help("name one with `--policy`"))?;
    let loaded = plan::load(&config, &chosen, &known).map_err(|findings| said(&findings, Exit::Usage))?;
    let examined = match identify::examined(args, &config, &place.server, &bytes)? {
        Some(Identified::Refused) => return Ok(Exit::Failure),
        Some(Identified::Proven(examined)) => Some(*examined),
        None => None,
    };

    let message = match read {
        Ok(message) => message,
        Err(malformed) => return unreadable(&malformed),
    };
    step("read", GOOD, format_args!("{}, {size} bytes", describe(&message)))?;
    let message = match place.own {
        Some(ref own) => {
            let known = format_args!("{} of the server `{}`", describe(own), place.server);
            step("place", GOOD, known)?;
            own.clone()
        }
        None => message,
    };
    let Some(version) = era(args, &message)? else { return Ok(Exit::Failure) };
    let call = call(args, &config, message, version, &place, examined.as_ref());
    identify::show(&call, examined.as_ref())?;
    if let Some(denial) = examined.and_then(|examined| examined.lacks_scope(&call)) {
        return identify::refused("scope", &denial);
    }
    match &call.context.session {
        Some(session) => {
            let tally = session.tally.clone().unwrap_or_default();
            let text = format!("{} calls with this one, {} of its tool", tally.calls, tally.tool_calls);
            step("session", GOOD, format_args!("{text}, called before: {}", list(&args.called)))?;
        }
        None if args.called.is_empty() => {}
        None => step("session", WARN, format_args!("{version} has none, so `--called` says nothing"))?,
    }
    if call.method() == "tools/call" && call.tool().is_none() {
        step("facts", WARN, "the tool is not in the catalogue; give one with --catalogue to judge with its types")?;
    }
    judge(place.path.map_or(&loaded.common, |path| loaded.at(path)), &call)
}

const fn direction(args: &ExplainArgs) -> Direction {
    if args.to_client { Direction::ToClient } else { Direction::ToServer }
}

fn unreadable(malformed: &Malformed) -> Result<Exit, Failure> {
    let place = malformed.at().map(|at| format!(" at byte {at}")).unwrap_or_default();
    step("read", BAD, format_args!("{}{place}: {}", malformed.code(), malformed.public()))?;
    out::line(format_args!("{} the client would get this as an error", verdict(BAD, "refused:")))?;
    Ok(Exit::Failure)
}

fn text(path: &Path) -> Result<Bytes, Failure> {
    let bytes = given(path)?;
    // An editor's final line end is not part of the message.
    let end = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
    Ok(Bytes::from(bytes).slice(..end))
}

fn describe(message: &Message) -> String {
    let kind = match message.kind() {
        Kind::Request => "request",
        Kind::Notification => "notification",
        Kind::Result => "result",
        Kind::Error => "error",
    };
    let method = message.method().map(|method| format!(" `{}`", escaped(method))).unwrap_or_default();
    let name = message.name().map(|name| format!(" of `{}`", escaped(name))).unwrap_or_default();
    let id = message.id().map(|id| format!(", id {}", escaped(id.raw()))).unwrap_or_default();
    format!("{kind}{method}{name}{id}")
}

/// The revision the message speaks: its own word, or the operator's. `None` when it was refused, which was said then.
fn era(args: &ExplainArgs, message: &Message) -> Result<Option<Version>, Failure> {
    let named = message.meta("io.modelcontextprotocol/protocolVersion").and_then(|view| view.as_str());
    let assumed = match &args.version {
        Some(text) => Version::parse(text).ok_or_else(|| {
            let known: Vec<_> = Version::ALL.into_iter().map(Version::as_str).collect();
            Failure::usage(format!("unknown protocol revision `{}`", escaped(text)))
                .help(format!("there are: {}", known.join(", ")))
        })?,
        None => Version::LATEST_LEGACY,
    };
    if message.direction() == Direction::ToClient {
        step("era", GOOD, format_args!("{} ({assumed})", assumed.era()))?;
        return Ok(Some(assumed));
    }
    let header = named.as_deref().unwrap_or(assumed.as_str());
    let evidence = Evidence { version_headers: &[header], message, session: None, session_presented: false };
    match classify(&evidence) {
        Ok(classified) => {
            step("era", GOOD, format_args!("{} ({})", classified.version.era(), classified.version))?;
            Ok(Some(classified.version))
        }
        Err(violation) => {
            step("era", BAD, format_args!("{}: {violation}", violation.code()))?;
            out::line(format_args!("{} the client would get this as an error", verdict(BAD, "refused:")))?;
            Ok(None)
        }
    }
}

fn call(
    args: &ExplainArgs,
    config: &Config,
    message: Message,
    version: Version,
    place: &Place<'_>,
    examined: Option<&Examined>,
) -> Call {
    let caller = args
        .caller
        .as_ref()
        .map_or_else(Caller::anonymous, |name| Caller::new(name, Proof::ApiKey, groups(args, config, name)));
    let (caller, proofs) = match examined {
        Some(examined) => (Arc::clone(&examined.caller), Arc::clone(&examined.proofs)),
        None => (Arc::new(caller), Arc::default()),
    };
    let context = Context {
        caller,
        proofs,
        version,
        session: session(args, &message, version),
        server: Arc::clone(&place.server),
        trace: TraceContext::from_request(&[], &[], Some(&message), [1; 16], [1; 8]),
        now: SystemClock.now(),
        catalogue: Arc::clone(&place.catalogue).into(),
        param_headers: Vec::new(),
        transports: Vec::new(),
        answers: None,
    };
    Call { context: Arc::new(context), subject: Subject::Message(message) }
}

/// Whatever a client says in these revisions, it says in a session.
fn session(args: &ExplainArgs, message: &Message, version: Version) -> Option<Session> {
    let mut history = History::default();
    args.called.iter().for_each(|tool| history.count(tool));
    let calls_tool = message.method() == Some("tools/call") && message.direction() == Direction::ToServer;
    let tally = history.seen_by(calls_tool.then(|| message.name().unwrap_or_default()));
    let session = Session { key: SessionKey(0), hash: Arc::from("explain"), tally: Some(tally) };
    (version.era() == Era::Legacy).then_some(session)
}

/// The groups given, or those that the configuration gives this caller.
fn groups(args: &ExplainArgs, config: &Config, name: &str) -> Vec<String> {
    if !args.groups.is_empty() {
        return args.groups.clone();
    }
    let known = config.server.identity.all_keys().find(|key| key.name == name);
    known.map(|key| key.groups.clone()).unwrap_or_default()
}

fn judge(judged: &Judged, call: &Call) -> Result<Exit, Failure> {
    out::line(Styled(STRONG, "judge"))?;
    let mut refused: Option<Denial> = None;
    for answer in judged.plan.gate.explain(call) {
        show_guard(&answer)?;
        if answer.guard == "policy" {
            show_policies(&each_policy(&judged.policy, call))?;
            for (agent, policies) in explain_agents(&judged.policy, call) {
                out::line(format_args!("  for `{}` of the chain", escaped(&agent)))?;
                show_policies(&policies)?;
            }
        }
        let enforced = answer.mode == portcullis_core::guard::Mode::Enforce;
        if let (Decision::Deny(denial) | Decision::Hold(denial), true, None) = (answer.decision, enforced, &refused) {
            refused = Some(*denial);
        }
    }
    let Some(denial) = refused else {
        out::line(format_args!("{} the message would be forwarded", verdict(GOOD, "cleared:")))?;
        return Ok(Exit::Success);
    };
    let shape = match denial.manner {
        Manner::Unknown => "as if it did not exist",
        Manner::Correctable => "as a tool result the model can act on, unless `refusals: error`",
        Manner::Plain => "as a JSON-RPC error",
    };
    out::line(format_args!("{} the caller reads “{}” {shape}", verdict(BAD, "refused:"), escaped(&denial.public)))?;
    Ok(Exit::Failure)
}

fn show_guard(answer: &Step) -> Result<(), Failure> {
    let plate = format!("{} ({}, {})", answer.guard, answer.phase.as_str(), answer.mode.as_str());
    match &answer.decision {
        Decision::Pass(pass) => {
            let by = pass.policies.iter().flat_map(|ids| ids.iter()).map(ToString::to_string).collect::<Vec<_>>();
            let by = if by.is_empty() { String::new() } else { format!(", permitted by {}", list(&by)) };
            out::line(format_args!("  {plate:<32} {}{by}", Styled(GOOD, "pass")))?;
            for finding in &pass.findings {
                out::line(format_args!("  {:<32} {}: {}", "", finding.code, escaped(&finding.detail)))?;
            }
        }
        Decision::Hold(denial) => show_denial(&plate, "hold", denial)?,
        Decision::Deny(denial) => show_denial(&plate, "deny", denial)?,
    }
    Ok(())
}

fn show_denial(plate: &str, word: &str, denial: &Denial) -> Result<(), Failure> {
    out::line(format_args!(
        "  {plate:<32} {}, {}: {}",
        Styled(BAD, word),
        denial.code.as_str(),
        escaped(&denial.detail)
    ))?;
    Ok(())
}

/// Every policy that is about this call; the others are only counted.
fn show_policies(policies: &[Explained]) -> Result<(), Failure> {
    let mut elsewhere = 0;
    for policy in policies {
        let style = match &policy.verdict {
            Verdict::OutOfScope => {
                elsewhere += 1;
                continue;
            }
            Verdict::NotSatisfied => DIM,
            Verdict::Satisfied => NAME,
            Verdict::Error(_) => BAD,
        };
        let place = format!("{}:{}", policy.file, policy.line);
        out::line(format_args!(
            "    {} `{}` {}: {}",
            policy.effect,
            policy.id,
            Styled(DIM, place),
            Styled(style, escaped(policy.verdict.as_str()))
        ))?;
    }
    if elsewhere > 0 {
        out::line(Styled(DIM, format_args!("    {elsewhere} about something else")))?;
    }
    Ok(())
}

fn step(name: &str, style: clap::builder::styling::Style, text: impl std::fmt::Display) -> Result<(), Failure> {
    out::line(format_args!("{} {}", Styled(STRONG, format_args!("{name:<9}")), Styled(style, text)))?;
    Ok(())
}

const fn verdict(style: clap::builder::styling::Style, word: &str) -> Styled<&str> {
    Styled(style, word)
}

fn list(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.iter().map(|word| escaped(word)).collect::<Vec<_>>().join(", ")
    }
}
