//! Responses: their common headers, and the forms of errors.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, SERVER,
};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::body::{BodyError, ReplyBody};
use crate::channel::config::{ConfigError, ErrorKind};
use crate::channel::{ChannelError, InsertError, QueryError, is_full};
use crate::cluster::CoordinationError;
use crate::item::FieldError;
use crate::spoke::WriteError;

/// A response.
pub type Reply = Response<ReplyBody>;

/// `application/json`, exactly: clients compare it.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain");
const HUB_NODE: HeaderName = HeaderName::from_static("hub-node");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Room for the headers of an item's response, which has the most: its own, and those that every
/// response has.
const HEADERS: usize = 12;

/// A response without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(ReplyBody::Empty);
    *reply.status_mut() = status;
    reply.headers_mut().reserve(HEADERS);
    reply
}

/// A response with a body of that media type.
pub fn with_body(status: StatusCode, kind: HeaderValue, body: impl Into<ReplyBody>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().reserve(HEADERS);
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// JSON.
pub fn json(status: StatusCode, value: &Value) -> Reply {
    with_body(status, JSON, value.to_string())
}

/// Plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Reply {
    with_body(status, TEXT, text.into())
}

/// Plain text where clients expect JSON: they get the text, unquoted, under JSON's name.
pub fn json_text(status: StatusCode, text: impl Into<String>) -> Reply {
    with_body(status, JSON, text.into())
}

/// A redirect.
pub fn redirect(status: StatusCode, location: &str) -> Reply {
    let mut reply = empty(status);
    put(&mut reply, LOCATION, location);
    reply
}

/// Adds a header, unless its value cannot be one: links are made of what can.
pub fn put(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().append(name, value);
    }
}

/// An error as JSON: what is wrong, and as far as they apply the field, its value and the rule.
pub fn error(
    status: StatusCode,
    text: &str,
    field: Option<&str>,
    value: Option<&str>,
    rule: Option<&str>,
) -> Reply {
    let mut body = Map::new();
    body.insert("error".to_owned(), json!(text));
    for (name, part) in [("field", field), ("value", value), ("rule", rule)] {
        if let Some(part) = part {
            body.insert(name.to_owned(), json!(part));
        }
    }
    json(status, &Value::Object(body))
}

/// 405, with what is allowed.
pub fn method_not_allowed(allow: &'static str) -> Reply {
    let mut reply = empty(StatusCode::METHOD_NOT_ALLOWED);
    let allow = HeaderValue::from_static(allow);
    reply.headers_mut().insert(ALLOW, allow);
    reply
}

/// 503, with when to try again, why, and who is missing.
pub fn unavailable(text: &str, reason: &str, channel: Option<&str>, missing: &[String]) -> Reply {
    let body = json!({
        "error": text,
        "reason": reason,
        "channel": channel,
        "missing": missing,
    });
    let mut reply = json(StatusCode::SERVICE_UNAVAILABLE, &body);
    let soon = HeaderValue::from_static("1");
    reply.headers_mut().insert(RETRY_AFTER, soon);
    reply
}

/// A date field, hash or parameter that is out of its range.
pub fn bad_field(wrong: &FieldError) -> Reply {
    error(
        StatusCode::BAD_REQUEST,
        &wrong.to_string(),
        Some(wrong.field),
        Some(&wrong.value),
        Some(&wrong.rule),
    )
}

/// A body that was not read.
pub fn bad_body(wrong: &BodyError) -> Reply {
    let text = wrong.to_string();
    let of = |status, field, rule: &str| error(status, &text, Some(field), None, Some(rule));
    match wrong {
        BodyError::TooLarge { limit } => of(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body",
            &format!("at most {limit} bytes"),
        ),
        BodyError::Busy => unavailable(
            &text,
            "the bodies of other requests use up limits.inflight_bytes; try again",
            None,
            &[],
        ),
        BodyError::TooSlow { .. } => of(
            StatusCode::REQUEST_TIMEOUT,
            "body",
            "sent without long pauses",
        ),
        BodyError::Trickle { .. } => of(
            StatusCode::REQUEST_TIMEOUT,
            "body",
            "sent at 16 KiB a second or faster",
        ),
        BodyError::Broken { .. } => of(StatusCode::BAD_REQUEST, "body", "sent to its end"),
        BodyError::UnknownCoding { coding } => error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            &text,
            Some("Content-Encoding"),
            Some(coding),
            Some("gzip, deflate or none"),
        ),
        BodyError::BadCoding { coding } => of(
            StatusCode::BAD_REQUEST,
            "body",
            &format!("coded as its Content-Encoding says: {coding}"),
        ),
    }
}

