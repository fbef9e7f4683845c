//! A tail of a channel that a stub keeps.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::time::timeout;

use super::progress::key_of;
use super::*;
use crate::cli::args::{Cli, ClientCommand, Command};
use crate::cli::exit::Exit;
use crate::cli::stub::{Answer, Asked, Stub, answer, json as json_answer};

const LIMIT: Duration = Duration::from_secs(20);

fn key(second: u32) -> ItemKey {
    key_of(&format!("/2024/05/01/09/15/{second:02}/123/0000aa")).unwrap()
}

/// The items of the channel `x`.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<(ItemKey, Bytes)>>>);

impl Kept {
    fn add(&self, second: u32, payload: &'static [u8]) {
        let item = (key(second), Bytes::from_static(payload));
        self.0.lock().unwrap().push(item);
    }

    /// Answers as a hub does that has them.
    fn answer(&self, asked: &Asked) -> Answer {
        let items = self.0.lock().unwrap().clone();
        let list = |keys: Vec<ItemKey>| {
            let uris: Vec<_> = keys
                .iter()
                .map(|key| format!("http://elsewhere/channel/x/{key}"))
                .collect();
            json_answer(200, &json!({"_links": {"uris": uris}}))
        };
        let keys = items.iter().map(|(key, _)| *key);
        let Some(path) = asked.target.strip_prefix("/channel/x") else {
            return answer(404, &[], "");
        };
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return json_answer(200, &json!({"name": "x"}));
        }
        if let Some(count) = path.strip_prefix("latest/") {
            let skipped = items.len().saturating_sub(count.parse().unwrap());
            let keys: Vec<_> = keys.skip(skipped).collect();
            return if keys.is_empty() {
                answer(404, &[], "")
            } else {
                list(keys)
            };
        }
        if path.starts_with("earliest/") {
            let keys: Vec<_> = keys.collect();
            return if keys.is_empty() {
                answer(404, &[], "")
            } else {
                list(keys)
            };
        }
        if let Some((start, _)) = path.split_once("/next/") {
            let start = key_of(&format!("/{start}")).unwrap();
            return list(keys.filter(|key| *key > start).collect());
        }
        let wanted = key_of(&format!("/{path}")).unwrap();
        match items.into_iter().find(|(key, _)| *key == wanted) {
            Some((_, payload)) => answer(200, &[("content-type", "text/plain")], payload),
            None => answer(404, &[], ""),
        }
    }
}

/// Output that another task can look at.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    async fn until(&self, expected: &str) {
        let seen = timeout(LIMIT, async {
            while self.text() != expected {
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(
            seen.await.is_ok(),
            "got {:?}, not {expected:?}",
            self.text()
        );
    }
}

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until that holds.
async fn soon(holds: impl Fn() -> bool) {
    let held = timeout(LIMIT, async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(held.await.is_ok());
}

fn args(line: &[&str]) -> TailArgs {
    let cli = <Cli as clap::Parser>::try_parse_from(["hub", "tail"].iter().chain(line)).unwrap();
    match cli.command {
        Command::Client(ClientCommand::Tail(args)) => args,
        other => unreachable!("{other:?}"),
    }
}

/// Runs `test` beside a tail, which is stopped when it ends.
async fn beside(stub: &Stub, line: &[&str], seen: &Seen, test: impl Future<Output = ()>) -> String {
    let said = Seen::default();
    let client = Client::new(&stub.url()).unwrap();
    let mut out = Output::new(seen.clone(), said.clone(), None);
    tokio::select! {
        ended = run(args(line), &client, &mut out) => unreachable!("tail ended: {ended:?}"),
        () = test => {}
    }
    drop(out);
    said.text()
}

#[tokio::test]
async fn prints_the_latest_and_ends() {
    let kept = Kept::default();
    kept.add(1, b"one");
    kept.add(2, b"two\n");
    kept.add(3, b"");
    let stub = Stub::start(move |asked| kept.answer(asked)).await;
    let ran = stub.run(&["tail", "x", "--no-follow"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "one\ntwo\n\n"));
    let ran = stub.run(&["tail", "x", "--no-follow", "-n", "2"]).await;
    assert_eq!(ran.out, "two\n\n");
    let ran = stub.run(&["tail", "x", "--no-follow", "-n", "0"]).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, ""));
}

