use proptest::prelude::*;

use super::*;
use crate::item::SuffixError;

fn any_suffix() -> impl Strategy<Value = Suffix> {
    "([0-9A-Za-z]{0,31}|[0-9A-Za-z]{6}(!?[0-9]{6})?|00000b(!(00000[0-2]|99999[89]))?)"
        .prop_map(|text| Suffix::from_ascii(text.as_bytes()).unwrap())
}

fn any_key() -> impl Strategy<Value = ItemKey> {
    let millis = prop_oneof![
        Millis::MIN.get()..=Millis::MAX.get(),
        -3i64..3,
        1_790_000_000_000i64..1_790_000_000_003,
    ];
    (millis, any_suffix()).prop_map(|(millis, suffix)| ItemKey::new(Millis::new(millis), suffix))
}

fn any_slot() -> impl Strategy<Value = NodeSlot> {
    (0..NodeSlot::COUNT).prop_map(|number| NodeSlot::new(number).unwrap())
}

proptest! {
    #[test]
    fn bytes_sort_as_keys_and_come_back(a in any_key(), b in any_key()) {
        prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
        prop_assert_eq!(ItemKey::from_bytes(&a.to_bytes()), Some(a));
    }

    #[test]
    fn paths_of_equal_length_sort_as_keys(
        ms in 0i64..4_000_000_000_000, d in 0i64..2000, a in any_slot(), b in any_slot()
    ) {
        let a = ItemKey::stamp(&ItemKey::MIN, Millis::new(ms), a);
        let b = ItemKey::stamp(&ItemKey::MIN, Millis::new(ms + d), b);
        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
    }

    #[test]
    fn a_stamp_is_above_and_not_before(after in any_key(), clock in 0i64..4_000_000_000_000, slot in any_slot()) {
        let clock = Millis::new(clock);
        let key = ItemKey::stamp(&after, clock, slot);
        prop_assert!(key > after || after.millis == Millis::MAX);
        prop_assert!(key.millis >= clock);
        prop_assert!(key.millis <= Ord::max(clock, after.millis.plus(1)));
    }

    #[test]
    fn nothing_lies_between_a_key_and_its_successor(a in any_key(), b in any_key()) {
        prop_assume!(a.millis < Millis::MAX);
        let next = a.successor();
        prop_assert!(next > a);
        prop_assert!(b <= a || b >= next);
        let full = format!("{:z<31}", b.suffix.as_str().replace('!', "0"));
        let full = ItemKey::new(a.millis, Suffix::parse(&full).unwrap());
        prop_assert!(full.successor() > full);
    }

    /// The record of a bulk insert stands where its items do, and is found by each of them.
    #[test]
    fn a_bulk_record_stands_for_its_items(
        after in any_key(), slot in any_slot(), count in 1..=Suffix::BULK_MAX, at in any::<prop::sample::Index>(),
        other in any_key(),
    ) {
        let stamp = ItemKey::stamp(&after, Millis::new(5), slot);
        let record = stamp.bulk(count).unwrap();
        prop_assert_eq!(record.count(), count);
        prop_assert_eq!(record.items().len(), count as usize);
        let at = at.index(count as usize);
        let item = record.items().nth(at).unwrap();
        prop_assert!(stamp < record && record < item);
        prop_assert_eq!(item.count(), 1);
        let (number, low, high) = item.in_bulk().unwrap();
        prop_assert_eq!(number as usize, at);
        prop_assert!(low <= record && record < high && high < item.successor());
        prop_assert!(item.record_floor() < record);
        // What was stamped otherwise lies on one side of all of them.
        let (first, last) = (record.items().next().unwrap(), record.items().next_back().unwrap());
        if other.record_floor() != stamp {
            prop_assert_eq!(other < record, other < first);
            prop_assert_eq!(other < record, other < last);
        }
        prop_assert!(ItemKey::stamp(&record, Millis::new(5), slot) > last);
        prop_assert!(Suffix::parse(record.suffix.as_str()).is_err());
    }

    #[test]
    fn slots_never_meet(after in any_key(), a in any_slot(), b in any_slot()) {
        prop_assume!(a != b);
        let clock = Millis::new(0);
        prop_assert_ne!(
            ItemKey::stamp(&after, clock, a).suffix,
            ItemKey::stamp(&after, clock, b).suffix
        );
    }

    #[test]
    fn any_bytes_are_a_key_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(key) = ItemKey::from_bytes(&bytes) {
            prop_assert_eq!(key.to_bytes(), bytes);
        }
    }

    /// Frontiers end at records, not among the items of one.
    #[test]
    fn a_greater_frontier_covers_more(a in any_key(), b in any_key(), key in any_key()) {
        let record = |key: ItemKey| if key.in_bulk().is_some() { key.record_floor() } else { key };
        let (a, b) = (record(a), record(b));
        for (low, high) in [
            (Frontier::below(a), Frontier::up_to(a)),
            (Frontier::below(a.min(b)), Frontier::below(a.max(b))),
            (Frontier::up_to(a.min(b)), Frontier::up_to(a.max(b))),
        ] {
            prop_assert!(low <= high);
            prop_assert!(!low.covers(&key) || high.covers(&key));
        }
        prop_assert!(!Frontier::below(a).covers(&a) && Frontier::up_to(a).covers(&a));
    }
}

#[test]
fn suffixes_count_up_within_a_millisecond() {
    let slot = NodeSlot::new(37).unwrap();
    let clock = Millis::new(1_790_000_000_456);
    let mut last = ItemKey::stamp(&ItemKey::MIN, clock, slot);
    assert_eq!(last.suffix.as_str(), "00000b");
    for _ in 0..10_000 {
        let next = ItemKey::stamp(&last, clock, slot);
        assert!(next > last && next.millis == clock && next.suffix.as_str().len() == 6);
        last = next;
    }
}

#[test]
fn a_full_millisecond_goes_over_to_the_next() {
    let slot = NodeSlot::new(0).unwrap();
    let full = ItemKey::new(Millis::new(5), Suffix::parse("zzzz00").unwrap());
    let next = ItemKey::stamp(&full, Millis::new(5), slot);
    assert_eq!(
        next,
        ItemKey::new(Millis::new(6), Suffix::parse("000000").unwrap())
    );
}

#[test]
fn suffix_texts_are_checked() {
    assert!(Suffix::parse("initial").is_ok());
    assert!(Suffix::parse("").is_err());
    assert!(Suffix::parse(&"a".repeat(32)).is_err());
    assert_eq!(Suffix::parse("a-b"), Err(SuffixError::Character));
    assert_eq!(Suffix::parse("é"), Err(SuffixError::Character));
}
