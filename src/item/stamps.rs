//! The stamps of a node: no two of them are alike, whichever channels they are for.
//!
//! What asks for several channels together, a tag, names a place among their items by a key alone. So
//! one counter for each millisecond serves all channels of a node.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::key::ItemKey;
use super::suffix::NodeSlot;
use crate::env::Millis;

/// How many milliseconds are remembered: stamps of channels are no further apart than the clocks of any
/// two nodes may be, twice (`cluster.max_skew_ms` is a minute at the most). What is not remembered any
/// more is given all the same.
const REMEMBERED: usize = 1 << 17;
/// The bits of a counter; those above it tell the milliseconds apart that share a place.
const COUNTER_BITS: u32 = 24;

/// Gives a node's stamps.
#[derive(Debug)]
pub struct Stamps {
    slot: NodeSlot,
    /// For each remembered millisecond, the counter that comes next.
    next: Box<[AtomicU64]>,
}

impl Stamps {
    /// Of the node of that slot, which has given none yet.
    pub fn new(slot: NodeSlot) -> Self {
        Self {
            slot,
            next: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The lowest key above `after` and not before `clock` that this node has not given yet.
    pub fn stamp(&self, after: &ItemKey, clock: Millis) -> ItemKey {
        let mut key = ItemKey::stamp(after, clock, self.slot);
        while let Err(counter) = self.claim(&key) {
            key = key
                .with_counter(counter, self.slot)
                .unwrap_or_else(|| ItemKey::stamp(after, key.millis.plus(1), self.slot));
        }
        key
    }

    /// Takes a key, or gives the lowest counter of its millisecond that is free.
    fn claim(&self, key: &ItemKey) -> Result<(), u32> {
        let millis = key.millis.get() as u64;
        let Some(cell) = self.next.get(millis as usize % REMEMBERED) else {
            return Ok(());
        };
        let round = millis / REMEMBERED as u64;
        let counter = key.suffix.counter();
        let taken = cell.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            match round.cmp(&(next >> COUNTER_BITS)) {
                std::cmp::Ordering::Equal if counter < (next & mask()) as u32 => None,
                // A later millisecond is remembered here.
                std::cmp::Ordering::Less => Some(next),
                _ => Some(round << COUNTER_BITS | u64::from(counter + 1)),
            }
        });
        taken.map(drop).map_err(|next| (next & mask()) as u32)
    }
}

/// Gives a node's stamps of the past: for items of any time that writers name, in any order.
///
/// They are in the upper half of what a millisecond has: live items of the same channel count from its
/// beginning, and never come so far. Two nodes never give the same one. One node may, after a start or after
/// some seven million: whoever uses one makes sure that nothing has it.
#[derive(Debug)]
pub struct PastStamps {
    slot: NodeSlot,
    next: AtomicU32,
}

impl PastStamps {
    /// Of the node of that slot; where they begin is `random`.
    pub fn new(slot: NodeSlot, random: u64) -> Self {
        let next = AtomicU32::new((random % u64::from(HALF)) as u32);
        Self { slot, next }
    }

    /// The next key of that time.
    pub fn stamp(&self, at: Millis) -> ItemKey {
        let count = self.next.fetch_add(1, Ordering::Relaxed) % HALF;
        let first = ItemKey::stamp(&ItemKey::MIN, at, self.slot);
        let key = first.with_counter(HALF + count, self.slot);
        key.unwrap_or(first)
    }
}

/// Half as many as a millisecond has counters.
const HALF: u32 = 62 * 62 * 62 * 62 / 2;

const fn mask() -> u64 {
    (1 << COUNTER_BITS) - 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn slot() -> NodeSlot {
        NodeSlot::new(62).unwrap()
    }

    #[test]
    fn channels_of_one_millisecond_share_a_counter() {
        let stamps = Stamps::new(slot());
        let clock = Millis::new(1_700_000_000_000);
        let first = stamps.stamp(&ItemKey::MIN, clock);
        let second = stamps.stamp(&ItemKey::MIN, clock);
        let third = stamps.stamp(&first, clock);
        let texts = [first, second, third].map(|key| key.suffix.to_string());
        assert_eq!(texts, ["000010", "000110", "000210"]);
        // The next millisecond has its own.
        let next = stamps.stamp(&second, clock.plus(1));
        assert_eq!(next.suffix, first.suffix);
    }

    #[test]
    fn a_full_millisecond_is_followed_by_the_next() {
        let stamps = Stamps::new(slot());
        let clock = Millis::new(5);
        let last = ItemKey::stamp(&ItemKey::MIN, clock, slot())
            .with_counter(62 * 62 * 62 * 62 - 2, slot())
            .unwrap();
        let full = stamps.stamp(&last, clock);
        assert_eq!(
            (full.millis, full.suffix.to_string().as_str()),
            (clock, "zzzz10")
        );
        for count in 0..3 {
            let key = stamps.stamp(&ItemKey::MIN, clock);
            assert_eq!((key.millis, key.suffix.counter()), (clock.plus(1), count));
        }
    }

    #[test]
    fn threads_get_stamps_of_their_own() {
        let stamps = Stamps::new(slot());
        let clock = Millis::new(7);
        let given = std::thread::scope(|scope| {
            let give = || {
                let give = |_| stamps.stamp(&ItemKey::MIN, clock);
                (0..1000).map(give).collect::<Vec<_>>()
            };
            let threads = [scope.spawn(give), scope.spawn(give)];
            threads.map(|thread| thread.join().unwrap()).concat()
        });
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), 2000);
    }

    #[test]
    fn stamps_of_the_past_are_in_the_upper_half_and_differ() {
        let at = Millis::new(-60_000_000_000_000);
        for random in [0, 5, u64::from(HALF) - 1, u64::MAX] {
            let stamps = PastStamps::new(slot(), random);
            let keys: HashSet<_> = (0..1000).map(|_| stamps.stamp(at)).collect();
            assert_eq!(keys.len(), 1000);
            for key in keys {
                assert_eq!((key.millis, key.suffix.as_bytes().len()), (at, 6));
                assert!(key.suffix.counter() >= HALF && key.suffix.as_str().ends_with("10"));
            }
        }
    }

    proptest! {
        #[test]
        fn none_is_given_twice_and_each_is_above_its_channel(
            steps in prop::collection::vec((0usize..4, -60_000i64..60_000, 0i64..3), 1..300),
        ) {
            let stamps = Stamps::new(slot());
            let mut clock = Millis::new(1_700_000_000_000);
            let mut channels = [ItemKey::MIN; 4];
            let mut given = HashSet::new();
            for (channel, apart, passes) in steps {
                clock = clock.plus(passes);
                let key = stamps.stamp(&channels[channel], clock.plus(apart));
                prop_assert!(key > channels[channel] && key.millis >= clock.plus(apart));
                prop_assert!(given.insert(key), "{key} twice");
                channels[channel] = key;
            }
        }
    }
}
