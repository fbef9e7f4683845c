//! The ends of a channel: latest and earliest.

use crate::harness::{Hub, key_of};

#[tokio::test]
async fn an_empty_channel_has_no_ends() {
    let hub = Hub::shared().await;
    let name = hub.channel("empty").await;
    for path in ["latest", "earliest", "latest/1", "earliest/9", "latest/0"] {
        for query in ["", "?stable=false", "?trace=true"] {
            let answer = hub.get(&format!("/channel/{name}/{path}{query}")).await;
            answer.expect_empty(404);
        }
    }
}

#[tokio::test]
async fn the_ends_are_the_newest_and_the_oldest_item() {
    let hub = Hub::shared().await;
    let name = hub.channel("ended").await;
    let own = hub.url(&format!("/channel/{name}"));
    let mut urls = Vec::new();
    for number in 0..4 {
        urls.push(hub.insert(&name, format!("{number}")).await);
        for query in ["", "?stable=false", "?stable=true&x=y&trace=true"] {
            for (edge, item) in [("latest", number), ("earliest", 0)] {
                let answer = hub.get(&format!("{own}/{edge}{query}")).await;
                // Without the query.
                assert_eq!(answer.expect_empty(303).location(), urls[item]);
            }
        }
    }
    for (count, latest, earliest) in [
        ("1", 3..4, 0..1),
        ("+3", 1..4, 0..3),
        ("4", 0..4, 0..4),
        ("10001", 0..4, 0..4),
        ("99999999999999999999", 0..4, 0..4),
    ] {
        for query in ["", "?stable=false", "?x=%20y&stable=true&x"] {
            let shown = count.parse::<i64>().unwrap_or(i64::MAX).min(10_000);
            let own_link = |edge: &str| Some(format!("{own}/{edge}/{shown}{query}"));
            let beside = |item: &str, way: &str| Some(format!("{item}/{way}/{shown}{query}"));

            let answer = hub.get(&format!("{own}/latest/{count}{query}")).await;
            let answer = answer.expect(200);
            let uris = &urls[latest.clone()];
            assert_eq!(answer.uris(), uris);
            assert_eq!(answer.link_names(), ["next", "previous", "self"]);
            assert_eq!(answer.link("self"), own_link("latest"));
            assert_eq!(answer.link("next"), beside(uris.last().unwrap(), "next"));
            assert_eq!(answer.link("previous"), beside(&uris[0], "previous"));

            let answer = hub.get(&format!("{own}/earliest/{count}{query}")).await;
            let answer = answer.expect(200);
            let uris = &urls[earliest.clone()];
            assert_eq!(answer.uris(), uris);
            assert_eq!(answer.link_names(), ["next", "self"]);
            assert_eq!(answer.link("self"), own_link("earliest"));
            assert_eq!(answer.link("next"), beside(uris.last().unwrap(), "next"));
        }
    }
    for count in ["0", "-1", "-99999999999999999999"] {
        for edge in ["latest", "earliest"] {
            hub.get(&format!("{own}/{edge}/{count}"))
                .await
                .expect_empty(404);
        }
    }
    for item in &urls {
        assert!(!key_of(item).is_empty());
    }
}
