//! Section 5, continued: what leads from one item to others, and what their contents look like.

use super::check;

#[tokio::test]
async fn neighbours() {
    let rows = rows! {
        "One step leads to the item after a key, without the query."
            items(2) "GET {own}/{first}/next?stable=false" => 303 location("{url}/{second}") empty();
        "Or to the one before it."
            items(2) "GET {own}/{second}/previous?stable=true&x=y" => 303 location("{url}/{first}") empty();
        "Whatever begins with n is next."
            items(2) "GET {own}/{first}/nearest" => 303 location("{url}/{second}");
        "Whatever begins with p is previous."
            items(2) "GET {own}/{second}/p" => 303 location("{url}/{first}");
        "Other directions are 404."
            items(2) "GET {own}/{second}/sideways" => 404 empty();
        "Behind the last item there is none."
            items(1) "GET {own}/{first}/next" => 404 empty();
        "Nor before the first."
            items(1) "GET {own}/{first}/previous" => 404 empty();
        "A count lists the items after a key."
            items(5) "GET {own}/{first}/next/2" => 200 lists("second third");
        "Or the nearest before it, the oldest first."
            items(5) "GET {own}/{fifth}/previous/2" => 200 lists("third fourth");
        "It may be more than there are."
            items(3) "GET {own}/{first}/next/9" => 200 lists("second third");
        "Nothing to list is a list, too."
            items(1) "GET {own}/{first}/next/9" => 200 lists("");
        "Of none, none are listed."
            items(2) "GET {own}/{first}/next/0" => 200 lists("");
        "Nor of fewer than none."
            items(2) "GET {own}/{second}/previous/-3" => 200 lists("");
        "More than the limit are as many as it."
            items(2) "GET {own}/{first}/next/10001" => 200 lists("second")
            json(r#"{"_links": {"next": {"href": "{url}/{second}/next/10000"}}}"#);
        "No integer is 404."
            items(1) "GET {own}/{first}/next/few" => 404 empty();
        "A list leads on from its last item, and back from its first."
            items(4) "GET {own}/{first}/next/2" => 200 links("self next previous uris") json(r#"{"_links": {
                "self": {"href": "{url}/{first}/next/2"}, "next": {"href": "{url}/{third}/next/2"},
                "previous": {"href": "{url}/{second}/previous/2"}}}"#);
        "So does one that goes back."
            items(4) "GET {own}/{fourth}/previous/2" => 200 links("self next previous uris") json(r#"{"_links": {
                "self": {"href": "{url}/{fourth}/previous/2"}, "next": {"href": "{url}/{third}/next/2"},
                "previous": {"href": "{url}/{second}/previous/2"}}}"#);
        "An empty list of next ones leads back alone."
            items(1) "GET {own}/{first}/next/2" => 200 links("self previous uris")
            json(r#"{"_links": {"previous": {"href": "{url}/{first}/previous/2"}}}"#);
        "An empty list of previous ones leads on alone."
            items(1) "GET {own}/{first}/previous/2" => 200 links("self next uris")
            json(r#"{"_links": {"next": {"href": "{url}/{first}/next/2"}}}"#);
        "Links repeat the parameters of the request."
            items(2) "GET {own}/{first}/next/2?stable=false&x=%20y" => 200 lists("second") json(r#"{"_links": {
                "next": {"href": "{url}/{second}/next/2?stable=false&x=%20y"},
                "previous": {"href": "{url}/{second}/previous/2?stable=false&x=%20y"}}}"#);
        "Inclusive lists the start first."
            items(4) "GET {own}/{first}/next/2?inclusive=true" => 200 lists("first second");
        "Or last, where it goes back."
            items(4) "GET {own}/{fourth}/previous/2?inclusive=true" => 200 lists("third fourth");
        "Also where no item is."
            items(2) "GET {own}/{first}0/next/5?inclusive=true" => 200
            json(r#"{"_links": {"uris": ["{url}/{first}0", "{url}/{second}"]}}"#);
        "Nothing is left out for it where there is room."
            items(3) "GET {own}/{first}/next/9?inclusive=true" => 200 lists("first second third");
        "The start is moved up to what is still kept."
            channel(r#"{"ttlDays": 1}"#) items(2) "GET {own}/2015/06/07/08/09/10/011/a/next/9" => 200
            lists("first second");
        "Everything from a start on is listed."
            items(2) "GET {own}/2999/01/01/00/00/00/000/a/previous/9" => 200 lists("first second");
    };
    check("5.4, next and previous", rows).await;
}

#[tokio::test]
async fn seconds() {
    let rows = rows! {
        "A run of seconds begins with its second, and nobody looks at the channel."
            "GET /channel/nowhere/2015/06/07/08/59/58/next/3" => 200 links("self next previous uris")
            json(r#"{"_links": {"uris": ["{base}/channel/nowhere/2015/06/07/08/59/58",
                "{base}/channel/nowhere/2015/06/07/08/59/59", "{base}/channel/nowhere/2015/06/07/09/00/00"]}}"#);
        "One that goes back begins just before it."
            "GET /channel/nowhere/2016/03/01/00/00/01/previous/2" => 200
            json(r#"{"_links": {"uris": ["{base}/channel/nowhere/2016/02/29/23/59/59",
                "{base}/channel/nowhere/2016/03/01/00/00/00"]}}"#);
        "It stops before what is not stable, and then leads on nowhere."
            "GET /channel/nowhere/2999/01/01/00/00/00/next/3" => 200 links("self uris")
            json(r#"{"_links": {"uris": []}}"#);
        "One that goes back from the future begins with what is stable."
            "GET /channel/nowhere/2999/01/01/00/00/00/previous/1" => 200 links("self next previous uris")
            json(r#"{"_links": {"uris": ["{base}/channel/nowhere/20…"]}}"#);
        "Order turns it."
            "GET /channel/nowhere/2015/06/07/08/59/58/next/2?order=desc" => 200
            json(r#"{"_links": {"uris": ["{base}/channel/nowhere/2015/06/07/08/59/59",
                "{base}/channel/nowhere/2015/06/07/08/59/58"]}}"#);
        "A trace is added to it."
            "GET /channel/nowhere/2015/06/07/08/59/58/next/2?trace=true" => 200 json(r#"{"trace": ["…"]}"#);
        "Stable is passed over."
            "GET /channel/nowhere/2015/06/07/08/59/58/next/1?stable=false" => 200
            json(r#"{"_links": {"uris": ["{base}/channel/nowhere/2015/06/07/08/59/58"]}}"#);
        "Of none, none are listed."
            "GET /channel/nowhere/2015/06/07/08/59/58/previous/0" => 200 links("self uris")
            json(r#"{"_links": {"uris": []}}"#);
        "No integer is 404."
            "GET /channel/nowhere/2015/06/07/08/59/58/next/x" => 404 empty();
    };
    check("5.5, runs of seconds", rows).await;
}

#[tokio::test]
async fn ends() {
    let rows = rows! {
        "Latest leads to the newest item, without the query."
            items(3) "GET {own}/latest?stable=true&x=y" => 303 location("{url}/{third}") empty();
        "Earliest leads to the oldest."
            items(3) "GET {own}/earliest?trace=true" => 303 location("{url}/{first}") empty();
        "Latest of nothing is 404."
            channel("{}") "GET {own}/latest" => 404 empty();
        "So is earliest."
            channel("{}") "GET {own}/earliest?stable=false" => 404 empty();
        "The latest ones are ascending, and lead on and back."
            items(3) "GET {own}/latest/2" => 200 lists("second third") links("self next previous uris")
            json(r#"{"_links": {"self": {"href": "{url}/latest/2"}, "next": {"href": "{url}/{third}/next/2"},
                "previous": {"href": "{url}/{second}/previous/2"}}}"#);
        "The earliest ones are as well, and lead on alone."
            items(3) "GET {own}/earliest/2" => 200 lists("first second") links("self next uris")
            json(r#"{"_links": {"self": {"href": "{url}/earliest/2"}, "next": {"href": "{url}/{second}/next/2"}}}"#);
        "Their links repeat the parameters."
            items(1) "GET {own}/latest/2?stable=false&x=y" => 200 lists("first")
            json(r#"{"_links": {"next": {"href": "{url}/{first}/next/2?stable=false&x=y"}}}"#);
        "A count of nothing is 404 at the newest end."
            channel("{}") "GET {own}/latest/3" => 404 empty();
        "And at the oldest."
            channel("{}") "GET {own}/earliest/3" => 404 empty();
        "HEAD tells whether there is anything."
            items(1) "HEAD {own}/latest" => 303 location("{url}/{first}");
    };
    check("5.6, latest and earliest", rows).await;
}

#[tokio::test]
async fn contents() {
    let typed = &[("content-type", "a/b")];
    let two = "--b\r\nContent-Type: a/b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n";
    let parts = &[("content-type", "multipart/mixed; boundary=b")];
    let rows = rows! {
        "Contents are parts, in the order of the list, with what is known of each."
            channel("{}") before_with("POST {own}/bulk", parts, two) "GET {own}/{first.second}?bulk=true&stable=false"
            => 200 header("content-type", "multipart/mixed;boundary=…")
            text("--…\r\nContent-Type: a/b\r\nContent-Key: {first.url}\r\nCreation-Date: {first.date}\r\n\r\none\r\n\
                --…\r\nContent-Type: text/plain\r\nContent-Key: {second.url}\r\nCreation-Date: {second.date}\r\n\r\n\
                two\r\n--…--");
        "A part of an item without a type has none."
            items(1) "GET {own}/latest/1?bulk=true" => 200
            text("--…\r\nContent-Key: {first.url}\r\nCreation-Date: {first.date}\r\n\r\nitem 0\r\n--…--");
        "An empty list is no more than its end."
            channel("{}") "GET {own}/2015/06/07?bulk=true" => 200
            header("content-type", "multipart/mixed;boundary=…") text("--…--");
        "Of whatever lists are acceptable as, they are parts."
            items(1) "GET {own}/{first.hour}?batch=true&stable=false" header("accept", "application/json") => 200
            header("content-type", "multipart/mixed;boundary=…") text("…item 0…");
        "But for a zip, in any case."
            items(1) "GET {own}/{first.hour}?bulk=true&stable=false" header("accept", "APPLICATION/Zip") => 200
            header("content-type", "application/zip") text("PK…{first}…");
        "Its entries have the item's key as their name, and its type beside it."
            channel("{}") before_with("POST {own}/bulk", parts, two)
            "GET {own}/{first.second}?bulk=true&stable=false" header("accept", "application/zip") => 200
            text("PK…{first}…{\"contentType\":\"a/b\"}…{second}…{\"contentType\":\"text/plain\"}…");
        "A period links to its neighbours in headers."
            channel("{}") "GET {own}/2015/06/07?stable=false&bulk=true" => 200
            headers("link", &["<{url}/2015/06/08?stable=false&bulk=true>;rel=\"next\"",
                "<{url}/2015/06/06?stable=false&bulk=true>;rel=\"previous\""]);
        "It links back where there is no next one."
            channel("{}") "GET {own}/2999/01/01?bulk=true" => 200
            headers("link", &["<{url}/2998/12/31?bulk=true>;rel=\"previous\""]);
        "So does a list from a key, on and back."
            items(3) "GET {own}/{first}/next/1?bulk=true&x=y" => 200
            headers("link", &["<{url}/{second}/next/1?bulk=true&x=y>;rel=\"next\"",
                "<{url}/{second}/previous/1?bulk=true&x=y>;rel=\"previous\""]) text("…item 1…");
        "An empty one has no links."
            items(1) "GET {own}/{first}/next/1?bulk=true" => 200 no_header("link") text("--…--");
        "Nor have the latest ones."
            items(1) "GET {own}/latest/1?bulk=true" => 200 no_header("link");
        "Nor the earliest."
            items(1) "GET {own}/earliest/1?bulk=true" => 200 no_header("link") text("…item 0…");
        "Order turns the parts."
            channel("{}") before_with("POST {own}", typed, "one") before_with("POST {own}", typed, "two")
            "GET {own}/latest/2?bulk=true&order=desc&stable=false" => 200 text("…\r\ntwo\r\n…\r\none\r\n…");
        "Nothing to list is 404, with contents or without."
            channel("{}") "GET {own}/latest/1?bulk=true" => 404;
    };
    check("5.7, bulk output", rows).await;
}
