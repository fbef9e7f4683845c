//! Absolute URLs of everything a client can follow.
//!
//! A URL from here consists of printable ASCII without blank, `"`, `\`, `<` and `>`, whatever the
//! client sent: it can go between quotes into JSON, and into `Location` and `Link` headers, as it
//! is. (The time template also has braces, and belongs into JSON only.)

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use http::HeaderMap;
use http::header::HOST;

use super::grammar::{ChannelRoute, Direction, Edge};
use super::params;
use crate::env::Millis;
use crate::item::{ItemKey, TimePath, Unit};

/// The longest host name of the DNS.
const HOST_MAX: usize = 253;

/// How a client reaches the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }
}

/// A host and perhaps a port that are safe to write into a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host`, `host:port`, or either with an IPv6 address in brackets. `None` for all else:
    /// user names, percent-encoding, blanks, quotes, slashes, over-long names, port 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_authority(text)?;
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let host_len = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            rest.get(..end)?.parse::<Ipv6Addr>().ok()?;
            end + 2
        }
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(host_len)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !host.starts_with('[')
        && (host.is_empty() || host.len() > HOST_MAX || !host.bytes().all(plain))
    {
        return None;
    }
    let port = match port.strip_prefix(':') {
        None => return port.is_empty().then_some((host, None)),
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
    };
    Some((host, port))
}

/// Scheme, host and port that the links of one response start with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUri {
    // Ends with the slash of the root.
    text: String,
}

impl BaseUri {
    /// The base of links to `authority`; the ports 80 and 443 are left out.
    pub fn new(scheme: Scheme, authority: &Authority) -> Self {
        Self::of(scheme, &authority.host, visible(authority.port))
    }

    /// The base of links in the answer to a request.
    ///
    /// `listener` is how the request came in, `target` the authority of its target (`:authority`
    /// in HTTP/2), if any; else there is the `Host` header. `X-Forwarded-Proto` goes before the
    /// one, `X-Forwarded-Host` before the other, whose port, if it names one, always stays.
    /// A value that is not a plain host, or not `http` or `https`, counts as not sent, and if no
    /// host is left, links lead to `own`.
    pub fn of_request(
        listener: Scheme,
        target: Option<&str>,
        headers: &HeaderMap,
        own: &Authority,
    ) -> Self {
        let scheme = forwarded(headers, "x-forwarded-proto")
            .and_then(Scheme::of)
            .unwrap_or(listener);
        let host = forwarded(headers, "x-forwarded-host").and_then(split_authority);
        if let Some((host, port)) = host {
            return Self::of(scheme, host, port);
        }
        let host = target.or_else(|| headers.get(HOST)?.to_str().ok());
        match host.and_then(split_authority) {
            Some((host, port)) => Self::of(scheme, host, visible(port)),
            None => Self::new(scheme, own),
        }
    }

    fn of(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        let scheme = scheme.name();
        let mut text = String::with_capacity(scheme.len() + host.len() + 10);
        text.push_str(scheme);
        text.push_str("://");
        text.push_str(host);
        if let Some(port) = port {
            // Writing to a string cannot fail.
            let _ = write!(text, ":{port}");
        }
        text.push('/');
        Self { text }
    }

    /// The URL of the root: it ends with `/`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL of a path of the hub's own, which is given without its first `/`.
    pub fn join(&self, path: &'static str) -> String {
        format!("{}{path}", self.text)
    }

    /// Where a request whose path ends in slashes is sent: the path without them, and the query as
    /// it was.
    pub fn unslashed(&self, path: &str, query: Option<&str>) -> String {
        let path = path.trim_end_matches('/');
        let mut url = String::with_capacity(self.text.len() + path.len());
        url.push_str(&self.text);
        push_encoded(&mut url, path.strip_prefix('/').unwrap_or(path), |b| {
            is_path(b) || b == b'%'
        });
        url.push_str(&params::repeat(query));
        url
    }
}

/// The ports that links leave out are the default ones of either scheme.
fn visible(port: Option<u16>) -> Option<u16> {
    port.filter(|port| *port != 80 && *port != 443)
}

/// The first of the values that proxies added one after the other: what the client asked for.
fn forwarded<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split(',').next()?.trim())
}

