//! Requests to create a channel that are refused.

use super::*;

const NAME: &str = "name must be 1 to 48 characters long";
const NOW_OR_EARLIER: &str = "mutableTime must be no later than now, 2024-05-01T09:15:00.123Z";
const ISO: &str = "mutableTime must be an ISO 8601 date with optional time and offset, or \"\"";
const DAYS: &str = "ttlDays must be a whole number from 0 to 9223372036854775807";
const ITEMS: &str = "maxItems must be a whole number from 0 to 5000";
const TAG: &str = "tags must be 1 to 48 characters each, of A-Z, a-z, 0-9, : and -";

#[test]
fn what_a_new_channel_cannot_be() {
    let x49 = "x".repeat(49);
    let twenty_one: Vec<_> = (10..31).map(|n| format!("t{n}")).collect();
    let twenty = twenty_one.get(1..).unwrap();
    for (body, text) in [
        (json!({"name": ""}), NAME),
        (json!({"name": x49}), NAME),
        (json!({"name": null}), "name is required"),
        (json!({"name": 5}), "name must be a string"),
        (
            json!({"name": "a.b"}),
            "name must be made of A-Z, a-z, 0-9, _ and - only",
        ),
        (
            json!({"owner": x49}),
            "owner must be at most 48 characters long",
        ),
        (json!({"owner": 5}), "owner must be a string"),
        (
            json!({"description": "x".repeat(1025)}),
            "description must be at most 1024 characters long",
        ),
        (
            json!({"description": ["x"]}),
            "description must be a string",
        ),
        (json!({"ttlDays": 1, "maxItems": 1}), ONE),
        (json!({"ttlDays": "1", "maxItems": "1"}), ONE),
        (json!({"ttlDays": 1, "mutableTime": "2024-05-01"}), ONE),
        (json!({"maxItems": 1, "mutableTime": "2024-05-01"}), ONE),
        (json!({"ttlDays": 1, "mutableTime": "soon"}), ONE),
        (
            json!({"keepForever": false, "ttlDays": 1, "maxItems": 1}),
            ONE,
        ),
        (
            json!({"mutableTime": "2024-05-01T09:15:00.124Z"}),
            NOW_OR_EARLIER,
        ),
        (
            json!({"mutableTime": "2024-05-01T09:00:00-01:00"}),
            NOW_OR_EARLIER,
        ),
        (json!({"mutableTime": "soon"}), ISO),
        (json!({"mutableTime": "2024-02-30"}), ISO),
        (
            json!({"mutableTime": 1_714_521_600_000i64}),
            "mutableTime must be a string",
        ),
        (
            json!({"mutableTime": "2024-05-01", "storage": "BATCH"}),
            SINGLE,
        ),
        (
            json!({"mutableTime": "2024-05-01", "storage": "both"}),
            SINGLE,
        ),
        (
            json!({"mutableTime": "2024-05-01", "storage": "HEAP"}),
            SINGLE,
        ),
        (json!({"maxItems": 5001}), ITEMS),
        (json!({"maxItems": -1}), ITEMS),
        (json!({"maxItems": "-1"}), ITEMS),
        (json!({"maxItems": 4_294_967_297i64}), ITEMS),
        (json!({"maxItems": 1.5}), ITEMS),
        (json!({"maxItems": "many"}), ITEMS),
        (json!({"maxItems": true}), ITEMS),
        (json!({"ttlDays": -1}), DAYS),
        (json!({"ttlDays": ""}), DAYS),
        (json!({"ttlDays": "1.5"}), DAYS),
        (json!({"ttlDays": "NaN"}), DAYS),
        (json!({"ttlDays": "inf"}), DAYS),
        (json!({"ttlDays": 9_223_372_036_854_775_808u64}), DAYS),
        (json!({"ttlDays": 1e300}), DAYS),
        (json!({"ttlDays": [1]}), DAYS),
        (
            json!({"keepForever": "yes"}),
            "keepForever must be true or false",
        ),
        (json!({"tags": "x"}), "tags must be a list of strings"),
        (json!({"tags": ["x", 5]}), "tags must be a list of strings"),
        (json!({"tags": [null]}), "tags must be a list of strings"),
        (json!({"tags": [""]}), TAG),
        (json!({"tags": [x49]}), TAG),
        (json!({"tags": ["a_b"]}), TAG),
        (json!({"tags": ["ok", "not ok"]}), TAG),
        (json!({"tags": ["ä"]}), TAG),
        (json!({"tags": twenty_one}), TAGS),
        (json!({"tags": twenty, "mutableTime": "2024-05-01"}), TAGS),
        (json!({"replicationSource": "http://h/channel/o"}), SOURCE),
        (json!({"replicationSource": " no URL "}), SOURCE),
        (
            json!({"replicationSource": false}),
            "replicationSource must be a string",
        ),
        (
            json!({"storage": "HEAP"}),
            "storage must be SINGLE, BATCH or BOTH",
        ),
        (json!({"storage": 1}), "storage must be a string"),
        (
            json!({"protect": true}),
            "owner must be set when protect is true",
        ),
        (
            json!({"protect": true, "owner": " "}),
            "owner must be set when protect is true",
        ),
        (
            json!({"protect": "yes", "owner": "us"}),
            "protect must be true or false",
        ),
        (
            json!({"allowZeroBytes": 1}),
            "allowZeroBytes must be true or false",
        ),
        (
            json!({"secondaryMetricsReporting": ""}),
            "secondaryMetricsReporting must be true or false",
        ),
    ] {
        let mut named = body.clone();
        if named.get("name").is_none() {
            named["name"] = json!("orders");
        }
        let error = match post(&named) {
            Ok(config) => panic!("{body} became {config:?}"),
            Err(error) => error,
        };
        assert_eq!(error.text(), text, "{body}");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{body}");
        assert!(
            error
                .field()
                .is_some_and(|field| text.contains(field) || text == ONE),
            "{body}"
        );
    }
}
