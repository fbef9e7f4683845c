//! Everything that is explored, in a row, said line by line.

use crate::Config;
use crate::check;
use crate::rules::Rule;
use crate::scopes;
use crate::walk::{self, CounterExample};

/// A rule, the size at which leaving it out is noticed, and what it breaks there.
pub struct LeftOut {
    /// The rule.
    pub rule: Rule,
    /// The size.
    pub config: Config,
    /// From which seeds on: not far below the first one that shows it.
    pub seeds: std::ops::Range<u64>,
}

/// How many steps a walk has.
pub const STEPS: usize = 150;

/// Each rule, and where leaving it out is noticed.
pub fn left_out() -> Vec<LeftOut> {
    Rule::ALL
        .into_iter()
        .map(|rule| {
            let config = match rule {
                Rule::RaisedFrontier
                | Rule::EveryRefusal
                | Rule::HeldFirst
                | Rule::Yield
                | Rule::SerialPoint
                | Rule::StartFrontier => scopes::one_ring(),
                Rule::WarmingSilent
                | Rule::WarmQuorum
                | Rule::WarmWaits
                | Rule::Adopt
                | Rule::OldIncarnation => scopes::wiped(),
                Rule::Named => scopes::one_away("one node away"),
                Rule::Placed | Rule::FromSecond | Rule::HorizonFirst => scopes::split(),
                Rule::Wait | Rule::AcceptHorizon | Rule::ReaderHorizon | Rule::AnnouncedKnown => {
                    scopes::rings()
                }
                Rule::Question | Rule::QuestionSkew | Rule::QuestionRaises | Rule::OldBound => {
                    scopes::two_changes()
                }
            };
            let first = match rule {
                Rule::QuestionRaises => 1_900,
                Rule::AnnouncedKnown => 1_200,
                Rule::StartFrontier => 600,
                _ => 0,
            };
            LeftOut {
                rule,
                config: config.without(rule),
                seeds: first..first + 6_000,
            }
        })
        .collect()
}

/// The shortest of the first few counter-examples of a rule that is left out.
pub fn notice(left_out: &LeftOut, few: usize) -> Option<CounterExample> {
    walk::shortest(&left_out.config, left_out.seeds.clone(), STEPS, few)
}

/// Explores everything; `say` is given a line at a time. Answers whether all is as it should be.
pub fn write(full: bool, say: &mut dyn FnMut(&str)) -> bool {
    let mut holds = true;
    let sizes = if full {
        scopes::full()
    } else {
        scopes::small()
    };
    say("explored whole:");
    for size in sizes {
        let found = check::explore(&size.config, 100_000_000);
        say(&format!(
            "  {}: {} states, {} reached",
            size.config.name, found.unique, found.reached
        ));
        for (property, actions) in found.broken.iter().chain(&found.limits) {
            say(&format!("    {property}, after:"));
            for action in actions {
                say(&format!("      {action}"));
            }
        }
        holds &= found.whole && found.unique == size.states;
    }
    let walks = if full { 20_000 } else { 1_000 };
    say("explored at random:");
    for config in scopes::random() {
        match walk::explore(&config, 0..walks, STEPS) {
            Ok(tally) => say(&format!("  {}: {tally}", config.name)),
            Err(found) => {
                holds = false;
                say(&format!("  {}:", config.name));
                tell(&config, &found, say);
            }
        }
    }
    say("with lost disks, the known limit:");
    holds &= write_known_limits(walks, say);
    say("left out:");
    for left_out in left_out() {
        match notice(&left_out, if full { 25 } else { 1 }) {
            Some(found) => say(&format!(
                "  {:?}: {} ({} steps, {})",
                left_out.rule,
                found.property,
                found.actions.len(),
                left_out.config.name
            )),
            None => {
                holds = false;
                say(&format!("  {:?}: not noticed", left_out.rule));
            }
        }
    }
    holds
}

/// Explores with lost disks: what breaks is the known limit, and each kind of it is printed.
pub fn write_known_limits(walks: u64, say: &mut dyn FnMut(&str)) -> bool {
    let config = scopes::wiped();
    match walk::explore(&config, 0..walks, STEPS) {
        Ok(tally) => say(&format!("  {}: {tally}", config.name)),
        Err(found) => {
            tell(&config, &found, say);
            return false;
        }
    }
    for (_, times, found) in walk::known_limits(&config, 0..walks, STEPS) {
        say(&format!("  in {times} walks; the shortest found:"));
        tell(&config, &found, say);
    }
    true
}

fn tell(config: &Config, found: &CounterExample, say: &mut dyn FnMut(&str)) {
    let (name, seed) = (config.name, found.seed);
    say(&format!(
        "    \"{}\" breaks ({name}, seed {seed}) after:",
        found.property
    ));
    for action in &found.actions {
        say(&format!("      {action}"));
    }
    if found.at_close {
        say("      and then faults are over and everything arrives");
    }
}
