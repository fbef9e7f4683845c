//! A node that serves: what is done every so often, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Stop;
use super::opener::{Opened, Opener};
use crate::channel::{Archiver, LocalReplica, Repair, Trimmer};
use crate::cluster::{Cluster, Life, Phase};
use crate::env::{OsRandom, Random as _};
use crate::spoke::Replica;

/// How often the store is looked at for a failure.
const WATCH_STORE: Duration = Duration::from_millis(200);
/// How often closed minutes are compared with the other replicas.
const COMPARE: Duration = Duration::from_secs(20);
/// The longest pause between two tries to open a store that failed.
const REOPEN_MAX: Duration = Duration::from_secs(5);

/// A node that serves.
pub(super) struct Running {
    pub(super) opener: Arc<Opener>,
    /// What brings the present store up to date.
    pub(super) warming: Mutex<Option<AbortHandle>>,
    pub(super) local: Arc<LocalReplica>,
    pub(super) life: Arc<Life>,
    pub(super) trimmer: Arc<Trimmer>,
    /// `None` without an archive.
    pub(super) archiver: Option<Arc<Archiver>>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) confirming: AbortHandle,
}

impl Running {
    /// Brings the store that was just opened up to date, in the background: the store may fail again
    /// while that lasts.
    pub(super) fn warm(&self, opened: Opened) {
        let opener = Arc::clone(&self.opener);
        let task = tokio::spawn(async move { opener.warm(opened).await });
        *self.warming.lock() = Some(task.abort_handle());
    }

    fn stop_warming(&self) {
        if let Some(task) = self.warming.lock().take() {
            task.abort();
        }
    }

    /// Opens the store again, until it opens: one that has failed, or one whose promises are to go by
    /// a clock that is set.
    async fn reopen(&self, why: Phase) {
        self.stop_warming();
        self.life.enter(why);
        if let Some(failed) = self.local.take() {
            // Two stores on the same files would undo each other's work.
            while !close(Arc::clone(&failed)).await {}
        }
        let mut pause = Duration::from_secs(1);
        loop {
            // All that the store promised until now may be lost with it.
            let began = self.opener.clock.boot();
            match self.opener.open(began).await {
                Ok(opened) => {
                    self.local.set(Arc::clone(&opened.replica));
                    self.warm(opened);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the store does not open; trying again");
                    self.life.enter(Phase::Failed(error.to_string()));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REOPEN_MAX);
        }
    }

    pub(super) async fn close(&self) {
        self.stop_warming();
        if let Some(replica) = self.local.take() {
            close(replica).await;
        }
        self.confirming.abort();
    }
}

/// Closes a replica's store; says whether nothing touches its files any more.
async fn close(replica: Arc<Replica>) -> bool {
    let closing = tokio::task::spawn_blocking(move || replica.close());
    closing.await.unwrap_or_else(|error| {
        tracing::error!(%error, "closing the store ended early");
        true
    })
}

/// What the process was told, or else an operator asked of the node: to drain.
pub(super) fn either(
    mut told: watch::Receiver<Stop>,
    mut asked: watch::Receiver<bool>,
) -> watch::Receiver<Stop> {
    let (both, merged) = watch::channel(*told.borrow());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Ok(()) = told.changed() => {
                    both.send_replace(*told.borrow_and_update());
                }
                Ok(()) = asked.changed() => {
                    both.send_if_modified(|stop| {
                        let news = *stop == Stop::No && *asked.borrow_and_update();
                        if news {
                            *stop = Stop::Drain;
                        }
                        news
                    });
                }
                () = both.closed() => return,
            }
        }
    });
    merged
}

/// Compares what this node holds with what the other replicas hold, for as long as it runs.
pub(super) async fn repair(repair: Arc<Repair>) {
    loop {
        tokio::time::sleep(COMPARE).await;
        repair.compare().await;
    }
}

/// Brings the channels that this node coordinates down to their number of items every so often, for
/// as long as it runs.
pub(super) async fn trim(trimmer: Arc<Trimmer>, period: Duration) {
    loop {
        // Nodes that were started together do not count together.
        let share = f64::from(OsRandom.next_u64() as u32) / f64::from(u32::MAX);
        tokio::time::sleep(period.mul_f64(0.5 + share / 2.0)).await;
        trimmer.trim_led().await;
    }
}

/// How often it is looked for minutes that are over.
const ARCHIVE: Duration = Duration::from_secs(5);

/// Archives what is over and looks after what is archived, for as long as the node runs; without an archive
/// it waits that long.
pub(super) async fn archive(archiver: Option<Arc<Archiver>>, sweep: Duration) {
    let Some(archiver) = archiver else {
        return std::future::pending().await;
    };
    // None waits for another: an hour that is put together may take its time.
    let minutes = async {
        loop {
            tokio::time::sleep(ARCHIVE).await;
            if let Err(error) = archiver.archive().await {
                tracing::error!(%error, "archiving stopped, and is tried again");
            }
        }
    };
    let hours = async {
        loop {
            tokio::time::sleep(ARCHIVE).await;
            if let Err(error) = archiver.roll_up().await {
                tracing::error!(%error, "how far hours were put together was not kept");
            }
        }
    };
    let sweeping = async {
        loop {
            // Nodes that were started together do not sweep together.
            let share = f64::from(OsRandom.next_u64() as u32) / f64::from(u32::MAX);
            tokio::time::sleep(sweep.mul_f64(0.5 + share / 2.0)).await;
            archiver.sweep().await;
        }
    };
    tokio::join!(minutes, hours, sweeping);
}

/// What is done every so often while a node serves.
pub(super) async fn upkeep(running: Arc<Running>, metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(WATCH_STORE);
    let mut count = 0u64;
    loop {
        ticks.tick().await;
        count += 1;
        let failure = running.local.get().and_then(|replica| replica.failure());
        if let Some(reason) = failure {
            running.reopen(Phase::Failed(reason)).await;
        } else if running.local.get().is_some() && running.cluster.clock_is_to_be_set() {
            // As at a start: it waits for the mark of the clock as it was, and promises anew.
            let why = "its clock was out of bounds, and is set to the wall clock";
            tracing::warn!("{why}");
            running.reopen(Phase::Warming(why.to_owned())).await;
        }
        if let Some(replica) = running.local.get() {
            let clock = running.cluster.status().clock;
            replica.set_clock_right(clock.within_bounds);
            replica.write_down_decided();
        }
        if count.is_multiple_of(25) {
            metrics.run_upkeep();
            if let Some(replica) = running.local.get() {
                replica.forget_idle();
            }
        }
    }
}
