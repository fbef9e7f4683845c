//! Connections on which nothing happens.
//!
//! Each asks once, waits, and asks again: a server that loses some under way, or that needs much
//! memory for those that do nothing, shows it here.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::args::{Durability, IdleArgs};
use crate::client::{ClientError, Connection, Target, describe};
use crate::compare::temporary_folder;
use crate::error::BenchError;
use crate::server::{Hub, Server};
use crate::summary::{grouped, three_digits};
use crate::{clock, limits, process};

/// How many connections are being opened, or are asking, at a time.
const LANES: usize = 64;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Idled {
    /// How many connections were idle, and answered in the end.
    pub connections: usize,
    /// How long they were held.
    pub seconds: f64,
    /// How long it took to open them, and to have an answer on each.
    pub open_seconds: f64,
    /// How long it took to have another answer on each.
    pub ask_seconds: f64,
    /// The server's memory before, in bytes.
    pub memory_before: Option<u64>,
    /// After they had been held.
    pub memory_held: Option<u64>,
    /// After they were closed.
    pub memory_closed: Option<u64>,
}

/// Holds connections to a server that runs, or to a hub of its own.
pub async fn run(args: &IdleArgs) -> Result<Idled, BenchError> {
    limits::raise_open_files(args.connections.get())?;
    if let Some(url) = &args.url {
        return hold(args, &Target::resolve(url).await?, args.pid).await;
    }
    let folder = temporary_folder(args.hub.data_dir.as_deref())?;
    // A hub closes connections that are idle for long, and takes no more than so many.
    let idle = args.seconds + Duration::from_mins(10);
    let settings = [
        (
            "HUB_HTTP_IDLE_TIMEOUT_MS",
            idle.as_millis().min(3_600_000).to_string(),
        ),
        (
            "HUB_HTTP_CONNECTIONS_MAX",
            (args.connections.get() + 100).to_string(),
        ),
    ];
    let hub = Hub {
        program: &args.hub.hub,
        folder: folder.path(),
        durability: Durability::Fsync,
        settings: &settings,
    };
    let server = Server::hub(hub).await?;
    let held = hold(args, &server.target, Some(server.pid())).await;
    held.map_err(|error| server.failed(format!("failed: {error}")))
}

async fn hold(args: &IdleArgs, target: &Target, pid: Option<u32>) -> Result<Idled, BenchError> {
    let count = args.connections.get();
    let memory = || pid.and_then(process::memory);
    let mut request = Vec::new();
    target.write_request("GET", &args.path, None, &mut request);
    let memory_before = memory();
    let begin = clock::now();
    let none = (0..count).map(|_| None).collect();
    let opened = in_lanes(none, target, &request).await?;
    let open_seconds = begin.elapsed().as_secs_f64();
    eprintln!("{} connections are open", grouped(count as f64));
    tokio::time::sleep(args.seconds).await;
    let memory_held = memory();
    let begin = clock::now();
    let asked = in_lanes(opened, target, &request).await?;
    let ask_seconds = begin.elapsed().as_secs_f64();
    let connections = asked.len();
    drop(asked);
    // Time for the server to notice.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(Idled {
        connections,
        seconds: args.seconds.as_secs_f64(),
        open_seconds,
        ask_seconds,
        memory_before,
        memory_held,
        memory_closed: memory(),
    })
}

/// Asks on each connection, opening those that are not; all must be answered and stay open.
async fn in_lanes(
    connections: Vec<Option<Connection>>,
    target: &Target,
    request: &[u8],
) -> Result<Vec<Option<Connection>>, BenchError> {
    let all = connections.len();
    let mut lanes: Vec<Vec<_>> = (0..LANES).map(|_| Vec::new()).collect();
    for (number, connection) in connections.into_iter().enumerate() {
        if let Some(lane) = lanes.get_mut(number % LANES) {
            lane.push(connection);
        }
    }
    let mut tasks = JoinSet::new();
    for lane in lanes {
        let (target, request) = (target.clone(), request.to_vec());
        tasks.spawn(async move {
            let mut answered = Vec::with_capacity(lane.len());
            let mut lost = Vec::new();
            for connection in lane {
                match answer(connection, &target, &request).await {
                    Ok(connection) => answered.push(Some(connection)),
                    Err(reason) => lost.push(reason),
                }
            }
            (answered, lost)
        });
    }
    let mut open = Vec::with_capacity(all);
    let mut lost = Vec::new();
    while let Some(end) = tasks.join_next().await {
        let (answered, reasons) = end.map_err(|_| BenchError::Interrupted)?;
        open.extend(answered);
        lost.extend(reasons);
    }
    match lost.first() {
        None => Ok(open),
        Some(first) => Err(BenchError::Lost {
            lost: lost.len(),
            all,
            first: first.clone(),
        }),
    }
}

async fn answer(
    connection: Option<Connection>,
    target: &Target,
    request: &[u8],
) -> Result<Connection, String> {
    let say = |error: ClientError| error.to_string();
    let mut connection = match connection {
        Some(connection) => connection,
        None => Connection::open_small(target).await.map_err(say)?,
    };
    let answer = connection.exchange(request).await.map_err(say)?;
    if answer.status() != 200 {
        return Err(describe(answer));
    }
    if !connection.is_open() {
        return Err("the server closes the connection after its answer".to_owned());
    }
    Ok(connection)
}

impl Idled {
    /// The same in words.
    pub fn text(&self) -> String {
        let mib = |bytes: Option<u64>| {
            bytes.map_or("?".to_owned(), |bytes| {
                three_digits(bytes as f64 / 1_048_576.0)
            })
        };
        let each = self.memory_before.zip(self.memory_held).map_or_else(
            || "?".to_owned(),
            |(before, held)| {
                let more = held.saturating_sub(before) as f64;
                three_digits(more / 1_024.0 / self.connections.max(1) as f64)
            },
        );
        format!(
            "{} connections were opened in {} s, idle for {} s, and then all answered within {} s.\n\
             The server's memory: {} MiB before, {} MiB with them ({each} KiB each), {} MiB after.\n",
            grouped(self.connections as f64),
            three_digits(self.open_seconds),
            self.seconds,
            three_digits(self.ask_seconds),
            mib(self.memory_before),
            mib(self.memory_held),
            mib(self.memory_closed),
        )
    }
}
