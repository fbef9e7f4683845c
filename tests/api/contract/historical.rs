//! Sections 4.4, 4.5 and 6: items of the past, deleting them, and epochs.

use super::{check, check_at};
use crate::harness::Setup;

/// A channel that takes items up to 2013-06-01T12:00.
const PAST: &str = r#"{"mutableTime": "2013-06-01T12:00:00.000Z"}"#;
const KEY: (&str, &str) = ("idempotency-key", "k");

#[tokio::test]
async fn inserts() {
    let rows = rows! {
        "An item of the past has the time that was asked for, and a hash of the hub's."
            channel(PAST) "POST {own}/2013/1/1/5/15/07/3" body("x") => 201
            location("{url}/2013/01/01/05/15/07/003/…") keys("timestamp _links") links("channel self")
            json(r#"{"timestamp": "2013-01-01T05:15:07.003Z",
                "_links": {"channel": {"href": "{url}"}, "self": {"href": "{url}/2013/01/01/05/15/07/003/…"}}}"#);
        "Or a hash of the writer's."
            channel(PAST) "POST {own}/2013/01/01/05/15/07/003/mine" body("x") => 201
            location("{url}/2013/01/01/05/15/07/003/mine")
            json(r#"{"_links": {"self": {"href": "{url}/2013/01/01/05/15/07/003/mine"}}}"#);
        "It is read with its type, from any node."
            channel(PAST) elsewhere("POST {own}/2013/01/01/05/15/07/003", &[("content-type", "a/b; c=d")], "x")
            "GET {location}" => 200 text("x") header("content-type", "a/b;c=d")
            header("creation-date", "2013-01-01T05:15:07.003Z") header("x-item-length", "1") no_header("x-largeitem");
        "Without a type it is read as bytes."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            "GET {own}/2013/01/01/05/15/07/003/a" => 200 header("content-type", "application/octet-stream");
        "The mutable time itself is taken."
            channel(PAST) "POST {own}/2013/06/01/12/00/00/000/a" body("x") => 201;
        "What is later is 400."
            channel(PAST) "POST {own}/2013/06/01/12/00/00/001/a" body("x") => 400
            header("content-type", "application/json") text("…mutableTime…");
        "So it is without a hash."
            channel(PAST) "POST {own}/2013/06/01/12/00/00/001" body("x") => 400 text("…mutableTime…");
        "Times before the common era of computers are as good as others."
            channel(PAST) before("POST {own}/0001/01/01/00/00/00/000/a", "x")
            "GET {own}/earliest/1?epoch=MUTABLE" => 200 json(r#"{"_links": {"uris": ["{url}/0001/01/01/00/00/00/000/a"]}}"#);
        "A key that is posted again has the new item."
            channel(PAST) before_with("POST {own}/2013/01/01/05/15/07/003/a", &[("content-type", "a/b")], "x")
            before_with("POST {own}/2013/01/01/05/15/07/003/a", &[("content-type", "c/d")], "y")
            "GET {own}/2013/01/01/05/15/07/003/a" => 200 text("y") header("content-type", "c/d");
        "And is listed once."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            elsewhere("POST {own}/2013/01/01/05/15/07/003/a", &[], "y")
            "GET {own}/2013/01/01?epoch=MUTABLE" => 200
            json(r#"{"_links": {"uris": ["{url}/2013/01/01/05/15/07/003/a"]}}"#);
        "They may come in any order."
            channel(PAST) before("POST {own}/2013/01/02/00/00/00/000/b", "2") before("POST {own}/1999/01/02/00/00/00/000/a", "1")
            before("POST {own}/2013/01/01/00/00/00/000/c", "x")
            "GET {own}/earliest/3?epoch=MUTABLE" => 200 json(r#"{"_links": {"uris": [
                "{url}/1999/01/02/00/00/00/000/a", "{url}/2013/01/01/00/00/00/000/c", "{url}/2013/01/02/00/00/00/000/b"]}}"#);
        "An unknown channel is 404 without a body."
            "POST /channel/{new}/2013/01/01/05/15/07/003" body("x") => 404 empty();
        "A channel without a mutable time is 403, with a text that clients compare."
            channel("{}") "POST {own}/2013/01/01/05/15/07/003" body("x") => 403
            header("content-type", "application/json") text("historical inserts require a mutableTime on the channel.");
        "So it is with a hash."
            channel("{}") "POST {own}/2013/01/01/05/15/07/003/a" body("x") => 403
            text("historical inserts require a mutableTime on the channel.");
        "A date that is none is 400, whatever the channel."
            "POST /channel/{new}/2013/02/30/05/15/07/003" body("x") => 400 error("day");
        "So is a hash that is none."
            channel(PAST) "POST {own}/2013/01/01/05/15/07/003/a-b" body("x") => 400 error("hash");
        "What is no number is 404."
            channel(PAST) "POST {own}/2013/01/01/05/15/x/003" body("x") => 404;
        "Empty items are taken."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "")
            "GET {own}/2013/01/01/05/15/07/003/a" => 200 empty();
        "Unless the channel takes none."
            channel(r#"{"mutableTime": "2013-06-01", "allowZeroBytes": false}"#)
            "POST {own}/2013/01/01/05/15/07/003/a" => 400 text("…");
        "However they are sent."
            channel(r#"{"mutableTime": "2013-06-01", "allowZeroBytes": false}"#)
            "POST {own}/2013/01/01/05/15/07/003" chunked(&["", ""]) => 400 text("…");
        "A type that is none is 400."
            channel(PAST) "POST {own}/2013/01/01/05/15/07/003" header("content-type", "nonsense") body("x")
            => 400 error("Content-Type");
        "An insert says how durable it is."
            channel(PAST) "POST {own}/2013/01/01/05/15/07/003" body("x") => 201 header("hub-durability", "fsync");
        "A retry with the same key gets the item of the first try."
            channel(PAST) before_with("POST {own}/2013/01/01/05/15/07/003", &[KEY], "x")
            "POST {own}/2013/01/01/05/15/07/003" header("idempotency-key", "k") body("x") => 201
            location("{base}{location}");
        "With another payload it is 422."
            channel(PAST) before_with("POST {own}/2013/01/01/05/15/07/003", &[KEY], "x")
            "POST {own}/2013/01/01/05/15/07/003" header("idempotency-key", "k") body("y") => 422 error("Idempotency-Key");
        "A path of an item lists what may be done with it."
            "OPTIONS /channel/x/2013/01/01/05/15/07/003/a" => 200 header("allow", "GET, HEAD, POST, DELETE, OPTIONS");
        "So does one of a millisecond."
            "OPTIONS /channel/x/2013/01/01/05/15/07/003" => 200 header("allow", "GET, HEAD, POST, OPTIONS");
        "Live inserts go on, and are the only ones that are seen unless one asks."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") items(2)
            "GET {own}/earliest/9" => 200 lists("first second");
    };
    check("4.4, historical inserts", rows).await;
}

#[tokio::test]
async fn large_items() {
    let large = "x".repeat(41 << 20);
    let rows = rows! {
        "A large item of the past is taken as any other."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", &*large)
            "GET {own}/2013/01/01/05/15/07/003/a" => 200 header("x-largeitem", "true")
            header("x-item-length", large.len().to_string()) text(&large);
        "So it is where the hub picks the hash."
            channel(PAST) "POST {own}/2013/01/01/05/15/07/003" body(&*large) => 201 location("{url}/2013/01/01/05/15/07/003/…");
    };
    check("4.4, historical inserts: large items", rows).await;
}

#[tokio::test]
async fn deletion() {
    let rows = rows! {
        "An item of the past can be deleted."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            "DELETE {own}/2013/01/01/05/15/07/003/a" => 204 empty();
        "Then it is 404, on any node."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            elsewhere("DELETE {own}/2013/01/01/05/15/07/003/a", &[], "")
            "GET {own}/2013/01/01/05/15/07/003/a" => 404 empty();
        "And is not listed."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") before("POST {own}/2013/01/01/05/15/07/003/b", "y")
            before("DELETE {own}/2013/01/01/05/15/07/003/a", "")
            "GET {own}/latest/9?epoch=MUTABLE" => 200
            json(r#"{"_links": {"uris": ["{url}/2013/01/01/05/15/07/003/b"]}}"#);
        "Whether it was there does not matter."
            channel(PAST) "DELETE {own}/2013/01/01/05/15/07/003/a" => 204;
        "It can be inserted again."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            before("DELETE {own}/2013/01/01/05/15/07/003/a", "") before("POST {own}/2013/01/01/05/15/07/003/a", "y")
            "GET {own}/2013/01/01/05/15/07/003/a" => 200 text("y");
        "The mutable time itself counts as past."
            channel(PAST) "DELETE {own}/2013/06/01/12/00/00/000/a" => 204;
        "What is later is 405."
            channel(PAST) "DELETE {own}/2013/06/01/12/00/00/001/a" => 405 text("…mutableTime…");
        "So is an item of such a channel that was inserted as any other."
            channel(PAST) items(1) "DELETE {own}/{first}" => 405 text("…");
        "And every item of a channel without a mutable time."
            items(1) "DELETE {own}/{first}" => 405 text("…") header("allow", "GET, HEAD, OPTIONS");
        "An unknown channel is 404."
            "DELETE /channel/{new}/2013/01/01/05/15/07/003/a" => 404;
        "A date that is none is 400."
            channel(PAST) "DELETE {own}/2013/13/01/05/15/07/003/a" => 400 error("month");
    };
    check("4.5, DELETE /channel/{channel}/{key}", rows).await;
}

#[tokio::test]
async fn epochs() {
    let rows = rows! {
        "What is asked for without an epoch is what cannot change."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET {own}/latest" => 404;
        "So it is from the other end."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET {own}/earliest" => 404;
        "And with counts."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET {own}/latest/5?stable=true" => 404;
        "From both."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET {own}/earliest/5" => 404;
        "In its day there is nothing."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET {own}/2013/01/01" => 200
            json(r#"{"_links": {"uris": []}}"#);
        "With the epoch it is there."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET {own}/2013/01/01?epoch=MUTABLE" => 200
            json(r#"{"_links": {"uris": ["{url}/2013/01/01/05/15/07/003/a"]}}"#);
        "Also for what is stable."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET {own}/latest?epoch=MUTABLE&stable=true"
            => 303 location("{url}/2013/01/01/05/15/07/003/a");
        "The oldest is found, however old."
            channel(PAST) before("POST {own}/1492/10/12/02/00/00/000/a", "x") before("POST {own}/2013/01/01/05/15/07/003/a", "y")
            "GET {own}/earliest?epoch=MUTABLE" => 303 location("{url}/1492/10/12/02/00/00/000/a");
        "The next one after centuries is."
            channel(PAST) before("POST {own}/1492/10/12/02/00/00/000/a", "x") before("POST {own}/2013/01/01/05/15/07/003/a", "y")
            "GET {own}/1492/10/12/02/00/00/000/a/next?epoch=MUTABLE" => 303 location("{url}/2013/01/01/05/15/07/003/a");
        "And the one before."
            channel(PAST) before("POST {own}/1492/10/12/02/00/00/000/a", "x") before("POST {own}/2013/01/01/05/15/07/003/a", "y")
            "GET {own}/2013/01/01/05/15/07/003/a/previous/5?epoch=ALL" => 200
            json(r#"{"_links": {"uris": ["{url}/1492/10/12/02/00/00/000/a"]}}"#);
        "ALL gives both sides."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") items(1)
            "GET {own}/1492/10/12/02/00/00/000/a/next/5?epoch=ALL" => 200
            json(r#"{"_links": {"uris": ["{url}/2013/01/01/05/15/07/003/a", "{first.url}"]}}"#);
        "MUTABLE one."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") items(1) "GET {own}/latest/5?epoch=MUTABLE" => 200
            json(r#"{"_links": {"uris": ["{url}/2013/01/01/05/15/07/003/a"]}}"#);
        "And IMMUTABLE the other."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") items(1) "GET {own}/latest/5?epoch=IMMUTABLE"
            => 200 lists("first");
        "Where there is no mutable time the epoch does not count."
            items(2) "GET {own}/latest/5?epoch=MUTABLE" => 200 lists("first second");
        "An item is read by its key whatever the epoch."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            "GET {own}/2013/01/01/05/15/07/003/a?epoch=IMMUTABLE" => 200 text("x");
        "Their contents come in bulk."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") before("POST {own}/2013/01/01/06/00/00/000/b", "y")
            "GET {own}/2013/01/01?epoch=MUTABLE&bulk=true" => 200
            text("…{url}/2013/01/01/05/15/07/003/a…x…{url}/2013/01/01/06/00/00/000/b…y…");
        "When the mutable time moves back, what lies between can no more change."
            channel(PAST) before("POST {own}/2013/01/01/05/15/07/003/a", "x") before("POST {own}/2013/05/01/05/15/07/003/b", "y")
            before_with("PATCH {own}", &[("content-type", "application/json")], r#"{"mutableTime": "2013-03-01"}"#)
            "GET {own}/latest/9" => 200 json(r#"{"_links": {"uris": ["{url}/2013/05/01/05/15/07/003/b"]}}"#);
        "It is not deleted then."
            channel(PAST) before("POST {own}/2013/05/01/05/15/07/003/b", "y")
            before_with("PATCH {own}", &[("content-type", "application/json")], r#"{"mutableTime": "2013-03-01"}"#)
            "DELETE {own}/2013/05/01/05/15/07/003/b" => 405;
        "Nor written again."
            channel(PAST) before("POST {own}/2013/05/01/05/15/07/003/b", "y")
            before_with("PATCH {own}", &[("content-type", "application/json")], r#"{"mutableTime": "2013-03-01"}"#)
            "POST {own}/2013/05/01/05/15/07/003/b" body("z") => 400;
        "When it is cleared, all of them."
            channel(PAST) before("POST {own}/2013/05/01/05/15/07/003/b", "y")
            before_with("PATCH {own}", &[("content-type", "application/json")], r#"{"mutableTime": "", "keepForever": true}"#)
            "GET {own}/latest/9" => 200 json(r#"{"_links": {"uris": ["{url}/2013/05/01/05/15/07/003/b"]}}"#);
        "A channel can be made one with items of the past."
            items(1)
            before_with("PATCH {own}", &[("content-type", "application/json")],
                r#"{"ttlDays": 0, "mutableTime": "2013-06-01", "storage": "SINGLE"}"#)
            before("POST {own}/2013/05/01/05/15/07/003/b", "y")
            "GET {own}/latest/9?epoch=ALL" => 200
            json(r#"{"_links": {"uris": ["{url}/2013/05/01/05/15/07/003/b", "{first.url}"]}}"#);
        "But not while it counts days."
            channel("{}") "PATCH {own}" json(r#"{"mutableTime": "2013-06-01", "storage": "SINGLE"}"#) => 400;
    };
    check("6, historical channels and epochs", rows).await;
}

#[tokio::test]
async fn tags() {
    let both = r#"{"mutableTime": "2013-06-01", "tags": ["{tag}"]}"#;
    let rows = rows! {
        "A tag lists what its channels have of one epoch, by key."
            channel(both) other(both) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            before("POST /channel/{other}/2013/01/01/05/15/07/003/b", "y") before("POST /channel/{other}/1999/01/01/05/15/07/003/a", "z")
            "GET /tag/{tag}/latest/2?epoch=MUTABLE" => 200 json(r#"{"_links": {"uris": [
                "{base}/channel/{channel}/2013/01/01/05/15/07/003/a?tag={tag}",
                "{base}/channel/{other}/2013/01/01/05/15/07/003/b?tag={tag}"]}}"#);
        "From its other end, too."
            channel(both) other(both) before("POST {own}/2013/01/01/05/15/07/003/a", "x")
            before("POST /channel/{other}/1999/01/01/05/15/07/003/a", "z")
            "GET /tag/{tag}/earliest?epoch=MUTABLE" => 303
            location("{base}/channel/{other}/1999/01/01/05/15/07/003/a?tag={tag}");
        "Without it there is nothing."
            channel(both) before("POST {own}/2013/01/01/05/15/07/003/a", "x") "GET /tag/{tag}/latest" => 404;
    };
    check("6 and 7, epochs of tags", rows).await;
}

#[tokio::test]
async fn without_an_archive() {
    let hub = Setup::new().set("ARCHIVE_LOCAL", false).start().await;
    let rows = rows! {
        "A hub without an archive takes no items of the past, and says what to do."
            channel(PAST) "POST {own}/2013/01/01/05/15/07/003" body("x") => 503 header("retry-after", "1")
            json(r#"{"error": "…", "reason": "…archive.url…", "channel": "{channel}", "missing": []}"#);
        "It deletes none."
            channel(PAST) "DELETE {own}/2013/01/01/05/15/07/003/a" => 503 json(r#"{"reason": "…archive.url…"}"#);
        "It does not say that there are none."
            channel(PAST) "GET {own}/latest?epoch=MUTABLE" => 503 json(r#"{"reason": "…archive.url…"}"#);
        "All the rest is as ever."
            channel(PAST) items(2) "GET {own}/latest/5" => 200 lists("first second");
    };
    check_at(&hub, &[], "4.4, without an archive", rows).await;
}
