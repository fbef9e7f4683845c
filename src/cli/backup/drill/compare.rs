//! Asking a hub for every item of its archive, and holding what comes against what must.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use http::Method;
use http::header::CONTENT_TYPE;
use reqwest::Request;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::archive::store::Store;
use crate::backup::{ChannelState, Expected, Progress, State, items_of};
use crate::channel::config::ChannelConfig;
use crate::cli::client::{Client, read_body};
use crate::cli::error::CliError;
use crate::env::Millis;
use crate::item::{ItemKey, Suffix};

/// About how many bytes, and how many items, are asked for at a time.
const BYTES: u64 = 8 << 20;
const ITEMS: usize = 2_000;
/// Items that are so close to their retention's end, in milliseconds, are not asked for: it may come while the hub is
/// asked.
const CLOSE: i64 = 3_600_000;

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compared {
    /// Items that the hub gave back as they were.
    #[serde(rename = "itemsCompared")]
    pub(super) items: u64,
    /// Their bytes.
    #[serde(rename = "bytesCompared")]
    pub(super) bytes: u64,
    /// Items that are past their channel's retention, or so close to its end that they were not asked for.
    #[serde(rename = "itemsExpired")]
    pub(super) expired: u64,
}

/// What stands beside a configuration, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beside {
    kept_from: Option<(i64, String)>,
}

/// The lowest key that a channel must still give.
fn floor(config: &ChannelConfig, beside: &Beside, now: Millis) -> ItemKey {
    let by_time = config.floor(now).map(|floor| floor.plus(CLOSE));
    let by_time = by_time.map_or(ItemKey::MIN, ItemKey::first_of);
    let Some((millis, suffix)) = &beside.kept_from else {
        return by_time;
    };
    let suffix = Suffix::parse(suffix).unwrap_or(Suffix::EMPTY);
    by_time.max(ItemKey::new(Millis::new(*millis), suffix))
}

/// Asks a hub for every item of every channel.
///
/// # Errors
/// [`CliError::Drill`] that names the first thing that is not as it was.
pub(super) async fn compare(
    client: &Client,
    archive: &Store,
    state: &State,
    now: Millis,
    progress: &Progress,
) -> Result<Compared, CliError> {
    progress.begin("channels read back", state.channels.len());
    let mut compared = Compared::default();
    for channel in &state.channels {
        one(client, archive, channel, now, progress, &mut compared).await?;
        progress.step();
    }
    Ok(compared)
}

async fn one(
    client: &Client,
    archive: &Store,
    channel: &ChannelState,
    now: Millis,
    progress: &Progress,
    compared: &mut Compared,
) -> Result<(), CliError> {
    let unreadable = |error: serde_json::Error| CliError::Drill {
        reason: format!("channel {}: {error}", channel.name),
    };
    let config: ChannelConfig = serde_json::from_value(channel.data.clone()).map_err(unreadable)?;
    let beside: Beside = serde_json::from_value(channel.data.clone()).map_err(unreadable)?;
    let floor = floor(&config, &beside, now);
    let folders = archive.folders(&channel.id.name()).await;
    let folders = folders.map_err(crate::backup::BackupError::Archive)?;
    let mut reading = Reading {
        client,
        channel: &channel.name,
        after: None,
    };
    // Only the newest so many, of a channel that keeps a number; those are held.
    let kept = usize::try_from(config.max_items).unwrap_or(usize::MAX);
    let mut newest: VecDeque<Expected> = VecDeque::new();
    for folder in folders {
        let mut items = items_of(archive, &folder).await?;
        let all = items.len();
        items.retain(|item| item.key >= floor);
        compared.expired += (all - items.len()) as u64;
        if kept == 0 {
            reading.read(&items, compared, progress).await?;
            continue;
        }
        newest.extend(items);
        while newest.len() > kept {
            newest.pop_front();
            compared.expired += 1;
        }
    }
    reading
        .read(newest.make_contiguous(), compared, progress)
        .await?;
    reading.nothing_more().await
}

/// A channel that is read from its beginning to its end.
struct Reading<'a> {
    client: &'a Client,
    channel: &'a str,
    /// The last item that came.
    after: Option<ItemKey>,
}

impl Reading<'_> {
    async fn read(
        &mut self,
        items: &[Expected],
        compared: &mut Compared,
        progress: &Progress,
    ) -> Result<(), CliError> {
        let mut rest = items;
        while let Some(first) = rest.first() {
            let (some, others) = rest.split_at(batch(rest));
            rest = others;
            // Nothing that was given up is asked for: it begins right before the first one.
            let after = self.after.unwrap_or_else(|| before(&first.key));
            let (answer, boundary) = self.ask(after, some.len()).await?;
            let checked = check(some, answer, &boundary);
            checked.map_err(|reason| CliError::Drill {
                reason: format!("channel {}: {reason}", self.channel),
            })?;
            for item in some {
                compared.items += 1;
                compared.bytes += item.size;
                progress.read(item.size);
                self.after = Some(item.key);
            }
        }
        Ok(())
    }

    /// The items after a key, and what stands between them.
    async fn ask(&self, after: ItemKey, count: usize) -> Result<(Bytes, String), CliError> {
        let (path, count) = (after.to_string(), count.to_string());
        let mut segments = vec!["channel", self.channel];
        segments.extend(path.split('/'));
        segments.extend(["next", count.as_str()]);
        let mut url = self.client.url(&segments);
        url.set_query(Some("bulk=true&epoch=ALL"));
        let answer = self.client.ask(Request::new(Method::GET, url)).await?;
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let boundary = kind
            .split_once("boundary=")
            .map(|(_, boundary)| boundary.trim_matches('"').to_owned());
        let boundary = boundary.ok_or_else(|| CliError::Drill {
            reason: format!(
                "channel {}: a list with contents came as {kind:?}",
                self.channel
            ),
        })?;
        Ok((read_body(answer).await?, boundary))
    }

    /// Sees to it that nothing comes after the last one.
    async fn nothing_more(&self) -> Result<(), CliError> {
        // Of a channel whose items are all past their retention there is none to begin at.
        let Some(after) = self.after else {
            return Ok(());
        };
        let (answer, boundary) = self.ask(after, 1).await?;
        if answer == format!("--{boundary}--").as_bytes() || answer.is_empty() {
            return Ok(());
        }
        let start: String = String::from_utf8_lossy(&answer).chars().take(200).collect();
        Err(CliError::Drill {
            reason: format!(
                "channel {}: something comes after the last item, {after}: {start:?}",
                self.channel
            ),
        })
    }
}

