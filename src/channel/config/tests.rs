use serde_json::{Value, json};

use super::*;

mod bodies;
mod changed;
mod created;
mod not_created;
mod order;
mod properties;

/// 2024-05-01T09:15:00.123Z.
const NOW: Millis = Millis::new(1_714_554_900_123);
const DEFAULTS: Defaults = Defaults {
    ttl_days: 120,
    protect: false,
};

// What is said of the rules that both new and existing channels meet.
const ONE: &str = "Only one of ttlDays, maxItems and mutableTime can be defined";
const SINGLE: &str = "storage must be SINGLE when mutableTime is set";
const TAGS: &str =
    "tags must be at most 20, with historical and replicated where the hub adds them";
const SOURCE: &str =
    "replicationSource must be \"\": this hub does not copy channels of other hubs yet";

fn parse(body: &Value) -> Result<ConfigUpdate, ConfigError> {
    ConfigUpdate::parse(body.to_string().as_bytes())
}

/// What POST makes of a body.
fn post(body: &Value) -> Result<ChannelConfig, ConfigError> {
    create(&parse(body)?, None, &DEFAULTS, NOW)
}

/// What PUT on a new channel makes of a body.
fn put(path_name: &str, body: &Value) -> Result<ChannelConfig, ConfigError> {
    create(&parse(body)?, Some(path_name), &DEFAULTS, NOW)
}

/// A channel that was created with a body; with a `replicationSource`, which no request may set yet, it
/// is one that has it already.
fn channel(body: &Value) -> ChannelConfig {
    let mut fields = body.clone();
    let source = (fields.as_object_mut()).and_then(|fields| fields.remove("replicationSource"));
    let config = put("orders", &fields).unwrap_or_else(|error| panic!("{body}: {error}"));
    match source {
        Some(source) => copy_of(source.as_str().unwrap(), config),
        None => config,
    }
}

/// The same channel as the copy of another one.
fn copy_of(source: &str, mut config: ChannelConfig) -> ChannelConfig {
    source.clone_into(&mut config.replication_source);
    config.tags.insert("replicated".to_owned());
    config
}

/// What PUT or PATCH makes of a body, on a channel created with another one.
fn change(created: &Value, body: &Value) -> Result<ChannelConfig, ConfigError> {
    merge(&channel(created), &parse(body)?.by_local(true), NOW)
}

/// The fields of `config` that `expected` names.
fn like(config: &ChannelConfig, expected: &Value) -> Value {
    let mut shown = config.to_json();
    shown.retain(|field, _| expected.get(field).is_some());
    Value::Object(shown)
}

#[test]
fn a_channel_is_shown_with_every_field() {
    assert_eq!(
        Value::Object(post(&json!({"name": "orders"})).unwrap().to_json()),
        json!({
            "name": "orders", "allowZeroBytes": true, "secondaryMetricsReporting": false,
            "creationDate": "2024-05-01T09:15:00.123Z", "description": "", "maxItems": 0,
            "mutableTime": "", "owner": "", "protect": false, "replicationSource": "",
            "storage": "BATCH", "tags": [], "ttlDays": 120, "keepForever": false
        })
    );
    let full = json!({
        "name": "Orders_2-x", "allowZeroBytes": false, "secondaryMetricsReporting": true,
        "description": " of ours ", "mutableTime": "2024-05-01T08:00:00", "owner": "us",
        "protect": true, "tags": ["b", "B", "a:1"],
    });
    let full = copy_of("http://h/channel/o", post(&full).unwrap());
    assert_eq!(
        Value::Object(full.to_json()),
        json!({
            "name": "Orders_2-x", "allowZeroBytes": false, "secondaryMetricsReporting": true,
            "creationDate": "2024-05-01T09:15:00.123Z", "description": " of ours ", "maxItems": 0,
            "mutableTime": "2024-05-01T08:00:00.000Z", "owner": "us", "protect": true,
            "replicationSource": "http://h/channel/o", "storage": "SINGLE",
            "tags": ["B", "a:1", "b", "historical", "replicated"], "ttlDays": 0,
            "keepForever": false
        })
    );
}

#[test]
fn the_stored_form_is_fixed_and_comes_back() {
    let config = channel(&json!({
        "owner": "us", "description": "d", "mutableTime": "2024-05-01", "tags": ["t"],
        "replicationSource": "http://h/channel/o", "protect": true, "allowZeroBytes": false,
        "secondaryMetricsReporting": true, "keepForever": true
    }));
    let stored = serde_json::to_value(&config).unwrap();
    assert_eq!(
        stored,
        json!({
            "name": "orders", "owner": "us", "description": "d", "ttlDays": 0, "maxItems": 0,
            "keepForever": true, "mutableTime": 1_714_521_600_000i64,
            "tags": ["historical", "replicated", "t"], "replicationSource": "http://h/channel/o",
            "storage": "SINGLE", "protect": true, "allowZeroBytes": false,
            "secondaryMetricsReporting": true, "creationDate": 1_714_554_900_123i64
        })
    );
    let mut later = stored.clone();
    later["addedLater"] = json!({"x": [1]});
    let read: ChannelConfig = serde_json::from_value(later).unwrap();
    assert_eq!(read, config);

    let plain = channel(&json!({}));
    let stored = serde_json::to_string(&plain).unwrap();
    assert_eq!(
        serde_json::from_str::<ChannelConfig>(&stored).unwrap(),
        plain
    );
}

