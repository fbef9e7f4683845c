//! Links about time: where the present is.

use serde_json::{Value, json};

use crate::harness::{Hub, eventually};

fn path_at(iso: &str, unit: &str) -> String {
    let length = match unit {
        "day" => 10,
        "hour" => 13,
        "minute" => 16,
        _ => 19,
    };
    iso[..length].replace(['-', 'T', ':'], "/")
}

#[tokio::test]
async fn time_links_are_for_now_or_for_what_is_stable() {
    let hub = Hub::shared().await;
    let name = hub.channel("timed").await;
    let own = hub.url(&format!("/channel/{name}"));
    for (query, kept, stable) in [
        ("", "", true),
        ("?stable=true", "?stable=true", true),
        ("?stable=false", "?stable=false", false),
        // Nothing but `stable` is kept.
        ("?x=1&stable=false&trace=true", "?stable=false", false),
        ("?x=1", "", true),
    ] {
        let before = hub.now().await;
        let answer = hub.get(&format!("{own}/time{query}")).await.expect(200);
        let after = hub.now().await;
        let body = answer.json();
        let moment = |name: &str| {
            let (iso, millis) = (&body[name]["iso8601"], &body[name]["millis"]);
            let iso = iso.as_str().unwrap().to_owned();
            let at: jiff::Timestamp = iso.parse().unwrap();
            assert_eq!(at.as_millisecond(), millis.as_i64().unwrap());
            assert!(iso.len() == 24 && iso.ends_with('Z'), "{iso}");
            (iso, at.as_millisecond())
        };
        let ((now, now_millis), (stable_iso, stable_millis)) = (moment("now"), moment("stable"));
        assert!(before <= now_millis && now_millis <= after);
        assert!(stable_millis <= after);
        let at = if stable { stable_iso } else { now };
        let mut links = json!({"self": {"href": format!("{own}/time{kept}")}});
        let mut template = format!("{own}/time/{{year}}/{{month}}/{{day}}");
        for unit in ["day", "hour", "minute", "second"] {
            if unit != "day" {
                template = format!("{template}/{{{unit}}}");
            }
            links[unit] = json!({
                "href": format!("{own}/{}{kept}", path_at(&at, unit)),
                "template": format!("{template}{{?stable}}"),
                "redirect": format!("{own}/time/{unit}{kept}"),
            });
        }
        assert_eq!(body["_links"], links);
        let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["_links", "now", "stable"]);
    }
}

#[tokio::test]
async fn each_unit_leads_to_its_present_period() {
    let hub = Hub::shared().await;
    let known = hub.channel("present").await;
    // The channel is not looked at: the target will say.
    for name in [known.as_str(), "nowhere"] {
        for (unit, depth) in [("second", 6), ("minute", 5), ("hour", 4), ("day", 3)] {
            for query in ["?stable=false", "?a=b&stable=false&c=%20&a="] {
                let own = hub.url(&format!("/channel/{name}"));
                let iso = |millis: i64| {
                    let at = jiff::Timestamp::from_millisecond(millis).unwrap();
                    path_at(&format!("{at:.3}"), unit)
                };
                let before = iso(hub.now().await);
                let answer = hub.get(&format!("{own}/time/{unit}{query}")).await;
                let answer = answer.expect_empty(303);
                let after = iso(hub.now().await);
                let path = answer.location().strip_prefix(&format!("{own}/")).unwrap();
                let path = path.strip_suffix(query).unwrap();
                assert!(
                    *before <= *path && *path <= *after,
                    "{before} {path} {after}"
                );
                assert_eq!(path.split('/').count(), depth);
                let there = hub.get(answer.location()).await;
                if name == known {
                    there.expect(200).uris();
                } else {
                    there.expect_text(404, name);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_bad_parameter_is_refused_before_anything_is_led_to() {
    let hub = Hub::shared().await;
    for field in ["location", "epoch"] {
        let path = format!("/channel/any/time/second?stable=false&{field}=bad");
        hub.get(&path).await.expect_error(400, field);
    }
}

#[tokio::test]
async fn a_new_item_is_in_the_present() {
    let hub = Hub::shared().await;
    let name = hub.channel("now").await;
    for query in ["", "?stable=false"] {
        // A second may end in between; then the next try is in one.
        eventually("an item of the second that is led to", async || {
            let item = hub.insert(&name, "x").await;
            let now = format!("/channel/{name}/time/second{query}");
            let second = hub.get(&now).await.expect(303);
            let listed = hub.get(second.location()).await.expect(200).uris();
            listed.contains(&item).then_some(())
        })
        .await;
    }
    let body = hub.get(&format!("/channel/{name}/time")).await.json();
    let at = |name: &str| body[name]["millis"].as_i64().unwrap();
    assert!(at("stable") <= at("now"), "{body}");
    let moments: Vec<&Value> = vec![&body["now"], &body["stable"]];
    assert!(moments.iter().all(|moment| moment["iso8601"].is_string()));
}
