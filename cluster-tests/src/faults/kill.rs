//! `kill -9` under load, at random moments and at those where it could hurt most: while a segment
//! is sealed, while the hub recovers from the last kill, and while segments expire.

use std::time::Duration;

use super::{Bar, PATIENCE, durability_of, sealing_often, verified};
use crate::check::Verdict;
use crate::failure::{Failure, Outcome, ensure};
use crate::hub::Hub;
use crate::item::ItemName;
use crate::latency::{Latency, millis};
use crate::load::{Load, Plan};
use crate::random::Choices;
use crate::wait::{now, until};

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed of the first run; each further run has the next one.
    pub seed: u64,
    /// How many runs.
    pub runs: u64,
    /// Clients that write.
    pub writers: u32,
    /// Acknowledged items of a run at the least.
    pub items: u64,
    /// The largest item, in bytes.
    pub item_max: usize,
    /// One run in so many waits until segments expire, about a minute, and is killed then.
    /// 0: none does.
    pub expiry_every: u64,
}

/// What came of one run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// What the last check found.
    pub verdict: Verdict,
    /// The moments of its kills.
    pub kills: Vec<&'static str>,
    /// From each kill to the next `/health` that says 200.
    pub restarts: Vec<Duration>,
    /// What was wrong in any check.
    pub wrong: Vec<String>,
}

/// When a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// When so many more items have been acknowledged.
    Any,
    /// While a segment's index is being written.
    Sealing,
    /// While a segment's index is being written; then again while the hub recovers.
    Recovering,
    /// While expired segments are being removed.
    Expiring,
}

impl Moment {
    const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Sealing => "sealing",
            Self::Recovering => "recovering",
            Self::Expiring => "expiring",
        }
    }
}

/// Runs it in that size; `tell` hears of every run.
pub async fn rehearse(size: &Size, mut tell: impl FnMut(&Run)) -> Bar {
    let mut bar = Bar::new("kill");
    let (mut total, mut restarts) = (Verdict::default(), Latency::default());
    let mut kills = 0;
    for number in 0..size.runs {
        let seed = size.seed + number;
        let expires = size.expiry_every > 0 && number % size.expiry_every == size.expiry_every - 1;
        match run(size, seed, expires).await {
            Ok(run) => {
                tell(&run);
                let wrong = run.wrong.iter().map(|what| format!("seed {seed}: {what}"));
                bar.wrong.extend(wrong);
                total.acked += run.verdict.acked;
                total.unknown += run.verdict.unknown;
                total.found += run.verdict.found;
                total.surfaced += run.verdict.surfaced;
                total.findings.extend(run.verdict.findings);
                kills += run.kills.len();
                restarts.extend(run.restarts);
            }
            Err(failure) => bar.wrong.push(format!("seed {seed}: {failure}")),
        }
    }
    bar.numbers = format!(
        "{} runs, {kills} kills, seeds {}..={}: {total}, {} unacknowledged items came up whole; \
         restart {restarts} longest {}",
        size.runs,
        size.seed,
        size.seed + size.runs - 1,
        total.surfaced,
        millis(restarts.longest()),
    );
    bar
}

/// One run: a new hub, a load, kills, and a check after each restart.
///
/// # Errors
/// [`Failure`] if it does not get to its end.
pub async fn run(size: &Size, seed: u64, expires: bool) -> Outcome<Run> {
    let choices = Choices::new(seed);
    let hub = sealing_often(Hub::new()?, durability_of(seed));
    // Segments of few items, so that many expire at once.
    let mut hub = if expires {
        hub.with("HUB_SPOKE_SEGMENT_ITEMS", 10)
    } else {
        hub
    };
    hub.start().await?;
    let client = hub.client();
    let plan = Plan {
        run: seed,
        writers: size.writers,
        channels: (0..4).map(|number| format!("kept-{number}")).collect(),
        doomed: (0..2).map(|number| format!("doomed-{number}")).collect(),
        item_max: size.item_max,
    };
    for channel in &plan.channels {
        client.put_channel(channel).await?;
    }
    if expires {
        fill_and_delete(&hub, seed).await?;
    }
    let mut load = Load::begin(&client, plan, choices.bits());
    let moments: &[Moment] = if expires {
        &[Moment::Any, Moment::Expiring]
    } else {
        &[Moment::Any, Moment::Sealing, Moment::Recovering]
    };
    let mut run = Run {
        seed,
        verdict: Verdict::default(),
        kills: Vec::new(),
        restarts: Vec::new(),
        wrong: Vec::new(),
    };
    for (number, moment) in (1..).zip(moments) {
        // The last kill comes when there is enough to lose.
        let enough = size.items * number / moments.len() as u64;
        wait_for(*moment, &hub, &load, enough, &choices).await?;
        hub.kill()?;
        let mut killed = now();
        run.kills.push(moment.name());
        let quiet = load.quiet().await;
        if *moment == Moment::Recovering {
            killed = kill_recovering(&mut hub, &choices, &mut run).await?;
        }
        hub.spawn()?;
        hub.ready().await?;
        run.restarts.push(killed.elapsed());
        run.verdict = verified(&hub, load.recorder(), &choices).await?;
        run.note();
        load.trickle(false);
        drop(quiet);
    }
    // Life goes on after the last kill; then everything is checked once more.
    let goal = load.acked() + size.items / 10;
    acked(&load, goal).await?;
    load.end().await;
    run.verdict = verified(&hub, load.recorder(), &choices).await?;
    run.note();
    let found = run.verdict.acked as u64;
    ensure(found >= size.items, || {
        format!("only {found} items were acknowledged")
    })?;
    hub.stop().await?;
    Ok(run)
}

