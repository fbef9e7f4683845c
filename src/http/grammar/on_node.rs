//! What is asked of the node itself, or done to the hub through it, beyond reading a page: paths
//! under `/internal`, and `/shutdown`.

use std::borrow::Cow;

use http::Method;

use super::route::{InternalRoute, Route};
use super::{READ_POST, RouteError, SEGMENTS_MAX, parse_count, post, read};

const DELETE: &str = "DELETE, OPTIONS";
const READ_DELETE: &str = "GET, HEAD, DELETE, OPTIONS";
const READ_PUT: &str = "GET, HEAD, PUT, OPTIONS";
const PATCH: &str = "PATCH, OPTIONS";

/// A page with parameters in its path, or a change. Paths are relative to `/internal`; channels are
/// named as the path spells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnNode<'a> {
    /// `GET /channel`: links.
    Channels,
    /// `GET /channel/refresh`: reads all channels again.
    Refresh,
    /// `DELETE /channel/{channel}`: the channel, though it is protected.
    DeleteChannel {
        /// Which channel.
        channel: Cow<'a, str>,
    },
    /// `GET /channel/stale/{minutes}[/{owner}]`: channels without an item of so many minutes.
    Stale {
        /// How many: any integer, one that does not fit cut to the ends of `i64`.
        minutes: i64,
        /// Only the channels of that owner.
        owner: Option<Cow<'a, str>>,
    },
    /// `PATCH /max-items/{channel}`: brings it down to its number of items.
    MaxItems {
        /// Which channel.
        channel: Cow<'a, str>,
    },
    /// `GET /archive[/{channel}]`: what the archive holds.
    Archive {
        /// Of that channel only.
        channel: Option<Cow<'a, str>>,
    },
    /// `GET /traces`: what requests are and were served.
    Traces,
    /// `GET /shutdown`: who is about to leave.
    Shutdown,
    /// `POST /shutdown`, and `/shutdown` without `/internal`: stops this node in its turn.
    Leave,
    /// `POST /shutdown/resetLock`: takes its turn from whoever has it.
    ResetLock,
    /// `PUT /time/local` and `/time/remote`: whose clock this node tells the time by.
    UseTime {
        /// Whether it is another node's.
        remote: bool,
    },
}

impl OnNode<'_> {
    /// The route's name in metrics.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Channels => "internal_channel",
            Self::Refresh => "internal_channel_refresh",
            Self::DeleteChannel { .. } => "internal_channel_delete",
            Self::Stale { .. } => "internal_channel_stale",
            Self::MaxItems { .. } => "internal_max_items",
            Self::Archive { channel: None } => "internal_archive",
            Self::Archive { channel: Some(_) } => "internal_archive_channel",
            Self::Traces => "internal_traces",
            Self::Shutdown => "internal_shutdown",
            Self::Leave => "internal_shutdown_leave",
            Self::ResetLock => "internal_shutdown_reset",
            Self::UseTime { remote: false } => "internal_time_local_put",
            Self::UseTime { remote: true } => "internal_time_remote_put",
        }
    }
}

/// The route of a path of so many segments that is one of these.
pub(super) fn find<'a>(
    method: &Method,
    segments: [Cow<'a, str>; SEGMENTS_MAX],
    len: usize,
) -> Result<Route<'a>, RouteError> {
    let texts = segments.each_ref().map(|segment| &**segment);
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let not = |allow| Err(RouteError::MethodNotAllowed { allow });
    let route = match texts.get(..len).unwrap_or_default() {
        ["internal", "channel"] => read(method, OnNode::Channels)?,
        ["internal", "channel", "refresh"] if is_read => OnNode::Refresh,
        ["internal", "channel", _] if *method == Method::DELETE => {
            let [_, _, channel, ..] = segments;
            OnNode::DeleteChannel { channel }
        }
        ["internal", "channel", "refresh"] => return not(READ_DELETE),
        ["internal", "channel", _] => return not(DELETE),
        ["internal", "channel", "stale", minutes] => {
            let minutes = parse_count(minutes)?;
            let owner = None;
            read(method, OnNode::Stale { minutes, owner })?
        }
        ["internal", "channel", "stale", minutes, _] => {
            let minutes = parse_count(minutes)?;
            let [_, _, _, _, owner, ..] = segments;
            let owner = Some(owner);
            read(method, OnNode::Stale { minutes, owner })?
        }
        ["internal", "max-items", _] if *method == Method::PATCH => {
            let [_, _, channel, ..] = segments;
            OnNode::MaxItems { channel }
        }
        ["internal", "max-items", _] => return not(PATCH),
        ["internal", "archive"] => read(method, OnNode::Archive { channel: None })?,
        ["internal", "archive", _] => {
            let [_, _, channel, ..] = segments;
            let channel = Some(channel);
            read(method, OnNode::Archive { channel })?
        }
        ["internal", "traces"] => read(method, OnNode::Traces)?,
        ["internal", "shutdown"] if is_read => OnNode::Shutdown,
        ["internal", "shutdown"] if *method == Method::POST => OnNode::Leave,
        ["internal", "shutdown"] => return not(READ_POST),
        ["shutdown"] => post(method, OnNode::Leave)?,
        ["internal", "shutdown", "resetLock"] => post(method, OnNode::ResetLock)?,
        ["internal", "time", source @ ("local" | "remote")] => {
            let remote = *source == "remote";
            if *method != Method::PUT {
                let page = if remote {
                    InternalRoute::TimeRemote
                } else {
                    InternalRoute::TimeLocal
                };
                return if is_read {
                    Ok(Route::Internal(page))
                } else {
                    not(READ_PUT)
                };
            }
            OnNode::UseTime { remote }
        }
        _ => return Err(RouteError::NotFound),
    };
    Ok(Route::OnNode(route))
}

