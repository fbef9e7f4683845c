//! What holds for every request.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Map;

use super::*;

/// Any JSON that is not nested too deep.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,60}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,5}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Values that are at home in a field, right and wrong.
fn likely(field: &'static str) -> BoxedStrategy<Value> {
    let texts = |texts: &[&str]| {
        let texts: Vec<Value> = texts.iter().map(|text| json!(text)).collect();
        select(texts).boxed()
    };
    match field {
        "name" => prop_oneof![
            "[A-Za-z0-9_-]{1,50}".prop_map(Value::from),
            texts(&["", "a b"])
        ]
        .boxed(),
        "owner" => prop_oneof![
            3 => "[ a-z]{0,40}".prop_map(Value::from),
            1 => " {0,2}[a-zä]{45,50} ?".prop_map(Value::from)
        ]
        .boxed(),
        "description" => prop_oneof![
            8 => ".{0,40}".prop_map(Value::from),
            1 => "[ä]{1022,1026}".prop_map(Value::from)
        ]
        .boxed(),
        "ttlDays" | "maxItems" => {
            let number = select(vec![0, 0, 0, 1, 120, 5000, 5001, i64::MAX, -1]);
            let number = prop_oneof![number, 0..200i64];
            (number, any::<bool>())
                .prop_map(|(number, as_text)| {
                    if as_text {
                        json!(number.to_string())
                    } else {
                        json!(number)
                    }
                })
                .boxed()
        }
        "mutableTime" => prop_oneof![
            texts(&["", "", " ", "2024-05-01", "2023-01-01T00:00+05:00", "soon"]),
            (-3i64..3).prop_map(|off| json!(NOW.plus(off).iso())),
        ]
        .boxed(),
        "tags" => prop_oneof![
            8 => prop::collection::vec("[a-c:-]{1,2}", 0..6).prop_map(Value::from),
            1 => prop::collection::vec("[a-z]{1,3}", 17..24).prop_map(Value::from),
            1 => texts(&["historical", "replicated", "a_b", ""]).prop_map(|tag| json!([tag])),
        ]
        .boxed(),
        "replicationSource" => prop_oneof![
            8 => texts(&["", " "]),
            1 => texts(&["http://h/channel/o", "not a url"]),
        ]
        .boxed(),
        "storage" => texts(&["SINGLE", "single", "BATCH", "both", "", "HEAP"]),
        _ => prop_oneof![
            any::<bool>().prop_map(Value::from),
            texts(&["true", "False"])
        ]
        .boxed(),
    }
}

/// A field as clients send it, mostly: left out, null, with a likely value, or with anything.
fn field(name: &'static str) -> impl Strategy<Value = Option<(String, Value)>> {
    prop_oneof![
        40 => Just(None),
        4 => Just(Some(Value::Null)),
        40 => likely(name).prop_map(Some),
        1 => any_json().prop_map(Some),
    ]
    .prop_map(move |value| value.map(|value| (name.to_owned(), value)))
}

/// A request's body.
fn body() -> impl Strategy<Value = Value> {
    let texts = (
        field("name"),
        field("owner"),
        field("description"),
        field("replicationSource"),
        field("storage"),
        field("tags"),
        field("creationDate"),
    );
    let retention = (
        field("ttlDays"),
        field("maxItems"),
        field("keepForever"),
        field("mutableTime"),
    );
    let switches = (
        field("protect"),
        field("allowZeroBytes"),
        field("secondaryMetricsReporting"),
    );
    (texts, retention, switches).prop_map(|(t, r, s)| {
        let fields = [
            t.0, t.1, t.2, t.3, t.4, t.5, t.6, r.0, r.1, r.2, r.3, s.0, s.1, s.2,
        ];
        Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>())
    })
}

/// A channel that was created and then changed some times, requests that were refused left out.
fn any_channel() -> impl Strategy<Value = ChannelConfig> {
    (body(), prop::collection::vec(body(), 0..4)).prop_map(|(created, changes)| {
        let start = put("orders", &created).unwrap_or_else(|_| channel(&json!({})));
        changes.iter().fold(start, |config, body| {
            let changed = parse(body).and_then(|update| merge(&config, &update, NOW));
            changed.unwrap_or(config)
        })
    })
}

/// Any channel, or one that is the copy of another already.
fn any_channel_or_copy() -> impl Strategy<Value = ChannelConfig> {
    (any_channel(), prop::bool::weighted(0.2)).prop_map(|(config, copies)| {
        if copies && config.tags.len() < ChannelConfig::TAGS_MAX {
            copy_of("http://h/channel/o", config)
        } else {
            config
        }
    })
}

