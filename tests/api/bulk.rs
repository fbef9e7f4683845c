//! Several items in one request, and in one answer.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use http::Method;
use serde_json::json;

use crate::harness::{Answer, Hub, Setup, key_of, unique};

/// A body of parts with that boundary.
fn parts(boundary: &str, parts: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (headers, payload) in parts {
        write!(body, "--{boundary}\r\n{headers}\r\n{payload}\r\n").unwrap();
    }
    body + &format!("--{boundary}--")
}

async fn send(hub: &Hub, path: &str, boundary: &str, body: impl Into<reqwest::Body>) -> Answer {
    let kind = format!("multipart/mixed; boundary={boundary}");
    let ask = hub.ask(Method::POST, path).header("content-type", kind);
    ask.body(body).send().await
}

async fn bulk(hub: &Hub, channel: &str, items: &[(&str, &str)]) -> Answer {
    let path = format!("/channel/{channel}/bulk");
    send(hub, &path, "abc", parts("abc", items)).await
}

const XML: &str = "Content-Type: application/xml\r\n";

#[tokio::test]
async fn parts_become_items_with_one_time_and_numbers() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let before = hub.insert(&name, "before").await;
    let answer = bulk(
        &hub,
        &name,
        &[
            (XML, "<a/>"),
            ("", "plain"),
            ("content-type: text/x;  a=b\r\n", "\r\n.\r\n"),
        ],
    )
    .await
    .expect(201);
    let after = hub.insert(&name, "after").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("hub-durability"), Some("fsync"));
    let uris = answer.uris();
    assert_eq!(uris.len(), 3);
    let stamp = uris[0].strip_suffix("000000").unwrap();
    assert_eq!(uris[1], format!("{stamp}000001"));
    assert_eq!(uris[2], format!("{stamp}000002"));
    let own = answer.link("self").unwrap();
    assert_eq!(own, format!("{stamp}/next/3?stable=false"));
    assert_eq!(answer.location(), own);
    assert_eq!(hub.get(&own).await.expect(200).uris(), uris);

    for (uri, kind, text) in [
        (&uris[0], "application/xml", "<a/>"),
        (&uris[1], "text/plain", "plain"),
        (&uris[2], "text/x;a=b", "\r\n.\r\n"),
    ] {
        let item = hub.get(uri).await.expect_text(200, text);
        assert_eq!(item.header("content-type"), Some(kind));
        assert_eq!(item.header("x-item-length"), Some(&*text.len().to_string()));
    }
    let next = format!("{stamp}000003");
    hub.get(&next).await.expect_empty(404);
    hub.get(stamp).await.expect_empty(404);

    // Walks go through them one by one, from any of them, in both directions.
    let all = [&[before][..], &uris, &[after]].concat();
    let listed = |path: String| {
        let hub = hub.again();
        async move { hub.get(&path).await.expect(200).uris() }
    };
    let base = format!("/channel/{name}");
    for (at, key) in all.iter().enumerate() {
        let key = key_of(key);
        for count in 1..=5 {
            let end = (at + 1 + count).min(all.len());
            let next = listed(format!("{base}/{key}/next/{count}?stable=false")).await;
            assert_eq!(next, all[at + 1..end], "{count} after {at}");
            let start = at.saturating_sub(count);
            let previous = listed(format!("{base}/{key}/previous/{count}?stable=false")).await;
            assert_eq!(previous, all[start..at], "{count} before {at}");
        }
    }
    for count in 1..=5 {
        let latest = listed(format!("{base}/latest/{count}?stable=false")).await;
        assert_eq!(latest, all[5 - count..]);
        let earliest = listed(format!("{base}/earliest/{count}?stable=false")).await;
        assert_eq!(earliest, all[..count]);
    }
    let second = format!("{base}/{}?stable=false", &key_of(&all[1])[..19]);
    let in_second = listed(second).await;
    assert!(
        uris.iter().all(|uri| in_second.contains(uri)),
        "{in_second:?}"
    );
    let previous = format!("{base}/{}/previous?stable=false", key_of(&all[4]));
    assert_eq!(hub.get(&previous).await.expect(303).location(), all[3]);
}

