//! The contract once more, over the listeners that are no HTTP: a WebSocket, and `portcullis wrap`. The client of the cases speaks HTTP, so a
//! translator stands between, which does what an HTTP client expects of its transport and changes no message.

mod translator;

use self::translator::{Listener, Translator};
use crate::contract::client::Era;
use crate::contract::stage::{SIDES, Stage, Transport};
use crate::contract::{CASES, Case, play};
use crate::support::Folder;

/// What is about HTTP itself, and so about the translator here: statuses, the version header, `DELETE`, streams that are closed and opened again.
const OF_HTTP: [&str; 11] = [
    "calls::an_unknown_method_is_an_error_with_the_id",
    "versions::every_legacy_revision_is_negotiated_and_served",
    "sessions::a_closed_session_is_gone_on_both_sides",
    "sessions::each_side_has_a_session_of_its_own",
    "sessions::a_closed_session_closes_its_streams",
    "sessions::sessions_end_alone",
    "sessions::a_modern_request_has_no_session",
    "streams::a_standing_stream_can_be_opened_again",
    "streams::an_unwatched_resource_says_nothing_more",
    "eras::a_client_of_the_other_era_is_told_which_versions_would_work",
    "versions::unknown_and_modern_revisions_are_negotiated_down",
];

/// What a gateway is started for with each request of the modern client, which has no session to keep one for. The line behind the pipes is the
/// one behind sockets, where all is played.
const ONCE_STARTED: [&str; 8] = [
    "calls::the_server_introduces_itself",
    "calls::a_tool_is_called",
    "calls::a_large_result_comes_whole",
    "calls::a_mirrored_argument_reaches_the_server",
    "streams::progress_arrives_when_it_happens",
    "streams::a_cancelled_call_ends_at_the_server",
    "streams::a_watched_resource_says_that_it_changed",
    "asks::elicitation_goes_to_the_client_and_back",
];

fn over(listener: Listener, era: Era) {
    let side = SIDES.into_iter().find(|side| side.era == era && side.transport == Transport::Http).unwrap();
    let folder = Folder::new();
    folder.write("sockets.yaml", "websocket: { enabled: true, messages_per_second: 0 }\n");
    let mut stage = Stage::start(side, folder, &["--config", "sockets.yaml"]);
    let translator = Translator::before(stage.address, listener, era);
    stage.address = translator.address;
    let mut cases: Vec<Case> = CASES.iter().filter(|(name, _)| !OF_HTTP.contains(name)).copied().collect();
    assert_eq!(cases.len() + OF_HTTP.len(), CASES.len(), "every exception is a case");
    if matches!((listener, era), (Listener::Wrap, Era::Modern)) {
        cases.retain(|(name, _)| ONCE_STARTED.contains(name));
        assert_eq!(cases.len(), ONCE_STARTED.len(), "each is a case");
    }
    play(stage, &cases);
    assert!(translator.translated() > cases.len(), "the cases went this way");
}

#[test]
fn a_legacy_client_over_a_websocket_finds_every_case_kept() {
    over(Listener::WebSocket, Era::Legacy);
}

#[test]
fn a_modern_client_over_a_websocket_finds_every_case_kept() {
    over(Listener::WebSocket, Era::Modern);
}

#[test]
fn a_legacy_client_that_starts_the_gateway_finds_every_case_kept() {
    over(Listener::Wrap, Era::Legacy);
}

#[test]
fn a_modern_client_that_starts_the_gateway_finds_every_case_kept() {
    over(Listener::Wrap, Era::Modern);
}