/// What is true of every channel.
fn check(config: &ChannelConfig, now: Millis) -> Result<(), TestCaseError> {
    prop_assert!(ChannelName::parse(config.name.as_str()).is_ok());
    prop_assert_eq!(config.owner.trim(), &config.owner);
    prop_assert!(config.owner.chars().count() <= 48);
    prop_assert!(config.description.chars().count() <= 1024);
    prop_assert!(config.max_items <= 5000);
    prop_assert!(i64::try_from(config.ttl_days).is_ok());

    let (age, number) = (config.ttl_days > 0, config.max_items > 0);
    let mutable = config.mutable_time.is_some();
    if config.keep_forever {
        prop_assert!(!age && !number);
    } else {
        let kinds = u8::from(age) + u8::from(number) + u8::from(mutable);
        prop_assert_eq!(kinds, 1, "exactly one retention: {:?}", config);
    }
    prop_assert_eq!(config.floor(now).is_some(), age);
    prop_assert!(config.mutable_time.is_none_or(|time| time <= now));
    prop_assert!(!mutable || config.storage == Storage::Single);

    let replicated = !config.replication_source.trim().is_empty();
    prop_assert_eq!(config.replication_source.is_empty(), !replicated);
    prop_assert_eq!(config.tags.contains("historical"), mutable);
    prop_assert_eq!(config.tags.contains("replicated"), replicated);
    prop_assert!(config.tags.len() <= 20);
    for tag in &config.tags {
        let ok = |c: char| c.is_ascii_alphanumeric() || c == ':' || c == '-';
        prop_assert!((1..=48).contains(&tag.len()) && tag.chars().all(ok));
    }
    prop_assert!(!config.protect || !config.owner.is_empty());
    Ok(())
}

/// Equal also in the spelling of the name, which equality of names leaves out.
fn same(a: &ChannelConfig, b: &ChannelConfig) -> Result<(), TestCaseError> {
    prop_assert_eq!(a, b);
    prop_assert_eq!(a.to_json(), b.to_json());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for read in [ConfigUpdate::parse(&bytes), ConfigUpdate::parse_optional(&bytes)] {
            if let Err(error) = read {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(!error.text().is_empty());
            }
        }
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        match parse(&value) {
            Ok(_) => prop_assert!(value.is_object()),
            Err(error) if value.is_object() => prop_assert!(error.field().is_some()),
            Err(error) => prop_assert!(error.text().contains("xpect")),
        }
    }

    #[test]
    fn every_channel_keeps_the_rules(created in body(), name in ".{0,52}", on_path: bool) {
        let path_name = on_path.then_some(name.as_str());
        let Ok(update) = parse(&created) else { return Ok(()) };
        match create(&update, path_name, &DEFAULTS, NOW) {
            Ok(config) => {
                check(&config, NOW)?;
                prop_assert_eq!(config.creation_date, NOW);
                prop_assert_eq!(&config.replication_source, "");
                let named = name_of(&update, path_name).unwrap();
                prop_assert_eq!(config.name.as_str(), named.as_str());
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(error.field().is_some());
            }
        }
    }

    #[test]
    fn every_change_keeps_the_rules(before in any_channel_or_copy(), body in body(), later in 0i64..5) {
        check(&before, NOW)?;
        let Ok(update) = parse(&body) else { return Ok(()) };
        let now = NOW.plus(later);
        match merge(&before, &update.clone().by_local(true), now) {
            Ok(after) => {
                check(&after, now)?;
                prop_assert_eq!(after.name.as_str(), before.name.as_str());
                prop_assert_eq!(after.creation_date, before.creation_date);
                // Sources are only taken away.
                prop_assert!(
                    after.replication_source.is_empty()
                        || after.replication_source == before.replication_source
                );
                if let (Some(old), Some(new)) = (before.mutable_time, after.mutable_time) {
                    prop_assert!(new <= old);
                }
            }
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid);
                prop_assert!(error.field().is_some());
            }
        }
    }

    #[test]
    fn a_change_made_twice_is_made_once(before in any_channel_or_copy(), body in body()) {
        let Ok(update) = parse(&body) else { return Ok(()) };
        if let Ok(once) = merge(&before, &update, NOW) {
            same(&merge(&once, &update, NOW).unwrap(), &once)?;
        }
    }

    #[test]
    fn what_is_shown_can_be_sent_back(config in any_channel(), earlier in 0i64..3) {
        let shown = Value::Object(config.to_json());
        let update = parse(&shown).unwrap();
        // Also to a node whose clock is behind.
        same(&merge(&config, &update, NOW.minus(earlier)).unwrap(), &config)?;
        same(&create(&update, None, &DEFAULTS, NOW).unwrap(), &config)?;
    }

    #[test]
    fn an_empty_change_changes_nothing(config in any_channel_or_copy()) {
        same(&merge(&config, &ConfigUpdate::default(), NOW).unwrap(), &config)?;
    }

    #[test]
    fn what_is_stored_is_read_back(config in any_channel_or_copy()) {
        let stored = serde_json::to_vec(&config).unwrap();
        same(&serde_json::from_slice(&stored).unwrap(), &config)?;
    }
}

/// The properties above say little unless requests of both kinds, and channels of every kind, come
/// up often.
#[test]
fn requests_of_every_kind_are_tried() {
    let mut runner = TestRunner::deterministic();
    let mut seen = [0usize; 9];
    for _ in 0..1_000 {
        let body = body().new_tree(&mut runner).unwrap().current();
        let before = any_channel_or_copy()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let created = put("orders", &body);
        let changed = parse(&body).and_then(|update| merge(&before, &update, NOW));
        for (count, hit) in seen.iter_mut().zip([
            created.is_ok(),
            created.is_err(),
            changed.as_ref().is_ok_and(|after| *after != before),
            changed.is_err(),
            before.mutable_time.is_some(),
            before.max_items > 0,
            before.keep_forever,
            before.protect,
            before.tags.contains("replicated"),
        ]) {
            *count += usize::from(hit);
        }
    }
    assert!(seen.iter().all(|count| *count >= 20), "{seen:?}");
}
