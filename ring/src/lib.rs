//! The rings of a hub cluster: which members hold which channel, at which time.
//!
//! Everything here is a pure function: no I/O, no clock, no randomness, nothing asynchronous. Times
//! are UTC milliseconds as `i64`, and whoever asks says what time it is.
//!
//! | word | here |
//! | --- | --- |
//! | member | [`Member`]: one hub process, named by its fully qualified domain name |
//! | ring | [`Ring`]: maps a channel name to an ordered list of distinct members |
//! | ring map | [`RingMap`]: a ring with the time from which it is in force |
//! | ring history | [`RingHistory`]: all ring maps that are needed, and the announced one |
//! | replica set `R(c, k)` | [`ReplicaSet`]: [`RingTables::replica_set`] of channel `c` and key time `k` |
//! | quorum `W`, read quorum | [`quorum()`], [`read_quorum()`] |
//! | ring horizon | [`RingHorizon`]: up to which key time a node knows the ring |
//! | keeper | [`keeper::decide`]: when the ring changes, and why it does not |
//!
//! # Placement
//!
//! 1. A channel's *slot* is the upper 14 bits of the XXH3 hash (64 bits, no seed) of its name: one
//!    of 16,384. **The name must be lower-cased by the caller.**
//! 2. Each member has 256 *virtual nodes* (points) on the circle of hashes: the hash of its name, a
//!    zero byte, and the number of the point as 32 bits, big-endian.
//! 3. From the start of the slot, the walk clockwise meets points; the first three distinct members
//!    are the replica set, in that order. (Three is the replication factor. Both numbers are part
//!    of the ring map, [`Placement`].)
//! 4. Then the load is made even, in two steps.
//!
//! *Replicas.* A member's even share is the number of places in all sets over the number of
//! members. Its *floor* is 95 % of that and its *ceiling* 105 %, rounded inwards to whole places,
//! but never past the whole numbers around the share. Three passes: members above the ceiling give
//! to members below the floor; members above the ceiling give to members below the share (rounded
//! up); members above the share (rounded down) give to members below the floor. A pass goes once
//! through the places that its givers hold, in the order of *(hash of giver and slot, slot,
//! giver)*, and while the giver has too many, gives the place to the taker, not yet in that set,
//! with the highest *hash of taker and slot*; the taker comes last in the set. That hash is XXH3
//! of: the XXH3 of the name (8 bytes), the slot (2 bytes), both big-endian, and a byte 1.
//!
//! *Primaries.* The same three passes over the first places, with the byte 2 in the hash: a place
//! goes to another member of the same set, which moves to the front. No set changes its members.
//!
//! A table of all slots is computed once per ring map; a look-up is one hash and one index and
//! allocates nothing. Every build of the hub must compute the same table. Golden tests pin it, and
//! nothing that it depends on may ever change.
//!
//! ## Balance
//!
//! **Promised**, for 3 to 200 members: each member's number of slots is within 10 % of even, both
//! as a replica (its places in all replica sets) and as the primary (the first place). Measured for
//! all these sizes and several spellings of names: 5.0 % at the most, for both. For the replicas
//! that holds at any number of members, by construction, up to the rounding to whole slots (the
//! proof is in `level.rs`). The rest of the 10 % is for the chance by which channels fall into
//! slots.
//!
//! The walk alone does not do: with 256 points it is up to 16 % off for the replicas and 37 % for
//! the primaries. More points would not help: 16,384 slots given out by chance to 200 members
//! differ by 6 % (one standard deviation) for the replicas and 11 % for the primaries. So the
//! number of virtual nodes is 256 as ever, and the evening out is a step of its own.
//!
//! ## Movement
//!
//! When a member joins a ring of N, it takes RF/(N+1) of the channels (that is 1/(N+1) of all
//! places), within 5 %. Between old members only so many places move as making room takes. Measured
//! with three replicas, as a share of what the new member takes, on average: 1 % at 5 members, 3 %
//! at 20, 5 % at 50, 10 % at 100 and 31 % at 200 (at worst 43 %). Beyond some hundreds of members
//! the band is a few slots wide and the share grows: twice what the new member takes at 500, three
//! times at 1,000. Nothing is copied in a ring change, so a place that moves costs one hand-over of
//! its channels and no more.
//!
//! # What is not here
//!
//! Reading and writing the history, the keeper's lock, clocks, and watching who is there.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![allow(
    clippy::must_use_candidate,
    reason = "nearly every function here is pure; marking all of them says nothing"
)]
#![allow(clippy::doc_markdown, reason = "product names are not code")]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "numbers in tests are small"
    )
)]

mod hash;
mod history;
mod horizon;
pub mod keeper;
mod level;
mod map;
mod member;
mod node_slot;
mod placement;
mod quorum;
mod ring;
mod tables;
mod walk;

pub use hash::{SLOTS, Slot};
pub use history::{
    Adoption, AdoptionAlarm, AdoptionGuard, DecodeError, EncodeError, HistoryError, HistoryMark,
    MAX_ENCODED_BYTES, MAX_MAPS, RingHistory,
};
pub use horizon::{HorizonStep, RingHorizon, VouchStep, Vouching};
pub use map::RingMap;
pub use member::{MAX_NAME_BYTES, Member, MemberError};
pub use node_slot::{NODE_SLOTS, NodeSlot, NodeSlotError};
pub use placement::{Placement, PlacementError};
pub use quorum::{quorum, read_quorum};
pub use ring::{Load, MAX_MEMBERS, ReplicaSet, Ring, RingError};
pub use tables::{BuiltRing, RingTables, Staying};
pub use walk::{Points, Walk};
