use http::{HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::env::Millis;
use crate::http::grammar::{Route, RouteError, parse};
use crate::item::Suffix;

fn own() -> Authority {
    Authority::parse("own:8080").unwrap()
}

fn base(headers: &[(&'static str, &str)]) -> String {
    based(Scheme::Http, None, headers)
}

fn based(listener: Scheme, target: Option<&str>, headers: &[(&'static str, &str)]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    BaseUri::of_request(listener, target, &map, &own())
        .as_str()
        .to_owned()
}

fn hub() -> BaseUri {
    BaseUri::new(Scheme::Http, &Authority::parse("hub").unwrap())
}

#[test]
fn without_forwarding_the_host_decides() {
    assert_eq!(base(&[("host", "hub")]), "http://hub/");
    assert_eq!(base(&[("host", "hub:9000")]), "http://hub:9000/");
    assert_eq!(base(&[("host", "hub:80")]), "http://hub/");
    assert_eq!(base(&[("host", "hub:443")]), "http://hub/");
    assert_eq!(base(&[("host", "[::1]:9000")]), "http://[::1]:9000/");
    assert_eq!(base(&[("host", "Hub.Example")]), "http://Hub.Example/");
    let tls = |host| based(Scheme::Https, None, &[("host", host)]);
    assert_eq!(tls("hub:443"), "https://hub/");
    assert_eq!(tls("hub:8443"), "https://hub:8443/");
    let two = |target| based(Scheme::Http, Some(target), &[("host", "other")]);
    assert_eq!(two("hub:9000"), "http://hub:9000/");
    assert_eq!(two("hub:80"), "http://hub/");
    assert_eq!(two("user@hub"), "http://own:8080/");
    assert_eq!(base(&[]), "http://own:8080/");
}

#[test]
fn what_a_proxy_says_goes_first() {
    let forwarded = |host, proto| {
        base(&[
            ("host", "hub:9000"),
            ("x-forwarded-host", host),
            ("x-forwarded-proto", proto),
        ])
    };
    assert_eq!(forwarded("headers:9000", "https"), "https://headers:9000/");
    assert_eq!(forwarded("headers", "https"), "https://headers/");
    assert_eq!(forwarded("a:1, b:2", "https, http"), "https://a:1/");
    assert_eq!(forwarded(" a , b", " HTTPS ,http"), "https://a/");
    assert_eq!(forwarded("headers:443", "https"), "https://headers:443/");
    assert_eq!(
        forwarded("[2001:db8::1]:9", "http"),
        "http://[2001:db8::1]:9/"
    );

    let host_alone = [("host", "hub:9000"), ("x-forwarded-host", "headers")];
    assert_eq!(base(&host_alone), "http://headers/");
    assert_eq!(
        based(Scheme::Https, Some("two:1"), &host_alone),
        "https://headers/"
    );
    let proto_alone = [("host", "hub:9000"), ("x-forwarded-proto", "https")];
    assert_eq!(base(&proto_alone), "https://hub:9000/");
    let default_port = [("host", "hub:80"), ("x-forwarded-proto", "https")];
    assert_eq!(base(&default_port), "https://hub/");
    assert_eq!(base(&[("x-forwarded-proto", "https")]), "https://own:8080/");

    // What makes no sense counts as not sent.
    assert_eq!(forwarded("a/b", "https"), "https://hub:9000/");
    assert_eq!(forwarded(", b", "https"), "https://hub:9000/");
    assert_eq!(forwarded("", ""), "http://hub:9000/");
    assert_eq!(forwarded("a", "javascript"), "http://a/");
    assert_eq!(forwarded("a", ",https"), "http://a/");
}

#[test]
fn hostile_hosts_stay_out_of_links() {
    for host in [
        "",
        " ",
        "a b",
        "a/b",
        "a\\b",
        "a\"b",
        "a'b",
        "a<b",
        "a>b",
        "a@b",
        "a?b",
        "a#b",
        "a%2Fb",
        "a,b",
        "a;b",
        "a\tb",
        "é",
        ":80",
        "a:0",
        "a:65536",
        "a:-1",
        "a:+1",
        "a:8o",
        "a:1:2",
        "::1",
        "[::1",
        "[]",
        "[zz]",
        "[::1]x",
        "[::1]x:80",
        "x[::1]",
        "[::1%25eth0]",
        "[\"]",
        &"a".repeat(254),
    ] {
        assert_eq!(base(&[("host", host)]), "http://own:8080/", "{host:?}");
        assert_eq!(
            based(Scheme::Http, Some(host), &[("host", "hub")]),
            "http://own:8080/",
            "{host:?}"
        );
        if !host.contains(',') {
            let forwarded = [("host", "hub"), ("x-forwarded-host", host)];
            assert_eq!(base(&forwarded), "http://hub/", "{host:?}");
        }
    }
    for text in ["a\r\nb", "a\0b", "a\n", "\u{7f}"] {
        assert_eq!(Authority::parse(text), None, "{text:?}");
    }
    let longest = "a".repeat(253);
    assert_eq!(base(&[("host", &longest)]), format!("http://{longest}/"));
    assert_eq!(base(&[("host", "a:65535")]), "http://a:65535/");
    assert_eq!(base(&[("host", "a:")]), "http://a/");
}

#[test]
fn every_link_of_a_channel() {
    let key = ItemKey::new(
        Millis::parse_iso("2024-05-01T09:15:07.123Z").unwrap(),
        Suffix::parse("a1B2c3").unwrap(),
    );
    let period = |unit| TimePath::of(unit, key.millis);
    let (next, previous) = (Direction::Next, Direction::Previous);
    let links = ChannelLinks::new(&hub(), "Orders");
    for (link, url) in [
        (Link::Channel, ""),
        (Link::Status, "/status"),
        (Link::Doc, "/doc"),
        (Link::Bulk, "/bulk"),
        (Link::Events, "/events"),
        (Link::Time, "/time"),
        (Link::TimeNow(Unit::Minute), "/time/minute"),
        (
            Link::TimeTemplate(Unit::Second),
            "/time/{year}/{month}/{day}/{hour}/{minute}/{second}{?stable}",
        ),
        (
            Link::TimeTemplate(Unit::Minute),
            "/time/{year}/{month}/{day}/{hour}/{minute}{?stable}",
        ),
        (
            Link::TimeTemplate(Unit::Hour),
            "/time/{year}/{month}/{day}/{hour}{?stable}",
        ),
        (
            Link::TimeTemplate(Unit::Day),
            "/time/{year}/{month}/{day}{?stable}",
        ),
        (Link::Period(period(Unit::Day)), "/2024/05/01"),
        (Link::Period(period(Unit::Hour)), "/2024/05/01/09"),
        (Link::Period(period(Unit::Second)), "/2024/05/01/09/15/07"),
        (Link::Item(key), "/2024/05/01/09/15/07/123/a1B2c3"),
        (
            Link::Neighbour {
                from: key,
                direction: previous,
            },
            "/2024/05/01/09/15/07/123/a1B2c3/previous",
        ),
        (
            Link::Neighbours {
                from: key,
                direction: next,
                count: 2,
            },
            "/2024/05/01/09/15/07/123/a1B2c3/next/2",
        ),
        (
            Link::Seconds {
                from: period(Unit::Second),
                direction: previous,
                count: -3,
            },
            "/2024/05/01/09/15/07/previous/-3",
        ),
        (Link::Edge(Edge::Latest), "/latest"),
        (Link::Edge(Edge::Earliest), "/earliest"),
        (
            Link::Edges {
                edge: Edge::Earliest,
                count: 9,
            },
            "/earliest/9",
        ),
    ] {
        assert_eq!(links.url(link), format!("http://hub/channel/Orders{url}"));
    }
    assert_eq!(links.url(Link::Ws), "ws://hub/channel/Orders/ws");
    assert_eq!(links.channel(), links.url(Link::Channel));
    let tls = BaseUri::new(Scheme::Https, &Authority::parse("hub:9").unwrap());
    let links = ChannelLinks::new(&tls, "c");
    assert_eq!(links.url(Link::Ws), "wss://hub:9/channel/c/ws");
    assert_eq!(tls.join("health/metrics"), "https://hub:9/health/metrics");
    let mut out = String::from("\"");
    links.push_item(&mut out, &key);
    assert_eq!(
        out,
        "\"https://hub:9/channel/c/2024/05/01/09/15/07/123/a1B2c3"
    );
}

#[test]
fn a_channel_is_spelled_as_in_the_path_but_safely() {
    for (name, spelled) in [
        ("My-Channel_1", "My-Channel_1"),
        ("a.b~c", "a.b~c"),
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("a\"b\\", "a%22b%5C"),
        ("<é>", "%3C%C3%A9%3E"),
        ("\r\n\0", "%0D%0A%00"),
        ("100%", "100%25"),
        ("a?b#c", "a%3Fb%23c"),
    ] {
        let links = ChannelLinks::new(&hub(), name);
        assert_eq!(links.channel(), format!("http://hub/channel/{spelled}"));
    }
}

#[test]
fn a_path_loses_its_slashes_and_keeps_its_query() {
    for (path, query, url) in [
        ("/channel/", None, "http://hub/channel"),
        ("/channel/", Some(""), "http://hub/channel"),
        (
            "/channel/c/latest/5/",
            Some("stable=false&x=/"),
            "http://hub/channel/c/latest/5?stable=false&x=/",
        ),
        ("/channel/c//", None, "http://hub/channel/c"),
        ("//", None, "http://hub/"),
        ("//evil.example/", None, "http://hub//evil.example"),
        (
            "/a%2Fb:@!$&'()*+,;=/",
            None,
            "http://hub/a%2Fb:@!$&'()*+,;=",
        ),
        (
            "/\"<é>\\ \r\n/",
            Some("\""),
            "http://hub/%22%3C%C3%A9%3E%5C%20%0D%0A?%22",
        ),
    ] {
        assert_eq!(hub().unslashed(path, query), url, "{path}");
    }
}

fn any_key() -> impl Strategy<Value = ItemKey> {
    (any_millis(), "[0-9A-Za-z]{1,31}")
        .prop_map(|(millis, suffix)| ItemKey::new(millis, Suffix::parse(&suffix).unwrap()))
}

fn any_millis() -> impl Strategy<Value = Millis> {
    (Millis::MIN.get()..=Millis::MAX.get()).prop_map(Millis::new)
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Next), Just(Direction::Previous)]
}

/// Every route that has a link of its own.
fn any_route() -> impl Strategy<Value = ChannelRoute> {
    use ChannelRoute as C;
    let unit = || (0usize..4).prop_map(|at| Unit::ALL[at]);
    let edge = || prop_oneof![Just(Edge::Latest), Just(Edge::Earliest)];
    prop_oneof![
        Just(C::Get),
        Just(C::Status),
        Just(C::DocGet),
        Just(C::TimeLinks),
        unit().prop_map(C::TimeNow),
        (unit(), any_millis()).prop_map(|(unit, at)| C::Period(TimePath::of(unit, at))),
        any_key().prop_map(C::Item),
        (any_key(), any_direction()).prop_map(|(from, direction)| C::Neighbour { from, direction }),
        (any_key(), any_direction(), any::<i64>()).prop_map(|(from, direction, count)| {
            C::Neighbours {
                from,
                direction,
                count,
            }
        }),
        (any_millis(), any_direction(), any::<i64>()).prop_map(|(at, direction, count)| {
            C::Seconds {
                from: TimePath::of(Unit::Second, at),
                direction,
                count,
            }
        }),
        edge().prop_map(C::Edge),
        (edge(), any::<i64>()).prop_map(|(edge, count)| C::Edges { edge, count }),
    ]
}

/// Whether a text can stand between quotes in JSON and between angle brackets in a header.
fn is_safe(url: &str) -> bool {
    url.bytes()
        .all(|b| b.is_ascii_graphic() && !b"\"\\<>".contains(&b))
}

proptest! {
    #[test]
    fn every_link_parses_to_what_it_stands_for(
        route in any_route(),
        channel in "[A-Za-z0-9_-]{1,48}|\\PC{1,8}|[\u{0}-\u{ff}]{1,8}",
        host in "[a-z0-9.-]{1,20}(:[1-9][0-9]{0,3})?",
    ) {
        let base = BaseUri::new(Scheme::Https, &Authority::parse(&host).unwrap());
        let url = ChannelLinks::new(&base, &channel).url(Link::of(route));
        prop_assert!(is_safe(&url), "{}", url);
        let path = url.strip_prefix(base.as_str()).unwrap();
        let path = format!("/{path}");
        let wanted = Route::Channel { channel: channel.into(), route };
        prop_assert_eq!(parse(&Method::GET, &path), Ok(wanted));
        // Whatever takes it apart first sees the same URL.
        let uri: http::Uri = url.parse().unwrap();
        prop_assert_eq!(uri.path(), path);
        prop_assert_eq!(uri.query(), None);
    }

    #[test]
    fn whatever_the_client_sends_links_stay_safe(
        host in "\\PC{0,20}|[ -~]{0,20}|[a-z:0-9\\[\\]]{0,12}",
        channel in "\\PC{0,20}|[\u{0}-\u{ff}]{0,20}",
        key in any_key(),
        query in "\\PC{0,20}|[\u{0}-\u{ff}]{0,20}",
    ) {
        let mut headers = HeaderMap::new();
        for name in ["host", "x-forwarded-host", "x-forwarded-proto"] {
            if let Ok(value) = HeaderValue::from_bytes(host.as_bytes()) {
                headers.insert(name, value);
            }
        }
        for target in [None, Some(host.as_str())] {
            let base = BaseUri::of_request(Scheme::Http, target, &headers, &own());
            prop_assert!(is_safe(base.as_str()), "{}", base.as_str());
            let uri: http::Uri = base.as_str().parse().unwrap();
            prop_assert_eq!(uri.path(), "/");
            let links = ChannelLinks::new(&base, &channel);
            for link in [Link::Item(key), Link::Ws, Link::Bulk, Link::Events] {
                let url = links.url(link);
                prop_assert!(is_safe(&url), "{}", url);
                prop_assert_eq!(serde_json::to_string(&url).unwrap(), format!("\"{url}\""));
                prop_assert!(HeaderValue::from_str(&url).is_ok());
            }
            let unslashed = base.unslashed(&channel, Some(&query));
            prop_assert!(is_safe(&unslashed), "{}", unslashed);
        }
    }

    #[test]
    fn the_links_of_later_versions_have_no_route_yet(channel in "[A-Za-z0-9_-]{1,48}") {
        let links = ChannelLinks::new(&hub(), &channel);
        for link in [Link::Events, Link::Ws] {
            let url = links.url(link);
            let path = &url[url.find("/channel").unwrap()..];
            prop_assert_eq!(parse(&Method::GET, path), Err(RouteError::NotFound));
        }
    }
}
