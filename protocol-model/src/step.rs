//! One step from a state to the next: what all the kinds of steps share.

use hub::spoke::WriteId;
use hub::spoke::accept::{Held, Offer, Promises, Standing, Verdict, decide};

use crate::action::Action;
use crate::config::{Config, millis};
use crate::key::{self, Front, Key};
use crate::rules::{Property, Rule};
use crate::state::{Body, Item, LEDGER, Message, Set, State, Status, has, members, one};

/// A state that is being changed.
pub struct Step<'a> {
    /// The model.
    pub config: &'a Config,
    /// The state, as far as it is changed.
    pub state: State,
}

/// What follows when something happens in a state; `None` if nothing changes.
pub fn next(config: &Config, last: &State, action: Action) -> Option<State> {
    let mut step = Step {
        config,
        state: last.clone(),
    };
    step.apply(action)?;
    step.forget_old_promises();
    step.prune();
    step.look_for_lost();
    (step.state != *last).then_some(step.state)
}

impl Step<'_> {
    /// Does what happens; `None` if it cannot happen.
    pub fn apply(&mut self, action: Action) -> Option<()> {
        match action {
            Action::Tick => self.state.time += 1,
            Action::Begin(at) => return self.begin(at.into()),
            Action::Retry(write, at) => return self.retry(write, at.into()),
            Action::Deliver(message) => return self.deliver(message),
            Action::Disk(at) => self.disk(at.into()),
            Action::Crash(at) => self.crash(at.into()),
            Action::Start(at, forgets) => self.start(at.into(), forgets),
            Action::Wipe(at) => self.wipe(at.into()),
            Action::Warm(at, from) => return self.warm(at.into(), from.into()),
            Action::Resend(at, key) => return self.resend(at.into(), key),
            Action::Report(reader, at) => return self.report(reader.into(), at.into()),
            Action::Confirm(at) => self.confirm(at.into()),
            Action::Vouch(at) => self.vouch(at.into()),
            Action::Vouched(at, by) => return self.vouched(at.into(), by.into()),
            Action::Announce(at) => return self.announce(at.into()),
            Action::SetFrom(at) => return self.set_from(at.into()),
        }
        Some(())
    }

    /// A node's clock.
    pub fn clock(&self, at: usize) -> u16 {
        self.state.time + self.config.offsets[at]
    }

    /// Sends a message.
    pub fn send(&mut self, from: usize, to: usize, body: Body) {
        let run = |i: usize| self.state.nodes.get(i).map_or(0, |node| node.incarnation);
        let message = Message {
            from: from as u8,
            to: to as u8,
            from_run: run(from),
            to_run: run(to),
            body,
        };
        if let Err(at) = self.state.net.binary_search(&message) {
            self.state.net.insert(at, message);
        }
    }

    pub fn deliver(&mut self, message: Message) -> Option<()> {
        let (from, to) = (usize::from(message.from), usize::from(message.to));
        if message.to == LEDGER {
            return self.write_ledger(from, message.body);
        }
        if self.is_void(&message) || !self.state.nodes[to].up {
            return None;
        }
        if message.from_run > self.state.nodes[to].seen[from] {
            self.hear(to, from, message.from_run);
        }
        let counts = self.state.nodes[to].voting || !self.config.keeps(Rule::WarmingSilent);
        match message.body {
            Body::Append { key, write } if counts => self.append(from, to, key, write),
            Body::Settle { write, up_to, map } if counts => {
                self.settle(from, to, write, up_to, map);
            }
            Body::Committed { key, write } if self.state.nodes[to].voting => {
                self.take_committed(to, key, write);
            }
            Body::Yes { key, write } => self.yes(from, to, key, write),
            Body::Duplicate { key, write, other } => self.duplicate(to, key, write, other),
            Body::Covered {
                key,
                front,
                clock,
                higher,
            } => {
                let pending = self.state.nodes[to].pending(key)?;
                pending.refused |= one(from);
                pending.higher |= higher;
                pending.front = pending.front.max(front);
                pending.clock = pending.clock.max(clock);
                self.look_for_dead(to, key);
            }
            Body::Settled {
                write,
                up_to,
                map,
                held,
            } => {
                self.settled(from, to, write, (up_to, map), held);
            }
            _ => {}
        }
        Some(())
    }

    /// Whether a message can never do anything any more: it is to a run that has ended, or of one
    /// that is known to have.
    pub fn is_void(&self, message: &Message) -> bool {
        if message.to == LEDGER {
            return false;
        }
        let to = &self.state.nodes[usize::from(message.to)];
        let append = matches!(message.body, Body::Append { .. });
        let old = message.from_run < to.seen[usize::from(message.from)];
        message.to_run != to.incarnation
            || (old && (self.config.keeps(Rule::OldIncarnation) || !append))
    }

    /// A node hears of a newer run of another one: what the former said of undecided items is
    /// forgotten.
    pub fn hear(&mut self, at: usize, from: usize, run: u8) {
        let node = &mut self.state.nodes[at];
        node.seen[from] = run;
        for copy in &mut node.copies {
            if let Status::Pending(pending) = &mut copy.status {
                pending.refused &= !one(from);
            }
        }
    }

    /// What a node has promised, as the hub keeps it, without the keys that are pending.
    pub fn promises(&self, at: usize) -> Promises {
        let node = &self.state.nodes[at];
        Promises::new(key::shipped_front(node.raised.max(node.highest)))
    }

    /// The frontier that a node reports to readers, below every pending key. Without the serial
    /// point, an item that is not on disk yet does not hold it down.
    pub fn reported(&self, at: usize) -> Front {
        let mut promises = self.promises(at);
        for copy in &self.state.nodes[at].copies {
            let holds = match copy.status {
                Status::Queued { .. } => self.config.keeps(Rule::SerialPoint),
                Status::Pending(_) => true,
                Status::Committed { .. } => false,
            };
            if holds {
                let own = !matches!(copy.status, Status::Queued { named: 0 });
                promises.accept(key::shipped(copy.key), WriteId(copy.write.into()), own);
            }
        }
        let clock = millis(self.clock(at));
        key::small_front(&promises.reported(clock, &self.config.limits()))
    }

    /// Puts a key to the accept rule.
    pub fn judge(&self, from: usize, at: usize, key: Key, write: u8) -> Verdict {
        let config = self.config;
        let node = &self.state.nodes[at];
        let held = match node.copy(key) {
            Some(copy) if copy.write == write && config.keeps(Rule::HeldFirst) => Held::Here,
            Some(copy) if copy.write == write => Held::No,
            _ => match (node.committed(write), node.undecided(write)) {
                (Some(other), _) => Held::Committed(key::shipped(other)),
                (None, Some(other)) => Held::Pending(key::shipped(other)),
                (None, None) => Held::No,
            },
        };
        let map = self.map_at(at, key::time(key));
        let placed = config.is_replica(map, at) && config.is_replica(map, from);
        let horizon = if config.keeps(Rule::AcceptHorizon) {
            node.horizon
        } else {
            u16::MAX
        };
        let clock = millis(self.clock(at));
        let standing = Standing {
            clock,
            horizon: millis(horizon),
            placed: placed || !config.keeps(Rule::Placed),
            current: true,
            full: false,
        };
        let offer = Offer {
            key: key::shipped(key),
            write_id: WriteId(write.into()),
        };
        let limits = config.limits();
        let frontier = self.promises(at).frontier(clock, &limits);
        decide(&offer, &held, &frontier, &standing, &limits)
    }

    /// A node takes an item, by the accept rule: from now on it is pending there.
    pub fn take(&mut self, at: usize, key: Key, write: u8, named: Set) {
        let map = self.map_at(at, key::time(key)) as u8;
        self.note_taken(key::time(key), map, write);
        let node = &mut self.state.nodes[at];
        node.highest = node.highest.max(key);
        node.put(Item {
            key,
            write,
            status: Status::Queued { named },
        });
        if !self.config.slow_disk {
            self.disk(at);
        }
    }

    /// Two rings must never accept one key time.
    fn note_taken(&mut self, time: u16, map: u8, write: u8) {
        if self.config.maps.len() < 2 {
            return;
        }
        match self
            .state
            .taken
            .binary_search_by_key(&time, |taken| taken.0)
        {
            Ok(at) if self.state.taken[at].1 != map => {
                self.state.violate(Property::OneRing, one(write.into()));
            }
            Ok(_) => {}
            Err(at) => self.state.taken.insert(at, (time, map)),
        }
    }

    /// What a node has taken is on its disk: its own items are sent, others' are answered.
    pub fn disk(&mut self, at: usize) {
        let queued: Vec<Item> = self.state.nodes[at]
            .copies
            .iter()
            .filter(|copy| matches!(copy.status, Status::Queued { .. }))
            .copied()
            .collect();
        for copy in queued {
            let Status::Queued { named } = copy.status else {
                continue;
            };
            self.stored(at, copy.key, copy.write, named);
        }
    }

    /// The other members of the replica set of a key, by a node's history.
    pub fn others(&self, at: usize, key: Key) -> Set {
        let map = self.map_at(at, key::time(key));
        self.config.replicas(map).0 & !one(at)
    }

    /// Those of a set that run, and so have an open connection.
    pub fn connected(&self, set: Set) -> Set {
        members(set)
            .filter(|i| self.state.nodes[*i].up)
            .fold(0, |set, i| set | one(i))
    }

    /// The client of a write is told its key.
    pub fn acknowledge(&mut self, write: u8, key: Key) {
        let w = usize::from(write);
        if let Some(acked) = self.state.writes[w].acked {
            if acked != key {
                self.state.violate(Property::OneKey, one(w));
            }
            return;
        }
        for earlier in members(self.state.writes[w].after) {
            if self.state.writes[earlier]
                .acked
                .is_some_and(|before| before >= key)
            {
                self.state.violate(Property::Order, one(w) | one(earlier));
            }
        }
        self.state.writes[w].acked = Some(key);
    }

    /// Whether a frontier of a node covers a key for good: neither time nor a restart uncovers it.
    pub fn covers(&self, at: usize, key: Key) -> bool {
        let clock = millis(self.clock(at));
        let frontier = self.promises(at).frontier(clock, &self.config.limits());
        frontier.covers(&key::shipped(key))
    }

    /// Takes away the messages that can never do anything any more: states that differ only in
    /// them behave alike. A message that is not delivered is a message lost, which may happen
    /// anyway; so this hides no execution.
    fn prune(&mut self) {
        // What a later run might still need is left alone.
        let spent = &self.state.spent;
        let calm = spent.crashes >= self.config.crashes
            && spent.wipes >= self.config.wipes
            && self
                .state
                .nodes
                .iter()
                .enumerate()
                .all(|(i, n)| n.up || has(self.config.gone, i));
        let mut net = std::mem::take(&mut self.state.net);
        net.retain(|message| !self.is_spent(message, calm));
        self.state.net = net;
    }

    /// Promises that the clock makes as well need not be remembered: states that differ only in
    /// them behave alike.
    fn forget_old_promises(&mut self) {
        for at in 0..self.state.nodes.len() {
            let by_clock = key::before(self.clock(at).saturating_sub(self.config.window));
            let node = &mut self.state.nodes[at];
            node.highest = if node.highest <= by_clock {
                0
            } else {
                node.highest
            };
            node.raised = if node.raised <= by_clock {
                0
            } else {
                node.raised
            };
        }
    }

    fn is_spent(&self, message: &Message, calm: bool) -> bool {
        if self.is_void(message) {
            return true;
        }
        if message.to == LEDGER {
            return match message.body {
                Body::Announce { after, .. } | Body::InForce { after, .. } => {
                    after < self.state.ledger.at
                }
                _ => true,
            };
        }
        if !calm {
            return false;
        }
        let (from, to) = (usize::from(message.from), usize::from(message.to));
        let undecided = |i: usize, key: Key| {
            let copy = self.state.nodes[i].copy(key);
            copy.is_some_and(|copy| !matches!(copy.status, Status::Committed { .. }))
        };
        match message.body {
            Body::Yes { key, .. } | Body::Duplicate { key, .. } | Body::Covered { key, .. } => {
                !undecided(to, key)
            }
            Body::Append { key, write } => {
                let here = self.state.nodes[to].copy(key);
                !undecided(from, key)
                    && (here.is_some_and(|copy| copy.write == write)
                        || self.covers(to, key)
                        || self.state.nodes[to].committed(write).is_some())
            }
            Body::Committed { key, .. } => self.state.nodes[to]
                .copy(key)
                .is_some_and(|copy| matches!(copy.status, Status::Committed { .. })),
            Body::Settled {
                up_to, map: None, ..
            } => !undecided(to, up_to),
            _ => false,
        }
    }
}
