//! A closed loop: so many connections, each asking again as soon as it has its answer.
//!
//! The rate is that of the answers that came within the measured time. A closed loop waits with a
//! slow server, so the latencies are those at this number of connections and not those at a given
//! rate of requests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::client::{Body, Connection, Target, describe, first_line};
use crate::clock;
use crate::error::BenchError;
use crate::histogram::Histogram;
use crate::random::Random;
use crate::summary::Summary;

/// How long the last answers may take once the measured time is over.
const GRACE: Duration = Duration::from_secs(30);
/// How much of an answer's body is kept, for messages.
const BODY_MAX: usize = 256;
/// Random bytes that items are cut from, beyond an item's own length.
const SPARE: usize = 64 * 1024;

/// A load.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where it goes.
    pub target: Target,
    /// Connections.
    pub connections: usize,
    /// Threads that they share.
    pub threads: usize,
    /// How long to go first, unmeasured.
    pub warmup: Duration,
    /// How long to measure.
    pub measured: Duration,
    /// What is asked for.
    pub requests: Requests,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Requests {
    /// Items are posted to channels in turn.
    Insert(Arc<Inserts>),
    /// One of these paths at random.
    Get {
        /// The paths.
        paths: Arc<[String]>,
        /// How long each answer's body must be, if that is known.
        body_len: Option<u64>,
    },
}

/// Items to post.
#[derive(Debug)]
pub struct Inserts {
    paths: Vec<String>,
    item_len: usize,
    random: Vec<u8>,
}

impl Inserts {
    /// Items of that length, for channels with these paths.
    pub fn new(paths: Vec<String>, item_len: usize) -> Self {
        Self {
            paths,
            item_len,
            random: Random::new(2).bytes(item_len + SPARE),
        }
    }

    /// Writes the request of that number.
    pub fn write(&self, target: &Target, number: usize, out: &mut Vec<u8>) {
        let path = self.paths.get(number % self.paths.len().max(1));
        // Items differ, so that nothing on the way can take one for the other.
        let start = number.wrapping_mul(97) % SPARE;
        let item = self.random.get(start..start + self.item_len);
        let body = Body {
            media: "application/octet-stream",
            bytes: item.unwrap_or_default(),
        };
        target.write_request("POST", path.map_or("/", String::as_str), Some(body), out);
    }
}

/// What came of a load, or of one connection's part of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// The times of the answers within the measured time that were as they should be.
    pub times: Histogram,
    /// All requests, those of the warm-up included.
    pub all: u64,
    failed: u64,
    /// How often each failure came: a status, or what happened instead of an answer.
    kinds: BTreeMap<String, u64>,
    first: Option<String>,
}

impl Tally {
    fn fail(&mut self, kind: String, request: &[u8], what: &str) {
        self.failed += 1;
        *self.kinds.entry(kind).or_default() += 1;
        self.first
            .get_or_insert_with(|| format!("{}: {what}", first_line(request)));
    }

    fn merge(&mut self, other: Self) {
        self.times.merge(&other.times);
        self.all += other.all;
        self.failed += other.failed;
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.first = self.first.take().or(other.first);
    }

    fn check(self) -> Result<Self, BenchError> {
        if self.failed == 0 {
            return Ok(self);
        }
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .map(|(kind, count)| format!("{count} x {kind}"))
            .collect();
        Err(BenchError::Failures {
            failed: self.failed,
            all: self.all,
            kinds: kinds.join(", "),
            first: self.first.unwrap_or_default(),
        })
    }
}

/// What came of a load whose requests were all answered as they should be.
#[derive(Debug)]
pub struct Outcome {
    /// The numbers.
    pub summary: Summary,
    /// All requests, those of the warm-up included.
    pub all: u64,
}

impl Load {
    /// Goes through with it. A request that fails makes the whole fail, at its end.
    pub async fn run(&self) -> Result<Outcome, BenchError> {
        let begin = clock::now() + self.warmup;
        let measured = begin..begin + self.measured;
        let lanes = self.threads.clamp(1, self.connections.max(1));
        let mut ends = Vec::with_capacity(lanes);
        for lane in 0..lanes {
            let (done, end) = oneshot::channel();
            let numbers = (lane..self.connections).step_by(lanes).collect();
            let (load, measured) = (self.clone(), measured.clone());
            thread::Builder::new()
                .name(format!("load-{lane}"))
                .spawn(move || {
                    // If nobody waits for it any more, neither does anybody need it.
                    let _ = done.send(load.run_lane(numbers, &measured));
                })
                .map_err(BenchError::io("start a thread"))?;
            ends.push(end);
        }
        let stuck = BenchError::Stuck { after: GRACE };
        let all = async {
            let mut tally = Tally::default();
            for end in ends {
                tally.merge(end.await.map_err(|_| BenchError::Interrupted)??);
            }
            tally.check()
        };
        let deadline = self.warmup + self.measured + GRACE;
        let tally = tokio::time::timeout(deadline, all)
            .await
            .map_err(|_| stuck)??;
        Ok(Outcome {
            summary: Summary::of(&tally.times, self.measured),
            all: tally.all,
        })
    }

    /// What one thread does: the connections of these numbers.
    fn run_lane(
        &self,
        numbers: Vec<usize>,
        measured: &Range<Instant>,
    ) -> Result<Tally, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("start a thread"))?;
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for number in numbers {
                tasks.spawn(self.clone().run_connection(number, measured.clone()));
            }
            let mut tally = Tally::default();
            while let Some(end) = tasks.join_next().await {
                tally.merge(end.map_err(|_| BenchError::Interrupted)?);
            }
            Ok(tally)
        })
    }

    async fn run_connection(self, number: usize, measured: Range<Instant>) -> Tally {
        let mut tally = Tally::default();
        let mut connection = match Connection::open(&self.target, BODY_MAX).await {
            Ok(connection) => connection,
            Err(error) => {
                tally.all += 1;
                tally.fail("no connection".to_owned(), b"", &error.to_string());
                return tally;
            }
        };
        let mut random = Random::new(number as u64);
        let mut request = Vec::new();
        let mut next = number;
        let mut sent = clock::now();
        while sent < measured.end {
            let right = self.write(&mut next, &mut random, &mut request);
            tally.all += 1;
            let answer = match connection.exchange(&request).await {
                Ok(answer) => answer,
                Err(error) => {
                    tally.fail(error.to_string(), &request, &error.to_string());
                    return tally;
                }
            };
            let answered = clock::now();
            if answer.status() != right.status {
                tally.fail(answer.status().to_string(), &request, &describe(answer));
            } else if right
                .body_len
                .is_some_and(|length| length != answer.body_len())
            {
                let what = format!("a body of {} bytes", answer.body_len());
                tally.fail("wrong length".to_owned(), &request, &what);
            } else if measured.contains(&answered) {
                tally.times.record(answered - sent);
            }
            sent = answered;
        }
        tally
    }

    /// Writes a connection's next request.
    fn write(&self, next: &mut usize, random: &mut Random, out: &mut Vec<u8>) -> Right {
        match &self.requests {
            Requests::Insert(inserts) => {
                inserts.write(&self.target, *next, out);
                *next += 1;
                Right {
                    status: 201,
                    body_len: None,
                }
            }
            Requests::Get { paths, body_len } => {
                let path = paths.get(random.below(paths.len()));
                self.target
                    .write_request("GET", path.map_or("/", String::as_str), None, out);
                Right {
                    status: 200,
                    body_len: *body_len,
                }
            }
        }
    }
}

/// What an answer should be.
struct Right {
    status: u16,
    body_len: Option<u64>,
}
