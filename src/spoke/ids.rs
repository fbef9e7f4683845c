//! Names of channels, writes and segments inside the store.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::env::Millis;

/// A channel, by a number that is new each time a channel is created: items of a deleted channel
/// never come back under its name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct ChannelId(pub u64);

impl ChannelId {
    /// No channel has it: records about the store itself do.
    pub const NONE: Self = Self(0);
}

/// A write, by 128 bits that stay the same however often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u128);

/// A segment: the start of the time bucket whose items it holds, and which one of that bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// When the bucket begins.
    pub bucket: Millis,
    /// Counts the segments of the bucket from 0.
    pub number: u32,
}

impl SegmentId {
    /// The name of its files, without ending: `20261122T010200Z-0`.
    pub fn stem(self) -> String {
        self.to_string()
    }

    /// The log's file name.
    pub fn log_name(self) -> String {
        format!("{self}.log")
    }

    /// The sealed index's file name.
    pub fn index_name(self) -> String {
        format!("{self}.idx")
    }

    /// The name of the file that says what of the segment is damaged.
    pub fn damage_name(self) -> String {
        format!("{self}.damage")
    }

    /// The segment of that name; `None` if it is no segment's.
    pub fn from_stem(stem: &str) -> Option<Self> {
        let (time, number) = stem.split_once('-')?;
        let digits = time.strip_suffix('Z')?.as_bytes();
        if digits.len() != 15 || digits.get(8) != Some(&b'T') {
            return None;
        }
        let text = std::str::from_utf8(digits).ok()?;
        let part = |from: usize, to: usize| text.get(from..to);
        let iso = format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(0, 4)?,
            part(4, 6)?,
            part(6, 8)?,
            part(9, 11)?,
            part(11, 13)?,
            part(13, 15)?
        );
        let id = Self {
            bucket: Millis::parse_iso(&iso).ok()?,
            number: number.parse().ok()?,
        };
        // Other spellings of the same number are not ours.
        (id.to_string() == stem).then_some(id)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.bucket.civil();
        write!(
            f,
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z-{}",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second(),
            self.number
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_come_back() {
        let id = SegmentId {
            bucket: Millis::parse_iso("2026-11-22T01:02:00Z").unwrap(),
            number: 12,
        };
        assert_eq!(id.stem(), "20261122T010200Z-12");
        assert_eq!(SegmentId::from_stem(&id.stem()), Some(id));
        for other in [
            "",
            "STORE",
            "20261122T010200Z",
            "20261122T010200Z-x",
            "20261122T010200Z-012",
        ] {
            assert_eq!(SegmentId::from_stem(other), None, "{other}");
        }
    }
}
