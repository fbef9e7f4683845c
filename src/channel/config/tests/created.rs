//! What becomes of a request to create a channel.

use super::*;

#[test]
fn what_a_new_channel_becomes() {
    let x48 = "x".repeat(48);
    let twenty: Vec<_> = (10..30).map(|n| format!("t{n}")).collect();
    for (body, result) in [
        // Names, owners, descriptions.
        (json!({"name": "  Orders\n"}), json!({"name": "Orders"})),
        (json!({"name": x48}), json!({"name": x48})),
        (
            json!({"owner": null, "description": null}),
            json!({"owner": "", "description": ""}),
        ),
        (json!({"owner": "  a team "}), json!({"owner": "a team"})),
        (json!({"owner": format!(" {x48} ")}), json!({"owner": x48})),
        (
            json!({"owner": "ä".repeat(48)}),
            json!({"owner": "ä".repeat(48)}),
        ),
        (
            json!({"description": "ä".repeat(1024)}),
            json!({"description": "ä".repeat(1024)}),
        ),
        // Retention.
        (
            json!({}),
            json!({"ttlDays": 120, "maxItems": 0, "keepForever": false}),
        ),
        (
            json!({"ttlDays": 0, "maxItems": 0, "mutableTime": ""}),
            json!({"ttlDays": 120}),
        ),
        (
            json!({"ttlDays": null, "maxItems": null, "keepForever": null}),
            json!({"ttlDays": 120}),
        ),
        (json!({"ttlDays": 14}), json!({"ttlDays": 14})),
        (json!({"ttlDays": "14"}), json!({"ttlDays": 14})),
        (json!({"ttlDays": " 14 "}), json!({"ttlDays": 14})),
        (json!({"ttlDays": 14.0}), json!({"ttlDays": 14})),
        (json!({"ttlDays": "1.4e1"}), json!({"ttlDays": 14})),
        (json!({"ttlDays": i64::MAX}), json!({"ttlDays": i64::MAX})),
        (json!({"maxItems": 1}), json!({"maxItems": 1, "ttlDays": 0})),
        (
            json!({"maxItems": "5000", "ttlDays": 0}),
            json!({"maxItems": 5000, "ttlDays": 0}),
        ),
        (
            json!({"maxItems": 5, "ttlDays": null}),
            json!({"maxItems": 5, "ttlDays": 0}),
        ),
        (
            json!({"keepForever": true}),
            json!({"keepForever": true, "ttlDays": 0, "maxItems": 0}),
        ),
        (
            json!({"keepForever": true, "ttlDays": 10, "maxItems": 6000}),
            json!({"keepForever": true, "ttlDays": 0, "maxItems": 0}),
        ),
        (
            json!({"keepForever": true, "ttlDays": -10}),
            json!({"keepForever": true, "ttlDays": 0}),
        ),
        (
            json!({"keepForever": true, "ttlDays": 5, "mutableTime": "2024-05-01"}),
            json!({"keepForever": true, "ttlDays": 0, "mutableTime": "2024-05-01T00:00:00.000Z"}),
        ),
        // Mutable time, and what follows from it.
        (
            json!({"mutableTime": "2024-05-01T08:00:00"}),
            json!({
                "mutableTime": "2024-05-01T08:00:00.000Z", "ttlDays": 0, "storage": "SINGLE",
                "tags": ["historical"]
            }),
        ),
        (
            json!({"mutableTime": " 2024-05-01T08:00:00.5+02:00 "}),
            json!({"mutableTime": "2024-05-01T06:00:00.500Z"}),
        ),
        (
            json!({"mutableTime": "2024-05-01T09:15:00.123Z"}),
            json!({"mutableTime": "2024-05-01T09:15:00.123Z"}),
        ),
        (
            json!({"mutableTime": "2024-05-01", "storage": "single"}),
            json!({"storage": "SINGLE"}),
        ),
        (
            json!({"mutableTime": "2024-05-01", "storage": null}),
            json!({"storage": "SINGLE"}),
        ),
        (
            json!({"mutableTime": "2024-05-01", "storage": ""}),
            json!({"storage": "SINGLE"}),
        ),
        (
            json!({"mutableTime": "", "tags": []}),
            json!({"mutableTime": "", "ttlDays": 120, "storage": "BATCH", "tags": []}),
        ),
        (
            json!({"mutableTime": null}),
            json!({"mutableTime": "", "ttlDays": 120}),
        ),
        (
            json!({"mutableTime": "  "}),
            json!({"mutableTime": "", "ttlDays": 120}),
        ),
        // Tags.
        (json!({"tags": null}), json!({"tags": []})),
        (
            json!({"tags": ["b", "a", "b", "B", "1:2", "-"]}),
            json!({"tags": ["-", "1:2", "B", "a", "b"]}),
        ),
        (json!({"tags": [x48]}), json!({"tags": [x48]})),
        (json!({"tags": twenty}), json!({"tags": twenty})),
        (json!({"tags": vec!["same"; 50]}), json!({"tags": ["same"]})),
        (
            json!({"tags": ["historical", "replicated", "x"]}),
            json!({"tags": ["x"]}),
        ),
        // Replication.
        (
            json!({"replicationSource": " "}),
            json!({"replicationSource": "", "tags": []}),
        ),
        (
            json!({"replicationSource": null}),
            json!({"replicationSource": "", "tags": []}),
        ),
        // Storage and switches.
        (json!({"storage": "both"}), json!({"storage": "BOTH"})),
        (json!({"storage": "Single"}), json!({"storage": "SINGLE"})),
        (json!({"storage": ""}), json!({"storage": "BATCH"})),
        (
            json!({"protect": true, "owner": "us"}),
            json!({"protect": true, "owner": "us"}),
        ),
        (
            json!({"protect": "True", "owner": "us"}),
            json!({"protect": true}),
        ),
        (json!({"protect": null}), json!({"protect": false})),
        (
            json!({"allowZeroBytes": false}),
            json!({"allowZeroBytes": false}),
        ),
        (
            json!({"allowZeroBytes": "FALSE"}),
            json!({"allowZeroBytes": false}),
        ),
        (
            json!({"allowZeroBytes": null}),
            json!({"allowZeroBytes": true}),
        ),
        (
            json!({"secondaryMetricsReporting": true}),
            json!({"secondaryMetricsReporting": true}),
        ),
        // What clients cannot set, and what nobody knows.
        (
            json!({"creationDate": "1999-01-01T00:00:00.000Z"}),
            json!({"creationDate": "2024-05-01T09:15:00.123Z"}),
        ),
        (
            json!({"creationDate": {"not": "a date"}}),
            json!({"creationDate": NOW.iso()}),
        ),
        (
            json!({"ttlMillis": -1, "contentSizeKB": [], "_links": {"self": 1}}),
            json!({"ttlDays": 120}),
        ),
    ] {
        let mut named = body.clone();
        if named.get("name").is_none() {
            named["name"] = json!("orders");
        }
        let config = post(&named).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(like(&config, &result), result, "{body}");
    }
}

#[test]
fn the_path_names_the_channel() {
    for body in [
        json!({}),
        json!({"name": "other"}),
        json!({"name": "a b"}),
        json!({"name": 5}),
        json!({"name": null}),
    ] {
        assert_eq!(put("Orders", &body).unwrap().name.as_str(), "Orders");
        let changed = change(&json!({}), &body).unwrap();
        assert_eq!(changed.name.as_str(), "orders", "{body}");
    }
    assert_eq!(put(" a ", &json!({})).unwrap().name.as_str(), "a");
    let refused = |name: &str| put(name, &json!({})).unwrap_err().text();
    assert_eq!(refused(" "), "name must be 1 to 48 characters long");
    assert_eq!(
        refused(&"x".repeat(49)),
        "name must be 1 to 48 characters long"
    );
    assert_eq!(
        refused("a.b"),
        "name must be made of A-Z, a-z, 0-9, _ and - only"
    );
}
