//! What other members reach: the listener for peers.
//!
//! Nothing is read or kept for somebody who does not know the secret. What was authenticated is
//! bounded in size and in number of bytes at a time, and what changes something is done to its end
//! even if whoever asked goes away in between.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};

use super::body::{Outgoing, Untaken, take};
use super::client::IDLE;
use super::identity::{Authentic, Caller, Objection, PeerIdentity, REPLY_LENGTH, Refused};
use super::kind::Kind;
use super::wire::{self, Frame, Malformed};
use crate::cluster::RingService;
use crate::http::api::{Origin, Surface};
use crate::http::body::ReplyBody;
use crate::http::edge::{Answers, Edge, EdgeLimits, Received};
use crate::spoke::peers::{PeerService, Refusal};

/// The longest that the next part of a body may take.
const PART_PATIENCE: Duration = Duration::from_secs(10);
/// The longest that the rest of a refused body is let come.
const DRAIN: Duration = Duration::from_secs(1);
/// The largest request without payload, and what may stand beside one, in bytes.
pub(super) const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// Items that one request asks for and that are looked for at a time.
const GETS_AT_ONCE: usize = 4;
/// Once an answer has this many bytes, the items that are still asked for are left out of it.
const GETS_BYTES: usize = 1024 * 1024;
/// One permit stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

/// The limits of what a member takes from others.
#[derive(Debug, Clone, Copy)]
pub struct PeerServerLimits {
    /// The largest item, in bytes.
    pub item_bytes: u64,
    /// The bytes of requests and replies held at any one time.
    pub inflight_bytes: u64,
}

/// Answers other members.
pub struct PeerServer {
    identity: Arc<PeerIdentity>,
    replica: Arc<dyn PeerService>,
    rings: Arc<dyn RingService>,
    body_max: usize,
    /// The bytes of requests, and of replies: members that take their time with these keep none from
    /// asking.
    requests: Arc<Semaphore>,
    replies: Arc<Semaphore>,
}

