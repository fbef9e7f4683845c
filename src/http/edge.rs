//! Listeners and connections: accepting, limits, timeouts, TLS, and an orderly end.
//!
//! Time limits of connections are kept by one look at all of them a few times a second, and not by
//! a timer for each request: a request costs a few atomic stores for them.

mod watched;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

pub use watched::Received;
use watched::{Answering, Watched, WatchedIo};

use super::api::{Api, Origin, Surface};
use super::body::ReplyBody;
use super::links::Scheme;
use crate::env::HubClock;

/// The limits of a listener's connections.
#[derive(Debug, Clone)]
pub struct EdgeLimits {
    /// A request's head must have arrived this long after its first byte.
    pub head: Duration,
    /// A connection on which nothing happens is closed after this time.
    pub idle: Duration,
    /// The longest time that a client may take no bytes of a response.
    pub write: Duration,
    /// Open connections at most; further ones wait to be accepted.
    pub connections: usize,
}

/// A listener.
pub struct Edge {
    /// What it is called in metrics.
    pub name: &'static str,
    /// The socket.
    pub listener: TcpListener,
    /// What may be asked on it.
    pub surface: Surface,
    /// TLS, if connections are to speak it.
    pub tls: Option<TlsAcceptor>,
    /// Its limits.
    pub limits: EdgeLimits,
}

/// What answers the requests that come in on a listener.
pub trait Answers: Send + Sync + 'static {
    /// Answers one. It may be dropped half-way, when whoever asked goes away.
    fn answer(
        &self,
        request: Request<Received>,
        origin: Origin,
    ) -> impl Future<Output = Response<ReplyBody>> + Send;
}

impl Answers for Api {
    async fn answer(&self, request: Request<Received>, origin: Origin) -> Response<ReplyBody> {
        self.handle(request, origin).await
    }
}

/// How often connections are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The longest a head may be, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// A connection, and how to close it once its task runs.
type Connection = (Arc<Watched>, Option<AbortHandle>);

/// The connections of one listener.
struct Connections {
    /// The time as of the last look.
    now: Arc<AtomicU64>,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Connection>>,
}

impl Connections {
    /// Closes the connections that have passed a limit.
    fn look(&self, limits: &EdgeLimits) {
        for (watched, abort) in self.open.lock().values() {
            if let (Some(result), Some(abort)) = (watched.passed(limits), abort) {
                crate::metric::connection_cut(result);
                abort.abort();
            }
        }
    }
}

impl Edge {
    /// Serves until told to stop; then no connection is accepted, and those that are open end with
    /// the request they are at.
    pub async fn serve<A: Answers>(
        self,
        api: Arc<A>,
        clock: Arc<HubClock>,
        mut stop: watch::Receiver<bool>,
    ) {
        let connections = Arc::new(Connections {
            now: Arc::new(AtomicU64::new(millis(&clock))),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        let graceful = GracefulShutdown::new();
        let looking = tokio::spawn(look_often(
            Arc::clone(&connections),
            self.limits.clone(),
            clock,
            self.name,
        ));
        loop {
            // A place first: what cannot be served waits where it costs nothing.
            let permit = tokio::select! {
                permit = Arc::clone(&permits).acquire_owned() => permit,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.open(stream, peer, permit, &api, &connections, &graceful);
                }
                Err(error) => {
                    // Out of file handles, or the client went away: go on, but do not spin.
                    tracing::warn!(%error, listener = self.name, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        graceful.shutdown().await;
        looking.abort();
    }

    fn open<A: Answers>(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        api: &Arc<A>,
        connections: &Arc<Connections>,
        graceful: &GracefulShutdown,
    ) {
        // Answers are small and awaited: never hold one back to fill a packet.
        let _ = stream.set_nodelay(true);
        let watched = Arc::new(Watched::new(Arc::clone(&connections.now)));
        let number = connections.next.fetch_add(1, Ordering::Relaxed);
        let entry = (Arc::clone(&watched), None);
        connections.open.lock().insert(number, entry);
        let origin = Origin {
            peer,
            scheme: match self.tls {
                Some(_) => Scheme::Https,
                None => Scheme::Http,
            },
            surface: self.surface,
        };
        // Below TLS there is nothing to be seen of what is spoken.
        let io = WatchedIo::new(stream, Arc::clone(&watched), self.tls.is_none());
        let guard = Guard {
            connections: Arc::clone(connections),
            number,
            _permit: permit,
        };
        let (api, watcher) = (Arc::clone(api), graceful.watcher());
        let tls = self.tls.clone();
        let limit = self.limits.head;
        let task = tokio::spawn(async move {
            let _guard = guard;
            let Some(tls) = tls else {
                converse(io, watched, api, origin, watcher).await;
                return;
            };
            match tokio::time::timeout(limit, tls.accept(io)).await {
                Ok(Ok(io)) => {
                    let agreed = io.get_ref().1.alpn_protocol();
                    watched.agreed(agreed == Some(b"h2"));
                    converse(io, watched, api, origin, watcher).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS connection"),
                Err(_) => crate::metric::connection_cut("tls"),
            }
        });
        if let Some((_, abort)) = connections.open.lock().get_mut(&number) {
            *abort = Some(task.abort_handle());
        }
    }
}

/// Takes a connection off the list when it ends, however it ends.
struct Guard {
    connections: Arc<Connections>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.number);
    }
}

async fn converse<I, A>(
    io: I,
    watched: Arc<Watched>,
    api: Arc<A>,
    origin: Origin,
    watcher: hyper_util::server::graceful::Watcher,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Answers,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    // The head's time is limited by the watch on connections.
    server
        .http1()
        .max_buf_size(HEAD_MAX)
        .header_read_timeout(None);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .max_header_list_size(HEAD_MAX as u32)
        .keep_alive_interval(Duration::from_secs(20));
    let service = service_fn(move |request: Request<Incoming>| {
        let api = Arc::clone(&api);
        let answering = Answering::new(Arc::clone(&watched));
        let request = request.map(|body| Received::new(body, Arc::clone(&watched)));
        async move {
            let reply = api.answer(request, origin).await;
            Ok::<_, Infallible>(reply.map(|body| answering.sending(body)))
        }
    });
    let connection = server
        .serve_connection(TokioIo::new(io), service)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, peer = %origin.peer, "a connection ended");
    }
}

async fn look_often(
    connections: Arc<Connections>,
    limits: EdgeLimits,
    clock: Arc<HubClock>,
    name: &'static str,
) {
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        connections.now.store(millis(&clock), Ordering::Relaxed);
        connections.look(&limits);
        crate::metric::connections(name, connections.open.lock().len());
    }
}

fn millis(clock: &HubClock) -> u64 {
    u64::try_from(clock.boot().as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
