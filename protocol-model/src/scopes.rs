//! The sizes that are checked: whole, and at random.
//!
//! Times are ticks. A tick stands for some part of the clock skew: what matters is the order of
//! skew, window and lease, and that each is at least one tick where a rule needs it. Every size
//! leaves something out to be small; `docs/model.md` says what each has.

use crate::config::{ANY, Config, Map};
use crate::state::Set;

const A: Set = 1;
const B: Set = 2;
const C: Set = 4;
const D: Set = 8;
const E: Set = 16;
const F: Set = 32;
const ALL: Set = A | B | C | D | E | F;

/// A size that is explored whole, and how many states it has.
#[derive(Debug, Clone)]
pub struct Whole {
    /// The size.
    pub config: Config,
    /// How many states that differ it has.
    pub states: usize,
}

fn whole(config: Config, states: usize) -> Whole {
    Whole { config, states }
}

/// What is explored whole in the tests.
pub fn small() -> Vec<Whole> {
    vec![
        whole(
            Config {
                writes: 2,
                end: 11,
                ..writes("two writes")
            },
            80_702,
        ),
        whole(
            Config {
                writes: 1,
                ..reads("one write, three reports")
            },
            162_895,
        ),
        whole(
            Config {
                writes: 1,
                retries: 1,
                ..restarts("one write, one restart")
            },
            28_581,
        ),
        whole(
            Config {
                end: 11,
                ..one_away("one node away")
            },
            116_032,
        ),
        whole(lost_disk("one write, one lost disk"), 6_012),
        whole(handover("handover"), 40_628),
        whole(
            Config {
                retries: 0,
                end: 13,
                ..change_of_one("one of two replicas changes")
            },
            59_186,
        ),
    ]
}

/// What is explored whole in the rehearsal.
pub fn full() -> Vec<Whole> {
    let of_two = change_of_one("one of two replicas changes, a fail-over");
    let vouching = Config {
        vouching: true,
        ..handover("handover, members vouch")
    };
    let crash = Config {
        crashes: 1,
        frail: A | B,
        ..handover("handover, one crash")
    };
    let read = Config {
        writes: 1,
        reports: 2,
        ..handover("handover, a read")
    };
    let reports = Config {
        writes: 2,
        retries: 0,
        end: 11,
        ..reads("two writes, three reports")
    };
    let restart = Config {
        writes: 2,
        retries: 0,
        ..restarts("two writes, one restart")
    };
    let disk = Config {
        reports: 2,
        ..lost_disk("one lost disk, two reports")
    };
    vec![
        whole(
            Config {
                writes: 2,
                ..writes("two writes, longer")
            },
            548_109,
        ),
        whole(reports, 375_360),
        whole(restart, 890_037),
        whole(
            Config {
                end: 12,
                ..one_away("one node away, longer")
            },
            777_235,
        ),
        whole(disk, 235_957),
        whole(crash, 401_435),
        whole(vouching, 1_024_353),
        whole(read, 1_064_462),
        whole(of_two, 763_432),
    ]
}

/// What is explored at random.
pub fn random() -> Vec<Config> {
    vec![
        one_ring(),
        change(),
        two_changes(),
        announced(),
        left_behind(),
        split(),
        rings(),
    ]
}

/// One ring of three nodes, no faults: the base of the others.
fn base(name: &'static str) -> Config {
    Config {
        name,
        offsets: vec![0, 1, 0],
        maps: vec![same(A | B | C)],
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
        keepers: ALL,
        vouching: false,
        slow_disk: false,
        resends: false,
        gone: 0,
        closes: false,
        without: None,
    }
}

/// A ring whose members are all in the replica set.
fn same(set: Set) -> Map {
    Map {
        members: set,
        replicas: set,
    }
}

/// Two coordinators, one of them the fall-back of the other, and the end of faults.
fn writes(name: &'static str) -> Config {
    Config {
        closes: true,
        ..base(name)
    }
}

/// Two coordinators and stable reads.
fn reads(name: &'static str) -> Config {
    Config {
        reports: 3,
        ..base(name)
    }
}

/// A store that is opened again in the same run, with or without its marks of commits.
fn restarts(name: &'static str) -> Config {
    Config {
        crashes: 1,
        frail: A,
        end: 11,
        closes: true,
        ..base(name)
    }
}

/// One node loses its disk.
fn lost_disk(name: &'static str) -> Config {
    Config {
        wipes: 1,
        new_runs: true,
        frail: B | C,
        end: 11,
        writes: 1,
        closes: true,
        ..base(name)
    }
}

