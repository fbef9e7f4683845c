//! What operators ask of a hub and do to it: pages about all channels and requests, deleting what is
//! protected, leaving, and whose time is told.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Ask, Hub, Setup, eventually, free_address, unique};

/// A request as from somebody on the hub's machine.
fn here(hub: &Hub, method: Method, path: &str) -> Ask {
    let host = format!("localhost:{}", hub.address().port());
    hub.ask(method, path).header("host", host)
}

#[tokio::test]
async fn the_index_leads_to_every_page() {
    let hub = Hub::shared().await;
    for (index, wanted) in [
        ("/internal", &["channel", "traces", "shutdown", "time"][..]),
        ("/internal/channel", &["self", "refresh", "stale"]),
        ("/internal/shutdown", &["self", "shutdown", "resetLock"]),
    ] {
        let page = hub.get(index).await.expect(200).json();
        let links = page["_links"].as_object().unwrap();
        for name in wanted {
            let href = links[*name]["href"].as_str().unwrap();
            // What is for changing something only is there, too.
            let found = hub.get(href).await;
            assert!(matches!(found.status, 200 | 405), "{}", found.about);
        }
        hub.ask(Method::HEAD, index).send().await.expect(200);
        hub.ask(Method::OPTIONS, index).send().await.expect(200);
        hub.ask(Method::TRACE, index).send().await.expect(405);
    }
    let help = hub.get("/internal/channel").await.json();
    assert!(help["description"].as_str().unwrap().contains("max-items"));
}

#[tokio::test]
async fn channels_are_read_again_on_every_node() {
    let hub = Hub::alone().await;
    let node = hub.get("/internal/deploy").await.json()[0].clone();
    let node = node.as_str().unwrap();
    for query in ["", "?all=true", "?all=TRUE"] {
        let answer = hub.get(&format!("/internal/channel/refresh{query}")).await;
        assert_eq!(
            answer.expect(200).json(),
            json!({node: "success"}),
            "{query}"
        );
    }
    for query in ["?all=false", "?all=no"] {
        let answer = hub.get(&format!("/internal/channel/refresh{query}")).await;
        answer.expect_text(200, node);
    }
}

#[tokio::test]
async fn a_channel_is_stale_when_its_newest_item_is_old() {
    let hub = Setup::new().start().await;
    let owned = async |owner: &str| hub.channel_with("stale", &json!({"owner": owner})).await;
    let (one, other, empty) = (
        owned("me & co").await,
        owned("you").await,
        owned("you").await,
    );
    let first = hub.insert(&one, "1").await;
    hub.insert(&other, "2").await;
    let stale = async |rest: &str| -> (Vec<String>, Value) {
        let page = hub.get(&format!("/internal/channel/stale/{rest}")).await;
        let page = page.expect(200).json();
        let own = page["_links"]["self"]["href"].as_str().unwrap().to_owned();
        assert_eq!(own, hub.url(&format!("/internal/channel/stale/{rest}")));
        let uris = page["stale"]["uris"].as_array().unwrap().clone();
        let uri = |entry: &Value| entry["uri"].as_str().unwrap().to_owned();
        (uris.iter().map(uri).collect(), page["stale"].clone())
    };
    let url = |name: &str| hub.url(&format!("/channel/{name}"));
    // The time of its newest item must have passed.
    let page = eventually("both are stale", async || {
        let (uris, page) = stale("0").await;
        (uris.len() == 2).then_some(page)
    })
    .await;
    assert_eq!(page["stale minutes"], 0);
    assert!(page["stale cutoff"].as_str().unwrap().ends_with('Z'));
    let uris = &page["uris"];
    assert_eq!(
        (&uris[0]["uri"], &uris[1]["uri"]),
        (&json!(url(&one)), &json!(url(&other)))
    );
    assert!(uris[0]["last update"].as_str() < uris[1]["last update"].as_str());
    let stamp = hub.get(&first).await;
    assert_eq!(
        uris[0]["last update"],
        stamp.header("creation-date").unwrap()
    );
    // One that never had an item has no newest one.
    assert!(!uris.to_string().contains(&empty));
    assert_eq!(stale("0/me%20%26%20co").await.0, [url(&one)]);
    assert_eq!(stale("0/you").await.0, [url(&other)]);
    assert!(stale("0/nobody").await.0.is_empty());
    assert!(stale("60").await.0.is_empty());
    for bad in ["-1", "52560001", "99999999999999999999"] {
        let refused = hub.get(&format!("/internal/channel/stale/{bad}")).await;
        assert!(refused.expect_error(400, "minutes")["value"].is_string());
    }
    hub.get("/internal/channel/stale/soon").await.expect(404);
}

