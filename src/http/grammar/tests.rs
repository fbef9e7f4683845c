mod refused;

use proptest::prelude::*;

use super::*;
use crate::env::Millis;

const SECOND: &str = "2024/05/01/09/15/07";
const KEY: &str = "2024/05/01/09/15/07/123/a1B2c3";

fn get(path: &str) -> Result<Route<'_>, RouteError> {
    parse(&Method::GET, path)
}

/// The route of `method` below `/channel/c`.
fn on_c(method: &Method, rest: &str) -> Result<ChannelRoute, RouteError> {
    match parse(method, &format!("/channel/c{rest}"))? {
        Route::Channel { channel, route } => {
            assert_eq!(channel, "c");
            Ok(route)
        }
        other => unreachable!("{rest}: {other:?}"),
    }
}

fn get_c(rest: &str) -> Result<ChannelRoute, RouteError> {
    on_c(&Method::GET, rest)
}

fn at() -> Millis {
    Millis::parse_iso("2024-05-01T09:15:07.123Z").unwrap()
}

fn key_of(hash: &str) -> ItemKey {
    ItemKey::new(at(), Suffix::parse(hash).unwrap())
}

fn bad_field(found: Result<ChannelRoute, RouteError>) -> FieldError {
    match found {
        Err(RouteError::BadField(error)) => error,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn fixed_paths() {
    use InternalRoute as I;
    for (path, route, label) in [
        ("/", Route::Root, "root"),
        ("/health", Route::Health, "health"),
        ("/health/live", Route::HealthLive, "health_live"),
        ("/health/metrics", Route::HealthMetrics, "health_metrics"),
        ("/metrics", Route::Metrics, "metrics"),
        ("/channel", Route::ChannelList, "channel_list"),
        ("/internal", Route::Internal(I::Index), "internal"),
        (
            "/internal/properties",
            Route::Internal(I::Properties),
            "internal_properties",
        ),
        (
            "/internal/deploy",
            Route::Internal(I::Deploy),
            "internal_deploy",
        ),
        (
            "/internal/deploy/text",
            Route::Internal(I::DeployText),
            "internal_deploy_text",
        ),
        (
            "/internal/health",
            Route::Internal(I::Health),
            "internal_health",
        ),
        (
            "/internal/rings",
            Route::Internal(I::Rings),
            "internal_rings",
        ),
        (
            "/internal/cluster",
            Route::Internal(I::Cluster),
            "internal_cluster",
        ),
        (
            "/internal/cluster/recover",
            Route::Internal(I::Recovery),
            "internal_cluster_recovery",
        ),
        (
            "/internal/rings/a%2Db",
            Route::RingsOf {
                channel: "a-b".into(),
            },
            "internal_rings_of",
        ),
        (
            "/internal/backup",
            Route::Internal(I::Backup),
            "internal_backup",
        ),
        ("/internal/time", Route::Internal(I::Time), "internal_time"),
        (
            "/internal/time/local",
            Route::Internal(I::TimeLocal),
            "internal_time_local",
        ),
        (
            "/internal/time/millis",
            Route::Internal(I::TimeMillis),
            "internal_time_millis",
        ),
        (
            "/internal/time/remote",
            Route::Internal(I::TimeRemote),
            "internal_time_remote",
        ),
    ] {
        assert_eq!(get(path), Ok(route.clone()), "{path}");
        assert_eq!(parse(&Method::HEAD, path), Ok(route.clone()), "HEAD {path}");
        assert_eq!(route.label(), label, "{path}");
    }
    assert_eq!(parse(&Method::POST, "/channel"), Ok(Route::ChannelCreate));
    assert_eq!(Route::ChannelCreate.label(), "channel_create");
    assert_eq!(Route::Preflight { allow: "" }.label(), "preflight");
}

#[test]
fn channel_paths() {
    use ChannelRoute as C;
    let (from, direction, count) = (key_of("a1B2c3"), Direction::Next, 12);
    let period = |unit| TimePath::of(unit, at());
    let second = period(Unit::Second);
    let (latest, earliest) = (Edge::Latest, Edge::Earliest);
    let other = [
        (Method::PUT, "", C::Put, "channel_put"),
        (Method::PATCH, "", C::Patch, "channel_patch"),
        (Method::DELETE, "", C::Delete, "channel_delete"),
        (Method::POST, "", C::Insert, "insert"),
        (Method::PUT, "/doc", C::DocPut, "doc_put"),
        (Method::DELETE, "/doc", C::DocDelete, "doc_delete"),
        (
            Method::POST,
            "/2024/5/1/9/15/07/123",
            C::InsertAt(at()),
            "insert_historical",
        ),
        (
            Method::POST,
            "/2024/5/1/9/15/07/123/a1B2c3",
            C::InsertAs(from),
            "insert_historical",
        ),
        (
            Method::DELETE,
            "/2024/05/01/9/15/7/123/a1B2c3",
            C::DeleteItem(from),
            "item_delete",
        ),
    ];
    let read = [
        ("", C::Get, "channel_get"),
        ("/status", C::Status, "status"),
        ("/doc", C::DocGet, "doc_get"),
        ("/time", C::TimeLinks, "time_links"),
        ("/time/second", C::TimeNow(Unit::Second), "time_now"),
        ("/time/minute", C::TimeNow(Unit::Minute), "time_now"),
        ("/time/hour", C::TimeNow(Unit::Hour), "time_now"),
        ("/time/day", C::TimeNow(Unit::Day), "time_now"),
        ("/latest", C::Edge(latest), "latest"),
        ("/earliest", C::Edge(earliest), "earliest"),
        (
            "/latest/12",
            C::Edges {
                edge: latest,
                count,
            },
            "latest_count",
        ),
        (
            "/earliest/12",
            C::Edges {
                edge: earliest,
                count,
            },
            "earliest_count",
        ),
        ("/2024/5/01", C::Period(period(Unit::Day)), "time_query"),
        ("/2024/05/1/9", C::Period(period(Unit::Hour)), "time_query"),
        (
            "/2024/05/01/9/15",
            C::Period(period(Unit::Minute)),
            "time_query",
        ),
        ("/2024/05/01/09/15/7", C::Period(second), "time_query"),
        (
            "/2024/05/01/09/15/07/123",
            C::Millisecond(second),
            "millisecond",
        ),
        ("/2024/05/01/09/15/07/123/a1B2c3", C::Item(from), "item"),
        ("/2024/5/1/9/15/7/0123/a1B2c3", C::Item(from), "item"),
        (
            "/2024/05/01/09/15/07/123/a1B2c3/next",
            C::Neighbour { from, direction },
            "direction",
        ),
        (
            "/2024/05/01/09/15/07/123/a1B2c3/next/12",
            C::Neighbours {
                from,
                direction,
                count,
            },
            "direction_count",
        ),
        (
            "/2024/05/01/09/15/07/next/12",
            C::Seconds {
                from: second,
                direction,
                count,
            },
            "seconds",
        ),
    ];
    for (method, rest, route, label) in other {
        assert_eq!(on_c(&method, rest), Ok(route), "{method} {rest}");
        assert_eq!(route.label(), label, "{method} {rest}");
    }
    for (rest, route, label) in read {
        assert_eq!(get_c(rest), Ok(route), "{rest}");
        assert_eq!(on_c(&Method::HEAD, rest), Ok(route), "HEAD {rest}");
        assert_eq!(route.label(), label, "{rest}");
    }
}

#[test]
fn directions_go_by_their_first_letter() {
    for (segment, direction) in [
        ("next", Some(Direction::Next)),
        ("n", Some(Direction::Next)),
        ("nonsense", Some(Direction::Next)),
        ("previous", Some(Direction::Previous)),
        ("prev", Some(Direction::Previous)),
        ("p", Some(Direction::Previous)),
        ("%70", Some(Direction::Previous)),
        ("Next", None),
        ("P", None),
        ("-n", None),
        ("ws", None),
        ("events", None),
    ] {
        for rest in [
            format!("/{KEY}/{segment}"),
            format!("/{KEY}/{segment}/1"),
            format!("/{SECOND}/{segment}/1"),
        ] {
            let found = match get_c(&rest) {
                Ok(
                    ChannelRoute::Neighbour { direction, .. }
                    | ChannelRoute::Neighbours { direction, .. }
                    | ChannelRoute::Seconds { direction, .. },
                ) => Some(direction),
                Err(RouteError::NotFound) => None,
                other => unreachable!("{rest}: {other:?}"),
            };
            assert_eq!(found, direction, "{rest}");
        }
    }
}

#[test]
fn counts_are_integers_of_any_size() {
    for (text, wanted) in [
        ("0", Some(0)),
        ("7", Some(7)),
        ("007", Some(7)),
        ("+7", Some(7)),
        ("-7", Some(-7)),
        ("9223372036854775807", Some(i64::MAX)),
        ("9223372036854775808", Some(i64::MAX)),
        ("99999999999999999999999", Some(i64::MAX)),
        ("-99999999999999999999999", Some(i64::MIN)),
        ("-", None),
        ("+", None),
        ("+-1", None),
        ("1.5", None),
        ("1e3", None),
        ("0x10", None),
        ("ten", None),
        ("%20", None),
        ("١", None),
    ] {
        for rest in [
            format!("/latest/{text}"),
            format!("/earliest/{text}"),
            format!("/{KEY}/next/{text}"),
            format!("/{KEY}/previous/{text}"),
            format!("/{SECOND}/next/{text}"),
        ] {
            let found = match get_c(&rest) {
                Ok(
                    ChannelRoute::Edges { count, .. }
                    | ChannelRoute::Neighbours { count, .. }
                    | ChannelRoute::Seconds { count, .. },
                ) => Some(count),
                Err(RouteError::NotFound) => None,
                other => unreachable!("{rest}: {other:?}"),
            };
            assert_eq!(found, wanted, "{rest}");
        }
    }
}

#[test]
fn segments_are_decoded_and_plain_names_borrowed() {
    for (spelled, name) in [
        ("my-channel", "my-channel"),
        ("My_Channel", "My_Channel"),
        ("my%2Dchannel", "my-channel"),
        ("my%2dchannel", "my-channel"),
        ("a+b", "a+b"),
        ("a%2Fb", "a/b"),
        ("%C3%A9", "é"),
        ("é", "é"),
        ("%25", "%"),
        ("%00", "\0"),
        ("latest", "latest"),
        ("2024", "2024"),
    ] {
        for rest in ["", "/latest", "/2024/05/01"] {
            let path = format!("/channel/{spelled}{rest}");
            let Ok(Route::Channel { channel, .. }) = get(&path) else {
                unreachable!("{path}");
            };
            assert_eq!(channel, name, "{path}");
            let borrowed = matches!(channel, Cow::Borrowed(_));
            assert_eq!(borrowed, !spelled.contains('%'), "{path}");
        }
    }
    assert_eq!(get("/ch%61nnel"), Ok(Route::ChannelList));
    assert_eq!(get_c("/l%61test/%31"), get_c("/latest/1"));
    assert_eq!(get_c("/2024/05%2F01"), Err(RouteError::NotFound));
}

proptest! {
    #[test]
    fn fuzzing_arbitrary_bytes_finds_nothing(data in proptest::collection::vec(any::<u8>(), 0..80)) {
        fuzz(&data);
    }

    #[test]
    fn fuzzing_what_looks_like_a_path_finds_nothing(
        method in "GET|POST|PUT|DELETE|OPTIONS|",
        segments in proptest::collection::vec(
            "[0-9]{1,4}|[0-9]{1,2}|0?[1-9]|[0-9a-zA-Z]{1,6}|[np][a-z]{0,3}|time|latest|doc|%[0-9a-f]{2}|-?[0-9]{18,20}|\\PC{0,3}",
            0..12,
        ),
    ) {
        fuzz(format!("{method} /channel/{}", segments.join("/")).as_bytes());
    }

    #[test]
    fn fuzzing_dates_finds_nothing(
        channel in "\\PC{1,5}|%[0-9a-f]{2}",
        fields in (0u32..10_001, 0u32..14, 0u32..33, 0u32..25, 0u32..61, 0u32..61, 0u32..1001),
        depth in 3usize..8,
        tail in "|/next/-?[0-9]{1,20}|/[0-9A-Za-z]{1,33}(/p(/[0-9]{1,3})?)?",
    ) {
        let (y, mo, d, h, mi, s, ms) = fields;
        let texts = [y, mo, d, h, mi, s, ms].map(|n| n.to_string());
        fuzz(format!("/channel/{channel}/{}{tail}", texts[..depth].join("/")).as_bytes());
    }
}
