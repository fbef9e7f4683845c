//! A table of flights at its own times, years before the hub: loaded by many writers at once, with a hub that
//! is killed on the way, loaded again, which changes nothing, and found by every query.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::Bar;
use crate::client::Client;
use crate::failure::{Failure, Outcome, ensure};
use crate::folder::Folder;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::s3::S3;
use crate::wait::{now, until};

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// How many rows are loaded.
    pub rows: u64,
    /// The table; `None`: the month of the demo.
    pub table: Option<PathBuf>,
    /// Whether the archive is a server that speaks S3, or a folder.
    pub s3: bool,
}

/// How many items a page of a walk has.
const PAGE: usize = 5000;
/// The most requests to the archive that finding an end of a channel, or what is next, may cost.
const REQUESTS_MAX: f64 = 8.0;
/// How long a quarter of the rows may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    Bar::of("historical", run(size).await)
}

async fn run(size: &Size) -> Outcome<String> {
    let server = if size.s3 {
        Some(S3::start().await?)
    } else {
        None
    };
    let folder = Folder::temporary("hub-past-")?;
    let mut hub = Hub::new()?;
    match &server {
        Some(server) => {
            server.bucket("bucket").await?;
            hub.set("HUB_ARCHIVE_URL", "s3://bucket/hub");
            for (name, value) in server.variables() {
                hub.set(&name, value);
            }
        }
        None => {
            let url = format!("file://{}", folder.path().join("archive").display());
            hub.set("HUB_ARCHIVE_URL", url);
        }
    }
    hub.start().await?;
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
    let table = size.table.clone();
    let table = table.unwrap_or_else(|| demo.join("flights-2013-01.csv.gz"));
    let (table, airlines) = (table.display().to_string(), demo.join("airlines.csv"));
    let airlines = airlines.display().to_string();
    let limit = size.rows.to_string();
    let line = [
        "load",
        "flights",
        &table,
        "--airlines",
        &airlines,
        "--limit",
        &limit,
        "--connections",
        "32",
        "--historical",
        "--json",
    ];
    let began = now();
    let loading = {
        let command = hub.command();
        let line = line.map(str::to_owned);
        tokio::spawn(async move {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            command.json(&line).await
        })
    };
    // In the midst of it the hub is gone for a moment: whoever loads tries again.
    until("a quarter is loaded", PATIENCE, async || {
        let put = requests(&hub.client(), &["put"]).await.ok()?;
        (put >= size.rows as f64 / 4.0).then_some(())
    })
    .await?;
    hub.kill()?;
    hub.start().await?;
    let loaded = loading
        .await
        .map_err(|error| Failure(error.to_string()))??;
    let loading = began.elapsed();
    ensure(loaded["rows"] == size.rows, || loaded.to_string())?;
    let client = hub.client();
    let began = now();
    let keys = listed(&client, &loaded).await?;
    let listing = began.elapsed();

    // Loaded once more, and all of it read back.
    let began = now();
    let mut again = line.to_vec();
    again.push("--verify");
    let verified = hub.command().json(&again).await?;
    let verifying = began.elapsed();
    ensure(verified["verified"] == size.rows, || verified.to_string())?;
    ensure(listed(&client, &verified).await? == keys, || {
        "loaded again it is not what it was".to_owned()
    })?;

    let began = now();
    let (days, parts) = contents(&client, &keys).await?;
    let reading = began.elapsed();
    ensure(parts == size.rows as usize, || {
        format!("{parts} contents of {} items", size.rows)
    })?;
    let most = costs(&client, &keys).await?;
    let rate = size.rows as f64 / loading.as_secs_f64();
    Ok(format!(
        "{} flights of 2013 posted in {:.1} s ({rate:.0}/s) with a kill in between; listed in {:.1} s; posted \
         again and read one by one in {:.1} s; all contents of {days} days in {:.1} s; no end or neighbour \
         cost more than {most} requests to {}",
        size.rows,
        loading.as_secs_f64(),
        listing.as_secs_f64(),
        verifying.as_secs_f64(),
        reading.as_secs_f64(),
        if size.s3 { "S3" } else { "a folder" },
    ))
}

/// How often the archive was asked for such a thing.
async fn requests(client: &Client, kinds: &[&str]) -> Outcome<f64> {
    let metrics = Metrics::of(client).await?;
    let of = |kind: &&str| metrics.sum("hub_archive_requests_total", &[("kind", kind)]);
    Ok(kinds.iter().map(of).sum())
}

