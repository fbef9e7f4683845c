use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::channel::config::{ConfigUpdate, Defaults, Storage, create};
use crate::cluster::{Coordination, EmbeddedCoordination};
use crate::env::{HubClock, ManualClock};

const DAY: i64 = 86_400_000;
const GRACE: i64 = 15 * 60_000;
const NOW: Millis = Millis::new(1_790_000_000_000);

fn config(json: &str, created: Millis) -> ChannelConfig {
    let update = ConfigUpdate::parse(json.as_bytes()).unwrap();
    create(&update, Some("c"), &Defaults::default(), created).unwrap()
}

fn channel(json: &str, kept_from: ItemKey) -> Channel {
    Channel {
        id: ChannelId(7),
        version: 3,
        config: config(json, Millis::new(0)),
        kept_from,
        historical_to: None,
    }
}

fn ago(millis: i64) -> ItemKey {
    ItemKey::first_of(NOW.minus(millis))
}

#[test]
fn a_channel_begins_where_its_retention_and_its_floor_say() {
    let min = ItemKey::MIN;
    for (json, kept_from, listed, found) in [
        (r#"{"ttlDays": 2}"#, min, ago(2 * DAY), ago(2 * DAY + GRACE)),
        ("{}", min, ago(120 * DAY), ago(120 * DAY + GRACE)),
        // A retention that was forced to 0 hides nothing.
        (
            r#"{"keepForever": true, "ttlDays": 1, "maxItems": 3}"#,
            min,
            min,
            min,
        ),
        (r#"{"maxItems": 3}"#, min, min, min),
        // What was given up by number has no grace, and stays given up.
        (r#"{"maxItems": 3}"#, ago(5), ago(5), ago(5)),
        (r#"{"keepForever": true}"#, ago(5), ago(5), ago(5)),
        (r#"{"ttlDays": 2}"#, ago(5), ago(5), ago(5)),
        (
            r#"{"ttlDays": 2}"#,
            ago(3 * DAY),
            ago(2 * DAY),
            ago(2 * DAY + GRACE),
        ),
    ] {
        let channel = channel(json, kept_from);
        assert_eq!(floor(&channel, NOW), listed, "{json}");
        assert_eq!(grace_floor(&channel, NOW), found, "{json}");
    }
}

#[test]
fn no_change_of_retention_brings_an_item_back() {
    let day = |days: i64| ago(days * DAY);
    let young = NOW.minus(DAY);
    let old = NOW.minus(500 * DAY);
    let min = ItemKey::MIN;
    for (created, before, after, kept) in [
        (old, r#"{"ttlDays": 2}"#, r#"{"ttlDays": 9}"#, day(2)),
        (old, r#"{"ttlDays": 2}"#, r#"{"keepForever": true}"#, day(2)),
        (old, r#"{"ttlDays": 2}"#, r#"{"maxItems": 9}"#, day(2)),
        // It reaches no further back.
        (old, r#"{"ttlDays": 9}"#, r#"{"ttlDays": 2}"#, min),
        (old, r#"{"maxItems": 9}"#, r#"{"ttlDays": 2}"#, min),
        (
            old,
            r#"{"ttlDays": 9}"#,
            r#"{"ttlDays": 9, "description": "d"}"#,
            min,
        ),
        // Nothing had gone yet, and what is older than the channel may be written some day.
        (young, r#"{"ttlDays": 2}"#, r#"{"keepForever": true}"#, min),
        (
            old,
            r#"{"ttlDays": 2}"#,
            r#"{"mutableTime": "2024-05-01"}"#,
            min,
        ),
    ] {
        for kept_from in [min, day(400), day(1)] {
            let mut existing = channel(before, kept_from);
            existing.config = config(before, created);
            let found = kept_after(&existing, &config(after, created), NOW);
            assert_eq!(found, kept.max(kept_from), "{before} to {after}");
        }
    }
    // Older than the channel, but once it had a mutable time.
    let mut existing = channel(r#"{"ttlDays": 2}"#, min);
    existing.config = config(r#"{"ttlDays": 2}"#, young);
    existing.historical_to = Some(young);
    let forever = config(r#"{"keepForever": true}"#, young);
    assert_eq!(kept_after(&existing, &forever, NOW), day(2));
}

#[test]
fn the_highest_mutable_time_is_remembered() {
    let day = |text: &str| Millis::parse_iso(text).unwrap();
    let (may, march) = (day("2024-05-01"), day("2024-03-01"));
    let with = |mutable_time: &str| config(&format!(r#"{{"mutableTime": "{mutable_time}"}}"#), NOW);
    let stored = |config: &ChannelConfig, before| {
        let channel = ChannelRecord {
            name: "c".to_owned(),
            id: 7,
            version: 1,
            data: write(config, ItemKey::MIN, before),
        };
        read(&channel).unwrap().historical_to
    };
    assert_eq!(stored(&config("{}", NOW), None), None);
    assert_eq!(stored(&with("2024-05-01"), None), Some(may));
    assert_eq!(stored(&with("2024-03-01"), Some(may)), Some(may));
    assert_eq!(stored(&with("2024-05-01"), Some(march)), Some(may));
    assert_eq!(stored(&config("{}", NOW), Some(may)), Some(may));
    // As a version wrote it that did not know of this.
    let mut channel = record(&channel("{}", ItemKey::MIN));
    channel.data = serde_json::to_vec(&with("2024-05-01")).unwrap();
    assert_eq!(read(&channel).unwrap().historical_to, Some(may));
}

fn key() -> impl Strategy<Value = ItemKey> {
    let suffix = "[0-9A-Za-z]{0,12}".prop_map(|text| match text.as_str() {
        "" => Suffix::EMPTY,
        text => Suffix::parse(text).unwrap(),
    });
    let of = |(millis, suffix)| ItemKey::new(Millis::new(millis), suffix);
    let some = (-1_000_000_000_000i64..4_000_000_000_000, suffix).prop_map(of);
    prop_oneof![Just(ItemKey::MIN), some]
}

proptest! {
    #[test]
    fn what_is_stored_is_read_back(
        kept_from in key(),
        days in 1u64..500,
        historical_to in proptest::option::of(-1_000_000_000_000i64..4_000_000_000_000),
    ) {
        let mut stored = channel("{}", kept_from);
        stored.config.ttl_days = days;
        stored.historical_to = historical_to.map(Millis::new);
        prop_assert_eq!(&read(&record(&stored)).unwrap(), &stored);
        // A version that does not know of the floor reads the configuration all the same.
        let config: ChannelConfig = serde_json::from_slice(&record(&stored).data).unwrap();
        prop_assert_eq!(config, stored.config);
    }

    #[test]
    fn whatever_changes_no_floor_goes_down(
        kept_from in key(),
        retentions in proptest::collection::vec(
            prop_oneof![
                (1u64..40).prop_map(|days| (days, 0, false)),
                (1u32..40).prop_map(|items| (0, items, false)),
                Just((0, 0, true)),
            ],
            1..8,
        ),
    ) {
        let mut at = channel("{}", kept_from);
        let mut now = NOW;
        for (ttl_days, max_items, keep_forever) in retentions {
            let before = floor(&at, now);
            let config = ChannelConfig {
                ttl_days,
                max_items,
                keep_forever,
                tags: BTreeSet::new(),
                storage: Storage::Batch,
                ..at.config.clone()
            };
            at.kept_from = kept_after(&at, &config, now);
            at.config = config;
            prop_assert!(floor(&at, now) >= before);
            prop_assert!(grace_floor(&at, now) <= floor(&at, now));
            now = now.plus(3_600_000);
        }
    }
}

#[test]
fn a_floor_that_is_none_is_not_taken_for_one() {
    let good = record(&channel("{}", ItemKey::MIN));
    let text = String::from_utf8(good.data.clone()).unwrap();
    assert!(!text.contains("keptFrom"), "{text}");
    for bad in [r#""x""#, "[1]", r#"[1, "a!b"]"#, r#"["1", "a"]"#] {
        let text = format!("{},\"keptFrom\":{bad}}}", text.trim_end_matches('}'));
        let data = text.into_bytes();
        let wrong = read(&ChannelRecord {
            data,
            ..good.clone()
        });
        assert!(
            matches!(wrong, Err(ChannelError::Unreadable { .. })),
            "{bad}"
        );
    }
}

struct Rig {
    _folder: tempfile::TempDir,
    clock: Arc<HubClock>,
    coordination: Arc<dyn Coordination>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HubClock::start(ManualClock::new(NOW)));
        let path = folder.path().join("coordination.redb");
        let coordination = EmbeddedCoordination::open(&path, Arc::clone(&clock)).unwrap();
        Self {
            _folder: folder,
            clock,
            coordination: Arc::new(coordination),
        }
    }

    /// The channels as another node would know them.
    async fn channels(&self) -> Arc<Channels> {
        let (coordination, clock) = (Arc::clone(&self.coordination), Arc::clone(&self.clock));
        Channels::load(coordination, clock, Defaults::default())
            .await
            .unwrap()
    }
}

fn update(json: &str) -> ConfigUpdate {
    ConfigUpdate::parse(json.as_bytes()).unwrap()
}

fn item(millis_ago: i64, suffix: &str) -> ItemKey {
    ItemKey::new(NOW.minus(millis_ago), Suffix::parse(suffix).unwrap())
}

#[tokio::test]
async fn what_a_channel_keeps_from_only_goes_up_and_is_known_to_all() {
    let rig = Rig::new();
    let channels = rig.channels().await;
    let made = channels
        .put("c", &update(r#"{"maxItems": 2}"#))
        .await
        .unwrap();
    assert_eq!(
        (made.kept_from, channels.keeps(made.id)),
        (ItemKey::MIN, Keeps::All)
    );
    let (low, high) = (item(9_000, "0000Ab"), item(5_000, "0000Ab000002"));
    let kept = channels.keep_from(&made, high).await.unwrap();
    assert_eq!((kept.kept_from, kept.version), (high, made.version + 1));
    // The record of a bulk insert stays with the last of its items.
    assert_eq!(channels.keeps(made.id), Keeps::From(item(5_000, "0000Ab")));
    // Counted before, by somebody who was slower.
    let still = channels.keep_from(&made, low).await.unwrap();
    assert_eq!((still.kept_from, still.version), (high, kept.version));
    let other = rig.channels().await;
    let known = other.get("C").unwrap();
    assert_eq!(known.kept_from, high);
    assert_eq!(
        (other.floor(&known), other.grace_floor(&known)),
        (high, high)
    );
    // A change of the configuration leaves it as it is.
    for change in [
        r#"{"owner": "o"}"#,
        r#"{"maxItems": 7}"#,
        r#"{"keepForever": true}"#,
    ] {
        let changed = other.patch("c", &update(change)).await.unwrap();
        assert_eq!(changed.kept_from, high, "{change}");
    }
    // By a number that does not hold any more nothing is given up.
    let stale = channels.keep_from(&made, item(1, "a")).await;
    let conflict = ChannelError::Coordination(CoordinationError::Conflict);
    assert_eq!(stale.unwrap_err().to_string(), conflict.to_string());
    // Nor of another channel of that name.
    channels.delete("c").await.unwrap();
    let again = channels
        .put("c", &update(r#"{"maxItems": 2}"#))
        .await
        .unwrap();
    assert_eq!(again.kept_from, ItemKey::MIN);
    let gone = channels.keep_from(&made, item(1, "a")).await;
    assert!(
        matches!(gone, Err(ChannelError::Missing { .. })),
        "{gone:?}"
    );
    assert_eq!(
        rig.channels().await.get("c").unwrap().kept_from,
        ItemKey::MIN
    );
    assert_eq!(channels.keeps(made.id), Keeps::Nothing);
}

#[tokio::test]
async fn a_write_that_may_be_asked_for_again_stays_in_the_store() {
    let rig = Rig::new();
    let channels = rig.channels().await;
    let made = channels
        .put("c", &update(r#"{"maxItems": 2}"#))
        .await
        .unwrap();
    channels.set_remembered(60_000);
    for (floor, keeps) in [
        (item(70_000, "a"), item(70_000, "a")),
        (item(5, "b"), ago(60_000)),
    ] {
        channels.keep_from(&made, floor).await.unwrap();
        assert_eq!(channels.keeps(made.id), Keeps::From(keeps));
        let channel = channels.get("c").unwrap();
        assert_eq!(channels.grace_floor(&channel), floor);
    }
}
