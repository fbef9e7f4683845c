//! Opening a store, whatever state its files are in.
//!
//! Sealed segments are taken at their index's word. A segment without a usable index is scanned,
//! sealed and indexed; what cannot be read in it is either where the writer was cut off, which
//! cost nothing that was promised, or damage, which is written down beside the segment and makes
//! the store say "I do not know" for that time instead of "no".

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use thiserror::Error;

use super::clockfile::{ClockFile, ClockMark};
use super::damage::{Damage, DamageBook, read_note, write_note};
use super::directory::Directory;
use super::files::{Files, LogFile, is_full};
use super::header::{FORMAT, HEADER_LEN, SegmentHeader, StoreId, salt};
use super::housekeeping::write_sealed;
use super::ids::{ChannelId, SegmentId, WriteId};
use super::index::{Entry, IndexMeta, SealedIndex};
use super::log::{Options, Shared};
use super::record::SealHead;
use super::replay::{Replayed, replay};
use super::scan::{Gap, read_header};
use super::segment::{Active, Segment, State};
use super::store::{RECALL, Undecided};
use super::writer::MARK_AHEAD;
use crate::env::{HubClock, Millis};
use crate::item::ItemKey;

/// Why a store does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk did not answer.
    #[error("{what}: {source}")]
    Io {
        /// Which file or step.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The segments were written by another store.
    #[error(
        "{segment} belongs to store {found:032x}, not to this node's store {expected:032x}: \
         is this another node's folder?"
    )]
    Foreign {
        /// The segment.
        segment: SegmentId,
        /// Whose it is.
        found: u128,
        /// Whose it should be.
        expected: u128,
    },
    /// A log says that it is another segment: it was renamed, and none of its records would be
    /// found under this name.
    #[error("the file {segment}.log is the log of {found}: it was renamed")]
    Renamed {
        /// The segment that it is named after.
        segment: SegmentId,
        /// The segment that it is.
        found: SegmentId,
    },
    /// The segments were written by a later version of the hub.
    #[error("{segment} has format {found}; this version reads up to {FORMAT}")]
    Format {
        /// The segment.
        segment: SegmentId,
        /// Its format.
        found: u32,
    },
    /// The setting differs from the one that the segments were written with.
    #[error(
        "spoke.bucket_seconds is {configured}, but {segment} was written with {found}: \
         it is fixed when the data folder is created"
    )]
    Width {
        /// The segment.
        segment: SegmentId,
        /// What the segment says, in seconds.
        found: i64,
        /// What the config says, in seconds.
        configured: i64,
    },
}

fn io_at(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    let what = what.into();
    |source| OpenError::Io { what, source }
}

/// What opening gives besides the store: segments that could not be sealed yet.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) unsealed: Vec<Arc<Segment>>,
}

/// Opens the store in a folder.
pub(super) fn open(
    files: &Arc<dyn Files>,
    options: Options,
    id: StoreId,
    boot: u128,
    clock: Arc<HubClock>,
) -> Result<Opened, OpenError> {
    let (clock_file, closed) = ClockFile::open(&**files).map_err(io_at("CLOCK"))?;
    let names = files.list().map_err(io_at("the folder"))?;
    let mut recovery = Recovery {
        shared: Shared {
            directory: Directory::new(options.bucket_millis),
            open: Shared::open_cache(&options),
            files: Arc::clone(files),
            options,
            id,
            boot,
            clock,
            segments: crossbeam_skiplist::SkipMap::new(),
            layout: Mutex::new(()),
            damage: DamageBook::default(),
            suspects: Mutex::default(),
            mark: AtomicI64::new(Millis::MIN.get()),
            holds_mark: AtomicBool::new(false),
            sequence: AtomicU64::new(0),
            doubt: AtomicBool::new(clock_file.doubt()),
            holds_from: AtomicI64::new(clock_file.holds_from().get()),
            clock_file: Mutex::new(clock_file),
            full: AtomicBool::new(false),
            free: AtomicU64::new(0),
            room: AtomicU64::new(u64::MAX),
            failed: Mutex::new(None),
            recent: Mutex::new(Vec::new()),
            decided: Mutex::default(),
            undecided: Mutex::default(),
        },
        unsealed: Vec::new(),
        closed,
        removed: Mutex::default(),
        pending: Mutex::default(),
    };
    if let Some(closed) = closed.filter(|closed| !closed.clean) {
        recovery.note(closed.mark, closed.sequence);
    }
    let of = |ending: &str| -> BTreeSet<SegmentId> {
        let stems = names.iter().filter_map(|name| name.strip_suffix(ending));
        stems.filter_map(SegmentId::from_stem).collect()
    };
    for draft in names
        .iter()
        .filter(|name| name.strip_suffix(".tmp").is_some())
    {
        files.remove(draft).map_err(io_at(draft.as_str()))?;
    }
    let (logs, indexes, damaged) = (of(".log"), of(".idx"), of(".damage"));
    for segment in &damaged {
        recovery.known_damage(*segment)?;
    }
    for segment in &logs {
        recovery.segment(*segment, indexes.contains(segment))?;
    }
    for segment in indexes.difference(&logs) {
        recovery.lost_log(*segment)?;
    }
    recovery.finish()
}

