//! Several items in one answer: lists with their contents, and long lists.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use http::Method;
use serde_json::json;

use crate::bulk::{XML, bulk, send};
use crate::harness::{Hub, Setup, key_of, unique};

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
