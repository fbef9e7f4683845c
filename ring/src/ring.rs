//! A ring: which members hold a channel.

use std::sync::Arc;

use crate::hash::{SLOTS, Slot};
use crate::level;
use crate::member::Member;
use crate::placement::Placement;
use crate::walk::Points;

/// The largest number of members in a ring: as many as there are node slots
/// ([`NodeSlot`](crate::NodeSlot)).
pub const MAX_MEMBERS: usize = 3_844;

/// Why a list of members is not a ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The list is empty.
    #[error("a ring needs a member")]
    NoMembers,
    /// The list is longer than [`MAX_MEMBERS`].
    #[error("a ring has at most {limit} members, not {members}")]
    TooManyMembers {
        /// The number of distinct members that was refused.
        members: usize,
        /// [`MAX_MEMBERS`].
        limit: usize,
    },
}

/// Sorts members, drops those named twice, and checks that they can be a ring.
pub(crate) fn sorted(
    members: impl IntoIterator<Item = Member>,
) -> Result<Arc<[Member]>, RingError> {
    let mut members: Vec<Member> = members.into_iter().collect();
    members.sort_unstable();
    members.dedup();
    match members.len() {
        0 => Err(RingError::NoMembers),
        1..=MAX_MEMBERS => Ok(members.into()),
        more => Err(RingError::TooManyMembers {
            members: more,
            limit: MAX_MEMBERS,
        }),
    }
}

/// A pure function of a member list (and a [`Placement`]): it maps a channel name to an ordered
/// list of distinct members.
///
/// Building one takes milliseconds (a table of [`SLOTS`] replica sets is computed); it is then
/// immutable. A look-up is one hash and one index, and allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    placement: Placement,
    /// Ascending, distinct.
    members: Arc<[Member]>,
    /// The members in each replica set; the same in every slot.
    width: usize,
    /// `width` indexes into `members` for each slot, first the preferred coordinator.
    table: Box<[u16]>,
}

impl Ring {
    /// Builds the ring of some members, in any order; one that is named twice counts once.
    ///
    /// # Errors
    ///
    /// [`RingError`] if there are no members or more than [`MAX_MEMBERS`].
    pub fn new(
        members: impl IntoIterator<Item = Member>,
        placement: Placement,
    ) -> Result<Self, RingError> {
        Ok(Self::of_sorted(sorted(members)?, placement))
    }

    /// The members must come from [`sorted`].
    pub(crate) fn of_sorted(members: Arc<[Member]>, placement: Placement) -> Self {
        let width = placement.replicas(members.len());
        let points = Points::new(&members, placement.virtual_nodes());
        let mut table = Vec::with_capacity(SLOTS * width);
        for slot in Slot::all() {
            table.extend(points.walk(slot.start()).take(width));
        }
        level::even_out(&mut table, width, &members);
        Self {
            placement,
            members,
            width,
            table: table.into(),
        }
    }

    /// The members of the ring, ascending by name.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The numbers that the ring places by.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Whether a member is in the ring.
    pub fn contains(&self, member: &Member) -> bool {
        self.members.binary_search(member).is_ok()
    }

    /// The replica set of a channel. The name must be lower-cased, see [`Slot::of`].
    #[inline]
    pub fn replica_set(&self, channel: &str) -> ReplicaSet<'_> {
        self.replica_set_of(Slot::of(channel))
    }

    /// The replica set of all channels of a slot.
    #[inline]
    pub fn replica_set_of(&self, slot: Slot) -> ReplicaSet<'_> {
        ReplicaSet {
            members: &self.members,
            picks: &self.table[slot.index() * self.width..][..self.width],
        }
    }

    /// How many slots each member is in, in the order of [`members`](Self::members).
    pub fn loads(&self) -> Vec<Load> {
        let mut loads = vec![Load::default(); self.members.len()];
        for set in self.table.chunks_exact(self.width) {
            loads[usize::from(set[0])].primary += 1;
            for &member in set {
                loads[usize::from(member)].replicas += 1;
            }
        }
        loads
    }
}

/// How many of the [`SLOTS`] a member serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Slots in which the member comes first, and so normally coordinates.
    pub primary: usize,
    /// Slots whose replica set the member is in, first or not.
    pub replicas: usize,
}

