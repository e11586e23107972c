//! The only source of randomness in this crate: the operating system, through aws-lc.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Fills an array with cryptographically secure bytes. `None` only when the operating system has no entropy to give.
pub(crate) fn bytes<const N: usize>() -> Option<[u8; N]> {
    let mut buffer = [0; N];
    SystemRandom::new().fill(&mut buffer).ok()?;
    Some(buffer)
}
