//! Creating, changing, showing, listing and deleting channels.

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Hub, Setup, key_of, soon, unique};

#[tokio::test]
async fn a_channel_is_shown_whole() {
    let hub = Hub::shared().await;
    let name = unique("shown");
    let before = hub.now().await;
    let body = json!({"name": name});
    let created = hub.send_json(Method::POST, "/channel", &body).await;
    let created = created.expect(201);
    let own = hub.url(&format!("/channel/{name}"));
    assert_eq!(created.location(), own);
    let href = |rest: &str| json!({"href": format!("{own}{rest}")});
    let mut shown = created.json();
    let date = shown["creationDate"].take();
    let date = date.as_str().unwrap();
    assert!(date.len() == 24 && date.ends_with('Z'), "{date}");
    let at: jiff::Timestamp = date.parse().unwrap();
    assert!(before <= at.as_millisecond() && at.as_millisecond() <= hub.now().await);
    let expected = json!({
        "name": name, "allowZeroBytes": true, "secondaryMetricsReporting": false,
        "creationDate": null, "description": "", "maxItems": 0, "mutableTime": "", "owner": "",
        "protect": false, "replicationSource": "", "storage": "BATCH", "tags": [],
        "ttlDays": 120, "keepForever": false,
        "_links": {
            "self": href(""), "latest": href("/latest"), "earliest": href("/earliest"),
            "bulk": href("/bulk"), "events": href("/events"), "time": href("/time"),
            "status": href("/status"),
            "ws": {"href": format!("{}/ws", own.replacen("http", "ws", 1))},
        },
    });
    assert_eq!(shown, expected);
    for path in [own.clone(), format!("{own}?cached=false")] {
        let got = hub.get(&path).await.expect(200);
        assert_eq!(got.json(), created.json());
    }
    let put = hub.ask(Method::PUT, &own).send().await.expect(201);
    assert_eq!(put.json(), created.json());
    let patch = hub.ask(Method::PATCH, &own).send().await.expect(200);
    assert_eq!(patch.json(), created.json());
}

#[tokio::test]
async fn a_name_is_taken_in_every_spelling() {
    let hub = Hub::shared().await;
    let name = unique("Taken");
    let body = |name: &str| json!({"name": name, "description": "mine"});
    let create = async |name: &str| hub.send_json(Method::POST, "/channel", &body(name)).await;
    create(&name).await.expect(201);
    for again in [name.clone(), name.to_lowercase(), name.to_uppercase()] {
        let error = create(&again).await.expect_error(409, "name");
        assert_eq!(error["value"], name.as_str(), "{error}");
        let shown = hub.get(&format!("/channel/{again}")).await.expect(200);
        assert_eq!(shown.json()["name"], name.as_str());
    }
    // Putting one in another spelling changes it, but not its name.
    let path = format!("/channel/{}", name.to_uppercase());
    let put = hub
        .send_json(Method::PUT, &path, &json!({"owner": "me"}))
        .await
        .expect(201);
    let put = put.json();
    assert_eq!(
        (&put["name"], &put["owner"], &put["description"]),
        (&json!(name), &json!("me"), &json!("mine"))
    );
}

