//! Every question has its answer.

use std::future::poll_fn;
use std::task::Poll;

use super::*;
use crate::cluster::{PeerError, RingPeers};
use crate::spoke::Direction;
use crate::spoke::peers::Peers;

#[tokio::test]
async fn every_question_is_answered() {
    let (client, node) = pair().await;
    let b = member("b");
    let payload = Bytes::from(vec![5; 1_000_000]);
    *node.service.payload.lock() = payload.clone();

    let answer = client.append(&b, append(4, Bytes::new())).await;
    assert_eq!(answer, Ok(AppendAnswer::Duplicate(key(4))));
    client.stage(&b, WriteId(1), payload.clone()).await.unwrap();
    let refused = client.stage(&b, WriteId(1), Bytes::new()).await;
    let reason = "nothing to keep".to_owned();
    let member = b.clone();
    assert_eq!(refused, Err(PeerError::Refused { member, reason }));
    let settle = SettleRequest {
        channel: channel(),
        write_id: WriteId(1),
        key: Some(key(9)),
        up_to: Frontier::NOTHING,
    };
    assert_eq!(
        client.settle(&b, settle).await,
        Ok(SettleAnswer::Held(key(9)))
    );
    for again in [false, true] {
        let write = WriteRequest {
            channel: channel(),
            body: body(1, payload.clone()),
            bulk: again.then_some(7),
            began: Millis::new(77),
            again,
            patience: 1_000,
        };
        let stored = Stored {
            key: key(77),
            repeated: true,
        };
        let expected = if again {
            Err(WriteError::KeyReused)
        } else {
            Ok(stored)
        };
        assert_eq!(client.write(&b, write).await, Ok(expected));
    }
    let mut wanted = ReportRequest {
        channel: channel(),
        from: key(1),
        to: key(2),
        direction: Direction::Descending,
        limit: 2,
        undecided: false,
    };
    let report = client.report(&b, wanted.clone()).await.unwrap();
    assert_eq!(report.keys, [key(1), key(2)]);
    wanted.limit = 0;
    let refused = client.report(&b, wanted).await;
    assert!(
        matches!(refused, Err(PeerError::Refused { .. })),
        "{refused:?}"
    );
    let found = client.get(&b, channel(), key(8)).await.unwrap();
    let GetAnswer::Found(item) = found else {
        panic!("{found:?}");
    };
    assert_eq!(item.body.payload, PeerPayload::Inline(payload));
    // Who asks is said with the question.
    let unknown = client.get(&b, channel(), ItemKey::MIN).await;
    assert_eq!(unknown, Ok(GetAnswer::Unknown("a".to_owned())));
    let digests = client.digests(&b, Millis::new(1), Millis::new(2)).await;
    assert_eq!(digests.unwrap().len(), 1);
    let inventory = InventoryRequest {
        from: Millis::new(1),
        to: Millis::new(2),
        channel: None,
        after: Some((ChannelId(3), key(3))),
        limit: 10,
    };
    let inventory = client.inventory(&b, inventory).await.unwrap();
    assert_eq!(inventory.lines[0].named, Some(vec![super::member("a")]));
    let items: Vec<_> = (0..100).map(|n| (ChannelId(n), key(n))).collect();
    let fetched = client.fetch(&b, items.clone()).await.unwrap();
    let names: Vec<_> = fetched.iter().map(|(id, item)| (*id, item.key)).collect();
    assert_eq!(names, items);

    assert_eq!(client.vouch(&b).await.unwrap().channels, 5);
    assert!(client.history(&b).await.unwrap().is_empty());
    let known = client.channels(&b).await.unwrap();
    assert_eq!(known.deleted, [("a".to_owned(), 4)]);

    let nobody = client.vouch(&super::member("z")).await;
    assert!(
        matches!(nobody, Err(PeerError::NotConnected { .. })),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn appends_keep_their_order_and_travel_together() {
    const APPENDS: u64 = 2_000;
    let (client, node) = pair().await;
    let mut asked = Vec::new();
    for number in 0..APPENDS {
        let client = Arc::clone(&client);
        let mut asking = Box::pin(async move {
            let payload = Bytes::from(vec![1; 100]);
            client.append(&member("b"), append(number, payload)).await
        });
        // The order is that in which they are first polled.
        let polled = poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        asked.push(tokio::spawn(asking));
    }
    for (number, asked) in asked.into_iter().enumerate() {
        let answer = asked.await.unwrap();
        assert_eq!(answer, Ok(AppendAnswer::Duplicate(key(number as u64))));
    }
    let expected: Vec<u128> = (0..APPENDS.into()).collect();
    assert_eq!(*node.service.appended.lock(), expected);
    let batches = node.service.batches.lock().clone();
    assert!(batches.len() < 100, "{batches:?}");
}

#[tokio::test]
async fn a_large_payload_is_staged() {
    let (client, node) = pair().await;
    let payload = Bytes::from(vec![3; 64 << 20]);
    client
        .stage(&member("b"), WriteId(1), payload)
        .await
        .unwrap();
    assert_eq!(*node.service.staged.lock(), [64 << 20]);
    // Nothing of it counts as waiting any more.
    assert_eq!(client.snapshot()[0].queue_bytes, 0);
}

#[tokio::test]
async fn items_are_asked_for_together_and_each_gets_its_own() {
    let (client, node) = pair().await;
    let asked = |count: u64| -> Vec<_> {
        let ask = |number: u64| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.get(&member("b"), channel(), key(number)).await })
        };
        (0..count).map(ask).collect()
    };
    // Four of these are more than one answer may have: the rest is asked for again.
    for (count, size) in [(500, 10), (20, 300_000)] {
        *node.service.payload.lock() = Bytes::from(vec![7; size]);
        for (number, asked) in asked(count).into_iter().enumerate() {
            let Ok(GetAnswer::Found(item)) = asked.await.unwrap() else {
                panic!("item {number} was not found");
            };
            assert_eq!(item.key, key(number as u64));
            assert_eq!(item.body.size, size as u64);
        }
    }
    until("nothing waits", || client.snapshot()[0].queue_bytes == 0).await;
}

