//! The only source of randomness in this crate: the operating system, through aws-lc.

use std::cell::RefCell;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// Bytes fetched at a time for [`id`]. 4096: a call needs 24, and fetching costs about the same for any number.
const SUPPLY: usize = 4096;

thread_local! {
    /// What is left of the last supply stands at its end.
    static SUPPLIES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Fills an array with cryptographically secure bytes. `None` only when the operating system has no entropy to give.
pub(crate) fn bytes<const N: usize>() -> Option<[u8; N]> {
    let mut buffer = [0; N];
    SystemRandom::new().fill(&mut buffer).ok()?;
    Some(buffer)
}

/// The same for ids that must differ but are no secret (traces, spans): from a supply that each thread holds ready. Not for keys, which
/// must not lie about in memory before they are used. `N` is at most 4096.
pub(crate) fn id<const N: usize>() -> Option<[u8; N]> {
    SUPPLIES.with_borrow_mut(|supply| {
        if supply.len() < N {
            supply.resize(SUPPLY, 0);
            if SystemRandom::new().fill(supply).is_err() {
                supply.clear();
            }
        }
        let at = supply.len().checked_sub(N)?;
        let id = supply.get(at..)?.try_into().ok()?;
        supply.truncate(at);
        Some(id)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::id;

    #[test]
    fn ids_differ_over_many_supplies() {
        let ids: HashSet<[u8; 16]> = (0..10_000).map(|_| id::<16>().unwrap()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
