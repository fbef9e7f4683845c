//! One other member: where it is, how it stands, and one question to it at a time of each caller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hub_ring::Member;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::body::{Outgoing, take};
use super::client::{Carrier, transfer};
use super::gets::{Gets, Grounded};
use super::identity::{HEAD, HEAD_MAC, REPLY_LENGTH, Refused};
use super::kind::Kind;
use super::lane::Lane;
use super::place::Place;
use super::replay::SessionId;
use super::server::MESSAGE_MAX;
use super::state::{Event, PeerState, Standing};
use super::wire::messages::ReplyHead;
use super::wire::{self, Frame};
use crate::cluster::{Incarnation, MemberRecord, PeerError};
use crate::http::body::Share;

/// Staged payloads on their way to one member at a time.
const STAGES: usize = 2;
/// A question of more bytes waits for its turn.
const LARGE: usize = 256 * 1024;
/// The longest that a part of a reply may take.
const PART_PATIENCE: Duration = Duration::from_secs(10);

/// Another member.
pub(super) struct Link {
    pub(super) member: Member,
    pub(super) carrier: Arc<Carrier>,
    session: SessionId,
    counter: AtomicU64,
    standing: Mutex<Standing>,
    connected: AtomicBool,
    /// Wakes those that wait for the first try.
    tried: Notify,
    /// Wakes whoever looks after this link.
    pub(super) kick: Notify,
    place: Place,
    known: Mutex<Known>,
    pub(super) lane: Mutex<Lane>,
    pub(super) gets: Mutex<Gets>,
    pub(super) stages: Semaphore,
    /// The bytes of small questions that are asked, appends apart.
    asked: AtomicU64,
    /// The KiB that large ones may still take.
    carrying: Semaphore,
}

/// What is known of a member beside how it stands.
#[derive(Debug, Clone, Default)]
struct Known {
    round_trip: Option<Duration>,
    clock_offset: Option<i64>,
    ring_version: u64,
    error: Option<String>,
}

/// What [`Link::snapshot`] says.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PeerSnapshot {
    /// The member.
    pub member: String,
    /// How it stands.
    pub state: PeerState,
    /// For how long it has stood so, in milliseconds.
    pub for_millis: u64,
    /// The newest run of it that was heard of.
    pub incarnation: Option<Incarnation>,
    /// Where it was last looked for.
    pub address: Option<SocketAddr>,
    /// How long the last question took that is answered at once, in milliseconds.
    pub round_trip_millis: Option<f64>,
    /// Its clock minus this member's, in milliseconds, give or take half of that.
    pub clock_offset_millis: Option<i64>,
    /// The newest ring that it knew of.
    pub ring_version: u64,
    /// The bytes that wait for it, or for its answer.
    pub queue_bytes: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// Why a question has no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// It was not sent.
    NotConnected(String),
    /// It was sent, or may have been.
    NoAnswer(String),
    /// Not in time.
    Late,
    /// It was refused.
    Refused(Refused, String),
}

