//! Command lines, and what they make of a hub's answers.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use serde_json::{Value, json};

use super::args::{Cli, ClientCommand, Command, ConfigCommand};
use super::exit::Exit;
use super::stub::{Answer, Asked, Stub, answer, json as json_answer, run_at};

const ITEM: &str = "2024/05/01/09/15/00/123/a1B2c3";

fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["hub"].iter().chain(line))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_with_an_example() {
    fn check(command: &clap::Command) {
        for sub in command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help")
        {
            let help = sub.clone().render_long_help().to_string();
            assert!(help.contains("Examples:\n  hub "), "{help}");
            check(sub);
        }
    }
    let mut command = Cli::command();
    command.build();
    check(&command);
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("Exit codes:"), "{help}");
}

#[test]
fn addresses_may_stand_anywhere() {
    let before = parse(&["--server", "http://a:1", "channel", "ls"]).unwrap();
    let after = parse(&["channel", "ls", "--server", "http://a:1"]).unwrap();
    assert_eq!(before.hub.server.as_str(), "http://a:1/");
    assert_eq!(after.hub.server, before.hub.server);
    assert!(parse(&["channel", "ls", "--server", "a:1"]).is_err());
}

#[test]
fn the_server_commands_take_a_config() {
    let cli = parse(&["serve", "--config", "a.toml"]).unwrap();
    assert!(matches!(cli.command, Command::Serve(args) if args.config == Some("a.toml".into())));
    let cli = parse(&["config", "check", "--config", "a.toml"]).unwrap();
    assert!(matches!(cli.command, Command::Config(args)
        if args.command == ConfigCommand::Check && args.config == Some("a.toml".into())));
}

#[test]
fn tail_follows_unless_told_not_to() {
    let tail = |line: &[&str]| match parse(line).unwrap().command {
        Command::Client(ClientCommand::Tail(args)) => args,
        other => unreachable!("{other:?}"),
    };
    assert!(!tail(&["tail", "x"]).no_follow);
    assert_eq!(tail(&["tail", "x"]).number, 10);
    assert!(!tail(&["tail", "x", "-f"]).no_follow);
    assert!(tail(&["tail", "x", "--no-follow", "-n", "0"]).no_follow);
    assert!(!tail(&["tail", "x", "--no-follow", "--follow"]).no_follow);
    assert!(parse(&["tail", "x", "-n", "10001"]).is_err());
}

#[test]
fn retentions_exclude_each_other() {
    let refused = parse(&[
        "channel",
        "create",
        "x",
        "--ttl-days",
        "1",
        "--keep-forever",
    ]);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ArgumentConflict);
    for bad in ["", ".", "..", "a/b"] {
        assert!(
            parse(&["channel", "show", bad]).is_err(),
            "{bad:?} was accepted"
        );
    }
}

/// Answers as a hub with the channel `orders` and one item in it.
fn hub(asked: &Asked) -> Answer {
    let host = asked.header("host").unwrap().to_owned();
    let at = |path: &str| format!("http://{host}{path}");
    match asked.line().as_str() {
        "GET /channel" => json_answer(
            200,
            &json!({"_links": {"self": {"href": at("/channel")},
                "channels": [{"name": "Audit", "href": at("/channel/Audit")},
                             {"name": "orders", "href": at("/channel/orders")}]}}),
        ),
        "GET /channel/orders" | "POST /channel" => json_answer(
            if asked.method == "POST" { 201 } else { 200 },
            &json!({"name": "orders", "ttlDays": 7, "tags": ["eu"],
                "_links": {"self": {"href": at("/channel/orders")}}}),
        ),
        "POST /channel/orders" => answer(
            201,
            &[
                ("content-type", "application/json"),
                ("location", &at(&format!("/channel/orders/{ITEM}"))),
            ],
            r#"{"timestamp":"2024-05-01T09:15:00.123Z"}"#,
        ),
        "DELETE /channel/orders" => answer(202, &[], ""),
        "GET /channel/orders/latest" => answer(
            303,
            &[("location", &at(&format!("/channel/orders/{ITEM}")))],
            "",
        ),
        "GET /channel/orders/2024/05/01/09/15/00/123/a1B2c3" => {
            answer(200, &[("content-type", "text/plain")], "hello")
        }
        "GET /channel/loop" => answer(303, &[("location", "/channel/loop")], ""),
        "GET /channel/busy" => json_answer(
            503,
            &json!({"error": "too few replicas", "reason": "joining", "missing": ["b.example"]}),
        ),
        _ => answer(404, &[], "nothing"),
    }
}

