//! What a state of the model holds: the nodes, what is under way between them, and what a client
//! has been told.

use std::fmt;

use crate::key::{Front, Key, Named};
use crate::rules::Property;

/// The coordination service, as the receiver of a message.
pub const LEDGER: u8 = 7;

/// The most nodes there may be.
pub const NODES: usize = 6;

/// A set of nodes or of writes, a bit for each.
pub type Set = u8;

/// The members of a set.
pub fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..8).filter(move |i| set & (1 << i) != 0)
}

/// A set of one.
pub fn one(i: usize) -> Set {
    1 << i
}

/// Whether `i` is in a set.
pub fn has(set: Set, i: usize) -> bool {
    set & one(i) != 0
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The true time; a node's clock is this and its offset.
    pub time: u16,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Everything that was ever sent and may still do something, sorted. What is in here may
    /// arrive at any time, in any order, never, and more than once.
    pub net: Vec<Message>,
    /// What the coordination service holds.
    pub ledger: Ledger,
    /// What the clients know.
    pub writes: Vec<WriteState>,
    /// A stable read under way.
    pub reader: Option<Reader>,
    /// The stable read that reached furthest: its bound, and the items it gave.
    pub stable: (Front, Vec<(Key, u8)>),
    /// Under which ring items of a key time were accepted.
    pub taken: Vec<(u16, u8)>,
    /// How many of each bounded thing have happened.
    pub spent: Spent,
    /// Writes that were adopted by a wiped replica while they were undecided.
    pub adopted: Set,
    /// Properties that are broken within the known limit (by an adopted write), as bits.
    pub limits: u8,
    /// The property that is broken.
    pub broken: Option<Property>,
}

/// How many of each bounded thing have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Spent {
    /// Second and later attempts at a write.
    pub retries: u8,
    /// Ends of a run.
    pub crashes: u8,
    /// Lost disks.
    pub wipes: u8,
    /// Reports to readers.
    pub reports: u8,
    /// Confirmations of a horizon, and questions to other members.
    pub confirms: u8,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    /// Whether it runs.
    pub up: bool,
    /// Whether it votes; not while it warms.
    pub voting: bool,
    /// Which run it is.
    pub incarnation: u8,
    /// The newest run of each node that it has heard of.
    pub seen: [u8; NODES],
    /// Whose items it has merged while it warms.
    pub merged: Set,
    /// The highest key stamped or accepted.
    pub highest: Key,
    /// The highest promise made otherwise.
    pub raised: Front,
    /// The items, by key.
    pub copies: Vec<Item>,
    /// Writes that it asks earlier sets about, and who has answered: write, map, answered.
    pub asks: Vec<(u8, u8, Set)>,
    /// How much of the ledger it knows.
    pub known: u8,
    /// Whether it has sent an announcement that may not have arrived.
    pub announcing: bool,
    /// Its ring horizon.
    pub horizon: u16,
    /// A round of asking every member: when it was asked, what was known, who has answered.
    pub vouching: Option<(u16, u8, Set)>,
}

/// An item on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Item {
    /// Its key.
    pub key: Key,
    /// The write that it is of.
    pub write: u8,
    /// How far it is.
    pub status: Status,
}

/// How far an item is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Stamped or accepted, and not on disk yet. Who is named in the record, if it is its own.
    Queued {
        /// The replicas named in the record; none if another node stamped it.
        named: Set,
    },
    /// Its own, on disk, with no other copy that it knows of.
    Pending(Pending),
    /// There are two copies.
    Committed {
        /// The replicas named in the record; none if another node stamped it.
        named: Set,
    },
}

/// What a coordinator knows of an undecided item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pending {
    /// The replicas named in the record.
    pub named: Set,
    /// Those that refused it for good.
    pub refused: Set,
    /// One of them holds the write itself under a higher key.
    pub higher: bool,
    /// The highest frontier they named.
    pub front: Front,
    /// The highest clock they named.
    pub clock: u16,
    /// It is of an earlier run, and settled rather than written.
    pub settling: bool,
}

