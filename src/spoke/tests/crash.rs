//! Ends of the process at every change of the disk that a small life of a store makes.

use std::collections::BTreeMap;

use super::rig::{A, B, KEYED, MINUTE, PLAIN, Rig, key, options};
use crate::env::{ManualClock, Millis};
use crate::item::ItemKey;
use crate::spoke::files::sim::{Crash, SimFolder};
use crate::spoke::{ChannelId, Durability, Keeps, Options, SpokeStore};

/// What is known of an item when the process ends.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Stored(Vec<u8>),
    Removed,
    /// It was asked for and never answered, or may have expired.
    Unknown(Vec<u8>),
}

type Fates = BTreeMap<(ChannelId, ItemKey), Fate>;

/// Appends that wait for each other, a burst, rotation, removal, sealing, expiry, and an orderly
/// restart in the middle. Gives what was answered, and the latest mark that was seen.
fn live(rig: Rig) -> (Rig, Fates, Millis) {
    let mut fates = Fates::new();
    let mut mark = rig.store.mark();
    let mut rig = rig;
    for round in 0..3 {
        let at = round * MINUTE;
        for number in 0..3 {
            let (key, payload) = (key(at + number, "one"), vec![number as u8; 600]);
            let stored = rig.put(A, key, &payload).is_ok();
            fates.insert((A, key), fate(stored, payload));
            mark = mark.max(rig.store.mark());
        }
        let burst: Vec<_> = (0..4)
            .map(|number| {
                let (key, payload) = (key(at + number, "two"), vec![7; 40]);
                let outcome = rig.append(B, key, KEYED, &payload);
                (key, payload, outcome)
            })
            .collect();
        for (key, payload, outcome) in burst {
            let stored = outcome.recv().unwrap().is_ok();
            fates.insert((B, key), fate(stored, payload));
        }
        let gone = key(at + 1, "one");
        match rig.remove(A, gone) {
            Ok(()) => fates.insert((A, gone), Fate::Removed),
            Err(_) => fates.insert((A, gone), Fate::Unknown(vec![1; 600])),
        };
        mark = mark.max(rig.store.mark());
        rig.pass(MINUTE + 3000);
        mark = mark.max(rig.store.mark());
        if round == 0 {
            // The first minute of B is nobody's any more.
            rig.script.set(B, Keeps::From(key(MINUTE, "0")));
            rig.script.set(A, Keeps::From(key(MINUTE, "0")));
            rig.store.expire();
            for fate in fates.values_mut() {
                *fate = match fate {
                    Fate::Stored(payload) | Fate::Unknown(payload) => {
                        Fate::Unknown(std::mem::take(payload))
                    }
                    Fate::Removed => Fate::Unknown(vec![1; 600]),
                };
            }
        }
        if round == 1 && !rig.folder.stopped() {
            // In the same folder, so that the end of the process is still counted.
            rig.store.close(rig.clock.now());
            // Who closes it has promised nothing later, and that may be on disk even if the store
            // could not be sure of it.
            mark = rig.clock.now();
            let (folder, boot) = (rig.folder.clone(), rig.boot);
            if rig.folder.stopped() {
                break;
            }
            match rig.try_again(folder, boot) {
                Ok(next) => rig = next,
                Err(_) => break,
            }
        }
    }
    (rig, fates, mark)
}

fn fate(stored: bool, payload: Vec<u8>) -> Fate {
    if stored {
        Fate::Stored(payload)
    } else {
        Fate::Unknown(payload)
    }
}

fn small(durability: Durability) -> Options {
    Options {
        segment_items: 5,
        ..options(durability)
    }
}

fn fresh(durability: Durability) -> Rig {
    let folder = SimFolder::new(3);
    let source = ManualClock::new(super::rig::START);
    Rig::on(
        folder,
        source,
        small(durability),
        1,
        std::sync::Arc::default(),
    )
    .unwrap()
}

/// How many changes of the disk the life makes.
fn changes(durability: Durability) -> u64 {
    let rig = fresh(durability);
    let before = rig.folder.changes();
    let (rig, ..) = live(rig);
    rig.folder.changes() - before
}

