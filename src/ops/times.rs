//! Whose clock a node tells the time by.
//!
//! Only what it tells: keys and promises always go by the node's own clock, and a node whose clock is
//! out of bounds makes none.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use parking_lot::Mutex;

use super::health::Node;
use crate::env::replace_file;
use crate::http::api::NodeCall;
use crate::http::reply::{self, Reply};

/// Whose clock is told, remembered in a file.
#[derive(Debug, Clone, Default)]
pub struct TimeSource {
    remote: Arc<AtomicBool>,
    /// One write at a time; `None`: nothing is remembered.
    path: Arc<Mutex<Option<PathBuf>>>,
}

const LOCAL: &[u8] = b"local\n";
const REMOTE: &[u8] = b"remote\n";

impl TimeSource {
    /// As it was chosen last, by that file; the node's own without one. Waits for the disk.
    ///
    /// # Errors
    /// What the system says if the file cannot be read, or makes no sense.
    pub fn read(path: PathBuf) -> io::Result<Self> {
        let remote = match std::fs::read(&path) {
            Ok(text) if text == LOCAL => false,
            Ok(text) if text == REMOTE => true,
            Ok(_) => return Err(io::Error::other("it holds neither local nor remote")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        Ok(Self {
            remote: Arc::new(AtomicBool::new(remote)),
            path: Arc::new(Mutex::new(Some(path))),
        })
    }

    /// Whether it is another node's.
    pub fn is_remote(&self) -> bool {
        self.remote.load(Ordering::Relaxed)
    }

    /// Chooses; it is remembered when this returns. Waits for the disk.
    fn choose(&self, remote: bool) -> io::Result<()> {
        let path = self.path.lock();
        if let Some(path) = &*path {
            replace_file(path, if remote { REMOTE } else { LOCAL })?;
        }
        self.remote.store(remote, Ordering::Relaxed);
        Ok(())
    }
}

impl Node {
    /// The answer of a node that tells no time of its own.
    pub(super) fn told_elsewhere() -> Reply {
        let text = "this node tells another node's time: ask internal/time/remote";
        // Not one of HTTP's: clients know it.
        let status = StatusCode::from_u16(521).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        reply::json_text(status, text)
    }

    /// Chooses whose clock is told.
    pub(super) async fn use_time(&self, remote: bool, call: &NodeCall<'_>) -> Reply {
        if let Some(refusal) = call.refuse_unless_local() {
            return refusal;
        }
        let source = self.time.clone();
        let chosen = tokio::task::spawn_blocking(move || source.choose(remote)).await;
        match chosen.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                let kept = if remote { "remote" } else { "local" };
                reply::text(StatusCode::OK, kept)
            }
            Err(error) => reply::internal(&format!("whose clock is told was not kept: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("time-source");
        let source = TimeSource::read(path.clone()).unwrap();
        assert!(!source.is_remote());
        for remote in [true, false, true] {
            source.choose(remote).unwrap();
            assert_eq!(source.is_remote(), remote);
            assert_eq!(TimeSource::read(path.clone()).unwrap().is_remote(), remote);
        }
        std::fs::write(&path, "elsewhere").unwrap();
        assert!(TimeSource::read(path).is_err());
        // What cannot be remembered is not chosen.
        let lost = TimeSource::read(folder.path().join("none").join("x")).unwrap();
        assert!(lost.choose(true).is_err() && !lost.is_remote());
    }
}
