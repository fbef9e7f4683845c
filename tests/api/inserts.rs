//! Inserting items: what is taken, what is refused, and what the answer says.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::harness::{Hub, Setup, eventually, key_of};

#[tokio::test]
async fn the_answer_says_where_the_item_is_and_when_it_was_stamped() {
    let hub = Hub::shared().await;
    let name = hub.channel("answered").await;
    let before = hub.now().await;
    for query in ["", "?threads=3&forceWrite=true", "?stable=false"] {
        let ask = hub.ask(Method::POST, &format!("/channel/{name}{query}"));
        let answer = ask.body("x").send().await.expect(201);
        let url = answer.location();
        let key = key_of(url);
        let parts: Vec<&str> = key.split('/').collect();
        let [year, month, day, hour, minute, second, millis, hash] = parts[..] else {
            panic!("{key}");
        };
        let lengths = parts.iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(lengths, [4, 2, 2, 2, 2, 2, 3, 6], "{key}");
        assert!(hash.bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
        let stamp = format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{millis}Z");
        let expected = json!({
            "timestamp": stamp,
            "_links": {
                "channel": {"href": hub.url(&format!("/channel/{name}"))},
                "self": {"href": url},
            },
        });
        assert_eq!(answer.json(), expected);
        let at: jiff::Timestamp = stamp.parse().unwrap();
        assert!(at.as_millisecond() >= before, "{stamp} is before {before}");
        assert_eq!(answer.header("hub-durability"), Some("fsync"));
        hub.get(url).await.expect_text(200, "x");
    }
}

#[tokio::test]
async fn an_item_has_its_content_type_and_none_of_the_other_headers() {
    let hub = Hub::shared().await;
    let name = hub.channel("typed").await;
    for (sent, stored) in [
        (None, "application/octet-stream"),
        (Some(""), "application/octet-stream"),
        (Some("text/plain"), "text/plain"),
        (Some("application/json"), "application/json"),
        (
            Some("text/plain; charset=utf-8"),
            "text/plain;charset=utf-8",
        ),
        (Some("a/b ; c = d ; e=\"f; g\";"), "a/b;c=d;e=\"f; g\""),
        (Some("application/vnd.x+json"), "application/vnd.x+json"),
        (
            Some("multipart/mixed; boundary=x"),
            "multipart/mixed;boundary=x",
        ),
        (Some("X-Odd/Type"), "X-Odd/Type"),
    ] {
        let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
        let ask = match sent {
            Some(kind) => ask.header("content-type", kind),
            None => ask,
        };
        let ask = ask.header("x-mine", "secret").header("etag", "\"e\"");
        let posted = ask.body("x").send().await.expect(201);
        assert_eq!(posted.header("x-mine"), None);
        let item = hub.get(posted.location()).await.expect(200);
        assert_eq!(item.header("content-type"), Some(stored), "{sent:?}");
        assert_eq!((item.header("x-mine"), item.header("etag")), (None, None));
    }
    for malformed in [
        "text",
        "text/",
        "/plain",
        "te xt/plain",
        "text/plain;x",
        "a/b c",
        "a/b;c=\"d",
        "a,b/c",
        "\u{e9}/x",
    ] {
        let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
        let ask = ask.header("content-type", malformed).body("x");
        ask.send().await.expect_error(400, "Content-Type");
    }
    let listed = hub
        .get(&format!("/channel/{name}/latest/99?stable=false"))
        .await;
    assert_eq!(listed.uris().len(), 9, "what was refused was not stored");
}

#[tokio::test]
async fn any_bytes_are_one_item() {
    let hub = Hub::shared().await;
    let name = hub.channel("bytes").await;
    let multipart = "--x\r\nContent-Type: a/b\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n";
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mut urls = Vec::new();
    for (kind, body) in [
        ("text/plain", b"".to_vec()),
        ("text/plain", b"x".to_vec()),
        ("multipart/mixed; boundary=x", multipart.into()),
        ("application/json", b"{not json".to_vec()),
        ("application/octet-stream", every_byte),
    ] {
        let length = body.len().to_string();
        // With its length, in chunks, and in chunks of one byte.
        let halves = body.split_at(body.len() / 2);
        let bytes = Bytes::from(body.clone());
        let halves = vec![
            Bytes::copy_from_slice(halves.0),
            Bytes::copy_from_slice(halves.1),
        ];
        let single = body.iter().take(50).map(|byte| Bytes::from(vec![*byte]));
        let rest = Bytes::copy_from_slice(body.get(50..).unwrap_or_default());
        let single = single.chain([rest]).collect();
        let ask = || {
            let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
            ask.header("content-type", kind)
        };
        for ask in [
            ask().body(bytes.clone()),
            ask().chunked(halves),
            ask().chunked(single),
        ] {
            let posted = ask.send().await.expect(201);
            let item = hub.get(posted.location()).await.expect(200);
            assert!(item.body == bytes, "{kind}: {} bytes", item.body.len());
            assert_eq!(item.header("x-item-length"), Some(length.as_str()));
            urls.push(posted.location().to_owned());
        }
    }
    let latest = format!("/channel/{name}/latest/99?stable=false");
    assert_eq!(hub.get(&latest).await.uris(), urls);
}

#[tokio::test]
async fn a_channel_can_refuse_empty_items() {
    let hub = Hub::shared().await;
    let name = hub
        .channel_with("full", &json!({"allowZeroBytes": false}))
        .await;
    let ask = || hub.ask(Method::POST, &format!("/channel/{name}"));
    let chunks = |parts: &[&'static str]| {
        let parts = parts.iter().map(|part| Bytes::from_static(part.as_bytes()));
        ask().chunked(parts.collect())
    };
    for refused in [ask(), ask().body(""), chunks(&[]), chunks(&["", ""])] {
        let answer = refused.send().await.expect(400);
        assert!(!answer.text().is_empty());
    }
    // What counts is what there is, not what its length says: it says nothing in chunks.
    ask().body("x").send().await.expect(201);
    chunks(&["", "y"]).send().await.expect(201);
    let listed = hub
        .get(&format!("/channel/{name}/latest/9?stable=false"))
        .await;
    assert_eq!(listed.uris().len(), 2);
}

#[tokio::test]
async fn an_unknown_channel_takes_nothing() {
    let hub = Hub::shared().await;
    for name in ["nowhere", "no.name", "%20", &"x".repeat(49)] {
        hub.post(name, "x").await.expect_empty(404);
        // Whatever else is wrong.
        let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
        let ask = ask
            .header("content-type", "nonsense")
            .body(vec![0; 3 << 20]);
        ask.send().await.expect_empty(404);
    }
}

#[tokio::test]
async fn too_large_a_body_is_413_as_soon_as_that_is_known() {
    let hub = Setup::new().set("LIMITS_ITEM_BYTES", 1000).start().await;
    let name = hub.channel("bounded").await;
    let ask = || hub.ask(Method::POST, &format!("/channel/{name}"));
    let zeros = |count: usize| Bytes::from(vec![0; count]);
    let gzip = |count: usize| crate::coding::gzip(&vec![0; count]);
    ask().body(zeros(1000)).send().await.expect(201);
    ask()
        .chunked(vec![zeros(999), zeros(1)])
        .send()
        .await
        .expect(201);
    let coded = || ask().header("content-encoding", "gzip");
    coded().body(gzip(1000)).send().await.expect(201);
    for refused in [
        ask().body(zeros(1001)),
        ask().body(zeros(5_000_000)),
        ask().chunked(vec![zeros(1000), zeros(1)]),
        ask().chunked((0..500).map(|_| zeros(10_000)).collect()),
        coded().body(gzip(1001)),
        coded().body(gzip(50_000_000)),
    ] {
        let error = refused.send().await.expect_error(413, "body");
        assert!(error["rule"].as_str().unwrap().contains("1000"), "{error}");
    }
    let listed = hub
        .get(&format!("/channel/{name}/latest/9?stable=false"))
        .await;
    assert_eq!(listed.uris().len(), 3);

    // The length is enough to know: no byte of the body has to come first.
    let mut raw = hub.raw().await;
    raw.send(format!(
        "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n"
    ))
    .await;
    raw.answer().await.expect(413);
    // Nor is the client told to go on and send it.
    let mut raw = hub.raw().await;
    raw.send(format!(
        "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\
         Expect: 100-continue\r\n\r\n"
    ))
    .await;
    raw.answer().await.expect(413);
    // Of chunks, those that are over are enough.
    let mut raw = hub.raw().await;
    let chunk = format!("3e9\r\n{}\r\n", "x".repeat(1001));
    raw.send(format!(
        "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"
    ))
    .await;
    raw.answer().await.expect(413);
}

/// Most clients send all of a body before they look at the answer.
#[tokio::test]
async fn a_client_that_sends_all_of_too_large_a_body_sees_that_it_is_413() {
    const MIB: usize = 1 << 20;
    let setup = Setup::new().set("LIMITS_ITEM_BYTES", "40MiB");
    let hub = setup.set("HTTP_HEAD_TIMEOUT_MS", 500).start().await;
    let name = hub.channel("bounded").await;
    let part = vec![b'x'; MIB];
    for path in [format!("/channel/{name}/bulk"), format!("/channel/{name}")] {
        let mut raw = hub.raw().await;
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\
             Content-Type: multipart/mixed; boundary=b\r\n\r\n",
            75 * MIB
        ))
        .await;
        for number in 0..75 {
            if number % 30 == 0 {
                // A slow sender's: it takes longer in all than a head may.
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            raw.send(&part).await;
        }
        raw.answer().await.expect_error(413, "body");
    }
    hub.get(&format!("/channel/{name}/latest?stable=false"))
        .await
        .expect_empty(404);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let hub = Hub::shared().await;
    let name = hub.channel("asked").await;
    let mut raw = hub.raw().await;
    raw.send(format!(
        "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
         Expect: 100-continue\r\n\r\n"
    ))
    .await;
    raw.head().await.expect(100);
    raw.send("hello").await;
    let item = raw.answer().await.expect(201).location().to_owned();
    let (_, path) = item.split_once("://h").unwrap();
    hub.get(path).await.expect_text(200, "hello");
}

