//! The ring history in ZooKeeper.

use std::time::Duration;

use hub::cluster::{Coordination, CoordinationError};
use hub_ring::{Placement, RingHistory, RingMap};

use crate::harness::{Server, connect, fresh, member, register, shared, until};

fn first(name: &str) -> RingHistory {
    let mut history = RingHistory::new();
    let map = RingMap::in_force(1, 5, [member(name)], Placement::default());
    history.announce(map.unwrap()).unwrap();
    history
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_change_the_rings_one_does() {
    let (server, cluster) = (shared(), fresh("cas"));
    let (a, b) = (connect(server, &cluster, 1), connect(server, &cluster, 2));
    register(&*a, "a").await;
    register(&*b, "b").await;
    let version = a.rings().await.unwrap().version;
    assert_eq!(b.rings().await.unwrap().version, version);
    let next = a.replace_rings(version, &first("a")).await.unwrap();
    let late = b.replace_rings(version, &first("b")).await;
    assert_eq!(late, Err(CoordinationError::Conflict));
    let seen = b.watch_rings();
    until("b sees it", || seen.borrow().version == next).await;
    assert_eq!(*seen.borrow().history, first("a"));
    assert_eq!(b.confirm(version).await, Err(CoordinationError::Conflict));
    let theirs = b.confirm(next).await.unwrap();
    let ours = crate::harness::clock().now();
    assert!((theirs.get() - ours.get()).abs() < 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_goes_from_one_to_the_next() {
    let (server, cluster) = (shared(), fresh("lock"));
    let (a, b) = (connect(server, &cluster, 1), connect(server, &cluster, 2));
    register(&*a, "a").await;
    register(&*b, "b").await;
    let held = a.lock_keeper().await.unwrap();
    let (members, rings) = held.observe().await.unwrap();
    assert_eq!(members.len(), 2);
    let waiting = tokio::spawn({
        let b = std::sync::Arc::clone(&b);
        async move { b.lock_keeper().await }
    });
    // One that gives up waiting does not get in the way later.
    let given_up = tokio::time::timeout(Duration::from_millis(200), b.lock_keeper()).await;
    assert!(given_up.is_err() && !waiting.is_finished());
    held.replace_rings(rings.version, &first("a"))
        .await
        .unwrap();
    drop(held);
    let next = waiting.await.unwrap().unwrap();
    let (_, rings) = next.observe().await.unwrap();
    assert_eq!(*rings.history, first("a"));
    drop(next);
    let again = tokio::time::timeout(Duration::from_secs(2), a.lock_keeper()).await;
    again.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_lock_writes_nothing() {
    let (server, cluster) = (shared(), fresh("fence"));
    let a = connect(server, &cluster, 1);
    register(&*a, "a").await;
    let held = a.lock_keeper().await.unwrap();
    let (_, rings) = held.observe().await.unwrap();
    let other = server.client().await;
    let lock = format!("/{cluster}/locks/keeper");
    other.delete(&lock, None).await.unwrap();
    let late = held.replace_rings(rings.version, &first("a")).await;
    assert_eq!(late, Err(CoordinationError::Conflict));
    assert!(held.observe().await.is_err());
}

/// A leader that its followers have left goes on answering questions for a while; it confirms
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_followers_confirms_nothing() {
    let servers = tokio::task::block_in_place(Server::start_three);
    let (leader, followers): (Vec<Server>, Vec<Server>) =
        tokio::task::block_in_place(|| servers.into_iter().partition(Server::leads));
    let cluster = fresh("deposed");
    let a = connect(&leader[0], &cluster, 1);
    register(&*a, "a").await;
    let version = a.rings().await.unwrap().version;
    a.confirm(version).await.unwrap();
    let asking = leader[0].client().await;
    for follower in &followers {
        follower.signal("STOP");
    }
    let path = format!("/{cluster}/rings");
    let answered = async {
        asking.sync(&path).await.unwrap();
        asking.get_data(&path).await.unwrap()
    };
    let answered = tokio::time::timeout(Duration::from_millis(900), answered).await;
    println!("a question was answered by it: {}", answered.is_ok());
    let confirmed = a.confirm(version).await;
    let unavailable = matches!(confirmed, Err(CoordinationError::Unavailable { .. }));
    assert!(unavailable, "{confirmed:?}");
    for follower in &followers {
        follower.signal("CONT");
    }
    for _ in 0..100 {
        if a.confirm(version).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it never confirms again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_server_was_away_is_read_again() {
    let server = tokio::task::block_in_place(Server::start);
    let cluster = fresh("relist");
    let a = connect(&server, &cluster, 1);
    register(&*a, "a").await;
    let (seen, link) = (a.watch_rings(), a.link());
    let version = a.rings().await.unwrap().version;
    let mut news = a.watch_channels();
    server.kill();
    until("it knows", || !link.borrow().connected).await;
    assert!(a.confirm(version).await.is_err());
    // Once that has lasted nobody waits for it: of many, each would wait for those before it.
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert!(a.channel("x").await.is_err());
    }
    crate::harness::in_time(began.elapsed(), Duration::from_millis(200));
    tokio::task::block_in_place(|| server.run());
    until("it is back", || link.borrow().connected).await;
    let told = tokio::time::timeout(Duration::from_secs(5), news.recv()).await;
    assert_eq!(told.unwrap().unwrap(), hub::cluster::ChannelNews::Relist);
    let b = connect(&server, &cluster, 2);
    register(&*b, "b").await;
    b.replace_rings(version, &first("b")).await.unwrap();
    until("watches are there again", || {
        seen.borrow().version > version
    })
    .await;
}