/// One of three nodes is away for good.
pub fn one_away(name: &'static str) -> Config {
    Config {
        gone: C,
        writes: 2,
        closes: true,
        ..base(name)
    }
}

/// One replica hands over to another: two coordinators, a fail-over, an announcement in two
/// writes, horizons. A keeper is paused where its message comes late, and a node is cut off where
/// it does not confirm.
fn handover(name: &'static str) -> Config {
    Config {
        offsets: vec![0, 1],
        maps: vec![
            Map {
                members: A | B,
                replicas: A,
            },
            Map {
                members: A | B,
                replicas: B,
            },
        ],
        lease: 1,
        end: 14,
        readers: A | B,
        confirms: ANY,
        ..base(name)
    }
}

/// The same with two replicas, of which one changes.
fn change_of_one(name: &'static str) -> Config {
    Config {
        maps: vec![same(A | B), same(B | C)],
        lease: 1,
        end: 14,
        readers: A | C,
        fallbacks: B | C,
        writes: 1,
        confirms: ANY,
        keepers: A,
        closes: true,
        ..base(name)
    }
}

/// Everything that one ring has.
pub fn one_ring() -> Config {
    Config {
        offsets: vec![0, 2, 1],
        skew: 2,
        end: 24,
        writes: 6,
        coordinators: A | B | C,
        fallbacks: A | B | C,
        retries: 8,
        crashes: 3,
        frail: A | B | C,
        reports: 12,
        slow_disk: true,
        resends: true,
        closes: true,
        ..base("one ring")
    }
}

/// The same with lost disks; each start is a new run.
pub fn wiped() -> Config {
    Config {
        name: "wiped",
        writes: 3,
        wipes: 2,
        new_runs: true,
        crashes: 2,
        ..one_ring()
    }
}

/// A ring change that everybody knows of, with crashes.
pub fn change() -> Config {
    Config {
        offsets: vec![0, 1, 2, 1],
        maps: vec![same(A | B | C), same(B | C | D)],
        in_force: Some(vec![16]),
        skew: 2,
        window: 2,
        end: 26,
        writes: 6,
        coordinators: A | B | C | D,
        fallbacks: A | B | C | D,
        retries: 8,
        keyed: true,
        crashes: 2,
        frail: A | B | C | D,
        reports: 16,
        readers: A | D,
        resends: true,
        closes: true,
        ..base("a change that is known")
    }
}

/// Two changes to sets that share nobody.
pub fn two_changes() -> Config {
    Config {
        offsets: vec![0, 1, 1, 0, 1, 0],
        maps: vec![same(A | B), same(C | D), same(E | F)],
        in_force: Some(vec![13, 16]),
        end: 22,
        coordinators: ALL,
        fallbacks: ALL,
        retries: 12,
        keyed: true,
        reports: 12,
        readers: A | E,
        resends: true,
        closes: true,
        ..base("two changes")
    }
}

/// Everything that a ring change has.
pub fn announced() -> Config {
    Config {
        name: "a change that is announced",
        offsets: vec![0, 1, 0, 1],
        in_force: None,
        skew: 1,
        lease: 4,
        end: 34,
        retries: 6,
        crashes: 1,
        reports: 14,
        confirms: 30,
        vouching: true,
        slow_disk: true,
        ..change()
    }
}

/// A ring without a node that has been away from the start, and is not coming back.
pub fn left_behind() -> Config {
    Config {
        name: "one is left behind",
        maps: vec![same(A | B | C), same(A | B | D)],
        crashes: 0,
        gone: C,
        ..announced()
    }
}

/// An announced change to a set that shares nobody with the one before.
pub fn split() -> Config {
    let of = |replicas| Map {
        members: A | B | C | D,
        replicas,
    };
    Config {
        name: "everybody changes",
        maps: vec![of(A | B), of(C | D)],
        lease: 3,
        window: 1,
        end: 30,
        writes: 4,
        retries: 3,
        keyed: false,
        crashes: 0,
        reports: 8,
        readers: A | C,
        confirms: 24,
        slow_disk: false,
        ..announced()
    }
}

/// Rings and horizons, with next to no writes.
pub fn rings() -> Config {
    Config {
        maps: vec![
            Map {
                members: A | B,
                replicas: A,
            },
            Map {
                members: B | C,
                replicas: B,
            },
        ],
        lease: 2,
        end: 20,
        writes: 2,
        retries: 0,
        readers: A | B | C,
        confirms: 8,
        vouching: true,
        ..base("rings")
    }
}
