//! What a batch is made of: lines to write, what was written, and the vectored write itself.

use std::io::IoSlice;
use std::sync::Arc;

use super::ids::{ChannelId, WriteId};
use super::index::Entry;
use super::log::Shared;
use super::record::{Encoded, ItemFlags, Record};
use super::segment::{Active, Segment};
use super::store::{Append, AppendError, Done, Naming, Removal};
use crate::env::Millis;
use crate::item::ItemKey;

/// Payloads below this many bytes are copied into one buffer; longer ones are written from where
/// they are.
const COPY_MAX: usize = 16 * 1024;

/// One record of a batch.
pub(super) struct Line {
    pub(super) bucket: Millis,
    pub(super) record: Encoded,
    pub(super) entry: Option<EntryDraft>,
    pub(super) done: Option<Done>,
}

pub(super) struct EntryDraft {
    pub(super) key: ItemKey,
    pub(super) flags: ItemFlags,
    pub(super) removed: bool,
    pub(super) write_id: WriteId,
    pub(super) channel: ChannelId,
}

impl Line {
    /// An item, which falls into that bucket.
    pub(super) fn append(bucket: Millis, append: Append) -> Self {
        Self {
            bucket,
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

    /// The removal of an item, which fell into that bucket.
    pub(super) fn removal(bucket: Millis, removal: Removal) -> Option<Self> {
        let record = Record::Removal {
            key: removal.key,
            write_id: removal.write_id,
        };
        // A record of a key and a number is never too long.
        let record = Encoded::small(removal.channel, &record).ok()?;
        Some(Self {
            bucket,
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
}

impl Line {
    /// Further members that an item of that bucket may be sent to. Answered here if they are too
    /// many for a record.
    pub(super) fn naming(bucket: Millis, naming: Naming) -> Option<Self> {
        let record = Record::Named {
            key: naming.key,
            replicas: naming.replicas,
        };
        match Encoded::small(naming.channel, &record) {
            Ok(record) => Some(Self {
                bucket,
                entry: None,
                record,
                done: Some(naming.done),
            }),
            Err(error) => {
                let reason = error.to_string();
                (naming.done)(Err(AppendError::Refused { reason }));
                None
            }
        }
    }

    /// Up to where a channel's items are decided. Nobody waits for it.
    pub(super) fn decided_to(bucket: Millis, channel: ChannelId, key: ItemKey) -> Option<Self> {
        Some(Self {
            bucket,
            entry: None,
            // A record of a key is never too long.
            record: Encoded::small(channel, &Record::CommitMark(key)).ok()?,
            done: None,
        })
    }
}

/// What was written to one segment, and not yet made visible.
pub(super) struct Written {
    pub(super) segment: Arc<Segment>,
    pub(super) active: Arc<Active>,
    pub(super) lines: Vec<(Line, u64)>,
    pub(super) end: u64,
}

pub(super) fn publish(shared: &Shared, batch: &Written, line: &Line, offset: u64) {
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

pub(super) fn by_bucket(lines: Vec<Line>) -> Vec<(Millis, Vec<Line>)> {
    let mut groups: Vec<(Millis, Vec<Line>)> = Vec::new();
    for line in lines {
        match groups.iter_mut().find(|(bucket, _)| *bucket == line.bucket) {
            Some((_, group)) => group.push(line),
            None => groups.push((line.bucket, vec![line])),
        }
    }
    groups
}

pub(super) fn lines_of(written: Vec<Written>) -> impl Iterator<Item = Line> {
    let lines = written.into_iter().flat_map(|batch| batch.lines);
    lines.map(|(line, _)| line)
}

pub(super) fn answer(lines: impl IntoIterator<Item = Line>, outcome: &Result<(), AppendError>) {
    for done in lines.into_iter().filter_map(|line| line.done) {
        done(outcome.clone());
    }
}

/// What one vectored write is made of.
#[derive(Default)]
pub(super) struct Plan<'a> {
    copied: Vec<u8>,
    pieces: Vec<Piece<'a>>,
}

enum Piece<'a> {
    /// Up to this offset of the copied bytes.
    Copied(usize),
    Lent(&'a [u8]),
}

impl<'a> Plan<'a> {
    pub(super) fn add(&mut self, record: &'a Encoded, salt: u64, offset: u64) {
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

    pub(super) fn slices(&self) -> Vec<IoSlice<'_>> {
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
