//! Items of the past: where they meet items that came live, many writers at once, and what it costs to
//! find them. What the contract says of them in single sentences is in `contract::historical`.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::harness::{Answer, Hub, Setup, key_of};

const MULTIPART: &str = "multipart/mixed; boundary=b";

/// The keys that a query lists.
async fn listed(hub: &Hub, path: &str) -> Vec<String> {
    let answer = hub.get(path).await;
    if answer.status == 404 {
        return Vec::new();
    }
    let uris = answer.expect(200).uris();
    uris.iter().map(|uri| key_of(uri).to_owned()).collect()
}

async fn delete(hub: &Hub, channel: &str, key: &str) -> Answer {
    let path = format!("/channel/{channel}/{key}");
    hub.ask(Method::DELETE, &path).send().await
}

async fn put(hub: &Hub, channel: &str, key: &str, body: &'static str) -> Answer {
    let path = format!("/channel/{channel}/{key}");
    hub.ask(Method::POST, &path).body(body).send().await
}

/// A channel of live items is converted, and then they can be deleted and written again, whatever Spoke
/// has of them.
#[tokio::test]
async fn live_items_become_items_of_the_past() {
    let setup = Setup::new();
    let hub = setup.start().await;
    let name = hub.channel("converted").await;
    let own = format!("/channel/{name}");
    let mut keys = Vec::new();
    for item in hub.insert_many(&name, 4).await {
        keys.push(key_of(&item).to_owned());
    }
    let body = "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b\r\n\r\nthree\r\n--b--\r\n";
    let bulk = hub.ask(Method::POST, &format!("{own}/bulk"));
    let bulk = bulk.header("content-type", MULTIPART).body(body);
    for uri in bulk.send().await.expect(201).uris() {
        keys.push(key_of(&uri).to_owned());
    }
    hub.is_stable(&hub.url(&format!("{own}/{}", keys[6]))).await;
    let parts: Vec<&str> = keys[6].split('/').collect();
    let [year, month, day, hour, minute, second, milli, _] = parts[..] else {
        panic!("{}", keys[6]);
    };
    let time = format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{milli}Z");
    let patch = json!({"ttlDays": 0, "mutableTime": time, "storage": "SINGLE"});
    hub.send_json(Method::PATCH, &own, &patch).await.expect(200);

    hub.get(&format!("{own}/latest")).await.expect(404);
    let all = format!("{own}/latest/99?epoch=MUTABLE");
    assert_eq!(listed(&hub, &all).await, keys);
    // One that came alone, and one of those that came together.
    for gone in [0, 5] {
        delete(&hub, &name, &keys[gone]).await.expect_empty(204);
        let path = format!("{own}/{}", keys[gone]);
        hub.get(&path).await.expect_empty(404);
    }
    let mut left = keys.clone();
    left.remove(5);
    left.remove(0);
    let check = async |hub: &Hub, left: &[String]| {
        assert_eq!(listed(hub, &all).await, left);
        for count in 1..=left.len() {
            let path = format!("{own}/earliest/{count}?epoch=ALL");
            assert_eq!(listed(hub, &path).await, left[..count], "the first {count}");
            let path = format!("{own}/latest/{count}?epoch=MUTABLE");
            let last = &left[left.len() - count..];
            assert_eq!(listed(hub, &path).await, last, "the last {count}");
        }
        for pair in left.windows(2) {
            let next = format!("{own}/{}/next?epoch=MUTABLE", pair[0]);
            assert_eq!(key_of(hub.get(&next).await.expect(303).location()), pair[1]);
            let previous = format!("{own}/{}/previous?epoch=MUTABLE", pair[1]);
            let previous = hub.get(&previous).await.expect(303);
            assert_eq!(key_of(previous.location()), pair[0]);
        }
    };
    check(&hub, &left).await;
    // One that is there, one that was deleted, and one of those that came together.
    for again in [0, 1, 4] {
        put(&hub, &name, &keys[again], "again").await.expect(201);
    }
    left.insert(0, keys[0].clone());
    check(&hub, &left).await;
    hub.kill().await;
    let hub = setup.start().await;
    check(&hub, &left).await;
    for (at, text) in [(0, "again"), (1, "again"), (4, "again"), (6, "three")] {
        let path = format!("{own}/{}", keys[at]);
        hub.get(&path).await.expect_text(200, text);
    }
    for gone in [5] {
        let path = format!("{own}/{}", keys[gone]);
        hub.get(&path).await.expect_empty(404);
    }
    let contents = format!("{own}/latest/99?epoch=MUTABLE&bulk=true");
    let contents = hub.get(&contents).await.expect(200);
    assert_eq!(contents.text().matches("\r\nagain\r\n").count(), 3);
    // What is deleted does not come back with the epoch.
    let patch = json!({"mutableTime": "2001-01-01"});
    hub.send_json(Method::PATCH, &own, &patch).await.expect(200);
    assert_eq!(listed(&hub, &format!("{own}/latest/99")).await, left);
}

