//! What may happen in a state.

use std::fmt;

use crate::config::{ANY, Config};
use crate::key::{Key, Named};
use crate::rules::Rule;
use crate::state::{LEDGER, Message, State, Status, has, members};

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time goes on.
    Tick,
    /// The next write begins, at this coordinator.
    Begin(u8),
    /// A write is tried again, at this coordinator.
    Retry(u8, u8),
    /// A message arrives; it may arrive again.
    Deliver(Message),
    /// What a node has taken is on its disk.
    Disk(u8),
    /// A node's run ends.
    Crash(u8),
    /// A node starts again; whether the marks of its latest commits were lost.
    Start(u8, bool),
    /// A node loses its disk, and starts again.
    Wipe(u8),
    /// A node that warms merges what another one holds.
    Warm(u8, u8),
    /// A coordinator sends an undecided item again, also to whom it could not send it before.
    Resend(u8, Key),
    /// For the reader at the first node, the second one reports what it holds.
    Report(u8, u8),
    /// A node confirms its horizon by a write to the coordination service.
    Confirm(u8),
    /// A node asks the members of the newest ring to vouch for its history.
    Vouch(u8),
    /// The second node answers the first one's question.
    Vouched(u8, u8),
    /// A node sends the announcement of the next ring.
    Announce(u8),
    /// A node sends the time from which the announced ring is in force.
    SetFrom(u8),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |node: &u8| char::from(b'A' + node);
        match self {
            Self::Tick => write!(f, "time goes on"),
            Self::Begin(at) => write!(f, "the next write begins at {}", name(at)),
            Self::Retry(write, at) => write!(f, "write {write} is tried again at {}", name(at)),
            Self::Deliver(m) if m.to == LEDGER => {
                write!(f, "the service gets from {}: {}", name(&m.from), m.body)
            }
            Self::Deliver(m) => {
                write!(f, "{} gets from {}: {}", name(&m.to), name(&m.from), m.body)
            }
            Self::Disk(at) => write!(f, "what {} took is on its disk", name(at)),
            Self::Crash(at) => write!(f, "{} crashes", name(at)),
            Self::Start(at, false) => write!(f, "{} starts", name(at)),
            Self::Start(at, true) => write!(f, "{} starts, its latest marks lost", name(at)),
            Self::Wipe(at) => write!(f, "{} loses its disk and starts", name(at)),
            Self::Warm(at, from) => write!(f, "{} merges what {} holds", name(at), name(from)),
            Self::Resend(at, key) => write!(f, "{} sends {} again", name(at), Named(*key)),
            Self::Report(reader, at) => write!(f, "{} reports to {}", name(at), name(reader)),
            Self::Confirm(at) => write!(f, "{} confirms its horizon", name(at)),
            Self::Vouch(at) => write!(f, "{} asks every member to vouch", name(at)),
            Self::Vouched(at, by) => write!(f, "{} answers {}", name(by), name(at)),
            Self::Announce(at) => write!(f, "{} sends an announcement", name(at)),
            Self::SetFrom(at) => write!(f, "{} sends a time to be in force from", name(at)),
        }
    }
}

/// Appends what may happen. What would change nothing may be among it.
pub fn enumerate(config: &Config, state: &State, actions: &mut Vec<Action>) {
    if state.broken.is_some() {
        return;
    }
    if state.time < config.end {
        actions.push(Action::Tick);
    }
    writes(config, state, actions);
    if config.maps.len() == 1 {
        // Who knows the only ring reads like everybody else: one reader is enough.
        reports(config, state, 0, actions);
    }
    for message in &state.net {
        let up = message.to == LEDGER || state.nodes[usize::from(message.to)].up;
        if up {
            actions.push(Action::Deliver(*message));
        }
    }
    for (i, node) in state.nodes.iter().enumerate() {
        let n = i as u8;
        if !node.up {
            if state.spent.crashes > 0 && has(config.frail, i) && !has(config.gone, i) {
                actions.push(Action::Start(n, false));
                actions.push(Action::Start(n, true));
            }
            continue;
        }
        if config.slow_disk
            && node
                .copies
                .iter()
                .any(|c| matches!(c.status, Status::Queued { .. }))
        {
            actions.push(Action::Disk(n));
        }
        if has(config.frail, i) {
            faults(config, state, i, actions);
        }
        if !node.voting {
            actions.extend((0..state.nodes.len()).map(|j| Action::Warm(n, j as u8)));
        }
        if config.resends {
            actions.extend(node.copies.iter().filter_map(|copy| match copy.status {
                Status::Pending(p) if !p.settling => Some(Action::Resend(n, copy.key)),
                _ => None,
            }));
        }
        if config.maps.len() > 1 && has(config.readers, i) {
            reports(config, state, n, actions);
        }
        if config.announces() {
            rings(config, state, i, actions);
        }
    }
}

fn writes(config: &Config, state: &State, actions: &mut Vec<Action>) {
    let begun = state.writes.iter().filter(|w| w.began.is_some()).count();
    if begun < usize::from(config.writes) {
        actions.extend(members(config.coordinators).map(|i| Action::Begin(i as u8)));
    }
    if state.spent.retries < config.retries {
        for (write, known) in state.writes.iter().enumerate().take(begun) {
            if known.acked.is_none() || config.keyed {
                let again = |i| Action::Retry(write as u8, i as u8);
                actions.extend(members(config.fallbacks).map(again));
            }
        }
    }
}

fn reports(config: &Config, state: &State, reader: u8, actions: &mut Vec<Action>) {
    if config.reports == ANY || state.spent.reports < config.reports {
        actions.extend((0..state.nodes.len()).map(|j| Action::Report(reader, j as u8)));
    }
}

fn faults(config: &Config, state: &State, i: usize, actions: &mut Vec<Action>) {
    if state.spent.crashes < config.crashes {
        actions.push(Action::Crash(i as u8));
    }
    // One disk at a time: a read quorum of intact ones must be left.
    if state.spent.wipes < config.wipes && state.nodes.iter().all(|n| n.voting) {
        actions.push(Action::Wipe(i as u8));
    }
}

fn rings(config: &Config, state: &State, i: usize, actions: &mut Vec<Action>) {
    let node = &state.nodes[i];
    let n = i as u8;
    if config.confirms == ANY || state.spent.confirms < config.confirms {
        actions.push(Action::Confirm(n));
        if config.vouching {
            actions.push(Action::Vouch(n));
        }
    }
    if node.vouching.is_some() {
        actions.extend((0..state.nodes.len()).map(|j| Action::Vouched(n, j as u8)));
    }
    let last = 2 * (config.maps.len() - 1) as u8;
    let keeper = has(config.keepers, i);
    if keeper && node.known < last && node.known.is_multiple_of(2) && !node.announcing {
        actions.push(Action::Announce(n));
    }
    if node.known % 2 == 1 && keeper && config.keeps(Rule::FromSecond) {
        actions.push(Action::SetFrom(n));
    }
}
