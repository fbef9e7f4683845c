//! Opening the store: when a node starts, and again when its store has failed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::NodeError;
use crate::channel::Channels;
use crate::cluster::{Life, Phase};
use crate::env::{HubClock, Millis};
use crate::spoke::{
    DiskFolder, LogStore, Options, Replica, ReplicaSettings, SpokeStore as _, StoreId,
};

/// A wall clock this far behind the clock mark, in milliseconds, is said to be wrong.
const CLOCK_WRONG: i64 = 10_000;

/// Opens the store, again and again if it must be.
pub(super) struct Opener {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    pub(super) id: StoreId,
    pub(super) boot: u128,
    pub(super) clock: Arc<HubClock>,
    pub(super) channels: Arc<Channels>,
    pub(super) settings: ReplicaSettings,
    pub(super) life: Arc<Life>,
}

impl Opener {
    /// Opens the store, and waits until its replica may keep its promises.
    pub(super) async fn open(&self) -> Result<Arc<Replica>, NodeError> {
        let started = self.clock.boot();
        let path = self.path.clone();
        let (options, id, boot) = (self.options.clone(), self.id, self.boot);
        let (clock, channels) = (Arc::clone(&self.clock), Arc::clone(&self.channels));
        let opening = tokio::task::spawn_blocking(move || {
            let folder = DiskFolder::open(&path).map_err(|source| NodeError::Folder {
                path: path.clone(),
                source,
            })?;
            let store = LogStore::open(Arc::new(folder), options, id, boot, clock, channels)?;
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
        let replica = Replica::new(store, Arc::clone(&self.clock), self.settings);
        let from = replica.coordinates_from();
        while self.clock.now() < from {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(replica)
    }

    /// Waits until the clock has passed the mark: nothing may be promised about times of which
    /// something may have been promised before.
    async fn wait_for_clock(&self, mark: Millis) {
        let mut told = false;
        loop {
            self.clock.set_to_wall();
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
