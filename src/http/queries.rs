//! Queries: lists of items by time, by neighbourhood and from either end, and links about time.

pub(super) mod contents;
mod lists;
pub(super) mod source;
mod times;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;

use contents::{ItemUrls, contents};
use lists::{list, push_link, push_uris, trace};
use source::{Pages, Source};
pub(super) use times::{millisecond, seconds, time_links, time_now, times_shown};

use super::api::Call;
use super::body::ReplyBody;
use super::grammar::{ChannelRoute, Direction, Edge};
use super::links::{ChannelLinks, Link};
use super::negotiate::{ListFormat, list_format};
use super::params::{self, Order, Params};
use super::reply::{self, JSON, Reply};
use super::tags;
use crate::channel::{Channel, Epoch, Page, Query, QueryError, Reads};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey, TimePath};
use crate::spoke;

/// How many keys a time query reads at a time.
const PAGE: usize = 2000;
/// How many are where contents follow.
const PAGE_OF_CONTENTS: usize = 20_000;

/// `GET /channel/{channel}/{time}`: a day, hour, minute or second.
pub(super) async fn period(call: &Call<'_>, path: TimePath) -> Result<Reply, Reply> {
    let params = call.params()?;
    if let Some(answer) = tags::instead(call, &params, ChannelRoute::Period(path)).await {
        return answer;
    }
    let format = format_of(call, &params)?;
    let channel = call.known_channel().await?;
    let direction = match params.order {
        Order::Ascending => spoke::Direction::Ascending,
        Order::Descending => spoke::Direction::Descending,
    };
    let query = Query {
        from: ItemKey::first_of(path.start()),
        // Also where that is yet to come: just after a restart, and on other nodes, keys may be
        // stamped a little ahead of this clock, and belong to the next period.
        to: Some(ItemKey::first_of(path.end())),
        direction,
        limit: PAGE,
        stable: params.stable,
        epoch: epoch(&params),
        whole: false,
        records: false,
    };
    let page = page_of(call, &channel, &query).await?;
    let over = is_over(call, &channel, &params, path, &page).await?;
    // Who is told of a next period takes this one for whole.
    let query = Query {
        whole: over && params.stable,
        ..query
    };
    let mut around = Vec::new();
    if over {
        around.push(("next", Link::Period(path.next())));
    }
    around.push(("previous", Link::Period(path.previous())));
    let long = Long {
        channel,
        query,
        page,
        own: Link::Period(path),
        start: path.start(),
    };
    long.shown(call, format, &params, &around).await
}

/// A list that may be longer than anybody should hold: its first page, and the query for the rest.
struct Long {
    channel: Arc<Channel>,
    query: Query,
    page: Page,
    own: Link,
    start: Millis,
}

