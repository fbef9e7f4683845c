//! What is watched of one connection, so that a look at it tells whether it has passed a limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{EdgeLimits, LOOK};
use crate::http::body::ReplyBody;

/// What is looked at of one connection. Times are milliseconds of boot time.
#[derive(Debug)]
pub(super) struct Watched {
    /// The time as of the last look.
    now: Arc<AtomicU64>,
    /// How many requests are being answered.
    requests: AtomicU32,
    /// While none is: a part of a head has come, where heads come one after the other.
    head: AtomicBool,
    /// When anything last happened, as far as it counts.
    since: AtomicU64,
    /// When a write began to wait for the client; 0: none waits.
    stalled: AtomicU64,
    /// The connection speaks HTTP/2, where a request is not all that is read, nor a response all
    /// that is written.
    multiplexed: AtomicBool,
}

impl Watched {
    /// Of a connection that was opened just now.
    pub(super) fn new(now: Arc<AtomicU64>) -> Self {
        let since = AtomicU64::new(now.load(Ordering::Relaxed));
        Self {
            now,
            requests: AtomicU32::new(0),
            head: AtomicBool::new(false),
            since,
            stalled: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
        }
    }

    /// The limit that the connection has passed.
    pub(super) fn passed(&self, limits: &EdgeLimits) -> Option<&'static str> {
        let now = self.now.load(Ordering::Relaxed);
        // Times are as of the last look before them: one look more, and nothing is cut early.
        let passed = |since: u64, limit: Duration| {
            let limit = limit.saturating_add(LOOK).as_millis();
            now.saturating_sub(since) > u64::try_from(limit).unwrap_or(u64::MAX)
        };
        let stalled = self.stalled.load(Ordering::Relaxed);
        if stalled != 0 {
            return passed(stalled, limits.write).then_some("write");
        }
        // Whoever sees that a request has ended is to see when.
        if self.requests.load(Ordering::Acquire) != 0 {
            return None;
        }
        let since = self.since.load(Ordering::Relaxed);
        let head = self.head.load(Ordering::Relaxed);
        if head && passed(since, limits.head) {
            return Some("head");
        }
        passed(since, limits.idle).then_some("idle")
    }

    /// A TLS connection has agreed on HTTP/2, or on the older one.
    pub(super) fn agreed(&self, multiplexed: bool) {
        self.multiplexed.store(multiplexed, Ordering::Relaxed);
        // What came so far was no head.
        self.head.store(false, Ordering::Relaxed);
        self.happened();
    }

    fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    fn happened(&self) {
        let now = self.now.load(Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
    }

    /// Bytes came: if nothing was going on, they begin a head.
    fn arrived(&self) {
        let idle = self.requests.load(Ordering::Relaxed) == 0 && !self.is_multiplexed();
        if idle && !self.head.swap(true, Ordering::Relaxed) {
            self.happened();
        }
    }

    /// The outcome of a write: while the client takes nothing, it counts as stalled.
    fn wrote(&self, waits: bool) {
        if waits {
            let now = self.now.load(Ordering::Relaxed);
            // Only the first of several waits starts the time.
            let _ = self
                .stalled
                .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            return;
        }
        self.stalled.store(0, Ordering::Relaxed);
        // A response is sent after its request has been answered, and the next request may be
        // there already: its time starts when the response is out. In HTTP/2 writes need not be
        // of responses; there it counts what is taken of them.
        if self.requests.load(Ordering::Relaxed) == 0 && !self.is_multiplexed() {
            self.happened();
        }
    }
}

/// A request that is being answered. It ends also when nobody waits for the answer any more.
pub(super) struct Answering(Arc<Watched>);

impl Answering {
    /// From now on.
    pub(super) fn new(watched: Arc<Watched>) -> Self {
        watched.requests.fetch_add(1, Ordering::Relaxed);
        watched.head.store(false, Ordering::Relaxed);
        Self(watched)
    }

