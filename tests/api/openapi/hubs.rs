//! The calls that are asked of a node, or of hubs of their own: pages for operators, and hubs that leave, that are
//! limited, or that only read.

use std::net::SocketAddr;

use http::Method;
use serde_json::{Value, json};

use super::Run;
use super::calls::PARTS;
use crate::harness::{Hub, Raw, Setup, free_address};

/// A token for administrators.
const TOKEN: &str = "0123456789abcdef0123";

/// The hub itself, and the pages for operators.
pub(super) async fn of_the_node(run: &Run, hub: &Hub) {
    for id in [
        "root",
        "openApi",
        "health",
        "live",
        "healthMetrics",
        "metrics",
        "internal",
        "properties",
        "deploy",
        "deployText",
        "healthOfAll",
        "rings",
        "cluster",
        "time",
        "timeLocal",
        "timeMillis",
        "channelsPage",
        "traces",
        "shutdownPage",
    ] {
        run.ask(hub, id, "").expect(200).await;
    }
    let page = run.ask(hub, "root", "").header("accept", "text/html");
    page.expect(200).await;
    // This hub is alone.
    run.ask(hub, "timeRemote", "").expect(500).await;
    run.ask(hub, "ringOf", "any").expect(200).await;
    run.ask(hub, "ringOf", "any?at=2001-01-01T00:00:00Z")
        .expect(404)
        .await;
    run.ask(hub, "ringOf", "any?at=yesterday").expect(400).await;
    run.ask(hub, "recovery", "").expect(403).await;
    run.ask(hub, "recover", "").expect(403).await;
    run.ask(hub, "backup", "").expect(403).await;
    run.ask(hub, "archive", "").expect(403).await;
    run.ask(hub, "archiveOf", "any").expect(403).await;

    let (ops, hub) = with_operators(Setup::new()).await;
    let channel = hub.channel("archived").await;
    let archived = [
        ("archive", "", 200),
        ("archiveOf", channel.as_str(), 200),
        ("archiveOf", "none", 404),
    ];
    as_administrator(run, ops, &archived).await;
    let other = Setup::new().set("ARCHIVE_LOCAL", false);
    let (other_ops, _other) = with_operators(other).await;
    as_administrator(run, other_ops, &[("archive", "", 404)]).await;
    let calls = [
        ("backup", "", 200),
        ("backup", "?state=false", 200),
        ("recovery", "", 200),
        // The choices of a cluster whose members are away have more to say than those of none.
        ("recovery", "?without=nobody", 200),
        ("recovery", "?without=a/b", 400),
        ("recover", "?without=a/b", 400),
        ("recover", "?ring=x", 400),
        ("recover", "?without=nobody", 409),
    ];
    as_administrator(run, ops, &calls).await;
}

/// A hub that listens for operators there, and knows the administrators' token.
async fn with_operators(setup: Setup) -> (SocketAddr, Hub) {
    let ops = free_address();
    let token = setup.folder().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let setup = setup.set("OPS_LISTEN", ops);
    let setup = setup.set("OPS_ADMIN_TOKEN_FILE", token.display());
    (ops, setup.start().await)
}

/// Asks as an administrator, and notes the answers.
async fn as_administrator(run: &Run, ops: SocketAddr, calls: &[(&str, &str, u16)]) {
    for (id, query, status) in calls.iter().copied() {
        let operation = run.document.operation(id);
        let path = operation.path(query);
        let mut raw = Raw::connect(ops).await;
        raw.send(format!(
            "{} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
            operation.method
        ))
        .await;
        run.saw(id, &raw.answer().await.expect(status));
    }
}

/// What operators ask of channels, or do to them.
pub(super) async fn of_upkeep(run: &Run, hub: &Hub) {
    for query in ["", "?all=false"] {
        run.ask(hub, "refreshChannels", query).expect(200).await;
    }
    let name = hub.channel_with("stale", &json!({"owner": "me"})).await;
    hub.insert(&name, "x").await;
    for (id, of) in [("staleChannels", ""), ("staleChannelsOf", "/me")] {
        for (minutes, status) in [("0", 200), ("9", 200), ("-1", 400), ("x", 404)] {
            let target = format!("{minutes}{of}");
            run.ask(hub, id, &target).expect(status).await;
        }
    }
    let few = hub.channel_with("few", &json!({"maxItems": 1})).await;
    let trim = |name: &str| run.ask(hub, "enforceMaxItems", name);
    trim(&few).expect(200).await;
    hub.insert_many(&few, 3).await;
    trim(&few).expect(200).await;
    trim(&name).expect(400).await;
    trim("nowhere").expect(404).await;

    // Where all channels are protected, callers elsewhere delete none; a hub of its own, for there is
    // one channel of that name.
    let setup = Setup::new();
    let guarded = setup.start().await;
    let refresh = run.document.operation("putChannel").path("refresh");
    guarded
        .send_json(Method::PUT, &refresh, &json!({}))
        .await
        .expect(201);
    for (id, target) in [("deleteProtected", &*name), ("deleteRefresh", "")] {
        let hub = if target.is_empty() { &guarded } else { hub };
        run.ask(hub, id, target).expect(202).await;
        run.ask(hub, id, target).expect(404).await;
    }
    guarded.stop().await;
    let guarded = setup.set("CHANNEL_PROTECT", true).start().await;
    for (id, target) in [("deleteProtected", "any"), ("deleteRefresh", "")] {
        run.ask(&guarded, id, target).expect(403).await;
    }
}

