//! Section 5: reading items. What leads from one to others is in [`super::runs`].

use super::check;

#[tokio::test]
async fn every_query() {
    let rows = rows! {
        "A query on a channel that is not there is 404, with its name."
            "GET /channel/nowhere/2015/06/07" => 404 text("nowhere");
        "So is one from a key."
            "GET /channel/nowhere/2015/06/07/08/09/10/011/abcdef/next" => 404 text("nowhere");
        "And a count from a key."
            "GET /channel/nowhere/2015/06/07/08/09/10/011/abcdef/previous/3" => 404 text("nowhere");
        "And one for an end."
            "GET /channel/nowhere/earliest" => 404 text("nowhere");
        "And one for the time."
            "GET /channel/nowhere/time" => 404 text("nowhere");
        "The name is the one that was asked for."
            "GET /channel/NoWhere/latest/3" => 404 text("NoWhere");
        "Second 60 is 400, whether there is a channel or not."
            "GET /channel/nowhere/2015/06/07/08/09/60" => 400 error("second");
        "So is second -1."
            "GET /channel/nowhere/2015/06/07/08/09/-1" => 400 error("second");
        "And minute 60."
            "GET /channel/nowhere/2015/06/07/08/60" => 400 error("minute");
        "And hour 24."
            "GET /channel/nowhere/2015/06/07/24" => 400 error("hour");
        "And day 0."
            "GET /channel/nowhere/2015/06/00" => 400 error("day");
        "And day 32."
            "GET /channel/nowhere/2015/05/32" => 400 error("day");
        "And month 0."
            "GET /channel/nowhere/2015/00/07" => 400 error("month");
        "And month 13."
            "GET /channel/nowhere/2015/13/07" => 400 error("month");
        "And the 30th of February."
            "GET /channel/nowhere/2015/02/30" => 400 error("day");
        "In a key."
            "GET /channel/nowhere/2015/06/07/24/09/10/011/abcdef" => 400 error("hour");
        "In a position to go on from."
            "GET /channel/nowhere/2015/06/07/08/60/10/011/abcdef/next" => 400 error("minute");
        "In one to count from."
            "GET /channel/nowhere/2015/06/31/08/09/10/011/abcdef/previous/3" => 400 error("day");
        "In a run of seconds."
            "GET /channel/nowhere/2015/06/07/08/09/60/next/3" => 400 error("second");
        "In a millisecond."
            "GET /channel/nowhere/2015/06/07/08/09/10/1000" => 400 error("millisecond");
        "Items of a channel that keeps few days start there, however old the position."
            channel(r#"{"ttlDays": 1}"#) items(2) "GET {own}/2001/01/01/00/00/00/000/a/next" => 303
            location("{url}/{first}");
    };
    check("5, reading items", rows).await;
}

#[tokio::test]
async fn one_item() {
    let typed = &[("content-type", "multipart/mixed; boundary=x")];
    let rows = rows! {
        "An item is its bytes, with when it was made and how long it is."
            items(1) "GET {own}/{first}" => 200 header("content-type", "application/octet-stream")
            header("creation-date", "{first.date}") header("x-item-length", "6") no_header("x-largeitem")
            text("item 0");
        "It has its type, without blanks."
            channel("{}") before_with("POST {own}", typed, "x") "GET {location}" => 200
            header("content-type", "multipart/mixed;boundary=x") text("x");
        "Its length can be insisted on."
            items(1) "GET {own}/{first}" header("x-item-length-required", "true") => 200 header("x-item-length", "6");
        "Its length is that of what was sent, not of how it is packed."
            items(1) "HEAD {own}/{first}" header("accept-encoding", "gzip") => 200 header("x-item-length", "6");
        "It links to its neighbours."
            items(1) "GET {own}/{first}" => 200
            headers("link", &["<{url}/{first}/previous>;rel=\"previous\"", "<{url}/{first}/next>;rel=\"next\""]);
        "The links repeat the query."
            items(1) "GET {own}/{first}?stable=false&x=%20y" => 200
            headers("link", &["<{url}/{first}/previous?stable=false&x=%20y>;rel=\"previous\"",
                "<{url}/{first}/next?stable=false&x=%20y>;rel=\"next\""]);
        "Going past the cache changes nothing."
            items(1) "GET {own}/{first}?remoteOnly=true" => 200 text("item 0");
        "A tag is only carried into the links."
            items(1) "GET {own}/{first}?tag=any" => 200 header("x-item-length", "6")
            headers("link", &["<{url}/{first}/previous?tag=any>;rel=\"previous\"",
                "<{url}/{first}/next?tag=any>;rel=\"next\""]) text("item 0");
        "What accepts its type gets it."
            channel("{}") before_with("POST {own}", &[("content-type", "text/plain;charset=utf-8")], "x")
            "GET {location}" header("accept", "image/png, text/plain") => 200 text("x");
        "Parameters and weights do not count."
            channel("{}") before_with("POST {own}", &[("content-type", "text/plain;charset=utf-8")], "x")
            "GET {location}" header("accept", "text/plain;charset=latin1;q=0") => 200 text("x");
        "Wildcards of a kind do."
            channel("{}") before_with("POST {own}", &[("content-type", "text/plain")], "x")
            "GET {location}" header("accept", "text/*") => 200 text("x");
        "A missing part is a wildcard."
            channel("{}") before_with("POST {own}", &[("content-type", "text/plain")], "x")
            "GET {location}" header("accept", "text") => 200 text("x");
        "What cannot be read is passed over."
            channel("{}") before_with("POST {own}", &[("content-type", "text/plain")], "x")
            "GET {location}" header("accept", "n o n s e n s e, text/plain") => 200 text("x");
        "What old Java clients send accepts everything."
            items(1) "GET {own}/{first}" header("accept", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2")
            => 200 text("item 0");
        "What accepts no such type is 406 without a body."
            channel("{}") before_with("POST {own}", &[("content-type", "text/plain")], "x")
            "GET {location}" header("accept", "text/html, image/*") => 406 empty();
        "An item that is not there is 404."
            items(1) "GET {own}/{first}0" => 404 empty();
        "One of another channel is not there."
            items(1) other("{}") "GET /channel/{other}/{first}" => 404 empty();
        "One of no channel is not either."
            "GET /channel/nowhere/2015/06/07/08/09/10/011/abcdef" => 404;
        "One that is older than a channel keeps is not."
            channel(r#"{"ttlDays": 1}"#) "GET {own}/2015/06/07/08/09/10/011/abcdef" => 404;
        "A millisecond leads to its second, with the query."
            items(1) "GET {own}/{first.milli}?stable=false&a=b" => 303
            location("{url}/{first.second}?stable=false&a=b") empty();
    };
    check("5.1, GET /channel/{channel}/{key}", rows).await;
}

#[tokio::test]
async fn periods() {
    let rows = rows! {
        "A day lists its items."
            items(1) "GET {own}/{first.day}" => 200 lists("first");
        "So does an hour."
            items(1) "GET {own}/{first.hour}" => 200 lists("first");
        "And a minute."
            items(1) "GET {own}/{first.minute}?stable=false" => 200 lists("first");
        "And a second."
            items(1) "GET {own}/{first.second}?stable=false" => 200 lists("first");
        "A period without items is an empty list, with its neighbours."
            channel("{}") "GET {own}/2015/06/07/08/59" => 200 json(r#"{"_links": {
                "self": {"href": "{url}/2015/06/07/08/59"}, "next": {"href": "{url}/2015/06/07/09/00"},
                "previous": {"href": "{url}/2015/06/07/08/58"}, "uris": []}}"#) keys("_links");
        "Neighbours of a day are days."
            channel("{}") "GET {own}/2015/12/31" => 200 json(r#"{"_links": {
                "next": {"href": "{url}/2016/01/01"}, "previous": {"href": "{url}/2015/12/30"}}}"#);
        "Neighbours of an hour are hours."
            channel("{}") "GET {own}/2016/02/29/00" => 200 json(r#"{"_links": {
                "next": {"href": "{url}/2016/02/29/01"}, "previous": {"href": "{url}/2016/02/28/23"}}}"#);
        "Neighbours of a second are seconds."
            channel("{}") "GET {own}/2015/12/31/23/59/59" => 200 json(r#"{"_links": {
                "next": {"href": "{url}/2016/01/01/00/00/00"}, "previous": {"href": "{url}/2015/12/31/23/59/58"}}}"#);
        "They repeat the parameters of the request in their order."
            channel("{}") "GET {own}/2015/06/07?trace=false&stable=false&x=a%20b" => 200 json(r#"{"_links": {
                "self": {"href": "{url}/2015/06/07?trace=false&stable=false&x=a%20b"},
                "next": {"href": "{url}/2015/06/08?trace=false&stable=false&x=a%20b"},
                "previous": {"href": "{url}/2015/06/06?trace=false&stable=false&x=a%20b"}}}"#);
        "Items have no parameters."
            items(1) "GET {own}/{first.hour}?stable=false&x=y" => 200 lists("first");
        "Where the next period has not begun there is no link to it."
            channel("{}") "GET {own}/2999/01/01?stable=false" => 200 links("self previous uris");
        "Nor where it is not stable."
            channel("{}") "GET {own}/2999/01/01" => 200 links("self previous uris");
        "A list is acceptable as JSON."
            channel("{}") "GET {own}/2015/06/07" header("accept", "application/json") => 200;
        "Or as parts."
            channel("{}") "GET {own}/2015/06/07" header("accept", "multipart/mixed") => 200;
        "Or as a zip."
            channel("{}") "GET {own}/2015/06/07" header("accept", "application/zip") => 200;
        "Or as nothing else."
            channel("{}") "GET {own}/2015/06/07" header("accept", "text/html, image/*") => 406 empty();
    };
    check("5.2, time queries", rows).await;
}

