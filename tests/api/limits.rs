//! Connections: slow, silent, broken and too many of them.

use std::time::{Duration, Instant};

use crate::harness::{Hub, Setup, eventually, soon};

/// How often a slow client sends or takes something.
const PACE: Duration = Duration::from_millis(40);

/// How many connections the hub has cut for that reason.
async fn cut(hub: &Hub, reason: &str) -> u64 {
    let metrics = hub.get("/metrics").await.expect(200);
    let label = format!("\"{reason}\"");
    let mut lines = metrics.text().lines();
    let line = lines
        .find(|line| line.starts_with("hub_http_connections_cut_total") && line.contains(&label));
    let count = line.and_then(|line| line.rsplit_once(' ')).map(|(_, n)| n);
    count.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut() {
    let hub = Setup::new().set("HTTP_HEAD_TIMEOUT_MS", 500).start().await;
    for begun in ["GET / HTTP/1.1\r\nHost: h\r\nX: ", "G", "POST /channel/"] {
        let mut raw = hub.raw().await;
        let started = Instant::now();
        raw.send(begun).await;
        // However alive it seems to be.
        soon("it is cut", async {
            while raw.try_send("x").await.is_ok() {
                tokio::time::sleep(PACE).await;
            }
        })
        .await;
        assert!(started.elapsed() >= Duration::from_millis(500), "{begun}");
        assert_eq!(raw.until_closed().await, b"");
    }
    assert!(cut(&hub, "head").await >= 3);
    // The same on a connection that has served a request before.
    let mut raw = hub.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    raw.answer().await.expect(200);
    raw.send("GET / HT").await;
    assert_eq!(raw.until_closed().await, b"");
    // Who is merely not fast is served.
    let hub = Hub::shared().await;
    let mut raw = hub.raw().await;
    for part in ["GET / HT", "TP/1.1\r\nHo", "st: h\r\n\r", "\n"] {
        raw.send(part).await;
        tokio::task::yield_now().await;
    }
    raw.answer().await.expect(200);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    const IDLE: Duration = Duration::from_secs(3);
    let idle = Setup::new().set("HTTP_IDLE_TIMEOUT_MS", IDLE.as_millis());
    let hub = idle.start().await;
    let started = Instant::now();
    let mut raw = hub.raw().await;
    raw.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut silent = hub.raw().await;
    raw.answer().await.expect(200);
    assert_eq!(silent.until_closed().await, b"");
    assert!(started.elapsed() >= IDLE);
    assert_eq!(raw.until_closed().await, b"");
    assert!(started.elapsed() >= IDLE);
    assert!(cut(&hub, "idle").await >= 2);
}

#[tokio::test]
async fn a_body_that_stops_is_408() {
    let hub = Setup::new().set("HTTP_BODY_TIMEOUT_MS", 2000).start().await;
    let name = hub.channel("slow").await;
    let started = Instant::now();
    let mut stopped = Vec::new();
    for (path, method) in [
        (format!("/channel/{name}"), "POST"),
        (format!("/channel/{name}"), "PUT"),
        (format!("/channel/{name}/doc"), "PUT"),
        ("/channel".to_owned(), "POST"),
    ] {
        for (header, begun) in [
            ("Content-Length: 10", "{"),
            ("Content-Length: 10", ""),
            ("Transfer-Encoding: chunked", "1\r\n{\r\n"),
        ] {
            let mut raw = hub.raw().await;
            raw.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n{begun}"
            ))
            .await;
            stopped.push(raw);
        }
    }
    for raw in &mut stopped {
        raw.answer().await.expect_error(408, "body");
        assert!(started.elapsed() >= Duration::from_secs(2));
    }
    // Nor is a body taken that never stops, but comes a byte at a time.
    let mut raw = hub.raw().await;
    let post = format!("POST /channel/{name} HTTP/1.1\r\nHost: h\r\nContent-Length:");
    raw.send(format!("{post} 100000\r\n\r\n")).await;
    soon("it is refused", async {
        while !raw.has_any() {
            // It may be refused at this very moment.
            let _ = raw.try_send("x").await;
            tokio::time::sleep(PACE).await;
        }
    })
    .await;
    raw.answer().await.expect_error(408, "body");
    hub.get(&format!("/channel/{name}/latest"))
        .await
        .expect_empty(404);
    // A body that takes longer as a whole, but is not slow for its length, is taken.
    let mut raw = hub.raw().await;
    let started = Instant::now();
    let (count, part) = (80, vec![b'x'; 32 << 10]);
    raw.send(format!("{post} {}\r\n\r\n", count * part.len()))
        .await;
    for _ in 0..count {
        tokio::time::sleep(PACE).await;
        raw.send(&part).await;
    }
    assert!(started.elapsed() > Duration::from_secs(2));
    raw.answer().await.expect(201);
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_and_a_slow_one_is_not() {
    const MIB: usize = 1 << 20;
    const WRITE: Duration = Duration::from_secs(3);
    let setup = Setup::new().set("HTTP_WRITE_TIMEOUT_MS", WRITE.as_millis());
    let hub = setup.start().await;
    let name = hub.channel("unread").await;
    let item = hub.insert(&name, vec![b'x'; 32 * MIB]).await;
    let ask = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", hub.path_of(&item));

    let mut stopped = hub.raw().await;
    stopped.send(&ask).await;
    stopped.head().await.expect(200);
    eventually("it is cut", async || {
        (cut(&hub, "write").await > 0).then_some(())
    })
    .await;
    let rest = stopped.until_closed().await;
    assert!(rest.len() < 32 * MIB, "{} bytes", rest.len());

    let mut slow = hub.raw().await;
    let started = Instant::now();
    slow.send(&ask).await;
    slow.head().await.expect(200);
    let mut read = 0;
    let mut pause = MIB;
    while read < 32 * MIB {
        let part = slow.some(MIB).await.unwrap();
        assert!(!part.is_empty(), "cut off after {read}");
        read += part.len();
        if read > pause {
            tokio::time::sleep(3 * PACE).await;
            pause += MIB;
        }
    }
    assert!(started.elapsed() > WRITE);
    assert_eq!(cut(&hub, "write").await, 1);
}

