//! What replicas say to each other, whatever carries it.
//!
//! [`Peers`] asks another member's replica; [`PeerService`] is what a member's replica answers with.
//! `peer` joins the two over the network, tests join them directly, so the rules in `replica` and
//! `channel` are the same in both. A message that is lost, repeated or overtaken must do no harm:
//! what is safe to believe is said with each answer.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hub_ring::Member;
use thiserror::Error;

use super::accept::Reason;
use super::directory::Direction;
use super::ids::{ChannelId, WriteId};
use super::replica::{Stored, WriteError};
use crate::cluster::{Incarnation, PeerError};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey};

/// A channel, as members name it to each other: by the name that the ring goes by, and by the
/// number that its items go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRef {
    /// New each time a channel is created.
    pub id: ChannelId,
    /// The name in lower case.
    pub name: Arc<str>,
}

/// What every copy of an item carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemBody {
    /// The write that made it.
    pub write_id: WriteId,
    /// Whether `write_id` comes from a client's idempotency key, and must be remembered.
    pub keyed: bool,
    /// The media type, if the client named one.
    pub content_type: Option<String>,
    /// The payload's length in bytes before any compression.
    pub size: u64,
    /// For a keyed write: what tells the payload from another one under the same key.
    pub digest: u128,
    /// The payload.
    pub payload: PeerPayload,
}

/// A payload on its way between members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerPayload {
    /// With the message.
    Inline(Bytes),
    /// Sent before, under the write id: see [`Peers::stage`].
    Staged,
}

/// A coordinator offers an item to another replica of its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRequest {
    /// The channel.
    pub channel: ChannelRef,
    /// The key that the coordinator stamped.
    pub key: ItemKey,
    /// Whether the item is known to be committed: then no frontier refuses it.
    pub committed: bool,
    /// The item.
    pub body: ItemBody,
}

/// What a replica says to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendAnswer {
    /// It holds the item under this key, as safe as the durability asks.
    Stored,
    /// It holds the write committed under that other key.
    Duplicate(ItemKey),
    /// The key is covered by a promise. This is final.
    Covered {
        /// The promise.
        frontier: Frontier,
        /// The replica's clock.
        clock: Millis,
        /// The higher key under which it holds the write itself, undecided.
        higher: Option<ItemKey>,
    },
    /// Not now, for that reason. This is not final, and nothing was stored.
    NotNow(Reason),
    /// The write is undecided there under a lower key: ask again.
    Busy,
    /// Whether it was stored is not known.
    Unknown(String),
}

/// Somebody asks whether a replica holds a write, and, if it does not, that it never will at or
/// below `up_to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleRequest {
    /// The channel.
    pub channel: ChannelRef,
    /// The write.
    pub write_id: WriteId,
    /// The key that the asker holds it under, if it does.
    pub key: Option<ItemKey>,
    /// What the replica promises if it does not hold it.
    pub up_to: Frontier,
}

/// What a replica says to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleAnswer {
    /// It holds a copy that proves the write committed, under that key.
    Held(ItemKey),
    /// It holds it undecided under that key, as a coordinator: ask again.
    Pending(ItemKey),
    /// It does not hold it, and will not accept it at or below `up_to` any more.
    No,
    /// It does not hold it now, and cannot promise anything.
    NotFinal,
}

/// A reader asks for a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRequest {
    /// The channel.
    pub channel: ChannelRef,
    /// The lowest key that may be in the answer.
    pub from: ItemKey,
    /// The first key above it.
    pub to: ItemKey,
    /// Which way to walk it.
    pub direction: Direction,
    /// How many keys to give at the most; 0: only the frontier is wanted.
    pub limit: usize,
    /// Whether undecided items are wanted as well.
    pub undecided: bool,
}

/// What a replica answers to a reader of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it promises: taken before the list was made.
    pub frontier: Frontier,
    /// What it holds, in the order of the walk.
    pub keys: Vec<ItemKey>,
    /// If the limit cut the list: the key up to which it is complete, that one included.
    pub complete_to: Option<ItemKey>,
    /// From this time on it still holds everything that it ever held.
    pub holds_from: Millis,
}