/// A message between two runs of two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    /// Who sent it.
    pub from: u8,
    /// To whom.
    pub to: u8,
    /// Which run sent it.
    pub from_run: u8,
    /// To which run.
    pub to_run: u8,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// Store this.
    Append {
        /// Under this key.
        key: Key,
        /// The write.
        write: u8,
    },
    /// It is stored.
    Yes {
        /// Under this key.
        key: Key,
        /// The write.
        write: u8,
    },
    /// The write is committed under another key.
    Duplicate {
        /// The key that was offered.
        key: Key,
        /// The write.
        write: u8,
        /// The key that it has.
        other: Key,
    },
    /// A promise covers the key.
    Covered {
        /// The key that was offered.
        key: Key,
        /// The promise.
        front: Front,
        /// The clock of who refuses.
        clock: u16,
        /// It holds the write itself under a higher key.
        higher: bool,
    },
    /// A committed item, for who has not got it.
    Committed {
        /// Its key.
        key: Key,
        /// The write.
        write: u8,
    },
    /// Do you hold this write? If not, take nothing at or below `up_to` any more.
    Settle {
        /// The write.
        write: u8,
        /// What is to be promised.
        up_to: Front,
        /// The earlier ring map that is asked about; none when a restarted coordinator asks.
        map: Option<u8>,
    },
    /// The answer.
    Settled {
        /// The write.
        write: u8,
        /// What was to be promised.
        up_to: Front,
        /// As asked.
        map: Option<u8>,
        /// Where it is held.
        held: Option<Key>,
    },
    /// To the coordination service: a new ring.
    Announce {
        /// How much of the ledger there must be for it.
        after: u8,
        /// Only when it is not left to a second write.
        in_force: Option<u16>,
    },
    /// To the coordination service: the time from which the announced ring is in force.
    InForce {
        /// How much of the ledger there must be for it.
        after: u8,
        /// The time.
        from: u16,
    },
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Append { key, write } => write!(f, "store write {write} as {}", Named(key)),
            Self::Yes { key, write } => write!(f, "write {write} is stored as {}", Named(key)),
            Self::Duplicate { key, write, other } => {
                write!(
                    f,
                    "not {}: write {write} is committed as {}",
                    Named(key),
                    Named(other)
                )
            }
            Self::Covered {
                key,
                front,
                clock,
                higher,
            } => {
                let hint = if higher {
                    ", it has a higher key itself"
                } else {
                    ""
                };
                write!(
                    f,
                    "{} is covered, up to {} (clock {clock}{hint})",
                    Named(key),
                    Named(front)
                )
            }
            Self::Committed { key, write } => {
                write!(f, "write {write} is committed as {}", Named(key))
            }
            Self::Settle { write, up_to, .. } => {
                write!(
                    f,
                    "is write {write} there? else nothing up to {}",
                    Named(up_to)
                )
            }
            Self::Settled {
                write,
                held: Some(key),
                ..
            } => {
                write!(f, "write {write} is there as {}", Named(key))
            }
            Self::Settled { write, up_to, .. } => {
                write!(
                    f,
                    "write {write} is not there, and nothing more up to {}",
                    Named(up_to)
                )
            }
            Self::Announce { .. } => write!(f, "a new ring"),
            Self::InForce { from, .. } => write!(f, "the ring is in force from {from}"),
        }
    }
}

/// What the coordination service holds: a list that only grows. Entry 0 is the first ring, then
/// come an announcement and a time in turn, for each further ring.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// Its length less one.
    pub at: u8,
    /// The times of the rings after the first.
    pub in_force: Vec<u16>,
}

/// What clients know of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct WriteState {
    /// Whether it began, and the time.
    pub began: Option<u16>,
    /// The writes that had been acknowledged by then.
    pub after: Set,
    /// The key that was acknowledged.
    pub acked: Option<Key>,
    /// Who has stamped it, where disks are lost.
    pub stamped: Set,
}

/// A stable read under way, from the first key to as far as it is stable.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The node that reads.
    pub node: u8,
    /// How much of the ledger it knew when it began.
    pub known: u8,
    /// Its horizon then.
    pub horizon: u16,
    /// What the replicas reported, by node.
    pub reports: Vec<Report>,
}

/// What a replica reports to a reader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Report {
    /// The replica.
    pub from: u8,
    /// Its frontier.
    pub front: Front,
    /// The committed items that it holds: key and write.
    pub items: Vec<(Key, u8)>,
}

impl Node {
    /// Where a key is in its items.
    pub fn find(&self, key: Key) -> Result<usize, usize> {
        self.copies.binary_search_by_key(&key, |copy| copy.key)
    }

    /// The item of a key.
    pub fn copy(&self, key: Key) -> Option<&Item> {
        self.find(key).ok().map(|at| &self.copies[at])
    }

    /// Stores an item, or changes how far it is.
    pub fn put(&mut self, copy: Item) {
        match self.find(copy.key) {
            Ok(at) => self.copies[at] = copy,
            Err(at) => self.copies.insert(at, copy),
        }
    }

    /// Drops an item.
    pub fn drop_key(&mut self, key: Key) {
        if let Ok(at) = self.find(key) {
            self.copies.remove(at);
        }
    }

    /// The undecided item of a key, if it is its own.
    pub fn pending(&mut self, key: Key) -> Option<&mut Pending> {
        let at = self.find(key).ok()?;
        match &mut self.copies[at].status {
            Status::Pending(pending) => Some(pending),
            _ => None,
        }
    }

    /// The committed key of a write.
    pub fn committed(&self, write: u8) -> Option<Key> {
        self.copies.iter().find_map(|copy| {
            let committed = matches!(copy.status, Status::Committed { .. });
            (copy.write == write && committed).then_some(copy.key)
        })
    }

    /// The undecided key of a write: its own, or one that is not on disk yet.
    pub fn undecided(&self, write: u8) -> Option<Key> {
        self.copies.iter().find_map(|copy| {
            let undecided = !matches!(copy.status, Status::Committed { .. });
            (copy.write == write && undecided).then_some(copy.key)
        })
    }

    /// Whether it settles items of an earlier run.
    pub fn is_settling(&self) -> bool {
        self.copies
            .iter()
            .any(|copy| matches!(copy.status, Status::Pending(p) if p.settling))
    }
}

impl State {
    /// Notes that a property is broken. It is within the known limit if a write that a wiped
    /// replica adopted while it was undecided is part of it; an item is lost, or has two keys,
    /// within that limit only if two coordinators had stamped it.
    pub fn violate(&mut self, property: Property, writes: Set) {
        let of_one = matches!(property, Property::NothingLost | Property::OneKey);
        let known = members(writes & self.adopted)
            .any(|write| !of_one || self.writes[write].stamped.count_ones() > 1);
        if known {
            self.limits |= property.bit();
        } else if self.broken.is_none() {
            self.broken = Some(property);
        }
    }

    /// The writes that are acknowledged.
    pub fn acked(&self) -> Set {
        self.writes
            .iter()
            .enumerate()
            .filter(|(_, write)| write.acked.is_some())
            .fold(0, |set, (i, _)| set | one(i))
    }
}
