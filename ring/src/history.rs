//! The ring history: every ring map that may still be needed, and what the cluster remembers beside
//! them.
//!
//! What it guarantees, however it was made or decoded:
//! - versions follow each other without a gap, and times of coming into force strictly increase;
//! - only the newest map can lack its time (*announced*), and then it is not the only one;
//! - a time, once set, never changes, so `R(c, k)` never changes for a key time that is before the
//!   newest map;
//! - every member of a map has a node slot, and keeps it while it is in a map.
//!
//! What it does not do: compare itself with another member's history
//! ([`adopt`](RingHistory::adopt) does), or decide on a change ([`keeper`](crate::keeper) does).

use std::collections::{BTreeMap, BTreeSet};

use crate::map::RingMap;
use crate::member::Member;
use crate::node_slot::{NodeSlot, NodeSlots};

mod adoption;
mod codec;
#[cfg(test)]
mod tests;

pub use adoption::{Adoption, AdoptionAlarm, AdoptionGuard};
pub use codec::{DecodeError, EncodeError, MAX_ENCODED_BYTES};

/// The largest number of ring maps in a history. Far more than a cluster can make within an hour;
/// it bounds what a history that cannot be pruned (a member lost for good and not declared lost)
/// may grow to.
pub const MAX_MAPS: usize = 1_024;

/// Every ring map in force within the time that is still needed, and any that is announced but not
/// yet in force; with the `absent` times, the decommissions and the node slots of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RingHistory {
    /// Oldest first.
    maps: Vec<RingMap>,
    /// Counts every change, so that of two histories with the same maps the later one is known.
    revision: u64,
    /// The most members that a ring of this cluster ever had.
    largest_ring: usize,
    absent: BTreeMap<Member, i64>,
    decommissions: BTreeMap<Member, i64>,
    /// The version of the first map without them.
    lost: BTreeMap<Member, u64>,
    node_slots: NodeSlots,
}

/// How new a history is. Greater is newer: the newest map's version, then whether that map has the
/// time from which it is in force, then the number of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HistoryMark {
    /// The version of the newest map, 0 in an empty history.
    pub version: u64,
    /// Whether the newest map has its time.
    pub has_from: bool,
    /// The number of changes made to the history, of whatever kind.
    pub revision: u64,
}

impl HistoryMark {
    /// Whether this one stands for rings that the other one does not know of. Absent times and
    /// decommissions make a history newer, too, but move no channel.
    pub fn knows_newer_ring_than(self, other: Self) -> bool {
        (self.version, self.has_from) > (other.version, other.has_from)
    }
}

/// Why a history cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The map's version is not the one after the newest.
    #[error("ring map {found} cannot follow: the next version is {expected}")]
    VersionNotNext {
        /// The version after the newest map's.
        expected: u64,
        /// The version of the map that was refused.
        found: u64,
    },
    /// The newest map is only announced: one change at a time.
    #[error("ring map {version} is announced and has no time yet from which it is in force")]
    NewestWithoutFrom {
        /// The version of the newest map.
        version: u64,
    },
    /// The first map of a cluster must have its time: it is in force at once.
    #[error("the first ring map must be in force from a time")]
    FirstWithoutFrom,
    /// A map after the first one is announced without its time.
    #[error("ring map {version} must be announced without a time from which it is in force")]
    AnnouncedWithFrom {
        /// The version of the map that was refused.
        version: u64,
    },
    /// A time was set for a map that is not the newest.
    #[error("ring map {version} is not the newest one ({newest}) and cannot be given a time")]
    NotNewest {
        /// The version that was named.
        version: u64,
        /// The version of the newest map, 0 if there is none.
        newest: u64,
    },
    /// The map has its time, which never changes.
    #[error("ring map {version} is in force from {from_millis}, which never changes")]
    FromAlreadySet {
        /// The version that was named.
        version: u64,
        /// The time it has (UTC milliseconds).
        from_millis: i64,
    },
    /// The time is not after that of the map before.
    #[error(
        "ring map {version} cannot be in force from {from_millis}: the one before is from {previous_millis}"
    )]
    FromNotLater {
        /// The version that was named.
        version: u64,
        /// The time that was refused (UTC milliseconds).
        from_millis: i64,
        /// The time of the map before (UTC milliseconds).
        previous_millis: i64,
    },
    /// The history holds [`MAX_MAPS`] maps.
    #[error("the ring history holds {limit} maps and can take no more until it is pruned")]
    TooManyMaps {
        /// [`MAX_MAPS`].
        limit: usize,
    },
    /// There are not enough node slots for the new members.
    #[error("only {free} node slots are free, and ring map {version} has more new members")]
    NodeSlotsExhausted {
        /// The version of the map that was refused.
        version: u64,
        /// The number of node slots that nobody has.
        free: usize,
    },
}

