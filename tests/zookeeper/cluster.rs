//! Clusters in one process: rings come about, change, and stay as they are.

use std::sync::Arc;
use std::time::Duration;

use hub::cluster::Coordination;
use hub_ring::{Placement, RingHistory, RingMap};

use crate::harness::{Net, Node, Server, fresh, member, policy, shared, until};

async fn three(server: &Server, cluster: &str, net: &Arc<Net>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(server, cluster, name, net).await);
    }
    for node in &nodes {
        let joined = tokio::time::timeout(Duration::from_secs(20), node.cluster.joined());
        joined.await.unwrap();
    }
    nodes
}

fn names(history: &RingHistory) -> Vec<&str> {
    let members = history.newest().map_or(&[][..], RingMap::members);
    members.iter().map(hub_ring::Member::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_form_a_ring_and_a_fourth_joins_by_one_change() {
    let (server, cluster, net) = (shared(), fresh("join"), Arc::new(Net::default()));
    let nodes = three(server, &cluster, &net).await;
    assert_eq!(nodes[0].mark(), (1, true));
    assert_eq!(names(&nodes[0].history()), ["a", "b", "c"]);
    let before = nodes[0].coordination.rings().await.unwrap().version;
    let fourth = Node::start(server, &cluster, "d", &net).await;
    let joined = tokio::time::timeout(Duration::from_secs(20), fourth.cluster.joined());
    joined.await.unwrap();
    for node in nodes.iter().chain([&fourth]) {
        until("all have it", || node.mark() == (2, true)).await;
        assert_eq!(names(&node.history()), ["a", "b", "c", "d"]);
    }
    let after = nodes[0].coordination.rings().await.unwrap().version;
    assert_eq!(after - before, 2, "an announcement, and its time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_nothing_and_a_long_absence_does() {
    let (server, cluster, net) = (shared(), fresh("away"), Arc::new(Net::default()));
    let mut nodes = three(server, &cluster, &net).await;
    // Away for longer than ring.away and less than the grace.
    nodes.remove(2).stop().await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let back = Node::start(server, &cluster, "c", &net).await;
    let joined = tokio::time::timeout(Duration::from_secs(20), back.cluster.joined());
    joined.await.unwrap();
    assert_eq!((back.mark(), nodes[0].mark()), ((1, true), (1, true)));
    assert_eq!(nodes[0].history().maps().len(), 1);
    back.stop().await;
    until("it is left out", || nodes[0].mark() == (2, true)).await;
    assert_eq!(names(&nodes[0].history()), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_left_by_its_keeper_is_completed_by_another() {
    let (server, cluster, net) = (shared(), fresh("left"), Arc::new(Net::default()));
    let nodes = three(server, &cluster, &net).await;
    let before = nodes[0].horizon();
    until("the horizon moves", || nodes[0].horizon() > before).await;
    // A keeper that dies between the two writes, and its lock stays: one that nobody gives back.
    let raw = server.client().await;
    let lock = format!("/{cluster}/locks/keeper");
    loop {
        let _ = raw.delete(&lock, None).await;
        let mode = zookeeper_client::CreateMode::Persistent;
        let mode = mode.with_acls(zookeeper_client::Acls::anyone_all());
        if raw.create(&lock, b"", &mode).await.is_ok() {
            break;
        }
    }
    let stranger = crate::harness::connect(server, &cluster, 77);
    let rings = nodes[0].coordination.rings().await.unwrap();
    let mut history = RingHistory::clone(&rings.history);
    let members = ["a", "b", "c", "z"].map(member);
    let map = RingMap::announced(2, members, Placement::default()).unwrap();
    history.announce(map).unwrap();
    stranger
        .replace_rings(rings.version, &history)
        .await
        .unwrap();
    until("it is completed", || {
        nodes.iter().all(|node| node.mark() == (2, true))
    })
    .await;
    let from = nodes[0].history().newest().unwrap().from_millis().unwrap();
    let lease = policy().lease_millis;
    let now = crate::harness::clock().now().get();
    assert!(from > now - 2_000 && from <= now + lease + policy().max_skew_millis);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_zookeeper_members_vouch_for_each_other() {
    let server = tokio::task::block_in_place(Server::start);
    let (cluster, net) = (fresh("vouch"), Arc::new(Net::default()));
    let nodes = three(&server, &cluster, &net).await;
    server.kill();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for node in &nodes {
        let before = node.horizon();
        let now = crate::harness::clock().now().get();
        assert!(before > now, "it goes on without ZooKeeper");
        until("it moves", || node.horizon() > before + 1_000).await;
    }
    // One that nobody reaches stops them all within the lease.
    net.gone.lock().insert(member("c"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let still: Vec<i64> = nodes.iter().map(Node::horizon).collect();
    let now = crate::harness::clock().now().get();
    assert!(still.iter().all(|&horizon| horizon < now));
    tokio::task::block_in_place(|| server.run());
    for (node, still) in nodes.iter().zip(still) {
        until("ZooKeeper lets them go on", || {
            node.horizon() > still + 2_000
        })
        .await;
    }
    // The ring has not changed: its members were there all the time.
    assert!(nodes.iter().all(|node| node.mark() == (1, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_zookeeper_is_given_the_rings_again() {
    let (server, cluster, net) = (shared(), fresh("lost"), Arc::new(Net::default()));
    let nodes = three(server, &cluster, &net).await;
    let held = nodes[0].history();
    // Somebody brings back what was there before the first ring.
    let client = server.client().await;
    client
        .set_data(&format!("/{cluster}/rings"), b"", None)
        .await
        .unwrap();
    let mut found = nodes[0].coordination.watch_rings();
    let published = found.wait_for(|rings| rings.history.mark() == held.mark());
    let published = tokio::time::timeout(Duration::from_secs(10), published);
    published.await.unwrap().unwrap();
    assert!(nodes.iter().all(|node| node.history() == held));
    horizons_move(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rings_that_somebody_has_deleted_are_made_again() {
    let (server, cluster, net) = (shared(), fresh("gone"), Arc::new(Net::default()));
    let nodes = three(server, &cluster, &net).await;
    let client = server.client().await;
    let path = format!("/{cluster}/rings");
    client.delete(&path, None).await.unwrap();
    let made = async {
        loop {
            match nodes[0].coordination.rings().await {
                Ok(rings) if !rings.history.is_empty() => return rings.history,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(10), made).await;
    assert_eq!(made.unwrap(), nodes[0].history());
    horizons_move(&nodes).await;
    assert_eq!(nodes[0].mark(), (1, true));
}

/// Waits until each node has confirmed its history more than once from here on.
async fn horizons_move(nodes: &[Node]) {
    let lease = policy().lease_millis;
    let before: Vec<i64> = nodes.iter().map(Node::horizon).collect();
    for (node, before) in nodes.iter().zip(before) {
        until("its horizon moves", || node.horizon() > before + 2 * lease).await;
    }
}

/// A copy of ZooKeeper's data may be older by a note that changes no ring.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_the_same_rings_with_fewer_notes_is_published_again() {
    let (server, cluster, net) = (shared(), fresh("notes"), Arc::new(Net::default()));
    let nodes = three(server, &cluster, &net).await;
    let (copy, held) = loop {
        let copy = nodes[0].coordination.rings().await.unwrap();
        let mut history = RingHistory::clone(&copy.history);
        history.decommission(member("z"), 1);
        let writing = nodes[0].coordination.replace_rings(copy.version, &history);
        if writing.await.is_ok() {
            break (copy.history, history.mark());
        }
    };
    assert!(!held.knows_newer_ring_than(copy.mark()) && held > copy.mark());
    until("all hold the note", || {
        nodes.iter().all(|node| node.history().mark() >= held)
    })
    .await;
    let client = server.client().await;
    let path = format!("/{cluster}/rings");
    let bytes = copy.encode().unwrap();
    client.set_data(&path, &bytes, None).await.unwrap();
    let mut found = nodes[0].coordination.watch_rings();
    let published = found.wait_for(|rings| rings.history.mark() >= held);
    let published = tokio::time::timeout(Duration::from_secs(10), published);
    published.await.unwrap().unwrap();
    horizons_move(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_off_says_nothing() {
    let (server, cluster, net) = (shared(), fresh("clock"), Arc::new(Net::default()));
    let a = Node::start(server, &cluster, "a", &net).await;
    let b = Node::start(server, &cluster, "b", &net).await;
    let c = Node::start_ahead(server, &cluster, "c", &net, 3_000).await;
    for node in [&a, &b] {
        let joined = tokio::time::timeout(Duration::from_secs(20), node.cluster.joined());
        joined.await.unwrap();
    }
    let standing = c.cluster.clock_standing();
    until("it is seen", || !standing.borrow().within_bounds).await;
    let behind = standing.borrow().behind_millis;
    assert!((-3_100..-2_700).contains(&behind), "{behind}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(c.mark(), (1, true), "it is in the ring all the same");
    assert_eq!(c.horizon(), hub::env::Millis::MIN.get());
    for node in [&a, &b] {
        assert!(node.cluster.clock_standing().borrow().within_bounds);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_started_with_a_wrong_clock_joins_once_that_is_set_right() {
    let (server, cluster, net) = (shared(), fresh("set"), Arc::new(Net::default()));
    let hours = 3 * 3_600_000;
    let _a = Node::start(server, &cluster, "a", &net).await;
    let _b = Node::start(server, &cluster, "b", &net).await;
    let c = Node::start_ahead(server, &cluster, "c", &net, hours).await;
    let standing = c.cluster.clock_standing();
    until("it is seen", || !standing.borrow().within_bounds).await;
    let mut joining = Box::pin(c.cluster.joined());
    let early = tokio::time::timeout(Duration::from_secs(1), &mut joining).await;
    assert!(early.is_err());
    c.ahead.store(0, std::sync::atomic::Ordering::Relaxed);
    let joined = tokio::time::timeout(Duration::from_secs(20), joining).await;
    joined.unwrap();
    assert!(standing.borrow().within_bounds);
    let now = crate::harness::clock().now().get();
    let lease = policy().lease_millis;
    assert!(
        c.horizon() <= now + lease,
        "no horizon of the clock as it was"
    );
}

/// Nobody else is up, so ZooKeeper is all there is to tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_alone_is_told_of_its_clock_by_zookeeper() {
    let (server, cluster, net) = (shared(), fresh("told"), Arc::new(Net::default()));
    let stranger = crate::harness::connect(server, &cluster, 77);
    crate::harness::register(&*stranger, "z").await;
    let rings = stranger.rings().await.unwrap();
    let mut history = RingHistory::new();
    let now = crate::harness::clock().now().get();
    let map = RingMap::in_force(
        1,
        now - 60_000,
        ["a", "b"].map(member),
        Placement::default(),
    );
    history.announce(map.unwrap()).unwrap();
    let map = RingMap::announced(2, ["a", "b", "c"].map(member), Placement::default());
    history.announce(map.unwrap()).unwrap();
    let version = stranger
        .replace_rings(rings.version, &history)
        .await
        .unwrap();
    // It would give the announced ring a time by its own clock.
    let hours = 3 * 3_600_000;
    let a = Node::start_ahead(server, &cluster, "a", &net, hours).await;
    let standing = a.cluster.clock_standing();
    until("it is seen", || !standing.borrow().within_bounds).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stranger.rings().await.unwrap().version, version);
    a.ahead.store(0, std::sync::atomic::Ordering::Relaxed);
    let joined = tokio::time::timeout(Duration::from_secs(20), a.cluster.joined());
    joined.await.unwrap();
    let from = a.history().map(2).unwrap().from_millis().unwrap();
    let now = crate::harness::clock().now().get();
    assert!(from < now + policy().lease_millis + policy().max_skew_millis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_was_broken_off_is_completed_when_it_is_asked_for_again() {
    let (server, cluster, net) = (shared(), fresh("recover"), Arc::new(Net::default()));
    let stranger = crate::harness::connect(server, &cluster, 77);
    crate::harness::register(&*stranger, "z").await;
    let rings = stranger.rings().await.unwrap();
    // Ring 1 is gone as a whole, and who announced ring 2 has ended before it gave it its time.
    let mut history = RingHistory::new();
    let now = crate::harness::clock().now().get();
    let map = RingMap::in_force(1, now - 60_000, [member("a")], Placement::default());
    history.announce(map.unwrap()).unwrap();
    let map = RingMap::announced(2, [member("d")], Placement::default());
    history.announce(map.unwrap()).unwrap();
    history.declare_lost([member("a")]);
    stranger
        .replace_rings(rings.version, &history)
        .await
        .unwrap();
    let d = Node::start(server, &cluster, "d", &net).await;
    until("it knows the ring", || d.mark() == (2, false)).await;
    let lost = std::collections::BTreeSet::from([member("a")]);
    let made = d.cluster.recover(&lost, Some(2)).await.unwrap();
    assert!(made.from_millis().is_some());
    let joined = tokio::time::timeout(Duration::from_secs(20), d.cluster.joined());
    joined.await.unwrap();
}
