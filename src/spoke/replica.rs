//! A replica: the accept rule applied to a store, at one serial point per channel.
//!
//! It stamps keys as a coordinator and sees to their second copies, takes what other coordinators
//! offer, keeps its promises, and answers readers with a frontier and what it holds. A key counts
//! as pending from the moment it is stamped or accepted until it is stored and readable, and one
//! stamped here until a second copy is known, so a reader never learns of a frontier past an item
//! that may yet appear below it.

mod copies;
mod inventory;
mod keyed;
mod offered;
mod order;
mod outcome;
mod read;
mod settle;
mod write;

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use hub_ring::Member;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Semaphore, oneshot};

use super::accept::{Limits, Promises};
use super::dedup::Dedup;
use super::ids::{ChannelId, WriteId};
use super::peers::{ChannelRef, Peers};
use super::store::{AppendError, Removal, SpokeStore, StoreStatus, Undecided};
use crate::env::{HubClock, Millis};
use crate::item::{Frontier, ItemKey, NodeSlot, Stamps};

pub use offered::Offered;
pub use outcome::{Stored, WriteError};
pub use read::Vote;
pub use write::Write;

/// The clock mark is asked for anew when the clock is this close to it, in milliseconds.
const MARK_SOON: i64 = 400;

/// How long to wait for a change before looking again: it may have come before anybody listened.
const CHANGE: Duration = Duration::from_millis(100);

/// What a replica is told when it starts.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaSettings {
    /// The limits of the accept rule.
    pub limits: Limits,
    /// What tells this node's suffixes from another's.
    pub slot: NodeSlot,
    /// How long idempotency keys are remembered, in milliseconds.
    pub dedup_window: i64,
    /// How much memory they may take, in bytes.
    pub dedup_bytes: u64,
    /// How long a write waits for another one with its idempotency key.
    pub patience: Duration,
    /// Payloads of more than this go ahead of their append, in bytes.
    pub stage_bytes: usize,
    /// How much memory payloads may take whose append has not come yet, in bytes.
    pub staged_bytes_max: usize,
}

/// What the rings say about the keys of one channel, and about who stamped them.
pub trait KeyPlacement: Send + Sync {
    /// Whether this replica, and the coordinator, are in the replica set of the key.
    fn is_placed(&self, key: &ItemKey) -> bool;

    /// The ring horizon: keys at or past it are refused.
    fn horizon(&self) -> Millis;

    /// Whether no later channel of that name is known.
    fn is_current(&self) -> bool;

    /// The other members of the replica set at a time.
    fn others(&self, at: Millis) -> Vec<Member>;

    /// Whether this node is the first of the replica set at a time: who coordinates while it is there.
    fn leads(&self, at: Millis) -> bool;

    /// From when on a key of that time may be stamped, by this node's clock: where the set of members
    /// changes everybody's clock must have passed the change.
    fn stamps_from(&self, key: Millis) -> Millis;

    /// The replica sets that were in force between two times and have other members than the one at
    /// the later time.
    fn earlier_sets(&self, since: Millis, until: Millis) -> Vec<EarlierSet>;

    /// Whether a member of the replica set of a key time was declared lost since: it says nothing any
    /// more, and what it may hold is not waited for.
    fn is_lost(&self, member: &Member, key: Millis, now: Millis) -> bool;
}

/// A replica set that was in force and is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlierSet {
    /// Its members, this one included if it was one, without those that were declared lost.
    pub members: Vec<Member>,
    /// How many of them are to be heard: a read quorum of the whole set, or all that stay.
    pub needed: usize,
    /// The end of its time.
    pub until: Millis,
}

