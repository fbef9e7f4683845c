//! Damage stays known, whatever else happens to the files around it.

use super::rig::{A, B, MINUTE, Rig, key};
use crate::spoke::files::sim::{Call, Crash, Trouble};
use crate::spoke::{Durability, Files as _, Keeps, ReadError, SpokeStore};

/// A store of one minute with a damaged item of A that was synced, and one of B behind it.
fn damaged() -> Rig {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"to be lost").unwrap();
    rig.put(B, key(1, "b"), b"to be kept").unwrap();
    let entry = rig.find(A, key(0, "a")).unwrap().unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let mut bytes = folder.bytes(&name);
    bytes[entry.offset as usize + 40] ^= 1;
    folder.put(&name, bytes);
    rig.again(folder, 1)
}

fn is_unsaid(rig: &Rig) -> bool {
    matches!(
        rig.get(A, key(0, "a")),
        Err(ReadError::Incomplete { .. } | ReadError::Damaged { .. })
    )
}

#[test]
fn a_damaged_segment_does_not_expire_before_the_channel_it_is_about() {
    let rig = damaged();
    rig.script.set(B, Keeps::Nothing);
    assert_eq!(rig.store.expire(), 0);
    assert!(is_unsaid(&rig));
    assert!(is_unsaid(&rig.again(rig.folder.crash(Crash::Kill, 0), 1)));
    rig.script.set(A, Keeps::From(key(MINUTE - 1, "0")));
    assert_eq!(rig.store.expire(), 0);
    rig.script.set(A, Keeps::From(key(MINUTE, "0")));
    assert_eq!(rig.store.expire(), 1);
    assert_eq!(rig.get(A, key(0, "a")).unwrap(), None);
    assert!(rig.folder.names("damage").is_empty());
    assert!(rig.store.status().intact);
}

#[test]
fn damage_of_an_unknown_channel_is_kept_for_all_of_them() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    rig.put(B, key(1, "b"), b"y").unwrap();
    let entry = rig.find(A, key(0, "a")).unwrap().unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let mut bytes = folder.bytes(&name);
    bytes[entry.offset as usize] ^= 1;
    folder.put(&name, bytes);
    let rig = rig.again(folder, 1);
    rig.script.set(A, Keeps::Nothing);
    rig.script.set(B, Keeps::Nothing);
    assert_eq!(rig.store.expire(), 0);
    assert!(matches!(
        rig.get(B, key(5, "c")),
        Err(ReadError::Incomplete { .. })
    ));
}

#[test]
fn a_full_disk_does_not_hide_damage() {
    let rig = damaged();
    let folder = rig.folder.crash(Crash::Kill, 0);
    // As it was before the damage was found.
    for ending in ["idx", "damage"] {
        for name in folder.names(ending) {
            folder.remove(&name).unwrap();
        }
    }
    // No room for the note; a moment later there is some.
    folder.fail(Call::Write, "damage.tmp", 0, Trouble::NoSpace(10));
    let rig = rig.again(folder, 1);
    assert!(is_unsaid(&rig));
    rig.holds(B, key(1, "b"), b"to be kept");
    rig.settle();
    assert_eq!(rig.store.status().active, 0);
    let rig = rig.kill();
    assert!(is_unsaid(&rig));
    rig.holds(B, key(1, "b"), b"to be kept");
}

#[test]
fn a_note_is_replaced_in_one_step() {
    let rig = damaged();
    let folder = rig.folder.crash(Crash::Kill, 0);
    for name in folder.names("idx") {
        folder.remove(&name).unwrap();
    }
    let counted = folder.crash(Crash::Kill, 0);
    drop(rig.again(counted.clone(), 1));
    for nth in 1..=counted.changes() {
        let folder = folder.crash(Crash::Kill, 0);
        folder.stop_at(nth);
        drop(rig.try_again(folder.clone(), 1));
        for crash in [Crash::Kill, Crash::PowerLoss] {
            let next = rig.again(folder.crash(crash, nth), 1);
            assert!(is_unsaid(&next), "at {nth}");
        }
    }
}

/// A store with a sealed segment of two channels.
fn sealed() -> Rig {
    let rig = Rig::new(Durability::Fsync);
    for number in 0..3 {
        rig.put(A, key(number, "a"), b"first").unwrap();
        rig.put(B, key(number, "b"), b"second").unwrap();
    }
    rig.pass(2 * MINUTE);
    assert_eq!(rig.store.status().active, 0);
    rig
}