/// What may be done to a hub by callers on its machine alone, and stops it in the end.
pub(super) async fn of_a_hub_that_leaves(run: &Run) {
    let setup = Setup::new().set("SHUTDOWN_DELAY_SECONDS", 3600);
    for leave in ["leave", "leaveInTurn"] {
        let hub = setup.start().await;
        let here = format!("localhost:{}", hub.address().port());
        let ids = ["useRemoteTime", "useLocalTime", leave, "resetShutdownLock"];
        for id in ids {
            run.ask(&hub, id, "").expect(403).await;
            let asked = run.ask(&hub, id, "").header("host", &here);
            asked.expect(200).await;
            if id == "useRemoteTime" {
                run.ask(&hub, "timeMillis", "").expect(521).await;
            }
        }
        hub.kill().await;
    }
}

/// The operations that take a body: their names, and what they are asked of besides a channel.
const WITH_BODIES: [(&str, bool); 10] = [
    ("createChannel", false),
    ("putChannel", true),
    ("patchChannel", true),
    ("insertItem", true),
    ("insertItems", true),
    ("insertItemAt", true),
    ("insertItemAs", true),
    ("putDocument", true),
    ("provide", false),
    ("provideBulk", false),
];

/// An item's place, for the paths that have one.
fn place_of(path: &str) -> &'static str {
    if path.ends_with("{hash}") {
        "/2013/01/01/05/15/07/003/a"
    } else if path.ends_with("{millisecond}") {
        "/2013/01/01/05/15/07/003"
    } else {
        ""
    }
}

/// What is too large, and what does not come.
pub(super) async fn of_a_limited_hub(run: &Run) {
    let setup = Setup::new().set("LIMITS_ITEM_BYTES", "1KiB");
    let setup = setup.set("LIMITS_CONFIG_BYTES", "1KiB");
    let hub = setup.set("HTTP_BODY_TIMEOUT_MS", 1000).start().await;
    let past = json!({"mutableTime": "2013-06-01"});
    let name = hub.channel_with("limited", &past).await;
    let mut stopped = Vec::new();
    for (id, is_of_channel) in WITH_BODIES {
        let place = place_of(&run.document.operation(id).path);
        let target = format!("{name}{place}");
        let target = if is_of_channel { &*target } else { "" };
        let kind = if id.to_lowercase().contains("bulk") || id == "insertItems" {
            PARTS
        } else {
            "application/json"
        };
        let part = format!("--b\r\n\r\n{}\r\n--b--\r\n", "x".repeat(4 << 20));
        let ask = run.ask(&hub, id, target).header("channelName", &name);
        ask.header("content-type", kind)
            .body(part)
            .expect(413)
            .await;
        let operation = run.document.operation(id);
        let mut raw = hub.raw().await;
        raw.send(format!(
            "{} {} HTTP/1.1\r\nHost: h\r\nchannelName: {name}\r\nContent-Type: {kind}\r\nContent-Length: 10\r\n\r\n{{",
            operation.method,
            operation.path(target)
        ))
        .await;
        stopped.push((id, raw));
    }
    for (id, mut raw) in stopped {
        run.saw(id, &raw.answer().await.expect(408));
    }
}

/// Everything that changes something, through a node through which nothing may be changed.
pub(super) async fn of_a_read_only_hub(run: &Run) {
    let setup = Setup::new();
    let hub = setup.start().await;
    let name = hub.channel("frozen").await;
    hub.stop().await;
    let hub = setup.set("NODE_READ_ONLY", true).start().await;
    let unsafe_operations = run.document.operations.iter();
    let unsafe_operations = unsafe_operations.filter(|operation| operation.method != Method::GET);
    for operation in unsafe_operations {
        let is_of_channel = operation.path.contains("{channel}");
        let target = format!("{name}{}", place_of(&operation.path));
        let target = if is_of_channel { &*target } else { "" };
        let ask = run
            .ask(&hub, &operation.id, target)
            .header("channelName", &name);
        let ask = ask.header(
            "content-type",
            if operation.path.ends_with("bulk") {
                PARTS
            } else {
                "application/json"
            },
        );
        ask.body(Value::Null.to_string()).expect(403).await;
    }
}
