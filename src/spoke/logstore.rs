//! The segmented log as a store: its threads, and the door to them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::files::Files;
use super::header::StoreId;
use super::housekeeping::{Chore, Housekeeping, Retention, sync_loop};
use super::ids::{ChannelId, WriteId};
use super::index::{Entry, ReadMode};
use super::log::{Options, Shared};
use super::queue::{Command, Queue};
use super::record::ItemFlags;
use super::recover::{self, OpenError};
use super::store::{
    Append, AppendError, Done, Naming, Range, ReadError, Removal, SpokeStore, StoreStatus,
    StoredItem, Undecided,
};
use super::writer::Writer;
use crate::env::{HubClock, Millis};
use crate::item::ItemKey;

/// How long the threads of a store may take to let go of its files.
const PATIENCE: Duration = Duration::from_mins(1);

/// The segmented log on disk.
pub struct LogStore {
    pub(super) shared: Arc<Shared>,
    queue: Arc<Queue>,
    chores: Sender<Chore>,
    stop_syncing: Mutex<Option<Sender<()>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Closed once housekeeping and syncing have ended.
    at_work: Mutex<Receiver<()>>,
}

impl LogStore {
    /// Opens the store in a folder, recovering what needs it, and starts its threads. Waits for
    /// the disk.
    ///
    /// # Errors
    /// [`OpenError`]: the disk does not answer, or the folder is not this store's.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a store owns its folder, and callers should see that"
    )]
    pub fn open(
        files: Arc<dyn Files>,
        options: Options,
        id: StoreId,
        boot: u128,
        clock: Arc<HubClock>,
        retention: Arc<dyn Retention>,
    ) -> Result<Self, OpenError> {
        let opened = recover::open(&files, options, id, boot, clock)?;
        let shared = opened.shared;
        let queue = Arc::new(Queue::default());
        let (chores, chores_in) = channel();
        let (stop_syncing, stop) = channel();
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&queue), chores.clone());
        let housekeeping = Housekeeping {
            shared: Arc::clone(&shared),
            chores: chores_in,
            retention,
            unsealed: opened.unsealed,
        };
        let syncing = Arc::clone(&shared);
        let refusing = Arc::clone(&queue);
        let (keeping, at_work) = channel();
        let also_syncing = keeping.clone();
        let spawn =
            |name: &str, work: Box<dyn FnOnce() + Send>, after: Box<dyn FnOnce() + Send>| {
                let watched = Arc::clone(&shared);
                let work = move || {
                    // A store that has lost a thread must not look as if it worked.
                    if catch_unwind(AssertUnwindSafe(work)).is_err() {
                        watched.fail("a thread of the store panicked: please report it".to_owned());
                    }
                    after();
                };
                let thread = std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(work);
                thread.map_err(|source| OpenError::Io {
                    what: format!("thread {name}"),
                    source,
                })
            };
        let threads = vec![
            spawn(
                "spoke-write",
                Box::new(move || writer.run()),
                Box::new(move || refusing.refuse_forever()),
            )?,
            spawn(
                "spoke-keep",
                Box::new(move || housekeeping.run()),
                Box::new(move || drop(keeping)),
            )?,
            spawn(
                "spoke-sync",
                Box::new(move || sync_loop(&syncing, &stop)),
                Box::new(move || drop(also_syncing)),
            )?,
        ];
        Ok(Self {
            shared,
            queue,
            chores,
            stop_syncing: Mutex::new(Some(stop_syncing)),
            threads: Mutex::new(threads),
            at_work: Mutex::new(at_work),
        })
    }

    /// Does at once what is done in the background now and then: seals what waits for it, looks at
    /// the disk, makes damaged indexes again.
    pub fn tidy(&self) {
        let (done, answer) = channel();
        if self.chores.send(Chore::Tidy(done)).is_ok() {
            let _ = answer.recv();
        }
    }

    /// Looks for expired segments now; gives how many went.
    pub fn expire(&self) -> usize {
        let (done, answer) = channel();
        let sent = self.chores.send(Chore::Expire(done));
        sent.ok().and_then(|()| answer.recv().ok()).unwrap_or(0)
    }

    fn stop_threads(&self) {
        drop(self.stop_syncing.lock().take());
        // It may have stopped by itself.
        let _ = self.chores.send(Chore::Stop);
    }
}