impl Run {
    fn note(&mut self) {
        let kills = self.kills.len();
        for finding in &self.verdict.findings {
            self.wrong.push(format!("after kill {kills}: {finding}"));
        }
    }
}

/// Waits for the moment.
async fn wait_for(
    moment: Moment,
    hub: &Hub,
    load: &Load,
    enough: u64,
    choices: &Choices,
) -> Outcome<()> {
    acked(load, enough).await?;
    let random = Duration::from_micros(choices.between(0, 50_000));
    match moment {
        Moment::Any => tokio::time::sleep(random).await,
        Moment::Sealing | Moment::Recovering => {
            until("a segment is being sealed", PATIENCE, async || {
                (!hub.files(".idx.tmp").is_empty()).then_some(())
            })
            .await?;
        }
        Moment::Expiring => {
            load.trickle(true);
            let mut most = 0;
            // Expiry is looked at once a minute.
            until("segments expire", 4 * PATIENCE, async || {
                let count = hub.files(".log").len();
                most = most.max(count);
                (count < most).then_some(())
            })
            .await?;
            tokio::time::sleep(random).await;
        }
    }
    Ok(())
}

async fn acked(load: &Load, goal: u64) -> Outcome<()> {
    let what = format!("{goal} items are acknowledged");
    let enough = async || (load.acked() >= goal).then_some(());
    until(&what, 2 * PATIENCE, enough).await
}

/// Starts the hub and kills it before it is ready, a few times; gives when the last kill was. Every
/// other time it has lost all of its indexes, and has them to make again.
async fn kill_recovering(
    hub: &mut Hub,
    choices: &Choices,
    run: &mut Run,
) -> Outcome<std::time::Instant> {
    let mut killed = now();
    for _ in 0..choices.between(1, 3) {
        if choices.percent(50) {
            for index in hub.files(".idx") {
                std::fs::remove_file(hub.spoke().join(index))?;
            }
        }
        hub.spawn()?;
        // From before the first file is opened to when it waits for its clock.
        tokio::time::sleep(Duration::from_micros(choices.between(0, 400_000))).await;
        hub.kill()?;
        killed = now();
        run.kills.push("starting");
    }
    Ok(killed)
}

/// Fills segments with items of a channel and deletes it, so that they expire.
async fn fill_and_delete(hub: &Hub, seed: u64) -> Outcome<()> {
    let client = hub.client();
    client.put_channel("expiring").await?;
    let mut filling = tokio::task::JoinSet::new();
    for writer in 0..32 {
        let client = client.clone();
        filling.spawn(async move {
            for number in 0..40 {
                let item = ItemName {
                    run: seed,
                    writer: 10_000 + writer,
                    number,
                    size: 100,
                    channel: "expiring".to_owned(),
                    life: 0,
                };
                client.insert(&item, None).await;
            }
        });
    }
    while let Some(filled) = filling.join_next().await {
        filled.map_err(|error| Failure(error.to_string()))?;
    }
    let (status, _) = client
        .send(reqwest::Method::DELETE, "/channel/expiring")
        .await?;
    ensure(status == 202, || {
        format!("DELETE /channel/expiring: {status}")
    })
}
