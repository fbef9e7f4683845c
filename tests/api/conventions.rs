//! What holds for every answer: headers, HEAD, OPTIONS, unknown paths and methods, connections.

use http::Method;
use serde_json::json;

use crate::harness::{Answer, Hub, VERSION, key_of};

#[track_caller]
fn has_common_headers(answer: &Answer, node: &str) {
    let about = &answer.about;
    for (name, value) in [
        ("server", format!("Hub/{VERSION}").as_str()),
        ("hub-node", node),
        ("access-control-allow-origin", "*"),
        (
            "access-control-allow-headers",
            "origin, content-type, accept, authorization",
        ),
        (
            "access-control-allow-methods",
            "GET, POST, PUT, DELETE, OPTIONS, HEAD",
        ),
    ] {
        assert_eq!(answer.header(name), Some(value), "{about}: {name}");
    }
    for name in ["cache-control", "etag", "last-modified"] {
        assert_eq!(answer.header(name), None, "{about}: {name}");
    }
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let hub = Hub::alone().await;
    let node = hub.get("/internal/deploy").await.expect(200).json()[0].clone();
    let node = node.as_str().unwrap();
    assert!(node.ends_with(&format!(":{}", hub.address().port())));
    let channel = hub.channel("headers").await;
    let item = hub.insert(&channel, "x").await;
    let own = |rest: &str| format!("/channel/{channel}{rest}");
    let key = key_of(&item);
    for (method, path, headers, body, status) in [
        ("GET", "/".to_owned(), &[][..], "", 200),
        ("GET", "/health".to_owned(), &[], "", 200),
        ("GET", "/metrics".to_owned(), &[], "", 200),
        ("GET", "/internal/deploy/text".to_owned(), &[], "", 200),
        ("GET", own(""), &[], "", 200),
        ("HEAD", own(""), &[], "", 200),
        ("OPTIONS", own(""), &[], "", 200),
        ("PUT", own(""), &[], "", 201),
        ("PATCH", own(""), &[], "{}", 200),
        ("POST", own(""), &[], "y", 201),
        ("GET", own(&format!("/{key}")), &[], "", 200),
        (
            "GET",
            own(&format!("/{key}")),
            &[("accept-encoding", "gzip")],
            "",
            200,
        ),
        ("GET", own("/latest"), &[], "", 303),
        ("GET", own("/latest/"), &[], "", 307),
        ("PUT", own("/doc"), &[], "text", 200),
        ("DELETE", own("/doc"), &[], "", 204),
        ("PUT", own(""), &[], "nonsense", 400),
        ("GET", own("/2024/13/01"), &[], "", 400),
        ("GET", "/nowhere".to_owned(), &[], "", 404),
        ("GET", "/channel/nowhere/latest".to_owned(), &[], "", 404),
        ("POST", own("/latest"), &[], "", 405),
        ("GET", own("/latest/1"), &[("accept", "image/png")], "", 406),
        ("PUT", own(""), &[("content-type", "text/plain")], "{}", 415),
        ("DELETE", own(""), &[], "", 202),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let ask = hub.ask(method, &path).headers(headers).body(body);
        has_common_headers(&ask.send().await.expect(status), node);
    }
}

