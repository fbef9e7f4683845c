//! Which time buckets hold items of which channel.
//!
//! A query walks these and not the segments: a channel whose newest item is a month old is
//! answered without looking at the segments of that month. A bucket takes two bytes a channel at
//! the most, and a run of buckets next to nothing.

use std::collections::HashMap;

use parking_lot::RwLock;
use roaring::RoaringBitmap;

use super::ids::ChannelId;
use crate::env::Millis;

/// Which way a query walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From older to newer.
    Ascending,
    /// From newer to older.
    Descending,
}

/// The buckets of every channel.
#[derive(Debug)]
pub struct Directory {
    width: i64,
    channels: RwLock<HashMap<ChannelId, RoaringBitmap>>,
}

impl Directory {
    /// An empty one, for buckets of `width` milliseconds.
    pub fn new(width: i64) -> Self {
        Self {
            width,
            channels: RwLock::default(),
        }
    }

    /// The bucket that holds a time.
    pub fn bucket(&self, at: Millis) -> Millis {
        at.floor_to(self.width)
    }

    /// When a bucket ends.
    pub fn end(&self, bucket: Millis) -> Millis {
        bucket.plus(self.width)
    }

    /// Whether a bucket can be held at all: Spoke is for the present, and counts buckets in 32
    /// bits from 1970 on.
    pub fn can_hold(&self, bucket: Millis) -> bool {
        u32::try_from(bucket.get().div_euclid(self.width)).is_ok()
    }

    /// The number of the bucket; a time that cannot be held counts as the nearest that can.
    fn ordinal(&self, bucket: Millis) -> u32 {
        let number = bucket.get().div_euclid(self.width);
        number.clamp(0, i64::from(u32::MAX)) as u32
    }

    fn start(&self, ordinal: u32) -> Millis {
        Millis::new(i64::from(ordinal) * self.width)
    }

    /// Notes that the bucket holds items of the channel.
    pub fn add(&self, channel: ChannelId, bucket: Millis) {
        let ordinal = self.ordinal(bucket);
        let known = |channels: &HashMap<ChannelId, RoaringBitmap>| {
            channels
                .get(&channel)
                .is_some_and(|buckets| buckets.contains(ordinal))
        };
        if !known(&self.channels.read()) {
            let mut channels = self.channels.write();
            channels.entry(channel).or_default().insert(ordinal);
        }
    }

    /// Notes that the bucket is gone, for all channels.
    pub fn remove(&self, bucket: Millis) {
        let ordinal = self.ordinal(bucket);
        self.channels.write().retain(|_, buckets| {
            buckets.remove(ordinal);
            !buckets.is_empty()
        });
    }

    /// The first bucket of the channel at or behind `from`, walking in that direction.
    pub fn next(&self, channel: ChannelId, from: Millis, direction: Direction) -> Option<Millis> {
        // A walk that has left the buckets that can be held finds nothing more: taking the nearest
        // one instead would find that one again and again.
        let number = from.get().div_euclid(self.width);
        let ordinal = match direction {
            Direction::Ascending => u32::try_from(number.max(0)).ok()?,
            Direction::Descending => u32::try_from(u64::try_from(number).ok()?).unwrap_or(u32::MAX),
        };
        let channels = self.channels.read();
        let buckets = channels.get(&channel)?;
        let found = match direction {
            Direction::Ascending => buckets.range(ordinal..).next(),
            Direction::Descending => buckets.range(..=ordinal).next_back(),
        };
        found.map(|ordinal| self.start(ordinal))
    }

    /// How many channels have items.
    #[cfg(test)]
    pub fn channels(&self) -> usize {
        self.channels.read().len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_sorted_set_finds(
            added in proptest::collection::vec((0u64..3, 0i64..50), 0..60),
            removed in proptest::collection::vec(0i64..50, 0..10),
            asked in (0u64..3, -5i64..60),
        ) {
            let directory = Directory::new(60_000);
            let mut model = BTreeSet::new();
            for (channel, bucket) in added {
                directory.add(ChannelId(channel), Millis::new(bucket * 60_000));
                model.insert((channel, bucket));
            }
            for bucket in removed {
                directory.remove(Millis::new(bucket * 60_000));
                model.retain(|(_, b)| *b != bucket);
            }
            let (channel, at) = asked;
            let time = Millis::new(at * 60_000 + 59_999);
            let mine = model.iter().filter(|(c, _)| *c == channel).map(|(_, b)| *b);
            let up = mine.clone().find(|b| *b >= at).map(|b| Millis::new(b * 60_000));
            let down = mine.rev().find(|b| *b <= at).map(|b| Millis::new(b * 60_000));
            prop_assert_eq!(directory.next(ChannelId(channel), time, Direction::Ascending), up);
            prop_assert_eq!(directory.next(ChannelId(channel), time, Direction::Descending), down);
        }
    }
}
