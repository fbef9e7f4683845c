//! The root, health, metrics, and the two listeners.

use http::Method;
use serde_json::json;

use crate::harness::{Hub, Raw, Setup, VERSION, free_address};

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
    assert!(documentation.starts_with("http"), "{documentation}");
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
