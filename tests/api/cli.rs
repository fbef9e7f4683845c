//! The commands that talk to a hub, against a real one.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::harness::{Hub, Setup, free_address, hub_command, unique};

/// Runs a command against the hub at that address; gives its end, output and remarks.
async fn run_at(server: &str, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut command = hub_command();
    command
        .args(arguments)
        .env("HUB_URL", server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_vec();
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may end without reading it.
        let _ = stdin.write_all(&input);
        drop(stdin);
        child.wait_with_output().unwrap()
    });
    let Output {
        status,
        stdout,
        stderr,
    } = ran.await.unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

async fn run(hub: &Hub, arguments: &[&str]) -> (i32, String, String) {
    run_at(&hub.base(), arguments, b"").await
}

/// The output of a command that does what it is asked for.
#[track_caller]
fn done((code, out, said): (i32, String, String)) -> String {
    assert_eq!(code, 0, "{said}");
    out
}

#[tokio::test]
async fn channels_are_created_listed_shown_and_deleted() {
    let hub = Hub::shared().await;
    let name = unique("Cli");
    let url = hub.url(&format!("/channel/{name}"));
    let create = [
        "channel",
        "create",
        &name,
        "--ttl-days",
        "7",
        "--owner",
        "me",
        "--tag",
        "b",
        "--tag",
        "a",
    ];
    assert_eq!(done(run(&hub, &create).await), format!("{url}\n"));
    let shown = hub.get(&url).await.expect(200).json();
    assert_eq!(
        (&shown["ttlDays"], &shown["owner"], &shown["tags"]),
        (&7.into(), &"me".into(), &serde_json::json!(["a", "b"]))
    );
    let (code, out, said) = run(&hub, &create).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.contains(&name) && said.contains("exists"), "{said}");

    let listed = done(run(&hub, &["channel", "ls"]).await);
    assert!(listed.lines().any(|line| line == name), "{listed}");
    let listed: Value =
        serde_json::from_str(&done(run(&hub, &["channel", "ls", "--json"]).await)).unwrap();
    assert!(listed["_links"]["channels"].is_array());

    let json = done(run(&hub, &["channel", "show", &name, "--json"]).await);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), shown);
    let text = done(run(&hub, &["channel", "show", &name]).await);
    assert!(
        text.contains("items for 7 days") && text.contains(&url),
        "{text}"
    );

    // Nobody is there to be asked.
    let (code, out, said) = run(&hub, &["channel", "rm", &name]).await;
    assert_eq!((code, out.as_str()), (2, ""), "{said}");
    assert!(said.contains("--yes"), "{said}");
    hub.get(&url).await.expect(200);
    done(run(&hub, &["channel", "rm", &name, "--yes"]).await);
    hub.get(&url).await.expect(404);
    for arguments in [
        &["channel", "show", &name][..],
        &["channel", "rm", &name, "--yes"],
        &["post", &name],
        &["get", &format!("{name}/latest")],
        &["tail", &name, "--no-follow"],
    ] {
        let (code, out, said) = run(&hub, arguments).await;
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}: {said}");
        assert!(said.contains("404"), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn items_are_posted_and_got() {
    let hub = Hub::shared().await;
    let name = hub.channel("cli-items").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("item.json");
    std::fs::write(&file, "{\"n\": 1}").unwrap();
    let file = file.to_str().unwrap();

    let posted = done(run(&hub, &["post", &name, file]).await);
    let item = hub.get(posted.trim_end()).await;
    let item = item.expect_text(200, "{\"n\": 1}");
    assert_eq!(item.header("content-type"), Some("application/json"));
    let typed = ["post", &name, "--content-type", "text/plain", "--json"];
    let out = done(run_at(&hub.base(), &typed, b"from input").await);
    let answer: Value = serde_json::from_str(&out).unwrap();
    let url = answer["_links"]["self"]["href"].as_str().unwrap();
    let item = hub.get(url).await.expect_text(200, "from input");
    assert_eq!(item.header("content-type"), Some("text/plain"));
    let keyed = ["post", &name, file, "--idempotency-key", "k"];
    let first = done(run(&hub, &keyed).await);
    assert_eq!(done(run(&hub, &keyed).await), first);
    assert_ne!(first, posted);

    let latest = format!("{name}/latest");
    assert_eq!(done(run(&hub, &["get", &latest]).await), "{\"n\": 1}");
    let head = done(run(&hub, &["get", "-i", &latest]).await);
    assert!(
        head.contains("303 See Other") && head.contains("200 OK"),
        "{head}"
    );
    assert_eq!(done(run(&hub, &["get", url]).await), "from input");
    let to = folder.path().join("out");
    let to = to.to_str().unwrap();
    assert_eq!(done(run(&hub, &["get", "-o", to, url]).await), "");
    assert_eq!(std::fs::read_to_string(to).unwrap(), "from input");
    let health = done(run(&hub, &["get", "/health"]).await);
    assert!(health.contains("\"healthy\":true"), "{health}");
    let (code, _, said) = run(&hub, &["get", &format!("{name}/2015/13/01")]).await;
    assert_eq!(code, 1);
    assert!(said.contains("month") && said.contains("13"), "{said}");
}

#[tokio::test]
async fn what_the_hub_refuses_is_told() {
    let hub = Setup::new().set("LIMITS_ITEM_BYTES", 1000).start().await;
    let name = hub.channel("cli-refused").await;
    // The hub says so long before all of it was sent.
    let input = vec![b'x'; 20 << 20];
    let (code, out, said) = run_at(&hub.base(), &["post", &name], &input).await;
    assert_eq!((code, out.as_str()), (1, ""), "{said}");
    assert!(
        said.contains("413") && said.contains("1000 bytes"),
        "{said}"
    );
    let typed = ["post", &name, "--content-type", "nonsense"];
    let (code, _, said) = run_at(&hub.base(), &typed, b"x").await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("400") && said.contains("Content-Type"),
        "{said}"
    );
}

