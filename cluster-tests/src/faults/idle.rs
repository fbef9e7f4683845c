//! Connections on which nothing happens, and some on which too little does.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Bar, PATIENCE};
use crate::client::{Answer, Client};
use crate::failure::{Failure, Outcome, ensure};
use crate::hub::Hub;
use crate::item::ItemName;
use crate::latency::{Latency, millis};
use crate::wait::now;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// Connections that are idle.
    pub connections: usize,
    /// The soft limit of open files that the hub is started with, far too low for them.
    pub open_files: u64,
    /// Requests that are timed.
    pub requests: u32,
    /// Connections that send too slowly.
    pub slow: usize,
}

/// How long a head may take to come.
const HEAD_MS: u64 = 1500;
/// How long a body may pause.
const BODY_MS: u64 = 1500;
/// Connections that are opened at a time.
const OPENERS: usize = 64;

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let mut bar = Bar::new("idle");
    match run(size).await {
        Ok(numbers) => bar.numbers = numbers,
        Err(failure) => bar.wrong.push(failure.to_string()),
    }
    bar
}

async fn run(size: &Size) -> Outcome<String> {
    raise_own_limit(size.connections as u64 + 500)?;
    let mut hub = Hub::new()?
        .with("HUB_HTTP_HEAD_TIMEOUT_MS", HEAD_MS)
        .with("HUB_HTTP_BODY_TIMEOUT_MS", BODY_MS)
        .with("HUB_HTTP_IDLE_TIMEOUT_MS", 600_000)
        .with_open_files(size.open_files);
    hub.start().await?;
    let (soft, hard) = hub.open_files_limit()?;
    ensure(soft == hard && soft > size.connections as u64, || {
        format!("the hub's limit of open files is {soft} of {hard}")
    })?;
    let client = hub.client();
    client.put_channel("busy").await?;
    let alone = timed(&client, 0, size.requests).await?;
    let memory_before = hub.memory("VmRSS")?;

    let mut idle = open(hub.address(), size.connections).await?;
    let memory = hub.memory("VmRSS")?;
    let beside = timed(&client, 1, size.requests).await?;
    let cut = slow_ones_are_cut(hub.address(), size.slow).await?;
    let slowest = cut.longest();
    let beside_slow = timed(&client, 2, size.requests).await?;

    // None of those that were only idle was cut.
    let mut answered = 0;
    for connection in &mut idle {
        answered += usize::from(answers(connection).await);
    }
    ensure(answered == size.connections, || {
        format!(
            "{answered} of {} idle connections still answer",
            size.connections
        )
    })?;
    drop(idle);
    hub.stop().await?;
    Ok(format!(
        "{} idle connections, all answer afterwards; {} slow ones cut, the last after {} where \
         {HEAD_MS} ms are allowed; \
         insert and read {alone} alone, {beside} beside idle ones, {beside_slow} after slow ones; \
         {} KiB a connection; open files {soft} from {}",
        size.connections,
        cut.count(),
        millis(slowest),
        memory.saturating_sub(memory_before) / 1024 / size.connections as u64,
        size.open_files,
    ))
}

/// The longest that a slow connection may last: its limit, and the hub's looks at it.
const fn cut_limit() -> Duration {
    Duration::from_millis(HEAD_MS + BODY_MS + 2000)
}

/// Each connection takes a file handle here, too.
fn raise_own_limit(needed: u64) -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(std::io::Error::from)?;
    ensure(limit.maximum.is_none_or(|limit| limit >= needed), || {
        format!(
            "{needed} open files are needed; the hard limit is {:?}",
            limit.maximum
        )
    })
}

/// Opens connections, each of which has asked once and then says nothing more.
async fn open(address: SocketAddr, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut opening = JoinSet::new();
    for opener in 0..OPENERS {
        let share = count / OPENERS + usize::from(opener < count % OPENERS);
        opening.spawn(async move {
            let mut open = Vec::with_capacity(share);
            for _ in 0..share {
                let mut connection = TcpStream::connect(address).await?;
                if !answers(&mut connection).await {
                    return Err(Failure::new("a connection was not answered"));
                }
                open.push(connection);
            }
            Ok(open)
        });
    }
    let mut open = Vec::with_capacity(count);
    while let Some(opened) = opening.join_next().await {
        open.extend(opened.map_err(|error| Failure(error.to_string()))??);
    }
    Ok(open)
}

/// Asks on a connection that stays open, and gives whether it was answered.
async fn answers(connection: &mut TcpStream) -> bool {
    let ask = b"GET /health/live HTTP/1.1\r\nHost: hub\r\n\r\n";
    if connection.write_all(ask).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    let reading = async {
        while !answer.ends_with(b"}") {
            match connection.read(&mut part).await {
                Ok(length) if length > 0 => answer.extend_from_slice(&part[..length]),
                _ => break,
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

/// Inserts items and reads them back, and gives how long each request took.
async fn timed(client: &Client, writer: u32, requests: u32) -> Outcome<Latency> {
    let mut latency = Latency::default();
    for number in 0..requests / 2 {
        let item = ItemName {
            run: 0,
            writer,
            number,
            size: 1000,
            channel: "busy".to_owned(),
            life: 0,
        };
        let started = now();
        let Answer::Acked(key) = client.insert(&item, None).await else {
            return Err(Failure::new("an insert beside idle connections failed"));
        };
        latency.add(started.elapsed());
        let started = now();
        client.item("busy", &key).await;
        latency.add(started.elapsed());
    }
    Ok(latency)
}

/// Connections that send a head a byte at a time, or a body and then no more of it, are ended by the
/// hub; gives how long each lasted.
async fn slow_ones_are_cut(address: SocketAddr, count: usize) -> Outcome<Latency> {
    let mut slow: JoinSet<Outcome<Duration>> = JoinSet::new();
    for number in 0..count {
        slow.spawn(async move {
            let mut connection = TcpStream::connect(address).await?;
            let in_body = number.is_multiple_of(2);
            if in_body {
                let head =
                    b"POST /channel/busy HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\n";
                connection.write_all(head).await?;
            }
            let started = now();
            let ended = tokio::time::timeout(cut_limit(), drip(&mut connection, in_body)).await;
            let elapsed = started.elapsed();
            ensure(ended.is_ok(), || {
                format!("a slow connection lasts longer than {elapsed:?}")
            })?;
            Ok(elapsed)
        });
    }
    let mut cut = Latency::default();
    while let Some(ended) = slow.join_next().await {
        cut.add(ended.map_err(|error| Failure(error.to_string()))??);
    }
    Ok(cut)
}

/// Sends a byte of a head now and then, or the first byte of a body and then none, until the hub
/// ends the connection.
async fn drip(connection: &mut TcpStream, in_body: bool) {
    let (mut reader, mut writer) = connection.split();
    let ended = async {
        let mut rest = Vec::new();
        // Whatever it says before: the connection is over when nothing more can come.
        let _ = reader.read_to_end(&mut rest).await;
    };
    let sending = async {
        for byte in b"GET /health/live HTTP/1.1\r\nHost: hub\r\nX-Slow: "
            .iter()
            .cycle()
        {
            if writer.write_all(&[*byte]).await.is_err() || in_body {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = ended => {}
        () = sending => {}
    }
}
