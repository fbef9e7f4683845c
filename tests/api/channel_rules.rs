//! What the configuration of a channel may be, field by field, and which fault is named first.

use http::Method;
use serde_json::{Map, Value, json};

use crate::harness::{Answer, Hub, unique};

const ONLY_ONE: &str = "Only one of ttlDays, maxItems and mutableTime can be defined";

/// Creates a channel with these fields; with a name of its own, unless they have one.
async fn create(hub: &Hub, fields: &Value) -> Answer {
    let mut body = fields.clone();
    if body.get("name").is_none() {
        body["name"] = json!(unique("ruled"));
    }
    hub.send_json(Method::POST, "/channel", &body).await
}

#[track_caller]
fn has(shown: &Value, fields: &Value) {
    for (field, value) in fields.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field} in {shown}");
    }
}

#[tokio::test]
async fn what_is_allowed_is_normalised() {
    let hub = Hub::shared().await;
    let twenty: Vec<String> = (10..30).map(|n| format!("tag-{n}")).collect();
    let long = "é".repeat(48);
    let text = "é".repeat(1024);
    for (sent, shown) in [
        (
            json!({}),
            json!({"ttlDays": 120, "maxItems": 0, "keepForever": false}),
        ),
        (json!({"owner": " me\t"}), json!({"owner": "me"})),
        (json!({"owner": long}), json!({"owner": long})),
        (json!({"description": text}), json!({"description": text})),
        (json!({"ttlDays": 14}), json!({"ttlDays": 14})),
        (json!({"ttlDays": "14"}), json!({"ttlDays": 14})),
        (json!({"ttlDays": 0}), json!({"ttlDays": 120})),
        (
            json!({"ttlDays": 0, "maxItems": 0, "mutableTime": "", "keepForever": false}),
            json!({"ttlDays": 120, "maxItems": 0, "mutableTime": ""}),
        ),
        (
            json!({"maxItems": 5000}),
            json!({"maxItems": 5000, "ttlDays": 0}),
        ),
        (
            json!({"maxItems": "3"}),
            json!({"maxItems": 3, "ttlDays": 0}),
        ),
        (
            json!({"keepForever": true, "ttlDays": 5, "maxItems": 4}),
            json!({"keepForever": true, "ttlDays": 0, "maxItems": 0}),
        ),
        (
            json!({"mutableTime": "2024-05-01T08:00:00"}),
            json!({"mutableTime": "2024-05-01T08:00:00.000Z", "ttlDays": 0, "maxItems": 0,
                   "storage": "SINGLE", "tags": ["historical"]}),
        ),
        (
            json!({"mutableTime": "2024-05-01"}),
            json!({"mutableTime": "2024-05-01T00:00:00.000Z"}),
        ),
        (
            json!({"mutableTime": "2024-05-01T08:00:00.123+02:00"}),
            json!({"mutableTime": "2024-05-01T06:00:00.123Z"}),
        ),
        (
            json!({"mutableTime": "2024-05-01T08:00:00Z", "storage": "single"}),
            json!({"storage": "SINGLE"}),
        ),
        (
            json!({"tags": ["b", "a", "C", "b"]}),
            json!({"tags": ["C", "a", "b"]}),
        ),
        (json!({"tags": twenty}), json!({"tags": twenty})),
        (json!({"tags": ["a:b-9"]}), json!({"tags": ["a:b-9"]})),
        (
            json!({"replicationSource": " ", "tags": ["replicated", "z"]}),
            json!({"replicationSource": "", "tags": ["z"]}),
        ),
        (json!({"storage": "both"}), json!({"storage": "BOTH"})),
        (json!({"storage": "Single"}), json!({"storage": "SINGLE"})),
        (
            json!({"protect": true, "owner": "me"}),
            json!({"protect": true, "owner": "me"}),
        ),
        (
            json!({"allowZeroBytes": false}),
            json!({"allowZeroBytes": false}),
        ),
        (
            json!({"secondaryMetricsReporting": true}),
            json!({"secondaryMetricsReporting": true}),
        ),
        (
            json!({"ttlMillis": 5, "contentSizeKB": 5, "x": {"y": []}}),
            json!({"ttlMillis": null, "contentSizeKB": null, "x": null}),
        ),
        // In a new channel null says nothing.
        (
            json!({"owner": null, "description": null, "ttlDays": null, "maxItems": null,
                   "keepForever": null, "mutableTime": null, "tags": null, "storage": null,
                   "replicationSource": null, "protect": null, "allowZeroBytes": null,
                   "secondaryMetricsReporting": null, "creationDate": null}),
            json!({"owner": "", "ttlDays": 120, "tags": [], "allowZeroBytes": true,
                   "storage": "BATCH"}),
        ),
    ] {
        let created = create(&hub, &sent).await.expect(201);
        has(&created.json(), &shown);
        let again = hub.get(created.location()).await.expect(200);
        assert_eq!(again.json(), created.json());
    }
    // Names are trimmed, and may have 48 characters of the three kinds.
    let name = unique("A-z_0");
    let padded = json!({"name": format!(" \t{name} ")});
    let created = create(&hub, &padded).await.expect(201);
    assert_eq!(created.json()["name"], name.as_str());
    let long = format!("{:x<48}", unique("long"));
    create(&hub, &json!({"name": long})).await.expect(201);
    // A creation date is the hub's to say.
    let sent = json!({"creationDate": "2001-01-01T00:00:00.000Z"});
    let created = create(&hub, &sent).await.expect(201).json();
    assert_ne!(created["creationDate"], sent["creationDate"]);
}

