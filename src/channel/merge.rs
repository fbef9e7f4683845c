//! How the answers of several replicas become one, and how much of it is stable.
//!
//! Pure. With `n` members in a replica set, a committed item is on `quorum(n)` of them, so it is on
//! one of any `read_quorum(n)` that answer. Below the frontiers of that many nothing new can find a
//! second copy: that is the stable bound.

use std::collections::BTreeSet;

use crate::item::{Frontier, ItemKey};
use crate::spoke::{Direction, Report};

/// Up to where the answers of a replica set are stable of which `needed` must answer, a read quorum;
/// `None` if too few did.
///
/// It is the `needed`-th highest frontier reported: of two answers the lower one, of three (of three
/// members) the middle one.
pub fn stable_bound(needed: usize, frontiers: &[Frontier]) -> Option<Frontier> {
    let mut sorted = frontiers.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.get(needed.checked_sub(1)?).copied()
}

/// The union of what was reported, in the order of the walk, without repetitions, and the position up to
/// which it is complete if a limit cut one of the lists: ascending the first that it is not complete at,
/// descending the last that it is.
///
/// The record of a bulk insert stands before its items, and some of these may be reported one by one, too:
/// descending, a record is in the union if an item of it can be, and its other items lie beyond that
/// position.
pub fn union(reports: Vec<Report>, direction: Direction) -> (Vec<ItemKey>, Option<ItemKey>) {
    let cuts = reports.iter().filter_map(|report| report.complete_to);
    let complete_to = match direction {
        Direction::Ascending => cuts.map(|last| Frontier::up_to(last).end()).min(),
        Direction::Descending => cuts.max(),
    };
    let mut keys: Vec<ItemKey> = match <[Report; 1]>::try_from(reports) {
        // One replica's list is sorted already.
        Ok([only]) => only.keys,
        Err(several) => {
            let mut keys: Vec<ItemKey> =
                several.into_iter().flat_map(|report| report.keys).collect();
            keys.sort_unstable();
            keys.dedup();
            if direction == Direction::Descending {
                keys.reverse();
            }
            keys
        }
    };
    if let Some(bound) = complete_to {
        keys.retain(|key| match direction {
            Direction::Ascending => *key < bound,
            Direction::Descending => *key >= bound || Frontier::up_to(*key).end() > bound,
        });
    }
    once(&mut keys);
    (keys, complete_to)
}

/// Leaves out items whose bulk insert's record is there as well: in the archive each may have an object of
/// its own.
fn once(keys: &mut Vec<ItemKey>) {
    let records: BTreeSet<ItemKey> = keys.iter().filter(|key| key.is_bulk()).copied().collect();
    if records.is_empty() {
        return;
    }
    keys.retain(|key| {
        let Some((number, from, to)) = key.in_bulk() else {
            return true;
        };
        let record = records.range(from..to).next();
        record.is_none_or(|record| number >= record.count())
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::Millis;
    use crate::item::Suffix;

    fn key(millis: i64) -> ItemKey {
        ItemKey::first_of(Millis::new(millis)).successor()
    }

    #[test]
    fn of_two_the_lower_and_of_three_the_middle() {
        let f = |millis| Frontier::up_to(key(millis));
        let bound = |members, frontiers: &[Frontier]| {
            stable_bound(hub_ring::read_quorum(members), frontiers)
        };
        assert_eq!(bound(1, &[f(5)]), Some(f(5)));
        assert_eq!(bound(2, &[f(5)]), Some(f(5)));
        assert_eq!(bound(3, &[f(5)]), None);
        assert_eq!(bound(3, &[f(5), f(9)]), Some(f(5)));
        assert_eq!(bound(3, &[f(5), f(9), f(1)]), Some(f(5)));
        assert_eq!(bound(3, &[]), None);
        assert_eq!(stable_bound(0, &[f(5)]), None);
    }

    #[test]
    fn items_come_once_where_their_record_comes_too() {
        let stamp = ItemKey::new(Millis::new(5), Suffix::parse("0000aX").unwrap());
        let record = stamp.bulk(3).unwrap();
        let other = ItemKey::new(Millis::new(5), Suffix::parse("0000aX000003").unwrap());
        let report = |keys: Vec<ItemKey>| Report {
            frontier: Frontier::NOTHING,
            complete_to: None,
            keys,
            holds_from: Millis::MIN,
        };
        let mut archived: Vec<ItemKey> = record.items().collect();
        archived.push(other);
        let reports = vec![report(vec![record]), report(archived.clone())];
        let (keys, _) = union(reports, Direction::Ascending);
        assert_eq!(keys, [record, other]);
        archived.reverse();
        let reports = vec![report(vec![record]), report(archived.clone())];
        let (keys, _) = union(reports, Direction::Descending);
        assert_eq!(keys, [other, record]);
        let (keys, _) = union(vec![report(archived.clone())], Direction::Descending);
        assert_eq!(keys, archived);
        // Cut off at one of them, the record is there for the others.
        let second = record.items().nth(1).unwrap();
        let cut = Report {
            complete_to: Some(second),
            ..report(vec![second])
        };
        let reports = vec![report(vec![record]), cut.clone()];
        let found = union(reports, Direction::Descending);
        assert_eq!(found, (vec![record], Some(second)));
        let found = union(vec![report(vec![record]), cut], Direction::Ascending);
        assert_eq!(found, (vec![record], Some(second.successor())));
    }

    proptest! {
        /// However three lists are cut, the union is a prefix of the merged whole.
        #[test]
        fn a_union_is_complete_as_far_as_it_says(
            lists in proptest::collection::vec(proptest::collection::btree_set(0i64..40, 0..20), 1..4),
            limit in 1usize..8,
            down in any::<bool>(),
        ) {
            let direction = if down { Direction::Descending } else { Direction::Ascending };
            let ordered = |set: &std::collections::BTreeSet<i64>| {
                let mut list: Vec<i64> = set.iter().copied().collect();
                if down { list.reverse(); }
                list
            };
            let mut whole: std::collections::BTreeSet<i64> = std::collections::BTreeSet::new();
            let mut reports = Vec::new();
            for set in &lists {
                whole.extend(set);
                let keys: Vec<ItemKey> = ordered(set).into_iter().take(limit).map(key).collect();
                let last = keys.last().copied();
                reports.push(Report {
                    frontier: Frontier::NOTHING,
                    complete_to: last.filter(|_| keys.len() >= limit),
                    keys,
                    holds_from: Millis::MIN,
                });
            }
            let (keys, complete_to) = union(reports, direction);
            let expected: Vec<ItemKey> = ordered(&whole).into_iter().map(key).collect();
            prop_assert!(expected.starts_with(&keys));
            if complete_to.is_none() {
                prop_assert_eq!(keys, expected);
            } else {
                prop_assert!(!keys.is_empty());
            }
        }
    }
}