/// An item as another member holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerItem {
    /// Its key.
    pub key: ItemKey,
    /// Whether its coordinator does not know yet whether a second copy exists.
    pub pending: bool,
    /// The rest; the payload is inline.
    pub body: ItemBody,
}

/// What a replica says to a reader of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetAnswer {
    /// It holds it.
    Found(PeerItem),
    /// It holds everything of that time, and not this.
    No,
    /// It no longer holds everything of that time.
    Evicted,
    /// It can say neither: it is warming, or the record is damaged, with the reason.
    Unknown(String),
}

/// A node that took a write from a client hands it to a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRequest {
    /// The channel.
    pub channel: ChannelRef,
    /// The item; the payload is inline.
    pub body: ItemBody,
    /// Of how many items the payload is the pack, if it is a bulk insert.
    pub bulk: Option<u32>,
    /// When the write began, by the clock of the node that took it.
    pub began: Millis,
    /// Whether another coordinator may have tried it before.
    pub again: bool,
    /// How long the coordinator has, in milliseconds.
    pub patience: u64,
}

/// Which items a member lacks, by minutes: what repair and warming compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryRequest {
    /// The first millisecond.
    pub from: Millis,
    /// The first one after it.
    pub to: Millis,
    /// Only of this channel; `None`: of every channel of which the asker is in the replica set.
    pub channel: Option<ChannelRef>,
    /// Where to go on: after this position.
    pub after: Option<(ChannelId, ItemKey)>,
    /// Pages have at most this many lines.
    pub limit: usize,
}

/// An item by its name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryLine {
    /// The channel.
    pub channel: ChannelId,
    /// The key.
    pub key: ItemKey,
    /// The write that made it.
    pub write_id: WriteId,
    /// If the member coordinates it and it is undecided: the members that may hold it.
    pub named: Option<Vec<Member>>,
}

/// A page of them, sorted by channel and key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The lines.
    pub lines: Vec<InventoryLine>,
    /// Whether there are more behind the last one.
    pub more: bool,
    /// From this time on the member still holds everything that it ever held.
    pub holds_from: Millis,
}

/// What a channel-minute holds, for comparing it without listing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// The channel.
    pub channel: ChannelId,
    /// The start of the minute.
    pub minute: Millis,
    /// How many items.
    pub items: u64,
    /// XXH3 of their keys' bytes, in order.
    pub hash: u64,
}

/// The replicas of other members.
///
/// Each question has a time limit of its own; none waits for another member.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Whether there is an open connection to a member.
    fn is_connected(&self, member: &Member) -> bool;

    /// The newest run of a member that is known: what an earlier one refused it may not know of.
    fn run_of(&self, member: &Member) -> Option<Incarnation>;

    /// Offers an item. Appends to one member arrive in the order of these calls.
    async fn append(
        &self,
        member: &Member,
        request: AppendRequest,
    ) -> Result<AppendAnswer, PeerError>;

    /// Sends a payload ahead of its append; when this returns the member has it on disk.
    async fn stage(
        &self,
        member: &Member,
        write_id: WriteId,
        payload: Bytes,
    ) -> Result<(), PeerError>;

    /// Asks about a write.
    async fn settle(
        &self,
        member: &Member,
        request: SettleRequest,
    ) -> Result<SettleAnswer, PeerError>;

    /// Hands a write to a coordinator.
    async fn write(
        &self,
        member: &Member,
        request: WriteRequest,
    ) -> Result<Result<Stored, WriteError>, PeerError>;

    /// Asks for a range.
    async fn report(&self, member: &Member, request: ReportRequest) -> Result<Report, PeerError>;

    /// Asks for an item.
    async fn get(
        &self,
        member: &Member,
        channel: ChannelRef,
        key: ItemKey,
    ) -> Result<GetAnswer, PeerError>;

    /// Asks what a member holds, minute by minute, of the channels of which this node is a replica.
    async fn digests(
        &self,
        member: &Member,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Digest>, PeerError>;

    /// Asks for the names of items.
    async fn inventory(
        &self,
        member: &Member,
        request: InventoryRequest,
    ) -> Result<Inventory, PeerError>;

    /// Fetches items; those that are not held are left out, and the rest once the answer is large.
    async fn fetch(
        &self,
        member: &Member,
        items: Vec<(ChannelId, ItemKey)>,
    ) -> Result<Vec<(ChannelId, PeerItem)>, PeerError>;
}

