//! How far this node's clock is from those of the others.

use crate::env::Millis;

/// What was seen of another clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSample {
    /// How far it is ahead of this node's, in milliseconds.
    pub ahead_millis: i64,
    /// How wrong that may be: half of the time between question and answer.
    pub doubt_millis: i64,
}

impl ClockSample {
    /// What an answer says that came while this node's clock went from `sent` to `received`.
    pub fn new(sent: Millis, received: Millis, other: Millis) -> Self {
        let doubt_millis = (received.get().saturating_sub(sent.get()) / 2).max(0);
        Self {
            ahead_millis: other.get() - sent.get().saturating_add(doubt_millis),
            doubt_millis,
        }
    }

    /// How far it is ahead at the least.
    fn certain(self) -> i64 {
        let certain = self.ahead_millis.abs() - self.doubt_millis;
        certain.max(0) * self.ahead_millis.signum()
    }
}

/// How this node's clock stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStanding {
    /// The number of clocks that it was compared with. With none, nothing is known against it.
    pub compared_with: usize,
    /// How far the middle one of them is ahead of it, in milliseconds.
    pub behind_millis: i64,
    /// Whether that is within half of the allowed skew. If not, the node neither coordinates,
    /// accepts, keeps, nor moves its horizon.
    pub within_bounds: bool,
}

impl ClockStanding {
    /// Nothing to compare with, as in a ring of one.
    pub const ALONE: Self = Self {
        compared_with: 0,
        behind_millis: 0,
        within_bounds: true,
    };

    /// Where a clock stands, by what was seen of the others, if any two may be `max_skew` apart.
    ///
    /// With an even number of others, the one of the two in the middle that is nearer counts: the
    /// own clock has a vote, too. So of two nodes that disagree, the one that ZooKeeper sides with
    /// is right.
    pub fn of(samples: &[ClockSample], max_skew: i64) -> Self {
        let mut ahead: Vec<i64> = samples.iter().map(|sample| sample.certain()).collect();
        ahead.sort_unstable();
        let (low, high) = (
            ahead.get(ahead.len().saturating_sub(1) / 2),
            ahead.get(ahead.len() / 2),
        );
        let (Some(&low), Some(&high)) = (low, high) else {
            return Self::ALONE;
        };
        let behind_millis = if low.abs() <= high.abs() { low } else { high };
        // Between two that lie on both sides of it, it is the middle one itself.
        let behind_millis = if low < 0 && high > 0 {
            0
        } else {
            behind_millis
        };
        Self {
            compared_with: samples.len(),
            behind_millis,
            within_bounds: behind_millis.abs() <= max_skew / 2,
        }
    }
}

impl ClockStanding {
    /// Whether the clock is out of bounds only because it is not the wall clock, which is `offset`
    /// milliseconds ahead of it and would be within bounds: then it helps to set it.
    pub fn is_mended_by(&self, offset: i64, max_skew: i64) -> bool {
        let bound = max_skew / 2;
        let left = self.behind_millis.saturating_sub(offset);
        !self.within_bounds && offset.abs() > bound && left.abs() <= bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(ahead: &[i64]) -> ClockStanding {
        let sample = |&ahead_millis| ClockSample {
            ahead_millis,
            doubt_millis: 0,
        };
        let samples: Vec<ClockSample> = ahead.iter().map(sample).collect();
        ClockStanding::of(&samples, 500)
    }

    #[test]
    fn the_middle_clock_decides() {
        assert_eq!(standing(&[]), ClockStanding::ALONE);
        for (ahead, behind, within) in [
            (&[10][..], 10, true),
            (&[251], 251, false),
            (&[-251], -251, false),
            (&[0, 9_000, 20], 20, true),
            (&[0, 9_000, 9_000], 9_000, false),
            // Two nodes a second apart: ZooKeeper agrees with this one, and then with the other.
            (&[1_000, 0], 0, true),
            (&[-1_000, -1_000], -1_000, false),
            (&[-1_000, 1_000], 0, true),
        ] {
            let found = standing(ahead);
            assert_eq!(
                (found.behind_millis, found.within_bounds),
                (behind, within),
                "{ahead:?}"
            );
            assert_eq!(found.compared_with, ahead.len());
        }
    }

    #[test]
    fn a_clock_is_set_only_where_that_mends_it() {
        const HOUR: i64 = 3_600_000;
        // Three hours ahead, and the wall clock has been set right.
        assert!(standing(&[-3 * HOUR]).is_mended_by(-3 * HOUR + 100, 500));
        // The wall clock is as wrong as the clock is.
        assert!(!standing(&[-3 * HOUR]).is_mended_by(0, 500));
        // It is wrong to the other side.
        assert!(!standing(&[-3 * HOUR]).is_mended_by(3 * HOUR, 500));
        // Only the wall clock is wrong.
        assert!(!standing(&[10]).is_mended_by(HOUR, 500));
        // So little is made up by and by.
        assert!(!standing(&[260]).is_mended_by(200, 500));
    }

    #[test]
    fn a_slow_answer_says_little() {
        let at = Millis::new;
        let slow = ClockSample::new(at(1_000), at(3_000), at(2_800));
        assert_eq!((slow.ahead_millis, slow.doubt_millis), (800, 1_000));
        assert!(ClockStanding::of(&[slow], 500).within_bounds);
        let quick = ClockSample::new(at(1_000), at(1_010), at(1_805));
        assert_eq!(ClockStanding::of(&[quick], 500).behind_millis, 795);
    }
}
