//! What this node knows of the rings: `R(c, k)`, and how long it may trust that.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hub_ring::{
    HistoryMark, HorizonStep, Member, RingHistory, RingHorizon, RingTables, Staying, Vouching,
};
use parking_lot::Mutex;

use crate::env::{HubClock, Millis};

/// The rings as this node knows them, for look-ups that wait for nobody.
pub struct RingView {
    own: Member,
    tables: ArcSwap<RingTables>,
    history: ArcSwap<RingHistory>,
    horizon: Mutex<RingHorizon>,
    /// What `horizon` comes to, for those who only look.
    horizon_millis: AtomicI64,
    /// How many times the clock was set; changed under the lock of `horizon`.
    clock_sets: AtomicU64,
}

/// When a question was sent that is to move the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The clock then.
    pub sent: Millis,
    /// How many times the clock had been set.
    clock_sets: u64,
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
            clock_sets: AtomicU64::new(0),
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

    /// To be called when a question is about to be sent that is to move the horizon.
    pub fn asking(&self, clock: &HubClock) -> Asked {
        // Set in between, the clock makes the question void.
        let clock_sets = self.clock_sets.load(Ordering::Acquire);
        let sent = clock.now();
        Asked { sent, clock_sets }
    }

    /// Whether the clock has not been set since.
    pub fn stands(&self, asked: Asked) -> bool {
        asked.clock_sets == self.clock_sets.load(Ordering::Acquire)
    }

    /// Takes up that the history was confirmed to be the newest, by a question that was sent when
    /// the clock showed `sent`.
    pub fn confirmed(&self, sent: Millis, lease: i64) -> HorizonStep {
        self.step(None, |horizon, history| {
            horizon.confirm(history, sent.get(), lease)
        })
    }

    /// The same for a history known by its mark: one of other rings than this node holds by now
    /// moves nothing.
    pub fn confirmed_at(&self, mark: HistoryMark, asked: Asked, lease: i64) -> HorizonStep {
        self.step(Some(asked), |horizon, history| {
            let held = history.mark();
            if mark.knows_newer_ring_than(held) || held.knows_newer_ring_than(mark) {
                return HorizonStep::HistoryChanged;
            }
            horizon.confirm(history, asked.sent.get(), lease)
        })
    }

    /// Takes up that every member has vouched for the history.
    pub fn confirmed_by(&self, vouching: &Vouching, asked: Asked, lease: i64) -> HorizonStep {
        self.step(Some(asked), |horizon, history| {
            horizon.confirm_vouched(history, vouching, lease)
        })
    }

    fn step(
        &self,
        asked: Option<Asked>,
        step: impl FnOnce(&mut RingHorizon, &RingHistory) -> HorizonStep,
    ) -> HorizonStep {
        // Read under the lock: a history taken up meanwhile is seen here or comes after.
        let mut horizon = self.horizon.lock();
        if asked.is_some_and(|asked| !self.stands(asked)) {
            return HorizonStep::ClockSet;
        }
        let step = step(&mut horizon, &self.history.load());
        self.show(&horizon);
        step
    }

    fn show(&self, horizon: &RingHorizon) {
        let millis = horizon.millis().map_or(Millis::MIN, Millis::new);
        self.horizon_millis.store(millis.get(), Ordering::Release);
    }

    /// Sets the clock to the wall clock, and the horizon back with it: a horizon of the clock as it
    /// was would let this node go on for hours without being confirmed. Gives by how much the clock
    /// went back.
    pub fn set_clock(&self, clock: &HubClock) -> i64 {
        let mut horizon = self.horizon.lock();
        let before = clock.now();
        clock.set_to_wall();
        let back = before.get() - clock.now().get();
        self.clock_sets.fetch_add(1, Ordering::AcqRel);
        horizon.set_back(back);
        self.show(&horizon);
        back
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

#[cfg(test)]
mod tests {
    use hub_ring::{Placement, RingMap};

    use super::*;
    use crate::env::ManualClock;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_500_000_000_000;

    #[test]
    fn a_horizon_goes_back_with_the_clock() {
        let own = Member::new("a").unwrap();
        let view = RingView::new(own.clone());
        let map = RingMap::in_force(1, NOW, [own], Placement::default()).unwrap();
        let mut history = RingHistory::new();
        history.announce(map).unwrap();
        view.adopt(Arc::new(history.clone()));
        let wall = ManualClock::new(Millis::new(NOW + 3 * HOUR));
        let clock = HubClock::start(wall.clone());
        let asked = view.asking(&clock);
        view.confirmed_at(history.mark(), asked, 10_000);
        assert_eq!(view.horizon(), Millis::new(NOW + 3 * HOUR + 10_000));
        let asked = view.asking(&clock);
        wall.step_wall(-3 * HOUR);
        assert_eq!(view.set_clock(&clock), 3 * HOUR);
        assert_eq!(view.horizon(), Millis::new(NOW + 10_000));
        // What was asked by the clock as it was moves nothing.
        let late = view.confirmed_at(history.mark(), asked, 10_000);
        assert_eq!(late, HorizonStep::ClockSet);
        assert_eq!(view.horizon(), Millis::new(NOW + 10_000));
        // A clock that is set forward has confirmed nothing by that.
        wall.step_wall(HOUR);
        assert_eq!(view.set_clock(&clock), -HOUR);
        assert_eq!(view.horizon(), Millis::new(NOW + 10_000));
        let asked = view.asking(&clock);
        view.confirmed_at(history.mark(), asked, 10_000);
        assert_eq!(view.horizon(), Millis::new(NOW + HOUR + 10_000));
    }
}
