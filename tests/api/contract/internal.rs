//! Section 12: internal endpoints.

use super::{check, check_at, is_cluster};
use crate::harness::Setup;

#[tokio::test]
async fn pages() {
    let rows = rows! {
        "The index leads to what there is, with words about it."
            "GET /internal" => 200 json(r#"{"_links": {
                "channel": {"description": "…", "href": "{base}/internal/channel"},
                "time": {"description": "…", "href": "{base}/internal/time"},
                "shutdown": {"description": "…", "href": "{base}/internal/shutdown"}}}"#);
        "Properties are texts, and said to be this node's."
            "GET /internal/properties" => 200 keys("server servers properties")
            json(r#"{"server": "http://{node}/internal/properties",
                "servers": ["…", "http://{node}/internal/properties"],
                "properties": {"hub.type": "…", "hub.read.only": "false"}}"#);
        "All nodes are listed."
            "GET /internal/deploy" => 200 json(r#"["…", "{node}"]"#);
        "Their hosts are, as text."
            "GET /internal/deploy/text" => 200 header("content-type", "text/plain…") text("…");
        "The health of all of them is one object."
            "GET /internal/health" => 200
            json(r#"{"http://{node}/health": {"healthy": true, "description": "OK", "version": "{version}"}}"#);
        "The page about time leads to the others, and says whose time it is."
            "GET /internal/time" => 200 keys("server servers remote _links") links("self millis local remote")
            json(r#"{"server": "http://{node}/internal/time", "remote": false, "_links": {
                "self": {"href": "{base}/internal/time"}, "millis": {"href": "{base}/internal/time/millis"},
                "local": {"href": "{base}/internal/time/local"}, "remote": {"href": "{base}/internal/time/remote"}}}"#);
        "Local time is a bare number."
            "GET /internal/time/local" => 200 json(r##""#""##);
        "So are the milliseconds of a node that tells its own time."
            "GET /internal/time/millis" => 200 json(r##""#""##);
        "Whose time is told is for callers on the machine to choose."
            "PUT /internal/time/remote" => 403
            header("content-type", "application/json") text("…");
        "The choice of the own clock is, too."
            "PUT /internal/time/local" => 403
            header("content-type", "application/json") text("…");
        "The page about requests has those that last, took longest and were last."
            "GET /internal/traces" => 200 keys("server servers active slowest recent") json(r##"{
                "server": "http://{node}/internal/traces", "active": ["…",
                {"first": "GET /internal/traces", "id": "…", "start": "…", "millis": "#", "trace": "…"}]}"##);
        "The page about the cluster lists its nodes."
            "GET /internal/cluster" => 200 json(r#"{"spokeCluster": ["…", {"server": "{node}"}],
                "decommissioned": {"withinSpokeTTL": [], "doNotStart": []},
                "_links": {"self": {"href": "{base}/internal/cluster"}}}"#);
        "The page about leaving says whose turn it is."
            "GET /internal/shutdown" => 200 keys("shutdownLock _links") json(r#"{"shutdownLock": "none"}"#);
        "Only callers on the machine make a node leave."
            "POST /internal/shutdown" => 403
            header("content-type", "application/json") text("…");
        "By the short path as well."
            "POST /shutdown" => 403
            header("content-type", "application/json") text("…");
        "Or take its turn away."
            "POST /internal/shutdown/resetLock" => 403
            header("content-type", "application/json") text("…");
        "A forwarded call is not on the machine."
            "POST /internal/shutdown" header("host", "localhost:{port}") header("x-forwarded-for", "192.0.2.1")
            => 403 text("…");
    };
    check("12.1, worth keeping: pages", rows).await;
}

#[tokio::test]
async fn another_clock() {
    // A hub of its own: it remembers whose time it tells.
    let hub = Setup::new().start().await;
    let rows = rows! {
        "A node that tells another one's time refers to that."
            before_with("PUT /internal/time/remote", &[("host", "localhost:{port}")], "")
            "GET /internal/time/millis" => 521 header("content-type", "application/json")
            text("…internal/time/remote…");
    };
    check_at(&hub, &[], "12.1, worth keeping: time", rows).await;
}

#[tokio::test]
async fn channels() {
    let rows = rows! {
        "There is help about channels, with links."
            "GET /internal/channel" => 200 keys("description _links")
            json(r#"{"_links": {"refresh": {"href": "{base}/internal/channel/refresh"}}}"#);
        "Every node reads all channels again."
            "GET /internal/channel/refresh" => 200 json(r#"{"{node}": "success"}"#);
        "Or this one alone, which says its name."
            "GET /internal/channel/refresh?all=false" => 200 text("{node}");
        "After it a node knows what was created elsewhere."
            elsewhere("PUT /channel/{new}", &[], r#"{"owner": "me"}"#)
            before("GET /internal/channel/refresh?all=false", "") "GET /channel/{new}" => 200
            json(r#"{"owner": "me"}"#);
        "And what was changed there."
            channel("{}") elsewhere("PATCH {own}", &[], r#"{"owner": "me"}"#)
            before("GET /internal/channel/refresh?all=false", "") "GET {own}" => 200 json(r#"{"owner": "me"}"#);
        "A protected channel is deleted."
            channel(r#"{"protect": true, "owner": "me"}"#) "DELETE /internal/channel/{channel}" => 202 empty();
        "After that it is gone."
            channel(r#"{"protect": true, "owner": "me"}"#) before("DELETE /internal/channel/{channel}", "")
            "GET {own}?cached=false" => 404 empty();
        "One that is not there is 404, with a text."
            "DELETE /internal/channel/{new}" => 404 header("content-type", "application/json")
            text("…{new}…");
        "Stale channels are listed, with when that was."
            "GET /internal/channel/stale/60" => 200 keys("_links stale") json(r#"{
                "_links": {"self": {"href": "{base}/internal/channel/stale/60"}},
                "stale": {"stale minutes": 60, "stale cutoff": "…-…-…T…:…:….…Z"}}"#);
        "One whose items are younger is not among them."
            channel(r#"{"owner": "{tag}"}"#) items(1) "GET /internal/channel/stale/60/{tag}" => 200
            json(r#"{"stale": {"stale minutes": 60, "uris": []}}"#);
        "One whose newest item that cannot change any more is from long ago is."
            channel(r#"{"mutableTime": "2013-06-01", "owner": "{tag}"}"#)
            before("POST {own}/2013/04/01/12/00/00/001", "x")
            before_with("PATCH {own}", &[("content-type", "application/json")], r#"{"mutableTime": "2013-03-01"}"#)
            "GET /internal/channel/stale/60/{tag}" => 200
            json(r#"{"stale": {"uris": [{"last update": "2013-04-01T12:00:00.001Z", "uri": "{url}"}]}}"#);
        "Their items are older than so many minutes."
            channel(r#"{"owner": "{tag}"}"#) items(1)
            "GET /internal/channel/stale/0/{tag}" => 200 json(r#"{
                "_links": {"self": {"href": "{base}/internal/channel/stale/0/{tag}"}},
                "stale": {"stale minutes": 0, "uris": [{"last update": "{first.date}", "uri": "{url}"}]}}"#);
        "Channels of other owners are left out."
            items(1) "GET /internal/channel/stale/0/{tag}" => 200 json(r#"{"stale": {"uris": []}}"#);
        "A number of items is brought about."
            channel(r#"{"maxItems": 2}"#) items(3) "PATCH /internal/max-items/{channel}" => 200;
        "After that there are so many."
            channel(r#"{"maxItems": 2}"#) items(3) before("PATCH /internal/max-items/{channel}", "")
            "GET {own}/earliest/9" => 200 lists("second third");
        "Where there is no such number it is 400."
            channel("{}") "PATCH /internal/max-items/{channel}" => 400 error("maxItems");
    };
    check("12.1, worth keeping: channels", rows).await;
}

#[tokio::test]
async fn what_clients_read() {
    let mut rows = rows! {
        "The largest payload is told."
            "GET /internal/properties" => 200 json(r#"{"properties": {"app.maxPayloadSizeMB": "40"}}"#);
    };
    // By these two clients tell a hub that is alone from one of a cluster.
    if is_cluster() {
        rows.extend(rows! {
            "A hub of a cluster says that it is one, and names all nodes."
                "GET /internal/properties" => 200
                json(r#"{"servers": ["…/internal/properties", "…", "…"], "properties": {"hub.type": "aws"}}"#);
            "All of them are listed."
                "GET /internal/deploy" => 200 json(r#"["…:…", "…:…", "…:…"]"#);
            "Another node is asked for the time."
                "GET /internal/time/remote" => 200 json(r##""#""##);
        });
    } else {
        rows.extend(rows! {
            "A hub that is alone says that it is, and names no other node."
                "GET /internal/properties" => 200
                json(r#"{"servers": ["http://{node}/internal/properties"], "properties": {"hub.type": "test"}}"#);
            "It alone is listed."
                "GET /internal/deploy" => 200 json(r#"["{node}"]"#);
            "There is no other node to ask for the time."
                "GET /internal/time/remote" => 500 header("content-type", "application/json") text("…");
        });
    }
    check("12.2, what clients read", rows).await;
}
