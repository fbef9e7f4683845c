//! What becomes of a request to change a channel.

use super::*;

const BACKWARDS: &str = "mutableTime must be no later than it is, \
                         2024-04-01T00:00:00.000Z: it only moves backwards";

#[test]
fn what_a_change_makes_of_a_channel() {
    let historical = json!({"mutableTime": "2024-04-01", "tags": ["x"]});
    let full = json!({
        "owner": "us", "description": "d", "maxItems": 5, "tags": ["x"],
        "replicationSource": "http://h/channel/o", "storage": "BOTH", "allowZeroBytes": false,
        "secondaryMetricsReporting": true
    });
    for (created, body, result) in [
        // What is not sent stays.
        (&full, json!({}), Value::Object(channel(&full).to_json())),
        (
            &full,
            json!({"description": "e"}),
            json!({"description": "e", "owner": "us", "maxItems": 5}),
        ),
        (
            &full,
            json!({"creationDate": "1999-01-01"}),
            json!({"creationDate": NOW.iso()}),
        ),
        // Null empties.
        (
            &full,
            json!({
                "owner": null, "description": null, "replicationSource": null, "maxItems": null,
                "allowZeroBytes": null, "secondaryMetricsReporting": null, "keepForever": null,
                "protect": null, "mutableTime": null, "ttlDays": null, "storage": null
            }),
            json!({
                "owner": "", "description": "", "replicationSource": "", "maxItems": 0,
                "allowZeroBytes": false, "secondaryMetricsReporting": false, "keepForever": false,
                "protect": false, "mutableTime": "", "ttlDays": 120, "storage": "BATCH",
                "tags": ["x"]
            }),
        ),
        (
            &historical,
            json!({"mutableTime": null}),
            json!({"mutableTime": "", "ttlDays": 120}),
        ),
        (
            &json!({"keepForever": true}),
            json!({"keepForever": null}),
            json!({"ttlDays": 120}),
        ),
        (
            &json!({"protect": true, "owner": "us"}),
            json!({"protect": null, "owner": null}),
            json!({"protect": false, "owner": ""}),
        ),
        // Switching retention.
        (&json!({}), json!({"ttlDays": 5}), json!({"ttlDays": 5})),
        (
            &json!({}),
            json!({"ttlDays": 0, "maxItems": 100}),
            json!({"ttlDays": 0, "maxItems": 100}),
        ),
        (
            &full,
            json!({"maxItems": 0, "ttlDays": 9}),
            json!({"ttlDays": 9, "maxItems": 0}),
        ),
        (
            &full,
            json!({"maxItems": 0}),
            json!({"ttlDays": 120, "maxItems": 0}),
        ),
        (
            &json!({"ttlDays": 5}),
            json!({"ttlDays": 0}),
            json!({"ttlDays": 120}),
        ),
        (
            &json!({}),
            json!({"keepForever": true}),
            json!({"keepForever": true, "ttlDays": 0, "maxItems": 0}),
        ),
        (
            &full,
            json!({"keepForever": true, "ttlDays": 3}),
            json!({"keepForever": true, "ttlDays": 0, "maxItems": 0}),
        ),
        (
            &json!({"keepForever": true}),
            json!({"ttlDays": 3}),
            json!({"keepForever": true, "ttlDays": 0}),
        ),
        (
            &json!({"keepForever": true}),
            json!({"keepForever": false, "maxItems": 3}),
            json!({"keepForever": false, "ttlDays": 0, "maxItems": 3}),
        ),
        (
            &json!({"keepForever": true}),
            json!({"keepForever": false}),
            json!({"keepForever": false, "ttlDays": 120}),
        ),
        // Mutable time.
        (
            &json!({"tags": ["x"]}),
            json!({"ttlDays": 0, "mutableTime": "2024-05-01", "storage": "SINGLE"}),
            json!({
                "ttlDays": 0, "mutableTime": "2024-05-01T00:00:00.000Z", "storage": "SINGLE",
                "tags": ["historical", "x"]
            }),
        ),
        (
            &json!({"storage": "SINGLE", "keepForever": true}),
            json!({"mutableTime": "2024-05-01"}),
            json!({"mutableTime": "2024-05-01T00:00:00.000Z", "keepForever": true}),
        ),
        (
            &historical,
            json!({"mutableTime": "2024-03-31T23:59:59.999Z"}),
            json!({"mutableTime": "2024-03-31T23:59:59.999Z"}),
        ),
        (
            &historical,
            json!({"mutableTime": "2024-04-01"}),
            json!({"mutableTime": "2024-04-01T00:00:00.000Z"}),
        ),
        (
            &historical,
            json!({"mutableTime": ""}),
            json!({"mutableTime": "", "ttlDays": 120, "storage": "SINGLE", "tags": ["x"]}),
        ),
        (
            &historical,
            json!({"mutableTime": "", "maxItems": 7, "storage": "BATCH"}),
            json!({"mutableTime": "", "ttlDays": 0, "maxItems": 7, "storage": "BATCH"}),
        ),
        (
            &historical,
            json!({"storage": ""}),
            json!({"storage": "SINGLE"}),
        ),
        (
            &historical,
            json!({"owner": "us"}),
            json!({"tags": ["historical", "x"], "ttlDays": 0}),
        ),
        // Tags are replaced as a whole, but for those that the hub adds.
        (
            &historical,
            json!({"tags": ["y"]}),
            json!({"tags": ["historical", "y"]}),
        ),
        (
            &historical,
            json!({"tags": []}),
            json!({"tags": ["historical"]}),
        ),
        (
            &full,
            json!({"tags": ["y", "x"]}),
            json!({"tags": ["replicated", "x", "y"]}),
        ),
        (
            &full,
            json!({"replicationSource": ""}),
            json!({"replicationSource": "", "tags": ["x"]}),
        ),
        (
            &full,
            json!({"replicationSource": " "}),
            json!({"replicationSource": "", "tags": ["x"]}),
        ),
        (
            &full,
            json!({"owner": "them"}),
            json!({"replicationSource": "http://h/channel/o", "tags": ["replicated", "x"]}),
        ),
        (
            &json!({}),
            json!({"replicationSource": ""}),
            json!({"replicationSource": "", "tags": []}),
        ),
        // Storage and protection.
        (
            &full,
            json!({"storage": "batch"}),
            json!({"storage": "BATCH"}),
        ),
        (
            &full,
            json!({"protect": true}),
            json!({"protect": true, "owner": "us"}),
        ),
        (
            &json!({}),
            json!({"protect": true, "owner": "us"}),
            json!({"protect": true}),
        ),
    ] {
        let config =
            change(created, &body).unwrap_or_else(|error| panic!("{body} on {created}: {error}"));
        assert_eq!(like(&config, &result), result, "{body} on {created}");
    }
}

