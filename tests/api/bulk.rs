//! Several items in one request.

use std::fmt::Write as _;

use http::Method;
use serde_json::json;

use crate::harness::{Answer, Hub, Setup, key_of};

/// A body of parts with that boundary.
pub(crate) fn parts(boundary: &str, parts: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (headers, payload) in parts {
        write!(body, "--{boundary}\r\n{headers}\r\n{payload}\r\n").unwrap();
    }
    body + &format!("--{boundary}--")
}

pub(crate) async fn send(
    hub: &Hub,
    path: &str,
    boundary: &str,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let kind = format!("multipart/mixed; boundary={boundary}");
    let ask = hub.ask(Method::POST, path).header("content-type", kind);
    ask.body(body).send().await
}

pub(crate) async fn bulk(hub: &Hub, channel: &str, items: &[(&str, &str)]) -> Answer {
    let path = format!("/channel/{channel}/bulk");
    send(hub, &path, "abc", parts("abc", items)).await
}

pub(crate) const XML: &str = "Content-Type: application/xml\r\n";

#[tokio::test]
async fn parts_become_items_with_one_time_and_numbers() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let before = hub.insert(&name, "before").await;
    let answer = bulk(
        &hub,
        &name,
        &[
            (XML, "<a/>"),
            ("", "plain"),
            ("content-type: text/x;  a=b\r\n", "\r\n.\r\n"),
        ],
    )
    .await
    .expect(201);
    let after = hub.insert(&name, "after").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("hub-durability"), Some("fsync"));
    let uris = answer.uris();
    assert_eq!(uris.len(), 3);
    let stamp = uris[0].strip_suffix("000000").unwrap();
    assert_eq!(uris[1], format!("{stamp}000001"));
    assert_eq!(uris[2], format!("{stamp}000002"));
    let own = answer.link("self").unwrap();
    assert_eq!(own, format!("{stamp}/next/3?stable=false"));
    assert_eq!(answer.location(), own);
    assert_eq!(hub.get(&own).await.expect(200).uris(), uris);

    for (uri, kind, text) in [
        (&uris[0], "application/xml", "<a/>"),
        (&uris[1], "text/plain", "plain"),
        (&uris[2], "text/x;a=b", "\r\n.\r\n"),
    ] {
        let item = hub.get(uri).await.expect_text(200, text);
        assert_eq!(item.header("content-type"), Some(kind));
        assert_eq!(item.header("x-item-length"), Some(&*text.len().to_string()));
    }
    let next = format!("{stamp}000003");
    hub.get(&next).await.expect_empty(404);
    hub.get(stamp).await.expect_empty(404);

    // Walks go through them one by one, from any of them, in both directions.
    let all = [&[before][..], &uris, &[after]].concat();
    let listed = |path: String| {
        let hub = hub.again();
        async move { hub.get(&path).await.expect(200).uris() }
    };
    let base = format!("/channel/{name}");
    for (at, key) in all.iter().enumerate() {
        let key = key_of(key);
        for count in 1..=5 {
            let end = (at + 1 + count).min(all.len());
            let next = listed(format!("{base}/{key}/next/{count}?stable=false")).await;
            assert_eq!(next, all[at + 1..end], "{count} after {at}");
            let start = at.saturating_sub(count);
            let previous = listed(format!("{base}/{key}/previous/{count}?stable=false")).await;
            assert_eq!(previous, all[start..at], "{count} before {at}");
        }
    }
    for count in 1..=5 {
        let latest = listed(format!("{base}/latest/{count}?stable=false")).await;
        assert_eq!(latest, all[5 - count..]);
        let earliest = listed(format!("{base}/earliest/{count}?stable=false")).await;
        assert_eq!(earliest, all[..count]);
    }
    let second = format!("{base}/{}?stable=false", &key_of(&all[1])[..19]);
    let in_second = listed(second).await;
    assert!(
        uris.iter().all(|uri| in_second.contains(uri)),
        "{in_second:?}"
    );
    let previous = format!("{base}/{}/previous?stable=false", key_of(&all[4]));
    assert_eq!(hub.get(&previous).await.expect(303).location(), all[3]);
}

#[tokio::test]
async fn what_is_no_bulk_insert_changes_nothing() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let path = format!("/channel/{name}/bulk");
    for (boundary, body) in [
        ("abc", String::new()),
        ("abc", "--abc--".to_owned()),
        ("abc", parts("other", &[("", "x")])),
        ("abc", parts("abc", &[("", "")])),
        ("abc", "--abc\r\n\r\nnot closed".to_owned()),
        (
            "abc",
            parts("abc", &[("", "fine"), ("Content-Type: nonsense\r\n", "x")]),
        ),
        (
            "abc",
            parts("abc", &[(&format!("A: {}\r\n", "x".repeat(9000)), "x")]),
        ),
    ] {
        let answer = send(&hub, &path, boundary, body.clone()).await;
        let error = answer.expect(400).json();
        assert!(
            error["field"].is_string() && error["rule"].is_string(),
            "{body}: {error}"
        );
    }
    for kind in [
        "text/plain",
        "multipart/mixed",
        "multipart/mixed; boundary=",
        "",
    ] {
        let ask = hub.ask(Method::POST, &path).header("content-type", kind);
        ask.body("--abc--").send().await.expect_empty(415);
    }
    hub.ask(Method::GET, &path).send().await.expect_empty(405);
    hub.get(&format!("/channel/{name}/latest?stable=false"))
        .await
        .expect_empty(404);
    let missing = bulk(&hub, "bulk-missing", &[("", "x")]).await;
    missing.expect_text(404, "bulk-missing");
}