struct Recovery {
    shared: Shared,
    unsealed: Vec<Arc<Segment>>,
    /// What the clock file says of the end of the last run.
    closed: Option<ClockMark>,
    /// What was removed, as far as it was looked at.
    removed: Mutex<HashSet<(ChannelId, ItemKey)>>,
    /// Items that this node coordinates and that may be undecided.
    pending: Mutex<Vec<Undecided>>,
}

impl Recovery {
    fn segment(&mut self, id: SegmentId, indexed: bool) -> Result<(), OpenError> {
        let salt = salt(self.shared.id, id);
        if indexed {
            self.refuse_strange(id)?;
            match self.indexed(id, salt) {
                Ok(meta) => {
                    let segment = Segment::new(id, salt, State::Sealed(meta));
                    self.shared.segments.insert(id, segment);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(segment = %id, %error, "an index cannot be used and is made again");
                }
            }
        }
        // The index is only replaced: that there was one is known until there is a new one.
        self.unindexed(id, salt, indexed)
    }

    /// Refuses a sealed log that is not this store's, or not of these options: its index does not
    /// say. A damaged header is met by whoever scans the log.
    fn refuse_strange(&self, id: SegmentId) -> Result<(), OpenError> {
        let name = id.log_name();
        let file = self.shared.files.open(&name).map_err(io_at(&*name))?;
        match read_header(&*file) {
            Ok(Some(header)) => self.check_header(id, &header).map(drop),
            Ok(None) => Ok(()),
            // One bad sector of one segment must not keep the node from starting.
            Err(error) => {
                tracing::warn!(segment = %id, %error, "a segment's header cannot be read");
                Ok(())
            }
        }
    }

    /// Takes a sealed segment at its index's word.
    fn indexed(&mut self, id: SegmentId, salt: u64) -> Result<IndexMeta, String> {
        let open = |name: &str| self.shared.files.open(name).map_err(|e| e.to_string());
        let index = SealedIndex::open(open(&id.index_name())?, salt).map_err(|e| e.to_string())?;
        let meta = index.meta().clone();
        let log_len = open(&id.log_name())?.length().map_err(|e| e.to_string())?;
        if log_len < meta.log_len {
            // The index still says what was there: to use it is to know what is missing.
            let gap = Gap {
                from: log_len,
                to: meta.log_len,
                channel: None,
            };
            self.damaged(id, &[gap]);
            self.write_note(id).map_err(|e| e.to_string())?;
        }
        for summary in index.channels() {
            self.shared.directory.add(summary.channel, id.bucket);
        }
        self.note(meta.mark, meta.sequence);
        self.remember_writes(id, &index)?;
        Ok(meta)
    }

    /// Scans, seals and indexes a log. `was_sealed` if it had an index, of whatever use.
    fn unindexed(&mut self, id: SegmentId, salt: u64, was_sealed: bool) -> Result<(), OpenError> {
        let name = id.log_name();
        let file = self.shared.files.open(&name).map_err(io_at(&*name))?;
        let length = file.length().map_err(io_at(&*name))?;
        let header = read_header(&*file).map_err(io_at(&*name))?;
        if length <= HEADER_LEN as u64 && header.is_none() {
            if was_sealed {
                self.damaged(id, &[Gap::SOMEWHERE]);
                if !self.write_note(id)? {
                    return Ok(());
                }
            }
            // Else it was cut off while it was created: the header is on disk before anything else.
            return self.shared.files.remove(&name).map_err(io_at(&*name));
        }
        let promises_kept = match header {
            Some(header) => self.check_header(id, &header)?,
            // Its records name the segment in their own checksums: nothing is lost with it.
            None => false,
        };
        // What the system kept in memory may be more than the disk has.
        file.forget_cached().map_err(io_at(&*name))?;
        let mut found = replay(&*file, salt, was_sealed).map_err(io_at(&*name))?;
        if header.is_none() {
            tracing::warn!(segment = %id, "a segment's header is damaged");
            if found.sequence == 0 {
                // Nothing in it can be read: that is no cut.
                found = replay(&*file, salt, true).map_err(io_at(&*name))?;
            }
        }
        // All of a sealed one was synced.
        if !promises_kept && !found.sealed {
            self.unsure()?;
        }
        self.note(found.mark, found.sequence);
        self.damaged(id, &found.damage);
        for (channel, key) in &found.decided {
            self.shared.decided_to(*channel, *key);
        }
        for entry in &found.entries {
            self.shared.directory.add(entry.channel, id.bucket);
            self.remember_write(entry);
            if entry.flags.pending {
                let named = found.named.remove(&entry.position());
                self.remember_pending(entry, named);
            }
        }
        let segment = self.seal(id, salt, &file, found).map_err(io_at(&*name))?;
        self.shared.segments.insert(id, segment);
        Ok(())
    }

