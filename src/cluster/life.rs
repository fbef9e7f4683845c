//! The life of a node: starting → joining → warming → ready → draining → stopped.

use tokio::sync::watch;

/// How far a node has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It opens its data folder.
    Starting,
    /// It registers and waits for a ring with it; with what it is waiting for.
    Joining(String),
    /// It opens its store and waits until it may keep its promises; with what it is doing.
    Warming(String),
    /// It serves.
    Ready,
    /// Its store failed, and is opened again; with the reason.
    Failed(String),
    /// It was asked to stop, and finishes what is in flight.
    Draining,
    /// It has stopped.
    Stopped,
}

impl Phase {
    /// One word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Joining(_) => "joining",
            Self::Warming(_) => "warming",
            Self::Ready => "ready",
            Self::Failed(_) => "failed",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    /// One sentence for it; `OK` only if the node can serve.
    pub fn describe(&self) -> String {
        match self {
            Self::Ready => "OK".to_owned(),
            Self::Joining(what) => format!("joining: {what}"),
            Self::Warming(what) => format!("warming: {what}"),
            Self::Failed(why) => format!("the store failed and is opened again: {why}"),
            Self::Draining => "draining: this node was asked to stop".to_owned(),
            other => other.name().to_owned(),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Joining(_) => 1,
            Self::Warming(_) | Self::Ready | Self::Failed(_) => 2,
            Self::Draining => 3,
            Self::Stopped => 4,
        }
    }
}

/// The phase of this node, for all who ask.
#[derive(Debug)]
pub struct Life {
    phase: watch::Sender<Phase>,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Starting),
        }
    }
}

impl Life {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Whether the node serves.
    pub fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Ready
    }

    /// Whether it was asked to stop.
    pub fn is_ending(&self) -> bool {
        self.phase.borrow().rank() >= Phase::Draining.rank()
    }

    /// The phase as it changes.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Moves on. A node that drains does not become ready again, whatever finishes late.
    pub fn enter(&self, next: Phase) {
        let (name, said) = (next.name(), next.describe());
        let moved = self.phase.send_if_modified(|phase| {
            let moves = next.rank() >= phase.rank() && next != *phase;
            if moves {
                *phase = next;
            }
            moves
        });
        if moved {
            tracing::info!(state = name, "{said}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_is_not_undone() {
        let life = Life::default();
        life.enter(Phase::Warming("x".to_owned()));
        assert!(!life.is_ready());
        life.enter(Phase::Ready);
        assert!(life.is_ready());
        life.enter(Phase::Failed("disk".to_owned()));
        life.enter(Phase::Ready);
        assert!(life.is_ready(), "a store that was opened again serves");
        life.enter(Phase::Draining);
        life.enter(Phase::Ready);
        assert!(life.is_ending() && !life.is_ready());
    }
}
