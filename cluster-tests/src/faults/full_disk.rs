//! A disk that fills up: first to the hub's reserve, by the hub; then to the last byte, by somebody
//! else.

use serde_json::Value;

use super::{Bar, PATIENCE, sealing_often, usual_load, verified_clean};
use crate::client::Answer;
use crate::disk::{Kind, SmallDisk};
use crate::failure::{Failure, Outcome, ensure};
use crate::hub::Hub;
use crate::load::Load;
use crate::random::{Choices, bytes};
use crate::wait::until;

const MIB: u64 = 1024 * 1024;
/// The room that comes back each time: more than what is acknowledged until the load is quiet again.
const ROOM: u64 = 8 * MIB;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// The seed.
    pub seed: u64,
    /// The size of the disk, in bytes.
    pub disk: u64,
    /// Clients that write.
    pub writers: u32,
    /// How often the disk is filled to the last byte and emptied again.
    pub rounds: u32,
    /// What the disk is made of; `None`: whatever this machine allows.
    pub kind: Option<Kind>,
}

/// Runs it in that size. `None` if this machine has no small disk to give, with the reason.
///
/// # Errors
/// The reason.
pub async fn rehearse(size: &Size) -> Result<Bar, String> {
    let disk = match size.kind {
        Some(kind) => SmallDisk::mount_as(kind, size.disk),
        None => SmallDisk::mount(size.disk),
    };
    let disk = disk.map_err(|failure| failure.to_string())?;
    let mut bar = Bar::new("disk");
    match run(size, &disk).await {
        Ok(numbers) => bar.numbers = numbers,
        Err(failure) => {
            bar.numbers = format!("{}, seed {}", disk.kind.name(), size.seed);
            bar.wrong.push(failure.to_string());
        }
    }
    Ok(bar)
}

async fn run(size: &Size, disk: &SmallDisk) -> Outcome<String> {
    let choices = Choices::new(size.seed);
    disk.load_ballast(ROOM * (u64::from(size.rounds) + 1))?;
    let hub = sealing_often(Hub::new()?, "fsync");
    let mut hub = hub.with_data_in(&disk.path().join("data"));
    hub.start().await?;
    let client = hub.client();
    let load = usual_load(&client, size.seed, size.writers, MIB as usize, &choices);
    let mut load = load.await?;

    // Nearly full: the hub stops by itself, and all of it can be read.
    refused_more(&load, 100).await?;
    says_full(&hub, true).await?;
    let quiet = load.quiet().await;
    // Indexes of segments may take some of it, inserts none.
    let free_at_reserve = disk.free()?;
    ensure(free_at_reserve > disk.size()? / 20, || {
        format!("inserts left only {free_at_reserve} bytes of the reserve")
    })?;
    verified_clean(&hub, load.recorder(), &choices).await?;
    let acked_at_reserve = load.acked();

    // With the smallest reserve, and a disk that somebody else fills between two looks at it: the
    // writer itself meets the end of the disk.
    hub.stop().await?;
    hub.set("HUB_SPOKE_DISK_RESERVE_BYTES", MIB);
    hub.start().await?;
    says_full(&hub, false).await?;
    met_the_end(&hub, disk).await?;
    says_full(&hub, false).await?;
    verified_clean(&hub, load.recorder(), &choices).await?;
    drop(quiet);

    for _ in 0..size.rounds {
        // Under load, somebody else takes the rest.
        disk.fill_up()?;
        refused_more(&load, 100).await?;
        says_full(&hub, true).await?;
        let quiet = load.quiet().await;
        ensure(disk.free()? < 64 * 1024, || {
            "the disk was not full".to_owned()
        })?;
        verified_clean(&hub, load.recorder(), &choices).await?;
        drop(quiet);

        // There is room again: everything works again, without a restart.
        disk.give_back()?;
        disk.shrink_ballast(ROOM)?;
        acked_more(&load, 50).await?;
        let made = async || client.put_channel("made-later").await.ok();
        until("a channel can be made again", PATIENCE, made).await?;
        let quiet = load.quiet().await;
        verified_clean(&hub, load.recorder(), &choices).await?;
        disk.fill_to(2 * MIB)?;
        drop(quiet);
    }

    // Killed while full, and started while full: what was acknowledged can be read.
    disk.fill_up()?;
    refused_more(&load, 100).await?;
    let quiet = load.quiet().await;
    hub.kill()?;
    disk.fill_up()?;
    hub.start().await?;
    verified_clean(&hub, load.recorder(), &choices).await?;
    disk.give_back()?;
    disk.shrink_ballast(ROOM)?;
    drop(quiet);
    acked_more(&load, 50).await?;
    load.end().await;
    for stop in [false, true] {
        if stop {
            hub.stop().await?;
        } else {
            hub.kill()?;
        }
        hub.start().await?;
        verified_clean(&hub, load.recorder(), &choices).await?;
    }
    let verdict = verified_clean(&hub, load.recorder(), &choices).await?;
    let refusals = load.refusals();
    for (status, refused) in &refusals {
        let json = serde_json::from_str::<Value>(&refused.text);
        let reason = json.is_ok_and(|json| json["error"].is_string());
        // A channel that was just deleted answers 404, which fixes an empty body.
        ensure(
            *status == 404 || (matches!(status, 503 | 507) && reason),
            || format!("refused with {status} {:?}", refused.text),
        )?;
    }
    let statuses: Vec<String> = refusals
        .iter()
        .filter(|(status, _)| **status != 404)
        .map(|(status, refused)| format!("{} x {status}", refused.count))
        .collect();
    Ok(format!(
        "{} of {} MiB, seed {}: {verdict}; {acked_at_reserve} acknowledged up to the reserve with \
         {:.1} MiB left, then {} times filled to the last byte; refusals {}",
        disk.kind.name(),
        size.disk / MIB,
        size.seed,
        free_at_reserve as f64 / MIB as f64,
        size.rounds + 1,
        statuses.join(" "),
    ))
}

