//! What becomes of minutes that others wrote, or that are given up: on one hub, with a folder.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cluster_tests::client::Client;
use cluster_tests::hub::Hub;
use cluster_tests::wait::until;
use hub::archive::name::{Object, minute_len};
use hub::archive::object::ObjectWriter;
use hub::archive::store::{MARKER, Store, Which};
use hub::env::Millis;
use hub::item::{ItemKey, Suffix};
use hub::spoke::ChannelId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{insert, items_of, key_of};

const LONG: Duration = Duration::from_mins(4);

/// A hub that archives to a folder as soon as it may.
pub(crate) fn hub(archive: &Path) -> Hub {
    Hub::new()
        .unwrap()
        .with("HUB_ARCHIVE_URL", format!("file://{}", archive.display()))
        .with("HUB_ARCHIVE_SETTLE_SECONDS", 1)
}

pub(crate) async fn check(client: &Client) -> Value {
    let (_, health) = client.health().await.unwrap();
    health["checks"]["archive"].clone()
}

/// Waits until everything up to a time is archived.
async fn archived(client: &Client, time: &str) {
    let wanted = time.replace('/', "");
    until("it is archived", LONG, async || {
        let to = check(client).await["archivedTo"].as_str()?.to_owned();
        let to: String = to.chars().filter(char::is_ascii_digit).collect();
        (to.get(..12)? > wanted.get(..12)?).then_some(())
    })
    .await
    .unwrap();
}

/// The names of the objects, but for the one that says which archive it is.
async fn names(store: &Store) -> Vec<String> {
    let mut names = store.all_names("").await.unwrap();
    names.retain(|name| name != MARKER);
    names.sort();
    names
}

