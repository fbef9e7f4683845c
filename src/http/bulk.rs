//! Bulk inserts: several items in one request, stored as one record, all or none of them.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use http_body::Body;

use super::api::Call;
use super::body::{BodyError, Coding, ReplyBody, read_pieces};
use super::grammar::Direction;
use super::items::{
    Content, Sent, idempotency_key, media_type, not_inserted, provided, put_durability,
    refuse_empty,
};
use super::links::{ChannelLinks, Link};
use super::multipart::{Event, Malformed, Parser, boundary};
use super::reply::{self, JSON, Reply};
use crate::channel::Channel;
use crate::item::ItemKey;
use crate::item::pack::{PackBuilder, PackFull};

/// What a part is that does not say.
const UNTYPED: &str = "text/plain";
/// How many links of an answer are written at a time.
const LINKS: usize = 2000;

/// Why a bulk insert was not read.
enum Refusal {
    Body(BodyError),
    Parts(Malformed),
    Full(PackFull),
    /// The answer.
    Answer(Reply),
    TooLarge,
}

impl From<BodyError> for Refusal {
    fn from(wrong: BodyError) -> Self {
        Self::Body(wrong)
    }
}

impl From<Malformed> for Refusal {
    fn from(wrong: Malformed) -> Self {
        Self::Parts(wrong)
    }
}

impl From<PackFull> for Refusal {
    fn from(wrong: PackFull) -> Self {
        Self::Full(wrong)
    }
}

/// `POST /channel/{channel}/bulk`
pub(super) async fn insert<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    call.refuse_read_only()?;
    let channel = call.known_channel().await?;
    let sent = items_of(call, &channel, body).await?;
    let record = sent.insert(call, &channel).await;
    let record = record.map_err(|wrong| not_inserted(&wrong, &channel))?;
    Ok(created(call, record))
}

/// `POST /provider/bulk`
pub(super) async fn provide<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    // Before a channel is made for it.
    boundary_of(call)?;
    let channel = provided(call).await?;
    let sent = items_of(call, &channel, body).await?;
    sent.insert_through_provider(call, channel).await?;
    let mut reply = reply::empty(StatusCode::OK);
    put_durability(call.api.settings.durability, &mut reply);
    Ok(reply)
}

fn boundary_of<'a>(call: &Call<'a>) -> Result<&'a str, Reply> {
    let kind = call.headers.get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    boundary(kind).ok_or_else(|| reply::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// Reads the items that a request sends.
async fn items_of<'a, B>(call: &Call<'a>, channel: &Channel, body: B) -> Result<Sent<'a>, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let boundary = boundary_of(call)?;
    let idempotency_key = idempotency_key(call.headers)?;
    let settings = &call.api.settings;
    let coding = Coding::of(call.headers).map_err(|wrong| reply::bad_body(&wrong))?;
    let most = usize::try_from(settings.item_limits.bytes).unwrap_or(usize::MAX);
    let mut parser = Parser::new(boundary);
    let mut parts = Parts {
        channel,
        pack: PackBuilder::default(),
        number: 0,
        has_key: false,
    };
    let inflight = &call.api.budgets.bodies;
    let read = read_pieces(body, coding, &settings.bulk_limits, inflight, |piece| {
        parser.feed(piece, &mut |event| parts.take(event))?;
        if parts.pack.len() > most {
            return Err(Refusal::TooLarge);
        }
        Ok(parts.pack.len() + parser.kept())
    });
    let held = read.await.map_err(|refusal| refused(refusal, call))?;
    let count = parts.pack.count();
    if count == 0 {
        return Err(reply::error(
            StatusCode::BAD_REQUEST,
            "no items were found in the body",
            Some("body"),
            None,
            Some(
                "parts between lines of -- and the boundary, and that with -- behind it at the end",
            ),
        ));
    }
    let pack = held.of(parts.pack.finish());
    let pack = pack.map_err(|wrong| reply::bad_body(&wrong))?;
    Ok(Sent {
        content: Content::Bulk((pack, count)),
        idempotency_key,
    })
}

