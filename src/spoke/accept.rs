//! The accept rule: whether a replica takes an item under a key. The heart of the hub.
//!
//! It is one pure function of what was offered, what the replica holds, what it has promised and
//! how it stands. Every replica applies it, the one that stamped the key included, at one serial
//! point per channel, so that the promises of two replicas together order all writes: two write
//! quorums share a replica, and that one refuses anything at or below what it has.

use std::collections::BTreeMap;

use super::ids::WriteId;
use crate::env::Millis;
use crate::item::{Frontier, ItemKey, NodeSlot};

/// The limits of the accept rule, the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long after its stamp an item may still arrive, in milliseconds.
    pub accept_window: i64,
    /// How far any two clocks may differ, in milliseconds.
    pub max_skew: i64,
}

/// An item that is offered to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The key it was stamped with.
    pub key: ItemKey,
    /// The write it is of.
    pub write_id: WriteId,
}

/// What a replica holds of the write that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    No,
    /// The item, under the offered key.
    Here,
    /// The item, committed under another key.
    Committed(ItemKey),
    /// The item, undecided under another key.
    Pending(ItemKey),
}

/// How a replica stands towards an offer, apart from what it holds and has promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its clock.
    pub clock: Millis,
    /// It may accept no key at or past this time.
    pub horizon: Millis,
    /// Whether it and the sender are in the replica set of the key, by its own ring history.
    pub placed: bool,
    /// Whether the channel id offered is the newest that it knows of the name.
    pub current: bool,
    /// Whether its disk is nearly full.
    pub full: bool,
}

/// The answer of the accept rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is held under this key already.
    Yes,
    /// The write is committed under that other key.
    Duplicate(ItemKey),
    /// The key is covered by a promise. This is final.
    Covered {
        /// The promise.
        frontier: Frontier,
        /// The replica's clock.
        clock: Millis,
        /// The higher key under which it holds the write itself, undecided.
        higher: Option<ItemKey>,
    },
    /// Not now, for that reason. This is not final.
    NotNow(Reason),
    /// The write is undecided here under a lower key: ask again.
    Busy,
    /// Accepted: it is to be stored, and counts as pending until it is.
    Accept,
}

/// Why a replica does not accept an item now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It, or the sender, is not in the replica set of the key.
    NotPlaced,
    /// The key is not before its ring horizon.
    PastHorizon,
    /// The key is too far ahead of its clock.
    AheadOfClock,
    /// The channel was created anew since.
    OldChannel,
    /// Its disk is nearly full.
    DiskFull,
    /// It may have forgotten promises, and has not yet learned from the others what they were.
    Warming,
    /// Its clock is too far from the others'.
    ClockOff,
    /// There is no connection to another replica, or none that has the payload.
    NoPeer,
    /// The payload that was to go ahead of the append is not there.
    NoPayload,
    /// The time is over in which the write may be stamped.
    TooLate,
    /// Too many writes wait for their second copies.
    Backlog,
}

/// Applies the rule, in its order: what is held, what was promised, what stands in the way, what
/// is undecided.
pub fn decide(
    offer: &Offer,
    held: &Held,
    frontier: &Frontier,
    standing: &Standing,
    limits: &Limits,
) -> Verdict {
    match held {
        Held::Here => return Verdict::Yes,
        Held::Committed(key) => return Verdict::Duplicate(*key),
        Held::Pending(_) | Held::No => {}
    }
    if frontier.covers(&offer.key) {
        let higher = match held {
            Held::Pending(key) if *key > offer.key => Some(*key),
            _ => None,
        };
        return Verdict::Covered {
            frontier: *frontier,
            clock: standing.clock,
            higher,
        };
    }
    if let Some(reason) = obstacle(offer, standing, limits) {
        return Verdict::NotNow(reason);
    }
    match held {
        Held::Pending(_) => Verdict::Busy,
        _ => Verdict::Accept,
    }
}

