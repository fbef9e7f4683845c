//! What a method and a path ask for.
//!
//! [`parse`] is pure, panics on no input, and allocates nothing for a request that is served,
//! unless its channel is spelled with percent-encoding. It does not know which channels exist, nor
//! whether a name may be one: whoever serves the route finds out.
//!
//! Of several faults the first of these decides: a trailing slash, an unknown path, an unserved
//! method, a date out of range, a bad hash.

mod on_node;
mod route;

use std::borrow::Cow;

use http::Method;
use thiserror::Error;

pub use on_node::OnNode;
pub use route::{ChannelRoute, Direction, Edge, InternalRoute, Route};

use super::links::{Authority, BaseUri, ChannelLinks, Link, Scheme};
use crate::item::{FieldError, ItemKey, KeyFields, Suffix, TimePath, TimePathError, Unit};

/// The segments of the longest path: `channel`, its name, the eight of a key, direction, count.
const SEGMENTS_MAX: usize = 12;

const READ: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";
const READ_POST: &str = "GET, HEAD, POST, OPTIONS";
const READ_PUT_DELETE: &str = "GET, HEAD, PUT, DELETE, OPTIONS";
const ITEM: &str = "GET, HEAD, POST, DELETE, OPTIONS";
/// What is left of that where an item cannot be changed.
pub(super) const ITEM_READ: &str = READ;
const CHANNEL: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteError {
    /// The path ends in `/`; the one without it is to be asked instead.
    #[error("the path ends in a slash")]
    TrailingSlash,
    /// There is no such path.
    #[error("no such path")]
    NotFound,
    /// The path exists, but not for this method.
    #[error("this path answers to {allow}")]
    MethodNotAllowed {
        /// The path's methods, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// A date field or a hash is not one that a key can have.
    #[error(transparent)]
    BadField(#[from] FieldError),
}

/// The route of a request; `path` as it was sent, without query.
///
/// # Errors
/// [`RouteError`] if there is none.
pub fn parse<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, RouteError> {
    match find(method, path) {
        // No path serves OPTIONS itself, so every known one comes by here.
        Err(RouteError::MethodNotAllowed { allow }) if *method == Method::OPTIONS => {
            Ok(Route::Preflight { allow })
        }
        found => found,
    }
}

/// Whether a path is about the node and not about channels, if it is one that is served at all.
pub fn is_of_node(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let first = path.split('/').next().and_then(decode);
    matches!(
        first.as_deref(),
        Some("health" | "metrics" | "internal" | "shutdown")
    )
}

fn find<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, RouteError> {
    if path == "/" {
        return read(method, Route::Root);
    }
    if path.ends_with('/') {
        return Err(RouteError::TrailingSlash);
    }
    let path = path.strip_prefix('/').ok_or(RouteError::NotFound)?;
    let mut segments = [const { Cow::Borrowed("") }; SEGMENTS_MAX];
    let mut len = 0;
    for raw in path.split('/') {
        let segment = segments.get_mut(len).ok_or(RouteError::NotFound)?;
        *segment = decode(raw).ok_or(RouteError::NotFound)?;
        len += 1;
    }
    let texts = segments.each_ref().map(|segment| &**segment);
    match texts.get(..len).unwrap_or_default() {
        ["channel", _, rest @ ..] => {
            let route = on_channel(method, rest)?;
            let [_, channel, ..] = segments;
            Ok(Route::Channel { channel, route })
        }
        ["tag"] => read(method, Route::TagList),
        ["tag", _, rest @ ..] => {
            let route = on_tag(method, rest)?;
            let [_, tag, ..] = segments;
            Ok(Route::Tag { tag, route })
        }
        ["channel"] => match *method {
            Method::GET | Method::HEAD => Ok(Route::ChannelList),
            Method::POST => Ok(Route::ChannelCreate),
            _ => Err(RouteError::MethodNotAllowed { allow: READ_POST }),
        },
        ["provider"] => post(method, Route::Provider),
        ["provider", "bulk"] => post(method, Route::ProviderBulk),
        ["openapi.json"] => read(method, Route::OpenApi),
        ["health"] => read(method, Route::Health),
        ["health", "live"] => read(method, Route::HealthLive),
        ["health", "metrics"] => read(method, Route::HealthMetrics),
        ["metrics"] => read(method, Route::Metrics),
        ["internal", "rings", _] => {
            let [_, _, channel, ..] = segments;
            read(method, Route::RingsOf { channel })
        }
        ["internal", "cluster", "recover"] => match *method {
            Method::GET | Method::HEAD => Ok(Route::Internal(InternalRoute::Recovery)),
            Method::POST => Ok(Route::Internal(InternalRoute::Recover)),
            _ => Err(RouteError::MethodNotAllowed { allow: READ_POST }),
        },
        [
            "internal",
            "archive" | "channel" | "max-items" | "traces" | "shutdown",
            ..,
        ]
        | ["internal", "time", "local" | "remote"]
        | ["shutdown", ..] => on_node::find(method, segments, len),
        ["internal", rest @ ..] => read(method, Route::Internal(on_internal(rest)?)),
        _ => Err(RouteError::NotFound),
    }
}

fn on_internal(rest: &[&str]) -> Result<InternalRoute, RouteError> {
    match rest {
        [] => Ok(InternalRoute::Index),
        ["properties"] => Ok(InternalRoute::Properties),
        ["deploy"] => Ok(InternalRoute::Deploy),
        ["deploy", "text"] => Ok(InternalRoute::DeployText),
        ["health"] => Ok(InternalRoute::Health),
        ["rings"] => Ok(InternalRoute::Rings),
        ["cluster"] => Ok(InternalRoute::Cluster),
        ["backup"] => Ok(InternalRoute::Backup),
        ["time"] => Ok(InternalRoute::Time),
        ["time", "millis"] => Ok(InternalRoute::TimeMillis),
        _ => Err(RouteError::NotFound),
    }
}

fn on_channel(method: &Method, rest: &[&str]) -> Result<ChannelRoute, RouteError> {
    match rest {
        [] => match *method {
            Method::POST => Ok(ChannelRoute::Insert),
            Method::GET | Method::HEAD => Ok(ChannelRoute::Get),
            Method::PUT => Ok(ChannelRoute::Put),
            Method::PATCH => Ok(ChannelRoute::Patch),
            Method::DELETE => Ok(ChannelRoute::Delete),
            _ => Err(RouteError::MethodNotAllowed { allow: CHANNEL }),
        },
        ["bulk"] => post(method, ChannelRoute::Bulk),
        ["latest", count @ ..] => at_edge(method, Edge::Latest, count),
        ["earliest", count @ ..] => at_edge(method, Edge::Earliest, count),
        ["status"] => read(method, ChannelRoute::Status),
        ["time"] => read(method, ChannelRoute::TimeLinks),
        ["time", unit] => {
            let unit = Unit::from_name(unit).ok_or(RouteError::NotFound)?;
            read(method, ChannelRoute::TimeNow(unit))
        }
        ["doc"] => match *method {
            Method::GET | Method::HEAD => Ok(ChannelRoute::DocGet),
            Method::PUT => Ok(ChannelRoute::DocPut),
            Method::DELETE => Ok(ChannelRoute::DocDelete),
            _ => Err(RouteError::MethodNotAllowed {
                allow: READ_PUT_DELETE,
            }),
        },
        _ => dated(method, rest),
    }
}

/// A tag has the paths that items of a channel are read by, but for the runs of seconds.
fn on_tag(method: &Method, rest: &[&str]) -> Result<ChannelRoute, RouteError> {
    match rest {
        [] => return read(method, ChannelRoute::Get),
        ["status" | "doc" | "bulk"] => return Err(RouteError::NotFound),
        _ => {}
    }
    // Whatever else such a path may take of a channel, a tag is only read.
    match on_channel(&Method::GET, rest)? {
        ChannelRoute::Millisecond(_) | ChannelRoute::Seconds { .. } => Err(RouteError::NotFound),
        route => read(method, route),
    }
}

fn at_edge(method: &Method, edge: Edge, count: &[&str]) -> Result<ChannelRoute, RouteError> {
    match count {
        [] => read(method, ChannelRoute::Edge(edge)),
        [count] => {
            let count = parse_count(count)?;
            read(method, ChannelRoute::Edges { edge, count })
        }
        _ => Err(RouteError::NotFound),
    }
}

/// The paths that start with a date. A run of seconds and a key have equally many segments; the
/// seventh, a direction or a millisecond, tells which.
fn dated(method: &Method, rest: &[&str]) -> Result<ChannelRoute, RouteError> {
    let depth = match rest.get(6) {
        None => rest.len(),
        Some(seventh) if Direction::of(seventh).is_some() => 6,
        Some(_) => 7,
    };
    let (fields, tail) = rest.split_at_checked(depth).ok_or(RouteError::NotFound)?;
    let parsed = match KeyFields::parse(fields) {
        Ok(fields) => Ok(fields),
        Err(TimePathError::Field(error)) => Err(error),
        Err(TimePathError::NotANumber) => return Err(RouteError::NotFound),
    };
    match (depth, tail) {
        (7, []) => match *method {
            Method::POST => return Ok(ChannelRoute::InsertAt(parsed?.start)),
            _ => not_read(method, READ_POST)?,
        },
        (7, [hash]) => match *method {
            Method::POST => return Ok(ChannelRoute::InsertAs(key(parsed?, hash)?)),
            Method::DELETE => return Ok(ChannelRoute::DeleteItem(key(parsed?, hash)?)),
            _ => not_read(method, ITEM)?,
        },
        _ => {}
    }
    // To be called once the path is known to exist: a wrong method and then a number out of range
    // decide only after that.
    let fields = || -> Result<KeyFields, RouteError> {
        read(method, ())?;
        Ok(parsed?)
    };
    match (depth, tail) {
        (7, [hash]) => Ok(ChannelRoute::Item(key(fields()?, hash)?)),
        (7, []) => Ok(ChannelRoute::Millisecond(second(fields()?))),
        (7, [hash, direction]) => {
            let direction = Direction::of(direction).ok_or(RouteError::NotFound)?;
            let from = key(fields()?, hash)?;
            Ok(ChannelRoute::Neighbour { from, direction })
        }
        (7, [hash, direction, count]) => {
            let direction = Direction::of(direction).ok_or(RouteError::NotFound)?;
            let count = parse_count(count)?;
            let from = key(fields()?, hash)?;
            Ok(ChannelRoute::Neighbours {
                from,
                direction,
                count,
            })
        }
        (6, [direction, count]) => {
            let direction = Direction::of(direction).ok_or(RouteError::NotFound)?;
            let count = parse_count(count)?;
            let from = second(fields()?);
            Ok(ChannelRoute::Seconds {
                from,
                direction,
                count,
            })
        }
        (_, []) => {
            let period = fields()?.time_path().ok_or(RouteError::NotFound)?;
            Ok(ChannelRoute::Period(period))
        }
        _ => Err(RouteError::NotFound),
    }
}

fn key(fields: KeyFields, hash: &str) -> Result<ItemKey, FieldError> {
    fields.key(hash).map_err(|_| FieldError {
        field: "hash",
        value: hash.to_owned(),
        rule: format!("1 to {} characters of 0-9, A-Z and a-z", Suffix::MAX_LEN),
    })
}

fn second(fields: KeyFields) -> TimePath {
    TimePath::of(Unit::Second, fields.start)
}

/// What a path gives to those who post to it; other methods it does not have.
fn post<T>(method: &Method, route: T) -> Result<T, RouteError> {
    match *method {
        Method::POST => Ok(route),
        _ => Err(RouteError::MethodNotAllowed { allow: POST }),
    }
}

/// What a path gives to those who read it; other methods it does not have.
fn read<T>(method: &Method, route: T) -> Result<T, RouteError> {
    match *method {
        Method::GET | Method::HEAD => Ok(route),
        _ => Err(RouteError::MethodNotAllowed { allow: READ }),
    }
}

/// Refuses what is no reading of a path that has these methods.
fn not_read(method: &Method, allow: &'static str) -> Result<(), RouteError> {
    read(method, ()).map_err(|_| RouteError::MethodNotAllowed { allow })
}

/// An integer as clients write one: an optional sign and digits.
fn parse_count(text: &str) -> Result<i64, RouteError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RouteError::NotFound);
    }
    // Digits fail to parse only if they do not fit.
    Ok(text.parse().unwrap_or(if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    }))
}

