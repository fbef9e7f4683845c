//! What a simulated disk holds of a file, and what it makes of it when the power goes.

use crate::env::{Random, SeededRandom};

/// The unit in which a disk writes.
const SECTOR: usize = 512;

/// A change of a file that the disk does not have yet.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Bytes at an offset.
    Write(usize, Vec<u8>),
    /// The file's new length.
    Truncate(usize),
}

impl Change {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => overlay(bytes, *offset, written),
            Self::Truncate(length) => bytes.resize(*length, 0),
        }
    }
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What a reader sees.
    pub(super) cached: Vec<u8>,
    /// What is on disk for sure.
    pub(super) disk: Vec<u8>,
    /// What was changed since the last sync, oldest first.
    pub(super) dirty: Vec<Change>,
}

impl Content {
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.cached);
        self.dirty.push(change);
    }

    /// All that was changed is on disk.
    pub(super) fn sync(&mut self) {
        for change in self.dirty.drain(..) {
            change.apply(&mut self.disk);
        }
    }

    /// The sync failed: anything may be on disk, and the system takes all of it for written.
    pub(super) fn lose(&mut self, random: &SeededRandom) {
        self.disk = self.after_power_loss(random);
        self.dirty.clear();
    }

    /// Reads show the disk again, and what is still to be written to it.
    pub(super) fn forget_cached(&mut self) {
        self.cached.clone_from(&self.disk);
        for change in &self.dirty {
            change.apply(&mut self.cached);
        }
    }

    /// What the disk may hold if the power goes now: what was synced, and of the rest any part, in
    /// any order.
    pub(super) fn after_power_loss(&self, random: &SeededRandom) -> Vec<u8> {
        let mut bytes = self.disk.clone();
        let mut changes: Vec<&Change> = self.dirty.iter().collect();
        if one_in(random, 3) {
            shuffle(&mut changes, random);
        }
        for change in changes {
            match change {
                Change::Write(offset, written) => {
                    for (from, to) in surviving(written.len(), random) {
                        let part = written.get(from..to).unwrap_or_default();
                        overlay(&mut bytes, offset + from, part);
                    }
                }
                Change::Truncate(_) if one_in(random, 2) => change.apply(&mut bytes),
                Change::Truncate(_) => {}
            }
        }
        // A file may have its new length before it has its new bytes.
        if bytes.len() < self.cached.len() && one_in(random, 3) {
            let length = bytes.len() + below(random, self.cached.len() - bytes.len() + 1);
            bytes.resize(length, 0);
        }
        bytes
    }
}

/// Which parts of an unsynced write are on disk after a power loss.
fn surviving(length: usize, random: &SeededRandom) -> Vec<(usize, usize)> {
    match below(random, 6) {
        0 | 1 => vec![(0, length)],
        2 => Vec::new(),
        3 => vec![(0, below(random, length + 1))],
        4 => (0..length)
            .step_by(SECTOR)
            .filter(|_| one_in(random, 2))
            .map(|from| (from, (from + SECTOR).min(length)))
            .collect(),
        _ => {
            let mut parts = Vec::new();
            let mut at = 0;
            while at < length {
                let to = (at + 1 + below(random, 200)).min(length);
                if one_in(random, 2) {
                    parts.push((at, to));
                }
                at = to;
            }
            parts
        }
    }
}

fn overlay(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(written);
    }
}

/// A number below `end`, which is above 0.
pub(super) fn below(random: &SeededRandom, end: usize) -> usize {
    (random.next_u64() % end.max(1) as u64) as usize
}

/// True once in so many times.
pub(super) fn one_in(random: &SeededRandom, times: usize) -> bool {
    below(random, times) == 0
}

fn shuffle<T>(items: &mut [T], random: &SeededRandom) {
    for at in (1..items.len()).rev() {
        items.swap(at, below(random, at + 1));
    }
}
