//! Section 1: conventions. The headers of section 1.3 are looked at in every row of every table.

use super::{check, check_at};
use crate::coding::gzip;
use crate::harness::Setup;

#[tokio::test]
async fn base_and_links() {
    let rows = rows! {
        "Links are absolute, and begin with the host of the request."
            "GET /" header("host", "hub.example:9000") => 200
            json(r#"{"_links": {"self": {"href": "http://hub.example:9000/"}}}"#);
        "Port 80 is left out."
            "GET /channel" header("host", "hub.example:80") => 200
            json(r#"{"_links": {"self": {"href": "http://hub.example/channel"}}}"#);
        "Port 443 is left out."
            "GET /channel" header("host", "hub.example:443") => 200
            json(r#"{"_links": {"self": {"href": "http://hub.example/channel"}}}"#);
        "A forwarded host and scheme go before those of the request."
            "GET /" header("x-forwarded-host", "headers:9000") header("x-forwarded-proto", "https")
            => 200 json(r#"{"_links": {"self": {"href": "https://headers:9000/"}}}"#);
        "A forwarded host without a port gives links without one."
            "GET /" header("x-forwarded-host", "headers") header("x-forwarded-proto", "https")
            => 200 json(r#"{"_links": {"self": {"href": "https://headers/"}}}"#);
        "Of several forwarded hosts and schemes the first counts."
            "GET /" header("x-forwarded-host", "a:81, b:82") header("x-forwarded-proto", "https, http")
            => 200 json(r#"{"_links": {"self": {"href": "https://a:81/"}}}"#);
        "Without a forwarded scheme it is the request's."
            "GET /" header("x-forwarded-host", "headers:9000")
            => 200 json(r#"{"_links": {"self": {"href": "http://headers:9000/"}}}"#);
        "With a forwarded scheme alone the port stays."
            "GET /" header("host", "h:9000") header("x-forwarded-proto", "https")
            => 200 json(r#"{"_links": {"self": {"href": "https://h:9000/"}}}"#);
        "Locations begin like links."
            items(1) "GET {own}/latest" header("host", "hub.example") header("x-forwarded-proto", "https")
            => 303 location("https://hub.example{first.path}");
        "So does what an insert says."
            channel("{}") "POST {own}" header("x-forwarded-host", "headers:9000") body("x")
            => 201 location("http://headers:9000{own}/…");
        "Links of a channel have the name as the request spells it."
            channel("{}") "GET /channel/{channel.upper}/time?stable=false" => 200
            json(r#"{"_links": {"self": {"href": "{base}/channel/{channel.upper}/time?stable=false"}}}"#);
        "So do those of its items."
            items(1) "GET /channel/{channel.upper}/latest"
            => 303 location("{base}/channel/{channel.upper}/{first}");
        "So does a list of them."
            items(1) "GET /channel/{channel.upper}/latest/1" => 200
            json(r#"{"_links": {"uris": ["{base}/channel/{channel.upper}/{first}"]}}"#);
        "A configuration has the stored name, however it is asked for."
            channel("{}") "GET /channel/{channel.upper}" => 200 json(r#"{"name": "{channel}"}"#);
        "Writing a configuration leads to the stored name."
            channel("{}") "PUT /channel/{channel.upper}" => 201 location("{url}");
        "The list of channels has the stored name."
            channel("{}") "GET /channel" => 200
            json(r#"{"_links": {"channels": ["…", {"name": "{channel}", "href": "{url}"}]}}"#);
        "Tags have the stored name."
            tagged(1) "GET /tag/{tag}/latest" => 303 location("{url}/{first}?tag={tag}");
        "A slash at the end is redirected away."
            "GET /channel/" => 307 location("{base}/channel") empty();
        "The query stays when it is."
            "GET /channel/x/latest/?stable=false&a=b%20c" => 307
            location("{base}/channel/x/latest?stable=false&a=b%20c");
        "Any method is redirected so."
            "POST /channel/x/" body("y") => 307 location("{base}/channel/x");
        "HEAD is GET without a body."
            items(1) "HEAD {own}/latest" => 303 location("{url}/{first}") empty();
        "HEAD of an item says what GET does."
            items(1) "HEAD {own}/{first}" => 200 header("x-item-length", "6")
            header("creation-date", "{first.date}") header("content-length", "6") empty();
    };
    check("1.2, base URI and links", rows).await;
}

#[tokio::test]
async fn headers() {
    let item = "An item that says the same again and again: the same again and again.";
    let rows = rows! {
        "The headers of every answer are on one that there is nothing for, too."
            "GET /nowhere" => 404 empty();
        "And on answers to preflight."
            "OPTIONS /channel/x" => 200 header("allow", "…PUT…") empty();
        "The name of the serving node is one of the nodes."
            "GET /internal/deploy" => 200 json(r#"["…", "{node}"]"#);
        "JSON is sent as JSON, without a charset."
            "GET /" => 200 header("content-type", "application/json");
        "Answers are packed with gzip where that is asked for."
            channel("{}") "GET {own}" header("accept-encoding", "gzip")
            => 200 header("content-encoding", "gzip") header("vary", "accept-encoding");
        "Or with deflate."
            channel("{}") "GET {own}" header("accept-encoding", "deflate")
            => 200 header("content-encoding", "deflate") header("vary", "accept-encoding");
        "Where nobody asks they are not."
            channel("{}") "GET {own}" => 200 no_header("content-encoding");
        "A packed body is unpacked before it is stored."
            channel("{}") before_with("POST {own}", &[("content-encoding", "gzip")], gzip(item.as_bytes()))
            "GET {location}" => 200 header("x-item-length", item.len().to_string()) text(item);
        "A configuration may be packed as well."
            "PUT /channel/{new}" header("content-encoding", "gzip") body(gzip(br#"{"owner": "packed"}"#))
            => 201 json(r#"{"owner": "packed"}"#);
    };
    check("1.3, headers on every response", rows).await;
}

#[tokio::test]
async fn errors() {
    let rows = rows! {
        "A fault in what is sent is 400, and says which field, which value and which rule."
            "POST /channel" json(r#"{"name": "{new}", "maxItems": 5001}"#) => 400
            error("maxItems") json(r#"{"value": "5001"}"#);
        "A route that is not there is 404 without a body."
            "GET /channel/x/nowhere" => 404 empty();
        "A channel that is not there is 404, with its name where something was to be read of it."
            "GET /channel/nowhere/latest" => 404 text("nowhere");
        "No integer where the path wants one is 404 without a body."
            "GET /channel/x/latest/two" => 404 empty();
        "A method that the path does not have is 405 without a body."
            "PUT /channel/x/latest" => 405 header("allow", "GET, HEAD, OPTIONS") empty();
        "What cannot be accepted is 406 without a body."
            items(1) "GET {own}/latest/1" header("accept", "image/png") => 406 empty();
        "A second channel of a name is 409, in JSON."
            channel("{}") "POST /channel" json(r#"{"name": "{channel}"}"#) => 409 error("name");
        "A configuration that is not sent as JSON is 415 without a body."
            "PUT /channel/{new}" header("content-type", "text/plain") body("{}") => 415 empty();
        "One that is sent as nothing is taken."
            "PUT /channel/{new}" body("{}") => 201;
        "A key that was used for another payload is 422, in JSON."
            channel("{}") before_with("POST {own}", &[("idempotency-key", "k")], "x")
            "POST {own}" header("idempotency-key", "k") body("y") => 422 error("Idempotency-Key");
        "Texts where JSON is answered are called JSON, and have no quotes."
            "GET /channel/nowhere/latest/1" => 404
            header("content-type", "application/json") text("nowhere");
        "Malformed JSON in a PUT is 400, and the text says what was expected."
            "PUT /channel/{new}" json(r#"{"owner":"#) => 400 json(r#"{"error": "…xpect…"}"#);
        "Malformed JSON in a POST is, too."
            "POST /channel" json("nonsense") => 400 json(r#"{"error": "…xpect…"}"#);
        "JSON that is a text and no object is 400."
            "PUT /channel/{new}" json("\"\"") => 400 json(r#"{"error": "…xpect…"}"#);
        "JSON that is an array is 400."
            channel("{}") "PATCH {own}" json("[]") => 400 json(r#"{"error": "…xpect…"}"#);
        "Booleans are true in any case."
            items(1) "GET {own}/latest/1?bulk=TRUE" => 200
            header("content-type", "multipart/mixed;boundary=…");
        "And false in any other spelling."
            items(1) "GET {own}/latest/1?bulk=yes" => 200 lists("first");
        "Of a repeated parameter the first value counts."
            items(1) "GET {own}/latest/1?bulk=false&bulk=true" => 200 lists("first");
        "Parameters that are not known are passed over."
            items(1) "GET {own}/latest?what=ever&so" => 303 location("{url}/{first}");
        "An unknown location is 400."
            items(1) "GET {own}/latest?location=WARM" => 400
            error("location") json(r#"{"value": "WARM"}"#);
        "So is an unknown epoch."
            items(1) "GET {own}/{first}/next/1?epoch=EVER" => 400
            error("epoch") json(r#"{"value": "EVER"}"#);
    };
    check("1.4, errors", rows).await;
}

#[tokio::test]
async fn keys() {
    let rows = rows! {
        "The time of an item is that of its key."
            items(1) "GET /channel/{channel}/{first}" => 200 header("creation-date", "{first.date}");
        "Items of a bulk insert have an index of six digits behind their common hash."
            channel("{}") before_with("POST {own}/bulk", PARTS, TWO)
            "GET {location}" => 200
            json(r#"{"_links": {"uris": ["{url}/…000000", "{url}/…000001"]}}"#) lists("first second");
        "Among them they sort by that."
            channel("{}") before_with("POST {own}/bulk", PARTS, TWO)
            "GET {own}/{second}/previous?stable=false" => 303 location("{first.url}");
        "Numbers of a request may be unpadded."
            items(1) "GET {own}/{first.bare}" => 200 text("item 0");
        "Links have them padded."
            channel("{}") "GET {own}/2015/6/7/8" => 200
            json(r#"{"_links": {"self": {"href": "{url}/2015/06/07/08"}}}"#);
        "Keys sort by time and then by hash."
            items(3) "GET {own}/{second}0/previous/9?stable=false" => 200 lists("first second");
        "A query may start where there is no item."
            items(2) "GET {own}/{first}zz/next?stable=false" => 303 location("{url}/{second}");
    };
    check("1.5, content keys", rows).await;
}

/// The headers of a body with parts.
const PARTS: &[(&str, &str)] = &[("content-type", "multipart/mixed; boundary=b")];
/// A body with two.
const TWO: &str = "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n";

#[tokio::test]
async fn stable_time_and_common_parameters() {
    let rows = rows! {
        "With nothing but what is stable asked for, an acknowledged item is there soon."
            items(1) "GET {own}/latest?stable=true" => 303 location("{url}/{first}");
        "With everything asked for it is there at once."
            channel("{}") before("POST {own}", "x")
            "GET {own}/latest?stable=false" => 303 location("{base}{location}");
        "An item is read by its key whether it is stable or not."
            channel("{}") before("POST {own}", "x") "GET {location}?stable=true" => 200 text("x");
        "Lists are ascending."
            items(3) "GET {own}/latest/9" => 200 lists("first second third");
        "They are descending with an order that begins with d."
            items(3) "GET {own}/latest/9?order=dropping" => 200 lists("third second first");
        "Or with D."
            items(3) "GET {own}/earliest/9?order=D" => 200 lists("third second first");
        "Any other order is ascending."
            items(2) "GET {own}/latest/9?order=upside-down" => 200 lists("first second");
        "The order does not turn the links."
            items(3) "GET {own}/latest/2?order=desc" => 200 lists("third second") json(r#"{"_links": {
                "next": {"href": "{url}/{third}/next/2?order=desc"},
                "previous": {"href": "{url}/{second}/previous/2?order=desc"}}}"#);
        "Contents come with bulk."
            items(1) "GET {own}/{first.second}?bulk=true&stable=false" => 200
            header("content-type", "multipart/mixed;boundary=…") text("…item 0…");
        "Batch is the same."
            items(1) "GET {own}/{first.second}?batch=true&stable=false" => 200
            header("content-type", "multipart/mixed;boundary=…") text("…item 0…");
        "A trace adds to a list how it came about."
            items(1) "GET {own}/latest/1?trace=true" => 200 lists("first")
            keys("_links first id start millis trace") json(r#"{"trace": ["…"]}"#);
        "Without one a list has nothing but links."
            items(1) "GET {own}/latest/1" => 200 keys("_links");
        "Each tier may be named, and a node with one passes it over."
            items(1) "GET {own}/latest/1?location=LONG_TERM_BATCH&epoch=IMMUTABLE" => 200 lists("first");
    };
    check("1.6 and 1.7, stable time and common parameters", rows).await;
}

#[tokio::test]
async fn an_unstable_window() {
    // A hub of its own, of which nothing recent is stable.
    let hub = Setup::new().set("READ_STABLE_SECONDS", 3600).start().await;
    let rows = rows! {
        "Within the window nothing is listed."
            channel("{}") before("POST {own}", "x") "GET {own}/latest" => 404 empty();
        "Unless everything is asked for."
            channel("{}") before("POST {own}", "x") "GET {own}/latest?stable=false" => 303
            location("{base}{location}");
        "Whatever is not true in any case asks for everything."
            channel("{}") before("POST {own}", "x") "GET {own}/latest?stable=yes" => 303
            location("{base}{location}");
        "And true in any case does not."
            channel("{}") before("POST {own}", "x") "GET {own}/earliest/3?stable=TRUE" => 404 empty();
        "The status of a channel keeps to it."
            channel("{}") before("POST {own}", "x") "GET {own}/status" => 200
            json(r#"{"_links": {"latest": {"href": "{url}/latest", "message": "channel is empty"}}}"#);
        "With everything asked for it does not."
            channel("{}") before("POST {own}", "x") "GET {own}/status?stable=false" => 200
            json(r#"{"_links": {"latest": {"href": "{base}{location}", "message": null}}}"#);
        "An item is read by its key all the same."
            channel("{}") before("POST {own}", "x") "GET {location}?stable=true" => 200 text("x");
        "Nothing that is not stable is led on to."
            channel("{}") before("POST {own}", "x") "GET {location}/next/3" => 200 lists("")
            links("self previous uris");
        "What is stable ends with a second."
            channel("{}") "GET {own}/time" => 200 json(r#"{"stable": {"iso8601": "….000Z"}}"#);
    };
    check_at(&hub, &[], "1.6, stable time", rows).await;
}

#[tokio::test]
async fn localhost_only() {
    let rows = rows! {
        "A call by another name of the machine is not local."
            "PUT /internal/time/local" => 403 text("…");
        "One to localhost is."
            "PUT /internal/time/local" header("host", "localhost:{port}") => 200;
        "Unless somebody passed it on."
            "PUT /internal/time/local" header("host", "localhost:{port}")
            header("x-forwarded-for", "192.0.2.1") => 403;
        "In whatever header that says so."
            "PUT /internal/time/local" header("host", "localhost:{port}")
            header("forwarded", "for=192.0.2.1") => 403;
        "A forwarded host that is localhost does not help."
            "PUT /internal/time/local" header("x-forwarded-host", "localhost") => 403;
    };
    check("1.8, localhost only", rows).await;
}