#[tokio::test]
async fn tail_prints_the_latest_items() {
    let hub = Hub::shared().await;
    let name = hub.channel("cli-tail").await;
    assert_eq!(done(run(&hub, &["tail", &name, "--no-follow"]).await), "");
    let urls = hub.insert_many(&name, 12).await;
    let lines = |range: std::ops::Range<usize>| {
        let line = |number| format!("item {number}\n");
        range.map(line).collect::<String>()
    };
    let tail = ["tail", &name, "--no-follow"];
    assert_eq!(done(run(&hub, &tail).await), lines(2..12));
    let some = ["tail", &name, "--no-follow", "-n", "3"];
    assert_eq!(done(run(&hub, &some).await), lines(9..12));
    let all = ["tail", &name, "--no-follow", "-n", "100"];
    assert_eq!(done(run(&hub, &all).await), lines(0..12));
    let json = ["tail", &name, "--no-follow", "-n", "1", "--json"];
    let line: Value = serde_json::from_str(&done(run(&hub, &json).await)).unwrap();
    assert_eq!(
        (&line["url"], &line["body"]),
        (&urls[11].as_str().into(), &"item 11".into())
    );
}

#[tokio::test]
async fn a_table_of_flights_is_loaded_once() {
    let hub = Setup::new().start().await;
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/flights-2013-01.csv.gz");
    let table = table.to_str().unwrap();
    let load = ["load", "flights", table, "--limit", "2000", "--json"];
    let mut counts = Vec::new();
    for _ in 0..2 {
        let summary: Value = serde_json::from_str(&done(run(&hub, &load).await)).unwrap();
        assert_eq!(summary["rows"], 2000, "{summary}");
        let channels = summary["channels"].as_object().unwrap().clone();
        let rows: u64 = channels.values().map(|rows| rows.as_u64().unwrap()).sum();
        assert_eq!(rows, 2000);
        // Loading it again adds nothing.
        for (name, rows) in &channels {
            let listed = hub.get(&format!("/channel/{name}/latest/9999")).await;
            let uris = listed.expect(200).uris();
            assert_eq!(uris.len() as u64, rows.as_u64().unwrap(), "{name}");
        }
        counts.push(channels);
    }
    assert_eq!(counts[0], counts[1]);
    let listed = done(run(&hub, &["channel", "ls"]).await);
    assert_eq!(listed.lines().count(), counts[0].len());
    let (name, _) = counts[0].iter().next().unwrap();
    let flight = done(run(&hub, &["get", &format!("{name}/earliest")]).await);
    let flight: Value = serde_json::from_str(&flight).unwrap();
    assert!(
        name.ends_with(flight["carrier"].as_str().unwrap()),
        "{flight}"
    );
}

#[tokio::test]
async fn a_table_of_flights_is_loaded_at_its_own_times() {
    let hub = Setup::new().start().await;
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/flights-2013-01.csv.gz");
    let table = table.to_str().unwrap();
    let load = |limit| {
        [
            "load",
            "flights",
            table,
            "--historical",
            "--verify",
            "--limit",
            limit,
            "--json",
        ]
    };
    // Some of it first, then more, and then nothing that is new.
    for limit in ["300", "1000", "1000"] {
        let summary: Value = serde_json::from_str(&done(run(&hub, &load(limit)).await)).unwrap();
        let rows: u64 = limit.parse().unwrap();
        assert_eq!(
            (&summary["rows"], &summary["verified"]),
            (&rows.into(), &rows.into())
        );
        let mut listed = 0;
        for (name, rows) in summary["channels"].as_object().unwrap() {
            let path = format!("/channel/{name}/latest/9999?epoch=MUTABLE");
            let uris = hub.get(&path).await.expect(200).uris();
            assert_eq!(uris.len() as u64, rows.as_u64().unwrap(), "{name}");
            assert!(
                uris[0].contains(&format!("/channel/{name}/2013/01/01/")),
                "{}",
                uris[0]
            );
            hub.get(&format!("/channel/{name}/latest"))
                .await
                .expect(404);
            listed += uris.len();
        }
        assert_eq!(listed as u64, rows);
    }
    let of_tag = hub.get("/tag/historical/2013/01/01?epoch=MUTABLE").await;
    assert!(of_tag.expect(200).uris().len() > 500);
}

