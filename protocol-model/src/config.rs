//! How large a model is, and which faults and rules it has.

use hub::env::Millis;
use hub::item::NodeSlot;
use hub::spoke::accept::Limits;

use crate::key;
use crate::rules::Rule;
use crate::state::{Set, has};

/// No bound, and so nothing to count.
pub const ANY: u8 = u8::MAX;

/// A time after everything that happens: the horizon where rings are known from the start.
pub const FAR: u16 = 500;

/// A ring of the model: who is in it, and who of them are the replica set of the one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// The members.
    pub members: Set,
    /// The replica set.
    pub replicas: Set,
}

/// How large a model is, and which faults and rules it has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fault or a habit of its own"
)]
pub struct Config {
    /// What it is called.
    pub name: &'static str,
    /// How far each node's clock is ahead of the true time, in ticks.
    pub offsets: Vec<u16>,
    /// The rings, in order.
    pub maps: Vec<Map>,
    /// From when the rings after the first are in force, if everybody knows it from the start;
    /// else they are announced.
    pub in_force: Option<Vec<u16>>,
    /// How long after its stamp an item may arrive, in ticks.
    pub window: u16,
    /// How far two clocks may differ, in ticks.
    pub skew: u16,
    /// For how long a confirmation of a horizon holds, in ticks.
    pub lease: u16,
    /// The true time at the start.
    pub start: u16,
    /// The true time at the end.
    pub end: u16,
    /// How many writes there are.
    pub writes: u8,
    /// Who may be handed a write: the nodes that some other node takes for the coordinator.
    pub coordinators: Set,
    /// Who may be handed one that was tried before.
    pub fallbacks: Set,
    /// How many second attempts there are.
    pub retries: u8,
    /// Whether a write is also tried again after its acknowledgement, as one with an idempotency
    /// key is.
    pub keyed: bool,
    /// How many runs end, by a crash.
    pub crashes: u8,
    /// Whether a node that starts is a new run; else it has only opened its store again.
    pub new_runs: bool,
    /// How many disks are lost.
    pub wipes: u8,
    /// Who crashes or loses its disk.
    pub frail: Set,
    /// How many reports are given to readers.
    pub reports: u8,
    /// Who reads.
    pub readers: Set,
    /// How many confirmations of a horizon there are, and questions about it.
    pub confirms: u8,
    /// Who may announce a ring, if a member: one of them has the lock, others had it.
    pub keepers: Set,
    /// Whether members vouch for each other where the coordination service is not asked.
    pub vouching: bool,
    /// Whether an item is on disk only some time after it was taken.
    pub slow_disk: bool,
    /// Whether a coordinator widens its record and sends again.
    pub resends: bool,
    /// Nodes that are down for good.
    pub gone: Set,
    /// Whether at the end of time faults are over and everything must be decided.
    pub closes: bool,
    /// The rule that is left out.
    pub without: Option<Rule>,
}

impl Config {
    /// Whether a rule is kept.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// The same without a rule.
    pub fn without(mut self, rule: Rule) -> Self {
        self.without = Some(rule);
        self
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.offsets.len()
    }

    /// The limits as the hub has them.
    pub fn limits(&self) -> Limits {
        Limits {
            accept_window: i64::from(self.window),
            max_skew: i64::from(self.skew),
        }
    }

    /// A node's slot in the keys it stamps.
    pub fn slot(node: usize) -> NodeSlot {
        key::node_slot(node)
    }

    /// Whether the rings after the first are announced.
    pub fn announces(&self) -> bool {
        self.in_force.is_none() && self.maps.len() > 1
    }

    /// The replicas of a map, and how many they are.
    pub fn replicas(&self, map: usize) -> (Set, usize) {
        let replicas = self.maps[map].replicas;
        (replicas, replicas.count_ones() as usize)
    }

    /// Whether a node is in the replica set of a map.
    pub fn is_replica(&self, map: usize, node: usize) -> bool {
        has(self.maps[map].replicas, node)
    }

    /// Whether the replica set of a map has other members than that before it.
    pub fn changes_at(&self, map: usize) -> bool {
        map > 0 && self.maps[map].replicas != self.maps[map - 1].replicas
    }
}

/// A time of the model as the hub has it.
pub fn millis(time: u16) -> Millis {
    Millis::new(i64::from(time))
}
