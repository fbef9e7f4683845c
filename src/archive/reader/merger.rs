//! The keys of a range out of several objects, in their order.

use std::sync::Arc;

use super::known::Known;
use crate::item::{Frontier, ItemKey};

/// Puts together what the objects of a channel say, which are given in the order of their names: that is
/// the order of the times that they begin at. Of a minute and an hour at once only the hour is given.
pub(super) struct Merger {
    from: ItemKey,
    to: ItemKey,
    limit: usize,
    /// The object of many records that was given last, and which of them come next.
    many: Option<(Arc<Known>, std::ops::Range<usize>)>,
    /// The keys so far, ascending.
    pub(super) keys: Vec<ItemKey>,
    /// The items that are deleted, ascending.
    pub(super) gone: Vec<ItemKey>,
}

impl Merger {
    /// For the keys at or above `from` and below `to`; there may be more than the limit, and none behind
    /// them is looked for.
    pub(super) fn new(from: ItemKey, to: ItemKey, limit: usize) -> Self {
        Self {
            from,
            to,
            limit,
            many: None,
            keys: Vec::new(),
            gone: Vec::new(),
        }
    }

    /// Takes an object of many records, after [`Self::settle`] up to where it begins. `last`: how many of its
    /// records matter at the most, counted from the end of the range.
    pub(super) fn many(&mut self, known: Arc<Known>, last: usize) {
        let (start, end) = (known.index.below(&self.from), known.index.below(&self.to));
        let start = start.max(end.saturating_sub(last));
        self.many = Some((known, start..end));
    }

    /// Takes an object of one item, or of none any more.
    pub(super) fn one(&mut self, key: ItemKey, deleted: bool) {
        self.settle(&key);
        if self.is_full() && deleted && self.is_in_last(&key) {
            self.gone.push(key);
        }
        if self.is_full() || key < self.from || key >= self.to {
            return;
        }
        let mut held = false;
        if let Some((known, next)) = &mut self.many {
            if known.index.key(next.start) == Some(key) {
                next.start += 1;
            }
            // One of a bulk insert's record is listed with the record.
            held = known.index.holder(&key).is_some_and(|(_, of)| of.is_some());
        }
        if deleted {
            self.gone.push(key);
        } else if !held {
            self.keys.push(key);
        }
    }

    /// Nothing below that key comes any more.
    pub(super) fn settle(&mut self, below: &ItemKey) {
        let Some((known, next)) = &mut self.many else {
            return;
        };
        while self.keys.len() < self.limit && next.start < next.end {
            match known.index.key(next.start) {
                Some(key) if key < *below => self.keys.push(key),
                _ => return,
            }
            next.start += 1;
        }
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) {
        let to = self.to;
        self.settle(&to);
    }

    /// Whether a key is that of an item of the last record.
    fn is_in_last(&self, key: &ItemKey) -> bool {
        self.keys
            .last()
            .is_some_and(|last| last < key && Frontier::up_to(*last).covers(key))
    }

    /// Whether nothing matters any more that begins at or behind a key: the limit is reached, and none of the
    /// last record's items can be said there to be deleted.
    pub(super) fn is_done(&self, key: &ItemKey) -> bool {
        self.is_full() && !self.is_in_last(key)
    }

    /// Whether the last record is a bulk insert's.
    pub(super) fn ends_in_bulk(&self) -> bool {
        self.keys.last().is_some_and(ItemKey::is_bulk)
    }

    /// Whether the limit is reached.
    pub(super) fn is_full(&self) -> bool {
        self.keys.len() >= self.limit
    }
}
