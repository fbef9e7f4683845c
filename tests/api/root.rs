//! The root, health, metrics, and the two listeners.

use http::Method;
use serde_json::json;

use crate::harness::{Hub, Raw, Setup, VERSION, eventually, free_address};

#[tokio::test]
async fn the_root_links_to_everything() {
    let hub = Hub::shared().await;
    let body = hub.get("/").await.expect(200).json();
    let links = body["_links"].as_object().unwrap();
    for (name, path) in [
        ("self", "/"),
        ("channel", "/channel"),
        ("health", "/health"),
        ("tag", "/tag"),
        ("webhook", "/webhook"),
        ("internal", "/internal"),
    ] {
        assert_eq!(links[name], json!({"href": hub.url(path)}), "{name}");
    }
    let documentation = links["documentation"]["href"].as_str().unwrap();
    assert_eq!(documentation, hub.url("/openapi.json"));
    hub.get(documentation).await.expect(200);
}

#[tokio::test]
async fn the_root_is_a_page_for_people() {
    let hub = Hub::shared().await;
    let name = hub.channel("Shown").await;
    let ask = |accept: &str| hub.ask(Method::GET, "/").header("accept", accept).send();
    for accept in [
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ] {
        let page = ask(accept).await.expect(200);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("vary"), Some("accept"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let text = page.text();
        for part in [
            "<!DOCTYPE html>",
            "<html lang=\"en\">",
            "<strong>Healthy</strong>: OK",
            &format!("version {VERSION}"),
            &format!("<a href=\"{}\">", hub.url("/openapi.json")),
            &format!("<a href=\"{}\">", hub.url("/health")),
            &format!("<a href=\"{}\">", hub.url("/metrics")),
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let link = format!(
            "<a href=\"{}\">{name}</a>",
            hub.url(&format!("/channel/{name}"))
        );
        // Other tests make channels of this hub, too: perhaps more than are listed.
        assert!(
            text.contains(&link) || text.contains("The first 500 of"),
            "{text}"
        );
    }
    for accept in ["*/*", "application/json", "text/*", ""] {
        let links = ask(accept).await.expect(200);
        assert!(links.json()["_links"].is_object());
        assert_eq!(links.header("vary"), Some("accept"));
    }
}

#[tokio::test]
async fn the_page_lists_some_channels_and_says_of_how_many() {
    let hub = Setup::new().start().await;
    let page = async || {
        let ask = hub.ask(Method::GET, "/").header("accept", "text/html");
        ask.send().await.expect(200).text().to_owned()
    };
    assert!(page().await.contains("There are none yet."));
    let make = |number: usize| {
        let hub = hub.again();
        async move {
            let path = format!("/channel/c{number:03}");
            hub.ask(Method::PUT, &path).send().await.expect(201);
        }
    };
    futures_util::future::join_all((0..500).map(make)).await;
    let all = page().await;
    assert_eq!(all.matches("/channel/c").count(), 500);
    assert!(!all.contains("The first"), "{all}");
    make(500).await;
    let some = page().await;
    assert!(some.contains("The first 500 of 501, by name."), "{some}");
    assert!(some.contains(">c499</a>") && !some.contains(">c500</a>"));
}

#[tokio::test]
async fn the_page_of_a_node_that_is_not_ready_says_so() {
    eventually("it was asked before it was ready", async || {
        let hub = Setup::new().start_only().await;
        let ask = hub.ask(Method::GET, "/").header("accept", "text/html");
        let page = ask.send().await.expect(200);
        let early = page.text().contains("<strong>Not ready</strong>: ");
        assert!(early || page.text().contains("<strong>Healthy</strong>"));
        early.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_listener_without_pages_about_the_node_does_not_link_to_them() {
    let ops = free_address();
    let setup = Setup::new().set("OPS_LISTEN", ops);
    let setup = setup.set("HTTP_OPS_ROUTES", "false");
    let hub = setup.start_and_ask(Some(ops)).await;
    let ask = hub.ask(Method::GET, "/").header("accept", "text/html");
    let page = ask.send().await.expect(200);
    assert!(page.text().contains("<strong>Healthy</strong></p>"));
    assert!(!page.text().contains("/metrics") && !page.text().contains("/health"));
    hub.get("/openapi.json").await.expect(200);
}

#[tokio::test]
async fn health_says_how_the_node_is() {
    let hub = Hub::shared().await;
    let body = hub.get("/health").await.expect(200).json();
    assert_eq!(body["healthy"], true);
    assert_eq!(body["description"], "OK");
    assert_eq!(body["version"], VERSION);
    assert_eq!(body["readOnly"], false);
    assert_eq!(body["upTimeHours"], 0);
    let started = body["startTime"].as_str().unwrap();
    assert!(started.ends_with('Z') && started.len() == 24, "{started}");
    started.parse::<jiff::Timestamp>().unwrap();
    let metrics = json!({"metrics": {"href": hub.url("/health/metrics")}});
    assert_eq!(body["_links"], metrics);
    hub.get("/health/live").await.expect(200);
    let files = hub.get("/health/metrics").await.expect(200).json();
    assert!(files["openFiles"].as_u64().unwrap() > 0, "{files}");
}

#[tokio::test]
async fn metrics_are_in_the_text_format_of_prometheus() {
    let hub = Hub::shared().await;
    let channel = hub.channel("metrics").await;
    hub.insert(&channel, "x").await;
    let answer = hub.get("/metrics").await.expect(200);
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    for line in answer.text().lines().filter(|line| !line.is_empty()) {
        let sample = line.rsplit_once(' ');
        let value = sample.and_then(|(_, value)| value.parse::<f64>().ok());
        assert!(line.starts_with("# ") || value.is_some(), "{line}");
    }
    let inserts = answer
        .text()
        .lines()
        .any(|line| line.contains("route=\"insert\"") || line.contains("\"insert\""));
    assert!(inserts, "{}", answer.text());
}

#[tokio::test]
async fn the_internal_pages_that_clients_read() {
    let hub = Hub::alone().await;
    let deploy = hub.get("/internal/deploy").await.expect(200).json();
    let node = deploy[0].as_str().unwrap();
    assert_eq!(deploy, json!([node]));
    let (host, _) = node.rsplit_once(':').unwrap();
    let text = hub.get("/internal/deploy/text").await;
    let text = text.expect_text(200, host);
    assert!(
        text.header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );

    let answer = hub.get("/internal/properties").await.expect(200).json();
    let server = format!("http://{node}/internal/properties");
    assert_eq!(answer["server"], server.as_str());
    assert_eq!(answer["servers"], json!([server]));
    // By this clients take it for a hub that is alone.
    assert_eq!(answer["properties"]["hub.type"], "test");
    assert_eq!(answer["properties"]["hub.read.only"], "false");

    let before = hub.now().await;
    let millis = hub.get("/internal/time/millis").await.expect(200);
    let millis: i64 = millis.text().parse().unwrap();
    assert!(before <= millis && millis <= hub.now().await);
    hub.get("/internal/time/remote").await.expect(500);
    let time = hub.get("/internal/time").await.expect(200).json();
    assert_eq!(time["remote"], false);
    let health = hub.get("/internal/health").await.expect(200).json();
    assert_eq!(health[format!("http://{node}/health")]["healthy"], true);
    hub.get("/internal").await.expect(200).json();
}

#[tokio::test]
async fn operators_have_a_listener_of_their_own() {
    let ops = free_address();
    let setup = Setup::new()
        .set("OPS_LISTEN", ops)
        .set("HTTP_OPS_ROUTES", "false");
    let hub = setup.start_and_ask(Some(ops)).await;
    for (path, at_ops, at_public) in [
        ("/health", 200, 404),
        ("/health/live", 200, 404),
        ("/metrics", 200, 404),
        ("/internal/properties", 200, 404),
        ("/", 404, 200),
        ("/channel", 404, 200),
    ] {
        let mut raw = Raw::connect(ops).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await;
        raw.answer().await.expect(at_ops);
        hub.get(path).await.expect(at_public);
    }
    let mut raw = Raw::connect(ops).await;
    raw.send("PUT /channel/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    raw.answer().await.expect_empty(404);
    hub.ask(Method::GET, "/channel/x").send().await.expect(404);
}
