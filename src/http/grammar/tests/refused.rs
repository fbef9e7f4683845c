//! What has no route, and why.

use super::*;

#[test]
fn unknown_paths() {
    for path in [
        "",
        "*",
        "channel",
        "//",
        "/nothing",
        "/Channel",
        "/health/dead",
        "/health/metrics/trace",
        "/metrics/x",
        "/internal/nothing",
        "/internal/time/lunar",
        "/internal/cluster/nothing",
        "/internal/cluster/recover/x",
        "/internal/deploy/text/x",
        "/internal/rings/a/b",
        "/openapi.json/x",
        "//channel",
        "/channel//latest",
        "/%zz",
        "/channel/%",
        "/channel/%4",
        "/channel/%g0",
        "/channel/%+1",
        "/channel/%ff",
        "/channel/%c3/latest",
        "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p",
        // Of later versions.
        "/webhook",
        "/webhook/w",
        "/group/g",
    ] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::OPTIONS] {
            let wanted = if path == "//" {
                RouteError::TrailingSlash
            } else {
                RouteError::NotFound
            };
            assert_eq!(parse(&method, path), Err(wanted), "{method} {path}");
        }
    }
}

#[test]
fn unknown_paths_of_a_channel() {
    for rest in [
        "/nothing",
        "/Latest",
        "/LATEST/1",
        "/latest/1/2",
        "/status/x",
        "/doc/x",
        "/time/month",
        "/time/Second",
        "/time/second/x",
        "/time/2024/05/01",
        "/2024",
        "/2024/05",
        "/next",
        "/2024/05/x",
        "/2024/05/01/next/5",
        "/2024/05/01/09/15/next",
        "/2024/05/01/09/15/07/next",
        "/2024/05/01/09/15/07/next/x",
        "/2024/05/01/09/15/07/x/a1B2c3",
        "/2024/05/01/09/15/07/1.5/a1B2c3",
        "/2024/05/01/09/15/07/next/5/6",
        "/2024/05/01/09/15/07/next/5/next/6",
        "/2024/05/01/09/15/07/123/a1B2c3/next/5/6",
        "/2024/05/01/09/15/07/123/a1B2c3/next/5/6/7",
        // No such path, whatever the numbers are.
        "/2024/99/x",
        "/2024/99",
        "/2024/99/99/99/99/99/999/a1B2c3/x",
        "/2024/99/99/99/99/99/999/a1B2c3/next/x",
        "/2024/99/99/99/99/99/next/x",
        // Of later versions.
        "/bulk/x",
        "/events",
        "/ws",
        "/2024/05/01/ws",
        "/2024/05/01/09/15/07/ws",
        "/2024/05/01/09/15/07/123/a1B2c3/events",
        "/2024/05/01/09/15/07/123/a1B2c3/ws",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
            assert_eq!(
                on_c(&method, rest),
                Err(RouteError::NotFound),
                "{method} {rest}"
            );
        }
    }
}

