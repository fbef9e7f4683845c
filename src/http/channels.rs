//! Channels: creating, changing, showing and deleting them.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use serde_json::{Map, Value, json};

use super::api::Call;
use super::body::BodyLimits;
use super::grammar::Edge;
use super::links::{BaseUri, ChannelLinks, Link};
use super::queries;
use super::reply::{self, Reply};
use crate::channel::config::{ConfigError, ConfigUpdate};
use crate::channel::{Channel, ChannelError, doc};

/// `GET /channel`
pub(super) fn list(call: &Call<'_>) -> Reply {
    let channels: Vec<Value> = call
        .core
        .channels
        .list()
        .iter()
        .map(|channel| {
            let name = channel.config.name.as_str();
            let links = ChannelLinks::new(call.base, name);
            json!({"name": name, "href": links.channel()})
        })
        .collect();
    let list = json!({"_links": {
        "self": {"href": call.base.join("channel")},
        "channels": channels,
    }});
    reply::json(StatusCode::OK, &list)
}

/// `POST /channel`
pub(super) async fn create<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    call.refuse_read_only()?;
    json_expected(call.headers)?;
    let body = call.config_body(body).await?;
    let update = ConfigUpdate::parse(&body).map_err(|wrong| reply::bad_config(&wrong))?;
    let channel = call.core.channels.create(&update).await;
    let channel = channel.map_err(|wrong| reply::channel_error(&wrong, call.name))?;
    Ok(shown(call, &channel, StatusCode::CREATED))
}

/// `PUT /channel/{channel}`
pub(super) async fn put<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let update = update(call, body).await?;
    let channel = call.core.channels.put(call.name, &update).await;
    let channel = channel.map_err(|wrong| reply::channel_error(&wrong, call.name))?;
    Ok(shown(call, &channel, StatusCode::CREATED))
}

/// `PATCH /channel/{channel}`
pub(super) async fn patch<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let update = update(call, body).await?;
    let channel = call.core.channels.patch(call.name, &update).await;
    let channel = channel.map_err(|wrong| reply::channel_error(&wrong, call.name))?;
    let body = Value::Object(with_links(call.base, call.name, &channel));
    Ok(reply::json(StatusCode::OK, &body))
}

async fn update<B>(call: &Call<'_>, body: B) -> Result<ConfigUpdate, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    call.refuse_read_only()?;
    json_expected(call.headers)?;
    let body = call.config_body(body).await?;
    let wrong = |wrong: ConfigError| reply::bad_config(&wrong);
    let update = ConfigUpdate::parse_optional(&body).map_err(wrong)?;
    Ok(update.by_local(call.is_local()))
}