#[cfg(test)]
mod tests {
    use super::super::{is_of_node, parse};
    use super::*;

    #[test]
    fn paths_and_methods() {
        let channel = || Cow::Borrowed("a-b");
        let stale = |minutes, owner: Option<&'static str>| OnNode::Stale {
            minutes,
            owner: owner.map(Cow::Borrowed),
        };
        for (path, routes) in [
            ("/internal/channel", &[("GET", OnNode::Channels)][..]),
            (
                "/internal/channel/refresh",
                &[
                    ("GET", OnNode::Refresh),
                    (
                        "DELETE",
                        OnNode::DeleteChannel {
                            channel: "refresh".into(),
                        },
                    ),
                ],
            ),
            (
                "/internal/channel/a%2Db",
                &[("DELETE", OnNode::DeleteChannel { channel: channel() })],
            ),
            ("/internal/channel/stale/5", &[("GET", stale(5, None))]),
            ("/internal/channel/stale/-5", &[("GET", stale(-5, None))]),
            (
                "/internal/channel/stale/99999999999999999999/me%20too",
                &[("GET", stale(i64::MAX, Some("me too")))],
            ),
            (
                "/internal/max-items/a-b",
                &[("PATCH", OnNode::MaxItems { channel: channel() })],
            ),
            (
                "/internal/archive",
                &[("GET", OnNode::Archive { channel: None })],
            ),
            (
                "/internal/archive/a-b",
                &[(
                    "GET",
                    OnNode::Archive {
                        channel: Some(channel()),
                    },
                )],
            ),
            ("/internal/traces", &[("GET", OnNode::Traces)]),
            (
                "/internal/shutdown",
                &[("GET", OnNode::Shutdown), ("POST", OnNode::Leave)],
            ),
            ("/shutdown", &[("POST", OnNode::Leave)]),
            (
                "/internal/shutdown/resetLock",
                &[("POST", OnNode::ResetLock)],
            ),
            (
                "/internal/time/local",
                &[("PUT", OnNode::UseTime { remote: false })],
            ),
            (
                "/internal/time/remote",
                &[("PUT", OnNode::UseTime { remote: true })],
            ),
        ] {
            assert!(is_of_node(path), "{path}");
            let mut allowed = Vec::new();
            for (method, route) in routes {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let found = parse(&method, path).unwrap();
                assert!(found.is_of_node(), "{path}");
                assert_eq!(found.label(), route.label(), "{method} {path}");
                assert_eq!(found, Route::OnNode(route.clone()), "{method} {path}");
                if method == Method::GET {
                    assert_eq!(parse(&Method::HEAD, path), Ok(found), "{path}");
                    allowed.push("HEAD".to_owned());
                }
                allowed.push(method.to_string());
            }
            let Ok(Route::Preflight { allow }) = parse(&Method::OPTIONS, path) else {
                unreachable!("{path}");
            };
            let listed: Vec<&str> = allow.split(", ").collect();
            assert!(
                allowed.iter().all(|m| listed.contains(&m.as_str())),
                "{path}: {allow}"
            );
            let refused = parse(&Method::TRACE, path);
            assert_eq!(
                refused,
                Err(RouteError::MethodNotAllowed { allow }),
                "{path}"
            );
        }
        for path in [
            "/internal/channel/stale/x",
            "/internal/channel/stale/1/a/b",
            "/internal/channel/a/b",
            "/internal/max-items",
            "/internal/max-items/a/b",
            "/internal/traces/1",
            "/internal/shutdown/now",
            "/internal/time/other",
            "/shutdown/now",
        ] {
            assert_eq!(
                parse(&Method::GET, path),
                Err(RouteError::NotFound),
                "{path}"
            );
        }
    }
}