/// A replica.
pub struct Replica {
    store: Arc<dyn SpokeStore>,
    clock: Arc<HubClock>,
    peers: Arc<dyn Peers>,
    own: Member,
    settings: ReplicaSettings,
    /// All that can have been promised before this run.
    floor: Frontier,
    channels: RwLock<HashMap<ChannelId, Arc<Mutex<Promises>>>>,
    /// Channels in which something stamped here was decided since the store was last told.
    decided: Mutex<Vec<ChannelId>>,
    stamps: Stamps,
    dedup: Dedup,
    /// Items stamped here that are about to be removed: nobody is to learn of them any more.
    dropping: Mutex<HashSet<(ChannelId, ItemKey)>>,
    /// Undecided items stamped here that a member was told of which learns what it had promised: it
    /// may have taken them over, whether or not they were ever sent to it.
    told: Mutex<HashSet<(ChannelId, ItemKey)>>,
    /// What the writes take that are under way here.
    undecided_bytes: Arc<AtomicU64>,
    /// In which order what is stamped here goes to the others.
    order: order::SendingOrder,
    /// The KiB of large payloads that may still be read whole for others.
    large: Semaphore,
    /// Payloads that came ahead of their appends.
    staged: Mutex<HashMap<WriteId, copies::Staged>>,
    /// Key times about which this replica may have forgotten promises.
    forgotten: RwLock<Vec<(Millis, Millis)>>,
    /// Whether the store was closed: what is under way here has nobody to answer to.
    closed: AtomicBool,
    /// Whether this node's clock is too far from the others' to promise anything by it.
    clock_off: AtomicBool,
    marking: AtomicBool,
    /// Hears of what is stored of times that were archived; nobody, without an archive.
    archived: OnceLock<Arc<dyn Archived>>,
}

/// Who is to hear of what is stored late.
#[async_trait]
pub trait Archived: Send + Sync {
    /// Something of that channel and time is about to be stored: once this returns it is known, also
    /// to the next run, that it is to be looked for in the archive. It is looked for once what this
    /// gives is dropped.
    async fn late(&self, channel: ChannelId, at: Millis) -> io::Result<Box<dyn Send>>;
}

impl Replica {
    /// A replica on a store that was just opened, and the items that it coordinated and that are to
    /// be settled. The caller has waited until the clock had passed the store's mark.
    pub fn new(
        store: Arc<dyn SpokeStore>,
        clock: Arc<HubClock>,
        peers: Arc<dyn Peers>,
        own: Member,
        settings: ReplicaSettings,
    ) -> (Arc<Self>, Vec<Undecided>) {
        let floor = Frontier::before(store.mark().plus(2 * settings.limits.max_skew));
        let dedup = Dedup::new(settings.dedup_window, settings.dedup_bytes);
        for (_, key, write_id, flags) in store.recent_writes() {
            dedup.stored(write_id, flags.keyed, key, key.millis);
        }
        let undecided = store.undecided();
        let mut channels: HashMap<ChannelId, Promises> = HashMap::new();
        for item in &undecided {
            dedup.pending(item.write_id, item.flags.keyed, item.key);
            let new = || Promises::new(floor);
            let promises = channels.entry(item.channel).or_insert_with(new);
            promises.accept(item.key, item.write_id, true);
        }
        let channels = channels
            .into_iter()
            .map(|(id, p)| (id, Arc::new(Mutex::new(p))));
        let stamps = Stamps::new(settings.slot);
        let replica = Arc::new(Self {
            store,
            clock,
            peers,
            own,
            settings,
            floor,
            channels: RwLock::new(channels.collect()),
            decided: Mutex::default(),
            stamps,
            dedup,
            dropping: Mutex::default(),
            told: Mutex::default(),
            undecided_bytes: Arc::default(),
            order: order::SendingOrder::default(),
            large: Semaphore::new(inventory::LARGE_KIB as usize),
            staged: Mutex::default(),
            forgotten: RwLock::default(),
            closed: AtomicBool::new(false),
            clock_off: AtomicBool::new(false),
            marking: AtomicBool::new(false),
            archived: OnceLock::new(),
        });
        (replica, undecided)
    }

    /// Says who is to hear of what is stored of times that were archived. Once.
    pub fn set_archived(&self, archived: Arc<dyn Archived>) {
        // The first one stays.
        let _ = self.archived.set(archived);
    }