    /// It is answered, and this is to be sent.
    pub(super) fn sending(self, body: ReplyBody) -> Sending {
        Sending {
            watched: Arc::clone(&self.0),
            body,
            rest: Bytes::new(),
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.happened();
        self.0.requests.fetch_sub(1, Ordering::Release);
    }
}

/// A request's body, which counts as being answered for as long as anybody has it: one that nobody wants is
/// read on after its answer, and what comes of it is no head.
pub struct Received {
    body: Incoming,
    _answering: Answering,
}

impl Received {
    pub(super) fn new(body: Incoming, watched: Arc<Watched>) -> Self {
        Self {
            body,
            _answering: Answering::new(watched),
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The most that HTTP/2 is given at a time.
const PIECE: usize = 64 * 1024;

/// A response's body while it is sent.
///
/// A client of HTTP/2 that opens no window is alive, and yet takes nothing. So there the body is
/// given out in pieces: the next is asked for only when the client may be sent it, and that is what
/// counts as something happening.
pub(super) struct Sending {
    watched: Arc<Watched>,
    body: ReplyBody,
    rest: Bytes,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.watched.is_multiplexed() {
            return Pin::new(&mut self.body).poll_frame(context);
        }
        self.watched.happened();
        if self.rest.is_empty() {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// A connection that says when something happens on it.
pub(super) struct WatchedIo<I> {
    io: I,
    watched: Arc<Watched>,
    /// What comes first is still to come, and tells what is spoken.
    telling: bool,
}

impl<I> WatchedIo<I> {
    /// Of an open connection; whether the first bytes on it tell what is spoken.
    pub(super) fn new(io: I, watched: Arc<Watched>, telling: bool) -> Self {
        Self {
            io,
            watched,
            telling,
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        if std::mem::take(&mut self.telling) {
            // The preface of HTTP/2; no method begins like it.
            let multiplexed = bytes.starts_with(b"PRI");
            let known = &self.watched.multiplexed;
            known.store(multiplexed, Ordering::Relaxed);
        }
        self.watched.arrived();
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
        self.watched.wrote(outcome.is_pending());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, bufs);
        self.watched.wrote(outcome.is_pending());
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const LIMITS: EdgeLimits = EdgeLimits {
        head: Duration::from_secs(1),
        idle: Duration::from_mins(1),
        write: Duration::from_secs(30),
        connections: 1,
    };

    /// Time passes; the limit that the connection then has passed.
    fn after(watched: &Watched, seconds: u64) -> Option<&'static str> {
        watched.now.fetch_add(seconds * 1000, Ordering::Relaxed);
        watched.passed(&LIMITS)
    }

    fn connection(multiplexed: bool) -> Arc<Watched> {
        let watched = Watched::new(Arc::new(AtomicU64::new(1000)));
        watched.agreed(multiplexed);
        Arc::new(watched)
    }

    #[test]
    fn heads_requests_and_idle_connections_have_their_limits() {
        let watched = connection(false);
        assert_eq!(after(&watched, 59), None);
        watched.arrived();
        assert_eq!(after(&watched, 1), None);
        // More of the head gives it no more time.
        watched.arrived();
        assert_eq!(after(&watched, 1), Some("head"));
        let request = Answering::new(Arc::clone(&watched));
        assert_eq!(after(&watched, 1000), None);
        drop(request);
        assert_eq!(after(&watched, 60), None);
        assert_eq!(after(&watched, 1), Some("idle"));
    }

    #[test]
    fn a_request_that_waits_does_not_cut_the_response_before_it() {
        let watched = connection(false);
        drop(Answering::new(Arc::clone(&watched)));
        watched.arrived();
        for _ in 0..100 {
            watched.wrote(false);
            assert_eq!(after(&watched, 1), None);
        }
        // Nor does it while the client takes its time.
        watched.wrote(true);
        assert_eq!(after(&watched, 30), None);
        watched.wrote(false);
        assert_eq!(after(&watched, 1), None);
        assert_eq!(after(&watched, 1), Some("head"));
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut() {
        for multiplexed in [false, true] {
            let watched = connection(multiplexed);
            let _request = Answering::new(Arc::clone(&watched));
            watched.wrote(true);
            assert_eq!(after(&watched, 20), None);
            watched.wrote(true);
            assert_eq!(after(&watched, 11), Some("write"));
        }
    }

    #[test]
    fn a_connection_is_busy_until_the_last_of_its_requests_has_ended() {
        let watched = connection(true);
        let one = Answering::new(Arc::clone(&watched));
        let other = Answering::new(Arc::clone(&watched));
        drop(one);
        assert_eq!(after(&watched, 1000), None);
        // Also if it was given up.
        drop(other);
        assert_eq!(after(&watched, 60), None);
        assert_eq!(after(&watched, 1), Some("idle"));
    }

    #[tokio::test]
    async fn only_what_is_taken_of_responses_keeps_http2_alive() {
        let watched = connection(true);
        let whole = Bytes::from(vec![7; 3 * PIECE + 1]);
        let request = Answering::new(Arc::clone(&watched));
        let mut sending = request.sending(ReplyBody::Whole(whole.clone()));
        assert_eq!(sending.size_hint().exact(), Some(whole.len() as u64));
        let mut taken = Vec::new();
        for _ in 0..3 {
            assert_eq!(after(&watched, 59), None);
            let piece = sending.frame().await.unwrap().unwrap().into_data();
            taken.extend(piece.unwrap());
            assert!(!sending.is_end_stream());
        }
        assert_eq!(sending.size_hint().exact(), Some(1));
        // Pings and their answers.
        for _ in 0..3 {
            assert_eq!(after(&watched, 20), None);
            watched.arrived();
            watched.wrote(false);
        }
        assert_eq!(after(&watched, 20), Some("idle"));
        taken.extend(sending.collect().await.unwrap().to_bytes());
        assert_eq!(taken, whole);
    }
}