impl RingHistory {
    /// The history of a cluster that has had no ring yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All maps, oldest first.
    pub fn maps(&self) -> &[RingMap] {
        &self.maps
    }

    /// Whether there is no map.
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    /// The newest map, announced or in force.
    pub fn newest(&self) -> Option<&RingMap> {
        self.maps.last()
    }

    /// The map in force at a time (UTC milliseconds); `None` for times before the oldest one. A map
    /// that is only announced is in force at no time.
    pub fn at(&self, millis: i64) -> Option<&RingMap> {
        self.dated()[..self.started(millis)].last()
    }

    /// The maps in force at some time of `from..to` (UTC milliseconds, without `to`), oldest first.
    pub fn overlapping(&self, from: i64, to: i64) -> &[RingMap] {
        if from >= to {
            return &[];
        }
        let first = self.started(from).saturating_sub(1);
        // Started before `to`, that is at `to - 1` or earlier; `to > from` keeps this from
        // overflowing.
        &self.dated()[first..self.started(to - 1)]
    }

    /// The time at which a map ceases to be in force (UTC milliseconds): that of the map after it,
    /// `None` for the newest one with a time and for versions that the history does not hold.
    pub fn until_millis(&self, version: u64) -> Option<i64> {
        let next = self
            .maps
            .iter()
            .find(|map| map.version() == version.saturating_add(1))?;
        self.map(version)?;
        next.from_millis()
    }

    /// The map of a version.
    pub fn map(&self, version: u64) -> Option<&RingMap> {
        self.maps.iter().find(|map| map.version() == version)
    }

    /// How new the history is.
    pub fn mark(&self) -> HistoryMark {
        let newest = self.newest();
        HistoryMark {
            version: newest.map_or(0, RingMap::version),
            has_from: newest.is_some_and(|map| map.from_millis().is_some()),
            revision: self.revision,
        }
    }