#[tokio::test]
async fn what_is_no_bulk_insert_changes_nothing() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let path = format!("/channel/{name}/bulk");
    for (boundary, body) in [
        ("abc", String::new()),
        ("abc", "--abc--".to_owned()),
        ("abc", parts("other", &[("", "x")])),
        ("abc", parts("abc", &[("", "")])),
        ("abc", "--abc\r\n\r\nnot closed".to_owned()),
        (
            "abc",
            parts("abc", &[("", "fine"), ("Content-Type: nonsense\r\n", "x")]),
        ),
        (
            "abc",
            parts("abc", &[(&format!("A: {}\r\n", "x".repeat(9000)), "x")]),
        ),
    ] {
        let answer = send(&hub, &path, boundary, body.clone()).await;
        let error = answer.expect(400).json();
        assert!(
            error["field"].is_string() && error["rule"].is_string(),
            "{body}: {error}"
        );
    }
    for kind in [
        "text/plain",
        "multipart/mixed",
        "multipart/mixed; boundary=",
        "",
    ] {
        let ask = hub.ask(Method::POST, &path).header("content-type", kind);
        ask.body("--abc--").send().await.expect_empty(415);
    }
    hub.ask(Method::GET, &path).send().await.expect_empty(405);
    hub.get(&format!("/channel/{name}/latest?stable=false"))
        .await
        .expect_empty(404);
    let missing = bulk(&hub, "bulk-missing", &[("", "x")]).await;
    missing.expect_text(404, "bulk-missing");
}

#[tokio::test]
async fn parts_without_bytes_count_only_with_a_key_of_their_own() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let keyed = "Content-Key: http://hub/x\r\n";
    let answer = bulk(&hub, &name, &[("", ""), (keyed, ""), ("", "x")]).await;
    let uris = answer.expect(201).uris();
    assert_eq!(uris.len(), 2);
    hub.get(&uris[0]).await.expect_text(200, "");
    hub.get(&uris[1]).await.expect_text(200, "x");
    let strict = hub
        .channel_with("bulk", &json!({"allowZeroBytes": false}))
        .await;
    bulk(&hub, &strict, &[("", "x"), (keyed, "")])
        .await
        .expect(400);
    hub.get(&format!("/channel/{strict}/latest?stable=false"))
        .await
        .expect_empty(404);
    bulk(&hub, &strict, &[("", "x"), ("", "")])
        .await
        .expect(201);
}

#[tokio::test]
async fn bulk_inserts_are_bounded_coded_and_repeated_like_others() {
    let hub = Setup::new().set("LIMITS_BULK_BYTES", 2000).start().await;
    let name = hub.channel("bulk").await;
    let path = format!("/channel/{name}/bulk");
    let large = parts("abc", &[("", &"x".repeat(3000))]);
    let error = send(&hub, &path, "abc", large.clone())
        .await
        .expect(413)
        .json();
    assert_eq!(error["rule"], "at most 2000 bytes");
    let chunks = large
        .as_bytes()
        .chunks(100)
        .map(bytes::Bytes::copy_from_slice);
    let kind = "multipart/mixed;boundary=abc";
    let chunked = hub.ask(Method::POST, &path).header("content-type", kind);
    chunked.chunked(chunks.collect()).send().await.expect(413);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(
        &mut gzip,
        parts("abc", &[("", "one"), ("", "two")]).as_bytes(),
    )
    .unwrap();
    let coded = hub.ask(Method::POST, &path).header("content-type", kind);
    let coded = coded
        .header("content-encoding", "gzip")
        .body(gzip.finish().unwrap());
    let uris = coded.send().await.expect(201).uris();
    hub.get(&uris[1]).await.expect_text(200, "two");

    let keyed = |body: String| {
        let ask = hub.ask(Method::POST, &path).header("content-type", kind);
        ask.header("idempotency-key", "k").body(body).send()
    };
    let first = keyed(parts("abc", &[("", "a"), ("", "b")]))
        .await
        .expect(201);
    let again = keyed(parts("abc", &[("", "a"), ("", "b")]))
        .await
        .expect(201);
    assert_eq!(first.uris(), again.uris());
    keyed(parts("abc", &[("", "a"), ("", "c")]))
        .await
        .expect(422);
    let single = hub.ask(Method::POST, &format!("/channel/{name}"));
    let single = single.header("idempotency-key", "k").body("a").send().await;
    single.expect(422);
}

