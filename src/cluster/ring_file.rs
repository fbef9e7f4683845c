//! The ring history on a node's own disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub_ring::{HistoryMark, RingHistory};
use parking_lot::Mutex;
use thiserror::Error;

use crate::env::replace_file;

/// Why the history could not be kept or read.
#[derive(Debug, Error)]
pub enum RingFileError {
    /// The disk did not do its part.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is damaged, or of a later version.
    #[error("{path}: {reason}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// One file that holds the history, replaced as a whole.
#[derive(Debug)]
pub(super) struct RingFile {
    path: PathBuf,
    /// What was written last. Whoever asked for a write may have gone, and the write comes late.
    written: Arc<Mutex<HistoryMark>>,
}

impl RingFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            written: Arc::default(),
        }
    }

    /// The history that was kept last; an empty one if there is none.
    pub(super) async fn read(&self) -> Result<RingHistory, RingFileError> {
        let path = self.path.clone();
        blocking(&self.path, move || match std::fs::read(&path) {
            Ok(bytes) => RingHistory::decode(&bytes).map_err(|error| {
                let reason = error.to_string();
                RingFileError::Unreadable { path, reason }
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(RingHistory::new()),
            Err(source) => Err(RingFileError::Io { path, source }),
        })
        .await
    }

    /// Keeps a history; it is on disk when this returns.
    pub(super) async fn write(&self, history: Arc<RingHistory>) -> Result<(), RingFileError> {
        let (path, written) = (self.path.clone(), Arc::clone(&self.written));
        blocking(&self.path, move || {
            let mut written = written.lock();
            if *written >= history.mark() {
                return Ok(());
            }
            let bytes = history.encode().map_err(|error| {
                let (path, reason) = (path.clone(), error.to_string());
                RingFileError::Unreadable { path, reason }
            })?;
            replace_file(&path, &bytes).map_err(|source| RingFileError::Io { path, source })?;
            *written = history.mark();
            Ok(())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, RingFileError> + Send + 'static,
) -> Result<T, RingFileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(RingFileError::Io {
            path: path.to_owned(),
            source: io::Error::other(error),
        })
    })
}
