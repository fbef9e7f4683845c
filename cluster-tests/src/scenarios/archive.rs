//! A day of a cluster with an archive, in short minutes: while clients write, the archive refuses, loses
//! and cuts off what it is asked, is not to be written to for longer than Spoke keeps anything, and hubs
//! come and go. Everything that was acknowledged can be read in every way all the time, and from the
//! archive alone in the end.

use std::time::Duration;

use super::{acked_more, for_a_while, load, on, start, verified};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::{Bar, PATIENCE};
use crate::metrics::Metrics;
use crate::random::Choices;
use crate::s3::S3;
use crate::storm::Storm;
use crate::wait::{now, until};

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// Clients that write.
    pub writers: u32,
    /// How many hours, each of which has sixty short minutes.
    pub hours: u32,
    /// How long one of those is.
    pub minute: Duration,
    /// In how many of a hundred requests to the archive something goes wrong.
    pub percent: u64,
}

/// How long Spoke keeps what is archived: the least that it can be set to.
const SPOKE: Duration = Duration::from_mins(1);

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let outcome = async {
        let server = S3::start().await?;
        server.bucket("bucket").await?;
        let storm = Storm::before(server.url(), size.seed).await?;
        let mut cluster = Cluster::new(3)?
            .with("HUB_ARCHIVE_URL", "s3://bucket/hub")
            .with("HUB_ARCHIVE_SETTLE_SECONDS", 1)
            .with("HUB_ARCHIVE_TAKEOVER_SECONDS", 5)
            .with("HUB_ARCHIVE_REQUEST_TIMEOUT_MS", 2000)
            .with("HUB_ARCHIVE_RETRY_SECONDS", 10)
            .with("HUB_SPOKE_IDEMPOTENCY_MINUTES", 1)
            .with("HUB_SPOKE_TTL_SECONDS", 10)
            .with("HUB_SPOKE_BUCKET_SECONDS", 1)
            .with("FAULTS_MINUTE_MS", size.minute.as_millis());
        for (name, value) in server.variables() {
            cluster.set(&name, value);
        }
        cluster.set("AWS_ENDPOINT", storm.url());
        let ran = on(cluster, async |cluster| run(cluster, size, &storm).await);
        // The server ends with what it holds, and not before the cluster.
        let outcome = ran.await;
        drop(server);
        outcome
    };
    Bar::of("archive", outcome.await)
}

async fn run(cluster: &mut Cluster, size: &Size, storm: &Storm) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    start(cluster).await?;
    let client = cluster.client();
    let mut load = load(cluster, &client, size.seed, size.writers, &choices).await?;
    acked_more(&load, 50).await?;
    load.trickle(true);
    storm.rage(size.percent);
    let began = now();
    let day = size.minute * 60 * size.hours;
    let (mut looks, mut kills, mut outages) = (0, 0, 0);
    while began.elapsed() < day {
        let left = day.saturating_sub(began.elapsed());
        for_a_while(&load, left.min(SPOKE / 3)).await?;
        let victim = choices.between(1, 3);
        match looks % 3 {
            // Longer than Spoke would keep anything: nothing of it may go.
            0 => {
                outages += 1;
                storm.read_only(true);
                for_a_while(&load, SPOKE + Duration::from_secs(20)).await?;
                everything_readable(cluster, &load, &choices).await?;
                storm.read_only(false);
            }
            1 => {
                kills += 1;
                let script = format!("kill {victim}; start {victim}; wait until {victim} ready");
                cluster.play(&script).await?;
            }
            _ => {
                let script = format!("stop {victim}; start {victim}; wait until {victim} ready");
                cluster.play(&script).await?;
            }
        }
        everything_readable(cluster, &load, &choices).await?;
        looks += 1;
    }
    load.end().await;
    storm.rage(0);
    let refused = storm.read_only_refusals();
    ensure(outages == 0 || refused > 0, || {
        "nothing was refused while the archive was not to be written to".to_owned()
    })?;
    if size.percent > 0 {
        storm.was_one()?;
    }
    for number in cluster.numbers() {
        let client = cluster.hub(number)?.client();
        let what = format!("hub {number} has let go of everything");
        until(&what, PATIENCE * 4, async || {
            let metrics = Metrics::of(&client).await.ok()?;
            let held = metrics.sum("hub_spoke_stored_items", &[]);
            (held < 0.5).then_some(())
        })
        .await?;
    }
    let verdict = verified(cluster, &cluster.numbers(), load.recorder(), &choices).await?;
    told_when_away(cluster, storm).await?;
    let faults = storm.done();
    let faults: Vec<String> = faults
        .iter()
        .map(|(fault, count)| format!("{fault:?} {count}"))
        .collect();
    Ok(format!(
        "{} hours of sixty minutes of {:?}, {looks} looks at everything meanwhile; {outages} times the \
         archive was not to be written to for longer than Spoke keeps anything ({refused} requests \
         refused), {kills} kills; {} requests of the hubs to the archive, of which {}; seed {}; from the \
         archive alone: {verdict}",
        size.hours,
        size.minute,
        storm.requests(),
        faults.join(", "),
        size.seed,
    ))
}

/// Reads everything in every way through every hub, while nobody writes.
async fn everything_readable(
    cluster: &Cluster,
    load: &crate::load::Load,
    choices: &Choices,
) -> Outcome<()> {
    let _quiet = load.quiet().await;
    let through: Vec<u8> = cluster.numbers();
    verified(cluster, &through, load.recorder(), choices)
        .await
        .map(drop)
}

/// While the archive is away, what only it has is answered 503, and never short.
async fn told_when_away(cluster: &Cluster, storm: &Storm) -> Outcome<()> {
    storm.away(true);
    let client = cluster.hub(1)?.client();
    let path = "/channel/kept-0/earliest/10?stable=false";
    let (status, body) = client.send(reqwest::Method::GET, path).await?;
    storm.away(false);
    ensure(status == 503, || {
        let body = String::from_utf8_lossy(&body);
        format!("{path} without an archive: {status} {body}")
    })?;
    until("it is read again", PATIENCE, async || {
        let answer = client.send(reqwest::Method::GET, path).await;
        matches!(answer, Ok((200, _))).then_some(())
    })
    .await
    .map_err(|Failure(text)| Failure(format!("{path}: {text}")))
}
