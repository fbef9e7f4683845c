//! How lists of a tag are written: as JSON, all at once or as they are walked, or with their contents.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::json;

use super::{Found, PAGE, Tagged, refused};
use crate::channel::Walk;
use crate::http::body::ReplyBody;
use crate::http::links::{self, BaseUri, ChannelLinks};
use crate::http::negotiate::ListFormat;
use crate::http::params::Order;
use crate::http::queries::contents::{ItemUrls, contents};
use crate::http::queries::source::Source;
use crate::http::reply::{self, JSON, Reply};

impl Tagged<'_> {
    pub(super) fn urls(&self) -> ItemUrls {
        ItemUrls::Any(self.call.base.clone())
    }

    /// The links of a list as its `Link` headers have them, with `bulk` and, if it was sent, `stable`.
    pub(super) fn bulk_links(
        &self,
        around: &[(&'static str, String)],
    ) -> Vec<(&'static str, String)> {
        let stable = match (self.params.stable_sent, self.params.stable) {
            (false, _) => "",
            (true, true) => "&stable=true",
            (true, false) => "&stable=false",
        };
        let with = |(name, url): &(&'static str, String)| {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let tag = query.starts_with("tag=").then_some(query);
            let (tag, and) = tag.map_or(("", ""), |tag| (tag, "&"));
            (*name, format!("{path}?{tag}{and}bulk=true{stable}"))
        };
        around.iter().map(with).collect()
    }

    /// The front of a list: up to its first item.
    fn head(&self, around: &[(&'static str, String)]) -> String {
        let own = self.links.url(self.own) + self.params.repeat();
        let mut head = format!("{{\"_links\":{{\"self\":{{\"href\":\"{own}\"}}");
        for (name, url) in around {
            // Writing to a string cannot fail.
            let _ = write!(head, ",\"{name}\":{{\"href\":\"{url}\"}}");
        }
        head.push_str(",\"uris\":[");
        head
    }

    /// What stands behind the last item.
    fn tail(&self, listed: usize, first: Option<&Found>) -> String {
        let mut tail = "]}".to_owned();
        if self.params.trace {
            let steps = [format!(
                "{} channels, stable {}, listed {listed}",
                self.channels.len(),
                self.params.stable
            )];
            let first = first.map(|(_, key)| key.to_string());
            let fields = [
                ("first", json!(first)),
                ("start", json!(self.start.iso())),
                ("id", json!(self.tag)),
                ("millis", json!(self.call.api.clock.now().get())),
                ("trace", json!(steps)),
            ];
            for (name, value) in fields {
                let _ = write!(tail, ",\"{name}\":{value}");
            }
        }
        tail.push('}');
        tail
    }

    /// A list as JSON that is written as it is walked.
    pub(super) async fn stream(
        &self,
        around: &[(&'static str, String)],
        mut walk: Walk,
    ) -> Result<Reply, Reply> {
        let mut head = self.head(around);
        let (mut listed, mut first) = (0, None);
        let mut some = |out: &mut String, (channel, key): Found| {
            out.push_str(if listed == 0 { "\"" } else { ",\"" });
            out.push_str(&self.item_url(&channel, &key));
            out.push('"');
            listed += 1;
            first.get_or_insert((channel, key));
        };
        let mut ended = false;
        for _ in 0..PAGE {
            match walk.next().await.map_err(|wrong| refused(&wrong))? {
                Some(found) => some(&mut head, found),
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if ended {
            head.push_str(&self.tail(listed, first.as_ref()));
            return Ok(reply::with_body(StatusCode::OK, JSON, head));
        }
        let mut suffix = "?tag=".to_owned();
        links::push_tag(&mut suffix, self.tag);
        let rest = Rest {
            walk,
            base: self.call.base.clone(),
            suffix,
            tail: self.tail(listed, first.as_ref()),
        };
        let first = stream::iter([io::Result::Ok(Bytes::from(head))]);
        let parts = stream::unfold(Some(rest), |rest| async move {
            let mut rest = rest?;
            match rest.more().await {
                Ok((text, true)) => Some((Ok(text.into()), Some(rest))),
                Ok((text, false)) => Some((Ok((text + &rest.tail).into()), None)),
                // The response ends without its end: the client sees that it is cut off.
                Err(error) => Some((Err(error), None)),
            }
        });
        let body = ReplyBody::Parts(Box::pin(first.chain(parts)));
        Ok(reply::with_body(StatusCode::OK, JSON, body))
    }

    /// A list of known items, oldest first.
    pub(super) async fn listed(
        &self,
        format: ListFormat,
        mut found: Vec<Found>,
        around: &[(&'static str, String)],
        link_headers: bool,
    ) -> Result<Reply, Reply> {
        if self.params.order == Order::Descending {
            found.reverse();
        }
        if format != ListFormat::Json {
            let around = if link_headers {
                self.bulk_links(around)
            } else {
                Vec::new()
            };
            let source = Source::Known(found.into_iter());
            return contents(self.call, format, source, self.urls(), &around).await;
        }
        let mut body = self.head(around);
        for (at, (channel, key)) in found.iter().enumerate() {
            body.push_str(if at == 0 { "\"" } else { ",\"" });
            body.push_str(&self.item_url(channel, key));
            body.push('"');
        }
        body.push_str(&self.tail(found.len(), found.first()));
        Ok(reply::with_body(StatusCode::OK, JSON, body))
    }
}

/// What is still to be sent of a long list.
struct Rest {
    walk: Walk,
    base: BaseUri,
    suffix: String,
    tail: String,
}

impl Rest {
    /// Some more of it, and whether there may be more behind.
    async fn more(&mut self) -> io::Result<(String, bool)> {
        let mut text = String::with_capacity(PAGE * 96);
        for _ in 0..PAGE {
            let next = self.walk.next().await;
            let next = next
                .map_err(|wrong| io::Error::other(format!("{}: {}", wrong.channel, wrong.error)))?;
            let Some((channel, key)) = next else {
                return Ok((text, false));
            };
            text.push_str(",\"");
            let name = channel.config.name.as_str();
            ChannelLinks::new(&self.base, name).push_item(&mut text, &key);
            text.push_str(&self.suffix);
            text.push('"');
        }
        Ok((text, true))
    }
}
