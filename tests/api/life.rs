//! How a hub stops: in order, at once, and with what is under way.

use std::time::{Duration, Instant};

use http::Method;
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{Hub, Setup, eventually, key_of};

async fn is_draining(hub: &Hub) {
    eventually("health is 503", async || {
        let answer = hub.get("/health").await;
        (answer.status == 503).then_some(())
    })
    .await;
}

async fn takes_no_connections(hub: &Hub) {
    eventually("no connection is taken", async || {
        TcpStream::connect(hub.address())
            .await
            .is_err()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hub_that_is_asked_to_stop_serves_on_until_that_was_noticed() {
    let setup = Setup::new().set("SHUTDOWN_DELAY_SECONDS", 3600);
    let hub = setup.start().await;
    let name = hub.channel("drained").await;
    hub.signal(Signal::TERM);
    is_draining(&hub).await;
    let health = hub.get("/health").await.expect(503).json();
    assert_eq!(health["healthy"], false);
    let text = health["description"].as_str().unwrap();
    assert!(!text.is_empty() && text != "OK", "{text}");
    assert!(health["version"].is_string() && health["_links"]["metrics"].is_object());
    hub.get("/health/live").await.expect(200);
    // Whoever has not noticed yet is served, on new connections, too.
    for number in 0..3 {
        let connection = hub.again();
        let item = connection.insert(&name, format!("{number}")).await;
        connection
            .get(&item)
            .await
            .expect_text(200, &format!("{number}"));
    }
    hub.send_json(Method::PUT, "/channel/late", &json!({}))
        .await
        .expect(201);
}

#[tokio::test]
async fn it_stops_once_the_time_to_notice_is_over() {
    let setup = Setup::new().set("SHUTDOWN_DELAY_SECONDS", 1);
    let hub = setup.start().await;
    let name = hub.channel("noticed").await;
    let item = hub.insert(&name, "x").await;
    let told = Instant::now();
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended().await.code(), Some(0), "{}", hub.log());
    assert!(told.elapsed() >= Duration::from_secs(1));
    let path = format!("/channel/{name}/{}", key_of(&item));
    setup.start().await.get(&path).await.expect_text(200, "x");
}

#[tokio::test]
async fn what_is_under_way_is_finished() {
    let setup = Setup::new();
    let hub = setup.start().await;
    let name = hub.channel("underway").await;
    let large = hub.insert(&name, vec![b'x'; 24 << 20]).await;
    let mut idle = hub.raw().await;
    idle.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    idle.answer().await.expect(200);
    let mut writing = hub.raw().await;
    writing
        .send(format!(
            "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\
             Expect: 100-continue\r\n\r\n"
        ))
        .await;
    // Told to go on: it is being read.
    writing.head().await.expect(100);
    writing.send("01234").await;
    let mut reading = hub.raw().await;
    reading
        .send(format!(
            "GET {} HTTP/1.1\r\nHost: h\r\n\r\n",
            hub.path_of(&large)
        ))
        .await;
    reading.head().await.expect(200);

    hub.signal(Signal::TERM);
    takes_no_connections(&hub).await;
    assert_eq!(
        idle.until_closed().await,
        b"",
        "an idle connection is closed"
    );
    writing.send("56789").await;
    let written = writing.answer().await.expect(201);
    let body = reading.until_closed().await;
    assert_eq!(body.len(), 24 << 20);
    assert_eq!(hub.ended().await.code(), Some(0), "{}", hub.log());

    let hub = setup.start().await;
    let path = format!("/channel/{name}/{}", key_of(written.location()));
    hub.get(&path).await.expect_text(200, "0123456789");
}

#[tokio::test]
async fn what_does_not_end_is_cut_off() {
    let setup = Setup::new().set("SHUTDOWN_WAIT_SECONDS", 1);
    let hub = setup.start().await;
    let name = hub.channel("endless").await;
    let mut raw = hub.raw().await;
    raw.send(format!(
        "POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\
         Expect: 100-continue\r\n\r\n"
    ))
    .await;
    raw.head().await.expect(100);
    hub.signal(Signal::TERM);
    let answer = String::from_utf8(raw.until_closed().await).unwrap();
    assert!(!answer.contains(" 201 "), "{answer}");
    assert_eq!(hub.ended().await.code(), Some(0), "{}", hub.log());
    setup
        .start()
        .await
        .get(&format!("/channel/{name}/latest"))
        .await
        .expect(404);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    for (signals, code) in [
        ([Signal::TERM, Signal::TERM], 143),
        ([Signal::TERM, Signal::INT], 130),
    ] {
        let setup = Setup::new().set("SHUTDOWN_DELAY_SECONDS", 3600);
        let hub = setup.start().await;
        let name = hub.channel("hurried").await;
        let item = hub.insert(&name, "x").await;
        hub.signal(signals[0]);
        is_draining(&hub).await;
        hub.signal(signals[1]);
        assert_eq!(hub.ended().await.code(), Some(code), "{}", hub.log());
        let path = format!("/channel/{name}/{}", key_of(&item));
        setup.start().await.get(&path).await.expect_text(200, "x");
    }
}

#[tokio::test]
async fn who_sits_at_the_keyboard_does_not_wait() {
    let setup = Setup::new().set("SHUTDOWN_DELAY_SECONDS", 3600);
    let hub = setup.start().await;
    hub.signal(Signal::INT);
    assert_eq!(hub.ended().await.code(), Some(0), "{}", hub.log());
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let setup = Setup::new();
    let mut written = Vec::new();
    let mut name = String::new();
    for _ in 0..3 {
        let hub = setup.start().await;
        if name.is_empty() {
            name = hub.channel("killed").await;
        }
        let listed = hub.get(&format!("/channel/{name}/latest/9999")).await;
        if !written.is_empty() {
            let listed = listed.expect(200).uris();
            let keys: Vec<&str> = listed.iter().map(|url| key_of(url)).collect();
            // The one that was under way when it ended may be there, too.
            let unknown = keys
                .iter()
                .filter(|key| !written.contains(&(**key).to_owned()));
            assert!(unknown.count() <= 4, "{} of {}", keys.len(), written.len());
            for key in &written {
                assert!(keys.contains(&key.as_str()), "{key} was lost");
            }
            written = keys.into_iter().map(str::to_owned).collect();
        }
        // One writer is cut off in the middle of it.
        let (writing, channel) = (hub.again(), name.clone());
        let writer = tokio::spawn(async move {
            let mut keys = Vec::new();
            let path = format!("{}/channel/{channel}", writing.base());
            let client = crate::harness::client();
            while let Ok(answer) = client.post(&path).body("x").send().await {
                assert_eq!(answer.status(), 201);
                let url = answer.headers()["location"].to_str().unwrap();
                keys.push(key_of(url).to_owned());
            }
            keys
        });
        eventually("some are written", async || {
            let listed = hub.get(&format!("/channel/{name}/latest/9999")).await;
            let count = if listed.status == 200 {
                listed.uris().len()
            } else {
                0
            };
            (count > written.len() + 20).then_some(())
        })
        .await;
        hub.kill().await;
        written.extend(writer.await.unwrap());
    }
}
