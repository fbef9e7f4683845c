//! The calls: what brings about each documented answer.

use serde_json::json;

use super::Run;
use crate::harness::{Hub, key_of, period_of, unique};

/// The type of a body with parts.
pub(super) const PARTS: &str = "multipart/mixed; boundary=b";
/// Such a body.
const TWO_ITEMS: &str = "--b\r\nContent-Type: text/plain\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n";
/// One with an item that has no bytes.
const EMPTY_ITEM: &str = "--b\r\nContent-Key: x\r\n\r\n\r\n--b--\r\n";

/// Channels: creating, changing, showing and deleting them.
pub(super) async fn of_configurations(run: &Run, hub: &Hub) {
    let name = unique("documented");
    let config = json!({
        "name": name, "owner": "o", "description": "d", "maxItems": 7, "tags": ["b", "a"],
        "storage": "SINGLE",
    });
    run.ask(hub, "createChannel", "")
        .body(config.to_string())
        .expect(201)
        .await;
    run.ask(hub, "createChannel", "")
        .body(config.to_string())
        .expect(409)
        .await;
    run.ask(hub, "createChannel", "")
        .body("{}")
        .expect(400)
        .await;
    run.ask(hub, "createChannel", "")
        .body("no JSON")
        .expect(400)
        .await;
    run.ask(hub, "listChannels", "").expect(200).await;
    for id in ["createChannel", "putChannel", "patchChannel"] {
        let target = if id == "createChannel" { "" } else { &name };
        let ask = || run.ask(hub, id, target).body("{}");
        ask().header("content-type", "text/csv").expect(415).await;
        ask().header("content-encoding", "br").expect(415).await;
        ask().body("{\"maxItems\": 5001}").expect(400).await;
        let source = json!({"name": unique("copy"), "replicationSource": "http://h/channel/x"});
        ask().body(source.to_string()).expect(400).await;
        ask().body("[]").expect(400).await;
    }
    run.ask(hub, "putChannel", &unique("documented"))
        .expect(201)
        .await;
    run.ask(hub, "putChannel", &name)
        .body("{\"owner\":\"\"}")
        .expect(201)
        .await;
    let historical = json!({"mutableTime": "2020-01-01", "keepForever": true});
    let historical = run
        .ask(hub, "putChannel", &unique("documented"))
        .body(historical.to_string());
    historical.expect(201).await;
    run.ask(hub, "patchChannel", &name)
        .body("{\"ttlDays\": 9, \"maxItems\": 0}")
        .expect(200)
        .await;
    run.ask(hub, "patchChannel", "nowhere").expect(404).await;
    run.ask(hub, "getChannel", &name).expect(200).await;
    run.ask(hub, "getChannel", &format!("{name}?cached=false"))
        .expect(200)
        .await;
    run.ask(hub, "getChannel", &format!("{name}?epoch=x"))
        .expect(400)
        .await;
    run.ask(hub, "getChannel", "nowhere").expect(404).await;

    run.ask(hub, "deleteChannel", &name).expect(202).await;
    run.ask(hub, "deleteChannel", &name).expect(404).await;
    let protected = hub
        .channel_with("guarded", &json!({"owner": "o", "protect": true}))
        .await;
    run.ask(hub, "deleteChannel", &protected).expect(403).await;
    for operation in ["putChannel", "patchChannel"] {
        run.ask(hub, operation, &protected)
            .body("{\"protect\": false}")
            .expect(403)
            .await;
    }
}

/// Documents of channels.
pub(super) async fn of_documents(run: &Run, hub: &Hub) {
    let name = hub.channel("described").await;
    run.ask(hub, "getDocument", &name).expect(404).await;
    run.ask(hub, "putDocument", &name)
        .body("# x")
        .expect(200)
        .await;
    run.ask(hub, "getDocument", &name).expect(200).await;
    let page = run
        .ask(hub, "getDocument", &name)
        .header("accept", "text/html");
    page.expect(200).await;
    run.ask(hub, "putDocument", &name)
        .body(vec![0xff])
        .expect(400)
        .await;
    run.ask(hub, "putDocument", &name)
        .header("content-encoding", "br")
        .expect(415)
        .await;
    run.ask(hub, "putDocument", "nowhere").expect(404).await;
    run.ask(hub, "deleteDocument", &name).expect(204).await;
    run.ask(hub, "deleteDocument", &name).expect(404).await;
}