impl SpokeStore for LogStore {
    fn append(&self, append: Append) {
        let bucket = self.shared.directory.bucket(append.key.millis);
        if self.shared.directory.can_hold(bucket) {
            self.queue.push(Command::Append(append));
        } else {
            let reason = format!("Spoke cannot hold the time {}", append.key.millis);
            (append.done)(Err(AppendError::Refused { reason }));
        }
    }

    fn remove(&self, removal: Removal) {
        let bucket = self.shared.directory.bucket(removal.key.millis);
        if self.shared.directory.can_hold(bucket) {
            self.queue.push(Command::Remove(removal));
        } else {
            // Nothing of that time is held: there is nothing to remove.
            (removal.done)(Ok(()));
        }
    }

    fn decided_to(&self, channel: ChannelId, key: ItemKey) {
        self.shared.decided_to(channel, key);
        self.queue.push(Command::DecidedTo(channel, key));
    }

    fn name(&self, naming: Naming) {
        self.queue.push(Command::Name(naming));
    }

    fn undecided(&self) -> Vec<Undecided> {
        std::mem::take(&mut *self.shared.undecided.lock())
    }

    fn advance_mark(&self, done: Done) {
        self.queue.push(Command::AdvanceMark(done));
    }

    fn mark(&self) -> Millis {
        Millis::new(self.shared.mark.load(Ordering::Acquire))
    }

    fn holds_from(&self) -> Millis {
        Millis::new(self.shared.holds_from.load(Ordering::Acquire))
    }

    fn let_go(&self, from: Millis) -> io::Result<()> {
        self.shared.let_go(from)
    }

    fn hold_mark(&self, holds: bool) {
        self.shared.holds_mark.store(holds, Ordering::Release);
    }

    fn find(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<Entry>, ReadError> {
        self.shared.find(channel, key, mode)
    }

    fn range(&self, range: &Range, mode: ReadMode) -> Result<Vec<Entry>, ReadError> {
        self.shared.range(range, mode)
    }

    fn read(&self, entry: &Entry, mode: ReadMode) -> Result<StoredItem, ReadError> {
        self.shared.read(entry, mode)
    }

    fn several(
        &self,
        channel: ChannelId,
        keys: &[ItemKey],
        bytes: u64,
    ) -> Vec<Result<Option<StoredItem>, ReadError>> {
        let one_by_one = |key: &ItemKey| self.item(channel, key, ReadMode::Blocking);
        self.shared.several(channel, keys, bytes, one_by_one)
    }

    fn get(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        self.shared.get(channel, key, mode)
    }

    fn read_one(
        &self,
        entry: &Entry,
        number: u32,
        mode: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        self.shared.read_one(entry, number, mode)
    }

    fn recent_writes(&self) -> Vec<(ChannelId, ItemKey, WriteId, ItemFlags)> {
        std::mem::take(&mut *self.shared.recent.lock())
    }

    fn status(&self) -> StoreStatus {
        self.shared.status()
    }

    fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    fn failure(&self) -> Option<String> {
        self.shared.failure()
    }

    fn made_whole(&self, done: Done) {
        self.queue.push(Command::Whole(done));
    }

    fn close(&self, now: Millis) -> bool {
        let (closed, wait) = channel();
        self.queue.push(Command::Close(now, closed));
        // Longer than this only if the disk has stopped answering.
        let answer = wait.recv_timeout(PATIENCE);
        let mut ended = !matches!(answer, Err(RecvTimeoutError::Timeout));
        self.stop_threads();
        ended &= matches!(
            self.at_work.lock().recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected)
        );
        if !ended {
            tracing::warn!("the store did not close in time: its disk does not answer");
            // Nor does anybody wait for them later: the process is to end.
            self.threads.lock().clear();
        }
        ended
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        // What is queued is still written. Not closed in order, the store is found as a kill would
        // leave it.
        self.queue.end();
        self.stop_threads();
        let own = std::thread::current().id();
        for thread in self.threads.lock().drain(..) {
            // Whoever lets go last may be a thread of the store that answers a write.
            if thread.thread().id() == own {
                continue;
            }
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