/// What of a channel a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The channel.
    Channel,
    /// `/status`
    Status,
    /// `/doc`
    Doc,
    /// `/bulk`
    Bulk,
    /// `/events`
    Events,
    /// `/ws`, with the scheme `ws` or `wss`.
    Ws,
    /// `/time`
    Time,
    /// `/time/{unit}`
    TimeNow(Unit),
    /// `/time/{year}/…{?stable}` down to the unit: a URI template, not a URL.
    TimeTemplate(Unit),
    /// `/{Y}/{M}/{D}`, down to the second.
    Period(TimePath),
    /// `/{Y}/{M}/{D}/{h}/{m}/{s}/{ms}`
    Millisecond(Millis),
    /// `/{key}`. Here and below a key's suffix is not empty: no path leads to such a position.
    Item(ItemKey),
    /// `/{key}/next` or `/previous`
    Neighbour {
        /// The key.
        from: ItemKey,
        /// Which way.
        direction: Direction,
    },
    /// `/{key}/next/{count}` or `/previous/{count}`
    Neighbours {
        /// The key.
        from: ItemKey,
        /// Which way.
        direction: Direction,
        /// How many.
        count: i64,
    },
    /// `/{Y}/{M}/{D}/{h}/{m}/{s}/next/{count}` or `/previous/{count}`
    Seconds {
        /// The second; another unit has no such path.
        from: TimePath,
        /// Which way.
        direction: Direction,
        /// How many.
        count: i64,
    },
    /// `/latest` or `/earliest`
    Edge(Edge),
    /// `/latest/{count}` or `/earliest/{count}`
    Edges {
        /// Which end of the channel.
        edge: Edge,
        /// How many.
        count: i64,
    },
}

impl Link {
    /// The link to what a request asked for: `self`, before its query. For a millisecond it is
    /// the second that it is redirected to.
    pub fn of(route: ChannelRoute) -> Self {
        match route {
            ChannelRoute::Get
            | ChannelRoute::Put
            | ChannelRoute::Patch
            | ChannelRoute::Delete
            | ChannelRoute::Insert => Self::Channel,
            ChannelRoute::Bulk => Self::Bulk,
            ChannelRoute::Status => Self::Status,
            ChannelRoute::DocGet | ChannelRoute::DocPut | ChannelRoute::DocDelete => Self::Doc,
            ChannelRoute::TimeLinks => Self::Time,
            ChannelRoute::TimeNow(unit) => Self::TimeNow(unit),
            ChannelRoute::Period(period) | ChannelRoute::Millisecond(period) => {
                Self::Period(period)
            }
            ChannelRoute::InsertAt(at) => Self::Millisecond(at),
            ChannelRoute::Item(key)
            | ChannelRoute::InsertAs(key)
            | ChannelRoute::DeleteItem(key) => Self::Item(key),
            ChannelRoute::Neighbour { from, direction } => Self::Neighbour { from, direction },
            ChannelRoute::Neighbours {
                from,
                direction,
                count,
            } => Self::Neighbours {
                from,
                direction,
                count,
            },
            ChannelRoute::Seconds {
                from,
                direction,
                count,
            } => Self::Seconds {
                from,
                direction,
                count,
            },
            ChannelRoute::Edge(edge) => Self::Edge(edge),
            ChannelRoute::Edges { edge, count } => Self::Edges { edge, count },
        }
    }
}

/// Writes the links of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelLinks {
    // The channel's URL, encoded once for all the items of a list.
    channel: String,
}

impl ChannelLinks {
    /// Links to the channel of that name, in that spelling.
    pub fn new(base: &BaseUri, channel: &str) -> Self {
        let mut url = String::with_capacity(base.text.len() + "channel/".len() + channel.len());
        url.push_str(&base.text);
        url.push_str("channel/");
        push_encoded(&mut url, channel, is_unreserved);
        Self { channel: url }
    }

    /// Links to a tag, whose paths are those of a channel.
    pub fn of_tag(base: &BaseUri, tag: &str) -> Self {
        let mut url = String::with_capacity(base.text.len() + "tag/".len() + tag.len());
        url.push_str(&base.text);
        url.push_str("tag/");
        push_tag(&mut url, tag);
        Self { channel: url }
    }

    /// The channel's own URL.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The URL of `link`.
    pub fn url(&self, link: Link) -> String {
        let mut url = String::with_capacity(self.channel.len() + 48);
        self.push(&mut url, link);
        url
    }

    /// Appends the URL of an item: what [`Self::push`] does for [`Link::Item`].
    pub fn push_item(&self, out: &mut String, key: &ItemKey) {
        out.push_str(&self.channel);
        out.push('/');
        key.write_path(out);
    }

