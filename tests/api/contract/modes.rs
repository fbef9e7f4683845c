//! Section 13: node lifecycle and modes. Nodes that refuse or leave are hubs of their own.

use http::Method;

use super::{check, check_at};
use crate::harness::{Hub, Setup, key_of};

const PARTS: &str = "multipart/mixed; boundary=b";

/// A hub with a channel and an item, what it was started with, and the names of these.
async fn with_an_item(setup: &Setup) -> (Hub, String, String) {
    let hub = setup.start().await;
    let channel = hub.channel("Contract").await;
    let item = hub.insert(&channel, "x").await;
    (hub, channel, key_of(&item).to_owned())
}

#[tokio::test]
async fn read_only() {
    let setup = Setup::new();
    let (hub, channel, item) = with_an_item(&setup).await;
    hub.stop().await;
    let hub = setup.set("NODE_READ_ONLY", true).start().await;
    let rows = rows! {
        "A read-only node creates no channel."
            "POST /channel" json(r#"{"name": "{new}"}"#) => 403 header("content-type", "application/json") text("…");
        "Nor by a PUT."
            "PUT /channel/{new}" => 403 text("…");
        "It changes none."
            "PATCH {own}" json(r#"{"owner": "me"}"#) => 403 text("…");
        "It deletes none."
            "DELETE {own}" => 403 text("…");
        "Also not for callers on its machine."
            "DELETE {own}" header("host", "localhost:{port}") => 403 text("…");
        "Or by the path for what is protected."
            "DELETE /internal/channel/{channel}" header("host", "localhost:{port}") => 403 text("…");
        "It brings no channel down to a number of items."
            "PATCH /internal/max-items/{channel}" => 403 header("content-type", "application/json") text("…");
        "Also not for callers on its machine."
            "PATCH /internal/max-items/{channel}" header("host", "localhost:{port}") => 403 text("…");
        "It takes no item."
            "POST {own}" body("y") => 403 text("…");
        "Nor one of the past."
            "POST {own}/2013/01/01/05/15/07/003" body("y") => 403 text("this node is read-only");
        "Nor one of the past with a hash."
            "POST {own}/2013/01/01/05/15/07/003/a" body("y") => 403 text("this node is read-only");
        "It deletes none."
            "DELETE {own}/{item}" => 403 text("this node is read-only");
        "It takes no bulk."
            "POST {own}/bulk" header("content-type", PARTS) body("--b\r\n\r\none\r\n--b--") => 403 text("…");
        "Nor any through a provider."
            "POST /provider" header("channelName", "{channel}") body("y") => 403 text("…");
        "Nor several through one."
            "POST /provider/bulk" header("channelName", "{channel}") header("content-type", PARTS)
            body("--b\r\n\r\none\r\n--b--") => 403 text("…");
        "It shows channels."
            "GET {own}" => 200 json(r#"{"name": "{channel}", "owner": ""}"#);
        "It shows items."
            "GET {own}/{item}" => 200 text("x");
        "It lists them."
            "GET {own}/latest/9" => 200 json(r#"{"_links": {"uris": ["{url}/{item}"]}}"#);
        "It is healthy, and says what it is."
            "GET /health" => 200 json(r#"{"healthy": true, "readOnly": true}"#);
        "Clients read it, too."
            "GET /internal/properties" => 200 json(r#"{"properties": {"hub.read.only": "true"}}"#);
    };
    let known = [("channel", &*channel), ("item", &*item)];
    check_at(
        &hub,
        &known,
        "13, node lifecycle and modes: read-only",
        rows,
    )
    .await;
}

#[tokio::test]
async fn leaving() {
    // Long enough to ask all that is asked.
    let setup = Setup::new().set("SHUTDOWN_DELAY_SECONDS", 3600);
    let (hub, channel, item) = with_an_item(&setup).await;
    let told = hub.ask(Method::POST, "/internal/shutdown");
    let here = format!("localhost:{}", hub.address().port());
    told.header("host", here).send().await.expect(200);
    // Whoever was told must not see it before it has begun.
    crate::harness::eventually("health is 503", async || {
        (hub.get("/health").await.status == 503).then_some(())
    })
    .await;
    let rows = rows! {
        "A node that leaves says so in the body that health always has."
            "GET /health" => 503 json(r##"{"healthy": false, "description": "…", "version": "{version}",
                "readOnly": false, "startTime": "…", "upTimeHours": "#",
                "_links": {"metrics": {"href": "{base}/health/metrics"}}}"##);
        "It is alive."
            "GET /health/live" => 200;
        "It has the lock by which one leaves at a time."
            "GET /internal/shutdown" => 200 json(r#"{"shutdownLock": "{node}"}"#);
        "It serves on until that was noticed: items."
            "GET {own}/{item}" => 200 text("x");
        "And lists."
            "GET {own}/earliest" => 303 location("{url}/{item}");
        "And inserts."
            "POST {own}" body("y") => 201 location("{url}/…");
        "And configurations."
            "PUT /channel/{new}" => 201 location("{base}/channel/{new}");
    };
    let known = [("channel", &*channel), ("item", &*item)];
    check_at(&hub, &known, "13, node lifecycle and modes: shutdown", rows).await;
    // A table of its own, for it takes away what the one above looks at.
    let rows = rows! {
        "Somebody on the machine takes its turn away from it."
            before_with("POST /internal/shutdown/resetLock", &[("host", "localhost:{port}")], "")
            "GET /internal/shutdown" => 200 json(r#"{"shutdownLock": "none"}"#);
    };
    check_at(&hub, &known, "13, node lifecycle and modes: shutdown", rows).await;
}

#[tokio::test]
async fn protection_of_all_channels() {
    let hub = Setup::new().set("CHANNEL_PROTECT", true).start().await;
    let rows = rows! {
        "Where all channels are protected, a new one is, and has an owner."
            "PUT /channel/{new}" json(r#"{"owner": "me"}"#) => 201 json(r#"{"protect": true, "owner": "me"}"#);
        "Without one it is refused."
            "PUT /channel/{new}" => 400 error("owner");
        "By a provider as well."
            "POST /provider" header("channelName", "{new}") body("x") => 400 error("owner");
        "Callers from elsewhere delete none."
            channel(r#"{"owner": "me", "protect": false}"#) "DELETE {own}" => 403
            header("content-type", "application/json") text("…");
        "Nor by the path for what is protected."
            channel(r#"{"owner": "me"}"#) "DELETE /internal/channel/{channel}" => 403
            header("content-type", "application/json") text("…");
        "Local ones do."
            channel(r#"{"owner": "me"}"#) "DELETE {own}" header("host", "localhost:{port}") => 202 empty();
    };
    check_at(&hub, &[], "3.8, protection: hub.protect.channels", rows).await;
}

#[tokio::test]
async fn any_node() {
    let rows = rows! {
        "Any node serves what was written through another."
            channel("{}") elsewhere("POST {own}", &[], "x") "GET {location}" => 200 text("x");
        "It lists it at once where everything is asked for."
            channel("{}") elsewhere("POST {own}", &[], "x") "GET {own}/latest?stable=false" => 303
            location("{base}{location}");
        "What is inserted through it comes after what was through another."
            items(1) before("POST {own}", "x") "GET {own}/latest?stable=false" => 303 location("{base}{location}");
        "It finds a channel that was just created through another, past its caches."
            elsewhere("PUT /channel/{new}", &[], r#"{"owner": "me"}"#) "GET /channel/{new}?cached=false" => 200
            json(r#"{"owner": "me"}"#);
        "What is written through it is there at once."
            before("PUT /channel/{new}", r#"{"owner": "me"}"#) "GET /channel/{new}" => 200
            json(r#"{"owner": "me"}"#);
        "It finds a document that was put through another."
            channel("{}") elsewhere("PUT {own}/doc", &[], "text") "GET {own}/doc" => 200 text("text");
    };
    check("13, node lifecycle and modes: any node", rows).await;
}
