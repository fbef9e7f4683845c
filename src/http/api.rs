//! From a request to a response: what every request goes through.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{ACCEPT_ENCODING, EXPECT, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::Body;

use super::body::{BodyError, BodyLimits, Budgets, Coding, drain, read};
use super::grammar::{self, ChannelRoute, Route, RouteError};
use super::links::{Authority, BaseUri, ChannelLinks, Scheme};
use super::params::{Params, repeat};
use super::reply::{self, CommonHeaders, Fault, Reply};
use super::traces::{Traced, Traces};
use super::{bulk, channels, historical, items, openapi, queries, root, tags};
use crate::channel::{Channel, Channels, Historical, Place, Reads, Writes};
use crate::cluster::Life;
use crate::env::{HubClock, OsRandom, Random as _};
use crate::spoke::Durability;

/// What the edge is told about the hub.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The hub's version.
    pub version: &'static str,
    /// `host:port` of this node.
    pub node: String,
    /// The base of links where a request does not say.
    pub own: Authority,
    /// When an item counts as stored.
    pub durability: Durability,
    /// How items are read.
    pub item_limits: BodyLimits,
    /// How bulk inserts are read.
    pub bulk_limits: BodyLimits,
    /// How much of a body that was refused is read on, in bytes: most clients send all of it before they
    /// look at the answer.
    pub drain_bytes: u64,
    /// How JSON and Markdown are read.
    pub config_limits: BodyLimits,
    /// An item of this many bytes is a large one.
    pub large_item_bytes: u64,
    /// The most items that a query by count gives.
    pub count_limit: usize,
    /// Whether nothing may be changed through this node.
    pub read_only: bool,
    /// Whether no channel may be deleted by others than local callers.
    pub protect: bool,
    /// Whether every request is logged.
    pub access_log: bool,
}

/// What exists once the node has joined and opened its store.
pub struct Core {
    /// The channels.
    pub channels: Arc<Channels>,
    /// The write path.
    pub writes: Arc<Writes>,
    /// The read path.
    pub reads: Arc<Reads>,
    /// The write path of items of the past.
    pub historical: Arc<Historical>,
}

/// A request that is about the node and not about channels.
#[derive(Debug, Clone, Copy)]
pub struct NodeCall<'a> {
    /// What is asked.
    pub route: &'a Route<'a>,
    /// The base of links.
    pub base: &'a BaseUri,
    /// The query string.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Where it came in.
    pub origin: Origin,
}

impl NodeCall<'_> {
    /// Whether it is a local one: [`Origin::is_local`].
    pub fn is_local(&self) -> bool {
        self.origin.is_local(self.base, self.headers)
    }

    /// The answer to a call that is not, where only local ones may do what it asks for.
    pub fn refuse_unless_local(&self) -> Option<Reply> {
        let text = "only calls to localhost, from the machine of the hub itself, may do this";
        (!self.is_local()).then(|| reply::json_text(StatusCode::FORBIDDEN, text))
    }
}

/// Answers for the routes that are about the node and not about channels.
#[async_trait]
pub trait Operations: Send + Sync {
    /// The answer, or `None` where the route is not one of these.
    async fn answer(&self, call: NodeCall<'_>) -> Option<Reply>;

    /// Whether the node can serve, and if not why.
    fn health(&self) -> (bool, String);
}

/// The API of this node.
pub struct Api {
    pub(super) settings: ApiSettings,
    pub(super) clock: Arc<HubClock>,
    pub(super) budgets: Budgets,
    core: OnceLock<Core>,
    life: Arc<Life>,
    operations: Arc<dyn Operations>,
    common: CommonHeaders,
    traces: Arc<Traces>,
    run: u32,
    requests: AtomicU64,
}

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Who sent it.
    pub peer: SocketAddr,
    /// Whether it came over TLS.
    pub scheme: Scheme,
    /// What may be asked there.
    pub surface: Surface,
}

impl Origin {
    /// Whether the caller is on this machine, and nobody says that it spoke for another one.
    pub fn is_this_machine(self, headers: &HeaderMap) -> bool {
        let forwards = |name: &HeaderName| {
            let name = name.as_str();
            name == "forwarded" || name.starts_with("x-forwarded-")
        };
        self.peer.ip().to_canonical().is_loopback() && !headers.keys().any(forwards)
    }

    /// Whether a call is a local one: it names this machine `localhost`, and comes from it.
    pub fn is_local(self, base: &BaseUri, headers: &HeaderMap) -> bool {
        base.as_str().contains("localhost") && self.is_this_machine(headers)
    }
}

/// What may be asked on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// The API, and what it says of the node.
    Public,
    /// The API alone.
    PublicOnly,
    /// What is said of the node.
    Ops,
    /// What members ask each other: nothing of the API.
    Peers,
}

