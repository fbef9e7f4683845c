//! Item keys, their bytes, and promises about them.

use std::fmt::{self, Write as _};

use super::suffix::{NodeSlot, Suffix};
use crate::env::Millis;

/// The most bytes that a key takes on disk.
pub const KEY_BYTES_MAX: usize = 8 + Suffix::MAX_LEN;

/// What names an item in its channel: UTC milliseconds and a suffix, ordered by both in turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// When the item was stamped.
    pub millis: Millis,
    /// What tells it from the others of that millisecond.
    pub suffix: Suffix,
}

impl ItemKey {
    /// Before every key.
    pub const MIN: Self = Self::first_of(Millis::MIN);

    /// The key of an item.
    pub const fn new(millis: Millis, suffix: Suffix) -> Self {
        Self { millis, suffix }
    }

    /// The position before every key of that millisecond, and after every earlier one.
    pub const fn first_of(millis: Millis) -> Self {
        Self::new(millis, Suffix::EMPTY)
    }

    /// The lowest position above this key: no key lies between the two.
    pub fn successor(&self) -> Self {
        match self.suffix.successor() {
            Some(suffix) => Self::new(self.millis, suffix),
            None => Self::first_of(self.millis.plus(1)),
        }
    }

    /// The key of the record of a bulk insert of `count` items that was stamped with this key; `None`
    /// if this is no stamp, or they are more than [`Suffix::BULK_MAX`].
    pub fn bulk(&self, count: u32) -> Option<Self> {
        Some(Self::new(self.millis, self.suffix.bulk(count)?))
    }

    /// Whether this is the key of a bulk insert's record.
    pub fn is_bulk(&self) -> bool {
        self.suffix.bulk_count().is_some()
    }

    /// How many items the record of this key has: 1, unless it is a bulk insert's.
    pub fn count(&self) -> u32 {
        self.suffix.bulk_count().unwrap_or(1)
    }

    /// The keys of the items of the record of this key, in order: those of a bulk insert, or else
    /// this one.
    pub fn items(self) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        self.items_of(0..self.count())
    }

    /// Those of them with these numbers.
    pub fn items_of(
        self,
        numbers: std::ops::Range<u32>,
    ) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        numbers.map(move |at| self.item(at))
    }

    /// Those of them at or above `from` and below `to`.
    pub fn items_between(
        self,
        from: &Self,
        to: &Self,
    ) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        let start = self.items_below(from);
        self.items_of(start..self.items_below(to).max(start))
    }

    /// How many of them are below a position, by bisection: there may be a million.
    fn items_below(self, end: &Self) -> u32 {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.item(middle) < *end {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn item(self, at: u32) -> Self {
        match self.suffix.bulk_item(at) {
            Some(suffix) => Self::new(self.millis, suffix),
            None => self,
        }
    }

    /// If it looks like that of an item of a bulk insert: its number, and where the record is to be
    /// found: from the first key on, below the second.
    pub fn in_bulk(&self) -> Option<(u32, Self, Self)> {
        let (at, stamp) = self.suffix.in_bulk()?;
        let record = |count| Some(Self::new(self.millis, stamp.bulk(count)?));
        Some((at, record(0)?, record(Suffix::BULK_MAX)?.successor()))
    }

    /// The position behind all items that a bulk insert of this stamp can have.
    pub fn bulk_end(&self) -> Self {
        let record = self.bulk(Suffix::BULK_MAX);
        let last = record.and_then(|record| record.last_of_record());
        last.unwrap_or(*self).successor()
    }

    /// The key of the last item of a bulk insert's record; `None` if it is no such record.
    fn last_of_record(&self) -> Option<Self> {
        self.suffix.bulk_count()?;
        self.items().next_back()
    }

    /// The lowest key whose record may have an item at or above this position.
    pub fn record_floor(&self) -> Self {
        Self::new(self.millis, self.suffix.stamp())
    }

    /// The lowest key that `slot` can stamp above `after` and not before `clock`.
    pub fn stamp(after: &Self, clock: Millis, slot: NodeSlot) -> Self {
        if clock > after.millis {
            return Self::new(clock, Suffix::first(slot));
        }
        match after.suffix.next_of(slot) {
            Some(suffix) => Self::new(after.millis, suffix),
            None => Self::new(after.millis.plus(1), Suffix::first(slot)),
        }
    }

    /// The key of `slot` in the same millisecond at that counter; `None` past the last one.
    pub(super) fn with_counter(&self, counter: u32, slot: NodeSlot) -> Option<Self> {
        let suffix = Suffix::of_counter(counter, slot)?;
        Some(Self::new(self.millis, suffix))
    }

    /// Appends the key's bytes: the milliseconds, sign bit flipped, big-endian, then the suffix.
    /// Bytes sort as keys do.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        let biased = (self.millis.get() as u64) ^ (1 << 63);
        out.extend_from_slice(&biased.to_be_bytes());
        out.extend_from_slice(self.suffix.as_bytes());
    }

    /// The key's bytes, as [`Self::write_bytes`] gives them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(KEY_BYTES_MAX);
        self.write_bytes(&mut out);
        out
    }

    /// The key with these bytes; `None` if they are no key's.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, tail) = bytes.split_first_chunk::<8>()?;
        let millis = (u64::from_be_bytes(*head) ^ (1 << 63)) as i64;
        let bounded = Millis::new(millis);
        (bounded.get() == millis).then_some(())?;
        Some(Self::new(bounded, Suffix::from_ascii(tail)?))
    }

    /// Appends `YYYY/MM/DD/hh/mm/ss/SSS/suffix`.
    pub fn write_path(&self, out: &mut String) {
        super::timepath::write_millis(self.millis, out);
        out.push('/');
        out.push_str(self.suffix.as_str());
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::with_capacity(40);
        self.write_path(&mut path);
        f.write_str(&path)
    }
}

impl fmt::Debug for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A promise about a channel: every key that it covers is either held already or never will be.
///
/// A frontier ends just below a key or with it; of two, the greater covers more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontier {
    key: ItemKey,
    inclusive: bool,
}

impl Frontier {
    /// Covers nothing.
    pub const NOTHING: Self = Self::below(ItemKey::MIN);

    /// Covers the keys below `key`, not `key`.
    pub const fn below(key: ItemKey) -> Self {
        Self {
            key,
            inclusive: false,
        }
    }

    /// Covers `key` and the keys below it.
    pub const fn up_to(key: ItemKey) -> Self {
        Self {
            key,
            inclusive: true,
        }
    }

    /// Covers every key of the time before `millis`.
    pub const fn before(millis: Millis) -> Self {
        Self::below(ItemKey::first_of(millis))
    }

    /// Whether the promise speaks of `key`. What it says of the record of a bulk insert it says of the
    /// record's items.
    pub fn covers(&self, key: &ItemKey) -> bool {
        *key < self.end()
    }

    /// The first position that it does not cover.
    pub fn end(&self) -> ItemKey {
        if !self.inclusive {
            return self.key;
        }
        match self.key.last_of_record() {
            Some(last) => last.successor(),
            None => self.key.successor(),
        }
    }

    /// The key that it ends at.
    pub fn key(&self) -> ItemKey {
        self.key
    }

    /// The millisecond in which it ends: everything earlier is covered.
    pub fn millis(&self) -> Millis {
        self.key.millis
    }
}

impl fmt::Debug for Frontier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char(if self.inclusive { '≤' } else { '<' })?;
        fmt::Debug::fmt(&self.key, f)
    }
}

#[cfg(test)]
mod tests;
