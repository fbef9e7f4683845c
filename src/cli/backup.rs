//! `hub backup`: making backups, looking after them, and restoring a hub.

pub mod args;
mod drill;
mod meter;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use indicatif::HumanBytes;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use self::args::{BackupArgs, BackupCommand, CreateArgs, RestoreArgs, VerifyArgs, WantedArgs};
use self::meter::shown;
use super::client::Client;
use super::columns;
use super::error::CliError;
use super::output::Output;
use super::recover::ask;
use crate::archive::store::{Guard, Patience, Store};
use crate::backup::{
    self, BackupError, CreateSettings, Damage, Document, Place, Progress, RestoreSettings,
    Restored, State, Told, Wanted, new_id,
};
use crate::config::{self, Config};
use crate::env::{ClockSource as _, Millis, OsRandom, SystemClock};
use crate::node;

/// How patient requests to object stores are.
const PATIENCE: Patience = Patience {
    request: Duration::from_mins(1),
    retry: Duration::from_mins(3),
};
/// How often the hub is asked how far its archive is.
const LOOK: Duration = Duration::from_secs(1);

/// Runs one of the commands.
///
/// # Errors
/// [`CliError::Backup`], and what else the command fails with.
pub async fn run(args: BackupArgs, out: &mut Output<'_>) -> Result<(), CliError> {
    let json = args.place.json;
    let place = || open(args.place.place.as_deref());
    match args.command {
        BackupCommand::Create(create_args) => {
            let place = make(args.place.place.as_deref())?;
            create(create_args, &place, json, out).await
        }
        BackupCommand::List => list(&*place()?, json, out).await,
        BackupCommand::Verify(args) => verify(args, &place()?, json, out).await,
        BackupCommand::Prune(args) => prune(args.keep_days, &place()?, json, out).await,
        BackupCommand::Restore(restoring) => {
            let config = load(restoring.config.as_deref(), out)?;
            let url = args.place.place.as_deref().or(config.backup.url.as_deref());
            restore(restoring, &config, &*open(url)?, json, out).await
        }
        BackupCommand::Drill(args) => drill::run(args, &*place()?, json, out).await,
    }
}

/// A place that has backups, or could: a folder that is not there has none, and is not made.
fn open(url: Option<&str>) -> Result<Arc<Place>, CliError> {
    if let Some((url, folder)) = url.and_then(|url| Some((url, missing_folder(url)?))) {
        let url = url.to_owned();
        let reason = format!("there is no folder {} on this machine", folder.display());
        return Err(BackupError::NoPlace { url, reason }.into());
    }
    make(url)
}

/// The folder of this machine that a URL names, if it is not there.
fn missing_folder(url: &str) -> Option<PathBuf> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok().filter(|folder| !folder.is_dir())
}

/// A place for backups: a folder is made.
fn make(url: Option<&str>) -> Result<Arc<Place>, CliError> {
    let url = url.ok_or(CliError::NoPlace)?;
    Ok(Arc::new(Place::open(
        url,
        &backup::environment(),
        PATIENCE,
    )?))
}

fn load(file: Option<&Path>, out: &mut Output<'_>) -> Result<Config, CliError> {
    let loaded = Config::load(file, config::environment());
    let loaded = loaded.map_err(|errors| CliError::Config {
        reason: errors.to_string(),
    })?;
    for warning in &loaded.warnings {
        out.note(format_args!("hub: {warning}"));
    }
    Ok(loaded.config)
}

/// What a hub says of itself at `/internal/backup`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    now: String,
    hub: String,
    cluster: String,
    archive: Option<String>,
    /// What its archive says of itself.
    #[serde(default)]
    archive_id: Option<String>,
    archived_to: Option<String>,
    #[serde(default)]
    state: State,
}

/// Asks a hub what it is; with what it agrees through, or without.
async fn told(client: &Client, state: bool) -> Result<Said, CliError> {
    let mut url = client.url(&["internal", "backup"]);
    if !state {
        url.query_pairs_mut().append_pair("state", "false");
    }
    let place = url.to_string();
    let said: Value = ask(client, Method::GET, url).await?;
    serde_json::from_value(said).map_err(|error| CliError::NotAHub {
        url: place,
        reason: error.to_string(),
    })
}