/// A request, taken apart.
pub(super) struct Call<'a> {
    pub(super) api: &'a Api,
    pub(super) core: &'a Core,
    pub(super) origin: Origin,
    pub(super) headers: &'a HeaderMap,
    pub(super) base: &'a BaseUri,
    pub(super) path_query: Option<&'a str>,
    /// The channel's name as the path spells it.
    pub(super) name: &'a str,
}

impl Call<'_> {
    /// Links of the channel.
    pub(super) fn links(&self) -> ChannelLinks {
        ChannelLinks::new(self.base, self.name)
    }

    /// The parameters of the query, or the answer to a bad one.
    pub(super) fn params(&self) -> Result<Params, Reply> {
        Params::parse(self.path_query).map_err(|wrong| reply::bad_field(&wrong))
    }

    /// The query as it can be repeated in links.
    pub(super) fn repeat(&self) -> String {
        repeat(self.path_query)
    }

    /// The channel; `None` if there is none.
    pub(super) async fn channel(&self) -> Result<Option<Arc<Channel>>, Reply> {
        if let Some(channel) = self.core.channels.get(self.name) {
            return Ok(Some(channel));
        }
        if !crate::channel::is_name(self.name) {
            return Ok(None);
        }
        // It may have been created on another node a moment ago.
        let found = self.core.channels.fetch(self.name).await;
        found.map_err(|wrong| reply::channel_error(&wrong, self.name))
    }

    /// The channel, or the answer of queries to one that does not exist: its name.
    pub(super) async fn known_channel(&self) -> Result<Arc<Channel>, Reply> {
        let found = self.channel().await?;
        found.ok_or_else(|| reply::json_text(StatusCode::NOT_FOUND, self.name))
    }

    /// Whether the caller is on this machine, and nobody spoke for another one.
    pub(super) fn is_local(&self) -> bool {
        self.origin.is_local(self.base, self.headers)
    }

    /// The answer of a node through which nothing may be changed.
    pub(super) fn refuse_read_only(&self) -> Result<(), Reply> {
        if self.api.settings.read_only {
            let text = "this node is read-only";
            return Err(reply::json_text(StatusCode::FORBIDDEN, text));
        }
        Ok(())
    }

    /// Reads the body of a request that configures something.
    pub(super) async fn config_body<B>(&self, body: B) -> Result<Bytes, Reply>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        self.body(body, &self.api.settings.config_limits).await
    }

    /// Reads a request's body.
    pub(super) async fn body<B>(&self, body: B, limits: &BodyLimits) -> Result<Bytes, Reply>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let answer = |wrong: BodyError| reply::bad_body(&wrong);
        let coding = Coding::of(self.headers).map_err(answer)?;
        let read = read(body, coding, limits, &self.api.budgets.bodies).await;
        read.map_err(answer)
    }
}

impl Api {
    /// The API of a node that has not joined yet.
    pub fn new(
        settings: ApiSettings,
        clock: Arc<HubClock>,
        budgets: Budgets,
        life: Arc<Life>,
        operations: Arc<dyn Operations>,
        traces: Arc<Traces>,
        run: u32,
    ) -> Arc<Self> {
        let common = CommonHeaders::new(settings.version, &settings.node);
        Arc::new(Self {
            settings,
            clock,
            budgets,
            core: OnceLock::new(),
            life,
            operations,
            common,
            traces,
            run,
            requests: AtomicU64::new(0),
        })
    }

    /// The node can be asked about channels from now on.
    pub fn open(&self, core: Core) {
        // It opens once.
        let _ = self.core.set(core);
    }