/// Undoes percent-encoding; `None` for an empty segment, a `%` without two hex digits behind it,
/// and bytes that are no UTF-8.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if segment.is_empty() {
        return None;
    }
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (pair, after) = rest.split_first_chunk()?;
            bytes.push(hex_byte(*pair)?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The byte that two hex digits of any case stand for.
pub(super) fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

/// Parses any bytes as `METHOD path`, and what is a channel's route once more from its own link.
///
/// # Panics
/// If the two differ: that is what a fuzzer looks for.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let (method, path) = match data.iter().position(|byte| *byte == b' ') {
        Some(at) => data.split_at(at),
        None => (&b"GET"[..], data),
    };
    let method = Method::from_bytes(method).unwrap_or(Method::GET);
    let path = String::from_utf8_lossy(path);
    let Ok(Route::Channel { channel, route }) = parse(&method, path.trim_start()) else {
        return;
    };
    let Some(authority) = Authority::parse("hub:1") else {
        return;
    };
    let base = BaseUri::new(Scheme::Http, &authority);
    let url = ChannelLinks::new(&base, &channel).url(Link::of(route));
    let expected = match route {
        // Its link is the redirect's target.
        ChannelRoute::Millisecond(second) => ChannelRoute::Period(second),
        same => same,
    };
    let again = parse(&method, url.strip_prefix("http://hub:1").unwrap_or(&url));
    assert_eq!(
        again,
        Ok(Route::Channel {
            channel,
            route: expected
        })
    );
}

#[cfg(test)]
mod tests;
