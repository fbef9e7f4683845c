//! All channels that have a tag, asked as one.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Hub, eventually, key_of, unique};

/// Channels with a tag of their own, and so many items in each, inserted by turns; gives the items
/// in their order, as a tag lists them.
async fn tagged(hub: &Hub, channels: usize, items: usize) -> (String, Vec<String>, Vec<String>) {
    let tag = unique("tag");
    let mut names = Vec::new();
    for _ in 0..channels {
        names.push(hub.channel_with("tagged", &json!({"tags": [tag]})).await);
    }
    let mut uris = Vec::new();
    for number in 0..items {
        for name in &names {
            uris.push(hub.insert(name, format!("{name} {number}")).await);
        }
    }
    let by_key = |uri: &String| (key_of(uri).to_owned(), uri.clone());
    uris.sort_by_key(by_key);
    let uris = uris.iter().map(|uri| format!("{uri}?tag={tag}")).collect();
    (tag, names, uris)
}

fn plain(uri: &str) -> &str {
    uri.split('?').next().unwrap()
}

#[tokio::test]
async fn a_tag_leads_to_its_channels() {
    let hub = Hub::shared().await;
    let (tag, names, _) = tagged(&hub, 3, 0).await;
    let all = hub.get("/tag").await.expect(200).json();
    let href = format!("{}/tag/{tag}", hub.base());
    let tags = all["_links"]["tags"].as_array().unwrap();
    assert!(tags.contains(&json!({"name": tag, "href": href})), "{all}");
    let one = hub.get(&format!("/tag/{tag}")).await.expect(200).json();
    let mut sorted = names.clone();
    sorted.sort();
    let channels: Vec<_> = sorted
        .iter()
        .map(|name| json!({"name": name, "href": format!("{}/channel/{name}", hub.base())}))
        .collect();
    assert_eq!(
        one["_links"],
        json!({
            "self": {"href": href},
            "latest": {"href": format!("{href}/latest")},
            "earliest": {"href": format!("{href}/earliest")},
            "time": {"href": format!("{href}/time")},
            "channels": channels,
        })
    );
    // Taken off it is gone at once through this node.
    let path = format!("/channel/{}", names[0]);
    hub.send_json(Method::PATCH, &path, &json!({"tags": []}))
        .await
        .expect(200);
    let one = hub.get(&format!("/tag/{tag}")).await.expect(200).json();
    assert_eq!(one["_links"]["channels"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_tag_without_channels_is_empty() {
    let hub = Hub::shared().await;
    let tag = "/tag/nobody:has-it";
    let shown = hub.get(tag).await.expect(200).json();
    assert_eq!(shown["_links"]["channels"], json!([]));
    let key = "2024/05/01/09/15/00/123/a1B2c3";
    for (rest, status) in [
        ("latest", 404),
        ("earliest", 404),
        ("latest/3", 404),
        ("earliest/3", 200),
        ("2024/05/01", 200),
        ("time", 200),
        ("time/hour", 303),
        (key, 404),
        (&format!("{key}/next"), 404),
        (&format!("{key}/next/3"), 200),
        (&format!("{key}/previous/3"), 200),
        ("status", 404),
        ("doc", 404),
        ("bulk", 404),
        ("2024/05/01/09/15/00/123", 404),
        ("2024/05/01/09/15/00/next/3", 404),
        ("2024/13/01", 400),
    ] {
        let answer = hub.get(&format!("{tag}/{rest}")).await.expect(status);
        if status == 200 && rest.contains("/3") {
            assert!(answer.uris().is_empty(), "{rest}");
        }
    }
    for path in ["/tag", tag, "/tag/t/latest", "/tag/t/2024/05/01"] {
        hub.ask(Method::POST, path).send().await.expect_empty(405);
    }
}

#[tokio::test]
async fn items_of_all_channels_are_one_list() {
    let hub = Hub::shared().await;
    let (tag, names, uris) = tagged(&hub, 3, 4).await;
    let root = format!("{}/tag/{tag}", hub.base());
    let get = |path: String| {
        let hub = hub.again();
        async move { hub.get(&path).await }
    };
    let stable = eventually("all is stable", async || {
        let listed = hub.get(&format!("/tag/{tag}/latest/20")).await;
        (listed.status == 200 && listed.uris().len() == uris.len()).then_some(listed)
    });
    assert_eq!(stable.await.uris(), uris);
    for (path, wanted) in [
        ("latest/5", &uris[7..]),
        ("earliest/5", &uris[..5]),
        ("earliest/50", &uris[..]),
    ] {
        let listed = get(format!("/tag/{tag}/{path}")).await.expect(200).uris();
        assert_eq!(listed, wanted, "{path}");
        // The same through any channel's path.
        let through = format!("/channel/whatever/{path}?tag={tag}");
        assert_eq!(get(through).await.expect(200).uris(), listed);
    }
    let latest = get(format!("/tag/{tag}/latest/2")).await;
    let (first, last) = (latest.uris()[0].clone(), latest.uris().pop().unwrap());
    let next = format!("{root}/{}/next/2", key_of(plain(&last)));
    assert_eq!(latest.link("next"), Some(next));
    let previous = format!("{root}/{}/previous/2", key_of(plain(&first)));
    assert_eq!(latest.link("previous"), Some(previous));
    assert_eq!(
        get(format!("/tag/{tag}/earliest/2")).await.link("previous"),
        None
    );

    // Walks come by every item once, by either kind of path.
    let mut walked = Vec::new();
    let mut at = get(format!("/tag/{tag}/earliest"))
        .await
        .expect(303)
        .location()
        .to_owned();
    loop {
        assert!(uris.contains(&plain_with_tag(&at, &tag)), "{at}");
        walked.push(plain_with_tag(&at, &tag));
        let path = format!("{}/next?tag={tag}&stable=true", plain(&at));
        match get(path).await {
            answer if answer.status == 404 => break,
            answer => {
                at = answer.expect(303).location().to_owned();
                assert!(at.ends_with(&format!("?tag={tag}&stable=true")), "{at}");
            }
        }
    }
    assert_eq!(walked, uris);
    let mut back = get(format!("/tag/{tag}/latest"))
        .await
        .expect(303)
        .location()
        .to_owned();
    assert_eq!(back, uris[11]);
    for wanted in uris.iter().rev().skip(1) {
        let path = format!("{}/previous?tag={tag}", plain(&back));
        back = get(path).await.expect(303).location().to_owned();
        assert_eq!(plain_with_tag(&back, &tag), *wanted);
    }
    let mut pages = Vec::new();
    let mut page = get(format!("/tag/{tag}/earliest/4")).await;
    while !page.uris().is_empty() {
        pages.extend(page.uris());
        page = get(page.link("next").unwrap()).await.expect(200);
    }
    assert_eq!(pages, uris);
    assert_eq!(
        page.link_names().len(),
        2,
        "self and previous: {}",
        page.text()
    );

    // Items by their key, whichever channel has them.
    let item = get(format!("/tag/{tag}/{}", key_of(plain(&uris[0]))))
        .await
        .expect(200);
    assert!(
        names.iter().any(|name| item.text() == format!("{name} 0")),
        "{}",
        item.text()
    );
    assert_eq!(item.header("x-item-length"), None);
    assert!(item.header("creation-date").is_some());
    let links = item.headers_of("link");
    let own = format!(
        "<{root}/{}/previous>;rel=\"previous\"",
        key_of(plain(&uris[0]))
    );
    assert_eq!(links[0], own);

    // Periods, and times.
    let day = key_of(plain(&uris[0]))[..10].to_owned();
    let period = get(format!("/tag/{tag}/{day}?stable=false&trace=true"))
        .await
        .expect(200);
    assert_eq!(period.uris(), uris);
    assert!(period.json()["trace"].is_array());
    let previous = period.link("previous").unwrap();
    assert!(
        previous.starts_with(&root) && previous.ends_with("?stable=false"),
        "{previous}"
    );
    let descending = get(format!("/tag/{tag}/{day}?stable=false&order=desc"))
        .await
        .uris();
    assert!(descending.iter().eq(uris.iter().rev()));
    let times = get(format!("/tag/{tag}/time?stable=false"))
        .await
        .expect(200)
        .json();
    let template = &times["_links"]["second"]["template"];
    assert_eq!(
        *template,
        format!("{root}/time/{{year}}/{{month}}/{{day}}/{{hour}}/{{minute}}/{{second}}{{?stable}}")
    );

    // And their contents.
    let bulk = get(format!("/tag/{tag}/{day}?stable=false&bulk=true"))
        .await
        .expect(200);
    for uri in &uris {
        assert!(
            bulk.text()
                .contains(&format!("Content-Key: {}\r\n", plain(uri))),
            "{uri}"
        );
    }
    let links = bulk.headers_of("link");
    assert!(
        links
            .iter()
            .all(|link| link.contains("?bulk=true&stable=false>")),
        "{links:?}"
    );
    let accept = hub.ask(Method::GET, &format!("/tag/{tag}/latest/3?bulk=true"));
    let zip = accept
        .header("accept", "application/zip")
        .send()
        .await
        .expect(200);
    assert_eq!(zip.header("content-type"), Some("application/zip"));
    let accept = hub.ask(Method::GET, &format!("/tag/{tag}/latest/3?bulk=true"));
    accept
        .header("accept", "multipart/mixed")
        .send()
        .await
        .expect(200);
}

fn plain_with_tag(uri: &str, tag: &str) -> String {
    format!("{}?tag={tag}", plain(uri))
}

/// A node gives no key to items of two channels, so that a key alone says where a list goes on.
#[tokio::test]
async fn items_inserted_at_once_into_the_channels_of_a_tag_have_keys_of_their_own() {
    let hub = Hub::shared().await;
    let (tag, names, _) = tagged(&hub, 8, 0).await;
    let mut keys = BTreeSet::new();
    for round in 0..40 {
        let inserting = names.iter().map(|name| hub.insert(name, "at once"));
        for uri in futures_util::future::join_all(inserting).await {
            assert!(keys.insert(key_of(&uri).to_owned()), "{round}: {uri}");
        }
    }
    let path = format!("/tag/{tag}/earliest/1000");
    let all = eventually("all is stable", async || {
        let listed = hub.get(&path).await.expect(200).uris();
        (listed.len() == keys.len()).then_some(listed)
    });
    let all = all.await;
    assert!(all.iter().map(|uri| key_of(plain(uri))).eq(&keys));
    let link = |answer: &Value, name: &str| {
        let href = answer["_links"][name]["href"].as_str();
        href.map(|url| hub.path_of(url).to_owned())
    };
    for count in [1, 3] {
        let mut there = Vec::new();
        let mut path = format!("/tag/{tag}/earliest/{count}");
        loop {
            let page = hub.get(&path).await.expect(200);
            if page.uris().is_empty() {
                break;
            }
            let left = all.len() - there.len();
            assert_eq!(page.uris().len(), left.min(count), "{path}");
            there.extend(page.uris());
            path = link(&page.json(), "next").unwrap();
        }
        assert_eq!(there, all, "by {count} there");
        let mut back: Vec<String> = Vec::new();
        let mut path = format!("/tag/{tag}/latest/{count}");
        loop {
            let page = hub.get(&path).await.expect(200);
            if page.uris().is_empty() {
                break;
            }
            let left = all.len() - back.len();
            assert_eq!(page.uris().len(), left.min(count), "{path}");
            back.splice(0..0, page.uris());
            path = link(&page.json(), "previous").unwrap();
        }
        assert_eq!(back, all, "by {count} back");
    }
    // From one item to the one beside it, too.
    let walk = async |from: &String, step: &str| {
        let mut walked = vec![from.clone()];
        loop {
            let url = plain(walked.last().unwrap());
            let step = hub.get(&format!("{url}/{step}?tag={tag}")).await;
            if step.status == 404 {
                return walked;
            }
            let step = step.expect_empty(303);
            walked.push(plain_with_tag(step.location(), &tag));
        }
    };
    assert_eq!(walk(&all[0], "next").await, all);
    let back = walk(all.last().unwrap(), "previous").await;
    assert!(back.iter().eq(all.iter().rev()), "{back:?}");
}
