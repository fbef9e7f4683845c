//! Time queries: the items of a day, an hour, a minute or a second.

use http::Method;
use serde_json::json;

use crate::harness::{Hub, eventually, key_of, period_of, soon};

#[tokio::test]
async fn a_period_lists_its_items() {
    let hub = Hub::shared().await;
    let name = hub.channel("period").await;
    let other = hub.channel("other").await;
    // Items of at least three seconds.
    let mut urls = Vec::new();
    let mut seconds = std::collections::BTreeSet::new();
    soon("items of three seconds", async {
        while seconds.len() < 3 {
            let url = hub.insert(&name, "x").await;
            seconds.insert(period_of(&url, 6));
            urls.push(url);
            if urls.len() % 10 == 0 {
                hub.insert(&other, "y").await;
                let second = hub.now().await / 1000;
                if seconds.len() < 3 {
                    eventually("the next second", async || {
                        (hub.now().await / 1000 > second).then_some(())
                    })
                    .await;
                }
            }
        }
    })
    .await;
    for depth in [3, 4, 5, 6] {
        let mut listed = Vec::new();
        let mut periods: Vec<String> = urls.iter().map(|url| period_of(url, depth)).collect();
        periods.dedup();
        for period in &periods {
            for query in ["", "?stable=false", "?stable=true"] {
                let path = hub.url(&format!("/channel/{name}/{period}{query}"));
                let answer = hub.get(&path).await.expect(200);
                let uris = answer.uris();
                let own = urls.iter().filter(|url| period_of(url, depth) == *period);
                assert_eq!(uris, own.cloned().collect::<Vec<_>>(), "{path}");
                assert_eq!(answer.link("self"), Some(path));
                if query.is_empty() {
                    listed.extend(uris);
                }
            }
            // Unpadded it is the same period, and links have it padded.
            let bare = period.replace("/0", "/");
            let own = hub.url(&format!("/channel/{name}"));
            let answer = hub.get(&format!("{own}/{bare}")).await.expect(200);
            assert_eq!(answer.link("self"), Some(format!("{own}/{period}")));
        }
        assert_eq!(listed, urls, "{depth}");
    }
}

#[tokio::test]
async fn periods_lead_to_their_neighbours() {
    let hub = Hub::shared().await;
    let name = hub.channel("neighbouring").await;
    let own = hub.url(&format!("/channel/{name}"));
    for (previous, period, next) in [
        ("2015/06/06", "2015/06/07", "2015/06/08"),
        ("2015/12/30", "2015/12/31", "2016/01/01"),
        ("2016/02/28", "2016/02/29", "2016/03/01"),
        ("2015/02/27", "2015/02/28", "2015/03/01"),
        ("2015/06/07/22", "2015/06/07/23", "2015/06/08/00"),
        ("2015/12/31/23", "2016/01/01/00", "2016/01/01/01"),
        ("2015/06/07/08/58", "2015/06/07/08/59", "2015/06/07/09/00"),
        (
            "2015/12/31/23/59/58",
            "2015/12/31/23/59/59",
            "2016/01/01/00/00/00",
        ),
        (
            "2016/02/29/23/59/59",
            "2016/03/01/00/00/00",
            "2016/03/01/00/00/01",
        ),
    ] {
        for query in [
            "",
            "?stable=false",
            "?trace=false&stable=true&x=a%20b&x=c&y",
        ] {
            let answer = hub.get(&format!("{own}/{period}{query}")).await.expect(200);
            let expected = json!({"_links": {
                "self": {"href": format!("{own}/{period}{query}")},
                "next": {"href": format!("{own}/{next}{query}")},
                "previous": {"href": format!("{own}/{previous}{query}")},
                "uris": [],
            }});
            assert_eq!(answer.json(), expected);
        }
    }
}

#[tokio::test]
async fn next_is_there_once_it_has_begun() {
    let hub = Hub::shared().await;
    let name = hub.channel("begun").await;
    let own = format!("/channel/{name}");
    for query in ["?stable=false", "?stable=true"] {
        for unit in ["second", "minute", "hour", "day"] {
            // The present period, unless it ends while it is asked for.
            let now = format!("{own}/time/{unit}{query}");
            let answer = eventually("a period that lasts", async || {
                let period = hub.get(&now).await.expect(303);
                let answer = hub.get(period.location()).await.expect(200);
                let still = hub.get(&now).await.expect(303);
                (period.location() == still.location()).then_some(answer)
            })
            .await;
            assert_eq!(answer.link("next"), None, "{}", answer.about);
            // The one before it has a next one.
            let before = answer.link("previous").unwrap();
            let before = hub.get(&before).await.expect(200);
            assert_eq!(before.link("next"), answer.link("self"));
            assert!(before.link("previous").is_some());
        }
        // Nor is there one after a period that is yet to come.
        let answer = hub.get(&format!("{own}/2999/01/01{query}")).await;
        let answer = answer.expect(200);
        assert_eq!(answer.link_names(), ["previous", "self"]);
        assert_eq!(answer.uris(), [""; 0]);
    }
    // With time, the present second gets one.
    let second = hub.get(&format!("{own}/time/second?stable=false")).await;
    let second = second.expect(303).location().to_owned();
    eventually("the next second is linked", async || {
        hub.get(&second).await.expect(200).link("next")
    })
    .await;
}