/// Waits until so many more inserts were refused because the disk is full.
async fn refused_more(load: &Load, more: u64) -> Outcome<()> {
    let goal = load.refused(507) + more;
    let refused = async || (load.refused(507) >= goal).then_some(());
    until("inserts are answered with 507", PATIENCE, refused).await
}

async fn acked_more(load: &Load, more: u64) -> Outcome<()> {
    let goal = load.acked() + more;
    let acked = async || (load.acked() >= goal).then_some(());
    until("inserts are acknowledged again", PATIENCE, acked).await
}

/// Waits until `/health` says whether the disk is full.
async fn says_full(hub: &Hub, full: bool) -> Outcome<()> {
    let what = format!("/health says that the disk is full: {full}");
    let mut last = Value::Null;
    let said = until(&what, PATIENCE, async || {
        let (status, health) = hub.health().await.ok()?;
        let said = status == 200
            && health["store"]["nearlyFull"] == full
            && health["checks"]["disk"]["ok"] == !full;
        last = health;
        said.then_some(())
    });
    let said = said.await;
    said.map_err(|failure| Failure(format!("{failure}: {last}")))
}

/// Fills the disk and inserts an item before the hub has looked at the disk again: what it last saw
/// was room enough, so it was the writer that could not write.
async fn met_the_end(hub: &Hub, disk: &SmallDisk) -> Outcome<()> {
    let client = hub.client();
    for _ in 0..20 {
        disk.fill_up()?;
        let answer = client.insert_bytes("kept-0", None, None, bytes(7, 300_000).into());
        let answer = answer.await;
        let (_, health) = hub.health().await?;
        disk.give_back()?;
        let Answer::Refused(507, _) = answer else {
            return Err(Failure(format!("on a full disk: {answer:?}")));
        };
        let seen = health["store"]["freeBytes"].as_u64().unwrap_or(0);
        if seen > 2 * MIB {
            return Ok(());
        }
        // It had looked already; once more.
        says_full(hub, false).await?;
    }
    Err(Failure::new("the writer never met the end of the disk"))
}
