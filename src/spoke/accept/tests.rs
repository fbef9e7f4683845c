use proptest::prelude::*;

use super::*;
use crate::item::Suffix;

const LIMITS: Limits = Limits {
    accept_window: 1000,
    max_skew: 500,
};
const CLOCK: i64 = 1_790_000_000_000;

fn key(offset: i64) -> ItemKey {
    ItemKey::new(
        Millis::new(CLOCK + offset),
        Suffix::parse("000000").unwrap(),
    )
}

fn offer(offset: i64) -> Offer {
    Offer {
        key: key(offset),
        write_id: WriteId(1),
    }
}

fn standing() -> Standing {
    Standing {
        clock: Millis::new(CLOCK),
        horizon: Millis::new(CLOCK + 10_000),
        placed: true,
        current: true,
        full: false,
    }
}

fn judge(offset: i64, held: Held, standing: Standing) -> Verdict {
    let frontier = Promises::new(Frontier::NOTHING).frontier(standing.clock, &LIMITS);
    decide(&offer(offset), &held, &frontier, &standing, &LIMITS)
}

#[test]
fn what_is_held_answers_before_anything_else() {
    let nothing_else_holds = Standing {
        horizon: Millis::MIN,
        placed: false,
        current: false,
        full: true,
        ..standing()
    };
    // Far below the frontier, too: a retry's key always is.
    assert_eq!(judge(-5000, Held::Here, nothing_else_holds), Verdict::Yes);
    assert_eq!(
        judge(-5000, Held::Committed(key(3)), nothing_else_holds),
        Verdict::Duplicate(key(3))
    );
}

#[test]
fn the_frontier_answers_before_what_may_pass() {
    let lapsed = Standing {
        horizon: Millis::MIN,
        full: true,
        ..standing()
    };
    for held in [Held::No, Held::Pending(key(5)), Held::Pending(key(-9000))] {
        let verdict = judge(-1001, held, lapsed);
        let Verdict::Covered { clock, higher, .. } = verdict else {
            unreachable!("{held:?} gave {verdict:?}")
        };
        assert_eq!(clock, Millis::new(CLOCK));
        let own = Some(key(5)).filter(|key| held == Held::Pending(*key));
        assert_eq!(higher, own, "only a higher key of its own is named");
    }
}

#[test]
fn the_edges_of_the_frontier_and_the_clock() {
    assert_eq!(judge(-1000, Held::No, standing()), Verdict::Accept);
    assert!(matches!(
        judge(-1001, Held::No, standing()),
        Verdict::Covered { .. }
    ));
    assert_eq!(judge(500, Held::No, standing()), Verdict::Accept);
    assert_eq!(
        judge(501, Held::No, standing()),
        Verdict::NotNow(Reason::AheadOfClock)
    );
}

#[test]
fn every_obstacle_has_its_reason() {
    let cases = [
        (
            Standing {
                placed: false,
                ..standing()
            },
            Reason::NotPlaced,
        ),
        (
            Standing {
                horizon: Millis::new(CLOCK),
                ..standing()
            },
            Reason::PastHorizon,
        ),
        (
            Standing {
                current: false,
                ..standing()
            },
            Reason::OldChannel,
        ),
        (
            Standing {
                full: true,
                ..standing()
            },
            Reason::DiskFull,
        ),
    ];
    for (standing, reason) in cases {
        assert_eq!(judge(0, Held::No, standing), Verdict::NotNow(reason));
        // An obstacle outweighs "ask again": asking again would not help.
        assert_eq!(
            judge(0, Held::Pending(key(-1)), standing),
            Verdict::NotNow(reason)
        );
    }
}

#[test]
fn a_lower_key_of_its_own_is_busy() {
    assert_eq!(judge(0, Held::Pending(key(-1)), standing()), Verdict::Busy);
}

#[test]
fn pending_keys_hold_the_reported_frontier_back() {
    let mut promises = Promises::new(Frontier::NOTHING);
    promises.accept(key(10), WriteId(1), false);
    promises.accept(key(20), WriteId(2), false);
    let clock = Millis::new(CLOCK);
    assert!(promises.frontier(clock, &LIMITS).covers(&key(20)));
    assert_eq!(promises.reported(clock, &LIMITS), Frontier::below(key(10)));
    promises.decided(&key(10));
    assert_eq!(promises.reported(clock, &LIMITS), Frontier::below(key(20)));
    promises.decided(&key(20));
    assert_eq!(promises.reported(clock, &LIMITS), Frontier::up_to(key(20)));
    // Long after, the clock has passed a key that is pending still: the report has not.
    promises.accept(key(30), WriteId(3), false);
    let later = clock.plus(60_000);
    assert_eq!(promises.reported(later, &LIMITS), Frontier::below(key(30)));
    assert!(!promises.is_idle(later, &LIMITS));
}

/// One step in the life of a replica.
#[derive(Debug, Clone)]
enum Step {
    Pass(i64),
    Stamp,
    Offer(i64),
    Decide,
    Raise(i64),
    Report,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0i64..1500).prop_map(Step::Pass),
        Just(Step::Stamp),
        (-2500i64..1000).prop_map(Step::Offer),
        Just(Step::Decide),
        (-1500i64..900).prop_map(Step::Raise),
        Just(Step::Report),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// What a reader was told is never taken back, and stamps only grow.
    #[test]
    fn promises_are_kept(steps in steps()) {
        let slot = NodeSlot::new(7).unwrap();
        let mut promises = Promises::new(Frontier::before(Millis::new(CLOCK)));
        let mut clock = Millis::new(CLOCK);
        let mut told = Frontier::NOTHING;
        let mut accepted: Vec<ItemKey> = Vec::new();
        let mut number = 0;
        for step in steps {
            let standing = Standing { clock, horizon: clock.plus(10_000), ..standing() };
            match step {
                Step::Pass(millis) => clock = clock.plus(millis),
                Step::Stamp => {
                    let key = promises.stamp(clock, &LIMITS, slot);
                    prop_assert!(key.millis >= clock);
                    prop_assert!(!promises.frontier(clock, &LIMITS).covers(&key));
                    number += 1;
                    promises.accept(key, WriteId(number), false);
                    accepted.push(key);
                }
                Step::Offer(offset) => {
                    let key = ItemKey::stamp(&ItemKey::MIN, clock.plus(offset), slot);
                    number += 1;
                    let offer = Offer { key, write_id: WriteId(number) };
                    let frontier = promises.frontier(clock, &LIMITS);
                    if decide(&offer, &Held::No, &frontier, &standing, &LIMITS) == Verdict::Accept {
                        prop_assert!(!told.covers(&key), "accepted {key} below {told:?}");
                        prop_assert!(accepted.iter().all(|other| *other < key));
                        promises.accept(key, WriteId(number), false);
                        accepted.push(key);
                    }
                }
                Step::Decide => {
                    let lowest = promises.pending().next().map(|(key, _)| *key);
                    if let Some(key) = lowest {
                        promises.decided(&key);
                    }
                }
                Step::Raise(offset) => promises.raise(Frontier::before(clock.plus(offset))),
                Step::Report => {
                    let report = promises.reported(clock, &LIMITS);
                    prop_assert!(promises.pending().all(|(key, _)| !report.covers(key)));
                    told = told.max(report);
                }
            }
        }
        let much_later = clock.plus(10_000_000);
        let idle = promises.pending().next().is_none();
        prop_assert_eq!(promises.is_idle(much_later, &LIMITS), idle);
    }
}