fn obstacle(offer: &Offer, standing: &Standing, limits: &Limits) -> Option<Reason> {
    let millis = offer.key.millis;
    if !standing.placed {
        Some(Reason::NotPlaced)
    } else if millis >= standing.horizon {
        Some(Reason::PastHorizon)
    } else if millis > standing.clock.plus(limits.max_skew) {
        Some(Reason::AheadOfClock)
    } else if !standing.current {
        Some(Reason::OldChannel)
    } else if standing.full {
        Some(Reason::DiskFull)
    } else {
        None
    }
}

/// What a replica has promised about one channel, and what of it is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promises {
    /// The highest key stamped or accepted.
    highest: Frontier,
    /// The highest promise made to somebody who asked, or at a start.
    raised: Frontier,
    /// Keys that were stamped or accepted and are not yet stored and readable, and those stamped
    /// here of which no second copy is known.
    pending: BTreeMap<ItemKey, Pending>,
    /// The highest key stamped here.
    stamped: Option<ItemKey>,
}

/// A key that is not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The write it is of.
    pub write_id: WriteId,
    /// Whether this node stamped it.
    pub own: bool,
}

impl Promises {
    /// Of a channel of which nothing is remembered: all that can have been promised is `floor`.
    pub fn new(floor: Frontier) -> Self {
        Self {
            highest: Frontier::NOTHING,
            raised: floor,
            pending: BTreeMap::new(),
            stamped: None,
        }
    }

    /// The frontier: keys that it covers are refused.
    pub fn frontier(&self, clock: Millis, limits: &Limits) -> Frontier {
        let by_clock = Frontier::before(clock.minus(limits.accept_window));
        self.highest.max(self.raised).max(by_clock)
    }

    /// The frontier as it is reported to readers: below every pending key.
    pub fn reported(&self, clock: Millis, limits: &Limits) -> Frontier {
        let frontier = self.frontier(clock, limits);
        match self.pending.first_key_value() {
            Some((lowest, _)) => frontier.min(Frontier::below(*lowest)),
            None => frontier,
        }
    }

    /// The key that a coordinator stamps next: above all it stamped, saw or promised, and not
    /// before its clock.
    pub fn stamp(&self, clock: Millis, limits: &Limits, slot: NodeSlot) -> ItemKey {
        ItemKey::stamp(&self.frontier(clock, limits).key(), clock, slot)
    }

    /// A key was accepted, or stamped here (`own`): from now on lower ones are refused, and it is
    /// pending.
    pub fn accept(&mut self, key: ItemKey, write_id: WriteId, own: bool) {
        self.highest = self.highest.max(Frontier::up_to(key));
        self.pending.insert(key, Pending { write_id, own });
        if own {
            self.stamped = self.stamped.max(Some(key));
        }
    }

    /// Whether a key was stamped here at or after a time.
    pub fn stamped_since(&self, since: Millis) -> bool {
        self.stamped.is_some_and(|key| key.millis >= since)
    }

    /// The highest key such that all that was stamped here at or below it is decided.
    pub fn decided_to(&self) -> Option<ItemKey> {
        let stamped = self.stamped?;
        let lowest = self.pending.iter().find(|(_, pending)| pending.own);
        Some(lowest.map_or(stamped, |(key, _)| ItemKey::first_of(key.millis)))
    }

    /// A pending key is stored and readable, or is known never to be.
    pub fn decided(&mut self, key: &ItemKey) {
        self.pending.remove(key);
    }

    /// Nothing at or below `frontier` will be accepted from now on.
    pub fn raise(&mut self, frontier: Frontier) {
        self.raised = self.raised.max(frontier);
    }

    /// Whether a key is pending.
    pub fn is_pending(&self, key: &ItemKey) -> bool {
        self.pending.contains_key(key)
    }

    /// The pending keys, lowest first.
    pub fn pending(&self) -> impl Iterator<Item = (&ItemKey, &Pending)> {
        self.pending.iter()
    }

    /// Whether the clock alone promises as much as this does, so that it may be forgotten.
    pub fn is_idle(&self, clock: Millis, limits: &Limits) -> bool {
        let by_clock = Frontier::before(clock.minus(limits.accept_window));
        self.pending.is_empty() && self.highest <= by_clock && self.raised <= by_clock
    }
}

#[cfg(test)]
mod tests;