/// The replica set of a channel on a ring: distinct members, the one that normally coordinates
/// first.
///
/// It has as many members as the replication factor, or all members of a smaller ring; never none.
/// Two replica sets are equal if they name the same members in the same order, whatever their
/// rings.
#[derive(Clone, Copy)]
pub struct ReplicaSet<'a> {
    members: &'a [Member],
    picks: &'a [u16],
}

#[allow(clippy::len_without_is_empty, reason = "a replica set is never empty")]
impl<'a> ReplicaSet<'a> {
    /// The number of members, `n`: 1, 2 or 3.
    pub fn len(&self) -> usize {
        self.picks.len()
    }

    /// The members in order of preference.
    #[inline]
    pub fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = &'a Member> + DoubleEndedIterator + use<'a> {
        let members = self.members;
        self.picks
            .iter()
            .map(move |&pick| &members[usize::from(pick)])
    }

    /// The member that normally coordinates.
    #[inline]
    pub fn first(&self) -> &'a Member {
        &self.members[usize::from(self.picks[0])]
    }

    /// Whether a member is in the set.
    pub fn contains(&self, member: &Member) -> bool {
        self.iter().any(|other| other == member)
    }

    /// The number of members that must hold an item: [`quorum`](crate::quorum()) of its size.
    pub fn quorum(&self) -> usize {
        crate::quorum(self.len())
    }

    /// The number of members that a read must ask: [`read_quorum`](crate::read_quorum()) of its size.
    pub fn read_quorum(&self) -> usize {
        crate::read_quorum(self.len())
    }

    /// Whether another set, of this ring or another one, has the same members in any order. A
    /// channel needs a hand-over at a ring change only if it has not.
    pub fn same_members(&self, other: &ReplicaSet<'_>) -> bool {
        self.len() == other.len() && self.iter().all(|member| other.contains(member))
    }
}

impl PartialEq for ReplicaSet<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ReplicaSet<'_> {}

impl std::fmt::Debug for ReplicaSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(names: &[&str]) -> Ring {
        Ring::new(
            names.iter().map(|n| Member::new(n).unwrap()),
            Placement::default(),
        )
        .unwrap()
    }

    #[test]
    fn a_ring_without_members_and_one_with_too_many_are_refused() {
        assert_eq!(
            Ring::new([], Placement::default()),
            Err(RingError::NoMembers)
        );
        let many = (0..=MAX_MEMBERS).map(|i| Member::new(&format!("m{i}")).unwrap());
        assert_eq!(
            Ring::new(many, Placement::default()),
            Err(RingError::TooManyMembers {
                members: 3_845,
                limit: 3_844
            })
        );
    }

    #[test]
    fn a_member_named_twice_counts_once() {
        assert_eq!(ring(&["b", "a", "B", "a"]), ring(&["a", "b"]));
    }

    #[test]
    fn a_small_ring_has_all_its_members_in_every_set() {
        for names in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
            let ring = ring(names);
            for slot in Slot::all() {
                let set = ring.replica_set_of(slot);
                assert_eq!(set.len(), names.len());
                assert!(ring.members().iter().all(|member| set.contains(member)));
            }
        }
    }

    #[test]
    fn what_a_replica_set_says_of_itself() {
        let ring = ring(&["a", "b", "c", "d"]);
        let set = ring.replica_set("events");
        assert_eq!(Some(set.first()), set.iter().next());
        assert_eq!((set.len(), set.quorum(), set.read_quorum()), (3, 2, 2));
        let outside = ring.members().iter().find(|m| !set.contains(m)).unwrap();
        assert!(ring.contains(outside));
        assert!(!ring.contains(&Member::new("e").unwrap()));
    }

    #[test]
    fn sets_with_the_same_members_in_another_order() {
        let ring = ring(&["a", "b", "c"]);
        let sets: Vec<_> = Slot::all().map(|slot| ring.replica_set_of(slot)).collect();
        let other = sets.iter().find(|set| **set != sets[0]).unwrap();
        assert!(other.same_members(&sets[0]));
        let smaller = self::ring(&["a", "b"]);
        assert!(!smaller.replica_set("events").same_members(&sets[0]));
        assert!(!sets[0].same_members(&smaller.replica_set("events")));
    }

    #[test]
    fn the_loads_add_up() {
        let loads = ring(&["a", "b", "c", "d", "e"]).loads();
        assert_eq!(loads.iter().map(|load| load.primary).sum::<usize>(), SLOTS);
        assert_eq!(
            loads.iter().map(|load| load.replicas).sum::<usize>(),
            3 * SLOTS
        );
    }
}