/// Whether one of two places is the other, or lies in it.
fn overlap(one: &str, other: &str) -> bool {
    let parts = |url: &str| -> Option<Vec<String>> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let path = url.path_segments().into_iter().flatten();
        let path = path.filter(|part| !part.is_empty()).map(str::to_owned);
        Some(
            [url.scheme().to_owned(), host]
                .into_iter()
                .chain(path)
                .collect(),
        )
    };
    let (Some(one), Some(other)) = (parts(one), parts(other)) else {
        return false;
    };
    one.starts_with(&other) || other.starts_with(&one)
}

/// Sees to it that an archive without anything is not taken for that of a hub whose archive has something: it may
/// be a disk that is not mounted here.
async fn is_the_hubs(client: &Client, archive: &Store, url: &str) -> Result<(), CliError> {
    let folders = archive.folders("").await.map_err(BackupError::Archive)?;
    if !folders.is_empty() {
        return Ok(());
    }
    let survey = ask(client, Method::GET, client.url(&["internal", "archive"])).await?;
    match survey["total"]["bytes"].as_u64() {
        Some(bytes) if bytes > 0 => {
            let reason = format!(
                "{url} is empty as seen from here, and the hub says that its archive has {bytes} bytes: name it as \
                 this machine reaches it with --archive"
            );
            Err(BackupError::Refused { reason }.into())
        }
        _ => Ok(()),
    }
}

fn time(text: &str) -> Result<Millis, CliError> {
    Millis::parse_iso(text).map_err(|_| CliError::NotATime {
        text: text.to_owned(),
    })
}

fn optional_time(text: Option<&str>) -> Result<Option<Millis>, CliError> {
    text.map(time).transpose()
}

async fn create(
    args: CreateArgs,
    place: &Arc<Place>,
    json: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let client = Client::new(&args.ops.ops)?;
    let reached = match args.wait {
        0 => true,
        seconds => wait(&client, Duration::from_secs(seconds), out).await?,
    };
    let said = told(&client, true).await?;
    let url = args.archive.or_else(|| said.archive.clone());
    let url = url.ok_or(CliError::NoArchive)?;
    // It would be made: on another machine than the hub's, with nothing in it.
    if let Some(folder) = missing_folder(&url) {
        let reason = format!(
            "there is no folder {} on this machine: back up on the hub's, or name it with --archive",
            folder.display()
        );
        return Err(BackupError::NoArchive { url, reason }.into());
    }
    if overlap(&url, place.url()) {
        let reason = format!(
            "the place of the backups, {}, and the archive, {url}, lie in one another: give the backups one of their own",
            place.url()
        );
        return Err(BackupError::Refused { reason }.into());
    }
    let archive = Store::of_url(&url, &config::cloud_environment(), PATIENCE);
    let archive = archive.map_err(|error| BackupError::no_archive(&url, &error))?;
    let archive = match &said.archive_id {
        // The number in it says so, as long as the backup takes.
        Some(id) => {
            let guard = Guard::new(&archive);
            guard.expect(id.clone());
            guard.look().await;
            if let Some(reason) = guard.trouble() {
                return Err(BackupError::NoArchive { url, reason }.into());
            }
            archive.guarded(&guard)
        }
        None => archive,
    };
    is_the_hubs(&client, &archive, &url).await?;
    let now = time(&said.now)?;
    let told = Told {
        now,
        hub: said.hub,
        cluster: said.cluster,
        // As the hub calls it: the next backup is held against this one by it.
        archive: said.archive.unwrap_or(url),
        archived_to: optional_time(said.archived_to.as_deref())?,
        state: said.state,
    };
    if told.archived_to.is_none() {
        out.note("hub: a member does not say how far it has archived: what it holds may not be in the backup");
    }
    let settings = CreateSettings {
        id: new_id(now, &OsRandom),
        with_items: args.with_items,
        skip_damaged: args.skip_damaged,
    };
    let progress = Progress::default();
    let ended = || SystemClock.wall();
    let made = backup::create(place, &archive, told, &settings, ended, &progress);
    let document = shown(&progress, out, made).await?;
    if json {
        out.json(&document)?;
    } else {
        out.line(&document.id)?;
        out.note(summary(&document));
    }
    lacks_nothing(&document.left_out)?;
    if reached {
        return Ok(());
    }
    Err(CliError::ArchiveBehind { seconds: args.wait })
}

