//! Items that are read many at a time are what they are one by one.

use proptest::prelude::*;

use super::rig::{A, B, MINUTE, PENDING, PLAIN, Rig, key};
use crate::item::ItemKey;
use crate::spoke::store::StoredPayload;
use crate::spoke::{Durability, ReadMode, SpokeStore, StoredItem};

#[derive(Debug, Clone)]
enum Step {
    Put(i64, bool, usize),
    Remove(i64),
    Other(i64),
    /// The minute is over, or not; then the process dies.
    Kill(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0i64..12, any::<bool>(), 0usize..3000).prop_map(|(at, pending, size)| Step::Put(at, pending, size)),
        2 => (0i64..12).prop_map(Step::Remove),
        1 => (0i64..12).prop_map(Step::Other),
        1 => any::<bool>().prop_map(Step::Kill),
    ]
}

fn at(number: i64) -> ItemKey {
    // Across the end of a minute, which is that of a segment.
    key(MINUTE - 6 + number, "a")
}

fn shown(item: Option<&StoredItem>) -> Option<(ItemKey, bool, Vec<u8>)> {
    item.map(|item| match &item.payload {
        StoredPayload::Whole(bytes) => (item.head.key, item.head.flags.pending, bytes.to_vec()),
        StoredPayload::Large(_) => panic!("it is small"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn many_at_a_time_are_what_they_are_one_by_one(
        steps in prop::collection::vec(step(), 1..30),
        bytes in 1u64..10_000,
    ) {
        let mut rig = Rig::new(Durability::Fsync);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put(to, pending, size) => {
                    let flags = if pending { PENDING } else { PLAIN };
                    let payload = vec![number as u8; size];
                    rig.append(A, at(to), flags, &payload).recv().unwrap().unwrap();
                }
                Step::Remove(which) => rig.remove(A, at(which)).unwrap(),
                Step::Other(to) => rig.put(B, at(to), b"other").unwrap(),
                Step::Kill(over) => {
                    if over {
                        rig.pass(MINUTE);
                    }
                    rig = rig.kill();
                }
            }
        }
        let keys: Vec<_> = (0..12).map(at).collect();
        let mut rest = &keys[..];
        while !rest.is_empty() {
            let read = rig.store.several(A, rest, bytes);
            prop_assert!(!read.is_empty());
            let mut all = 0;
            for (at, (key, item)) in rest.iter().zip(&read).enumerate() {
                let one = rig.store.item(A, key, ReadMode::Blocking).unwrap();
                let item = item.as_ref().unwrap();
                prop_assert_eq!(shown(item.as_ref()), shown(one.as_ref()), "{}", key);
                all += one.map_or(0, |item| item.head.size);
                prop_assert!(all < bytes || at + 1 == read.len());
            }
            prop_assert!(all >= bytes || read.len() == rest.len());
            rest = &rest[read.len()..];
        }
    }
}
