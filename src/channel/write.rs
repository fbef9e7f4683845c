//! The write path: from a payload to a key.
//!
//! Any node takes a write and hands it to the channel's coordinator: the first replica that is
//! connected. If that one does not answer, the next one gets it, with the same write id.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hub_ring::Member;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::time::Instant;

use super::placement::ChannelPlacement;
use super::registry::{Channel, Channels};
use super::spoke_handle::LocalReplica;
use crate::cluster::{PeerError, RingView};
use crate::env::{HubClock, Millis, Random};
use crate::item::{ItemKey, Payload};
use crate::spoke::accept::Reason;
use crate::spoke::peers::{ChannelRef, ItemBody, PeerPayload, Peers, WriteRequest};
use crate::spoke::{ChannelId, Stored, Write, WriteError, WriteId};

/// Why an insert was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InsertError {
    /// No coordinator could take the write: nothing was stored.
    #[error("{reason}")]
    Unavailable {
        /// Why not.
        reason: String,
        /// The members that would have had to take part.
        missing: Vec<String>,
    },
    /// There is no such channel any more: nothing was stored.
    #[error("the channel was deleted")]
    Gone,
    /// The coordinator's answer.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The numbers that writes go by.
#[derive(Debug, Clone, Copy)]
pub struct WriteSettings {
    /// How long a client waits at the most.
    pub deadline: Duration,
    /// How long a coordinator may take before the next one is tried.
    pub patience: Duration,
    /// How far any two clocks may differ, in milliseconds.
    pub max_skew: i64,
}

/// The write path of this node.
pub struct Writes {
    view: Arc<RingView>,
    local: Arc<LocalReplica>,
    channels: Arc<Channels>,
    peers: Arc<dyn Peers>,
    clock: Arc<HubClock>,
    /// What makes this run's write ids differ from any other's.
    run: u64,
    count: AtomicU64,
    settings: WriteSettings,
}

/// The pause before the coordinators are tried once more.
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_millis(500);
/// How long a change of a channel may take to be told to all members.
const TOLD: Duration = Duration::from_secs(1);
/// How often a coordinator is looked after that has not answered yet.
const LOOK: Duration = Duration::from_millis(100);
/// A payload of more bytes than this is large.
const LARGE: usize = 256 * 1024;
/// What a link between members is taken to carry at the least.
const BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0;

/// What one coordinator said.
enum Tried {
    /// It is stored, or it never will be.
    Done(Result<Stored, InsertError>),
    /// Nothing was stored: the next one may.
    No(String),
    /// Nothing was stored: it does not know the channel, or knows a later one of its name.
    Unknown,
    /// Nothing was stored: its disk is full.
    Full,
    /// It may be stored: the next one must be told that it is not the first.
    Perhaps(String),
}

impl Writes {
    /// A write path.
    pub fn new(
        view: Arc<RingView>,
        local: Arc<LocalReplica>,
        channels: Arc<Channels>,
        peers: Arc<dyn Peers>,
        clock: Arc<HubClock>,
        random: &dyn Random,
        settings: WriteSettings,
    ) -> Self {
        Self {
            view,
            local,
            channels,
            peers,
            clock,
            run: random.next_u64(),
            count: AtomicU64::new(0),
            settings,
        }
    }

    /// Inserts an item; gives its key once it is committed.
    ///
    /// # Errors
    /// [`InsertError`]; [`WriteError::Unknown`] if the deadline passes first.
    pub async fn insert(
        &self,
        channel: &Channel,
        payload: Payload,
        idempotency_key: Option<&str>,
    ) -> Result<ItemKey, InsertError> {
        self.write(channel, payload, None, idempotency_key).await
    }

