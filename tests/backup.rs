//! Backups of running hubs, made and restored by the command: a cluster on a server that speaks S3, and a hub
//! alone, with whoever backs up or restores killed at any moment.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use bytes::Bytes;
use cluster_tests::client::{Answer, Client};
use cluster_tests::cluster::Cluster;
use cluster_tests::command::HubCommand;
use cluster_tests::failure::{Failure, Outcome, ensure};
use cluster_tests::folder::Folder;
use cluster_tests::hub::Hub;
use cluster_tests::item::Key;
use cluster_tests::metrics::Metrics;
use cluster_tests::s3::S3;
use cluster_tests::scenarios::on;
use cluster_tests::wait::until;
use hub::archive::store::{Patience, Store, Which};
use reqwest::Method;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);

/// An item: its channel, its key and its bytes.
type Item = (&'static str, Key, Bytes);

async fn put(client: &Client, path: &str, body: &Value) -> Outcome<()> {
    let request = client.request(Method::PUT, path);
    let request = request.header("Content-Type", "application/json");
    let answer = request.body(body.to_string()).send().await;
    let status = answer.map_err(|error| Failure(error.to_string()))?.status();
    ensure(status.is_success(), || format!("{path}: {status}"))
}

/// Makes channels of every kind, with items.
async fn fill(client: &Client) -> Outcome<Vec<Item>> {
    let mut items = Vec::new();
    for (channel, storage) in [("batch", "BATCH"), ("single", "SINGLE"), ("both", "BOTH")] {
        let config = json!({"storage": storage, "owner": "tests", "ttlDays": 7});
        put(client, &format!("/channel/{channel}"), &config).await?;
        for number in 0..10u8 {
            let kind = [None, Some("text/plain")][usize::from(number % 2)];
            let size = [0, 10, 300_000][usize::from(number % 3)];
            let body = Bytes::from(vec![b'a' + number; size]);
            let answer = client.insert_bytes(channel, kind, None, body.clone());
            match answer.await {
                Answer::Acked(key) => items.push((channel, key, body)),
                other => return Err(Failure(format!("{channel}: {other:?}"))),
            }
        }
    }
    let path = "/channel/batch/doc";
    let answer = client.request(Method::PUT, path).body("# Batch").send();
    let status = answer
        .await
        .map_err(|error| Failure(error.to_string()))?
        .status();
    ensure(status.is_success(), || format!("{path}: {status}"))?;
    Ok(items)
}

/// Reads every item by its key.
async fn all_there(client: &Client, items: &[Item]) -> Outcome<()> {
    for (channel, key, body) in items {
        let path = format!("/channel/{channel}/{key}");
        let (status, came) = client.send(Method::GET, &path).await?;
        ensure(status == 200 && came == *body, || {
            format!("{path}: {status} with {} bytes", came.len())
        })?;
    }
    Ok(())
}

/// What a hub says of its channels, as a backup holds it.
async fn state(hub: &Hub) -> Outcome<Value> {
    let ops = Client::new(&hub.ops_url());
    let (status, body) = ops.send(Method::GET, "/internal/backup").await?;
    let told = String::from_utf8_lossy(&body);
    ensure(status == 200, || {
        format!("/internal/backup: {status} {told}")
    })?;
    let body: Value = serde_json::from_slice(&body).map_err(|error| Failure(error.to_string()))?;
    Ok(body["state"]["channels"].clone())
}

const CREATE: [&str; 6] = [
    "backup",
    "create",
    "--with-items",
    "--wait",
    "300",
    "--json",
];
const RESTORE: [&str; 3] = ["backup", "restore", "--json"];

/// A cluster is lost with its ZooKeeper and its archive, and put back from another bucket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_comes_back_from_another_bucket() {
    let server = S3::start().await.unwrap();
    for bucket in ["archive", "elsewhere", "new"] {
        server.bucket(bucket).await.unwrap();
    }
    let mut cluster = Cluster::new(3)
        .unwrap()
        .with("HUB_ARCHIVE_URL", "s3://archive/hub")
        .with("HUB_BACKUP_URL", "s3://elsewhere/hub")
        .with("HUB_ARCHIVE_SETTLE_SECONDS", 1);
    for (name, value) in server.variables() {
        cluster.set(&name, value);
    }
    let patience = Patience {
        request: Duration::from_secs(10),
        retry: Duration::from_secs(30),
    };
    let place = Store::of_url("s3://elsewhere/hub", &server.variables(), patience).unwrap();
    let ran = on(cluster, async |cluster| {
        let start = "start zk; wait until zk ready; start all; wait until all ready";
        cluster.play(start).await?;
        let items = fill(&cluster.client()).await?;
        let before = state(cluster.hub(1)?).await?;
        let command = cluster.hub(1)?.command();
        let made = command.json(&CREATE).await?;
        ensure(made["channels"] == 3, || made.to_string())?;
        // While it runs, nothing is restored into it.
        let told = command.refused(&RESTORE).await?;
        ensure(
            told.contains("nothing was restored: the hub has 3 channels"),
            || told,
        )?;

        cluster
            .play("kill all; kill zk; wipe all; wipe zk; start zk; wait until zk ready")
            .await?;
        cluster.set("HUB_ARCHIVE_URL", "s3://new/hub");
        let command = cluster.hub(1)?.command();

        // One copy is broken: it is named, and no hub starts on what is there.
        let names = place.all_names("objects").await.unwrap();
        let name = names.iter().min().unwrap();
        let whole = place.read(name, Which::All).await.unwrap().unwrap().bytes;
        let mut broken = whole.to_vec();
        broken[10] ^= 1;
        place.replace(name, broken.into()).await.unwrap();
        for line in [&["backup", "verify"][..], &RESTORE] {
            let told = command.refused(line).await?;
            ensure(told.contains(name), || format!("{name}: {told}"))?;
        }
        place.replace(name, whole).await.unwrap();
        cluster.play("start 1").await?;
        let ended = until("the hub does not start", PATIENCE, async || {
            cluster.casualties().pop()
        });
        let Failure(told) = ended.await?;
        let why = "the hub is being restored, and that is not done";
        ensure(told.contains(why), || told.clone())?;
        cluster.play("wipe 1").await?;

        let restored = command.json(&RESTORE).await?;
        ensure(restored["objects"] == made["objects"], || {
            restored.to_string()
        })?;
        cluster.play("start all; wait until all ready").await?;
        for number in cluster.numbers() {
            all_there(&cluster.hub(number)?.client(), &items).await?;
        }
        let after = state(cluster.hub(1)?).await?;
        ensure(before == after, || format!("{before}\n{after}"))?;

        // What is changed keeps its number, and what is made anew has a greater one.
        let client = cluster.client();
        put(&client, "/channel/batch", &json!({"ttlDays": 8})).await?;
        let (status, _) = client.send(Method::DELETE, "/channel/both").await?;
        ensure(status == 202 || status == 200, || {
            format!("DELETE: {status}")
        })?;
        put(&client, "/channel/both", &json!({"ttlDays": 8})).await?;
        let later = state(cluster.hub(2)?).await?;
        ensure(later[0]["id"] == before[0]["id"], || later.to_string())?;
        ensure(later[1]["id"].as_str() > before[2]["id"].as_str(), || {
            later.to_string()
        })?;
        all_there(&client, &items[..20]).await?;
        let answer = client
            .insert_bytes("batch", None, None, Bytes::from_static(b"new"))
            .await;
        ensure(matches!(answer, Answer::Acked(_)), || format!("{answer:?}"))
    });
    ran.await.unwrap();
}

