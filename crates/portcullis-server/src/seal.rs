//! Authenticated encryption of the ids a client may hold: sessions and stream events. A sealed id tells nothing, cannot be forged,
//! and opens only for the owner it was sealed for (A22, A27, A18, A19).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::random;

/// Longest sealed id that is looked at; longer ones are refused before any decoding. Unit: characters.
/// Event ids of servers are bounded to 512 bytes, which seal into less than this.
const LONGEST: usize = 1024;

/// Seals and opens ids. The key lives as long as the process, so ids of an earlier run are unknown (404), as A24 wants.
pub(crate) struct Sealer {
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// A sealer with a fresh random key; `None` when there is no entropy.
    pub(crate) fn new() -> Option<Self> {
        let key = random::bytes::<32>()?;
        Some(Self { key: RandomizedNonceKey::new(&AES_256_GCM, &key).ok()? })
    }

    /// Seals `content`, bound to `purpose` and `owner`. Only visible ASCII comes out.
    pub(crate) fn seal(&self, purpose: &str, owner: &str, content: &[u8]) -> Option<String> {
        let mut buffer = content.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(binding(purpose, owner)), &mut buffer).ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut buffer);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`Sealer::seal`] made for the same purpose and owner; `None` for everything else.
    pub(crate) fn open(&self, purpose: &str, owner: &str, sealed: &str) -> Option<Vec<u8>> {
        if sealed.len() > LONGEST {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, content) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(binding(purpose, owner)), content).ok()?;
        Some(opened.to_vec())
    }
}

/// Length-prefixed, so that no pair of purpose and owner reads like another pair.
fn binding(purpose: &str, owner: &str) -> Vec<u8> {
    format!("{}:{purpose}:{owner}", purpose.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::Sealer;

    #[test]
    fn a_sealed_id_opens_only_for_its_owner_and_purpose() {
        let sealer = Sealer::new().unwrap();
        let sealed = sealer.seal("session", "key:alice", b"0123456789abcdef").unwrap();
        assert!(sealed.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "A22: visible ASCII only");
        assert_eq!(sealer.open("session", "key:alice", &sealed).unwrap(), b"0123456789abcdef");
        assert!(sealer.open("session", "key:mallory", &sealed).is_none());
        assert!(sealer.open("event", "key:alice", &sealed).is_none());
        assert!(Sealer::new().unwrap().open("session", "key:alice", &sealed).is_none());
    }

    #[test]
    fn a_forged_cut_or_endless_id_does_not_open() {
        let sealer = Sealer::new().unwrap();
        let sealed = sealer.seal("session", "a", b"content").unwrap();
        for (at, _) in sealed.char_indices() {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            // The last character may carry unused bits; anything that decodes to other bytes must fail.
            if forged != sealed {
                assert_ne!(sealer.open("session", "a", &forged).as_deref(), Some(&b"other"[..]));
            }
            assert!(sealer.open("session", "a", sealed.get(..at).unwrap()).is_none());
        }
        assert!(sealer.open("session", "a", &"A".repeat(4096)).is_none());
        assert!(sealer.open("session", "a", "").is_none());
    }
}
