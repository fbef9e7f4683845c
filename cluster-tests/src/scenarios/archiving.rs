//! What archiving takes from those who write: one hub that archives to a server which speaks S3, beside
//! one that does not, under full load in turn.

use std::time::Duration;

use hub::env::{ClockSource as _, Millis, SystemClock};

use super::speed::{Measured, bench, median};
use crate::failure::{Outcome, ensure};
use crate::faults::{Bar, PATIENCE};
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::s3::S3;
use crate::wait::until;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// How often each is measured; the medians count.
    pub rounds: usize,
    /// How long each time.
    pub seconds: Duration,
    /// The length of a minute: what is over is archived while others still write.
    pub minute: Duration,
}

/// The most of the writers' rate that it may take.
const SHARE: f64 = 0.15;
/// How long after the load's end everything is archived that was written in it, at the most.
const BEHIND: Duration = Duration::from_secs(30);

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    Bar::of("archiving", run(size).await)
}

async fn run(size: &Size) -> Outcome<String> {
    let server = S3::start().await?;
    server.bucket("bucket").await?;
    // It is what the hub does that is measured, and not what a server in Python on the same processors does.
    server.give_way()?;
    let mut with = Hub::new()?
        .with("HUB_ARCHIVE_URL", "s3://bucket")
        .with("HUB_ARCHIVE_SETTLE_SECONDS", "1")
        .with("FAULTS_MINUTE_MS", size.minute.as_millis());
    for (name, value) in server.variables() {
        with.set(&name, &value);
    }
    let mut without = Hub::new()?.with("HUB_ARCHIVE_LOCAL", "false");
    with.start().await?;
    without.start().await?;
    let mut pairs: Vec<(Measured, Measured)> = Vec::new();
    let mut behind = Duration::ZERO;
    for _ in 0..size.rounds {
        let seconds = size.seconds;
        let plain = bench(&["insert", "--url", &without.url()], seconds).await?;
        let archived = bench(&["insert", "--url", &with.url()], seconds).await?;
        let since = crate::wait::now();
        caught_up(&with).await?;
        behind = behind.max(since.elapsed());
        pairs.push((plain, archived));
    }
    let share = 1.0 - median(&pairs, |(plain, archived)| archived.rate / plain.rate);
    let rates = (median(&pairs, |p| p.0.rate), median(&pairs, |p| p.1.rate));
    let metrics = Metrics::of(&with.client()).await?;
    let puts = metrics.sum("hub_archive_requests_total", &[("kind", "put")]);
    let bytes = metrics.sum("hub_archive_bytes_total", &[("kind", "put")]);
    let told = format!(
        "POST with fsync from 64 connections: {:.0}/s without an archive, {:.0}/s while archiving to \
         S3: {:.1} % less; {puts:.0} objects of {:.1} MB in all, everything archived {:.0} s after the \
         load's end",
        rates.0,
        rates.1,
        share * 100.0,
        bytes / 1e6,
        behind.as_secs_f64(),
    );
    ensure(share < SHARE && behind < BEHIND && puts > 0.0, || {
        told.clone()
    })?;
    Ok(told)
}

/// Waits until everything that the hub holds is archived.
async fn caught_up(hub: &Hub) -> Outcome<()> {
    let client = hub.client();
    let now = SystemClock.wall();
    until("all of it is archived", PATIENCE * 4, async || {
        let (_, health) = client.health().await.ok()?;
        let to = health["checks"]["archive"]["archivedTo"].as_str()?;
        (Millis::parse_iso(to).ok()? >= now).then_some(())
    })
    .await
}