#[tokio::test]
async fn channels_are_listed() {
    let stub = Stub::start(hub).await;
    let ran = stub.run(&["channel", "ls"]).await;
    assert_eq!(
        (ran.exit, ran.out.as_str()),
        (Exit::Done, "Audit\norders\n")
    );
    let ran = stub.run(&["channel", "ls", "--json"]).await;
    let listed: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(listed["_links"]["channels"][1]["name"], "orders");
    assert_eq!(stub.asked()[0].header("accept"), Some("application/json"));
}

#[tokio::test]
async fn channels_are_created_and_shown() {
    let stub = Stub::start(hub).await;
    let ran = stub
        .run(&[
            "channel",
            "create",
            "orders",
            "--ttl-days",
            "7",
            "--tag",
            "eu",
        ])
        .await;
    assert_eq!(ran.exit, Exit::Done);
    assert_eq!(ran.out, format!("{}channel/orders\n", stub.url()));
    let sent = &stub.asked()[0];
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(
        body,
        json!({"name": "orders", "ttlDays": 7, "tags": ["eu"]})
    );

    let ran = stub.run(&["channel", "show", "orders"]).await;
    assert!(
        ran.out.contains("keeps        items for 7 days\n"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn a_channel_is_deleted_only_if_somebody_is_sure() {
    let stub = Stub::start(hub).await;
    let rm = ["channel", "rm", "orders"];
    let ran = stub.run(&rm).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("--yes"), "{}", ran.err);
    let ran = run_at(stub.url().as_str(), &rm, Some("n\n")).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(
        ran.err
            .starts_with("delete channel orders and all its items? [y/N]"),
        "{}",
        ran.err
    );
    assert!(stub.asked().is_empty());
    let ran = run_at(stub.url().as_str(), &rm, Some("y\n")).await;
    assert_eq!(
        (ran.exit, ran.out.as_str()),
        (Exit::Done, "deleted orders\n")
    );
    let ran = stub.run(&["channel", "rm", "orders", "--yes"]).await;
    assert_eq!(ran.exit, Exit::Done);
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn a_file_is_posted_as_it_is() {
    let stub = Stub::start(hub).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.json");
    let content: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&file, &content).unwrap();
    let file = file.to_str().unwrap();

    let ran = stub.run(&["post", "orders", file]).await;
    assert_eq!(
        ran.out,
        format!("{}channel/orders/{ITEM}\n", stub.url()),
        "{}",
        ran.err
    );
    let ran = stub
        .run(&[
            "post",
            "orders",
            file,
            "--json",
            "--idempotency-key",
            "k",
            "--content-type",
            "a/b",
        ])
        .await;
    assert_eq!(ran.out, "{\"timestamp\":\"2024-05-01T09:15:00.123Z\"}\n");

    let asked = stub.asked();
    for sent in &asked {
        assert!(sent.body == content, "the payload changed on its way");
        assert_eq!(sent.header("content-length"), Some("1000000"));
        assert_eq!(sent.header("transfer-encoding"), None);
    }
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    assert_eq!(asked[0].header("idempotency-key"), None);
    assert_eq!(asked[1].header("content-type"), Some("a/b"));
    assert_eq!(asked[1].header("idempotency-key"), Some("k"));

    let ran = stub.run(&["post", "orders", "/no/such/file"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("cannot read /no/such/file"), "{}", ran.err);
    let ran = stub
        .run(&["post", "orders", folder.path().to_str().unwrap()])
        .await;
    assert_eq!(ran.exit, Exit::Failed);
    let ran = stub
        .run(&["post", "orders", file, "--idempotency-key", "a\nb"])
        .await;
    assert_eq!(ran.exit, Exit::Usage);
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn an_empty_file_is_an_item_too() {
    let stub = Stub::start(hub).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let ran = stub
        .run(&["post", "orders", file.path().to_str().unwrap()])
        .await;
    assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
    assert_eq!(stub.asked()[0].header("content-length"), Some("0"));
}

#[tokio::test]
async fn get_follows_redirects() {
    let stub = Stub::start(hub).await;
    let url = format!("{}channel/orders/latest", stub.url());
    for target in [
        "orders/latest",
        "/channel/orders/latest",
        "channel/orders/latest",
        &url,
    ] {
        let ran = stub.run(&["get", target]).await;
        assert_eq!(
            (ran.exit, ran.out.as_str()),
            (Exit::Done, "hello"),
            "{target}"
        );
    }
    let ran = stub.run(&["get", "-i", "orders/latest"]).await;
    assert!(
        ran.out.starts_with("HTTP/1.1 303 See Other\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("\n\nHTTP/1.1 200 OK\n"), "{}", ran.out);
    assert!(ran.out.ends_with("\n\nhello"), "{}", ran.out);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("item");
    let ran = stub
        .run(&["get", "orders/latest", "-o", file.to_str().unwrap()])
        .await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, ""));
    assert_eq!(std::fs::read(file).unwrap(), b"hello");

    let ran = stub.run(&["get", "loop"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("redirects"), "{}", ran.err);
}

#[tokio::test]
async fn a_refusal_is_repeated_with_advice() {
    let stub = Stub::start(hub).await;
    let ran = stub.run(&["get", "absent/latest"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert_eq!(
        ran.err,
        format!(
            "hub: GET {}channel/absent/latest: 404 Not Found\n  said: nothing\nhub: `hub channel \
             ls` lists the channels, `hub channel create NAME` makes one\n",
            stub.url()
        )
    );
    let ran = stub.run(&["get", "busy"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    for said in [
        "too few replicas",
        "reason: joining",
        "b.example",
        "try again",
    ] {
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    let ran = stub.run(&["get", "ftp://x"]).await;
    assert_eq!(ran.exit, Exit::Usage);
}

#[tokio::test]
async fn nobody_there_is_exit_3() {
    let stub = Stub::start(hub).await;
    let server = stub.url().to_string();
    stub.stop().await;
    let commands: [&[&str]; 4] = [
        &["channel", "ls"],
        &["get", "orders/latest"],
        &["tail", "orders"],
        &["post", "orders", "/dev/null"],
    ];
    for line in commands {
        let ran = run_at(&server, line, None).await;
        assert_eq!(ran.exit, Exit::Unreachable, "{line:?}: {}", ran.err);
        assert!(ran.err.contains("refused"), "{}", ran.err);
        assert!(ran.err.contains("hub serve"), "{}", ran.err);
    }
}

#[tokio::test]
async fn what_is_no_hub_is_told_so() {
    let stub = Stub::start(|_| answer(200, &[], "<html>welcome</html>")).await;
    let ran = stub.run(&["channel", "ls"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(
        ran.err.contains("does not answer as a hub does"),
        "{}",
        ran.err
    );
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let cli = parse(&["completions", shell]).unwrap();
        let Command::Completions { shell } = cli.command else {
            unreachable!("completions were parsed as something else");
        };
        let mut script = Vec::new();
        let mut out = super::Output::new(&mut script, std::io::sink(), None);
        super::completions(shell, &mut out).unwrap();
        drop(out);
        assert!(String::from_utf8(script).unwrap().contains("tail"));
    }
}
