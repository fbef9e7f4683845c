//! Compression: of answers where it is asked for, and of bodies that come compressed.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::Method;
use serde_json::json;

use crate::harness::{Answer, Hub, period_of, unique};

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn undone(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let read = match coding {
        "gzip" => MultiGzDecoder::new(bytes).read_to_end(&mut out),
        "deflate" => ZlibDecoder::new(bytes).read_to_end(&mut out),
        other => panic!("{other}"),
    };
    read.unwrap();
    out
}

#[tokio::test]
async fn answers_are_compressed_where_that_is_asked_for() {
    let hub = Hub::alone().await;
    let name = hub.channel("compressed").await;
    let text = "a line of text\n".repeat(200);
    let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
    let ask = ask.header("content-type", "text/plain").body(text.clone());
    let item = ask.send().await.expect(201).location().to_owned();
    hub.insert_many(&name, 20).await;
    let list = format!("/channel/{name}/latest/50");
    let plain = hub.get(&list).await.expect(200);
    for (accept, coding) in [
        (None, None),
        (Some("gzip"), Some("gzip")),
        (Some("GZIP"), Some("gzip")),
        (Some("deflate"), Some("deflate")),
        (Some("br, deflate"), Some("deflate")),
        (Some("gzip;q=0.1"), Some("gzip")),
        (Some("deflate;q=0.2, gzip;q=0.9"), Some("gzip")),
        (Some("gzip;q=0"), None),
        (Some("identity"), None),
        (Some("br"), None),
        (Some(""), None),
    ] {
        for (path, body) in [(&list, &plain.body[..]), (&item, text.as_bytes())] {
            let ask = hub.ask(Method::GET, path);
            let ask = match accept {
                Some(accept) => ask.header("accept-encoding", accept),
                None => ask,
            };
            let answer = ask.send().await.expect(200);
            assert_eq!(answer.header("content-encoding"), coding, "{accept:?}");
            let Some(coding) = coding else {
                assert!(answer.body == body);
                continue;
            };
            assert!(answer.body.len() < body.len());
            assert!(undone(coding, &answer.body) == body);
            let vary = answer.header("vary").unwrap_or_default();
            assert!(vary.eq_ignore_ascii_case("accept-encoding"), "{vary}");
            if path == &item {
                // The length is that of what was posted.
                let length = text.len().to_string();
                assert_eq!(answer.header("x-item-length"), Some(length.as_str()));
                assert_eq!(answer.header("content-type"), Some("text/plain"));
            } else {
                assert_eq!(answer.header("content-type"), Some("application/json"));
            }
        }
    }
    // What has no body has nothing to compress.
    let latest = hub.ask(Method::GET, &format!("/channel/{name}/latest"));
    let latest = latest.header("accept-encoding", "gzip").send().await;
    assert_eq!(latest.expect_empty(303).header("content-encoding"), None);
}

#[tokio::test]
async fn answers_that_are_made_while_they_are_sent_are_compressed_to_their_end() {
    const COUNT: usize = 2500;
    let hub = Hub::shared().await;
    let name = hub.channel("streamed").await;
    let path = format!("/channel/{name}");
    let unpacked = |answer: Answer| {
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        undone("gzip", &answer.body)
    };
    let ask = |method, path: &str| hub.ask(method, path).header("accept-encoding", "gzip");
    let listed = |text: Vec<u8>| {
        let body: serde_json::Value = serde_json::from_slice(&text).unwrap();
        body["_links"]["uris"].as_array().unwrap().len()
    };
    let parts = "--b\r\n\r\nx\r\n".repeat(COUNT) + "--b--\r\n";
    let posted = ask(Method::POST, &format!("{path}/bulk"))
        .header("content-type", "multipart/mixed; boundary=b")
        .body(parts);
    let posted = posted.send().await.expect(201);
    let list = posted.location().to_owned();
    let day = format!("{path}/{}?stable=false", period_of(&list, 3));
    assert_eq!(listed(unpacked(posted)), COUNT);
    for path in [list, day] {
        let list = ask(Method::GET, &path).send().await.expect(200);
        assert_eq!(listed(unpacked(list)), COUNT, "{path}");
    }
    // So large an item is read from the disk part by part.
    let large = vec![b'x'; 3 << 20];
    let item = hub.insert(&name, large.clone()).await;
    let item = ask(Method::GET, &item).send().await.expect(200);
    assert!(unpacked(item) == large);
}

#[tokio::test]
async fn bodies_are_stored_decoded() {
    let hub = Hub::shared().await;
    let name = hub.channel("coded").await;
    let text = b"a line of text\n".repeat(300);
    let length = text.len().to_string();
    let two = [gzip(&text[..100]), gzip(&text[100..])].concat();
    for (coding, body) in [
        ("gzip", gzip(&text)),
        ("GZip", gzip(&text)),
        ("x-gzip", gzip(&text)),
        ("gzip", two),
        ("deflate", zlib(&text)),
        ("deflate", deflate(&text)),
        ("identity", text.clone()),
        ("", text.clone()),
    ] {
        let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
        let posted = ask.header("content-encoding", coding).body(body).send();
        let posted = posted.await.expect(201);
        let item = hub.get(posted.location()).await.expect(200);
        assert!(item.body == text, "{coding}");
        assert_eq!(item.header("content-encoding"), None);
        assert_eq!(item.header("x-item-length"), Some(length.as_str()));
    }
    // Configurations and documents, too.
    let name = unique("coded-config");
    let path = format!("/channel/{name}");
    let config = gzip(json!({"owner": "me"}).to_string().as_bytes());
    let put = hub
        .ask(Method::PUT, &path)
        .header("content-encoding", "gzip");
    let put = put.body(config).send().await.expect(201);
    assert_eq!(put.json()["owner"], "me");
    let put = hub.ask(Method::PUT, &format!("{path}/doc"));
    let put = put.header("content-encoding", "deflate").body(zlib(b"doc"));
    put.send().await.expect_text(200, "doc");
}

#[tokio::test]
async fn a_body_that_cannot_be_decoded_is_refused() {
    let hub = Hub::shared().await;
    let name = hub.channel("undecodable").await;
    let whole = gzip(b"whole");
    let ask = |coding: &str, body: &[u8]| {
        let ask = hub.ask(Method::POST, &format!("/channel/{name}"));
        ask.header("content-encoding", coding).body(body.to_vec())
    };
    for (coding, body) in [
        ("gzip", &b"no gzip"[..]),
        ("gzip", &whole[..whole.len() - 3]),
        ("deflate", b"\xff\xff\xff"),
        ("deflate", &zlib(b"whole")[..7]),
    ] {
        ask(coding, body).send().await.expect_error(400, "body");
    }
    for coding in ["br", "compress", "zstd", "gzip, gzip", "nonsense"] {
        let error = ask(coding, b"x").send().await;
        let error = error.expect_error(415, "Content-Encoding");
        assert_eq!(error["value"], coding);
    }
    hub.get(&format!("/channel/{name}/latest"))
        .await
        .expect_empty(404);
}
