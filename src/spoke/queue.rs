//! The queue before the writer.

use std::sync::mpsc::Sender;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::store::{Append, Done, Removal};
use crate::env::Millis;

/// What the writer is asked to do.
pub(super) enum Command {
    Append(Append),
    Remove(Removal),
    AdvanceMark(Done),
    Whole(Done),
    Close(Millis, Sender<()>),
}

/// What waits for the writer. It is bounded by the bodies that the hub has in flight, whose permits
/// are held until they are answered.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    commands: Vec<Command>,
    /// Nobody can ask any more.
    ended: bool,
}

impl Queue {
    pub(super) fn push(&self, command: Command) {
        let mut waiting = self.waiting.lock();
        waiting.commands.push(command);
        if waiting.commands.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// Says that nothing more will be pushed.
    pub(super) fn end(&self) {
        self.waiting.lock().ended = true;
        self.arrived.notify_one();
    }

    /// Waits for commands for at most that long, and takes them all; `None` once the last ones
    /// were taken.
    pub(super) fn take(&self, patience: Duration) -> Option<Vec<Command>> {
        let mut waiting = self.waiting.lock();
        if waiting.commands.is_empty() && !waiting.ended {
            self.arrived.wait_for(&mut waiting, patience);
        }
        if waiting.commands.is_empty() && waiting.ended {
            return None;
        }
        Some(std::mem::take(&mut waiting.commands))
    }
}
