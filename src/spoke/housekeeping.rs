//! What the store does in the background: sealing, expiry, syncing, and looking at the disk.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::damage::Damage;
use super::files::{LogFile, is_full};
use super::ids::{ChannelId, SegmentId};
use super::index::{ChannelSummary, Entry, IndexMeta};
use super::log::{Durability, Shared};
use super::record::{Encoded, Record, SealHead};
use super::replay::replay;
use super::segment::{Segment, State};
use super::store::ReadError;
use crate::env::Millis;
use crate::item::ItemKey;

/// How long a channel keeps its items, as the store needs to know it.
pub trait Retention: Send + Sync {
    /// What a channel's items must reach to be kept.
    fn keeps(&self, channel: ChannelId) -> Keeps;

    /// The time before which everything is in the archive, and old enough to be read from there; the
    /// lowest there is where there is no archive. It may go down again when something older comes, and
    /// does so before that is stored.
    fn evicts_to(&self) -> Millis {
        Millis::MIN
    }
}

/// What is kept of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Everything.
    All,
    /// Items whose key is not below this one.
    From(ItemKey),
    /// Nothing: the channel is gone.
    Nothing,
}

/// Whether a segment with these contents may go: nobody keeps any of it.
pub fn expired(channels: &[ChannelSummary], retention: &dyn Retention) -> bool {
    channels
        .iter()
        .all(|summary| match retention.keeps(summary.channel) {
            Keeps::All => false,
            Keeps::From(key) => summary.last < key,
            Keeps::Nothing => true,
        })
}

pub(super) enum Chore {
    /// The writer has let go of a segment.
    Seal(Arc<Segment>),
    /// Look for expired segments now.
    Expire(Sender<usize>),
    /// Do now what is done now and then.
    Tidy(Sender<()>),
    /// Say when the segments that were let go of before are sealed, or cannot be.
    Sealed(Sender<()>),
    /// The store closes.
    Stop,
}

/// How often the disk's room is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often segments are looked at for expiry, in looks at the disk.
const LOOKS_PER_EXPIRY: u32 = 120;
/// A segment that was kept is not looked at again for this long: reads leave out what is past its
/// channel's retention anyway, so expiry may be late but must not be a burden.
const PATIENCE: Duration = Duration::from_hours(1);

pub(super) struct Housekeeping {
    pub(super) shared: Arc<Shared>,
    pub(super) chores: Receiver<Chore>,
    pub(super) retention: Arc<dyn Retention>,
    pub(super) unsealed: Vec<Arc<Segment>>,
}

impl Housekeeping {
    pub(super) fn run(mut self) {
        let mut looks = 0u32;
        let mut looked = self.shared.clock.boot();
        loop {
            let mut idle = false;
            match self.chores.recv_timeout(LOOK) {
                Ok(Chore::Seal(segment)) => {
                    self.unsealed.push(segment);
                    self.seal_all();
                }
                Ok(Chore::Expire(done)) => {
                    let gone = self.evict() + self.expire(Duration::ZERO);
                    let _ = done.send(gone);
                }
                Ok(Chore::Tidy(done)) => {
                    self.tidy();
                    let _ = done.send(());
                }
                Ok(Chore::Sealed(done)) => {
                    self.seal_all();
                    let _ = done.send(());
                }
                Ok(Chore::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => idle = true,
            }
            // However many segments come to be sealed, the disk is looked at and expiry goes on.
            let now = self.shared.clock.boot();
            if idle || now.saturating_sub(looked) >= LOOK {
                looked = now;
                self.tidy();
                looks += 1;
                self.evict();
                if looks.is_multiple_of(LOOKS_PER_EXPIRY) {
                    // Where room is short, what was just given up must not wait for its turn.
                    let full = self.shared.full.load(Ordering::Relaxed);
                    self.expire(if full { Duration::ZERO } else { PATIENCE });
                }
            }
        }
    }

    fn tidy(&mut self) {
        look_at_disk(&self.shared);
        // What has failed is opened again, and its files are then somebody else's.
        if self.shared.failure().is_some() {
            return;
        }
        self.seal_all();
        mend_all(&self.shared);
    }

    /// Seals what waits for it; what cannot be sealed now (the disk is full) waits on.
    fn seal_all(&mut self) {
        let waiting = std::mem::take(&mut self.unsealed);
        for segment in waiting {
            if self.shared.failure().is_some() {
                return;
            }
            match seal(&self.shared, &segment) {
                Ok(()) => {}
                Err(error) if is_full(&error) => self.unsealed.push(segment),
                Err(error) => {
                    self.shared.fail(format!("seal {}: {error}", segment.id));
                }
            }
        }
    }

    /// Removes the sealed segments of times that the archive has; gives how many.
    fn evict(&self) -> usize {
        let to = self.retention.evicts_to();
        let mut gone = 0;
        for entry in &self.shared.segments {
            let segment = entry.value();
            let end = self.shared.directory.end(segment.id.bucket);
            if end > to || self.shared.failure().is_some() {
                break;
            }
            match self.evict_one(segment, end, to) {
                Ok(true) => gone += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(segment = %segment.id, %error, "a segment that is archived did not go");
                    break;
                }
            }
        }
        crate::metric::segments_evicted(gone);
        gone
    }

