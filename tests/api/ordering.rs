//! The order of keys, and what readers see while others write.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::harness::{Hub, Setup, key_of, period_of, soon};

#[tokio::test]
async fn an_insert_after_another_has_a_greater_key() {
    let hub = Hub::shared().await;
    let name = hub.channel("sequential").await;
    let connections: Vec<Hub> = (0..5).map(|_| hub.again()).collect();
    let mut last = String::new();
    for number in 0..300 {
        let connection = &connections[number % connections.len()];
        let url = connection.insert(&name, format!("{number}")).await;
        assert!(*url > *last, "{url} after {last}");
        last = url;
    }
    hub.is_stable(&last).await;
    let listed = hub.get(&format!("/channel/{name}/latest/999")).await.uris();
    assert_eq!(listed.len(), 300);
    assert!(listed.is_sorted());
}

#[tokio::test]
async fn many_writers_lose_and_mix_up_nothing() {
    const WRITERS: usize = 64;
    const EACH: usize = 15;
    let hub = Hub::shared().await;
    let name = hub.channel("crowded").await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (hub, name) = (hub.again(), name.clone());
        writers.spawn(async move {
            let mut urls: Vec<String> = Vec::new();
            for number in 0..EACH {
                let body = format!("{writer} {number}");
                let url = hub.insert(&name, body.clone()).await;
                if let Some(last) = urls.last() {
                    assert!(url > *last, "{url} after {last}");
                }
                // It can be read at once, whatever others are writing.
                hub.get(&url).await.expect_text(200, &body);
                if number % 5 == 0 {
                    let second = period_of(&url, 6);
                    let list = format!("/channel/{name}/{second}?stable=false");
                    let listed = hub.get(&list).await.uris();
                    assert!(listed.binary_search(&url).is_ok(), "{url} is not listed");
                    let (before, _) = key_of(&url).rsplit_once('/').unwrap();
                    let from = format!("/channel/{name}/{before}/0/next/9999?stable=false");
                    assert!(hub.get(&from).await.uris().contains(&url));
                }
                urls.push(url);
            }
            urls
        });
    }
    let written = soon("all is written", writers.join_all()).await.concat();
    let sorted: BTreeSet<String> = written.iter().cloned().collect();
    assert_eq!(sorted.len(), WRITERS * EACH, "some keys are the same");
    let sorted: Vec<String> = sorted.into_iter().collect();
    hub.is_stable(sorted.last().unwrap()).await;
    for path in ["latest/9999", "earliest/9999", "latest/9999?stable=false"] {
        let listed = hub.get(&format!("/channel/{name}/{path}")).await.uris();
        assert!(listed == sorted, "{path} lists {} items", listed.len());
    }
}

#[tokio::test]
async fn a_reader_that_follows_sees_every_item_once_and_in_order() {
    const WRITERS: usize = 8;
    const EACH: usize = 60;
    let setup = Setup::new().set("SPOKE_BUCKET_SECONDS", 1);
    let hub = setup.set("SPOKE_SEGMENT_ITEMS", 100).start().await;
    let name = hub.channel("followed").await;
    let first = hub.insert(&name, "first").await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (hub, name) = (hub.again(), name.clone());
        writers.spawn(async move {
            let mut urls = Vec::new();
            for number in 0..EACH {
                urls.push(hub.insert(&name, format!("{writer} {number}")).await);
            }
            urls
        });
    }
    let mut readers = JoinSet::new();
    for page in [1, 7, 100] {
        let (hub, first) = (hub.again(), first.clone());
        readers.spawn(async move {
            let mut seen: Vec<String> = Vec::new();
            while seen.len() < WRITERS * EACH {
                let from = seen.last().unwrap_or(&first);
                let answer = hub.get(&format!("{from}/next/{page}")).await;
                seen.extend(answer.expect(200).uris());
            }
            seen
        });
    }
    let written = soon("all is written", writers.join_all()).await.concat();
    let sorted: BTreeSet<String> = written.into_iter().collect();
    let sorted: Vec<String> = sorted.into_iter().collect();
    for seen in soon("all is read", readers.join_all()).await {
        // An item that came to light below the reader would be missing, and all be short of it.
        assert!(seen == sorted, "{} items were seen", seen.len());
    }
}

#[tokio::test]
async fn keys_go_on_from_where_they_were_before_a_restart() {
    let setup = Setup::new();
    let mut last = String::new();
    let mut name = String::new();
    for run in 0..3 {
        let hub = setup.start().await;
        if run == 0 {
            name = hub.channel("restarted").await;
        }
        // At once, when the clock may still be behind what was promised.
        for _ in 0..20 {
            let url = hub.insert(&name, "x").await;
            let key = key_of(&url).to_owned();
            assert!(key > last, "{key} after {last}");
            hub.get(&url).await.expect_text(200, "x");
            let own = format!("/channel/{name}");
            for query in ["", "?stable=false"] {
                let latest = hub.get(&format!("{own}/latest{query}")).await;
                assert_eq!(latest.expect(303).location(), url);
                if !last.is_empty() {
                    let previous = hub.get(&format!("{own}/{key}/previous{query}")).await;
                    assert_eq!(key_of(previous.expect(303).location()), last);
                    let two = hub.get(&format!("{own}/{key}/previous/2{query}")).await;
                    assert_eq!(key_of(two.uris().last().unwrap()), last);
                }
                hub.get(&format!("{own}/{key}/next{query}"))
                    .await
                    .expect_empty(404);
                let second = period_of(&url, 6);
                let listed = hub.get(&format!("{own}/{second}{query}")).await.uris();
                assert_eq!(listed.last(), Some(&url));
            }
            last = key;
        }
        if run == 1 {
            hub.kill().await;
        } else {
            hub.stop().await;
        }
    }
}
