//! `hub backup drill`: restores a backup into a hub that is thrown away, and asks that for every item.
//!
//! The hub is a whole node, with its data in a folder of its own and listeners that only this machine reaches. It is asked
//! over HTTP, like any other; what it must answer is read from the restored objects, not by the code that serves them.

mod compare;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use indicatif::HumanBytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Request, Url};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::compare::{Compared, compare};
use super::args::DrillArgs;
use super::meter::shown;
use super::{known, lacks_nothing, reaches, wanted};
use crate::backup::{self, Place, Progress, RestoreSettings, Restored, Wanted, choose};
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::config::Config;
use crate::env::{BootTime, ClockSource as _, Millis, OsRandom, Random as _, SystemClock};
use crate::node::{self, EmptyHub, NodeError, Stop};

/// How long the hub may take until it serves.
const PATIENCE: Duration = Duration::from_mins(5);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(50);
/// The channel that is made to see whether it takes items.
const PROBE: &str = "hub-backup-drill";

/// What a drill found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Drill {
    #[serde(flatten)]
    restored: Restored,
    #[serde(flatten)]
    compared: Compared,
    /// How long the restore took.
    restore_seconds: f64,
    /// How long the hub then took until it served.
    start_seconds: f64,
    /// Both: how long a disaster would last, from the moment that somebody gives the command.
    rto_seconds: f64,
    /// How long it took to ask for everything.
    compare_seconds: f64,
    /// How long ago the time is up to which the backup has every item: what came since would be lost. `None` if
    /// nobody knows.
    rpo_seconds: Option<f64>,
    /// When the newest item came.
    newest: Option<String>,
}

fn seconds(since: BootTime) -> f64 {
    let seconds = SystemClock.boot().saturating_sub(since).as_secs_f64();
    (seconds * 1000.0).round() / 1000.0
}

/// Runs a drill.
///
/// # Errors
/// [`CliError::Drill`] if the hub is not what was backed up.
pub(super) async fn run(
    args: DrillArgs,
    place: &Place,
    json: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let dir = args.dir.unwrap_or_else(std::env::temp_dir);
    let folder = Folder::within(&dir)?;
    let drill = drill(&folder.0, wanted(args.wanted)?, place, out).await?;
    if json {
        out.json(&drill)?;
        return whole(&drill.restored);
    }
    let totals = drill.restored.totals;
    out.line(format_args!(
        "{}: {} channels, {} objects, {}",
        drill.restored.backup,
        drill.restored.channels,
        totals.objects,
        HumanBytes(totals.bytes)
    ))?;
    let Compared {
        items,
        bytes,
        expired,
    } = drill.compared;
    out.line(format_args!(
        "{items} items read back, {}, each as it was; {expired} more are past their retention",
        HumanBytes(bytes)
    ))?;
    out.line(format_args!(
        "RTO {:.1} s: restored in {:.1} s, served after {:.1} s more; read back in {:.1} s",
        drill.rto_seconds, drill.restore_seconds, drill.start_seconds, drill.compare_seconds
    ))?;
    let rpo = drill
        .rpo_seconds
        .map_or("unknown".to_owned(), |seconds| format!("{seconds:.0} s"));
    out.line(format_args!(
        "RPO {rpo}: complete to {}, newest item {}",
        known(drill.restored.complete_to),
        drill.newest.as_deref().unwrap_or("none")
    ))?;
    whole(&drill.restored)
}

/// Whether what was restored has everything that was wanted.
fn whole(restored: &Restored) -> Result<(), CliError> {
    lacks_nothing(&restored.left_out)?;
    reaches(restored)
}

