//! Listeners and connections: accepting, limits, timeouts, TLS, and an orderly end.
//!
//! Time limits of connections are kept by one look at all of them a few times a second, and not by
//! a timer for each request: a request costs two atomic stores for them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::api::{Api, Origin, Surface};
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

/// How often connections are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The longest a head may be, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// A connection's phase: nothing has come since the last response.
const IDLE: u8 = 0;
/// A part of a head has come.
const HEAD: u8 = 1;
/// A request is being answered.
const BUSY: u8 = 2;

/// What is looked at of one connection. Times are milliseconds of boot time.
#[derive(Debug, Default)]
struct Watched {
    phase: AtomicU8,
    /// When the phase began, or anything last happened.
    since: AtomicU64,
    /// When a write began to wait for the client; 0: none waits.
    stalled: AtomicU64,
    /// The connection speaks HTTP/2, where a request is not all that is read.
    multiplexed: std::sync::atomic::AtomicBool,
}

/// A connection, and how to close it once its task runs.
type Connection = (Arc<Watched>, Option<AbortHandle>);

/// The connections of one listener.
struct Connections {
    now: AtomicU64,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Connection>>,
}

impl Connections {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Closes the connections that have passed a limit.
    fn look(&self, limits: &EdgeLimits) {
        let now = self.now();
        // Times are as of the last look before them: one look more, and nothing is cut early.
        let passed = |since: u64, limit: Duration| {
            let limit = limit.saturating_add(LOOK).as_millis();
            now.saturating_sub(since) > u64::try_from(limit).unwrap_or(u64::MAX)
        };
        for (watched, abort) in self.open.lock().values() {
            let since = watched.since.load(Ordering::Relaxed);
            let stalled = watched.stalled.load(Ordering::Relaxed);
            let multiplexed = watched.multiplexed.load(Ordering::Relaxed);
            let cut = match watched.phase.load(Ordering::Relaxed) {
                _ if stalled != 0 && passed(stalled, limits.write) => Some("write"),
                HEAD if !multiplexed && passed(since, limits.head) => Some("head"),
                IDLE | HEAD if passed(since, limits.idle) => Some("idle"),
                _ => None,
            };
            if let (Some(result), Some(abort)) = (cut, abort) {
                crate::metric::connection_cut(result);
                abort.abort();
            }
        }
    }
}

impl Edge {
    /// Serves until told to stop; then no connection is accepted, and those that are open end with
    /// the request they are at.
    pub async fn serve(self, api: Arc<Api>, clock: Arc<HubClock>, mut stop: watch::Receiver<bool>) {
        let connections = Arc::new(Connections {
            now: AtomicU64::new(millis(&clock)),
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

    fn open(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        api: &Arc<Api>,
        connections: &Arc<Connections>,
        graceful: &GracefulShutdown,
    ) {
        // Answers are small and awaited: never hold one back to fill a packet.
        let _ = stream.set_nodelay(true);
        let watched = Arc::new(Watched::default());
        watched.since.store(connections.now(), Ordering::Relaxed);
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
        let io = WatchedIo {
            io: stream,
            watched: Arc::clone(&watched),
            connections: Arc::clone(connections),
            started: false,
        };
        let guard = Guard {
            connections: Arc::clone(connections),
            number,
            _permit: permit,
        };
        let (api, connections, watcher) =
            (Arc::clone(api), Arc::clone(connections), graceful.watcher());
        let tls = self.tls.clone();
        let limit = self.limits.head;
        let registry = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let _guard = guard;
            let Some(tls) = tls else {
                converse(io, watched, connections, api, origin, watcher).await;
                return;
            };
            match tokio::time::timeout(limit, tls.accept(io)).await {
                Ok(Ok(io)) => converse(io, watched, connections, api, origin, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, %peer, "no TLS connection"),
                Err(_) => crate::metric::connection_cut("tls"),
            }
        });
        if let Some((_, abort)) = registry.open.lock().get_mut(&number) {
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

async fn converse<I>(
    io: I,
    watched: Arc<Watched>,
    connections: Arc<Connections>,
    api: Arc<Api>,
    origin: Origin,
    watcher: hyper_util::server::graceful::Watcher,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
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
        watched.phase.store(BUSY, Ordering::Relaxed);
        let (watched, connections) = (Arc::clone(&watched), Arc::clone(&connections));
        async move {
            let handled = AssertUnwindSafe(api.handle(request, origin)).catch_unwind();
            let reply = handled
                .await
                .unwrap_or_else(|_| super::reply::internal("the request's handler panicked"));
            watched.since.store(connections.now(), Ordering::Relaxed);
            watched.phase.store(IDLE, Ordering::Relaxed);
            Ok::<_, Infallible>(reply)
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

/// A connection that says when something happens on it.
struct WatchedIo<I> {
    io: I,
    watched: Arc<Watched>,
    connections: Arc<Connections>,
    started: bool,
}

impl<I> WatchedIo<I> {
    fn happened(&self) {
        let now = self.connections.now();
        self.watched.since.store(now, Ordering::Relaxed);
    }

    /// Bytes came: if nothing was going on, they begin a head.
    fn arrived(&mut self, bytes: &[u8]) {
        if !self.started {
            self.started = true;
            // The preface of HTTP/2; no method begins like it.
            let multiplexed = bytes.starts_with(b"PRI");
            self.watched
                .multiplexed
                .store(multiplexed, Ordering::Relaxed);
        }
        let began =
            self.watched
                .phase
                .compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed);
        if began.is_ok() || self.watched.multiplexed.load(Ordering::Relaxed) {
            self.happened();
        }
    }

    /// The outcome of a write: while the client takes nothing, it counts as stalled.
    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        if outcome.is_pending() {
            let now = self.connections.now();
            let stalled = &self.watched.stalled;
            // Only the first of several waits starts the time.
            let _ = stalled.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        } else {
            self.watched.stalled.store(0, Ordering::Relaxed);
            if self.watched.phase.load(Ordering::Relaxed) == IDLE {
                self.happened();
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for WatchedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buf);
        let bytes = buf.filled().get(before..).unwrap_or_default();
        if !bytes.is_empty() {
            self.arrived(bytes);
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for WatchedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(context, buf);
        self.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, bufs);
        self.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
