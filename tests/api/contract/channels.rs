//! Section 3: channel configuration.

use super::check;

/// A text of that length.
fn x(count: usize) -> String {
    "x".repeat(count)
}

/// So many tags, as JSON.
fn tags(count: usize) -> String {
    let tags: Vec<String> = (0..count)
        .map(|number| format!("\"t{number:02}\""))
        .collect();
    format!("[{}]", tags.join(", "))
}

#[tokio::test]
async fn fields() {
    let rows = rows! {
        "A name is trimmed."
            "POST /channel" json(r#"{"name": " {new}\t"}"#) => 201
            location("{base}/channel/{new}") json(r#"{"name": "{new}"}"#);
        "It is looked up in any spelling, and shown as it was given."
            channel("{}") "GET /channel/{channel.upper}" => 200 json(r#"{"name": "{channel}"}"#);
        "In a PUT it is the path's, whatever the body says."
            "PUT /channel/{new}" json(r#"{"name": "another"}"#) => 201
            location("{base}/channel/{new}") json(r#"{"name": "{new}"}"#);
        "In a PATCH it is as well."
            channel("{}") "PATCH {own}" json(r#"{"name": "another"}"#) => 200 json(r#"{"name": "{channel}"}"#);
        "An owner is trimmed."
            "PUT /channel/{new}" json(r#"{"owner": " me "}"#) => 201 json(r#"{"owner": "me"}"#);
        "A description has up to 1024 characters."
            "PUT /channel/{new}" json(format!(r#"{{"description": "{}"}}"#, x(1024))) => 201;
        "Without any retention items are kept for 120 days."
            "PUT /channel/{new}" => 201 json(r#"{"ttlDays": 120, "maxItems": 0, "keepForever": false}"#);
        "So they are when all three are zero or empty."
            "PUT /channel/{new}" json(r#"{"ttlDays": 0, "maxItems": 0, "mutableTime": ""}"#)
            => 201 json(r#"{"ttlDays": 120}"#);
        "With a number of items they are not counted in days."
            "PUT /channel/{new}" json(r#"{"maxItems": 5000}"#) => 201 json(r#"{"ttlDays": 0, "maxItems": 5000}"#);
        "What is kept for ever has no days and no number, whatever was sent."
            "PUT /channel/{new}" json(r#"{"keepForever": true, "ttlDays": 5, "maxItems": 4}"#)
            => 201 json(r#"{"keepForever": true, "ttlDays": 0, "maxItems": 0}"#);
        "A mutable time is a date with perhaps a time and an offset."
            "PUT /channel/{new}" json(r#"{"mutableTime": "2024-05-01T08:00:00+02:00"}"#)
            => 201 json(r#"{"mutableTime": "2024-05-01T06:00:00.000Z", "ttlDays": 0, "storage": "SINGLE"}"#);
        "Without an offset it is UTC."
            "PUT /channel/{new}" json(r#"{"mutableTime": "2024-05-01"}"#)
            => 201 json(r#"{"mutableTime": "2024-05-01T00:00:00.000Z"}"#);
        "It may move backwards."
            channel(r#"{"mutableTime": "2024-05-01"}"#)
            "PATCH {own}" json(r#"{"mutableTime": "2024-04-30"}"#) => 200
            json(r#"{"mutableTime": "2024-04-30T00:00:00.000Z"}"#);
        "It is cleared by an empty text."
            channel(r#"{"mutableTime": "2024-05-01"}"#)
            "PATCH {own}" json(r#"{"mutableTime": ""}"#) => 200
            json(r#"{"mutableTime": "", "ttlDays": 120, "tags": []}"#);
        "Tags are a set, in the order of their bytes."
            "PUT /channel/{new}" json(r#"{"tags": ["b", "a", "C", "b", "x:y-1"]}"#) => 201
            json(r#"{"tags": ["C", "a", "b", "x:y-1"]}"#);
        "There are up to twenty."
            "PUT /channel/{new}" json(format!(r#"{{"tags": {}}}"#, tags(20))) => 201;
        "A mutable time adds a tag."
            "PUT /channel/{new}" json(r#"{"mutableTime": "2024-05-01", "tags": ["z"]}"#)
            => 201 json(r#"{"tags": ["historical", "z"]}"#);
        "A tag that goes with what a channel does not have is not kept."
            "PUT /channel/{new}" json(r#"{"tags": ["historical", "replicated", "z"]}"#) => 201 json(r#"{"tags": ["z"]}"#);
        "A source that is empty is none."
            "PUT /channel/{new}" json(r#"{"replicationSource": ""}"#) => 201 json(r#"{"replicationSource": ""}"#);
        "So is null."
            "POST /channel" json(r#"{"name": "{new}", "replicationSource": null}"#) => 201
            json(r#"{"replicationSource": ""}"#);
        "In a change, too."
            channel("{}") "PATCH {own}" json(r#"{"replicationSource": null}"#) => 200
            json(r#"{"replicationSource": ""}"#);
        "Storage is in upper case."
            "PUT /channel/{new}" json(r#"{"storage": "both"}"#) => 201 json(r#"{"storage": "BOTH"}"#);
        "Empty items can be forbidden."
            "PUT /channel/{new}" json(r#"{"allowZeroBytes": false}"#) => 201 json(r#"{"allowZeroBytes": false}"#);
        "The flag for secondary metrics is given back."
            "PUT /channel/{new}" json(r#"{"secondaryMetricsReporting": true}"#)
            => 201 json(r#"{"secondaryMetricsReporting": true}"#);
        "The date of creation is the hub's to say."
            "POST /channel" json(r#"{"name": "{new}", "creationDate": "2001-01-01T00:00:00.000Z"}"#)
            => 201 json(r#"{"creationDate": "2…T…Z"}"#) json(r#"{"_links": {}}"#);
        "Numbers may come as texts."
            "PUT /channel/{new}" json(r#"{"ttlDays": "14"}"#) => 201 json(r#"{"ttlDays": 14}"#);
        "Fields that are not known are passed over."
            "PUT /channel/{new}" json(r#"{"ttlMillis": 5, "contentSizeKB": 5}"#)
            => 201 json(r#"{"ttlMillis": null, "contentSizeKB": null}"#);
        "Null makes a text empty."
            channel(r#"{"owner": "me"}"#) "PATCH {own}" json(r#"{"owner": null}"#) => 200 json(r#"{"owner": ""}"#);
        "Null makes a number zero."
            channel(r#"{"ttlDays": 9}"#) "PATCH {own}" json(r#"{"ttlDays": null, "maxItems": 3}"#)
            => 200 json(r#"{"ttlDays": 0, "maxItems": 3}"#);
        "Null makes a boolean false."
            channel("{}") "PATCH {own}" json(r#"{"allowZeroBytes": null}"#) => 200
            json(r#"{"allowZeroBytes": false}"#);
        "Null is no set of tags."
            channel("{}") "PATCH {own}" json(r#"{"tags": null}"#) => 400 error("tags");
        "Null clears a mutable time."
            channel(r#"{"mutableTime": "2024-05-01"}"#)
            "PATCH {own}" json(r#"{"mutableTime": null}"#) => 200 json(r#"{"mutableTime": ""}"#);
        "In a new channel null says nothing."
            "POST /channel" json(r#"{"name": "{new}", "owner": null, "ttlDays": null, "tags": null,
                "mutableTime": null, "allowZeroBytes": null, "storage": null}"#)
            => 201 json(r#"{"owner": "", "ttlDays": 120, "tags": [], "allowZeroBytes": true, "storage": "BATCH"}"#);
    };
    check("3.1, fields", rows).await;
}

#[tokio::test]
async fn representation() {
    let rows = rows! {
        "A channel is shown with all its fields."
            channel("{}") "GET {own}" => 200
            keys("name allowZeroBytes secondaryMetricsReporting creationDate description maxItems mutableTime
                owner protect replicationSource storage tags ttlDays keepForever _links")
            json(r#"{"name": "{channel}", "allowZeroBytes": true, "secondaryMetricsReporting": false,
                "creationDate": "…-…-…T…:…:….…Z", "description": "", "maxItems": 0, "mutableTime": "",
                "owner": "", "protect": false, "replicationSource": "", "storage": "BATCH", "tags": [],
                "ttlDays": 120, "keepForever": false}"#);
        "And with its links."
            channel("{}") "GET {own}" => 200 links("self latest earliest bulk ws events time status")
            json(r#"{"_links": {"self": {"href": "{url}"}, "latest": {"href": "{url}/latest"},
                "earliest": {"href": "{url}/earliest"}, "bulk": {"href": "{url}/bulk"},
                "ws": {"href": "ws://{host}{own}/ws"}, "events": {"href": "{url}/events"},
                "time": {"href": "{url}/time"}, "status": {"href": "{url}/status"}}}"#);
        "A mutable time is shown with milliseconds."
            channel(r#"{"mutableTime": "2024-05-01T08:00:00"}"#) "GET {own}" => 200
            json(r#"{"mutableTime": "2024-05-01T08:00:00.000Z"}"#);
    };
    check("3.2, representation", rows).await;
}

#[tokio::test]
async fn validation() {
    let rows = rows! {
        "A channel has a name."
            "POST /channel" json("{}") => 400 error("name");
        "It is not blank."
            "POST /channel" json(r#"{"name": " "}"#) => 400 error("name");
        "It has at most 48 characters."
            "POST /channel" json(format!(r#"{{"name": "{}"}}"#, x(49))) => 400 error("name");
        "They are letters, digits, hyphens and underscores."
            "POST /channel" json(r#"{"name": "a.b"}"#) => 400 error("name");
        "A name in a path is no other."
            "PUT /channel/a%20b" => 400 error("name");
        "An owner has at most 48 characters."
            "PUT /channel/{new}" json(format!(r#"{{"owner": "{}"}}"#, x(49))) => 400 error("owner");
        "The owner is looked at before the characters of the name."
            "POST /channel" json(format!(r#"{{"name": "a.b", "owner": "{}"}}"#, x(49))) => 400 error("owner");
        "A name is there once, in any spelling."
            channel("{}") "POST /channel" json(r#"{"name": "{channel.upper}"}"#) => 409 error("name");
        "That is looked at before retention."
            channel("{}") "POST /channel" json(r#"{"name": "{channel}", "ttlDays": 1, "maxItems": 1}"#)
            => 409 error("name");
        "Days and a number of items exclude each other."
            "PUT /channel/{new}" json(r#"{"ttlDays": 1, "maxItems": 1}"#) => 400
            json(r#"{"error": "…Only one of ttlDays, maxItems and mutableTime can be defined…"}"#);
        "So do days and a mutable time."
            "PUT /channel/{new}" json(r#"{"ttlDays": 1, "mutableTime": "2024-05-01"}"#) => 400
            json(r#"{"error": "…Only one of ttlDays, maxItems and mutableTime can be defined…"}"#);
        "A mutable time is not in the future."
            "PUT /channel/{new}" json(r#"{"mutableTime": "2999-01-01"}"#) => 400 error("mutableTime");
        "It does not move forward."
            channel(r#"{"mutableTime": "2024-05-01"}"#)
            "PATCH {own}" json(r#"{"mutableTime": "2024-05-01T00:00:00.001Z"}"#) => 400 error("mutableTime");
        "With it items are stored singly."
            "PUT /channel/{new}" json(r#"{"mutableTime": "2024-05-01", "storage": "BATCH"}"#) => 400 error("storage");
        "There are at most 5000 items."
            "PUT /channel/{new}" json(r#"{"maxItems": 5001}"#) => 400 error("maxItems");
        "A mutable time is a date that there is: a minute has sixty seconds."
            "PUT /channel/{new}" json(r#"{"mutableTime": "2016-12-31T23:59:60Z"}"#) => 400 error("mutableTime");
        "A description has at most 1024 characters."
            "PUT /channel/{new}" json(format!(r#"{{"description": "{}"}}"#, x(1025))) => 400 error("description");
        "A source is refused until channels are copied."
            "POST /channel" json(r#"{"name": "{new}", "replicationSource": "http://h.invalid/channel/x"}"#)
            => 400 error("replicationSource") json(r#"{"value": "http://h.invalid/channel/x"}"#);
        "It is in a PUT."
            "PUT /channel/{new}" json(r#"{"replicationSource": "http://h.invalid/channel/x"}"#)
            => 400 error("replicationSource");
        "Also of what is there."
            channel("{}") "PUT {own}" json(r#"{"replicationSource": "http://h.invalid/channel/x"}"#)
            => 400 error("replicationSource");
        "And in a PATCH."
            channel("{}") "PATCH {own}" json(r#"{"replicationSource": "http://h.invalid/channel/x"}"#)
            => 400 error("replicationSource");
        "The description is looked at before it."
            "PUT /channel/{new}" json(format!(r#"{{"replicationSource": "x", "description": "{}"}}"#, x(1025)))
            => 400 error("description");
        "It is looked at before tags."
            "PUT /channel/{new}" json(r#"{"replicationSource": "x", "tags": ["a_b"]}"#)
            => 400 error("replicationSource");
        "There are at most 20 tags."
            "PUT /channel/{new}" json(format!(r#"{{"tags": {}}}"#, tags(21))) => 400 error("tags");
        "The tag that a mutable time adds is one of them."
            "PUT /channel/{new}" json(format!(r#"{{"mutableTime": "2024-05-01", "tags": {}}}"#, tags(20)))
            => 400 error("tags");
        "A tag has letters, digits, colons and hyphens."
            "PUT /channel/{new}" json(r#"{"tags": ["a_b"]}"#) => 400 error("tags");
        "It is not empty."
            "PUT /channel/{new}" json(r#"{"tags": [""]}"#) => 400 error("tags");
        "It has at most 48 characters."
            "PUT /channel/{new}" json(format!(r#"{{"tags": ["{}"]}}"#, x(49))) => 400 error("tags");
        "Tags are looked at before storage."
            "PUT /channel/{new}" json(r#"{"tags": ["a_b"], "storage": "TAPE"}"#) => 400 error("tags");
        "Storage is one of three."
            "PUT /channel/{new}" json(r#"{"storage": "TAPE"}"#) => 400 error("storage");
        "What is protected has an owner."
            "PUT /channel/{new}" json(r#"{"protect": true, "owner": " "}"#) => 400 error("owner");
        "Another retention needs the old one to be zero."
            channel(r#"{"ttlDays": 5}"#) "PATCH {own}" json(r#"{"maxItems": 100}"#) => 400
            json(r#"{"error": "…Only one of ttlDays, maxItems and mutableTime can be defined…"}"#);
        "With that it is another."
            channel(r#"{"ttlDays": 5}"#) "PATCH {own}" json(r#"{"ttlDays": 0, "maxItems": 100}"#)
            => 200 json(r#"{"ttlDays": 0, "maxItems": 100}"#);
    };
    check("3.3, validation order", rows).await;
}

#[tokio::test]
async fn post_put_and_patch() {
    let rows = rows! {
        "POST creates a channel and says where it is."
            "POST /channel" json(r#"{"name": "{new}", "owner": "me"}"#) => 201
            location("{base}/channel/{new}") json(r#"{"name": "{new}", "owner": "me",
                "_links": {"self": {"href": "{base}/channel/{new}"}}}"#);
        "POST without a body is 400."
            "POST /channel" => 400 json(r#"{"error": "…"}"#);
        "POST of what is no object is 400."
            "POST /channel" json("5") => 400 json(r#"{"error": "…"}"#);
        "PUT creates a channel without a body, and without a type of it."
            "PUT /channel/{new}" => 201 location("{base}/channel/{new}") json(r#"{"name": "{new}"}"#);
        "A body without bytes is none, however it says that it is coded."
            "PUT /channel/{new}" header("content-encoding", "gzip") => 201 json(r#"{"name": "{new}"}"#);
        "PUT is 201 though nothing changes."
            channel("{}") "PUT {own}" json("{}") => 201 location("{url}") json(r#"{"name": "{channel}"}"#);
        "PUT changes what it names, and keeps the rest."
            channel(r#"{"owner": "me", "ttlDays": 7}"#) "PUT {own}" json(r#"{"description": "new"}"#)
            => 201 location("{url}") json(r#"{"owner": "me", "ttlDays": 7, "description": "new"}"#);
        "PUT of a bad value is 400, in JSON."
            channel("{}") "PUT {own}" json(r#"{"maxItems": "many"}"#) => 400 error("maxItems");
        "PATCH changes what it names, and leads nowhere."
            channel(r#"{"owner": "me"}"#) "PATCH {own}" json(r#"{"description": "new"}"#)
            => 200 no_header("location") json(r#"{"owner": "me", "description": "new"}"#);
        "PATCH of an unknown channel is 404 without a body."
            "PATCH /channel/{new}" json("{}") => 404 empty();
        "PATCH without a body changes nothing."
            channel("{}") "PATCH {own}" => 200 json(r#"{"name": "{channel}"}"#);
        "PATCH of a bad value is 400."
            channel("{}") "PATCH {own}" json(r#"{"storage": "x"}"#) => 400 error("storage");
        "A change does not touch the date of creation."
            channel("{}") before("PUT {own}", r#"{"creationDate": "2001-01-01T00:00:00.000Z"}"#)
            "GET {own}?cached=false" => 200 json(r#"{"creationDate": "20…T…Z"}"#);
        "What was written is seen at once where it was written."
            before("PUT /channel/{new}", r#"{"owner": "me"}"#)
            "GET /channel/{new}" => 200 json(r#"{"owner": "me"}"#);
    };
    check("3.4 to 3.6, POST, PUT and PATCH", rows).await;
}

#[tokio::test]
async fn other_endpoints() {
    let rows = rows! {
        "The list links to itself and to every channel."
            channel("{}") other("{}") "GET /channel" => 200 keys("_links") links("self channels")
            json(r#"{"_links": {"self": {"href": "{base}/channel"}, "channels": ["…",
                {"name": "{channel}", "href": "{url}"}, {"name": "{other}", "href": "{base}/channel/{other}"}]}}"#);
        "A channel can be asked for past every cache."
            channel("{}") "GET {own}?cached=false" => 200 json(r#"{"name": "{channel}"}"#);
        "An unknown one is 404 without a body."
            "GET /channel/{new}" => 404 empty();
        "So it is past the caches."
            "GET /channel/{new}?cached=false" => 404 empty();
        "DELETE is 202 without a body."
            channel("{}") "DELETE {own}" => 202 empty();
        "After that the channel is gone."
            channel("{}") before("DELETE {own}", "") "GET {own}?cached=false" => 404 empty();
        "An unknown channel cannot be deleted, and the text names it."
            "DELETE /channel/{new}" => 404 header("content-type", "application/json") text("…{new}…");
        "A protected one is not deleted by callers from elsewhere."
            channel(r#"{"protect": true, "owner": "me"}"#) "DELETE {own}" => 403
            header("content-type", "application/json") text("…");
        "It is by local ones."
            channel(r#"{"protect": true, "owner": "me"}"#)
            "DELETE {own}" header("host", "localhost:{port}") => 202;
        "The status leads to both ends."
            items(2) "GET {own}/status" => 200 keys("_links") links("self latest earliest")
            json(r#"{"_links": {"self": {"href": "{url}/status"},
                "latest": {"href": "{url}/{last}", "message": null}, "earliest": {"href": "{url}/{first}"}}}"#);
        "Of an empty channel it leads to the queries, with a message."
            channel("{}") "GET {own}/status" => 200 json(r#"{"_links": {
                "latest": {"href": "{url}/latest", "message": "channel is empty"},
                "earliest": {"href": "{url}/earliest", "message": "channel is empty"}}}"#);
        "The status of an unknown channel is 404."
            "GET /channel/{new}/status" => 404;
        "A document is given back as it is put."
            channel("{}") "PUT {own}/doc" body("# Title") => 200 text("# Title");
        "It is read as it was put."
            channel("{}") before("PUT {own}/doc", "# Title") "GET {own}/doc" => 200 text("# Title");
        "Browsers get a page."
            channel("{}") before("PUT {own}/doc", "# Title") "GET {own}/doc" header("accept", "text/html")
            => 200 header("content-type", "text/html…") text("<h1>Title</h1>…");
        "Nothing on that page runs."
            channel("{}") before("PUT {own}/doc", "a<script>b()</script>c")
            "GET {own}/doc" header("accept", "text/html") => 200 text("<p>ac</p>\n");
        "A document has at most 1,000,000 bytes."
            channel("{}") "PUT {own}/doc" body(x(1_000_000).as_str()) => 200 text(x(1_000_000));
        "A longer one is 413."
            channel("{}") "PUT {own}/doc" body(x(1_000_001).as_str()) => 413
            error("body") json(r#"{"rule": "at most 1000000 bytes"}"#);
        "A document that is not there is 404."
            channel("{}") "GET {own}/doc" => 404;
        "One is deleted with 204."
            channel("{}") before("PUT {own}/doc", "# Title") "DELETE {own}/doc" => 204 empty();
        "After that it is gone."
            channel("{}") before("PUT {own}/doc", "x") before("DELETE {own}/doc", "") "GET {own}/doc" => 404;
    };
    check("3.7, other channel endpoints", rows).await;
}

#[tokio::test]
async fn protection() {
    let rows = rows! {
        "Anybody may protect a channel that has an owner."
            channel(r#"{"owner": "me"}"#) "PATCH {own}" json(r#"{"protect": true}"#)
            => 200 json(r#"{"protect": true}"#);
        "Callers from elsewhere do not take protection away."
            channel(r#"{"owner": "me", "protect": true}"#) "PATCH {own}" json(r#"{"protect": false}"#)
            => 403 json(r#"{"error": "…"}"#);
        "Nor by a PUT."
            channel(r#"{"owner": "me", "protect": true}"#) "PUT {own}" json(r#"{"protect": false}"#)
            => 403 json(r#"{"error": "…"}"#);
        "Local ones do."
            channel(r#"{"owner": "me", "protect": true}"#)
            "PATCH {own}" header("host", "localhost:{port}") json(r#"{"protect": false}"#)
            => 200 json(r#"{"protect": false}"#);
        "Storage goes to both."
            channel(r#"{"owner": "me", "protect": true}"#) "PATCH {own}" json(r#"{"storage": "BOTH"}"#)
            => 200 json(r#"{"storage": "BOTH"}"#);
        "And nowhere else."
            channel(r#"{"owner": "me", "protect": true}"#) "PATCH {own}" json(r#"{"storage": "SINGLE"}"#)
            => 403 json(r#"{"error": "…"}"#);
        "The owner stays."
            channel(r#"{"owner": "me", "protect": true}"#) "PATCH {own}" json(r#"{"owner": "you"}"#)
            => 403 json(r#"{"error": "…"}"#);
        "Also in the change that protects."
            channel(r#"{"owner": "me"}"#) "PATCH {own}" json(r#"{"owner": "you", "protect": true}"#)
            => 403 json(r#"{"error": "…"}"#);
        "Tags are added."
            channel(r#"{"owner": "me", "protect": true, "tags": ["a"]}"#)
            "PATCH {own}" json(r#"{"tags": ["a", "b"]}"#) => 200 json(r#"{"tags": ["a", "b"]}"#);
        "And not removed."
            channel(r#"{"owner": "me", "protect": true, "tags": ["a"]}"#)
            "PATCH {own}" json(r#"{"tags": ["b"]}"#) => 403 json(r#"{"error": "…"}"#);
        "What is kept for ever stays so."
            channel(r#"{"owner": "me", "protect": true, "keepForever": true}"#)
            "PATCH {own}" json(r#"{"keepForever": false, "ttlDays": 9}"#) => 403 json(r#"{"error": "…"}"#);
        "Items are not kept for fewer days."
            channel(r#"{"owner": "me", "protect": true, "ttlDays": 9}"#)
            "PATCH {own}" json(r#"{"ttlDays": 8}"#) => 403 json(r#"{"error": "…"}"#);
        "But for more."
            channel(r#"{"owner": "me", "protect": true, "ttlDays": 9}"#)
            "PATCH {own}" json(r#"{"ttlDays": 10}"#) => 200 json(r#"{"ttlDays": 10}"#);
        "Or for ever."
            channel(r#"{"owner": "me", "protect": true, "ttlDays": 9}"#)
            "PATCH {own}" json(r#"{"keepForever": true}"#) => 200 json(r#"{"ttlDays": 0, "keepForever": true}"#);
        "A change that is to take protection and a tag away makes neither."
            channel(r#"{"owner": "me", "protect": true, "tags": ["a"]}"#)
            "PATCH {own}" json(r#"{"protect": false, "tags": []}"#) => 403 json(r#"{"error": "…"}"#);
        "Fewer items are not kept either."
            channel(r#"{"owner": "me", "protect": true, "maxItems": 9}"#)
            "PATCH {own}" json(r#"{"maxItems": 8}"#) => 403 json(r#"{"error": "…"}"#);
    };
    check("3.8, protection", rows).await;
}
