//! The plain ring against an independent one, the crate `hashring`: the first member of a walk is
//! the member that it names, when both hash the same bytes with the same pinned hash.
#![allow(clippy::expect_used, reason = "a test that cannot be set up must fail")]

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use hub_ring::{Member, Points, Slot};
use xxhash_rust::xxh3::xxh3_64;

mod common;
use common::{hubs, named};

/// XXH3 of exactly the bytes that are written; a single number is its own hash.
#[derive(Default, Clone)]
struct Pinned {
    bytes: Vec<u8>,
    position: Option<u64>,
}

impl Hasher for Pinned {
    fn finish(&self) -> u64 {
        self.position.unwrap_or_else(|| xxh3_64(&self.bytes))
    }

    fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn write_u64(&mut self, position: u64) {
        self.position = Some(position);
    }
}

impl BuildHasher for Pinned {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

/// A point of a member.
struct Point<'a> {
    member: &'a Member,
    index: u16,
    number: u32,
}

impl Hash for Point<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.member.as_str().as_bytes());
        state.write(&[0]);
        state.write(&self.number.to_be_bytes());
    }
}

/// A name, hashed without the byte that `str` adds.
struct Name<'a>(&'a str);

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_bytes());
    }
}

fn check(members: &[Member], virtual_nodes: u16) {
    let points = Points::new(members, virtual_nodes);
    let mut oracle = HashRing::with_hasher(Pinned::default());
    let numbers = 0..u32::from(virtual_nodes);
    oracle.batch_add(
        (0..)
            .zip(members)
            .flat_map(|(index, member)| {
                numbers.clone().map(move |number| Point {
                    member,
                    index,
                    number,
                })
            })
            .collect(),
    );
    for slot in Slot::all() {
        let expected = oracle.get(&slot.start()).map(|point| point.index);
        assert_eq!(points.walk(slot.start()).next(), expected, "{slot:?}");
    }
    for i in 0..5_000 {
        let channel = format!("channel-{i}");
        let expected = oracle.get(&Name(&channel)).map(|point| point.index);
        assert_eq!(
            points.walk(xxh3_64(channel.as_bytes())).next(),
            expected,
            "{channel}"
        );
    }
}

#[test]
fn the_first_member_of_a_walk_is_the_one_that_hashring_names() {
    for count in [1, 2, 3, 5, 24] {
        check(&hubs(count), 256);
    }
    check(&named(9, "10.0.0.", ":8080"), 64);
    check(&named(3, "n", ""), 1);
}

/// The oracle cannot name replicas, so the rest of a walk is checked against taking members out:
/// without the first member, its keys belong to the second one, and so on.
#[test]
fn the_next_member_of_a_walk_is_the_first_one_without_those_before() {
    let members = hubs(6);
    let points = Points::new(&members, 256);
    for i in 0..200 {
        let hash = xxh3_64(format!("channel-{i}").as_bytes());
        let mut left: Vec<Member> = members.clone();
        for met in points.walk(hash) {
            let first = Points::new(&left, 256).walk(hash).next().expect("a member");
            assert_eq!(left.remove(usize::from(first)), members[usize::from(met)]);
        }
        assert!(left.is_empty());
    }
}
