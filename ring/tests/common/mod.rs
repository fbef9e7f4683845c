//! Members for tests.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up must fail")]

use hub_ring::{Member, Placement, Ring};

/// `hub-1.example.com` up to `hub-{count}.example.com`.
pub fn hubs(count: usize) -> Vec<Member> {
    named(count, "hub-", ".example.com")
}

/// Members whose names differ in a number.
pub fn named(count: usize, prefix: &str, suffix: &str) -> Vec<Member> {
    (1..=count)
        .map(|i| Member::new(&format!("{prefix}{i}{suffix}")).expect("a name"))
        .collect()
}

/// The ring of some members.
pub fn ring(members: &[Member], replication_factor: u8) -> Ring {
    let placement = Placement::new(replication_factor, 256).expect("a placement");
    Ring::new(members.iter().cloned(), placement).expect("a ring")
}
