//! What is damaged: in memory while the store is open, and in a `.damage` file beside each segment
//! it concerns, until somebody deletes that file.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::files::{Files, read_exact};
use super::ids::{ChannelId, SegmentId};
use super::scan::Gap;
use crate::env::Millis;

/// A damaged range of a segment's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: SegmentId,
    /// Where.
    pub gap: Gap,
}

/// All that is known to be damaged. A read must mind the damage of its buckets: all of it where
/// the channel is not known, else that of its own channel.
#[derive(Debug, Default)]
pub(super) struct DamageBook {
    buckets: RwLock<BTreeMap<Millis, Vec<Damage>>>,
}

impl DamageBook {
    pub(super) fn add(&self, damage: Damage) {
        let mut buckets = self.buckets.write();
        let known = buckets.entry(damage.segment.bucket).or_default();
        if !known.contains(&damage) {
            known.push(damage);
        }
    }

    /// The segment is gone, and nobody wanted any of it.
    pub(super) fn remove(&self, segment: SegmentId) {
        let mut buckets = self.buckets.write();
        if let Some(known) = buckets.get_mut(&segment.bucket) {
            known.retain(|damage| damage.segment != segment);
            if known.is_empty() {
                buckets.remove(&segment.bucket);
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.read().values().map(|d| d.len() as u64).sum()
    }

    /// The damaged ranges of a segment.
    pub(super) fn of_segment(&self, segment: SegmentId) -> Vec<Gap> {
        let buckets = self.buckets.read();
        let known = buckets.get(&segment.bucket).into_iter().flatten();
        let own = known.filter(|damage| damage.segment == segment);
        own.map(|damage| damage.gap).collect()
    }

    /// A segment in those buckets that may have lost a record of the channel.
    pub(super) fn of(&self, channel: ChannelId, from: Millis, to: Millis) -> Option<SegmentId> {
        let buckets = self.buckets.read();
        if buckets.is_empty() || from > to {
            return None;
        }
        let mut damages = buckets.range(from..=to).flat_map(|(_, damages)| damages);
        damages
            .find(|damage| damage.gap.channel.is_none_or(|named| named == channel))
            .map(|damage| damage.segment)
    }
}

/// The text of a `.damage` file. Deleting the file accepts the loss.
#[derive(Debug, Default, Serialize, Deserialize)]
struct DamageNote {
    note: String,
    damaged: Vec<DamagedRange>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DamagedRange {
    from: u64,
    to: u64,
    channel: Option<ChannelId>,
}

const NOTE: &str = "These bytes of the segment's log cannot be read. Until they are back, queries \
                    of this time are answered with 503. To accept the loss, stop the hub and \
                    delete this file.";

/// Writes down what of a segment is damaged, in place of an earlier note.
///
/// # Errors
/// What the folder says; an earlier note is still there then.
pub(super) fn write_note(files: &dyn Files, id: SegmentId, gaps: &[Gap]) -> io::Result<()> {
    let damaged = gaps.iter().map(|gap| DamagedRange {
        from: gap.from,
        to: gap.to,
        channel: gap.channel,
    });
    let note = DamageNote {
        note: NOTE.to_owned(),
        damaged: damaged.collect(),
    };
    let text = serde_json::to_vec_pretty(&note)?;
    let draft = format!("{}.tmp", id.damage_name());
    let _ = files.remove(&draft);
    let file = files.create(&draft)?;
    file.write_at(&[IoSlice::new(&text)], 0)?;
    file.sync()?;
    files.rename(&draft, &id.damage_name())?;
    files.sync_folder()
}

/// What the note beside a segment says.
///
/// # Errors
/// What the folder says.
pub(super) fn read_note(files: &dyn Files, id: SegmentId) -> io::Result<Vec<Gap>> {
    let file = files.open(&id.damage_name())?;
    let length = file.length()? as usize;
    let bytes = read_exact(&*file, 0, length)?;
    // A note that cannot be read still says that something is damaged.
    let note: DamageNote = serde_json::from_slice(&bytes).unwrap_or_default();
    let ranges = note.damaged.into_iter();
    let gaps: Vec<Gap> = ranges
        .map(|range| Gap {
            from: range.from,
            to: range.to,
            channel: range.channel,
        })
        .collect();
    Ok(if gaps.is_empty() {
        vec![Gap::SOMEWHERE]
    } else {
        gaps
    })
}
