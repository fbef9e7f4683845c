//! A proxy in front of a server that speaks HTTP, which does to requests what networks and object
//! stores do now and then: refuses them, answers late, loses answers, cuts them off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hub::env::{Random as _, SeededRandom};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::address::free_address;
use crate::failure::{Failure, Outcome};

/// The largest head of a request or an answer, in bytes.
const HEAD_MAX: usize = 64 * 1024;
const PORT: u16 = 5001;

/// What may be done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with 500, and nothing is done.
    Error,
    /// It is refused with 503, and nothing is done.
    SlowDown,
    /// The connection is closed before anything is done.
    Closed,
    /// It is done, and the answer is lost.
    ReplyLost,
    /// It is done, and the answer ends in its middle.
    Truncated,
    /// It is done, late.
    Slow,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Error,
        Self::SlowDown,
        Self::Closed,
        Self::ReplyLost,
        Self::Truncated,
        Self::Slow,
    ];
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Storm {
    url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    upstream: String,
    /// In how many of a hundred requests something goes wrong.
    percent: AtomicU64,
    /// Whether the server is away altogether.
    away: AtomicBool,
    /// Whether it refuses to be written to, and how often it has.
    read_only: AtomicBool,
    refused: AtomicU64,
    requests: AtomicU64,
    /// How often each fault was done, in the order of [`Fault::ALL`].
    done: [AtomicU64; 6],
    random: SeededRandom,
}

impl Storm {
    /// A proxy in front of the server at that URL, which passes everything on for now.
    ///
    /// # Errors
    /// [`Failure`] if there is no address for it.
    pub async fn before(url: &str, seed: u64) -> Outcome<Self> {
        let upstream = url.strip_prefix("http://").unwrap_or(url).to_owned();
        let address = SocketAddr::new(free_address()?.into(), PORT);
        let listener = TcpListener::bind(address).await?;
        let state = Arc::new(State {
            upstream,
            percent: AtomicU64::new(0),
            away: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            refused: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            done: Default::default(),
            random: SeededRandom::new(seed),
        });
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                // Whatever goes wrong with a connection is what the client sees.
                tokio::spawn(async move { state.serve(stream).await.ok() });
            }
        });
        Ok(Self {
            url: format!("http://{address}"),
            state,
            task,
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on something goes wrong with that many of a hundred requests.
    pub fn rage(&self, percent: u64) {
        self.state.percent.store(percent, Ordering::Relaxed);
    }

    /// Whether the server is away from now on: connections are closed without a word.
    pub fn away(&self, away: bool) {
        self.state.away.store(away, Ordering::Relaxed);
    }

    /// Whether it is not to be written to from now on: only what reads gets through.
    pub fn read_only(&self, read_only: bool) {
        self.state.read_only.store(read_only, Ordering::Relaxed);
    }

    /// How many requests were refused because they would have written.
    pub fn read_only_refusals(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// How often each fault was done.
    pub fn done(&self) -> Vec<(Fault, u64)> {
        let done = self.state.done.iter();
        let counts = done.map(|count| count.load(Ordering::Relaxed));
        Fault::ALL.into_iter().zip(counts).collect()
    }

    /// That every fault was done at least once.
    ///
    /// # Errors
    /// [`Failure`] that names one that was not.
    pub fn was_one(&self) -> Outcome<()> {
        match self.done().into_iter().find(|(_, count)| *count == 0) {
            None => Ok(()),
            Some((fault, _)) => Err(Failure(format!("{fault:?} never happened"))),
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        if self.away.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(request) = message(&mut client).await? else {
            return Ok(());
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let reads = request.starts_with(b"GET ") || request.starts_with(b"HEAD ");
        if self.read_only.load(Ordering::Relaxed) && !reads {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return refuse(&mut client, "503 Slow Down").await;
        }
        let fault = self.choose();
        if let Some(fault) = fault {
            let place = Fault::ALL.iter().position(|known| *known == fault);
            if let Some(count) = place.and_then(|place| self.done.get(place)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        match fault {
            Some(Fault::Closed) => return Ok(()),
            Some(Fault::Error) => return refuse(&mut client, "500 Internal Server Error").await,
            Some(Fault::SlowDown) => return refuse(&mut client, "503 Slow Down").await,
            Some(Fault::Slow) => {
                let pause = Duration::from_millis(self.random.next_u64() % 700);
                tokio::time::sleep(pause).await;
            }
            _ => {}
        }
        let mut server = TcpStream::connect(&self.upstream).await?;
        server.write_all(&one_only(&request)).await?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).await?;
        match fault {
            Some(Fault::ReplyLost) => {}
            Some(Fault::Truncated) => {
                let half = answer.len() / 2;
                client
                    .write_all(answer.get(..half).unwrap_or_default())
                    .await?;
            }
            _ => client.write_all(&answer).await?,
        }
        client.shutdown().await
    }

    fn choose(&self) -> Option<Fault> {
        let percent = self.percent.load(Ordering::Relaxed);
        if self.random.next_u64() % 100 >= percent {
            return None;
        }
        let which = self.random.next_u64() % Fault::ALL.len() as u64;
        Fault::ALL.get(usize::try_from(which).ok()?).copied()
    }
}

async fn refuse(client: &mut TcpStream, status: &str) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

/// A request, head and body; `None` if the connection ends before it does.
async fn message(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if bytes.len() > HEAD_MAX || stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).to_ascii_lowercase();
    if text.contains("\r\nexpect: 100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

/// The request, as the last one of its connection.
fn one_only(request: &[u8]) -> Vec<u8> {
    let end = request.windows(2).position(|two| two == b"\r\n");
    let (line, rest) = request.split_at(end.unwrap_or(0));
    let mut out = line.to_vec();
    out.extend_from_slice(b"\r\nConnection: close");
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(url: &str) -> Result<(u16, String), reqwest::Error> {
        let client = reqwest::Client::builder().pool_max_idle_per_host(0);
        let answer = client.build()?.get(url).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    #[tokio::test]
    async fn every_fault_is_seen_by_the_client() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&served);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                message(&mut stream).await.unwrap();
                counting.fetch_add(1, Ordering::Relaxed);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                stream.write_all(&[b'x'; 400]).await.unwrap();
            }
        });
        let storm = Storm::before(&upstream, 7).await.unwrap();
        assert_eq!(get(storm.url()).await.unwrap(), (200, "x".repeat(400)));
        storm.rage(100);
        let (mut refused, mut broken, mut fine) = (0, 0, 0);
        for _ in 0..60 {
            match get(storm.url()).await {
                Ok((200, _)) => fine += 1,
                Ok((500 | 503, _)) => refused += 1,
                Ok((status, _)) => panic!("{status}"),
                Err(_) => broken += 1,
            }
        }
        storm.was_one().unwrap();
        let done = |fault| storm.done().iter().find(|(f, _)| *f == fault).unwrap().1;
        assert_eq!(refused, done(Fault::Error) + done(Fault::SlowDown));
        assert_eq!(fine, done(Fault::Slow));
        let cut = done(Fault::ReplyLost) + done(Fault::Truncated);
        assert_eq!(broken, done(Fault::Closed) + cut);
        assert_eq!(served.load(Ordering::Relaxed), 1 + fine + cut);
        storm.rage(0);
        storm.away(true);
        assert!(get(storm.url()).await.is_err());
        storm.away(false);
        assert_eq!(get(storm.url()).await.unwrap().0, 200);
    }
}
