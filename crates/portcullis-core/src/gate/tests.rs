//! What passed is shown in the clients' words, and several answers become one: neither lets through what was not inspected.

use std::sync::Arc;

use bytes::Bytes;

use super::{Exposure, Gate, Inspected, Inspection, Inspector, Verdict};
use crate::call::{Call, Context, Subject};
use crate::caller::Caller;
use crate::catalogue::{Catalogue, Snapshot};
use crate::clock::Timestamp;
use crate::guard::{About, Decision, Guard, Phase, Sight, Watch};
use crate::merge::{Failed, MergeError, OwnHello};
use crate::naming::{Facing, Names, Prefix};
use crate::proofs::Proofs;
use crate::refusal::DenialCode;
use crate::trace::TraceContext;
use crate::upstream::Arrived;
use crate::version::{Era, Version};
use crate::wire::{Direction, Id, Limits, Malformed, Message};

/// Permits everything, and takes every tool named `bad` for a reason to cut.
#[derive(Debug)]
struct Lenient;

static ABOUT: About = About { code: "G000", name: "lenient", phase: Phase::Policy, purpose: "Nothing." };

impl Guard for Lenient {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check(&self, _call: &Call) -> Decision {
        Decision::pass()
    }

    fn watch(&self, _call: &Call) -> Option<Box<dyn Watch>> {
        Some(Box::new(Seen))
    }
}

/// Replaces what it sees by what it was told to look for, in the server's own words.
#[derive(Debug)]
struct Seen;

impl Watch for Seen {
    fn see(&mut self, message: &Message) -> Sight {
        let own = message.result_member("tools").and_then(|tools| tools.elements().next());
        let Some(name) = own.and_then(|tool| tool.get("name")) else { return Sight::Keep };
        assert_eq!(name.as_str().unwrap(), "own", "watchers see the server's own words");
        let edited = message.edit().replace(name, r#""edited""#).apply(&Limits::default()).unwrap();
        Sight::Replace(Box::new(edited), None)
    }
}

fn read(text: &str, direction: Direction) -> Message {
    Message::read(Bytes::from(text.to_owned()), direction, &Limits::default()).unwrap()
}

fn inspector() -> Inspector {
    let context = Context {
        caller: Arc::new(Caller::anonymous()),
        proofs: Arc::new(Proofs::default()),
        version: Version::LATEST_LEGACY,
        session: None,
        server: "a".into(),
        trace: TraceContext::from_request(&[], &[], None, [1; 16], [1; 8]),
        now: Timestamp(0),
        catalogue: Snapshot::default(),
        param_headers: Vec::new(),
        transports: Vec::new(),
        answers: None,
    };
    let message = read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, Direction::ToServer);
    let gate = Arc::new(Gate::new(Arc::new(Lenient), Vec::new()));
    match gate.judge(Call { context: Arc::new(context), subject: Subject::Message(message) }).verdict {
        Verdict::Cleared(_, inspector) => inspector,
        other => panic!("{other:?}"),
    }
}

fn arrived(text: &str) -> Arrived {
    Arrived { message: Some(read(text, Direction::ToClient)), event_id: Some("7".to_owned()), retry: None }
}

fn facing() -> Inspector {
    let names = Names::new(vec!["a".into(), "b".into()], "__", Prefix::Always).unwrap();
    inspector().facing(Arc::new(Facing {
        names: Arc::new(names),
        server: 0,
        answers: Some("tools/list".into()),
        known: Arc::from([Arc::new(Catalogue::default()), Arc::new(Catalogue::default())]),
        limits: Limits::default(),
    }))
}

fn passed(inspection: Inspection) -> Inspected {
    match inspection {
        Inspection::Pass(inspected, _) => inspected,
        other => panic!("{other:?}"),
    }
}

/// Says something else than it is asked to say.
#[derive(Debug)]
struct Says(Result<&'static str, Malformed>);

impl Exposure for Says {
    fn expose(&self, message: &Message) -> Result<Message, Malformed> {
        self.0.clone().map(|text| read(text, message.direction()))
    }
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"own"}]}}"#;

