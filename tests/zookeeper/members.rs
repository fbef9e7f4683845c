//! Registrations: who is there, and what becomes of it when sessions end.

use std::time::Duration;

use hub::cluster::Coordination;
use zookeeper_client::Client;

use crate::harness::{Server, connect, fresh, member, record, register, settings, shared, until};

#[tokio::test(flavor = "multi_thread")]
async fn members_see_each_other_come_and_go() {
    let (server, cluster) = (shared(), fresh("members"));
    let (a, b) = (connect(server, &cluster, 1), connect(server, &cluster, 2));
    let first = register(&*a, "a").await;
    let second = register(&*b, "b").await;
    assert!(second > first, "a later run has a greater number");
    let seen = a.members();
    until("a sees both", || seen.borrow().len() == 2).await;
    let entry = seen.borrow().get(&member("b")).cloned().unwrap();
    assert_eq!((entry.incarnation, &*entry.public), (second, "b:8080"));
    // What a node says of itself changes; its run does not.
    let mut changed = record("b");
    changed.state = "ready".to_owned();
    assert_eq!(b.register(&member("b"), changed).await, Ok(second));
    until("a sees the change", || {
        seen.borrow()
            .get(&member("b"))
            .is_some_and(|b| b.state == "ready")
    })
    .await;
    b.deregister().await.unwrap();
    until("a sees it go", || seen.borrow().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_at_once_takes_its_place_over_and_keeps_it() {
    let (server, cluster) = (shared(), fresh("restart"));
    let watcher = connect(server, &cluster, 9);
    register(&*watcher, "w").await;
    // A run that was killed: its session lives on for a while.
    let root = Client::connector()
        .with_session_timeout(Duration::from_secs(2))
        .with_detached()
        .connect(&server.address())
        .await
        .unwrap();
    let root = root.chroot(format!("/{cluster}")).unwrap();
    let left = serde_json::json!({"run": "1", "record": record("a")});
    let mode = zookeeper_client::CreateMode::Ephemeral;
    let mode = mode.with_acls(zookeeper_client::Acls::anyone_all());
    let data = serde_json::to_vec(&left).unwrap();
    let (stat, _) = root.create("/members/a", &data, &mode).await.unwrap();
    drop(root);
    let a = connect(server, &cluster, 2);
    let run = register(&*a, "a").await;
    assert!(run.0 > u64::try_from(stat.czxid).unwrap());
    let seen = watcher.members();
    until("it is seen", || {
        seen.borrow()
            .get(&member("a"))
            .is_some_and(|a| a.incarnation == run)
    })
    .await;
    // The former session expires meanwhile.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(seen.borrow().get(&member("a")).unwrap().incarnation, run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_superseded_stops_for_good() {
    let (server, cluster) = (shared(), fresh("superseded"));
    let old = connect(server, &cluster, 1);
    register(&*old, "a").await;
    let version = old.rings().await.unwrap().version;
    old.confirm(version).await.unwrap();
    let new = connect(server, &cluster, 2);
    let run = register(&*new, "a").await;
    let link = old.link();
    until("it is told", || link.borrow().superseded == Some(run)).await;
    assert!(old.confirm(version).await.is_err());
    new.confirm(version).await.unwrap();
    // It does not take the place back.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        new.members()
            .borrow()
            .get(&member("a"))
            .unwrap()
            .incarnation,
        run
    );
    // Nor when the later one has gone: peers that have heard of that answer the former one no more.
    new.deregister().await.unwrap();
    let seen = old.members();
    until("the later one has gone", || seen.borrow().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(link.borrow().superseded, Some(run));
    assert!(seen.borrow().is_empty());
    assert!(old.confirm(version).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_expired_is_followed_by_another() {
    let server = tokio::task::block_in_place(Server::start);
    let cluster = fresh("expiry");
    let a = connect(&server, &cluster, 1);
    let run = register(&*a, "a").await;
    let (link, seen) = (a.link(), a.members());
    until("it sees itself", || seen.borrow().len() == 1).await;
    // Frozen for longer than the session lasts: the client gives it up.
    server.signal("STOP");
    until("it knows", || !link.borrow().connected).await;
    let refused = a.rings().await;
    assert!(refused.is_err(), "{refused:?}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.signal("CONT");
    until("it is back", || link.borrow().connected).await;
    // The same run, though by another session; and it stays, when the old session expires.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let b = connect(&server, &cluster, 2);
    register(&*b, "b").await;
    let seen = b.members();
    until("both are seen", || seen.borrow().len() == 2).await;
    assert_eq!(seen.borrow().get(&member("a")).unwrap().incarnation, run);
    let rings = a.rings().await.unwrap();
    a.confirm(rings.version).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_no_event() {
    let server = tokio::task::block_in_place(Server::start);
    let cluster = fresh("bounce");
    let settings = hub::cluster::ZooKeeperSettings {
        session_timeout: Duration::from_secs(20),
        ..settings(&server, &cluster, 1)
    };
    let a = hub::cluster::ZooKeeperCoordination::start(settings, crate::harness::clock());
    let run = register(&a, "a").await;
    let (link, seen) = (a.link(), a.members());
    until("it sees itself", || seen.borrow().len() == 1).await;
    server.kill();
    until("it knows", || !link.borrow().connected).await;
    tokio::task::block_in_place(|| server.run());
    until("it is back", || link.borrow().connected).await;
    assert_eq!(seen.borrow().get(&member("a")).unwrap().incarnation, run);
    let rings = a.rings().await.unwrap();
    a.confirm(rings.version).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_password_others_are_kept_out() {
    let (server, cluster) = (shared(), fresh("auth"));
    let with = hub::cluster::ZooKeeperSettings {
        auth: Some("hub:secret".to_owned()),
        ..settings(server, &cluster, 1)
    };
    let a = hub::cluster::ZooKeeperCoordination::start(with.clone(), crate::harness::clock());
    register(&a, "a").await;
    a.create_channel("c", b"1".to_vec(), None).await.unwrap();
    let b = hub::cluster::ZooKeeperCoordination::start(
        hub::cluster::ZooKeeperSettings { run: 2, ..with },
        crate::harness::clock(),
    );
    register(&b, "b").await;
    assert!(b.channel("c").await.unwrap().is_some());
    let stranger = server.client().await;
    let read = stranger.get_data(&format!("/{cluster}/rings")).await;
    assert_eq!(read.unwrap_err(), zookeeper_client::Error::NoAuth);
    let outside = connect(server, &cluster, 3);
    assert!(outside.register(&member("x"), record("x")).await.is_err());
    assert!(outside.link().borrow().why.contains("not authorized"));
}

/// A connection that is lost and comes back within the session brings no new watches by itself.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_the_same_session_hears_of_changes_again() {
    let (server, cluster) = (Server::start(), fresh("reconnect"));
    let mut patient = settings(&server, &cluster, 1);
    patient.session_timeout = Duration::from_secs(9);
    let a = hub::cluster::ZooKeeperCoordination::start(patient, crate::harness::clock());
    register(&a, "a").await;
    let link = a.link();
    server.signal("STOP");
    until("the connection is lost", || !link.borrow().connected).await;
    server.signal("CONT");
    until("it is back", || link.borrow().connected).await;
    let b = connect(&server, &cluster, 2);
    register(&*b, "b").await;
    let seen = a.members();
    until("a sees who came", || {
        seen.borrow().contains_key(&member("b"))
    })
    .await;
    let before = a.rings().await.unwrap();
    let rings = a.watch_rings();
    let history = hub_ring::RingHistory::clone(&before.history);
    let version = b.replace_rings(before.version, &history).await.unwrap();
    until("a sees the rings change", || {
        rings.borrow().version == version
    })
    .await;
    let mut news = a.watch_channels();
    b.create_channel("c", b"{}".to_vec(), None).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(5), news.recv()).await;
    assert!(
        heard.is_ok_and(|news| news.is_ok()),
        "a hears of the channel"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_is_about_to_leave() {
    let (server, cluster) = (shared(), fresh("leave"));
    let (a, b) = (connect(server, &cluster, 1), connect(server, &cluster, 2));
    register(&*a, "a").await;
    register(&*b, "b").await;
    let holds = |name: &str| Ok(Some(format!("{name}:8080")));
    assert_eq!(b.shutdown_lock().await, Ok(None));
    b.reset_shutdown_lock().await.unwrap();
    // Whoever has it has it, however often it asks.
    for _ in 0..2 {
        assert_eq!(a.lock_shutdown("a:8080").await, Ok(None));
        assert_eq!(b.lock_shutdown("b:8080").await, holds("a"));
        assert_eq!(a.shutdown_lock().await, holds("a"));
    }
    b.reset_shutdown_lock().await.unwrap();
    assert_eq!(b.lock_shutdown("b:8080").await, Ok(None));
    assert_eq!(a.lock_shutdown("a:8080").await, holds("b"));
    // It goes with the session, though nobody gives it back.
    drop(b);
    let mut free = false;
    for _ in 0..1_000 {
        free = a.lock_shutdown("a:8080").await == Ok(None);
        if free {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(free, "the lock of a node that has gone");
    a.deregister().await.unwrap();
    let c = connect(server, &cluster, 3);
    register(&*c, "c").await;
    assert_eq!(c.shutdown_lock().await, Ok(None));
}
