//! Randomness from a seed, so that a schedule can be played again. Not for secrets.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to keep gateways out of step.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Different in every process.
    pub(crate) fn from_system() -> Self {
        Self(RandomState::new().hash_one(0_u8))
    }

    pub(crate) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// `period` shortened by up to `percent` of it; never to nothing.
    pub(crate) fn shorten(&mut self, period: Duration, percent: u32) -> Duration {
        let per_mille = u32::try_from(self.roll() % 1_001).unwrap_or_default();
        let less = (period / 100).saturating_mul(percent) / 1_000 * per_mille;
        period.saturating_sub(less).max(Duration::from_millis(1))
    }
}