/// The items that a query lists; none for 404.
async fn uris(client: &Client, path: &str) -> Outcome<Vec<String>> {
    let (status, body) = client.send(Method::GET, path).await?;
    if status == 404 {
        return Ok(Vec::new());
    }
    let told = || format!("{path}: {status} {}", String::from_utf8_lossy(&body));
    ensure(status == 200, told)?;
    let list: Value = serde_json::from_slice(&body).map_err(|_| Failure(told()))?;
    let uris = list["_links"]["uris"].as_array().cloned();
    let uri = |uri: Value| uri.as_str().unwrap_or_default().to_owned();
    Ok(uris.unwrap_or_default().into_iter().map(uri).collect())
}

/// What comes behind `http://host/channel/`: the channel and the key.
fn key_of(uri: &str) -> String {
    let key = uri.split("/channel/").nth(1).unwrap_or_default();
    key.split('?').next().unwrap_or_default().to_owned()
}

/// All items of the channels that were loaded, walked along page by page: as many as the rows were, in
/// order, and each once.
async fn listed(client: &Client, loaded: &Value) -> Outcome<Vec<String>> {
    let mut all = Vec::new();
    for (channel, rows) in loaded["channels"].as_object().into_iter().flatten() {
        let live = uris(client, &format!("/channel/{channel}/latest/9")).await?;
        ensure(live.is_empty(), || format!("{live:?} is not asked for"))?;
        let mut path = format!("/channel/{channel}/earliest/{PAGE}?epoch=MUTABLE");
        let mut keys = Vec::new();
        loop {
            let page = uris(client, &path).await?;
            let Some(last) = page.last() else { break };
            path = format!("/channel/{}/next/{PAGE}?epoch=MUTABLE", key_of(last));
            keys.extend(page.iter().map(|uri| key_of(uri)));
        }
        ensure(keys.is_sorted(), || format!("{channel} is out of order"))?;
        let before = keys.len();
        keys.dedup();
        let count = keys.len();
        ensure(count == before && *rows == count as u64, || {
            format!("{channel} has {rows} rows and lists {count} of {before} items")
        })?;
        // The same from the other end.
        let backward = format!("/channel/{channel}/latest/{PAGE}?epoch=MUTABLE");
        let backward = uris(client, &backward).await?;
        let tail = keys.iter().skip(count.saturating_sub(PAGE));
        ensure(
            backward.iter().map(|uri| key_of(uri)).eq(tail.cloned()),
            || format!("{channel} is another one from its end"),
        )?;
        all.append(&mut keys);
    }
    Ok(all)
}

/// Reads what there is of every day, of all channels together; gives the days, and how many contents they had.
async fn contents(client: &Client, keys: &[String]) -> Outcome<(usize, usize)> {
    let day = |key: &String| key.split('/').skip(1).take(3).collect::<Vec<_>>().join("/");
    let days: BTreeSet<String> = keys.iter().map(day).collect();
    let mut parts = 0;
    for day in &days {
        let path = format!("/tag/flights/{day}?epoch=MUTABLE&bulk=true");
        let (status, body) = client.send(Method::GET, &path).await?;
        ensure(status == 200, || format!("{path}: {status}"))?;
        let text = String::from_utf8_lossy(&body);
        ensure(text.ends_with("--\r\n") || text.ends_with("--"), || {
            format!("{path} has no end")
        })?;
        parts += text.matches("\r\nContent-Key: ").count();
    }
    Ok((days.len(), parts))
}

/// Asks for ends and neighbours over years and centuries without items; gives the most requests to the
/// archive that one of them cost.
async fn costs(client: &Client, keys: &[String]) -> Outcome<f64> {
    let key = keys
        .first()
        .ok_or_else(|| Failure::new("there are no items"))?;
    let channel = key.split('/').next().unwrap_or_default();
    let mut most: f64 = 0.0;
    for path in [
        "earliest",
        "latest",
        "0001/01/01/00/00/00/000/a/next",
        "1492/10/12/02/00/00/000/a/next",
        "2020/01/01/00/00/00/000/a/previous",
    ] {
        let path = format!("/channel/{channel}/{path}/1?epoch=MUTABLE");
        let before = requests(client, &["get", "list"]).await?;
        let found = uris(client, &path).await?;
        ensure(found.len() == 1, || format!("{path}: {found:?}"))?;
        let cost = requests(client, &["get", "list"]).await? - before;
        ensure(cost <= REQUESTS_MAX, || format!("{path}: {cost} requests"))?;
        most = most.max(cost);
    }
    Ok(most)
}