#[tokio::test]
async fn put_creates_and_merges() {
    let hub = Hub::shared().await;
    let name = unique("put");
    let path = format!("/channel/{name}");
    let put = async |kind: Option<&str>, body: &'static str| {
        let ask = hub.ask(Method::PUT, &path).body(body);
        let ask = match kind {
            Some(kind) => ask.header("content-type", kind),
            None => ask,
        };
        ask.send().await
    };
    let first = put(None, r#"{"owner":"a","tags":["x"],"ttlDays":7}"#).await;
    let first = first.expect(201).json();
    // Each of these changes nothing, and is answered as a success all the same.
    for (kind, body) in [
        (None, ""),
        (Some("application/json"), ""),
        (Some("application/json"), " \r\n"),
        (Some("application/json"), "{}"),
        (Some("application/json; charset=utf-8"), "{}"),
        (Some("Application/JSON"), "{}"),
        (None, r#"{"owner":"a"}"#),
        (None, r#"{"name":"another","unheardOf":[1]}"#),
        (None, r#"{"creationDate":"2001-01-01T00:00:00.000Z"}"#),
    ] {
        let answer = put(kind, body).await.expect(201);
        assert_eq!(answer.json(), first, "{body}");
        assert_eq!(answer.location(), hub.url(&path));
    }
    let changed = put(None, r#"{"description":"d"}"#).await.expect(201).json();
    let mut expected = first;
    expected["description"] = json!("d");
    assert_eq!(changed, expected);
    assert_eq!(hub.get(&path).await.json(), expected);
}

#[tokio::test]
async fn patch_changes_what_exists() {
    let hub = Hub::shared().await;
    let name = hub.channel("patch").await;
    let path = format!("/channel/{name}");
    let before = hub.get(&path).await.expect(200).json();
    for body in ["", " ", "{}"] {
        let same = hub.ask(Method::PATCH, &path).body(body).send().await;
        let same = same.expect(200);
        assert_eq!(same.json(), before);
        assert_eq!(same.header("location"), None);
    }
    let body = json!({"owner": "o", "ttlDays": 3});
    let changed = hub.send_json(Method::PATCH, &path, &body).await;
    let changed = changed.expect(200).json();
    assert_eq!(
        (&changed["owner"], &changed["ttlDays"]),
        (&json!("o"), &json!(3))
    );
    assert_eq!(changed["creationDate"], before["creationDate"]);
    for unknown in ["nowhere", "no.name", &"x".repeat(49)] {
        let path = format!("/channel/{unknown}");
        let missing = hub.send_json(Method::PATCH, &path, &body).await;
        missing.expect_empty(404);
        hub.get(&path).await.expect_empty(404);
        hub.get(&format!("{path}?cached=false"))
            .await
            .expect_empty(404);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_400() {
    let hub = Hub::shared().await;
    let name = hub.channel("malformed").await;
    let own = format!("/channel/{name}");
    for body in [
        &"[".repeat(10_000),
        "nonsense",
        "{",
        "{\"owner\":}",
        "{\"owner\":\"x\"",
        "{'owner':'x'}",
        "{}{}",
        "\"\"",
        "\"x\"",
        "5",
        "true",
        "null",
        "[]",
        "[{}]",
        "\u{feff}{}",
    ] {
        for (method, path) in [
            (Method::POST, "/channel"),
            (Method::PUT, &own),
            (Method::PATCH, &own),
        ] {
            let answer = hub.ask(method, path).body(body.to_owned()).send().await;
            let answer = answer.expect(400).json();
            let error = answer["error"].as_str().unwrap();
            assert!(error.contains("xpect"), "{body}: {error}");
        }
    }
    // A channel cannot be created without a word about it.
    for body in ["", "  "] {
        let answer = hub.ask(Method::POST, "/channel").body(body).send().await;
        let error = answer.expect(400).json();
        assert!(
            error["error"].as_str().unwrap().contains("xpect"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_body_of_another_type_is_415() {
    let hub = Hub::shared().await;
    let name = hub.channel("typed").await;
    let own = format!("/channel/{name}");
    for (method, path) in [
        (Method::POST, "/channel"),
        (Method::PUT, &own),
        (Method::PATCH, &own),
    ] {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "json",
            "x",
        ] {
            let ask = hub.ask(method.clone(), path).header("content-type", kind);
            ask.body("{\"name\":\"x\"}").send().await.expect_empty(415);
        }
    }
}

#[tokio::test]
async fn the_list_is_sorted_and_has_the_stored_names() {
    let hub = Setup::new().start().await;
    let self_link = json!({"href": hub.url("/channel")});
    let empty = hub.get("/channel").await.expect(200).json();
    assert_eq!(empty["_links"]["self"], self_link);
    let none = empty["_links"].get("channels");
    assert!(none.is_none_or(|list| *list == json!([])), "{empty}");

    for name in ["b", "a-1", "c", "a", "Aa", "0"] {
        let body = json!({"name": name});
        hub.send_json(Method::POST, "/channel", &body)
            .await
            .expect(201);
    }
    let list = hub.get("/channel").await.expect(200).json();
    let expected: Vec<Value> = ["0", "a", "a-1", "Aa", "b", "c"]
        .iter()
        .map(|name| json!({"name": name, "href": hub.url(&format!("/channel/{name}"))}))
        .collect();
    assert_eq!(
        list,
        json!({"_links": {"self": self_link, "channels": expected}})
    );
}

#[tokio::test]
async fn a_deleted_channel_is_gone_with_its_items() {
    let hub = Hub::shared().await;
    let name = hub.channel("Deleted").await;
    let path = format!("/channel/{name}");
    let item = hub.insert(&name, "x").await;
    let twice = name.to_lowercase();
    hub.ask(Method::DELETE, &format!("/channel/{twice}"))
        .send()
        .await
        .expect_empty(202);
    hub.get(&format!("{path}?cached=false"))
        .await
        .expect_empty(404);
    hub.get(&path).await.expect_empty(404);
    hub.get(&item).await.expect(404);
    hub.get(&format!("{path}/latest"))
        .await
        .expect_text(404, &name);
    hub.post(&name, "y").await.expect_empty(404);
    let list = hub.get("/channel").await.expect(200);
    assert!(!list.text().contains(&name));
    let again = hub.ask(Method::DELETE, &path).send().await.expect(404);
    assert!(again.text().contains(&name), "{}", again.text());

    // A new one of that name has nothing of the old one.
    hub.ask(Method::PUT, &path).send().await.expect(201);
    hub.get(&format!("{path}/latest")).await.expect_empty(404);
    hub.get(&item).await.expect_empty(404);
    let day = hub.get(&format!("{path}/time/day")).await.expect(303);
    assert_eq!(hub.get(day.location()).await.uris(), [""; 0]);
    let new = hub.insert(&name, "z").await;
    hub.is_stable(&new).await;
    assert_eq!(hub.get(&format!("{path}/latest/9")).await.uris(), [new]);
}

#[tokio::test]
async fn a_protected_channel_is_deleted_by_local_callers_only() {
    let hub = Hub::shared().await;
    let config = json!({"protect": true, "owner": "me"});
    let name = hub.channel_with("protected", &config).await;
    let path = format!("/channel/{name}");
    let port = hub.address().port();
    let local = format!("localhost:{port}");
    for headers in [
        // By its address.
        &[][..],
        &[("host", "hub.example")],
        // Through somebody else.
        &[("host", local.as_str()), ("x-forwarded-for", "192.0.2.1")],
        &[("host", &local), ("x-forwarded-proto", "http")],
        &[("host", &local), ("x-forwarded-host", "localhost")],
        &[("host", &local), ("x-forwarded-port", "80")],
        &[("host", &local), ("x-forwarded-anything", "")],
        &[("host", &local), ("forwarded", "for=192.0.2.1")],
    ] {
        let ask = hub.ask(Method::DELETE, &path).headers(headers);
        let refused = ask.send().await.expect(403);
        assert!(!refused.text().is_empty(), "{headers:?}");
        hub.get(&path).await.expect(200);
    }
    let ask = hub.ask(Method::DELETE, &path).header("host", &local);
    ask.send().await.expect_empty(202);
    hub.get(&path).await.expect_empty(404);
}

#[tokio::test]
async fn a_hub_can_protect_all_its_channels() {
    let hub = Setup::new().set("CHANNEL_PROTECT", true).start().await;
    let create = async |body: Value| hub.send_json(Method::POST, "/channel", &body).await;
    create(json!({"name": "a"}))
        .await
        .expect_error(400, "owner");
    let put = hub.ask(Method::PUT, "/channel/a").send().await;
    put.expect_error(400, "owner");
    let owned = create(json!({"name": "a", "owner": "me"}))
        .await
        .expect(201);
    assert_eq!(owned.json()["protect"], true);
    let open = create(json!({"name": "b", "protect": false}))
        .await
        .expect(201);
    assert_eq!(open.json()["protect"], false);
    for path in ["/channel/a", "/channel/b"] {
        hub.ask(Method::DELETE, path).send().await.expect(403);
        let ask = hub.ask(Method::DELETE, path).header("host", "localhost");
        ask.send().await.expect_empty(202);
    }
}

#[tokio::test]
async fn status_leads_to_both_ends() {
    let hub = Hub::shared().await;
    let name = hub.channel("status").await;
    let own = hub.url(&format!("/channel/{name}"));
    for query in ["", "?stable=false", "?stable=true&x=1"] {
        let status = hub.get(&format!("{own}/status{query}")).await.expect(200);
        let empty = |edge: &str| json!({"href": format!("{own}/{edge}{query}"), "message": "channel is empty"});
        let expected = json!({"_links": {
            "self": {"href": format!("{own}/status{query}")},
            "latest": empty("latest"), "earliest": empty("earliest"),
        }});
        assert_eq!(status.json(), expected);
    }
    let items = hub.insert_many(&name, 3).await;
    let status = hub.get(&format!("{own}/status")).await.expect(200);
    let expected = json!({"_links": {
        "self": {"href": format!("{own}/status")},
        "latest": {"href": items[2]}, "earliest": {"href": items[0]},
    }});
    assert_eq!(status.json(), expected);
    hub.get("/channel/nowhere/status").await.expect(404);
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_made() {
    let hub = Hub::shared().await;
    let at_once = async |method: Method, path: &str, bodies: Vec<Value>| {
        let mut tasks = JoinSet::new();
        for body in bodies {
            let (hub, method, path) = (hub.again(), method.clone(), path.to_owned());
            tasks.spawn(async move { hub.send_json(method, &path, &body).await.status });
        }
        let mut statuses = soon("all are answered", tasks.join_all()).await;
        statuses.sort_unstable();
        statuses
    };
    for _ in 0..5 {
        let name = unique("contested");
        let same = vec![json!({"name": name}); 5];
        let statuses = at_once(Method::POST, "/channel", same).await;
        assert_eq!(statuses, [201, 409, 409, 409, 409]);

        let path = format!("/channel/{}", unique("contested"));
        let fields = vec![
            json!({"owner": "o"}),
            json!({"description": "d"}),
            json!({"tags": ["t"]}),
            json!({"storage": "BOTH"}),
            json!({"secondaryMetricsReporting": true}),
        ];
        let statuses = at_once(Method::PUT, &path, fields).await;
        assert_eq!(statuses, [201; 5]);
        let shown = hub.get(&path).await.expect(200).json();
        let fields = ["owner", "description", "storage"].map(|field| shown[field].clone());
        assert_eq!(fields, ["o", "d", "BOTH"].map(Value::from), "{shown}");
        assert_eq!(shown["tags"], json!(["t"]));
        assert_eq!(shown["secondaryMetricsReporting"], true);
    }
}

#[tokio::test]
async fn channels_outlive_the_process() {
    let setup = Setup::new();
    let hub = setup.start().await;
    let config = json!({
        "owner": "o", "description": "d", "maxItems": 7, "tags": ["b", "a"], "storage": "BOTH",
        "protect": true, "allowZeroBytes": false, "secondaryMetricsReporting": true,
    });
    let name = hub.channel_with("Kept", &config).await;
    let gone = hub.channel("gone").await;
    let path = format!("/channel/{name}");
    let shown = hub.get(&path).await.json();
    let doc = format!("{path}/doc");
    hub.ask(Method::PUT, &doc)
        .body("text")
        .send()
        .await
        .expect(200);
    hub.ask(Method::DELETE, &format!("/channel/{gone}"))
        .send()
        .await
        .expect(202);
    let (base, item) = (hub.base(), hub.insert(&name, "x").await);
    hub.kill().await;

    let hub = setup.start().await;
    // Only the port has changed.
    let expected = shown.to_string().replace(&base[5..], &hub.base()[5..]);
    let expected: Value = serde_json::from_str(&expected).unwrap();
    for path in [path.clone(), path.to_lowercase()] {
        let shown = hub.get(&path).await.expect(200).json();
        assert_eq!(shown["creationDate"], expected["creationDate"]);
        assert_eq!(shown["tags"], json!(["a", "b"]));
    }
    assert_eq!(hub.get(&path).await.json(), expected);
    hub.get(&doc).await.expect_text(200, "text");
    hub.get(&format!("/channel/{gone}")).await.expect(404);
    let latest = hub.get(&format!("{path}/latest")).await.expect(303);
    assert_eq!(key_of(latest.location()), key_of(&item));
}
