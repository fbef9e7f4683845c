//! How far something has come, for whoever waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What is being done, and how far it has come. Whoever shows it looks now and then.
#[derive(Debug, Default)]
pub struct Progress {
    stage: Mutex<&'static str>,
    total: AtomicU64,
    done: AtomicU64,
    bytes: AtomicU64,
}

/// How far it has come at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// What is being done; empty before anything is.
    pub stage: &'static str,
    /// How many steps there are.
    pub total: u64,
    /// How many are done.
    pub done: u64,
    /// How many bytes were read in them.
    pub bytes: u64,
}

impl Progress {
    /// Something else begins, which has that many steps.
    pub fn begin(&self, stage: &'static str, total: usize) {
        let mut known = self.stage.lock();
        self.total.store(total as u64, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        *known = stage;
    }

    /// One step is done.
    pub fn step(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes were read.
    pub fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How far it has come.
    pub fn reached(&self) -> Reached {
        let stage = self.stage.lock();
        Reached {
            stage: *stage,
            total: self.total.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