#[tokio::test]
async fn answers_that_are_held_for_clients_are_bounded() {
    const SIZE: usize = 600_000;
    let node = Node::start("b", 5).await;
    *node.service.payload.lock() = Bytes::from(vec![7; SIZE]);
    let room = Inflight::new(1 << 20);
    let settings = PeerSettings {
        answers: room.clone(),
        ..settings()
    };
    let (client, _sender) = client_with(settings, identity("a", 3), [node.entry()]);
    let b = member("b");
    until("connected", || is_connected(&client, &b)).await;
    let Ok(GetAnswer::Found(first)) = client.get(&b, channel(), key(1)).await else {
        panic!("the first item was not found");
    };
    assert!(room.bytes() >= SIZE as u64);
    // There is room for one of them: the next comes once somebody has let go of it. What is small, and
    // is asked for with it, need not wait.
    let small = ItemKey::first_of(SMALL_FROM.millis.plus(1));
    let small = tokio::spawn({
        let (client, b) = (Arc::clone(&client), b.clone());
        async move { client.get(&b, channel(), small).await }
    });
    let second = tokio::spawn({
        let (client, b) = (Arc::clone(&client), b.clone());
        async move { client.get(&b, channel(), key(2)).await }
    });
    let third = client.get(&b, channel(), key(3)).await;
    assert!(
        matches!(third, Err(PeerError::Overloaded { .. })),
        "{third:?}"
    );
    let refused = second.await.unwrap();
    assert!(
        matches!(refused, Err(PeerError::Overloaded { .. })),
        "{refused:?}"
    );
    let small = small.await.unwrap();
    assert!(matches!(small, Ok(GetAnswer::Found(_))), "{small:?}");
    // Who held it is no worse for that.
    assert_eq!(client.snapshot()[0].state, PeerState::Connected);
    let waiting = tokio::spawn({
        let (client, b) = (Arc::clone(&client), b.clone());
        async move { client.get(&b, channel(), key(4)).await }
    });
    drop(first);
    let found = waiting.await.unwrap();
    assert!(matches!(found, Ok(GetAnswer::Found(_))), "{found:?}");
    drop(found);
    assert_eq!(room.bytes(), 0);
}