#[test]
fn a_stored_form_lacks_only_what_has_a_default() {
    let core = json!({
        "name": "a", "ttlDays": 3, "maxItems": 0, "keepForever": false, "storage": "BOTH",
        "creationDate": 5
    });
    let read: ChannelConfig = serde_json::from_value(core.clone()).unwrap();
    assert!(read.allow_zero_bytes && !read.protect && read.mutable_time.is_none());
    assert_eq!((read.ttl_days, read.storage), (3, Storage::Both));
    for field in [
        "name",
        "ttlDays",
        "maxItems",
        "keepForever",
        "storage",
        "creationDate",
    ] {
        let mut damaged = core.clone();
        damaged.as_object_mut().unwrap().remove(field);
        assert!(
            serde_json::from_value::<ChannelConfig>(damaged).is_err(),
            "{field} was made up"
        );
    }
}

#[test]
fn only_age_has_a_floor() {
    let floors = |body| {
        let config = channel(&body);
        let iso = |time: Option<Millis>| time.map(Millis::iso);
        (iso(config.floor(NOW)), iso(config.grace_floor(NOW)))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        floors(json!({"ttlDays": 1})),
        (
            some("2024-04-30T09:15:00.123Z"),
            some("2024-04-30T09:00:00.123Z")
        )
    );
    assert_eq!(
        floors(json!({})).0,
        some("2024-01-02T09:15:00.123Z"),
        "120 days"
    );
    let everything = some("0001-01-01T00:00:00.000Z");
    assert_eq!(
        floors(json!({"ttlDays": i64::MAX})),
        (everything.clone(), everything)
    );
    for unbounded in [
        json!({"maxItems": 1}),
        json!({"keepForever": true}),
        json!({"mutableTime": "2024-05-01"}),
    ] {
        assert_eq!(floors(unbounded), (None, None));
    }
}

#[test]
fn configured_defaults_apply_to_new_channels_only() {
    let defaults = Defaults {
        ttl_days: 7,
        protect: true,
    };
    let created = |body| create(&parse(&body).unwrap(), Some("a"), &defaults, NOW);
    let config = created(json!({"owner": "us"})).unwrap();
    assert_eq!((config.ttl_days, config.protect), (7, true));
    assert!(!created(json!({"protect": false})).unwrap().protect);
    assert_eq!(
        created(json!({})).unwrap_err().text(),
        "owner must be set when protect is true"
    );
    let kept = merge(&config, &ConfigUpdate::default(), NOW).unwrap();
    assert_eq!(kept, config);
    let zeroed = merge(&config, &parse(&json!({"ttlDays": 0})).unwrap(), NOW).unwrap();
    assert_eq!(zeroed.ttl_days, 120);

    let none = Defaults {
        ttl_days: 0,
        protect: false,
    };
    let config = create(&ConfigUpdate::default(), Some("a"), &none, NOW).unwrap();
    assert_eq!(config.ttl_days, 120);
    assert_eq!(Defaults::default(), DEFAULTS);
}

#[test]
fn protection_holds_back_those_who_are_elsewhere() {
    let owned = json!({"name": "a", "owner": "o", "protect": true, "tags": ["t"], "ttlDays": 30});
    let counted = json!({"name": "a", "owner": "o", "protect": true, "maxItems": 9});
    let kept = json!({"name": "a", "owner": "o", "protect": true, "keepForever": true});
    let copied = json!({"name": "a", "owner": "o", "protect": true, "replicationSource": "http://h/channel/x"});
    let open = json!({"name": "a", "owner": "o", "tags": ["t"], "ttlDays": 30});
    for (created, body, field) in [
        (&owned, json!({"protect": false}), Some("protect")),
        (&owned, json!({"storage": "SINGLE"}), Some("storage")),
        (&owned, json!({"storage": "BOTH"}), None),
        (&owned, json!({"owner": "p"}), Some("owner")),
        (&owned, json!({"owner": " o "}), None),
        (&owned, json!({"tags": []}), Some("tags")),
        (&owned, json!({"tags": ["u"]}), Some("tags")),
        (&owned, json!({"tags": ["t", "u"]}), None),
        (&owned, json!({"ttlDays": 29}), Some("ttlDays")),
        (&owned, json!({"ttlDays": 31}), None),
        (
            &owned,
            json!({"ttlDays": 0, "maxItems": 5}),
            Some("ttlDays"),
        ),
        (&owned, json!({"keepForever": true}), None),
        (&owned, json!({"description": "x"}), None),
        (&counted, json!({"maxItems": 8}), Some("maxItems")),
        (&counted, json!({"maxItems": 10}), None),
        (&kept, json!({"keepForever": false}), Some("keepForever")),
        (&copied, json!({"replicationSource": ""}), Some("tags")),
        // So it is with the change that turns it on.
        (&open, json!({"protect": true}), None),
        (
            &open,
            json!({"protect": true, "ttlDays": 3}),
            Some("ttlDays"),
        ),
        (&open, json!({"ttlDays": 3, "tags": [], "owner": ""}), None),
    ] {
        let before = channel(created);
        let update = parse(&body).unwrap();
        let refused = merge(&before, &update, NOW).err();
        let kind = refused.as_ref().map(ConfigError::kind);
        assert_eq!(kind, field.map(|_| ErrorKind::Forbidden), "{body}");
        assert_eq!(
            refused.as_ref().and_then(ConfigError::field),
            field,
            "{body}"
        );
        assert!(
            merge(&before, &update.by_local(true), NOW).is_ok(),
            "{body}"
        );
    }
}

