//! Lists with the items' contents: multipart or zip, written as they are read.
//!
//! Items are read a few ahead while they are small and there is room for them among all that is held
//! for answers, and one at a time otherwise. A client that reads slowly holds what was read ahead; of a
//! zip also its directory, which is written last.

use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesOrdered, StreamExt as _};
use http::header::{HeaderValue, LINK};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use zip::write::{FullFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::source::Source;
use crate::channel::{Channel, Reads, WalkError};
use crate::http::api::{Api, Call};
use crate::http::body::{ReplyBody, Share};
use crate::http::items::parts_of;
use crate::http::links::{BaseUri, ChannelLinks};
use crate::http::negotiate::ListFormat;
use crate::http::reply::{self, Reply};
use crate::item::ItemKey;
use crate::spoke::{StoredItem, StoredPayload};

/// The most items that are read ahead, and the size in bytes from which on none is.
const AHEAD: usize = 16;
const SMALL: u64 = 64 * 1024;
/// How large an item may be that is read whole, and not as it is sent, in bytes.
const WHOLE: u64 = 1 << 20;
/// About how much of an answer goes out at a time, in bytes.
const PART: usize = 64 * 1024;
/// The most entries of a zip: its directory is held until its end.
const ENTRIES_MAX: usize = 250_000;
/// The id under which a zip entry's extra field says what the entry's content type is: "Hu".
const EXTRA_ID: u16 = u16::from_le_bytes(*b"Hu");
/// The bytes of its id and its length.
const EXTRA_HEAD: usize = 4;

/// The URLs of items in an answer.
pub(in crate::http) enum ItemUrls {
    /// Of one channel, in the spelling of the request.
    Channel(ChannelLinks),
    /// Of any channels, in their own spelling.
    Any(BaseUri),
}

impl ItemUrls {
    fn of(&self, channel: &Channel, key: &ItemKey) -> String {
        let mut url = String::with_capacity(96);
        match self {
            Self::Channel(links) => links.push_item(&mut url, key),
            Self::Any(base) => {
                let name = channel.config.name.as_str();
                ChannelLinks::new(base, name).push_item(&mut url, key);
            }
        }
        url
    }
}

/// The name of an item's zip entry: its key, and before it the channel where the entry before has that
/// key already.
fn entry(channel: &Channel, key: &ItemKey, before: Option<ItemKey>) -> String {
    if before == Some(*key) {
        return format!("{}/{key}", channel.config.name.as_str());
    }
    key.to_string()
}

/// An answer with the contents of what `source` lists; `around` are the links that the list has as
/// JSON. The first item is read before anything is said, so an answer that cannot begin is no 200 that ends
/// at once.
pub(in crate::http) async fn contents(
    call: &Call<'_>,
    format: ListFormat,
    source: Source,
    urls: ItemUrls,
    around: &[(&str, String)],
) -> Result<Reply, Reply> {
    let feed = Feed::begin(call, source).await;
    let feed = feed.map_err(|wrong| wrong.reply())?;
    let mut reply = if format == ListFormat::Zip {
        let kind = HeaderValue::from_static("application/zip");
        let body = ReplyBody::Parts(Box::pin(zipped(feed)));
        reply::with_body(StatusCode::OK, kind, body)
    } else {
        let boundary = Api::boundary();
        let kind = format!("multipart/mixed;boundary={boundary}");
        let kind = HeaderValue::try_from(kind);
        let kind = kind.unwrap_or_else(|_| HeaderValue::from_static("multipart/mixed"));
        let body = ReplyBody::Parts(Box::pin(multipart(feed, urls, boundary)));
        reply::with_body(StatusCode::OK, kind, body)
    };
    put_links(reply.headers_mut(), around);
    Ok(reply)
}

fn put_links(headers: &mut HeaderMap, around: &[(&str, String)]) {
    for (name, url) in around {
        if let Ok(link) = HeaderValue::try_from(format!("<{url}>;rel=\"{name}\"")) {
            headers.append(LINK, link);
        }
    }
}

/// What was listed, read.
struct Read {
    channel: Arc<Channel>,
    key: ItemKey,
    /// `None` if its time has come since it was listed.
    item: Option<StoredItem>,
}

/// An item of the answer.
type Full = (Arc<Channel>, ItemKey, StoredItem);

/// Why the answer does not go on.
enum FeedError {
    /// A channel could not be read.
    Query(WalkError),
    /// What was listed was not there.
    Lost { channel: Arc<Channel>, key: ItemKey },
}

impl FeedError {
    /// The answer, where none has begun.
    fn reply(&self) -> Reply {
        match self {
            Self::Query(wrong) => reply::query_error(&wrong.error, &wrong.channel),
            Self::Lost { channel, .. } => reply::unavailable(
                "an item could not be read",
                &self.to_string(),
                Some(channel.config.name.as_str()),
                &[],
            ),
        }
    }
}

impl std::fmt::Display for FeedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Query(wrong) => write!(f, "{}: {}", wrong.channel, wrong.error),
            Self::Lost { channel, key } => {
                let name = channel.config.name.as_str();
                write!(f, "{name}/{key} is listed and was not found")
            }
        }
    }
}

