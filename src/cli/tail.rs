//! `hub tail`: a channel's latest items, then the new ones as they become stable.
//!
//! Each item is printed once and in key order, whatever happens to the hub meanwhile. What to ask
//! and when is decided in [`progress`]; here it is asked.

pub mod progress;
mod watch;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use reqwest::{Request, Url};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use self::progress::{Progress, Question, key_of};
use super::args::TailArgs;
use super::client::{Client, read_body};
use super::error::CliError;
use super::output::Output;
use super::retry::Backoff;
use crate::item::ItemKey;

/// How many items are fetched ahead of the one that is printed.
const FETCHES: usize = 4;

/// Runs `hub tail`.
///
/// # Errors
/// As [`Client::ask`]. Once a first answer has come, a following tail waits for a hub that is away
/// and fails only if the hub refuses, as for a channel that was deleted.
pub async fn run(args: TailArgs, client: &Client, out: &mut Output<'_>) -> Result<(), CliError> {
    let stdout_closed = watch::reader_left(out.is_standard().then(std::io::stdout));
    tokio::select! {
        ended = follow(&args, client, out) => ended,
        () = stdout_closed => Ok(()),
    }
}

async fn follow(args: &TailArgs, client: &Client, out: &mut Output<'_>) -> Result<(), CliError> {
    let mut progress = Progress::new(args.number);
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut reached = false;
    let mut away = false;
    loop {
        let wait = match step(args, client, &mut progress, out).await {
            Ok(wait) => {
                if away {
                    out.note("hub: back, going on where it was");
                }
                (reached, away) = (true, false);
                backoff.reset();
                wait
            }
            Err(error) if reached && !args.no_follow && error.may_pass() => {
                if !away {
                    out.note(format_args!("hub: {error}\nhub: waiting for it"));
                }
                away = true;
                backoff.wait_at_least(error.retry_after())
            }
            Err(error) => return Err(error),
        };
        if args.no_follow {
            return Ok(());
        }
        sleep(wait).await;
    }
}

/// Asks once, prints what came, and says how long to wait before asking again.
async fn step(
    args: &TailArgs,
    client: &Client,
    progress: &mut Progress,
    out: &mut Output<'_>,
) -> Result<Duration, CliError> {
    let question = progress.question();
    let keys = list(client, &args.channel, &question).await?;
    let turn = progress.answered(&question, keys);
    let mut fetched = stream::iter(turn.print)
        .map(|key| fetch(client, &args.channel, key))
        .buffered(FETCHES);
    while let Some(item) = fetched.next().await {
        match item? {
            Fetched::Item(item) => {
                print(&item, args.json, out)?;
                progress.printed(item.key);
            }
            Fetched::Gone(key) => {
                out.note(format_args!(
                    "hub: {key} is gone: it was not kept that long"
                ));
                progress.printed(key);
            }
        }
    }
    Ok(turn.wait)
}

#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "_links")]
    links: Links,
}

#[derive(Deserialize)]
struct Links {
    uris: Vec<String>,
}

/// The keys that the hub lists. A 404 is an empty list, if the channel exists.
async fn list(
    client: &Client,
    channel: &str,
    question: &Question,
) -> Result<Vec<ItemKey>, CliError> {
    let path = question.path();
    let mut segments = vec!["channel", channel];
    segments.extend(path.split('/'));
    let url = client.url(&segments);
    let listing = match client.get_json::<Listing>(url.clone()).await {
        Err(error) if error.is_status(StatusCode::NOT_FOUND) && !question.has_key() => {
            let config = client.url(&["channel", channel]);
            client.ask(Request::new(Method::GET, config)).await?;
            return Ok(Vec::new());
        }
        answer => answer?,
    };
    let keys = listing.links.uris.iter().map(|uri| {
        key_of(uri).ok_or_else(|| CliError::NotAHub {
            url: url.to_string(),
            reason: format!("it lists {uri:?}, which is no item"),
        })
    });
    keys.collect()
}

struct Item {
    key: ItemKey,
    url: Url,
    content_type: Option<String>,
    body: bytes::Bytes,
}

enum Fetched {
    Item(Item),
    Gone(ItemKey),
}

/// Reads one item, the whole of it: what is printed cannot be taken back if the rest fails.
async fn fetch(client: &Client, channel: &str, key: ItemKey) -> Result<Fetched, CliError> {
    let path = key.to_string();
    let mut segments = vec!["channel", channel];
    segments.extend(path.split('/'));
    let url = client.url(&segments);
    let response = match client.ask(Request::new(Method::GET, url.clone())).await {
        Err(error) if error.is_status(StatusCode::NOT_FOUND) => return Ok(Fetched::Gone(key)),
        answer => answer?,
    };
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    Ok(Fetched::Item(Item {
        key,
        url,
        content_type,
        body: read_body(response).await?,
    }))
}

/// An item as one line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    url: &'a str,
    key: String,
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
}

fn print(item: &Item, json: bool, out: &mut Output<'_>) -> Result<(), CliError> {
    if json {
        let body = std::str::from_utf8(&item.body).ok();
        out.json(&Line {
            url: item.url.as_str(),
            key: item.key.to_string(),
            content_type: item.content_type.as_deref(),
            body,
            bytes: body.is_none().then_some(item.body.len()),
        })?;
    } else {
        out.bytes(&item.body)?;
        if item.body.last() != Some(&b'\n') {
            out.bytes(b"\n")?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests;
