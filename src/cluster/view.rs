//! What this node knows of the rings: `R(c, k)`, and how long it may trust that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use hub_ring::{
    HistoryMark, HorizonStep, Member, RingHistory, RingHorizon, RingTables, Staying, Vouching,
};
use parking_lot::Mutex;

use crate::env::Millis;

/// The rings as this node knows them, for look-ups that wait for nobody.
pub struct RingView {
    own: Member,
    tables: ArcSwap<RingTables>,
    history: ArcSwap<RingHistory>,
    horizon: Mutex<RingHorizon>,
    /// What `horizon` comes to, for those who only look.
    horizon_millis: AtomicI64,
}

impl RingView {
    /// A view that knows of no ring and says nothing about any time.
    pub fn new(own: Member) -> Arc<Self> {
        Arc::new(Self {
            own,
            tables: ArcSwap::default(),
            history: ArcSwap::default(),
            horizon: Mutex::new(RingHorizon::new()),
            horizon_millis: AtomicI64::new(Millis::MIN.get()),
        })
    }

    /// This node.
    pub fn own(&self) -> &Member {
        &self.own
    }

    /// Takes up a history, and builds the tables that it needs.
    pub fn adopt(&self, history: Arc<RingHistory>) {
        let tables = RingTables::new(&history, &self.tables.load());
        let _horizon = self.horizon.lock();
        self.tables.store(Arc::new(tables));
        self.history.store(history);
    }

    /// Takes up that the history was confirmed to be the newest, by a question that was sent when
    /// the clock showed `sent`.
    pub fn confirmed(&self, sent: Millis, lease: i64) -> HorizonStep {
        self.step(|horizon, history| horizon.confirm(history, sent.get(), lease))
    }

    /// The same for a history known by its mark: one of other rings than this node holds by now
    /// moves nothing.
    pub fn confirmed_at(&self, mark: HistoryMark, sent: Millis, lease: i64) -> HorizonStep {
        self.step(|horizon, history| {
            let held = history.mark();
            if mark.knows_newer_ring_than(held) || held.knows_newer_ring_than(mark) {
                return HorizonStep::HistoryChanged;
            }
            horizon.confirm(history, sent.get(), lease)
        })
    }

    /// Takes up that every member has vouched for the history.
    pub fn confirmed_by(&self, vouching: &Vouching, lease: i64) -> HorizonStep {
        self.step(|horizon, history| horizon.confirm_vouched(history, vouching, lease))
    }

    fn step(
        &self,
        step: impl FnOnce(&mut RingHorizon, &RingHistory) -> HorizonStep,
    ) -> HorizonStep {
        // Read under the lock: a history taken up meanwhile is seen here or comes after.
        let mut horizon = self.horizon.lock();
        let step = step(&mut horizon, &self.history.load());
        let millis = horizon.millis().map_or(Millis::MIN, Millis::new);
        self.horizon_millis.store(millis.get(), Ordering::Release);
        step
    }

    /// The ring horizon: this node says nothing about times at or past it.
    pub fn horizon(&self) -> Millis {
        Millis::new(self.horizon_millis.load(Ordering::Acquire))
    }

    /// The history.
    pub fn history(&self) -> Arc<RingHistory> {
        self.history.load_full()
    }

    /// Whether both this node and the coordinator are in the replica set of a channel at a time.
    pub fn is_placed(&self, channel: &str, at: Millis, coordinator: &Member) -> bool {
        let tables = self.tables.load();
        tables
            .replica_set(channel, at.get())
            .is_some_and(|set| set.contains(&self.own) && set.contains(coordinator))
    }

    /// Who of the replica set of a channel (its name in lower case) at a key time may still answer at
    /// `now`, and how many must; nobody where no ring was in force.
    pub fn staying(&self, channel: &str, at: Millis, now: Millis) -> Staying {
        let tables = self.tables.load();
        let built = tables.at(at.get());
        built.map_or_else(Staying::default, |built| built.staying(channel, now.get()))
    }

    /// The rings with their tables.
    pub fn tables(&self) -> Arc<RingTables> {
        self.tables.load_full()
    }

    /// The replica set of a channel (its name in lower case) at a key time.
    pub fn replica_set(&self, channel: &str, at: Millis) -> Vec<Member> {
        let tables = self.tables.load();
        let set = tables.replica_set(channel, at.get());
        set.map_or_else(Vec::new, |set| set.iter().cloned().collect())
    }
}