    fn evict_one(&self, segment: &Segment, end: Millis, to: Millis) -> io::Result<bool> {
        let shared = &*self.shared;
        let State::Sealed(meta) = &*segment.state() else {
            return Ok(false);
        };
        shared.let_go(to)?;
        // Something older than what is archived may have come since: that was said before it was
        // stored, and so before this segment could have it.
        if end > self.retention.evicts_to() {
            return Ok(false);
        }
        remove(shared, segment, meta.mark)?;
        tracing::debug!(segment = %segment.id, "a segment went, as the archive has it");
        Ok(true)
    }

    /// Removes the sealed segments that nobody keeps anything of; gives how many.
    fn expire(&self, patience: Duration) -> usize {
        let mut gone = 0;
        for entry in &self.shared.segments {
            if self.shared.failure().is_some() {
                break;
            }
            let segment = entry.value();
            if !segment.due(self.shared.clock.boot(), patience) {
                continue;
            }
            match expire_one(&self.shared, segment, &*self.retention) {
                Ok(true) => gone += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(segment = %segment.id, %error, "could not look at a segment for expiry");
                }
            }
        }
        crate::metric::segments_expired(gone);
        gone
    }
}

/// Asks the disk for its room, and says when that runs out or comes back.
pub(super) fn look_at_disk(shared: &Shared) {
    let Ok(room) = shared.files.room() else {
        return;
    };
    // On a disk that is small beside the reserve, a tenth of it is enough.
    let reserve = shared.options.reserve_bytes.min(room.total / 10);
    let full = room.free < reserve;
    shared.free.store(room.free, Ordering::Relaxed);
    let above = room.free.saturating_sub(reserve);
    shared.room.store(above, Ordering::Relaxed);
    if shared.full.swap(full, Ordering::Relaxed) != full {
        if full {
            tracing::warn!(
                free = room.free,
                reserve,
                "the disk is nearly full: appends are refused"
            );
        } else {
            tracing::info!(
                free = room.free,
                reserve,
                "the disk has room again: appends are taken"
            );
        }
    }
}

/// Completes a segment: its log ends with a seal, and its index is written beside it.
pub(super) fn seal(shared: &Shared, segment: &Segment) -> io::Result<()> {
    let state = segment.state();
    let State::Active(active) = &*state else {
        return Ok(());
    };
    // A seal says that all before it was synced, so it must not get to the disk first.
    let length = active.length();
    if active.synced() < length {
        // That a sync has failed for want of room makes it no less final: what it was to sync is
        // not tried again by the next one.
        let synced = active.file.sync();
        synced.map_err(|error| io::Error::other(format!("sync: {error}")))?;
        active.set_synced(length);
    }
    let head = SealHead {
        sequence: shared.sequence.load(Ordering::Relaxed),
        mark: Millis::new(shared.mark.load(Ordering::Acquire)),
        cuts: active.cuts.clone(),
    };
    let meta = write_sealed(
        shared,
        segment,
        &*active.file,
        length,
        head,
        active.entries(),
    )?;
    segment.seal(meta);
    crate::metric::segment_sealed();
    Ok(())
}

/// Ends a log of that length with a seal, syncs it, and writes its index.
pub(super) fn write_sealed(
    shared: &Shared,
    segment: &Segment,
    log: &dyn LogFile,
    length: u64,
    head: SealHead,
    entries: impl Iterator<Item = Entry>,
) -> io::Result<IndexMeta> {
    let (mark, sequence) = (head.mark, head.sequence);
    let record = Encoded::small(ChannelId::NONE, &Record::Seal(head))
        .map_err(|error| io::Error::other(error.to_string()))?;
    let frame = record.frame().encode(segment.salt, length);
    let slices = [IoSlice::new(&frame), IoSlice::new(record.head())];
    log.write_at(&slices, length)?;
    log.sync()?;
    let end = length + record.record_len();
    shared.write_index(segment, end, mark, sequence, entries)
}

