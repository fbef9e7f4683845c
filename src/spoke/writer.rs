//! The one thread that appends.
//!
//! It takes what is queued, writes it with one vectored write per touched segment, syncs each of
//! them once if the durability asks for it, makes the items visible and answers everyone. While it
//! syncs, the next batch gathers: a lone write waits for nobody, and a busy hub gets large batches
//! (group commit, as in Gray and Reuter, "Transaction Processing", 1992, §9.4.7).

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::batch::{Line, Plan, Written, answer, by_bucket, lines_of, publish};
use super::files::is_full;
use super::header::{FORMAT, HEADER_LEN, SegmentHeader, salt};
use super::housekeeping::Chore;
use super::ids::{ChannelId, SegmentId};
use super::log::{Durability, Shared};
use super::queue::{Command, Pace, Queue};
use super::record::{BatchHead, Encoded, Record};
use super::segment::{Active, Segment, State};
use super::store::{AppendError, Done};
use crate::env::{BootTime, Millis};

/// How far the clock mark on disk runs ahead of the clock, in milliseconds.
pub(super) const MARK_AHEAD: i64 = 1000;
/// The most bytes written in one call.
const WRITE_MAX: u64 = 32 * 1024 * 1024;
/// The most segments that are written at a time. Late items come for any bucket, and each batch of
/// them must not cost a segment of its own; nor may each bucket keep a segment in memory.
const OPEN_MAX: usize = 64;

