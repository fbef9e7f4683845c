//! Channels in ZooKeeper.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub::channel::Channels;
use hub::channel::config::{ConfigUpdate, Defaults};
use hub::cluster::{ChannelBook as _, ChannelNews, Coordination, CoordinationError};

use crate::harness::{Server, connect, fresh, in_time, register, shared, until};

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_compared_and_set() {
    let (server, cluster) = (shared(), fresh("channels"));
    let a = connect(server, &cluster, 1);
    register(&*a, "a").await;
    assert_eq!(a.channel("c").await, Ok(None));
    let made = a.create_channel("c", b"1".to_vec(), None).await.unwrap();
    let again = a.create_channel("c", b"2".to_vec(), None).await;
    assert_eq!(again, Err(CoordinationError::Exists));
    let wrong = a
        .replace_channel("c", made.version + 7, b"2".to_vec())
        .await;
    assert_eq!(wrong, Err(CoordinationError::Conflict));
    let next = a
        .replace_channel("c", made.version, b"2".to_vec())
        .await
        .unwrap();
    assert_eq!((next.id, next.version > made.version), (made.id, true));
    assert_eq!(a.channel("c").await.unwrap().unwrap(), next);
    let missing = a.replace_channel("d", 0, Vec::new()).await;
    assert_eq!(missing, Err(CoordinationError::Missing));
    assert_eq!(a.delete_channel("d").await, Err(CoordinationError::Missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_used_again_has_a_greater_number_and_no_document() {
    let (server, cluster) = (shared(), fresh("again"));
    let a = connect(server, &cluster, 1);
    register(&*a, "a").await;
    let made = a.create_channel("c", b"1".to_vec(), None).await.unwrap();
    let set = |text: Option<&str>| a.set_document("c", text.map(str::to_owned));
    assert_eq!(set(None).await, Ok(false));
    assert_eq!(set(Some("# A")).await, Ok(false));
    assert_eq!(set(Some("# B")).await, Ok(true));
    assert_eq!(a.document("c").await.unwrap().as_deref(), Some("# B"));
    a.delete_channel("c").await.unwrap();
    assert_eq!(a.document("c").await, Ok(None));
    assert_eq!(set(Some("# C")).await, Err(CoordinationError::Missing));
    let rests = a.tombstone("c").await.unwrap().unwrap();
    assert_eq!(rests.id, made.id);
    // Who has not seen that it was deleted does not make it.
    let blind = a.create_channel("c", b"2".to_vec(), None).await;
    assert_eq!(blind, Err(CoordinationError::Conflict));
    let anew = a
        .create_channel("c", b"2".to_vec(), Some(rests))
        .await
        .unwrap();
    assert!(anew.id > made.id);
    assert_eq!(a.tombstone("c").await, Ok(None));
    a.delete_channel("c").await.unwrap();
    let later = crate::harness::clock().now().plus(10_000);
    assert_eq!(a.forget_tombstones(later).await, Ok(1));
    assert_eq!(a.tombstone("c").await, Ok(None));
    // Their numbers stay until somebody says that nothing is left of them.
    let b = connect(server, &cluster, 2);
    let deleted = b.deleted_channels().await.unwrap();
    assert!(deleted.values().all(|at| *at < later));
    let ids: Vec<u64> = deleted.into_keys().collect();
    assert_eq!(ids, [made.id, anew.id]);
    b.forget_deleted(&[made.id, 7]).await.unwrap();
    let deleted = a.deleted_channels().await.unwrap();
    assert_eq!(deleted.into_keys().collect::<Vec<_>>(), [anew.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_within_a_second() {
    let (server, cluster) = (shared(), fresh("news"));
    let (a, b) = (connect(server, &cluster, 1), connect(server, &cluster, 2));
    register(&*a, "a").await;
    register(&*b, "b").await;
    let mut news = b.watch_channels();
    let began = Instant::now();
    let made = a.create_channel("c", b"1".to_vec(), None).await.unwrap();
    // After any news the channel is looked at. Mostly it is the news of the channel itself; after a
    // session that was interrupted it is that everything is to be looked at.
    let mut told = async |seen: &dyn Fn(Option<&[u8]>) -> bool| loop {
        let news = tokio::time::timeout(Duration::from_secs(30), news.recv());
        match news.await.unwrap().unwrap() {
            ChannelNews::Touched(name) => assert_eq!(name, "c"),
            ChannelNews::Relist => {}
        }
        let found = b.channel("c").await.unwrap();
        if seen(found.as_ref().map(|found| &*found.data)) {
            break;
        }
    };
    told(&|found| found == Some(b"1")).await;
    a.replace_channel("c", made.version, b"2".to_vec())
        .await
        .unwrap();
    told(&|found| found == Some(b"2")).await;
    a.delete_channel("c").await.unwrap();
    told(&|found| found.is_none()).await;
    in_time(began.elapsed(), Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_channels_are_read() {
    let (server, cluster) = (shared(), fresh("many"));
    let a = connect(server, &cluster, 1);
    register(&*a, "a").await;
    let names: Vec<String> = (0..2_000).map(|n| format!("channel-{n}")).collect();
    let made: Vec<_> = stream::iter(&names)
        .map(|name| a.create_channel(name, vec![b'x'; 200], None))
        .buffer_unordered(64)
        .try_collect()
        .await
        .unwrap();
    let began = Instant::now();
    let mut found = a.channels().await.unwrap();
    let took = began.elapsed();
    found.sort_by_key(|channel| channel.id);
    let mut made = made;
    made.sort_by_key(|channel| channel.id);
    assert_eq!(found, made);
    in_time(took, Duration::from_secs(10));
}

/// Channels as a node knows them.
async fn channels(
    coordination: &std::sync::Arc<hub::cluster::ZooKeeperCoordination>,
) -> std::sync::Arc<Channels> {
    let coordination = std::sync::Arc::clone(coordination);
    let loaded = Channels::load(coordination, crate::harness::clock(), Defaults::default()).await;
    let channels = loaded.unwrap();
    channels.set_rest(1_500);
    tokio::spawn(std::sync::Arc::clone(&channels).follow());
    channels
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channels_of_every_node_follow() {
    let (server, cluster) = (shared(), fresh("follow"));
    let (a, b) = (connect(server, &cluster, 1), connect(server, &cluster, 2));
    register(&*a, "a").await;
    register(&*b, "b").await;
    let (first, second) = (channels(&a).await, channels(&b).await);
    let update = |json: &str| ConfigUpdate::parse(json.as_bytes()).unwrap();
    let made = first.put("Clicks", &update("{}")).await.unwrap();
    let began = Instant::now();
    until("it is known", || second.get("clicks").is_some()).await;
    first
        .put("clicks", &update("{\"ttlDays\": 9}"))
        .await
        .unwrap();
    let days = || second.get("clicks").map(|channel| channel.config.ttl_days);
    until("its change is known", || days() == Some(9)).await;
    assert_eq!(first.digest(), second.digest());
    second.delete("clicks").await.unwrap();
    until("it is gone", || first.get("clicks").is_none()).await;
    in_time(began.elapsed(), Duration::from_secs(3));
    // The name rests before another channel may have it.
    let began = Instant::now();
    let anew = first.put("clicks", &update("{}")).await.unwrap();
    assert!(anew.id > made.id);
    assert!(
        began.elapsed() > Duration::from_millis(1_200),
        "{:?}",
        began.elapsed()
    );
    until("the new one is known", || {
        second.get("clicks").is_some_and(|c| c.id == anew.id)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_made_while_a_node_was_cut_off_are_known_afterwards() {
    let server = tokio::task::block_in_place(Server::start);
    let cluster = fresh("missed");
    let a = connect(&server, &cluster, 1);
    register(&*a, "a").await;
    let known = channels(&a).await;
    let link = a.link();
    server.kill();
    until("it knows", || !link.borrow().connected).await;
    let unknown = known.fetch("clicks").await;
    assert!(unknown.is_err(), "no answer is not a no: {unknown:?}");
    tokio::task::block_in_place(|| server.run());
    let b = connect(&server, &cluster, 2);
    register(&*b, "b").await;
    let other = channels(&b).await;
    let update = ConfigUpdate::parse(b"{}").unwrap();
    other.put("clicks", &update).await.unwrap();
    until("it is known", || known.get("clicks").is_some()).await;
}
