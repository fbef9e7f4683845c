//! The archive: stores of every kind, a server that speaks S3 among them, which all answer alike; and what
//! a cluster writes there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod elsewhere;
mod minutes;
mod rules;
mod stores;

use std::time::Duration;

use bytes::Bytes;
use cluster_tests::client::Client;
use cluster_tests::failure::{Failure, Outcome};
use hub::archive::object::Index;
use hub::archive::store::Patience;
use reqwest::Method;

/// How patient tests are with stores.
pub(crate) const PATIENCE: Patience = Patience {
    request: Duration::from_secs(10),
    retry: Duration::from_secs(30),
};

/// What was inserted: where each item is, its media type and its bytes.
pub(crate) type Inserted = Vec<(String, Option<&'static str>, Bytes)>;

/// Inserts an item, or several, and gives its `Location`.
pub(crate) async fn insert(
    client: &Client,
    path: &str,
    kind: Option<&'static str>,
    body: Bytes,
) -> Outcome<String> {
    let mut request = client.request(Method::POST, path);
    if let Some(kind) = kind {
        request = request.header("Content-Type", kind);
    }
    let said = |error: reqwest::Error| Failure(format!("{path}: {error}"));
    let answer = request.body(body).send().await.map_err(said)?;
    let location = answer.headers().get("Location");
    let location = location
        .and_then(|url| url.to_str().ok())
        .map(str::to_owned);
    let status = answer.status();
    location.ok_or_else(|| Failure(format!("{path}: {status}")))
}

/// Inserts items of all sorts.
pub(crate) async fn fill(client: &Client, channel: &str) -> Outcome<Inserted> {
    let mut all = Inserted::new();
    let path = format!("/channel/{channel}");
    let sizes = [0, 1, 100, 300_000, 100, 9 << 20, 7];
    for (number, size) in sizes.into_iter().enumerate() {
        let kind = [None, Some("text/plain"), Some("application/json")][number % 3];
        let body = Bytes::from(vec![b'a' + number as u8; size]);
        let location = insert(client, &path, kind, body.clone()).await?;
        all.push((location, kind, body));
    }
    let parts = "--b\r\n\r\none\r\n--b\r\nContent-Type: text/css\r\n\r\ntwo\r\n--b--";
    let kind = Some("multipart/mixed; boundary=b");
    let location = insert(client, &format!("{path}/bulk"), kind, parts.into()).await?;
    let stamp = location.split("/next/").next().unwrap_or_default();
    all.push((format!("{stamp}000000"), Some("text/plain"), "one".into()));
    all.push((format!("{stamp}000001"), Some("text/css"), "two".into()));
    Ok(all)
}

/// The key in an item's URL.
pub(crate) fn key_of(url: &str) -> &str {
    let mut slashes = url.match_indices('/').map(|(at, _)| at);
    let at = slashes.nth(4).unwrap();
    &url[at + 1..]
}

/// What an object holds, item by item: key, media type and bytes.
pub(crate) fn items_of(object: &[u8]) -> Vec<(String, Option<String>, Bytes)> {
    let index = Index::of_object(object).unwrap();
    let mut items = Vec::new();
    for record in index.records() {
        let block = index.block_of(&record);
        let block = &object[block.start as usize..block.end as usize];
        let payload = index.payload(&record, block).unwrap();
        if !record.key.is_bulk() {
            let kind = record.content_type.map(str::to_owned);
            items.push((record.key.to_string(), kind, payload));
            continue;
        }
        for (number, key) in record.key.items().enumerate() {
            let item = hub::item::pack::item(&payload, number as u32)
                .unwrap()
                .unwrap();
            let kind = item.content_type.map(|kind| kind.as_str().to_owned());
            items.push((key.to_string(), kind, item.bytes));
        }
    }
    items
}
