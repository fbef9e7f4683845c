//! What is compared, and what is learnt of what nobody could know.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::life::{Asked, Life, Position};
use crate::item::ItemKey;
use crate::spoke::tests::rig::everything;
use crate::spoke::{
    ChannelId, Direction, Entry, ItemHead, Keeps, Range, ReadMode, Retention as _, SpokeStore,
};

/// What was found under a key.
type Found = Option<(ItemHead, Bytes)>;

fn found_in(store: &dyn SpokeStore, (channel, key): Position) -> Found {
    let entry = store.find(channel, &key, ReadMode::Blocking).unwrap()?;
    let item = store.read(&entry, ReadMode::Blocking).unwrap();
    assert_eq!((item.head.key, item.head.flags), (key, entry.flags));
    assert_eq!(item.head.write_id, entry.write_id);
    let head = item.head.clone();
    Some((head, item.into_payload().unwrap().bytes))
}

impl Life {
    fn is_tainted(&self, position: &Position) -> bool {
        self.tainted.contains(position)
            || self.unknown.iter().any(|(unknown, _)| unknown == position)
    }

    fn check_one(&self, position: Position) {
        if !self.is_tainted(&position) {
            let store = found_in(&self.rig().store, position);
            let twin = found_in(&self.twin, position);
            assert!(
                store == twin,
                "{position:?}, seed {}: {store:?}, not {twin:?}",
                self.seed
            );
        }
    }

    /// A few keys and a few ranges.
    pub fn check(&mut self) {
        for _ in 0..4 {
            let channel = ChannelId(1 + self.below(4));
            if let Some(key) = self.some_key(channel) {
                self.check_one((channel, key));
                // A neighbour that was never written.
                self.check_one((channel, key.successor()));
            }
        }
        for _ in 0..2 {
            self.check_range(self.some_range());
        }
    }

    /// Everything.
    pub fn check_all(&mut self) {
        for position in self.versions.keys() {
            self.check_one(*position);
        }
        for channel in 1..=4 {
            for direction in [Direction::Ascending, Direction::Descending] {
                self.check_range(everything(ChannelId(channel), direction));
            }
        }
    }

    /// As [`Self::check_all`], as a step of its own, by reads that may not wait where they need
    /// not.
    pub fn look(&mut self) {
        self.rig().folder.set_cold(self.below(2) == 0);
        for position in self.versions.keys() {
            let (channel, key) = *position;
            let store = &self.rig().store;
            let now = store.find(channel, &key, ReadMode::Cached);
            if let Ok(found) = now {
                let waited = store.find(channel, &key, ReadMode::Blocking).unwrap();
                assert_eq!(found, waited, "seed {}", self.seed);
            }
        }
        self.rig().folder.set_cold(false);
        self.check_all();
    }

    fn some_range(&self) -> Range {
        let channel = ChannelId(1 + self.below(4));
        let edge = |otherwise: ItemKey| {
            let key = self.some_key(channel).unwrap_or(otherwise);
            match self.below(4) {
                0 => otherwise,
                1 => ItemKey::first_of(key.millis),
                2 => key.successor(),
                _ => key,
            }
        };
        let whole = everything(channel, Direction::Ascending);
        Range {
            channel,
            from: edge(whole.from),
            to: edge(whole.to),
            direction: [Direction::Ascending, Direction::Descending][self.below(2) as usize],
            limit: [0, 1, 2, 7, 1000][self.below(5) as usize],
        }
    }

    fn check_range(&self, range: Range) {
        let mode = ReadMode::Blocking;
        let given = self.rig().store.range(&range, mode).unwrap();
        assert!(given.len() <= range.limit);
        let in_order = given.is_sorted_by(|a, b| match range.direction {
            Direction::Ascending => a.key < b.key,
            Direction::Descending => a.key > b.key,
        });
        assert!(in_order, "{range:?}, seed {}: {given:?}", self.seed);
        let unlimited = Range {
            limit: usize::MAX,
            ..range
        };
        // A full answer says nothing of what lies behind its last key.
        let last = given.last().map(|entry| entry.key);
        let covered = |entry: &Entry| match (last, range.direction) {
            _ if given.len() < range.limit => true,
            (None, _) => false,
            (Some(last), Direction::Ascending) => entry.key <= last,
            (Some(last), Direction::Descending) => entry.key >= last,
        };
        let what = |entry: &Entry| (entry.key, entry.flags, entry.write_id);
        let sure = |entry: &&Entry| !self.is_tainted(&entry.position());
        let given: Vec<_> = given.iter().filter(sure).map(what).collect();
        let all = self.twin.range(&unlimited, mode).unwrap();
        let expected = all.iter().filter(sure).filter(|entry| covered(entry));
        let expected: Vec<_> = expected.map(what).collect();
        assert_eq!(given, expected, "{range:?}, seed {}", self.seed);
    }