/// A key that can be asked for, right before another one: the last that the millisecond before it could have.
fn before(key: &ItemKey) -> ItemKey {
    let last = Suffix::parse(&"z".repeat(Suffix::MAX_LEN)).unwrap_or(Suffix::EMPTY);
    ItemKey::new(key.millis.minus(1), last)
}

/// How many of these are asked for at once.
fn batch(items: &[Expected]) -> usize {
    let mut bytes = 0;
    let fits = items.iter().take(ITEMS).take_while(|item| {
        bytes += item.size;
        bytes <= BYTES
    });
    fits.count().max(1)
}

/// Holds an answer against the items that it must have, in their order, and no others.
fn check(items: &[Expected], answer: Bytes, boundary: &str) -> Result<(), String> {
    let mut rest = answer;
    let line = format!("--{boundary}\r\n");
    for item in items {
        let Expected {
            key,
            kind,
            size,
            sum,
        } = item;
        if !rest.starts_with(line.as_bytes()) {
            return Err(format!("{key} did not come"));
        }
        rest.advance(line.len());
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
        let head = rest.split_to(end.ok_or_else(|| format!("{key} has no end"))?);
        rest.advance(4);
        let head = String::from_utf8_lossy(&head);
        let header = |wanted: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            let mut found = lines.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.next().map(|(_, value)| value.to_owned())
        };
        let url = header("Content-Key").unwrap_or_default();
        if !url.ends_with(&format!("/{key}")) {
            return Err(format!("{url} came where {key} must"));
        }
        let came = header("Content-Type");
        if came.as_deref() != kind.as_deref() {
            return Err(format!("{key} came as {came:?}, and it is {kind:?}"));
        }
        let size = usize::try_from(*size).unwrap_or(usize::MAX);
        if rest.len() < size.saturating_add(2) {
            return Err(format!("{key} is cut off"));
        }
        let payload = rest.split_to(size);
        if xxh3_64(&payload) != *sum || !rest.starts_with(b"\r\n") {
            return Err(format!("{key} has other bytes"));
        }
        rest.advance(2);
    }
    if rest != format!("--{boundary}--").as_bytes() {
        return Err("there are more items than there should be".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(at: i64, kind: Option<&str>, bytes: &[u8]) -> Expected {
        Expected {
            key: ItemKey::new(Millis::new(at), Suffix::parse("0").unwrap()),
            kind: kind.map(str::to_owned),
            size: bytes.len() as u64,
            sum: xxh3_64(bytes),
        }
    }

    fn part(item: &Expected, bytes: &str) -> String {
        let kind = item.kind.as_ref();
        let kind = kind.map_or(String::new(), |kind| format!("Content-Type: {kind}\r\n"));
        let key = item.key;
        format!("--b\r\n{kind}Content-Key: http://h/channel/c/{key}\r\nX: y\r\n\r\n{bytes}\r\n")
    }

    #[test]
    fn an_answer_has_each_item_once_in_order_and_as_it_was() {
        let items = [
            expected(1, Some("text/plain"), b"one"),
            expected(2, None, b"\r\n--b--"),
            expected(3, None, b""),
        ];
        let bodies = ["one", "\r\n--b--", ""];
        let parts: Vec<String> = items
            .iter()
            .zip(bodies)
            .map(|(item, body)| part(item, body))
            .collect();
        let told = |text: String| check(&items, text.into(), "b");
        assert_eq!(told(format!("{}--b--", parts.concat())), Ok(()));
        for wrong in [
            String::new(),
            parts.concat(),
            format!("{}--b--", parts[..2].concat()),
            format!("{}{}{}--b--", parts[1], parts[0], parts[2]),
            format!("{}{}--b--", parts.concat(), parts[2]),
            format!("{}--b--", parts.concat()).replace("one", "two"),
            format!("{}--b--", parts.concat()).replace("text/plain", "text/html"),
        ] {
            assert!(told(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn large_items_are_asked_for_one_by_one() {
        let mut item = expected(1, None, b"x");
        assert_eq!(batch(&vec![item.clone(); 5000]), ITEMS);
        item.size = BYTES / 2;
        assert_eq!(batch(&vec![item.clone(); 5]), 2);
        item.size = BYTES * 2;
        assert_eq!(batch(&[item.clone(), item]), 1);
    }
}