#[test]
fn protection_keeps_a_source() {
    let before = channel(&json!({"owner": "o", "protect": true}));
    let mut before = copy_of("http://h/channel/x", before);
    before.tags.clear();
    let update = parse(&json!({"replicationSource": ""})).unwrap();
    let refused = merge(&before, &update, NOW).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    // Not for the tag that goes with it.
    assert_eq!(refused.field(), Some("replicationSource"));
    let cleared = merge(&before, &update.by_local(true), NOW).unwrap();
    assert_eq!(cleared.replication_source, "");
}

#[test]
fn errors_say_what_to_do_about_them() {
    let name = ChannelName::parse("Orders").unwrap();
    let taken = ConfigError::NameTaken { name };
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    assert_eq!(taken.text(), "channel Orders already exists");
    assert_eq!(
        (taken.field(), taken.value()),
        (Some("name"), Some("Orders"))
    );

    let protected = ConfigError::Protected {
        field: "protect",
        value: "false".to_owned(),
        rule: "it stays on".into(),
    };
    assert_eq!(protected.kind(), ErrorKind::Forbidden);
    assert_eq!(protected.field(), Some("protect"));
    assert_eq!(
        (protected.value(), protected.rule()),
        (Some("false"), "it stays on")
    );

    let error = post(&json!({"name": "a", "maxItems": 6000})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(
        (error.field(), error.value(), error.rule()),
        (
            Some("maxItems"),
            Some("6000"),
            "a whole number from 0 to 5000"
        )
    );

    let error = post(&json!({"name": "a", "protect": "yes"})).unwrap_err();
    assert_eq!(error.value(), Some("yes"), "texts without quotes");
    let error = post(&json!({"name": "a", "protect": ["yes"]})).unwrap_err();
    assert_eq!(error.value(), Some(r#"["yes"]"#));

    let error = post(&json!({"name": "a", "ttlDays": 5, "mutableTime": "2024-01-01"})).unwrap_err();
    assert_eq!(error.field(), Some("ttlDays, mutableTime"));
    assert_eq!(error.value(), Some("5, 2024-01-01"));

    let error = post(&json!({})).unwrap_err();
    assert_eq!((error.field(), error.value()), (Some("name"), None));
    assert_eq!(error.rule(), "1 to 48 characters long");
}

#[test]
fn long_values_are_not_sent_back() {
    let long = "ä".repeat(1_000_000);
    let many = vec!["x"; 100_000];
    for body in [
        json!({"name": long}),
        json!({"name": "a", "owner": long}),
        json!({"name": "a", "description": long}),
        json!({"name": "a", "mutableTime": long}),
        json!({"name": "a", "replicationSource": long}),
        json!({"name": "a", "mutableTime": long, "ttlDays": 1}),
        json!({"name": "a", "storage": long}),
        json!({"name": "a", "storage": long, "mutableTime": "2024-01-01"}),
        json!({"name": "a", "tags": [long]}),
        json!({"name": "a", "tags": {"x": long}}),
        json!({"name": "a", "ttlDays": long}),
        json!({"name": "a", "protect": long}),
        json!({"name": "a", "owner": many}),
        json!({"name": many}),
        json!([long]),
        json!(long),
    ] {
        let error = post(&body).unwrap_err();
        let sent_back =
            error.text().len() + error.value().unwrap_or_default().len() + error.rule().len();
        assert!(sent_back < 800, "{sent_back} bytes: {}", error.text());
        assert!(
            error
                .value()
                .is_some_and(|v| v.contains('…') && v.contains(" characters)"))
        );
    }
    let error = post(&json!({"name": "a", "storage": "x".repeat(100)})).unwrap_err();
    assert_eq!(error.value(), Some("x".repeat(100).as_str()));
    let error = post(&json!({"name": "a", "storage": "x".repeat(101)})).unwrap_err();
    let cut = format!("{}… (101 characters)", "x".repeat(100));
    assert_eq!(error.value(), Some(cut.as_str()));
}