#[tokio::test]
async fn what_is_no_json_is_called_json_where_json_is_expected() {
    let hub = Hub::shared().await;
    let guarded = json!({"protect": true, "owner": "me"});
    let guarded = hub.channel_with("kinds", &guarded).await;
    let full = json!({"allowZeroBytes": false});
    let full = hub.channel_with("kinds", &full).await;
    for (method, path, status) in [
        (Method::GET, "/channel/nowhere/latest/1".to_owned(), 404),
        (Method::GET, "/channel/nowhere/earliest/1".to_owned(), 404),
        (Method::GET, "/channel/nowhere/2024/01/01".to_owned(), 404),
        (Method::GET, "/channel/nowhere/time".to_owned(), 404),
        (Method::GET, "/channel/nowhere/status".to_owned(), 404),
        (
            Method::GET,
            "/channel/nowhere/2024/01/01/00/00/00/000/a/next/1".to_owned(),
            404,
        ),
        (Method::DELETE, "/channel/nowhere".to_owned(), 404),
        (Method::DELETE, format!("/channel/{guarded}"), 403),
        (Method::DELETE, "/internal/channel/nowhere".to_owned(), 404),
        (Method::PUT, "/internal/time/local".to_owned(), 403),
        (Method::PUT, "/internal/time/remote".to_owned(), 403),
        (Method::POST, "/internal/shutdown".to_owned(), 403),
        (Method::POST, "/internal/shutdown/resetLock".to_owned(), 403),
        (Method::POST, format!("/channel/{full}"), 400),
    ] {
        let answer = hub.ask(method, &path).send().await.expect(status);
        assert!(!answer.body.is_empty() && !answer.text().starts_with(['"', '{']));
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/json"), "{}", answer.about);
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let hub = Hub::shared().await;
    let channel = hub.channel("head").await;
    let item = hub.insert(&channel, vec![b'x'; 1000]).await;
    hub.is_stable(&item).await;
    let item = hub.path_of(&item).to_owned();
    let (second, _) = item.rsplit_once('/').unwrap();
    hub.ask(Method::PUT, &format!("/channel/{channel}/doc"))
        .body("# doc")
        .send()
        .await
        .expect(200);
    let own = |rest: &str| format!("/channel/{channel}{rest}");
    let mut raw = hub.raw().await;
    for path in [
        "/".to_owned(),
        "/channel".to_owned(),
        "/health/live".to_owned(),
        own(""),
        own("/status"),
        own("/time/day"),
        own("/doc"),
        own("/latest"),
        own("/latest/5"),
        own("/earliest"),
        own("/earliest/5"),
        own("/2015/06/07"),
        own("/2015/06/07/08"),
        own("/2015/06/07/08/09"),
        own("/2015/06/07/08/09/10"),
        own("/2015/06/07/08/09/10/next/3"),
        own("/latest/"),
        own("/nowhere"),
        own("/2015/13/07"),
        second.to_owned(),
        item.clone(),
        format!("{item}/previous"),
        format!("{item}/previous/2"),
        "/channel/nowhere".to_owned(),
        "/channel/nowhere/latest".to_owned(),
    ] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await;
        let get = raw.answer().await;
        raw.send(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await;
        // Were there a body, the next answer would begin with it.
        let head = raw.answer_to_head().await;
        assert_eq!(head.status, get.status, "{path}");
        // The length of no body need not be said.
        let length = head.header("content-length").unwrap_or("0");
        assert_eq!(Some(length), get.header("content-length"), "{path}");
        for name in [
            "content-type",
            "location",
            "creation-date",
            "x-item-length",
            "link",
        ] {
            assert_eq!(head.headers_of(name), get.headers_of(name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn preflight_is_answered_where_there_is_something() {
    let hub = Hub::shared().await;
    let key = "2015/06/07/08/09/10/011/abc";
    for (path, allowed) in [
        ("/", "GET"),
        ("/channel", "POST"),
        ("/channel/x", "PUT"),
        ("/channel/x", "PATCH"),
        ("/channel/x", "DELETE"),
        ("/channel/x/latest/3", "GET"),
        ("/channel/x/doc", "PUT"),
        ("/channel/x/time", "HEAD"),
        (&format!("/channel/x/{key}"), "GET"),
        (&format!("/channel/x/{key}/next/3"), "GET"),
        ("/health", "GET"),
    ] {
        let answer = hub
            .ask(Method::OPTIONS, path)
            .header("origin", "http://page")
            .header("access-control-request-method", allowed)
            .header("access-control-request-headers", "content-type")
            .send()
            .await
            .expect_empty(200);
        let allow = answer.header("allow").unwrap();
        let mut methods = allow.split(", ");
        assert!(methods.any(|method| method == allowed), "{path}: {allow}");
    }
    hub.ask(Method::OPTIONS, "/nowhere")
        .send()
        .await
        .expect_empty(404);
}

#[tokio::test]
async fn unknown_paths_are_404_without_a_body() {
    let hub = Hub::shared().await;
    let channel = hub.channel("unknown").await;
    let own = |rest: &str| format!("/channel/{channel}{rest}");
    let key = "2015/06/07/08/09/10/011/abc";
    for (method, path) in [
        ("GET", "/nowhere".to_owned()),
        ("GET", "/health/nowhere".to_owned()),
        ("GET", "/Channel".to_owned()),
        ("GET", "//channel".to_owned()),
        ("GET", "/channel//latest".to_owned()),
        ("GET", own("/nowhere")),
        ("GET", own("/latest/1/2")),
        ("GET", own("/latest/x")),
        ("GET", own("/latest/1.5")),
        ("GET", own("/earliest/1x")),
        ("GET", own("/time/year")),
        ("GET", own("/2015")),
        ("GET", own("/2015/06")),
        ("GET", own("/2015/06/x")),
        ("GET", own("/2015/06/07/x")),
        ("GET", own("/2015/06/07/08/x")),
        ("GET", own("/2015/06/07/08/09/x")),
        ("GET", own("/2015/06/07/08/09/10/x")),
        ("GET", own("/2015/06/07/08/09/10/next")),
        ("GET", own("/2015/06/07/08/09/10/next/x")),
        ("GET", own("/2015/06/07/08/09/10/1x/abc")),
        ("GET", own(&format!("/{key}/sideways"))),
        ("GET", own(&format!("/{key}/next/x"))),
        ("GET", own(&format!("/{key}/next/1/2"))),
        ("GET", "/channel/%zz".to_owned()),
        ("GET", "/channel/%ff".to_owned()),
        // What later versions serve.
        ("GET", own("/events")),
        ("GET", own("/ws")),
        ("GET", own("/2015/06/07/ws")),
        ("GET", own(&format!("/{key}/events"))),
        ("GET", own(&format!("/{key}/ws"))),
        ("GET", "/webhook".to_owned()),
        ("PUT", "/webhook/w".to_owned()),
        ("GET", "/group".to_owned()),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        hub.ask(method, &path).send().await.expect_empty(404);
    }
}

const READ: &str = "GET, HEAD, OPTIONS";

#[tokio::test]
async fn a_wrong_method_is_405_and_says_which_are_right() {
    let hub = Hub::shared().await;
    let channel = hub.channel("methods").await;
    let own = |rest: &str| format!("/channel/{channel}{rest}");
    let key = "2015/06/07/08/09/10/011/abc";
    for (method, path, allow) in [
        ("POST", "/".to_owned(), READ),
        ("DELETE", "/channel".to_owned(), "GET, HEAD, POST, OPTIONS"),
        ("PUT", "/channel".to_owned(), "GET, HEAD, POST, OPTIONS"),
        (
            "TRACE",
            own(""),
            "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        ("POST", own("/doc"), "GET, HEAD, PUT, DELETE, OPTIONS"),
        ("PUT", own("/latest"), READ),
        ("POST", own("/latest/3"), READ),
        ("DELETE", own("/status"), READ),
        ("POST", own("/time"), READ),
        ("POST", own("/time/second"), READ),
        ("PUT", own("/2015/06/07"), READ),
        ("DELETE", own("/2015/06/07/08/09/10"), READ),
        (
            "PUT",
            own(&format!("/{key}")),
            "GET, HEAD, POST, DELETE, OPTIONS",
        ),
        ("POST", own(&format!("/{key}/next")), READ),
        ("POST", own(&format!("/{key}/next/3")), READ),
        ("POST", own("/2015/06/07/08/09/10/next/3"), READ),
        ("POST", "/health".to_owned(), READ),
        ("PUT", "/metrics".to_owned(), READ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = hub.ask(method, &path).send().await.expect_empty(405);
        assert_eq!(answer.header("allow"), Some(allow), "{}", answer.about);
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let hub = Hub::shared().await;
    let channel = hub.channel("pipelined").await;
    let mut raw = hub.raw().await;
    // All of them at once, answered in order.
    let post = |body: &str| {
        format!(
            "POST /channel/{channel} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let get = format!("GET /channel/{channel}/latest?stable=false HTTP/1.1\r\nHost: h\r\n\r\n");
    raw.send([post("a"), get.clone(), post("bc"), get].concat())
        .await;
    let first = raw.answer().await.expect(201).location().to_owned();
    assert_eq!(raw.answer().await.expect(303).location(), first);
    let second = raw.answer().await.expect(201).location().to_owned();
    assert!(second > first);
    assert_eq!(raw.answer().await.expect(303).location(), second);

    // Bodies that nobody wants are passed over.
    let unwanted = |length: usize| {
        let body = "x".repeat(length);
        format!(
            "GET /channel/{channel} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    raw.send([unwanted(5), unwanted(300_000), unwanted(0)].concat())
        .await;
    for _ in 0..3 {
        raw.answer().await.expect(200);
    }

    // HTTP/1.0 has no host and ends with its answer.
    let mut raw = hub.raw().await;
    raw.send(format!("GET /channel/{channel} HTTP/1.0\r\n\r\n"))
        .await;
    let answer = raw.answer().await.expect(200);
    let node = answer.header("hub-node").unwrap();
    assert_eq!(
        answer.link("self"),
        Some(format!("http://{node}/channel/{channel}"))
    );
    assert_eq!(raw.until_closed().await, b"");
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let hub = Hub::shared().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .http2_prior_knowledge()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let url = hub.url("/channel/nowhere/latest/");
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.status(), 307);
    let location = answer.headers()["location"].to_str().unwrap();
    assert_eq!(location, hub.url("/channel/nowhere/latest"));
}