    fn damaged(&self, id: SegmentId, gaps: &[Gap]) {
        for gap in gaps {
            tracing::error!(segment = %id, from = gap.from, to = gap.to, "records are damaged");
            self.shared.damage.add(Damage {
                segment: id,
                gap: *gap,
            });
        }
    }

    fn seal(
        &mut self,
        id: SegmentId,
        salt: u64,
        file: &Arc<dyn LogFile>,
        found: Replayed,
    ) -> io::Result<Arc<Segment>> {
        let head = SealHead {
            sequence: found.sequence,
            mark: found.mark,
            cuts: found.cuts.clone(),
        };
        // Until it is sealed it counts as active; the state is replaced just below.
        let active = Active::recovered(Arc::clone(file), found.length, found.cuts);
        let segment = Segment::new(id, salt, State::Active(Arc::clone(&active)));
        if !found.sealed {
            file.truncate(found.length)?;
        }
        // What is found is shown to readers even if the seal must wait for room on the disk.
        file.sync()?;
        active.set_synced(found.length);
        let (shared, log, length) = (&self.shared, &**file, found.length);
        let entries = found.entries.iter().copied();
        let sealed = if found.sealed {
            shared.write_index(&segment, length, head.mark, head.sequence, entries)
        } else {
            write_sealed(shared, &segment, log, length, head, entries)
        };
        match sealed {
            Ok(meta) => segment.seal(meta),
            Err(error) if is_full(&error) => {
                // No room for an index: it stays in memory until there is.
                let entries = found.entries.into_iter();
                entries.for_each(|entry| active.add(entry));
                self.unsealed.push(Arc::clone(&segment));
            }
            Err(error) => return Err(error),
        }
        Ok(segment)
    }

    /// Refuses a log that is not this store's; says whether an unsealed one with this header is
    /// sure to hold all that was promised.
    fn check_header(&self, id: SegmentId, header: &SegmentHeader) -> Result<bool, OpenError> {
        if header.store != self.shared.id {
            return Err(OpenError::Foreign {
                segment: id,
                found: header.store.0,
                expected: self.shared.id.0,
            });
        }
        if header.id != id {
            return Err(OpenError::Renamed {
                segment: id,
                found: header.id,
            });
        }
        if header.format > FORMAT {
            return Err(OpenError::Format {
                segment: id,
                found: header.format,
            });
        }
        if header.width != self.shared.options.bucket_millis {
            return Err(OpenError::Width {
                segment: id,
                found: header.width / 1000,
                configured: self.shared.options.bucket_millis / 1000,
            });
        }
        Ok(header.synced || header.boot == self.shared.boot)
    }

    /// Something that was promised may not be in the logs, unless the store was closed in order.
    /// That is on disk before the first log is completed, which removes the signs of it.
    fn unsure(&self) -> Result<(), OpenError> {
        if self.closed.is_some_and(|closed| closed.clean) {
            return Ok(());
        }
        self.doubt()
    }

    fn doubt(&self) -> Result<(), OpenError> {
        let doubted = self.shared.doubt.swap(true, Ordering::Relaxed);
        if doubted {
            return Ok(());
        }
        self.shared.replace_mark(true).map_err(io_at("CLOCK"))
    }

    fn note(&self, mark: Millis, sequence: u64) {
        self.shared.mark.fetch_max(mark.get(), Ordering::Relaxed);
        self.shared.sequence.fetch_max(sequence, Ordering::Relaxed);
    }

    fn remember_writes(&self, id: SegmentId, index: &SealedIndex) -> Result<(), String> {
        let meta = index.meta();
        let keyed = meta.remembered > 0 && self.ends_within(id, self.shared.options.dedup_millis);
        if !keyed && meta.undecided == 0 && !self.ends_within(id, RECALL) {
            return Ok(());
        }
        let look = |entry: &Entry| {
            self.remember_write(entry);
            if entry.flags.pending {
                // Its record names members, and later ones may have named more.
                self.remember_pending(entry, None);
            }
        };
        index.each(look).map_err(|error| error.to_string())
    }

