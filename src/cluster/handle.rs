//! This node's part in the cluster: registered, in the ring, and sure of it.
//!
//! [`Cluster::open`] registers the node; then other members may connect. [`Cluster::start`] runs
//! what keeps its horizon moving, compares clocks, and keeps the ring; [`Cluster::joined`] waits
//! until the node is in a ring that is in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use hub_ring::keeper::KeeperPolicy;
use hub_ring::{Member, NodeSlot, RingHistory, RingMap};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::clocks::ClockStanding;
use super::coordination::{Coordination, CoordinationError, Incarnation, Link, MemberRecord};
use super::life::Life;
use super::peers::{KnownChannels, RingPeers, RingService, Vouched};
use super::ring_file::{RingFile, RingFileError};
use super::rings::Rings;
use super::sightings::Sightings;
use super::view::RingView;
use super::{archived, comparing, confirming, keeping};
use crate::env::{HubClock, Millis};

/// How often what nobody tells is looked at: whether members answer, and how time passes.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// A clock that is not further from the wall clock than this, in milliseconds, is not set: it gets
/// there by itself.
const CLOCK_NEAR: i64 = 50;

/// What a node's part in the cluster goes by.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// What this node says of itself. Its incarnation and its ring are filled in.
    pub record: MemberRecord,
    /// The keeper's numbers.
    pub policy: KeeperPolicy,
    /// The file of the ring history.
    pub rings: PathBuf,
}

/// Why a node does not take part.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Its ring history cannot be read.
    #[error("the ring history of this node: {0}")]
    Rings(#[from] RingFileError),
}

/// The channels as a node knows them, for members that cannot ask coordination.
#[async_trait]
pub trait ChannelBook: Send + Sync {
    /// What tells whether two nodes know the same: XXH3 of all names, numbers and versions.
    fn digest(&self) -> u64;

    /// All that is known.
    fn known(&self) -> KnownChannels;

    /// Takes up what another member knows.
    async fn take_up(&self, known: KnownChannels);

    /// Sets for how long the name of a deleted channel rests (milliseconds).
    fn set_rest(&self, millis: i64);

    /// For how long an item may be kept at the most (milliseconds); `None`: for ever.
    fn longest_retention(&self) -> Option<i64>;
}

/// Where this node stands, for those who ask about its health.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    /// The connection to coordination.
    pub link: Link,
    /// The clock among the others.
    pub clock: ClockStanding,
    /// Why the newest ring history was not taken up, if it was not.
    pub trouble: Option<String>,
    /// What the keeper says, if this node is the keeper.
    pub keeper: Option<String>,
}

/// This node's part in the cluster.
pub struct Cluster {
    pub(super) coordination: Arc<dyn Coordination>,
    pub(super) clock: Arc<HubClock>,
    pub(super) policy: KeeperPolicy,
    pub(super) rings: Rings,
    pub(super) peers: OnceLock<Arc<dyn RingPeers>>,
    pub(super) book: OnceLock<Arc<dyn ChannelBook>>,
    /// How far this node has come with archiving; it does not, unless it is set.
    own_archived: OnceLock<Box<dyn Fn() -> Millis + Send + Sync>>,
    /// How far members have come that were heard of lately.
    pub(super) archived: Mutex<BTreeMap<Member, Millis>>,
    pub(super) sightings: Mutex<Sightings>,
    pub(super) standing: watch::Sender<ClockStanding>,
    pub(super) says: watch::Sender<Option<String>>,
    /// Clocks seen by confirmations, for the next comparison.
    pub(super) mtime: Mutex<Option<super::ClockSample>>,
    /// Wakes the comparing of clocks.
    pub(super) compare_now: Notify,
    record: Mutex<MemberRecord>,
    incarnation: OnceLock<Incarnation>,
}

impl Cluster {
    /// Reads the node's own ring history and takes it up.
    ///
    /// # Errors
    /// [`ClusterError`]: a node that does not know what it has promised must not go on.
    pub async fn open(
        settings: ClusterSettings,
        coordination: Arc<dyn Coordination>,
        view: Arc<RingView>,
        clock: Arc<HubClock>,
    ) -> Result<Arc<Self>, ClusterError> {
        let ClusterSettings {
            mut record,
            policy,
            rings,
        } = settings;
        let file = RingFile::new(rings);
        let rings = Rings::open(view, file, Arc::clone(&clock), policy.lease_millis).await?;
        record.ring = rings.view.history().mark().version;
        Ok(Arc::new(Self {
            coordination,
            clock,
            policy,
            rings,
            peers: OnceLock::new(),
            own_archived: OnceLock::new(),
            archived: Mutex::default(),
            book: OnceLock::new(),
            sightings: Mutex::default(),
            standing: watch::Sender::new(ClockStanding::ALONE),
            says: watch::Sender::new(None),
            mtime: Mutex::new(None),
            compare_now: Notify::new(),
            record: Mutex::new(record),
            incarnation: OnceLock::new(),
        }))
    }

