//! A look-up allocates nothing. In a file of its own, since it counts the allocations of the whole
//! process.
#![allow(clippy::cast_possible_wrap, reason = "numbers here are small")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up must fail")]

use std::alloc::System;
use std::hint::black_box;

use hub_ring::{Placement, RingHistory, RingMap, RingTables};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod common;
use common::hubs;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LOOK_UPS: usize = 1_000;

/// The fewest allocations in several rounds: the threads of the test harness may allocate now and
/// then, but what a look-up allocates would be counted in each round.
fn allocations(mut look_up: impl FnMut(usize)) -> usize {
    let round = |look_up: &mut dyn FnMut(usize)| {
        let region = Region::new(ALLOCATOR);
        (0..LOOK_UPS).for_each(look_up);
        let change = region.change();
        change.allocations + change.reallocations
    };
    (0..5)
        .map(|_| round(&mut look_up))
        .min()
        .unwrap_or(usize::MAX)
}

#[test]
fn a_look_up_allocates_nothing() {
    let mut history = RingHistory::new();
    let placement = Placement::default();
    history
        .announce(RingMap::in_force(1, 0, hubs(5), placement).expect("a map"))
        .expect("announced");
    history
        .announce(RingMap::announced(2, hubs(6), placement).expect("a map"))
        .expect("announced");
    history.set_from(2, 1_000).expect("a time");
    let tables = RingTables::new(&history, &RingTables::default());
    let channels: Vec<String> = (0..LOOK_UPS).map(|i| format!("channel-{i}")).collect();
    let own = &hubs(6)[3];

    let on_a_ring = allocations(|i| {
        let set = tables.rings()[0].ring().replica_set(&channels[i]);
        black_box((
            set.first(),
            set.contains(own),
            set.quorum(),
            set.iter().last(),
        ));
    });
    let at_a_time = allocations(|i| {
        let set = tables.replica_set(&channels[i], i as i64 * 2);
        black_box(set.map(|set| (set.first(), set.len())));
    });
    assert_eq!((on_a_ring, at_a_time), (0, 0));
    assert!(
        allocations(|i| drop(black_box(channels[i].clone()))) >= LOOK_UPS,
        "nothing is counted"
    );
}
