//! The sizes that are checked.
//!
//! Times are ticks. A tick stands for some part of the clock skew: what matters is the order of
//! lease > window > skew, and that each is at least one tick where a rule needs it.

use crate::config::{Config, Map};
use crate::state::Set;

const A: Set = 1;
const B: Set = 2;
const C: Set = 4;
const D: Set = 8;
const E: Set = 16;
const F: Set = 32;

/// One ring of three nodes, no faults: the base of the others.
fn base(name: &'static str) -> Config {
    Config {
        name,
        offsets: vec![0, 1, 0],
        maps: vec![Map { members: A | B | C, replicas: A | B | C }],
        in_force: None,
        window: 1,
        skew: 1,
        lease: 3,
        start: 10,
        end: 12,
        writes: 3,
        coordinators: A | B,
        fallbacks: A | B,
        retries: 1,
        keyed: false,
        crashes: 0,
        new_runs: false,
        wipes: 0,
        frail: 0,
        reports: 0,
        readers: A,
        confirms: 0,
        vouching: false,
        slow_disk: false,
        resends: false,
        gone: 0,
        closes: false,
        without: None,
    }
}

/// Three writes, two coordinators, one of them the fall-back of the other.
pub fn writes() -> Config {
    Config { closes: true, ..base("writes") }
}

/// Two writes, two coordinators and stable reads.
pub fn reads() -> Config {
    Config { writes: 2, retries: 1, reports: 3, end: 11, ..base("reads") }
}

/// All.
pub fn all() -> Vec<Config> {
    vec![writes(), reads(), restarts(), one_ring(), one_away(), change(), two_changes(), announced(), rings(), wiped(), split()]
}

/// A store that is opened again, its commit marks lost.
pub fn restarts() -> Config {
    Config { writes: 2, crashes: 1, frail: A, end: 11, closes: true, reports: 2, retries: 0, ..base("restarts") }
}

/// One of three nodes is away for good.
pub fn one_away() -> Config {
    Config { gone: C, writes: 2, closes: true, end: 13, ..base("one away") }
}

/// Everything that one ring has, at random.
pub fn one_ring() -> Config {
    Config {
        writes: 6, coordinators: A | B | C, fallbacks: A | B | C, retries: 8, crashes: 3, frail: A | B | C, reports: 12,
        slow_disk: true, resends: true, closes: true, end: 24, skew: 2, offsets: vec![0, 2, 1], ..base("one ring")
    }
}

/// Wipes.
pub fn wiped() -> Config {
    Config { wipes: 2, new_runs: true, crashes: 2, ..Config { name: "wiped", ..one_ring() } }
}

/// A ring change that everybody knows of, at random.
pub fn change() -> Config {
    let maps = vec![Map { members: A | B | C, replicas: A | B | C }, Map { members: B | C | D, replicas: B | C | D }];
    Config {
        offsets: vec![0, 1, 2, 1], maps, in_force: Some(vec![16]), skew: 2, window: 2, end: 26, readers: A | D,
        coordinators: A | B | C | D, fallbacks: A | B | C | D, writes: 6, retries: 8, keyed: true, reports: 16, resends: true, closes: true, crashes: 2, frail: A|B|C|D, ..base("change")
    }
}

/// Two changes to sets that share nobody.
pub fn two_changes() -> Config {
    let map = |set| Map { members: set, replicas: set };
    let maps = vec![map(A | B), map(C | D), map(E | F)];
    let all = A | B | C | D | E | F;
    Config {
        offsets: vec![0, 1, 1, 0, 1, 0], maps, in_force: Some(vec![13, 16]), end: 22, coordinators: all, fallbacks: all,
        readers: A | E, writes: 3, retries: 12, keyed: true, reports: 12, resends: true, closes: true, ..base("two changes")
    }
}

/// Everything that a ring change has.
pub fn announced() -> Config {
    let maps = vec![Map { members: A | B | C, replicas: A | B | C }, Map { members: B | C | D, replicas: B | C | D }];
    Config {
        offsets: vec![0, 1, 0, 1], maps, end: 34, lease: 4, window: 2, readers: A | D,
        coordinators: A | B | C | D, fallbacks: A | B | C | D, writes: 6, retries: 6, keyed: true, reports: 14, resends: true, closes: true,
        confirms: 30, vouching: true, crashes: 1, frail: A | B | C | D, ..base("announced")
    }
}

/// Rings only.
pub fn rings() -> Config {
    let maps = vec![Map { members: A | B, replicas: A }, Map { members: B | C, replicas: B }];
    Config {
        offsets: vec![0, 1, 0], maps, end: 20, lease: 2, readers: A | B | C, coordinators: A | B, fallbacks: A | B, writes: 2, retries: 0,
        confirms: 8, vouching: true, ..base("rings")
    }
}

/// A ring of others: one replica set is left entirely.
pub fn split() -> Config {
    let maps = vec![Map { members: A | B | C | D, replicas: A | B }, Map { members: A | B | C | D, replicas: C | D }];
    Config {
        offsets: vec![0, 1, 0, 1], maps, end: 30, lease: 3, readers: A | C, coordinators: A | B | C | D, fallbacks: A | B | C | D, writes: 4, retries: 3,
        confirms: 24, vouching: true, reports: 8, ..base("split")
    }
}
