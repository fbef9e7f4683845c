//! A ring map: a ring with the time from which it is in force.

use std::sync::Arc;

use crate::member::Member;
use crate::placement::Placement;
use crate::ring::{Ring, RingError, sorted};

/// A ring with the time from which it is in force. A map without that time is only *announced*.
///
/// It holds the members and not the table: a map is what is stored and sent, and the table follows
/// from it ([`RingTables`](crate::RingTables)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingMap {
    version: u64,
    from_millis: Option<i64>,
    /// Ascending, distinct, from 1 to [`MAX_MEMBERS`](crate::MAX_MEMBERS).
    members: Arc<[Member]>,
    placement: Placement,
}

impl RingMap {
    /// A map that is announced: its members are known, the time from which it is in force is not.
    ///
    /// # Errors
    ///
    /// [`RingError`] if there are no members or more than [`MAX_MEMBERS`](crate::MAX_MEMBERS).
    pub fn announced(
        version: u64,
        members: impl IntoIterator<Item = Member>,
        placement: Placement,
    ) -> Result<Self, RingError> {
        Ok(Self {
            version,
            from_millis: None,
            members: sorted(members)?,
            placement,
        })
    }

    /// A map with the time from which it is in force. Only the first map of a cluster is made like
    /// this.
    ///
    /// # Errors
    ///
    /// As [`announced`](Self::announced).
    pub fn in_force(
        version: u64,
        from_millis: i64,
        members: impl IntoIterator<Item = Member>,
        placement: Placement,
    ) -> Result<Self, RingError> {
        let map = Self::announced(version, members, placement)?;
        Ok(map.with_from(from_millis))
    }

    pub(crate) fn with_from(mut self, from_millis: i64) -> Self {
        self.from_millis = Some(from_millis);
        self
    }

    /// The number of the map: the first one of a cluster is 1, each one after it is one more.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The time from which the map is in force (UTC milliseconds), `None` while it is only
    /// announced.
    pub fn from_millis(&self) -> Option<i64> {
        self.from_millis
    }

    /// The members, ascending by name.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The numbers that channels are placed by while the map is in force.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Whether a member is in the map.
    pub fn contains(&self, member: &Member) -> bool {
        self.members.binary_search(member).is_ok()
    }

    /// Builds the ring: some milliseconds of work, see [`Ring`].
    pub fn ring(&self) -> Ring {
        Ring::of_sorted(Arc::clone(&self.members), self.placement)
    }

    /// Whether both maps place every channel alike: same members, same placement.
    pub fn same_ring(&self, other: &Self) -> bool {
        self.placement == other.placement && self.members == other.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_knows_its_members_in_order() {
        let name = |n: &str| Member::new(n).unwrap();
        let map = RingMap::in_force(
            7,
            1_000,
            [name("c"), name("a"), name("c")],
            Placement::default(),
        )
        .unwrap();
        assert_eq!(map.members(), [name("a"), name("c")]);
        assert!(map.contains(&name("a")) && !map.contains(&name("b")));
        assert_eq!((map.version(), map.from_millis()), (7, Some(1_000)));
        assert_eq!(map.ring().members(), map.members());
        let announced =
            RingMap::announced(8, [name("a"), name("c")], Placement::default()).unwrap();
        assert_eq!(announced.from_millis(), None);
        assert!(announced.same_ring(&map) && announced != map);
        let one = Placement::new(1, 256).unwrap();
        assert!(
            !RingMap::announced(8, [name("a"), name("c")], one)
                .unwrap()
                .same_ring(&map)
        );
        assert_eq!(RingMap::announced(1, [], one), Err(RingError::NoMembers));
    }
}