#[tokio::test]
async fn parts_without_bytes_count_only_with_a_key_of_their_own() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let keyed = "Content-Key: http://hub/x\r\n";
    let answer = bulk(&hub, &name, &[("", ""), (keyed, ""), ("", "x")]).await;
    let uris = answer.expect(201).uris();
    assert_eq!(uris.len(), 2);
    hub.get(&uris[0]).await.expect_text(200, "");
    hub.get(&uris[1]).await.expect_text(200, "x");
    let strict = hub
        .channel_with("bulk", &json!({"allowZeroBytes": false}))
        .await;
    bulk(&hub, &strict, &[("", "x"), (keyed, "")])
        .await
        .expect(400);
    hub.get(&format!("/channel/{strict}/latest?stable=false"))
        .await
        .expect_empty(404);
    bulk(&hub, &strict, &[("", "x"), ("", "")])
        .await
        .expect(201);
}

#[tokio::test]
async fn bulk_inserts_are_bounded_coded_and_repeated_like_others() {
    let hub = Setup::new().set("LIMITS_BULK_BYTES", 2000).start().await;
    let name = hub.channel("bulk").await;
    let path = format!("/channel/{name}/bulk");
    let large = parts("abc", &[("", &"x".repeat(3000))]);
    let error = send(&hub, &path, "abc", large.clone())
        .await
        .expect(413)
        .json();
    assert_eq!(error["rule"], "at most 2000 bytes");
    let chunks = large
        .as_bytes()
        .chunks(100)
        .map(bytes::Bytes::copy_from_slice);
    let kind = "multipart/mixed;boundary=abc";
    let chunked = hub.ask(Method::POST, &path).header("content-type", kind);
    chunked.chunked(chunks.collect()).send().await.expect(413);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(
        &mut gzip,
        parts("abc", &[("", "one"), ("", "two")]).as_bytes(),
    )
    .unwrap();
    let coded = hub.ask(Method::POST, &path).header("content-type", kind);
    let coded = coded
        .header("content-encoding", "gzip")
        .body(gzip.finish().unwrap());
    let uris = coded.send().await.expect(201).uris();
    hub.get(&uris[1]).await.expect_text(200, "two");

    let keyed = |body: String| {
        let ask = hub.ask(Method::POST, &path).header("content-type", kind);
        ask.header("idempotency-key", "k").body(body).send()
    };
    let first = keyed(parts("abc", &[("", "a"), ("", "b")]))
        .await
        .expect(201);
    let again = keyed(parts("abc", &[("", "a"), ("", "b")]))
        .await
        .expect(201);
    assert_eq!(first.uris(), again.uris());
    keyed(parts("abc", &[("", "a"), ("", "c")]))
        .await
        .expect(422);
    let single = hub.ask(Method::POST, &format!("/channel/{name}"));
    let single = single.header("idempotency-key", "k").body("a").send().await;
    single.expect(422);
}

#[tokio::test]
async fn providers_name_their_channel_in_a_header() {
    let hub = Hub::shared().await;
    let name = crate::harness::unique("provided");
    let provide = |path: &'static str, kind: &'static str, body: String| {
        let ask = hub.ask(Method::POST, path).header("channelName", &name);
        ask.header("content-type", kind)
            .header("accept", "image/png")
            .body(body)
            .send()
    };
    let kind = "multipart/mixed; boundary=abc";
    provide("/provider/bulk", "text/plain", String::new())
        .await
        .expect_empty(415);
    hub.get(&format!("/channel/{name}")).await.expect_empty(404);
    provide("/provider", "text/plain", "single".to_owned())
        .await
        .expect_empty(200);
    let two = parts("abc", &[("", "one"), ("", "two")]);
    let answer = provide("/provider/bulk", kind, two).await.expect_empty(200);
    assert_eq!(answer.header("hub-durability"), Some("fsync"));
    provide("/provider/bulk", kind, String::new())
        .await
        .expect(400);
    let listed = hub
        .get(&format!("/channel/{name}/latest/9?stable=false"))
        .await
        .uris();
    assert_eq!(listed.len(), 3);
    hub.get(&listed[0]).await.expect_text(200, "single");
    hub.get(&listed[2]).await.expect_text(200, "two");
    for path in ["/provider", "/provider/bulk"] {
        let ask = hub.ask(Method::POST, path).header("content-type", kind);
        let missing = ask.body("x").send().await;
        assert_eq!(
            missing.expect_error(400, "channelName")["field"],
            "channelName"
        );
        let ask = hub.ask(Method::POST, path).header("content-type", kind);
        let bad = ask.header("channelName", "a b").body("x").send().await;
        bad.expect(400);
        hub.get(path).await.expect_empty(405);
    }
}
