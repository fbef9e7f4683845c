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
use std::sync::mpsc::Sender;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::clockfile::{ClockFile, ClockMark};
use super::files::is_full;
use super::header::{FORMAT, HEADER_LEN, SegmentHeader, salt};
use super::housekeeping::Chore;
use super::ids::{ChannelId, SegmentId};
use super::index::Entry;
use super::log::{Durability, Shared};
use super::record::{BatchHead, Encoded, ItemFlags, Record};
use super::segment::{Active, Segment, State};
use super::store::{Append, AppendError, Done, Removal};
use crate::env::Millis;

/// How far the clock mark on disk runs ahead of the clock, in milliseconds.
pub(super) const MARK_AHEAD: i64 = 1000;
/// Payloads below this many bytes are copied into one buffer; longer ones are written from where
/// they are.
const COPY_MAX: usize = 16 * 1024;
/// The most bytes written in one call.
const WRITE_MAX: u64 = 32 * 1024 * 1024;

/// What the writer is asked to do.
pub(super) enum Command {
    Append(Append),
    Remove(Removal),
    AdvanceMark(Done),
    Close(Millis, std::sync::mpsc::Sender<()>),
}

/// The queue before the writer. What stands in it is bounded by the bodies that the hub has in
/// flight, whose permits are held until they are answered.
#[derive(Default)]
pub(super) struct Queue {
    commands: Mutex<Vec<Command>>,
    arrived: Condvar,
}

impl Queue {
    pub(super) fn push(&self, command: Command) {
        let mut commands = self.commands.lock();
        commands.push(command);
        if commands.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// Waits for commands for at most that long, and takes them all.
    fn take(&self, patience: Duration) -> Vec<Command> {
        let mut commands = self.commands.lock();
        if commands.is_empty() {
            self.arrived.wait_for(&mut commands, patience);
        }
        std::mem::take(&mut *commands)
    }
}

/// A segment that the writer appends to.
struct Open {
    segment: Arc<Segment>,
    active: Arc<Active>,
    length: u64,
    items: u64,
}

/// One record of a batch.
struct Line {
    bucket: Millis,
    record: Encoded,
    entry: Option<EntryDraft>,
    done: Option<Done>,
}

struct EntryDraft {
    key: crate::item::ItemKey,
    flags: ItemFlags,
    removed: bool,
    write_id: super::ids::WriteId,
    channel: ChannelId,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    chores: Sender<Chore>,
    clock_file: ClockFile,
    open: HashMap<Millis, Open>,
    /// Segments that it has let go of, and not handed over to be sealed yet.
    retired: Vec<Arc<Segment>>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        chores: Sender<Chore>,
        clock_file: ClockFile,
    ) -> Self {
        Self {
            shared,
            queue,
            chores,
            clock_file,
            open: HashMap::new(),
            retired: Vec::new(),
        }
    }

    /// Works until the store is closed.
    pub(super) fn run(mut self) {
        loop {
            let commands = self.queue.take(Duration::from_secs(1));
            let mut close = None;
            let mut lines = Vec::with_capacity(commands.len());
            let mut marks = Vec::new();
            for command in commands {
                match command {
                    Command::Append(append) => lines.push(self.append_line(append)),
                    Command::Remove(removal) => lines.extend(self.removal_line(removal)),
                    Command::AdvanceMark(done) => marks.push(done),
                    Command::Close(now, closed) => close = Some((now, closed)),
                }
            }
            if !lines.is_empty() {
                self.commit(lines);
            }
            if !marks.is_empty() {
                self.advance_mark(marks);
            }
            self.retire_old();
            self.hand_over();
            if let Some((now, closed)) = close {
                self.close(now);
                // The closer may have given up waiting.
                let _ = closed.send(());
                break;
            }
        }
        self.refuse_forever();
    }

    fn append_line(&self, append: Append) -> Line {
        Line {
            bucket: self.shared.directory.bucket(append.key.millis),
            entry: Some(EntryDraft {
                key: append.key,
                flags: append.flags,
                removed: false,
                write_id: append.write_id,
                channel: append.channel,
            }),
            record: append.record,
            done: Some(append.done),
        }
    }

