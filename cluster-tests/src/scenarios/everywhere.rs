//! Every hub of a cluster gives the same answers: what is written through any of them is read
//! through any of them, at once, and every kind of query is answered alike.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

use super::{channel, deleted, on, start, touched};
use crate::client::{Answer, Client, Content};
use crate::cluster::Cluster;
use crate::failure::{Failure, Outcome, ensure};
use crate::faults::{Bar, PATIENCE};
use crate::item::{ItemName, Key};
use crate::metrics::Metrics;
use crate::wait::until;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// How many hubs.
    pub hubs: u8,
    /// How many items through each of them.
    pub items: u32,
    /// Whether how long every hub takes to know a channel is held against its bar.
    pub times: bool,
}

const CHANNEL: &str = "everywhere";
/// How long a list may take to show an item that was acknowledged: an item is stable within
/// milliseconds.
const STABLE: Duration = Duration::from_secs(5);

/// A channel is known everywhere within that, from its 201 on.
const KNOWN: Duration = Duration::from_secs(1);
/// How many channels are made to see that.
const CHANNELS: u32 = 20;

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    let outcome = match Cluster::new(size.hubs) {
        Ok(cluster) => on(cluster, async |cluster| run(cluster, size).await).await,
        Err(failure) => Err(failure),
    };
    Bar::of("everywhere", outcome)
}

