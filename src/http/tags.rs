//! Tags: all channels that have one, asked as if they were a single channel.
//!
//! The paths mirror those of channels ([`super::queries`]), and `?tag=` on a channel's path asks the
//! same. Where a list is cut between items of several channels at one key, the link to the rest is to
//! the path of the channel whose item comes last; else it is to the tag's, by the key alone.

mod listing;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::{Value, json};

use super::api::Call;
use super::grammar::{ChannelRoute, Direction, Edge};
use super::items;
use super::links::{ChannelLinks, Link};
use super::negotiate::ListFormat;
use super::params::{Order, Params};
use super::queries::contents::contents;
use super::queries::source::Source;
use super::queries::{self, format_of};
use super::reply::{self, Reply};
use crate::channel::{Channel, Walk, WalkError, WalkQuery};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey, TimePath, Unit};
use crate::spoke;

/// How many items a time query reads before it begins to answer, and then at a time.
const PAGE: usize = 2000;
/// How many channels are asked for an item at a time.
const ASKED: usize = 16;

/// An item of some channel.
type Found = (Arc<Channel>, ItemKey);

/// A part of a tag's items, oldest first.
#[derive(Default)]
struct Part {
    found: Vec<Found>,
    /// Whether there are items before its first one, and behind its last, at the same keys.
    shared: [bool; 2],
}

/// A request about a tag.
struct Tagged<'a> {
    call: &'a Call<'a>,
    tag: &'a str,
    params: &'a Params,
    channels: Vec<Arc<Channel>>,
    /// Links of the tag.
    links: ChannelLinks,
    /// What was asked.
    own: Link,
    /// The time that was asked about; now, if none was.
    start: Millis,
}

/// `GET /tag`
pub(super) fn list(call: &Call<'_>) -> Reply {
    let channels = call.core.channels.list();
    let tags: BTreeSet<&String> = channels.iter().flat_map(|c| &c.config.tags).collect();
    let tags = tags.into_iter().map(|tag| {
        let links = ChannelLinks::of_tag(call.base, tag);
        json!({"name": tag, "href": links.channel()})
    });
    let body = json!({"_links": {
        "self": {"href": call.base.join("tag")},
        "tags": tags.collect::<Vec<Value>>(),
    }});
    reply::json(StatusCode::OK, &body)
}

/// What is asked of a tag by a path of its own.
pub(super) async fn answer(call: &Call<'_>, route: ChannelRoute) -> Result<Reply, Reply> {
    let params = call.params()?;
    let tagged = Tagged::new(call, call.name, &params, route);
    match route {
        ChannelRoute::Get => Ok(tagged.show()),
        ChannelRoute::Item(key) => tagged.item(key).await,
        ChannelRoute::TimeLinks => tagged.time_links().await,
        ChannelRoute::TimeNow(unit) => tagged.time_now(unit).await,
        route => tagged.query(route, None).await,
    }
}

/// What is asked of a channel's path with `?tag=`; `None` if that is not there. The channel of the
/// path says which of several items at one key a walk begins behind, and nothing else.
pub(super) async fn instead(
    call: &Call<'_>,
    params: &Params,
    route: ChannelRoute,
) -> Option<Result<Reply, Reply>> {
    let tag = params.tag.as_deref()?;
    let tagged = Tagged::new(call, tag, params, route);
    let own = call.name.to_ascii_lowercase();
    let is_member = tagged.channels.iter().any(|c| c.config.name.key() == own);
    Some(tagged.query(route, is_member.then_some(own)).await)
}

impl<'a> Tagged<'a> {
    fn new(call: &'a Call<'a>, tag: &'a str, params: &'a Params, route: ChannelRoute) -> Self {
        let mut channels = call.core.channels.list();
        channels.retain(|channel| channel.config.tags.iter().any(|own| own == tag));
        Self {
            call,
            tag,
            params,
            channels,
            links: ChannelLinks::of_tag(call.base, tag),
            own: Link::of(route),
            start: match route {
                ChannelRoute::Period(path) => path.start(),
                ChannelRoute::Neighbours { from, .. } => from.millis,
                _ => call.api.clock.now(),
            },
        }
    }