impl Long {
    /// The answer, which is sent as it is read.
    async fn shown(
        self,
        call: &Call<'_>,
        format: ListFormat,
        params: &Params,
        around: &[(&'static str, Link)],
    ) -> Result<Reply, Reply> {
        let (links, page) = (call.links(), self.page);
        let repeat = params.repeat();
        if format != ListFormat::Json {
            let url = |(name, link): &(&'static str, Link)| (*name, links.url(*link) + repeat);
            let around: Vec<_> = around.iter().map(url).collect();
            let mut pages = Pages {
                reads: Arc::clone(&call.core.reads),
                channel: self.channel,
                // A client takes its time with contents, and what the archive lists is remembered for a moment.
                query: Query {
                    limit: PAGE_OF_CONTENTS,
                    ..self.query
                },
                keys: page.keys.into(),
                more: page.more,
            };
            pages.behind_last();
            let source = Source::Pages(pages);
            return contents(call, format, source, ItemUrls::Channel(links), &around).await;
        }
        let mut head = String::with_capacity(256 + page.keys.len() * 96);
        head.push_str("{\"_links\":{\"self\":{\"href\":\"");
        links.push(&mut head, self.own);
        head.push_str(repeat);
        head.push_str("\"}");
        for (name, link) in around {
            push_link(&mut head, name, &links, *link, repeat);
        }
        head.push_str(",\"uris\":[");
        push_uris(&mut head, &links, &page.keys);
        let trace = trace(call, params, self.start, &page.keys, page.more);
        let tail = format!("]}}{trace}}}");
        if !page.more {
            head.push_str(&tail);
            return Ok(reply::with_body(StatusCode::OK, JSON, head));
        }
        let rest = Rest {
            reads: Arc::clone(&call.core.reads),
            links,
            channel: self.channel,
            query: self.query,
            after: page.keys.last().copied(),
            tail,
        };
        let parts = stream::unfold(Stage::Head(head, rest), Stage::next);
        let body = ReplyBody::Parts(Box::pin(parts));
        Ok(reply::with_body(StatusCode::OK, JSON, body))
    }
}

/// What is still to be sent of a long list.
struct Rest {
    reads: Arc<Reads>,
    channel: Arc<Channel>,
    links: ChannelLinks,
    query: Query,
    after: Option<ItemKey>,
    tail: String,
}

enum Stage {
    Head(String, Rest),
    Rest(Rest),
    Done,
}

impl Stage {
    async fn next(self) -> Option<(io::Result<Bytes>, Self)> {
        match self {
            Self::Head(head, rest) => Some((Ok(head.into()), Self::Rest(rest))),
            Self::Done => None,
            Self::Rest(mut rest) => match rest.page().await {
                Ok((text, true)) => Some((Ok(text.into()), Self::Rest(rest))),
                Ok((text, false)) => Some((Ok((text + &rest.tail).into()), Self::Done)),
                // The response ends without its end: the client sees that it is cut off.
                Err(error) => Some((Err(io::Error::other(error.to_string())), Self::Done)),
            },
        }
    }
}

impl Rest {
    async fn page(&mut self) -> Result<(String, bool), QueryError> {
        if let Some(last) = self.after {
            match self.query.direction {
                spoke::Direction::Ascending => self.query.from = last.successor(),
                spoke::Direction::Descending => {
                    self.query.to = Some(last);
                    // What was listed is stable, and so is what lies below it.
                    self.query.whole = self.query.stable;
                }
            }
        }
        let page = self.reads.page(&self.channel, &self.query).await?;
        let mut text = String::with_capacity(page.keys.len() * 96);
        if !page.keys.is_empty() {
            text.push(',');
        }
        push_uris(&mut text, &self.links, &page.keys);
        let more = page.more && !page.keys.is_empty();
        self.after = page.keys.last().copied().or(self.after);
        Ok((text, more))
    }
}

/// A page of a query.
async fn page_of(call: &Call<'_>, channel: &Channel, query: &Query) -> Result<Page, Reply> {
    let page = call.core.reads.page(channel, query).await;
    page.map_err(|wrong| reply::query_error(&wrong, channel.config.name.as_str()))
}

/// Whether nothing can come into a period any more, by the very look that its items were listed by:
/// another one may reach further.
async fn is_over(
    call: &Call<'_>,
    channel: &Channel,
    params: &Params,
    path: TimePath,
    page: &Page,
) -> Result<bool, Reply> {
    let end = path.end();
    if end >= call.api.clock.now() || !params.stable {
        return Ok(end < call.api.clock.now());
    }
    if let Some(stable) = page.stable {
        return Ok(stable >= Frontier::below(ItemKey::first_of(end)));
    }
    let stable = call.core.reads.stable_time(channel).await;
    let stable =
        stable.map_err(|wrong| reply::query_error(&wrong, channel.config.name.as_str()))?;
    Ok(end < stable)
}

/// `GET /channel/{channel}/{key}/{next|previous}`
pub(super) async fn neighbour(
    call: &Call<'_>,
    from: ItemKey,
    direction: Direction,
) -> Result<Reply, Reply> {
    let params = call.params()?;
    let route = ChannelRoute::Neighbour { from, direction };
    if let Some(answer) = tags::instead(call, &params, route).await {
        return answer;
    }
    let channel = call.known_channel().await?;
    let keys = keys_beside(call, &channel, from, direction, 1, &params).await?;
    Ok(found_or_not(call, keys.first()))
}

/// A redirect to an item, or 404.
fn found_or_not(call: &Call<'_>, key: Option<&ItemKey>) -> Reply {
    match key {
        Some(key) => {
            let location = call.links().url(Link::Item(*key));
            reply::redirect(StatusCode::SEE_OTHER, &location)
        }
        None => reply::empty(StatusCode::NOT_FOUND),
    }
}

/// `GET /channel/{channel}/{key}/{next|previous}/{count}`
pub(super) async fn neighbours(
    call: &Call<'_>,
    from: ItemKey,
    direction: Direction,
    count: i64,
) -> Result<Reply, Reply> {
    let params = call.params()?;
    let route = ChannelRoute::Neighbours {
        from,
        direction,
        count,
    };
    if let Some(answer) = tags::instead(call, &params, route).await {
        return answer;
    }
    let format = format_of(call, &params)?;
    let channel = call.known_channel().await?;
    let many = count > call.api.settings.count_limit as i64;
    if many && direction == Direction::Next && !params.inclusive {
        let whole = whole_bulk(call, &channel, from, count, &params).await?;
        if let Some((long, around)) = whole {
            return long.shown(call, format, &params, &around).await;
        }
    }
    let count = capped(call, count);
    let own = Link::Neighbours {
        from,
        direction,
        count: count as i64,
    };
    let mut keys = Vec::new();
    if count > 0 {
        let others = count - usize::from(params.inclusive);
        if others > 0 {
            keys = keys_beside(call, &channel, from, direction, others, &params).await?;
        }
        if params.inclusive {
            let place = match direction {
                Direction::Next => 0,
                Direction::Previous => keys.len(),
            };
            keys.insert(place, from);
        }
    }
    let beside = |from, direction| Link::Neighbours {
        from,
        direction,
        count: count as i64,
    };
    let around = match (keys.first(), keys.last()) {
        (Some(first), Some(last)) => vec![
            ("next", beside(*last, Direction::Next)),
            ("previous", beside(*first, Direction::Previous)),
        ],
        _ => match direction {
            Direction::Next => vec![("previous", beside(from, Direction::Previous))],
            Direction::Previous => vec![("next", beside(from, Direction::Next))],
        },
    };
    if format != ListFormat::Json {
        // An empty one has no links.
        let around = if keys.is_empty() { &[][..] } else { &around };
        if params.inclusive && keys.contains(&from) {
            let found = call.core.reads.item(&channel, &from).await;
            let found =
                found.map_err(|wrong| reply::query_error(&wrong, channel.config.name.as_str()))?;
            // A start key is listed though there need be no such item, which then has no contents.
            if found.is_none() {
                keys.retain(|key| *key != from);
            }
        }
        return in_bulk(call, format, &channel, keys, &params, around).await;
    }
    Ok(list(call, own, &around, keys, &params, from.millis))
}

/// The items of a bulk insert of just that many, and what lies beside them: what its `Location` asks
/// for, however many they are.
async fn whole_bulk(
    call: &Call<'_>,
    channel: &Arc<Channel>,
    stamp: ItemKey,
    count: i64,
    params: &Params,
) -> Result<Option<(Long, [(&'static str, Link); 2])>, Reply> {
    let record = u32::try_from(count)
        .ok()
        .and_then(|count| stamp.bulk(count));
    let mut items = record.iter().flat_map(|record| record.items());
    let (Some(first), Some(last)) = (items.next(), items.next_back()) else {
        return Ok(None);
    };
    let query = Query {
        from: last,
        to: Some(stamp.bulk_end()),
        direction: spoke::Direction::Ascending,
        limit: 2,
        stable: params.stable,
        epoch: epoch(params),
        whole: false,
        records: false,
    };
    // There is such an item, and it is the last.
    if page_of(call, channel, &query).await?.keys != [last] {
        return Ok(None);
    }
    let query = Query {
        from: first,
        to: Some(last.successor()),
        limit: PAGE,
        direction: match params.order {
            Order::Ascending => spoke::Direction::Ascending,
            Order::Descending => spoke::Direction::Descending,
        },
        whole: params.stable,
        ..query
    };
    let beside = |from, direction| Link::Neighbours {
        from,
        direction,
        count,
    };
    let long = Long {
        channel: Arc::clone(channel),
        query,
        page: page_of(call, channel, &query).await?,
        own: beside(stamp, Direction::Next),
        start: stamp.millis,
    };
    let around = [
        ("next", beside(last, Direction::Next)),
        ("previous", beside(first, Direction::Previous)),
    ];
    Ok(Some((long, around)))
}

/// `GET /channel/{channel}/{latest|earliest}`
pub(super) async fn edge(call: &Call<'_>, edge: Edge) -> Result<Reply, Reply> {
    let params = call.params()?;
    if let Some(answer) = tags::instead(call, &params, ChannelRoute::Edge(edge)).await {
        return answer;
    }
    let channel = call.known_channel().await?;
    let keys = keys_at(call, &channel, edge, 1, &params).await?;
    Ok(found_or_not(call, keys.first()))
}

/// `GET /channel/{channel}/{latest|earliest}/{count}`
pub(super) async fn edges(call: &Call<'_>, edge: Edge, count: i64) -> Result<Reply, Reply> {
    let params = call.params()?;
    let route = ChannelRoute::Edges { edge, count };
    if let Some(answer) = tags::instead(call, &params, route).await {
        return answer;
    }
    let format = format_of(call, &params)?;
    let channel = call.known_channel().await?;
    let count = capped(call, count);
    let keys = if count > 0 {
        keys_at(call, &channel, edge, count, &params).await?
    } else {
        Vec::new()
    };
    let (Some(first), Some(last)) = (keys.first().copied(), keys.last().copied()) else {
        return Ok(reply::empty(StatusCode::NOT_FOUND));
    };
    let count = count as i64;
    let beside = |from, direction| Link::Neighbours {
        from,
        direction,
        count,
    };
    let mut around = vec![("next", beside(last, Direction::Next))];
    if edge == Edge::Latest {
        around.push(("previous", beside(first, Direction::Previous)));
    }
    if format != ListFormat::Json {
        return in_bulk(call, format, &channel, keys, &params, &[]).await;
    }
    let own = Link::Edges { edge, count };
    Ok(list(call, own, &around, keys, &params, first.millis))
}

/// The first or last `count` keys of a channel, oldest first.
pub(super) async fn keys_at(
    call: &Call<'_>,
    channel: &Channel,
    edge: Edge,
    count: usize,
    params: &Params,
) -> Result<Vec<ItemKey>, Reply> {
    let query = Query {
        from: ItemKey::MIN,
        to: None,
        direction: match edge {
            Edge::Latest => spoke::Direction::Descending,
            Edge::Earliest => spoke::Direction::Ascending,
        },
        limit: count,
        stable: params.stable,
        epoch: epoch(params),
        whole: false,
        records: false,
    };
    keys_of(call, channel, query).await
}

/// The `count` keys nearest to a position on one side of it, oldest first.
async fn keys_beside(
    call: &Call<'_>,
    channel: &Channel,
    from: ItemKey,
    direction: Direction,
    count: usize,
    params: &Params,
) -> Result<Vec<ItemKey>, Reply> {
    let (low, high, walk) = match direction {
        Direction::Next => (from.successor(), None, spoke::Direction::Ascending),
        // Also below a position that is yet to come: keys may be a little ahead of this clock.
        Direction::Previous => (ItemKey::MIN, Some(from), spoke::Direction::Descending),
    };
    let query = Query {
        from: low,
        to: high,
        direction: walk,
        limit: count,
        stable: params.stable,
        epoch: epoch(params),
        whole: false,
        records: false,
    };
    keys_of(call, channel, query).await
}

async fn keys_of(call: &Call<'_>, channel: &Channel, query: Query) -> Result<Vec<ItemKey>, Reply> {
    let mut keys = page_of(call, channel, &query).await?.keys;
    if query.direction == spoke::Direction::Descending {
        keys.reverse();
    }
    Ok(keys)
}

pub(super) fn capped(call: &Call<'_>, count: i64) -> usize {
    usize::try_from(count)
        .unwrap_or(0)
        .min(call.api.settings.count_limit)
}

pub(super) fn epoch(params: &Params) -> Epoch {
    match params.epoch {
        params::Epoch::All => Epoch::All,
        params::Epoch::Mutable => Epoch::Mutable,
        params::Epoch::Immutable => Epoch::Immutable,
    }
}

/// The form of the answer to a list, or the answer to one that is asked for in none that it has.
pub(super) fn format_of(call: &Call<'_>, params: &Params) -> Result<ListFormat, Reply> {
    match list_format(call.headers, params.bulk) {
        ListFormat::NotAcceptable => Err(reply::empty(StatusCode::NOT_ACCEPTABLE)),
        format => Ok(format),
    }
}

/// The contents of known items of a channel, which are given oldest first.
async fn in_bulk(
    call: &Call<'_>,
    format: ListFormat,
    channel: &Arc<Channel>,
    mut keys: Vec<ItemKey>,
    params: &Params,
    around: &[(&str, Link)],
) -> Result<Reply, Reply> {
    if params.order == Order::Descending {
        keys.reverse();
    }
    let links = call.links();
    let url = |link| links.url(link) + params.repeat();
    let around: Vec<_> = around
        .iter()
        .map(|(name, link)| (*name, url(*link)))
        .collect();
    let source = Source::of(channel, keys);
    contents(
        call,
        format,
        source,
        ItemUrls::Channel(links.clone()),
        &around,
    )
    .await
}