#[test]
fn what_passed_is_shown_in_the_clients_words_after_all_watchers() {
    let shown = passed(facing().inspect(arrived(LIST)));
    assert_eq!(shown.bytes(), &r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a__edited"}]}}"#);
    assert_eq!((shown.event_id(), shown.is_response()), (Some("7"), true));
    let alone = passed(inspector().inspect(arrived(LIST)));
    assert_eq!(alone.bytes(), &r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"edited"}]}}"#);
}

#[test]
fn what_cannot_be_shown_is_blocked_by_its_own_code() {
    let too_long = Says(Err(Malformed::NameTooLong { limit: 1 }));
    let answer = inspector().facing(Arc::new(too_long)).inspect(arrived(LIST));
    let Inspection::Cut(denial, findings) = answer else { panic!("{answer:?}") };
    assert_eq!(denial.code, DenialCode::Unexposable);
    assert_eq!(findings.len(), 1);
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#;
    let said = inspector().facing(Arc::new(Says(Err(Malformed::EditRefused)))).inspect(arrived(notification));
    assert!(matches!(said, Inspection::Drop(denial, _) if denial.code == DenialCode::Unexposable));
    let question = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
    let asked = inspector().facing(Arc::new(Says(Err(Malformed::EditRefused)))).inspect(arrived(question));
    assert!(matches!(asked, Inspection::Refuse(_, denial, _) if denial.code == DenialCode::Unexposable));
}

#[test]
fn showing_puts_no_other_message_in_the_place_of_what_passed() {
    for other in [
        r#"{"jsonrpc":"2.0","id":2,"result":{"tools":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/message"}"#,
    ] {
        let answer = inspector().facing(Arc::new(Says(Ok(other)))).inspect(arrived(LIST));
        assert!(matches!(answer, Inspection::Cut(..)), "{other}");
    }
    let ping = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
    for (shown, passes) in [
        // Ids of several servers' questions meet, so these may be numbered anew.
        (r#"{"jsonrpc":"2.0","id":"a:5","method":"ping"}"#, true),
        (r#"{"jsonrpc":"2.0","id":5,"method":"roots/list"}"#, false),
    ] {
        let asked = inspector().facing(Arc::new(Says(Ok(shown)))).inspect(arrived(ping));
        assert_eq!(matches!(asked, Inspection::Pass(..)), passes, "{shown}");
    }
}

#[test]
fn several_inspected_results_become_one_and_nothing_else_does() {
    let own = OwnHello {
        era: Era::Legacy,
        server_info: r#"{"name":"portcullis","version":"1"}"#,
        protocol_version: "2025-11-25",
        supported_versions: &[],
        instructions: None,
    };
    let merged = |parts: &[(&str, &Inspected)], failed: &[Failed<'_>]| {
        Inspected::merged("tools/list", &Id::number(9), parts, failed, None, &own, &Limits::default())
    };
    let list = passed(facing().inspect(arrived(LIST)));
    let whole = merged(&[("a", &list), ("b", &list)], &[]).unwrap();
    assert_eq!(
        whole.bytes(),
        &r#"{"jsonrpc":"2.0","id":9,"result":{"tools":[{"name":"a__edited"},{"name":"a__edited"}]}}"#
    );
    assert!(whole.is_response() && whole.event_id().is_none());
    let refusal = Inspected::refusal(Some(&Id::number(1)), -32603, "no", None);
    let signal = passed(facing().inspect(Arrived::default()));
    for part in [&refusal, &signal] {
        let refused = merged(&[("a", &list), ("b", part)], &[]).map(drop);
        assert_eq!(refused, Err(MergeError::NoResult { server: "b".to_owned() }));
    }
    let failed = [Failed { server: "a", code: "upstream_died", message: "it died" }];
    assert_eq!(merged(&[], &failed).map(drop), Err(MergeError::AllFailed));
}