#[test]
fn a_sealed_log_that_is_shorter_than_it_was_has_lost_items() {
    let rig = sealed();
    let name = rig.folder.names("log").remove(0);
    let log = rig.folder.bytes(&name);
    let ends: Vec<_> = (0..3)
        .map(|number| {
            let entry = rig.find(A, key(number, "a")).unwrap().unwrap();
            entry.offset as usize + 32 + entry.body_len as usize
        })
        .collect();
    for with_index in [true, false] {
        for length in (0..log.len()).step_by(5) {
            let folder = rig.folder.crash(Crash::Kill, 0);
            folder.put(&name, log[..length].to_vec());
            if !with_index {
                // It is there, and of no use.
                let index = folder.names("idx").remove(0);
                folder.put(&index, vec![0; 10]);
            }
            let rig = rig.again(folder, 1);
            let what = format!("{length} bytes, with index: {with_index}");
            for (number, end) in ends.iter().enumerate() {
                let found = rig.get(A, key(number as i64, "a"));
                if *end <= length {
                    assert_eq!(found.unwrap().unwrap(), &b"first"[..], "{what}");
                } else {
                    assert!(found.is_err(), "an item is denied: {what}");
                }
            }
            assert!(!rig.store.status().intact, "{what}");
            let again = rig.restart();
            assert!(
                again.get(A, key(2, "a")).is_err() || ends[2] <= length,
                "{what}"
            );
            assert!(!again.store.status().intact, "{what}");
        }
    }
}

#[test]
fn a_lost_log_is_not_mistaken_for_a_later_one_of_its_name() {
    let rig = sealed();
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    folder.remove(&name).unwrap();
    let rig = rig.again(folder, 1);
    assert!(is_unsaid(&rig));
    // The same minute gets items again: what is known of the lost log is not said of the new one.
    let late = key(20, "late");
    rig.put(A, late, &[7; 4000]).unwrap();
    assert_eq!(rig.folder.names("log"), [name.replace("-0", "-1")]);
    let rig = rig.kill();
    rig.holds(A, late, &[7; 4000]);
    assert!(is_unsaid(&rig), "what was lost is still lost");
    rig.restart().holds(A, late, &[7; 4000]);
}

#[test]
fn a_log_under_another_name_is_refused_and_left_as_it_is() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let log = folder.bytes(&name);
    let other = name.replace("-0.log", "-3.log");
    folder.remove(&name).unwrap();
    folder.put(&other, log.clone());
    let refused = rig.try_again(folder.clone(), 1);
    assert!(matches!(
        refused,
        Err(crate::spoke::OpenError::Renamed { .. })
    ));
    assert_eq!(folder.bytes(&other), log);
}

/// A log of which nothing can be read, not even whose it is, was not cut off: it is kept.
#[test]
fn a_log_that_is_noise_is_damage_and_left_as_it_is() {
    let rig = Rig::new(Durability::Fsync);
    rig.put(A, key(0, "a"), b"x").unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let noise: Vec<u8> = (0..5000).map(|at| (at * at) as u8).collect();
    folder.put(&name, noise.clone());
    let rig = rig.again(folder, 1);
    assert!(is_unsaid(&rig));
    assert_eq!(rig.folder.bytes(&name)[..5000], noise);
    assert!(is_unsaid(&rig.restart()));
}

#[test]
fn a_note_that_cannot_be_read_still_counts() {
    let rig = damaged();
    for text in [&b""[..], b"{", b"null", b"{\"note\":\"\",\"damaged\":[]}"] {
        let folder = rig.folder.crash(Crash::Kill, 0);
        let note = folder.names("damage").remove(0);
        folder.put(&note, text.to_vec());
        assert!(is_unsaid(&rig.again(folder, 1)));
    }
}

/// An index that rots is made again from its log; if the log has rotted too, that is found then.
#[test]
fn an_index_made_again_does_not_hide_what_its_log_lost() {
    let rig = sealed();
    let entry = rig.find(A, key(1, "a")).unwrap().unwrap();
    let folder = rig.folder.crash(Crash::Kill, 0);
    let name = folder.names("log").remove(0);
    let mut log = folder.bytes(&name);
    log[entry.offset as usize + 40] ^= 1;
    folder.put(&name, log);
    let index = folder.names("idx").remove(0);
    let mut bytes = folder.bytes(&index);
    bytes[3] ^= 1;
    folder.put(&index, bytes);
    let rig = rig.again(folder, 1);
    let lost = |rig: &Rig| rig.get(A, key(1, "a")).is_err();
    assert!(lost(&rig));
    rig.settle();
    assert!(lost(&rig));
    rig.holds(A, key(0, "a"), b"first");
    rig.holds(B, key(1, "b"), b"second");
    let rig = rig.restart();
    assert!(lost(&rig));
    assert!(!rig.store.status().intact);
}