    /// Items that nobody keeps may be gone, each or none of them.
    pub fn after_expiry(&mut self) {
        let positions: Vec<Position> = self.versions.keys().copied().collect();
        for position in positions {
            let (channel, key) = position;
            let kept = match self.rig().script.keeps(channel) {
                Keeps::All => true,
                Keeps::From(first) => key >= first,
                Keeps::Nothing => false,
            };
            if kept || self.is_tainted(&position) {
                continue;
            }
            // It may have been removed in a segment that went before the one that has it, or stored
            // anew in several: what is left of it is nobody's concern any more.
            let store = found_in(&self.rig().store, position);
            let versions = &self.versions[&position];
            assert!(store.is_none_or(|found| versions.contains(&found)));
            self.tainted.insert(position);
        }
        self.check_all();
    }

    /// After a run that lost nothing: what was not answered was done or was not, and from now on
    /// it is known which.
    pub fn resolve(&mut self) {
        let unknown = std::mem::take(&mut self.unknown);
        let mut of: BTreeMap<Position, Vec<Asked>> = BTreeMap::new();
        for (position, asked) in unknown {
            of.entry(position).or_default().push(asked);
        }
        for (position, asked) in of {
            if self.tainted.contains(&position) {
                continue;
            }
            let before = found_in(&self.twin, position);
            let after = found_in(&self.rig().store, position);
            if before == after {
                // Not done, or a removal of nothing, which hides what comes later.
                self.tainted.insert(position);
                continue;
            }
            let explains = |asked: &Asked| match (asked, &after) {
                (Asked::Removal, None) => true,
                (Asked::Append(head, payload), Some((found, bytes))) => {
                    head == found && payload == bytes
                }
                _ => false,
            };
            let done = asked.into_iter().rev().find(explains);
            let done = done.unwrap_or_else(|| {
                panic!(
                    "{position:?} was {before:?}, is {after:?}, seed {}",
                    self.seed
                )
            });
            self.apply(position, done);
        }
    }

    /// After a run that may have lost anything: what is there must be whole, and is what there is.
    /// Gives whether something that was answered is missing.
    pub fn rebuild(&mut self) -> bool {
        let mut lost = false;
        let positions: Vec<Position> = self.versions.keys().copied().collect();
        for position in positions {
            let (channel, key) = position;
            let unknown = self.is_tainted(&position);
            let before = found_in(&self.twin, position);
            let after = found_in(&self.rig().store, position);
            lost |= before != after && !unknown;
            if let Some((head, payload)) = &after {
                let versions = &self.versions[&position];
                let written = versions.contains(&(head.clone(), payload.clone()));
                assert!(written, "{position:?} is {after:?}, seed {}", self.seed);
            }
            self.twin.lose(channel, &key);
            match after {
                Some((head, payload)) => self.apply(position, Asked::Append(head, payload)),
                // Gone, or hidden by a removal, which hides what comes later.
                None => {
                    self.tainted.insert(position);
                }
            }
        }
        self.unknown.clear();
        lost
    }

    /// The write ids that are told to the replica at the start.
    pub fn check_recent(&self) {
        let options = &self.rig().options;
        let since = self.rig().clock.now().minus(options.dedup_millis);
        let recent = self.rig().store.recent_writes().into_iter();
        let recent: BTreeSet<(ChannelId, ItemKey)> =
            recent.map(|(channel, key, ..)| (channel, key)).collect();
        for position in self.versions.keys().filter(|p| !self.is_tainted(p)) {
            let found = found_in(&self.twin, *position);
            let end = position
                .1
                .millis
                .floor_to(options.bucket_millis)
                .plus(options.bucket_millis);
            let keyed = found.is_some_and(|(head, _)| head.flags.keyed);
            // An earlier copy of it may have been keyed.
            if keyed && end >= since {
                assert!(
                    recent.contains(position),
                    "{position:?}, seed {}",
                    self.seed
                );
            }
        }
        for position in recent.iter().filter(|p| !self.is_tainted(p)) {
            let found = found_in(&self.twin, *position);
            assert!(
                found.is_some(),
                "{position:?} is remembered, seed {}",
                self.seed
            );
        }
    }
}