pub(crate) async fn ask(hub: &Hub, method: Method, url: &str, body: Option<Value>) -> (u16, Value) {
    // Behind the scheme and the host.
    let (path_at, _) = url.match_indices('/').nth(2).unwrap();
    let (base, path) = url.split_at(path_at);
    let mut request = Client::new(base).request(method, path);
    if let Some(body) = body {
        request = request
            .header("Content-Type", "application/json")
            .body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    assert!(hub.runs());
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// A bulk insert of which the first items were given up is archived as it is, and what was given up before
/// it was archived is no obstacle. Then it is told what the archive takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_in_part_is_archived() {
    let archive = tempfile::tempdir().unwrap();
    let mut hub = hub(archive.path());
    hub.start().await.unwrap();
    let client = hub.client();
    let url = format!("{}/channel/c", hub.url());
    let config = json!({"maxItems": 3});
    assert_eq!(ask(&hub, Method::PUT, &url, Some(config)).await.0, 201);
    for _ in 0..4 {
        insert(&client, "/channel/c", None, "old".into())
            .await
            .unwrap();
    }
    let parts: Vec<String> = (0..5).map(|at| format!("--b\r\n\r\n{at}\r\n")).collect();
    let kind = Some("multipart/mixed; boundary=b");
    let body = Bytes::from(format!("{}--b--", parts.concat()));
    let location = insert(&client, "/channel/c/bulk", kind, body)
        .await
        .unwrap();
    let stamp = location.split("/next/").next().unwrap().to_owned();
    until("only the newest are kept", LONG, async || {
        let url = format!("{}/internal/max-items/c", hub.url());
        let (_, trimmed) = ask(&hub, Method::PATCH, &url, None).await;
        let from = trimmed["keptFrom"].as_str().unwrap_or_default();
        // An item of a bulk insert: its stamp, and its number.
        let from = from.get(..from.len().checked_sub(6)?)?;
        (!from.is_empty() && stamp.ends_with(from)).then_some(())
    })
    .await
    .unwrap();
    archived(&client, key_of(&stamp)).await;
    assert_eq!(check(&client).await["ok"], true);
    let store = Store::in_folder(archive.path()).unwrap();
    let names = names(&store).await;
    let (mut bytes, mut items, mut found) = (0, 0, Vec::new());
    for name in &names {
        let read = store.read(name, Which::All).await.unwrap().unwrap();
        let held = items_of(&read.bytes);
        bytes += read.length;
        items += held.len();
        found.extend(
            held.into_iter()
                .filter(|item| stamp.ends_with(&item.0[..item.0.len() - 6])),
        );
    }
    let payloads: Vec<_> = found.iter().map(|item| item.2.clone()).collect();
    assert_eq!(payloads, ["0", "1", "2", "3", "4"]);
    // What it takes.
    for (path, counted) in [
        ("/internal/archive", None),
        ("/internal/archive/c", Some(Value::Null)),
        ("/internal/archive/C?items=true", Some(json!(items))),
    ] {
        let url = format!("{}{path}", hub.ops_url());
        let (status, page) = ask(&hub, Method::GET, &url, None).await;
        assert_eq!(status, 200, "{page}");
        assert_eq!(page["total"]["minutes"]["objects"], names.len(), "{page}");
        assert_eq!(page["total"]["bytes"], bytes);
        // And the one that says which archive it is.
        assert_eq!(page["requests"]["put"]["requests"], names.len() + 1);
        assert_eq!(page.get("items"), counted.as_ref());
    }
    let url = format!("{}/internal/archive/none", hub.ops_url());
    assert_eq!(ask(&hub, Method::GET, &url, None).await.0, 404);
    let url = format!("{}/internal/archive", hub.url());
    assert_eq!(ask(&hub, Method::GET, &url, None).await.0, 403);
}

/// An object that holds something else is told of, and stays; what it lacks stays here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_somebody_else_is_an_alarm() {
    let archive = tempfile::tempdir().unwrap();
    let mut hub = hub(archive.path());
    hub.start().await.unwrap();
    let client = hub.client();
    client.put_channel("c").await.unwrap();
    let first = insert(&client, "/channel/c", None, "first".into())
        .await
        .unwrap();
    archived(&client, key_of(&first)).await;
    let store = Store::in_folder(archive.path()).unwrap();
    let name = names(&store).await.remove(0);
    let (channel, _): (ChannelId, Object) = Object::parse(&name).unwrap();
    // Whichever minute the next item comes in, there is an object already.
    let now = check(&client).await["archivedTo"]
        .as_str()
        .unwrap()
        .to_owned();
    let now = Millis::parse_iso(&now).unwrap();
    for minute in 0..4 {
        let minute = now.plus(minute * minute_len());
        let mut writer = ObjectWriter::new(channel);
        let key = ItemKey::new(minute.plus(1), Suffix::parse("zzzzzz").unwrap());
        writer.push(key, None, b"foreign").unwrap();
        let made = writer.finish().unwrap();
        let name = Object::Minute(minute).name(channel);
        store.create(&name, made).await.unwrap();
    }
    let before = names(&store).await;
    let second = insert(&client, "/channel/c", None, "second".into())
        .await
        .unwrap();
    let key = key_of(&second).to_owned();
    let told = until("it is told of", LONG, async || {
        let check = check(&client).await;
        (check["ok"] == false).then(|| check["why"].to_string())
    });
    let told = told.await.unwrap();
    assert!(
        told.contains("differs from what the replicas hold"),
        "{told}"
    );
    assert!(told.contains(&format!("{key} is not in it")), "{told}");
    assert_eq!(names(&store).await, before);
    let path = format!("/channel/c/{key}");
    let (status, body) = client.send(Method::GET, &path).await.unwrap();
    assert_eq!((status, body.as_ref()), (200, &b"second"[..]));
}

/// More items in a minute than are looked up at a time are in its object once, in their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_with_very_many_items_is_archived() {
    const WRITERS: usize = 16;
    // However the minutes fall, one of them has more than five thousand.
    const EACH: usize = 650;
    let archive = tempfile::tempdir().unwrap();
    let mut hub = hub(archive.path()).with("HUB_SPOKE_DURABILITY", "replicated");
    hub.start().await.unwrap();
    let client = hub.client();
    client.put_channel("c").await.unwrap();
    let writers = (0..WRITERS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut keys = Vec::new();
            for _ in 0..EACH {
                let url = insert(&client, "/channel/c", None, "x".into())
                    .await
                    .unwrap();
                keys.push(key_of(&url).to_owned());
            }
            keys
        })
    });
    let mut keys = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        keys.extend(writer.await.unwrap());
    }
    keys.sort();
    archived(&client, keys.last().unwrap()).await;
    assert_eq!(check(&client).await["ok"], true);
    let store = Store::in_folder(archive.path()).unwrap();
    let (mut found, mut most) = (Vec::new(), 0);
    for name in names(&store).await {
        let read = store.read(&name, Which::All).await.unwrap().unwrap();
        let items = items_of(&read.bytes);
        most = most.max(items.len());
        found.extend(items.into_iter().map(|(key, ..)| key));
    }
    assert_eq!(found, keys);
    assert!(most > 5_000, "{most}");
}
