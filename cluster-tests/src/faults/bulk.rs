//! Many items in one request, in one answer, and under one tag: how fast, and in how much memory.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use tokio::task::JoinSet;

use super::{Bar, PATIENCE};
use crate::client::{Answer, Client};
use crate::failure::{Failure, Outcome, ensure};
use crate::hub::Hub;
use crate::item::Key;
use crate::metrics::Metrics;
use crate::wait::{now, until};

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// Items of a bulk insert.
    pub items: usize,
    /// How many bulk inserts are made; a read then gives all of their items.
    pub inserts: usize,
    /// How many items are inserted one by one for comparison, by how many clients at a time.
    pub singles: (usize, usize),
    /// How many times the rate of single inserts a bulk insert must have; `None`: only told.
    pub ratio_min: Option<f64>,
    /// How much memory the hub may take more while one client reads everything as slowly as it
    /// likes, in bytes.
    pub memory_max: u64,
    /// How many channels a tag has.
    pub tagged: usize,
}

const CHANNEL: &str = "bulk";
const TAG: &str = "many";
const ITEM_BYTES: usize = 100;

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    Bar::of("bulk", run(size).await)
}

async fn run(size: &Size) -> Outcome<String> {
    let mut hub = Hub::new()?;
    hub.start().await?;
    let client = hub.client();
    client.put_channel(CHANNEL).await?;
    client.put_channel("single").await?;
    let single = single_rate(&client, size.singles).await?;
    let batches_now = || async {
        let metrics = Metrics::of(&hub.client()).await?;
        Ok::<f64, Failure>(metrics.sum("hub_spoke_batches_total", &[]))
    };
    let before = batches_now().await?;
    let began = now();
    for _ in 0..size.inserts {
        insert(&client, size.items).await?;
    }
    let spent = began.elapsed();
    let batches = batches_now().await? - before;
    ensure(batches <= size.inserts as f64, || {
        format!("{} bulk inserts took {batches} batches", size.inserts)
    })?;
    let bulk = (size.inserts * size.items) as f64 / spent.as_secs_f64();
    let ratio = bulk / single;
    if let Some(least) = size.ratio_min {
        ensure(ratio >= least, || {
            format!("{ratio:.1} times the rate of single inserts")
        })?;
    }
    let memory = read_slowly(&hub, size).await?;
    let tagged = walk_tag(&client, size.tagged).await?;
    Ok(format!(
        "{} items of {ITEM_BYTES} bytes at {bulk:.0}/s in bulks of {}, {ratio:.1} times the {single:.0}/s one \
         by one ({} at a time); all of them read in bulk with {:.1} MB more; {tagged}",
        size.inserts * size.items,
        size.items,
        size.singles.1,
        memory as f64 / 1e6,
    ))
}