fn end_everywhere(durability: Durability, crash: Crash, seeds: u64) {
    for nth in 1..=changes(durability) {
        let rig = fresh(durability);
        rig.folder.stop_at(nth);
        let (rig, fates, mark) = live(rig);
        for seed in 0..seeds {
            let folder = rig.folder.crash(crash, nth * 100 + seed);
            let boot = rig.boot + u128::from(crash == Crash::PowerLoss);
            let mut next = rig.again(folder, boot);
            let may_lose = durability == Durability::Replicated && crash == Crash::PowerLoss;
            for run in 0..2 {
                let what = format!("{durability:?} {crash:?} at {nth}, seed {seed}, run {run}");
                let lost = check(&next, &fates, &what);
                let status = next.store.status();
                assert_eq!(status.damaged, 0, "{what}");
                if may_lose {
                    assert!(!lost || !status.intact, "lost and intact: {what}");
                } else {
                    assert!(!lost, "lost: {what}");
                    assert!(status.intact, "not intact: {what}");
                    let now = next.store.mark();
                    assert!(now >= mark, "the mark went from {mark} to {now}: {what}");
                }
                // What was found once is found again, and the store goes on.
                let later = key(5 * MINUTE + run, "later");
                next.put(A, later, b"more").unwrap();
                next = next.kill();
                next.holds(A, later, b"more");
            }
        }
    }
}

/// Whether anything that was answered is missing. What is there must be what was written.
fn check(rig: &Rig, fates: &Fates, what: &str) -> bool {
    let mut lost = false;
    for ((channel, key), fate) in fates {
        let found = rig.get(*channel, *key).unwrap();
        match (fate, found) {
            (Fate::Stored(payload) | Fate::Unknown(payload), Some(found)) => {
                assert_eq!(found, *payload, "{key:?}: {what}");
            }
            (Fate::Stored(_), None) => lost = true,
            (Fate::Unknown(_) | Fate::Removed, None) => {}
            (Fate::Removed, Some(found)) => {
                assert_eq!(found, vec![1u8; 600], "{key:?}: {what}");
                lost = true;
            }
        }
    }
    for channel in [A, B] {
        let keys = rig.keys(channel);
        assert!(keys.is_sorted_by(|a, b| a < b), "{what}");
        for key in keys.iter().filter(|key| key.suffix.as_str() != "later") {
            assert!(
                fates.contains_key(&(channel, *key)),
                "{key:?} appeared: {what}"
            );
        }
    }
    lost
}

#[test]
fn a_kill_at_any_change_loses_nothing_with_fsync() {
    end_everywhere(Durability::Fsync, Crash::Kill, 2);
}

#[test]
fn a_kill_at_any_change_loses_nothing_without_fsync() {
    end_everywhere(Durability::Replicated, Crash::Kill, 2);
}

#[test]
fn a_power_loss_at_any_change_loses_nothing_with_fsync() {
    end_everywhere(Durability::Fsync, Crash::PowerLoss, 4);
}

#[test]
fn a_power_loss_at_any_change_is_admitted_without_fsync() {
    end_everywhere(Durability::Replicated, Crash::PowerLoss, 4);
}

/// The power goes a second time, at every change that opening after the first one makes.
#[test]
fn a_second_power_loss_while_opening_changes_nothing() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        let rig = Rig::new(durability);
        for number in 0..4 {
            rig.put(A, key(number, "a"), &[1; 700]).unwrap();
        }
        rig.append(A, key(9, "b"), PLAIN, &[2; 3000])
            .recv()
            .unwrap()
            .unwrap();
        for seed in 0..6 {
            let first = rig.folder.crash(Crash::PowerLoss, seed);
            let counted = first.crash(Crash::Kill, 0);
            let before = rig.again(counted.clone(), 2);
            let (found, total) = (before.keys(A), counted.changes());
            drop(before);
            for nth in 1..=total {
                let folder = first.crash(Crash::Kill, 0);
                folder.stop_at(nth);
                assert!(rig.try_again(folder.clone(), 2).is_err() || folder.stopped());
                let next = rig.again(folder.crash(Crash::PowerLoss, nth), 3);
                assert_eq!(next.keys(A), found, "{durability:?}, seed {seed}, at {nth}");
                let fsync = durability == Durability::Fsync;
                assert_eq!(next.store.status().intact, fsync, "seed {seed}, at {nth}");
            }
        }
    }
}