    fn remember_write(&self, entry: &Entry) {
        let bucket = self.shared.directory.bucket(entry.key.millis);
        let of_bucket = SegmentId { bucket, number: 0 };
        let since = self.shared.clock.now().minus(RECALL);
        if entry.removed {
            self.removed.lock().insert(entry.position());
        } else if entry.key.millis >= since
            || (entry.flags.keyed && self.ends_within(of_bucket, self.shared.options.dedup_millis))
        {
            let write: (ChannelId, _, WriteId, _) =
                (entry.channel, entry.key, entry.write_id, entry.flags);
            self.shared.recent.lock().push(write);
        }
    }

    fn remember_pending(&self, entry: &Entry, replicas: Option<Vec<String>>) {
        self.pending.lock().push(Undecided {
            channel: entry.channel,
            key: entry.key,
            write_id: entry.write_id,
            flags: entry.flags,
            replicas,
        });
    }

    /// Whether a segment's time ended no longer ago than that, in milliseconds.
    fn ends_within(&self, id: SegmentId, window: i64) -> bool {
        self.shared.directory.end(id.bucket) >= self.shared.clock.now().minus(window)
    }

    fn known_damage(&self, id: SegmentId) -> Result<(), OpenError> {
        let gaps = read_note(&*self.shared.files, id).map_err(io_at(id.damage_name()))?;
        for gap in gaps {
            self.shared.damage.add(Damage { segment: id, gap });
        }
        Ok(())
    }

    /// Writes down the damage of a segment that is not indexed anew; gives whether there was room
    /// for it. Without the note the damage must stay as it is, to be found again.
    fn write_note(&self, id: SegmentId) -> Result<bool, OpenError> {
        let gaps = self.shared.damage.of_segment(id);
        match write_note(&*self.shared.files, id, &gaps) {
            Ok(()) => Ok(true),
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(io_at(id.damage_name())(error)),
        }
    }

    /// An index whose log is gone: all of its items are lost.
    fn lost_log(&self, id: SegmentId) -> Result<(), OpenError> {
        tracing::error!(segment = %id, "a segment's log is gone, its index is still there");
        self.damaged(id, &[Gap::SOMEWHERE]);
        if !self.write_note(id)? {
            return Ok(());
        }
        // A later segment may get this name, and must not find an index that is not its own.
        let name = id.index_name();
        self.shared.files.remove(&name).map_err(io_at(name))
    }

    fn finish(self) -> Result<Opened, OpenError> {
        let sequence = self.shared.sequence.load(Ordering::Relaxed);
        if self.closed.is_none() {
            // Every run begins by writing a mark. Where there is none, it was lost with all it said.
            if !self.shared.segments.is_empty() || self.shared.damage.count() > 0 {
                self.doubt()?;
            } else if self.shared.options.has_peers {
                // Whatever a former self of this node promised, it was before now.
                let mark = self.shared.clock.now().plus(MARK_AHEAD);
                self.shared.mark.store(mark.get(), Ordering::Relaxed);
                self.shared.doubt.store(true, Ordering::Relaxed);
                self.shared.replace_mark(true).map_err(io_at("CLOCK"))?;
            } else {
                self.shared.replace_mark(false).map_err(io_at("CLOCK"))?;
            }
        }
        if let Some(closed) = self.closed.filter(|closed| closed.clean) {
            if closed.sequence >= sequence {
                self.shared.mark.store(closed.mark.get(), Ordering::Relaxed);
                self.note(closed.mark, closed.sequence);
                // What this run appends may be lost with every sign of it: the file must not say
                // then that nothing was.
                let doubt = self.shared.doubt.load(Ordering::Relaxed);
                self.shared.replace_mark(doubt).map_err(io_at("CLOCK"))?;
            } else {
                // The file is older than the logs.
                self.note(closed.mark, closed.sequence);
                self.doubt()?;
            }
        }
        let removed = self.removed.into_inner();
        let is_held = |channel: ChannelId, key: ItemKey| !removed.contains(&(channel, key));
        let mut recent = self.shared.recent.lock();
        recent.retain(|(channel, key, ..)| is_held(*channel, *key));
        drop(recent);
        let mut pending = self.pending.into_inner();
        pending.retain(|item| {
            is_held(item.channel, item.key) && !self.shared.is_decided(item.channel, &item.key)
        });
        // A record written twice is one item.
        pending.sort_by_key(|item| (item.channel, item.key));
        pending.dedup_by_key(|item| (item.channel, item.key));
        *self.shared.undecided.lock() = pending;
        super::housekeeping::look_at_disk(&self.shared);
        Ok(Opened {
            shared: Arc::new(self.shared),
            unsealed: self.unsealed,
        })
    }
}
