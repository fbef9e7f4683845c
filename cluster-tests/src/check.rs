//! Whether what is found agrees with what was promised.
//!
//! A pure function of a history and of what was read back afterwards, while nobody wrote. It looks
//! for items that are lost, torn or were never written; for writes whose keys are not in the order
//! in which they were acknowledged; for stable listings that have changed; for items that stand
//! twice; and for ways of listing that differ. What it does not see are faults that left no trace
//! in either: its own tests plant each of these and look whether it is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::client::Content;
use crate::history::{History, Standing, WriteRecord};
use crate::item::{ItemName, Key};
use crate::survey::{Reading, Way};

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Writes that were acknowledged, on channels that were not deleted since.
    pub acked: usize,
    /// Writes of which nothing is known.
    pub unknown: usize,
    /// Items found whole.
    pub found: usize,
    /// How many of those belong to writes that were not acknowledged.
    pub surfaced: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong, in a channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Of what kind.
    pub kind: Wrong,
    /// The channel.
    pub channel: String,
    /// What it is about, for a person.
    pub what: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// An acknowledged item is not there, or is in one answer and not in another.
    Lost,
    /// What stands under a key is no whole item.
    Torn,
    /// An item is there that nobody wrote, or whose write was refused, or that was deleted.
    Phantom,
    /// A write that began after another one was acknowledged has a lower key.
    Order,
    /// A stable listing has changed: an item came in below its end, or went.
    Changed,
    /// A list is not in order, or names a key twice.
    Unsorted,
    /// One write made two items, or was acknowledged with two keys.
    Duplicate,
    /// Two ways of listing the same channel at the same time differ.
    Unequal,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}: {}", self.kind, self.channel, self.what)
    }
}

impl Verdict {
    /// How many findings of that kind.
    pub fn count(&self, kind: Wrong) -> usize {
        self.findings.iter().filter(|f| f.kind == kind).count()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acked,
            unknown,
            found,
            ..
        } = self;
        write!(
            f,
            "acked {acked} unknown {unknown} found {found} lost {} torn {} phantoms {}",
            self.count(Wrong::Lost),
            self.count(Wrong::Torn),
            self.count(Wrong::Phantom),
        )?;
        let others = [
            (Wrong::Order, "disordered"),
            (Wrong::Changed, "changed"),
            (Wrong::Unsorted, "unsorted"),
            (Wrong::Duplicate, "duplicates"),
            (Wrong::Unequal, "unequal"),
        ];
        for (kind, name) in others {
            if self.count(kind) > 0 {
                write!(f, " {name} {}", self.count(kind))?;
            }
        }
        Ok(())
    }
}

/// Checks what was read of every channel against a history.
pub fn check(history: &History, readings: &[Reading]) -> Verdict {
    let mut verdict = Verdict::default();
    for reading in readings {
        let standing = history.channels.get(&reading.channel);
        let mut channel = Channel {
            history,
            reading,
            life: None,
            verdict: &mut verdict,
        };
        match (standing, reading.exists) {
            (Some(Standing::Alive(life) | Standing::Unsure(life)), true) => {
                channel.life = Some(*life);
                channel.contents();
            }
            (Some(Standing::Alive(_)), false) => {
                channel.found(Wrong::Lost, "the channel is gone".to_owned());
            }
            (Some(Standing::Gone) | None, true) => {
                channel.found(Wrong::Phantom, "the channel was deleted".to_owned());
            }
            (Some(Standing::Gone | Standing::Unsure(_)) | None, false) => {}
        }
    }
    verdict
}

/// A channel under the check.
struct Channel<'a> {
    history: &'a History,
    reading: &'a Reading,
    life: Option<u32>,
    verdict: &'a mut Verdict,
}

impl<'a> Channel<'a> {
    fn found(&mut self, kind: Wrong, what: String) {
        let channel = self.reading.channel.clone();
        self.verdict.findings.push(Finding {
            kind,
            channel,
            what,
        });
    }

    fn contents(&mut self) {
        let writes: Vec<&'a WriteRecord> = self
            .history
            .writes
            .iter()
            .filter(|write| write.item.channel == self.reading.channel)
            .collect();
        let (present, past): (Vec<&WriteRecord>, Vec<&WriteRecord>) = writes
            .into_iter()
            .partition(|write| Some(write.item.life) == self.life);
        let past: BTreeSet<&ItemName> = past.iter().map(|write| &write.item).collect();
        let by_item: BTreeMap<&ItemName, &WriteRecord> =
            present.iter().map(|write| (&write.item, *write)).collect();
        self.acknowledged(&present);
        self.items(&by_item, &past);
        self.order(&present);
        self.listings();
        self.unchanged();
    }

    /// Every acknowledged item is there, under its key and in every list.
    fn acknowledged(&mut self, writes: &[&WriteRecord]) {
        let reading = self.reading;
        let listed: Vec<(Way, BTreeSet<&Key>)> = reading
            .listings
            .iter()
            .map(|(way, keys)| (*way, keys.iter().collect()))
            .collect();
        for write in writes {
            let Some(key) = write.key() else {
                self.verdict.unknown += usize::from(write.unknown);
                continue;
            };
            self.verdict.acked += 1;
            if let Some(other) = write.acks.iter().find(|other| *other != key) {
                let what = format!("{} was acknowledged as {key} and as {other}", write.item);
                self.found(Wrong::Duplicate, what);
            }
            match reading.items.get(key) {
                Some(Content::Item(item)) if *item == write.item => {}
                Some(Content::Item(other)) => {
                    let what = format!("{key} holds {other} and not {}", write.item);
                    self.found(Wrong::Lost, what);
                }
                // Said of the key below.
                Some(Content::Torn(_)) => {}
                other => {
                    let what = format!("{key} ({}) answers {other:?}", write.item);
                    self.found(Wrong::Lost, what);
                }
            }
            for (way, keys) in &listed {
                if !keys.contains(key) {
                    self.found(Wrong::Lost, format!("{key} is not in the list {way:?}"));
                }
            }
        }
    }

