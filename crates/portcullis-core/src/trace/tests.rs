use ::bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::Direction;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "00f067aa0ba902b7";
const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-00";
const FRESH_TRACE: [u8; 16] = [0xAB; 16];
const FRESH_SPAN: [u8; 8] = [0xCD; 8];
const HOP: &str = "00-0af7651916cd43dd8448eb211c80319c-cdcdcdcdcdcdcdcd-01";

fn read(text: &str) -> Message {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), Direction::ToServer, &Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn with_meta(meta: &str) -> Message {
    read(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{{meta}}}}}}}"#))
}

fn traced(traceparents: &[&str], tracestates: &[&str], message: Option<&Message>) -> TraceContext {
    TraceContext::from_request(traceparents, tracestates, message, FRESH_TRACE, FRESH_SPAN)
}

fn state_of(tracestates: &[&str]) -> Option<String> {
    traced(&[GOOD], tracestates, None).state
}

fn spliced(message: &Message, trace: &TraceContext) -> String {
    let message = splice(message.clone(), trace, &Limits::default()).unwrap();
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

#[test]
fn a_valid_traceparent_is_continued_by_this_hop() {
    let trace = traced(&[GOOD], &[], None);
    assert!(trace.given);
    assert_eq!(trace.trace_id_hex(), TRACE);
    assert_eq!(trace.parent_hex().as_deref(), Some(SPAN));
    assert_eq!(trace.span_hex(), "cdcdcdcdcdcdcdcd");
    assert_eq!(trace.traceparent(), HOP);
}

#[test]
fn without_a_traceparent_a_fresh_trace_begins() {
    let trace = traced(&[], &["a=1"], None);
    assert!(!trace.given);
    assert_eq!((trace.trace_id, trace.span, trace.parent, trace.state), (FRESH_TRACE, FRESH_SPAN, None, None));
    assert_eq!(trace.flags, SAMPLED | RANDOM);
}

#[test]
fn a_malformed_traceparent_counts_as_absent() {
    let upper = GOOD.to_uppercase();
    let long = format!("{GOOD}-00");
    let trailing_dash = format!("{GOOD}-");
    for bad in [
        "",
        "00",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-1",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-0g",
        "0-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c1-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b-01",
        "00_0af7651916cd43dd8448eb211c80319c_00f067aa0ba902b7_01",
        "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01 x",
        "00-0af7651916cd43dd8448eb211c8031é-00f067aa0ba902b7-01",
        &upper,
        &long,
        &trailing_dash,
    ] {
        assert!(!traced(&[bad], &[], None).given, "{bad}");
    }
}

#[test]
fn all_zero_ids_are_invalid() {
    assert!(!traced(&["00-00000000000000000000000000000000-00f067aa0ba902b7-01"], &[], None).given);
    assert!(!traced(&["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"], &[], None).given);
}

#[test]
fn of_later_versions_only_the_known_fields_are_read() {
    let ids = format!("{TRACE}-{SPAN}");
    assert_eq!(traced(&[&format!("cc-{ids}-ff")], &[], None).traceparent(), HOP);
    assert_eq!(traced(&[&format!("01-{ids}-01-what-comes-next")], &[], None).traceparent(), HOP);
    assert!(!traced(&[&format!("cc-{ids}-01.what")], &[], None).given);
    assert!(!traced(&[&format!("cc-{ids}-011")], &[], None).given);
    assert!(!traced(&[&format!("ff-{ids}-01")], &[], None).given);
}

#[test]
fn unknown_flags_are_cleared_and_the_random_flag_is_kept() {
    let flags = |flags: &str| traced(&[&format!("00-{TRACE}-{SPAN}-{flags}")], &[], None).flags;
    assert_eq!(flags("00"), 0);
    assert_eq!(flags("ff"), SAMPLED | RANDOM);
    assert_eq!(flags("02"), RANDOM);
    assert_eq!(flags("fc"), 0);
}

#[test]
fn outer_white_space_of_the_header_is_no_part_of_it() {
    assert!(traced(&[&format!(" \t{GOOD} ")], &[], None).given);
}

#[test]
fn two_traceparent_headers_are_none() {
    assert!(!traced(&[GOOD, GOOD], &[], None).given);
}

#[test]
fn a_foreign_tracestate_is_kept_whole() {
    assert_eq!(
        state_of(&["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"]).as_deref(),
        Some("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
    );
    assert_eq!(state_of(&["a=1", "b=2, c=3"]).as_deref(), Some("a=1,b=2, c=3"));
    assert_eq!(state_of(&["a=1,,b=2,"]).as_deref(), Some("a=1,,b=2,"));
    assert_eq!(state_of(&["1tenant@system=x y", "a_-*/@z=!~"]).as_deref(), Some("1tenant@system=x y,a_-*/@z=!~"));
}

#[test]
fn a_tracestate_that_breaks_a_rule_is_dropped_whole_and_the_parent_kept() {
    let long_key = format!("{}=1", "k".repeat(257));
    let long_value = format!("a={}", "v".repeat(257));
    for bad in [
        "",
        ",",
        " ",
        "a",
        "a=",
        "=1",
        "A=1",
        "_a=1",
        "a b=1",
        "a=1,a=2",
        "a=b=c",
        "a=\u{e9}",
        "a=\u{7f}",
        "a=\t1",
        "a=1;b=2=3",
        &long_key,
        &long_value,
    ] {
        let trace = traced(&[GOOD], &[bad], None);
        assert_eq!(trace.state, None, "{bad:?}");
        assert!(trace.given);
    }
}

#[test]
fn a_tracestate_has_at_most_32_members_and_512_characters() {
    let members = |count: usize| (0..count).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
    assert!(state_of(&[&members(32)]).is_some());
    assert_eq!(state_of(&[&members(33)]), None);
    let sized = |size: usize| format!("a={},b={}", "x".repeat(250), "y".repeat(size - 255));
    assert_eq!(sized(510).len(), 510);
    let exact = format!("{},,", sized(510));
    assert_eq!(state_of(&[&exact]), Some(exact.clone()));
    assert_eq!(state_of(&[&format!("{exact},")]), None);
}

#[test]
fn sep_414_a_context_in_meta_is_read() {
    let message = with_meta(&format!(r#""traceparent":"{GOOD}","tracestate":"a=1","baggage":"k=v""#));
    let trace = traced(&[], &[], Some(&message));
    assert_eq!(trace.traceparent(), HOP);
    assert_eq!(trace.state.as_deref(), Some("a=1"));
}

#[test]
fn sep_414_meta_goes_before_headers_and_brings_its_own_state() {
    let message = with_meta(&format!(r#""traceparent":"{GOOD}""#));
    let trace = traced(&[OTHER], &["a=1"], Some(&message));
    assert_eq!(trace.trace_id_hex(), TRACE);
    assert_eq!(trace.state, None);
}

#[test]
fn sep_414_a_malformed_meta_leaves_the_header_in_force() {
    for bad in [r#""traceparent":"x""#, r#""traceparent":1"#, r#""traceparent":null"#, r#""tracestate":"b=2""#, ""] {
        let trace = traced(&[GOOD], &["a=1"], Some(&with_meta(bad)));
        assert_eq!(trace.traceparent(), HOP, "{bad}");
        assert_eq!(trace.state.as_deref(), Some("a=1"));
    }
}

#[test]
fn sep_414_meta_of_a_response_starts_nothing() {
    let message = read(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"_meta":{{"traceparent":"{GOOD}"}}}}}}"#));
    assert!(!traced(&[], &[], Some(&message)).given);
    assert_eq!(spliced(&message, &traced(&[GOOD], &[], None)).as_bytes(), message.bytes());
}

#[test]
fn an_untraced_message_keeps_its_bytes() {
    let message = with_meta(r#" "traceparent" : "nonsense" "#);
    assert_eq!(spliced(&message, &traced(&[], &[], Some(&message))).as_bytes(), message.bytes());
}

#[test]
fn a_traced_message_carries_this_hop_and_all_else_as_it_was() {
    let message =
        with_meta(&format!(r#""progressToken" : 7, "traceparent":"{GOOD}","tracestate":"a=1","baggage":"k=v""#));
    let trace = traced(&[], &[], Some(&message));
    assert_eq!(
        spliced(&message, &trace),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"progressToken" : 7, "traceparent":"{HOP}","tracestate":"a=1","baggage":"k=v"}}}}}}"#
        )
    );
}

