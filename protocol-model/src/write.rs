//! The write path: stamping, the second copy, refusals, and the question to earlier sets.

use hub::spoke::accept::Verdict;
use hub_ring::{quorum, read_quorum};

use crate::config::{Config, millis};
use crate::key::{self, Key};
use crate::rules::{Property, Rule};
use crate::state::{Body, Item, Pending, Set, Status, members, one};
use crate::step::Step;

impl Step<'_> {
    /// A client's next write is handed to a coordinator.
    pub fn begin(&mut self, at: usize) -> Option<()> {
        let write = self.state.writes.iter().position(|w| w.began.is_none())?;
        if !self.state.nodes[at].up || !self.state.nodes[at].voting {
            return None;
        }
        let after = self.state.acked();
        // The clock of the node that took it from the client: as far ahead as one may be.
        let many = self.config.maps.len() > 1;
        let began = Some(if many {
            self.state.time + self.config.skew
        } else {
            0
        });
        let known = &mut self.state.writes[write];
        (known.began, known.after) = (began, after);
        // A first attempt that stamps nothing is one that did not begin.
        self.stamp(at, write as u8, 0, 0)
    }

    /// A write that may have been tried before is handed to a coordinator.
    pub fn retry(&mut self, write: u8, at: usize) -> Option<()> {
        self.state.spent.retries += 1;
        self.try_again(write, at)
    }

    fn try_again(&mut self, write: u8, at: usize) -> Option<()> {
        let node = &self.state.nodes[at];
        if !node.up || !node.voting {
            return None;
        }
        if let Some(key) = node.committed(write) {
            self.acknowledge(write, key);
            return Some(());
        }
        if node.undecided(write).is_some() || node.asks.iter().any(|ask| ask.0 == write) {
            return None;
        }
        let now = self.map_at(at, self.clock(at));
        let began = self.state.writes[usize::from(write)].began?;
        // By another clock than the one that may have stamped it.
        let slack = if self.config.keeps(Rule::QuestionSkew) {
            self.config.skew
        } else {
            0
        };
        let earlier: Vec<usize> = (0..now)
            .filter(|map| self.end_of(at, *map).is_some_and(|end| end + slack > began))
            .collect();
        if earlier.is_empty() || !self.config.keeps(Rule::Question) {
            return self.stamp(at, write, 0, 0);
        }
        if !self.config.is_replica(now, at) {
            return None;
        }
        for map in &earlier {
            self.state.nodes[at].asks.push((write, *map as u8, 0));
        }
        self.state.nodes[at].asks.sort_unstable();
        for map in earlier {
            let up_to = key::before(self.end_of(at, map)?);
            for other in members(self.config.maps[map].replicas) {
                let map = Some(map as u8);
                if other == at {
                    self.settle(at, at, write, up_to, map);
                } else {
                    self.send(at, other, Body::Settle { write, up_to, map });
                }
            }
        }
        Some(())
    }

    /// A coordinator stamps a key for a write, above what it promised and not below `front` and
    /// `clock`; `None` if it may not now.
    fn stamp(&mut self, at: usize, write: u8, front: u16, clock: u16) -> Option<()> {
        let own_clock = self.clock(at);
        let mut promises = self.promises(at);
        promises.raise(key::shipped_front(front));
        let not_before = millis(own_clock.max(clock));
        let limits = self.config.limits();
        let stamped = promises.stamp(not_before, &limits, Config::slot(at));
        let key = key::small(&stamped)?;
        if !self.may_stamp(at, key::time(key)) {
            return None;
        }
        if self.judge(at, at, key, write) != Verdict::Accept {
            return None;
        }
        let others = self.others(at, key);
        let reached = if self.config.keeps(Rule::Named) {
            self.connected(others)
        } else {
            others
        };
        if others != 0 && self.connected(others) == 0 {
            return None;
        }
        if self.config.wipes > 0 {
            self.state.writes[usize::from(write)].stamped |= one(at);
        }
        self.take(at, key, write, reached);
        Some(())
    }

    /// The wait at a ring change: not within the skew after it, and not past it before this
    /// node's own clock is.
    fn may_stamp(&self, at: usize, time: u16) -> bool {
        let skew = self.config.skew;
        !self.config.keeps(Rule::Wait)
            || (1..self.config.maps.len()).all(|map| match self.start_of(at, map) {
                Some(from) if self.config.changes_at(map) => {
                    time < from || (time >= from + skew && self.clock(at) >= from + skew)
                }
                _ => true,
            })
    }

    /// An item that a node has taken is on its disk.
    pub fn stored(&mut self, at: usize, key: Key, write: u8, named: Set) {
        let others = self.others(at, key);
        let own = usize::from(key) & 7 == at + 1;
        if !own {
            let status = Status::Committed { named: 0 };
            self.state.nodes[at].put(Item { key, write, status });
            self.send(at, (usize::from(key) & 7) - 1, Body::Yes { key, write });
            return;
        }
        if quorum(others.count_ones() as usize + 1) == 1 {
            let status = Status::Committed { named: 0 };
            self.state.nodes[at].put(Item { key, write, status });
            self.acknowledge(write, key);
            return;
        }
        let status = Status::Pending(Pending {
            named,
            ..Pending::default()
        });
        self.state.nodes[at].put(Item { key, write, status });
        for other in members(named) {
            self.send(at, other, Body::Append { key, write });
        }
    }

    /// A replica is offered an item.
    pub fn append(&mut self, from: usize, at: usize, key: Key, write: u8) {
        let held = self.state.nodes[at].copy(key);
        if held.is_some_and(|copy| matches!(copy.status, Status::Queued { .. })) {
            return;
        }
        match self.judge(from, at, key, write) {
            Verdict::Yes => self.send(at, from, Body::Yes { key, write }),
            Verdict::Accept => self.take(at, key, write, 0),
            Verdict::Duplicate(other) => {
                if let Some(other) = key::small(&other) {
                    self.send(at, from, Body::Duplicate { key, write, other });
                }
            }
            Verdict::Covered {
                frontier,
                clock,
                higher,
            } => {
                let front = key::small_front(&frontier);
                let clock = clock.get() as u16;
                let higher = higher.is_some() && self.config.keeps(Rule::Yield);
                if !self.config.resends && self.has_refused(at, from, key) {
                    return;
                }
                self.send(
                    at,
                    from,
                    Body::Covered {
                        key,
                        front,
                        clock,
                        higher,
                    },
                );
            }
            Verdict::NotNow(_) | Verdict::Busy => {}
        }
    }

    /// Whether a refusal of a key is under way already. It is final: in the small sizes a later one
    /// is left out, though it could name a later clock.
    fn has_refused(&self, at: usize, to: usize, offered: Key) -> bool {
        self.state.net.iter().any(|message| {
            (usize::from(message.from), usize::from(message.to)) == (at, to)
                && matches!(message.body, Body::Covered { key, .. } if key == offered)
        })
    }

    /// Another replica has it: two copies, which is a quorum.
    pub fn yes(&mut self, from: usize, at: usize, key: Key, write: u8) {
        let Some(pending) = self.state.nodes[at].pending(key).copied() else {
            return;
        };
        let status = Status::Committed {
            named: pending.named,
        };
        self.state.nodes[at].put(Item { key, write, status });
        self.acknowledge(write, key);
        for other in members(self.others(at, key) & !one(from)) {
            self.send(at, other, Body::Committed { key, write });
        }
    }

    /// Another replica has the write committed under another key.
    pub fn duplicate(&mut self, at: usize, key: Key, write: u8, other: Key) {
        if self.state.nodes[at].pending(key).is_some() {
            self.state.nodes[at].drop_key(key);
            self.acknowledge(write, other);
        }
    }

    /// A committed item, whatever the frontier; an own undecided key of that write goes.
    pub fn take_committed(&mut self, at: usize, key: Key, write: u8) {
        let node = &mut self.state.nodes[at];
        match node.copy(key).map(|copy| copy.status) {
            Some(Status::Committed { .. }) => return,
            Some(Status::Pending(Pending { named, .. }) | Status::Queued { named }) => {
                let status = Status::Committed { named };
                node.put(Item { key, write, status });
                return;
            }
            None => {}
        }
        let own: Vec<Key> = node
            .copies
            .iter()
            .filter(|c| c.write == write && matches!(c.status, Status::Pending(_)))
            .map(|c| c.key)
            .collect();
        for key in own {
            node.drop_key(key);
        }
        let twice = node.committed(write).is_some();
        node.highest = node.highest.max(key);
        node.put(Item {
            key,
            write,
            status: Status::Committed { named: 0 },
        });
        if twice {
            self.state.violate(Property::OneKey, one(write.into()));
        }
    }

    /// Is a key refused by every replica that its record names? Then it is dead: of an earlier
    /// run, it is removed; else the write waits for its higher key, or is stamped again.
    pub fn look_for_dead(&mut self, at: usize, key: Key) {
        let Some(pending) = self.state.nodes[at].pending(key).copied() else {
            return;
        };
        let all = pending.named & !pending.refused == 0;
        let enough = all || (!self.config.keeps(Rule::EveryRefusal) && pending.refused != 0);
        if !enough {
            return;
        }
        let Some(write) = self.state.nodes[at].copy(key).map(|copy| copy.write) else {
            return;
        };
        self.state.nodes[at].drop_key(key);
        if pending.settling || pending.higher {
            return;
        }
        let now = self.map_at(at, self.clock(at).max(pending.clock));
        if now == self.map_at(at, key::time(key)) {
            let _ = self.stamp(at, write, pending.front, pending.clock);
        } else {
            // Past a ring change it is handed to the new set's coordinator, which asks first. That
            // is this node or, as a second attempt, another one.
            let _ = self.try_again(write, at);
        }
    }

    /// A coordinator sends an undecided item again; a further record names who has a connection
    /// now.
    pub fn resend(&mut self, at: usize, key: Key) -> Option<()> {
        let write = self.state.nodes[at].copy(key)?.write;
        let reached = self.connected(self.others(at, key));
        let pending = self.state.nodes[at].pending(key)?;
        if !pending.settling {
            pending.named |= reached;
        }
        let pending = *pending;
        for other in members(pending.named) {
            let body = if pending.settling {
                Body::Settle {
                    write,
                    up_to: key,
                    map: None,
                }
            } else {
                Body::Append { key, write }
            };
            self.send(at, other, body);
        }
        Some(())
    }

    /// A replica is asked whether it holds a write, and to promise if it does not.
    pub fn settle(&mut self, from: usize, at: usize, write: u8, up_to: u16, map: Option<u8>) {
        let node = &self.state.nodes[at];
        let queued = node
            .copies
            .iter()
            .any(|c| c.write == write && matches!(c.status, Status::Queued { .. }));
        if queued {
            return; // The question waits for the disk.
        }
        let exact = node.copy(up_to).filter(|copy| copy.write == write);
        let held = match exact.map(|copy| copy.status) {
            Some(Status::Committed { .. }) => Some(up_to),
            _ => node.committed(write),
        };
        if held.is_none() {
            if map.is_some() && node.undecided(write).is_some() {
                return; // Busy: ask again.
            }
            let far = self.clock(at) + 2 * self.config.skew;
            if key::time(up_to) > far {
                return; // Not final.
            }
            let rule = if map.is_some() {
                Rule::QuestionRaises
            } else {
                Rule::RaisedFrontier
            };
            if self.config.keeps(rule) {
                let node = &mut self.state.nodes[at];
                node.raised = node.raised.max(up_to);
            }
        }
        if from == at {
            self.settled(at, at, write, (up_to, map), held);
        } else {
            self.send(
                at,
                from,
                Body::Settled {
                    write,
                    up_to,
                    map,
                    held,
                },
            );
        }
    }

    /// The answer to that question.
    pub fn settled(
        &mut self,
        from: usize,
        at: usize,
        write: u8,
        (up_to, map): (u16, Option<u8>),
        held: Option<Key>,
    ) {
        let Some(map) = map else {
            self.settled_own(from, at, up_to, held);
            return;
        };
        let node = &mut self.state.nodes[at];
        let Some(asked) = node
            .asks
            .iter_mut()
            .find(|ask| (ask.0, ask.1) == (write, map))
        else {
            return;
        };
        if let Some(key) = held {
            node.asks.retain(|ask| ask.0 != write);
            self.acknowledge(write, key);
            return;
        }
        asked.2 |= one(from);
        let complete = node.asks.iter().filter(|ask| ask.0 == write).all(|ask| {
            let (_, n) = self.config.replicas(ask.1.into());
            ask.2.count_ones() as usize >= read_quorum(n)
        });
        if complete {
            node.asks.retain(|ask| ask.0 != write);
            if node.committed(write).is_none() && node.undecided(write).is_none() {
                let _ = self.stamp(at, write, 0, 0);
            }
        }
    }

    /// What was answered about an undecided item of an earlier run.
    fn settled_own(&mut self, from: usize, at: usize, key: Key, held: Option<Key>) {
        let node = &mut self.state.nodes[at];
        let Some(write) = node.copy(key).map(|copy| copy.write) else {
            return;
        };
        let Some(pending) = node.pending(key) else {
            return;
        };
        match held {
            Some(other) if other == key => {
                let status = Status::Committed {
                    named: pending.named,
                };
                node.put(Item { key, write, status });
            }
            Some(_) => node.drop_key(key),
            None => {
                pending.refused |= one(from);
                self.look_for_dead(at, key);
            }
        }
    }

    /// Whether every read finds every acknowledged item, whoever of the voting replicas is asked.
    pub fn look_for_lost(&mut self) {
        let one_map = self.config.maps.len() == 1;
        for w in 0..self.state.writes.len() {
            let Some(key) = self.state.writes[w].acked else {
                continue;
            };
            if one_map {
                self.look_for(w, key, 0);
                continue;
            }
            for reader in members(self.config.readers) {
                if self.may_read(reader, key::time(key)) {
                    self.look_for(w, key, self.map_at(reader, key::time(key)));
                }
            }
        }
    }

    fn look_for(&mut self, write: usize, key: Key, map: usize) {
        let (replicas, n) = self.config.replicas(map);
        let denying = members(replicas).filter(|i| {
            let node = &self.state.nodes[*i];
            let counts = node.voting || !self.config.keeps(Rule::WarmingSilent);
            node.up && counts && node.copy(key).is_none_or(|copy| !self.is_readable(copy))
        });
        if denying.count() >= read_quorum(n) {
            self.state.violate(Property::NothingLost, one(write));
        }
    }

    /// Whether a question about an item is answered "yes", or waits until it can be.
    fn is_readable(&self, copy: &Item) -> bool {
        self.config.keeps(Rule::SerialPoint) || !matches!(copy.status, Status::Queued { .. })
    }

    /// Whether a node may say something about a time.
    fn may_read(&self, reader: usize, time: u16) -> bool {
        let node = &self.state.nodes[reader];
        node.up && (time < node.horizon || !self.config.keeps(Rule::ReaderHorizon))
    }
}
