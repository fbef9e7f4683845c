//! How names and queries are spelt in links.

use http::Method;
use serde_json::json;

use crate::harness::{Hub, unique};

#[tokio::test]
async fn a_name_keeps_the_spelling_of_the_request_in_links() {
    let hub = Hub::shared().await;
    let stored = unique("Spelt-As-It-Is");
    let created = hub.ask(Method::PUT, &format!("/channel/{stored}"));
    let created = created.send().await.expect(201);
    let own = |name: &str| format!("{}/channel/{name}", hub.base());
    assert_eq!(created.location(), own(&stored));
    let loud = stored.to_uppercase();
    let path = format!("/channel/{loud}");

    let inserted = hub.post(&loud, "x").await.expect(201);
    let item = inserted.location().to_owned();
    assert!(item.starts_with(&format!("{}/", own(&loud))), "{item}");
    assert_eq!(inserted.link("channel"), Some(own(&loud)));
    assert_eq!(inserted.link("self"), Some(item.clone()));
    let latest = hub
        .get(&format!("{path}/latest?stable=false"))
        .await
        .expect(303);
    assert_eq!(latest.location(), item);
    let list = hub
        .get(&format!("{path}/latest/3?stable=false"))
        .await
        .expect(200);
    assert_eq!(list.uris(), [item.as_str()]);

    // The stored spelling stays in the name and where a configuration was written.
    let shown = hub.get(&path).await.expect(200);
    assert_eq!(shown.json()["name"], stored.as_str());
    assert_eq!(shown.link("self"), Some(own(&loud)));
    let ws = shown.link("ws").unwrap();
    assert_eq!(ws, format!("{}/ws", own(&loud).replacen("http", "ws", 1)));
    let put = hub.ask(Method::PUT, &path).send().await.expect(201);
    assert_eq!(put.location(), own(&stored));
    assert_eq!(put.json()["name"], stored.as_str());
    assert_eq!(put.link("self"), Some(own(&loud)));
    let patched = hub.ask(Method::PATCH, &path).send().await.expect(200);
    assert_eq!(
        patched.link("latest"),
        Some(format!("{}/latest", own(&loud)))
    );
    let listed = hub.get("/channel").await.expect(200).json();
    let listed = listed["_links"]["channels"].as_array().unwrap();
    let here = json!({"name": stored, "href": own(&stored)});
    assert!(listed.contains(&here), "{listed:?}");
}

#[tokio::test]
async fn nothing_that_was_sent_gets_into_a_link_unencoded() {
    let hub = Hub::shared().await;
    let channel = hub.channel("encoded").await;
    let item = hub.insert(&channel, "x").await;
    let item = hub.path_of(&item).to_owned();
    for (query, encoded) in [
        ("a=%22%3Cb%3E", "a=%22%3Cb%3E"),
        ("a='(b)*!&c;d", "a='(b)*!&c;d"),
        ("a=b%0d%0aX:y", "a=b%0d%0aX:y"),
        ("a={b}|c^d`e\\", "a=%7Bb%7D%7Cc%5Ed%60e%5C"),
        ("a=\"b", "a=%22b"),
        ("?/:@-._~%", "?/:@-._~%"),
    ] {
        let mut raw = hub.raw().await;
        for path in [&item, &format!("/channel/{channel}/latest/1")] {
            raw.send(format!("GET {path}?{query} HTTP/1.1\r\nHost: h\r\n\r\n"))
                .await;
            let answer = raw.answer().await;
            if answer.status == 400 && answer.header("hub-node").is_none() {
                // Not even read, and the connection closed.
                raw = hub.raw().await;
                continue;
            }
            let answer = answer.expect(200);
            let mut links = answer.headers_of("link");
            if links.is_empty() {
                let next = answer.link("next").unwrap();
                assert!(next.ends_with(&format!("?{encoded}")), "{next}");
            }
            while let Some(link) = links.pop() {
                assert!(link.contains(&format!("?{encoded}>;rel=")), "{link}");
            }
        }
    }
    for (name, encoded) in [
        ("%0d%0aX:%20y", "%0D%0AX%3A%20y"),
        ("%22%3C%3E", "%22%3C%3E"),
        ("%C3%A9", "%C3%A9"),
        ("a'b", "a%27b"),
    ] {
        let answer = hub.get(&format!("/channel/{name}/time/day")).await;
        let location = answer.expect(303).location().to_owned();
        let start = hub.url(&format!("/channel/{encoded}/"));
        assert!(location.starts_with(&start), "{location}");
    }
}
