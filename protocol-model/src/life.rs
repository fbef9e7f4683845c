//! The life of a node: its run ends, it starts again, it loses its disk and warms.

use hub_ring::read_quorum;

use crate::key::{self, Key};
use crate::rules::{Property, Rule};
use crate::state::{Body, Item, Pending, Status, has, members, one};
use crate::step::Step;

impl Step<'_> {
    /// A run ends: what was not on disk is gone, and what was only in memory.
    pub fn crash(&mut self, at: usize) {
        self.state.spent.crashes += 1;
        self.end_run(at);
        // The mark on disk is past every clock that a promise was made by. It is kept as the
        // frontier that the next run starts with.
        let floor = key::before(self.clock(at) + 1 + 2 * self.config.skew);
        let keeps = self.config.keeps(Rule::StartFrontier);
        let node = &mut self.state.nodes[at];
        node.up = false;
        node.raised = if keeps { floor } else { 0 };
        let on_disk = node.copies.iter().map(|copy| copy.key).max();
        node.highest = on_disk.unwrap_or(0);
    }

    fn end_run(&mut self, at: usize) {
        let node = &mut self.state.nodes[at];
        node.copies
            .retain(|copy| !matches!(copy.status, Status::Queued { .. }));
        node.asks.clear();
        node.vouching = None;
        if self.config.announces() {
            node.horizon = 0;
        }
        let reads = self
            .state
            .reader
            .as_ref()
            .is_some_and(|r| usize::from(r.node) == at);
        if reads && self.config.maps.len() > 1 {
            self.state.reader = None;
        }
    }

    /// A node starts with its disk intact, and settles what it coordinated and does not know to
    /// be committed. `forgets`: the marks of its commits had not reached the disk.
    pub fn start(&mut self, at: usize, forgets: bool) {
        let node = &mut self.state.nodes[at];
        node.up = true;
        node.incarnation += u8::from(self.config.new_runs);
        for copy in &mut node.copies {
            let named = match copy.status {
                Status::Pending(pending) => pending.named,
                Status::Committed { named } if forgets => named,
                _ => 0,
            };
            if named != 0 {
                let settling = true;
                copy.status = Status::Pending(Pending {
                    named,
                    settling,
                    ..Pending::default()
                });
            }
        }
        let own: Vec<Item> = self.state.nodes[at].copies.clone();
        for copy in own {
            if let Status::Pending(pending) = copy.status {
                for other in members(pending.named) {
                    let (write, up_to) = (copy.write, copy.key);
                    self.send(
                        at,
                        other,
                        Body::Settle {
                            write,
                            up_to,
                            map: None,
                        },
                    );
                }
            }
        }
    }

    /// A node loses its disk and starts: it may have forgotten promises, and does not vote.
    pub fn wipe(&mut self, at: usize) {
        self.state.spent.wipes += 1;
        self.end_run(at);
        let floor = key::before(self.clock(at) + 1 + 2 * self.config.skew);
        let node = &mut self.state.nodes[at];
        node.up = true;
        node.voting = false;
        node.merged = 0;
        node.incarnation += 1;
        node.copies.clear();
        node.highest = 0;
        node.raised = floor;
    }

    /// A node that warms merges what another one holds: its committed items, and of its undecided
    /// ones those that may have been sent here, as committed.
    pub fn warm(&mut self, at: usize, from: usize) -> Option<()> {
        let map = self.map_at(at, self.clock(at));
        let other = &self.state.nodes[from];
        let asked = other.up && other.voting && self.config.is_replica(map, from);
        if at == from || !asked || has(self.state.nodes[at].merged, from) {
            return None;
        }
        let queued = other
            .copies
            .iter()
            .any(|c| matches!(c.status, Status::Queued { .. }));
        if queued && self.config.keeps(Rule::WarmWaits) {
            return None;
        }
        let run = self.state.nodes[at].incarnation;
        if self.state.nodes[from].seen[at] < run {
            self.hear(from, at, run);
        }
        for copy in self.state.nodes[from].copies.clone() {
            match copy.status {
                Status::Committed { .. } => self.merge(at, copy.key, copy.write),
                Status::Pending(p) if has(p.named, at) && self.config.keeps(Rule::Adopt) => {
                    self.adopt(at, copy.key, copy.write);
                }
                _ => {}
            }
        }
        let (_, n) = self.config.replicas(map);
        let node = &mut self.state.nodes[at];
        node.merged |= one(from);
        // Not counting itself, it must have merged a read quorum.
        let needed = if self.config.keeps(Rule::WarmQuorum) {
            read_quorum(n)
        } else {
            1
        };
        if node.merged.count_ones() as usize >= needed {
            node.voting = true;
            node.merged = 0;
        }
        Some(())
    }

    /// A committed item of another node; an adopted key of the same write gives way.
    fn merge(&mut self, at: usize, key: Key, write: u8) {
        let node = &mut self.state.nodes[at];
        let others: Vec<Key> = node
            .copies
            .iter()
            .filter(|copy| copy.write == write && copy.key != key)
            .map(|copy| copy.key)
            .collect();
        let adopted = has(self.state.adopted, write.into());
        if adopted {
            for other in &others {
                node.drop_key(*other);
            }
        }
        node.highest = node.highest.max(key);
        node.put(Item {
            key,
            write,
            status: Status::Committed { named: 0 },
        });
        if !adopted && !others.is_empty() {
            self.state.violate(Property::OneKey, one(write.into()));
        }
    }

    /// An undecided item of another node that the run before may have accepted. It may hold the
    /// same write under a key it adopted before; it keeps both.
    fn adopt(&mut self, at: usize, key: Key, write: u8) {
        let node = &mut self.state.nodes[at];
        let settled = node.committed(write).is_some() && !has(self.state.adopted, write.into());
        if settled || node.copy(key).is_some() {
            return;
        }
        node.highest = node.highest.max(key);
        node.put(Item {
            key,
            write,
            status: Status::Committed { named: 0 },
        });
        self.state.adopted |= one(write.into());
    }
}
