//! Which scheme, host and port links have: what the client used, and nothing that it made up.

use http::Method;

use crate::harness::{Hub, Raw};

const HOST: &str = "x-forwarded-host";
const PROTO: &str = "x-forwarded-proto";

#[tokio::test]
async fn links_follow_the_request() {
    let hub = Hub::alone().await;
    let channel = hub.channel("links").await;
    hub.insert(&channel, "x").await;
    for (host, forwarded, base) in [
        ("hub.example", &[][..], "http://hub.example"),
        ("hub.example:9000", &[], "http://hub.example:9000"),
        ("hub.example:80", &[], "http://hub.example"),
        ("hub.example:443", &[], "http://hub.example"),
        ("192.0.2.1:81", &[], "http://192.0.2.1:81"),
        ("[2001:db8::1]:9000", &[], "http://[2001:db8::1]:9000"),
        ("[::1]", &[], "http://[::1]"),
        (
            "h:1",
            &[(HOST, "headers:9000"), (PROTO, "https")],
            "https://headers:9000",
        ),
        (
            "h:1",
            &[(HOST, "headers"), (PROTO, "https")],
            "https://headers",
        ),
        ("h:1", &[(HOST, "headers:9000")], "http://headers:9000"),
        ("h:1", &[(HOST, "headers")], "http://headers"),
        // The port stays when only the scheme is forwarded.
        ("h:9000", &[(PROTO, "https")], "https://h:9000"),
        ("h", &[(PROTO, "https")], "https://h"),
        // Of what several proxies added, the first.
        (
            "h:1",
            &[(HOST, "a:81, b:82"), (PROTO, "https, http")],
            "https://a:81",
        ),
        ("h:1", &[(HOST, "a , b:82")], "http://a"),
        ("h:1", &[(PROTO, "HTTPS")], "https://h:1"),
        // What is no host or no scheme counts as not sent.
        ("h:1", &[(HOST, "a\"b")], "http://h:1"),
        ("h:1", &[(HOST, "")], "http://h:1"),
        ("h:1", &[(HOST, "a/b")], "http://h:1"),
        ("h:1", &[(PROTO, "javascript")], "http://h:1"),
        ("h:1", &[(PROTO, "")], "http://h:1"),
    ] {
        let ask = |method, path: &str| {
            let ask = hub.ask(method, path).header("host", host);
            ask.headers(forwarded)
        };
        let own = format!("/channel/{channel}");
        let root = ask(Method::GET, "/").send().await.expect(200);
        assert_eq!(root.link("self"), Some(format!("{base}/")), "{host}");
        let shown = ask(Method::GET, &own).send().await.expect(200);
        assert_eq!(shown.link("self"), Some(format!("{base}{own}")));
        let posted = ask(Method::POST, &own).body("x").send().await.expect(201);
        let item = posted.location().to_owned();
        assert!(item.starts_with(&format!("{base}{own}/")), "{item}");
        let latest = ask(Method::GET, &format!("{own}/latest?stable=false"))
            .send()
            .await;
        assert_eq!(latest.expect(303).location(), item);
        let slashed = ask(Method::GET, &format!("{own}/latest/?a=b")).send().await;
        let unslashed = format!("{base}{own}/latest?a=b");
        assert_eq!(slashed.expect(307).location(), unslashed);
        let ws = shown.link("ws").unwrap();
        let (scheme, rest) = base.split_once("://").unwrap();
        let expected = if scheme == "https" { "wss" } else { "ws" };
        assert_eq!(ws, format!("{expected}://{rest}{own}/ws"));
    }
}

#[tokio::test]
async fn a_hostile_host_gets_into_no_link() {
    let hub = Hub::shared().await;
    let node = hub.get("/").await.header("hub-node").unwrap().to_owned();
    let long = "x".repeat(300);
    for host in [
        "evil\"><script>",
        "evil\\",
        "e vil",
        "user@evil",
        "user:secret@evil",
        "evil:99999",
        "evil:0",
        "evil:port",
        "evil:80:80",
        "evil/path",
        "evil?query",
        "evil#fragment",
        "ev%69l",
        "[evil]",
        "[::1",
        "",
        &long,
        "\u{e9}vil",
    ] {
        for path in ["/", "/channel/", "/channel/x/time/day"] {
            let mut raw = hub.raw().await;
            raw.send(format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await;
            let answer = raw.answer().await;
            if answer.status == 400 {
                // Not even read.
                continue;
            }
            let link = match path {
                "/" => answer.expect(200).link("self").unwrap(),
                _ => answer.location().to_owned(),
            };
            assert!(
                link.starts_with(&format!("http://{node}/")),
                "{host}: {link}"
            );
        }
    }
}

#[tokio::test]
async fn the_target_of_a_request_goes_before_its_host() {
    let hub = Hub::shared().await;
    let mut raw = Raw::connect(hub.address()).await;
    raw.send("GET http://target:81/ HTTP/1.1\r\nHost: other\r\n\r\n")
        .await;
    let answer = raw.answer().await.expect(200);
    assert_eq!(answer.link("self").unwrap(), "http://target:81/");
    raw.send("GET http://target:81/channel/?a=b HTTP/1.1\r\nHost: other\r\n\r\n")
        .await;
    let answer = raw.answer().await.expect(307);
    assert_eq!(answer.location(), "http://target:81/channel?a=b");
}

#[tokio::test]
async fn a_trailing_slash_is_redirected_away() {
    let hub = Hub::shared().await;
    for (path, without) in [
        ("/channel/", "/channel"),
        ("/channel///", "/channel"),
        ("/nowhere/", "/nowhere"),
        ("/health/", "/health"),
        ("/channel/X-y/latest/", "/channel/X-y/latest"),
        (
            "/channel/x/2015/13/99/?stable=false&a=b%20c&a=",
            "/channel/x/2015/13/99?stable=false&a=b%20c&a=",
        ),
        ("/channel/x/?", "/channel/x"),
    ] {
        let location = hub.url(without);
        for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
            let answer = hub.ask(method, path).send().await.expect_empty(307);
            assert_eq!(answer.location(), location, "{}", answer.about);
        }
    }
    // The root is the one path that ends in a slash.
    hub.get("/").await.expect(200);
}
