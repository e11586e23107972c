//! `MCP-Transport-Preference`: which transports a client would rather use, first choice first. A wish, so what cannot be read is left out.

use std::sync::Arc;

use http::HeaderMap;

use crate::fields::TRANSPORT_PREFERENCE;

/// Wishes that are read. 8: more than there are transports.
const MOST: usize = 8;
/// Bytes of one. 32: the longest name has fifteen.
const WORD: usize = 32;

/// The words of the header, in lower case, each once.
pub(crate) fn preferred(headers: &HeaderMap) -> Vec<Arc<str>> {
    let mut words: Vec<Arc<str>> = Vec::new();
    let listed = headers.get_all(&TRANSPORT_PREFERENCE).iter().filter_map(|value| value.to_str().ok());
    for word in listed.flat_map(|value| value.split(',')) {
        let word = word.trim_matches([' ', '\t']).to_ascii_lowercase();
        let legible = !word.is_empty() && word.len() <= WORD && word.bytes().all(is_of_a_word);
        if legible && words.len() < MOST && !words.iter().any(|known| **known == *word) {
            words.push(word.into());
        }
    }
    words
}

const fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+')
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{MOST, preferred};

    fn read(values: &[&[u8]]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("mcp-transport-preference", HeaderValue::from_bytes(value).unwrap());
        }
        preferred(&headers).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_can_be_read_is_read_in_order_and_once() {
        assert_eq!(read(&[b"WebSocket, http", b"stdio-2,http"]), ["websocket", "http", "stdio-2"]);
        assert_eq!(read(&[b" , ;q=1, a b, \xff", b"http;q=0.5", b"\xff,http"]), Vec::<String>::new());
        assert_eq!(read(&[b"x/y", &[b'a'; 33], &[b'a'; 32]]), ["a".repeat(32)]);
        let many: Vec<String> = (0..100).map(|n| format!("w{n}")).collect();
        assert_eq!(read(&[many.join(",").as_bytes()]).len(), MOST);
    }
}
