//! Ring changes: the announcement in two writes, horizons, and members that vouch for each other.
//!
//! A confirmation through the coordination service is one step here: the write that confirms, and
//! its answer. In the hub the answer may come later, but what it allows counts from the moment the
//! question was sent, so an answer that comes at once allows the most.

use hub_ring::{
    HistoryMark, HorizonStep, Member, Placement, RingHistory, RingHorizon, RingMap, Vouching,
    keeper,
};

use crate::config::{ANY, FAR};
use crate::rules::Rule;
use crate::state::{Body, LEDGER, Message, members, one};
use crate::step::Step;

/// The time from which the first ring is in force.
const FIRST: i64 = 0;

impl Step<'_> {
    /// From when a map is in force, as far as a node knows.
    pub fn start_of(&self, at: usize, map: usize) -> Option<u16> {
        self.start_by(self.state.nodes[at].known, map)
    }

    /// Until when a map is in force, as far as a node knows.
    pub fn end_of(&self, at: usize, map: usize) -> Option<u16> {
        self.start_of(at, map + 1)
    }

    /// From when a map is in force, to one who knows that much of the ledger.
    pub fn start_by(&self, known: u8, map: usize) -> Option<u16> {
        match map {
            0 => Some(0),
            _ if usize::from(known) >= 2 * map => self.state.ledger.in_force.get(map - 1).copied(),
            _ => None,
        }
    }

    /// The map in force at a time, by a node's history.
    pub fn map_at(&self, at: usize, time: u16) -> usize {
        self.map_by(self.state.nodes[at].known, time)
    }

    /// The map in force at a time, to one who knows that much of the ledger.
    pub fn map_by(&self, known: u8, time: u16) -> usize {
        let started = |map: &usize| self.start_by(known, *map).is_some_and(|from| from <= time);
        (0..self.config.maps.len()).rev().find(started).unwrap_or(0)
    }

    /// A node's history as the hub has it; `None` if it has none, which cannot be.
    fn history(&self, known: u8) -> Option<RingHistory> {
        let placement = Placement::new(3, 1).ok()?;
        let mut history = RingHistory::new();
        for (map, config) in self.config.maps.iter().enumerate() {
            let version = map as u64 + 1;
            let names = members(config.members).filter_map(name);
            if map == 0 {
                let first = RingMap::in_force(version, FIRST, names, placement).ok()?;
                history.announce(first).ok()?;
                continue;
            }
            if usize::from(known) + 1 < 2 * map {
                break;
            }
            let next = RingMap::announced(version, names, placement).ok()?;
            history.announce(next).ok()?;
            if let Some(from) = self.start_by(known, map) {
                history.set_from(version, from.into()).ok()?;
            }
        }
        Some(history)
    }

    /// What a node says that it knows: an announcement that it has sent counts.
    fn mark(&self, at: usize) -> Option<HistoryMark> {
        let node = &self.state.nodes[at];
        let counted = node.announcing && self.config.keeps(Rule::AnnouncedKnown);
        Some(self.history(node.known + u8::from(counted))?.mark())
    }

    fn learn(&mut self, at: usize, known: u8) {
        let node = &mut self.state.nodes[at];
        if known > node.known {
            node.known = known;
            node.announcing = false;
            node.vouching = None;
        }
    }

    /// A horizon moves as the hub's does.
    fn move_horizon(&mut self, at: usize, step: HorizonStep) {
        if let HorizonStep::Moved { millis } = step {
            // When there is no further ring to come, each step may be preceded by a confirmation:
            // how far the last one reaches makes no difference.
            let last = 2 * (self.config.maps.len() - 1) as u8;
            let node = &mut self.state.nodes[at];
            let reaches = if node.known == last {
                FAR
            } else {
                millis as u16
            };
            node.horizon = node.horizon.max(reaches);
        }
    }

    /// A node confirms by a write to the coordination service that it holds the newest history,
    /// or learns that one.
    pub fn confirm(&mut self, at: usize) {
        self.spend_confirm();
        self.confirm_now(at);
    }

    fn spend_confirm(&mut self) {
        if self.config.confirms != ANY {
            self.state.spent.confirms += 1;
        }
    }

    /// The same, not counted.
    pub fn confirm_now(&mut self, at: usize) {
        self.learn(at, self.state.ledger.at);
        let known = self.state.nodes[at].known;
        let asked = i64::from(self.clock(at));
        if let Some(history) = self.history(known) {
            let step = RingHorizon::new().confirm(&history, asked, self.config.lease.into());
            self.move_horizon(at, step);
        }
    }

    /// A node asks every member of the newest ring that it knows.
    pub fn vouch(&mut self, at: usize) {
        self.spend_confirm();
        let clock = self.clock(at);
        let node = &mut self.state.nodes[at];
        node.vouching = Some((clock, node.known, 0));
    }

    /// A member answers.
    pub fn vouched(&mut self, at: usize, by: usize) -> Option<()> {
        let (asked, known, answered) = self.state.nodes[at].vouching?;
        if at == by || !self.state.nodes[by].up {
            return None;
        }
        let history = self.history(known)?;
        let own = name(at)?;
        let mut vouching = Vouching::new(&history, (&own, self.mark(at)?), asked.into());
        for other in members(answered) {
            let _ = vouching.answer(&name(other)?, history.mark());
        }
        if !vouching.waiting().contains(&name(by)?) {
            return None;
        }
        let _ = vouching.answer(&name(by)?, self.mark(by)?);
        if self.mark(by)?.knows_newer_ring_than(history.mark()) {
            self.state.nodes[at].vouching = None;
            self.learn(at, self.state.nodes[by].known);
            return Some(());
        }
        self.state.nodes[at].vouching = Some((asked, known, answered | one(by)));
        if vouching.is_complete() {
            self.state.nodes[at].vouching = None;
            let lease = self.config.lease.into();
            let step = RingHorizon::new().confirm_vouched(&history, &vouching, lease);
            self.move_horizon(at, step);
        }
        Some(())
    }

    /// A node sends the announcement of the next ring, which holds members only. It may arrive
    /// much later: that is a keeper that was paused.
    pub fn announce(&mut self, at: usize) -> Option<()> {
        let node = &self.state.nodes[at];
        let after = node.known;
        let history = self.history(after)?;
        let newest = history.newest()?.from_millis()?;
        let clock = self.clock(at);
        // One change at a time, each in force before the next.
        if !keeper::may_keep(&history, &name(at)?) || newest >= i64::from(clock) {
            return None;
        }
        let whole = !self.config.keeps(Rule::FromSecond);
        let in_force = whole.then(|| clock + self.config.lease + self.config.skew);
        self.state.nodes[at].announcing = true;
        self.send(at, LEDGER.into(), Body::Announce { after, in_force });
        Some(())
    }

    /// A member that holds an announcement sends the time from which it is in force.
    pub fn set_from(&mut self, at: usize) -> Option<()> {
        let after = self.state.nodes[at].known;
        let sent = |m: &Message| {
            usize::from(m.from) == at
                && matches!(m.body, Body::InForce { after: a, .. } if a == after)
        };
        if self.state.net.iter().any(sent) {
            return None;
        }
        let from = self.clock(at) + self.config.lease + self.config.skew;
        self.send(at, LEDGER.into(), Body::InForce { after, from });
        Some(())
    }

    /// A write arrives at the coordination service: compare and set.
    pub fn write_ledger(&mut self, _from: usize, body: Body) -> Option<()> {
        let ledger = &mut self.state.ledger;
        match body {
            Body::Announce { after, in_force } if after == ledger.at => {
                ledger.at += 1;
                if let Some(from) = in_force {
                    ledger.at += 1;
                    ledger.in_force.push(from);
                }
                Some(())
            }
            Body::InForce { after, from } if after == ledger.at => {
                ledger.at += 1;
                ledger.in_force.push(from);
                Some(())
            }
            _ => None,
        }
    }
}

fn name(node: usize) -> Option<Member> {
    const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
    Member::new(NAMES.get(node)?).ok()
}