/// Inserts, into a channel and through a provider.
pub(super) async fn of_inserts(run: &Run, hub: &Hub) {
    let name = hub.channel("written").await;
    let full = hub
        .channel_with("nothing-empty", &json!({"allowZeroBytes": false}))
        .await;
    for (id, status, bulk) in [
        ("insertItem", 201, false),
        ("insertItems", 201, true),
        ("provide", 200, false),
        ("provideBulk", 200, true),
    ] {
        let provides = status == 200;
        let ask = |channel: &str| {
            let ask = run.ask(hub, id, if provides { "" } else { channel });
            let ask = if provides {
                ask.header("channelName", channel)
            } else {
                ask
            };
            let ask = if bulk {
                ask.header("content-type", PARTS)
            } else {
                ask
            };
            ask.body(if bulk { TWO_ITEMS } else { "one" })
        };
        ask(&name).expect(status).await;
        let key = unique("key");
        ask(&name)
            .header("idempotency-key", &key)
            .expect(status)
            .await;
        let other = if bulk {
            TWO_ITEMS.replace("one", "three")
        } else {
            "three".to_owned()
        };
        ask(&name)
            .header("idempotency-key", &key)
            .body(other)
            .expect(422)
            .await;
        ask(&name).header("idempotency-key", "\t").expect(400).await;
        ask(&name)
            .header("content-encoding", "gzip")
            .expect(400)
            .await;
        ask(&name)
            .header("content-encoding", "br")
            .expect(415)
            .await;
        ask(&full)
            .body(if bulk { EMPTY_ITEM } else { "" })
            .expect(400)
            .await;
        if provides {
            ask(&unique("provided")).expect(200).await;
            ask("no name").expect(400).await;
        } else {
            ask("nowhere").expect(404).await;
        }
        if bulk {
            ask(&name).body("--b--\r\n").expect(400).await;
            let id = run.ask(hub, id, if provides { "" } else { &name });
            let id = if provides {
                id.header("channelName", &name)
            } else {
                id
            };
            id.header("content-type", "text/plain")
                .body("x")
                .expect(415)
                .await;
        } else {
            let ask = ask(&name).header("content-type", "no type");
            ask.expect(400).await;
        }
    }
}

/// Items of the past.
pub(super) async fn of_the_past(run: &Run, hub: &Hub) {
    let past = json!({"mutableTime": "2013-06-01", "allowZeroBytes": false});
    let name = hub.channel_with("past", &past).await;
    let live = hub.channel("present").await;
    for (id, hash) in [("insertItemAt", ""), ("insertItemAs", "/a")] {
        let ask = |channel: &str, time: &str| {
            let target = format!("{channel}/{time}{hash}");
            run.ask(hub, id, &target).body("one")
        };
        let time = "2013/01/01/05/15/07/003";
        ask(&name, time).expect(201).await;
        ask(&name, "2013/06/01/05/15/07/003").expect(400).await;
        ask(&name, "2013/02/30/05/15/07/003").expect(400).await;
        ask(&name, time).body("").expect(400).await;
        ask(&live, time).expect(403).await;
        ask("nowhere", time).expect(404).await;
        let coded = |coding| ask(&name, time).header("content-encoding", coding);
        coded("gzip").expect(400).await;
        coded("br").expect(415).await;
        if hash.is_empty() {
            let keyed = || ask(&name, time).header("idempotency-key", "k");
            keyed().expect(201).await;
            keyed().body("three").expect(422).await;
        }
    }
    let ask = |target: String| run.ask(hub, "deleteItem", &target);
    let item = "2013/01/01/05/15/07/003/a";
    ask(format!("{name}/{item}")).expect(204).await;
    ask(format!("{name}/2013/02/30/05/15/07/003/a"))
        .expect(400)
        .await;
    ask(format!("{live}/{item}")).expect(405).await;
    ask(format!("nowhere/{item}")).expect(404).await;
}

