//! The numbers that decide, with the members, where a channel is placed.

/// How a ring places channels: how many replicas, and how many points a member has on the ring.
///
/// It is part of a ring map, not only of the configuration: a node that placed an old channel by a
/// newly configured number would look for its items in the wrong place. A ring map made from
/// another one takes its placement along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placement {
    replication_factor: u8,
    virtual_nodes: u16,
}

/// Why two numbers are not a placement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// More than three replicas, or none: one acceptance besides the coordinator must make a
    /// quorum.
    #[error("the replication factor must be 1, 2 or 3, not {replication_factor}")]
    ReplicationFactor {
        /// The factor that was refused.
        replication_factor: u8,
    },
    /// No virtual nodes, or so many that building a table takes seconds.
    #[error("the number of virtual nodes must be from 1 to {limit}, not {virtual_nodes}")]
    VirtualNodes {
        /// The number that was refused.
        virtual_nodes: u16,
        /// [`Placement::MAX_VIRTUAL_NODES`].
        limit: u16,
    },
}

impl Placement {
    /// The largest number of replicas: an item is committed by one acceptance besides the
    /// coordinator's, which is a quorum of three at the most.
    pub const MAX_REPLICATION_FACTOR: u8 = 3;

    /// The largest number of virtual nodes of a member.
    pub const MAX_VIRTUAL_NODES: u16 = 4_096;

    /// Makes a placement of a replication factor (1, 2 or 3) and a number of virtual nodes a
    /// member.
    ///
    /// # Errors
    ///
    /// [`PlacementError`] if either is out of its range.
    pub const fn new(replication_factor: u8, virtual_nodes: u16) -> Result<Self, PlacementError> {
        if replication_factor == 0 || replication_factor > Self::MAX_REPLICATION_FACTOR {
            return Err(PlacementError::ReplicationFactor { replication_factor });
        }
        if virtual_nodes == 0 || virtual_nodes > Self::MAX_VIRTUAL_NODES {
            return Err(PlacementError::VirtualNodes {
                virtual_nodes,
                limit: Self::MAX_VIRTUAL_NODES,
            });
        }
        Ok(Self {
            replication_factor,
            virtual_nodes,
        })
    }

    /// The number of members in a replica set, in a ring that has as many.
    pub const fn replication_factor(self) -> u8 {
        self.replication_factor
    }

    /// The number of points that a member has on the ring.
    pub const fn virtual_nodes(self) -> u16 {
        self.virtual_nodes
    }

    /// The size of a replica set in a ring of so many members: all of them, if they are fewer than
    /// the replication factor.
    pub fn replicas(self, members: usize) -> usize {
        members.min(usize::from(self.replication_factor))
    }
}

impl Default for Placement {
    /// Three replicas, 256 virtual nodes a member.
    fn default() -> Self {
        Self {
            replication_factor: 3,
            virtual_nodes: 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert_eq!(Placement::new(3, 256), Ok(Placement::default()));
        for factor in [0, 4, 255] {
            assert!(matches!(
                Placement::new(factor, 256),
                Err(PlacementError::ReplicationFactor { .. })
            ));
        }
        for nodes in [0, 4_097] {
            assert!(matches!(
                Placement::new(3, nodes),
                Err(PlacementError::VirtualNodes { .. })
            ));
        }
    }

    #[test]
    fn a_small_ring_has_small_replica_sets() {
        let placement = Placement::default();
        assert_eq!(
            [0, 1, 2, 3, 9].map(|n| placement.replicas(n)),
            [0, 1, 2, 3, 3]
        );
    }
}
