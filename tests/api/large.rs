//! Items that are large: they work as others do.

use bytes::Bytes;
use http::Method;

use crate::harness::{Hub, Setup};

const MIB: usize = 1 << 20;

/// Bytes that differ from place to place.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend((state >> 3).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

#[tokio::test]
async fn forty_one_mebibytes_are_an_item_like_any_other() {
    let hub = Hub::shared().await;
    let name = hub.channel("large").await;
    let bytes = noise(41 * MIB);
    let small = hub.insert(&name, "before").await;
    let large = hub.insert(&name, bytes.clone()).await;
    let after = hub.insert(&name, "after").await;
    let item = hub.get(&large).await.expect(200);
    assert!(item.body == bytes, "{} bytes came back", item.body.len());
    let length = bytes.len().to_string();
    assert_eq!(item.header("x-largeitem"), Some("true"));
    assert_eq!(item.header("x-item-length"), Some(length.as_str()));
    assert_eq!(item.header("content-length"), Some(length.as_str()));
    let head = hub.ask(Method::HEAD, &large).send().await.expect_empty(200);
    assert_eq!(head.header("x-largeitem"), Some("true"));
    assert_eq!(head.header("x-item-length"), Some(length.as_str()));
    let listed = hub
        .get(&format!("/channel/{name}/latest/9?stable=false"))
        .await;
    assert_eq!(listed.uris(), [small.as_str(), &large, &after]);
    hub.get(&after).await.expect_text(200, "after");

    // Who reads slowly gets all of it, too, while others are served.
    let mut raw = hub.raw().await;
    raw.send(format!(
        "GET {} HTTP/1.1\r\nHost: h\r\n\r\n",
        hub.path_of(&large)
    ))
    .await;
    raw.head().await.expect(200);
    let mut read = 0;
    let mut parts = 0;
    while read < bytes.len() {
        let part = raw.some(1000).await.unwrap();
        assert!(!part.is_empty(), "cut off after {read}");
        assert!(part == bytes[read..read + part.len()], "at {read}");
        read += part.len();
        parts += 1;
        if parts % 4000 == 0 {
            hub.get(&small).await.expect_text(200, "before");
        }
    }
}

#[tokio::test]
async fn just_below_is_not_large() {
    let setup = Setup::new().set("CHANNEL_LARGE_ITEM_BYTES", "1MiB");
    let hub = setup.start().await;
    let name = hub.channel("nearly-large").await;
    for (count, large) in [
        (MIB - 1, None),
        (MIB, Some("true")),
        (MIB + 1, Some("true")),
    ] {
        let bytes = noise(count);
        let parts = bytes.chunks(100_000).map(Bytes::copy_from_slice);
        let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
        let posted = ask.chunked(parts.collect()).send().await.expect(201);
        let item = hub.get(posted.location()).await.expect(200);
        assert_eq!(item.header("x-largeitem"), large, "{count}");
        assert!(item.body == bytes);
    }
}