    /// Every item that is there was written, whole and once.
    fn items(&mut self, writes: &BTreeMap<&ItemName, &WriteRecord>, past: &BTreeSet<&ItemName>) {
        let reading = self.reading;
        let mut keys_of: BTreeMap<&ItemName, Vec<&Key>> = BTreeMap::new();
        for (key, content) in &reading.items {
            match content {
                Content::Item(item) => {
                    self.verdict.found += 1;
                    keys_of.entry(item).or_default().push(key);
                    match writes.get(item) {
                        Some(write) if write.key().is_some() => {}
                        Some(write) if write.unknown => self.verdict.surfaced += 1,
                        Some(_) => {
                            let what = format!("{key} holds {item}, which was refused");
                            self.found(Wrong::Phantom, what);
                        }
                        None if past.contains(item) => {
                            let what = format!("{key} holds {item}, which was deleted");
                            self.found(Wrong::Phantom, what);
                        }
                        None => {
                            let what = format!("{key} holds {item}, which nobody wrote here");
                            self.found(Wrong::Phantom, what);
                        }
                    }
                }
                Content::Torn(how) => self.found(Wrong::Torn, format!("{key}: {how}")),
                // A key that is listed and then not there; acknowledged ones are counted above.
                Content::Missing | Content::Unavailable(_) => {
                    let mut writes = writes.values();
                    if !writes.any(|write| write.key() == Some(key)) {
                        let what = format!("{key} is listed and answers {content:?}");
                        self.found(Wrong::Lost, what);
                    }
                }
            }
        }
        for (item, keys) in keys_of {
            if keys.len() > 1 {
                let what = format!("{item} stands under {keys:?}");
                self.found(Wrong::Duplicate, what);
            }
        }
    }

    /// A write that began after another one was acknowledged has the greater key.
    fn order(&mut self, writes: &[&WriteRecord]) {
        let mut begun: Vec<&&WriteRecord> = writes.iter().filter(|w| w.key().is_some()).collect();
        let mut acked = begun.clone();
        begun.sort_by_key(|write| write.began);
        acked.sort_by_key(|write| write.acked_at);
        let mut acked = acked.into_iter().peekable();
        let mut highest: Option<&Key> = None;
        for write in begun {
            while let Some(earlier) = acked.next_if(|other| other.acked_at < Some(write.began)) {
                highest = highest.max(earlier.key());
            }
            if let (Some(highest), Some(key)) = (highest, write.key())
                && key <= highest
            {
                let what = format!("{key} began after {highest} was acknowledged");
                self.found(Wrong::Order, what);
            }
        }
    }

    /// Lists are in order, and all the same.
    fn listings(&mut self) {
        let reading = self.reading;
        let stable = listing(reading, Way::Stable);
        for (way, keys) in &reading.listings {
            for pair in keys.windows(2) {
                if pair[0] >= pair[1] {
                    let what = format!("{way:?} lists {} before {}", pair[0], pair[1]);
                    self.found(Wrong::Unsorted, what);
                }
            }
            let (here, there): (BTreeSet<_>, BTreeSet<_>) =
                (keys.iter().collect(), stable.iter().collect());
            if let Some(key) = here.symmetric_difference(&there).next() {
                let what = format!("{key} is in one of {way:?} and {:?} alone", Way::Stable);
                self.found(Wrong::Unequal, what);
            }
        }
    }

    /// What a stable listing gave before, it gives now.
    fn unchanged(&mut self) {
        let stable = listing(self.reading, Way::Stable);
        let now: BTreeSet<&Key> = stable.iter().collect();
        let history = self.history;
        let mut known = BTreeSet::new();
        for before in &history.listings {
            if before.channel != self.reading.channel || Some(before.life) != self.life {
                continue;
            }
            for pair in before.keys.windows(2) {
                if pair[0] >= pair[1] {
                    let what = format!("{} was listed before {}", pair[0], pair[1]);
                    self.found(Wrong::Unsorted, what);
                }
            }
            let then: BTreeSet<&Key> = before.keys.iter().collect();
            let (from, to) = (before.from.as_str(), before.to.as_str());
            let begin = stable.partition_point(|key| key.as_str() < from);
            let inside = stable[begin..].iter();
            let inside = inside.take_while(|key| key.as_str() <= to);
            let range = format!("between {:?} and {:?}", before.from, before.to);
            for key in then.difference(&now) {
                if known.insert(*key) {
                    self.found(Wrong::Changed, format!("{key} went from the list {range}"));
                }
            }
            for key in inside {
                if !then.contains(key) && known.insert(key) {
                    self.found(Wrong::Changed, format!("{key} came into the list {range}"));
                }
            }
        }
    }
}

fn listing(reading: &Reading, wanted: Way) -> &[Key] {
    let found = reading.listings.iter().find(|(way, _)| *way == wanted);
    found.map_or(&[], |(_, keys)| keys)
}

#[cfg(test)]
mod tests;
