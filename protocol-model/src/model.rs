//! The model as stateright explores it.

use stateright::{Model, Property as Checked};

use crate::action::{Action, enumerate};
use crate::close::{close, is_undecided};
use crate::config::{Config, FAR};
use crate::rules::Property;
use crate::state::{Ledger, NODES, Node, Spent, State, WriteState, has};
use crate::step::next;

impl Config {
    /// The state that everything begins in.
    pub fn first(&self) -> State {
        let announced = self.announces();
        let known = if announced {
            0
        } else {
            2 * (self.maps.len() - 1) as u8
        };
        let node = |i: usize| Node {
            up: !has(self.gone, i),
            voting: true,
            incarnation: 0,
            seen: [0; NODES],
            merged: 0,
            highest: 0,
            raised: 0,
            copies: Vec::new(),
            asks: Vec::new(),
            known,
            announcing: false,
            horizon: if announced {
                self.start + self.offsets[i] + self.lease
            } else {
                FAR
            },
            vouching: None,
        };
        State {
            time: self.start,
            nodes: (0..self.nodes()).map(node).collect(),
            net: Vec::new(),
            ledger: Ledger {
                at: known,
                in_force: self.in_force.clone().unwrap_or_default(),
            },
            writes: vec![WriteState::default(); self.writes.into()],
            reader: None,
            stable: (0, Vec::new()),
            taken: Vec::new(),
            spent: Spent::default(),
            adopted: 0,
            limits: 0,
            broken: None,
        }
    }

    /// Whether faults may be over in a state, so that everything has to be decided.
    pub fn is_decided(&self, state: &State) -> bool {
        let ends = self.closes && state.time >= self.end && state.broken.is_none();
        !ends || !is_undecided(self, state) || close(self, state, None).broken.is_none()
    }
}

impl Model for Config {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        enumerate(self, state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        next(self, last, action)
    }

    fn properties(&self) -> Vec<Checked<Self>> {
        let mut all = vec![
            Checked::always("no acknowledged item is lost", |_, s: &State| {
                s.broken != Some(Property::NothingLost)
            }),
            Checked::always("one write, one key", |_, s: &State| {
                s.broken != Some(Property::OneKey)
            }),
            Checked::always("sequential writes keep their order", |_, s: &State| {
                s.broken != Some(Property::Order)
            }),
            Checked::always("a stable read never changes", |_, s: &State| {
                s.broken != Some(Property::StableStays)
            }),
            Checked::always("no two rings accept one key time", |_, s: &State| {
                s.broken != Some(Property::OneRing)
            }),
            Checked::always("nothing stays undecided", |config: &Self, s: &State| {
                config.is_decided(s)
            }),
        ];
        if self.wipes > 0 {
            // Examples of the known limit, to be printed: not what breaks the model.
            all.extend([
                Checked::sometimes("known limit: an item is lost", |_, s: &State| {
                    s.limits & Property::NothingLost.bit() != 0
                }),
                Checked::sometimes("known limit: one write, two keys", |_, s: &State| {
                    s.limits & Property::OneKey.bit() != 0
                }),
                Checked::sometimes("known limit: out of order", |_, s: &State| {
                    s.limits & Property::Order.bit() != 0
                }),
                Checked::sometimes("known limit: a stable read changes", |_, s: &State| {
                    s.limits & Property::StableStays.bit() != 0
                }),
            ]);
        }
        all
    }
}
