//! The pinned hash and the bytes that it is taken of.
//!
//! Two builds that place one channel differently lose data, so nothing here may ever change: not
//! the function (XXH3, 64 bits, seed 0), not the order or the width of the bytes. `std::hash::Hash`
//! is not used, because the bytes it feeds to a hasher are promised neither across compilers nor
//! across platforms. Golden tests pin all of it.

use xxhash_rust::xxh3::xxh3_64;

use crate::member::Member;

/// The number of slots in a table: a channel's slot is the upper 14 bits of the hash of its name.
pub const SLOTS: usize = 1 << SLOT_BITS;

const SLOT_BITS: u32 = 14;

/// One of the [`SLOTS`] equal parts of the circle of hashes. All channels of a slot are placed
/// alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a channel. The name must be lower-cased: names are looked up without regard to
    /// case, which is the business of the caller, and two spellings must not be placed apart.
    #[inline]
    pub fn of(channel: &str) -> Self {
        Self((xxh3_64(channel.as_bytes()) >> (u64::BITS - SLOT_BITS)) as u16)
    }

    /// All slots, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..1 << SLOT_BITS).map(Self)
    }

    /// The position of the slot in the table, from 0 to [`SLOTS`] less one.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The lowest hash in the slot: where its walk around the ring begins.
    pub fn start(self) -> u64 {
        u64::from(self.0) << (u64::BITS - SLOT_BITS)
    }
}

/// Where a virtual node of a member is on the circle: the hash of
/// `name, 0x00, number of the point (32 bits, big-endian)`.
pub(crate) fn point(scratch: &mut Vec<u8>, member: &Member, number: u32) -> u64 {
    scratch.clear();
    scratch.extend_from_slice(member.as_str().as_bytes());
    scratch.push(0);
    scratch.extend_from_slice(&number.to_be_bytes());
    xxh3_64(scratch)
}

/// The hash of `name`: stands for the member in [`preference`].
pub(crate) fn member(member: &Member) -> u64 {
    xxh3_64(member.as_str().as_bytes())
}

/// What a preference is about, so that two choices about one slot do not depend on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Which member takes a replica from which.
    Replica = 1,
    /// Which member of a replica set comes first.
    Primary = 2,
}

/// How much a member wants a slot: the hash of
/// `hash of the name (64 bits, big-endian), slot (16 bits, big-endian), choice (8 bits)`.
pub(crate) fn preference(member_hash: u64, slot: Slot, choice: Choice) -> u64 {
    let mut bytes = [0; 11];
    bytes[..8].copy_from_slice(&member_hash.to_be_bytes());
    bytes[8..10].copy_from_slice(&slot.0.to_be_bytes());
    bytes[10] = choice as u8;
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the XXH3 specification's reference implementation (seed 0).
    #[test]
    fn the_hash_is_xxh3_without_a_seed() {
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(xxh3_64(b"a"), 0xe6c6_32b6_1e96_4e1f);
        assert_eq!(xxh3_64(b"abc"), 0x78af_5f94_892f_3950);
    }

    #[test]
    fn a_point_hashes_the_bytes_that_are_written_down() {
        let host = Member::new("hub-1").unwrap();
        assert_eq!(
            point(&mut vec![9; 40], &host, 0x0102_0304),
            xxh3_64(b"hub-1\0\x01\x02\x03\x04")
        );
    }

    #[test]
    fn a_preference_hashes_the_bytes_that_are_written_down() {
        assert_eq!(
            preference(0x0102_0304_0506_0708, Slot(0x090a), Choice::Primary),
            xxh3_64(b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x02")
        );
    }

    #[test]
    fn a_slot_is_the_upper_bits_of_the_hash() {
        for name in ["a", "events", "events-2026"] {
            let (slot, hash) = (Slot::of(name), xxh3_64(name.as_bytes()));
            assert!(slot.start() <= hash && hash - slot.start() < 1 << 50);
        }
        assert_eq!(Slot::all().len(), 16_384);
        assert_eq!(Slot::all().last().map(Slot::index), Some(SLOTS - 1));
    }
}