#[tokio::test]
async fn providers_name_their_channel_in_a_header() {
    let hub = Hub::shared().await;
    let name = crate::harness::unique("provided");
    let provide = |path: &'static str, kind: &'static str, body: String| {
        let ask = hub.ask(Method::POST, path).header("channelName", &name);
        ask.header("content-type", kind)
            .header("accept", "image/png")
            .body(body)
            .send()
    };
    let kind = "multipart/mixed; boundary=abc";
    provide("/provider/bulk", "text/plain", String::new())
        .await
        .expect_empty(415);
    hub.get(&format!("/channel/{name}")).await.expect_empty(404);
    provide("/provider", "text/plain", "single".to_owned())
        .await
        .expect_empty(200);
    let two = parts("abc", &[("", "one"), ("", "two")]);
    let answer = provide("/provider/bulk", kind, two).await.expect_empty(200);
    assert_eq!(answer.header("hub-durability"), Some("fsync"));
    provide("/provider/bulk", kind, String::new())
        .await
        .expect(400);
    let listed = hub
        .get(&format!("/channel/{name}/latest/9?stable=false"))
        .await
        .uris();
    assert_eq!(listed.len(), 3);
    hub.get(&listed[0]).await.expect_text(200, "single");
    hub.get(&listed[2]).await.expect_text(200, "two");
    for path in ["/provider", "/provider/bulk"] {
        let ask = hub.ask(Method::POST, path).header("content-type", kind);
        let missing = ask.body("x").send().await;
        assert_eq!(
            missing.expect_error(400, "channelName")["field"],
            "channelName"
        );
        let ask = hub.ask(Method::POST, path).header("content-type", kind);
        let bad = ask.header("channelName", "a b").body("x").send().await;
        bad.expect(400);
        hub.get(path).await.expect_empty(405);
    }
}

#[tokio::test]
async fn lists_give_their_contents_in_parts() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let first = hub.insert(&name, "single").await;
    let uris = bulk(&hub, &name, &[(XML, "<a/>"), ("", "two\r\nlines\r\n")])
        .await
        .uris();
    let base = format!("/channel/{name}");
    let list = hub
        .get(&format!("{base}/latest/9?stable=false&bulk=true"))
        .await
        .expect(200);
    let kind = list.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/mixed;boundary=").unwrap();
    let date = |uri: &str| {
        let key = key_of(uri);
        let digits: Vec<&str> = key.split('/').collect();
        format!(
            "{}-{}-{}T{}:{}:{}.{}Z",
            digits[0], digits[1], digits[2], digits[3], digits[4], digits[5], digits[6]
        )
    };
    let part = |uri: &str, kind: &str, text: &str| {
        format!(
            "--{boundary}\r\n{kind}Content-Key: {uri}\r\nCreation-Date: {}\r\n\r\n{text}\r\n",
            date(uri)
        )
    };
    let expected = part(&first, "", "single")
        + &part(&uris[0], "Content-Type: application/xml\r\n", "<a/>")
        + &part(&uris[1], "Content-Type: text/plain\r\n", "two\r\nlines\r\n")
        + &format!("--{boundary}--");
    assert_eq!(list.text(), expected);
    assert!(list.headers_of("link").is_empty());
    // It goes in as it came out.
    let copy = hub.channel("copy").await;
    let sent = send(
        &hub,
        &format!("/channel/{copy}/bulk"),
        boundary,
        list.body.clone(),
    )
    .await;
    let copied = sent.expect(201).uris();
    assert_eq!(copied.len(), 3);
    hub.get(&copied[2])
        .await
        .expect_text(200, "two\r\nlines\r\n");

    // Links are those of the list as JSON.
    let key = key_of(&uris[0]);
    for path in [
        format!("{base}/{key}/previous/5?stable=false&batch=true&order=desc"),
        format!("{base}/{}/next/1?bulk=true&stable=false", key_of(&first)),
        format!("{base}/{}?bulk=true", &key[..16]),
    ] {
        let answer = hub.get(&path).await.expect(200);
        let as_json = hub
            .get(
                &path
                    .replace("bulk=true", "bulk=x")
                    .replace("batch=true", "batch=x"),
            )
            .await;
        let wanted: Vec<String> = ["next", "previous"]
            .iter()
            .filter_map(|rel| Some(format!("<{}>;rel=\"{rel}\"", as_json.link(rel)?)))
            .map(|link| {
                link.replace("bulk=x", "bulk=true")
                    .replace("batch=x", "batch=true")
            })
            .collect();
        assert_eq!(answer.headers_of("link"), wanted, "{path}");
        let count = answer.text().matches("Content-Key").count();
        assert!(
            answer.text().ends_with("--") && count <= 3,
            "{}",
            answer.text()
        );
    }
    let empty = hub
        .get(&format!(
            "{base}/{}/next/5?bulk=true&stable=false",
            key_of(&uris[1])
        ))
        .await;
    let kind = empty.header("content-type").unwrap().to_owned();
    let boundary = kind.split_once('=').unwrap().1;
    let empty = empty.expect_text(200, &format!("--{boundary}--"));
    assert!(empty.headers_of("link").is_empty());
    hub.get(&format!("{base}/2001/01/01?bulk=true"))
        .await
        .expect(200);
    let refused = hub
        .ask(Method::GET, &format!("{base}/latest/9?bulk=true"))
        .header("accept", "text/plain");
    refused.send().await.expect_empty(406);
}