/// Items, and lists of them.
pub(super) async fn of_queries(run: &Run, hub: &Hub) {
    let name = hub.channel("read").await;
    let items = hub.insert_many(&name, 3).await;
    let empty = hub.channel("unread").await;
    let key = |item: &String| format!("{name}/{}", key_of(item));
    let (first, last) = (key(&items[0]), key(&items[2]));
    let nowhere = |below: &str| format!("nowhere/{below}");

    run.ask(hub, "getItem", &first).expect(200).await;
    run.ask(hub, "getItem", &format!("{first}?a=b"))
        .expect(200)
        .await;
    run.ask(hub, "getItem", &nowhere(key_of(&items[0])))
        .expect(404)
        .await;
    run.ask(hub, "getItem", &format!("{empty}/{}", key_of(&items[0])))
        .expect(404)
        .await;
    run.ask(hub, "getItem", &first)
        .header("accept", "text/csv")
        .expect(406)
        .await;
    run.ask(hub, "getItem", &format!("{name}/2024/02/30/00/00/00/000/x"))
        .expect(400)
        .await;

    for edge in ["latest", "earliest"] {
        let one = format!("{edge}Item");
        run.ask(hub, &one, &name).expect(303).await;
        run.ask(hub, &one, &format!("{name}?location=x"))
            .expect(400)
            .await;
        run.ask(hub, &one, &empty).expect(404).await;
        run.ask(hub, &one, "nowhere").expect(404).await;
        let many = format!("{edge}Items");
        run.ask(hub, &many, &format!("{empty}/5")).expect(404).await;
        a_list(run, hub, &many, &format!("{name}/2"), "nowhere/2").await;
    }
    for (direction, from) in [("next", &first), ("previous", &last)] {
        let one = format!("{direction}Item");
        run.ask(hub, &one, from).expect(303).await;
        run.ask(hub, &one, &format!("{from}?epoch=x"))
            .expect(400)
            .await;
        let end = if direction == "next" { &last } else { &first };
        run.ask(hub, &one, end).expect(404).await;
        run.ask(hub, &one, &nowhere(key_of(&items[0])))
            .expect(404)
            .await;
        let many = format!("{direction}Items");
        let below = nowhere(key_of(&items[0])) + "/2";
        a_list(run, hub, &many, &format!("{from}/2"), &below).await;
        run.ask(hub, &many, &format!("{end}/2?inclusive=true"))
            .expect(200)
            .await;
        run.ask(hub, &many, &format!("{end}/2")).expect(200).await;
        run.ask(hub, &many, &format!("{from}/x")).expect(404).await;

        let run_of = format!("{direction}Seconds");
        let second = format!("{name}/{}", period_of(&items[0], 6));
        run.ask(hub, &run_of, &format!("{second}/3?order=d&trace=true"))
            .expect(200)
            .await;
        run.ask(hub, &run_of, &format!("{name}/2024/05/01/09/15/60/3"))
            .expect(400)
            .await;
        run.ask(hub, &run_of, &format!("{second}/x"))
            .expect(404)
            .await;
    }
    for (id, segments) in [
        ("itemsOfDay", 3),
        ("itemsOfHour", 4),
        ("itemsOfMinute", 5),
        ("itemsOfSecond", 6),
    ] {
        let period = period_of(&items[0], segments);
        let old = "2014/05/01/09/15/07".splitn(segments + 1, '/');
        let old: Vec<&str> = old.take(segments).collect();
        run.ask(hub, id, &format!("{name}/{}", old.join("/")))
            .expect(200)
            .await;
        a_list(run, hub, id, &format!("{name}/{period}"), &nowhere(&period)).await;
    }
    let second = format!("{name}/{}", period_of(&items[0], 6));
    run.ask(hub, "secondOfMillisecond", &format!("{second}/007?a=b"))
        .expect(303)
        .await;
    run.ask(hub, "secondOfMillisecond", &format!("{second}/1000"))
        .expect(400)
        .await;
    run.ask(hub, "secondOfMillisecond", &format!("{second}/x"))
        .expect(404)
        .await;

    for id in ["channelStatus", "timeLinks"] {
        for query in ["", "?stable=false", "?stable=true"] {
            run.ask(hub, id, &format!("{name}{query}"))
                .expect(200)
                .await;
        }
        run.ask(hub, id, &empty).expect(200).await;
        run.ask(hub, id, "nowhere").expect(404).await;
        run.ask(hub, id, &format!("{name}?epoch=x"))
            .expect(400)
            .await;
    }
    for unit in ["second", "minute", "hour", "day"] {
        let path = format!("{name}/{unit}?stable=false&x=y");
        run.ask(hub, "currentPeriod", &path).expect(303).await;
    }
    run.ask(hub, "currentPeriod", &format!("{name}/year"))
        .expect(404)
        .await;
    run.ask(hub, "currentPeriod", &format!("{name}/day?epoch=x"))
        .expect(400)
        .await;
}

