//! Nonces that the server hands out (RFC 9449 §8), remembered by nobody: each is a slot of time under a key.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::clock::Timestamp;

use crate::Secret;

/// Bytes of a key that is configured. At least 32: as many as the digest has. At most 4,096: a mistaken path should be noticed.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=4096;

pub(super) struct Nonces {
    key: hmac::Key,
    /// Milliseconds.
    slot: u64,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Nonces {
    /// Without a secret, a key of this process alone.
    pub(super) fn new(seconds: u64, secret: Option<&Secret>) -> Result<Self, String> {
        let mut fresh = [0; 32];
        let key = match secret.map(Secret::resolve).transpose()? {
            Some(key) if KEY_BYTES.contains(&key.len()) => hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()),
            Some(key) => return Err(format!("has {} bytes; must have 32 to 4096", key.len())),
            None => {
                rand::fill(&mut fresh).map_err(|_| "no randomness to be had")?;
                hmac::Key::new(hmac::HMAC_SHA256, &fresh)
            }
        };
        Ok(Self { key, slot: seconds.saturating_mul(1000).max(1) })
    }

    pub(super) fn of(&self, now: Timestamp) -> String {
        self.in_slot(now.0 / self.slot)
    }

    /// Of this slot or of the one before, so that a nonce is good for one slot at least.
    pub(super) fn accepts(&self, nonce: &str, now: Timestamp) -> bool {
        let slot = now.0 / self.slot;
        [slot, slot.saturating_sub(1)]
            .into_iter()
            .any(|slot| verify_slices_are_equal(self.in_slot(slot).as_bytes(), nonce.as_bytes()).is_ok())
    }

    fn in_slot(&self, slot: u64) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &slot.to_be_bytes()))
    }
}
