//! The tables of a history: `R(c, k)` for every channel and key time.

use std::sync::Arc;

use crate::history::RingHistory;
use crate::map::RingMap;
use crate::member::Member;
use crate::ring::{ReplicaSet, Ring};

/// A ring whose table is built, with what its ring map says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltRing {
    version: u64,
    from_millis: Option<i64>,
    ring: Arc<Ring>,
    /// Its members that were declared lost, each with the time from which the ring without it is in
    /// force.
    lost: Vec<(Member, i64)>,
}

/// The members of a replica set that may still answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Staying {
    /// Those of the set, in its order, that were not declared lost.
    pub members: Vec<Member>,
    /// How many of them a reader must hear: a read quorum of the whole set, or all that stay.
    pub needed: usize,
}

impl BuiltRing {
    /// The version of the ring map.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The time from which the ring map is in force (UTC milliseconds), `None` while it is only
    /// announced.
    pub fn from_millis(&self) -> Option<i64> {
        self.from_millis
    }

    /// The ring.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// Whether a member of it is lost: an operator has declared it so, and the ring without it is in
    /// force at `now` (UTC milliseconds).
    pub fn is_lost(&self, member: &Member, now: i64) -> bool {
        let mut lost = self.lost.iter();
        lost.any(|(lost, from)| lost == member && *from <= now)
    }

    /// Who of the replica set of a channel (its lower-cased name) may still answer at `now`, and how
    /// many must.
    pub fn staying(&self, channel: &str, now: i64) -> Staying {
        let set = self.ring.replica_set(channel);
        let members = set.iter().filter(|member| !self.is_lost(member, now));
        let members: Vec<Member> = members.cloned().collect();
        let needed = set.read_quorum().min(members.len());
        Staying { members, needed }
    }
}

/// The rings of a [`RingHistory`], built: an immutable view that look-ups use.
///
/// A new one is made whenever the history changes; it takes over the tables of maps that place
/// alike, so that giving an announced map its time builds nothing. With 16,384 slots, a table takes
/// 96 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RingTables {
    /// As the history's maps: oldest first, only the last one may lack its time.
    rings: Vec<BuiltRing>,
}

impl RingTables {
    /// Builds what `previous` does not have yet.
    pub fn new(history: &RingHistory, previous: &Self) -> Self {
        let mut rings: Vec<BuiltRing> = Vec::with_capacity(history.maps().len());
        for map in history.maps() {
            let alike = |built: &&BuiltRing| {
                built.ring.placement() == map.placement() && built.ring.members() == map.members()
            };
            // The cluster may go back to a ring that it had before, so all of them are looked at.
            let known = previous
                .rings
                .iter()
                .chain(&rings)
                .find(alike)
                .map(|built| Arc::clone(&built.ring));
            let lost = history.lost().iter().filter_map(|(member, &version)| {
                let concerned = map.version() < version && map.contains(member);
                let from = history.map(version).and_then(RingMap::from_millis)?;
                concerned.then(|| (member.clone(), from))
            });
            rings.push(BuiltRing {
                version: map.version(),
                from_millis: map.from_millis(),
                ring: known.unwrap_or_else(|| Arc::new(map.ring())),
                lost: lost.collect(),
            });
        }
        Self { rings }
    }

    /// All rings, oldest first.
    pub fn rings(&self) -> &[BuiltRing] {
        &self.rings
    }

    /// The newest ring, announced or in force.
    pub fn newest(&self) -> Option<&BuiltRing> {
        self.rings.last()
    }

    /// The ring in force at a time (UTC milliseconds), as [`RingHistory::at`]. Allocates nothing.
    #[inline]
    pub fn at(&self, millis: i64) -> Option<&BuiltRing> {
        let started = self
            .rings
            .partition_point(|built| built.from_millis.is_some_and(|from| from <= millis));
        self.rings[..started].last()
    }