/// Begins a command, and kills it after that long, unless it has ended by itself; says whether it has, well.
async fn killed(command: &HubCommand, line: &[&str], after: Duration) -> Outcome<bool> {
    let mut child = command.begin(line)?;
    match tokio::time::timeout(after, child.wait()).await {
        Ok(status) => {
            let status = status?;
            ensure(status.success(), || {
                format!("hub {}: {status}", line.join(" "))
            })?;
            Ok(true)
        }
        Err(_) => {
            child.kill().await?;
            Ok(false)
        }
    }
}

/// The rules for Prometheus do what their own tests say.
#[test]
fn alerts_are_raised_when_they_should_be() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/promtool.sh");
    let found = std::process::Command::new(script).output().unwrap();
    assert!(found.status.success(), "{found:?}");
    let promtool = String::from_utf8(found.stdout).unwrap();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/config/alerts.test.yml");
    let tested = std::process::Command::new(promtool.trim())
        .args(["test", "rules", rules])
        .output();
    let output = tested.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

/// Whoever backs up or restores may be killed at any moment, and two may back up at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_killed_leaves_nothing_that_is_taken_for_whole() {
    let folder = Folder::temporary("hub-backup-").unwrap();
    let place = folder.path().join("place");
    let mut hub = Hub::new()
        .unwrap()
        .with("HUB_ARCHIVE_SETTLE_SECONDS", 1)
        .with("HUB_BACKUP_URL", format!("file://{}", place.display()));
    hub.start().await.unwrap();
    let items = fill(&hub.client()).await.unwrap();
    let before = state(&hub).await.unwrap();
    let command = hub.command();

    // Only administrators are told everything, and only where they ask.
    let (status, _) = hub
        .client()
        .send(Method::GET, "/internal/backup")
        .await
        .unwrap();
    assert_eq!(status, 403);
    let waited = command.json(&CREATE).await.unwrap();
    assert_eq!(waited["channels"], 3);
    std::fs::remove_dir_all(&place).unwrap();

    let create = ["backup", "create", "--with-items", "--json"];
    let mut ended = 0;
    for round in 0.. {
        ended += u32::from(
            killed(&command, &create, Duration::from_millis(3 * round))
                .await
                .unwrap(),
        );
        // Killed before it came to its place.
        if !place.exists() {
            continue;
        }
        let listed = command.json(&["backup", "list", "--json"]).await.unwrap();
        let listed = listed.as_array().unwrap();
        assert!(
            listed.iter().all(|backup| backup["damaged"].is_null()),
            "{listed:?}"
        );
        if !listed.is_empty() {
            command
                .json(&["backup", "verify", "--all", "--json"])
                .await
                .unwrap();
        }
        if ended == 2 {
            break;
        }
    }
    let (one, other) = tokio::join!(command.json(&create), command.json(&create));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one["id"], other["id"]);
    assert_eq!(
        (&one["bytes"], &one["items"]),
        (&other["bytes"], &other["items"])
    );
    command
        .json(&["backup", "verify", "--all", "--json"])
        .await
        .unwrap();
    // The locks of those that were killed keep everything for half an hour.
    let told = command.refused(&["backup", "prune"]).await.unwrap();
    assert!(told.contains("a backup is being made"), "{told}");

    // The node that looks there tells of it.
    hub.stop().await.unwrap();
    hub.start().await.unwrap();
    let client = hub.client();
    let seen = until("the newest backup is told of", PATIENCE, async || {
        let metrics = Metrics::of(&client).await.ok()?;
        let seen = metrics.sum("hub_backup_place_seen", &[]) > 0.5;
        seen.then(|| metrics.sum("hub_backup_bytes", &[]))
    });
    assert_eq!(Some(seen.await.unwrap() as u64), one["bytes"].as_u64());

    // And the alerts go by what it tells.
    let metrics = Metrics::of(&client).await.unwrap();
    let rules = include_str!("../config/alerts.yml");
    let exprs = rules
        .lines()
        .filter(|line| line.trim().starts_with("expr: "));
    let words = exprs.flat_map(|line| line.split(|c: char| !c.is_ascii_lowercase() && c != '_'));
    let names: Vec<&str> = words.filter(|word| word.starts_with("hub_")).collect();
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        assert!(metrics.has(name), "{name}");
    }

    hub.kill().unwrap();
    hub.wipe().unwrap();
    for round in 0.. {
        match killed(&command, &RESTORE, Duration::from_millis(3 * round)).await {
            Ok(false) => {}
            Ok(true) => break,
            Err(_) => {
                // The one before had done it all when it was killed.
                let told = command.refused(&RESTORE).await.unwrap();
                assert!(told.contains("the hub has 3 channels"), "{told}");
                break;
            }
        }
    }
    hub.start().await.unwrap();
    assert_eq!(state(&hub).await.unwrap(), before);
    all_there(&hub.client(), &items).await.unwrap();
    // It is not empty any more.
    hub.stop().await.unwrap();
    let told = command.refused(&RESTORE).await.unwrap();
    assert!(told.contains("the data folder is not empty"), "{told}");
}
