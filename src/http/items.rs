//! Items: inserting one, and reading one by its key.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION};
use http::{HeaderMap, StatusCode};
use http_body::Body;

use super::api::Call;
use super::body::ReplyBody;
use super::grammar::Direction;
use super::links::{ChannelLinks, Link};
use super::negotiate::accepts;
use super::reply::{self, Reply};
use crate::channel::config::ConfigUpdate;
use crate::channel::{Channel, InsertError};
use crate::item::{ContentType, ItemKey, Payload};
use crate::spoke::{Durability, LargePayload, StoredItem, StoredPayload};

const CREATION_DATE: HeaderName = HeaderName::from_static("creation-date");
const ITEM_LENGTH: HeaderName = HeaderName::from_static("x-item-length");
const LARGE_ITEM: HeaderName = HeaderName::from_static("x-largeitem");
const DURABILITY: HeaderName = HeaderName::from_static("hub-durability");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The longest an idempotency key may be.
const KEY_MAX: usize = 128;

/// `POST /channel/{channel}`
pub(super) async fn insert<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    call.refuse_read_only()?;
    let channel = call.channel().await?;
    let missing = || reply::empty(StatusCode::NOT_FOUND);
    let channel = channel.ok_or_else(missing)?;
    let item = item_of(call, &channel, body).await?;
    match item.insert(call, &channel).await {
        Ok(key) => Ok(created(call, &key, call.api.settings.durability)),
        Err(InsertError::Gone) => Err(missing()),
        Err(wrong) => Err(not_inserted(&wrong, &channel)),
    }
}

/// `POST /provider`
pub(super) async fn provide<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let channel = provided(call).await?;
    let item = item_of(call, &channel, body).await?;
    item.insert_through_provider(call, channel).await?;
    let mut reply = reply::empty(StatusCode::OK);
    put_durability(call.api.settings.durability, &mut reply);
    Ok(reply)
}

/// The channel that a provider's header names, made with the defaults if there is none.
pub(super) async fn provided(call: &Call<'_>) -> Result<Arc<Channel>, Reply> {
    call.refuse_read_only()?;
    let name = call.headers.get("channelname");
    let name = name.map_or("", |name| name.to_str().unwrap_or("\u{fffd}"));
    let name = name.trim();
    if name.is_empty() {
        return Err(reply::error(
            StatusCode::BAD_REQUEST,
            "the header channelName is missing",
            Some("channelName"),
            None,
            Some("the name of a channel"),
        ));
    }
    if crate::channel::is_name(name)
        && let Some(channel) = call.core.channels.get(name)
    {
        return Ok(channel);
    }
    let update = ConfigUpdate::default();
    // Whoever makes it first makes it; what exists is left as it is.
    let made = call.core.channels.put(name, &update).await;
    made.map_err(|wrong| reply::channel_error(&wrong, name))
}

/// The answer of a channel that takes no items without bytes.
pub(super) fn refuse_empty(channel: &Channel) -> Result<(), Reply> {
    if channel.config.allow_zero_bytes {
        return Ok(());
    }
    let name = channel.config.name.as_str();
    let text = format!("channel {name} does not take empty items");
    Err(reply::json_text(StatusCode::BAD_REQUEST, text))
}

/// The answer to an insert that was not acknowledged.
pub(super) fn not_inserted(wrong: &InsertError, channel: &Channel) -> Reply {
    reply::insert_error(wrong, channel.config.name.as_str())
}

/// What a request sends to be inserted.
pub(super) struct Sent<'a> {
    pub(super) content: Content,
    pub(super) idempotency_key: Option<&'a str>,
}

/// An item, or items.
pub(super) enum Content {
    Item(Payload),
    /// Packed, and how many they are.
    Bulk((Bytes, u32)),
}

