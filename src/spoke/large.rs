//! Payloads that are read part by part.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::files::{LogFile, read_exact};

/// A payload in a log. It stays readable while this exists, even if the segment expires.
#[derive(Debug, Clone)]
pub struct LargePayload {
    file: Arc<dyn LogFile>,
    offset: u64,
    length: u64,
}

impl LargePayload {
    /// The payload of `length` bytes at `offset`, whose checksum the caller has verified.
    pub(super) fn new(file: Arc<dyn LogFile>, offset: u64, length: u64) -> Self {
        Self {
            file,
            offset,
            length,
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Up to `wanted` bytes from `at` on; none at its end. Waits for the disk.
    ///
    /// # Errors
    /// What the file says.
    pub fn part(&self, at: u64, wanted: usize) -> io::Result<Bytes> {
        let left = self.length.saturating_sub(at);
        let wanted = (wanted as u64).min(left) as usize;
        Ok(read_exact(&*self.file, self.offset + at, wanted)?.into())
    }

    /// All of it.
    ///
    /// # Errors
    /// What the file says.
    pub fn read_all(&self) -> io::Result<Bytes> {
        self.part(0, usize::try_from(self.length).unwrap_or(usize::MAX))
    }
}