impl Link {
    pub(super) fn new(member: Member, carrier: Arc<Carrier>) -> Arc<Self> {
        let random = carrier.identity.random();
        let session = random.next_u128().to_be_bytes();
        let now = carrier.identity.clock().boot();
        Arc::new(Self {
            place: Place::new(&member, carrier.settings.default_port),
            member,
            session,
            counter: AtomicU64::new(0),
            standing: Mutex::new(Standing::new(now)),
            connected: AtomicBool::new(false),
            tried: Notify::new(),
            kick: Notify::new(),
            known: Mutex::default(),
            lane: Mutex::default(),
            gets: Mutex::default(),
            stages: Semaphore::new(STAGES),
            asked: AtomicU64::new(0),
            carrying: Semaphore::new(kib(carrier.settings.queue_bytes) as usize),
            carrier,
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> PeerState {
        self.standing.lock().state
    }

    /// When to ask whether it is there.
    pub(super) fn ask_in(&self) -> Duration {
        let identity = &self.carrier.identity;
        let jitter = identity.random().next_u64();
        self.standing.lock().ask_in(identity.clock().boot(), jitter)
    }

    fn happened(&self, event: Event, error: Option<&str>) {
        let now = self.carrier.identity.clock().boot();
        let (before, after) = {
            let mut standing = self.standing.lock();
            let before = standing.state;
            standing.step(event, now);
            self.connected
                .store(standing.state == PeerState::Connected, Ordering::Release);
            (before, standing.state)
        };
        if let Some(error) = error {
            self.known.lock().error = Some(error.to_owned());
        }
        if before == PeerState::New {
            self.tried.notify_waiters();
        }
        if before != after {
            crate::metric::peer_state(self.member.as_str(), after.level());
            let error = error.unwrap_or_default();
            tracing::info!(peer = %self.member, from = ?before, to = ?after, error, "a member stands otherwise");
            if after != PeerState::Connected {
                self.kick.notify_one();
            }
        }
    }

    /// What the member says of itself, as registered.
    pub(super) fn registered(&self, record: &MemberRecord) {
        if self.place.registered(record) {
            self.kick.notify_one();
        }
    }

    /// Looks for the member, if it is not known where it is.
    pub(super) async fn locate(&self) {
        let resolver = self.carrier.resolver.as_ref();
        if let Err(reason) = self.place.locate(resolver).await {
            self.happened(Event::Cut, Some(&reason));
        }
    }

    fn mislaid(&self) {
        self.place.mislaid(self.carrier.resolver.as_ref());
    }

    /// Asks whether the member is there.
    pub(super) async fn ping(self: &Arc<Self>) {
        // What it answers is taken up where all answers are.
        let _ = self
            .ask(Kind::Ping, Vec::new(), Kind::Ping.patience())
            .await;
    }

    /// Asks a question. Waits for nobody but this member, and not if it is known to be down.
    pub(super) async fn ask(
        self: &Arc<Self>,
        kind: Kind,
        frames: Vec<Frame>,
        patience: Duration,
    ) -> Result<Vec<Bytes>, PeerError> {
        let began = tokio::time::Instant::now();
        let outcome = match self.standing(kind).await {
            Ok(()) => self.ask_twice(kind, frames, patience).await,
            Err(failure) => Err(failure),
        };
        let result = match &outcome {
            Ok(_) => "ok",
            Err(Failure::NotConnected(_)) => "not_connected",
            Err(Failure::NoAnswer(_)) => "no_answer",
            Err(Failure::Late) => "late",
            Err(Failure::Refused(..)) => "refused",
        };
        crate::metric::peer_request(kind.label(), result, began.elapsed());
        outcome.map_err(|failure| self.error(failure))
    }

    pub(super) fn error(&self, failure: Failure) -> PeerError {
        let member = self.member.clone();
        match failure {
            Failure::NotConnected(reason) => PeerError::NotConnected { member, reason },
            // One that failed may have been at it.
            Failure::NoAnswer(reason) | Failure::Refused(Refused::Failed, reason) => {
                PeerError::NoAnswer { member, reason }
            }
            Failure::Late => PeerError::NoAnswer {
                member,
                reason: "not in time".to_owned(),
            },
            Failure::Refused(Refused::Overloaded, _) => PeerError::Overloaded { member },
            Failure::Refused(_, reason) => PeerError::Refused { member, reason },
        }
    }

    /// Whether it is worth asking.
    async fn standing(&self, kind: Kind) -> Result<(), Failure> {
        if kind == Kind::Ping || self.is_connected() {
            return Ok(());
        }
        let tried = self.tried.notified();
        if self.state() == PeerState::New {
            let patience = self.carrier.settings.connect_timeout;
            let _ = timeout(patience, tried).await;
        }
        match self.state() {
            PeerState::Connected | PeerState::Suspect => Ok(()),
            PeerState::New => Err(Failure::NotConnected("not yet".to_owned())),
            PeerState::Down => {
                let error = self.known.lock().error.clone();
                Err(Failure::NotConnected(error.unwrap_or_default()))
            }
        }
    }

    /// A member that has registered again since is asked again: it did not act on what was said to
    /// its former registration.
    async fn ask_twice(
        self: &Arc<Self>,
        kind: Kind,
        frames: Vec<Frame>,
        patience: Duration,
    ) -> Result<Vec<Bytes>, Failure> {
        let known = self.carrier.identity.run_of(&self.member);
        let first = self.ask_once(kind, frames.clone(), patience).await;
        match first {
            Err(Failure::Refused(Refused::Run, _))
                if self.carrier.identity.run_of(&self.member) > known =>
            {
                self.ask_once(kind, frames, patience).await
            }
            other => other,
        }
    }

    async fn ask_once(
        self: &Arc<Self>,
        kind: Kind,
        frames: Vec<Frame>,
        patience: Duration,
    ) -> Result<Vec<Bytes>, Failure> {
        let Some(address) = self.place.address() else {
            return Err(Failure::NotConnected("its address is not known".to_owned()));
        };
        let outcome = self.exchange(kind, address, frames, patience).await;
        match &outcome {
            Ok(_) if kind == Kind::Append => self.happened(Event::Appended, None),
            Ok(_) => self.happened(Event::Answered, None),
            Err(Failure::Late) if kind == Kind::Append => {
                self.happened(
                    Event::AppendLate,
                    Some("an append was not answered in time"),
                );
            }
            Err(Failure::Late) if kind == Kind::Ping => {
                self.mislaid();
                self.happened(Event::Silent, Some("no answer in time"));
            }
            // A large answer may take longer than somebody cared to wait.
            Err(Failure::Late) => {}
            Err(Failure::NotConnected(reason) | Failure::NoAnswer(reason)) => {
                self.mislaid();
                self.happened(Event::Cut, Some(reason));
            }
            Err(Failure::Refused(refused, reason)) => match refused {
                Refused::Protocol
                | Refused::Cluster
                | Refused::Member
                | Refused::OldSender
                | Refused::Time => {
                    self.mislaid();
                    self.happened(Event::Cut, Some(reason));
                }
                _ => self.happened(Event::Answered, None),
            },
        }
        outcome
    }

    /// Sends a question, and authenticates the answer: its head is waited for that long, and the rest
    /// again, with a second more for each so many bytes.
    async fn exchange(
        self: &Arc<Self>,
        kind: Kind,
        address: SocketAddr,
        frames: Vec<Frame>,
        patience: Duration,
    ) -> Result<Vec<Bytes>, Failure> {
        let identity = &self.carrier.identity;
        let outgoing = Outgoing::new(frames);
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        let (head, code, mac) =
            identity.introduce(kind, &self.member, self.session, counter, outgoing.len());
        let began = tokio::time::Instant::now();
        let sent_at = identity.clock().now();
        let mut signed = outgoing.signed(identity.secret().body(&mac));
        let length = signed.left();
        let body = match signed.whole() {
            Some(whole) => reqwest::Body::from(whole),
            None => reqwest::Body::wrap_stream(futures_util::stream::iter(std::iter::from_fn(
                move || signed.next().map(Ok::<_, std::convert::Infallible>),
            ))),
        };
        let sending = self
            .carrier
            .client(kind, length)
            .post(format!("http://{address}{}", kind.path()))
            .header(HEAD, head)
            .header(HEAD_MAC, code)
            .header(http::header::CONTENT_LENGTH, length)
            .body(body)
            .send();
        let reply = timeout(patience, sending)
            .await
            .map_err(|_| Failure::Late)?
            .map_err(|error| {
                let reason = innermost(&error);
                if error.is_connect() {
                    Failure::NotConnected(reason)
                } else {
                    Failure::NoAnswer(reason)
                }
            })?;
        let status = reply.status().as_u16();
        let said = reply.headers().get(REPLY_LENGTH);
        let length = said.and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        let Some(length) = length else {
            let reason = format!("{address} is no member of this cluster: it answered {status}");
            return Err(Failure::NoAnswer(reason));
        };
        if length > self.carrier.reply_max(kind) {
            let reason = format!("an answer of {length} bytes");
            return Err(if kind.carries_payload() {
                Failure::NoAnswer(reason)
            } else {
                // Nothing was to be acted upon, and the member is there.
                Failure::Refused(Refused::TooLarge, reason)
            });
        }
        let held = self.held(kind, length, patience).await?;
        let signer = identity.secret().reply(&mac, status);
        let body = http::Response::<reqwest::Body>::from(reply).into_body();
        let taking = take(body, length, signer, PART_PATIENCE);
        let body = timeout(patience + transfer(length), taking)
            .await
            .map_err(|_| Failure::Late)?
            .map_err(|untaken| Failure::NoAnswer(format!("no proper answer: {untaken:?}")))?;
        let body = match held {
            Some((share, _)) => share.of(body),
            None => body,
        };
        let malformed = |error: wire::Malformed| Failure::NoAnswer(error.to_string());
        let mut frames = wire::frames(body).map_err(malformed)?;
        if frames.is_empty() {
            return Err(Failure::NoAnswer("an empty answer".to_owned()));
        }
        let head: ReplyHead = wire::message(frames.remove(0)).map_err(malformed)?;
        // What it says of itself is true: it knows the secret, and the request.
        if head.refused == 0 && head.from != self.member.as_str() {
            return Err(Failure::NoAnswer(format!("{} answered", head.from)));
        }
        if head.from == self.member.as_str() {
            let run = Incarnation(head.incarnation);
            if identity
                .run_of(&self.member)
                .is_some_and(|known| known > run)
            {
                let reason = format!("run {} answered, and a newer one is known", run.0);
                return Err(match Refused::of_code(head.refused) {
                    Some(Refused::Failed) | None => Failure::NoAnswer(reason),
                    Some(_) => Failure::Refused(Refused::OldSender, reason),
                });
            }
            identity.heard_of(&self.member, run);
            let mut known = self.known.lock();
            known.ring_version = head.ring_version;
            if kind == Kind::Ping {
                let took = began.elapsed();
                known.round_trip = Some(took);
                let half = i64::try_from(took.as_millis() / 2).unwrap_or(i64::MAX);
                known.clock_offset = Some(head.clock.saturating_sub(sent_at.get()) - half);
            }
        }
        match Refused::of_code(head.refused) {
            None if head.refused == 0 => Ok(frames),
            None => Err(Failure::Refused(Refused::Failed, head.reason)),
            Some(refused) => Err(Failure::Refused(refused, head.reason)),
        }
    }

    /// Waits for room for an answer of that many bytes, where it is of items, which clients may take
    /// their time with.
    async fn held(
        self: &Arc<Self>,
        kind: Kind,
        length: usize,
        patience: Duration,
    ) -> Result<Option<(Share, Option<Grounded>)>, Failure> {
        if kind != Kind::Get || length <= LARGE {
            return Ok(None);
        }
        let grounded = Grounded::of(self);
        let answers = &self.carrier.settings.answers;
        let held = answers.wait(length as u64, patience).await;
        held.map(|share| Some((share, grounded))).map_err(|full| {
            let reason = format!("this node holds too much for its clients: {full}");
            Failure::Refused(Refused::Overloaded, reason)
        })
    }

    /// Counts that many bytes as waiting. Large questions wait for their turn, so that many small ones
    /// cannot keep a large one out, nor a large one the small ones; of those there may not be too many.
    ///
    /// # Errors
    /// [`PeerError::Overloaded`].
    pub(super) async fn charge(
        self: &Arc<Self>,
        bytes: usize,
        patience: Duration,
    ) -> Result<Charge<'_>, PeerError> {
        if bytes <= LARGE {
            return self.charge_small(bytes as u64).map(Charge::Small);
        }
        let all = kib(self.carrier.settings.queue_bytes);
        let turn = self.carrying.acquire_many(kib(bytes as u64).min(all));
        match timeout(patience, turn).await {
            Ok(Ok(turn)) => Ok(Charge::Large(turn)),
            _ => Err(PeerError::Overloaded {
                member: self.member.clone(),
            }),
        }
    }

    fn charge_small(self: &Arc<Self>, bytes: u64) -> Result<SmallCharge, PeerError> {
        let max = self.carrier.settings.queue_bytes;
        let taken = self
            .asked
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |asked| {
                (asked == 0 || asked + bytes <= max).then_some(asked + bytes)
            });
        if taken.is_err() {
            return Err(PeerError::Overloaded {
                member: self.member.clone(),
            });
        }
        Ok(SmallCharge {
            link: Arc::clone(self),
            bytes,
        })
    }

    /// The bytes that wait for the member.
    pub(super) fn queue_bytes(&self) -> u64 {
        let free = self.carrying.available_permits() as u64;
        let all = u64::from(kib(self.carrier.settings.queue_bytes));
        let carried = all.saturating_sub(free) * 1024;
        self.asked.load(Ordering::Acquire) + carried + self.lane.lock().bytes()
    }

    /// What is known of it.
    pub(super) fn snapshot(&self) -> PeerSnapshot {
        let identity = &self.carrier.identity;
        let standing = *self.standing.lock();
        let known = self.known.lock().clone();
        let age = identity.clock().boot().saturating_sub(standing.since);
        PeerSnapshot {
            member: self.member.as_str().to_owned(),
            state: standing.state,
            for_millis: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            incarnation: identity.run_of(&self.member),
            address: self.place.address(),
            round_trip_millis: known.round_trip.map(|took| took.as_secs_f64() * 1e3),
            clock_offset_millis: known.clock_offset,
            ring_version: known.ring_version,
            queue_bytes: self.queue_bytes(),
            last_error: known.error,
        }
    }
}

/// Bytes that count as waiting until this is dropped.
pub(super) enum Charge<'a> {
    Small(#[expect(dead_code, reason = "it is held, and dropped")] SmallCharge),
    Large(#[expect(dead_code, reason = "it is held, and dropped")] SemaphorePermit<'a>),
}

pub(super) struct SmallCharge {
    link: Arc<Link>,
    bytes: u64,
}

impl Drop for SmallCharge {
    fn drop(&mut self) {
        self.link.asked.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Bytes in KiB, at least one.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024))
        .unwrap_or(u32::MAX)
        .max(1)
}

/// What an error of several layers is about.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A reply without payload is never larger.
pub(super) const REPLY_MAX: usize = 4 * MESSAGE_MAX;
