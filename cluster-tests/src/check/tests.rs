//! Histories in which something is wrong, each of which the checker must see; and one in which
//! nothing is.

use super::*;
use crate::history::Listing;

const CHANNEL: &str = "orders";

/// A history of writes, one after the other, and a reading in which all of it is found.
struct Planted {
    history: History,
    reading: Reading,
    time: u64,
}

fn key(number: u32) -> Key {
    Key::planted(&format!("2026/11/22/01/02/03/{number:03}/000000"))
}

fn item(number: u32) -> ItemName {
    ItemName {
        run: 1,
        writer: 1,
        number,
        size: 10,
        channel: CHANNEL.to_owned(),
        life: 2,
    }
}

impl Planted {
    /// Ten acknowledged writes, and a stable listing made after the first five.
    fn new() -> Self {
        let mut planted = Self {
            history: History::default(),
            reading: Reading {
                channel: CHANNEL.to_owned(),
                exists: true,
                ..Reading::default()
            },
            time: 0,
        };
        let channels = &mut planted.history.channels;
        channels.insert(CHANNEL.to_owned(), Standing::Alive(2));
        for number in 0..10 {
            planted.acked(number, key(number));
        }
        planted.listed(0..=4);
        planted.all_found();
        planted
    }

    fn begun(&mut self, number: u32) -> &mut WriteRecord {
        self.time += 1;
        self.history.writes.push(WriteRecord {
            item: item(number),
            began: self.time,
            acked_at: None,
            acks: Vec::new(),
            unknown: true,
        });
        self.history.writes.last_mut().unwrap()
    }

    fn acked(&mut self, number: u32, key: Key) {
        let acked_at = Some(self.time + 2);
        let write = self.begun(number);
        write.acks.push(key);
        write.acked_at = acked_at;
        write.unknown = false;
        self.time += 1;
    }

    fn listed(&mut self, numbers: std::ops::RangeInclusive<u32>) {
        self.history.listings.push(Listing {
            channel: CHANNEL.to_owned(),
            life: 2,
            from: String::new(),
            to: key(*numbers.end()).to_string(),
            keys: numbers.map(key).collect(),
        });
    }

    /// The reading holds what was acknowledged.
    fn all_found(&mut self) {
        self.reading.items = self
            .history
            .writes
            .iter()
            .filter_map(|write| Some((write.key()?.clone(), Content::Item(write.item.clone()))))
            .collect();
        self.relist();
    }

    /// Every list gives what the reading holds.
    fn relist(&mut self) {
        let keys: Vec<Key> = self.reading.items.keys().cloned().collect();
        let ways = [
            Way::Stable,
            Way::Unstable,
            Way::Backwards,
            Way::Days,
            Way::Seconds,
        ];
        self.reading.listings = ways.map(|way| (way, keys.clone())).to_vec();
    }

    fn list(&mut self, wanted: Way) -> &mut Vec<Key> {
        let mut listings = self.reading.listings.iter_mut();
        &mut listings.find(|(way, _)| *way == wanted).unwrap().1
    }

    fn check(&self) -> Verdict {
        check(&self.history, std::slice::from_ref(&self.reading))
    }

    /// The kinds of what is found, each once.
    fn kinds(&self) -> Vec<Wrong> {
        let kinds: BTreeSet<Wrong> = self.check().findings.iter().map(|f| f.kind).collect();
        kinds.into_iter().collect()
    }
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    let mut planted = Planted::new();
    // An item of unknown outcome is there, another one is not.
    planted.begun(20);
    planted.begun(21);
    let found = Content::Item(item(20));
    planted.reading.items.insert(key(20), found);
    planted.relist();
    let verdict = planted.check();
    assert_eq!(verdict.findings, Vec::new());
    let counts = (verdict.acked, verdict.unknown, verdict.found);
    assert_eq!((counts, verdict.surfaced), ((10, 2, 11), 1));
}

#[test]
fn a_lost_item() {
    let mut planted = Planted::new();
    planted.reading.items.insert(key(7), Content::Missing);
    assert_eq!(planted.kinds(), [Wrong::Lost]);
    let unavailable = Content::Unavailable("503".to_owned());
    planted.reading.items.insert(key(7), unavailable);
    assert_eq!(planted.kinds(), [Wrong::Lost]);
    planted.reading.items.remove(&key(7));
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Lost]);
    assert_eq!(planted.check().found, 9);
}

#[test]
fn an_item_that_one_way_of_listing_leaves_out() {
    for way in [Way::Unstable, Way::Backwards, Way::Days, Way::Seconds] {
        let mut planted = Planted::new();
        planted.list(way).remove(8);
        assert_eq!(planted.kinds(), [Wrong::Lost, Wrong::Unequal], "{way:?}");
    }
}

#[test]
fn a_lost_channel() {
    let mut planted = Planted::new();
    planted.reading = Reading {
        channel: CHANNEL.to_owned(),
        ..Reading::default()
    };
    assert_eq!(planted.kinds(), [Wrong::Lost]);
}

#[test]
fn a_torn_item() {
    let mut planted = Planted::new();
    let torn = Content::Torn("9 of 10 bytes".to_owned());
    planted.reading.items.insert(key(3), torn.clone());
    assert_eq!(planted.kinds(), [Wrong::Torn]);
    // Nobody was promised that it is there, but if it is it must be whole.
    let mut planted = Planted::new();
    planted.begun(20);
    planted.reading.items.insert(key(20), torn);
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Torn]);
}

