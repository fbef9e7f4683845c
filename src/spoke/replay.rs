//! What a log says when it is read from its start: its items, and which of its unreadable bytes
//! are where the writer was cut off and which are damage.

use std::collections::HashMap;
use std::io;

use super::files::LogFile;
use super::ids::ChannelId;
use super::index::Entry;
use super::record::{ItemFlags, Record};
use super::scan::{Found, Gap, Scan};
use crate::env::Millis;
use crate::item::ItemKey;

/// What was found in one log.
pub(super) struct Replayed {
    /// In order, one for a position.
    pub(super) entries: Vec<Entry>,
    /// Up to where the items of channels that this node coordinates are decided.
    pub(super) decided: Vec<(ChannelId, ItemKey)>,
    /// The members that pending items may have been sent to.
    pub(super) named: HashMap<(ChannelId, ItemKey), Vec<String>>,
    /// The latest clock mark.
    pub(super) mark: Millis,
    /// The highest batch.
    pub(super) sequence: u64,
    /// Where the writer was cut off.
    pub(super) cuts: Vec<(u64, u64)>,
    /// What was synced once, and cannot be read.
    pub(super) damage: Vec<Gap>,
    /// The log's length without what was cut off its end.
    pub(super) length: u64,
    /// Whether it ends with a seal.
    pub(super) sealed: bool,
}

/// Reads a whole log. `was_sealed` if it is known from elsewhere that it once ended with a seal:
/// then all of it was synced, and nothing of it can have been cut off.
pub(super) fn replay(file: &dyn LogFile, salt: u64, was_sealed: bool) -> io::Result<Replayed> {
    let mut scan = Scan::new(file, salt)?;
    let mut out = Replayed {
        entries: Vec::new(),
        decided: Vec::new(),
        named: HashMap::new(),
        mark: Millis::MIN,
        sequence: 0,
        cuts: Vec::new(),
        damage: Vec::new(),
        length: scan.length(),
        sealed: false,
    };
    let mut gaps = Vec::new();
    let mut synced = 0;
    while let Some(found) = scan.next()? {
        let (offset, frame, record) = match found {
            Found::Gap(gap) => {
                gaps.push(gap);
                continue;
            }
            Found::Record {
                offset,
                frame,
                record,
            } => (offset, frame, record),
        };
        let entry = |key, flags, removed, write_id| Entry {
            channel: frame.channel,
            key,
            offset,
            body_len: frame.body_len,
            flags,
            removed,
            write_id,
        };
        match record {
            Record::Item(head) => {
                let entry = entry(head.key, head.flags, false, head.write_id);
                out.entries.push(entry);
                if head.flags.pending {
                    let named = out.named.entry(entry.position()).or_default();
                    named.extend(head.replicas);
                }
            }
            Record::Removal { key, write_id } => {
                let entry = entry(key, ItemFlags::default(), true, write_id);
                out.entries.push(entry);
            }
            Record::Batch(batch) => {
                synced = synced.max(batch.synced);
                out.mark = out.mark.max(batch.mark);
                out.sequence = out.sequence.max(batch.sequence);
            }
            Record::Seal(seal) => {
                out.sealed = true;
                synced = synced.max(offset);
                out.mark = out.mark.max(seal.mark);
                out.sequence = out.sequence.max(seal.sequence);
                out.cuts = seal.cuts;
                out.length = offset + frame.record_len();
            }
            Record::CommitMark(key) => out.decided.push((frame.channel, key)),
            Record::Named { key, replicas } => {
                let named = out.named.entry((frame.channel, key)).or_default();
                named.extend(replicas);
            }
        }
    }
    if was_sealed && !out.sealed {
        synced = u64::MAX;
        let end = out.length;
        gaps.push(Gap {
            from: end,
            to: end,
            channel: None,
        });
    }
    for gap in gaps {
        let known = out
            .cuts
            .iter()
            .any(|(from, to)| *from <= gap.from && gap.to <= *to);
        if known || (out.sealed && gap.from >= out.length) {
            continue;
        }
        if gap.from < synced {
            out.damage.push(gap);
        } else if gap.to == scan.length() {
            out.length = gap.from;
        } else {
            out.cuts.push((gap.from, gap.to));
        }
    }
    // Of several records of one key the last one stands, and a removal stands for good.
    out.entries
        .sort_by_key(|e| (e.position(), e.removed, e.offset));
    out.entries.reverse();
    out.entries.dedup_by_key(|e| e.position());
    out.entries.reverse();
    Ok(out)
}