/// What Python's `email` and `zipfile` make of our answers.
#[tokio::test]
async fn other_readers_understand_them() {
    let hub = Hub::shared().await;
    let name = hub.channel("bulk").await;
    let large = "large ".repeat(300_000);
    let uris = bulk(
        &hub,
        &name,
        &[(XML, "<a/>"), ("", "two\r\nlines\r\n"), ("", &large)],
    )
    .await
    .expect(201)
    .uris();
    let url = format!(
        "{}/channel/{name}/latest/9?stable=false&bulk=true",
        hub.base()
    );
    let script = r"
import email.parser, email.policy, io, json, sys, urllib.request, zipfile
url, keys = sys.argv[1], sys.argv[2:]
texts = [b'<a/>', b'two\r\nlines\r\n', b'large ' * 300000]
with urllib.request.urlopen(url) as answer:
    head = b'Content-Type: ' + answer.headers['Content-Type'].encode() + b'\r\n\r\n'
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.read())
parts = list(message.iter_parts())
assert [part['Content-Key'] for part in parts] == keys, parts
assert [part.get_payload(decode=True) for part in parts] == texts
assert [part.get_content_type() for part in parts] == ['application/xml', 'text/plain', 'text/plain']
request = urllib.request.Request(url, headers={'Accept': 'Application/ZIP'})
with urllib.request.urlopen(request) as answer:
    assert answer.headers['Content-Type'] == 'application/zip'
    archive = zipfile.ZipFile(io.BytesIO(answer.read()))
assert archive.testzip() is None
names = archive.namelist()
assert names == ['/'.join(key.split('/')[5:]) for key in keys], names
assert [archive.read(name) for name in names] == texts
extra = archive.infolist()[0].extra
at = extra.index(b'Hu')
length = int.from_bytes(extra[at + 2:at + 4], 'little')
assert json.loads(extra[at + 4:at + 4 + length]) == {'contentType': 'application/xml'}
assert at == 0 and len(extra) == 4 + length, extra
";
    let script = Command::new("python3")
        .args(["-c", script, &url])
        .args(&uris)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        script.status.success(),
        "{}",
        String::from_utf8_lossy(&script.stderr)
    );
}

