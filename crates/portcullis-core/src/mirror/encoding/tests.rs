use proptest::prelude::*;

use super::*;

fn decoded(value: &str) -> Result<String, BadHeaderValue> {
    decode_value(value.as_bytes()).map(Cow::into_owned)
}

/// The examples of the specification's section "Value Encoding".
#[test]
fn d1_the_specifications_examples_encode_as_it_says() {
    for (value, encoded) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ] {
        assert_eq!(encode_value(value), encoded);
        assert_eq!(decoded(encoded).as_deref(), Ok(value));
    }
}

#[test]
fn d1_only_outer_white_space_and_unsafe_characters_need_encoding() {
    for plain in ["", "a b", "a\tb", "a,b;c=\"d\"", "=?base64?x", "x?=", "=?BASE64?eA==?=", "=?base64?", "~!"] {
        assert_eq!(encode_value(plain), plain);
    }
    for unsafe_value in [" a", "a ", "\ta", "a\t", " ", "a\rb", "a\0b", "\u{7f}", "é", "=?base64?eA==?=", "=?base64?="]
    {
        let encoded = encode_value(unsafe_value);
        assert!(encoded.starts_with(OPEN) && encoded.ends_with(CLOSE), "{unsafe_value:?}");
        assert_eq!(decoded(&encoded).as_deref(), Ok(unsafe_value));
    }
}

#[test]
fn c29_a_value_without_both_exact_marks_is_literal() {
    for literal in
        ["eA==", "=?base64?eA==", "eA==?=", "=?BASE64?eA==?=", "=?Base64?eA==?=", "= ?base64?eA==?=", "?base64?eA==?="]
    {
        assert_eq!(decoded(literal).as_deref(), Ok(literal));
    }
}

#[test]
fn c29_bad_padding_or_alphabet_is_refused() {
    for bad in ["eA", "eA=", "eA===", "e", "e=A=", "eB==", "-_-_", "eA==\t", "e A=", "!!!!", "eA==eA=="] {
        assert_eq!(decoded(&format!("{OPEN}{bad}{CLOSE}")), Err(BadHeaderValue::Base64), "{bad}");
    }
}

#[test]
fn c29_marks_that_share_a_character_are_refused() {
    assert_eq!(decoded("=?base64?="), Err(BadHeaderValue::Base64));
}

#[test]
fn c29_nothing_between_the_marks_is_the_empty_string() {
    assert_eq!(decoded("=?base64??=").as_deref(), Ok(""));
    assert_eq!(decoded("").as_deref(), Ok(""));
}

#[test]
fn c30_decoded_bytes_must_be_utf8() {
    for bytes in [&[0xFF][..], &[0xC0, 0x80], &[0xED, 0xA0, 0x80], b"a\xE4"] {
        let value = format!("{OPEN}{}{CLOSE}", STANDARD.encode(bytes));
        assert_eq!(decoded(&value), Err(BadHeaderValue::NotUtf8));
    }
}

#[test]
fn c31_characters_no_header_has_are_refused() {
    for bad in [&b"a\nb"[..], b"\0", b"\x7F", b"\xC3\xA9", b"\xFF"] {
        assert_eq!(decode_value(bad), Err(BadHeaderValue::Characters));
    }
}

proptest! {
    #[test]
    fn every_string_comes_back(value in any::<String>()) {
        prop_assert_eq!(decoded(&encode_value(&value)), Ok(value));
    }

    #[test]
    fn every_marked_string_comes_back(value in "(=\\?base64\\?)?[ -~\t]{0,9}(\\?=)?") {
        prop_assert_eq!(decoded(&encode_value(&value)), Ok(value));
    }

    #[test]
    fn every_encoded_value_survives_trimming_and_stands_in_a_header(value in any::<String>()) {
        let encoded = encode_value(&value);
        prop_assert_eq!(encoded.trim_matches([' ', '\t']), &*encoded);
        prop_assert!(plain_text(encoded.as_bytes()).is_some());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(value in any::<Vec<u8>>()) {
        drop(decode_value(&value));
    }

    #[test]
    fn no_two_spellings_between_the_marks_say_the_same(payload in "[A-Za-z0-9+/]{0,8}={0,2}") {
        if let Ok(text) = decoded(&format!("{OPEN}{payload}{CLOSE}")) {
            prop_assert_eq!(STANDARD.encode(text), payload);
        }
    }
}
