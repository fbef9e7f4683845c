//! What operators ask of all channels, or do to one of them.

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::health::Node;
use crate::channel::{
    Archiver, Channel, ChannelError, Channels, Epoch, Query, QueryError, Reads, TrimError, Trimmer,
};
use crate::cluster::MemberRecord;
use crate::env::Millis;
use crate::http::api::NodeCall;
use crate::http::grammar::OnNode;
use crate::http::links::{BaseUri, ChannelLinks};
use crate::http::params;
use crate::http::reply::{self, Reply};
use crate::item::{FieldError, ItemKey};
use crate::spoke::Direction;

/// So many other nodes are asked at a time.
const NODES_AT_ONCE: usize = 32;
/// So many channels are looked at at a time.
const CHANNELS_AT_ONCE: usize = 16;
/// The most minutes that can be asked for: a hundred years.
const MINUTES_MAX: i64 = 100 * 365 * 24 * 60;

/// What is there once the node has opened its store.
pub struct Working {
    /// The read path.
    pub reads: Arc<Reads>,
    /// Sees to it that channels keep no more items than they are to.
    pub trimmer: Arc<Trimmer>,
    /// Sees to it that what is over is in the archive; `None` without one.
    pub archiver: Option<Arc<Archiver>>,
}

impl Node {
    /// Answers for pages with parameters and for changes.
    pub(super) async fn on_node(&self, route: &OnNode<'_>, call: &NodeCall<'_>) -> Reply {
        match route {
            OnNode::Channels => help(call.base),
            OnNode::Refresh => self.refresh(call.query).await,
            OnNode::DeleteChannel { channel } => self.delete_channel(channel, call).await,
            OnNode::Stale { minutes, owner } => {
                self.stale(*minutes, owner.as_deref(), call.base).await
            }
            OnNode::MaxItems { channel } => self.max_items(channel).await,
            OnNode::Archive { channel } => self.archive_page(channel.as_deref(), call).await,
            OnNode::Traces => self.traces(),
            OnNode::Shutdown => self.shutdown_page(call.base).await,
            OnNode::Leave => self.leave(call).await,
            OnNode::ResetLock => self.reset_lock(call).await,
            OnNode::UseTime { remote } => self.use_time(*remote, call).await,
        }
    }

    fn known_channels(&self) -> Result<&Arc<Channels>, Reply> {
        self.channels.get().ok_or_else(|| self.not_ready())
    }

    /// The answer of a node that has not got so far.
    pub(super) fn not_ready(&self) -> Reply {
        let phase = self.life.phase().describe();
        reply::unavailable("this node is not ready", &phase, None, &[])
    }

    /// Reads all channels again, here or on every node.
    async fn refresh(&self, query: Option<&str>) -> Reply {
        let all = params::value(query, "all");
        let all = all.is_none_or(|all| all.eq_ignore_ascii_case("true"));
        let own = match self.known_channels() {
            Ok(channels) => channels.refresh().await.map_err(|error| error.to_string()),
            Err(_) => Err(self.life.phase().describe()),
        };
        if !all {
            return match own {
                Ok(()) => reply::text(StatusCode::OK, self.facts.node.as_str()),
                Err(reason) => reply::json(
                    StatusCode::BAD_REQUEST,
                    &json!({"error": "the channels were not read again", "reason": reason}),
                ),
            };
        }
        let others = stream::iter(self.other_nodes()).map(|record| async move {
            let refreshed = self.others.refresh(&record, self.facts.tls).await;
            (record.public, refreshed)
        });
        let others = others.buffer_unordered(NODES_AT_ONCE).collect::<Vec<_>>();
        let mut nodes = others.await;
        nodes.push((self.facts.node.clone(), own));
        let failed: Vec<String> = nodes
            .iter()
            .filter(|(_, done)| done.is_err())
            .map(|(node, _)| node.clone())
            .collect();
        if let Some((node, Err(reason))) = nodes.iter().find(|(_, done)| done.is_err()) {
            let text = "not every node has read the channels again";
            return reply::unavailable(text, &format!("{node}: {reason}"), None, &failed);
        }
        let done = nodes.into_iter().map(|(node, _)| (node, json!("success")));
        let body: Map<String, Value> = done.collect();
        reply::json(StatusCode::OK, &body.into())
    }

    /// The nodes that are registered, without this one.
    pub(super) fn other_nodes(&self) -> Vec<MemberRecord> {
        let registered = self.membership.registered();
        let others = registered.iter();
        let others = others.filter(|(member, _)| *member != self.view.own());
        others.map(|(_, record)| record.clone()).collect()
    }

    /// Deletes a channel, though it is protected.
    async fn delete_channel(&self, name: &str, call: &NodeCall<'_>) -> Reply {
        if self.facts.read_only {
            return reply::json_text(StatusCode::FORBIDDEN, "this node is read-only");
        }
        if self.facts.protect && !call.is_local() {
            let text = "channels of this hub are deleted by callers on its machine only";
            return reply::json_text(StatusCode::FORBIDDEN, text);
        }
        let channels = match self.known_channels() {
            Ok(channels) => channels,
            Err(refusal) => return refusal,
        };
        match channels.delete(name).await {
            Ok(()) => reply::empty(StatusCode::ACCEPTED),
            Err(wrong @ ChannelError::Missing { .. }) => {
                reply::json_text(StatusCode::NOT_FOUND, wrong.to_string())
            }
            Err(wrong) => reply::channel_error(&wrong, name),
        }
    }

