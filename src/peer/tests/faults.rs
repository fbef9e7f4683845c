//! Members that are slow, dead, overloaded or back again.

use super::*;
use crate::cluster::{PeerError, RingPeers};
use crate::spoke::peers::Peers as _;

/// By order, not by time: those to the slow one are all still under way when the others are through.
#[tokio::test]
async fn a_slow_member_delays_nobody_else() {
    let (slow, quick) = (Node::start("slow", 1).await, Node::start("quick", 1).await);
    let patient = PeerSettings {
        append_timeout: Duration::from_mins(1),
        ..settings()
    };
    let members = [slow.entry(), quick.entry()];
    let (client, _members) = client_with(patient, identity("a", 3), members);
    until("both are there", || {
        is_connected(&client, &member("slow")) && is_connected(&client, &member("quick"))
    })
    .await;
    *slow.service.delay.lock() = Duration::from_mins(1);
    let mut waiting = Vec::new();
    for number in 0..50 {
        let client = Arc::clone(&client);
        waiting.push(tokio::spawn(async move {
            let request = append(number, Bytes::new());
            client.append(&member("slow"), request).await
        }));
    }
    for number in 0..20 {
        let request = append(number, Bytes::new());
        let answer = client.append(&member("quick"), request).await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    for waiting in waiting {
        waiting.abort();
    }
}

#[tokio::test]
async fn a_slow_member_is_suspect() {
    let (slow, quick) = (Node::start("slow", 1).await, Node::start("quick", 1).await);
    let (client, _members) = client_of(identity("a", 3), [slow.entry(), quick.entry()]);
    let (slow_one, quick_one) = (member("slow"), member("quick"));
    until("both are there", || {
        is_connected(&client, &slow_one) && is_connected(&client, &quick_one)
    })
    .await;
    *slow.service.delay.lock() = Duration::from_secs(3);
    let mut waiting = Vec::new();
    for number in 0..50 {
        let client = Arc::clone(&client);
        waiting.push(tokio::spawn(async move {
            client
                .append(&member("slow"), append(number, Bytes::new()))
                .await
        }));
    }
    let began = Instant::now();
    for number in 0..20 {
        let answer = client
            .append(&quick_one, append(number, Bytes::new()))
            .await;
        assert!(answer.is_ok(), "{answer:?}");
    }
    for waiting in waiting {
        let error = waiting.await.unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                PeerError::NoAnswer { .. } | PeerError::NotConnected { .. }
            ),
            "{error}"
        );
    }
    in_time(began.elapsed(), Duration::from_millis(1_500));
    // It comes back by itself a moment after each, as its pings are answered.
    let late = tokio::spawn({
        let (client, slow_one) = (Arc::clone(&client), slow_one.clone());
        async move { client.append(&slow_one, append(50, Bytes::new())).await }
    });
    until("it is suspect", || !is_connected(&client, &slow_one)).await;
    assert!(late.await.unwrap().is_err());
    assert!(is_connected(&client, &quick_one));
    // Questions that are answered at once are asked all the same.
    assert!(client.vouch(&slow_one).await.is_ok());
    *slow.service.delay.lock() = Duration::ZERO;
    until("it is back", || is_connected(&client, &slow_one)).await;
}

#[tokio::test]
async fn a_dead_member_is_down_at_once_and_back_within_a_second() {
    let (client, node) = pair().await;
    let b = member("b");
    let address = node.end().await;
    let error = client
        .append(&b, append(1, Bytes::new()))
        .await
        .unwrap_err();
    assert!(!is_connected(&client, &b), "{error}");
    let again = client
        .append(&b, append(2, Bytes::new()))
        .await
        .unwrap_err();
    assert!(matches!(again, PeerError::NotConnected { .. }), "{again}");
    assert_eq!(client.snapshot()[0].state, PeerState::Down);
    // Long enough that it is tried as seldom as it ever is.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let node = Node::start_at(identity("b", 6), address).await;
    let took = until("it is back", || is_connected(&client, &b)).await;
    in_time(took, Duration::from_secs(1));
    // Another run of it, which the registry has not told of.
    let answer = client.append(&b, append(3, Bytes::new())).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(*node.service.appended.lock(), [3]);
    // Nobody speaks to it, and it is known to be gone within the time between two heartbeats.
    node.end().await;
    let took = until("it is gone", || !is_connected(&client, &b)).await;
    in_time(took, Duration::from_secs(2));
}