    /// Answers a request.
    pub async fn handle<B>(&self, request: Request<B>, origin: Origin) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let started = self.clock.boot();
        let (parts, mut body) = request.into_parts();
        let request_id = self.request_id(&parts.headers);
        let route = route_at(origin.surface, &parts);
        let label = match &route {
            Ok(route) => route.label(),
            Err(RouteError::TrailingSlash) => "trailing_slash",
            Err(_) => "none",
        };
        let base = self.base(&parts, origin);
        let traced = Traced {
            id: request_id.to_str().unwrap_or_default(),
            method: method_label(&parts.method),
            path: parts.uri.path(),
            route: label,
            start: self.clock.now(),
            since: started,
        };
        let active = self.traces.begin(traced, || self.clock.boot());
        let mut reply = match route {
            Ok(route) => {
                // What a panic may leave behind is the request's own, and goes with it.
                let answering =
                    AssertUnwindSafe(self.answer(route, &parts, &base, origin, &mut body));
                let answered = answering.catch_unwind().await;
                answered.unwrap_or_else(|_| reply::internal("the request's handler panicked"))
            }
            Err(wrong) => refuse_route(&wrong, &parts.uri, &base),
        };
        if parts.headers.contains_key(ACCEPT_ENCODING) && parts.method != Method::HEAD {
            reply = compress(reply, &parts.headers).await;
        }
        // A client that waits to be told to send its body is not to send it any more, and one that
        // was too slow is not waited for again.
        let waits = parts.headers.contains_key(EXPECT);
        if !waits && reply.status() != StatusCode::REQUEST_TIMEOUT {
            drain(body, self.settings.drain_bytes).await;
        }
        if let Some(Fault(error)) = reply.extensions_mut().remove() {
            let request_id = request_id.to_str().unwrap_or_default();
            tracing::error!(request_id, error, "a request failed inside");
        }
        let spent = self.clock.boot().saturating_sub(started);
        let status = reply.status().as_u16();
        active.ended(status);
        crate::metric::request(label, method_label(&parts.method), status, spent);
        if self.settings.access_log {
            tracing::info!(
                target: "access",
                request_id = request_id.to_str().unwrap_or_default(),
                method = %parts.method,
                path = parts.uri.path(),
                status,
                peer = %origin.peer,
                elapsed_ms = spent.as_secs_f64() * 1000.0,
                "request"
            );
        }
        self.common.apply(&mut reply, request_id);
        reply
    }

    async fn answer<B>(
        &self,
        route: Route<'_>,
        parts: &http::request::Parts,
        base: &BaseUri,
        origin: Origin,
        body: B,
    ) -> Reply
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        if route.is_of_node() {
            let call = NodeCall {
                route: &route,
                base,
                query: parts.uri.query(),
                headers: &parts.headers,
                origin,
            };
            let answered = self.operations.answer(call).await;
            return answered.unwrap_or_else(|| reply::empty(StatusCode::NOT_FOUND));
        }
        let mut is_tag = false;
        let (name, route) = match route {
            Route::Preflight { allow } => {
                let mut reply = reply::empty(StatusCode::OK);
                reply::put(&mut reply, http::header::ALLOW, allow);
                return reply;
            }
            Route::Root => return self.root(parts, base, origin),
            Route::OpenApi => return openapi::document(),
            Route::Channel { channel, route } => (channel, Some(route)),
            Route::ChannelList => ("".into(), None),
            Route::TagList | Route::Tag { .. } => {
                is_tag = true;
                match route {
                    Route::Tag { tag, route } => (tag, Some(route)),
                    _ => ("".into(), None),
                }
            }
            Route::ChannelCreate => ("".into(), Some(ChannelRoute::Put)),
            // The channel is in a header.
            Route::Provider => ("".into(), Some(ChannelRoute::Insert)),
            Route::ProviderBulk => ("".into(), Some(ChannelRoute::Bulk)),
            _ => return reply::empty(StatusCode::NOT_FOUND),
        };
        let Some(core) = self.core.get() else {
            let phase = self.life.phase().describe();
            return reply::unavailable("this node is not ready", &phase, None, &[]);
        };
        let call = Call {
            api: self,
            core,
            origin,
            headers: &parts.headers,
            base,
            path_query: parts.uri.query(),
            name: &name,
        };
        let answered = match route {
            None if is_tag => Ok(tags::list(&call)),
            None => Ok(channels::list(&call)),
            Some(route) if is_tag => tags::answer(&call, route).await,
            Some(ChannelRoute::Put) if name.is_empty() => channels::create(&call, body).await,
            Some(ChannelRoute::Insert) if name.is_empty() => items::provide(&call, body).await,
            Some(ChannelRoute::Bulk) if name.is_empty() => bulk::provide(&call, body).await,
            Some(route) => dispatch(&call, route, body).await,
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    /// A boundary that no item's bytes hold but by a chance of 1 in 2 to the 128th: whoever writes items
    /// cannot know it.
    pub(super) fn boundary() -> String {
        format!("hub-{:032x}", OsRandom.next_u128())
    }

    /// `GET /`: for whoever names HTML a page, else links.
    fn root(&self, parts: &http::request::Parts, base: &BaseUri, origin: Origin) -> Reply {
        if !super::negotiate::wants_html(&parts.headers) {
            return root::links(base);
        }
        let tells = origin.surface == Surface::Public;
        let (healthy, why) = self.operations.health();
        let channels = self.core.get().map(|core| core.channels.list());
        root::page(&root::Page {
            base,
            version: self.settings.version,
            node: &self.settings.node,
            healthy,
            // A listener that has no pages about the node does not tell about it here either.
            why: tells.then_some(why.as_str()),
            channels: channels.as_deref(),
        })
    }

    /// The base of links, as the request says.
    fn base(&self, parts: &http::request::Parts, origin: Origin) -> BaseUri {
        let target = parts.uri.authority().map(http::uri::Authority::as_str);
        BaseUri::of_request(origin.scheme, target, &parts.headers, &self.settings.own)
    }

    /// The id that a client gave a request, if it is a sane one, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let sane = |value: &&HeaderValue| {
            (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        if let Some(given) = headers.get("x-request-id").filter(sane) {
            return given.clone();
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        let value = u64::from(self.run) << 32 | (number & 0xffff_ffff);
        for (at, digit) in id.iter_mut().enumerate() {
            let nibble = (value >> (60 - 4 * at)) & 0xf;
            *digit = b"0123456789abcdef"[nibble as usize];
        }
        HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

async fn dispatch<B>(call: &Call<'_>, route: ChannelRoute, body: B) -> Result<Reply, Reply>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    match route {
        ChannelRoute::Insert => items::insert(call, body).await,
        ChannelRoute::Bulk => bulk::insert(call, body).await,
        ChannelRoute::InsertAt(at) => {
            let place = Place { at, suffix: None };
            historical::insert(call, place, body).await
        }
        ChannelRoute::InsertAs(key) => {
            let (at, suffix) = (key.millis, Some(key.suffix));
            historical::insert(call, Place { at, suffix }, body).await
        }
        ChannelRoute::DeleteItem(key) => historical::delete(call, key).await,
        ChannelRoute::Item(key) => items::get(call, key).await,
        ChannelRoute::Get => channels::get(call).await,
        ChannelRoute::Put => channels::put(call, body).await,
        ChannelRoute::Patch => channels::patch(call, body).await,
        ChannelRoute::Delete => channels::delete(call).await,
        ChannelRoute::Status => channels::status(call).await,
        ChannelRoute::DocGet => channels::doc_get(call).await,
        ChannelRoute::DocPut => channels::doc_put(call, body).await,
        ChannelRoute::DocDelete => channels::doc_delete(call).await,
        ChannelRoute::TimeLinks => queries::time_links(call).await,
        ChannelRoute::TimeNow(unit) => queries::time_now(call, unit).await,
        ChannelRoute::Period(path) => queries::period(call, path).await,
        ChannelRoute::Millisecond(second) => Ok(queries::millisecond(call, second)),
        ChannelRoute::Neighbour { from, direction } => {
            queries::neighbour(call, from, direction).await
        }
        ChannelRoute::Neighbours {
            from,
            direction,
            count,
        } => queries::neighbours(call, from, direction, count).await,
        ChannelRoute::Seconds {
            from,
            direction,
            count,
        } => queries::seconds(call, from, direction, count).await,
        ChannelRoute::Edge(edge) => queries::edge(call, edge).await,
        ChannelRoute::Edges { edge, count } => queries::edges(call, edge, count).await,
    }
}

/// The route of a request, if there is one where it came in.
fn route_at(surface: Surface, parts: &http::request::Parts) -> Result<Route<'_>, RouteError> {
    let path = parts.uri.path();
    let served = match surface {
        Surface::Public => true,
        Surface::PublicOnly => !grammar::is_of_node(path),
        Surface::Ops => grammar::is_of_node(path),
        Surface::Peers => false,
    };
    match grammar::parse(&parts.method, path) {
        Err(RouteError::TrailingSlash) => Err(RouteError::TrailingSlash),
        // Whatever the method: the path is not there.
        _ if !served => Err(RouteError::NotFound),
        found => found,
    }
}

fn refuse_route(wrong: &RouteError, uri: &http::Uri, base: &BaseUri) -> Reply {
    match wrong {
        RouteError::TrailingSlash => {
            let location = base.unslashed(uri.path(), uri.query());
            reply::redirect(StatusCode::TEMPORARY_REDIRECT, &location)
        }
        RouteError::NotFound => reply::empty(StatusCode::NOT_FOUND),
        RouteError::MethodNotAllowed { allow } => reply::method_not_allowed(allow),
        RouteError::BadField(wrong) => reply::bad_field(wrong),
    }
}

/// Compresses a response in the way that the request accepts, if that makes it smaller.
async fn compress(reply: Reply, headers: &HeaderMap) -> Reply {
    use tower::ServiceExt as _;
    use tower_http::compression::Compression;
    let mut request = Request::new(());
    for value in headers.get_all(ACCEPT_ENCODING) {
        request.headers_mut().append(ACCEPT_ENCODING, value.clone());
    }
    let mut reply = Some(reply);
    let service = tower::service_fn(move |_: Request<()>| {
        let reply = reply.take().unwrap_or_default();
        std::future::ready(Ok::<_, std::convert::Infallible>(reply))
    });
    match Compression::new(service).oneshot(request).await {
        Ok(reply) => reply.map(super::body::compressed),
        Err(never) => match never {},
    }
}

/// The methods that are counted by name.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