/// Items in the order of their list, read ahead.
struct Feed {
    reads: Arc<Reads>,
    source: Source,
    /// The first item, while it is still to be given.
    first: Option<Full>,
    reading: FuturesOrdered<BoxFuture<'static, Result<Read, FeedError>>>,
    window: usize,
    /// The room for what is read ahead.
    room: Share,
    ended: bool,
}

impl Feed {
    /// A feed that has read the first item, if there is one.
    async fn begin(call: &Call<'_>, source: Source) -> Result<Self, FeedError> {
        let mut feed = Self {
            reads: Arc::clone(&call.core.reads),
            source,
            first: None,
            reading: FuturesOrdered::new(),
            window: 1,
            room: call.api.budgets.ahead.share(),
            ended: false,
        };
        feed.first = feed.read_next().await?;
        Ok(feed)
    }

    async fn next(&mut self) -> io::Result<Option<Full>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let next = self.read_next().await;
        next.map_err(|wrong| io::Error::other(wrong.to_string()))
    }

    async fn read_next(&mut self) -> Result<Option<Full>, FeedError> {
        loop {
            while self.reading.len() < self.window && !self.ended {
                match self.source.next().await.map_err(FeedError::Query)? {
                    Some((channel, key)) => {
                        let reading = read(Arc::clone(&self.reads), channel, key);
                        self.reading.push_back(Box::pin(reading));
                    }
                    None => self.ended = true,
                }
            }
            let Some(read) = self.reading.next().await else {
                return Ok(None);
            };
            let Read { channel, key, item } = read?;
            let Some(item) = item else { continue };
            self.window = self.widened(item.head.size);
            return Ok(Some((channel, key, item)));
        }
    }

    /// How many items to read at a time once one of that many bytes has come.
    fn widened(&mut self, size: u64) -> usize {
        let wider = (self.window * 2).min(AHEAD);
        if size > SMALL {
            // Those that are being read are still to come.
            self.room.give_back_to(self.reading.len() as u64 * WHOLE);
            1
        } else if self.room.cover(wider as u64 * WHOLE).is_ok() {
            // Any of those that come next may be as large.
            wider
        } else {
            self.window
        }
    }
}

async fn read(reads: Arc<Reads>, channel: Arc<Channel>, key: ItemKey) -> Result<Read, FeedError> {
    let found = reads.item(&channel, &key).await;
    let item = found.map_err(|error| {
        let channel = channel.config.name.as_str().to_owned();
        FeedError::Query(WalkError { channel, error })
    })?;
    if item.is_none() && !reads.has_expired(&channel, &key) {
        return Err(FeedError::Lost { channel, key });
    }
    Ok(Read { channel, key, item })
}

/// What is still to be sent of the item that was begun.
type Rest = stream::BoxStream<'static, io::Result<Bytes>>;

struct Multipart {
    feed: Feed,
    urls: ItemUrls,
    boundary: String,
    out: Vec<u8>,
    rest: Option<Rest>,
}

