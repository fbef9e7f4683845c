//! `hub load flights`: posts a table of flights, each row to the channel of its airline.
//!
//! The table is read twice: once to see that all of it can be read and how many rows each channel
//! gets, before anything is posted, and once to post it. Each channel belongs to one lane, and a
//! lane posts one row after the other, so rows of a channel keep the order of the file. Rows that are
//! posted at their own times are in no order, and lanes take them by turns.

mod flights;
mod lanes;
mod meter;
mod past;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Method;
use reqwest::Request;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use self::flights::{Survey, airlines, channel_name, tag_of};
use self::lanes::{Lane, Posted, Work, assign};
use self::meter::Meter;
use self::table::Table;
use super::args::{FlightsArgs, LoadCommand};
use super::channel::set_json;
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::env::{ClockSource, Millis, SystemClock};

/// How many rows of a lane are read ahead.
const ROWS_AHEAD: usize = 64;
/// How often the meter is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Runs one of the commands.
///
/// # Errors
/// As [`Client::ask`]; [`CliError::Table`] or [`CliError::File`] if the table cannot be read;
/// [`CliError::Incomplete`] if the hub stayed away or refused a row.
pub async fn run(
    command: LoadCommand,
    client: Client,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    match command {
        LoadCommand::Flights(args) => flights(args, Arc::new(client), out).await,
    }
}

/// What was loaded.
#[derive(Debug, Serialize)]
struct Summary {
    file: String,
    rows: u64,
    seconds: f64,
    #[serde(rename = "rowsPerSecond")]
    rows_per_second: f64,
    retries: u64,
    /// How many were read back, and were as they were posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<u64>,
    channels: BTreeMap<String, u64>,
}

async fn flights(
    args: FlightsArgs,
    client: Arc<Client>,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let names = match &args.airlines {
        Some(path) => airlines(path)?,
        None => names_beside(&args.file, out)?,
    };
    let survey = Survey::of(&args.file, args.limit, args.historical)?;
    for carrier in survey.rows_by_carrier.keys() {
        create_channel(&client, carrier, names.get(carrier), survey.until).await?;
    }

    let began = SystemClock.boot();
    let posted = each(&args, &client, &survey, Work::Post, out).await?;
    let seconds = SystemClock.boot().saturating_sub(began).as_secs_f64();
    let mut verified = None;
    if args.verify {
        out.note(format_args!("hub: {} rows are read back", survey.rows()));
        let checked = each(&args, &client, &survey, Work::Check, out).await?;
        verified = Some(checked.rows());
    }

    let rows = posted.rows();
    let summary = Summary {
        file: args.file.display().to_string(),
        rows,
        seconds: (seconds * 1000.0).round() / 1000.0,
        rows_per_second: (rows as f64 / seconds.max(0.001)).round(),
        retries: posted.retries(),
        verified,
        channels: survey
            .rows_by_carrier
            .iter()
            .map(|(carrier, rows)| (channel_name(carrier), *rows))
            .collect(),
    };
    if args.json {
        return out.json(&summary);
    }
    for (channel, rows) in &summary.channels {
        out.line(format_args!("{channel:<12} {rows:>8}"))?;
    }
    out.line(format_args!(
        "{rows} rows in {seconds:.1} s, {} rows/s",
        summary.rows_per_second
    ))?;
    match verified {
        Some(verified) => out.line(format_args!(
            "{verified} rows read back as they were posted"
        )),
        None => Ok(()),
    }
}

/// The airlines of the file that lies beside the table, if there is one.
fn names_beside(table: &Path, out: &mut Output<'_>) -> Result<BTreeMap<String, String>, CliError> {
    let path = table.with_file_name("airlines.csv");
    if path.exists() {
        return airlines(&path);
    }
    out.note(format_args!(
        "hub: there is no {}; airlines go by their code (--airlines FILE names them)",
        path.display()
    ));
    Ok(BTreeMap::new())
}

/// Makes sure that the channel of an airline is there, with its tags; for items of the past if it is to
/// take them up to some time.
async fn create_channel(
    client: &Client,
    carrier: &str,
    name: Option<&String>,
    until: Option<Millis>,
) -> Result<(), CliError> {
    let mut tags = vec!["flights".to_owned()];
    tags.extend(name.and_then(|name| tag_of(name)));
    let description = match name {
        Some(name) => format!("Flights of {name} ({carrier})"),
        None => format!("Flights of {carrier}"),
    };
    let config = json!({"description": description, "tags": tags});
    if let (Some(until), Value::Object(config)) = (until, &config) {
        return past::create_channel(client, carrier, until, config.clone()).await;
    }
    let url = client.url(&["channel", &channel_name(carrier)]);
    let mut request = Request::new(Method::PUT, url);
    set_json(&mut request, &config);
    client.ask(request).await?;
    Ok(())
}

/// Does that with every row which the survey counted.
async fn each(
    args: &FlightsArgs,
    client: &Arc<Client>,
    survey: &Survey,
    work: Work,
    out: &mut Output<'_>,
) -> Result<Arc<Posted>, CliError> {
    let total = survey.rows();
    let posted = Arc::new(Posted::default());
    let incomplete = |error| CliError::Incomplete {
        posted: posted.rows(),
        total,
        source: Box::new(error),
    };

    let connections = usize::from(args.connections);
    let lane_of = assign(&survey.rows_by_carrier, connections);
    let timed = args.historical;
    let count = if timed {
        connections
    } else {
        lane_of.values().max().map_or(0, |last| last + 1)
    };
    let mut queues = Vec::with_capacity(count);
    let mut lanes = JoinSet::new();
    for _ in 0..count {
        let (queue, rows) = tokio::sync::mpsc::channel(ROWS_AHEAD);
        queues.push(queue);
        let lane = Lane::new(Arc::clone(client), Arc::clone(&posted), work);
        lanes.spawn(lane.run(rows));
    }

    let table = Table::open(&args.file)?;
    let (key_prefix, limit) = (survey.key_prefix.clone(), args.limit);
    let (done, reader) = oneshot::channel();
    thread::spawn(move || {
        let ended = lanes::feed(table, limit, &key_prefix, timed, |row| {
            let lane = if timed {
                Some(row.number as usize % count)
            } else {
                lane_of.get(&row.carrier).copied()
            };
            let queue = lane.and_then(|lane| queues.get(lane));
            queue.is_some_and(|queue| queue.blocking_send(row).is_ok())
        });
        // The lanes see the end of their queues when this thread drops them.
        let _ = done.send(ended);
    });

    let mut meter = Meter::new(total, out.is_standard());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            ended = lanes.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    meter.clear();
                    return Err(incomplete(error));
                }
                Some(Err(error)) => {
                    meter.clear();
                    return Err(incomplete(CliError::Client { reason: error.to_string() }));
                }
            },
            _ = ticks.tick() => meter.show(&posted, SystemClock.boot(), out),
        }
    }
    meter.clear();
    if let Ok(Err(error)) = reader.await {
        return Err(incomplete(error));
    }
    if posted.rows() < total {
        return Err(incomplete(CliError::Table {
            path: args.file.display().to_string(),
            reason: "it changed while it was loaded".to_owned(),
        }));
    }
    Ok(posted)
}

#[cfg(test)]
mod tests;
