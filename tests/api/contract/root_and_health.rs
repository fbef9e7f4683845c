//! Section 2: root and health.

use super::check;

#[tokio::test]
async fn root_and_health() {
    let rows = rows! {
        "The root links to everything."
            "GET /" => 200 keys("_links")
            links("self documentation channel health tag webhook internal") json(r#"{"_links": {
                "self": {"href": "{base}/"}, "documentation": {"href": "http…"},
                "channel": {"href": "{base}/channel"}, "health": {"href": "{base}/health"},
                "tag": {"href": "{base}/tag"}, "webhook": {"href": "{base}/webhook"},
                "internal": {"href": "{base}/internal"}}}"#);
        "So it does for Java's client by itself, which lists HTML and anything."
            "GET /" header("accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2") => 200
            keys("_links") json(r#"{"_links": {"self": {"href": "{base}/"}}}"#);
        "Browsers get a page."
            "GET /" header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8") => 200
            header("content-type", "text/html…") text("<!DOCTYPE html>…");
        "A node that can serve is healthy, and says since when."
            "GET /health" => 200 json(r##"{"healthy": true, "description": "OK",
                "version": "{version}", "readOnly": false, "startTime": "…-…-…T…:…:….…Z",
                "upTimeHours": "#", "_links": {"metrics": {"href": "{base}/health/metrics"}}}"##);
        "Health may say more: the node's checks, with reasons."
            "GET /health" => 200 json(r#"{"checks": {"store": {"ok": true, "why": "…"}}}"#);
        "A node that runs is alive."
            "GET /health/live" => 200;
        "It says how many files it has open."
            "GET /health/metrics" => 200 keys("openFiles") json(r##"{"openFiles": "#"}"##);
    };
    check("2, root and health", rows).await;
}
