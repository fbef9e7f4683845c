//! The queue before the writer.

use std::sync::mpsc::Sender;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::ids::ChannelId;
use super::log::Durability;
use super::store::{Append, AppendError, Done, Naming, Removal};
use crate::env::Millis;
use crate::item::ItemKey;

/// What the writer is asked to do.
pub(super) enum Command {
    Append(Append),
    Remove(Removal),
    Name(Naming),
    DecidedTo(ChannelId, ItemKey),
    AdvanceMark(Done),
    Whole(Done),
    Close(Millis, Sender<()>),
}

impl Command {
    /// Whether it may wait for others to share a sync with. What is no item needs none.
    fn may_linger(&self) -> bool {
        matches!(
            self,
            Self::Append(_) | Self::Remove(_) | Self::Name(_) | Self::DecidedTo(..)
        )
    }
}

/// So many commands are worth a batch: more are taken if they are there, but not waited for.
const BATCH: usize = 32;
/// The longest that a batch waits to fill up.
const LINGER_MAX: Duration = Duration::from_micros(250);
/// A batch that costs less than this is not worth waiting for another's company.
const CHEAP: Duration = Duration::from_micros(100);

/// How long the writer lets a batch fill up before it writes it.
///
/// Where a sync is dear and several clients write at a time, those who were just answered are about
/// to send again, and half the time of a sync is well spent on having them share the next one (the
/// `commit_delay` of PostgreSQL, chosen by what is seen instead of set). A lone writer is never made
/// to wait, and without syncs nobody is.
#[derive(Debug)]
pub(super) struct Pace {
    durability: Durability,
    /// How long batches take, smoothed.
    cost: Duration,
    /// How many items the last one had.
    items: usize,
}

impl Pace {
    /// Of a writer that has not written yet.
    pub(super) fn new(durability: Durability) -> Self {
        Self {
            durability,
            cost: Duration::ZERO,
            items: 0,
        }
    }

    /// A batch of that many items took that long.
    pub(super) fn committed(&mut self, items: usize, spent: Duration) {
        self.items = items;
        self.cost = (self.cost * 7 + spent) / 8;
    }

    /// How long the next batch may wait for more.
    pub(super) fn linger(&self) -> Duration {
        if self.durability != Durability::Fsync || self.items < 2 || self.cost < CHEAP {
            return Duration::ZERO;
        }
        (self.cost / 2).min(LINGER_MAX)
    }
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
    /// The writer waits for that many commands.
    wanted: usize,
    /// Nobody can ask any more.
    ended: bool,
}

impl Queue {
    pub(super) fn push(&self, command: Command) {
        let mut waiting = self.waiting.lock();
        let urgent = !command.may_linger();
        waiting.commands.push(command);
        if waiting.wanted > 0 && (waiting.commands.len() >= waiting.wanted || urgent) {
            waiting.wanted = 0;
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// Says that nothing more will be pushed.
    pub(super) fn end(&self) {
        self.waiting.lock().ended = true;
        self.arrived.notify_one();
    }

    /// Waits for a command for at most `patience`, and then, if there is one, for a batch of them
    /// for at most `linger`; takes them all. `None` once the last ones were taken.
    pub(super) fn take(&self, patience: Duration, linger: Duration) -> Option<Vec<Command>> {
        let mut waiting = self.waiting.lock();
        if waiting.commands.is_empty() && !waiting.ended {
            waiting.wanted = 1;
            self.arrived.wait_for(&mut waiting, patience);
        }
        let few = (1..BATCH).contains(&waiting.commands.len());
        let patient = waiting.commands.iter().all(Command::may_linger) && !waiting.ended;
        if few && patient && !linger.is_zero() {
            waiting.wanted = BATCH;
            self.arrived.wait_for(&mut waiting, linger);
        }
        waiting.wanted = 0;
        if waiting.commands.is_empty() && waiting.ended {
            return None;
        }
        Some(std::mem::take(&mut waiting.commands))
    }

    /// Answers what still comes after the end, for as long as somebody can ask.
    pub(super) fn refuse_forever(&self) {
        while let Some(commands) = self.take(Duration::from_mins(1), Duration::ZERO) {
            for command in commands {
                let done = match command {
                    Command::Append(append) => append.done,
                    Command::Remove(removal) => removal.done,
                    Command::Name(naming) => naming.done,
                    Command::DecidedTo(..) => continue,
                    Command::AdvanceMark(done) | Command::Whole(done) => done,
                    Command::Close(_, closed) => {
                        // The closer may have given up waiting.
                        let _ = closed.send(());
                        continue;
                    }
                };
                done(Err(AppendError::Closed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::item::ItemKey;
    use crate::spoke::{ChannelId, WriteId};

    #[test]
    fn a_lone_writer_and_a_store_without_syncs_are_not_made_to_wait() {
        let mut pace = Pace::new(Durability::Fsync);
        assert_eq!(pace.linger(), Duration::ZERO);
        for _ in 0..100 {
            pace.committed(1, Duration::from_millis(2));
        }
        assert_eq!(pace.linger(), Duration::ZERO);
        let mut pace = Pace::new(Durability::Replicated);
        for _ in 0..100 {
            pace.committed(64, Duration::from_millis(2));
        }
        assert_eq!(pace.linger(), Duration::ZERO);
    }

    #[test]
    fn several_writers_share_a_sync_within_half_its_time() {
        let mut pace = Pace::new(Durability::Fsync);
        for _ in 0..100 {
            pace.committed(2, Duration::from_micros(300));
        }
        let linger = pace.linger();
        assert!(linger > Duration::from_micros(140) && linger <= Duration::from_micros(150));
        for _ in 0..100 {
            pace.committed(2, Duration::from_secs(1));
        }
        assert_eq!(pace.linger(), LINGER_MAX);
        for _ in 0..100 {
            pace.committed(2, Duration::from_micros(40));
        }
        assert_eq!(pace.linger(), Duration::ZERO, "it is cheap");
    }

    fn removal() -> Command {
        Command::Remove(Removal {
            channel: ChannelId(1),
            key: ItemKey::MIN,
            write_id: WriteId(1),
            done: Box::new(|_| {}),
        })
    }

    /// Pushes these while somebody lingers with one command, for an hour if he is not woken.
    fn taken_with(pushed: Vec<Command>) -> usize {
        let queue = Arc::new(Queue::default());
        queue.push(removal());
        let taking = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.take(Duration::ZERO, Duration::from_hours(1))
        });
        while queue.waiting.lock().wanted == 0 {
            std::thread::yield_now();
        }
        for command in pushed {
            queue.push(command);
        }
        taking.join().unwrap().map_or(0, |commands| commands.len())
    }

    #[test]
    fn a_batch_lingers_until_it_is_large_enough_or_somebody_cannot_wait() {
        let full = (1..BATCH).map(|_| removal()).collect();
        assert_eq!(taken_with(full), BATCH);
        let urgent = Command::AdvanceMark(Box::new(|_| {}));
        assert_eq!(taken_with(vec![removal(), urgent]), 3);
    }

    #[test]
    fn the_last_commands_are_taken_before_the_end() {
        let queue = Queue::default();
        queue.push(removal());
        queue.end();
        let taken = queue.take(Duration::from_hours(1), Duration::from_hours(1));
        assert_eq!(taken.map(|commands| commands.len()), Some(1));
        assert!(
            queue
                .take(Duration::from_hours(1), Duration::ZERO)
                .is_none()
        );
    }
}
