//! Reading one item by its key.

use http::Method;
use serde_json::json;

use crate::harness::{Hub, key_of, period_of};

#[tokio::test]
async fn an_item_comes_with_what_is_known_of_it() {
    let hub = Hub::shared().await;
    let name = hub.channel("known").await;
    let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
    let ask = ask.header("content-type", "text/plain; charset=utf-8");
    let posted = ask.body("h\u{e9}llo").send().await.expect(201);
    let url = posted.location();
    let stamp = posted.json()["timestamp"].clone();
    for query in ["", "?stable=true&x=%20y", "?remoteOnly=false"] {
        for headers in [&[][..], &[("x-item-length-required", "true")]] {
            let ask = hub.ask(Method::GET, &format!("{url}{query}"));
            let item = ask.headers(headers).send().await;
            let item = item.expect_text(200, "h\u{e9}llo");
            for (header, value) in [
                ("content-type", "text/plain;charset=utf-8"),
                ("creation-date", stamp.as_str().unwrap()),
                ("x-item-length", "6"),
                ("content-length", "6"),
            ] {
                assert_eq!(item.header(header), Some(value), "{header}");
            }
            assert_eq!(item.header("x-largeitem"), None);
            assert_eq!(item.header("content-encoding"), None);
            let link = |rel: &str| format!("<{url}/{rel}{query}>;rel=\"{rel}\"");
            let links = item.headers_of("link");
            assert_eq!(links, [link("previous"), link("next")]);
        }
    }
    // A part of it is not to be had: who asks for one gets all of it.
    let ask = hub.ask(Method::GET, url).header("range", "bytes=0-1");
    ask.send().await.expect_text(200, "h\u{e9}llo");
    // Nor is anything needed to ask for it.
    let mut raw = hub.raw().await;
    let path = hub.path_of(url);
    raw.send(format!("GET {path} HTTP/1.0\r\n\r\n")).await;
    raw.answer().await.expect_text(200, "h\u{e9}llo");
}

#[tokio::test]
async fn a_key_may_be_written_unpadded() {
    let hub = Hub::shared().await;
    let name = hub.channel("unpadded").await;
    let url = hub.insert(&name, "x").await;
    let parts: Vec<&str> = key_of(&url).split('/').collect();
    let (hash, fields) = parts.split_last().unwrap();
    let bare = |field: &&str| field.parse::<u32>().unwrap().to_string();
    let bare: Vec<String> = fields.iter().map(bare).collect();
    let own = format!("/channel/{name}");
    for fields in [bare.join("/"), format!("0{}", fields.join("/000"))] {
        let path = format!("{own}/{fields}/{hash}");
        let item = hub.get(&path).await.expect_text(200, "x");
        assert!(item.headers_of("link")[0].contains(&url), "{path}");
        let around = hub.get(&format!("{path}/next/1?inclusive=true")).await;
        assert_eq!(around.expect(200).uris(), [url.as_str()]);
    }
}

#[tokio::test]
async fn links_lead_from_end_to_end() {
    let hub = Hub::shared().await;
    let name = hub.channel("walked").await;
    let urls = hub.insert_many(&name, 12).await;
    let linked = |answer: &crate::harness::Answer, rel: &str| {
        let end = format!(">;rel=\"{rel}\"");
        let links = answer.headers_of("link");
        let link = links.iter().find_map(|link| link.strip_suffix(&end));
        link.unwrap().strip_prefix('<').unwrap().to_owned()
    };
    for query in ["", "?stable=false"] {
        for (rel, mut expected) in [
            ("next", urls.clone()),
            ("previous", urls.iter().rev().cloned().collect()),
        ] {
            let mut at = expected.remove(0);
            let mut seen = Vec::new();
            loop {
                let item = hub.get(&format!("{at}{query}")).await.expect(200);
                let step = hub.get(&linked(&item, rel)).await;
                if step.status == 404 {
                    break;
                }
                // Where it leads has no query, so the walk goes on as it began.
                at = step.expect_empty(303).location().to_owned();
                seen.push(at.clone());
            }
            assert_eq!(seen, expected, "{rel}{query}");
        }
    }
}

/// What accepts each of three types.
const ALL: [bool; 3] = [true; 3];