#[tokio::test]
async fn many_writers_of_one_millisecond_get_keys_of_their_own() {
    let setup = Setup::new();
    let past = json!({"mutableTime": "2013-06-01"});
    let mut hub = setup.start().await;
    let name = hub.channel_with("many", &past).await;
    let path = format!("/channel/{name}/2013/01/01/05/15/07/003");
    let mut keys = BTreeSet::new();
    for run in 0..2 {
        let writers = (0..100).map(async |_| {
            let inserted = hub.ask(Method::POST, &path).body("x").send().await;
            key_of(inserted.expect(201).location()).to_owned()
        });
        keys.extend(join_all(writers).await);
        assert_eq!(keys.len(), 100 * (run + 1));
        hub.stop().await;
        hub = setup.start().await;
    }
    let keys: Vec<_> = keys.into_iter().collect();
    let second = format!("/channel/{name}/2013/01/01/05/15/07?epoch=MUTABLE");
    assert_eq!(listed(&hub, &second).await, keys);
}

/// How many lists and reads the archive was asked for.
async fn requests(hub: &Hub) -> u64 {
    let metrics = hub.get("/metrics").await.expect(200);
    let lines = metrics.text().lines().filter(|line| {
        let asks = line.contains("kind=\"list\"") || line.contains("kind=\"get\"");
        line.starts_with("hub_archive_requests_total") && asks
    });
    let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

#[tokio::test]
async fn centuries_cost_no_more_than_an_hour() {
    // Nothing else asks the archive meanwhile.
    let setup = Setup::new().set("ARCHIVE_SETTLE_SECONDS", 3600);
    let hub = Arc::new(setup.start().await);
    let past = json!({"mutableTime": "2013-06-01", "tags": ["old"]});
    let name = hub.channel_with("old", &past).await;
    let own = format!("/channel/{name}");
    let keys = [
        "0001/01/01/00/00/00/000/a",
        "1492/10/12/02/00/00/000/b",
        "2013/05/01/05/15/07/003/c",
        "2013/05/01/05/16/00/000/d",
    ];
    for key in keys {
        put(&hub, &name, key, "x").await.expect(201);
    }
    let mut most = (0, String::new());
    for (path, expected) in [
        (format!("{own}/earliest/1?epoch=MUTABLE"), vec![keys[0]]),
        (format!("{own}/latest/1?epoch=MUTABLE"), vec![keys[3]]),
        (
            format!("{own}/{}/next/1?epoch=MUTABLE", keys[0]),
            vec![keys[1]],
        ),
        (
            format!("{own}/{}/next/1?epoch=MUTABLE", keys[2]),
            vec![keys[3]],
        ),
        (
            format!("{own}/{}/previous/1?epoch=MUTABLE", keys[2]),
            vec![keys[1]],
        ),
        (
            format!("{own}/2013/05/01?epoch=ALL"),
            vec![keys[2], keys[3]],
        ),
        (format!("{own}/1700/05/01?epoch=ALL"), vec![]),
        (format!("{own}/earliest/9?epoch=MUTABLE"), keys.to_vec()),
        (
            "/tag/old/earliest/1?epoch=MUTABLE".to_owned(),
            vec![keys[0]],
        ),
        ("/tag/old/latest/9?epoch=MUTABLE".to_owned(), keys.to_vec()),
    ] {
        let before = requests(&hub).await;
        let found = listed(&hub, &path).await;
        let found: Vec<&str> = found
            .iter()
            .map(|key| key.split('?').next().unwrap())
            .collect();
        assert_eq!(found, expected, "{path}");
        let asked = requests(&hub).await - before;
        most = most.max((asked, path));
    }
    // Backward: the months, and of each the days and the names.
    assert!(most.0 <= 8, "{} requests: {}", most.0, most.1);
}