#[test]
fn what_a_change_cannot_do() {
    let twenty: Vec<_> = (10..30).map(|n| format!("t{n}")).collect();
    let twenty = json!({"tags": twenty});
    let copied = json!({"replicationSource": "http://h/channel/o"});
    let historical = json!({"mutableTime": "2024-04-01"});
    let protected = json!({"protect": true, "owner": "us"});
    for (created, body, text) in [
        (&json!({}), json!({"maxItems": 100}), ONE),
        (
            &json!({}),
            json!({"mutableTime": "2024-05-01", "storage": "SINGLE"}),
            ONE,
        ),
        (&json!({"maxItems": 5}), json!({"ttlDays": 100}), ONE),
        (&historical, json!({"ttlDays": 1}), ONE),
        (&historical, json!({"maxItems": 1}), ONE),
        (
            &historical,
            json!({"mutableTime": "2024-04-01T00:00:00.001Z"}),
            BACKWARDS,
        ),
        (
            &historical,
            json!({"mutableTime": "2024-06-01"}),
            "mutableTime must be no later than now, 2024-05-01T09:15:00.123Z",
        ),
        (&historical, json!({"storage": "BOTH"}), SINGLE),
        (
            &json!({}),
            json!({"ttlDays": 0, "mutableTime": "2024-05-01"}),
            SINGLE,
        ),
        (
            &json!({}),
            json!({"maxItems": -1}),
            "maxItems must be a whole number from 0 to 5000",
        ),
        (
            &json!({}),
            json!({"ttlDays": 0, "maxItems": 5001}),
            "maxItems must be a whole number from 0 to 5000",
        ),
        (
            &json!({}),
            json!({"tags": null}),
            "tags must be a list of strings",
        ),
        // No request names a source yet, not even the one that there is.
        (&json!({}), copied.clone(), SOURCE),
        (&copied, copied.clone(), SOURCE),
        (&json!({}), json!({"replicationSource": " x"}), SOURCE),
        (&copied, twenty.clone(), TAGS),
        (
            &twenty,
            json!({"keepForever": true, "mutableTime": "2024-05-01", "storage": "SINGLE"}),
            TAGS,
        ),
        (
            &json!({}),
            json!({"storage": "x"}),
            "storage must be SINGLE, BATCH or BOTH",
        ),
        (
            &json!({}),
            json!({"protect": true}),
            "owner must be set when protect is true",
        ),
        (
            &protected,
            json!({"owner": ""}),
            "owner must be set when protect is true",
        ),
        (
            &protected,
            json!({"owner": null}),
            "owner must be set when protect is true",
        ),
        (
            &json!({}),
            json!({"owner": "x".repeat(49)}),
            "owner must be at most 48 characters long",
        ),
    ] {
        let error = match change(created, &body) {
            Ok(config) => panic!("{body} on {created} became {config:?}"),
            Err(error) => error,
        };
        assert_eq!(error.text(), text, "{body} on {created}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_mutable_time_that_stays_passes_on_a_slow_clock() {
    let config = channel(&json!({"mutableTime": "2024-05-01T09:15:00.123Z"}));
    let slow = NOW.minus(60_000);
    for body in [json!({"mutableTime": NOW.iso()}), json!({"owner": "us"})] {
        let kept = merge(&config, &parse(&body).unwrap(), slow).unwrap();
        assert_eq!(kept.mutable_time, Some(NOW));
    }
}