/// A time, if anybody knows it.
fn known(time: Option<Millis>) -> String {
    time.map_or("unknown".to_owned(), Millis::iso)
}

/// What a backup has, in a line.
fn summary(document: &Document) -> String {
    let totals = document.totals;
    let added = document.added;
    let items = if document.with_items {
        "copied"
    } else {
        "listed"
    };
    format!(
        "{} channels; {} objects with {} items, {}; {} of them new, {} {items}; complete to {}",
        document.channels,
        totals.objects,
        totals.items,
        HumanBytes(totals.bytes),
        added.objects,
        HumanBytes(added.bytes),
        known(document.complete_to()),
    )
}

/// Waits until every member has archived what it held when this began; says whether they have.
async fn wait(client: &Client, patience: Duration, out: &mut Output<'_>) -> Result<bool, CliError> {
    let began = SystemClock.boot();
    let wanted = time(&told(client, false).await?.now)?;
    let progress = Progress::default();
    progress.begin("waiting for the archive", 0);
    let waiting = async {
        loop {
            let said = told(client, false).await?;
            let reached = optional_time(said.archived_to.as_deref())?;
            if reached.is_some_and(|reached| reached >= wanted) {
                return Ok(None);
            }
            if SystemClock.boot().saturating_sub(began) >= patience {
                return Ok(Some(reached));
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited: Result<_, CliError> = shown(&progress, out, waiting).await;
    let short = waited?;
    if let Some(reached) = short {
        let reached = reached.map_or("nobody knows where".to_owned(), Millis::iso);
        out.note(format_args!(
            "hub: the archive has not come to {wanted} in {} s, it is at {reached}: what is younger is not in the backup",
            patience.as_secs()
        ));
    }
    Ok(short.is_none())
}

async fn list(place: &Place, json: bool, out: &mut Output<'_>) -> Result<(), CliError> {
    let listed = place.list().await?;
    if json {
        let each = listed.iter().map(|backup| match &backup.document {
            Ok(document) => json!(document),
            Err(error) => json!({"id": backup.id, "damaged": error.to_string()}),
        });
        return out.json(&each.collect::<Vec<_>>());
    }
    let head = [
        "BACKUP",
        "COMPLETE TO",
        "CHANNELS",
        "OBJECTS",
        "ITEMS",
        "BYTES",
        "HAS ITEMS",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for backup in listed {
        rows.push(match backup.document {
            Ok(document) => vec![
                document.id.clone(),
                known(document.complete_to()),
                document.channels.to_string(),
                document.totals.objects.to_string(),
                document.totals.items.to_string(),
                HumanBytes(document.totals.bytes).to_string(),
                if document.with_items { "yes" } else { "no" }.to_owned(),
            ],
            Err(error) => vec![backup.id, error.to_string()],
        });
    }
    columns::print(&rows, out)
}

async fn verify(
    args: VerifyArgs,
    place: &Arc<Place>,
    json: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let ids = match args.backup {
        Some(id) => vec![id],
        None => place.ids().await?,
    };
    let ids = match (args.all, ids.last()) {
        (_, None) => {
            let reason = format!("there is no backup in {}", place.url());
            return Err(BackupError::NoBackup { reason }.into());
        }
        (true, Some(_)) => ids,
        (false, Some(newest)) => vec![newest.clone()],
    };
    let progress = Progress::default();
    let verifying = backup::verify(place, &ids, &progress);
    let verified = shown(&progress, out, verifying).await?;
    let removed = if args.remove_damaged {
        let id = new_id(SystemClock.wall(), &OsRandom);
        backup::remove_damaged(place, &verified.damaged_copies, &id).await
    } else {
        Ok(Vec::new())
    };
    let damages: Vec<&Damage> = verified.damages.iter().collect();
    if json {
        let damages: Vec<Value> = damages
            .iter()
            .map(|damage| json!({"name": damage.name, "reason": damage.reason}))
            .collect();
        let removed = removed.as_deref().unwrap_or_default();
        out.json(&json!({
            "backups": ids,
            "copies": verified.copies,
            "damaged": damages,
            "removed": removed,
            "leftOut": verified.left_out,
        }))?;
    } else {
        for damage in damages {
            out.line(format_args!("{}: {}", damage.name, damage.reason))?;
        }
        let copies = verified.copies;
        out.note(format_args!(
            "{} backups, {} copies of objects with {} items, {} read",
            ids.len(),
            copies.objects,
            copies.items,
            HumanBytes(copies.bytes)
        ));
        for name in removed.iter().flatten() {
            out.note(format_args!("removed {name}"));
        }
        for name in &verified.left_out {
            out.note(format_args!(
                "left out, for it was damaged in the archive: {name}"
            ));
        }
    }
    removed?;
    if verified.damages.is_empty() {
        return lacks_nothing(&verified.left_out);
    }
    Err(BackupError::Damaged(verified.damages).into())
}

async fn prune(
    keep_days: u32,
    place: &Arc<Place>,
    json: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let now = SystemClock.wall();
    let progress = Progress::default();
    let id = new_id(now, &OsRandom);
    let pruning = backup::prune(place, now, keep_days, &id, &progress);
    let pruned = shown(&progress, out, pruning).await?;
    if json {
        return out.json(&pruned);
    }
    for id in &pruned.removed {
        out.line(id)?;
    }
    out.note(format_args!(
        "{} backups removed, {} kept; {} objects removed, {}",
        pruned.removed.len(),
        pruned.kept.len(),
        pruned.objects,
        HumanBytes(pruned.bytes)
    ));
    Ok(())
}

fn wanted(args: WantedArgs) -> Result<Wanted, CliError> {
    Ok(match (args.until, args.backup) {
        (Some(until), _) => Wanted::Until(time(&until)?),
        (None, Some(id)) => Wanted::Named(id),
        (None, None) => Wanted::Newest,
    })
}

async fn restore(
    args: RestoreArgs,
    config: &Config,
    place: &Place,
    json: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let settings = RestoreSettings {
        wanted: wanted(args.wanted)?,
        state_only: args.state_only,
        with_rings: args.with_rings,
    };
    let hub = node::EmptyHub::open(config).await;
    let hub = hub.map_err(|error| CliError::NoTarget {
        reason: error.to_string(),
    })?;
    let progress = Progress::default();
    let restoring = backup::restore(place, &hub.target, &settings, &progress);
    let restored = shown(&progress, out, restoring).await?;
    if json {
        out.json(&restored)?;
    } else {
        out.note(outcome(&restored, settings.state_only));
    }
    lacks_nothing(&restored.left_out)?;
    reaches(&restored)
}

/// Whether a backup has everything.
fn lacks_nothing(left_out: &[String]) -> Result<(), CliError> {
    if left_out.is_empty() {
        return Ok(());
    }
    Err(CliError::LeftOut {
        names: left_out.join(", "),
    })
}

/// Whether what was restored has everything up to the time that was wanted.
fn reaches(restored: &Restored) -> Result<(), CliError> {
    match restored.until {
        Some(until) if restored.falls_short() => Err(CliError::FallsShort {
            until: until.iso(),
            complete_to: known(restored.complete_to),
        }),
        _ => Ok(()),
    }
}

/// What was restored, in some lines.
fn outcome(restored: &Restored, state_only: bool) -> String {
    let totals = restored.totals;
    let mut text = format!("restored {}", restored.backup);
    if let Some(later) = &restored.later {
        text = format!("{text}, and what came after it from {later}");
    }
    text = format!(
        "{text}: {} channels; {} objects, {}; {} were there already, {} were cut",
        restored.channels,
        totals.objects,
        HumanBytes(totals.bytes),
        restored.found,
        restored.cut
    );
    if !state_only {
        text = format!("{text}; complete to {}", known(restored.complete_to));
    }
    if restored.absent > 0 {
        let absent = restored.absent;
        text = format!(
            "{text}\n{absent} objects that the backup names are not in the archive any more"
        );
    }
    text
}

#[cfg(test)]
mod tests;
