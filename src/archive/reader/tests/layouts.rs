//! Channels laid out at random, against what is in them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::item::pack::PackBuilder;
use crate::item::{Frontier, Payload};

/// The hours that have something: next to each other, in one month, and far apart.
const HOURS: [&str; 7] = [
    "1851-03-01T07:00:00Z",
    "2026-01-31T23:00:00Z",
    "2026-02-01T00:00:00Z",
    "2026-02-01T01:00:00Z",
    "2026-02-01T19:00:00Z",
    "2026-02-11T05:00:00Z",
    "2150-12-31T23:00:00Z",
];

/// Where the records of an hour are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Hour,
    /// With minutes that were not taken away yet.
    HourAndMinutes,
    Minutes,
    Items,
    HourAndItems,
    MinutesAndItems,
}

#[derive(Debug, Clone)]
struct Sample {
    hour: usize,
    minute: i64,
    millis: i64,
    suffix: String,
    /// The items of a bulk insert.
    bulk: Option<u32>,
    size: usize,
}

/// What happens to the single items of a channel.
#[derive(Debug, Clone)]
enum Single {
    /// One of the records, or an item of it, is deleted.
    Delete(prop::sample::Index),
    /// One of them is posted again.
    Again(prop::sample::Index),
    /// Another one.
    New(Sample),
}

fn sample() -> impl Strategy<Value = Sample> {
    let suffix = prop_oneof![
        3 => "[0-2]{6}".prop_map(|text| (text, None)),
        2 => ("[0-2]{6}", 1u32..4).prop_map(|(text, count)| (text, Some(count))),
        1 => "[0-9A-Za-z]{1,3}".prop_map(|text| (text, None)),
    ];
    (0..HOURS.len(), 0i64..3, 0i64..4, suffix, 0usize..50).prop_map(
        |(hour, minute, millis, (suffix, bulk), size)| Sample {
            hour,
            minute: minute * 20,
            millis,
            suffix,
            bulk,
            size,
        },
    )
}

fn single() -> impl Strategy<Value = Single> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Single::Delete),
        any::<prop::sample::Index>().prop_map(Single::Again),
        sample().prop_map(|sample| Single::New(Sample {
            bulk: None,
            ..sample
        })),
    ]
}

fn layout() -> impl Strategy<Value = Layout> {
    prop::sample::select(vec![
        Layout::Hour,
        Layout::HourAndMinutes,
        Layout::Minutes,
        Layout::Items,
        Layout::HourAndItems,
        Layout::MinutesAndItems,
    ])
}

impl Sample {
    fn key(&self) -> ItemKey {
        let millis = at(HOURS[self.hour]).plus(self.minute * MINUTE + self.millis);
        let plain = key(millis, &self.suffix);
        self.bulk.map_or(plain, |count| plain.bulk(count).unwrap())
    }

    fn payload(&self) -> Vec<u8> {
        let Some(count) = self.bulk else {
            return vec![self.minute as u8 + self.millis as u8; self.size];
        };
        let mut pack = PackBuilder::default();
        for number in 0..count {
            pack.begin(None).unwrap();
            pack.put(&[number as u8, self.size as u8]).unwrap();
            pack.end();
        }
        pack.finish().to_vec()
    }
}

/// A channel, and what is to be read of it.
#[derive(Default)]
struct Model {
    objects: BTreeMap<String, Bytes>,
    /// What is listed.
    listed: BTreeSet<ItemKey>,
    gone: BTreeSet<ItemKey>,
    /// Every item with its bytes, those of bulk inserts one by one.
    items: BTreeMap<ItemKey, Vec<u8>>,
    /// Those that were written past Spoke.
    singles: BTreeMap<ItemKey, Option<Vec<u8>>>,
}

fn one_of(record: &ItemKey, payload: &[u8], number: u32) -> Vec<u8> {
    if !record.is_bulk() {
        return payload.to_vec();
    }
    let pack = Bytes::copy_from_slice(payload);
    let item: Option<Payload> = crate::item::pack::item(&pack, number).unwrap();
    item.unwrap().bytes.to_vec()
}

