//! Choices that a seed decides.

use hub::env::{Random as _, SeededRandom};

/// A stream of choices.
#[derive(Debug)]
pub struct Choices(SeededRandom);

impl Choices {
    /// The same seed gives the same choices.
    pub fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    /// 64 random bits.
    pub fn bits(&self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.bits() % (high - low + 1)
    }

    /// True that many times in a hundred.
    pub fn percent(&self, chance: u64) -> bool {
        self.bits() % 100 < chance
    }

    /// A seed for something that chooses by itself.
    pub fn fork(&self) -> Self {
        Self::new(self.bits())
    }
}

/// Bytes that a seed decides.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        // xorshift64*, Vigna 2016: fast enough in a debug build.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.truncate(length);
    out
}
