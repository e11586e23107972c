//! The codes are a contract with whoever reads the log.

use std::collections::HashSet;

use super::*;

fn every_variant() -> Vec<Malformed> {
    use Malformed as M;
    let (at, limit) = (7, 9);
    vec![
        M::TooLarge { limit },
        M::ByteOrderMark,
        M::NotUtf8 { at },
        M::Syntax { at },
        M::TrailingBytes { at },
        M::LoneSurrogate { at },
        M::TooDeep { limit },
        M::TooManyKeys { limit },
        M::TooManyMembers { limit },
        M::DuplicateKey { at },
        M::CaseVariantKey { at },
        M::NotAnObject,
        M::BatchNotAllowed,
        M::BatchEmpty,
        M::BatchTooLong { limit },
        M::BatchRepeatsId,
        M::InitializeInBatch,
        M::WrongJsonRpc,
        M::IdNotStringOrInteger,
        M::IdTooLong { limit },
        M::MethodNotString,
        M::NameTooLong { limit },
        M::MethodInResponse,
        M::BothResultAndError,
        M::NeitherMethodNorResult,
        M::ResponseWithoutId,
        M::ResultNotObject,
        M::ErrorNotObject,
        M::ErrorCodeNotInteger,
        M::ErrorMessageNotString,
        M::RequestWithoutId { method: "tools/call".into() },
        M::NotificationWithId { method: "notifications/progress".into() },
        M::ParamsNotObject,
        M::MetaNotObject,
        M::NameMissing { method: "x".into() },
        M::NameNotString,
        M::ArgumentsNotObject,
        M::ProgressTokenInvalid,
        M::CancelledIdInvalid,
        M::EditRefused,
    ]
}

#[test]
fn every_variant_has_its_own_code_and_all_codes_are_listed() {
    let codes: Vec<_> = every_variant().iter().map(Malformed::code).collect();
    assert_eq!(codes, Malformed::ALL_CODES);
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
    assert!(codes.iter().all(|code| { code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')) }));
}

#[test]
fn public_sentences_are_short_distinct_and_say_the_limit() {
    let sentences: HashSet<_> = every_variant().iter().map(Malformed::public).collect();
    assert_eq!(sentences.len(), every_variant().len());
    assert!(
        sentences
            .iter()
            .all(|sentence| sentence.len() < 80 && !sentence.ends_with('.') && !sentence.contains("tools/call"))
    );
    assert_eq!(Malformed::TooDeep { limit: 64 }.public(), "the message is nested too deeply (limit 64)");
    assert_eq!(Malformed::Syntax { at: 3 }.public(), "the message is not JSON");
    assert_eq!(Malformed::Syntax { at: 3 }.to_string(), "the message is not JSON (byte 3)");
}

#[test]
fn json_rpc_codes_say_how_far_reading_got() {
    assert_eq!(Malformed::Syntax { at: 0 }.rpc_code(), -32700);
    assert_eq!(Malformed::DuplicateKey { at: 0 }.rpc_code(), -32600);
    assert_eq!(Malformed::BatchNotAllowed.rpc_code(), -32600);
    assert_eq!(Malformed::ArgumentsNotObject.rpc_code(), -32602);
}
