//! Section 15: beyond the original.

use super::{check, check_at};
use crate::harness::Setup;

const PARTS: &str = "multipart/mixed; boundary=b";
const TWO: &str = "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n";
const KEY: (&str, &str) = ("idempotency-key", "k");
const KIND: (&str, &str) = ("content-type", PARTS);

#[tokio::test]
async fn safe_retries() {
    let key = "k".repeat(129);
    let rows = rows! {
        "A retry with the same key gets the item of the first try."
            channel("{}") before_with("POST {own}", &[KEY], "x") "POST {own}" header("idempotency-key", "k") body("x")
            => 201 location("{base}{location}") json(r#"{"_links": {"self": {"href": "{base}{location}"}}}"#);
        "There is one item then."
            channel("{}") before_with("POST {own}", &[KEY], "x") before_with("POST {own}", &[KEY], "x")
            "GET {own}/latest/9?stable=false" => 200 json(r#"{"_links": {"uris": ["{base}{location}"]}}"#);
        "So it is through another node."
            channel("{}") elsewhere("POST {own}", &[KEY], "x") "POST {own}" header("idempotency-key", "k") body("x")
            => 201 location("{base}{location}");
        "And for several items."
            channel("{}") before_with("POST {own}/bulk", &[KEY, KIND], TWO)
            "POST {own}/bulk" header("idempotency-key", "k") header("content-type", PARTS) body(TWO)
            => 201 location("{base}{location}") lists("first second");
        "And through a provider."
            before_with("POST /provider", &[KEY, ("channelName", "{new}")], "x")
            before_with("POST /provider", &[KEY, ("channelName", "{new}")], "x")
            "GET /channel/{new}/latest/9?stable=false" => 200 json(r#"{"_links": {"uris": ["…"]}}"#);
        "On another channel a key is another key."
            channel("{}") other("{}") before_with("POST {own}", &[KEY], "x")
            "POST /channel/{other}" header("idempotency-key", "k") body("y") => 201
            location("{base}/channel/{other}/…");
        "The same key with another payload is 422."
            channel("{}") before_with("POST {own}", &[KEY], "x") "POST {own}" header("idempotency-key", "k") body("y")
            => 422 error("Idempotency-Key");
        "With other items it is, too."
            channel("{}") before_with("POST {own}/bulk", &[KEY, KIND], TWO)
            "POST {own}/bulk" header("idempotency-key", "k") header("content-type", PARTS)
            body("--b\r\n\r\none\r\n--b--") => 422 error("Idempotency-Key");
        "Through a provider it is as well."
            before_with("POST /provider", &[KEY, ("channelName", "{new}")], "x")
            "POST /provider" header("idempotency-key", "k") header("channelName", "{new}") body("y")
            => 422 error("Idempotency-Key");
        "A key has up to 128 characters."
            channel("{}") "POST {own}" header("idempotency-key", &key[1..]) body("x") => 201;
        "And no more."
            channel("{}") "POST {own}" header("idempotency-key", &*key) body("x") => 400 error("Idempotency-Key");
        "They are visible ones."
            channel("{}") "POST {own}" header("idempotency-key", "a b") body("x") => 400 error("Idempotency-Key");
        "It has one at least."
            channel("{}") "POST {own}" header("idempotency-key", "") body("x") => 400 error("Idempotency-Key");
    };
    check("15, beyond the original: Idempotency-Key", rows).await;
}

#[tokio::test]
async fn what_is_told() {
    let rows = rows! {
        "An insert says how durable it is."
            channel("{}") "POST {own}" body("x") => 201 header("hub-durability", "fsync");
        "So does one of several items."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS) body(TWO) => 201
            header("hub-durability", "fsync");
        "And one through a provider."
            "POST /provider" header("channelName", "{new}") body("x") => 200 header("hub-durability", "fsync");
        "And a retry."
            channel("{}") before_with("POST {own}", &[KEY], "x") "POST {own}" header("idempotency-key", "k") body("x")
            => 201 header("hub-durability", "fsync");
        "What is refused is named: the field, the value and the rule."
            "PUT /channel/{new}" json(r#"{"storage": "TAPE"}"#) => 400
            json(r#"{"error": "…", "field": "storage", "value": "TAPE", "rule": "…SINGLE…"}"#);
        "A date is, too."
            "GET /channel/x/2015/13/07" => 400
            json(r#"{"error": "…", "field": "month", "value": "13", "rule": "…"}"#);
        "The rings are told, the oldest first."
            "GET /internal/rings" => 200 keys("rings absent horizon node") json(r##"{
                "rings": ["…", {"version": "#", "from": "…T…Z", "until": null, "members": ["…", "…"]}],
                "node": "{node}"}"##);
        "The replicas of a channel are."
            channel("{}") "GET /internal/rings/{channel}" => 200 json(r#"{"replicas": ["…", "…"]}"#);
        "A time to ask them for that is none is 400."
            "GET /internal/rings/any?at=yesterday" => 400 error("at");
        "Metrics are in the text format of Prometheus."
            "GET /metrics" => 200 header("content-type", "text/plain; version=0.0.4…") text("…# TYPE hub_…");
        "The API describes itself."
            "GET /openapi.json" => 200 json(r#"{"openapi": "3.1.0", "paths": {"/channel": "…"}}"#);
    };
    check("15, beyond the original: what is told", rows).await;
}

#[tokio::test]
async fn limits() {
    // A hub of its own, so that no body has to be large.
    let setup = Setup::new().set("LIMITS_ITEM_BYTES", 10);
    let hub = setup.set("LIMITS_BULK_BYTES", 100).start().await;
    let many = format!("--b\r\n\r\n{}\r\n--b--", "x".repeat(100));
    let rows = rows! {
        "A body as large as the limit is taken."
            channel("{}") "POST {own}" body("0123456789") => 201;
        "A larger one is 413."
            channel("{}") "POST {own}" body("0123456789x") => 413 error("body");
        "In chunks it is, too."
            channel("{}") "POST {own}" chunked(&["01234", "56789", "x"]) => 413 error("body");
        "Several items that are larger together are 413."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS) body(many.as_str()) => 413 error("body");
        "Through a provider they are as well."
            "POST /provider/bulk" header("channelName", "{new}") header("content-type", PARTS) body(many.as_str())
            => 413 error("body");
        "Nothing of them is there."
            channel("{}") "GET {own}/latest?stable=false" => 404;
    };
    check_at(&hub, &[], "15, beyond the original: 413", rows).await;
}
