//! Parity is a loop, not a checklist: every case of one list is played in every place of the matrix, by a client of either era
//! through the real binary to a real server over every transport. A case is written once; what the eras do differently is the client's business.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::contract_eras as eras;
use crate::contract_versions as versions;
use crate::support::PATIENCE;

mod asks;
mod bridge;
mod broken;
mod calls;
pub(crate) mod client;
pub(crate) mod peer;
pub(crate) mod sessions;
pub(crate) mod stage;
mod streams;
pub(crate) mod wire;

use self::broken::{Broken, Flaw, PROOFS};
use self::client::Era;
use self::stage::{Log, SIDES, Side, Stage, Transport};

/// A name, and what must hold in every place of the matrix.
pub(crate) type Case = (&'static str, fn(&Stage));

/// Names a case as its function is named.
macro_rules! cases {
    ($($module:ident :: { $($case:ident),+ $(,)? }),+ $(,)?) => {
        &[$($((concat!(stringify!($module), "::", stringify!($case)), $module::$case as fn(&Stage))),+),+]
    };
}

pub(crate) use cases;

/// One test for each place of the matrix, so that they run side by side and fail by name.
macro_rules! on_every_side {
    ($play:path) => {
        #[test]
        fn a_legacy_client_of_an_http_server_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[0]);
        }

        #[test]
        fn a_legacy_client_of_a_stdio_server_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[1]);
        }

        #[test]
        fn a_modern_client_of_an_http_server_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[2]);
        }

        #[test]
        fn a_modern_client_of_a_stdio_server_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[3]);
        }

        #[test]
        fn a_legacy_client_of_a_server_on_a_unix_socket_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[4]);
        }

        #[test]
        fn a_modern_client_of_a_server_on_a_unix_socket_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[5]);
        }

        #[test]
        fn a_legacy_client_of_a_websocket_server_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[6]);
        }

        #[test]
        fn a_modern_client_of_a_websocket_server_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[7]);
        }

        #[test]
        fn a_client_of_an_http_sse_server_finds_every_case_kept() {
            $play($crate::contract::stage::SIDES[8]);
        }
    };
}
pub(crate) use on_every_side;

pub(crate) const CASES: &[Case] = cases! {
    calls::{
        the_server_introduces_itself, tools_are_listed_once_and_completely, the_other_lists_come_through, a_tool_is_called,
        a_structured_result_comes_whole, a_tool_error_is_a_result, content_of_every_kind_comes_through, a_large_result_comes_whole,
        a_resource_and_a_template_are_read, a_resource_that_is_not_there_is_an_error, a_prompt_is_got, a_completion_is_offered,
        ping_is_answered, an_unknown_tool_is_an_error_with_the_id, an_unknown_method_is_an_error_with_the_id,
        ids_of_every_kind_come_back, schemas_keep_every_keyword, a_mirrored_argument_reaches_the_server,
        an_answer_that_breaks_its_schema_is_cut, arguments_that_break_their_schema_are_refused, a_task_is_made_and_polled_to_its_end,
    },
    streams::{
        progress_arrives_when_it_happens, progress_tokens_keep_their_type, log_messages_arrive_once_and_in_order,
        a_cancelled_call_ends_at_the_server, a_closed_legacy_stream_cancels_nothing, a_watched_resource_says_that_it_changed,
        changed_lists_are_announced, two_calls_at_once_do_not_mix, clients_with_equal_ids_do_not_hear_each_other,
        subscriptions_of_two_clients_do_not_mix, a_flood_arrives_whole_and_in_order, a_standing_stream_can_be_opened_again,
        an_unwatched_resource_says_nothing_more, a_closed_subscription_is_closed_at_the_server,
    },
    asks::{
        sampling_goes_to_the_client_and_back, elicitation_goes_to_the_client_and_back, a_page_to_open_is_asked_for_by_its_address,
        a_declined_question_reaches_the_server, roots_go_to_the_server, rounds_keep_the_servers_state,
        altered_state_is_refused_by_the_server, a_prompt_that_asks_gets_its_answer, answers_reach_the_call_that_asked,
    },
    sessions::{
        a_closed_session_is_gone_on_both_sides, each_side_has_a_session_of_its_own, a_closed_session_closes_its_streams, sessions_end_alone, a_modern_request_has_no_session,
    },
    eras::{ a_client_of_the_other_era_is_told_which_versions_would_work },
    versions::{ every_legacy_revision_is_negotiated_and_served, unknown_and_modern_revisions_are_negotiated_down },
};

