//! Asking is single flight, also when it fails; the operator's setting is never overridden.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_core::catalogue::Catalogue;
use portcullis_core::refusal::{Fault, FaultKind};
use portcullis_core::version::Era;
use portcullis_core::wire::{Direction, Limits, Message};
use tokio::sync::Notify;

use super::{Admission, CORRECTED_EVERY, Standing};
use crate::probe::Served;
use crate::settings::EraSetting;

fn standing(setting: EraSetting) -> Standing {
    Standing::new(setting, Duration::from_secs(20))
}

#[test]
fn what_was_proven_holds_until_it_is_contradicted_and_never_over_the_operator() {
    let auto = standing(EraSetting::Auto);
    assert!(matches!(auto.admit(Era::Legacy, true), Err(Fault { kind: FaultKind::Unreachable, never_left: true, .. })));
    auto.proven(Served::MODERN);
    assert_eq!(auto.admit(Era::Modern, false), Ok(Admission::Known));
    assert_eq!(auto.admit(Era::Legacy, true), Ok(Admission::Trial));
    assert!(auto.admit(Era::Legacy, false).is_err());
    auto.contradicted(Era::Legacy);
    assert_eq!(auto.served(), Some(Served::MODERN), "nothing was believed of that era");
    auto.contradicted(Era::Modern);
    assert_eq!(auto.served(), None);
    let set = standing(EraSetting::Legacy);
    set.proven(Served::MODERN);
    set.contradicted(Era::Legacy);
    assert!(set.admit(Era::Modern, false).is_err());
    assert_eq!(set.served(), Some(Served::LEGACY));
}

#[tokio::test]
async fn those_who_wait_for_a_failing_contact_share_its_failure() {
    let (standing, begun, go) = (standing(EraSetting::Auto), Notify::new(), Notify::new());
    let contacts = AtomicU32::new(0);
    let contact = || async {
        contacts.fetch_add(1, Ordering::Relaxed);
        begun.notify_one();
        go.notified().await;
        Err::<Catalogue, _>(Fault::new(FaultKind::TimedOut, "x"))
    };
    let know = || standing.know_era(contact);
    let (a, b, c, ()) = tokio::join!(know(), know(), know(), async {
        begun.notified().await;
        go.notify_one();
    });
    assert!(a.is_err() && b.is_err() && c.is_err());
    assert_eq!(contacts.load(Ordering::Relaxed), 1);
    standing.close();
    assert_eq!(standing.refresh(contact).await.unwrap_err().kind, FaultKind::ShuttingDown);
}

#[tokio::test]
async fn stopping_ends_a_contact_under_way() {
    let standing = standing(EraSetting::Auto);
    let (outcome, first) =
        tokio::join!(standing.unless_closing(std::future::pending::<Result<(), Fault>>()), async { standing.close() });
    assert!(first && outcome.unwrap_err().kind == FaultKind::ShuttingDown);
}

#[tokio::test]
async fn tools_that_only_clients_are_shown_are_known_and_stay_known_when_we_ask_again() {
    let read = |text: String| Message::read(text.into(), Direction::ToClient, &Limits::default()).unwrap();
    let list = |tools: &str| read(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}]}}}}"#));
    let own = || {
        let list = list(r#"{"name":"a","description":"ours"}"#);
        Catalogue::from_tools(list.result_member("tools").unwrap().elements()).unwrap()
    };
    let standing = standing(EraSetting::Legacy);
    standing.refresh(|| async { Ok(own()) }).await.unwrap();
    standing.observe(&list(r#"{"name":"a","description":"other"},{"name":"b"}"#));
    let known = |name: &str| standing.catalogue().tool(name).map(|tool| tool.definition.clone());
    assert_eq!(known("a").unwrap(), r#"{"name":"a","description":"ours"}"#, "our own question decides");
    assert_eq!(known("b").unwrap(), r#"{"name":"b"}"#);
    standing.observe(&list(r#"{"name":"b","description":"newer"}"#));
    standing.refresh(|| async { Ok(own()) }).await.unwrap();
    assert_eq!(known("b").unwrap(), r#"{"name":"b","description":"newer"}"#);
    let flood: Vec<String> = (0..20_000).map(|number| format!(r#"{{"name":"t{number}"}}"#)).collect();
    standing.observe(&list(&flood.join(",")));
    assert_eq!(standing.catalogue().tools().len(), super::MOST_OBSERVED + 1);
}

#[tokio::test]
async fn a_list_that_brought_nothing_new_is_looked_at_again_once_our_own_has_changed() {
    let read = |text: String| Message::read(text.into(), Direction::ToClient, &Limits::default()).unwrap();
    let list = |tools: &str| read(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tools}]}}}}"#));
    let own = |tools: &str| Catalogue::from_tools(list(tools).result_member("tools").unwrap().elements()).unwrap();
    let standing = standing(EraSetting::Legacy);
    let both = r#"{"name":"a"},{"name":"b"}"#;
    standing.refresh(|| async { Ok(own(both)) }).await.unwrap();
    for _ in 0..2 {
        standing.observe(&list(both));
    }
    standing.refresh(|| async { Ok(own(r#"{"name":"a"}"#)) }).await.unwrap();
    assert!(standing.catalogue().tool("b").is_none());
    standing.observe(&list(both));
    assert!(standing.catalogue().tool("b").is_some(), "a client was shown it");
}

#[tokio::test(start_paused = true)]
async fn refused_headers_have_the_tools_read_anew_but_not_for_every_refusal_d5() {
    let (standing, contacts) = (standing(EraSetting::Modern), AtomicU32::new(0));
    let contact = || async {
        contacts.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(Catalogue::default())
    };
    let (a, b) = tokio::join!(standing.correct(contact), standing.correct(contact));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(contacts.load(Ordering::Relaxed), 1, "the second waited for the first");
    tokio::time::advance(CORRECTED_EVERY).await;
    standing.correct(contact).await.unwrap();
    assert_eq!(contacts.load(Ordering::Relaxed), 2);
}
