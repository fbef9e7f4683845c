//! What the parameters of queries have in common.

use crate::harness::{Hub, Setup, key_of};

/// Stable queries of this hub see no recent item, so that one can tell what a query asked for.
fn nothing_recent_is_stable() -> Setup {
    Setup::new().set("READ_STABLE_SECONDS", 3600)
}

#[tokio::test]
async fn parameters_are_read_leniently() {
    let hub = nothing_recent_is_stable().start().await;
    let channel = hub.channel("lenient").await;
    let item = hub.insert(&channel, "x").await;
    for (query, stable) in [
        ("", true),
        ("?stable=true", true),
        ("?stable=TRUE", true),
        ("?stable=True", true),
        ("?stable=tRuE", true),
        ("?stable=%74rue", true),
        ("?stable=false", false),
        ("?stable=FALSE", false),
        ("?stable=yes", false),
        ("?stable=1", false),
        ("?stable=true%20", false),
        ("?stable=", false),
        ("?stable", false),
        ("?st%61ble=no", false),
        // The first value counts.
        ("?stable=false&stable=true", false),
        ("?stable=true&stable=false", true),
        // What is not known does not.
        ("?Stable=false", true),
        ("?x=1&y&=z&&%zz=%&stable=false", false),
        ("?unstable=false", true),
    ] {
        let answer = hub.get(&format!("/channel/{channel}/latest{query}")).await;
        if stable {
            answer.expect_empty(404);
        } else {
            assert_eq!(answer.expect(303).location(), item, "{query}");
        }
    }
}

#[tokio::test]
async fn an_unknown_epoch_or_location_is_400() {
    let hub = Hub::shared().await;
    let channel = hub.channel("tiers").await;
    let item = hub.insert(&channel, "x").await;
    let key = key_of(&item);
    for path in [
        "latest/1".to_owned(),
        "earliest/1".to_owned(),
        "latest".to_owned(),
        "2015/06/07".to_owned(),
        format!("{key}/previous"),
        format!("{key}/next/1"),
        "status".to_owned(),
    ] {
        for (field, known) in [
            ("epoch", &["ALL", "MUTABLE", "IMMUTABLE"][..]),
            (
                "location",
                &[
                    "ALL",
                    "CACHE",
                    "CACHE_WRITE",
                    "CACHE_READ",
                    "LONG_TERM",
                    "LONG_TERM_SINGLE",
                    "LONG_TERM_BATCH",
                ],
            ),
        ] {
            let path = format!("/channel/{channel}/{path}?{field}=");
            let error = hub.get(&format!("{path}WARM")).await;
            let error = error.expect_error(400, field);
            assert_eq!(error["value"], "WARM");
            let rule = error["rule"].as_str().unwrap();
            for known in known {
                assert!(rule.contains(known), "{rule}");
                let answer = hub.get(&format!("{path}{known}")).await;
                assert!(
                    matches!(answer.status, 200 | 303 | 404),
                    "{}: {}",
                    answer.about,
                    answer.status
                );
            }
        }
    }
}
