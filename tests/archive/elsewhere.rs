//! An archive that is not the one that it was, and one with damage: what is read then.

use std::path::Path;
use std::time::Duration;

use cluster_tests::hub::Hub;
use cluster_tests::wait::until;
use hub::archive::store::{MARKER, Store};
use reqwest::Method;
use serde_json::{Value, json};

use crate::rules::{ask, check, hub};

const LONG: Duration = Duration::from_mins(2);

/// A hub with items of the past, which are in the archive at once: of two times, in this order.
async fn filled(archive: &Path) -> (Hub, [String; 2]) {
    let mut hub = hub(archive);
    hub.start().await.unwrap();
    let url = format!("{}/channel/c", hub.url());
    let config = json!({"mutableTime": "2020-01-01T00:00:00.000Z", "keepForever": true});
    assert_eq!(ask(&hub, Method::PUT, &url, Some(config)).await.0, 201);
    let items = ["2013/01/02/03/04/05/006", "2013/01/02/03/04/05/007"];
    for item in items {
        let url = format!("{url}/{item}");
        assert_eq!(ask(&hub, Method::POST, &url, Some(json!(1))).await.0, 201);
    }
    let (_, list) = ask(
        &hub,
        Method::GET,
        &format!("{url}/2013/01/02?stable=false&epoch=ALL"),
        None,
    )
    .await;
    let uris = list["_links"]["uris"].as_array().unwrap();
    let key = |at: usize| {
        let (_, path) = uris[at].as_str().unwrap().split_once("/channel/").unwrap();
        format!("/channel/{path}")
    };
    assert_eq!(uris.len(), items.len());
    (hub, [key(0), key(1)])
}

async fn get(hub: &Hub, path: &str) -> (u16, Value) {
    ask(hub, Method::GET, &format!("{}{path}", hub.url()), None).await
}

/// Waits until the archive is said to be right, or wrong.
async fn said_to_be(hub: &Hub, ok: bool) -> Value {
    let client = hub.client();
    let told = until("its health says so", LONG, async || {
        let check = check(&client).await;
        (check["ok"] == ok).then_some(check)
    });
    told.await.unwrap()
}

/// An empty folder in the archive's place, as of a disk that is not mounted: no item is "not found", no list
/// short, and nothing is written there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_empty_of_a_sudden_is_not_taken_for_one_without_items() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, aside) = (folder.path().join("archive"), folder.path().join("aside"));
    let (mut hub, items) = filled(&archive).await;
    assert_eq!(get(&hub, &items[0]).await.0, 200);
    hub.stop().await.unwrap();
    std::fs::rename(&archive, &aside).unwrap();
    std::fs::create_dir(&archive).unwrap();
    hub.start().await.unwrap();
    for path in [
        &items[0],
        "/channel/c/2013/01/02?epoch=ALL",
        "/channel/c/earliest?epoch=MUTABLE",
    ] {
        let (status, body) = get(&hub, path).await;
        assert_eq!(status, 503, "{path}: {body}");
        assert!(body["reason"].to_string().contains(MARKER), "{body}");
    }
    let told = said_to_be(&hub, false).await;
    assert!(told["why"].to_string().contains(MARKER), "{told}");
    // What is inserted now waits in Spoke; what would go to the archive at once is refused.
    let url = format!("{}/channel/c", hub.url());
    let (status, inserted) = ask(&hub, Method::POST, &url, Some(json!(2))).await;
    assert_eq!(status, 201, "{inserted}");
    let past = format!("{url}/2013/01/02/03/04/05/008");
    let (status, refused) = ask(&hub, Method::POST, &past, Some(json!(2))).await;
    assert_eq!(status, 503, "{refused}");
    let empty = Store::in_folder(&archive).unwrap();
    assert_eq!(empty.all_names("").await.unwrap(), Vec::<String>::new());
    // Mounted again, it is read again, without a restart.
    std::fs::remove_dir(&archive).unwrap();
    std::fs::rename(&aside, &archive).unwrap();
    said_to_be(&hub, true).await;
    assert_eq!(get(&hub, &items[0]).await.0, 200);
    assert_eq!(ask(&hub, Method::POST, &past, Some(json!(2))).await.0, 201);
    // And gone while the hub runs.
    std::fs::rename(&archive, &aside).unwrap();
    said_to_be(&hub, false).await;
    let (status, body) = get(&hub, "/channel/c/2013/01/03?epoch=ALL").await;
    assert_eq!(status, 503, "{body}");
}

/// A list with contents that cannot begin is no 200 that breaks off: it says which object is damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_that_begin_with_a_damaged_object_are_503() {
    let archive = tempfile::tempdir().unwrap();
    let (mut hub, items) = filled(archive.path()).await;
    hub.stop().await.unwrap();
    let store = Store::in_folder(archive.path()).unwrap();
    let names = store.all_names("").await.unwrap();
    let first = names.iter().find(|name| name.contains("030405006-"));
    let first = first.unwrap();
    let path = archive.path().join(first);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    hub.start().await.unwrap();
    for path in [
        "/channel/c/2013/01/02?bulk=true&epoch=ALL",
        "/channel/c/2013/01/02?batch=true&epoch=ALL",
        "/channel/c/earliest/2?bulk=true&epoch=MUTABLE",
        "/channel/c/2013/01/01/00/00/00/000/A/next/2?bulk=true&epoch=ALL",
    ] {
        let (status, body) = get(&hub, path).await;
        assert_eq!(status, 503, "{path}: {body}");
        assert!(
            body["reason"].to_string().contains(first.as_str()),
            "{body}"
        );
    }
    let url = format!("{}/metrics", hub.ops_url());
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let counted = "hub_archive_unreadable_total{what=\"damaged\"}";
    assert!(metrics.contains(counted), "{metrics}");
    // The other one is whole.
    assert_eq!(get(&hub, &items[1]).await.0, 200);
}