#[tokio::test]
async fn chunks_may_have_extensions_and_trailers() {
    let hub = Hub::shared().await;
    let name = hub.channel("trailed").await;
    let mut raw = hub.raw().await;
    raw.send(format!(
        "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;x=y\r\nhel\r\n02\r\nlo\r\n0\r\nX-Trailer: z\r\n\r\n"
    ))
    .await;
    raw.answer().await.expect(201);
    raw.send(format!(
        "GET /channel/{name}/latest?stable=false HTTP/1.1\r\nHost: h\r\n\r\n"
    ))
    .await;
    let latest = raw.answer().await.expect(303).location().to_owned();
    let item = hub.get(latest.strip_prefix("http://h").unwrap()).await;
    item.expect_text(200, "hello");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_stored() {
    let hub = Hub::alone().await;
    let name = hub.channel("broken").await;
    let post = format!("POST /channel/{name} HTTP/1.1\r\nHost: h\r\n");
    for (headers, body) in [
        ("Content-Length: 10\r\n", "12345"),
        ("Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\n123"),
        ("Transfer-Encoding: chunked\r\n", "zz\r\n12345\r\n0\r\n\r\n"),
    ] {
        let mut raw = hub.raw().await;
        raw.send(format!("{post}{headers}\r\n{body}")).await;
        raw.finish().await;
        let answer = String::from_utf8(raw.until_closed().await).unwrap();
        assert!(!answer.contains(" 201 "), "{answer}");
    }
    let only = hub.insert(&name, "whole").await;
    let listed = hub
        .get(&format!("/channel/{name}/latest/9?stable=false"))
        .await;
    assert_eq!(listed.uris(), [only]);
}

#[tokio::test]
async fn bodies_in_flight_are_bounded() {
    let hub = Setup::new()
        .set("LIMITS_ITEM_BYTES", "1MiB")
        .set("LIMITS_INFLIGHT_BYTES", "1MiB")
        .start()
        .await;
    let name = hub.channel("inflight").await;
    let mut first = hub.raw().await;
    first
        .send(format!(
            "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\
             Expect: 100-continue\r\n\r\n"
        ))
        .await;
    // Told to go on: what it has said to send takes no room before it comes.
    first.head().await.expect(100);
    hub.post(&name, vec![0; 500_000]).await.expect(201);
    let in_flight = async |least: u64, most: u64| {
        let what = format!("{least} to {most} bytes are in flight");
        eventually(&what, async || {
            let metrics = hub.get("/metrics").await.expect(200);
            let line = metrics.text().lines().find_map(|line| {
                line.strip_prefix("hub_inflight_bytes ")?
                    .parse::<u64>()
                    .ok()
            });
            line.filter(|bytes| (least..=most).contains(bytes))
        })
        .await;
    };
    in_flight(0, 0).await;
    // What has come does, and leaves none for another such body.
    first.send(vec![b'x'; 900_000]).await;
    in_flight(900_000, 1 << 20).await;
    let refused = hub.post(&name, vec![0; 500_000]).await.expect(503);
    let body = refused.json();
    assert!(refused.header("retry-after").is_some());
    assert!(
        body["error"].is_string() && body["reason"].is_string(),
        "{body}"
    );
    // But for one that fits beside it.
    hub.insert(&name, "small").await;
    first.send(vec![b'x'; 100_000]).await;
    first.answer().await.expect(201);
    // Its room is free again.
    eventually("there is room again", async || {
        let answer = hub.post(&name, vec![0; 500_000]).await;
        (answer.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn durability_is_what_the_hub_was_set_to() {
    let setup = Setup::new().set("SPOKE_DURABILITY", "replicated");
    let hub = setup.start().await;
    let name = hub.channel("durable").await;
    let answer = hub.post(&name, "x").await.expect(201);
    assert_eq!(answer.header("hub-durability"), Some("replicated"));
    hub.get(answer.location()).await.expect_text(200, "x");
    // The system has it: it outlives the process.
    let item = hub.path_of(answer.location()).to_owned();
    hub.kill().await;
    setup.start().await.get(&item).await.expect_text(200, "x");
}