    /// Appends the URL of `link`. A query is the caller's to add.
    pub fn push(&self, out: &mut String, link: Link) {
        match link {
            Link::Item(key) => self.push_item(out, &key),
            Link::Neighbour { from, direction } => {
                self.push_item(out, &from);
                push_step(out, direction.name());
            }
            Link::Neighbours {
                from,
                direction,
                count,
            } => {
                self.push_item(out, &from);
                push_steps(out, direction.name(), count);
            }
            Link::Period(period) => self.push_period(out, &period),
            Link::Millisecond(at) => {
                out.push_str(&self.channel);
                out.push('/');
                at.push_fields(out, ['/'; 6]);
            }
            Link::Seconds {
                from,
                direction,
                count,
            } => {
                self.push_period(out, &from);
                push_steps(out, direction.name(), count);
            }
            Link::Edge(edge) => self.push_under(out, edge.name()),
            Link::Edges { edge, count } => {
                out.push_str(&self.channel);
                push_steps(out, edge.name(), count);
            }
            Link::Channel => out.push_str(&self.channel),
            Link::Status => self.push_under(out, "status"),
            Link::Doc => self.push_under(out, "doc"),
            Link::Bulk => self.push_under(out, "bulk"),
            Link::Events => self.push_under(out, "events"),
            Link::Ws => {
                // `http` becomes `ws`, and so `https` becomes `wss`.
                out.push_str("ws");
                out.push_str(self.channel.strip_prefix("http").unwrap_or_default());
                push_step(out, "ws");
            }
            Link::Time => self.push_under(out, "time"),
            Link::TimeNow(unit) => {
                self.push_under(out, "time");
                push_step(out, unit.name());
            }
            Link::TimeTemplate(unit) => {
                self.push_under(out, "time/{year}/{month}/{day}");
                for part in [Unit::Hour, Unit::Minute, Unit::Second] {
                    if part <= unit {
                        let _ = write!(out, "/{{{}}}", part.name());
                    }
                }
                out.push_str("{?stable}");
            }
        }
    }

    fn push_period(&self, out: &mut String, period: &TimePath) {
        out.push_str(&self.channel);
        out.push('/');
        period.write_path(out);
    }

    fn push_under(&self, out: &mut String, path: &str) {
        out.push_str(&self.channel);
        push_step(out, path);
    }
}

fn push_step(out: &mut String, segment: &str) {
    out.push('/');
    out.push_str(segment);
}

fn push_steps(out: &mut String, segment: &str, count: i64) {
    push_step(out, segment);
    let _ = write!(out, "/{count}");
}

/// Appends `text`, percent-encoding every byte that is not `plain`, which holds for ASCII only.
pub(super) fn push_encoded(out: &mut String, text: &str, plain: impl Fn(u8) -> bool) {
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Appends a tag, in a path or a query: its colons mean nothing in either.
pub(super) fn push_tag(out: &mut String, tag: &str) {
    push_encoded(out, tag, |byte| is_unreserved(byte) || byte == b':');
}

/// What means the same in every part of a URL, encoded or not.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What may stand in a path unencoded.
pub(super) fn is_path(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

/// Makes links of any bytes, as the `Host` and `X-Forwarded-*` headers, target and channel of a request:
/// a line each.
///
/// # Panics
/// If they are no URLs that can stand in a header and between quotes: that is what a fuzzer looks for.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["host", "x-forwarded-host", "x-forwarded-proto"] {
        if let Ok(value) = http::HeaderValue::from_bytes(lines.next().unwrap_or_default()) {
            headers.insert(name, value);
        }
    }
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (target, channel, query) = (text(), text(), text());
    let Some(own) = Authority::parse("hub:1") else {
        return;
    };
    for target in [None, Some(target.as_str())] {
        let base = BaseUri::of_request(Scheme::Http, target, &headers, &own);
        let links = ChannelLinks::new(&base, &channel);
        for url in [
            links.url(Link::Channel),
            links.url(Link::Ws),
            ChannelLinks::of_tag(&base, &channel).url(Link::Time),
            base.unslashed(&channel, Some(&query)),
        ] {
            assert!(http::HeaderValue::from_str(&url).is_ok(), "{url}");
            let quoted = serde_json::to_string(&url).unwrap_or_default();
            assert_eq!(quoted, format!("\"{url}\""));
        }
    }
}

#[cfg(test)]
mod tests;