#[tokio::test]
async fn an_item_that_is_not_acceptable_is_406() {
    let hub = Hub::shared().await;
    let name = hub.channel("accepted").await;
    let mut urls = Vec::new();
    for kind in ["text/plain;charset=utf-8", "application/json", ""] {
        let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
        let ask = ask.header("content-type", kind).body("x");
        urls.push(ask.send().await.expect(201).location().to_owned());
    }
    for (accept, text_json_bytes) in [
        ("*/*", ALL),
        ("*", ALL),
        ("", ALL),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", ALL),
        ("text/plain", [true, false, false]),
        ("TEXT/Plain", [true, false, false]),
        ("text/plain;charset=latin1;q=0", [true, false, false]),
        ("text/*", [true, false, false]),
        ("text", [true, false, false]),
        // A wildcard for the type is one for all.
        ("*/json", ALL),
        ("application/json", [false, true, false]),
        ("application/*", [false, true, true]),
        ("application/octet-stream", [false, false, true]),
        ("image/png", [false; 3]),
        ("image/png, text/plain", [true, false, false]),
        ("image/*, application/json;q=0.1", [false, true, false]),
        ("n o n s e n s e, text/plain", [true, false, false]),
        ("/, ;q=1, application/json", [false, true, false]),
        ("text/html", [false; 3]),
    ] {
        for (url, accepted) in urls.iter().zip(text_json_bytes) {
            let answer = hub.ask(Method::GET, url).header("accept", accept);
            let answer = answer.send().await;
            if accepted {
                answer.expect_text(200, "x");
            } else {
                answer.expect_empty(406);
            }
        }
    }
    // Several headers are one list.
    let ask = hub.ask(Method::GET, &urls[0]).header("accept", "image/png");
    let ask = ask.header("accept", "text/plain");
    ask.send().await.expect(200);
}

#[tokio::test]
async fn a_millisecond_leads_to_its_second() {
    let hub = Hub::shared().await;
    let name = hub.channel("millis").await;
    let url = hub.insert(&name, "x").await;
    let second = period_of(&url, 6);
    let millis = period_of(&url, 7);
    for query in ["", "?stable=false", "?a=b&stable=false&c=%20d&a="] {
        let own = hub.url(&format!("/channel/{name}"));
        let answer = hub.get(&format!("{own}/{millis}{query}")).await;
        let answer = answer.expect_empty(303);
        assert_eq!(answer.location(), format!("{own}/{second}{query}"));
    }
    let listed = hub.get(&format!("/channel/{name}/{second}")).await;
    assert_eq!(listed.expect(200).uris(), [url]);
    let other = hub.get("/channel/nowhere/2015/6/7/8/9/10/11").await;
    let there = hub.url("/channel/nowhere/2015/06/07/08/09/10");
    assert_eq!(other.expect(303).location(), there);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let hub = Hub::shared().await;
    let name = hub.channel("absent").await;
    let url = hub.insert(&name, "x").await;
    let key = key_of(&url);
    let (before, hash) = key.rsplit_once('/').unwrap();
    let own = format!("/channel/{name}");
    for key in [
        format!("{before}/{hash}0"),
        format!("{before}/zzzzzz"),
        format!("{before}/0"),
        "2015/06/07/08/09/10/011/abcdef".to_owned(),
        "0001/01/01/00/00/00/000/a".to_owned(),
        // Nothing can be there yet.
        "2999/01/01/00/00/00/000/a".to_owned(),
        "9999/12/31/23/59/59/999/zzzzzz".to_owned(),
    ] {
        hub.get(&format!("{own}/{key}")).await.expect_empty(404);
    }
    let other = hub.channel("absent").await;
    hub.get(&format!("/channel/{other}/{key}"))
        .await
        .expect_empty(404);
    hub.get(&format!("/channel/nowhere/{key}"))
        .await
        .expect(404);
    // What cannot be a hash is refused by name.
    for hash in ["a-b", "a_b", "%20", "%C3%A9", &"x".repeat(32)] {
        let answer = hub.get(&format!("{own}/{before}/{hash}")).await;
        answer.expect_error(400, "hash");
    }
}

#[tokio::test]
async fn a_channel_that_keeps_fewer_days_still_has_its_new_items() {
    let hub = Hub::shared().await;
    let name = hub.channel_with("kept", &json!({"ttlDays": 1})).await;
    let url = hub.insert(&name, "x").await;
    hub.get(&url).await.expect(200);
    let own = format!("/channel/{name}");
    // Positions older than that are moved up to it.
    let old = "2015/06/07/08/09/10/011/a";
    let next = hub.get(&format!("{own}/{old}/next?stable=false")).await;
    assert_eq!(next.expect(303).location(), url);
    hub.get(&format!("{own}/{old}/previous"))
        .await
        .expect_empty(404);
    hub.get(&format!("{own}/{old}")).await.expect_empty(404);
    let earliest = hub.get(&format!("{own}/earliest?stable=false")).await;
    assert_eq!(earliest.location(), url);
}
