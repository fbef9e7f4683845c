//! The stored form of a ring history.
//!
//! Its description is that of [`RingHistory::encode`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{MAX_MAPS, RingHistory};
use crate::map::RingMap;
use crate::member::Member;
use crate::node_slot::NodeSlots;
use crate::placement::Placement;

/// The most bytes that a stored history may have: a little less than the 1 MiB that ZooKeeper takes
/// in one request.
pub const MAX_ENCODED_BYTES: usize = 0xf_0000;

const MARKER: &str = "hub-rings";
const FORMAT: u32 = 2;
/// The format before it, without `lost`: it is written while nobody is, so that builds which know
/// no other can read it.
const FORMAT_BEFORE: u32 = 1;

/// The largest version and revision read: what comes after it must not overflow.
const MAX_COUNT: u64 = i64::MAX as u64;

/// A history that has grown beyond what can be stored.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The stored form would be too large: prune first.
    #[error("the ring history takes {bytes} bytes, more than the {limit} that can be stored")]
    TooLarge {
        /// The size of the stored form.
        bytes: usize,
        /// [`MAX_ENCODED_BYTES`].
        limit: usize,
    },
    /// The JSON writer refused a value.
    #[error("the ring history cannot be written as JSON: {source}")]
    Json {
        /// What the JSON writer says.
        #[source]
        source: serde_json::Error,
    },
}