#[tokio::test]
async fn an_unknown_channel_is_refused() {
    let stub = Stub::start(|_| answer(404, &[], "y")).await;
    let ran = stub.run(&["tail", "y"]).await;
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.err.contains("/channel/y: 404"), "{}", ran.err);
}

#[tokio::test]
async fn json_has_a_line_for_each_item() {
    let kept = Kept::default();
    kept.add(1, b"a\n\"b\"");
    kept.add(2, b"\xff\xfe");
    let stub = Stub::start(move |asked| kept.answer(asked)).await;
    let ran = stub.run(&["tail", "x", "--no-follow", "--json"]).await;
    let (first, second) = (key(1), key(2));
    let url = stub.url();
    assert_eq!(
        ran.out,
        format!(
            "{{\"url\":\"{url}channel/x/{first}\",\"key\":\"{first}\",\"contentType\":\"text/plain\",\
             \"body\":\"a\\n\\\"b\\\"\"}}\n{{\"url\":\"{url}channel/x/{second}\",\
             \"key\":\"{second}\",\"contentType\":\"text/plain\",\"bytes\":2}}\n"
        )
    );
}

#[tokio::test]
async fn follows_from_nothing() {
    let kept = Kept::default();
    let hub = kept.clone();
    let stub = Stub::start(move |asked| hub.answer(asked)).await;
    let seen = Seen::default();
    let test = async {
        // It has seen that there is nothing.
        let asks = |asked: &Asked| asked.target.contains("/latest/");
        soon(|| stub.asked().iter().any(asks)).await;
        kept.add(1, b"one");
        seen.until("one\n").await;
        kept.add(2, b"two");
        seen.until("one\ntwo\n").await;
    };
    assert_eq!(beside(&stub, &["x"], &seen, test).await, "");
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_while_the_hub_is_away() {
    let kept = Kept::default();
    kept.add(1, b"one");
    let hub = kept.clone();
    let stub = Stub::start(move |asked| hub.answer(asked)).await;
    let address = stub.address;
    let (client, seen, said) = (
        Client::new(&stub.url()).unwrap(),
        Seen::default(),
        Seen::default(),
    );
    let mut out = Output::new(seen.clone(), said.clone(), None);
    let test = async {
        seen.until("one\n").await;
        stub.stop().await;
        kept.add(2, b"two");
        kept.add(3, b"three");
        soon(|| said.text().contains("waiting for it")).await;
        // It comes up again, is not ready at first, and loses one read half-way.
        let hub = kept.clone();
        let asked_so_far = Mutex::new(0);
        let stub = Stub::at(address, move |asked| {
            let mut count = asked_so_far.lock().unwrap();
            *count += 1;
            let third = asked.target.contains("/15/03/");
            if *count == 1 || (*count < 6 && third) {
                return json_answer(503, &json!({"error": "joining"}));
            }
            hub.answer(asked)
        })
        .await;
        seen.until("one\ntwo\nthree\n").await;
        kept.add(4, b"four");
        seen.until("one\ntwo\nthree\nfour\n").await;
        drop(stub);
    };
    let line = args(&["x"]);
    tokio::select! {
        ended = run(line, &client, &mut out) => unreachable!("tail ended: {ended:?}"),
        () = test => {}
    }
    let said = said.text();
    assert!(said.contains("waiting for it"), "{said}");
    assert!(said.contains("hub: back"), "{said}");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    kept.add(1, b"one");
    let stub = Stub::start(move |asked| kept.answer(asked)).await;
    let client = Client::new(&stub.url()).unwrap();
    let mut said = Vec::new();
    let mut out = Output::new(Gone, &mut said, None);
    let ended = timeout(LIMIT, run(args(&["x"]), &client, &mut out))
        .await
        .unwrap();
    assert_eq!(crate::cli::ended_with(ended, &mut out), Exit::Done);
    drop(out);
    assert!(said.is_empty());
}