async fn run(cluster: &mut Cluster, size: &Size) -> Outcome<String> {
    // A read that takes long on a busy machine asks one more: here it shall not.
    cluster.set("HUB_PEER_HEDGE_MS", 60_000);
    start(cluster).await?;
    channel(cluster, 1, CHANNEL).await?;
    for name in [CHANNEL, "beside"] {
        let request = cluster
            .hub(1)?
            .client()
            .request(Method::PUT, &format!("/channel/{name}"));
        let request = request.header(CONTENT_TYPE, "application/json");
        let put = request
            .body(format!(r#"{{"tags": ["{CHANNEL}"]}}"#))
            .send()
            .await;
        let put = put.map_err(|error| Failure(error.to_string()))?;
        ensure(put.status() == 201, || {
            format!("a tag on {name}: {}", put.status())
        })?;
    }
    channel(cluster, 1, "beside").await?;
    let hubs: Vec<Client> = cluster
        .numbers()
        .into_iter()
        .map(|number| Ok(cluster.hub(number)?.client()))
        .collect::<Outcome<_>>()?;
    let others = f64::from(2 * (size.hubs - 1));
    for hub in &hubs {
        until(
            "a hub shows that it is connected to all others",
            STABLE,
            async || {
                let shown = Metrics::of(hub).await.ok()?.sum("hub_peer_state", &[]);
                // Two for each.
                ((shown - others).abs() < 0.5).then_some(())
            },
        )
        .await?;
    }
    let mut keys = Vec::new();
    for number in 0..size.items * u32::from(size.hubs) {
        let writer = number as usize % hubs.len();
        let item = ItemName {
            run: 1,
            writer: writer as u32,
            number,
            size: 20 + number as usize * 7,
            channel: CHANNEL.to_owned(),
            life: 0,
        };
        let key = match hubs[writer].insert(&item, None).await {
            Answer::Acked(key) => key,
            other => {
                return Err(Failure(format!(
                    "insert {number} through hub {}: {other:?}",
                    writer + 1
                )));
            }
        };
        for (reader, hub) in hubs.iter().enumerate() {
            let content = hub.item(CHANNEL, &key).await;
            ensure(content == Content::Item(item.clone()), || {
                format!("{key} through hub {}: {content:?}", reader + 1)
            })?;
        }
        keys.push(key);
    }
    for (writer, hub) in hubs.iter().enumerate() {
        keys.extend(in_bulk(hub, writer, &hubs).await?);
    }
    ensure(keys.is_sorted_by(|a, b| a < b), || {
        format!("keys do not increase: {keys:?}")
    })?;
    for (reader, hub) in hubs.iter().enumerate() {
        let path = format!("/channel/{CHANNEL}/earliest/{}", keys.len() + 10);
        let what = format!("hub {} lists all that is stable", reader + 1);
        let mut listed = Vec::new();
        let complete = until(&what, STABLE, async || {
            listed = hub.list(&path, true).await.ok()?.0;
            (listed == keys).then_some(())
        });
        complete
            .await
            .map_err(|failure| Failure(format!("{failure}: {} of {}", listed.len(), keys.len())))?;
    }
    let queries = alike(&hubs, &keys).await?;
    let known = known(&hubs).await?;
    ensure(!size.times || known < KNOWN, || {
        format!("a channel was known everywhere only after {known:?}")
    })?;
    deleted::and_used_elsewhere(&hubs).await?;
    let touched = touched::by_writes_and_reads(cluster).await?;
    Ok(format!(
        "{} hubs, {} items, each read through all of them at once; {queries} queries answered alike; \
         {touched}; a channel is known everywhere {} ms after its 201 at the latest",
        size.hubs,
        keys.len(),
        known.as_millis(),
    ))
}

/// Inserts two items in one request through a hub, and reads them through all; gives their keys.
async fn in_bulk(hub: &Client, writer: usize, hubs: &[Client]) -> Outcome<Vec<Key>> {
    let texts = ["one", "two"].map(|text| format!("{text} through {writer}"));
    let [one, two] = &texts;
    let body = format!("--b\r\n\r\n{one}\r\n--b\r\n\r\n{two}\r\n--b--");
    let request = hub.request(Method::POST, &format!("/channel/{CHANNEL}/bulk"));
    let request = request.header(CONTENT_TYPE, "multipart/mixed; boundary=b");
    let said = |error: reqwest::Error| Failure(format!("bulk through {writer}: {error}"));
    let answer = request.body(body).send().await.map_err(said)?;
    let answer: serde_json::Value = answer.json().await.map_err(said)?;
    let uris = answer["_links"]["uris"].as_array().into_iter().flatten();
    let keys: Vec<Key> = uris.filter_map(|uri| Key::of_url(uri.as_str()?)).collect();
    ensure(keys.len() == texts.len(), || {
        format!("bulk through {writer}: {answer}")
    })?;
    for (key, text) in keys.iter().zip(&texts) {
        for (reader, hub) in hubs.iter().enumerate() {
            let (status, found) = hub
                .send(Method::GET, &format!("/channel/{CHANNEL}/{key}"))
                .await?;
            ensure(status == 200 && found == text.as_bytes(), || {
                format!("{key} through hub {}: {status}, {found:?}", reader + 1)
            })?;
        }
    }
    Ok(keys)
}

/// Makes channels through each hub; gives the longest that another one took to know one.
async fn known(hubs: &[Client]) -> Outcome<Duration> {
    let mut longest = Duration::ZERO;
    for number in 0..CHANNELS {
        let name = format!("told-{number}");
        hubs[number as usize % hubs.len()]
            .put_channel(&name)
            .await?;
        let began = crate::wait::now();
        for hub in hubs {
            let path = format!("/channel/{name}/status");
            until("every hub knows a channel", PATIENCE, async || {
                let answer = hub.send(Method::GET, &path).await;
                matches!(answer, Ok((200, _))).then_some(())
            })
            .await?;
        }
        longest = longest.max(began.elapsed());
    }
    Ok(longest)
}

/// Asks every hub every kind of query; gives how many there were.
async fn alike(hubs: &[Client], keys: &[Key]) -> Outcome<usize> {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return Err(Failure::new("there are no items to ask for"));
    };
    let middle = &keys[keys.len() / 2];
    // A period that is over has a link to the next one, once it is stable.
    for hub in hubs {
        let path = format!("/channel/{CHANNEL}/{}", last.second());
        until("the last second is over", PATIENCE, async || {
            hub.list(&path, false).await.ok()?.1.then_some(())
        })
        .await?;
    }
    let mut asked = 0;
    for (path, accept) in queries(first, middle, last) {
        // Lists of what is not over have a link to the next period from its beginning on: where the
        // two hubs were asked before and after it, they are asked again.
        let mut found = Ok(());
        for _ in 0..3 {
            found = same(hubs, &path, accept).await;
            if found.is_ok() {
                break;
            }
        }
        found?;
        asked += 1;
    }
    Ok(asked)
}

/// The paths of every kind of query that there is, and what is accepted.
fn queries(first: &Key, middle: &Key, last: &Key) -> Vec<(String, Option<&'static str>)> {
    let second = middle.second();
    let parts: Vec<&str> = second.split('/').collect();
    let (day, hour, minute) = (
        parts[..3].join("/"),
        parts[..4].join("/"),
        parts[..5].join("/"),
    );
    let millisecond = &middle.as_str()[..23];
    let mut paths = vec![
        String::new(),
        "/status".to_owned(),
        format!("/{first}"),
        format!("/{middle}"),
        format!("/{millisecond}"),
        format!("/{second}"),
        format!("/{minute}"),
        format!("/{hour}"),
        format!("/{day}"),
        "/latest".to_owned(),
        "/earliest".to_owned(),
        "/latest/4".to_owned(),
        "/earliest/4".to_owned(),
        format!("/{middle}/next"),
        format!("/{middle}/previous"),
        format!("/{middle}/next/5"),
        format!("/{middle}/previous/5"),
        format!("/{last}/next/5"),
        format!("/{first}/previous/5"),
        format!("/{second}/previous/5"),
        format!("/{}/next/2", first.second()),
        // Nothing there, or no sense.
        format!("/{second}/000/none"),
        "/2001/01/01/01".to_owned(),
        "/2001/13/01".to_owned(),
    ];
    let lists = ["/latest/4", "/earliest/4"].map(str::to_owned);
    let lists = lists.into_iter().chain([
        format!("/{day}"),
        format!("/{second}"),
        format!("/{middle}/next/5"),
        format!("/{middle}/previous/5"),
    ]);
    for list in lists {
        for parameters in [
            "stable=false",
            "order=desc",
            "epoch=IMMUTABLE",
            "location=CACHE",
            "inclusive=true",
            "bulk=true",
        ] {
            paths.push(format!("{list}?{parameters}"));
        }
    }
    let of_tag = [
        format!("/{middle}"),
        format!("/{day}"),
        format!("/{minute}?bulk=true"),
        "/latest".to_owned(),
        "/earliest/4".to_owned(),
        format!("/{middle}/next"),
        format!("/{middle}/next/5"),
        format!("/{middle}/previous/5?bulk=true"),
        "/time/day".to_owned(),
    ];
    let mut queries: Vec<_> = paths
        .into_iter()
        .map(|path| (format!("/channel/{CHANNEL}{path}"), None))
        .collect();
    queries.extend(["/tag".to_owned(), format!("/tag/{CHANNEL}")].map(|path| (path, None)));
    queries.extend(of_tag.map(|path| (format!("/tag/{CHANNEL}{path}"), None)));
    for accept in ["application/zip", "multipart/mixed", "application/json"] {
        let path = format!("/channel/{CHANNEL}/{day}?bulk=true");
        queries.push((path, Some(accept)));
    }
    queries
}

/// One query to every hub.
async fn same(hubs: &[Client], path: &str, accept: Option<&str>) -> Outcome<()> {
    let mut answers = Vec::new();
    for hub in hubs {
        answers.push(answer(hub, path, accept).await?);
    }
    let (first, others) = answers
        .split_first()
        .ok_or_else(|| Failure::new("no hubs"))?;
    for (number, other) in others.iter().enumerate() {
        ensure(first == other, || {
            format!(
                "{path} ({accept:?}) is answered by hub 1:\n{first}\nand by hub {}:\n{other}",
                number + 2
            )
        })?;
    }
    let server_error = first.starts_with('5');
    ensure(!server_error, || format!("{path} is answered {first}"))
}

/// All of an answer that must not depend on who gives it.
async fn answer(hub: &Client, path: &str, accept: Option<&str>) -> Outcome<String> {
    let mut request = hub.request(Method::GET, path);
    if let Some(accept) = accept {
        request = request.header(ACCEPT, accept);
    }
    let said = |error: reqwest::Error| Failure(format!("{path}: {error}"));
    let answer = request.send().await.map_err(said)?;
    let own = answer.url().clone();
    let own = own.authority().to_owned();
    let mut text = format!(
        "{}\n{}",
        answer.status().as_u16(),
        headers(answer.headers())
    );
    let kind = answer.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Nobody can know it before, or an item could hold it.
    let boundary = kind
        .split_once("boundary=")
        .map(|(_, boundary)| boundary.to_owned());
    let body = answer.bytes().await.map_err(said)?;
    text.push_str(&String::from_utf8_lossy(&body));
    if let Some(boundary) = boundary {
        text = text.replace(&boundary, "BOUNDARY");
    }
    Ok(text.replace(&own, "HUB"))
}

/// The headers, but for those that name the hub, the request or the time.
fn headers(headers: &HeaderMap) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .filter(|(name, _)| !["hub-node", "x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines.concat()
}
