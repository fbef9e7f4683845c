//! Opening the store: when a node starts, and again when its store has failed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::NodeError;
use super::keeping::Keeping;
use crate::channel::{Archiver, ChannelPlacement, Channels, Part, Repair, Warmed};
use crate::cluster::{Cluster, Life, Phase, RingView};
use crate::env::{BootTime, HubClock, Millis};
use crate::spoke::peers::Peers;
use crate::spoke::{
    Archived, DiskFolder, LogStore, Options, Replica, ReplicaSettings, SpokeStore as _, StoreId,
    Undecided,
};

/// A wall clock this far behind the clock mark, in milliseconds, is said to be wrong.
const CLOCK_WRONG: i64 = 10_000;

/// How often members that were gone are asked again.
const RELEARN: Duration = Duration::from_secs(10);

/// Opens the store, again and again if it must be.
pub(super) struct Opener {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    pub(super) id: StoreId,
    pub(super) boot: u128,
    pub(super) clock: Arc<HubClock>,
    pub(super) channels: Arc<Channels>,
    /// What the store keeps.
    pub(super) keeping: Arc<Keeping>,
    /// `None` without an archive.
    pub(super) archiver: Option<Arc<Archiver>>,
    pub(super) settings: ReplicaSettings,
    pub(super) life: Arc<Life>,
    pub(super) view: Arc<RingView>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) repair: Arc<Repair>,
}

/// A store that was opened, and its replica.
pub(super) struct Opened {
    pub(super) replica: Arc<Replica>,
    /// What was promised and may be missing; `None` if nothing can be.
    forgotten: Option<Vec<Part>>,
    /// The last time of which anything was promised before.
    mark: Millis,
}

impl Opener {
    /// Opens the store, and waits until its replica may keep its promises.
    ///
    /// What it may have forgotten, if it has lost something, it promised before `began`: by the
    /// boot-time clock, as the other one may be set meanwhile.
    pub(super) async fn open(&self, began: BootTime) -> Result<Opened, NodeError> {
        let started = self.clock.boot();
        let path = self.path.clone();
        let (options, id, boot) = (self.options.clone(), self.id, self.boot);
        let (clock, keeping) = (Arc::clone(&self.clock), Arc::clone(&self.keeping));
        let opening = tokio::task::spawn_blocking(move || {
            let folder = DiskFolder::open(&path).map_err(|source| NodeError::Folder {
                path: path.clone(),
                source,
            })?;
            let store = LogStore::open(Arc::new(folder), options, id, boot, clock, keeping)?;
            Ok::<_, NodeError>(store)
        });
        let store = opening.await.map_err(|_| NodeError::Ended {
            what: "opening the store",
        })??;
        let store = Arc::new(store);
        let status = store.status();
        tracing::info!(
            items = status.items,
            bytes = status.bytes,
            segments = status.segments,
            damaged = status.damaged,
            intact = status.intact,
            elapsed_ms = self.clock.boot().saturating_sub(started).as_millis(),
            "the store is open"
        );
        self.wait_for_clock(store.mark()).await;
        let mark = store.mark();
        let since = self.clock.boot().saturating_sub(began).as_millis();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let began = self.clock.now().minus(since);
        let (replica, undecided) = Replica::new(
            store,
            Arc::clone(&self.clock),
            Arc::clone(&self.peers),
            self.view.own().clone(),
            self.settings,
        );
        if let Some(archiver) = &self.archiver {
            replica.set_archived(Arc::clone(archiver) as Arc<dyn Archived>);
        }
        if let Some(archiver) = &self.archiver
            && !status.intact
        {
            // Up to where what it may have lost had gone to the archive may be lost, too.
            let archived_to = archiver.archived_to();
            let noted = replica.let_go(archived_to).await;
            noted.map_err(|source| NodeError::Folder {
                path: self.path.clone(),
                source,
            })?;
        }
        let forgotten = (!status.intact).then(|| self.repair.forget(&replica, began));
        for item in undecided {
            self.settle(&replica, item);
        }
        let from = replica.coordinates_from();
        while self.clock.now() < from {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Opened {
            replica,
            forgotten,
            mark,
        })
    }

    /// Settles, in the background, an item that this node coordinated before.
    fn settle(&self, replica: &Arc<Replica>, item: Undecided) {
        // What is in a channel that is gone is nobody's.
        let Some(channel) = self.channels.numbered(item.channel) else {
            replica.give_up(&item);
            return;
        };
        let channel = (*channel).as_ref();
        let place = Arc::new(ChannelPlacement {
            view: Arc::clone(&self.view),
            channels: Arc::clone(&self.channels),
            channel: channel.clone(),
            coordinator: self.view.own().clone(),
            max_skew: self.settings.limits.max_skew,
        });
        tokio::spawn(Arc::clone(replica).settle_own(item, channel, place));
    }

    /// Brings a replica that was just opened up to date with the others: then the node is ready.
    pub(super) async fn warm(&self, opened: Opened) {
        let replica = &opened.replica;
        let told = |warmed: Warmed| {
            let Warmed {
                seen,
                fetched,
                bytes,
                parts,
                of,
            } = warmed;
            self.life.enter(Phase::Warming(format!(
                "{parts} of {of} parts, {seen} items looked at, {fetched} fetched ({bytes} bytes)"
            )));
        };
        let Some(forgotten) = opened.forgotten else {
            // The skew on both sides of what the mark was worth.
            let since = opened.mark.minus(10_000);
            self.repair.catch_up(replica, since, told).await;
            self.life.enter(Phase::Ready);
            return;
        };
        let mut left_out = self.repair.learn(replica, forgotten, told).await;
        self.life.enter(Phase::Ready);
        // Those who are gone may come back.
        while !left_out.is_empty() {
            tokio::time::sleep(RELEARN).await;
            left_out = self.repair.learn(replica, left_out, |_| {}).await;
        }
        match replica.made_whole().await {
            Ok(()) => tracing::info!("what may have been lost was fetched from the others"),
            Err(error) => tracing::warn!(%error, "could not take down that nothing is missing"),
        }
    }

    /// Waits until the clock has passed the mark: nothing may be promised about times of which
    /// something may have been promised before.
    async fn wait_for_clock(&self, mark: Millis) {
        let mut told = false;
        loop {
            self.cluster.set_clock();
            let behind = mark.get() - self.clock.now().get();
            if behind < 0 {
                return;
            }
            if behind > CLOCK_WRONG && !told {
                told = true;
                let what = format!(
                    "the wall clock is {} s behind what it was before the restart; set it right",
                    behind / 1000
                );
                tracing::error!(behind_ms = behind, "the wall clock has gone back");
                self.life.enter(Phase::Warming(what));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