    /// Whether this history is newer than another one; see [`HistoryMark`].
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.mark() > other.mark()
    }

    /// The members of all maps.
    pub fn members(&self) -> BTreeSet<&Member> {
        self.maps.iter().flat_map(RingMap::members).collect()
    }

    /// The most members that a ring of this cluster ever had.
    pub fn largest_ring(&self) -> usize {
        self.largest_ring
    }

    /// The version that the next map must have.
    pub fn next_version(&self) -> u64 {
        self.newest().map_or(0, RingMap::version).saturating_add(1)
    }

    /// Adds a map: the first one with the time from which it is in force, every other one without
    /// (announced). Its new members get node slots.
    ///
    /// # Errors
    ///
    /// [`HistoryError`], and nothing is changed, if the version is not the next one, the newest map
    /// has no time yet, the map has a time and should not or the other way round, or a limit is
    /// reached.
    pub fn announce(&mut self, map: RingMap) -> Result<(), HistoryError> {
        let (version, expected) = (map.version(), self.next_version());
        if version != expected {
            return Err(HistoryError::VersionNotNext {
                expected,
                found: version,
            });
        }
        match self.newest() {
            None if map.from_millis().is_none() => return Err(HistoryError::FirstWithoutFrom),
            Some(newest) if newest.from_millis().is_none() => {
                return Err(HistoryError::NewestWithoutFrom {
                    version: newest.version(),
                });
            }
            Some(_) if map.from_millis().is_some() => {
                return Err(HistoryError::AnnouncedWithFrom { version });
            }
            _ => {}
        }
        if self.maps.len() >= MAX_MAPS {
            return Err(HistoryError::TooManyMaps { limit: MAX_MAPS });
        }
        if !self.node_slots.suffice(map.members()) {
            return Err(HistoryError::NodeSlotsExhausted {
                version,
                free: self.node_slots.free(),
            });
        }
        self.node_slots.assign(map.members());
        self.largest_ring = self.largest_ring.max(map.members().len());
        self.maps.push(map);
        self.revision += 1;
        Ok(())
    }

    /// Sets the time from which the newest map, announced without one, is in force (UTC
    /// milliseconds). It is set once and never changes.
    ///
    /// # Errors
    ///
    /// [`HistoryError`], and nothing is changed, if the version is not the newest map's, that map
    /// has a time (be it the same one), or the time is not after that of the map before.
    pub fn set_from(&mut self, version: u64, from_millis: i64) -> Result<(), HistoryError> {
        let previous = self.maps.iter().rev().nth(1).and_then(RingMap::from_millis);
        let newest = match self.maps.last_mut() {
            Some(newest) if newest.version() == version => newest,
            other => {
                return Err(HistoryError::NotNewest {
                    version,
                    newest: other.map_or(0, |map| map.version()),
                });
            }
        };
        if let Some(from_millis) = newest.from_millis() {
            return Err(HistoryError::FromAlreadySet {
                version,
                from_millis,
            });
        }
        if let Some(previous_millis) = previous
            && from_millis <= previous_millis
        {
            return Err(HistoryError::FromNotLater {
                version,
                from_millis,
                previous_millis,
            });
        }
        *newest = newest.clone().with_from(from_millis);
        self.revision += 1;
        Ok(())
    }

    /// Drops the maps that ceased to be in force at or before `oldest_needed` (UTC milliseconds),
    /// and what is remembered of members that are then in no map: absent times and node slots. The
    /// newest map with a time, and one after it, always stay; decommissions stay until they are
    /// taken back. Answers the number of maps dropped.
    ///
    /// `oldest_needed` is the caller's to know: older than the Spoke TTL, nothing of its time
    /// unverified on any member, and every member of the map present or declared lost.
    pub fn prune(&mut self, oldest_needed: i64) -> usize {
        let dropped = self.started(oldest_needed).saturating_sub(1);
        if dropped > 0 {
            self.maps.drain(..dropped);
            let left: BTreeSet<Member> = self.members().into_iter().cloned().collect();
            self.absent.retain(|member, _| left.contains(member));
            self.node_slots.retain(|member| left.contains(member));
            let lost = std::mem::take(&mut self.lost);
            let still = |(member, version): &(Member, u64)| self.was_in_before(member, *version);
            self.lost = lost.into_iter().filter(still).collect();
            self.revision += 1;
        }
        dropped
    }

    /// The node slot of a member; every member of a map has one.
    pub fn node_slot(&self, member: &Member) -> Option<NodeSlot> {
        self.node_slots.get(member)
    }

    /// Since when members have been absent (UTC milliseconds, of the keeper's clock).
    pub fn absent(&self) -> &BTreeMap<Member, i64> {
        &self.absent
    }

    /// Replaces the absent times; those of members that are in no map are left out. Answers whether
    /// anything changed.
    pub fn set_absent(&mut self, absent: BTreeMap<Member, i64>) -> bool {
        let known = self.members();
        let absent: BTreeMap<_, _> = absent
            .into_iter()
            .filter(|(m, _)| known.contains(m))
            .collect();
        let changed = absent != self.absent;
        if changed {
            self.absent = absent;
            self.revision += 1;
        }
        changed
    }

    /// The members that asked to leave, and when (UTC milliseconds). They are in no later ring, and
    /// do not join again, until [`recommission`](Self::recommission).
    pub fn decommissions(&self) -> &BTreeMap<Member, i64> {
        &self.decommissions
    }

    /// Notes that a member asked to leave. Answers whether that is new; the time of the first
    /// asking stays.
    pub fn decommission(&mut self, member: Member, asked_millis: i64) -> bool {
        if self.decommissions.contains_key(&member) {
            return false;
        }
        self.decommissions.insert(member, asked_millis);
        self.revision += 1;
        true
    }

    /// Lets a member that asked to leave join again. Answers whether it had asked.
    pub fn recommission(&mut self, member: &Member) -> bool {
        let had = self.decommissions.remove(member).is_some();
        self.revision += u64::from(had);
        had
    }

    /// The members that an operator declared lost, each with the version of the first map that was
    /// made without it. In the maps before that one nobody waits for them any more.
    pub fn lost(&self) -> &BTreeMap<Member, u64> {
        &self.lost
    }

    /// Notes that members which the newest map leaves out are lost for good; those that it holds,
    /// and those of no map, are left out of that. Answers whether anything changed.
    pub fn declare_lost(&mut self, members: impl IntoIterator<Item = Member>) -> bool {
        let Some(newest) = self.newest().cloned() else {
            return false;
        };
        let before = self.lost.clone();
        for member in members {
            if !newest.contains(&member) && self.was_in_before(&member, newest.version()) {
                self.lost.insert(member, newest.version());
            }
        }
        let changed = self.lost != before;
        self.revision += u64::from(changed);
        changed
    }

    /// Whether a member is in a map of a lower version.
    fn was_in_before(&self, member: &Member, version: u64) -> bool {
        let mut maps = self.maps.iter();
        maps.any(|map| map.version() < version && map.contains(member))
    }

    /// The number of node slots that nobody has.
    pub(crate) fn free_node_slots(&self) -> usize {
        self.node_slots.free()
    }

    /// The maps that have a time.
    fn dated(&self) -> &[RingMap] {
        match self.maps.split_last() {
            Some((newest, older)) if newest.from_millis().is_none() => older,
            _ => &self.maps,
        }
    }

    /// The number of maps whose time is at or before this one.
    fn started(&self, millis: i64) -> usize {
        self.dated()
            .partition_point(|map| map.from_millis().is_some_and(|from| from <= millis))
    }
}