on_every_side!(whole);

fn whole(side: Side) {
    play(Stage::new(side), CASES);
}

/// The tests of [`on_every_side`] are the whole matrix.
#[test]
fn no_place_of_the_matrix_is_left_out() {
    for era in [Era::Legacy, Era::Modern] {
        for transport in
            [Transport::Http, Transport::Stdio, Transport::UnixSocket, Transport::WebSocket, Transport::HttpSse]
        {
            // The transport of 2024-11-05 is older than the modern era.
            let places = usize::from(transport != Transport::HttpSse || era == Era::Legacy);
            assert_eq!(SIDES.iter().filter(|side| side.era == era && side.transport == transport).count(), places);
        }
    }
}

/// All cases on one stage; every failure is told, not only the first. `CONTRACT_CASE` picks the cases whose name contains it.
pub(crate) fn play(stage: Stage, cases: &[Case]) -> Log {
    let side = stage.side;
    let picked = std::env::var("CONTRACT_CASE").unwrap_or_default();
    let mut failed = Vec::new();
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(&picked)) {
        let begun = Instant::now();
        if fails(&stage, *case) {
            failed.push(*name);
        }
        eprintln!("{side:?} {name}: {} ms", begun.elapsed().as_millis());
    }
    let log = stage.finish();
    assert!(log.entries.len() > cases.len() || !picked.is_empty(), "every case leaves entries");
    assert!(failed.is_empty(), "{side:?}: {} cases failed: {failed:#?}", failed.len());
    log
}

fn fails(stage: &Stage, case: fn(&Stage)) -> bool {
    catch_unwind(AssertUnwindSafe(|| case(stage))).is_err()
}

/// A case that cannot fail checks nothing. Each is played before a proxy that changes nothing, and before one that breaks its rule.
#[test]
fn every_contract_case_fails_against_a_gateway_that_breaks_its_rule() {
    for (name, _) in CASES {
        assert!(PROOFS.iter().any(|(proven, ..)| proven == name), "{name} is not proven to fail");
    }
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let eras = [Era::Legacy, Era::Modern].map(|era| scope.spawn(move || disproved(era)));
        eras.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Cases of an era that fail before a proxy without a flaw, or do not fail before one with theirs.
fn disproved(era: Era) -> Vec<String> {
    let side = SIDES.into_iter().find(|side| side.era == era && side.transport == Transport::Http).unwrap();
    let mut stage = Stage::new(side);
    let proxy = Broken::before(stage.address);
    stage.address = proxy.address;
    let mut wrong = Vec::new();
    for (name, _, flaw) in PROOFS.iter().filter(|(_, proven, _)| *proven == era) {
        let (_, case) = CASES.iter().find(|(case, _)| case == name).unwrap_or_else(|| panic!("no case {name}"));
        for flaw in [Flaw::None, *flaw] {
            let begun = Instant::now();
            proxy.set(flaw);
            HURRY.set(flaw.is_silent().then_some(BRIEF));
            let failed = fails(&stage, *case);
            eprintln!("{era:?} {name} {flaw:?}: {} ms", begun.elapsed().as_millis());
            if failed != (flaw != Flaw::None) {
                wrong.push(format!("{name} {} {flaw:?}", if failed { "fails before" } else { "is content with" }));
            }
        }
    }
    wrong
}

/// How long a case waits for what a flaw keeps from it: many times what an honest gateway takes.
const BRIEF: Duration = Duration::from_millis(700);

thread_local! {
    static HURRY: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// How long this thread waits for anything.
pub(crate) fn patience() -> Duration {
    HURRY.get().unwrap_or(PATIENCE)
}

/// The same for each of several, side by side: most of it is waiting.
pub(crate) fn each<T: Copy + Send>(all: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let check = &check;
    std::thread::scope(|scope| {
        for one in all {
            scope.spawn(move || check(one));
        }
    });
}

/// Asks again until there is an answer; far too long is a failure, nothing else depends on time.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