/// Why bytes are not a stored ring history. Such bytes are never acted on.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than a history may have.
    #[error("a stored ring history has at most {limit} bytes, not {bytes}")]
    TooLarge {
        /// The number of bytes found.
        bytes: usize,
        /// [`MAX_ENCODED_BYTES`].
        limit: usize,
    },
    /// The first line is not that of a stored ring history.
    #[error("the first line is not that of a stored ring history")]
    NotAHistory,
    /// The format is one that this build does not know: it was written by a newer one.
    #[error("the ring history is stored in format {found}, and this build knows only {known}")]
    UnknownFormat {
        /// The number of the format found.
        found: u32,
        /// The number of the format that this build reads and writes.
        known: u32,
    },
    /// The bytes are not those that were written.
    #[error(
        "the ring history is damaged: its checksum is {found:016x}, and {expected:016x} was written"
    )]
    Checksum {
        /// The checksum in the first line.
        expected: u64,
        /// The checksum of the bytes.
        found: u64,
    },
    /// The bytes after the first line are not the JSON object expected.
    #[error("the ring history cannot be read as JSON: {source}")]
    Json {
        /// What the JSON reader says, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// The object breaks one of the rules that every history keeps.
    #[error("the ring history breaks a rule: {rule}")]
    Invalid {
        /// The rule that is broken.
        rule: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    revision: u64,
    largest_ring: usize,
    members: Vec<String>,
    maps: Vec<StoredMap>,
    absent: Vec<(usize, i64)>,
    decommissioned: Vec<(usize, i64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<(usize, u64)>,
    node_slots: Vec<Option<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMap {
    version: u64,
    from: Option<i64>,
    rf: u8,
    vnodes: u16,
    members: String,
}

impl RingHistory {
    /// The stored form.
    ///
    /// A line of ASCII, then one JSON object:
    ///
    /// ```text
    /// hub-rings 1 9c6f24b1a3d05e77
    /// {"revision":9,"largest_ring":3,"members":["a","b","c"],"maps":[{"version":1,...
    /// ```
    ///
    /// The line holds a marker, the number of the format, and the XXH3 hash (64 bits, no seed,
    /// hexadecimal) of all bytes after the line feed. People can read it with any ZooKeeper client,
    /// and damage is noticed.
    ///
    /// | field | holds |
    /// | --- | --- |
    /// | `revision`, `largest_ring` | numbers |
    /// | `members` | every name once, ascending; the other fields name members by their index here |
    /// | `maps` | oldest first: `version`, `from` (milliseconds or null), `rf`, `vnodes`, `members` |
    /// | `maps[].members` | base64 (standard, padded) of a bit set: member `i` is bit `i % 8` of byte `i / 8` |
    /// | `absent`, `decommissioned` | pairs of index and milliseconds, ascending by index |
    /// | `lost` | pairs of index and version, ascending by index; in format 2 only, and there if anybody is |
    /// | `node_slots` | for each of `members` its two characters, or null for those in no map |
    ///
    /// An unknown field is an error and not skipped: a build that skipped it would drop it when it
    /// writes the history back. Adding one takes a new format number.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if it would be larger than [`MAX_ENCODED_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let names: Vec<&Member> = self.named().into_iter().collect();
        let body = serde_json::to_string(&self.to_stored(&names))
            .map_err(|source| EncodeError::Json { source })?;
        let format = if self.lost.is_empty() {
            FORMAT_BEFORE
        } else {
            FORMAT
        };
        let mut text = String::with_capacity(body.len() + 40);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{MARKER} {format} {:016x}", xxh3_64(body.as_bytes()));
        text.push_str(&body);
        if text.len() > MAX_ENCODED_BYTES {
            return Err(EncodeError::TooLarge {
                bytes: text.len(),
                limit: MAX_ENCODED_BYTES,
            });
        }
        Ok(text.into_bytes())
    }

    /// Reads a stored form. Any bytes may be given.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if they are not a stored history, are damaged, or break a rule of histories.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_ENCODED_BYTES {
            return Err(DecodeError::TooLarge {
                bytes: bytes.len(),
                limit: MAX_ENCODED_BYTES,
            });
        }
        let stored: Stored = serde_json::from_slice(checked_body(bytes)?)
            .map_err(|source| DecodeError::Json { source })?;
        Self::from_stored(&stored).map_err(|rule| DecodeError::Invalid { rule })
    }

    /// Everyone whom the history names.
    fn named(&self) -> BTreeSet<&Member> {
        let mut named = self.members();
        named.extend(self.absent.keys().chain(self.decommissions.keys()));
        named
    }

    fn to_stored(&self, names: &[&Member]) -> Stored {
        let index: BTreeMap<&Member, usize> =
            names.iter().enumerate().map(|(i, &m)| (m, i)).collect();
        let times = |times: &BTreeMap<Member, i64>| {
            times
                .iter()
                .filter_map(|(m, &at)| Some((*index.get(m)?, at)))
                .collect()
        };
        let map = |map: &RingMap| {
            let mut bits = vec![0_u8; names.len().div_ceil(8)];
            for i in map.members().iter().filter_map(|m| index.get(m)) {
                bits[i / 8] |= 1 << (i % 8);
            }
            StoredMap {
                version: map.version(),
                from: map.from_millis(),
                rf: map.placement().replication_factor(),
                vnodes: map.placement().virtual_nodes(),
                members: STANDARD.encode(bits),
            }
        };
        Stored {
            revision: self.revision,
            largest_ring: self.largest_ring,
            members: names.iter().map(|m| m.as_str().to_owned()).collect(),
            maps: self.maps.iter().map(map).collect(),
            absent: times(&self.absent),
            decommissioned: times(&self.decommissions),
            lost: self
                .lost
                .iter()
                .filter_map(|(m, &version)| Some((*index.get(m)?, version)))
                .collect(),
            node_slots: names
                .iter()
                .map(|m| self.node_slots.get(m).map(|s| s.to_string()))
                .collect(),
        }
    }

    fn from_stored(stored: &Stored) -> Result<Self, &'static str> {
        let names: Vec<Member> = stored
            .members
            .iter()
            .map(|name| match Member::new(name) {
                Ok(member) if member.as_str() == name => Ok(member),
                _ => Err("a name is not that of a member"),
            })
            .collect::<Result<_, _>>()?;
        if !names.is_sorted_by(|a, b| a < b) {
            return Err("names ascend");
        }
        if stored.revision > MAX_COUNT {
            return Err("the revision fits into 63 bits");
        }
        if stored.maps.len() > MAX_MAPS {
            return Err("a history has at most 1,024 maps");
        }
        let maps: Vec<RingMap> = stored
            .maps
            .iter()
            .map(|map| stored_map(map, &names))
            .collect::<Result<_, _>>()?;
        check_order(&maps)?;
        let largest_now = maps
            .iter()
            .map(|map| map.members().len())
            .max()
            .unwrap_or(0);
        if stored.largest_ring < largest_now {
            return Err("no ring is larger than the largest one");
        }
        let node_slots = stored_slots(&stored.node_slots, &names)?;
        let history = Self {
            maps,
            revision: stored.revision,
            largest_ring: stored.largest_ring,
            absent: stored_pairs(&stored.absent, &names)?,
            decommissions: stored_pairs(&stored.decommissioned, &names)?,
            lost: stored_pairs(&stored.lost, &names)?,
            node_slots,
        };
        let in_maps = history.members();
        if in_maps.len()
            != history
                .node_slots
                .iter()
                .filter(|(m, _)| in_maps.contains(m))
                .count()
        {
            return Err("every member of a map has a node slot");
        }
        if history.node_slots.iter().any(|(m, _)| !in_maps.contains(m)) {
            return Err("only members of maps have node slots");
        }
        if history.absent.keys().any(|m| !in_maps.contains(m)) {
            return Err("only members of maps are absent");
        }
        if !history
            .lost
            .iter()
            .all(|(m, &v)| history.was_in_before(m, v))
        {
            return Err("only members of maps before the one without them are lost");
        }
        if history
            .lost
            .values()
            .any(|&v| v > history.next_version() - 1)
        {
            return Err("members are lost from a map on that there is");
        }
        if history.named().len() != names.len() {
            return Err("every name is used");
        }
        Ok(history)
    }
}