/// What a reader of a zip finds in the headers before its entries: their names, and their extra fields.
fn local_headers(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let starts = zip.windows(4).enumerate();
    let starts = starts.filter(|(_, bytes)| bytes == b"PK\x03\x04");
    let header = |at: usize| {
        let length = |field: usize| usize::from(u16::from_le_bytes([zip[field], zip[field + 1]]));
        let name = at + 30;
        let extra = name + length(at + 26);
        (
            String::from_utf8(zip[name..extra].to_vec()).unwrap(),
            zip[extra..extra + length(at + 28)].to_vec(),
        )
    };
    starts.map(|(at, _)| header(at)).collect()
}

/// Before an entry the extra field is JSON and nothing else, for clients that read a zip from its front.
#[tokio::test]
async fn the_header_before_a_zip_entry_has_bare_json() {
    let hub = Hub::shared().await;
    let tag = unique("zipped");
    let (one, other) = (
        hub.channel_with("zipped", &json!({"tags": [tag]})).await,
        hub.channel_with("zipped", &json!({"tags": [tag]})).await,
    );
    let kind = r#"a/b;c="d\"e""#;
    let typed = format!("Content-Type: {kind}\r\n");
    let items = [(XML, "<a/>"), ("", "plain"), (&*typed, "two")];
    let mut uris = bulk(&hub, &one, &items).await.expect(201).uris();
    uris.push(hub.insert(&other, "untyped").await);
    let kinds = [
        Some("application/xml"),
        Some("text/plain"),
        Some(kind),
        None,
    ];
    // Of a tag they are named by their keys alone, too.
    for (of, wanted) in [
        (format!("channel/{one}"), 0..3),
        (format!("channel/{other}"), 3..4),
        (format!("tag/{tag}"), 0..4),
    ] {
        let path = format!("/{of}/earliest/9?stable=false&bulk=true");
        let ask = hub.ask(Method::GET, &path);
        let zip = ask.header("accept", "application/zip").send().await;
        let zip = zip.expect(200);
        let wanted = uris[wanted.clone()].iter().zip(&kinds[wanted]);
        let headers = local_headers(&zip.body);
        assert_eq!(headers.len(), wanted.len(), "{path}");
        for ((name, extra), (uri, kind)) in headers.iter().zip(wanted) {
            assert_eq!(name, key_of(uri), "{path}");
            let text = std::str::from_utf8(extra).unwrap();
            let Some(kind) = kind else {
                assert_eq!(text, "", "{path}");
                continue;
            };
            assert!(
                text.starts_with('{') && text.trim_end_matches(' ').ends_with('}'),
                "{text:?}"
            );
            let json: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
            assert_eq!(json, json!({"contentType": kind}));
        }
    }
}

/// Where a bulk insert leads lists all that it has inserted, also if that is more than lists of a number
/// of items have.
#[tokio::test]
async fn the_location_of_a_long_bulk_insert_lists_exactly_its_items() {
    const COUNT: usize = 10_002;
    let hub = Hub::shared().await;
    let name = hub.channel("long").await;
    let before = hub.insert(&name, "before").await;
    let mut body = String::new();
    for number in 0..COUNT {
        write!(body, "--abc\r\n\r\n{number}\r\n").unwrap();
    }
    let path = format!("/channel/{name}/bulk");
    let inserted = send(&hub, &path, "abc", body + "--abc--").await.expect(201);
    let after = hub.insert(&name, "after").await;
    let (uris, location) = (inserted.uris(), inserted.location());
    assert_eq!(uris.len(), COUNT);
    assert!(location.ends_with("/next/10002?stable=false"), "{location}");

    let listed = hub.get(location).await.expect(200);
    assert_eq!(listed.uris(), uris);
    assert_eq!(listed.link("self").as_deref(), Some(location));
    for (link, item) in [("next", &after), ("previous", &before)] {
        let beside = hub.get(&listed.link(link).unwrap()).await.expect(200);
        assert_eq!(beside.uris(), std::slice::from_ref(item), "{link}");
    }
    let descending = hub.get(&format!("{location}&order=descending")).await;
    let descending = descending.expect(200).uris();
    assert!(descending.iter().eq(uris.iter().rev()));

    let contents = hub.get(&format!("{location}&bulk=true")).await.expect(200);
    let text = contents.text();
    let boundary = text.split_once("\r\n").unwrap().0;
    let (parts, end) = text.rsplit_once(boundary).unwrap();
    assert_eq!(end, "--");
    let parts: Vec<&str> = parts.split(boundary).skip(1).collect();
    assert_eq!(parts.len(), COUNT);
    for (number, (part, uri)) in parts.iter().zip(&uris).enumerate() {
        let (head, payload) = part.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Key: {uri}\r\n")), "{head}");
        assert_eq!(payload, format!("{number}\r\n"));
    }

    // Another number is one like any other.
    for (count, items) in [
        (COUNT + 1, 10_000),
        (COUNT - 1, 10_000),
        (10_000, 10_000),
        (3, 3),
    ] {
        let path = location.replace("/next/10002", &format!("/next/{count}"));
        let listed = hub.get(&path).await.expect(200).uris();
        assert_eq!(listed, uris[..items], "{count}");
    }
    // So is that number from another place.
    let stamp = uris[0].strip_suffix("000000").unwrap();
    let path = format!("{stamp}000000/next/{COUNT}?stable=false");
    assert_eq!(hub.get(&path).await.expect(200).uris(), uris[1..=10_000]);
}

