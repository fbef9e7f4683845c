//! What a look-up and the building of a table cost. A look-up should take less than 50 ns, a table
//! of 200 members well under a second.
#![allow(missing_docs, reason = "criterion_group! makes a public function")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "numbers here are small"
)]
#![allow(
    clippy::expect_used,
    reason = "a bench that cannot be set up must fail"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hub_ring::{Member, Placement, Ring, RingHistory, RingMap, RingTables};

fn hubs(count: usize) -> Vec<Member> {
    (1..=count)
        .map(|i| Member::new(&format!("hub-{i}.example.com")).expect("a name"))
        .collect()
}

fn channels() -> Vec<String> {
    (0..4_096)
        .map(|i| format!("load_test_channel_{i}"))
        .collect()
}

fn look_up(c: &mut Criterion) {
    let channels = channels();
    for count in [3, 200] {
        let ring = Ring::new(hubs(count), Placement::default()).expect("a ring");
        let mut next = channels.iter().cycle();
        c.bench_with_input(BenchmarkId::new("replica_set", count), &ring, |b, ring| {
            b.iter(|| {
                next.next()
                    .map(|channel| ring.replica_set(black_box(channel)).first().as_str().len())
            });
        });
    }
}

/// By key time, in a history of 60 rings: for the present, and for the oldest ring.
fn look_up_at(c: &mut Criterion) {
    let mut history = RingHistory::new();
    let first = RingMap::in_force(1, 60_000, hubs(20), Placement::default()).expect("a map");
    history.announce(first).expect("the first map");
    for version in 2..=60 {
        let map = RingMap::announced(
            version,
            hubs(20 + version as usize % 2),
            Placement::default(),
        )
        .expect("a map");
        history.announce(map).expect("announced");
        history
            .set_from(version, version as i64 * 60_000)
            .expect("a time");
    }
    let tables = RingTables::new(&history, &RingTables::default());
    let channels = channels();
    for (what, millis) in [("now", i64::MAX), ("an hour ago", 60_000)] {
        let mut next = channels.iter().cycle();
        c.bench_with_input(
            BenchmarkId::new("replica_set_at", what),
            &millis,
            |b, &millis| {
                b.iter(|| {
                    let set = next
                        .next()
                        .and_then(|channel| tables.replica_set(black_box(channel), millis));
                    set.map(|set| set.first().as_str().len())
                });
            },
        );
    }
}

fn build(c: &mut Criterion) {
    for count in [3, 20, 200, 1_000] {
        let members = hubs(count);
        c.bench_with_input(BenchmarkId::new("build", count), &members, |b, members| {
            b.iter(|| Ring::new(black_box(members).iter().cloned(), Placement::default()));
        });
    }
}

fn stored_form(c: &mut Criterion) {
    let mut history = RingHistory::new();
    let map = RingMap::in_force(1, 0, hubs(1_000), Placement::default()).expect("a map");
    history.announce(map).expect("the first map");
    let bytes = history.encode().expect("encoded");
    c.bench_function("decode a history of 1,000 members", |b| {
        b.iter(|| RingHistory::decode(black_box(&bytes)));
    });
}

criterion_group!(benches, look_up, look_up_at, build, stored_form);
criterion_main!(benches);