/// What is asked of a tag, by its own paths and by those of channels.
pub(super) async fn of_tags(run: &Run, hub: &Hub) {
    let tag = unique("tag");
    let config = json!({"tags": [tag]});
    let (one, other) = (
        hub.channel_with("tagged", &config).await,
        hub.channel_with("tagged", &config).await,
    );
    let mut items = hub.insert_many(&one, 2).await;
    items.extend(hub.insert_many(&other, 2).await);
    let key = |item: &String| key_of(item).to_owned();
    let (first, last) = (key(&items[0]), key(&items[3]));
    let bad = |target: &str| format!("{target}?epoch=x");

    run.ask(hub, "listTags", "").expect(200).await;
    for target in [&*tag, "nobody"] {
        for id in ["getTag", "tagTimeLinks"] {
            run.ask(hub, id, target).expect(200).await;
            run.ask(hub, id, &bad(target)).expect(400).await;
        }
        for unit in ["second", "minute", "hour", "day"] {
            let target = format!("{target}/{unit}");
            run.ask(
                hub,
                "tagCurrentPeriod",
                &format!("{target}?stable=false&x=y"),
            )
            .expect(303)
            .await;
            run.ask(hub, "tagCurrentPeriod", &bad(&target))
                .expect(400)
                .await;
        }
    }
    run.ask(hub, "tagCurrentPeriod", &format!("{tag}/year"))
        .expect(404)
        .await;

    let item = format!("{tag}/{first}");
    run.ask(hub, "getItemOfTag", &item).expect(200).await;
    run.ask(hub, "getItemOfTag", &format!("nobody/{first}"))
        .expect(404)
        .await;
    run.ask(hub, "getItemOfTag", &bad(&item)).expect(400).await;
    run.ask(hub, "getItemOfTag", &item)
        .header("accept", "text/csv")
        .expect(406)
        .await;
    for edge in ["latest", "earliest"] {
        let id = format!("{edge}ItemOfTag");
        run.ask(hub, &id, &tag).expect(303).await;
        run.ask(hub, &id, &bad(&tag)).expect(400).await;
        run.ask(hub, &id, "nobody").expect(404).await;
        let by_channel = format!("nowhere?tag={tag}");
        run.ask(hub, &format!("{edge}Item"), &by_channel)
            .expect(303)
            .await;
        let by_channel = format!("nowhere/2?tag={tag}");
        run.ask(hub, &format!("{edge}Items"), &by_channel)
            .expect(200)
            .await;
        let id = format!("{edge}ItemsOfTag");
        a_list(run, hub, &id, &format!("{tag}/3"), "nobody/3").await;
    }
    for (direction, from, end) in [("next", &first, &last), ("previous", &last, &first)] {
        let id = format!("{direction}ItemOfTag");
        let target = format!("{tag}/{from}");
        run.ask(hub, &id, &target).expect(303).await;
        run.ask(hub, &id, &format!("{target}?stable=false"))
            .expect(303)
            .await;
        run.ask(hub, &id, &bad(&target)).expect(400).await;
        run.ask(hub, &id, &format!("{tag}/{end}")).expect(404).await;
        let by_channel = format!("{one}/{from}?tag={tag}");
        run.ask(hub, &format!("{direction}Item"), &by_channel)
            .expect(303)
            .await;
        let id = format!("{direction}ItemsOfTag");
        let nobody = format!("nobody/{from}/3");
        a_list(run, hub, &id, &format!("{target}/3"), &nobody).await;
        run.ask(hub, &id, &format!("{tag}/{end}/3?inclusive=true"))
            .expect(200)
            .await;
    }
    for (unit, segments) in [("Day", 3), ("Hour", 4), ("Minute", 5), ("Second", 6)] {
        let period = period_of(&items[0], segments);
        let (id, nobody) = (format!("tagItemsOf{unit}"), format!("nobody/{period}"));
        a_list(run, hub, &id, &format!("{tag}/{period}"), &nobody).await;
        let by_channel = format!("{one}/{period}?tag={tag}&bulk=true");
        run.ask(hub, &format!("itemsOf{unit}"), &by_channel)
            .expect(200)
            .await;
    }
}

/// What lists have in common: one of a channel, and of one that is not there.
async fn a_list(run: &Run, hub: &Hub, id: &str, list: &str, nowhere: &str) {
    for query in [
        "",
        "?order=descending",
        "?trace=true",
        "?stable=false&epoch=ALL&location=CACHE",
    ] {
        run.ask(hub, id, &format!("{list}{query}"))
            .expect(200)
            .await;
    }
    for query in ["?bulk=true", "?batch=true&stable=false"] {
        let path = format!("{list}{query}");
        run.ask(hub, id, &path).expect(200).await;
        run.ask(hub, id, &path)
            .header("accept", "application/zip")
            .expect(200)
            .await;
    }
    run.ask(hub, id, &format!("{list}?location=x"))
        .expect(400)
        .await;
    run.ask(hub, id, list)
        .header("accept", "text/csv")
        .expect(406)
        .await;
    let status = if id.to_lowercase().contains("tag") {
        200
    } else {
        404
    };
    let status = if id == "latestItemsOfTag" {
        404
    } else {
        status
    };
    run.ask(hub, id, nowhere).expect(status).await;
    let broken = format!("{}/x", nowhere.rsplit_once('/').unwrap().0);
    run.ask(hub, id, &broken).expect(404).await;
}
