//! Keys that are for one session.

use portcullis_core::memory::Embedded;
use portcullis_core::refusal::ProofFailure;

use super::{ALL, GOOD, NOW, PUBLIC, Request, trusted, verify_at};
use crate::signature::{Execution, Scope, SignatureSettings, SignatureVerifier};

fn verifier() -> SignatureVerifier {
    let mut signer = trusted("ci", PUBLIC);
    (signer.scope, signer.execution) = (Scope::Session, Execution::Ephemeral);
    SignatureVerifier::new(&SignatureSettings { signers: vec![signer], ..SignatureSettings::default() }).unwrap()
}

fn request(session: Option<&str>, nonce: &str) -> Request {
    let mut request = Request { session: session.map(str::to_owned), ..Request::new() };
    match session {
        Some(session) => request.set("mcp-session-id", session),
        None => drop(request.headers.remove("mcp-session-id")),
    }
    let components: Vec<_> = ALL.into_iter().filter(|name| session.is_some() || *name != "mcp-session-id").collect();
    request.sign_as(&components, &GOOD.replace("n-1", nonce))
}

#[test]
fn a_key_of_one_session_opens_it_and_signs_for_no_other() {
    let (verifier, memory) = (verifier(), Embedded::new(10));
    let verify = |session, nonce| verify_at(&verifier, &request(session, nonce), NOW, &memory);
    let opening = verify(None, "1").unwrap().unwrap();
    assert!(opening.session_scoped && opening.ephemeral);
    assert!(verify(None, "2").unwrap().is_some(), "opening is tried again");
    assert!(verify(Some("s-1"), "3").unwrap().is_some(), "the first session is its session");
    assert!(verify(Some("s-1"), "4").unwrap().is_some());
    assert_eq!(verify(Some("s-2"), "5"), Err(ProofFailure::SignatureKey));
    assert_eq!(verify(None, "6"), Err(ProofFailure::SignatureKey), "and it opens no second one");
    assert!(verify(Some("s-1"), "7").unwrap().is_some(), "what was refused changed nothing");
}

#[test]
fn once_there_is_a_session_its_id_must_be_signed() {
    let (verifier, memory) = (verifier(), Embedded::new(10));
    let mut unnamed = request(None, "1");
    unnamed.session = Some("s-1".into());
    assert_eq!(verify_at(&verifier, &unnamed, NOW, &memory), Err(ProofFailure::SignatureMalformed));
    let mut other = request(Some("s-2"), "2");
    other.session = Some("s-1".into());
    assert_eq!(verify_at(&verifier, &other, NOW, &memory), Err(ProofFailure::SignatureMalformed));
}

#[test]
fn what_is_replayed_or_forged_binds_no_key() {
    let (verifier, memory) = (verifier(), Embedded::new(10));
    let mut forged = request(Some("s-2"), "1");
    forged.method = "DELETE".into();
    assert_eq!(verify_at(&verifier, &forged, NOW, &memory), Err(ProofFailure::SignatureInvalid));
    assert!(verify_at(&verifier, &request(Some("s-1"), "2"), NOW, &memory).unwrap().is_some());
}

#[test]
fn where_the_store_of_sessions_is_full_nobody_can_tell() {
    use futures_util::FutureExt as _;
    use portcullis_core::clock::Timestamp;
    use portcullis_core::memory::Memory as _;
    let (verifier, memory) = (verifier(), Embedded::new(1));
    let later = Timestamp(NOW.0 + 1_000_000);
    let _ = memory.bind("signature_sessions", [0; 32], Some([1; 32]), later, NOW).now_or_never();
    assert_eq!(verify_at(&verifier, &request(Some("s-1"), "1"), NOW, &memory), Err(ProofFailure::ReplayUnknown));
}