impl PeerServer {
    /// A server that answers with these services.
    pub fn new(
        identity: Arc<PeerIdentity>,
        replica: Arc<dyn PeerService>,
        rings: Arc<dyn RingService>,
        limits: PeerServerLimits,
    ) -> Arc<Self> {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX / 2);
        let permits = bytes(limits.inflight_bytes).div_ceil(PERMIT_BYTES);
        let permits = permits.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            identity,
            replica,
            rings,
            body_max: bytes(limits.item_bytes).saturating_add(MESSAGE_MAX),
            requests: Arc::new(Semaphore::new(permits)),
            replies: Arc::new(Semaphore::new(permits)),
        })
    }

    /// Serves until told to stop; then what is being answered is answered, and nothing else.
    ///
    /// Connections may be idle for longer than other members leave them so, whatever the limits
    /// say: or one would be closed just when something is asked on it.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        mut limits: EdgeLimits,
        stop: watch::Receiver<bool>,
    ) {
        limits.idle = limits.idle.max(2 * IDLE);
        let edge = Edge {
            name: "peer",
            listener,
            surface: Surface::Peers,
            tls: None,
            limits,
        };
        let clock = Arc::clone(self.identity.clock());
        edge.serve(self, clock, stop).await;
    }

    /// Whether a request may be taken, and the bytes for it.
    fn admit(
        &self,
        kind: Kind,
        authentic: &Authentic,
    ) -> Result<(Caller, OwnedSemaphorePermit), Objection> {
        let caller = self.identity.admit(kind, &authentic.head)?;
        let max = if kind.carries_payload() {
            self.body_max
        } else {
            MESSAGE_MAX
        };
        if caller.body > max {
            let reason = format!("a request of {} bytes, of at most {max}", caller.body);
            return Err((Refused::TooLarge, reason));
        }
        let share = share(&self.requests, caller.body)?;
        Ok((caller, share))
    }

    /// Admits a request, reads its body and has it answered.
    async fn answer_to(
        &self,
        kind: Kind,
        authentic: &Authentic,
        body: Received,
    ) -> Result<Vec<Frame>, Objection> {
        let (caller, share) = match self.admit(kind, authentic) {
            Ok(admitted) => admitted,
            Err(objection) => {
                drain(body).await;
                return Err(objection);
            }
        };
        let signer = self.identity.secret().body(&authentic.mac);
        let body = take(body, caller.body, signer, PART_PATIENCE)
            .await
            .map_err(|untaken| {
                let reason = match untaken {
                    Untaken::Broken(reason) => reason,
                    Untaken::Length => "the body is not as long as was said".to_owned(),
                    Untaken::Forged => "the body is not what was sent".to_owned(),
                };
                (Refused::Malformed, reason)
            })?;
        let frames = wire::frames(body)?;
        match kind {
            Kind::Append => self.append(caller, frames, share).await,
            Kind::Stage | Kind::Write | Kind::Settle => {
                self.change(kind, caller, one(frames)?, share).await
            }
            _ => self.ask(kind, &caller, frames).await,
        }
    }

    /// Appends are taken in the order in which they were sent: a batch that was overtaken by a
    /// later one is refused, and none begins before the one before it has been answered.
    async fn append(
        &self,
        caller: Caller,
        frames: Vec<Bytes>,
        share: OwnedSemaphorePermit,
    ) -> Result<Vec<Frame>, Objection> {
        let requests = frames
            .into_iter()
            .map(wire::decode_append)
            .collect::<Result<Vec<_>, _>>()?;
        let mut last: OwnedMutexGuard<u64> = caller.turn.lock_owned().await;
        if caller.counter <= *last {
            let reason = "it was overtaken by later appends".to_owned();
            return Err((Refused::Seen, reason));
        }
        *last = caller.counter;
        let replica = Arc::clone(&self.replica);
        to_its_end(async move {
            let answers = replica.append(&caller.from, requests).await;
            drop((last, share));
            answers.into_iter().map(wire::encode_appended).collect()
        })
        .await
    }

    async fn change(
        &self,
        kind: Kind,
        caller: Caller,
        frame: Bytes,
        share: OwnedSemaphorePermit,
    ) -> Result<Vec<Frame>, Objection> {
        let (replica, from) = (Arc::clone(&self.replica), caller.from);
        let done = match kind {
            Kind::Stage => {
                let (write_id, payload) = wire::decode_stage(frame)?;
                to_its_end(async move {
                    let staged = replica.stage(&from, write_id, payload).await;
                    drop(share);
                    staged.map(|()| None)
                })
                .await?
            }
            Kind::Settle => {
                let request = wire::decode_settle(frame)?;
                to_its_end(async move {
                    let answer = replica.settle(&from, request).await;
                    Ok(Some(wire::encode_settled(answer)))
                })
                .await?
            }
            _ => {
                let request = wire::decode_write(frame)?;
                to_its_end(async move {
                    let written = replica.write(&from, request).await;
                    drop(share);
                    Ok(Some(wire::encode_written(written)))
                })
                .await?
            }
        };
        Ok(done.map_err(refusal)?.into_iter().collect())
    }

    async fn ask(
        &self,
        kind: Kind,
        caller: &Caller,
        frames: Vec<Bytes>,
    ) -> Result<Vec<Frame>, Objection> {
        let (replica, rings, from) = (&self.replica, &self.rings, &caller.from);
        let frame = match kind {
            Kind::Ping => return Ok(Vec::new()),
            Kind::Vouch => wire::encode_vouched(&rings.vouch(from).await),
            Kind::History => wire::encode_history(&*rings.history(from).await)?,
            Kind::Channels => wire::encode_channels(rings.channels(from).await),
            Kind::Report => {
                let request = wire::decode_report_request(one(frames)?)?;
                let report = replica.report(from, request).await.map_err(refusal)?;
                wire::encode_report(&report)
            }
            Kind::Get => {
                let wanted = frames.into_iter().map(wire::decode_get);
                let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
                let (mut answers, mut bytes) = (Vec::with_capacity(wanted.len()), 0);
                let got = wanted.into_iter();
                let got = got.map(|(channel, key)| replica.get(from, channel, key));
                let mut got = futures_util::stream::iter(got).buffered(GETS_AT_ONCE);
                while let Some(answer) = got.next().await {
                    let frame = wire::encode_got(answer);
                    bytes += frame.len();
                    answers.push(frame);
                    // What is left out is asked for again.
                    if bytes >= GETS_BYTES {
                        break;
                    }
                }
                return Ok(answers);
            }
            Kind::Digests => {
                let range = wire::decode_digests_range(one(frames)?)?;
                let digests = replica.digests(from, range).await.map_err(refusal)?;
                wire::encode_digests(&digests)
            }
            Kind::Inventory => {
                let request = wire::decode_inventory_request(one(frames)?)?;
                let inventory = replica.inventory(from, request).await.map_err(refusal)?;
                wire::encode_inventory(&inventory)
            }
            Kind::Fetch => {
                let items = wire::decode_fetch(one(frames)?)?;
                let fetched = replica.fetch(from, items).await.map_err(refusal)?;
                let frame = |(channel, item)| wire::encode_fetched(channel, item);
                return Ok(fetched.into_iter().map(frame).collect());
            }
            Kind::Append | Kind::Stage | Kind::Settle | Kind::Write => {
                return Err((Refused::Malformed, "that is no question".to_owned()));
            }
        };
        Ok(vec![frame])
    }

    fn reply(
        &self,
        kind: Kind,
        authentic: &Authentic,
        outcome: Result<Vec<Frame>, Objection>,
    ) -> Response<ReplyBody> {
        let (mut frames, mut objection) = match outcome {
            Ok(frames) => (frames, None),
            Err(objection) => (Vec::new(), Some(objection)),
        };
        let length: usize = frames.iter().map(Frame::len).sum();
        // What was done must not be answered by a refusal; and those answers are small.
        let mut held = None;
        if !kind.changes() {
            match share(&self.replies, length) {
                Ok(share) => held = Some(share),
                Err(overloaded) => {
                    frames.clear();
                    objection = Some(overloaded);
                }
            }
        }
        let status = objection.as_ref().map_or(200, |(why, _)| why.status());
        let head = Frame::of(&self.identity.reply_head(objection));
        let outgoing = Outgoing::new(std::iter::once(head).chain(frames));
        let length = outgoing.len();
        let signer = self.identity.secret().reply(&authentic.mac, status);
        let mut signed = outgoing.signed(signer);
        let body = match signed.whole() {
            Some(whole) => ReplyBody::Whole(whole),
            None => ReplyBody::Parts(Box::pin(futures_util::stream::iter(std::iter::from_fn(
                move || {
                    let _held = &held;
                    signed.next().map(Ok)
                },
            )))),
        };
        let mut reply = Response::new(body);
        *reply.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        reply.headers_mut().insert(REPLY_LENGTH, length.into());
        reply
    }
}

