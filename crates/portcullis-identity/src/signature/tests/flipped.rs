//! Whatever is changed after signing, the request is refused.

use http::HeaderValue;
use proptest::prelude::*;

use super::{Request, signer, verify};

/// Another visible character in place of one of `text`.
fn flip(text: &str, at: prop::sample::Index, with: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.index(bytes.len());
    bytes[at] = if bytes[at] == with { with ^ 1 } else { with };
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #[test]
    fn any_flipped_bit_of_the_body_is_found(at: prop::sample::Index, bit in 0_u32..8) {
        let mut request = Request::new().sign(&signer());
        let at = at.index(request.body.len());
        request.body[at] ^= 1 << bit;
        prop_assert!(verify(&request).is_err());
    }

    #[test]
    fn any_changed_character_of_method_or_address_is_found(at: prop::sample::Index, with in b'#'..b'}', method: bool) {
        let mut request = Request::new().sign(&signer());
        let part = if method { &mut request.method } else { &mut request.target };
        *part = flip(part, at, with);
        prop_assert!(verify(&request).is_err());
    }

    #[test]
    fn any_changed_character_of_a_covered_header_or_of_the_signature_is_found(
        at: prop::sample::Index,
        with in b'#'..b'}',
        which in prop::sample::select(vec![
            "content-digest", "mcp-protocol-version", "mcp-session-id", "signature-input", "signature",
        ]),
    ) {
        let mut request = Request::new().sign(&signer());
        let value = flip(&request.get(which), at, with);
        request.headers.insert(which, HeaderValue::from_str(&value).unwrap());
        prop_assert!(verify(&request).is_err(), "{}: {}", which, value);
    }

    #[test]
    fn nothing_that_arrives_makes_the_reader_panic(input in "\\PC{0,80}", signature in "[ -~]{0,80}") {
        let mut request = Request::new();
        for (name, value) in [("signature-input", &input), ("signature", &signature)] {
            let Ok(value) = HeaderValue::from_str(value) else { return Ok(()) };
            request.headers.insert(name, value);
        }
        prop_assert!(verify(&request).is_err());
    }
}