/// However many items a list has, they go out as they are read.
#[tokio::test]
async fn long_lists_are_sent_as_they_are_read() {
    let hub = Setup::new().start().await;
    let name = hub.channel("bulk").await;
    let mut body = String::new();
    for number in 0..20_000 {
        write!(body, "--abc\r\n\r\n{number:0100}\r\n").unwrap();
    }
    body.push_str("--abc--");
    let path = format!("/channel/{name}/bulk");
    let inserted = send(&hub, &path, "abc", body).await.expect(201);
    let uris = inserted.uris();
    assert_eq!(uris.len(), 20_000);
    hub.get(&uris[19_999])
        .await
        .expect_text(200, &format!("{:0100}", 19_999));
    let minute = format!("/channel/{name}/{}?stable=false", &key_of(&uris[0])[..16]);
    assert_eq!(hub.get(&minute).await.expect(200).uris(), uris);
    let all = hub.get(&format!("{minute}&bulk=true")).await.expect(200);
    assert_eq!(all.text().matches("Content-Key").count(), 20_000);
    let texts = all.text().split("\r\n\r\n").skip(1);
    for (number, text) in texts.enumerate() {
        assert!(text.starts_with(&format!("{number:0100}\r\n")), "{number}");
    }
    let descending = hub
        .get(&format!("{minute}&order=desc"))
        .await
        .expect(200)
        .uris();
    assert!(descending.iter().eq(uris.iter().rev()));
}

/// The start key of a list is listed also where there is no such item, which has no contents.
#[tokio::test]
async fn a_start_key_without_an_item_has_no_part() {
    let hub = Hub::shared().await;
    let kept = json!({"keepForever": true});
    let name = hub.channel_with("inclusive", &kept).await;
    let item = hub.insert(&name, "the item").await;
    for (start, direction, listed) in [
        (
            format!("/channel/{name}/2024/10/3/15/25/52/165/zaSness"),
            "next",
            2,
        ),
        (
            format!("/channel/{name}/2024/10/3/15/25/52/165/zaSness"),
            "previous",
            1,
        ),
        (hub.path_of(&item).to_owned(), "next", 1),
    ] {
        let path = format!("{start}/{direction}/3?inclusive=true&stable=false");
        let json = hub.get(&path).await.expect(200);
        assert_eq!(json.uris().len(), listed, "{path}");
        let contents = hub.get(&format!("{path}&bulk=true")).await.expect(200);
        let parts = contents.text().matches("Content-Key").count();
        assert_eq!(parts, usize::from(direction == "next"), "{path}");
        assert!(contents.text().ends_with("--"), "{path}");
        let ask = hub.ask(Method::GET, &format!("{path}&bulk=true"));
        let zip = ask.header("accept", "application/zip").send().await;
        assert!(!zip.expect(200).body.is_empty(), "{path}");
    }
}
