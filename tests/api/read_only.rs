//! A node through which nothing may be changed.

use http::Method;
use serde_json::json;

use crate::harness::Setup;

#[tokio::test]
async fn a_read_only_node_reads_and_changes_nothing() {
    let setup = Setup::new();
    let hub = setup.start().await;
    let name = hub.channel("frozen").await;
    let path = format!("/channel/{name}");
    let doc = format!("{path}/doc");
    hub.ask(Method::PUT, &doc)
        .body("d")
        .send()
        .await
        .expect(200);
    let item = hub.insert(&name, "x").await;
    let item = hub.path_of(&item).to_owned();
    hub.stop().await;

    let hub = setup.set("NODE_READ_ONLY", true).start().await;
    let shown = hub.get(&path).await.expect(200).json();
    for (method, path, body) in [
        (Method::POST, "/channel", "{\"name\":\"new\"}"),
        (Method::PUT, &path, "{\"owner\":\"o\"}"),
        (Method::PUT, "/channel/new", "{}"),
        (Method::PATCH, &path, "{\"owner\":\"o\"}"),
        (Method::DELETE, &path, ""),
        (Method::POST, &path, "y"),
        (Method::POST, "/channel/nowhere", "y"),
        (Method::PUT, &doc, "e"),
        (Method::DELETE, &doc, ""),
    ] {
        for host in ["hub.example", "localhost"] {
            let ask = hub.ask(method.clone(), path).header("host", host);
            let refused = ask.body(body).send().await.expect(403);
            assert!(!refused.text().is_empty() && !refused.text().starts_with('{'));
            let kind = refused.header("content-type");
            assert_eq!(kind, Some("application/json"), "{}", refused.about);
        }
    }
    assert_eq!(hub.get(&path).await.json()["owner"], shown["owner"]);
    hub.get("/channel/new").await.expect(404);
    hub.get(&doc).await.expect_text(200, "d");
    hub.get(&item).await.expect_text(200, "x");
    let latest = hub.get(&format!("{path}/latest/5")).await.expect(200);
    assert_eq!(latest.uris(), [hub.url(&item)]);
    let health = hub.get("/health").await.expect(200).json();
    assert_eq!(
        (&health["readOnly"], &health["healthy"]),
        (&json!(true), &json!(true))
    );
}