    /// Registers the node, however long that takes; gives the number of this run.
    pub async fn register(&self) -> Incarnation {
        let mut told = false;
        loop {
            let record = self.record.lock().clone();
            match self.coordination.register(self.own(), record).await {
                Ok(incarnation) => {
                    return *self.incarnation.get_or_init(|| incarnation);
                }
                Err(error) if !told => {
                    told = true;
                    tracing::warn!(%error, "this node could not register yet");
                }
                Err(_) => {}
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Says how far the node has come to those who see its registration.
    ///
    /// # Errors
    /// [`CoordinationError`]; it is said by the next session at the latest.
    pub async fn enter(&self, state: &str) -> Result<(), CoordinationError> {
        let record = {
            let mut record = self.record.lock();
            state.clone_into(&mut record.state);
            record.clone()
        };
        self.coordination.register(self.own(), record).await?;
        Ok(())
    }

    /// Says how far the node comes to those who see its registration, for as long as it runs.
    pub async fn follow_life(self: Arc<Self>, life: Arc<Life>) {
        let mut phase = life.watch();
        loop {
            let state = phase.borrow_and_update().name();
            if let Err(error) = self.enter(state).await {
                tracing::debug!(%error, state, "others are not told yet how far this node is");
            }
            if life.is_ending() || phase.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs what a registered node does; ends only if something fails that should not.
    pub fn start(self: &Arc<Self>, peers: Arc<dyn RingPeers>) -> JoinHandle<()> {
        // Set once, here.
        let _ = self.peers.set(peers);
        let mut tasks = JoinSet::new();
        tasks.spawn(confirming::run(Arc::clone(self)));
        tasks.spawn(keeping::run(Arc::clone(self)));
        // A hub that is alone sees no one come or go, and is left no announcement.
        if self.coordination.is_shared() {
            tasks.spawn(keeping::watch_members(Arc::clone(self)));
            tasks.spawn(keeping::complete_left_over(Arc::clone(self)));
            tasks.spawn(comparing::run(Arc::clone(self)));
            tasks.spawn(archived::ask(Arc::clone(self)));
        }
        tokio::spawn(async move {
            // None of them ends; one that panics takes the node with it.
            if let Some(Err(error)) = tasks.join_next().await {
                tracing::error!(%error, "a task of the cluster has ended");
            }
        })
    }

    /// Waits until this node is in a ring that is in force, and its horizon moves; gives its slot.
    ///
    /// A clock that is out of bounds meanwhile follows the wall clock: a node that was started
    /// before its machine's clock was right is not to wait until that is made up.
    pub async fn joined(&self) -> NodeSlot {
        let mut told = false;
        loop {
            if !self.clock_is_right() {
                self.set_clock();
            }
            let history = self.view().history();
            let now = self.clock.now();
            let current = history.at(now.get());
            if current.is_some_and(|map| map.contains(self.own()))
                && now < self.view().horizon()
                && let Some(slot) = history.node_slot(self.own())
            {
                return slot;
            }
            if !told {
                told = true;
                let ring = history.newest().map(RingMap::version);
                tracing::info!(ring, "waiting for a ring with this node in it");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sets the clock to the wall clock, if it is not near that. Only while nothing is promised by it:
    /// before the store is open.
    pub fn set_clock(&self) {
        if self.clock.read().offset_millis.abs() <= CLOCK_NEAR {
            return;
        }
        let back = self.view().set_clock(&self.clock);
        self.rings.clock_was_set();
        // What was seen of other clocks was seen by the clock as it was.
        *self.mtime.lock() = None;
        self.standing.send_replace(ClockStanding::ALONE);
        self.compare_now.notify_one();
        tracing::warn!(back_ms = back, "this node's clock is set to the wall clock");
    }

    /// Whether the clock is out of bounds though the wall clock is not: then the node has to stop
    /// promising, and set it.
    pub fn clock_is_to_be_set(&self) -> bool {
        let standing = *self.standing.borrow();
        // Looked at often, and hardly ever so.
        !standing.within_bounds && {
            let offset = self.clock.read().offset_millis;
            standing.is_mended_by(offset, self.policy.max_skew_millis)
        }
    }

    /// Lets members that cannot ask coordination have the channels from this node, and this one from
    /// them.
    pub fn set_channels(&self, book: Arc<dyn ChannelBook>) {
        // By then no node goes on accepting items for a channel that was deleted.
        book.set_rest(self.policy.lease_millis + 2 * self.policy.max_skew_millis);
        // Set once: later ones are the same.
        let _ = self.book.set(book);
    }

    /// Says where it stands how far this node has come with archiving: see [`Vouched::archived_to`].
    pub fn set_archived(&self, archived_to: impl Fn() -> Millis + Send + Sync + 'static) {
        // Set once: later ones are the same.
        let _ = self.own_archived.set(Box::new(archived_to));
    }

    /// Whether there is an archive.
    pub(super) fn archives(&self) -> bool {
        self.own_archived.get().is_some()
    }

    /// See [`Vouched::archived_to`].
    pub(super) fn archived_to(&self) -> Millis {
        self.own_archived.get().map_or(Millis::MIN, |to| to())
    }

    /// This node.
    pub fn own(&self) -> &Member {
        self.rings.view.own()
    }

    /// The rings as this node knows them.
    pub fn view(&self) -> &Arc<RingView> {
        &self.rings.view
    }

    /// What the members agree through.
    pub fn coordination(&self) -> &Arc<dyn Coordination> {
        &self.coordination
    }

    /// The run of this node; 0 before it has registered.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation.get().copied().unwrap_or(Incarnation(0))
    }

    /// How this node's clock stands among the others, as it changes.
    pub fn clock_standing(&self) -> watch::Receiver<ClockStanding> {
        self.standing.subscribe()
    }

    /// Where this node stands.
    pub fn status(&self) -> ClusterStatus {
        ClusterStatus {
            link: self.coordination.link().borrow().clone(),
            clock: *self.standing.borrow(),
            trouble: self.rings.trouble(),
            keeper: self.says.borrow().clone(),
        }
    }

    /// Whether a member answers over the peer link. This node answers itself.
    pub(super) fn answers(&self, member: &Member) -> bool {
        let peers = self.peers.get();
        member == self.own() || peers.is_some_and(|peers| peers.is_connected(member))
    }

    pub(super) fn clock_is_right(&self) -> bool {
        self.standing.borrow().within_bounds
    }

    /// Whether the clock is right and was compared with another one, if there is any: what is to be
    /// done by it for others waits for that.
    pub(super) fn clock_is_sure(&self) -> bool {
        let standing = *self.standing.borrow();
        let members = self.view().history();
        let members = members.newest().map_or(0, |map| map.members().len());
        let needed = self.coordination.is_shared() && members > 1;
        if standing.within_bounds && standing.compared_with == 0 && needed {
            self.compare_now.notify_one();
            return false;
        }
        standing.within_bounds
    }

    /// Whether this node was in force last: only such members announce, or say from when. One that
    /// is in the announced ring alone is not asked by those who vouch for the ring before.
    pub(super) fn is_in_dated_ring(&self, history: &RingHistory) -> bool {
        let dated = history
            .maps()
            .iter()
            .rev()
            .find(|map| map.from_millis().is_some());
        dated.is_none_or(|map| map.contains(self.own()))
    }
}

#[async_trait]
impl RingService for Cluster {
    async fn vouch(&self, _from: &Member) -> Vouched {
        Vouched {
            incarnation: self.incarnation(),
            knows: self.rings.knows(),
            channels: self.book.get().map_or(0, |book| book.digest()),
            archived_to: self.archived_to(),
            // Last: it is to be the time of the answer.
            clock: self.clock.now(),
        }
    }

    async fn history(&self, _from: &Member) -> Arc<RingHistory> {
        self.view().history()
    }

    async fn channels(&self, _from: &Member) -> KnownChannels {
        self.book.get().map(|book| book.known()).unwrap_or_default()
    }
}

/// The peers of a node that is alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

#[async_trait]
impl RingPeers for NoPeers {
    fn is_connected(&self, _member: &Member) -> bool {
        false
    }

    async fn vouch(&self, member: &Member) -> Result<Vouched, super::PeerError> {
        Err(nobody(member))
    }

    async fn history(&self, member: &Member) -> Result<Arc<RingHistory>, super::PeerError> {
        Err(nobody(member))
    }

    async fn channels(&self, member: &Member) -> Result<KnownChannels, super::PeerError> {
        Err(nobody(member))
    }
}

fn nobody(member: &Member) -> super::PeerError {
    super::PeerError::NotConnected {
        member: member.clone(),
        reason: "this hub is alone".to_owned(),
    }
}