impl Sent<'_> {
    /// Inserts it; gives the key of its record.
    pub(super) async fn insert(
        &self,
        call: &Call<'_>,
        channel: &Channel,
    ) -> Result<ItemKey, InsertError> {
        let (writes, key) = (&call.core.writes, self.idempotency_key);
        match &self.content {
            Content::Item(payload) => writes.insert(channel, payload.clone(), key).await,
            Content::Bulk(pack) => writes.insert_bulk(channel, pack.clone(), key).await,
        }
    }

    /// As [`Self::insert`], for a provider: a channel that has been deleted since it was looked up is
    /// made anew.
    pub(super) async fn insert_through_provider(
        &self,
        call: &Call<'_>,
        channel: Arc<Channel>,
    ) -> Result<ItemKey, Reply> {
        let inserted = self.insert(call, &channel).await;
        let (channel, inserted) = match inserted {
            Err(InsertError::Gone) => {
                let channel = provided(call).await?;
                let inserted = self.insert(call, &channel).await;
                (channel, inserted)
            }
            inserted => (channel, inserted),
        };
        inserted.map_err(|wrong| not_inserted(&wrong, &channel))
    }
}

/// Reads the item that a request sends.
async fn item_of<'a, B>(call: &Call<'a>, channel: &Channel, body: B) -> Result<Sent<'a>, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let (payload, idempotency_key) = payload_of(call, channel, body).await?;
    Ok(Sent {
        content: Content::Item(payload),
        idempotency_key,
    })
}

/// Reads the one payload that a request sends, and its idempotency key.
pub(super) async fn payload_of<'a, B>(
    call: &Call<'a>,
    channel: &Channel,
    body: B,
) -> Result<(Payload, Option<&'a str>), Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let content_type = content_type(call.headers)?;
    let idempotency_key = idempotency_key(call.headers)?;
    let bytes = call.body(body, &call.api.settings.item_limits).await?;
    if bytes.is_empty() {
        refuse_empty(channel)?;
    }
    let payload = Payload {
        content_type,
        bytes,
    };
    Ok((payload, idempotency_key))
}

/// 201, with where the item is. Written by hand: it is the hub's most frequent answer, and nothing
/// in it needs escaping (see [`super::links`]).
pub(super) fn created(call: &Call<'_>, key: &ItemKey, durability: Durability) -> Reply {
    let links = call.links();
    let mut url = String::with_capacity(96);
    links.push_item(&mut url, key);
    let mut body = String::with_capacity(url.len() + links.channel().len() + 96);
    body.push_str("{\"timestamp\":\"");
    body.push_str(&key.millis.iso());
    body.push_str("\",\"_links\":{\"channel\":{\"href\":\"");
    body.push_str(links.channel());
    body.push_str("\"},\"self\":{\"href\":\"");
    body.push_str(&url);
    body.push_str("\"}}}");
    let mut reply = reply::with_body(StatusCode::CREATED, reply::JSON, body);
    if let Ok(location) = HeaderValue::try_from(url) {
        reply.headers_mut().insert(LOCATION, location);
    }
    put_durability(durability, &mut reply);
    reply
}

/// What an acknowledgement stands for.
pub(super) fn put_durability(durability: Durability, reply: &mut Reply) {
    let durability = HeaderValue::from_static(durability.name());
    reply.headers_mut().insert(DURABILITY, durability);
}

fn content_type(headers: &HeaderMap) -> Result<Option<ContentType>, Reply> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    media_type(value.to_str().unwrap_or("\u{fffd}"))
}

/// The media type that a text names; `None` if it is blank.
pub(super) fn media_type(text: &str) -> Result<Option<ContentType>, Reply> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    ContentType::parse(text).map(Some).map_err(|wrong| {
        let shown: String = text.chars().take(100).collect();
        reply::error(
            StatusCode::BAD_REQUEST,
            &wrong.to_string(),
            Some("Content-Type"),
            Some(&shown),
            Some("type/subtype with optional ;name=value"),
        )
    })
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Reply> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    let visible = text.bytes().all(|b| b.is_ascii_graphic());
    if visible && (1..=KEY_MAX).contains(&text.len()) {
        return Ok(Some(text));
    }
    let shown: String = text.chars().take(KEY_MAX).collect();
    Err(reply::error(
        StatusCode::BAD_REQUEST,
        "the Idempotency-Key is malformed",
        Some("Idempotency-Key"),
        Some(&shown),
        Some("1 to 128 visible ASCII characters"),
    ))
}

