//! Section 4: writing items, but for those of the past and deleting them (`historical`).

use super::check;

const PARTS: &str = "multipart/mixed; boundary=b";
/// The headers of a body with parts.
const KIND: &[(&str, &str)] = &[("content-type", PARTS)];
const TWO: &str = "--b\r\n\r\none\r\n--b\r\nContent-Type: a/b\r\n\r\ntwo\r\n--b--\r\n";

#[tokio::test]
async fn one_item() {
    let rows = rows! {
        "An insert says where the item is, when it was stamped, and where its channel is."
            channel("{}") "POST {own}" body("x") => 201 location("{url}/…/…/…/…/…/…/…/…")
            keys("timestamp _links") links("channel self")
            json(r#"{"timestamp": "…-…-…T…:…:….…Z",
                "_links": {"channel": {"href": "{url}"}, "self": {"href": "{url}/…"}}}"#);
        "Parameters for threads and forcing are passed over."
            channel("{}") "POST {own}?threads=3&forceWrite=true" body("x") => 201 location("{url}/…");
        "Bytes of any kind are an item."
            channel("{}") "POST {own}" body((0..=255).collect::<Vec<u8>>()) => 201;
        "So is a body with parts: one item."
            channel("{}") before_with("POST {own}", KIND, TWO) "GET {location}" => 200
            header("content-type", "multipart/mixed;boundary=b") text(TWO);
        "Other headers are not kept."
            channel("{}") before_with("POST {own}", &[("x-mine", "y"), ("content-language", "de")], "x")
            "GET {location}" => 200 no_header("x-mine") no_header("content-language") text("x");
        "An unknown channel is 404 without a body."
            "POST /channel/{new}" body("x") => 404 empty();
        "So is one that was deleted."
            channel("{}") before("DELETE {own}", "") "POST {own}" body("x") => 404 empty();
        "Empty items are taken."
            channel("{}") "POST {own}" => 201;
        "Unless the channel takes none."
            channel(r#"{"allowZeroBytes": false}"#) "POST {own}" => 400 text("…");
        "Then those in chunks are not taken either."
            channel(r#"{"allowZeroBytes": false}"#) "POST {own}" chunked(&["", ""]) => 400 text("…");
        "What counts is what there is, not what a length says."
            channel(r#"{"allowZeroBytes": false}"#) "POST {own}" chunked(&["", "y"]) => 201;
        "A type that is none is 400."
            channel("{}") "POST {own}" header("content-type", "nonsense") body("x") => 400 error("Content-Type");
        "An item is read as soon as it is acknowledged."
            channel("{}") before("POST {own}", "x") "GET {location}" => 200 text("x");
        "So it is listed, where everything is asked for."
            channel("{}") before("POST {own}", "x") "GET {own}/earliest?stable=false" => 303
            location("{base}{location}");
        "What is inserted later comes later."
            items(5) "GET {own}/earliest/5" => 200 lists("first second third fourth fifth");
        "Through another node, too."
            items(1) before("POST {own}", "x") "GET {own}/{first}/next?stable=false" => 303
            location("{base}{location}");
    };
    check("4.1, POST /channel/{channel}", rows).await;
}

#[tokio::test]
async fn large_items() {
    let large = "x".repeat(41 << 20);
    let rows = rows! {
        "A large item is taken as any other."
            channel("{}") "POST {own}" body(&*large) => 201 location("{url}/…");
        "It says that it is large, and is read as any other."
            channel("{}") before("POST {own}", &*large) "GET {location}" => 200 header("x-largeitem", "true")
            header("x-item-length", large.len().to_string()) text(&large);
    };
    check("4.1, POST /channel/{channel}: large items", rows).await;
}

#[tokio::test]
async fn bulk() {
    let rows = rows! {
        "Items of one request share their time and hash, and lead to a list of them."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS) body(TWO) => 201
            location("{url}/…/next/2?stable=false") keys("_links") links("self uris") json(r#"{"_links": {
                "self": {"href": "{url}/…/next/2?stable=false"}, "uris": ["{url}/…000000", "{url}/…000001"]}}"#);
        "That list has exactly these."
            items(1) before_with("POST {own}/bulk", KIND, TWO) "GET {location}" => 200 lists("second third");
        "A request of another type is 415 without a body."
            channel("{}") "POST {own}/bulk" header("content-type", "text/plain") body(TWO) => 415 empty();
        "So is one without a boundary."
            channel("{}") "POST {own}/bulk" header("content-type", "multipart/mixed") body(TWO) => 415 empty();
        "Any multipart type will do, and a boundary in quotes."
            channel("{}") "POST {own}/bulk" header("content-type", "multipart/form-data; boundary=\"b\"") body(TWO)
            => 201 json(r#"{"_links": {"uris": ["…", "{url}/…000001"]}}"#);
        "What comes before the first boundary is passed over."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS)
            body("preamble\r\n--b\r\n\r\none\r\n--b--") => 201 location("{url}/…/next/1?stable=false");
        "The last line needs no end."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS) body("--b\r\n\r\none\r\n--b--")
            => 201 location("{url}/…/next/1?stable=false");
        "A part has the type that it says."
            channel("{}") before_with("POST {own}/bulk", KIND, TWO) "GET {own}/{second}" => 200
            header("content-type", "a/b") text("two");
        "One that says none is text."
            channel("{}") before_with("POST {own}/bulk", KIND, TWO) "GET {own}/{first}" => 200
            header("content-type", "text/plain") text("one");
        "Names of headers are in any case, and other headers are passed over."
            channel("{}") before_with("POST {own}/bulk", KIND,
                "--b\r\nX-Mine: y\r\nCONTENT-TYPE: a/b\r\n\r\none\r\n--b--")
            "GET {own}/{first}" => 200 header("content-type", "a/b") no_header("x-mine") text("one");
        "A line with a blank ends the headers, too."
            channel("{}") before_with("POST {own}/bulk", KIND, "--b\r\nContent-Type: a/b\r\n \r\none\r\n--b--")
            "GET {own}/{first}" => 200 header("content-type", "a/b") text("one");
        "A payload is kept byte for byte, with the empty lines before and after it."
            channel("{}") before_with("POST {own}/bulk", KIND, "--b\r\n\r\n\r\n one\n\r\n\r\n--b--")
            "GET {own}/{first}" => 200 text("\r\n one\n\r\n");
        "A part without bytes is passed over."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS)
            body("--b\r\n\r\n\r\n--b\r\n\r\none\r\n--b--") => 201 location("{url}/…/next/1?stable=false");
        "Unless it has a key."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS)
            body("--b\r\nContent-Key: x\r\n\r\n\r\n--b\r\n\r\none\r\n--b--") => 201
            location("{url}/…/next/2?stable=false");
        "Keys of parts are not used here: the hub gives new ones."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS)
            body("--b\r\nContent-Key: {url}/2015/06/07/08/09/10/011/abcdef\r\n\r\none\r\n--b--")
            => 201 json(r#"{"_links": {"uris": ["{url}/20…000000"]}}"#);
        "A last part that is not closed is lost."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS)
            body("--b\r\n\r\none\r\n--b\r\n\r\ntwo") => 201 location("{url}/…/next/1?stable=false");
        "No items are 400."
            channel("{}") "POST {own}/bulk" header("content-type", PARTS) body("--b--\r\n") => 400
            json(r#"{"error": "…"}"#);
        "An unknown channel is 404, with its name."
            "POST /channel/{new}/bulk" header("content-type", PARTS) body(TWO) => 404 text("{new}");
    };
    check("4.2, POST /channel/{channel}/bulk", rows).await;
}

