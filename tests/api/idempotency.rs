//! Safe retries: one `Idempotency-Key`, one item.

use http::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Answer, Ask, Hub, Setup, key_of, soon};

fn keyed(hub: &Hub, channel: &str, key: impl AsRef<[u8]>) -> Ask {
    let ask = hub.ask(Method::POST, &format!("/channel/{channel}"));
    ask.header("idempotency-key", key)
}

async fn post(hub: &Hub, channel: &str, key: &str, body: &'static str) -> Answer {
    keyed(hub, channel, key).body(body).send().await
}

async fn items(hub: &Hub, channel: &str) -> Vec<String> {
    let answer = hub
        .get(&format!("/channel/{channel}/latest/99?stable=false"))
        .await;
    match answer.status {
        404 => Vec::new(),
        _ => answer.expect(200).uris(),
    }
}

#[tokio::test]
async fn a_retry_gets_the_item_of_the_first_try() {
    let hub = Hub::shared().await;
    let name = hub.channel("retried").await;
    let first = post(&hub, &name, "k", "x").await.expect(201);
    hub.insert(&name, "between").await;
    for _ in 0..3 {
        let again = post(&hub, &name, "k", "x").await.expect(201);
        assert_eq!(again.location(), first.location());
        assert_eq!(again.json(), first.json());
        assert_eq!(again.header("hub-durability"), Some("fsync"));
    }
    // In chunks it is the same payload.
    let parts = vec![bytes::Bytes::from_static(b""), "x".into()];
    let again = keyed(&hub, &name, "k").chunked(parts).send().await;
    assert_eq!(again.expect(201).location(), first.location());
    assert_eq!(items(&hub, &name).await.len(), 2);
    // Another key, or none, is another item; the same key elsewhere has nothing to do with it.
    let second = post(&hub, &name, "K", "x").await.expect(201);
    assert_ne!(second.location(), first.location());
    let third = hub.insert(&name, "x").await;
    assert_eq!(items(&hub, &name).await.last(), Some(&third));
    let other = hub.channel("retried").await;
    let elsewhere = post(&hub, &other, "k", "y").await.expect(201);
    assert_eq!(items(&hub, &other).await, [elsewhere.location()]);
}

#[tokio::test]
async fn another_payload_is_422() {
    let hub = Hub::shared().await;
    let name = hub.channel("reused").await;
    let first = post(&hub, &name, "k", "x").await.expect(201);
    for body in ["y", "", "xx"] {
        let refused = post(&hub, &name, "k", body).await;
        refused.expect_error(422, "Idempotency-Key");
    }
    let again = post(&hub, &name, "k", "x").await.expect(201);
    assert_eq!(again.location(), first.location());
    assert_eq!(items(&hub, &name).await, [first.location()]);
}

#[tokio::test]
async fn a_malformed_key_is_400() {
    let hub = Hub::shared().await;
    let name = hub.channel("malformed-key").await;
    let long = "k".repeat(129);
    for key in [
        "".as_bytes(),
        long.as_bytes(),
        b"a b",
        b"a\tb",
        "\u{e9}".as_bytes(),
        b"\xff",
    ] {
        let refused = keyed(&hub, &name, key).body("x").send().await;
        refused.expect_error(400, "Idempotency-Key");
    }
    assert_eq!(items(&hub, &name).await, [""; 0]);
    for key in ["!", "~", "\"'{}\\", &long[1..]] {
        let first = keyed(&hub, &name, key).body("x").send().await.expect(201);
        let again = keyed(&hub, &name, key).body("x").send().await.expect(201);
        assert_eq!(again.location(), first.location(), "{key}");
    }
    assert_eq!(items(&hub, &name).await.len(), 4);
}

#[tokio::test]
async fn tries_at_the_same_time_make_one_item() {
    let hub = Hub::shared().await;
    let name = hub.channel("raced").await;
    for round in 0..10 {
        let mut tries = JoinSet::new();
        for _ in 0..8 {
            let ask = keyed(&hub.again(), &name, format!("k{round}"));
            tries.spawn(ask.body(format!("x{round}")).send());
        }
        let answers = soon("every try is answered", tries.join_all()).await;
        let first = answers[0].location().to_owned();
        for answer in answers {
            assert_eq!(answer.expect(201).location(), first);
        }
        let items = items(&hub, &name).await;
        assert_eq!((items.len(), items.last()), (round + 1, Some(&first)));
    }
}

#[tokio::test]
async fn a_refused_try_leaves_the_key_free() {
    let hub = Hub::shared().await;
    let name = hub
        .channel_with("refused", &json!({"allowZeroBytes": false}))
        .await;
    post(&hub, &name, "k", "").await.expect(400);
    let bad = keyed(&hub, &name, "k").header("content-type", "nonsense");
    bad.body("y").send().await.expect(400);
    let first = post(&hub, &name, "k", "x").await.expect(201);
    assert_eq!(items(&hub, &name).await, [first.location()]);

    // A channel that was created anew remembers nothing of the old one.
    let own = format!("/channel/{name}");
    hub.ask(Method::DELETE, &own).send().await.expect(202);
    post(&hub, &name, "k", "x").await.expect(404);
    hub.ask(Method::PUT, &own).send().await.expect(201);
    let anew = post(&hub, &name, "k", "y").await.expect(201);
    assert_eq!(items(&hub, &name).await, [anew.location()]);
}

#[tokio::test]
async fn keys_outlive_the_process() {
    for gently in [true, false] {
        let setup = Setup::new();
        let hub = setup.start().await;
        let name = hub.channel("outlived").await;
        let mut before = Vec::new();
        for key in ["a", "b", "c"] {
            let answer = post(&hub, &name, key, "x").await.expect(201);
            before.push((key, key_of(answer.location()).to_owned()));
        }
        if gently {
            hub.stop().await;
        } else {
            hub.kill().await;
        }
        let hub = setup.start().await;
        for (key, item) in &before {
            let again = post(&hub, &name, key, "x").await.expect(201);
            assert_eq!(key_of(again.location()), item);
            let other = post(&hub, &name, key, "y").await;
            other.expect_error(422, "Idempotency-Key");
        }
        assert_eq!(items(&hub, &name).await.len(), before.len());
        let new = post(&hub, &name, "d", "x").await.expect(201);
        assert!(key_of(new.location()) > before[2].1.as_str());
    }
}