fn model(samples: &[Sample], layouts: &[Layout], singles: &[Single]) -> Model {
    let mut model = Model::default();
    let mut records: BTreeMap<ItemKey, Vec<u8>> = BTreeMap::new();
    for sample in samples {
        // No other record has items between those of a bulk insert.
        let key = sample.key();
        let stamp = |key: &ItemKey| key.record_floor();
        if records
            .keys()
            .all(|other| stamp(other) != stamp(&key) || *other == key)
        {
            records.insert(key, sample.payload());
        }
    }
    for (hour, layout) in HOURS.iter().zip(layouts) {
        let start = at(hour);
        let within: Vec<(ItemKey, Vec<u8>)> = records
            .iter()
            .filter(|(key, _)| key.millis.floor_to(HOUR) == start)
            .map(|(key, payload)| (*key, payload.clone()))
            .collect();
        let name = |object: Object| object.name(CHANNEL);
        if !within.is_empty()
            && matches!(
                layout,
                Layout::Hour | Layout::HourAndMinutes | Layout::HourAndItems
            )
        {
            model
                .objects
                .insert(name(Object::Hour(start)), packed(&within));
        }
        for (key, payload) in &within {
            let minute = key.millis.floor_to(MINUTE);
            if matches!(
                layout,
                Layout::Minutes | Layout::HourAndMinutes | Layout::MinutesAndItems
            ) {
                let of_minute: Vec<_> = within
                    .iter()
                    .filter(|(key, _)| key.millis.floor_to(MINUTE) == minute)
                    .cloned()
                    .collect();
                model
                    .objects
                    .insert(name(Object::Minute(minute)), packed(&of_minute));
            }
            for (number, item) in key.items().enumerate() {
                let bytes = one_of(key, payload, number as u32);
                if matches!(
                    layout,
                    Layout::Items | Layout::HourAndItems | Layout::MinutesAndItems
                ) {
                    model
                        .objects
                        .insert(name(Object::Item(item)), packed(&[(item, bytes.clone())]));
                }
                model.items.insert(item, bytes);
                if *layout == Layout::Items {
                    model.listed.insert(item);
                }
            }
            if *layout != Layout::Items {
                model.listed.insert(*key);
            }
        }
    }
    for single in singles {
        let known: Vec<ItemKey> = model.items.keys().copied().collect();
        let (key, bytes) = match single {
            Single::Delete(_) | Single::Again(_) if known.is_empty() => continue,
            Single::Delete(at) => (*at.get(&known), None),
            Single::Again(at) => (*at.get(&known), Some(vec![77])),
            Single::New(sample) => (sample.key(), Some(vec![78])),
        };
        let object = match &bytes {
            None => gone(CHANNEL),
            Some(bytes) => packed(&[(key, bytes.clone())]),
        };
        model
            .objects
            .insert(Object::Item(key).name(CHANNEL), object);
        model.singles.insert(key, bytes.clone());
        let in_bulk = key.in_bulk().and_then(|(number, from, to)| {
            let record = records.range(from..to).next()?.0;
            let many = model.listed.contains(record);
            (many && number < record.count()).then_some(())
        });
        match bytes {
            None => {
                model.items.remove(&key);
                model.listed.remove(&key);
                model.gone.insert(key);
            }
            Some(bytes) => {
                model.items.insert(key, bytes);
                model.gone.remove(&key);
                if in_bulk.is_none() {
                    model.listed.insert(key);
                }
            }
        }
    }
    model
}

impl Model {
    fn expected(&self, from: ItemKey, to: ItemKey, direction: Direction) -> Vec<ItemKey> {
        let mut keys: Vec<_> = self.listed.range(from..to.max(from)).copied().collect();
        if direction == Direction::Descending {
            keys.reverse();
        }
        keys
    }
}

