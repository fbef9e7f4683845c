//! The document of a channel.

use http::Method;
use serde_json::json;

use crate::harness::{Hub, Setup};

#[tokio::test]
async fn a_document_is_written_shown_and_deleted() {
    let hub = Hub::shared().await;
    let name = hub.channel("documented").await;
    let path = format!("/channel/{name}/doc");
    let put = async |text: &'static str| hub.ask(Method::PUT, &path).body(text).send().await;
    let html = async || {
        let ask = hub.ask(Method::GET, &path).header("accept", "text/html");
        ask.send().await
    };
    hub.get(&path).await.expect_empty(404);
    html().await.expect_empty(404);
    let delete = || hub.ask(Method::DELETE, &path).send();
    delete().await.expect_empty(404);

    for text in ["# Orders *now*\n", "", "é\n<b>x</b>"] {
        put(text).await.expect_text(200, text);
        hub.get(&path).await.expect_text(200, text);
    }
    put("# Orders *now*").await.expect(200);
    for accept in [
        "text/html",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "TEXT/HTML;q=0.5",
    ] {
        let ask = hub.ask(Method::GET, &path).header("accept", accept);
        let shown = ask.send().await;
        let shown = shown.expect_text(200, "<h1>Orders <em>now</em></h1>\n");
        assert!(
            shown
                .header("content-type")
                .unwrap()
                .starts_with("text/html")
        );
    }
    for accept in ["*/*", "text/plain", "text/markdown"] {
        let ask = hub.ask(Method::GET, &path).header("accept", accept);
        let shown = ask.send().await.expect_text(200, "# Orders *now*");
        assert!(!shown.header("content-type").unwrap().contains("html"));
    }
    delete().await.expect_empty(204);
    hub.get(&path).await.expect_empty(404);
    delete().await.expect_empty(404);
}

#[tokio::test]
async fn nothing_that_runs_is_shown() {
    let hub = Hub::shared().await;
    let name = hub.channel("hostile").await;
    let path = format!("/channel/{name}/doc");
    for text in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "<iframe src=\"javascript:alert(1)\"></iframe>",
        "<a href=\"x\" onclick=\"alert(1)\">x</a>",
        "<svg onload=alert(1)>",
    ] {
        let put = hub.ask(Method::PUT, &path).body(text).send().await;
        put.expect_text(200, text);
        let ask = hub.ask(Method::GET, &path).header("accept", "text/html");
        let shown = ask.send().await.expect(200);
        assert!(!shown.text().contains("alert"), "{text}: {}", shown.text());
        // As text it stays what it was.
        hub.get(&path).await.expect_text(200, text);
    }
}

#[tokio::test]
async fn a_document_belongs_to_its_channel() {
    let hub = Hub::shared().await;
    let name = hub.channel("Owning").await;
    let path = format!("/channel/{name}/doc");
    let put = |path: &str| hub.ask(Method::PUT, path).body("x").send();
    put("/channel/nowhere/doc").await.expect_empty(404);
    hub.get("/channel/nowhere/doc").await.expect_empty(404);
    put(&path).await.expect(200);
    let loud = format!("/channel/{}/doc", name.to_uppercase());
    hub.get(&loud).await.expect_text(200, "x");
    let other = hub.channel("other").await;
    hub.get(&format!("/channel/{other}/doc")).await.expect(404);

    let channel = format!("/channel/{name}");
    let delete = hub.ask(Method::DELETE, &channel).send().await;
    delete.expect(202);
    hub.get(&path).await.expect_empty(404);
    hub.send_json(Method::PUT, &channel, &json!({}))
        .await
        .expect(201);
    hub.get(&path).await.expect_empty(404);
}

#[tokio::test]
async fn a_document_has_at_most_a_million_bytes() {
    // Whatever configurations may have; and where the channels are kept in ZooKeeper, it takes that much.
    let hub = Hub::shared().await;
    let name = hub.channel("long").await;
    let path = format!("/channel/{name}/doc");
    let put = |length: usize| {
        let ask = hub.ask(Method::PUT, &path).body("x".repeat(length));
        ask.send()
    };
    let error = put(1_000_001).await.expect_error(413, "body");
    assert_eq!(error["rule"], "at most 1000000 bytes");
    hub.get(&path).await.expect_empty(404);
    let text = "x".repeat(1_000_000);
    put(text.len()).await.expect_text(200, &text);
    put(1_000_001).await.expect(413);
    hub.get(&path).await.expect_text(200, &text);
}

#[tokio::test]
async fn a_document_is_text_of_limited_length() {
    let hub = Setup::new()
        .set("LIMITS_CONFIG_BYTES", "1KiB")
        .start()
        .await;
    let name = hub.channel("limited").await;
    let path = format!("/channel/{name}/doc");
    let put = |body: Vec<u8>| hub.ask(Method::PUT, &path).body(body).send();
    put(vec![0xff, 0xfe]).await.expect_error(400, "body");
    put(vec![b'x'; 1025]).await.expect_error(413, "body");
    hub.get(&path).await.expect_empty(404);
    put(vec![b'x'; 1024]).await.expect(200);
    // So are configurations.
    let config = json!({"description": "x".repeat(1020)});
    let channel = format!("/channel/{name}");
    let put = hub.send_json(Method::PUT, &channel, &config).await;
    put.expect_error(413, "body");
}