/// Why a member does not answer a question: it was not acted upon.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// What a member answers to others. `from` is who asks, as authenticated.
#[async_trait]
pub trait PeerService: Send + Sync {
    /// Takes a batch of appends in their order; one answer for each, in that order.
    async fn append(&self, from: &Member, requests: Vec<AppendRequest>) -> Vec<AppendAnswer>;

    /// Keeps a payload until its append comes, for a minute at the most. On disk when it returns.
    async fn stage(&self, from: &Member, write_id: WriteId, payload: Bytes) -> Result<(), Refusal>;

    /// Answers a question about a write.
    async fn settle(&self, from: &Member, request: SettleRequest) -> SettleAnswer;

    /// Coordinates a write.
    async fn write(&self, from: &Member, request: WriteRequest) -> Result<Stored, WriteError>;

    /// Reports a range.
    async fn report(&self, from: &Member, request: ReportRequest) -> Result<Report, Refusal>;

    /// Gives an item.
    async fn get(&self, from: &Member, channel: ChannelRef, key: ItemKey) -> GetAnswer;

    /// Says what is held, minute by minute, of the channels of which `from` is a replica.
    async fn digests(&self, from: &Member, range: (Millis, Millis))
    -> Result<Vec<Digest>, Refusal>;

    /// Lists items by name.
    async fn inventory(
        &self,
        from: &Member,
        request: InventoryRequest,
    ) -> Result<Inventory, Refusal>;

    /// Gives items.
    async fn fetch(
        &self,
        from: &Member,
        items: Vec<(ChannelId, ItemKey)>,
    ) -> Result<Vec<(ChannelId, PeerItem)>, Refusal>;
}

/// The peers of a hub that is alone: there are none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

fn nobody<T>(member: &Member) -> Result<T, PeerError> {
    Err(PeerError::NotConnected {
        member: member.clone(),
        reason: "this hub is alone".to_owned(),
    })
}

#[async_trait]
impl Peers for NoPeers {
    fn run_of(&self, _: &Member) -> Option<Incarnation> {
        None
    }

    fn is_connected(&self, _: &Member) -> bool {
        false
    }

    async fn append(&self, to: &Member, _: AppendRequest) -> Result<AppendAnswer, PeerError> {
        nobody(to)
    }

    async fn stage(&self, to: &Member, _: WriteId, _: Bytes) -> Result<(), PeerError> {
        nobody(to)
    }

    async fn settle(&self, to: &Member, _: SettleRequest) -> Result<SettleAnswer, PeerError> {
        nobody(to)
    }

    async fn write(
        &self,
        to: &Member,
        _: WriteRequest,
    ) -> Result<Result<Stored, WriteError>, PeerError> {
        nobody(to)
    }

    async fn report(&self, to: &Member, _: ReportRequest) -> Result<Report, PeerError> {
        nobody(to)
    }

    async fn get(&self, to: &Member, _: ChannelRef, _: ItemKey) -> Result<GetAnswer, PeerError> {
        nobody(to)
    }

    async fn digests(&self, to: &Member, _: Millis, _: Millis) -> Result<Vec<Digest>, PeerError> {
        nobody(to)
    }

    async fn inventory(&self, to: &Member, _: InventoryRequest) -> Result<Inventory, PeerError> {
        nobody(to)
    }

    async fn fetch(
        &self,
        to: &Member,
        _: Vec<(ChannelId, ItemKey)>,
    ) -> Result<Vec<(ChannelId, PeerItem)>, PeerError> {
        nobody(to)
    }
}
