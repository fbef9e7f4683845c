//! The end: faults are over, everybody runs, everything arrives. Nothing may stay undecided then,
//! and nothing else may break.
//!
//! This is checked as a property of the state it begins in, so that a deadlock shows as a
//! counter-example like any other.

use crate::config::Config;
use crate::random::Random;
use crate::rules::Property;
use crate::state::{State, Status, has};
use crate::step::Step;

/// How often everything is sent again before an item counts as stuck. Each round is a tick; a few
/// windows pass.
const ROUNDS: u16 = 24;
/// How many times an answer can lead to another within a round.
const HOPS: usize = 24;

/// The state after faults are over, in one order of arrival or, given randomness, another one.
pub fn close(config: &Config, state: &State, mut random: Option<&mut Random>) -> State {
    let mut step = Step {
        config,
        state: state.clone(),
    };
    step.state.reader = None;
    step.finish_announcement();
    for round in 0..ROUNDS {
        step.state.time += 1;
        step.wake();
        step.disks();
        for _ in 0..HOPS {
            let mut batch = std::mem::take(&mut step.state.net);
            if batch.is_empty() {
                break;
            }
            if let Some(random) = random.as_deref_mut() {
                random.shuffle(&mut batch);
            }
            for message in batch {
                let _ = step.deliver(message);
            }
            step.disks();
        }
        step.look_for_lost();
        if !step.is_undecided() {
            return step.state;
        }
        if round + 1 < ROUNDS {
            step.resend_all();
        }
    }
    let stuck = step.stuck();
    step.state.violate(Property::Decided, stuck);
    step.state
}

/// Whether it is worth closing a state: something is undecided in it.
pub fn is_undecided(config: &Config, state: &State) -> bool {
    Step {
        config,
        state: state.clone(),
    }
    .is_undecided()
}

impl Step<'_> {
    fn finish_announcement(&mut self) {
        if !self.config.announces() {
            return;
        }
        let ahead = self.config.offsets.iter().max().copied().unwrap_or(0);
        let now = self.state.time + ahead;
        let ledger = &mut self.state.ledger;
        if ledger.at % 2 == 1 {
            ledger.at += 1;
            ledger
                .in_force
                .push(now + self.config.lease + self.config.skew);
        }
        let last = self.state.ledger.in_force.last().copied().unwrap_or(0);
        self.state.time = self.state.time.max(last + self.config.skew);
    }

    /// Everybody who is not gone runs, votes, and knows the rings.
    fn wake(&mut self) {
        for at in 0..self.state.nodes.len() {
            if !self.state.nodes[at].up && !has(self.config.gone, at) {
                self.start(at, false);
            }
        }
        for at in 0..self.state.nodes.len() {
            if self.config.announces() && self.state.nodes[at].up {
                self.confirm_now(at);
            }
            if !self.state.nodes[at].voting {
                for from in 0..self.state.nodes.len() {
                    if !self.state.nodes[at].voting {
                        let _ = self.warm(at, from);
                    }
                }
            }
        }
    }

    fn disks(&mut self) {
        for at in 0..self.state.nodes.len() {
            self.disk(at);
        }
    }

    fn resend_all(&mut self) {
        for at in 0..self.state.nodes.len() {
            let node = &self.state.nodes[at];
            if node.up {
                for copy in node.copies.clone() {
                    let _ = self.resend(at, copy.key);
                }
            }
        }
    }

    fn is_undecided(&self) -> bool {
        self.stuck() != 0
    }

    /// The writes that are undecided on a node that runs.
    fn stuck(&self) -> u8 {
        self.state
            .nodes
            .iter()
            .filter(|node| node.up)
            .flat_map(|node| &node.copies)
            .filter(|copy| !matches!(copy.status, Status::Committed { .. }))
            .fold(0, |set, copy| set | (1 << copy.write))
    }
}
