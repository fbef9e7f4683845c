//! What clients did, and what they were told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::client::Answer;
use crate::item::{ItemName, Key};

/// All that is known of a run before it is checked.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Every write that was begun.
    pub writes: Vec<WriteRecord>,
    /// Stable listings, each complete for its range.
    pub listings: Vec<Listing>,
    /// The channels, and how they stand.
    pub channels: BTreeMap<String, Standing>,
}

/// A write, with every try of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRecord {
    /// The item.
    pub item: ItemName,
    /// The place of the first try in the order of all that clients did.
    pub began: u64,
    /// The place of the first acknowledgement.
    pub acked_at: Option<u64>,
    /// The keys that acknowledgements named. More than one, if it was tried again.
    pub acks: Vec<Key>,
    /// Whether the outcome of a try is not known, or one is under way.
    pub unknown: bool,
}

impl WriteRecord {
    /// The key that it was acknowledged with first.
    pub fn key(&self) -> Option<&Key> {
        self.acks.first()
    }
}

/// A listing of stable items, complete for all keys from `from` up to `to`, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The channel.
    pub channel: String,
    /// Which life of the channel.
    pub life: u32,
    /// Texts that bound keys: the empty one is below all of them.
    pub from: String,
    /// As `from`.
    pub to: String,
    /// What it listed.
    pub keys: Vec<Key>,
}

/// How a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was made, or found, in that life.
    Alive(u32),
    /// It is being made in that life, or deleted, and how that ended is not known.
    Unsure(u32),
    /// It was deleted, or never made.
    Gone,
}

/// A history in the making, for many clients at once.
#[derive(Debug, Default)]
pub struct Recorder {
    history: Mutex<History>,
    events: AtomicU64,
}

/// A write in a history.
#[derive(Debug, Clone, Copy)]
pub struct WriteNumber(usize);

impl Recorder {
    /// Looks at the history as it is now.
    pub fn with<T>(&self, look: impl FnOnce(&mut History) -> T) -> T {
        // A client that panicked has left what it knew.
        let mut history = self
            .history
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&mut history)
    }

    /// A write begins: from now on its outcome is unknown, until it is told.
    pub fn begin(&self, item: ItemName) -> WriteNumber {
        self.with(|history| {
            history.writes.push(WriteRecord {
                item,
                began: self.events.fetch_add(1, Ordering::SeqCst),
                acked_at: None,
                acks: Vec::new(),
                unknown: false,
            });
            WriteNumber(history.writes.len() - 1)
        })
    }

    /// A try of a write begins.
    pub fn trying(&self, write: WriteNumber) -> Trying<'_> {
        let before = self.with(|history| {
            let record = &mut history.writes[write.0];
            std::mem::replace(&mut record.unknown, true)
        });
        Trying {
            recorder: self,
            write,
            unknown_before: before,
        }
    }

    /// The key that a write was acknowledged with.
    pub fn key(&self, write: WriteNumber) -> Option<Key> {
        self.with(|history| history.writes[write.0].key().cloned())
    }

    /// A complete stable listing was read.
    pub fn listed(&self, listing: Listing) {
        self.with(|history| history.listings.push(listing));
    }

    /// A channel stands so.
    pub fn stands(&self, channel: &str, standing: Standing) {
        self.with(|history| history.channels.insert(channel.to_owned(), standing));
    }
}

/// A try that is under way. If it is dropped, its outcome stays unknown.
pub struct Trying<'a> {
    recorder: &'a Recorder,
    write: WriteNumber,
    unknown_before: bool,
}

impl Trying<'_> {
    /// The try has ended so.
    pub fn ended(self, answer: &Answer) {
        self.recorder.with(|history| {
            let record = &mut history.writes[self.write.0];
            match answer {
                Answer::Acked(key) => {
                    let at = self.recorder.events.fetch_add(1, Ordering::SeqCst);
                    record.acked_at.get_or_insert(at);
                    record.acks.push(key.clone());
                    record.unknown = self.unknown_before;
                }
                Answer::Refused(..) | Answer::Unreachable => record.unknown = self.unknown_before,
                Answer::Unknown(_) => {}
            }
        });
    }
}