async fn check(model: &Model, page: usize, cache: u64, pages: bool) -> Result<(), TestCaseError> {
    let store = if pages {
        watched().1
    } else {
        Arc::new(Store::in_memory())
    };
    for (name, bytes) in &model.objects {
        store.replace(name, bytes.clone()).await.unwrap();
    }
    // Of other channels, and of nobody.
    for name in [
        "0000000000000006/2026-02/01/00.hour",
        "0000000000000008/2026-02/01/00.hour",
        "0000000000000007/2026-02/01/0000x",
    ] {
        store.replace(name, Bytes::from_static(b"x")).await.unwrap();
    }
    let mut reader = ArchiveReader::new(store, cache, Inflight::new(1 << 30));
    reader.names.most = page;
    let singles_to = model.singles.keys().next_back().map(|key| key.millis);
    let ends = [ItemKey::MIN, ItemKey::first_of(Millis::MAX)];
    let hours = HOURS.iter().map(|hour| ItemKey::first_of(at(hour)));
    let inner = model
        .listed
        .iter()
        .chain(&model.gone)
        .flat_map(|key| [*key, key.successor()]);
    let ends: BTreeSet<ItemKey> = inner.chain(ends).chain(hours).collect();
    let ends: Vec<_> = ends.into_iter().collect();
    let step = ends.len() / 5 + 1;
    for from in ends.iter().step_by(step) {
        for to in ends.iter().rev().step_by(step) {
            for direction in [Direction::Ascending, Direction::Descending] {
                let expected = model.expected(*from, *to, direction);
                let query = Wanted {
                    from: *from,
                    to: *to,
                    singles_to,
                    ..wanted(direction, 1000)
                };
                let listed = reader.list(&query).await.unwrap();
                prop_assert_eq!(&listed.keys, &expected, "{:?} {:?}", direction, query);
                prop_assert_eq!(listed.complete_to, None);
                for key in model.gone.range(*from..*to.max(from)) {
                    prop_assert!(listed.gone.contains(key));
                }
                for limit in [1, 3] {
                    let mut query = Wanted { limit, ..query };
                    let mut keys = Vec::new();
                    loop {
                        let listed = reader.list(&query).await.unwrap();
                        prop_assert!(listed.keys.len() <= limit);
                        // Up to there all is said, of the last record too.
                        let said = match (listed.complete_to, direction) {
                            (None, _) => query.from..query.to.max(query.from),
                            (Some(last), Direction::Ascending) => {
                                query.from..Frontier::up_to(last).end().min(query.to)
                            }
                            (Some(last), Direction::Descending) => last..query.to,
                        };
                        for key in model.gone.range(said) {
                            prop_assert!(listed.gone.contains(key), "{key} at {limit} a time");
                        }
                        keys.extend(listed.keys);
                        match (listed.complete_to, direction) {
                            (None, _) => break,
                            (Some(last), Direction::Ascending) => query.from = last.successor(),
                            (Some(last), Direction::Descending) => query.to = last,
                        }
                    }
                    prop_assert_eq!(&keys, &expected, "{} at a time, {:?}", limit, query);
                }
            }
        }
    }
    for (key, expected) in &model.items {
        let found = reader.single(CHANNEL, key).await.unwrap();
        let item = match (found, model.singles.get(key)) {
            (super::Single::Item(item), _) => item,
            (super::Single::Neither, None) => reader.item(CHANNEL, key).await.unwrap().unwrap(),
            (other, said) => panic!("{key}: {other:?}, {said:?}"),
        };
        prop_assert_eq!(item.head.size, expected.len() as u64);
        prop_assert_eq!(&bytes(item), expected);
    }
    for key in &model.gone {
        prop_assert!(matches!(
            reader.single(CHANNEL, key).await,
            Ok(super::Single::Gone)
        ));
    }
    for key in &model.listed {
        let none = key.successor();
        if !key.is_bulk() && !model.items.contains_key(&none) {
            prop_assert!(reader.item(CHANNEL, &none).await.unwrap().is_none());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_was_written(
        samples in prop::collection::vec(sample(), 0..40),
        layouts in prop::collection::vec(layout(), HOURS.len()),
        singles in prop_oneof![
            1 => Just(Vec::new()),
            1 => prop::collection::vec(single(), 0..8),
        ],
        page in prop_oneof![Just(1000usize), 1usize..6],
        cache in prop_oneof![Just(CACHE), Just(0)],
        pages in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&model(&samples, &layouts, &singles), page, cache, pages))?;
    }
}
