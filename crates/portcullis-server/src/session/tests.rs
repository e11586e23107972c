use std::sync::Arc;

use portcullis_core::caller::{Caller, Proof};
use portcullis_core::capabilities::Declared;
use portcullis_core::clock::Timestamp;
use portcullis_core::refusal::{DenialCode, Violation};
use portcullis_core::wire::Id;

use super::{Home, Sessions, Targets};
use crate::identify::{Account, Known};
use crate::seal::Sealer;
use crate::settings::SessionSettings;

fn callers() -> (Arc<Account>, Arc<Account>) {
    let account = |name| Arc::clone(&Known::new(Caller::new(name, Proof::ApiKey, Vec::new())).account);
    (account("alice"), account("bob"))
}

fn home() -> Home {
    Home { path: "/mcp".into(), several: false }
}

fn sessions(total: usize, per_caller: usize) -> Sessions {
    Sessions::new(SessionSettings { total, per_caller, idle_seconds: 60 })
}

#[test]
fn a24_a27_a_session_is_found_only_by_the_caller_that_opened_it() {
    let (alice, bob) = callers();
    let (sealer, sessions) = (Sealer::new().unwrap(), sessions(10, 10));
    let session = sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    assert!(sessions.find(&alice, &sealer, &session.sealed, Timestamp(1), "/mcp").is_ok());
    assert_eq!(
        sessions.find(&bob, &sealer, &session.sealed, Timestamp(1), "/mcp").unwrap_err(),
        Violation::SessionUnknown
    );
    let elsewhere = sessions.find(&alice, &sealer, &session.sealed, Timestamp(1), "/mcp/other");
    assert_eq!(elsewhere.unwrap_err(), Violation::SessionUnknown, "nor at another endpoint");
    assert!(sessions.end(session.key));
    assert!(!sessions.end(session.key), "ends once");
    assert_eq!(
        sessions.find(&alice, &sealer, &session.sealed, Timestamp(1), "/mcp").unwrap_err(),
        Violation::SessionUnknown
    );
}

#[test]
fn a_flood_of_one_caller_cannot_push_out_another() {
    let (alice, bob) = callers();
    let (sealer, sessions) = (Sealer::new().unwrap(), sessions(10, 4));
    let bobs = sessions.open(&bob, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    let opened =
        (0..100).filter(|_| sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).is_ok()).count();
    assert_eq!(opened, 4);
    assert_eq!(
        sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).unwrap_err().code,
        DenialCode::TooManySessions
    );
    assert!(sessions.find(&bob, &sealer, &bobs.sealed, Timestamp(0), "/mcp").is_ok());
    assert_eq!(sessions.len(), 5);
}

#[test]
fn an_idle_session_expires_but_one_with_an_open_stream_or_call_does_not() {
    let (alice, _) = callers();
    let (sealer, sessions) = (Sealer::new().unwrap(), sessions(10, 10));
    let idle = sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    let streaming = sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    let calling = sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    let (_stream, _call) = (streaming.stream(), calling.begin(&Id::number(1), Targets::default()).unwrap());
    assert!(sessions.expire(Timestamp(59_999)).is_empty());
    assert_eq!(sessions.expire(Timestamp(60_000)), vec![idle.key]);
}

#[test]
fn a34_a_request_id_in_progress_cannot_be_used_again() {
    let (alice, _) = callers();
    let (sealer, sessions) = (Sealer::new().unwrap(), sessions(10, 10));
    let session = sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    let first = session.begin(&Id::string("a"), Targets::default()).unwrap();
    assert_eq!(
        session.begin(&Id::from_text(r#""\u0061""#).unwrap(), Targets::default()).unwrap_err(),
        Violation::IdInUse
    );
    drop(first);
    assert!(session.begin(&Id::string("a"), Targets::default()).is_ok());
}

#[test]
fn i5_a_server_request_is_answered_once_and_waiting_ones_are_bounded() {
    let (alice, _) = callers();
    let (sealer, sessions) = (Sealer::new().unwrap(), sessions(10, 10));
    let session = sessions.open(&alice, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    assert!(session.asked(&Id::number(7), "sampling/createMessage"));
    assert_eq!(session.answered(&Id::number(7)).as_deref(), Some("sampling/createMessage"));
    assert!(session.answered(&Id::number(7)).is_none());
    let accepted = (0..10_000).filter(|id| session.asked(&Id::number(*id), "ping")).count();
    assert_eq!(accepted, super::WAITING_REQUESTS);
}

#[test]
fn a_caller_out_of_places_loses_its_own_longest_idle_session_and_never_a_busy_or_foreign_one() {
    let (alice, bob) = callers();
    let (sealer, sessions) = (Sealer::new().unwrap(), sessions(10, 10));
    let bobs = sessions.open(&bob, &sealer, Timestamp(0), Declared::default(), home()).unwrap();
    let busy = sessions.open(&alice, &sealer, Timestamp(1), Declared::default(), home()).unwrap();
    let _busy = busy.begin(&Id::number(1), Targets::default()).unwrap();
    let older = sessions.open(&alice, &sealer, Timestamp(2), Declared::default(), home()).unwrap();
    let _younger = sessions.open(&alice, &sealer, Timestamp(3), Declared::default(), home()).unwrap();
    let newest = sessions.open(&alice, &sealer, Timestamp(4), Declared::default(), home()).unwrap();
    let now = Timestamp(60_003);
    assert_eq!(
        sessions.end_longest_idle(newest.key, Timestamp(60_001)),
        None,
        "nobody is pushed out between two calls"
    );
    assert_eq!(sessions.end_longest_idle(newest.key, now).unwrap().0, older.key);
    assert!(sessions.find(&bob, &sealer, &bobs.sealed, Timestamp(5), "/mcp").is_ok());
    assert!(sessions.end_longest_idle(newest.key, now).is_some());
    assert!(sessions.end_longest_idle(newest.key, now).is_none(), "busy ones stay");
}