#[test]
fn other_methods_of_known_paths() {
    let all = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::TRACE,
        Method::CONNECT,
        Method::from_bytes(b"BREW").unwrap(),
    ];
    let bad_day = "/channel/c/2024/05/32";
    let bad_hash = format!("/channel/c/{KEY}-/next");
    let item = format!("/channel/c/{KEY}");
    let no_item = format!("/channel/c/{KEY}-");
    for (path, allow) in [
        ("/", READ),
        ("/health", READ),
        ("/health/live", READ),
        ("/metrics", READ),
        ("/internal", READ),
        ("/internal/time/millis", READ),
        ("/internal/cluster", READ),
        ("/internal/cluster/recover", READ_POST),
        ("/channel", READ_POST),
        ("/channel/c", CHANNEL),
        ("/channel/c/doc", READ_PUT_DELETE),
        ("/channel/c/status", READ),
        ("/channel/c/time", READ),
        ("/channel/c/time/day", READ),
        ("/channel/c/latest", READ),
        ("/channel/c/earliest/3", READ),
        ("/channel/c/2024/05/01", READ),
        ("/channel/c/2024/05/01/09/15/07/next/3", READ),
        ("/channel/c/2024/05/01/09/15/07/123", READ_POST),
        ("/channel/c/2024/05/32/09/15/07/123", READ_POST),
        (&item, ITEM),
        (&no_item, ITEM),
        ("/channel/c/2024/05/01/09/15/07/123/a/next", READ),
        ("/channel/c/2024/05/01/09/15/07/123/a/next/3", READ),
        // What is wrong with a number matters only to the methods that the path has.
        (bad_day, READ),
        (&bad_hash, READ),
    ] {
        for method in &all {
            let allowed = allow.split(", ").any(|name| name == method.as_str());
            let refused = parse(method, path) == Err(RouteError::MethodNotAllowed { allow });
            assert_eq!(allowed, !refused, "{method} {path}");
        }
        let preflight = parse(&Method::OPTIONS, path);
        assert_eq!(preflight, Ok(Route::Preflight { allow }), "{path}");
    }
}

#[test]
fn trailing_slashes() {
    for path in [
        "/channel/",
        "/channel/c/",
        "/channel/c//",
        "/nothing/",
        "//",
        "/channel/c/2024/13/01/",
        "/%zz/",
    ] {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            assert_eq!(parse(&method, path), Err(RouteError::TrailingSlash));
        }
    }
}

#[test]
fn numbers_out_of_range_are_named_in_every_path_shape() {
    for (fields, field, value) in [
        ("0/05/01", "year", "0"),
        ("2024/0/01", "month", "0"),
        ("2024/13/01", "month", "13"),
        ("2024/05/00", "day", "00"),
        ("2024/05/32", "day", "32"),
        ("2024/02/30", "day", "30"),
        ("2024/05/01/24", "hour", "24"),
        ("2024/05/01/09/60", "minute", "60"),
        ("2024/05/01/09/15/60", "second", "60"),
        ("2024/05/01/09/15/-1", "second", "-1"),
        ("2024/05/01/09/15/07/1000", "millisecond", "1000"),
    ] {
        let depth = fields.split('/').count();
        let mut shapes = vec![fields.to_owned()];
        let second = format!("{fields}{}", "/00".repeat(6usize.saturating_sub(depth)));
        let milli = format!("{fields}{}", "/00".repeat(7 - depth));
        if depth <= 6 {
            shapes.push(format!("{second}/next/5"));
            shapes.push(second);
        }
        for tail in ["", "/a1", "/a1/next", "/a1/previous/5"] {
            shapes.push(format!("{milli}{tail}"));
        }
        for shape in shapes {
            let error = bad_field(get_c(&format!("/{shape}")));
            assert_eq!(error.field, field, "{shape}");
            assert_eq!(error.value, value, "{shape}");
            assert!(!error.rule.is_empty(), "{shape}");
        }
    }
}

#[test]
fn a_bad_hash_is_named_in_every_path_shape() {
    for (hash, value) in [
        ("a-b", "a-b"),
        ("%20", " "),
        ("%C3%A9", "é"),
        (&*"a".repeat(32), &*"a".repeat(32)),
    ] {
        for tail in ["", "/next", "/next/5"] {
            let rest = format!("/{SECOND}/123/{hash}{tail}");
            let error = bad_field(get_c(&rest));
            assert_eq!(error.field, "hash", "{rest}");
            assert_eq!(error.value, value, "{rest}");
            assert_eq!(error.rule, "1 to 31 characters of 0-9, A-Z and a-z");
        }
    }
    // The date is looked at first.
    let error = bad_field(get_c("/2024/05/01/09/15/60/123/a-b"));
    assert_eq!(error.field, "second");
    for hash in ["a", "initial", "000000000000", &"z".repeat(31)] {
        let found = get_c(&format!("/{SECOND}/123/{hash}"));
        assert_eq!(found, Ok(ChannelRoute::Item(key_of(hash))));
    }
}