    fn show(&self) -> Reply {
        let href = |link| json!({"href": self.links.url(link)});
        let channels = self.channels.iter().map(|channel| {
            let name = channel.config.name.as_str();
            let links = ChannelLinks::new(self.call.base, name);
            json!({"name": name, "href": links.channel()})
        });
        let body = json!({"_links": {
            "self": href(Link::Channel),
            "latest": href(Link::Edge(Edge::Latest)),
            "earliest": href(Link::Edge(Edge::Earliest)),
            "time": href(Link::Time),
            "channels": channels.collect::<Vec<Value>>(),
        }});
        reply::json(StatusCode::OK, &body)
    }

    async fn query(&self, route: ChannelRoute, own: Option<String>) -> Result<Reply, Reply> {
        match route {
            ChannelRoute::Period(path) => self.period(path).await,
            ChannelRoute::Neighbour { from, direction } => {
                let query = self.beside(from, direction, 1, own);
                let found = self.first_of(&query).await?;
                Ok(self.found_or_not(found.as_ref(), true))
            }
            ChannelRoute::Edge(edge) => {
                let found = self.first_of(&self.at(edge, 1)).await?;
                Ok(self.found_or_not(found.as_ref(), false))
            }
            ChannelRoute::Neighbours {
                from,
                direction,
                count,
            } => self.neighbours(from, direction, count, own).await,
            ChannelRoute::Edges { edge, count } => self.edges(edge, count).await,
            _ => Err(reply::empty(StatusCode::NOT_FOUND)),
        }
    }

    fn walk_query(&self, wanted: usize) -> WalkQuery {
        WalkQuery {
            from: ItemKey::MIN,
            to: None,
            direction: spoke::Direction::Ascending,
            stable: self.params.stable,
            epoch: queries::epoch(self.params),
            wanted,
            behind: None,
        }
    }

    fn at(&self, edge: Edge, wanted: usize) -> WalkQuery {
        WalkQuery {
            direction: match edge {
                Edge::Latest => spoke::Direction::Descending,
                Edge::Earliest => spoke::Direction::Ascending,
            },
            ..self.walk_query(wanted)
        }
    }

    /// From a key on, which is left out: of one channel that item alone, else all items at it.
    fn beside(
        &self,
        key: ItemKey,
        direction: Direction,
        wanted: usize,
        own: Option<String>,
    ) -> WalkQuery {
        let query = self.walk_query(wanted);
        match direction {
            Direction::Next => WalkQuery {
                from: if own.is_some() { key } else { key.successor() },
                behind: own,
                ..query
            },
            Direction::Previous => WalkQuery {
                to: Some(key),
                direction: spoke::Direction::Descending,
                behind: own,
                ..query
            },
        }
    }

    async fn walk(&self, query: &WalkQuery) -> Result<Walk, Reply> {
        let reads = Arc::clone(&self.call.core.reads);
        let walk = Walk::begin(reads, self.channels.clone(), query).await;
        walk.map_err(|wrong| refused(&wrong))
    }

    async fn first_of(&self, query: &WalkQuery) -> Result<Option<Found>, Reply> {
        let mut walk = self.walk(query).await?;
        walk.next().await.map_err(|wrong| refused(&wrong))
    }