#[tokio::test]
async fn a_protected_channel_is_deleted_by_operators() {
    let delete = async |ask: Ask| -> Answer { ask.send().await };
    let hub = Hub::shared().await;
    let config = json!({"protect": true, "owner": "me"});
    let name = hub.channel_with("guarded", &config).await;
    let (path, own) = (
        format!("/internal/channel/{name}"),
        format!("/channel/{name}"),
    );
    delete(hub.ask(Method::DELETE, &own)).await.expect(403);
    delete(hub.ask(Method::DELETE, &path))
        .await
        .expect_empty(202);
    hub.get(&format!("{own}?cached=false")).await.expect(404);
    let missing = delete(hub.ask(Method::DELETE, &path)).await.expect(404);
    assert!(missing.text().contains(&name), "{}", missing.text());
    // Where all of them are protected, only somebody on the hub's machine may.
    let setup = Setup::new().set("CHANNEL_PROTECT", true);
    let hub = setup.start().await;
    let name = hub.channel_with("guarded", &config).await;
    let path = format!("/internal/channel/{name}");
    delete(hub.ask(Method::DELETE, &path)).await.expect(403);
    let forwarded = here(&hub, Method::DELETE, &path).header("x-forwarded-for", "10.0.0.1");
    delete(forwarded).await.expect(403);
    delete(here(&hub, Method::DELETE, &path)).await.expect(202);
    hub.stop().await;
    let hub = setup.set("NODE_READ_ONLY", true).start().await;
    delete(here(&hub, Method::DELETE, &path)).await.expect(403);
}

#[tokio::test]
async fn requests_are_traced_while_they_last_and_afterwards() {
    let hub = Setup::new().start().await;
    let name = hub.channel("traced").await;
    let item = hub.insert(&name, "x").await;
    let id = unique("request");
    let path = hub.path_of(&item).to_owned();
    let asked = hub.ask(Method::GET, &format!("{path}?secret=1"));
    asked.header("x-request-id", &id).send().await.expect(200);
    let page = eventually("the request is shown", async || {
        let page = hub.get("/internal/traces").await.expect(200).json();
        let shown = page["recent"].as_array().unwrap();
        shown.iter().any(|shown| shown["id"] == id).then_some(page)
    })
    .await;
    let recent = page["recent"].as_array().unwrap();
    let shown = recent.iter().find(|shown| shown["id"] == id).unwrap();
    assert_eq!(shown["first"], format!("GET {path}"), "without its query");
    assert!(shown["start"].is_string() && shown["millis"].is_number());
    assert_eq!(shown["trace"], json!(["route item", "status 200"]));
    // The page itself is being served.
    let active = page["active"].as_array().unwrap();
    assert!(
        active
            .iter()
            .any(|shown| shown["first"] == "GET /internal/traces"),
        "{page}"
    );
    let slowest = page["slowest"].as_array().unwrap();
    let millis: Vec<f64> = slowest
        .iter()
        .map(|s| s["millis"].as_f64().unwrap())
        .collect();
    assert!(
        !millis.is_empty() && millis.is_sorted_by(|a, b| a >= b),
        "{millis:?}"
    );
    assert!(
        page["server"]
            .as_str()
            .unwrap()
            .ends_with("/internal/traces")
    );
    assert_eq!(page["servers"], json!([page["server"]]));
    for _ in 0..150 {
        hub.get("/health/live").await.expect(200);
    }
    let page = hub.get("/internal/traces").await.expect(200).json();
    for list in ["recent", "slowest"] {
        assert_eq!(page[list].as_array().unwrap().len(), 100, "{list}");
    }
    // One whose client went is being served no more.
    let mut raw = hub.raw().await;
    raw.send(format!(
        "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\
         Expect: 100-continue\r\n\r\n"
    ))
    .await;
    raw.head().await.expect(100);
    let insert = format!("POST /channel/{name}");
    let waits = async || {
        let page = hub.get("/internal/traces").await.expect(200).json();
        let active = page["active"].as_array().unwrap().clone();
        active.iter().any(|shown| shown["first"] == insert)
    };
    assert!(waits().await);
    drop(raw);
    eventually("it is gone", async || (!waits().await).then_some(())).await;
}