#[tokio::test]
async fn time_links() {
    let rows = rows! {
        "Links about time say when now is, and what is stable."
            channel("{}") "GET {own}/time" => 200 keys("_links now stable") links("self second minute hour day")
            json(r##"{"now": {"iso8601": "…-…-…T…:…:….…Z", "millis": "#"},
                "stable": {"iso8601": "…-…-…T…:…:….…Z", "millis": "#"}}"##);
        "Each unit has its period, a template, and where it always is."
            channel("{}") "GET {own}/time" => 200 json(r#"{"_links": {"self": {"href": "{url}/time"}, "second": {
                "href": "{url}/…/…/…/…/…/…",
                "template": "{url}/time/{{year}}/{{month}}/{{day}}/{{hour}}/{{minute}}/{{second}}{?stable}",
                "redirect": "{url}/time/second"}}}"#);
        "A day has three fields."
            channel("{}") "GET {own}/time" => 200 json(r#"{"_links": {"day": {"href": "{url}/…/…/…",
                "template": "{url}/time/{{year}}/{{month}}/{{day}}{?stable}", "redirect": "{url}/time/day"}}}"#);
        "Stable is repeated in hrefs and redirects."
            channel("{}") "GET {own}/time?stable=false" => 200 json(r#"{"_links": {
                "self": {"href": "{url}/time?stable=false"}, "hour": {
                "href": "{url}/…/…/…/…?stable=false",
                "template": "{url}/time/{{year}}/{{month}}/{{day}}/{{hour}}{?stable}",
                "redirect": "{url}/time/hour?stable=false"}}}"#);
        "A unit leads to its period, with every parameter."
            channel("{}") "GET {own}/time/minute?a=b&stable=false&c=%20" => 303
            location("{url}/…/…/…/…/…?a=b&stable=false&c=%20") empty();
        "So does a day."
            channel("{}") "GET {own}/time/day" => 303 location("{url}/…/…/…");
        "Nobody looks at the channel for that."
            "GET /channel/nowhere/time/second" => 303 location("{base}/channel/nowhere/…/…/…/…/…/…");
        "Where it leads, they do."
            before("GET /channel/nowhere/time/hour", "") "GET {location}" => 404 text("nowhere");
        "Other units are 404."
            channel("{}") "GET {own}/time/year" => 404 empty();
    };
    check("5.3, time links", rows).await;
}