/// The bytes after the first line, if the first line is right and the checksum holds.
fn checked_body(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let end = bytes
        .iter()
        .position(|&b| b == b'\n')
        .ok_or(DecodeError::NotAHistory)?;
    let (line, body) = (&bytes[..end], &bytes[end + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| DecodeError::NotAHistory)?;
    let mut words = line.split(' ');
    if words.next() != Some(MARKER) {
        return Err(DecodeError::NotAHistory);
    }
    let format = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or(DecodeError::NotAHistory)?;
    // What comes after the number is the business of that format.
    if ![FORMAT_BEFORE, FORMAT].contains(&format) {
        return Err(DecodeError::UnknownFormat {
            found: format,
            known: FORMAT,
        });
    }
    let (Some(checksum), None) = (words.next(), words.next()) else {
        return Err(DecodeError::NotAHistory);
    };
    let expected = u64::from_str_radix(checksum, 16).map_err(|_| DecodeError::NotAHistory)?;
    let found = xxh3_64(body);
    if found != expected {
        return Err(DecodeError::Checksum { expected, found });
    }
    Ok(body)
}

fn stored_map(stored: &StoredMap, names: &[Member]) -> Result<RingMap, &'static str> {
    let bits = STANDARD
        .decode(&stored.members)
        .map_err(|_| "the members of a map are base64")?;
    if bits.len() != names.len().div_ceil(8) {
        return Err("the members of a map are one bit a name");
    }
    let bit = |i: usize| bits[i / 8] & (1 << (i % 8)) != 0;
    if (names.len()..bits.len() * 8).any(bit) {
        return Err("the bits after the last name are zero");
    }
    let members = names
        .iter()
        .enumerate()
        .filter(|&(i, _)| bit(i))
        .map(|(_, m)| m.clone());
    let placement = Placement::new(stored.rf, stored.vnodes)
        .map_err(|_| "replicas and virtual nodes are in range")?;
    let map = RingMap::announced(stored.version, members, placement)
        .map_err(|_| "a map has from 1 to 3,844 members")?;
    Ok(match stored.from {
        Some(from) => map.with_from(from),
        None => map,
    })
}

fn check_order(maps: &[RingMap]) -> Result<(), &'static str> {
    if maps.last().is_some_and(|map| map.version() > MAX_COUNT) {
        return Err("versions fit into 63 bits");
    }
    if maps
        .first()
        .is_some_and(|map| map.version() == 0 || map.from_millis().is_none())
    {
        return Err("the oldest map has a version and a time");
    }
    for pair in maps.windows(2) {
        let (older, newer) = (&pair[0], &pair[1]);
        if older.version().checked_add(1) != Some(newer.version()) {
            return Err("versions follow each other");
        }
        match (older.from_millis(), newer.from_millis()) {
            (None, _) => return Err("only the newest map is without a time"),
            (Some(older), Some(newer)) if newer <= older => {
                return Err("times increase from map to map");
            }
            _ => {}
        }
    }
    Ok(())
}

fn stored_pairs<T: Copy>(
    stored: &[(usize, T)],
    names: &[Member],
) -> Result<BTreeMap<Member, T>, &'static str> {
    if !stored.is_sorted_by(|a, b| a.0 < b.0) {
        return Err("indexes ascend");
    }
    stored
        .iter()
        .map(|&(i, at)| Ok((names.get(i).ok_or("an index names a member")?.clone(), at)))
        .collect()
}

fn stored_slots(stored: &[Option<String>], names: &[Member]) -> Result<NodeSlots, &'static str> {
    if stored.len() != names.len() {
        return Err("there is one node slot, or null, a name");
    }
    let mut pairs = Vec::new();
    for (member, slot) in names.iter().zip(stored) {
        if let Some(slot) = slot {
            pairs.push((
                member.clone(),
                slot.parse()
                    .map_err(|_| "a node slot is two base-62 characters")?,
            ));
        }
    }
    NodeSlots::from_pairs(pairs).ok_or("node slots are distinct")
}
