//! From a position to the items before and after it.

use crate::harness::{Hub, Setup, key_of};

#[tokio::test]
async fn one_step_leads_to_the_neighbour() {
    let hub = Hub::shared().await;
    let name = hub.channel("stepped").await;
    let own = format!("/channel/{name}");
    let urls = hub.insert_many(&name, 3).await;
    let key = |at: usize| key_of(&urls[at]);
    let late = "2999/01/01/00/00/00/000/a";
    let early = "0001/01/01/00/00/00/000/a";
    // Between the first and the second item there are positions that are no items.
    let between = format!("{}0", key(0));
    for (from, direction, to) in [
        (key(0), "next", Some(1)),
        (key(1), "next", Some(2)),
        (key(2), "next", None),
        (key(2), "previous", Some(1)),
        (key(1), "previous", Some(0)),
        (key(0), "previous", None),
        (key(1), "n", Some(2)),
        (key(1), "nearest", Some(2)),
        (key(1), "p", Some(0)),
        (key(1), "prev", Some(0)),
        (&between, "next", Some(1)),
        (&between, "previous", Some(0)),
        (early, "next", Some(0)),
        (early, "previous", None),
        (late, "next", None),
        (late, "previous", Some(2)),
    ] {
        for query in [
            "",
            "?stable=false",
            "?stable=true&epoch=ALL&location=CACHE&x=y",
        ] {
            let answer = hub.get(&format!("{own}/{from}/{direction}{query}")).await;
            match to {
                // Without the query.
                Some(to) => assert_eq!(answer.expect_empty(303).location(), urls[to]),
                None => drop(answer.expect_empty(404)),
            }
        }
    }
}

#[tokio::test]
async fn a_count_lists_the_nearest_oldest_first() {
    let hub = Hub::shared().await;
    let name = hub.channel("counted").await;
    let own = hub.url(&format!("/channel/{name}"));
    let urls = hub.insert_many(&name, 6).await;
    let key = |at: usize| key_of(&urls[at]).to_owned();
    let late = "2999/01/01/00/00/00/000/a".to_owned();
    let early = "0001/01/01/00/00/00/000/a".to_owned();
    let between = format!("{}0", key(2));
    let huge = "99999999999999999999";
    for (from, direction, count, range) in [
        (key(1), "next", "2", 2..4),
        (key(1), "next", "9", 2..6),
        (key(1), "next", "10001", 2..6),
        (key(1), "next", huge, 2..6),
        (key(1), "n", "+1", 2..3),
        (key(4), "previous", "2", 2..4),
        (key(4), "previous", "9", 0..4),
        (key(4), "p", huge, 0..4),
        (between.clone(), "next", "2", 3..5),
        (between, "previous", "2", 1..3),
        (early.clone(), "next", "2", 0..2),
        (late.clone(), "previous", "2", 4..6),
        (early, "previous", "2", 0..0),
        (late, "next", "2", 0..0),
        (key(5), "next", "2", 0..0),
        (key(0), "previous", "2", 0..0),
        (key(1), "next", "0", 0..0),
        (key(1), "next", "-3", 0..0),
        (key(1), "previous", "0", 0..0),
        (key(1), "previous", &format!("-{huge}"), 0..0),
    ] {
        for query in ["", "?stable=false", "?trace=false&stable=true&x=%20y&x"] {
            let path = format!("{own}/{from}/{direction}/{count}{query}");
            let answer = hub.get(&path).await.expect(200);
            let expected = &urls[range.clone()];
            assert_eq!(answer.uris(), expected, "{path}");
            let own_link = answer.link("self").unwrap();
            assert!(
                own_link.starts_with(&format!("{own}/{from}/")),
                "{own_link}"
            );
            assert!(own_link.ends_with(query), "{own_link}");
            let beside = |from: &str, way: &str| {
                // A count over the limit is cut in links as in what it lists.
                let number: Result<i64, _> = count.parse();
                let count = match number {
                    Ok(number) => number.clamp(0, 10_000),
                    Err(_) if count.starts_with('-') => 0,
                    Err(_) => 10_000,
                };
                Some(format!("{own}/{from}/{way}/{count}{query}"))
            };
            if let [first, .., last] | [first @ last] = expected {
                assert_eq!(answer.link_names(), ["next", "previous", "self"]);
                assert_eq!(answer.link("next"), beside(key_of(last), "next"));
                assert_eq!(answer.link("previous"), beside(key_of(first), "previous"));
            } else {
                let back = if direction.starts_with('n') {
                    "previous"
                } else {
                    "next"
                };
                assert_eq!(answer.link_names(), [back, "self"]);
                assert_eq!(answer.link(back), beside(&from, back));
            }
        }
    }
}

