//! Who this member is to the others, and who they are to it.
//!
//! What is said with a request is made and checked here, in one place: cluster, sender, receiver
//! and their runs, time and number.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use bytes::Bytes;
use hub_ring::Member;
use parking_lot::Mutex;
use prost::Message as _;

use super::kind::Kind;
use super::replay::{AppendTurn, Seen, SessionId, Stale};
use super::secret::{Mac, Secret};
use super::wire::message;
use super::wire::messages::{Head, ReplyHead};
use crate::cluster::Incarnation;
use crate::env::{HubClock, Random};

/// The version of the protocol. Fields may be added within it.
const PROTOCOL: u32 = 1;
/// How far the time of a request may be from the receiver's clock.
const TIME_MAX: Duration = Duration::from_mins(1);
/// For how long something said may be taken for new by its time alone: it may have been ahead by
/// that much, and then be behind by that much.
const SESSION_KEPT: Duration = Duration::from_secs(125);
/// What is said of a request is never longer, in characters.
const HEAD_MAX: usize = 4 * 1024;

/// The header with what is said of a request.
pub(super) const HEAD: &str = "hub-peer";
/// The header with the code of it.
pub(super) const HEAD_MAC: &str = "hub-peer-mac";
/// The header with the length of a reply's body, without its code.
pub(super) const REPLY_LENGTH: &str = "hub-peer-length";

/// Why a member refuses a question that was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It speaks another version of the protocol.
    Protocol,
    /// It belongs to another cluster.
    Cluster,
    /// It is another member.
    Member,
    /// It is another run of the member.
    Run,
    /// It knows a newer run of the sender.
    OldSender,
    /// The times of the two are too far apart.
    Time,
    /// It has taken that request before, or later ones.
    Seen,
    /// It holds as much as it may.
    Overloaded,
    /// The body is too large.
    TooLarge,
    /// The body is not what it should be.
    Malformed,
    /// What answers refused.
    Service,
    /// It is stopping, or failed to answer.
    Failed,
}

impl Refused {
    const ALL: [Self; 12] = [
        Self::Protocol,
        Self::Cluster,
        Self::Member,
        Self::Run,
        Self::OldSender,
        Self::Time,
        Self::Seen,
        Self::Overloaded,
        Self::TooLarge,
        Self::Malformed,
        Self::Service,
        Self::Failed,
    ];

    pub(super) const fn code(self) -> u32 {
        self as u32 + 1
    }

    pub(super) fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|refused| refused.code() == code)
    }

    /// The status that goes with it.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Protocol => 505,
            Self::Cluster | Self::OldSender => 403,
            Self::Member | Self::Run => 421,
            Self::Time | Self::Malformed => 400,
            Self::Seen | Self::Service => 409,
            Self::TooLarge => 413,
            Self::Overloaded => 503,
            Self::Failed => 500,
        }
    }
}

/// A refusal, with what is said about it.
pub(super) type Objection = (Refused, String);

/// This member, as it speaks to others.
pub struct PeerIdentity {
    cluster: String,
    member: Member,
    secret: Secret,
    incarnation: AtomicU64,
    ring_version: AtomicU64,
    /// The newest run of each other member that was heard of.
    runs: Mutex<HashMap<Member, Incarnation>>,
    seen: Mutex<Seen>,
    clock: Arc<HubClock>,
    random: Arc<dyn Random>,
}

/// A request that was authenticated, and may be acted upon.
pub(super) struct Caller {
    pub(super) from: Member,
    /// The body's length without its code.
    pub(super) body: usize,
    pub(super) counter: u64,
    /// The order of the sender's appends.
    pub(super) turn: AppendTurn,
}

/// A request's headers, checked as far as the secret goes.
pub(super) struct Authentic {
    pub(super) mac: Mac,
    pub(super) head: Head,
}

