//! The archive: stores of every kind, a server that speaks S3 among them, which all answer alike; and what
//! a cluster writes there.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use bytes::Bytes;
use cluster_tests::client::Client;
use cluster_tests::cluster::Cluster;
use cluster_tests::failure::{Failure, Outcome, ensure};
use cluster_tests::hub::Hub;
use cluster_tests::metrics::Metrics;
use cluster_tests::s3::S3;
use cluster_tests::scenarios::on;
use cluster_tests::wait::until;
use hub::archive::name::Object;
use hub::archive::object::Index;
use hub::archive::store::{Created, OpenError, Patience, Store, Which};
use reqwest::Method;

/// What a store lives on.
enum Ground {
    Nothing,
    Folder(#[expect(dead_code, reason = "it is held, and dropped")] tempfile::TempDir),
    Server(#[expect(dead_code, reason = "it is held, and dropped")] S3),
}

const PATIENCE: Patience = Patience {
    request: Duration::from_secs(10),
    retry: Duration::from_secs(30),
};

/// Each kind of store, with what says which.
async fn stores() -> Vec<(&'static str, Store, Ground)> {
    let folder = tempfile::tempdir().unwrap();
    let local = Store::in_folder(folder.path()).unwrap();
    let server = S3::start().await.unwrap();
    server.bucket("bucket").await.unwrap();
    let open = |url| Store::of_url(url, &server.variables(), PATIENCE).unwrap();
    let (whole, part) = (open("s3://bucket"), open("s3://bucket/some/folder"));
    vec![
        ("memory", Store::in_memory(), Ground::Nothing),
        ("a folder", local, Ground::Folder(folder)),
        ("a folder of a bucket", part, Ground::Nothing),
        // Last: the one before is on it, too.
        ("a bucket", whole, Ground::Server(server)),
    ]
}

#[tokio::test]
async fn objects_are_created_once_and_read_whole_or_in_part() {
    for (which, store, _folder) in stores().await {
        let name = "c/2026-11/22/0102.minute";
        assert!(
            store.read(name, Which::All).await.unwrap().is_none(),
            "{which}"
        );
        let created = store.create(name, Bytes::from_static(b"0123456789")).await;
        assert_eq!(created.unwrap(), Created::Now, "{which}");
        let again = store.create(name, Bytes::from_static(b"other")).await;
        assert_eq!(again.unwrap(), Created::Before, "{which}");
        for (part, bytes) in [
            (Which::All, "0123456789"),
            (Which::These(2..5), "234"),
            (Which::These(3..3), ""),
            (Which::Last(4), "6789"),
            (Which::Last(100), "0123456789"),
        ] {
            let read = store.read(name, part.clone()).await.unwrap().unwrap();
            assert_eq!(read.bytes, bytes, "{which}: {part:?}");
        }
        assert_eq!(
            store
                .read(name, Which::Last(1))
                .await
                .unwrap()
                .unwrap()
                .length,
            10
        );
        store
            .replace(name, Bytes::from_static(b"new"))
            .await
            .unwrap();
        let read = store.read(name, Which::All).await.unwrap().unwrap();
        assert_eq!(read.bytes, "new", "{which}");
        store
            .delete(&[name.to_owned(), "c/none".to_owned()])
            .await
            .unwrap();
        assert!(
            store.read(name, Which::All).await.unwrap().is_none(),
            "{which}"
        );
    }
}

#[tokio::test]
async fn large_objects_are_sent_part_by_part() {
    for (which, store, _folder) in stores().await {
        let mut upload = store.upload("c/large").await.unwrap();
        let part = Bytes::from(vec![7; 3 << 20]);
        for _ in 0..5 {
            upload.put(part.clone()).await.unwrap();
        }
        assert!(
            store.read("c/large", Which::All).await.unwrap().is_none(),
            "{which}"
        );
        upload.end().await.unwrap();
        let read = store
            .read("c/large", Which::Last(10))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (read.length, &read.bytes[..]),
            (15 << 20, &[7; 10][..]),
            "{which}"
        );
        let mut upload = store.upload("c/given-up").await.unwrap();
        upload.put(part).await.unwrap();
        upload.abandon().await;
        assert_eq!(store.all_names("c").await.unwrap(), ["c/large"], "{which}");
    }
}

#[tokio::test]
async fn names_come_in_order_from_any_place_on() {
    for (which, store, _folder) in stores().await {
        let mut all: Vec<String> = Vec::new();
        for month in ["1851-01", "2026-02", "2026-11"] {
            for day in ["01", "30"] {
                for time in ["00.hour", "0000.minute", "000000123-a.item", "2359.minute"] {
                    all.push(format!("c/{month}/{day}/{time}"));
                }
            }
        }
        for name in &all {
            store.create(name, Bytes::from_static(b"x")).await.unwrap();
        }
        // Of another channel.
        store
            .create("d/2026-11/01/00.hour", Bytes::new())
            .await
            .unwrap();
        let afters = all.iter().map(String::as_str);
        for after in afters.chain(["c/", "c/1900-01/01/00", "c/2026-02/30/23", "c/3000-01"]) {
            let wanted: Vec<_> = all.iter().filter(|name| name.as_str() > after).collect();
            for most in [1, 3, 100] {
                let mut found: Vec<String> = Vec::new();
                let mut at = after.to_owned();
                loop {
                    let some = store.names("c", &at, most).await.unwrap();
                    found.extend(some.names);
                    if !some.more {
                        break;
                    }
                    at = found.last().unwrap().clone();
                }
                assert_eq!(
                    found.iter().collect::<Vec<_>>(),
                    wanted,
                    "{which}: after {after}"
                );
            }
        }
        let months = store.folders("c").await.unwrap();
        assert_eq!(months, ["c/1851-01", "c/2026-02", "c/2026-11"], "{which}");
        assert_eq!(
            store.folders("c/2026-02").await.unwrap(),
            ["c/2026-02/01", "c/2026-02/30"]
        );
        assert!(store.folders("e").await.unwrap().is_empty(), "{which}");
        let mut names = store.all_names("c").await.unwrap();
        names.sort();
        all.sort();
        assert_eq!(names, all, "{which}");
    }
}

#[test]
fn what_is_no_store_is_told() {
    for url in [
        "",
        "bucket",
        "http://h/bucket",
        "memory:///",
        "s3://",
        "file://host/folder",
    ] {
        let opened = Store::of_url(url, &[], PATIENCE);
        assert!(
            matches!(opened, Err(OpenError::Url { .. })),
            "{url}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_in_time() {
    let variables = [
        ("AWS_ENDPOINT", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "tests"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let patience = Patience {
        request: Duration::from_millis(500),
        retry: Duration::from_secs(1),
    };
    let store = Store::of_url("s3://bucket", &variables, patience).unwrap();
    let read = store.read("c/none", Which::All).await;
    let told = read.unwrap_err().to_string();
    assert!(
        told.starts_with("the archive did not read c/none: "),
        "{told}"
    );
    assert!(store.names("c", "c/", 10).await.is_err());
    assert!(store.create("c/one", Bytes::new()).await.is_err());
}

/// What was inserted: where each item is, its media type and its bytes.
type Inserted = Vec<(String, Option<&'static str>, Bytes)>;

async fn insert(
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
async fn fill(client: &Client, channel: &str) -> Outcome<Inserted> {
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
fn key_of(url: &str) -> &str {
    let mut slashes = url.match_indices('/').map(|(at, _)| at);
    let at = slashes.nth(4).unwrap();
    &url[at + 1..]
}

/// What an object holds, item by item: key, media type and bytes.
fn items_of(object: &[u8]) -> Vec<(String, Option<String>, Bytes)> {
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

/// A cluster archives what it took, each minute of a channel once, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_archives_what_it_took() {
    let server = S3::start().await.unwrap();
    server.bucket("bucket").await.unwrap();
    let mut cluster = Cluster::new(3)
        .unwrap()
        .with("HUB_ARCHIVE_URL", "s3://bucket/hub");
    for (name, value) in server.variables() {
        cluster.set(&name, value);
    }
    cluster.set("HUB_ARCHIVE_SETTLE_SECONDS", 1);
    let ran = on(cluster, async |cluster| {
        let script = "start zk; wait until zk ready; start all; wait until all ready";
        cluster.play(script).await?;
        let client = cluster.client();
        let mut wanted = Vec::new();
        for (channel, storage) in [("batch", "BATCH"), ("single", "SINGLE"), ("both", "BOTH")] {
            let request = client.request(Method::PUT, &format!("/channel/{channel}"));
            let config = format!(r#"{{"storage": "{storage}"}}"#);
            let request = request
                .header("Content-Type", "application/json")
                .body(config);
            let answer = request
                .send()
                .await
                .map_err(|error| Failure(error.to_string()))?;
            ensure(answer.status() == 201, || {
                format!("{channel}: {}", answer.status())
            })?;
            wanted.push((channel, fill(&client, channel).await?));
        }
        // One of them is not there when the minute is over, and comes back when it is archived.
        cluster.play("kill 2").await?;
        let last = wanted.last().and_then(|(_, items)| items.last()).unwrap();
        let minute = &key_of(&last.0)[..16];
        for number in [1, 3, 2] {
            if number == 2 {
                cluster.play("start 2; wait until 2 ready").await?;
            }
            let hub = cluster.hub(number)?.client();
            until(
                "a hub has archived it all",
                Duration::from_mins(3),
                async || {
                    let (_, health) = hub.health().await.ok()?;
                    let check = &health["checks"]["archive"];
                    let to = check["archivedTo"].as_str()?.replace(['-', 'T', ':'], "/");
                    (to.as_str() > minute && check["ok"] == true && !to.starts_with(minute))
                        .then_some(())
                },
            )
            .await?;
        }
        let mut puts = 0.0;
        for number in cluster.numbers() {
            let metrics = Metrics::of(&cluster.hub(number)?.client()).await?;
            puts += metrics.sum("hub_archive_requests_total", &[("kind", "put")]);
            puts += metrics.sum("hub_archive_requests_total", &[("kind", "upload")]);
        }
        Ok((wanted, puts))
    });
    let (wanted, puts) = ran.await.unwrap();
    let store = Store::of_url("s3://bucket/hub", &server.variables(), PATIENCE).unwrap();
    let mut names = store.all_names("").await.unwrap();
    names.sort();
    // What the second one wrote before it was killed, if anything, it does not count any more; and where
    // another one takes over, both may put a minute: the later put is refused.
    let most = names.len() as f64 + 3.0;
    assert!(puts <= most, "{puts} puts of {names:#?}");
    let mut found = Vec::new();
    for name in &names {
        let (channel, object) = Object::parse(name).unwrap_or_else(|_| panic!("{name}"));
        let bytes = store.read(name, Which::All).await.unwrap().unwrap().bytes;
        found.push((channel, object, items_of(&bytes)));
    }
    for (channel, items) in wanted {
        let items: Vec<_> = items
            .into_iter()
            .map(|(url, kind, bytes)| (key_of(&url).to_owned(), kind.map(str::to_owned), bytes))
            .collect();
        let archived = |kind: fn(&Object) -> bool| -> Vec<_> {
            let own = found.iter().filter(|(_, object, held)| {
                kind(object)
                    && held
                        .iter()
                        .any(|held| items.iter().any(|item| item.0 == held.0))
            });
            own.flat_map(|(_, _, held)| held.clone()).collect()
        };
        let minutes = archived(|object| matches!(object, Object::Minute(_)));
        let singles = archived(|object| matches!(object, Object::Item(_)));
        let none = Vec::new();
        let (in_minutes, in_singles) = match channel {
            "batch" => (&items, &none),
            "single" => (&none, &items),
            _ => (&items, &items),
        };
        assert!(
            minutes == *in_minutes,
            "{channel}: {} in minutes",
            minutes.len()
        );
        assert!(
            singles == *in_singles,
            "{channel}: {} one by one",
            singles.len()
        );
    }
}

/// While the archive is away everything goes on, and is archived once it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_away_is_told_of_and_caught_up_with() {
    let server = S3::start().await.unwrap();
    server.bucket("bucket").await.unwrap();
    let mut hub = Hub::new().unwrap().with("HUB_ARCHIVE_URL", "s3://bucket");
    for (name, value) in server.variables() {
        hub.set(&name, value);
    }
    hub.set("HUB_ARCHIVE_SETTLE_SECONDS", 1);
    hub.set("HUB_ARCHIVE_REQUEST_TIMEOUT_MS", 500);
    hub.set("HUB_ARCHIVE_RETRY_SECONDS", 1);
    hub.start().await.unwrap();
    server.pause().unwrap();
    let client = hub.client();
    client.put_channel("c").await.unwrap();
    let location = insert(&client, "/channel/c", None, "first".into())
        .await
        .unwrap();
    let archive = async || {
        let (status, health) = client.health().await.ok()?;
        // Whatever the archive does.
        assert_eq!(status, 200, "{health}");
        Some(health["checks"]["archive"].clone())
    };
    let patience = Duration::from_mins(3);
    let told = until("the hub tells of it", patience, async || {
        let check = archive().await?;
        (check["ok"] == false).then(|| check["why"].to_string())
    });
    let told = told.await.unwrap();
    assert!(told.contains("c: the archive did not read "), "{told}");
    let metrics = Metrics::of(&client).await.unwrap();
    assert!(metrics.sum("hub_archive_failures_total", &[]) > 0.0);
    // It remembers how far it has come, and that is not far.
    hub.kill().unwrap();
    hub.start().await.unwrap();
    server.resume().unwrap();
    let minute = &key_of(&location)[..16];
    until("the hub has caught up", patience, async || {
        let (_, health) = hub.client().health().await.ok()?;
        let check = &health["checks"]["archive"];
        let to = check["archivedTo"].as_str()?.replace(['-', 'T', ':'], "/");
        (check["ok"] == true && to.as_str() > minute && !to.starts_with(minute)).then_some(())
    })
    .await
    .unwrap();
    let store = Store::of_url("s3://bucket", &server.variables(), PATIENCE).unwrap();
    let names = store.all_names("").await.unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    let object = store.read(&names[0], Which::All).await.unwrap().unwrap();
    let items = items_of(&object.bytes);
    assert_eq!(
        items,
        [(key_of(&location).to_owned(), None, "first".into())]
    );
}