    /// When it can stamp keys: its clock must be within the skew of what was promised before.
    pub fn coordinates_from(&self) -> Millis {
        self.floor.millis().minus(self.settings.limits.max_skew)
    }

    /// Waits until the mark on disk is ahead of the clock: only then may a promise be made by it.
    async fn mark_ahead(self: &Arc<Self>) -> Result<(), AppendError> {
        loop {
            let now = self.clock.now();
            let mark = self.store.mark();
            if now.plus(MARK_SOON) < mark {
                return Ok(());
            }
            if now < mark {
                // Ask for the next mark before somebody has to wait for it.
                if !self.marking.swap(true, Ordering::AcqRel) {
                    let replica = Arc::clone(self);
                    self.store.advance_mark(Box::new(move |_| {
                        replica.marking.store(false, Ordering::Release);
                    }));
                }
                return Ok(());
            }
            let (answer, marked) = oneshot::channel();
            self.store.advance_mark(Box::new(move |result| {
                // Whoever asked may have gone.
                let _ = answer.send(result);
            }));
            marked.await.map_err(|_| AppendError::Closed)??;
        }
    }

    /// The clock, if a promise may be made by it.
    fn clock_below_mark(&self) -> Option<Millis> {
        let now = self.clock.now();
        (now < self.store.mark()).then_some(now)
    }

    fn channel(&self, id: ChannelId) -> Arc<Mutex<Promises>> {
        if let Some(channel) = self.channels.read().get(&id) {
            return Arc::clone(channel);
        }
        let mut channels = self.channels.write();
        let new = || Arc::new(Mutex::new(Promises::new(self.floor)));
        Arc::clone(channels.entry(id).or_insert_with(new))
    }

    /// Forgets channels of which the clock alone promises as much, and payloads whose append did not
    /// come.
    pub fn forget_idle(&self) {
        let clock = self.clock.now().min(self.store.mark());
        self.channels.write().retain(|_, promises| {
            // Somebody who holds it may be about to stamp.
            Arc::strong_count(promises) > 1
                || !promises.lock().is_idle(clock, &self.settings.limits)
        });
        self.forget_staged();
        self.order.forget_idle();
    }

    /// Tells the store up to where the items of each channel that are coordinated here are decided.
    pub fn write_down_decided(&self) {
        let mut channels = std::mem::take(&mut *self.decided.lock());
        channels.sort_unstable();
        channels.dedup();
        for id in channels {
            let known = self.channels.read().get(&id).cloned();
            let decided = known.and_then(|promises| promises.lock().decided_to());
            if let Some(key) = decided {
                self.store.decided_to(id, key);
            }
        }
    }

    /// The writes that are not decided: how many, and the lowest key among them.
    pub fn undecided(&self) -> (u64, Option<ItemKey>) {
        let channels: Vec<_> = self.channels.read().values().cloned().collect();
        let mut count = 0;
        let mut lowest: Option<ItemKey> = None;
        for promises in channels {
            for (key, _) in promises.lock().pending() {
                count += 1;
                lowest = Some(lowest.map_or(*key, |low| low.min(*key)));
            }
        }
        (count, lowest)
    }

    /// From now on this replica counts as one that may have forgotten promises about these key times,
    /// and says nothing that a promise is needed for: each from the first millisecond to the first
    /// one after it.
    pub fn forget(&self, times: Vec<(Millis, Millis)>) {
        *self.forgotten.write() = times;
    }

    /// It has learned again what was promised about the time that was given to [`Self::forget`] and
    /// begins there.
    pub fn learned(&self, from: Millis) {
        self.forgotten.write().retain(|time| time.0 != from);
    }

    /// The time that was given to [`Self::forget`] and begins there ends earlier than was known then:
    /// what comes later an earlier self promised nothing about.
    pub fn forgotten_until(&self, from: Millis, until: Millis) {
        let mut forgotten = self.forgotten.write();
        for time in forgotten.iter_mut().filter(|time| time.0 == from) {
            time.1 = until.min(time.1);
        }
    }