/// A segment that the writer appends to.
struct Open {
    segment: Arc<Segment>,
    active: Arc<Active>,
    length: u64,
    items: u64,
    /// When it was last written to.
    touched: BootTime,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    chores: Sender<Chore>,
    open: HashMap<Millis, Open>,
    /// Segments that take no more, and wait for what was just written to them to be visible.
    retiring: Vec<Arc<Segment>>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, queue: Arc<Queue>, chores: Sender<Chore>) -> Self {
        Self {
            shared,
            queue,
            chores,
            open: HashMap::new(),
            retiring: Vec::new(),
        }
    }

    /// Works until the store is closed, or nobody has it any more. What is asked of it after that is
    /// the queue's to refuse.
    pub(super) fn run(mut self) {
        let mut pace = Pace::new(self.shared.options.durability);
        while let Some(commands) = self.queue.take(Duration::from_secs(1), pace.linger()) {
            let mut closers = Vec::new();
            let mut lines = Vec::with_capacity(commands.len());
            let (mut marks, mut wholes) = (Vec::new(), Vec::new());
            for command in commands {
                match command {
                    Command::Append(append) => {
                        let bucket = self.shared.directory.bucket(append.key.millis);
                        lines.push(Line::append(bucket, append));
                    }
                    Command::Remove(removal) => {
                        let bucket = self.shared.directory.bucket(removal.key.millis);
                        lines.extend(Line::removal(bucket, removal));
                    }
                    Command::Name(naming) => {
                        let bucket = self.shared.directory.bucket(naming.key.millis);
                        lines.extend(Line::naming(bucket, naming));
                    }
                    Command::DecidedTo(channel, key) => {
                        let bucket = self.shared.directory.bucket(key.millis);
                        // It is not worth a segment of its own.
                        if self.open.contains_key(&bucket) {
                            lines.extend(Line::decided_to(bucket, channel, key));
                        }
                    }
                    Command::AdvanceMark(done) => marks.push(done),
                    Command::Whole(done) => wholes.push(done),
                    Command::Close(now, closed) => closers.push((now, closed)),
                }
            }
            if !lines.is_empty() {
                let (items, started) = (lines.len(), self.shared.clock.boot());
                self.commit(lines);
                pace.committed(items, self.shared.clock.boot().saturating_sub(started));
            }
            if !marks.is_empty() {
                self.advance_mark(marks);
            }
            if !wholes.is_empty() {
                self.made_whole(wholes);
            }
            self.retire_old();
            self.pass_on();
            if let Some((now, _)) = closers.first() {
                self.close(*now);
                for (_, closed) in closers {
                    // The closer may have given up waiting.
                    let _ = closed.send(());
                }
                break;
            }
        }
    }

    /// Writes a batch, syncs it if asked, makes it visible and answers.
    fn commit(&mut self, lines: Vec<Line>) {
        if let Some(reason) = self.shared.failure() {
            answer(lines, &Err(AppendError::Failed { reason }));
            return;
        }
        let lines = self.refuse_without_room(lines);
        let mark = if self.shared.holds_mark.load(Ordering::Acquire) {
            Millis::new(self.shared.mark.load(Ordering::Acquire))
        } else {
            self.shared.clock.now().plus(MARK_AHEAD)
        };
        let started = self.shared.clock.boot();
        let mut written = Vec::new();
        let mut groups = by_bucket(lines).into_iter();
        while let Some((bucket, group)) = groups.next() {
            let Err((error, unwritten)) = self.write_group(bucket, group, mark, &mut written)
            else {
                continue;
            };
            if is_full(&error) {
                // What did not fit left no trace; what did fit is written and goes on.
                self.shared.full.store(true, Ordering::Relaxed);
                answer(unwritten, &Err(AppendError::Full));
            } else {
                let reason = self.shared.fail(format!("write: {error}"));
                let untried = groups.flat_map(|(_, group)| group);
                let lines = unwritten.into_iter().chain(lines_of(written));
                answer(lines.chain(untried), &Err(AppendError::Failed { reason }));
                return;
            }
        }
        if let Err(error) = self.sync(&written) {
            let reason = self.shared.fail(format!("sync: {error}"));
            answer(lines_of(written), &Err(AppendError::Failed { reason }));
            return;
        }
        if written.is_empty() {
            return;
        }
        // Another thread may have failed the store while the disk took its time: it may be open anew
        // by now, and what was just written behind its back.
        if let Some(reason) = self.shared.failure() {
            answer(lines_of(written), &Err(AppendError::Failed { reason }));
            return;
        }
        let spent = self.shared.clock.boot().saturating_sub(started);
        let (mut items, mut bytes) = (0, 0);
        for batch in &written {
            for (line, offset) in &batch.lines {
                items += 1;
                bytes += line.record.record_len();
                publish(&self.shared, batch, line, *offset);
            }
            batch.active.set_length(batch.end);
        }
        self.shared.mark.fetch_max(mark.get(), Ordering::Release);
        crate::metric::batch(items, bytes, spent);
        answer(lines_of(written), &Ok(()));
    }

    /// Refuses the items that would touch the disk's reserve: it is looked at only now and then, and
    /// a burst could use all of it up in between.
    fn refuse_without_room(&self, lines: Vec<Line>) -> Vec<Line> {
        let room = self.shared.room.load(Ordering::Relaxed);
        let mut taken = 0u64;
        let (fitting, over): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| {
            let with = taken.saturating_add(line.record.record_len());
            let removes = line.entry.as_ref().is_some_and(|entry| entry.removed);
            let fits = removes || with <= room;
            if fits {
                taken = with;
            }
            fits
        });
        self.shared
            .room
            .store(room.saturating_sub(taken), Ordering::Relaxed);
        answer(over, &Err(AppendError::Full));
        fitting
    }

    /// Advances the clock mark where no batch did, and answers those who wait for it.
    fn advance_mark(&mut self, waiting: Vec<Done>) {
        let now = self.shared.clock.now();
        let mut outcome = Ok(());
        if let Some(reason) = self.shared.failure() {
            outcome = Err(AppendError::Failed { reason });
        } else if self.shared.mark.load(Ordering::Acquire) < now.plus(MARK_AHEAD / 2).get()
            && let Err(error) = self.shared.write_mark(now.plus(MARK_AHEAD), false)
        {
            let reason = self.shared.fail(format!("clock mark: {error}"));
            outcome = Err(AppendError::Failed { reason });
        }
        for done in waiting {
            done(outcome.clone());
        }
    }

    /// Nothing that was promised is missing any more: that goes on disk, and then holds.
    fn made_whole(&mut self, waiting: Vec<Done>) {
        let outcome = match self.shared.failure() {
            Some(reason) => Err(AppendError::Failed { reason }),
            None => self.shared.replace_mark(false).map_err(|error| {
                let reason = self.shared.fail(format!("clock mark: {error}"));
                AppendError::Failed { reason }
            }),
        };
        if outcome.is_ok() {
            self.shared.doubt.store(false, Ordering::Relaxed);
        }
        for done in waiting {
            done(outcome.clone());
        }
    }

    /// Writes the lines of one bucket, over as many segments as they need. What could not be
    /// written comes back with the reason; it left no trace.
    fn write_group(
        &mut self,
        bucket: Millis,
        group: Vec<Line>,
        mark: Millis,
        written: &mut Vec<Written>,
    ) -> Result<(), (io::Error, Vec<Line>)> {
        let mut rest = std::collections::VecDeque::from(group);
        loop {
            let (bytes_max, items_max) = (
                self.shared.options.segment_bytes,
                self.shared.options.segment_items,
            );
            if let Some(open) = self.open.get(&bucket)
                && (open.length >= bytes_max || open.items >= items_max)
            {
                self.retire(bucket);
            }
            let open = match self.opened(bucket) {
                Ok(open) => open,
                Err(error) => return Err((error, rest.into())),
            };
            let room = bytes_max.saturating_sub(open.length).min(WRITE_MAX);
            let count_max = items_max.saturating_sub(open.items);
            let mut chunk = Vec::new();
            let mut size = 0;
            // At least one line a chunk: a segment may pass its limit by one record.
            while let Some(line) = rest.pop_front() {
                let next = line.record.record_len();
                if !chunk.is_empty() && (size + next > room || chunk.len() as u64 >= count_max) {
                    rest.push_front(line);
                    break;
                }
                size += next;
                chunk.push(line);
            }
            match self.write_chunk(bucket, chunk, mark) {
                Ok(chunk) => written.push(chunk),
                Err((error, chunk)) => {
                    return Err((error, chunk.into_iter().chain(rest).collect()));
                }
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes a batch header and the lines behind it in one go.
    fn write_chunk(
        &mut self,
        bucket: Millis,
        chunk: Vec<Line>,
        mark: Millis,
    ) -> Result<Written, (io::Error, Vec<Line>)> {
        let sequence = self.shared.next_sequence();
        let Some(open) = self.open.get_mut(&bucket) else {
            return Err((io::ErrorKind::NotFound.into(), chunk));
        };
        let head = Record::Batch(BatchHead {
            sequence,
            synced: open.active.synced(),
            mark,
        });
        let Ok(head) = Encoded::small(ChannelId::NONE, &head) else {
            return Err((io::ErrorKind::InvalidData.into(), chunk));
        };
        let salt = open.segment.salt;
        let start = open.length;
        let mut plan = Plan::default();
        plan.add(&head, salt, start);
        let mut at = start + head.record_len();
        let mut lines = Vec::with_capacity(chunk.len());
        for line in &chunk {
            plan.add(&line.record, salt, at);
            at += line.record.record_len();
        }
        let result = open.active.file.write_at(&plan.slices(), start);
        if let Err(error) = result {
            // Cut off whatever part got there, on disk too: it must not come back with a power loss,
            // under what will be written in its place. If even that fails, nobody can tell what did.
            let file = &open.active.file;
            let undone = file.truncate(start).and_then(|()| file.sync());
            return match undone {
                Ok(()) => Err((error, chunk)),
                Err(second) => Err((io::Error::other(format!("{error}; {second}")), chunk)),
            };
        }
        let mut offset = start + head.record_len();
        for line in chunk {
            let next = offset + line.record.record_len();
            lines.push((line, offset));
            offset = next;
        }
        open.length = at;
        open.items += lines.len() as u64;
        open.touched = self.shared.clock.boot();
        Ok(Written {
            segment: Arc::clone(&open.segment),
            active: Arc::clone(&open.active),
            lines,
            end: at,
        })
    }

    fn sync(&self, written: &[Written]) -> io::Result<()> {
        if self.shared.options.durability != Durability::Fsync {
            return Ok(());
        }
        for (at, batch) in written.iter().enumerate() {
            // What nobody waits for is synced with what comes next.
            if batch.lines.iter().all(|(line, _)| line.done.is_none()) {
                continue;
            }
            // Several chunks of one segment need one sync.
            let later = written.get(at + 1..).unwrap_or_default();
            if later.iter().any(|w| w.segment.id == batch.segment.id) {
                continue;
            }
            let started = self.shared.clock.boot();
            batch.active.file.sync()?;
            batch.active.set_synced(batch.end);
            crate::metric::fsync(self.shared.clock.boot().saturating_sub(started));
        }
        Ok(())
    }

    /// The segment of the bucket that is open, or a new one.
    fn opened(&mut self, bucket: Millis) -> io::Result<&mut Open> {
        if !self.open.contains_key(&bucket) {
            if self.open.len() >= OPEN_MAX {
                let idlest = self.open.iter().min_by_key(|(_, open)| open.touched);
                if let Some(idlest) = idlest.map(|(bucket, _)| *bucket) {
                    self.retire(idlest);
                }
            }
            let open = self.create(bucket)?;
            self.open.insert(bucket, open);
        }
        let open = self.open.get_mut(&bucket);
        open.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, bucket: Millis) -> io::Result<Open> {
        let id = |number| SegmentId { bucket, number };
        let newest = self.shared.segments.range(id(0)..=id(u32::MAX)).next_back();
        let mut id = id(newest.map_or(0, |entry| entry.key().number + 1));
        // A log that exists and is no segment of ours stays as it is, and what is known to be lost
        // of a log that is gone is not this one's.
        let file = loop {
            if !self.shared.damage.of_segment(id).is_empty() {
                id.number += 1;
                continue;
            }
            match self.shared.files.create(&id.log_name()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => id.number += 1,
                other => break other?,
            }
        };
        let header = SegmentHeader {
            format: FORMAT,
            store: self.shared.id,
            id,
            width: self.shared.options.bucket_millis,
            boot: self.shared.boot,
            synced: self.shared.options.durability == Durability::Fsync,
        };
        // On disk before anything is acknowledged: after a power loss it says that there was
        // something, if nothing else does.
        let made = file
            .write_at(&[IoSlice::new(&header.encode())], 0)
            .and_then(|()| file.sync())
            .and_then(|()| self.shared.files.sync_folder());
        if let Err(error) = made {
            let _ = self.shared.files.remove(&id.log_name());
            return Err(error);
        }
        let active = Active::new(file, HEADER_LEN as u64);
        let state = State::Active(Arc::clone(&active));
        let segment = Segment::new(id, salt(self.shared.id, id), state);
        let layout = self.shared.layout.lock();
        self.shared.segments.insert(id, Arc::clone(&segment));
        drop(layout);
        Ok(Open {
            segment,
            active,
            length: HEADER_LEN as u64,
            items: 0,
            touched: self.shared.clock.boot(),
        })
    }

    /// Lets go of segments whose bucket has passed, and to which nothing came for a while.
    fn retire_old(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let shared = &self.shared;
        let late = shared.options.late_millis;
        let patience = Duration::from_millis(u64::try_from(late).unwrap_or(0));
        let (now, boot) = (shared.clock.now(), shared.clock.boot());
        let passed: Vec<Millis> = self
            .open
            .iter()
            .filter(|(bucket, open)| {
                shared.directory.end(**bucket) <= now.minus(late)
                    && boot.saturating_sub(open.touched) >= patience
            })
            .map(|(bucket, _)| *bucket)
            .collect();
        for bucket in passed {
            self.retire(bucket);
        }
    }

    /// Lets go of a segment. It is passed on once the batch is complete: until then housekeeping
    /// would seal it without what was just written to it.
    fn retire(&mut self, bucket: Millis) {
        if let Some(open) = self.open.remove(&bucket) {
            self.retiring.push(open.segment);
        }
    }

    /// Passes on the segments that were let go of.
    fn pass_on(&mut self) {
        for segment in self.retiring.drain(..) {
            // Housekeeping outlives the writer, unless the store is being dropped.
            let _ = self.chores.send(Chore::Seal(segment));
        }
    }

    /// Leaves everything on disk, sealed if there is room for the indexes, and says in the clock
    /// file that nothing was promised past `now`.
    fn close(&mut self, now: Millis) {
        let buckets: Vec<Millis> = self.open.keys().copied().collect();
        for bucket in buckets {
            self.retire(bucket);
        }
        self.pass_on();
        let (sealed, wait) = channel();
        let _ = self.chores.send(Chore::Sealed(sealed));
        // It answers once it has tried, unless it has ended.
        let _ = wait.recv();
        if self.shared.failure().is_some() {
            return;
        }
        let synced = self.shared.active().iter().try_for_each(|(_, active)| {
            active.file.sync()?;
            active.set_synced(active.length());
            Ok::<(), io::Error>(())
        });
        if let Err(error) = synced.and_then(|()| self.shared.write_mark(now, true)) {
            self.shared.fail(format!("close: {error}"));
        }
    }
}
