//! Random walks: beyond what can be explored whole, and to find a counter-example fast.
//!
//! A walk is a seed; the same seed gives the same walk on every machine. A counter-example is made
//! shorter by leaving out what it does not need.

use std::fmt;

use crate::action::{Action, enumerate};
use crate::close::{close, is_undecided};
use crate::config::Config;
use crate::random::Random;
use crate::rules::Property;
use crate::state::State;
use crate::step::next;

/// A way to break a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterExample {
    /// What breaks.
    pub property: Property,
    /// What happens, from the first state on.
    pub actions: Vec<Action>,
    /// Whether it breaks only when faults are over and everything arrives.
    pub at_close: bool,
    /// The seed that found it.
    pub seed: u64,
}

/// What many walks did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many walks.
    pub walks: u64,
    /// Steps.
    pub steps: u64,
    /// Writes that were acknowledged.
    pub acked: u64,
    /// Walks at whose end something was undecided, which was decided once faults were over.
    pub closed: u64,
    /// Ring changes that came into force.
    pub changes: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            walks,
            steps,
            acked,
            closed,
            changes,
        } = self;
        write!(
            f,
            "{walks} walks of {steps} steps, {acked} writes acknowledged, {changes} ring changes, \
             {closed} walks that ended undecided and were decided once faults were over"
        )
    }
}

/// How many counter-examples of one kind are made shorter, to show the shortest.
const FEW: u64 = 25;

/// The shortest of the first few counter-examples that walks from a range of seeds find, each made
/// shorter.
pub fn shortest(
    config: &Config,
    seeds: std::ops::Range<u64>,
    steps: usize,
    few: usize,
) -> Option<CounterExample> {
    let mut best: Option<CounterExample> = None;
    let (mut from, mut found) = (seeds.start, 0);
    while found < few && from < seeds.end {
        let Err(example) = explore(config, from..seeds.end, steps) else {
            break;
        };
        from = example.seed + 1;
        found += 1;
        let example = shorten(config, &example);
        if best
            .as_ref()
            .is_none_or(|best| example.actions.len() < best.actions.len())
        {
            best = Some(example);
        }
    }
    best
}

/// How a walk ends.
struct Walk {
    last: State,
    actions: Vec<Action>,
    undecided: bool,
}

/// How likely a kind of step is, of those that can happen.
fn weight(action: &Action) -> usize {
    match action {
        Action::Deliver(_) => 40,
        Action::Begin(_) => 12,
        Action::Report(..) | Action::Tick => 10,
        Action::Confirm(_) | Action::Retry(..) | Action::Disk(_) => 8,
        Action::Vouched(..) | Action::Warm(..) => 6,
        Action::Resend(..) | Action::Announce(_) | Action::SetFrom(_) | Action::Start(..) => 5,
        Action::Vouch(_) | Action::Crash(_) => 3,
        Action::Wipe(_) => 2,
    }
}

/// Kinds are drawn first, and then one of the kind: many messages do not crowd out the rest.
fn kind(action: &Action) -> std::mem::Discriminant<Action> {
    std::mem::discriminant(action)
}

fn choose(actions: &[Action], random: &mut Random) -> Option<usize> {
    let mut kinds: Vec<(std::mem::Discriminant<Action>, usize)> = Vec::new();
    for action in actions {
        if !kinds.iter().any(|(k, _)| *k == kind(action)) {
            kinds.push((kind(action), weight(action)));
        }
    }
    let total = kinds.iter().map(|(_, weight)| weight).sum();
    let mut draw = random.below(total);
    let (chosen, _) = kinds.iter().find(|(_, weight)| {
        let here = draw < *weight;
        draw = draw.saturating_sub(*weight);
        here
    })?;
    let of_kind: Vec<usize> = (0..actions.len())
        .filter(|i| kind(&actions[*i]) == *chosen)
        .collect();
    of_kind.get(random.below(of_kind.len())).copied()
}

