//! Stable time: what a query sees by default, and what it sees at once.

use serde_json::json;

use crate::harness::{Hub, Setup, eventually, key_of, period_of};

#[tokio::test]
async fn an_acknowledged_item_is_seen_by_the_next_query() {
    let hub = Hub::alone().await;
    let other = hub.again();
    let name = hub.channel("acknowledged").await;
    let own = format!("/channel/{name}");
    let mut before: Option<String> = None;
    for number in 0..100 {
        let item = hub.insert(&name, format!("{number}")).await;
        let (asked, query) = match number % 4 {
            0 => (&hub, ""),
            1 => (&other, ""),
            2 => (&hub, "?stable=false"),
            _ => (&other, "?stable=false"),
        };
        asked
            .get(&item)
            .await
            .expect_text(200, &format!("{number}"));
        let latest = asked.get(&format!("{own}/latest{query}")).await;
        assert_eq!(latest.expect(303).location(), item);
        let second = period_of(&item, 6);
        let listed = asked.get(&format!("{own}/{second}{query}")).await.uris();
        assert_eq!(listed.last(), Some(&item));
        let previous = asked.get(&format!("{item}/previous{query}")).await;
        match &before {
            Some(before) => {
                assert_eq!(previous.expect(303).location(), before);
                let next = asked.get(&format!("{before}/next{query}")).await;
                assert_eq!(next.expect(303).location(), item);
            }
            None => drop(previous.expect_empty(404)),
        }
        before = Some(item);
    }
}

#[tokio::test]
async fn an_unstable_window_hides_what_is_new() {
    let setup = Setup::new().set("READ_STABLE_SECONDS", 3600);
    let hub = setup.start().await;
    let name = hub.channel("hidden").await;
    let own = hub.url(&format!("/channel/{name}"));
    let urls = hub.insert_many(&name, 3).await;
    let (first, last) = (key_of(&urls[0]), key_of(&urls[2]));
    let long_ago = "2015/06/07/08/09/10/011/a";
    for (path, gone, listed) in [
        ("latest/9".to_owned(), 404, &urls[..]),
        ("earliest/9".to_owned(), 404, &urls[..]),
        (period_of(&urls[0], 3), 200, &urls[..]),
        (format!("{first}/next/9"), 200, &urls[1..]),
        (format!("{last}/previous/9"), 200, &urls[..2]),
        (format!("{long_ago}/next/9"), 200, &urls[..]),
    ] {
        let stable = hub.get(&format!("{own}/{path}")).await.expect(gone);
        if gone == 200 {
            assert_eq!(stable.uris(), [""; 0], "{path}");
        }
        let all = hub.get(&format!("{own}/{path}?stable=false")).await;
        let mut all = all.expect(200).uris();
        if path.len() == 10 {
            // Midnight may lie between the items.
            all.retain(|url| listed.contains(url));
            assert_eq!(all[0], listed[0]);
        } else {
            assert_eq!(all, listed, "{path}");
        }
    }
    for path in ["latest", "earliest", &format!("{first}/next")] {
        hub.get(&format!("{own}/{path}")).await.expect_empty(404);
        hub.get(&format!("{own}/{path}?stable=false"))
            .await
            .expect(303);
    }
    let status = hub.get(&format!("{own}/status")).await.expect(200).json();
    assert_eq!(status["_links"]["latest"]["message"], "channel is empty");
    let status = hub.get(&format!("{own}/status?stable=false")).await.json();
    assert_eq!(status["_links"]["latest"], json!({"href": urls[2]}));
    // By its key an item is there whether it is stable or not.
    for query in ["", "?stable=true"] {
        let item = hub.get(&format!("{}{query}", urls[1])).await;
        item.expect_text(200, "item 1");
    }
}

#[tokio::test]
async fn an_unstable_window_holds_back_the_links_of_time() {
    let setup = Setup::new().set("READ_STABLE_SECONDS", 3600);
    let hub = setup.start().await;
    let name = hub.channel("held").await;
    let own = hub.url(&format!("/channel/{name}"));
    let time = async |query: &str| {
        let body = hub.get(&format!("{own}/time{query}")).await.expect(200);
        let body = body.json();
        let millis = |name: &str| body[name]["millis"].as_i64().unwrap();
        (millis("now"), millis("stable"))
    };
    let path = |millis: i64, length: usize| {
        let at = jiff::Timestamp::from_millisecond(millis).unwrap();
        format!("{at:.0}")[..length].replace(['-', 'T', ':'], "/")
    };
    for query in ["", "?stable=false"] {
        let (now, stable) = time(query).await;
        // A whole second, an hour back.
        assert_eq!(stable % 1000, 0);
        let behind = now - 3_600_000 - stable;
        assert!((-1000..2000).contains(&behind), "{now} {stable}");
    }
    // Each is asked for between two looks at the time.
    for (query, stable) in [("", true), ("?stable=true", true), ("?stable=false", false)] {
        let pick = |(now, behind): (i64, i64)| if stable { behind } else { now };
        let before = pick(time("").await);
        let second = hub.get(&format!("{own}/time/second{query}")).await;
        let second = second.expect(303).location().to_owned();
        let links = hub.get(&format!("{own}/time{query}")).await.expect(200);
        let after = pick(time("").await);
        let href = links.link("second").unwrap();
        for link in [second, href] {
            let link = link.strip_suffix(query).unwrap();
            let at = link.strip_prefix(&format!("{own}/")).unwrap();
            assert!(*at >= *path(before, 19) && *at <= *path(after, 19), "{at}");
        }
    }
    // Half an hour ago is past, but not stable.
    let (now, _) = time("").await;
    let minute = path(now - 1_800_000, 16);
    let stable = hub.get(&format!("{own}/{minute}")).await.expect(200);
    assert_eq!(stable.link_names(), ["previous", "self"]);
    let all = hub.get(&format!("{own}/{minute}?stable=false")).await;
    assert_eq!(all.expect(200).link_names(), ["next", "previous", "self"]);
    let second = path(now - 1_800_000, 19);
    for query in ["", "?stable=false"] {
        let run = hub.get(&format!("{own}/{second}/next/5{query}")).await;
        assert_eq!(run.expect(200).uris(), [""; 0]);
    }
}

#[tokio::test]
async fn an_unstable_window_passes() {
    let setup = Setup::new().set("READ_STABLE_SECONDS", 1);
    let hub = setup.start().await;
    let name = hub.channel("passing").await;
    let own = format!("/channel/{name}");
    for _ in 0..2 {
        let answer = hub.post(&name, "x").await.expect(201);
        let at: jiff::Timestamp = answer.json()["timestamp"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let latest = eventually("the item is stable", async || {
            let latest = hub.get(&format!("{own}/latest")).await;
            let found = latest.status == 303 && latest.location() == answer.location();
            found.then_some(latest)
        })
        .await;
        // Not before the second in which it was stamped was over for a second.
        let visible = (at.as_millisecond() / 1000 + 2) * 1000;
        assert!(hub.now().await >= visible, "{}", latest.about);
    }
}