#[test]
fn a_context_from_the_header_reaches_a_message_without_params() {
    let message = read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let trace = traced(&[GOOD], &["a=1"], Some(&message));
    let sent = read(&spliced(&message, &trace));
    assert_eq!(sent.meta("traceparent").unwrap().as_str().unwrap(), HOP);
    assert_eq!(sent.meta("tracestate").unwrap().as_str().unwrap(), "a=1");
}

#[test]
fn a_state_that_belongs_to_no_parent_is_not_sent_beside_ours() {
    let message = with_meta(r#""traceparent":"bad","tracestate":"stranger=1","progressToken":1"#);
    let trace = traced(&[GOOD], &[], Some(&message));
    let sent = read(&spliced(&message, &trace));
    assert!(sent.meta("tracestate").is_none());
    assert_eq!(sent.meta("traceparent").unwrap().as_str().unwrap(), HOP);
    assert!(sent.meta("progressToken").is_some());
}

#[test]
fn a_message_that_has_no_room_left_is_refused_by_the_reader() {
    let message = with_meta("");
    let limits = Limits { bytes: message.bytes().len(), ..Limits::default() };
    assert!(splice(message, &traced(&[GOOD], &[], None), &limits).is_err());
}

proptest! {
    #[test]
    fn every_outgoing_traceparent_is_read_back(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), sampled in any::<bool>()) {
        prop_assume!(trace != [0; 16] && span != [0; 8]);
        let sent = TraceContext {
            trace_id: trace, parent: None, span, flags: u8::from(sampled), state: None, given: true,
        };
        let arrived = traced(&[&sent.traceparent()], &[], None);
        prop_assert!(arrived.given);
        prop_assert_eq!((arrived.trace_id, arrived.parent, arrived.flags), (trace, Some(span), u8::from(sampled)));
    }

    #[test]
    fn anything_is_a_context_or_absent(parent in any::<String>(), state in any::<String>()) {
        let trace = traced(&[&parent], &[&state], None);
        prop_assert!(trace.given || trace.trace_id == FRESH_TRACE);
    }

    #[test]
    fn near_misses_never_panic(parent in "[0-9a-f-]{50,60}", state in "([a-z@*=, ]{0,9},?){0,9}") {
        drop(traced(&[&parent], &[&state], None));
    }
}