impl PeerIdentity {
    /// A member of a cluster that shares a secret. Its run is 0 until it is said.
    pub fn new(
        cluster: &str,
        member: Member,
        secret: Secret,
        clock: Arc<HubClock>,
        random: Arc<dyn Random>,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster: cluster.to_owned(),
            member,
            secret,
            incarnation: AtomicU64::new(0),
            ring_version: AtomicU64::new(0),
            runs: Mutex::default(),
            seen: Mutex::default(),
            clock,
            random,
        })
    }

    /// This member.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Which run of the member this is.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.incarnation.load(Ordering::Acquire))
    }

    /// The node has registered, or registered again.
    pub fn set_incarnation(&self, incarnation: Incarnation) {
        self.incarnation.store(incarnation.0, Ordering::Release);
    }

    /// The newest ring that this node knows of, which is said with everything it says.
    pub fn set_ring_version(&self, version: u64) {
        self.ring_version.store(version, Ordering::Relaxed);
    }

    /// A run of a member was heard of: from now on older ones are refused. Says whether it is new.
    pub fn heard_of(&self, member: &Member, incarnation: Incarnation) -> bool {
        if *member == self.member {
            return false;
        }
        let mut runs = self.runs.lock();
        match runs.get_mut(member) {
            Some(known) if *known >= incarnation => false,
            Some(known) => {
                *known = incarnation;
                true
            }
            None => {
                runs.insert(member.clone(), incarnation);
                true
            }
        }
    }

    /// The newest run of a member that was heard of.
    pub fn run_of(&self, member: &Member) -> Option<Incarnation> {
        self.runs.lock().get(member).copied()
    }

    pub(super) fn clock(&self) -> &Arc<HubClock> {
        &self.clock
    }

    pub(super) fn random(&self) -> &dyn Random {
        &*self.random
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What is said with a request, and its code, as headers.
    pub(super) fn introduce(
        &self,
        kind: Kind,
        to: &Member,
        session: SessionId,
        counter: u64,
        body: usize,
    ) -> (String, String, Mac) {
        let to_incarnation = match kind {
            // It finds out which run it is.
            Kind::Ping => None,
            _ => self.run_of(to).map(|run| run.0),
        };
        let head = Head {
            protocol: PROTOCOL,
            cluster: self.cluster.clone(),
            from: self.member.as_str().to_owned(),
            from_incarnation: self.incarnation().0,
            to: to.as_str().to_owned(),
            to_incarnation,
            ring_version: self.ring_version.load(Ordering::Relaxed),
            time: self.clock.now().get(),
            session: Bytes::copy_from_slice(&session),
            counter,
            body: body as u64,
        };
        let head = head.encode_to_vec();
        let mac = self.secret.head(kind.path(), &head);
        (BASE64.encode(&head), BASE64.encode(mac.bytes()), mac)
    }

    /// Whether whoever sent these headers knows the secret. Nothing else of them is looked at
    /// before.
    pub(super) fn authenticate(&self, kind: Kind, headers: &http::HeaderMap) -> Option<Authentic> {
        let header = |name: &str, max: usize| {
            let value = headers.get(name)?.as_bytes();
            (value.len() <= max).then(|| BASE64.decode(value).ok())?
        };
        let head = header(HEAD, HEAD_MAX)?;
        let said = header(HEAD_MAC, 64)?;
        let mac = self.secret.head(kind.path(), &head);
        if !mac.is(&said) {
            return None;
        }
        let head = message(head.into()).ok()?;
        Some(Authentic { mac, head })
    }

    /// Whether a request is for this run of this member, from no old run of another, and new.
    pub(super) fn admit(&self, kind: Kind, head: &Head) -> Result<Caller, Objection> {
        let no = |refused, reason: String| Err((refused, reason));
        if head.protocol != PROTOCOL {
            let reason = format!("version {PROTOCOL} of the protocol is spoken here");
            return no(Refused::Protocol, reason);
        }
        if head.cluster != self.cluster {
            return no(Refused::Cluster, "this is another cluster".to_owned());
        }
        if head.to != self.member.as_str() {
            return no(Refused::Member, format!("this is {}", self.member));
        }
        let own = self.incarnation();
        match head.to_incarnation {
            Some(run) if run == own.0 => {}
            None if kind == Kind::Ping => {}
            _ => return no(Refused::Run, format!("this is run {}", own.0)),
        }
        let Ok(from) = Member::new(&head.from) else {
            return no(Refused::Malformed, "no member has that name".to_owned());
        };
        let apart = self.clock.now().get().abs_diff(head.time);
        if u128::from(apart) > TIME_MAX.as_millis() {
            return no(Refused::Time, format!("clocks are {apart} ms apart"));
        }
        if from == self.member {
            return no(Refused::Member, "it claims to be this member".to_owned());
        }
        let run = Incarnation(head.from_incarnation);
        if !self.heard_of(&from, run) {
            let known = self.run_of(&from).unwrap_or(run);
            if known > run {
                let reason = format!("run {} of {from} is known, newer than {}", known.0, run.0);
                return no(Refused::OldSender, reason);
            }
        }
        let Ok(session) = head.session.as_ref().try_into() else {
            return no(Refused::Malformed, "a session has 16 bytes".to_owned());
        };
        let now = self.clock.boot();
        let taken = self
            .seen
            .lock()
            .take(&from, session, head.counter, now, SESSION_KEPT);
        match taken {
            Ok(turn) => Ok(Caller {
                from,
                body: usize::try_from(head.body).unwrap_or(usize::MAX),
                counter: head.counter,
                turn,
            }),
            Err(Stale::Seen) => no(Refused::Seen, "that request was taken before".to_owned()),
            Err(Stale::TooManySessions) => {
                no(Refused::Seen, "too many sessions of that sender".to_owned())
            }
        }
    }

    /// What is said with every reply.
    pub(super) fn reply_head(&self, objection: Option<Objection>) -> ReplyHead {
        let (refused, reason) = objection.map_or((0, String::new()), |(refused, reason)| {
            (refused.code(), reason)
        });
        ReplyHead {
            from: self.member.as_str().to_owned(),
            incarnation: self.incarnation().0,
            clock: self.clock.now().get(),
            ring_version: self.ring_version.load(Ordering::Relaxed),
            refused,
            reason,
        }
    }
}
