//! Why a benchmark has no result.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::client::ClientError;

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A text that names no server.
    #[error("no http URL of a server: {url}")]
    Url {
        /// The text.
        url: String,
    },
    /// A file, a folder or a socket failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What went wrong.
        source: io::Error,
    },
    /// A request got no answer.
    #[error("{request}: {source}")]
    Request {
        /// The request's first line.
        request: String,
        /// What went wrong.
        source: ClientError,
    },
    /// A request got an answer that it should not get.
    #[error("{request}: {reason}")]
    Answer {
        /// The request's first line.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Requests of a run failed, so its numbers mean nothing.
    #[error("{failed} of {all} requests failed: {kinds}; the first: {first}")]
    Failures {
        /// How many failed.
        failed: u64,
        /// How many there were.
        all: u64,
        /// How many of which kind.
        kinds: String,
        /// What the first of them said.
        first: String,
    },
    /// A run did not come to its end.
    #[error("requests are still unanswered {after:?} after the end of the run")]
    Stuck {
        /// How long they had.
        after: Duration,
    },
    /// A server ended by itself, or did not begin to serve.
    #[error("{server} {what}{log}")]
    Server {
        /// Which one.
        server: String,
        /// What it did.
        what: String,
        /// What it wrote last, on lines of its own.
        log: String,
    },
    /// There is no such program.
    #[error(
        "no program at {path}: build it first (cargo build --release), or name another (--hub)"
    )]
    NoProgram {
        /// Where it should be.
        path: PathBuf,
    },
    /// Too few files can be open.
    #[error(
        "{needed} open files are needed, {allowed} are allowed: raise the limit where this is \
         started (as root `ulimit -n {needed}`), or hold fewer connections"
    )]
    OpenFiles {
        /// How many are needed.
        needed: u64,
        /// How many there may be.
        allowed: u64,
    },
    /// Connections were lost.
    #[error("{lost} of {all} idle connections were not answered; the first: {first}")]
    Lost {
        /// How many.
        lost: usize,
        /// How many there were.
        all: usize,
        /// What became of the first of them.
        first: String,
    },
    /// Somebody pressed Ctrl-C, or ended the process otherwise.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// What makes an error of the operating system one of these: `map_err(BenchError::io("..."))`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}
