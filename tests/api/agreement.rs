//! Every kind of query gives the same items, in segments that are written and in sealed ones.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::harness::{Hub, Setup, eventually, key_of, period_of, soon};

const SECONDS: usize = 5;
const WRITERS: usize = 8;
const EACH: usize = 50;

/// Writes items in several seconds; gives their keys, sorted.
async fn fill(hub: &Hub, name: &str) -> Vec<String> {
    let mut keys = BTreeSet::new();
    for _ in 0..SECONDS {
        let second = hub.now().await / 1000;
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (hub, name) = (hub.again(), name.to_owned());
            writers.spawn(async move { hub.insert_many(&name, EACH).await });
        }
        let urls = soon("items are written", writers.join_all()).await.concat();
        keys.extend(urls.iter().map(|url| key_of(url).to_owned()));
        eventually("the next second", async || {
            (hub.now().await / 1000 > second).then_some(())
        })
        .await;
    }
    assert_eq!(keys.len(), SECONDS * WRITERS * EACH);
    keys.into_iter().collect()
}

struct Asked<'a> {
    hub: &'a Hub,
    own: String,
    query: &'static str,
}

impl Asked<'_> {
    async fn keys(&self, path: &str) -> Vec<String> {
        let and = match (self.query, path.contains('?')) {
            ("", _) => "",
            (_, true) => "&",
            (_, false) => "?",
        };
        let url = format!("{}/{path}{and}{}", self.own, self.query);
        let uris = self.hub.get(&url).await.expect(200).uris();
        uris.iter().map(|url| key_of(url).to_owned()).collect()
    }

    /// The item that a path redirects to.
    async fn step(&self, path: &str) -> Option<String> {
        let url = format!("{}/{path}?{}", self.own, self.query);
        let answer = self.hub.get(&url).await;
        match answer.status {
            404 => None,
            _ => Some(key_of(answer.expect(303).location()).to_owned()),
        }
    }

    /// Walks in pages until there is nothing left.
    async fn pages(&self, from: &str, direction: &str, size: usize) -> Vec<String> {
        let (mut at, mut walked) = (from.to_owned(), Vec::new());
        loop {
            let mut page = self.keys(&format!("{at}/{direction}/{size}")).await;
            if direction == "previous" {
                page.reverse();
            }
            let Some(last) = page.last() else {
                return walked;
            };
            at.clone_from(last);
            walked.extend(page);
        }
    }
}

async fn all_agree(hub: &Hub, name: &str, keys: &[String]) {
    for query in ["", "stable=false"] {
        let asked = Asked {
            hub,
            own: format!("/channel/{name}"),
            query,
        };
        let all = |listed: Vec<String>, what: &str| {
            let count = listed.len();
            assert!(listed == keys, "{what} with {query:?} lists {count} items");
        };
        let turned = |mut listed: Vec<String>| {
            listed.reverse();
            listed
        };
        all(asked.keys("latest/10000").await, "latest");
        all(asked.keys("earliest/10000").await, "earliest");
        all(
            turned(asked.keys("latest/10000?order=d").await),
            "latest down",
        );
        for depth in 3..=6 {
            let mut periods: Vec<String> = keys.iter().map(|key| prefix(key, depth)).collect();
            periods.dedup();
            assert!(depth < 6 || periods.len() >= SECONDS, "{periods:?}");
            let (mut up, mut down) = (Vec::new(), Vec::new());
            for period in &periods {
                up.extend(asked.keys(period).await);
                down.extend(turned(asked.keys(&format!("{period}?order=desc")).await));
            }
            all(up, "by time");
            all(down, "by time, down");
        }
        let (early, late) = ("0001/01/01/00/00/00/000/0", "9999/12/31/23/59/59/999/z");
        for size in [97, 1000, 10_000] {
            all(asked.pages(early, "next", size).await, "next");
            all(
                turned(asked.pages(late, "previous", size).await),
                "previous",
            );
        }
        // Steps of one, and pages that begin anywhere.
        assert_eq!(asked.step("earliest").await.as_ref(), keys.first());
        assert_eq!(asked.step("latest").await.as_ref(), keys.last());
        for at in (0..keys.len()).step_by(73).chain([keys.len() - 1]) {
            let key = &keys[at];
            let next = asked.step(&format!("{key}/next")).await;
            assert_eq!(next.as_ref(), keys.get(at + 1));
            let previous = asked.step(&format!("{key}/previous")).await;
            assert_eq!(previous.as_ref(), at.checked_sub(1).map(|at| &keys[at]));
            let after = asked.keys(&format!("{key}/next/150")).await;
            assert_eq!(after, keys[at + 1..keys.len().min(at + 151)]);
            let before = asked
                .keys(&format!("{key}/previous/150?inclusive=true"))
                .await;
            assert_eq!(before, keys[(at + 1).saturating_sub(150)..=at]);
            let (millis, _) = key.rsplit_once('/').unwrap();
            let from = asked.keys(&format!("{millis}/0/next/1")).await;
            assert_eq!(prefix(&from[0], 7), prefix(key, 7));
            let item = hub.get(&format!("/channel/{name}/{key}")).await;
            assert!(item.expect(200).text().starts_with("item "));
        }
    }
}

fn prefix(key: &str, depth: usize) -> String {
    period_of(&format!("/channel/x/{key}"), depth)
}

#[tokio::test]
async fn all_kinds_of_queries_agree() {
    let setup = Setup::new()
        .set("SPOKE_BUCKET_SECONDS", 1)
        .set("SPOKE_SEGMENT_ITEMS", 100);
    let hub = setup.start().await;
    let name = hub.channel("agreed").await;
    let other = hub.channel("beside").await;
    let mut keys = fill(&hub, &name).await;
    hub.insert_many(&other, 10).await;
    all_agree(&hub, &name, &keys).await;
    let store = hub.get("/health").await.json();
    let segments = store["store"]["segments"].as_u64().unwrap();
    assert!(segments > SECONDS as u64, "{store}");
    hub.stop().await;

    let hub = setup.start().await;
    all_agree(&hub, &name, &keys).await;
    let more = hub.insert_many(&name, 150).await;
    keys.extend(more.iter().map(|url| key_of(url).to_owned()));
    assert!(keys.is_sorted());
    hub.kill().await;

    let hub = setup.start().await;
    all_agree(&hub, &name, &keys).await;
    let listed = hub.get(&format!("/channel/{other}/latest/99")).await;
    assert_eq!(listed.uris().len(), 10);
}
