//! Loading into a stub.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::cli::exit::Exit;
use crate::cli::stub::{Answer, Asked, Stub, answer, json as json_answer};

fn table(folder: &Path, rows: u32) -> String {
    let mut text = "flight,carrier,dep_time\n".to_owned();
    for n in 0..rows {
        let carrier = ["UA", "AA", "9E", "UA"][n as usize % 4];
        writeln!(text, "{n},{carrier},").unwrap();
    }
    let path = folder.join("flights.csv");
    std::fs::write(&path, text).unwrap();
    std::fs::write(
        folder.join("airlines.csv"),
        "carrier,name\nUA,United Air Lines Inc.\nAA,American Airlines Inc.\n",
    )
    .unwrap();
    path.to_str().unwrap().to_owned()
}

fn stored() -> Answer {
    answer(201, &[], "{}")
}

/// The flights that each channel got, in the order in which they came.
fn flights(asked: &[Asked]) -> BTreeMap<String, Vec<u64>> {
    let mut flights = BTreeMap::<_, Vec<_>>::new();
    for post in asked.iter().filter(|asked| asked.method == "POST") {
        let row: Value = serde_json::from_slice(&post.body).unwrap();
        assert_eq!(row["dep_time"], Value::Null);
        let channel = post.target.rsplit('/').next().unwrap().to_owned();
        flights
            .entry(channel)
            .or_default()
            .push(row["flight"].as_u64().unwrap());
    }
    flights
}

#[tokio::test]
async fn rows_of_a_channel_keep_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = table(folder.path(), 1000);
    for connections in ["1", "2", "16"] {
        let stub = Stub::start(|_| stored()).await;
        let ran = stub
            .run(&[
                "load",
                "flights",
                &file,
                "--connections",
                connections,
                "--json",
            ])
            .await;
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
        let summary: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(summary["rows"], 1000);
        assert_eq!(
            summary["channels"],
            json!({"flights-UA": 500, "flights-AA": 250, "flights-9E": 250})
        );
        let asked = stub.asked();
        let flights = flights(&asked);
        assert_eq!(flights.values().map(Vec::len).sum::<usize>(), 1000);
        for (channel, numbers) in flights {
            assert!(numbers.is_sorted(), "{channel}: {numbers:?}");
        }
        let keys: BTreeSet<_> = asked
            .iter()
            .filter_map(|asked| asked.header("idempotency-key"))
            .collect();
        assert_eq!(keys.len(), 1000);
        assert!(keys.iter().all(|key| key.starts_with("flights.csv-")));
    }
}

#[tokio::test]
async fn channels_get_their_tags() {
    let folder = tempfile::tempdir().unwrap();
    let file = table(folder.path(), 3);
    let stub = Stub::start(|_| stored()).await;
    let ran = stub.run(&["load", "flights", &file, "--limit", "3"]).await;
    assert!(
        ran.out.starts_with("flights-9E          1\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("\n3 rows in "), "{}", ran.out);
    let config = |name: &str| -> Value {
        let asked = stub.asked();
        let line = format!("PUT /channel/{name}");
        let put = asked.iter().find(|asked| asked.line() == line).unwrap();
        serde_json::from_slice(&put.body).unwrap()
    };
    assert_eq!(
        config("flights-UA"),
        json!({"description": "Flights of United Air Lines Inc. (UA)",
               "tags": ["flights", "United-Air-Lines-Inc"]})
    );
    // A carrier that the list of airlines lacks goes by its code.
    assert_eq!(
        config("flights-9E"),
        json!({"description": "Flights of 9E", "tags": ["flights"]})
    );
}

#[tokio::test]
async fn a_busy_hub_is_tried_again_with_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = table(folder.path(), 8);
    let posts = AtomicU32::new(0);
    let stub = Stub::start(move |asked| {
        if asked.method == "POST" && posts.fetch_add(1, Ordering::SeqCst) < 2 {
            return json_answer(503, &json!({"error": "busy"}));
        }
        stored()
    })
    .await;
    let ran = stub
        .run(&["load", "flights", &file, "--connections", "1", "--json"])
        .await;
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&summary["rows"], &summary["retries"]),
        (&json!(8), &json!(2))
    );
    let asked = stub.asked();
    let posts: Vec<_> = asked
        .iter()
        .filter(|asked| asked.method == "POST")
        .collect();
    assert_eq!(posts.len(), 10);
    for retry in &posts[1..3] {
        assert_eq!(
            retry.header("idempotency-key"),
            posts[0].header("idempotency-key")
        );
        assert_eq!(retry.body, posts[0].body);
    }
}

#[tokio::test]
async fn a_refused_row_stops_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let file = table(folder.path(), 1000);
    let stub = Stub::start(|asked| {
        if asked.method == "POST" && asked.body.starts_with(b"{\"flight\":40,") {
            return json_answer(507, &json!({"error": "the disk is nearly full"}));
        }
        stored()
    })
    .await;
    let ran = stub
        .run(&["load", "flights", &file, "--connections", "1"])
        .await;
    assert_eq!(ran.exit, Exit::Failed);
    for said in [
        "stopped after 40 of 1000 rows",
        "nearly full",
        "load the file again",
    ] {
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[tokio::test]
async fn nothing_is_posted_of_a_broken_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = table(folder.path(), 10);
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str("1,UA\n");
    std::fs::write(&file, text).unwrap();
    let stub = Stub::start(|_| stored()).await;
    let ran = stub.run(&["load", "flights", &file]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(stub.asked().is_empty());
    std::fs::remove_file(folder.path().join("airlines.csv")).unwrap();
    std::fs::write(&file, "carrier\nUA\n").unwrap();
    let ran = stub.run(&["load", "flights", &file]).await;
    assert_eq!(ran.exit, Exit::Done);
    assert!(ran.err.contains("airlines go by their code"), "{}", ran.err);
    let missing = folder.path().join("none.csv");
    let ran = stub
        .run(&[
            "load",
            "flights",
            &file,
            "--airlines",
            missing.to_str().unwrap(),
        ])
        .await;
    assert_eq!(ran.exit, Exit::Failed);
}