/// A body that configures a channel is JSON; without a `Content-Type` it is taken for it.
fn json_expected(headers: &HeaderMap) -> Result<(), Reply> {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.is_empty()
        || essence.eq_ignore_ascii_case("application/json")
        || essence.ends_with("+json")
    {
        return Ok(());
    }
    Err(reply::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// The answer to a channel's creation or change: where it is, under its stored name. Links repeat
/// the name of the request's path, if it has one.
fn shown(call: &Call<'_>, channel: &Channel, status: StatusCode) -> Reply {
    let name = channel.config.name.as_str();
    let spelt = if call.name.is_empty() {
        name
    } else {
        call.name
    };
    let body = Value::Object(with_links(call.base, spelt, channel));
    let mut reply = reply::json(status, &body);
    let links = ChannelLinks::new(call.base, name);
    reply::put(&mut reply, LOCATION, links.channel());
    reply
}

/// `GET /channel/{channel}`
pub(super) async fn get(call: &Call<'_>) -> Result<Reply, Reply> {
    let found = if call.params()?.cached {
        call.channel().await?
    } else {
        let fetched = call.core.channels.fetch(call.name).await;
        fetched.map_err(|wrong| reply::channel_error(&wrong, call.name))?
    };
    let Some(channel) = found else {
        return Ok(reply::empty(StatusCode::NOT_FOUND));
    };
    let body = Value::Object(with_links(call.base, call.name, &channel));
    Ok(reply::json(StatusCode::OK, &body))
}

/// A channel as clients see it; links repeat the spelling `name`.
fn with_links(base: &BaseUri, name: &str, channel: &Channel) -> Map<String, Value> {
    let links = ChannelLinks::new(base, name);
    let href = |link| json!({"href": links.url(link)});
    let mut body = channel.config.to_json();
    let links = json!({
        "self": href(Link::Channel),
        "latest": href(Link::Edge(Edge::Latest)),
        "earliest": href(Link::Edge(Edge::Earliest)),
        "bulk": href(Link::Bulk),
        "ws": href(Link::Ws),
        "events": href(Link::Events),
        "time": href(Link::Time),
        "status": href(Link::Status),
    });
    body.insert("_links".to_owned(), links);
    body
}

/// `DELETE /channel/{channel}`
pub(super) async fn delete(call: &Call<'_>) -> Result<Reply, Reply> {
    call.refuse_read_only()?;
    let missing = || {
        let text = format!("there is no channel {}", call.name);
        reply::json_text(StatusCode::NOT_FOUND, text)
    };
    let channel = call.channel().await?.ok_or_else(missing)?;
    if (channel.config.protect || call.api.settings.protect) && !call.is_local() {
        let text = format!("channel {} is protected", channel.config.name.as_str());
        return Err(reply::json_text(StatusCode::FORBIDDEN, text));
    }
    match call.core.channels.delete(call.name).await {
        Ok(()) => Ok(reply::empty(StatusCode::ACCEPTED)),
        Err(ChannelError::Missing { .. }) => Err(missing()),
        Err(wrong) => Err(reply::channel_error(&wrong, call.name)),
    }
}

/// `GET /channel/{channel}/status`
pub(super) async fn status(call: &Call<'_>) -> Result<Reply, Reply> {
    let params = call.params()?;
    let channel = call.known_channel().await?;
    let links = call.links();
    let mut sides = Map::new();
    let own = links.url(Link::Status) + params.repeat();
    sides.insert("self".to_owned(), json!({"href": own}));
    for edge in [Edge::Latest, Edge::Earliest] {
        let found = queries::keys_at(call, &channel, edge, 1, &params).await?;
        let side = match found.first() {
            Some(key) => json!({"href": links.url(Link::Item(*key))}),
            None => {
                let query = links.url(Link::Edge(edge)) + params.repeat();
                json!({"href": query, "message": "channel is empty"})
            }
        };
        sides.insert(edge.name().to_owned(), side);
    }
    Ok(reply::json(StatusCode::OK, &json!({"_links": sides})))
}

const MARKDOWN: HeaderValue = HeaderValue::from_static("text/markdown; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// `GET /channel/{channel}/doc`
pub(super) async fn doc_get(call: &Call<'_>) -> Result<Reply, Reply> {
    let document = call.core.channels.document(call.name).await;
    let document = document.map_err(|wrong| reply::channel_error(&wrong, call.name))?;
    let Some(text) = document else {
        return Ok(reply::empty(StatusCode::NOT_FOUND));
    };
    let (kind, body) = if super::negotiate::wants_html(call.headers) {
        (HTML, doc::to_html(&text))
    } else {
        (MARKDOWN, text)
    };
    Ok(reply::with_body(StatusCode::OK, kind, body))
}

/// `PUT /channel/{channel}/doc`
pub(super) async fn doc_put<B>(call: &Call<'_>, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    call.refuse_read_only()?;
    let Some(_) = call.channel().await? else {
        return Ok(reply::empty(StatusCode::NOT_FOUND));
    };
    let limits = &call.api.settings.config_limits;
    let limits = BodyLimits {
        bytes: limits.bytes.min(doc::MAX_BYTES),
        ..limits.clone()
    };
    let body = call.body(body, &limits).await?;
    let Ok(text) = String::from_utf8(body.to_vec()) else {
        let text = "the document is not UTF-8";
        let rule = Some("Markdown in UTF-8");
        let status = StatusCode::BAD_REQUEST;
        return Err(reply::error(status, text, Some("body"), None, rule));
    };
    let set = call
        .core
        .channels
        .set_document(call.name, Some(text.clone()))
        .await;
    set.map_err(|wrong| reply::channel_error(&wrong, call.name))?;
    Ok(reply::with_body(StatusCode::OK, MARKDOWN, text))
}

/// `DELETE /channel/{channel}/doc`
pub(super) async fn doc_delete(call: &Call<'_>) -> Result<Reply, Reply> {
    call.refuse_read_only()?;
    let deleted = call.core.channels.set_document(call.name, None).await;
    let existed = deleted.map_err(|wrong| reply::channel_error(&wrong, call.name))?;
    Ok(reply::empty(if existed {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }))
}
