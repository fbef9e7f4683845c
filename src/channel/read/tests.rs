//! Walks page by page give each key once.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::item::Suffix;

/// A record: an item, or a bulk insert's.
fn record() -> impl Strategy<Value = ItemKey> {
    (
        0..4i64,
        0..30u32,
        prop_oneof![3 => Just(1u32), 1 => 2..5u32],
    )
        .prop_map(|(at, stamp, count)| {
            let suffix = Suffix::parse(&format!("{:04}00", 10 * stamp)).unwrap();
            let key = ItemKey::new(Millis::new(1_000_000 + at), suffix);
            if count == 1 {
                key
            } else {
                key.bulk(count).unwrap()
            }
        })
}

/// What a replica answers, and what becomes of it.
fn page(held: &BTreeSet<ItemKey>, query: &Query) -> Page {
    let (from, to) = (query.from, ItemKey::first_of(Millis::MAX));
    let floor = from.record_floor();
    let spare = if floor == from { 0 } else { 2 };
    let most = query.limit.max(1) + spare;
    let keys: Vec<ItemKey> = held.range(floor..to).take(most).copied().collect();
    let complete_to = keys.last().copied().filter(|_| keys.len() == most);
    let complete_to = complete_to.map(|last| Frontier::up_to(last).end());
    let keys = items_of(&keys, &[], (from, to), complete_to, query);
    cut(keys, complete_to, query.limit, None, &[]).0
}

proptest! {
    #[test]
    fn every_record_is_listed_once(
        records in prop::collection::btree_set(record(), 0..40),
        limit in 1usize..6,
        whole in any::<bool>(),
    ) {
        // No two have the same stamp.
        let mut stamps = BTreeSet::new();
        let held: BTreeSet<ItemKey> =
            records.into_iter().filter(|key| stamps.insert(key.record_floor())).collect();
        let mut query = Query {
            from: ItemKey::MIN,
            to: None,
            direction: Direction::Ascending,
            limit,
            stable: true,
            epoch: Epoch::All,
            whole: true,
            records: whole,
        };
        let mut listed = Vec::new();
        for _ in 0..1_000 {
            let page = page(&held, &query);
            prop_assert!(page.keys.len() <= limit);
            listed.extend(&page.keys);
            match listed.last() {
                Some(last) if page.more && whole => query.from = Frontier::up_to(*last).end(),
                Some(last) if page.more => query.from = last.successor(),
                _ => break,
            }
        }
        let items = held.iter().flat_map(|key| key.items());
        let wanted: Vec<ItemKey> = if whole { held.iter().copied().collect() } else { items.collect() };
        prop_assert_eq!(listed, wanted);
    }
}