#[test]
fn two_items_that_changed_places() {
    let mut planted = Planted::new();
    let items = &mut planted.reading.items;
    items.insert(key(6), Content::Item(item(7)));
    items.insert(key(7), Content::Item(item(6)));
    assert_eq!(planted.kinds(), [Wrong::Lost]);
}

#[test]
fn phantoms() {
    // Nobody wrote it.
    let mut planted = Planted::new();
    let stray = Content::Item(item(99));
    planted.reading.items.insert(key(99), stray);
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Phantom]);
    // It was refused.
    let mut planted = Planted::new();
    planted.begun(20).unknown = false;
    let refused = Content::Item(item(20));
    planted.reading.items.insert(key(20), refused);
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Phantom]);
    // It belongs to another channel, or to a former life of this one.
    for (channel, life) in [("other", 2), (CHANNEL, 1)] {
        let mut planted = Planted::new();
        let write = planted.begun(20);
        write.item.channel = channel.to_owned();
        write.item.life = life;
        let item = write.item.clone();
        planted.reading.items.insert(key(20), Content::Item(item));
        planted.relist();
        assert_eq!(planted.kinds(), [Wrong::Phantom], "{channel} {life}");
    }
    // The channel itself was deleted.
    let mut planted = Planted::new();
    let channels = &mut planted.history.channels;
    channels.insert(CHANNEL.to_owned(), Standing::Gone);
    assert_eq!(planted.kinds(), [Wrong::Phantom]);
}

#[test]
fn a_later_write_with_a_lower_key() {
    let mut planted = Planted::new();
    planted.acked(20, key(30));
    planted.acked(21, key(29));
    planted.all_found();
    assert_eq!(planted.kinds(), [Wrong::Order]);
    // Writes at the same time may have their keys in any order.
    let mut planted = Planted::new();
    planted.acked(20, key(30));
    planted.acked(21, key(29));
    let first_began = planted.history.writes[10].began;
    planted.history.writes[11].began = first_began;
    planted.all_found();
    assert!(planted.kinds().is_empty());
}

#[test]
fn an_item_below_a_stable_listing() {
    // Between the items that were listed, unacknowledged but there now.
    let mut planted = Planted::new();
    let between = Key::planted("2026/11/22/01/02/03/002/00000A");
    planted.begun(20);
    let late = Content::Item(item(20));
    planted.reading.items.insert(between, late.clone());
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Changed]);
    // Below them all.
    let mut planted = Planted::new();
    planted.begun(20);
    let below = Key::planted("2026/11/22/01/02/02/999/000000");
    planted.reading.items.insert(below, late);
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Changed]);
}

#[test]
fn an_item_that_went_from_a_stable_listing() {
    let mut planted = Planted::new();
    planted.history.writes[2].acks.clear();
    planted.history.writes[2].unknown = true;
    planted.all_found();
    assert_eq!(planted.kinds(), [Wrong::Changed]);
}

#[test]
fn an_item_in_a_period_that_was_over() {
    let mut planted = Planted::new();
    planted.history.listings.push(Listing {
        channel: CHANNEL.to_owned(),
        life: 2,
        from: "2026/11/22/01/02/03".to_owned(),
        to: "2026/11/22/01/02/03~".to_owned(),
        keys: (0..=8).map(key).collect(),
    });
    assert_eq!(planted.kinds(), [Wrong::Changed]);
}

#[test]
fn lists_out_of_order() {
    let mut planted = Planted::new();
    planted.list(Way::Stable).swap(2, 3);
    assert_eq!(planted.kinds(), [Wrong::Unsorted]);
    let mut planted = Planted::new();
    planted.history.listings[0].keys.swap(1, 2);
    assert_eq!(planted.kinds(), [Wrong::Unsorted]);
    let mut planted = Planted::new();
    let twice = key(3);
    planted.list(Way::Unstable).insert(4, twice);
    assert_eq!(planted.kinds(), [Wrong::Unsorted]);
}

#[test]
fn an_item_that_stands_twice() {
    let mut planted = Planted::new();
    let again = Content::Item(item(9));
    planted.reading.items.insert(key(50), again);
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Duplicate]);
    // One key of idempotency, two Locations.
    let mut planted = Planted::new();
    let other = key(8);
    planted.history.writes[9].acks.push(other);
    assert_eq!(planted.kinds(), [Wrong::Duplicate]);
}

#[test]
fn an_unstable_list_with_more_than_the_stable_one() {
    let mut planted = Planted::new();
    planted.begun(20);
    let found = Content::Item(item(20));
    planted.reading.items.insert(key(20), found);
    planted.relist();
    planted.list(Way::Stable).pop();
    assert_eq!(planted.kinds(), [Wrong::Unequal]);
}

#[test]
fn a_channel_of_which_it_is_not_known_whether_it_was_deleted() {
    let mut planted = Planted::new();
    let channels = &mut planted.history.channels;
    channels.insert(CHANNEL.to_owned(), Standing::Unsure(2));
    assert!(planted.kinds().is_empty());
    // If it is there, all of it is.
    planted.reading.items.remove(&key(7));
    planted.relist();
    assert_eq!(planted.kinds(), [Wrong::Lost]);
    // If it is not, none of it is missed.
    planted.reading = Reading {
        channel: CHANNEL.to_owned(),
        ..Reading::default()
    };
    assert!(planted.kinds().is_empty());
}