async fn drill(
    folder: &Path,
    wanted: Wanted,
    place: &Place,
    out: &mut Output<'_>,
) -> Result<Drill, CliError> {
    let config = config(folder)?;
    let listed = place.list().await?.into_iter();
    let documents: Vec<_> = listed.filter_map(|listed| listed.document.ok()).collect();
    let progress = Progress::default();
    let began = SystemClock.boot();
    let hub = EmptyHub::open(&config).await.map_err(failed)?;
    let settings = RestoreSettings {
        wanted,
        state_only: false,
        with_rings: false,
    };
    let restoring = backup::restore(place, &hub.target, &settings, &progress);
    let restored = shown(&progress, out, restoring).await?;
    let archive = hub.close();
    let restore_seconds = seconds(began);

    let started = SystemClock.boot();
    let node = RunningNode::start(config)?;
    let client = Client::new(&node.url)?;
    progress.begin("starting the hub", 0);
    let served = shown(&progress, out, ready(&client, &node)).await;
    if let Err(error) = served {
        if node.running.is_finished() {
            // Why it ended says more.
            node.stop().await?;
        }
        return Err(error);
    }
    takes_items(&client).await?;
    let (start_seconds, rto_seconds) = (seconds(started), seconds(began));

    let asked = SystemClock.boot();
    let chosen = choose(&documents, &Wanted::Named(restored.backup.clone()), true);
    let chosen = chosen.map_err(|reason| CliError::Drill { reason })?;
    let document = chosen.base;
    let state = place.state(document).await?;
    let comparing = compare(&client, &archive, &state, SystemClock.wall(), &progress);
    let compared = shown(&progress, out, comparing).await?;
    let compare_seconds = seconds(asked);
    node.stop().await?;

    let complete_to = restored.complete_to;
    let lag = complete_to.map(|to| SystemClock.wall().get() - to.get());
    Ok(Drill {
        restored,
        compared,
        restore_seconds,
        start_seconds,
        rto_seconds,
        compare_seconds,
        rpo_seconds: lag.map(|lag| lag.max(0) as f64 / 1000.0),
        newest: document.newest.map(Millis::iso),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it goes to map_err")]
fn failed(error: NodeError) -> CliError {
    CliError::Drill {
        reason: error.to_string(),
    }
}

/// A folder that is gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn within(dir: &Path) -> Result<Self, CliError> {
        let path = dir.join(format!("hub-drill-{:016x}", OsRandom.next_u64()));
        // It gets the hub's items, and others may read the place for temporary files.
        let made = std::fs::create_dir_all(dir).and_then(|()| {
            let mut builder = std::fs::DirBuilder::new();
            builder.mode(0o700).create(&path)
        });
        made.map_err(|source| CliError::File {
            action: "create",
            path: path.display().to_string(),
            source,
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is a folder in the machine's place for temporary ones.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The settings of a hub that is thrown away.
fn config(folder: &Path) -> Result<Config, CliError> {
    let mut config = Config::default();
    config.node.data_dir = folder.join("data");
    config.node.fqdn = Some("hub-drill".to_owned());
    config.http.listen = free_address()?;
    config.ops.listen = free_address()?;
    config.shutdown.delay_seconds = 0;
    Ok(config)
}

/// An address that nobody listens at.
fn free_address() -> Result<SocketAddr, CliError> {
    let found = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    found.map_err(|error| CliError::Drill {
        reason: format!("there is no free port: {error}"),
    })
}

/// A hub in this process.
struct RunningNode {
    url: Url,
    stop: watch::Sender<Stop>,
    running: JoinHandle<Result<(), NodeError>>,
}

impl RunningNode {
    fn start(config: Config) -> Result<Self, CliError> {
        let url = format!("http://{}/", config.http.listen);
        let url = url.parse().map_err(|error| CliError::NotAnAddress {
            text: url.clone(),
            reason: format!("{error}"),
        })?;
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let (stop, stopping) = watch::channel(Stop::No);
        let running = tokio::spawn(node::run(config, metrics, stopping));
        Ok(Self { url, stop, running })
    }

    /// Stops it, and waits until its folder is free.
    async fn stop(self) -> Result<(), CliError> {
        let _ = self.stop.send(Stop::Now);
        match self.running.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(error)),
            Err(error) => Err(CliError::Drill {
                reason: error.to_string(),
            }),
        }
    }
}

/// Waits until the hub serves.
async fn ready(client: &Client, node: &RunningNode) -> Result<(), CliError> {
    let began = SystemClock.boot();
    loop {
        let url = client.url(&["health"]);
        let answer = client.send(Request::new(Method::GET, url)).await;
        let said = match answer {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => format!("its health is {}", answer.status()),
            Err(error) => error.to_string(),
        };
        let over = SystemClock.boot().saturating_sub(began) > PATIENCE;
        if over || node.running.is_finished() {
            return Err(CliError::Drill {
                reason: format!("the restored hub does not serve: {said}"),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Sees whether the hub takes a new item, and gives it back.
async fn takes_items(client: &Client) -> Result<(), CliError> {
    let url = client.url(&["channel", PROBE]);
    let json = HeaderValue::from_static("application/json");
    let mut create = Request::new(Method::PUT, url.clone());
    create.headers_mut().insert(CONTENT_TYPE, json.clone());
    *create.body_mut() = Some(r#"{"ttlDays": 1}"#.into());
    client.ask(create).await?;
    let mut post = Request::new(Method::POST, url);
    post.headers_mut().insert(CONTENT_TYPE, json);
    *post.body_mut() = Some("1".into());
    let answer = client.ask(post).await?;
    let location = answer.headers().get(http::header::LOCATION);
    let location = location.and_then(|location| location.to_str().ok()?.parse::<Url>().ok());
    let location = location.ok_or_else(|| CliError::Drill {
        reason: "the restored hub does not say where a new item is".to_owned(),
    })?;
    let back: Value = client.get_json(location).await?;
    if back != 1 {
        return Err(CliError::Drill {
            reason: format!("the restored hub gives {back} for a new item that is 1"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_looks_into_the_folder_and_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let within = dir.path().join("a/b");
        let folder = Folder::within(&within).unwrap();
        let mode = std::fs::metadata(&folder.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(folder);
        assert_eq!(std::fs::read_dir(&within).unwrap().count(), 0);
    }
}
