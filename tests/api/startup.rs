//! What keeps a hub from starting, and how it says so.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

use crate::harness::{Setup, eventually, hub_command};

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (variable, setting) in [("HTTP_LISTEN", "http.listen"), ("OPS_LISTEN", "ops.listen")] {
        let setup = Setup::new().set(variable, address);
        let (status, log) = setup.run_to_its_end();
        assert_eq!(status.code(), Some(1), "{log}");
        let last = log.lines().last().unwrap();
        assert!(
            last.contains(setting) && last.contains(&address.to_string()),
            "{log}"
        );
    }
}

#[test]
fn every_line_for_machines_says_who_wrote_it() {
    let setup = Setup::new().set("LOG_FORMAT", "json");
    let mut hub = setup.command().spawn().unwrap();
    let mut line = String::new();
    let mut log = BufReader::new(hub.stderr.take().unwrap());
    log.read_line(&mut line).unwrap();
    hub.kill().unwrap();
    hub.wait().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(!line["node"].as_str().unwrap().is_empty(), "{line}");
}

#[tokio::test]
async fn a_data_folder_has_one_hub() {
    let setup = Setup::new();
    let hub = setup.start().await;
    let (status, log) = setup.run_to_its_end();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.contains(&hub.pid().to_string()), "{log}");
    assert!(
        last.contains(&setup.folder().display().to_string()),
        "{log}"
    );
    // The first one is none the worse for it.
    let name = hub.channel("undisturbed").await;
    hub.insert(&name, "x").await;
    hub.kill().await;
    // What held the folder is gone with its process.
    setup
        .start()
        .await
        .get(&format!("/channel/{name}/latest"))
        .await
        .expect(303);
}

#[tokio::test]
async fn a_hub_that_is_not_ready_says_so_and_nothing_else() {
    let setup = Setup::new();
    let hub = setup.start().await;
    let name = hub.channel("early").await;
    let item = hub.insert(&name, "x").await;
    let item = hub.path_of(&item).to_owned();
    hub.kill().await;
    // It is ready soon; whoever asks first sees that it was not.
    eventually("it was asked before it was ready", async || {
        let hub = setup.start_only().await;
        let mut early = 0;
        for path in [
            &item,
            &format!("/channel/{name}"),
            "/channel",
            "/channel/nowhere",
        ] {
            let answer = hub.get(path).await;
            if answer.status == 503 {
                early += 1;
                assert!(answer.header("retry-after").is_some(), "{path}");
                let body = answer.json();
                assert!(
                    body["error"].is_string() && body["reason"].is_string(),
                    "{body}"
                );
            } else {
                answer.expect(if path.ends_with("nowhere") { 404 } else { 200 });
            }
        }
        let health = hub.get("/health").await;
        if health.status == 503 {
            assert_eq!(health.json()["healthy"], false);
            hub.get("/health/live").await.expect(200);
        }
        hub.kill().await;
        (early == 4).then_some(())
    })
    .await;
    let hub = setup.start().await;
    hub.get(&item).await.expect_text(200, "x");
}

#[tokio::test]
async fn every_wrong_setting_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    std::fs::write(
        &file,
        "[http]\nlisten = \"nowhere\"\nlisten_backlog = 5\n[limits]\nitem_bytes = \"2 GiB\"\n\
         inflight_bytes = \"1 GiB\"\n[nodes]\n",
    )
    .unwrap();
    let path = file.display().to_string();
    for command in [
        &["config", "check", "--config", &path][..],
        &["config", "print", "--config", &path],
        &["serve", "--config", &path],
    ] {
        let ended = hub_command()
            .args(command)
            .env("HUB_LOG_LEVEL", "loud")
            .env("HUB_SPOKE_SEGMENTS", "5")
            .env("HUB_NODE_DATA_DIR", folder.path().join("data"))
            .output()
            .unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(2), "{command:?}: {said}");
        assert_eq!(ended.stdout, b"");
        for wrong in [
            "http.listen",
            "http.listen_backlog",
            "nodes",
            "HUB_LOG_LEVEL",
            "HUB_SPOKE_SEGMENTS",
        ] {
            assert!(said.contains(wrong), "{command:?}: no {wrong} in {said}");
        }
        // Where it stands in the file.
        assert!(said.contains(&format!("{path}:2:")), "{said}");
    }
    assert!(!folder.path().join("data").exists());
    // What does not go together is named once all else is right.
    std::fs::write(
        &file,
        "[limits]\nitem_bytes = \"2 GiB\"\ninflight_bytes = \"1 GiB\"\n",
    )
    .unwrap();
    let check = || {
        let mut command = hub_command();
        command.args(["config", "check", "--config", &path]);
        command.output().unwrap()
    };
    let ended = check();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("limits.item_bytes") && said.contains("limits.inflight_bytes"));
    std::fs::write(
        &file,
        "[limits]\nitem_bytes = \"2 GiB\"\ninflight_bytes = \"2 GiB\"\n",
    )
    .unwrap();
    let ended = check();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.stdout.is_empty());
}

#[tokio::test]
async fn settings_come_from_the_file_and_the_environment_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    std::fs::write(
        &file,
        "[channel]\nttl_days = 5\n[read]\nstable_seconds = 9\n",
    )
    .unwrap();
    let ended = hub_command()
        .args(["config", "print"])
        .env("HUB_CONFIG", &file)
        .env("HUB_READ_STABLE_SECONDS", "7")
        .output()
        .unwrap();
    let printed = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{printed}");
    for line in [
        "ttl_days = 5 # default: 120",
        "stable_seconds = 7 # default: 0",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{printed}");
    }
    // A hub does what is printed.
    let setup = Setup::new().set("CHANNEL_TTL_DAYS", 5);
    let hub = setup.start().await;
    let name = hub.channel("brief").await;
    let shown = hub.get(&format!("/channel/{name}")).await.json();
    assert_eq!(shown["ttlDays"], 5);
}