fn walk(config: &Config, seed: u64, steps: usize) -> Walk {
    let mut random = Random::new(seed);
    let mut last = config.first();
    let mut taken = Vec::new();
    let mut possible = Vec::new();
    while taken.len() < steps && last.broken.is_none() {
        possible.clear();
        enumerate(config, &last, &mut possible);
        let mut moved = false;
        while let Some(at) = choose(&possible, &mut random) {
            let action = possible.swap_remove(at);
            if let Some(state) = next(config, &last, action) {
                last = state;
                taken.push(action);
                moved = true;
                break;
            }
        }
        if !moved {
            break;
        }
    }
    let undecided = is_undecided(config, &last);
    if config.closes && last.broken.is_none() {
        last = close(config, &last, Some(&mut random));
    }
    Walk {
        last,
        actions: taken,
        undecided,
    }
}

/// Walks from a range of seeds, until one breaks a property.
///
/// # Errors
/// The first counter-example.
pub fn explore(
    config: &Config,
    seeds: std::ops::Range<u64>,
    steps: usize,
) -> Result<Tally, CounterExample> {
    let mut tally = Tally::default();
    for seed in seeds {
        let walk = walk(config, seed, steps);
        if let Some(property) = walk.last.broken {
            let mut found = CounterExample {
                property,
                actions: walk.actions,
                at_close: false,
                seed,
            };
            found.at_close = replay(config, &found.actions).broken != Some(property);
            return Err(found);
        }
        tally.walks += 1;
        tally.steps += walk.actions.len() as u64;
        tally.acked += u64::from(walk.last.acked().count_ones());
        tally.closed += u64::from(walk.undecided);
        tally.changes += u64::from(walk.last.ledger.at / 2);
    }
    Ok(tally)
}

/// The ways in which walks from a range of seeds break properties within the known limit: for each
/// property the shortest one of the first few, made shorter, and how many there were.
pub fn known_limits(
    config: &Config,
    seeds: std::ops::Range<u64>,
    steps: usize,
) -> Vec<(Property, u64, CounterExample)> {
    let mut found: Vec<(Property, u64, CounterExample)> = Vec::new();
    for seed in seeds {
        let walk = walk(config, seed, steps);
        for property in Property::ALL {
            if walk.last.limits & property.bit() == 0 {
                continue;
            }
            let known = found.iter_mut().find(|known| known.0 == property);
            if let Some((_, times, _)) = known
                && *times >= FEW
            {
                *times += 1;
                continue;
            }
            let actions = walk.actions.clone();
            let at_close = replay(config, &actions).limits & property.bit() == 0;
            let long = CounterExample {
                property,
                actions,
                at_close,
                seed,
            };
            let example = shorten(config, &long);
            match found.iter_mut().find(|known| known.0 == property) {
                None => found.push((property, 1, example)),
                Some((_, times, best)) => {
                    *times += 1;
                    if example.actions.len() < best.actions.len() {
                        *best = example;
                    }
                }
            }
        }
    }
    found
}

/// The state after these steps; what cannot happen is left out.
pub fn replay(config: &Config, actions: &[Action]) -> State {
    actions.iter().fold(config.first(), |last, action| {
        let mut possible = Vec::new();
        enumerate(config, &last, &mut possible);
        let can = possible.contains(action);
        can.then(|| next(config, &last, *action))
            .flatten()
            .unwrap_or(last)
    })
}

/// Leaves out, one by one, the steps that a counter-example does not need.
pub fn shorten(config: &Config, found: &CounterExample) -> CounterExample {
    let breaks = |actions: &[Action]| {
        let mut state = replay(config, actions);
        if found.at_close && state.broken.is_none() {
            state = close(config, &state, None);
        }
        state.broken == Some(found.property) || state.limits & found.property.bit() != 0
    };
    let mut best = found.clone();
    let mut size = best.actions.len() / 2;
    while size > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < best.actions.len() {
            let mut actions = best.actions.clone();
            actions.drain(from..(from + size).min(best.actions.len()));
            if breaks(&actions) {
                best.actions = actions;
                shorter = true;
            } else {
                from += size;
            }
        }
        if !shorter || size > 1 {
            size /= 2;
        }
    }
    best
}
