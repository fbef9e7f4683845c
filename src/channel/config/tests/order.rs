//! Which of several broken rules is reported.

use super::*;

/// Requests that break one rule each, in the order of checks, with what is said of it. None of them
/// sets a field to anything that an earlier one needs otherwise, or the earlier one sets it too.
fn broken_rules() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"name": " "}), "name must be 1 to 48 characters long"),
        (
            json!({"owner": "o".repeat(49)}),
            "owner must be at most 48 characters long",
        ),
        (
            json!({"name": "a b"}),
            "name must be made of A-Z, a-z, 0-9, _ and - only",
        ),
        (
            json!({"ttlDays": 1, "maxItems": 5001}),
            "Only one of ttlDays, maxItems and mutableTime can be defined",
        ),
        (
            json!({"ttlDays": -1, "maxItems": 0, "mutableTime": "2024-05-01T09:15:00.124Z"}),
            "mutableTime must be no later than now, 2024-05-01T09:15:00.123Z",
        ),
        (
            json!({"maxItems": -1, "mutableTime": "2024-05-01"}),
            "storage must be SINGLE when mutableTime is set",
        ),
        (
            json!({"maxItems": 5001, "ttlDays": -1}),
            "maxItems must be a whole number from 0 to 5000",
        ),
        (
            json!({"ttlDays": -1}),
            "ttlDays must be a whole number from 0 to 9223372036854775807",
        ),
        (
            json!({"description": "d".repeat(1025)}),
            "description must be at most 1024 characters long",
        ),
        (json!({"replicationSource": "http://h/channel/o"}), SOURCE),
        (
            json!({"tags": ["a b"]}),
            "tags must be 1 to 48 characters each, of A-Z, a-z, 0-9, : and -",
        ),
        (
            json!({"storage": "HEAP"}),
            "storage must be SINGLE, BATCH or BOTH",
        ),
        (
            json!({"protect": true}),
            "owner must be set when protect is true",
        ),
    ]
}

/// A request that breaks the rules from `first` on.
fn breaks_from(first: usize) -> Value {
    let mut body = json!({"name": "orders"});
    for (fields, _) in broken_rules().drain(first..).rev() {
        for (field, value) in fields.as_object().unwrap() {
            body[field] = value.clone();
        }
    }
    body
}

#[test]
fn the_first_broken_rule_is_reported_on_create() {
    for (at, (_, text)) in broken_rules().into_iter().enumerate() {
        let body = breaks_from(at);
        assert_eq!(post(&body).unwrap_err().text(), text, "{body}");
    }
    let mut nameless = breaks_from(1);
    nameless.as_object_mut().unwrap().remove("name");
    assert_eq!(post(&nameless).unwrap_err().text(), "name is required");
    let mut long = breaks_from(1);
    long["name"] = json!("n".repeat(49));
    assert_eq!(
        post(&long).unwrap_err().text(),
        "name must be 1 to 48 characters long"
    );
}

#[test]
fn the_first_broken_rule_is_reported_on_change() {
    for (at, (fields, text)) in broken_rules().into_iter().enumerate() {
        if fields.get("name").is_some() {
            continue;
        }
        let body = breaks_from(at);
        let error = change(&json!({"ttlDays": 0, "maxItems": 5}), &body).unwrap_err();
        assert_eq!(error.text(), text, "{body}");
    }
}

#[test]
fn the_name_is_known_before_later_rules_are_checked() {
    // So that a taken name is reported before a bad retention, and after a bad owner.
    let update = parse(&breaks_from(3)).unwrap();
    assert_eq!(name_of(&update, None).unwrap().as_str(), "orders");
    assert_eq!(name_of(&update, Some(" Other ")).unwrap().as_str(), "Other");
    for first in 0..3 {
        let update = parse(&breaks_from(first)).unwrap();
        let text = name_of(&update, None).unwrap_err().text();
        assert_eq!(text, broken_rules()[first].1);
    }
    let path = |name: &str, body: Value| name_of(&parse(&body).unwrap(), Some(name));
    let long_owner = json!({"owner": "o".repeat(49)});
    assert_eq!(
        path("a b", long_owner.clone()).unwrap_err().field(),
        Some("owner")
    );
    assert_eq!(path(" ", long_owner).unwrap_err().field(), Some("name"));
    assert_eq!(path("a b", json!({})).unwrap_err().value(), Some("a b"));
}