#[tokio::test]
async fn a_member_that_nobody_can_reach_is_suspect() {
    // It accepts connections, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let entry = (
        member("b"),
        record(Incarnation(1), Some(address.ip()), address.port()),
    );
    let (client, _members) = client_of(identity("a", 3), [entry]);
    until("it was tried", || {
        client.snapshot()[0].state != PeerState::New
    })
    .await;
    assert_eq!(client.snapshot()[0].state, PeerState::Suspect);
    let began = Instant::now();
    let error = client
        .append(&member("b"), append(1, Bytes::new()))
        .await
        .unwrap_err();
    assert!(matches!(error, PeerError::NoAnswer { .. }), "{error}");
    in_time(began.elapsed(), Duration::from_millis(700));
    drop(listener);
}

#[tokio::test]
async fn what_waits_for_a_member_is_bounded() {
    let (client, node) = pair().await;
    *node.service.delay.lock() = Duration::from_millis(400);
    let payload = Bytes::from(vec![0; 100_000]);
    let mut waiting = Vec::new();
    for number in 0..200 {
        let (client, payload) = (Arc::clone(&client), payload.clone());
        waiting.push(tokio::spawn(async move {
            client.append(&member("b"), append(number, payload)).await
        }));
    }
    let mut overloaded = 0;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let queued = client.snapshot()[0].queue_bytes;
    assert!(
        queued <= settings().queue_bytes && queued > 7 << 20,
        "{queued}"
    );
    for waiting in waiting {
        match waiting.await.unwrap() {
            Err(PeerError::Overloaded { .. }) => overloaded += 1,
            Ok(_) | Err(PeerError::NoAnswer { .. } | PeerError::NotConnected { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((100..150).contains(&overloaded), "{overloaded}");
    *node.service.delay.lock() = Duration::ZERO;
    until("nothing waits", || client.snapshot()[0].queue_bytes == 0).await;
    until("it is back", || is_connected(&client, &member("b"))).await;
    let answer = client.append(&member("b"), append(1, payload)).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[tokio::test]
async fn an_append_that_began_is_done_to_its_end() {
    let (client, node) = pair().await;
    *node.service.delay.lock() = Duration::from_millis(700);
    let error = client
        .append(&member("b"), append(1, Bytes::new()))
        .await
        .unwrap_err();
    assert!(!error.is_harmless(), "{error}");
    until("it is done", || *node.service.appended.lock() == [1]).await;
}

#[tokio::test]
async fn what_a_member_holds_for_others_is_bounded() {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let node = Node::start_with(identity("b", 5), local, 1 << 20).await;
    *node.service.payload.lock() = Bytes::from(vec![0; 2 << 20]);
    let (client, _members) = client_of(identity("a", 3), [node.entry()]);
    let b = member("b");
    until("connected", || is_connected(&client, &b)).await;
    let overloaded = Err(PeerError::Overloaded { member: b.clone() });
    let payload = Bytes::from(vec![0; 2 << 20]);
    assert_eq!(client.stage(&b, WriteId(1), payload).await, overloaded);
    // Nor does it answer more.
    let found = client.get(&b, channel(), key(1)).await;
    assert_eq!(found.map(|_| ()), overloaded);
    let payload = Bytes::from(vec![0; 900 << 10]);
    for _ in 0..3 {
        client.stage(&b, WriteId(1), payload.clone()).await.unwrap();
    }
    assert!(is_connected(&client, &b));
}

#[tokio::test]
async fn what_is_large_keeps_nothing_small_waiting_nor_the_other_way_round() {
    let (client, node) = pair().await;
    let b = member("b");
    let stage = |size: usize| {
        let (client, b) = (Arc::clone(&client), b.clone());
        let payload = Bytes::from(vec![0; size]);
        tokio::spawn(async move { client.stage(&b, WriteId(1), payload).await })
    };
    // More than all that may wait.
    let size = settings().queue_bytes as usize * 3;
    let large: Vec<_> = (0..3).map(|_| stage(size)).collect();
    until("large ones are under way", || {
        client.snapshot()[0].queue_bytes >= settings().queue_bytes
    })
    .await;
    let mut asked = 0;
    while !large.iter().all(tokio::task::JoinHandle::is_finished) {
        assert!(client.vouch(&b).await.is_ok());
        asked += 1;
    }
    assert!(asked > 0);
    for large in large {
        assert_eq!(large.await.unwrap(), Ok(()));
    }
    assert_eq!(node.service.staged.lock().len(), 3);
}