    /// `R(c, k)`: the replica set of a channel (its lower-cased name) at a key time (UTC
    /// milliseconds); `None` for times before the oldest ring. Allocates nothing.
    #[inline]
    pub fn replica_set(&self, channel: &str, key_millis: i64) -> Option<ReplicaSet<'_>> {
        Some(self.at(key_millis)?.ring.replica_set(channel))
    }

    /// The rings in force at some time of `from..to` (UTC milliseconds, without `to`), oldest
    /// first, as [`RingHistory::overlapping`].
    pub fn overlapping(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = &BuiltRing> {
        let starts =
            |built: &BuiltRing, at: i64| built.from_millis.is_some_and(|start| start <= at);
        self.rings
            .iter()
            .enumerate()
            .filter(move |&(i, built)| {
                let over = self.rings.get(i + 1).is_some_and(|next| starts(next, from));
                from < to && !over && starts(built, to - 1)
            })
            .map(|(_, built)| built)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Placement;

    fn names(names: &[&str]) -> Vec<Member> {
        names.iter().map(|n| Member::new(n).unwrap()).collect()
    }

    /// In force: `a` from 100, `a b` from 200, `a` again from 300; announced: `a c`.
    fn history() -> RingHistory {
        let mut history = RingHistory::new();
        let placement = Placement::default();
        history
            .announce(RingMap::in_force(1, 100, names(&["a"]), placement).unwrap())
            .unwrap();
        for (version, from, members) in [(2, 200, &["a", "b"][..]), (3, 300, &["a"])] {
            history
                .announce(RingMap::announced(version, names(members), placement).unwrap())
                .unwrap();
            history.set_from(version, from).unwrap();
        }
        history
            .announce(RingMap::announced(4, names(&["a", "c"]), placement).unwrap())
            .unwrap();
        history
    }

    #[test]
    fn the_tables_answer_as_the_history_does() {
        let history = history();
        let tables = RingTables::new(&history, &RingTables::default());
        for from in 95..305 {
            let version = tables.at(from).map(BuiltRing::version);
            assert_eq!(version, history.at(from).map(RingMap::version), "at {from}");
            for to in [from - 1, from, from + 1, from + 100, from + 150, i64::MAX] {
                let built: Vec<u64> = tables
                    .overlapping(from, to)
                    .map(BuiltRing::version)
                    .collect();
                let maps: Vec<u64> = history
                    .overlapping(from, to)
                    .iter()
                    .map(RingMap::version)
                    .collect();
                assert_eq!(built, maps, "{from}..{to}");
            }
        }
        assert_eq!(tables.newest().map(BuiltRing::version), Some(4));
        assert_eq!(tables.overlapping(i64::MIN, i64::MIN).count(), 0);
    }

    #[test]
    fn a_replica_set_is_that_of_the_ring_in_force_at_the_key_time() {
        let tables = RingTables::new(&history(), &RingTables::default());
        let at = |millis| tables.replica_set("events", millis).map(|set| set.len());
        assert_eq!(
            [99, 100, 199, 200, 299, 300, i64::MAX].map(at),
            [None, Some(1), Some(1), Some(2), Some(2), Some(1), Some(1)]
        );
    }

    #[test]
    fn who_is_lost_is_not_waited_for_once_the_ring_without_it_is_in_force() {
        let placement = Placement::default();
        let mut history = RingHistory::new();
        history
            .announce(RingMap::in_force(1, 100, names(&["a", "b", "c"]), placement).unwrap())
            .unwrap();
        history
            .announce(RingMap::announced(2, names(&["a"]), placement).unwrap())
            .unwrap();
        assert!(history.declare_lost(names(&["a", "b", "c", "d"])));
        assert_eq!(history.lost().len(), 2, "a is in the ring, and d never was");
        let staying = |history: &RingHistory, now| {
            let tables = RingTables::new(history, &RingTables::default());
            let staying = tables.rings()[0].staying("events", now);
            (staying.members.len(), staying.needed)
        };
        assert_eq!(staying(&history, 500), (3, 2), "only announced");
        history.set_from(2, 300).unwrap();
        assert_eq!(staying(&history, 299), (3, 2));
        assert_eq!(staying(&history, 300), (1, 1));
        // Back again, it is a member like any other.
        history
            .announce(RingMap::announced(3, names(&["a", "b", "c"]), placement).unwrap())
            .unwrap();
        history.set_from(3, 400).unwrap();
        let tables = RingTables::new(&history, &RingTables::default());
        assert_eq!(tables.rings()[2].staying("events", 500).needed, 2);
        assert_eq!(tables.rings()[0].staying("events", 500).needed, 1);
        let stored = RingHistory::decode(&history.encode().unwrap()).unwrap();
        assert_eq!(stored, history);
        // With the rings that they were in they are forgotten.
        history.prune(400);
        assert!(history.lost().is_empty());
    }

    #[test]
    fn tables_are_taken_over_and_not_built_again() {
        let mut history = history();
        let first = RingTables::new(&history, &RingTables::default());
        assert!(Arc::ptr_eq(
            first.rings()[0].ring(),
            first.rings()[2].ring()
        ));
        history.set_from(4, 400).unwrap();
        let second = RingTables::new(&history, &first);
        assert_eq!(second.rings()[3].from_millis(), Some(400));
        for (old, new) in first.rings().iter().zip(second.rings()) {
            assert!(Arc::ptr_eq(old.ring(), new.ring()));
        }
        let other = Placement::new(1, 256).unwrap();
        history
            .announce(RingMap::announced(5, names(&["a", "c"]), other).unwrap())
            .unwrap();
        let third = RingTables::new(&history, &second);
        assert_eq!(third.rings()[4].ring().placement(), other);
    }
}
