//! Minutes: what a cluster writes, whoever is away.

use std::time::Duration;

use cluster_tests::cluster::Cluster;
use cluster_tests::failure::{Failure, ensure};
use cluster_tests::hub::Hub;
use cluster_tests::metrics::Metrics;
use cluster_tests::s3::S3;
use cluster_tests::scenarios::on;
use cluster_tests::wait::until;
use hub::archive::name::Object;
use hub::archive::store::{MARKER, Store, Which};
use reqwest::Method;

use crate::{PATIENCE, fill, insert, items_of, key_of};

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
    // another one takes over, both may put a minute: the later put is refused. So it is with what says which
    // archive it is, which is put by each of three that start together.
    let most = names.len() as f64 + 3.0 + 2.0;
    assert!(puts <= most, "{puts} puts of {names:#?}");
    names.retain(|name| name != MARKER);
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
        let why = (check["ok"] == false).then(|| check["why"].to_string())?;
        // At first that it does not answer; then of the minute in which the ring began, where a read asks it too.
        assert!(why.contains(MARKER) || why.contains("\"c: "), "{why}");
        why.contains("\"c: ").then_some(why)
    });
    let told = told.await.unwrap();
    assert!(told.contains("the archive did not "), "{told}");
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
    let mut names = store.all_names("").await.unwrap();
    names.retain(|name| name != MARKER);
    assert_eq!(names.len(), 1, "{names:?}");
    let object = store.read(&names[0], Which::All).await.unwrap().unwrap();
    let items = items_of(&object.bytes);
    assert_eq!(
        items,
        [(key_of(&location).to_owned(), None, "first".into())]
    );
}