impl Answers for PeerServer {
    async fn answer(&self, request: Request<Received>, origin: Origin) -> Response<ReplyBody> {
        let (parts, body) = request.into_parts();
        let kind = match Kind::at(parts.uri.path()) {
            Some(kind) if parts.method == Method::POST => kind,
            _ => return plain(StatusCode::NOT_FOUND, "members ask other things here\n"),
        };
        let Some(authentic) = self.identity.authenticate(kind, &parts.headers) else {
            crate::metric::peer_answered(kind.label(), "unauthenticated");
            tracing::debug!(peer = %origin.peer, kind = kind.label(), "a request without the cluster's secret");
            return plain(
                StatusCode::UNAUTHORIZED,
                "the cluster's secret is not known\n",
            );
        };
        let outcome = self.answer_to(kind, &authentic, body).await;
        let result = match &outcome {
            Ok(_) => "ok",
            Err((why, reason)) => {
                let from = &authentic.head.from;
                tracing::debug!(peer = %from, kind = kind.label(), ?why, reason, "refused");
                "refused"
            }
        };
        crate::metric::peer_answered(kind.label(), result);
        self.reply(kind, &authentic, outcome)
    }
}

/// Takes that many of the bytes that may be held.
fn share(held: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Objection> {
    let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
    let permits = Arc::clone(held).try_acquire_many_owned(permits);
    permits.map_err(|_| (Refused::Overloaded, "too many bytes are held".to_owned()))
}

/// Lets a body come that nobody wants, for a while: a sender that is cut off in the middle of it
/// would not see the refusal.
async fn drain(mut body: Received) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // Then it is cut off.
    let _ = tokio::time::timeout(DRAIN, all).await;
}

/// Goes on also when whoever waits for it does not.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Objection> {
    tokio::spawn(work)
        .await
        .map_err(|error| (Refused::Failed, error.to_string()))
}

fn one(frames: Vec<Bytes>) -> Result<Bytes, Malformed> {
    let mut frames = frames.into_iter();
    match (frames.next(), frames.next()) {
        (Some(frame), None) => Ok(frame),
        _ => Err(Malformed("not one question")),
    }
}

fn refusal(refusal: Refusal) -> Objection {
    (Refused::Service, refusal.0)
}

impl From<Malformed> for Objection {
    fn from(malformed: Malformed) -> Self {
        (Refused::Malformed, malformed.to_string())
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<ReplyBody> {
    let mut reply = Response::new(ReplyBody::Whole(Bytes::from_static(text.as_bytes())));
    *reply.status_mut() = status;
    reply
}