#[tokio::test]
async fn inclusive_lists_the_start_too() {
    let hub = Hub::alone().await;
    let name = hub.channel("inclusive").await;
    let own = hub.url(&format!("/channel/{name}"));
    let urls = hub.insert_many(&name, 5).await;
    let url = |key: &str| format!("{own}/{key}");
    let between = format!("{}0", key_of(&urls[1]));
    let late = "2999/01/01/00/00/00/000/a";
    for (from, direction, count, expected) in [
        (key_of(&urls[1]), "next", 3, urls[1..4].to_vec()),
        (key_of(&urls[1]), "next", 1, urls[1..2].to_vec()),
        (key_of(&urls[1]), "next", 99, urls[1..].to_vec()),
        (key_of(&urls[3]), "previous", 3, urls[1..4].to_vec()),
        (key_of(&urls[3]), "previous", 99, urls[..4].to_vec()),
        (key_of(&urls[4]), "next", 9, urls[4..].to_vec()),
        (
            &between,
            "next",
            3,
            vec![url(&between), urls[2].clone(), urls[3].clone()],
        ),
        (
            &between,
            "previous",
            2,
            vec![urls[1].clone(), url(&between)],
        ),
        (late, "next", 2, vec![url(late)]),
        (late, "previous", 2, vec![urls[4].clone(), url(late)]),
        (key_of(&urls[1]), "next", 0, Vec::new()),
        (key_of(&urls[1]), "previous", -1, Vec::new()),
    ] {
        let path = format!("{own}/{from}/{direction}/{count}?inclusive=true");
        let answer = hub.get(&path).await.expect(200);
        assert_eq!(answer.uris(), expected, "{path}");
        if let Some(last) = expected.last() {
            let next = format!("{last}/next/{count}?inclusive=true");
            assert_eq!(answer.link("next"), Some(next));
        }
        // One step is never inclusive.
        if count == 99 {
            let step = format!("{own}/{from}/{direction}?inclusive=true");
            let step = hub.get(&step).await.expect(303);
            assert_ne!(step.location(), url(from));
        }
    }
}

#[tokio::test]
async fn a_count_has_a_limit() {
    let setup = Setup::new().set("READ_DIRECTION_COUNT_LIMIT", 5);
    let hub = setup.start().await;
    let name = hub.channel("limited").await;
    let urls = hub.insert_many(&name, 8).await;
    let own = format!("/channel/{name}");
    for count in ["5", "6", "8", "1000000"] {
        for (path, expected) in [
            (format!("{}/next/{count}", key_of(&urls[0])), &urls[1..6]),
            (
                format!("{}/previous/{count}", key_of(&urls[7])),
                &urls[2..7],
            ),
            (format!("latest/{count}"), &urls[3..]),
            (format!("earliest/{count}"), &urls[..5]),
            (
                format!("{}/next/{count}?inclusive=true", key_of(&urls[0])),
                &urls[..5],
            ),
        ] {
            let answer = hub.get(&format!("{own}/{path}")).await.expect(200);
            assert_eq!(answer.uris(), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn pages_cover_everything_once() {
    let hub = Hub::shared().await;
    let name = hub.channel("paged").await;
    let urls = hub.insert_many(&name, 23).await;
    for size in [1, 4, 23, 100] {
        for (first, link) in [("earliest", "next"), ("latest", "previous")] {
            let mut page = hub.get(&format!("/channel/{name}/{first}/{size}")).await;
            let mut seen = Vec::new();
            loop {
                let mut uris = page.clone().expect(200).uris();
                if uris.is_empty() {
                    // The way back leads to where the walk ended.
                    let back = if link == "next" { "previous" } else { "next" };
                    assert_eq!(page.link_names(), [back, "self"]);
                    break;
                }
                if link == "previous" {
                    uris.reverse();
                }
                seen.extend(uris);
                page = hub.get(&page.link(link).unwrap()).await;
            }
            if link == "previous" {
                seen.reverse();
            }
            assert_eq!(seen, urls, "{first} {size}");
        }
    }
}
