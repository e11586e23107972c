//! Names over 64 characters, which several model providers refuse: their beginning and a digest of the whole. The same name is always
//! shortened to the same, and is found again by shortening what the server offers; nothing is remembered.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::own;

/// Characters of a name that clients see.
const MOST: usize = 64;
/// Bytes of the digest. 6, of SHA-256: a server that tries can make two of its names alike, which harms itself; that two honest ones of
/// 10,000 meet has a chance of one in five million.
const DIGEST: usize = 6;
/// Characters of the name that are left: all but the digest in hexadecimal digits and a `_`.
const KEPT: usize = MOST - 1 - 2 * DIGEST;

/// The name itself when it is short enough.
pub(super) fn shortened(name: &str) -> Cow<'_, str> {
    if !is_long(name) {
        return Cow::Borrowed(name);
    }
    let mut short: String = name.chars().take(KEPT).collect();
    short.push('_');
    let digest = Sha256::digest(name.as_bytes());
    own::push_hex(&mut short, digest.get(..DIGEST).unwrap_or_default());
    Cow::Owned(short)
}

/// Whether `short` is what a longer name is shortened to. Digests only names that begin like it: whoever asks chooses `short`.
pub(super) fn stands_for(short: &str, name: &str) -> bool {
    is_long(name) && begins_alike(short, name) && shortened(name) == short
}

/// Whether what a shortened name kept is the beginning of `name`.
pub(super) fn begins_alike(short: &str, name: &str) -> bool {
    let kept = short.len().checked_sub(1 + 2 * DIGEST).and_then(|end| short.get(..end));
    kept.is_some_and(|kept| name.starts_with(kept))
}

pub(super) fn is_long(name: &str) -> bool {
    // Bytes first: no name has more characters than bytes.
    name.len() > MOST && name.chars().count() > MOST
}

/// Whether a name has the form of a shortened one. Others may have it too.
pub(super) fn may_be_shortened(name: &str) -> bool {
    let tail = name.as_bytes().iter().rev();
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    tail.clone().take(2 * DIGEST).all(is_digit)
        && tail.clone().nth(2 * DIGEST) == Some(&b'_')
        && name.chars().count() == MOST
}