#[tokio::test]
async fn order_turns_the_items_and_not_the_links() {
    let hub = Hub::shared().await;
    let name = hub.channel("ordered").await;
    let urls = hub.insert_many(&name, 5).await;
    let day = period_of(&urls[0], 3);
    if period_of(&urls[4], 3) != day {
        return;
    }
    let first = key_of(&urls[0]);
    for path in [
        day,
        "latest/9".to_owned(),
        "earliest/9".to_owned(),
        format!("{first}/next/9?inclusive=true"),
    ] {
        let path = format!("/channel/{name}/{path}");
        let and = if path.contains('?') { '&' } else { '?' };
        let plain = hub.get(&path).await.expect(200);
        assert_eq!(plain.uris(), urls);
        for (order, descending) in [
            ("desc", true),
            ("descending", true),
            ("Desc", true),
            ("d", true),
            ("D", true),
            ("dabbling", true),
            ("asc", false),
            ("ascending", false),
            ("", false),
            ("upside-down", false),
            ("xd", false),
        ] {
            let query = format!("{and}order={order}");
            let answer = hub.get(&format!("{path}{query}")).await.expect(200);
            let mut uris = answer.uris();
            if descending {
                uris.reverse();
            }
            assert_eq!(uris, urls, "{order}");
            for name in ["self", "next", "previous"] {
                let expected = plain.link(name).map(|link| link + &query);
                assert_eq!(answer.link(name), expected, "{path} {order} {name}");
            }
        }
    }
}

/// Every path that gives a list, below a channel with an item of that key.
pub fn lists(key: &str) -> Vec<String> {
    let parts: Vec<&str> = key.split('/').collect();
    vec![
        parts[..3].join("/"),
        parts[..4].join("/"),
        parts[..5].join("/"),
        parts[..6].join("/"),
        "latest/3".to_owned(),
        "earliest/3".to_owned(),
        format!("{key}/next/3"),
        format!("{key}/previous/3"),
    ]
}

#[tokio::test]
async fn a_list_that_is_not_acceptable_is_406() {
    let hub = Hub::shared().await;
    let name = hub.channel("acceptable").await;
    let item = hub.insert(&name, "x").await;
    for path in lists(key_of(&item)) {
        let path = format!("/channel/{name}/{path}");
        for (accept, status) in [
            ("application/json", 200),
            ("application/*", 200),
            ("*/*", 200),
            ("text/html, */*;q=0.1", 200),
            ("multipart/mixed", 200),
            ("multipart/*", 200),
            ("application/zip", 200),
            ("", 200),
            ("text/html", 406),
            ("application/xml", 406),
            ("image/*, text/plain", 406),
        ] {
            let answer = hub.ask(Method::GET, &path).header("accept", accept);
            let answer = answer.send().await.expect(status);
            if status == 200 {
                answer.uris();
            } else {
                answer.expect_empty(406);
            }
        }
        let mut raw = hub.raw().await;
        raw.send(format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        raw.answer().await.expect(200).uris();
    }
}

#[tokio::test]
async fn contents_come_where_they_are_asked_for() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulky").await;
    let item = hub.insert(&name, "x").await;
    for path in lists(key_of(&item)) {
        for (query, bulk) in [
            ("bulk=true", true),
            ("batch=true", true),
            ("bulk=TRUE", true),
            ("bulk=false&batch=true", true),
            ("bulk=false", false),
            ("batch=no", false),
            ("bulk=false&bulk=true", false),
        ] {
            let path = format!("/channel/{name}/{path}?stable=false&{query}");
            let answer = hub.get(&path).await.expect(200);
            let kind = answer.header("content-type").unwrap();
            assert_eq!(
                kind.starts_with("multipart/mixed;boundary="),
                bulk,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn traces_are_added_where_they_are_asked_for() {
    let hub = Hub::shared().await;
    let name = hub.channel("traced").await;
    let item = hub.insert(&name, "x").await;
    let mut paths = lists(key_of(&item));
    paths.push(format!("{}/next/3", period_of(&item, 6)));
    paths.push(format!("{}/previous/3", period_of(&item, 6)));
    for path in paths {
        let path = format!("/channel/{name}/{path}");
        let plain = hub.get(&path).await.expect(200).json();
        assert_eq!(plain.as_object().unwrap().len(), 1, "{plain}");
        let traced = hub.get(&format!("{path}?trace=true")).await.expect(200);
        let traced = traced.json();
        for field in ["first", "id", "start", "millis"] {
            assert!(
                traced.get(field).is_some(),
                "{path}: no {field} in {traced}"
            );
        }
        let trace = traced["trace"].as_array();
        let trace = trace.unwrap_or_else(|| panic!("{path}: {traced}"));
        assert!(trace.iter().all(serde_json::Value::is_string), "{traced}");
        assert!(!trace.is_empty() && traced["_links"]["uris"].is_array());
    }
}

#[tokio::test]
async fn an_unknown_channel_is_404_by_its_name() {
    let hub = Hub::shared().await;
    let key = "2015/06/07/08/09/10/011/abc";
    let mut paths = lists(key);
    paths.extend(
        [
            "latest",
            "earliest",
            "time",
            "2999/01/01",
            "latest/0",
            "earliest/-5",
        ]
        .map(str::to_owned),
    );
    paths.push(format!("{key}/next"));
    paths.push(format!("{key}/previous"));
    paths.push(format!("{key}/next/0"));
    for path in paths {
        for name in ["nowhere", "NoWhere", "no.name"] {
            for query in ["", "?stable=false"] {
                let answer = hub.get(&format!("/channel/{name}/{path}{query}")).await;
                answer.expect_text(404, name);
            }
        }
    }
}
