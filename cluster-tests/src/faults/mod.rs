//! The faults, a module for each: what is done, what must hold, and what is said of it.

pub mod bulk;
pub mod damage;
pub mod drill;
pub mod full_disk;
pub mod historical;
pub mod idle;
pub mod kill;
pub mod pause;
pub mod scale;
pub mod stop;

use std::fmt;
use std::time::Duration;

use crate::check::{Verdict, check};
use crate::client::Client;
use crate::failure::{Failure, Outcome, ensure};
use crate::history::Recorder;
use crate::hub::Hub;
use crate::load::{Load, Plan};
use crate::random::Choices;
use crate::survey::survey;

/// How long a condition may take to come true that must come true.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A bar: whether it was met, and with which numbers.
#[derive(Debug, Clone)]
pub struct Bar {
    /// Its name, one word.
    pub name: &'static str,
    /// What was counted.
    pub numbers: String,
    /// What was wrong; nothing if the bar was met.
    pub wrong: Vec<String>,
}

impl Bar {
    /// A bar that is met until something is found.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            numbers: String::new(),
            wrong: Vec::new(),
        }
    }

    /// A bar that is met if its run came to an end, with what it counted.
    pub fn of(name: &'static str, outcome: Outcome<String>) -> Self {
        let mut bar = Self::new(name);
        match outcome {
            Ok(numbers) => bar.numbers = numbers,
            Err(failure) => bar.wrong.push(failure.to_string()),
        }
        bar
    }

    /// Something is wrong, unless the condition holds.
    pub fn demand(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }

    /// Whether it was met.
    pub fn is_met(&self) -> bool {
        self.wrong.is_empty()
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_met() { "PASS" } else { "FAIL" };
        write!(f, "{word} {}: {}", self.name, self.numbers)?;
        for wrong in self.wrong.iter().take(20) {
            write!(f, "\n     {wrong}")?;
        }
        Ok(())
    }
}

/// Starts a load on two channels that are kept and one that comes and goes.
async fn usual_load(
    client: &Client,
    seed: u64,
    writers: u32,
    item_max: usize,
    choices: &Choices,
) -> Outcome<Load> {
    let plan = Plan {
        run: seed,
        writers,
        channels: vec!["kept-0".to_owned(), "kept-1".to_owned()],
        doomed: vec!["doomed-0".to_owned()],
        item_max,
    };
    for channel in &plan.channels {
        client.put_channel(channel).await?;
    }
    Ok(Load::begin(client, plan, choices.bits()))
}

/// Reads everything back and checks it; nobody may write meanwhile. A store that was not damaged
/// by anybody must not take itself for damaged.
///
/// # Errors
/// [`Failure`] if it cannot be read.
pub async fn verified(hub: &Hub, recorder: &Recorder, choices: &Choices) -> Outcome<Verdict> {
    let (status, health) = hub.health().await?;
    let store = &health["store"];
    ensure(
        status == 200 && store["damagedRanges"] == 0 && store["intact"] == true,
        || format!("/health: {status} {health}"),
    )?;
    let readings = survey(&hub.client(), recorder, choices).await?;
    Ok(recorder.with(|history| check(history, &readings)))
}

/// As [`verified`], and fails at the first thing that is wrong.
///
/// # Errors
/// [`Failure`] that names what is wrong.
pub async fn verified_clean(hub: &Hub, recorder: &Recorder, choices: &Choices) -> Outcome<Verdict> {
    let verdict = verified(hub, recorder, choices).await?;
    match verdict.findings.first() {
        None => Ok(verdict),
        Some(first) => Err(Failure(format!("{verdict}; {first}"))),
    }
}

/// The settings of a hub that seals a segment at least every second.
#[must_use]
pub fn sealing_often(hub: Hub, durability: &str) -> Hub {
    hub.with("HUB_SPOKE_BUCKET_SECONDS", 1)
        .with("HUB_SPOKE_SEGMENT_ITEMS", 40)
        .with("HUB_SPOKE_SEGMENT_BYTES", 1024 * 1024)
        .with("HUB_SPOKE_DURABILITY", durability)
}

/// Durabilities by turns.
pub const fn durability_of(run: u64) -> &'static str {
    if run.is_multiple_of(2) {
        "fsync"
    } else {
        "replicated"
    }
}
