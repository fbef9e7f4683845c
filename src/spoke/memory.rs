//! A short-term store in memory: what the segmented log does, without the log.
//!
//! It is the model that the log is tested against, and the store of simulated nodes. It answers
//! before the call returns, on the caller's thread, unless it is told to hold its answers back; so
//! who calls it must not hold a lock that the answer takes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::directory::Direction;
use super::housekeeping::{Keeps, Retention};
use super::ids::{ChannelId, SegmentId, WriteId};
use super::index::{Entry, ReadMode};
use super::record::{ItemFlags, ItemHead, Record, decode_body};
use super::store::{
    Append, AppendError, Done, Naming, RECALL, Range, ReadError, Removal, SpokeStore, StoreStatus,
    StoredItem, StoredPayload, Undecided,
};
use super::writer::MARK_AHEAD;
use crate::env::{HubClock, Millis};
use crate::item::ItemKey;

/// A store in memory. It never loses anything but what it is told to.
pub struct MemoryStore {
    clock: Arc<HubClock>,
    dedup_millis: i64,
    inner: Mutex<Inner>,
    ranges: AtomicU64,
}

/// What an item is found by.
type Position = (ChannelId, ItemKey);

/// What an entry stands for; nothing, where an item was removed that was never held.
type Contents = Option<(ItemHead, Bytes)>;

#[allow(clippy::struct_excessive_bools, reason = "independent states")]
struct Inner {
    items: BTreeMap<Position, (Entry, Contents)>,
    /// Counts the records, as offsets do in a log.
    records: u64,
    mark: Millis,
    holds_mark: bool,
    holds_from: Millis,
    recent: Vec<(ChannelId, ItemKey, WriteId, ItemFlags)>,
    decided: BTreeMap<ChannelId, ItemKey>,
    undecided: Vec<Undecided>,
    full: bool,
    failed: Option<String>,
    intact: bool,
    closed: bool,
    /// Whether answers wait, and those that do.
    holds: bool,
    held: VecDeque<Command>,
}

enum Command {
    Append(Append),
    Remove(Removal),
    Name(Naming),
    AdvanceMark(Done),
    Whole(Done),
}

impl Command {
    fn answer(self, outcome: Result<(), AppendError>) {
        match self {
            Self::Append(append) => (append.done)(outcome),
            Self::Remove(removal) => (removal.done)(outcome),
            Self::Name(naming) => (naming.done)(outcome),
            Self::AdvanceMark(done) | Self::Whole(done) => done(outcome),
        }
    }
}

impl MemoryStore {
    /// An empty store, which remembers write ids for that long.
    pub fn new(clock: Arc<HubClock>, dedup_millis: i64) -> Self {
        Self {
            clock,
            dedup_millis,
            inner: Mutex::new(Inner {
                items: BTreeMap::new(),
                records: 0,
                mark: Millis::MIN,
                holds_mark: false,
                holds_from: Millis::MIN,
                recent: Vec::new(),
                decided: BTreeMap::new(),
                undecided: Vec::new(),
                full: false,
                failed: None,
                intact: true,
                closed: false,
                holds: false,
                held: VecDeque::new(),
            }),
            ranges: AtomicU64::new(0),
        }
    }

    /// The store as the next run finds it: after it was closed, or after a kill, with all that was
    /// answered and nothing of what was held back. `intact` is what it says of itself.
    #[must_use]
    pub fn reopened(&self, clock: Arc<HubClock>, intact: bool) -> Self {
        let inner = self.inner.lock();
        let since = clock.now().minus(self.dedup_millis);
        let entries = inner.items.values().map(|(entry, _)| entry);
        let recall = clock.now().minus(RECALL);
        let remembered = entries.filter(|e| {
            let window = if e.flags.keyed { since } else { recall };
            !e.removed && e.key.millis >= window
        });
        let items = inner.items.values();
        let undecided = items.filter(|(e, _)| {
            let decided = inner.decided.get(&e.channel);
            e.flags.pending && !e.removed && decided.is_none_or(|to| e.key > *to)
        });
        let undecided = undecided.map(|(e, contents)| Undecided {
            channel: e.channel,
            key: e.key,
            write_id: e.write_id,
            flags: e.flags,
            replicas: contents.as_ref().map(|(head, _)| head.replicas.clone()),
        });
        Self {
            clock,
            dedup_millis: self.dedup_millis,
            inner: Mutex::new(Inner {
                items: inner.items.clone(),
                records: inner.records,
                mark: inner.mark,
                holds_mark: false,
                holds_from: inner.holds_from,
                recent: remembered
                    .map(|e| (e.channel, e.key, e.write_id, e.flags))
                    .collect(),
                decided: inner.decided.clone(),
                undecided: undecided.collect(),
                full: false,
                failed: None,
                intact,
                closed: false,
                holds: false,
                held: VecDeque::new(),
            }),
            ranges: AtomicU64::new(0),
        }
    }

