//! Dates in paths that the calendar does not have.

use http::Method;

use crate::harness::{Hub, Raw};

/// What may follow the fields of a date, by how many of those there are.
const SHAPES: &[(usize, &str)] = &[
    (3, ""),
    (4, ""),
    (5, ""),
    (6, ""),
    (6, "/next/3"),
    (6, "/previous/3"),
    (7, ""),
    (7, "/abc"),
    (7, "/abc/next"),
    (7, "/abc/previous"),
    (7, "/abc/next/3"),
    (7, "/abc/previous/3"),
];

const FIELDS: [&str; 7] = [
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "millisecond",
];

#[tokio::test]
async fn a_date_out_of_range_is_400_in_every_path() {
    let hub = Hub::shared().await;
    let known = hub.channel("dated").await;
    let mut raw = hub.raw().await;
    let mut asked = 0;
    for (depth, tail) in SHAPES {
        for (at, value) in [
            (0, "0"),
            (0, "10000"),
            (1, "0"),
            (1, "13"),
            (1, "-1"),
            (2, "0"),
            (2, "32"),
            (2, "-1"),
            (3, "24"),
            (3, "-1"),
            (4, "60"),
            (4, "-1"),
            (5, "60"),
            (5, "-1"),
            (5, "99999999999999999999"),
            (6, "1000"),
            (6, "-1"),
        ] {
            if at >= *depth {
                continue;
            }
            let mut fields = ["2015", "06", "07", "08", "09", "10", "011"];
            fields[at] = value;
            let path = format!("{}{tail}", fields[..*depth].join("/"));
            // Before anything is asked of the channel: it need not even exist.
            for channel in [known.as_str(), "nowhere"] {
                let error = get(&mut raw, &format!("/channel/{channel}/{path}")).await;
                let error = error.expect_error(400, FIELDS[at]);
                assert_eq!(error["value"], value, "{path}");
                asked += 1;
            }
        }
        for (date, exists) in [
            (["2015", "02", "29"], false),
            (["2015", "02", "30"], false),
            (["2016", "02", "29"], true),
            (["2016", "02", "30"], false),
            (["1900", "02", "29"], false),
            (["2000", "02", "29"], true),
            (["2015", "04", "31"], false),
        ] {
            let mut fields = ["", "", "", "08", "09", "10", "011"];
            fields[..3].copy_from_slice(&date);
            let path = format!("{}{tail}", fields[..*depth].join("/"));
            for channel in [known.as_str(), "nowhere"] {
                let answer = get(&mut raw, &format!("/channel/{channel}/{path}")).await;
                if exists {
                    assert!(matches!(answer.status, 200 | 303 | 404), "{path}");
                } else {
                    answer.expect_error(400, "day");
                }
            }
        }
    }
    assert!(asked > 200, "{asked}");
}

async fn get(raw: &mut Raw, path: &str) -> crate::harness::Answer {
    raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
        .await;
    raw.answer().await
}

#[tokio::test]
async fn what_is_no_integer_is_404_in_every_path() {
    let hub = Hub::shared().await;
    let known = hub.channel("dated").await;
    let mut raw = hub.raw().await;
    for (depth, tail) in SHAPES {
        for at in 0..*depth {
            for value in ["x", "1x", "1.0", "0x1", "%20", "-", "\u{661}"] {
                // The seventh of these is a direction if it begins like one.
                let mut fields = ["2015", "06", "07", "08", "09", "10", "011"];
                fields[at] = value;
                let path = format!("/channel/{known}/{}{tail}", fields[..*depth].join("/"));
                let path = path.replace('\u{661}', "%D9%A1");
                get(&mut raw, &path).await.expect_empty(404);
            }
        }
    }
    // It is not there, whatever else is wrong with it.
    for path in ["2015/13/x", "2015/13/07/x", "2015/13/07/08/09/10/next/x"] {
        let path = format!("/channel/{known}/{path}");
        get(&mut raw, &path).await.expect_empty(404);
    }
}

#[tokio::test]
async fn head_and_other_methods_see_the_same_dates() {
    let hub = Hub::shared().await;
    let known = hub.channel("dated").await;
    let path = format!("/channel/{known}/2015/06/07/24");
    let head = hub.ask(Method::HEAD, &path).send().await;
    head.expect_empty(400);
    // A path that has no such method has none for any date.
    hub.ask(Method::PUT, &path).send().await.expect_empty(405);
}