/// Makes the indexes again that could not be used.
pub(super) fn mend_all(shared: &Shared) {
    let suspects = std::mem::take(&mut *shared.suspects.lock());
    for id in suspects {
        let Some(segment) = shared.segments.get(&id) else {
            continue;
        };
        match mend(shared, segment.value()) {
            Ok(true) => tracing::warn!(segment = %id, "a damaged index was made again"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(segment = %id, %error, "a damaged index could not be made again");
                shared.suspects.lock().insert(id);
            }
        }
    }
}

/// Makes the index of a sealed segment again, from its log; says whether it has one. What of the log
/// turns out to be damaged is known from then on.
fn mend(shared: &Shared, segment: &Segment) -> io::Result<bool> {
    if !matches!(&*segment.state(), State::Sealed(_)) {
        return Ok(false);
    }
    let log = shared.files.open(&segment.id.log_name())?;
    let found = replay(&*log, segment.salt, true)?;
    for gap in &found.damage {
        shared.damage.add(Damage {
            segment: segment.id,
            gap: *gap,
        });
    }
    for (channel, key) in &found.decided {
        shared.decided_to(*channel, *key);
    }
    let (length, mark, sequence) = (found.length, found.mark, found.sequence);
    let entries = found.entries.into_iter();
    let meta = shared.write_index(segment, length, mark, sequence, entries)?;
    segment.mend(meta);
    Ok(true)
}

/// Whether damage keeps a segment from being removed: what was lost may be of a channel that keeps
/// it, and once the segment is gone nobody would know that there is something to fetch.
fn damage_keeps(shared: &Shared, id: SegmentId, retention: &dyn Retention) -> bool {
    let end = shared.directory.end(id.bucket);
    let gaps = shared.damage.of_segment(id);
    gaps.iter().any(|gap| match gap.channel {
        // A record about the store itself.
        Some(ChannelId::NONE) => false,
        Some(channel) => match retention.keeps(channel) {
            Keeps::All => true,
            Keeps::From(key) => key.millis < end,
            Keeps::Nothing => false,
        },
        None => true,
    })
}

/// Removes a segment if nobody keeps anything of it.
fn expire_one(
    shared: &Shared,
    segment: &Segment,
    retention: &dyn Retention,
) -> Result<bool, ReadError> {
    let id = segment.id;
    if !matches!(&*segment.state(), State::Sealed(_)) {
        return Ok(false);
    }
    // Opened aside, not through the cache: a look at every segment must not evict those in use.
    let index = shared.open_index(segment)?;
    if !expired(index.channels(), retention) || damage_keeps(shared, id, retention) {
        return Ok(false);
    }
    let removed = remove(shared, segment, index.meta().mark);
    removed.map_err(|source| ReadError::Io {
        segment: id,
        source,
    })?;
    tracing::debug!(segment = %id, "a segment expired");
    Ok(true)
}

/// Removes a sealed segment that has that mark.
fn remove(shared: &Shared, segment: &Segment, mark: Millis) -> io::Result<()> {
    let id = segment.id;
    shared.keep_mark(mark)?;
    let layout = shared.layout.lock();
    let last_of_bucket = shared.in_bucket(id.bucket).count() == 1;
    shared.segments.remove(&id);
    if last_of_bucket {
        shared.directory.remove(id.bucket);
    }
    drop(layout);
    shared.open.invalidate(&segment.generation());
    shared.damage.remove(id);
    // The log goes last, and only once the rest is gone for good: if this is cut off, the next
    // start finds a log without an index, indexes it and lets it expire again. An index without a
    // log would mean that items were lost.
    shared.files.remove(&id.index_name())?;
    let _ = shared.files.remove(&id.damage_name());
    shared.files.sync_folder()?;
    shared.files.remove(&id.log_name())?;
    shared.files.sync_folder()
}

/// Syncs what was written since the last time, where acknowledgements do not wait for it.
pub(super) fn sync_loop(shared: &Shared, stop: &Receiver<()>) {
    let interval = Duration::from_millis(shared.options.sync_interval_millis);
    if shared.options.durability == Durability::Fsync {
        return;
    }
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(interval) {
        for (segment, active) in shared.active() {
            let length = active.length();
            if active.synced() >= length || shared.failure().is_some() {
                continue;
            }
            let started = shared.clock.boot();
            if let Err(error) = active.file.sync() {
                shared.fail(format!("sync {}: {error}", segment.id));
                return;
            }
            active.set_synced(length);
            crate::metric::fsync(shared.clock.boot().saturating_sub(started));
        }
    }
}