    fn removal_line(&self, removal: Removal) -> Option<Line> {
        let record = Record::Removal {
            key: removal.key,
            write_id: removal.write_id,
        };
        // A record of a key and a number is never too long.
        let record = Encoded::small(removal.channel, &record).ok()?;
        Some(Line {
            bucket: self.shared.directory.bucket(removal.key.millis),
            entry: Some(EntryDraft {
                key: removal.key,
                flags: ItemFlags::default(),
                removed: true,
                write_id: removal.write_id,
                channel: removal.channel,
            }),
            record,
            done: Some(removal.done),
        })
    }

    /// Writes a batch, syncs it if asked, makes it visible and answers.
    fn commit(&mut self, lines: Vec<Line>) {
        if let Some(reason) = self.shared.failure() {
            answer(lines, &Err(AppendError::Failed { reason }));
            return;
        }
        let mark = self.shared.clock.now().plus(MARK_AHEAD);
        let started = self.shared.clock.boot();
        let mut written = Vec::new();
        for (bucket, group) in by_bucket(lines) {
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
                let lines = unwritten.into_iter().chain(lines_of(written));
                answer(lines, &Err(AppendError::Failed { reason }));
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

    /// Advances the clock mark where no batch did, and answers those who wait for it.
    fn advance_mark(&mut self, waiting: Vec<Done>) {
        let now = self.shared.clock.now();
        let mut outcome = Ok(());
        if let Some(reason) = self.shared.failure() {
            outcome = Err(AppendError::Failed { reason });
        } else if self.shared.mark.load(Ordering::Acquire) <= now.get()
            && let Err(error) = self.write_mark(now.plus(MARK_AHEAD), false)
        {
            let reason = self.shared.fail(format!("clock mark: {error}"));
            outcome = Err(AppendError::Failed { reason });
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
            // Cut off whatever part got there. If even that fails, nobody can tell what did.
            let undone = open.active.file.truncate(start);
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
        // A log that exists and is no segment of ours stays as it is.
        let file = loop {
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
        let made = file
            .write_at(&[IoSlice::new(&header.encode())], 0)
            .and_then(|()| self.shared.files.sync_folder());
        if let Err(error) = made {
            let _ = self.shared.files.remove(&id.log_name());
            return Err(error);
        }
        let active = Active::new(file, HEADER_LEN as u64);
        let state = State::Active(Arc::clone(&active));
        let segment = Segment::new(id, salt(self.shared.id, id), state);
        self.shared.segments.insert(id, Arc::clone(&segment));
        Ok(Open {
            segment,
            active,
            length: HEADER_LEN as u64,
            items: 0,
        })
    }

    /// Lets go of segments whose bucket has passed.
    fn retire_old(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let late = self
            .shared
            .clock
            .now()
            .minus(self.shared.options.late_millis);
        let passed: Vec<Millis> = self
            .open
            .keys()
            .filter(|bucket| self.shared.directory.end(**bucket) <= late)
            .copied()
            .collect();
        for bucket in passed {
            self.retire(bucket);
        }
    }

    fn retire(&mut self, bucket: Millis) {
        if let Some(open) = self.open.remove(&bucket) {
            open.active.retire();
            self.retired.push(open.segment);
        }
    }

    /// Hands segments over to be sealed. Not before the batch that filled them is visible: a seal
    /// takes what is visible for all there is, and ends the log behind it.
    fn hand_over(&mut self) {
        for segment in self.retired.drain(..) {
            // Housekeeping outlives the writer, unless the store is being dropped.
            let _ = self.chores.send(Chore::Seal(segment));
        }
    }

    /// Leaves everything on disk and says in the clock file that nothing was promised past `now`.
    fn close(&mut self, now: Millis) {
        if self.shared.failure().is_some() {
            return;
        }
        let synced = self.shared.active().iter().try_for_each(|(_, active)| {
            active.file.sync()?;
            active.set_synced(active.length());
            Ok::<(), io::Error>(())
        });
        if let Err(error) = synced.and_then(|()| self.write_mark(now, true)) {
            tracing::warn!(%error, "the store could not be marked clean; the next start checks it");
        }
    }

    /// Puts the clock mark into its own file.
    fn write_mark(&mut self, mark: Millis, clean: bool) -> io::Result<()> {
        let sequence = self.shared.next_sequence();
        self.clock_file.write(&ClockMark {
            sequence,
            mark,
            clean,
        })?;
        if !clean {
            self.shared.mark.fetch_max(mark.get(), Ordering::Release);
        }
        Ok(())
    }

    /// Answers what still comes after the end, for as long as somebody can ask.
    fn refuse_forever(self) {
        while Arc::strong_count(&self.queue) > 1 {
            for command in self.queue.take(Duration::from_millis(100)) {
                let done = match command {
                    Command::Append(append) => append.done,
                    Command::Remove(removal) => removal.done,
                    Command::AdvanceMark(done) => done,
                    Command::Close(_, closed) => {
                        let _ = closed.send(());
                        continue;
                    }
                };
                done(Err(AppendError::Closed));
            }
        }
    }
}

/// What was written to one segment, and not yet made visible.
struct Written {
    segment: Arc<Segment>,
    active: Arc<Active>,
    lines: Vec<(Line, u64)>,
    end: u64,
}

fn publish(shared: &Shared, batch: &Written, line: &Line, offset: u64) {
    let Some(draft) = &line.entry else { return };
    batch.active.add(Entry {
        channel: draft.channel,
        key: draft.key,
        offset,
        body_len: line.record.frame().body_len,
        flags: draft.flags,
        removed: draft.removed,
        write_id: draft.write_id,
    });
    shared.directory.add(draft.channel, batch.segment.id.bucket);
}

fn by_bucket(lines: Vec<Line>) -> Vec<(Millis, Vec<Line>)> {
    let mut groups: Vec<(Millis, Vec<Line>)> = Vec::new();
    for line in lines {
        match groups.iter_mut().find(|(bucket, _)| *bucket == line.bucket) {
            Some((_, group)) => group.push(line),
            None => groups.push((line.bucket, vec![line])),
        }
    }
    groups
}

fn lines_of(written: Vec<Written>) -> impl Iterator<Item = Line> {
    let lines = written.into_iter().flat_map(|batch| batch.lines);
    lines.map(|(line, _)| line)
}

fn answer(lines: impl IntoIterator<Item = Line>, outcome: &Result<(), AppendError>) {
    for done in lines.into_iter().filter_map(|line| line.done) {
        done(outcome.clone());
    }
}

/// What one vectored write is made of.
#[derive(Default)]
struct Plan<'a> {
    copied: Vec<u8>,
    pieces: Vec<Piece<'a>>,
}

enum Piece<'a> {
    /// Up to this offset of the copied bytes.
    Copied(usize),
    Lent(&'a [u8]),
}

impl<'a> Plan<'a> {
    fn add(&mut self, record: &'a Encoded, salt: u64, offset: u64) {
        let frame = record.frame().encode(salt, offset);
        self.copied.extend_from_slice(&frame);
        self.copied.extend_from_slice(record.head());
        if record.payload().len() < COPY_MAX {
            self.copied.extend_from_slice(record.payload());
        } else {
            self.pieces.push(Piece::Copied(self.copied.len()));
            self.pieces.push(Piece::Lent(record.payload()));
        }
    }

    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut from = 0;
        let end = Piece::Copied(self.copied.len());
        let pieces = self.pieces.iter().chain(std::iter::once(&end));
        let slices = pieces.map(|piece| match piece {
            Piece::Copied(to) => {
                let part = self.copied.get(from..*to).unwrap_or_default();
                from = *to;
                IoSlice::new(part)
            }
            Piece::Lent(bytes) => IoSlice::new(bytes),
        });
        slices.filter(|slice| !slice.is_empty()).collect()
    }
}