#[tokio::test]
async fn what_is_not_allowed_is_400_and_named() {
    let hub = Hub::shared().await;
    let many: Vec<String> = (0..21).map(|n| format!("t{n}")).collect();
    let long = "x".repeat(49);
    for (sent, field) in [
        (json!({"name": null}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": " \t"}), "name"),
        (json!({"name": 5}), "name"),
        (json!({"name": long}), "name"),
        (json!({"name": "a b"}), "name"),
        (json!({"name": "a.b"}), "name"),
        (json!({"name": "a/b"}), "name"),
        (json!({"name": "\u{e9}"}), "name"),
        (json!({"owner": long}), "owner"),
        (json!({"owner": 5}), "owner"),
        (json!({"description": "x".repeat(1025)}), "description"),
        (json!({"ttlDays": "x"}), "ttlDays"),
        (json!({"ttlDays": 1.5}), "ttlDays"),
        (json!({"ttlDays": true}), "ttlDays"),
        (json!({"maxItems": 5001}), "maxItems"),
        (json!({"maxItems": "many"}), "maxItems"),
        (json!({"mutableTime": "yesterday"}), "mutableTime"),
        (json!({"mutableTime": "2024-02-30"}), "mutableTime"),
        (json!({"mutableTime": "2999-01-01"}), "mutableTime"),
        (json!({"mutableTime": 5}), "mutableTime"),
        (
            json!({"mutableTime": "2024-05-01", "storage": "BATCH"}),
            "storage",
        ),
        (
            json!({"mutableTime": "2024-05-01", "storage": "BOTH"}),
            "storage",
        ),
        (json!({"tags": many}), "tags"),
        (json!({"tags": [""]}), "tags"),
        (json!({"tags": [long]}), "tags"),
        (json!({"tags": ["a_b"]}), "tags"),
        (json!({"tags": ["a b"]}), "tags"),
        (json!({"tags": [5]}), "tags"),
        (json!({"tags": "a"}), "tags"),
        // Until channels of other hubs are copied.
        (
            json!({"replicationSource": "http://h/channel/x"}),
            "replicationSource",
        ),
        (json!({"replicationSource": "no URL"}), "replicationSource"),
        (json!({"replicationSource": 5}), "replicationSource"),
        (json!({"storage": "TAPE"}), "storage"),
        (json!({"storage": 5}), "storage"),
        (json!({"protect": true}), "owner"),
        (json!({"protect": true, "owner": "  "}), "owner"),
    ] {
        let error = create(&hub, &sent).await.expect_error(400, field);
        let text = error["error"].as_str().unwrap();
        assert!(!text.is_empty() && error.get("value").is_none_or(Value::is_string));
    }
    let nameless = hub.send_json(Method::POST, "/channel", &json!({})).await;
    nameless.expect_error(400, "name");
    // The tags that the hub adds count.
    let twenty: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let sent = json!({"tags": twenty, "mutableTime": "2024-05-01"});
    create(&hub, &sent).await.expect_error(400, "tags");
    // In a path, too.
    for name in [long.as_str(), "a.b", "a%20b", "%20"] {
        let put = hub.ask(Method::PUT, &format!("/channel/{name}"));
        put.send().await.expect_error(400, "name");
    }
}

#[tokio::test]
async fn only_one_retention_can_be_set() {
    let hub = Hub::shared().await;
    for sent in [
        json!({"ttlDays": 1, "maxItems": 1}),
        json!({"ttlDays": "1", "mutableTime": "2024-05-01"}),
        json!({"maxItems": 1, "mutableTime": "2024-05-01"}),
        json!({"ttlDays": 1, "maxItems": 1, "mutableTime": "2024-05-01"}),
    ] {
        let answer = create(&hub, &sent).await.expect(400).json();
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(ONLY_ONE), "{error}");
    }
}

/// One fault of each kind, in the order in which they are looked for.
fn faults() -> Vec<(&'static str, Map<String, Value>)> {
    let fault = |fields: Value| fields.as_object().unwrap().clone();
    vec![
        ("owner", fault(json!({"owner": "x".repeat(49)}))),
        ("name", fault(json!({"name": "a.b"}))),
        (
            "ttlDays, mutableTime",
            fault(json!({"ttlDays": 5, "mutableTime": "2999-01-01"})),
        ),
        (
            "mutableTime",
            fault(json!({"mutableTime": "2999-01-01", "ttlDays": 0})),
        ),
        (
            "description",
            fault(json!({"description": "x".repeat(1025)})),
        ),
        (
            "replicationSource",
            fault(json!({"replicationSource": "http://h/channel/x"})),
        ),
        ("tags", fault(json!({"tags": ["a_b"]}))),
        ("storage", fault(json!({"storage": "TAPE"}))),
        ("owner", fault(json!({"protect": true, "owner": ""}))),
    ]
}

#[tokio::test]
async fn the_first_fault_is_the_one_that_is_named() {
    let hub = Hub::shared().await;
    let faults = faults();
    for (at, (first, fields)) in faults.iter().enumerate() {
        for (_, others) in &faults[at + 1..] {
            let mut body = others.clone();
            // The first fault stays whole; the second is there as far as both can be.
            body.extend(fields.clone());
            let error = create(&hub, &Value::Object(body.clone())).await;
            let error = error.expect(400).json();
            assert_eq!(error["field"], *first, "{error} for {body:?}");
        }
    }
    // A missing or over-long name goes before all of them, a taken one before what follows names.
    for name in [json!(null), json!(" "), json!("x".repeat(49))] {
        let body = json!({"name": name, "owner": "x".repeat(49), "tags": ["a_b"]});
        let error = create(&hub, &body).await.expect_error(400, "name");
        assert_ne!(error["rule"], "");
    }
    let taken = hub.channel("first-fault").await;
    let body = json!({"name": taken, "ttlDays": 1, "maxItems": 1, "tags": ["a_b"]});
    create(&hub, &body).await.expect_error(409, "name");
    let body = json!({"name": taken, "owner": "x".repeat(49)});
    create(&hub, &body).await.expect_error(400, "owner");
}

#[tokio::test]
async fn updates_keep_the_rules() {
    let hub = Hub::shared().await;
    let mutable = json!({"mutableTime": "2024-05-01T00:00:00Z"});
    let limited = json!({"maxItems": 9});
    let full = json!({
        "owner": "o", "description": "d", "ttlDays": 7, "tags": ["t"], "storage": "BOTH",
        "allowZeroBytes": true, "secondaryMetricsReporting": true,
    });
    // What was there, what is sent, and what comes of it, or the field that is refused.
    for (before, sent, after) in [
        (&full, json!({"owner": null}), Ok(json!({"owner": ""}))),
        (
            &full,
            json!({"description": null}),
            Ok(json!({"description": ""})),
        ),
        (&full, json!({"ttlDays": null}), Ok(json!({"ttlDays": 120}))),
        (&full, json!({"ttlDays": 0}), Ok(json!({"ttlDays": 120}))),
        (
            &full,
            json!({"replicationSource": null}),
            Ok(json!({"replicationSource": "", "tags": ["t"]})),
        ),
        (
            &full,
            json!({"replicationSource": ""}),
            Ok(json!({"replicationSource": "", "tags": ["t"]})),
        ),
        (
            &full,
            json!({"replicationSource": "http://h/channel/x"}),
            Err("replicationSource"),
        ),
        (&full, json!({"tags": []}), Ok(json!({"tags": []}))),
        (
            &full,
            json!({"tags": ["replicated", "historical"]}),
            Ok(json!({"tags": []})),
        ),
        (&full, json!({"tags": null}), Err("tags")),
        (
            &full,
            json!({"allowZeroBytes": null}),
            Ok(json!({"allowZeroBytes": false})),
        ),
        (
            &full,
            json!({"secondaryMetricsReporting": null}),
            Ok(json!({"secondaryMetricsReporting": false})),
        ),
        (&full, json!({"storage": "x"}), Err("storage")),
        (&full, json!({"owner": "x".repeat(49)}), Err("owner")),
        (
            &full,
            json!({"protect": true}),
            Ok(json!({"protect": true, "owner": "o"})),
        ),
        (&full, json!({"protect": true, "owner": null}), Err("owner")),
        (&full, json!({"maxItems": 5}), Err("ttlDays, maxItems")),
        (
            &full,
            json!({"maxItems": 5, "ttlDays": 0}),
            Ok(json!({"maxItems": 5, "ttlDays": 0})),
        ),
        (
            &full,
            json!({"maxItems": 5, "ttlDays": null}),
            Ok(json!({"maxItems": 5, "ttlDays": 0})),
        ),
        (
            &full,
            json!({"keepForever": true}),
            Ok(json!({"keepForever": true, "ttlDays": 0})),
        ),
        (
            &full,
            json!({"mutableTime": "2024-01-01"}),
            Err("ttlDays, mutableTime"),
        ),
        (
            &full,
            json!({"mutableTime": "2024-01-01", "ttlDays": 0}),
            Err("storage"),
        ),
        (
            &full,
            json!({"mutableTime": "2024-01-01", "ttlDays": 0, "storage": "SINGLE"}),
            Ok(json!({"storage": "SINGLE", "tags": ["historical", "t"]})),
        ),
        (&limited, json!({"maxItems": 5001}), Err("maxItems")),
        (
            &limited,
            json!({"maxItems": null}),
            Ok(json!({"maxItems": 0, "ttlDays": 120})),
        ),
        (&limited, json!({"ttlDays": 5}), Err("ttlDays, maxItems")),
        (
            &limited,
            json!({"ttlDays": 5, "maxItems": 0}),
            Ok(json!({"ttlDays": 5, "maxItems": 0})),
        ),
        (
            &mutable,
            json!({"mutableTime": "2024-04-30T23:59:59.999Z"}),
            Ok(json!({"mutableTime": "2024-04-30T23:59:59.999Z"})),
        ),
        (
            &mutable,
            json!({"mutableTime": "2024-05-01T00:00:00.001Z"}),
            Err("mutableTime"),
        ),
        (
            &mutable,
            json!({"mutableTime": "2024-05-01T00:00:00Z"}),
            Ok(json!({"mutableTime": "2024-05-01T00:00:00.000Z"})),
        ),
        (
            &mutable,
            json!({"mutableTime": ""}),
            Ok(json!({"mutableTime": "", "ttlDays": 120, "tags": []})),
        ),
        (
            &mutable,
            json!({"mutableTime": null}),
            Ok(json!({"mutableTime": "", "ttlDays": 120, "tags": []})),
        ),
        (&mutable, json!({"storage": "BATCH"}), Err("storage")),
        (&mutable, json!({"ttlDays": 5}), Err("ttlDays, mutableTime")),
        (
            &mutable,
            json!({"tags": ["x"]}),
            Ok(json!({"tags": ["historical", "x"]})),
        ),
    ] {
        for (method, success) in [(Method::PUT, 201), (Method::PATCH, 200)] {
            let name = hub.channel_with("updated", before).await;
            let path = format!("/channel/{name}");
            let was = hub.get(&path).await.expect(200).json();
            let answer = hub.send_json(method, &path, &sent).await;
            let is = match &after {
                Ok(fields) => {
                    let shown = answer.expect(success).json();
                    has(&shown, fields);
                    assert_eq!(shown["creationDate"], was["creationDate"]);
                    shown
                }
                Err(field) => {
                    answer.expect_error(400, field);
                    was
                }
            };
            assert_eq!(hub.get(&path).await.json(), is, "{sent}");
        }
    }
}