#[tokio::test]
async fn a_hub_leaves_as_it_does_when_it_is_told_to_stop() {
    for path in ["/internal/shutdown", "/shutdown"] {
        let setup = Setup::new().set("SHUTDOWN_DELAY_SECONDS", 3600);
        let hub = setup.start().await;
        let name = hub.channel("left").await;
        let node = hub.get("/internal/deploy").await.json()[0].clone();
        let page = hub.get("/internal/shutdown").await.expect(200).json();
        assert_eq!(page["shutdownLock"], "none");
        let from = |name: &str, value: &str| {
            let ask = here(&hub, Method::POST, path);
            ask.header(name, value).send()
        };
        let afar = hub.ask(Method::POST, path).send().await;
        assert!(!afar.expect(403).text().is_empty());
        from("x-forwarded-for", "10.0.0.1").await.expect(403);
        from("forwarded", "for=10.0.0.1").await.expect(403);
        hub.get("/health").await.expect(200);

        let left = here(&hub, Method::POST, path)
            .send()
            .await
            .expect(200)
            .json();
        assert_eq!(left, json!({"shutdownLock": node, "waiting": false}));
        eventually("health is 503", async || {
            (hub.get("/health").await.status == 503).then_some(())
        })
        .await;
        let item = hub.insert(&name, "served on").await;
        hub.get(&item).await.expect_text(200, "served on");
        let page = hub.get("/internal/shutdown").await.expect(200).json();
        assert_eq!(page["shutdownLock"], node);
        let reset = "/internal/shutdown/resetLock";
        hub.ask(Method::POST, reset).send().await.expect(403);
        let reset = here(&hub, Method::POST, reset).send().await.expect(200);
        assert_eq!(reset.json()["shutdownLock"], "none");
        // Whoever sits at the keyboard need not wait for load balancers.
        hub.signal(rustix::process::Signal::INT);
        assert_eq!(hub.ended().await.code(), Some(0), "{}", hub.log());
    }
    let hub = Setup::new().start().await;
    here(&hub, Method::POST, "/internal/shutdown")
        .send()
        .await
        .expect(200);
    assert_eq!(hub.ended().await.code(), Some(0), "{}", hub.log());
}

#[tokio::test]
async fn whose_time_is_told_is_chosen_and_remembered() {
    let setup = Setup::new();
    let mut hub = setup.start().await;
    let tells = async |hub: &Hub, remote: bool| {
        let page = hub.get("/internal/time").await.expect(200).json();
        assert_eq!(page["remote"], remote);
        let millis = hub.get("/internal/time/millis").await;
        millis.expect(if remote { 521 } else { 200 });
        // Its own can always be had, and another's never where there is none.
        hub.now().await;
        hub.get("/internal/time/remote").await.expect(500);
    };
    tells(&hub, false).await;
    for (source, remote) in [("remote", true), ("local", false), ("remote", true)] {
        let path = format!("/internal/time/{source}");
        hub.ask(Method::PUT, &path).send().await.expect(403);
        tells(&hub, !remote).await;
        here(&hub, Method::PUT, &path).send().await.expect(200);
        tells(&hub, remote).await;
        hub.kill().await;
        hub = setup.start().await;
        tells(&hub, remote).await;
        let wrong = hub.ask(Method::POST, &path).send().await.expect(405);
        assert_eq!(wrong.header("allow"), Some("GET, HEAD, PUT, OPTIONS"));
    }
}

#[tokio::test]
async fn all_of_it_is_at_the_operators_listener_too() {
    let ops = free_address();
    let setup = Setup::new()
        .set("OPS_LISTEN", ops)
        .set("HTTP_OPS_ROUTES", "false");
    let hub = setup.start_and_ask(Some(ops)).await;
    let name = hub.channel_with("kept", &json!({"maxItems": 1})).await;
    for (method, path, status) in [
        (Method::GET, "/internal/traces", 200),
        (Method::GET, "/internal/channel/stale/5", 200),
        (Method::PATCH, &format!("/internal/max-items/{name}"), 200),
        (Method::POST, "/shutdown", 403),
        (Method::DELETE, &format!("/internal/channel/{name}"), 202),
    ] {
        hub.ask(method.clone(), path).send().await.expect_empty(404);
        let at_ops = format!("http://{ops}{path}");
        hub.ask(method, &at_ops).send().await.expect(status);
    }
}
