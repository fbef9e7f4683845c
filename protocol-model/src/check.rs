//! Exploring a size whole.

use std::thread::available_parallelism;

use stateright::{Checker, HasDiscoveries, Model};

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
    let broken = checker
        .discoveries()
        .into_iter()
        .map(|(name, path)| (name, path.into_actions()))
        .collect::<Vec<_>>();
    Explored {
        unique: checker.unique_state_count(),
        reached: checker.state_count(),
        depth: checker.max_depth(),
        whole: checker.state_count() < at_most && broken.is_empty(),
        broken,
    }
}