    /// Brings a channel down to its number of items.
    async fn max_items(&self, name: &str) -> Reply {
        if self.facts.read_only {
            return reply::json_text(StatusCode::FORBIDDEN, "this node is read-only");
        }
        let Some(working) = self.working.get() else {
            return self.not_ready();
        };
        let trimmed = match working.trimmer.trim(name).await {
            Ok(trimmed) => trimmed,
            Err(TrimError::Channel(wrong @ ChannelError::Missing { .. })) => {
                return reply::error(
                    StatusCode::NOT_FOUND,
                    &wrong.to_string(),
                    Some("channel"),
                    Some(name),
                    Some("the name of a channel that exists"),
                );
            }
            Err(wrong @ TrimError::NoLimit { .. }) => {
                return reply::error(
                    StatusCode::BAD_REQUEST,
                    &wrong.to_string(),
                    Some("maxItems"),
                    Some("0"),
                    Some("a channel whose maxItems is 1 or more"),
                );
            }
            Err(wrong) => {
                return reply::json(
                    StatusCode::BAD_REQUEST,
                    &json!({
                        "error": "maxItems was not enforced",
                        "reason": wrong.to_string(),
                        "channel": name,
                    }),
                );
            }
        };
        let floor = trimmed.kept_from;
        let from = (floor > ItemKey::MIN).then(|| floor.to_string());
        reply::json(
            StatusCode::OK,
            &json!({
                "channel": trimmed.config.name,
                "maxItems": trimmed.config.max_items,
                "keptFrom": from,
            }),
        )
    }

    /// The channels whose newest item is older than so many minutes.
    async fn stale(&self, minutes: i64, owner: Option<&str>, base: &BaseUri) -> Reply {
        if !(0..=MINUTES_MAX).contains(&minutes) {
            return reply::bad_field(&FieldError {
                field: "minutes",
                value: minutes.to_string(),
                rule: format!("a whole number from 0 to {MINUTES_MAX}"),
            });
        }
        let (Ok(channels), Some(working)) = (self.known_channels(), self.working.get()) else {
            return self.not_ready();
        };
        let cutoff = self.clock.now().minus(minutes * 60_000);
        let mut asked = channels.list();
        asked.retain(|channel| owner.is_none_or(|owner| channel.config.owner == owner));
        let newest = stream::iter(asked).map(|channel| async move {
            match newest(&working.reads, &channel).await {
                Ok(found) => Ok(found.map(|time| (time, channel))),
                Err(error) => Err((error, channel)),
            }
        });
        let newest = newest.buffer_unordered(CHANNELS_AT_ONCE);
        let mut stale: Vec<(Millis, Arc<Channel>)> = match newest.try_collect::<Vec<_>>().await {
            Ok(found) => found.into_iter().flatten().collect(),
            // Without that one the list would be a shorter one.
            Err((error, channel)) => {
                return reply::query_error(&error, channel.config.name.as_str());
            }
        };
        stale.retain(|(time, _)| *time < cutoff);
        stale.sort_by(|(a, one), (b, other)| (a, &one.config.name).cmp(&(b, &other.config.name)));
        let uris = stale.iter().map(|(time, channel)| {
            let links = ChannelLinks::new(base, channel.config.name.as_str());
            json!({"last update": time.iso(), "uri": links.channel()})
        });
        let path = match owner {
            Some(owner) => format!("{minutes}/{}", escaped(owner)),
            None => minutes.to_string(),
        };
        let own = format!("{}internal/channel/stale/{path}", base.as_str());
        reply::json(
            StatusCode::OK,
            &json!({
                "_links": {"self": {"href": own}},
                "stale": {
                    "stale minutes": minutes,
                    "stale cutoff": cutoff.iso(),
                    "uris": uris.collect::<Vec<_>>(),
                },
            }),
        )
    }

    /// What requests are and were served.
    fn traces(&self) -> Reply {
        let mut body = self.servers("/internal/traces");
        let now = self.clock.boot();
        body.insert("active".to_owned(), self.traces.active(now).into());
        body.insert("slowest".to_owned(), self.traces.slowest().into());
        body.insert("recent".to_owned(), self.traces.recent().into());
        reply::json(StatusCode::OK, &body.into())
    }
}

/// When the newest item of a channel came; `None` if it has none. Items of the past have their own times.
async fn newest(reads: &Reads, channel: &Channel) -> Result<Option<Millis>, QueryError> {
    let query = Query {
        from: ItemKey::MIN,
        to: None,
        direction: Direction::Descending,
        limit: 1,
        // What is not decided yet shows that somebody writes.
        stable: false,
        epoch: Epoch::Immutable,
        whole: false,
        records: false,
    };
    let page = reads.page(channel, &query).await?;
    Ok(page.keys.first().map(|key| key.millis))
}

/// A segment of a path, percent-encoded.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn help(base: &BaseUri) -> Reply {
    let link = |path, what| json!({"description": what, "href": base.join(path)});
    reply::json(
        StatusCode::OK,
        &json!({
            "description": "What can be asked of all channels, or done to one of them. DELETE \
                internal/channel/{channel} deletes a channel though it is protected; PATCH \
                internal/max-items/{channel} gives up its items beyond maxItems now.",
            "_links": {
                "self": {"href": base.join("internal/channel")},
                "refresh": link(
                    "internal/channel/refresh",
                    "every node reads all channels again; ?all=false: this node only",
                ),
                "stale": link(
                    "internal/channel/stale/1440",
                    "the channels without an item in so many minutes; a further segment: those of \
                     that owner",
                ),
            },
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_segment_of_a_path() {
        assert_eq!(escaped("me-1._~"), "me-1._~");
        assert_eq!(escaped("a b/ä%"), "a%20b%2F%C3%A4%25");
    }
}
