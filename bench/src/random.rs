//! Random numbers that are the same in every run (SplitMix64), so that runs ask for the same.

/// Gives the numbers one after the other.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of that seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next one below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        // The high half of the product: no division, and a bias that no benchmark can see.
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// That many bytes, which no compressor makes fewer.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(count.next_multiple_of(8));
        while out.len() < count {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(count);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_the_end_and_reach_all_of_it() {
        let mut random = Random::new(1);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[random.below(10)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 800), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn bytes_are_as_many_as_asked_for_and_differ_by_seed() {
        for count in [0, 1, 7, 8, 9, 1_024] {
            assert_eq!(Random::new(3).bytes(count).len(), count);
        }
        assert_eq!(Random::new(3).bytes(64), Random::new(3).bytes(64));
        assert_ne!(Random::new(3).bytes(64), Random::new(4).bytes(64));
    }
}