    /// How many ranges were read.
    pub fn ranges(&self) -> u64 {
        self.ranges.load(Ordering::Relaxed)
    }

    /// From now on nothing is done or answered until [`Self::step`] is called.
    pub fn hold(&self) {
        self.inner.lock().holds = true;
    }

    /// Does and answers all that is held back, and from now on everything at once again.
    pub fn release(&self) {
        self.inner.lock().holds = false;
        while self.step() {}
    }

    /// Does and answers the oldest of what is held back; gives whether there was any.
    pub fn step(&self) -> bool {
        let command = self.inner.lock().held.pop_front();
        let any = command.is_some();
        if let Some(command) = command {
            self.carry_out(command);
        }
        any
    }

    /// Whether the disk is full: appends and removals are answered so.
    pub fn set_full(&self, full: bool) {
        self.inner.lock().full = full;
    }

    /// The store fails for good.
    pub fn fail(&self, reason: &str) {
        let mut inner = self.inner.lock();
        inner.failed.get_or_insert_with(|| reason.to_owned());
        inner.intact = false;
    }

    /// Forgets the items that nobody keeps; gives how many went.
    pub fn expire(&self, retention: &dyn Retention) -> usize {
        let mut inner = self.inner.lock();
        let before = inner.items.len();
        inner
            .items
            .retain(|(channel, key), _| match retention.keeps(*channel) {
                Keeps::All => true,
                Keeps::From(first) => *key >= first,
                Keeps::Nothing => false,
            });
        before - inner.items.len()
    }

    /// Forgets an item and that it was ever there, as damage or a lost disk would.
    pub fn lose(&self, channel: ChannelId, key: &ItemKey) {
        self.inner.lock().items.remove(&(channel, *key));
    }

    fn take(&self, command: Command) {
        let mut inner = self.inner.lock();
        if inner.holds && !inner.closed {
            inner.held.push_back(command);
            return;
        }
        drop(inner);
        self.carry_out(command);
    }

    fn carry_out(&self, command: Command) {
        let outcome = self.inner.lock().apply(&command, self.clock.now());
        command.answer(outcome);
    }
}

impl Inner {
    fn apply(&mut self, command: &Command, now: Millis) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if let Some(reason) = self.failed.clone() {
            return Err(AppendError::Failed { reason });
        }
        let mark = now.plus(MARK_AHEAD);
        match command {
            Command::Append(_) | Command::Remove(_) | Command::Name(_) if self.full => {
                return Err(AppendError::Full);
            }
            Command::Append(append) => self.append(append)?,
            Command::Remove(removal) => self.remove(removal),
            Command::Name(naming) => self.name(naming),
            Command::AdvanceMark(_) if self.mark >= now.plus(MARK_AHEAD / 2) => return Ok(()),
            Command::AdvanceMark(_) => {}
            Command::Whole(_) => {
                self.intact = true;
                return Ok(());
            }
        }
        if !self.holds_mark || matches!(command, Command::AdvanceMark(_)) {
            self.mark = self.mark.max(mark);
        }
        Ok(())
    }

    fn append(&mut self, append: &Append) -> Result<(), AppendError> {
        let Ok((Record::Item(head), _)) = decode_body(append.record.head()) else {
            let reason = "the record is no item".to_owned();
            return Err(AppendError::Refused { reason });
        };
        let entry = Entry {
            channel: append.channel,
            key: append.key,
            offset: self.next_offset(),
            body_len: append.record.frame().body_len,
            flags: append.flags,
            removed: false,
            write_id: append.write_id,
        };
        let contents = Some((head, append.record.payload().clone()));
        let position = entry.position();
        // A removal stands for good.
        if self.items.get(&position).is_none_or(|(e, _)| !e.removed) {
            self.items.insert(position, (entry, contents));
        }
        Ok(())
    }

    fn remove(&mut self, removal: &Removal) {
        let entry = Entry {
            channel: removal.channel,
            key: removal.key,
            offset: self.next_offset(),
            body_len: 0,
            flags: ItemFlags::default(),
            removed: true,
            write_id: removal.write_id,
        };
        self.items.insert(entry.position(), (entry, None));
    }

    fn name(&mut self, naming: &Naming) {
        let position = (naming.channel, naming.key);
        if let Some((_, Some((head, _)))) = self.items.get_mut(&position) {
            head.replicas.extend(naming.replicas.iter().cloned());
        }
    }

    fn next_offset(&mut self) -> u64 {
        self.records += 1;
        self.records
    }
}