    /// Inserts the items of a pack, all or none of them, as one record; gives its key once it is
    /// committed: [`ItemKey::items`] are theirs.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub async fn insert_bulk(
        &self,
        channel: &Channel,
        (pack, count): (Bytes, u32),
        idempotency_key: Option<&str>,
    ) -> Result<ItemKey, InsertError> {
        let payload = Payload {
            content_type: None,
            bytes: pack,
        };
        self.write(channel, payload, Some(count), idempotency_key)
            .await
    }

    async fn write(
        &self,
        channel: &Channel,
        payload: Payload,
        bulk: Option<u32>,
        idempotency_key: Option<&str>,
    ) -> Result<ItemKey, InsertError> {
        let keyed = idempotency_key.is_some();
        let mut write_id = self.write_id(channel.id, idempotency_key);
        let mut channel = channel.as_ref();
        let began = self.clock.now();
        let until = Instant::now() + self.settings.deadline;
        // With an idempotency key an earlier request may have been tried elsewhere.
        let mut again = false;
        let mut pause = AGAIN;
        let mut unknown_for = None;
        loop {
            let now = self.clock.now();
            let set = self.view.replica_set(&channel.name, now);
            let mut said = None;
            let mut full = 0;
            let mut is_unknown = false;
            for member in self.by_order(&set) {
                let write = Write {
                    channel: channel.clone(),
                    write_id,
                    keyed,
                    payload: payload.clone(),
                    bulk,
                    began,
                    again,
                    until,
                };
                match self.hand_to(member, write, set.len() == 1).await {
                    Tried::Done(done) => return Ok(done?.key),
                    Tried::No(reason) => said = Some(reason),
                    Tried::Unknown => {
                        is_unknown = true;
                        said = Some(WriteError::NotNow(Reason::OldChannel).to_string());
                    }
                    Tried::Full => full += 1,
                    Tried::Perhaps(reason) => {
                        again = true;
                        said = Some(reason);
                    }
                }
                if Instant::now() >= until {
                    break;
                }
            }
            if is_unknown {
                unknown_for = unknown_for.or(Some(Instant::now()));
                let since = unknown_for.unwrap_or(until);
                match self.standing(&channel, since, until).await {
                    Some(None) => return Err(InsertError::Gone),
                    // Whatever was stored in the earlier one has gone with it.
                    Some(Some(newer)) if newer.id != channel.id => {
                        write_id = self.write_id(newer.id, idempotency_key);
                        channel = Channel::as_ref(&newer);
                        again = false;
                        unknown_for = None;
                        if Instant::now() < until {
                            continue;
                        }
                    }
                    // The coordinator has yet to hear of it; or nobody can be asked.
                    _ => {}
                }
            }
            if full > 0 && said.is_none() && !again {
                return Err(WriteError::NotNow(Reason::DiskFull).into());
            }
            // As it is now: a ring may have come into force meanwhile, and with it somebody else.
            let set = self.view.replica_set(&channel.name, self.clock.now());
            if set.len() <= 1 && !again {
                // There is nobody else to be waited for.
                return Err(self.unavailable(&set, said));
            }
            if Instant::now() + pause >= until {
                return Err(if again {
                    let reason = said.unwrap_or_else(|| "no coordinator answered".to_owned());
                    WriteError::Unknown { reason }.into()
                } else {
                    self.unavailable(&set, said)
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// What has become of a channel that a coordinator does not know, or not as the newest of its name:
    /// `Some(None)` if it is gone, `None` if that is not known. A change is told within moments; where
    /// nothing is heard of one, coordination is asked, once that takes longer.
    async fn standing(
        &self,
        channel: &ChannelRef,
        since: Instant,
        until: Instant,
    ) -> Option<Option<Arc<Channel>>> {
        let known = self.channels.get(&channel.name);
        let is_same = known.as_ref().is_some_and(|known| known.id == channel.id);
        if !is_same || since.elapsed() < TOLD {
            return Some(known);
        }
        let asked = tokio::time::timeout_at(until, self.channels.fetch(&channel.name)).await;
        asked.ok()?.ok()
    }

    fn unavailable(&self, set: &[Member], said: Option<String>) -> InsertError {
        let connected = |m: &&Member| *m == self.view.own() || self.peers.is_connected(m);
        let missing: Vec<_> = set.iter().filter(|m| !connected(m)).collect();
        let reason = if self.clock.now() >= self.view.horizon() {
            "this node could not confirm that it knows the newest ring".to_owned()
        } else {
            said.unwrap_or_else(|| "no replica of this channel can take the write now".to_owned())
        };
        InsertError::Unavailable {
            reason,
            missing: missing.iter().map(|m| m.as_str().to_owned()).collect(),
        }
    }

    /// The members that can coordinate, in the order of the ring: those that are connected.
    fn by_order<'a>(&self, set: &'a [Member]) -> Vec<&'a Member> {
        let live = |member: &&Member| {
            if *member == self.view.own() {
                self.local.get().is_some()
            } else {
                self.peers.is_connected(member)
            }
        };
        set.iter().filter(live).collect()
    }

    /// Whether this node is the one that coordinates the writes to a channel now.
    pub fn leads(&self, channel: &Channel) -> bool {
        self.leads_at(channel, self.clock.now())
    }

    /// Whether this node is the first live one of those that hold a channel's items of that time.
    pub fn leads_at(&self, channel: &Channel, at: Millis) -> bool {
        let set = self.view.replica_set(channel.config.name.key(), at);
        self.by_order(&set).first() == Some(&self.view.own())
    }

    async fn hand_to(&self, member: &Member, write: Write, alone: bool) -> Tried {
        // What is large takes longer to come and to go.
        let size = write.payload.bytes.len();
        let more = if size > LARGE {
            Duration::from_secs_f64(size as f64 / BYTES_PER_SECOND)
        } else {
            Duration::ZERO
        };
        let patience = if alone {
            self.settings.deadline
        } else {
            self.settings.patience + more
        };
        let patience = patience.min(write.until.saturating_duration_since(Instant::now()));
        let outcome = if member == self.view.own() {
            // It goes on by itself, so whoever is asked next must know that it was tried.
            match tokio::time::timeout(patience, self.coordinate(write, member)).await {
                Ok(outcome) => outcome,
                Err(_) => return Tried::Perhaps("the store did not answer in time".to_owned()),
            }
        } else {
            let (until, is_large) = (write.until, !more.is_zero());
            let request = self.request(write);
            let asked = tokio::select! {
                asked = self.peers.write(member, request) => asked,
                reason = self.gone(member, until), if is_large => return Tried::Perhaps(reason),
            };
            match asked {
                Ok(outcome) => outcome,
                Err(error @ PeerError::NoAnswer { .. }) => {
                    return Tried::Perhaps(error.to_string());
                }
                Err(error) => return Tried::No(error.to_string()),
            }
        };
        match outcome {
            Ok(stored) => Tried::Done(Ok(stored)),
            Err(WriteError::NotNow(Reason::DiskFull) | WriteError::Full) => Tried::Full,
            Err(WriteError::NotNow(Reason::OldChannel)) => Tried::Unknown,
            // Another one may have room.
            Err(
                error @ (WriteError::NotNow(_) | WriteError::NotOpen | WriteError::NoRoomForKey),
            ) => Tried::No(error.to_string()),
            Err(WriteError::Unknown { reason }) => Tried::Perhaps(reason),
            Err(error) => Tried::Done(Err(error.into())),
        }
    }

    /// Waits until a member has been out of reach for as long as a small write would have been waited
    /// for: what it was asked for with a large one may take longer than anybody should wait for it.
    async fn gone(&self, member: &Member, until: Instant) -> String {
        let mut since: Option<Instant> = None;
        loop {
            let now = Instant::now();
            if self.peers.is_connected(member) {
                since = None;
            } else if now.duration_since(*since.get_or_insert(now)) >= self.settings.patience {
                return format!("{} is out of reach", member.as_str());
            }
            if now >= until {
                return format!("{} did not answer in time", member.as_str());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn request(&self, write: Write) -> WriteRequest {
        let content_type = write.payload.content_type;
        WriteRequest {
            channel: write.channel,
            body: ItemBody {
                write_id: write.write_id,
                keyed: write.keyed,
                content_type: content_type.map(|t| t.as_str().to_owned()),
                size: write.payload.bytes.len() as u64,
                digest: 0,
                payload: PeerPayload::Inline(write.payload.bytes),
            },
            bulk: write.bulk,
            began: write.began,
            again: write.again,
            patience: self.settings.patience.as_millis() as u64,
        }
    }

    /// Coordinates a write on this node, which somebody took from a client.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn coordinate(&self, write: Write, own: &Member) -> Result<Stored, WriteError> {
        let replica = self.local.get().ok_or(WriteError::NotOpen)?;
        let place = Arc::new(ChannelPlacement {
            view: Arc::clone(&self.view),
            channels: Arc::clone(&self.channels),
            channel: write.channel.clone(),
            coordinator: own.clone(),
            max_skew: self.settings.max_skew,
        });
        replica.coordinate(write, place).await
    }

    /// Until when somebody waits for a write that was handed to this node.
    pub fn until(&self, began: Millis) -> Instant {
        let spent = self.clock.now().get().saturating_sub(began.get()).max(0);
        let left = self.settings.deadline.as_millis() as i64 - spent;
        Instant::now() + Duration::from_millis(left.max(0) as u64)
    }

    /// An id for a write: from the client's key if it gave one, else one that no other write has.
    fn write_id(&self, channel: ChannelId, idempotency_key: Option<&str>) -> WriteId {
        match idempotency_key {
            Some(key) => keyed_write_id(channel, key),
            None => {
                let number = self.count.fetch_add(1, Ordering::Relaxed);
                WriteId(u128::from(self.run) << 64 | u128::from(number))
            }
        }
    }
}

impl Channel {
    /// The channel as members name it to each other.
    pub fn as_ref(&self) -> ChannelRef {
        ChannelRef {
            id: self.id,
            name: self.config.name.key().into(),
        }
    }
}

/// The write id of an idempotency key on a channel: the first 128 bits of a SHA-256 of both, so the
/// same on every node and for every try, and no client can make two keys meet.
pub fn keyed_write_id(channel: ChannelId, key: &str) -> WriteId {
    let hash = Sha256::new()
        .chain_update(channel.0.to_be_bytes())
        .chain_update([0])
        .chain_update(key)
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    WriteId(u128::from_be_bytes(id))
}

/// Whether a refusal is the disk's, which a client is told with its own status.
pub fn is_full(error: &InsertError) -> bool {
    matches!(
        error,
        InsertError::Write(WriteError::Full | WriteError::NotNow(Reason::DiskFull))
    )
}