    /// The key times that were given to [`Self::forget`] and not learned again.
    pub fn forgotten(&self) -> Vec<(Millis, Millis)> {
        self.forgotten.read().clone()
    }

    /// Whether it may promise something about a key time.
    pub fn votes_at(&self, at: Millis) -> bool {
        let forgotten = self.forgotten.read();
        !forgotten.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// Whether it may promise something about every key time between two.
    pub fn votes_between(&self, from: Millis, to: Millis) -> bool {
        let forgotten = self.forgotten.read();
        !forgotten.iter().any(|(f, t)| *f < to && from < *t)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Gives up an undecided item of a channel that is gone: it is nobody's.
    pub fn give_up(&self, item: &Undecided) {
        self.dedup.failed(item.write_id, Some(&item.key));
        self.channel(item.channel).lock().decided(&item.key);
    }

    /// Takes up whether this node's clock is near enough to the others': while it is not, nothing is
    /// stamped or accepted, and it goes into no promise.
    pub fn set_clock_right(&self, right: bool) {
        self.clock_off.store(!right, Ordering::Release);
        self.store.hold_mark(!right);
    }

    /// Whether the clock goes into no promise now; then the mark stays where it is, too: a clock that
    /// is set right must not have to wait for what a wrong one wrote.
    fn is_clock_off(&self) -> bool {
        self.clock_off.load(Ordering::Acquire)
    }

    /// The clock as promises go by it.
    fn promising(&self, clock: Millis) -> Millis {
        if self.is_clock_off() {
            Millis::MIN
        } else {
            clock
        }
    }

    /// Another replica of a channel has promised that much: to promise the same does no harm, and
    /// spares refusals.
    fn heard_of(&self, channel: &ChannelRef, frontier: Frontier) {
        let near = self.clock.now().plus(self.settings.limits.max_skew);
        if frontier.millis() <= near {
            self.channel(channel.id).lock().raise(frontier);
        }
    }

    /// Waits until what is known of a write changes, but not for ever.
    async fn changed(&self, write_id: WriteId) {
        if let Some(change) = self.dedup.change(write_id) {
            // Whoever waits looks again, whatever came of it.
            let _ = tokio::time::timeout(CHANGE, change.notified()).await;
        }
    }

    /// Removes an item, and waits until it is gone.
    async fn remove(
        &self,
        channel: ChannelId,
        key: ItemKey,
        write_id: WriteId,
    ) -> Result<(), AppendError> {
        let (answer, removed) = oneshot::channel();
        self.store.remove(Removal {
            channel,
            key,
            write_id,
            done: Box::new(move |result| {
                // Whoever asked may have gone.
                let _ = answer.send(result);
            }),
        });
        removed.await.unwrap_or(Err(AppendError::Closed))
    }

    /// A key stamped here is decided, one way or the other.
    fn own_decided(&self, channel: &ChannelRef, key: &ItemKey) {
        self.channel(channel.id).lock().decided(key);
        self.decided.lock().push(channel.id);
        self.told.lock().remove(&(channel.id, *key));
    }

    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        self.store.status()
    }

    /// Why the store takes no more appends, if so.
    pub fn failure(&self) -> Option<String> {
        self.store.failure()
    }

    /// Takes down that nothing that was ever promised is missing any more; waits for the disk.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn made_whole(&self) -> Result<(), AppendError> {
        let (answer, done) = oneshot::channel();
        self.store.made_whole(Box::new(move |result| {
            // Whoever asked may have gone.
            let _ = answer.send(result);
        }));
        done.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Stores what is queued and closes the store in order; says whether nothing touches its files
    /// any more. Waits for the disk.
    pub fn close(&self) -> bool {
        self.closed.store(true, Ordering::Release);
        self.write_down_decided();
        // What was promised was promised by a clock below the mark: one that is off moves it no further.
        self.store.close(self.clock.now().min(self.store.mark()))
    }
}

#[cfg(test)]
mod tests;