impl SpokeStore for MemoryStore {
    fn append(&self, append: Append) {
        if append.key.millis.get() < 0 {
            let reason = format!("Spoke cannot hold the time {}", append.key.millis);
            (append.done)(Err(AppendError::Refused { reason }));
            return;
        }
        self.take(Command::Append(append));
    }

    fn remove(&self, removal: Removal) {
        self.take(Command::Remove(removal));
    }

    fn decided_to(&self, channel: ChannelId, key: ItemKey) {
        let mut inner = self.inner.lock();
        let to = inner.decided.entry(channel).or_insert(key);
        *to = key.max(*to);
    }

    fn name(&self, naming: Naming) {
        self.take(Command::Name(naming));
    }

    fn undecided(&self) -> Vec<Undecided> {
        std::mem::take(&mut self.inner.lock().undecided)
    }

    fn advance_mark(&self, done: Done) {
        self.take(Command::AdvanceMark(done));
    }

    fn mark(&self) -> Millis {
        self.inner.lock().mark
    }

    fn holds_from(&self) -> Millis {
        self.inner.lock().holds_from
    }

    fn let_go(&self, from: Millis) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.holds_from = inner.holds_from.max(from);
        Ok(())
    }

    fn hold_mark(&self, holds: bool) {
        self.inner.lock().holds_mark = holds;
    }

    fn find(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        _mode: ReadMode,
    ) -> Result<Option<Entry>, ReadError> {
        let inner = self.inner.lock();
        let found = inner.items.get(&(channel, *key)).map(|(entry, _)| *entry);
        Ok(found.filter(|entry| !entry.removed))
    }

    fn range(&self, range: &Range, _mode: ReadMode) -> Result<Vec<Entry>, ReadError> {
        self.ranges.fetch_add(1, Ordering::Relaxed);
        if range.from >= range.to {
            return Ok(Vec::new());
        }
        let inner = self.inner.lock();
        let (from, to) = ((range.channel, range.from), (range.channel, range.to));
        let entries = inner.items.range(from..to).map(|(_, (entry, _))| *entry);
        let held = entries.filter(|entry| !entry.removed);
        Ok(match range.direction {
            Direction::Ascending => held.take(range.limit).collect(),
            Direction::Descending => held.rev().take(range.limit).collect(),
        })
    }

    fn read(&self, entry: &Entry, _mode: ReadMode) -> Result<StoredItem, ReadError> {
        let inner = self.inner.lock();
        match inner.items.get(&entry.position()) {
            Some((held, Some((head, payload)))) if held == entry => Ok(StoredItem {
                head: head.clone(),
                payload: StoredPayload::Whole(payload.clone()),
            }),
            _ => Err(ReadError::Gone {
                segment: SegmentId {
                    bucket: entry.key.millis,
                    number: 0,
                },
            }),
        }
    }

    fn recent_writes(&self) -> Vec<(ChannelId, ItemKey, WriteId, ItemFlags)> {
        std::mem::take(&mut self.inner.lock().recent)
    }

    fn status(&self) -> StoreStatus {
        let inner = self.inner.lock();
        let payloads = inner.items.values().filter_map(|(_, c)| c.as_ref());
        StoreStatus {
            failed: inner.failed.clone(),
            full: inner.full,
            items: inner.items.len() as u64,
            bytes: payloads.map(|(_, payload)| payload.len() as u64).sum(),
            intact: inner.intact,
            ..StoreStatus::default()
        }
    }

    fn is_full(&self) -> bool {
        self.inner.lock().full
    }

    fn failure(&self) -> Option<String> {
        self.inner.lock().failed.clone()
    }

    fn made_whole(&self, done: Done) {
        self.take(Command::Whole(done));
    }

    fn close(&self, now: Millis) -> bool {
        while self.step() {}
        let mut inner = self.inner.lock();
        if inner.failed.is_none() && !inner.closed {
            inner.mark = now;
        }
        inner.closed = true;
        true
    }
}
