//! Runs of seconds: lists of seconds, not of items.

use crate::harness::{Answer, Hub};

async fn run(hub: &Hub, path: &str) -> Answer {
    // The channel is not looked at.
    let path = format!("/channel/nowhere/{path}");
    hub.get(&path).await.expect(200)
}

fn urls(hub: &Hub, seconds: &[&str]) -> Vec<String> {
    let url = |second: &&str| hub.url(&format!("/channel/nowhere/{second}"));
    seconds.iter().map(url).collect()
}

#[tokio::test]
async fn a_run_begins_with_its_second_or_just_before_it() {
    let hub = Hub::shared().await;
    for (path, seconds) in [
        (
            "2015/06/07/08/09/58/next/4",
            &[
                "2015/06/07/08/09/58",
                "2015/06/07/08/09/59",
                "2015/06/07/08/10/00",
                "2015/06/07/08/10/01",
            ][..],
        ),
        (
            "2015/12/31/23/59/59/n/2",
            &["2015/12/31/23/59/59", "2016/01/01/00/00/00"],
        ),
        (
            "2015/6/7/8/10/1/previous/3",
            &[
                "2015/06/07/08/09/58",
                "2015/06/07/08/09/59",
                "2015/06/07/08/10/00",
            ],
        ),
        ("2016/03/01/00/00/00/prev/1", &["2016/02/29/23/59/59"]),
        ("2016/03/01/00/00/00/p/+1", &["2016/02/29/23/59/59"]),
        ("2015/06/07/08/09/58/next/0", &[]),
        ("2015/06/07/08/09/58/next/-3", &[]),
        ("2015/06/07/08/09/58/previous/0", &[]),
        ("2999/06/07/08/09/58/next/3", &[]),
    ] {
        for query in ["", "?stable=false", "?stable=true&x=%20"] {
            let answer = run(&hub, &format!("{path}{query}")).await;
            assert_eq!(answer.uris(), urls(&hub, seconds), "{path}");
            let down = if query.is_empty() { "?" } else { "&" };
            let down = run(&hub, &format!("{path}{query}{down}order=desc")).await;
            let mut reversed = down.uris();
            reversed.reverse();
            assert_eq!(reversed, urls(&hub, seconds), "{path}");
            let names = answer.link_names();
            if seconds.is_empty() {
                assert_eq!(names, ["self"], "{path}");
            } else {
                assert_eq!(names, ["next", "previous", "self"], "{path}");
                let next = answer.link("next").unwrap();
                assert!(next.ends_with(query), "{next}");
            }
        }
    }
}

#[tokio::test]
async fn runs_lead_on_without_a_gap() {
    let hub = Hub::shared().await;
    let middle = run(&hub, "2015/06/07/08/09/58/next/4?order=d").await;
    let next = hub.get(&middle.link("next").unwrap()).await.expect(200);
    let previous = hub.get(&middle.link("previous").unwrap()).await;
    let previous = previous.expect(200);
    let mut all: Vec<String> = [&next, &middle, &previous]
        .iter()
        .flat_map(|answer| answer.uris())
        .collect();
    all.reverse();
    let whole = run(&hub, "2015/06/07/08/09/54/next/12").await;
    assert_eq!(all, whole.uris());
}

#[tokio::test]
async fn a_run_ends_at_the_stable_second() {
    let hub = Hub::shared().await;
    let name = hub.channel("running").await;
    let own = format!("/channel/{name}");
    let second = |millis: i64| {
        let at = jiff::Timestamp::from_millisecond(millis).unwrap();
        let iso = format!("{at:.0}");
        iso[..19].replace(['-', 'T', ':'], "/")
    };
    let stable = async || {
        let body = hub.get(&format!("{own}/time")).await.expect(200).json();
        body["stable"]["millis"].as_i64().unwrap()
    };
    let start = second(stable().await - 10_000);
    for query in ["", "?stable=false"] {
        let before = stable().await;
        let answer = hub.get(&format!("{own}/{start}/next/100{query}")).await;
        let answer = answer.expect(200);
        let after = stable().await;
        let last = answer.uris().last().unwrap().clone();
        let (_, last) = last.split_once(&format!("{name}/")).unwrap();
        // The last one has begun before what is stable ends.
        assert!(*last >= *second(before - 1), "{last}");
        assert!(*last <= *second(after), "{last}");
        // It is short of a hundred, so there is nothing to go on with yet.
        assert_eq!(answer.link_names(), ["previous", "self"]);

        let before = second(stable().await - 1000);
        let path = format!("{own}/2999/01/01/00/00/00/previous/5{query}");
        let answer = hub.get(&path).await.expect(200);
        let after = second(stable().await - 1000);
        let uris = answer.uris();
        assert_eq!(uris.len(), 5);
        let (_, last) = uris[4].split_once(&format!("{name}/")).unwrap();
        assert!(
            *before <= *last && *last <= *after,
            "{before} {last} {after}"
        );
    }
}

#[tokio::test]
async fn a_run_is_of_a_limited_number() {
    let hub = Hub::shared().await;
    for count in ["10001", "99999999999999999999"] {
        let answer = run(&hub, &format!("2015/06/07/08/09/58/next/{count}")).await;
        assert_eq!(answer.uris().len(), 10_000, "{count}");
    }
}
