//! Section 7: tags.

use super::check;

#[tokio::test]
async fn listing() {
    let rows = rows! {
        "All tags are listed, with where they lead."
            tagged(0) "GET /tag" => 200 keys("_links") links("self tags") json(r#"{"_links": {
                "self": {"href": "{base}/tag"}, "tags": ["…", {"name": "{tag}", "href": "{base}/tag/{tag}"}]}}"#);
        "A tag leads to its queries and its channels."
            tagged(0) "GET /tag/{tag}" => 200 links("self latest earliest time channels") json(r#"{"_links": {
                "self": {"href": "{base}/tag/{tag}"}, "latest": {"href": "{base}/tag/{tag}/latest"},
                "earliest": {"href": "{base}/tag/{tag}/earliest"}, "time": {"href": "{base}/tag/{tag}/time"},
                "channels": ["…", {"name": "{channel}", "href": "{url}"},
                    {"name": "{other}", "href": "{base}/channel/{other}"}]}}"#);
        "One that no channel has is shown, too."
            "GET /tag/{tag}" => 200 json(r#"{"_links": {"self": {"href": "{base}/tag/{tag}"}, "channels": []}}"#);
        "What is taken off a channel is gone from its tag at once where that was done."
            tagged(0) before("PATCH {own}", r#"{"tags": []}"#) "GET /tag/{tag}" => 200
            json(r#"{"_links": {"channels": [{"name": "{other}"}]}}"#);
        "Elsewhere it is after the channels were read again."
            tagged(0) elsewhere("PATCH {own}", &[], r#"{"tags": []}"#)
            before("GET /internal/channel/refresh?all=false", "") "GET /tag/{tag}" => 200
            json(r#"{"_links": {"channels": [{"name": "{other}"}]}}"#);
    };
    check("7.1, listing", rows).await;
}

#[tokio::test]
async fn edges() {
    let rows = rows! {
        "Latest leads to the newest item of all channels, with the tag."
            tagged(3) "GET /tag/{tag}/latest" => 303 location("{third.url}?tag={tag}") empty();
        "Earliest leads to the oldest."
            tagged(3) "GET /tag/{tag}/earliest?stable=false" => 303 location("{first.url}?tag={tag}") empty();
        "Latest of nothing is 404."
            tagged(0) "GET /tag/{tag}/latest" => 404 empty();
        "So is earliest."
            tagged(0) "GET /tag/{tag}/earliest" => 404 empty();
        "The latest ones are of all channels, and lead on and back without a query."
            tagged(4) "GET /tag/{tag}/latest/2?stable=false" => 200 lists_with("third fourth", "?tag={tag}")
            links("self next previous uris") json(r#"{"_links": {
                "next": {"href": "{base}/tag/{tag}/{fourth}/next/2"},
                "previous": {"href": "{base}/tag/{tag}/{third}/previous/2"}}}"#);
        "None are 404 at the newest end."
            tagged(0) "GET /tag/{tag}/latest/2" => 404;
        "The earliest ones lead on alone."
            tagged(4) "GET /tag/{tag}/earliest/3" => 200 lists_with("first second third", "?tag={tag}")
            links("self next uris") json(r#"{"_links": {"next": {"href": "{base}/tag/{tag}/{third}/next/3"}}}"#);
        "None are an empty list at the oldest end."
            tagged(0) "GET /tag/{tag}/earliest/2" => 200 lists("");
        "A trace says how a list came about, as that of a channel does."
            tagged(2) "GET /tag/{tag}/earliest/1?trace=true" => 200 lists_with("first", "?tag={tag}")
            keys("_links first id start millis trace")
            json(r##"{"first": "{first}", "start": "…-…-…T…:…:….…Z", "millis": "#", "trace": ["…"]}"##);
        "There is no first one in a list without items."
            tagged(0) "GET /tag/{tag}/earliest/1?trace=true" => 200 lists("")
            keys("_links first id start millis trace") json(r#"{"first": null, "start": "…"}"#);
        "There are no more than were asked for."
            tagged(5) "GET /tag/{tag}/earliest/1" => 200 lists_with("first", "?tag={tag}");
    };
    check("7.2, queries over a tag: latest and earliest", rows).await;
}

#[tokio::test]
async fn items() {
    let rows = rows! {
        "A step from a key crosses channels, and keeps the tag and whether it was stable."
            tagged(2) "GET /tag/{tag}/{first}/next" => 303 location("{second.url}?tag={tag}&stable=true") empty();
        "So does one back."
            tagged(2) "GET /tag/{tag}/{second}/previous?stable=false" => 303
            location("{first.url}?tag={tag}&stable=false") empty();
        "At the end there is none."
            tagged(2) "GET /tag/{tag}/{second}/next" => 404 empty();
        "A count from a key crosses channels, and leads on and back without a query."
            tagged(4) "GET /tag/{tag}/{first}/next/2?stable=false" => 200 lists_with("second third", "?tag={tag}")
            json(r#"{"_links": {"next": {"href": "{base}/tag/{tag}/{third}/next/2"},
                "previous": {"href": "{base}/tag/{tag}/{second}/previous/2"}}}"#);
        "So does one back."
            tagged(4) "GET /tag/{tag}/{fourth}/previous/2" => 200 lists_with("second third", "?tag={tag}");
        "A trace of it starts with the time of the key."
            tagged(2) "GET /tag/{tag}/{first}/next/2?trace=true" => 200 lists_with("second", "?tag={tag}")
            json(r#"{"first": "{second}", "start": "{first.date}", "trace": ["…"]}"#);
        "An empty one is a list."
            tagged(1) "GET /tag/{tag}/{first}/next/2" => 200 lists("");
        "An item is had by its key, whichever channel has it, without its length."
            tagged(2) "GET /tag/{tag}/{second}" => 200 header("creation-date", "{second.date}")
            no_header("x-item-length") header("content-type", "application/octet-stream") text("item 1");
        "It links to its neighbours of the tag."
            tagged(1) "GET /tag/{tag}/{first}" => 200
            headers("link", &["<{base}/tag/{tag}/{first}/previous>;rel=\"previous\"",
                "<{base}/tag/{tag}/{first}/next>;rel=\"next\""]);
        "A key that no channel has is 404."
            tagged(1) "GET /tag/{tag}/{first}0" => 404 empty();
        "A type that is not acceptable is 406."
            tagged(1) "GET /tag/{tag}/{first}" header("accept", "text/html") => 406 empty();
    };
    check("7.2, queries over a tag: keys", rows).await;
}

#[tokio::test]
async fn times() {
    let rows = rows! {
        "A period lists the items of all channels."
            tagged(1) "GET /tag/{tag}/{first.second}?stable=false" => 200 lists_with("first", "?tag={tag}");
        "It leads to its neighbours with nothing but whether they are to be stable."
            tagged(0) "GET /tag/{tag}/2015/06/07?x=y&order=d" => 200 json(r#"{"_links": {
                "next": {"href": "{base}/tag/{tag}/2015/06/08?stable=true"},
                "previous": {"href": "{base}/tag/{tag}/2015/06/06?stable=true"}, "uris": []}}"#);
        "So do smaller ones."
            tagged(0) "GET /tag/{tag}/2015/06/07/08/59?stable=false" => 200 json(r#"{"_links": {
                "next": {"href": "{base}/tag/{tag}/2015/06/07/09/00?stable=false"},
                "previous": {"href": "{base}/tag/{tag}/2015/06/07/08/58?stable=false"}}}"#);
        "There is no next one before it has begun."
            tagged(0) "GET /tag/{tag}/2999/01/01" => 200 links("self previous uris");
        "Links about time are those of the tag."
            tagged(0) "GET /tag/{tag}/time?stable=false" => 200 keys("_links now stable")
            json(r#"{"_links": {"self": {"href": "{base}/tag/{tag}/time?stable=false"}, "hour": {
                "href": "{base}/tag/{tag}/…/…/…/…?stable=false",
                "template": "{base}/tag/{tag}/time/{{year}}/{{month}}/{{day}}/{{hour}}{?stable}",
                "redirect": "{base}/tag/{tag}/time/hour?stable=false"}}}"#);
        "A unit leads to its period, with every parameter."
            tagged(0) "GET /tag/{tag}/time/day?stable=false&a=b" => 303
            location("{base}/tag/{tag}/…/…/…?stable=false&a=b");
        "A trace of a period starts with it."
            tagged(1) "GET /tag/{tag}/{first.second}?stable=false&trace=true" => 200
            keys("_links first id start millis trace") lists_with("first", "?tag={tag}")
            json(r#"{"first": "{first}", "start": "….000Z", "trace": ["…"]}"#);
        "Dates that are none are 400."
            "GET /tag/{tag}/2015/13/07" => 400 error("month");
    };
    check("7.2, queries over a tag: times", rows).await;
}

#[tokio::test]
async fn contents() {
    let rows = rows! {
        "Contents have keys without a query."
            tagged(2) "GET /tag/{tag}/latest/2?bulk=true" => 200 header("content-type", "multipart/mixed;boundary=…")
            text("--…\r\nContent-Key: {first.url}\r\nCreation-Date: {first.date}\r\n\r\nitem 0\r\n\
                --…\r\nContent-Key: {second.url}\r\nCreation-Date: {second.date}\r\n\r\nitem 1\r\n--…--");
        "Periods link with bulk and with stable."
            tagged(0) "GET /tag/{tag}/2015/06/07?stable=false&bulk=true&x=y" => 200
            headers("link", &["<{base}/tag/{tag}/2015/06/08?bulk=true&stable=false>;rel=\"next\"",
                "<{base}/tag/{tag}/2015/06/06?bulk=true&stable=false>;rel=\"previous\""]);
        "Order turns contents as well."
            tagged(2) "GET /tag/{tag}/latest/2?bulk=true&order=desc" => 200 text("…item 1…item 0…");
        "Parts can be accepted by name."
            tagged(1) "GET /tag/{tag}/latest/2?bulk=true" header("accept", "multipart/mixed") => 200
            header("content-type", "multipart/mixed;boundary=…");
    };
    check("7.2, queries over a tag: bulk", rows).await;
}

#[tokio::test]
async fn on_channel_paths() {
    let rows = rows! {
        "A query of a channel with a tag is one of the tag, whatever the channel."
            tagged(2) "GET /channel/whatever/latest?tag={tag}" => 303 location("{second.url}?tag={tag}");
        "So is a count."
            tagged(3) "GET {own}/earliest/2?tag={tag}" => 200 lists_with("first second", "?tag={tag}")
            json(r#"{"_links": {"next": {"href": "{base}/tag/{tag}/{second}/next/2"}}}"#);
        "And a period."
            tagged(1) "GET /channel/{other}/{first.second}?tag={tag}&stable=false" => 200
            lists_with("first", "?tag={tag}");
        "And a step."
            tagged(2) "GET {own}/{first}/next?tag={tag}" => 303 location("{second.url}?tag={tag}&stable=true");
        "And a count from a key."
            tagged(3) "GET {own}/{first}/next/2?tag={tag}" => 200 lists_with("second third", "?tag={tag}");
        "Stable may be there twice."
            tagged(2) "GET {own}/{first}/next?tag={tag}&stable=false&stable=false" => 303
            location("{second.url}?tag={tag}&stable=false");
        "An item that was led to links on along the tag."
            tagged(2) before("GET /tag/{tag}/latest", "") "GET {location}" => 200 text("item 1")
            headers("link", &["<{second.url}/previous?tag={tag}>;rel=\"previous\"",
                "<{second.url}/next?tag={tag}>;rel=\"next\""]);
    };
    check("7.3, tag context on channel paths", rows).await;
}
