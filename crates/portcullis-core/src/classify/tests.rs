use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::Direction;

const MODERN: &str = "2026-07-28";

fn read(text: &str) -> Message {
    Message::read(Bytes::copy_from_slice(text.as_bytes()), Direction::ToServer, &Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A request with these members in `_meta`, and other params before it.
fn request(method: &str, params: &str, meta: &str) -> Message {
    read(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}"_meta":{{{meta}}}}}}}"#))
}

fn call(meta: &str) -> Message {
    request("tools/call", r#""name":"t","arguments":{},"#, meta)
}

fn version_meta(version: &str) -> String {
    format!(r#""io.modelcontextprotocol/protocolVersion":{version}"#)
}

fn full_meta(version: &str) -> String {
    format!(r#"{},"io.modelcontextprotocol/clientCapabilities":{{}}"#, version_meta(&format!("\"{version}\"")))
}

fn sort(headers: &[&str], message: &Message) -> Result<Version, Violation> {
    let evidence = Evidence { version_headers: headers, message, session: None, session_presented: false };
    classify(&evidence).map(|classified| classified.version)
}

fn sort_in(session: Version, headers: &[&str], message: &Message) -> Result<Version, Violation> {
    let evidence = Evidence { version_headers: headers, message, session: Some(session), session_presented: true };
    classify(&evidence).map(|classified| classified.version)
}

fn sort_in_lost_session(headers: &[&str], message: &Message) -> Result<Version, Violation> {
    let evidence = Evidence { version_headers: headers, message, session: None, session_presented: true };
    classify(&evidence).map(|classified| classified.version)
}

fn strips(headers: &[&str], message: &Message) -> bool {
    let evidence = Evidence { version_headers: headers, message, session: None, session_presented: false };
    classify(&evidence).unwrap().strip_reserved
}

fn missing() -> Violation {
    Violation::HeaderMissing { header: VERSION_HEADER.into() }
}

fn repeated() -> Violation {
    Violation::HeaderRepeated { header: VERSION_HEADER }
}

fn unsupported(version: &str) -> Violation {
    Violation::VersionUnsupported { requested: version.to_owned() }
}

#[test]
fn c30_two_version_headers_are_refused_even_when_they_agree() {
    assert_eq!(sort(&[MODERN, MODERN], &call(&full_meta(MODERN))), Err(repeated()));
    assert_eq!(sort(&["2025-11-25", "2025-11-25"], &call("")), Err(repeated()));
}

#[test]
fn c22_1_a_modern_header_makes_every_method_modern() {
    for method in ["tools/list", "initialize", "ping", "logging/setLevel", "something/else"] {
        let message = request(method, "", &full_meta(MODERN));
        assert_eq!(sort(&[MODERN], &message), Ok(Version::V2026_07_28), "{method}");
    }
}

#[test]
fn c22_1_a_later_date_is_modern_too_and_unsupported() {
    assert_eq!(sort(&["2027-01-01"], &call(&full_meta("2027-01-01"))), Err(unsupported("2027-01-01")));
    assert_eq!(sort(&["2027-01-01"], &call("")), Err(Violation::MetaMissing { key: META_VERSION }));
}

#[test]
fn c22b_a_modern_message_never_sees_its_session() {
    let message = call(&full_meta(MODERN));
    assert_eq!(sort_in(Version::V2025_11_25, &[MODERN], &message), Ok(Version::V2026_07_28));
    assert_eq!(sort_in_lost_session(&[MODERN], &message), Ok(Version::V2026_07_28));
    assert!(!heeds_session(&[MODERN]));
    assert!(!heeds_session(&["2031-01-01"]));
    assert!(heeds_session(&["2025-11-25"]));
    assert!(heeds_session(&[]));
}

#[test]
fn c22_2_a_legacy_header_without_a_version_in_the_body_is_legacy() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        assert_eq!(sort(&[version], &call("")), Ok(Version::parse(version).unwrap()));
    }
}

#[test]
fn c22a_reserved_members_without_a_version_do_not_make_a_message_modern() {
    let message = call(r#""io.modelcontextprotocol/clientInfo":{},"io.modelcontextprotocol/clientCapabilities":{}"#);
    assert_eq!(sort(&["2025-11-25"], &message), Ok(Version::V2025_11_25));
    assert_eq!(sort(&[], &message), Ok(Version::ASSUMED));
    assert!(strips(&["2025-11-25"], &message));
}

#[test]
fn c22_2_a_legacy_header_against_another_version_in_the_body_is_refused() {
    assert_eq!(sort(&["2025-11-25"], &call(&full_meta(MODERN))), Err(mismatch()));
    assert_eq!(sort(&["2025-11-25"], &call(&full_meta("2025-06-18"))), Err(mismatch()));
    assert_eq!(sort(&["2025-11-25"], &call(&version_meta("null"))), Err(mismatch()));
    assert_eq!(sort(&["2025-11-25"], &request("initialize", "", &full_meta(MODERN))), Err(mismatch()));
}

#[test]
fn c22_2_inside_a_session_the_version_in_the_body_is_ignored_and_stripped() {
    let message = call(&full_meta(MODERN));
    assert_eq!(sort_in(Version::V2025_11_25, &["2025-11-25"], &message), Ok(Version::V2025_11_25));
    let evidence = Evidence {
        version_headers: &["2025-11-25"],
        message: &message,
        session: Some(Version::V2025_11_25),
        session_presented: true,
    };
    assert!(classify(&evidence).unwrap().strip_reserved);
}

#[test]
fn c22_2_a_legacy_header_that_equals_the_body_is_legacy_and_stripped() {
    let message = call(&full_meta("2025-11-25"));
    assert_eq!(sort(&["2025-11-25"], &message), Ok(Version::V2025_11_25));
    assert!(strips(&["2025-11-25"], &message));
}

#[test]
fn c22_2_only_the_four_reserved_members_are_stripped() {
    let message = call(
        r#""io.modelcontextprotocol/related-task":{"taskId":"x"},"io.modelcontextprotocol/logLevel":"info","progressToken":1,"io.modelcontextprotocol/clientInfo":{}"#,
    );
    let bare = without_reserved(&message, &Limits::default()).unwrap();
    let kept = call(r#""io.modelcontextprotocol/related-task":{"taskId":"x"},"progressToken":1"#);
    assert_eq!(bare.bytes(), kept.bytes());
    assert!(strips(&[], &message));
    assert!(!strips(&[], &kept));
}

#[test]
fn a_message_without_reserved_members_keeps_its_bytes() {
    let message = call(r#""progressToken":1"#);
    assert_eq!(without_reserved(&message, &Limits::default()).unwrap().bytes(), message.bytes());
}

#[test]
fn c22_3_a_version_in_the_body_demands_the_header() {
    for value in [r#""2026-07-28""#, r#""2025-11-25""#, r#""2031-01-01""#, "null", "7"] {
        let message = call(&version_meta(value));
        assert_eq!(sort(&[], &message), Err(missing()), "{value}");
        assert_eq!(sort_in(Version::V2025_11_25, &[], &message), Err(missing()), "{value}");
    }
}

#[test]
fn a29_neither_header_nor_session_means_2025_03_26() {
    assert_eq!(sort(&[], &call("")), Ok(Version::V2025_03_26));
}

#[test]
fn c22_3_without_a_header_the_session_tells_the_version() {
    assert_eq!(sort_in(Version::V2025_06_18, &[], &call("")), Ok(Version::V2025_06_18));
}

#[test]
fn a_header_that_is_not_what_the_session_negotiated_is_refused() {
    let refused = Err(Violation::VersionNotNegotiated);
    assert_eq!(sort_in(Version::V2025_06_18, &["2025-11-25"], &call("")), refused);
    assert_eq!(sort_in(Version::V2025_06_18, &["2025-06-18"], &call("")), Ok(Version::V2025_06_18));
}

#[test]
fn a24_an_unknown_session_is_not_found_whatever_the_body_says() {
    let lost = Err(Violation::SessionUnknown);
    assert_eq!(sort_in_lost_session(&[], &call("")), lost);
    assert_eq!(sort_in_lost_session(&["2025-11-25"], &call("")), lost);
    assert_eq!(sort_in_lost_session(&["2025-11-25"], &call(&full_meta(MODERN))), lost);
}

#[test]
fn c22_4_header_and_body_must_agree() {
    assert_eq!(sort(&[MODERN], &call(&full_meta("2025-11-25"))), Err(mismatch()));
    assert_eq!(sort(&[MODERN], &call(&full_meta("2027-01-01"))), Err(mismatch()));
    assert_eq!(sort(&[MODERN], &call(&full_meta("2026-07-28 "))), Err(mismatch()));
}

#[test]
fn c14_a_modern_request_needs_version_and_capabilities_in_meta() {
    let lacks = |key| Err(Violation::MetaMissing { key });
    assert_eq!(sort(&[MODERN], &call("")), lacks(META_VERSION));
    let bare = read(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(sort(&[MODERN], &bare), lacks(META_VERSION));
    assert_eq!(sort(&[MODERN], &call(&version_meta("20260728"))), lacks(META_VERSION));
    let capless = version_meta(r#""2026-07-28""#);
    assert_eq!(sort(&[MODERN], &call(&capless)), lacks(META_CAPABILITIES));
    for wrong in ["null", "[]", "\"{}\"", "true"] {
        let message = call(&format!(r#"{capless},"io.modelcontextprotocol/clientCapabilities":{wrong}"#));
        assert_eq!(sort(&[MODERN], &message), lacks(META_CAPABILITIES), "{wrong}");
    }
}

#[test]
fn c15_client_info_is_not_required() {
    assert_eq!(sort(&[MODERN], &call(&full_meta(MODERN))), Ok(Version::V2026_07_28));
}

#[test]
fn c22_4_missing_members_are_named_before_an_unsupported_version() {
    let message = call(&version_meta(r#""2027-01-01""#));
    assert_eq!(sort(&["2027-01-01"], &message), Err(Violation::MetaMissing { key: META_CAPABILITIES }));
}

#[test]
fn a_modern_message_is_forwarded_with_its_reserved_members() {
    assert!(!strips(&[MODERN], &call(&full_meta(MODERN))));
}

/// C18; the second name is the one the conformance suite uses.
#[test]
fn c22_5_an_unknown_version_that_header_and_body_share_is_unsupported() {
    for version in ["2025-12-01", "v999.0.0", "draft", "2026-7-28", "2026-07-28-rc1"] {
        assert_eq!(sort(&[version], &call(&full_meta(version))), Err(unsupported(version)));
    }
}

#[test]
fn a30_an_unknown_version_in_the_header_alone_is_a_bad_request() {
    for version in ["", "2025-12-01", "v999.0.0", "2025-11-25,2025-11-25", "latest"] {
        assert_eq!(sort(&[version], &call("")), Err(Violation::VersionHeaderUnknown), "{version}");
        assert_eq!(sort_in(Version::V2025_11_25, &[version], &call("")), Err(Violation::VersionHeaderUnknown));
    }
}

#[test]
fn c22_5_an_unknown_version_against_another_in_the_body_is_a_mismatch() {
    assert_eq!(sort(&["v999"], &call(&full_meta(MODERN))), Err(mismatch()));
}

#[test]
fn a31_initialize_speaks_the_legacy_version_it_offers() {
    let offer = |version: &str| request("initialize", &format!(r#""protocolVersion":"{version}","#), "");
    assert_eq!(sort(&[], &offer("2025-06-18")), Ok(Version::V2025_06_18));
    assert_eq!(sort(&[], &offer("2024-11-05")), Ok(Version::V2024_11_05));
    for other in [MODERN, "2019-01-01", "x"] {
        assert_eq!(sort(&[], &offer(other)), Ok(Version::LATEST_LEGACY), "{other}");
    }
    let silent = read(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
    assert_eq!(sort(&[], &silent), Ok(Version::LATEST_LEGACY));
}

#[test]
fn a_legacy_header_on_initialize_is_tolerated() {
    let message = request("initialize", r#""protocolVersion":"2025-11-25","#, "");
    assert_eq!(sort(&["2025-06-18"], &message), Ok(Version::V2025_11_25));
    assert_eq!(sort_in_lost_session(&["2025-06-18"], &message), Ok(Version::V2025_11_25));
}

#[test]
fn c3_modern_clients_never_answer() {
    let result = read(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let error = read(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#);
    assert_eq!(sort(&[MODERN], &result), Err(Violation::ResponseInModern));
    assert_eq!(sort(&[MODERN], &error), Err(Violation::ResponseInModern));
    assert_eq!(sort(&["2025-11-25"], &result), Ok(Version::V2025_11_25));
}

#[test]
fn meta_of_a_legacy_response_says_nothing_about_its_era() {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"_meta":{{{}}}}}}}"#, full_meta(MODERN));
    assert_eq!(sort(&["2025-11-25"], &read(&text)), Ok(Version::V2025_11_25));
    assert!(!strips(&["2025-11-25"], &read(&text)));
}

#[test]
fn l2_a_modern_notification_needs_the_header_and_no_meta() {
    let bare = read(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert_eq!(sort(&[MODERN], &bare), Ok(Version::V2026_07_28));
    assert_eq!(sort(&["2027-01-01"], &bare), Err(unsupported("2027-01-01")));
    let with = |version: &str| {
        let meta = full_meta(version);
        read(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{"_meta":{{{meta}}}}}}}"#))
    };
    assert_eq!(sort(&[MODERN], &with(MODERN)), Ok(Version::V2026_07_28));
    assert_eq!(sort(&[MODERN], &with("2025-11-25")), Err(mismatch()));
    assert_eq!(sort(&[], &with(MODERN)), Err(missing()));
}

#[test]
fn a_stream_or_close_takes_the_header_or_the_sessions_version() {
    let sort = classify_sessionless_stream;
    assert_eq!(sort(&[], None), Ok(Version::ASSUMED));
    assert_eq!(sort(&[], Some(Version::V2025_11_25)), Ok(Version::V2025_11_25));
    assert_eq!(sort(&["2025-11-25"], Some(Version::V2025_11_25)), Ok(Version::V2025_11_25));
    assert_eq!(sort(&["2025-06-18"], Some(Version::V2025_11_25)), Err(Violation::VersionNotNegotiated));
    assert_eq!(sort(&["nonsense"], None), Err(Violation::VersionHeaderUnknown));
    assert_eq!(sort(&["2025-11-25", "2025-11-25"], None), Err(repeated()));
}

#[test]
fn c1_a_modern_stream_or_close_is_not_allowed() {
    for version in [MODERN, "2027-01-01"] {
        let refused = classify_sessionless_stream(&[version], Some(Version::V2025_11_25));
        assert_eq!(refused, Err(Violation::MethodNotAllowed { allow: "POST" }));
    }
}

#[test]
fn a7_batches_exist_in_2025_03_26_only() {
    assert!(allows_batch(&[], None));
    assert!(allows_batch(&["2025-03-26"], None));
    assert!(allows_batch(&[], Some(Version::V2025_03_26)));
    assert!(!allows_batch(&[], Some(Version::V2025_06_18)));
    assert!(!allows_batch(&["2025-03-26"], Some(Version::V2025_06_18)));
    for version in ["2024-11-05", "2025-06-18", "2025-11-25", MODERN, "2027-01-01", "x"] {
        assert!(!allows_batch(&[version], None), "{version}");
    }
    assert!(!allows_batch(&["2025-03-26", "2025-03-26"], None));
}

#[test]
fn c20_legacy_methods_do_not_exist_in_the_modern_era() {
    for method in ["initialize", "ping", "logging/setLevel", "tasks/list", "sampling/createMessage", "roots/list"] {
        let message = request(method, "", "");
        assert!(!method_exists(Version::V2026_07_28, &message), "{method}");
        assert!(method_exists(Version::V2025_11_25, &message), "{method}");
    }
    for method in ["resources/subscribe", "resources/unsubscribe"] {
        assert!(!method_exists(Version::V2026_07_28, &request(method, r#""uri":"a:b","#, "")), "{method}");
    }
    assert!(method_exists(Version::V2026_07_28, &call("")));
}

#[test]
fn methods_of_neither_era_and_modern_methods_under_legacy_pass_to_policy() {
    for method in ["vendor/method", "server/discover", "subscriptions/listen"] {
        assert!(method_exists(Version::V2025_11_25, &request(method, "", "")), "{method}");
        assert!(method_exists(Version::V2026_07_28, &request(method, "", "")), "{method}");
    }
}

/// C23 over everything a header, a body and a session can say.
fn anything() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("2024-11-05".to_owned()),
        Just("2025-03-26".to_owned()),
        Just("2025-11-25".to_owned()),
        Just(MODERN.to_owned()),
        Just("2027-01-01".to_owned()),
        Just("v999".to_owned()),
        "[ -!#-\\[\\]-~]{0,12}",
    ]
}

proptest! {
    #[test]
    fn c23_no_message_is_classified_against_what_its_body_says(
        header in proptest::option::of(anything()),
        body in proptest::option::of(anything()),
        session in proptest::option::of(0_usize..4),
        presented in any::<bool>(),
    ) {
        let meta = body.as_deref().map(full_meta).unwrap_or_default();
        let message = call(&meta);
        let headers: Vec<&str> = header.as_deref().into_iter().collect();
        let session = session.map(|index| Version::ALL[index]);
        let evidence = Evidence {
            version_headers: &headers,
            message: &message,
            session,
            session_presented: presented || session.is_some(),
        };
        let Ok(classified) = classify(&evidence) else { return Ok(()) };
        match classified.version.era() {
            Era::Modern => {
                prop_assert_eq!(header.as_deref(), Some(MODERN));
                prop_assert_eq!(body.as_deref(), Some(MODERN));
            }
            Era::Legacy => {
                prop_assert_ne!(header.as_deref(), Some(MODERN));
                let bare = if classified.strip_reserved {
                    without_reserved(&message, &Limits::default()).unwrap()
                } else {
                    message.clone()
                };
                prop_assert!(RESERVED_META.iter().all(|key| bare.meta(key).is_none()));
                if let (Some(body), None) = (&body, session) {
                    prop_assert_eq!(Some(body), header.as_ref());
                }
            }
        }
    }
}