/// `GET /channel/{channel}/{key}`
pub(super) async fn get(call: &Call<'_>, key: ItemKey) -> Result<Reply, Reply> {
    let Some(channel) = call.channel().await? else {
        return Ok(reply::text(StatusCode::NOT_FOUND, call.name));
    };
    let name = channel.config.name.as_str();
    let found = call.core.reads.item(&channel, &key).await;
    let found = found.map_err(|wrong| reply::query_error(&wrong, name))?;
    let Some(item) = found else {
        return Ok(reply::empty(StatusCode::NOT_FOUND));
    };
    Ok(shown(call, &call.links(), key, item, true))
}

/// The answer that is an item; `links` are those of the channel, or the tag, that was asked.
pub(super) fn shown(
    call: &Call<'_>,
    links: &ChannelLinks,
    key: ItemKey,
    item: StoredItem,
    with_length: bool,
) -> Reply {
    let stored = item.head.content_type.as_deref();
    if call.headers.contains_key(http::header::ACCEPT) {
        let stored = stored.and_then(ContentType::from_stored);
        if !accepts(call.headers, stored.as_ref()) {
            return reply::empty(StatusCode::NOT_ACCEPTABLE);
        }
    }
    // What was stored was a header's value when it came.
    let kind = stored.and_then(|text| HeaderValue::from_str(text).ok());
    let size = item.head.size;
    let mut reply = match item.payload {
        StoredPayload::Whole(bytes) => reply::with_body(
            StatusCode::OK,
            kind.unwrap_or(OCTETS),
            ReplyBody::Whole(bytes),
        ),
        StoredPayload::Large(large) => {
            let length = HeaderValue::from(large.len());
            let body = ReplyBody::Parts(Box::pin(parts_of(large)));
            let mut reply = reply::with_body(StatusCode::OK, kind.unwrap_or(OCTETS), body);
            reply.headers_mut().insert(CONTENT_LENGTH, length);
            reply
        }
    };
    reply::put(&mut reply, CREATION_DATE, &key.millis.iso());
    let headers = reply.headers_mut();
    if with_length {
        headers.insert(ITEM_LENGTH, HeaderValue::from(size));
    }
    if size >= call.api.settings.large_item_bytes {
        headers.insert(LARGE_ITEM, HeaderValue::from_static("true"));
    }
    let repeat = call.repeat();
    for direction in [Direction::Previous, Direction::Next] {
        let mut link = String::with_capacity(128);
        link.push('<');
        links.push(
            &mut link,
            Link::Neighbour {
                from: key,
                direction,
            },
        );
        link.push_str(&repeat);
        link.push_str(">;rel=\"");
        link.push_str(direction.name());
        link.push('"');
        if let Ok(link) = HeaderValue::try_from(link) {
            headers.append(LINK, link);
        }
    }
    reply
}

/// How much of a large payload is read at a time, in bytes.
const PART: usize = 256 * 1024;

/// A large payload, part by part, each read where waiting for the disk disturbs nobody.
pub(super) fn parts_of(
    large: LargePayload,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold((large, 0u64), |(large, at)| async move {
        if at >= large.len() {
            return None;
        }
        let reading = large.clone();
        let part = tokio::task::spawn_blocking(move || reading.part(at, PART)).await;
        let part = part.unwrap_or_else(|error| Err(io::Error::other(error)));
        let next = match &part {
            Ok(part) => at + part.len() as u64,
            // The error ends the response: the client sees that it is cut off.
            Err(_) => large.len(),
        };
        Some((part, (large, next)))
    })
}
