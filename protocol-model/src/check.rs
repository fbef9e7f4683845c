//! Exploring a size whole.

use std::thread::available_parallelism;

use stateright::{Checker, DiscoveryClassification, HasDiscoveries, Model};

use crate::action::Action;
use crate::config::Config;

/// What exploring a size whole came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explored {
    /// States that differ.
    pub unique: usize,
    /// States that were reached, each as often as it was.
    pub reached: usize,
    /// The longest of the shortest ways to a state, in steps.
    pub depth: usize,
    /// Whether there was nothing left to explore.
    pub whole: bool,
    /// The properties that broke, and the shortest way there.
    pub broken: Vec<(&'static str, Vec<Action>)>,
    /// The kinds of the known limit that were met, and a way there.
    pub limits: Vec<(&'static str, Vec<Action>)>,
}

/// Explores every state, breadth first, until a property breaks or that many states were reached.
pub fn explore(config: &Config, at_most: usize) -> Explored {
    let threads = available_parallelism().map_or(1, usize::from);
    let checker = config
        .clone()
        .checker()
        .threads(threads)
        .target_state_count(at_most)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let (mut broken, mut limits) = (Vec::new(), Vec::new());
    for (name, path) in checker.discoveries() {
        let kind = checker.discovery_classification(name);
        let list = match kind {
            DiscoveryClassification::Example => &mut limits,
            DiscoveryClassification::Counterexample => &mut broken,
        };
        list.push((name, path.into_actions()));
    }
    limits.sort_by_key(|(name, _)| *name);
    Explored {
        unique: checker.unique_state_count(),
        reached: checker.state_count(),
        depth: checker.max_depth(),
        whole: checker.state_count() < at_most && broken.is_empty(),
        broken,
        limits,
    }
}