    /// The first so many items of a walk.
    async fn gather(&self, query: WalkQuery, count: usize) -> Result<Part, Reply> {
        let mut walk = self.walk(&query).await?;
        let mut found: Vec<Found> = Vec::new();
        while found.len() < count {
            match walk.next().await.map_err(|wrong| refused(&wrong))? {
                Some(next) => found.push(next),
                None => break,
            }
        }
        let (first, last) = match (found.first(), found.last()) {
            (Some((_, first)), Some((_, last))) => (*first, *last),
            _ => return Ok(Part::default()),
        };
        let cut = found.len() == count
            && walk.peek().await.map_err(|wrong| refused(&wrong))? == Some(last);
        let descending = query.direction == spoke::Direction::Descending;
        let begins = if descending {
            query.to
        } else {
            Some(query.from)
        };
        let mut shared = [query.behind.is_some() && begins == Some(first), cut];
        if descending {
            found.reverse();
            shared.reverse();
        }
        Ok(Part { found, shared })
    }

    fn item_url(&self, channel: &Channel, key: &ItemKey) -> String {
        let mut url = String::with_capacity(128);
        let name = channel.config.name.as_str();
        ChannelLinks::new(self.call.base, name).push_item(&mut url, key);
        url.push_str("?tag=");
        super::links::push_tag(&mut url, self.tag);
        url
    }

    fn found_or_not(&self, found: Option<&Found>, with_stable: bool) -> Reply {
        let Some((channel, key)) = found else {
            return reply::empty(StatusCode::NOT_FOUND);
        };
        let mut location = self.item_url(channel, key);
        if with_stable {
            location.push_str(if self.params.stable {
                "&stable=true"
            } else {
                "&stable=false"
            });
        }
        reply::redirect(StatusCode::SEE_OTHER, &location)
    }

    /// `{period}?stable={stable}`
    fn period_url(&self, path: TimePath) -> String {
        let stable = self.params.stable;
        format!("{}?stable={stable}", self.links.url(Link::Period(path)))
    }

    async fn period(&self, path: TimePath) -> Result<Reply, Reply> {
        let format = format_of(self.call, self.params)?;
        let (from, to) = (
            ItemKey::first_of(path.start()),
            ItemKey::first_of(path.end()),
        );
        let descending = self.params.order == Order::Descending;
        let query = WalkQuery {
            from,
            to: Some(to),
            direction: if descending {
                spoke::Direction::Descending
            } else {
                spoke::Direction::Ascending
            },
            ..self.walk_query(PAGE)
        };
        let walk = self.walk(&query).await?;
        let now = self.call.api.clock.now();
        let over = path.end() < now
            && match walk.stable() {
                Some(stable) => stable >= Frontier::below(to),
                None => !self.params.stable || path.end() < now.minus(Unit::Second.millis()),
            };
        let mut around = Vec::new();
        if over {
            around.push(("next", self.period_url(path.next())));
        }
        around.push(("previous", self.period_url(path.previous())));
        if format != ListFormat::Json {
            let around = self.bulk_links(&around);
            let source = Source::Walk(Box::new(walk));
            return contents(self.call, format, source, self.urls(), &around).await;
        }
        self.stream(&around, walk).await
    }

    fn capped(&self, count: i64) -> usize {
        queries::capped(self.call, count)
    }

    fn neighbours_url(&self, from: ItemKey, direction: Direction, count: usize) -> String {
        self.links.url(Link::Neighbours {
            from,
            direction,
            count: count as i64,
        })
    }

    /// The links to what is before a part and behind it; none where there is no part.
    fn beside_part(&self, part: &Part, count: usize) -> Option<[String; 2]> {
        let (first, last) = (part.found.first()?, part.found.last()?);
        let url = |(channel, key): &Found, direction, shared: bool| {
            if !shared {
                return self.neighbours_url(*key, direction, count);
            }
            let links = ChannelLinks::new(self.call.base, channel.config.name.as_str());
            let mut url = links.url(Link::Neighbours {
                from: *key,
                direction,
                count: count as i64,
            });
            url.push_str("?tag=");
            super::links::push_tag(&mut url, self.tag);
            url
        };
        let [before, behind] = part.shared;
        Some([
            url(first, Direction::Previous, before),
            url(last, Direction::Next, behind),
        ])
    }

