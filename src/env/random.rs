//! Randomness as a value.

use parking_lot::Mutex;

/// A source of random numbers.
pub trait Random: Send + Sync {
    /// 64 bits that nobody can guess (the system's source) or that a seed decides (a test's).
    fn next_u64(&self) -> u64;

    /// 128 of them.
    fn next_u128(&self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }
}

/// The operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsRandom;

impl Random for OsRandom {
    fn next_u64(&self) -> u64 {
        // The call fails only where the kernel offers no randomness at all. Ids must be unique,
        // not secret, so the clock and the process id are a last resort that keeps them so.
        #[allow(
            clippy::disallowed_methods,
            reason = "this is the one place that asks the system"
        )]
        getrandom::u64().unwrap_or_else(|_| {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let mixed = (now.tv_sec as u64).rotate_left(32) ^ now.tv_nsec as u64;
            mixed ^ u64::from(std::process::id()).rotate_left(17)
        })
    }
}

/// A repeatable source: SplitMix64 (Steele, Lea and Flood, 2014) from a seed.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