#[tokio::test]
async fn provider() {
    let rows = rows! {
        "A provider names its channel in a header, and is told nothing."
            channel("{}") "POST /provider" header("channelName", "{channel}") body("x") => 200
            no_header("location") empty();
        "The item is there."
            channel("{}") before_with("POST /provider", &[("channelName", "{channel}"), ("content-type", "a/b")], "x")
            "GET {own}/latest?stable=false" => 303 location("{url}/…");
        "A channel that is missing is created."
            before_with("POST /provider", &[("channelName", "{new}")], "x")
            "GET /channel/{new}" => 200 json(r#"{"name": "{new}", "ttlDays": 120}"#);
        "Unless its name is none."
            "POST /provider" header("channelName", "a b") body("x") => 400 error("name");
        "Without the header it is 400."
            "POST /provider" body("x") => 400 error("channelName");
        "Accept is passed over."
            "POST /provider" header("channelName", "{new}") header("accept", "image/png") body("x") => 200 empty();
        "Several items are provided as they are inserted."
            "POST /provider/bulk" header("channelName", "{new}") header("content-type", PARTS) body(TWO) => 200 empty();
        "They are there."
            before_with("POST /provider/bulk", &[("channelName", "{new}"), ("content-type", PARTS)], TWO)
            "GET /channel/{new}/earliest/9?stable=false" => 200
            json(r#"{"_links": {"uris": ["…000000", "…000001"]}}"#);
        "Without the header several are 400, too."
            "POST /provider/bulk" header("content-type", PARTS) body(TWO) => 400 error("channelName");
        "No items are 400."
            "POST /provider/bulk" header("channelName", "{new}") header("content-type", PARTS) body("--b--") => 400;
        "What has no parts is 415 without a body."
            "POST /provider/bulk" header("channelName", "{new}") header("content-type", "text/plain") body("x")
            => 415 empty();
    };
    check("4.3, provider", rows).await;
}