    async fn neighbours(
        &self,
        from: ItemKey,
        direction: Direction,
        count: i64,
        own: Option<String>,
    ) -> Result<Reply, Reply> {
        let format = format_of(self.call, self.params)?;
        let count = self.capped(count);
        let part = if count == 0 {
            Part::default()
        } else {
            let mut query = self.beside(from, direction, count, own);
            if self.params.inclusive {
                query.behind = None;
                match direction {
                    Direction::Next => query.from = from,
                    Direction::Previous => query.to = Some(from.successor()),
                }
            }
            self.gather(query, count).await?
        };
        let url = |direction| self.neighbours_url(from, direction, count);
        let around = match (self.beside_part(&part, count), direction) {
            (Some([previous, next]), _) => vec![("next", next), ("previous", previous)],
            (None, Direction::Next) => vec![("previous", url(Direction::Previous))],
            (None, Direction::Previous) => vec![("next", url(Direction::Next))],
        };
        let is_empty = part.found.is_empty();
        self.listed(format, part.found, &around, !is_empty).await
    }

    async fn edges(&self, edge: Edge, count: i64) -> Result<Reply, Reply> {
        let format = format_of(self.call, self.params)?;
        let count = self.capped(count);
        let part = if count == 0 {
            Part::default()
        } else {
            self.gather(self.at(edge, count), count).await?
        };
        let around = match (self.beside_part(&part, count), edge) {
            (Some([previous, next]), Edge::Latest) => vec![("next", next), ("previous", previous)],
            (Some([_, next]), Edge::Earliest) => vec![("next", next)],
            (None, Edge::Earliest) => Vec::new(),
            (None, Edge::Latest) => return Ok(reply::empty(StatusCode::NOT_FOUND)),
        };
        self.listed(format, part.found, &around, false).await
    }

    async fn item(&self, key: ItemKey) -> Result<Reply, Reply> {
        let reads = Arc::clone(&self.call.core.reads);
        let asking = stream::iter(self.channels.clone()).map(move |channel| {
            let reads = Arc::clone(&reads);
            async move {
                let found = reads.item(&channel, &key).await;
                (channel, found)
            }
        });
        let mut asking = asking.buffered(ASKED);
        let mut wrong = None;
        while let Some((channel, found)) = asking.next().await {
            match found {
                Ok(Some(item)) => {
                    return Ok(items::shown(self.call, &self.links, key, item, false));
                }
                Ok(None) => {}
                Err(error) => wrong = Some((channel, error)),
            }
        }
        match wrong {
            // One of those that could not be asked may have it.
            Some((channel, error)) => Err(reply::query_error(&error, channel.config.name.as_str())),
            None => Ok(reply::empty(StatusCode::NOT_FOUND)),
        }
    }

    /// Up to where all channels are stable; where there are none, about what an idle one would be.
    async fn stable_time(&self) -> Result<Millis, Reply> {
        let reads = Arc::clone(&self.call.core.reads);
        let stable = reads.stable_time_of(self.channels.clone()).await;
        let stable = stable.map_err(|wrong| refused(&wrong))?;
        let now = self.call.api.clock.now();
        Ok(stable.unwrap_or_else(|| now.minus(Unit::Second.millis())))
    }

    async fn time_links(&self) -> Result<Reply, Reply> {
        let stable = self.stable_time().await?;
        Ok(queries::times_shown(
            self.call,
            &self.links,
            self.params,
            stable,
        ))
    }

    async fn time_now(&self, unit: Unit) -> Result<Reply, Reply> {
        let at = if self.params.stable {
            self.stable_time().await?
        } else {
            self.call.api.clock.now()
        };
        let period = self.links.url(Link::Period(TimePath::of(unit, at)));
        let location = period + self.params.repeat();
        Ok(reply::redirect(StatusCode::SEE_OTHER, &location))
    }
}

fn refused(wrong: &WalkError) -> Reply {
    reply::query_error(&wrong.error, &wrong.channel)
}