#[tokio::test]
async fn nobody_there_is_3() {
    // A port at which nobody listens any more.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for arguments in [
        &["channel", "ls"][..],
        &["channel", "create", "x"],
        &["channel", "rm", "x", "-y"],
        &["post", "x"],
        &["get", "x/latest"],
        &["tail", "x"],
    ] {
        let (code, out, said) = run_at(&server, arguments, b"x").await;
        assert_eq!((code, out.as_str()), (3, ""), "{arguments:?}: {said}");
        assert!(
            said.contains(&server) && said.contains("hub serve"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_2() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["channel"],
        &["channel", "create"],
        &[
            "channel",
            "create",
            "x",
            "--ttl-days",
            "1",
            "--max-items",
            "1",
        ],
        &["channel", "show", "a/b"],
        &["tail", "x", "-n", "-1"],
        &["get", "ftp://x"],
        &["--server", "nowhere", "channel", "ls"],
        &["completions", "nonsense"],
    ] {
        let (code, out, said) = run_at("http://127.0.0.1:9", arguments, b"").await;
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {said}");
        assert!(!said.is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["help", "channel"]] {
        done(run_at("http://127.0.0.1:9", arguments, b"").await);
    }
}

#[tokio::test]
async fn shells_can_complete_it() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = done(run_at("http://127.0.0.1:9", &["completions", shell], b"").await);
        for word in ["hub", "channel", "completions", "no-follow"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
}

#[tokio::test]
async fn operators_see_the_cluster_and_its_rings() {
    let ops = free_address();
    let hub = Setup::new().set("OPS_LISTEN", ops).start().await;
    let ops = format!("http://{ops}");
    let run = async |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--ops", &ops]).collect();
        run_at("http://127.0.0.1:9", &arguments, b"").await
    };
    let page = hub.get("/internal/cluster").await.expect(200).json();
    let member = page["member"].as_str().unwrap();

    let status = done(run(&["cluster", "status"]).await);
    assert!(status.contains("connected since"), "{status}");
    let row = status.lines().find(|line| line.starts_with(member));
    let row: Vec<&str> = row.unwrap().split_whitespace().collect();
    assert_eq!(&row[1..5], ["ready", "ok", "in", "self"], "{status}");
    let json = done(run(&["cluster", "status", "--json"]).await);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["ring"], page["ring"]);
    assert_eq!(json["health"].as_object().unwrap().len(), 1);

    let shown = done(run(&["ring", "show"]).await);
    assert!(shown.starts_with("ring 1, in force since "), "{shown}");
    assert!(shown.ends_with(&format!("\n  {member}\n")), "{shown}");
    let history = done(run(&["ring", "history"]).await);
    assert!(history.contains(&format!("+{member}")), "{history}");
    let place = done(run(&["ring", "where", "orders"]).await);
    assert!(
        place.ends_with(&format!("  {member}  coordinator\n")),
        "{place}"
    );
    let (code, out, said) = run(&["ring", "where", "orders", "--at", "2001-01-01"]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{said}");
    let (code, _, said) = run(&["ring", "where", "orders", "--at", "yesterday"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("ISO 8601"), "{said}");

    let recover = done(run(&["cluster", "recover"]).await);
    assert_eq!(recover, "ring 1 has 1 members, 0 of them away\n");
    let (code, _, said) = run(&["cluster", "recover", "--yes"]).await;
    assert_eq!(code, 1);
    assert!(said.contains("nothing to do"), "{said}");
    let (code, out, said) = run(&["cluster", "recover", "--without", member, "--yes"]).await;
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("cannot be done") && said.contains("is there"),
        "{out}{said}"
    );
    // What did nothing has changed nothing.
    assert_eq!(
        hub.get("/internal/cluster").await.json()["ring"],
        page["ring"]
    );
}

#[tokio::test]
async fn operators_are_told_where_nobody_answers_them() {
    let line = ["ring", "show", "--ops", "http://127.0.0.1:9"];
    let (code, out, said) = run_at("http://127.0.0.1:9", &line, b"").await;
    assert_eq!((code, out.as_str()), (3, ""), "{said}");
    assert!(said.contains("HUB_OPS_URL"), "{said}");
}