#[tokio::test]
async fn a_request_behind_a_slow_download_does_not_cut_it() {
    const MIB: usize = 1 << 20;
    let hub = Setup::new().set("HTTP_HEAD_TIMEOUT_MS", 1000).start().await;
    let name = hub.channel("pipelined").await;
    let item = hub.insert(&name, vec![b'x'; 32 * MIB]).await;
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut raw = hub.raw().await;
    raw.send(ask(hub.path_of(&item))).await;
    raw.head().await.expect(200);
    raw.send(ask("/")).await;
    let started = Instant::now();
    let mut left = 32 * MIB;
    let mut pause = left;
    while left > 0 {
        if left <= pause {
            tokio::time::sleep(2 * PACE).await;
            pause -= MIB;
        }
        let part = raw.some(MIB.min(left)).await.unwrap();
        assert!(!part.is_empty(), "cut off {left} before its end");
        left -= part.len();
    }
    assert!(started.elapsed() > Duration::from_secs(2));
    raw.answer().await.expect(200).link("self").unwrap();
    assert_eq!(cut(&hub, "head").await, 0);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_harms_nobody() {
    /// A hub reads this much of a request, whatever it thinks of it.
    const READ_AT_ONCE: usize = 8 * 1024;
    let hub = Hub::shared().await;
    let large = "x".repeat(70_000);
    let many = ["X: y\r\n"; 200].concat();
    for (what, request, statuses) in [
        ("nonsense", "nonsense\r\n\r\n".to_owned(), &[400][..]),
        ("bytes", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), &[400]),
        (
            "a blank in a name",
            "GET / HTTP/1.1\r\nHo st: h\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "another version",
            "GET / HTTP/9.9\r\nHost: h\r\n\r\n".to_owned(),
            &[400, 505],
        ),
        (
            "a long header",
            format!("GET / HTTP/1.1\r\nHost: h\r\nX: {large}\r\n\r\n"),
            &[431],
        ),
        (
            "many headers",
            format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"),
            &[431],
        ),
        (
            "a long target",
            format!("GET /{large} HTTP/1.1\r\nHost: h\r\n\r\n"),
            &[414, 431],
        ),
        (
            "two lengths",
            "POST /channel/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\
             Content-Length: 2\r\n\r\nxy"
                .to_owned(),
            &[400],
        ),
        (
            "a length that is none",
            "POST /channel/x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n".to_owned(),
            &[400],
        ),
        (
            "a coding that is none",
            "POST /channel/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: nonsense\r\n\r\n".to_owned(),
            &[400, 501],
        ),
    ] {
        let mut raw = hub.raw().await;
        // It may refuse before it has taken all.
        let _ = raw.try_send(&request).await;
        let answer = raw.until_closed().await;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
        // What was sent to a connection that is closed takes the answer with it.
        let unsure = request.len() > READ_AT_ONCE;
        let fine = status.map_or(unsure, |status| statuses.contains(&status));
        assert!(fine, "{what}: {answer}");
    }
    // As much as is allowed is served.
    let fits = "x".repeat(40_000);
    let mut raw = hub.raw().await;
    raw.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {fits}\r\n\r\n"))
        .await;
    raw.answer().await.expect(200);
    hub.get("/health").await.expect(200);
}

#[tokio::test]
async fn connections_are_limited_and_others_wait() {
    const MOST: usize = 3;
    let setup = Setup::new().set("HTTP_CONNECTIONS_MAX", MOST);
    let hub = setup.start().await;
    let ask = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..MOST {
        let mut raw = hub.raw().await;
        raw.send(ask).await;
        raw.answer().await.expect(200);
        open.push(raw);
    }
    let mut waiting = hub.raw().await;
    waiting.send(ask).await;
    // The hub has time for many requests, but not for one of a connection too many.
    for _ in 0..50 {
        for raw in &mut open {
            raw.send(ask).await;
            raw.answer().await.expect(200);
        }
        assert!(
            !waiting.has_any(),
            "more than {MOST} connections are served"
        );
    }
    drop(open.pop());
    waiting.answer().await.expect(200);
}