/// A body of parts, one for each item.
fn multipart(
    feed: Feed,
    urls: ItemUrls,
    boundary: String,
) -> impl stream::Stream<Item = io::Result<Bytes>> + Send {
    let state = Multipart {
        feed,
        urls,
        boundary,
        out: Vec::new(),
        rest: None,
    };
    stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.more().await {
            Ok(true) => Some((Ok(state.taken()), Some(state))),
            Ok(false) => Some((Ok(state.taken()), None)),
            // The response ends without its end: the client sees that it is cut off.
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Multipart {
    fn taken(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    /// Writes some more; `false` at the end.
    async fn more(&mut self) -> io::Result<bool> {
        while self.out.len() < PART {
            if let Some(rest) = &mut self.rest {
                if let Some(part) = rest.next().await {
                    self.out.extend_from_slice(&part?);
                    continue;
                }
                self.out.extend_from_slice(b"\r\n");
                self.rest = None;
            }
            let Some((channel, key, item)) = self.feed.next().await? else {
                write!(self.out, "--{}--", self.boundary)?;
                return Ok(false);
            };
            write!(self.out, "--{}\r\n", self.boundary)?;
            if let Some(kind) = &item.head.content_type {
                write!(self.out, "Content-Type: {kind}\r\n")?;
            }
            write!(
                self.out,
                "Content-Key: {}\r\nCreation-Date: {}\r\n\r\n",
                self.urls.of(&channel, &key),
                key.millis.iso(),
            )?;
            match item.payload {
                StoredPayload::Whole(bytes) if bytes.len() < PART => {
                    self.out.extend_from_slice(&bytes);
                    self.out.extend_from_slice(b"\r\n");
                }
                StoredPayload::Whole(bytes) => {
                    self.rest = Some(stream::iter([Ok(bytes)]).boxed());
                }
                StoredPayload::Large(large) => self.rest = Some(parts_of(large).boxed()),
            }
        }
        Ok(true)
    }
}

/// What a zip's writer has written, to be taken from.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// Makes the extra field that was just written, of a header before an entry, bare JSON. Clients that
    /// read a zip from its front take all of it for that; those that read the directory find it there
    /// with its id, as programs want it that look into extra fields.
    fn bare_extra(&self, length: usize) {
        let mut bytes = self.0.lock();
        let at = bytes.len().saturating_sub(length);
        if let Some(extra) = bytes.get_mut(at..)
            && extra.starts_with(&EXTRA_ID.to_le_bytes())
        {
            // Its id and its length go, and blanks come behind it.
            extra.rotate_left(EXTRA_HEAD);
            let text = extra.len().saturating_sub(EXTRA_HEAD);
            extra.iter_mut().skip(text).for_each(|byte| *byte = b' ');
        }
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Zip = ZipWriter<StreamWriter<Written>>;

struct Zipped {
    feed: Feed,
    written: Written,
    zip: Option<Zip>,
    entries: usize,
    /// The key of the last one.
    last: Option<ItemKey>,
    rest: Option<Rest>,
}

/// A zip with an entry for each item.
fn zipped(feed: Feed) -> impl stream::Stream<Item = io::Result<Bytes>> + Send {
    let written = Written::default();
    let state = Zipped {
        feed,
        zip: Some(ZipWriter::new_stream(written.clone())),
        written,
        entries: 0,
        last: None,
        rest: None,
    };
    stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        let more = state.more().await;
        let out = Bytes::from(std::mem::take(&mut *state.written.0.lock()));
        match more {
            Ok(true) => Some((Ok(out), Some(state))),
            Ok(false) => Some((Ok(out), None)),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Zipped {
    async fn more(&mut self) -> io::Result<bool> {
        while self.written.0.lock().len() < PART {
            if let Some(rest) = &mut self.rest {
                match rest.next().await {
                    Some(part) => {
                        let part = part?;
                        self.work(part.len(), move |zip| zip.write_all(&part))
                            .await?;
                        continue;
                    }
                    None => self.rest = None,
                }
            }
            let Some((channel, key, item)) = self.feed.next().await? else {
                let zip = self.zip.take().ok_or_else(lost)?;
                let ending = tokio::task::spawn_blocking(|| zip.finish().map(drop));
                let ended = ending.await.map_err(io::Error::other)?;
                return ended.map(|()| false).map_err(io::Error::other);
            };
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                let text = format!(
                    "a zip has at most {ENTRIES_MAX} entries; as multipart there is no limit"
                );
                return Err(io::Error::other(text));
            }
            let name = entry(&channel, &key, self.last.replace(key));
            let extra = extra(&item);
            let options = options(&key, extra.as_deref())?;
            let written = self.written.clone();
            let start = move |zip: &mut Zip| {
                zip.start_file(name, options).map_err(io::Error::other)?;
                if let Some(extra) = extra {
                    written.bare_extra(EXTRA_HEAD + extra.len());
                }
                Ok(())
            };
            match item.payload {
                StoredPayload::Whole(bytes) => {
                    let work = move |zip: &mut Zip| {
                        start(zip)?;
                        zip.write_all(&bytes)
                    };
                    self.work(item.head.size as usize, work).await?;
                }
                StoredPayload::Large(large) => {
                    self.work(0, start).await?;
                    self.rest = Some(parts_of(large).boxed());
                }
            }
        }
        Ok(true)
    }

    /// Does something with the zip: here if it is little, else where it keeps nobody waiting.
    async fn work(
        &mut self,
        bytes: usize,
        work: impl FnOnce(&mut Zip) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let mut zip = self.zip.take().ok_or_else(lost)?;
        let (zip, done) = if bytes as u64 <= SMALL {
            let done = work(&mut zip);
            (zip, done)
        } else {
            let working = tokio::task::spawn_blocking(move || {
                let done = work(&mut zip);
                (zip, done)
            });
            working.await.map_err(io::Error::other)?
        };
        self.zip = Some(zip);
        done
    }
}

fn lost() -> io::Error {
    io::Error::other("the zip's writer is gone")
}

/// What an entry's extra field says, if there is anything to say.
fn extra(item: &StoredItem) -> Option<String> {
    let kind = item.head.content_type.as_deref()?;
    Some(json!({"contentType": kind}).to_string())
}

/// How an item's entry is written: deflated, as clients that read a zip from its front need it.
fn options(key: &ItemKey, extra: Option<&str>) -> io::Result<FullFileOptions<'static, 'static>> {
    let mut options = FullFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(1))
        .last_modified_time(moment(key));
    if let Some(extra) = extra {
        let added = options.add_extra_field(EXTRA_ID, extra.as_bytes(), false);
        added.map_err(io::Error::other)?;
    }
    Ok(options)
}

/// A key's time as a zip has it; the earliest that it can have for one that it cannot.
fn moment(key: &ItemKey) -> DateTime {
    let iso = key.millis.iso();
    let number = |range: std::ops::Range<usize>| {
        let digits = iso.get(range).and_then(|digits| digits.parse::<u16>().ok());
        digits.unwrap_or_default()
    };
    let small = |range| u8::try_from(number(range)).unwrap_or_default();
    let moment = DateTime::from_date_and_time(
        number(0..4),
        small(5..7),
        small(8..10),
        small(11..13),
        small(14..16),
        small(17..19),
    );
    moment.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::config::{ConfigUpdate, Defaults, create};
    use crate::env::Millis;
    use crate::spoke::ChannelId;

    #[test]
    fn an_entry_is_named_by_its_key_and_a_second_one_of_that_by_its_channel_too() {
        let now = Millis::new(1_714_554_900_123);
        let config = create(
            &ConfigUpdate::default(),
            Some("Orders"),
            &Defaults::default(),
            now,
        );
        let channel = Channel {
            id: ChannelId(1),
            version: 0,
            config: config.unwrap(),
            kept_from: ItemKey::MIN,
            historical_to: None,
        };
        let key = ItemKey::first_of(now);
        let named = |before| entry(&channel, &key, before);
        assert_eq!(named(None), key.to_string());
        assert_eq!(named(Some(key.successor())), key.to_string());
        assert_eq!(named(Some(key)), format!("Orders/{key}"));
    }
}