async fn single_rate(client: &Client, (items, at_once): (usize, usize)) -> Outcome<f64> {
    let began = now();
    let mut writing = JoinSet::new();
    for _ in 0..at_once {
        let client = client.clone();
        writing.spawn(async move {
            for _ in 0..items.div_ceil(at_once) {
                let payload = vec![b'x'; ITEM_BYTES].into();
                let answer = client.insert_bytes("single", None, None, payload).await;
                ensure(matches!(answer, Answer::Acked(_)), || format!("{answer:?}"))?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(written) = writing.join_next().await {
        written.map_err(|error| Failure(error.to_string()))??;
    }
    Ok(items as f64 / began.elapsed().as_secs_f64())
}

async fn insert(client: &Client, items: usize) -> Outcome<()> {
    let mut body = String::with_capacity(items * (ITEM_BYTES + 20));
    for number in 0..items {
        // Writing to a string cannot fail.
        let _ = write!(body, "--b\r\n\r\n{number:0ITEM_BYTES$}\r\n");
    }
    body.push_str("--b--");
    let request = client.request(Method::POST, &format!("/channel/{CHANNEL}/bulk"));
    let request = request.header(CONTENT_TYPE, "multipart/mixed; boundary=b");
    let said = |error: reqwest::Error| Failure(format!("bulk insert: {error}"));
    let answer = request.body(body).send().await.map_err(said)?;
    let status = answer.status();
    let text = answer.text().await.map_err(said)?;
    ensure(status == 201, || format!("bulk insert: {status} {text}"))
}

/// Reads everything in bulk, and pauses at first for so long that the hub could have read it all ahead;
/// gives how much more memory it took.
async fn read_slowly(hub: &Hub, size: &Size) -> Outcome<u64> {
    let client = hub.client();
    let wanted = size.items * size.inserts;
    let latest = format!("/channel/{CHANNEL}/latest");
    let key = until("all of it is stable", PATIENCE, async || {
        client.redirect(&latest).await.ok()?
    })
    .await?;
    let day = key.day().to_owned();
    let path = format!("/channel/{CHANNEL}/{day}?bulk=true&stable=false");
    let before = hub.memory("VmRSS")?;
    let said = |error: reqwest::Error| Failure(format!("bulk read: {error}"));
    let mut answer = client
        .request(Method::GET, &path)
        .send()
        .await
        .map_err(said)?;
    let mut most = before;
    let mut found = 0;
    let mut carried = Vec::new();
    let mut pauses = 20;
    while let Some(part) = answer.chunk().await.map_err(said)? {
        if pauses > 0 {
            pauses -= 1;
            // As long as a hub takes that does not wait for its reader.
            tokio::time::sleep(Duration::from_millis(50)).await;
            most = most.max(hub.memory("VmRSS")?);
        }
        carried.extend_from_slice(&part);
        let name = b"Content-Key:";
        found += carried.windows(name.len()).filter(|w| w == name).count();
        let kept = carried.len().saturating_sub(name.len() - 1);
        carried.drain(..kept);
    }
    most = most.max(hub.memory("VmRSS")?);
    ensure(found == wanted, || {
        format!("{found} of {wanted} items came")
    })?;
    let more = most.saturating_sub(before);
    ensure(more <= size.memory_max, || {
        format!("a slow reader took {more} bytes of memory")
    })?;
    Ok(more)
}

/// Makes channels with a tag and an item each, and walks them page by page.
async fn walk_tag(client: &Client, channels: usize) -> Outcome<String> {
    let mut keys: Vec<Key> = Vec::new();
    for number in 0..channels {
        let name = format!("tagged-{number}");
        let request = client.request(Method::PUT, &format!("/channel/{name}"));
        let request = request.header(CONTENT_TYPE, "application/json");
        let put = request
            .body(format!(r#"{{"tags": ["{TAG}"]}}"#))
            .send()
            .await;
        let put = put.map_err(|error| Failure(error.to_string()))?;
        ensure(put.status() == 201, || format!("{name}: {}", put.status()))?;
        match client
            .insert_bytes(&name, None, None, name.clone().into())
            .await
        {
            Answer::Acked(key) => keys.push(key),
            other => return Err(Failure(format!("{name}: {other:?}"))),
        }
    }
    keys.sort();
    let all = format!("/tag/{TAG}/earliest/{}", channels + 10);
    until("all of the tag is stable", PATIENCE, async || {
        let listed = client.list(&all, false).await.ok()?.0;
        (listed == keys).then_some(())
    })
    .await?;
    let began = now();
    let mut walked = client
        .list(&format!("/tag/{TAG}/earliest/97"), false)
        .await?
        .0;
    let mut pages = 1;
    while let Some(last) = walked.last() {
        let next = format!("/tag/{TAG}/{last}/next/97");
        let (more, _) = client.list(&next, false).await?;
        if more.is_empty() {
            break;
        }
        walked.extend(more);
        pages += 1;
    }
    ensure(walked == keys, || {
        format!("{} of {channels} items by pages", walked.len())
    })?;
    Ok(format!(
        "a tag of {channels} channels in {pages} pages, {:.0} ms each",
        began.elapsed().as_secs_f64() * 1000.0 / f64::from(pages)
    ))
}