/// A channel configuration that is not allowed.
pub fn bad_config(wrong: &ConfigError) -> Reply {
    let status = match wrong.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
    };
    error(
        status,
        &wrong.text(),
        wrong.field(),
        wrong.value(),
        Some(wrong.rule()),
    )
}

/// A channel that was not changed.
pub fn channel_error(wrong: &ChannelError, channel: &str) -> Reply {
    match wrong {
        ChannelError::Config(wrong) => bad_config(wrong),
        ChannelError::Missing { .. } => empty(StatusCode::NOT_FOUND),
        ChannelError::Coordination(CoordinationError::Conflict) => error(
            StatusCode::CONFLICT,
            "the channel is being changed by others; try again",
            None,
            None,
            None,
        ),
        ChannelError::Coordination(error) => unavailable(
            "the channel could not be read or written",
            &error.to_string(),
            Some(channel),
            &[],
        ),
        ChannelError::Unreadable { .. } => internal(&wrong.to_string()),
    }
}

/// A query that was not answered.
pub fn query_error(wrong: &QueryError, channel: &str) -> Reply {
    let channel = Some(channel);
    match wrong {
        QueryError::Unavailable { reason, missing } => {
            unavailable("too few replicas could answer", reason, channel, missing)
        }
        QueryError::Undecided { decided } => {
            let reason = format!(
                "items after {} are not decided yet",
                decided.key().record_floor()
            );
            unavailable("undecided items", &reason, channel, &[])
        }
        QueryError::Archive(error) => unavailable(
            "the archive could not be read",
            &error.to_string(),
            channel,
            &[],
        ),
        QueryError::Read(error) => unavailable(
            "the items of that time could not be read",
            &error.to_string(),
            channel,
            &[],
        ),
    }
}

/// An insert that was not acknowledged.
pub fn insert_error(wrong: &InsertError, channel: &str) -> Reply {
    if is_full(wrong) {
        return error(
            StatusCode::INSUFFICIENT_STORAGE,
            "the disk is nearly full: nothing was stored",
            None,
            None,
            Some("appends are taken again once spoke.disk_reserve_bytes are free"),
        );
    }
    match wrong {
        InsertError::Gone => json_text(StatusCode::NOT_FOUND, channel),
        InsertError::Unavailable { reason, missing } => {
            let text = "the item was not stored";
            unavailable(text, reason, Some(channel), missing)
        }
        InsertError::Write(WriteError::KeyReused) => error(
            StatusCode::UNPROCESSABLE_ENTITY,
            &wrong.to_string(),
            Some("Idempotency-Key"),
            None,
            Some("one key, one payload"),
        ),
        InsertError::Write(WriteError::Unknown { reason }) => {
            let reason =
                format!("outcome unknown, safe to retry with the same Idempotency-Key: {reason}");
            unavailable("the write was not decided", &reason, Some(channel), &[])
        }
        InsertError::Write(WriteError::Unstorable(reason)) => internal(reason),
        InsertError::Write(other) => {
            let text = "the item was not stored";
            unavailable(text, &other.to_string(), Some(channel), &[])
        }
    }
}

/// What went wrong inside: for the log, which has the request's id with it, and not for clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

/// A fault inside. The reason goes along as a [`Fault`].
pub fn internal(reason: &str) -> Reply {
    let mut reply = json_text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal error");
    reply.extensions_mut().insert(Fault(reason.to_owned()));
    reply
}

/// The headers that every response has.
#[derive(Debug, Clone)]
pub struct CommonHeaders {
    server: HeaderValue,
    node: HeaderValue,
}

impl CommonHeaders {
    /// For this node: its version, and `host:port`.
    pub fn new(version: &str, node: &str) -> Self {
        let value = |text: &str| {
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("Hub"))
        };
        Self {
            server: value(&format!("Hub/{version}")),
            node: value(node),
        }
    }

    /// Puts them on a response.
    pub fn apply(&self, reply: &mut Reply, request_id: HeaderValue) {
        let headers = reply.headers_mut();
        headers.insert(SERVER, self.server.clone());
        headers.insert(HUB_NODE, self.node.clone());
        headers.insert(REQUEST_ID, request_id);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("origin, content-type, accept, authorization"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS, HEAD"),
        );
    }
}