/// Puts parts into a pack.
struct Parts<'a> {
    channel: &'a Channel,
    pack: PackBuilder,
    /// The number of the part, counted from 1.
    number: usize,
    has_key: bool,
}

impl Parts<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        match event {
            Event::Begin(head) => {
                self.number += 1;
                self.has_key = head.has_key;
                let text = head.content_type.as_deref().unwrap_or(UNTYPED);
                let kind = media_type(text).map_err(|_| Refusal::Answer(self.bad_type(text)))?;
                self.pack.begin(kind.as_ref())?;
            }
            Event::Data(data) => self.pack.put(data)?,
            Event::End if self.pack.payload_len() == 0 && !self.has_key => self.pack.take_back(),
            Event::End => {
                if self.pack.payload_len() == 0 {
                    refuse_empty(self.channel).map_err(Refusal::Answer)?;
                }
                self.pack.end();
            }
        }
        Ok(())
    }

    fn bad_type(&self, text: &str) -> Reply {
        let shown: String = text.chars().take(100).collect();
        reply::error(
            StatusCode::BAD_REQUEST,
            &format!("part {} has a malformed Content-Type", self.number),
            Some("Content-Type"),
            Some(&shown),
            Some("type/subtype with optional ;name=value"),
        )
    }
}

fn refused(refusal: Refusal, call: &Call<'_>) -> Reply {
    let bad = |text: String, rule: &str| {
        reply::error(
            StatusCode::BAD_REQUEST,
            &text,
            Some("body"),
            None,
            Some(rule),
        )
    };
    match refusal {
        Refusal::Answer(reply) => reply,
        Refusal::Body(wrong) => reply::bad_body(&wrong),
        Refusal::Parts(wrong) => bad(wrong.to_string(), "multipart as in RFC 2046"),
        Refusal::Full(PackFull::Items) => bad(PackFull::Items.to_string(), "fewer parts"),
        Refusal::Full(PackFull::Bytes) | Refusal::TooLarge => {
            let limit = call.api.settings.item_limits.bytes;
            reply::bad_body(&BodyError::TooLarge { limit })
        }
    }
}

/// 201, with where the items are. It may be long, so it is sent as it is written.
fn created(call: &Call<'_>, record: ItemKey) -> Reply {
    let links = call.links();
    let mut location = links.url(Link::Neighbours {
        from: record.record_floor(),
        direction: Direction::Next,
        count: i64::from(record.count()),
    });
    location.push_str("?stable=false");
    let head = format!("{{\"_links\":{{\"self\":{{\"href\":\"{location}\"}},\"uris\":[");
    let parts = stream::unfold(Some((head, 0)), move |state| {
        let part = state.map(|(text, from)| uris(&links, record, text, from));
        std::future::ready(part.map(|(text, next)| (io::Result::Ok(text), next)))
    });
    let body = ReplyBody::Parts(Box::pin(parts));
    let mut reply = reply::with_body(StatusCode::CREATED, JSON, body);
    reply::put(&mut reply, LOCATION, &location);
    put_durability(call.api.settings.durability, &mut reply);
    reply
}

/// Some of an answer's links behind `text`, from that number on, and what comes next.
fn uris(
    links: &ChannelLinks,
    record: ItemKey,
    mut text: String,
    from: usize,
) -> (Bytes, Option<(String, usize)>) {
    let count = record.count() as usize;
    let to = count.min(from + LINKS);
    text.reserve((to - from) * 96 + 4);
    for (at, key) in record.items_of(from as u32..to as u32).enumerate() {
        text.push_str(if from + at == 0 { "\"" } else { ",\"" });
        links.push_item(&mut text, &key);
        text.push('"');
    }
    if to == count {
        text.push_str("]}}");
    }
    (text.into(), (to < count).then(|| (String::new(), to)))
}
