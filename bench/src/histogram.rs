//! Times, counted by their length: a fixed relative error, whatever their range.
//!
//! Up to [`STEPS`] nanoseconds each has a bucket of its own. Above, each power of two has [`STEPS`]
//! buckets, so a percentile is at most 1/128 above the true one, and never below it. The greatest
//! time is kept exactly.

use std::time::Duration;

/// Buckets of one power of two.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 7;

/// How many times of which length there were.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// By [`bucket`]; as long as the longest time needs.
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let index = bucket(nanos);
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts all that the other one has counted.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many there are.
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The longest; zero if there is none.
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The time that `per_mille` of 1000 do not exceed (the nearest rank, so it is one of them, up
    /// to the width of its bucket); zero if there is none.
    pub fn percentile(&self, per_mille: u32) -> Duration {
        let wanted = u128::from(self.total) * u128::from(per_mille.min(1_000));
        let rank = (wanted.div_ceil(1_000) as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(index).min(self.max));
            }
        }
        self.max()
    }
}

/// Where a time is counted.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEP_BITS;
    // The leading bit of `nanos >> shift` stands for the first group, so each group follows the one
    // before it without a gap.
    (u64::from(shift) * STEPS + (nanos >> shift)) as usize
}

/// The longest time counted there.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let step = u128::from(index % STEPS + STEPS + 1);
    u64::try_from((step << shift) - 1).unwrap_or(u64::MAX)
}

/// The middle of some numbers, or the mean of the two in the middle; `None` if there is none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let high = sorted.get(middle).copied()?;
    if sorted.len() % 2 == 1 {
        return Some(high);
    }
    let low = sorted.get(middle.checked_sub(1)?).copied()?;
    Some(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn of(nanos: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for one in nanos {
            histogram.record(Duration::from_nanos(one));
        }
        histogram
    }

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        assert_eq!(bucket(0), 0);
        let mut edge = 0;
        for index in 0..bucket(u64::MAX) {
            assert_eq!(bucket(edge), index, "{edge} starts {index}");
            let last = upper(index);
            assert_eq!(bucket(last), index, "{last} ends {index}");
            edge = last + 1;
        }
        assert_eq!(upper(bucket(u64::MAX)), u64::MAX);
    }

    #[test]
    fn a_bucket_is_no_wider_than_its_share() {
        for shift in 0..64 {
            for near in [0, 1, 2, 3] {
                let nanos = (1_u64 << shift).saturating_add(near);
                let above = upper(bucket(nanos)) - nanos;
                assert!(above <= nanos / STEPS, "{above} above {nanos}");
            }
        }
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred = of(1..=100);
        for (per_mille, nanos) in [
            (0, 1),
            (1, 1),
            (10, 1),
            (11, 2),
            (500, 50),
            (501, 51),
            (900, 90),
            (990, 99),
            (999, 100),
            (1_000, 100),
            (5_000, 100),
        ] {
            assert_eq!(
                hundred.percentile(per_mille).as_nanos(),
                nanos,
                "{per_mille}"
            );
        }
        assert_eq!(of([7]).percentile(500).as_nanos(), 7);
        assert_eq!(of([1, 2]).percentile(500).as_nanos(), 1);
        assert_eq!(of([]).percentile(500), Duration::ZERO);
        assert_eq!(of([]).max(), Duration::ZERO);
    }

    #[test]
    fn percentiles_are_near_those_of_the_sorted_times() {
        let mut random = Random::new(5);
        let mut nanos: Vec<u64> = (0..10_000)
            .map(|_| random.next() >> (20 + random.below(30)))
            .collect();
        let histogram = of(nanos.iter().copied());
        nanos.sort_unstable();
        for per_mille in [1, 100, 500, 900, 990, 999, 1_000] {
            let exact = nanos[(nanos.len() * per_mille as usize).div_ceil(1_000) - 1];
            let given = histogram.percentile(per_mille).as_nanos() as u64;
            assert!(given >= exact, "{given} below {exact}");
            assert!(given - exact <= exact / STEPS, "{given} far above {exact}");
        }
        assert_eq!(histogram.percentile(1_000), histogram.max());
    }

    #[test]
    fn the_greatest_time_is_exact_and_no_percentile_is_above_it() {
        let histogram = of([1_000_001, 5]);
        assert_eq!(histogram.max().as_nanos(), 1_000_001);
        assert_eq!(histogram.percentile(990).as_nanos(), 1_000_001);
        let histogram = of([u64::MAX]);
        assert_eq!(histogram.percentile(500).as_nanos(), u128::from(u64::MAX));
    }

    #[test]
    fn merging_is_counting_both() {
        let both = of((1..=100).chain(50_000..50_100));
        for (mut left, right) in [
            (of(1..=100), of(50_000..50_100)),
            (of(50_000..50_100), of(1..=100)),
        ] {
            left.merge(&right);
            assert_eq!(left.counts, both.counts);
            assert_eq!((left.count(), left.max()), (200, both.max()));
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([3.0, 1.0]), Some(2.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
