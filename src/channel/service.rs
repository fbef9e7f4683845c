//! What this node's replica answers to other members.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hub_ring::Member;
use parking_lot::Mutex;

use super::placement::ChannelPlacement;
use super::registry::Channels;
use super::spoke_handle::LocalReplica;
use super::write::Writes;
use crate::cluster::RingView;
use crate::env::Millis;
use crate::item::{ContentType, ItemKey, Payload};
use crate::spoke::accept::Reason;
use crate::spoke::peers::{
    AppendAnswer, AppendRequest, ChannelRef, Digest, GetAnswer, Inventory, InventoryRequest,
    PeerItem, PeerPayload, PeerService, Refusal, Report, ReportRequest, SettleAnswer,
    SettleRequest, WriteRequest,
};
use crate::spoke::{
    ChannelId, Offered, ReadError, Replica, Stored, Vote, Write, WriteError, WriteId,
};

/// The most bytes of payloads that one answer to a fetch carries.
const FETCH_BYTES: usize = 8 * 1024 * 1024;
/// The most lines that one page of an inventory has.
const LINES: usize = 10_000;

/// Answers for this node's replica.
pub struct ReplicaService {
    view: Arc<RingView>,
    local: Arc<LocalReplica>,
    channels: Arc<Channels>,
    writes: Arc<Writes>,
    max_skew: i64,
    /// The names of channels that are being looked up, as others spoke of them.
    learning: Arc<Mutex<HashSet<Arc<str>>>>,
}

impl ReplicaService {
    /// A service on this node's replica and its write path; `max_skew` in milliseconds.
    pub fn new(
        view: Arc<RingView>,
        local: Arc<LocalReplica>,
        channels: Arc<Channels>,
        writes: Arc<Writes>,
        max_skew: i64,
    ) -> Self {
        Self {
            view,
            local,
            channels,
            writes,
            max_skew,
            learning: Arc::default(),
        }
    }

    fn replica(&self) -> Result<Arc<Replica>, Refusal> {
        let replica = self.local.get();
        replica.ok_or_else(|| Refusal("the store is not open".to_owned()))
    }

    fn place(&self, channel: &ChannelRef, coordinator: &Member) -> Arc<ChannelPlacement> {
        Arc::new(ChannelPlacement {
            view: Arc::clone(&self.view),
            channels: Arc::clone(&self.channels),
            channel: channel.clone(),
            coordinator: coordinator.clone(),
            max_skew: self.max_skew,
        })
    }

    /// A channel that another member speaks of may have been created there a moment ago.
    async fn learn(&self, channel: &ChannelRef) {
        if !self.channels.knows(channel) {
            // What is not known after this is refused.
            let _ = self.channels.fetch(&channel.name).await;
        }
    }

    /// As [`Self::learn`], for those who must not wait for coordination: what is not known yet is
    /// refused, and offered again.
    fn begin_to_learn(&self, channel: &ChannelRef) {
        if self.channels.knows(channel) || !self.learning.lock().insert(Arc::clone(&channel.name)) {
            return;
        }
        let (channels, name) = (Arc::clone(&self.channels), Arc::clone(&channel.name));
        let learning = Arc::clone(&self.learning);
        tokio::spawn(async move {
            // Whoever offers again finds out what came of it.
            let _ = channels.fetch(&name).await;
            learning.lock().remove(&name);
        });
    }

    /// The channels of which a member was a replica at some time between two.
    fn channels_of(&self, member: &Member, from: Millis, to: Millis) -> Vec<ChannelRef> {
        let tables = self.view.tables();
        let holds = |channel: &ChannelRef| {
            let mut rings = tables.overlapping(from.get(), to.get());
            rings.any(|ring| ring.ring().replica_set(&channel.name).contains(member))
        };
        let all = self.channels.list();
        let mut refs: Vec<_> = all.iter().map(|c| (**c).as_ref()).filter(holds).collect();
        refs.sort_by_key(|channel| channel.id);
        refs
    }
}

#[async_trait]
impl PeerService for ReplicaService {
    async fn append(&self, from: &Member, requests: Vec<AppendRequest>) -> Vec<AppendAnswer> {
        let Some(replica) = self.local.get() else {
            let no = AppendAnswer::NotNow(Reason::Warming);
            return vec![no; requests.len()];
        };
        let mut offered = Vec::with_capacity(requests.len());
        for request in requests {
            self.begin_to_learn(&request.channel);
            let place = self.place(&request.channel, from);
            offered.push(Offered { request, place });
        }
        replica.take(offered).await
    }

    async fn stage(&self, _: &Member, write_id: WriteId, payload: Bytes) -> Result<(), Refusal> {
        self.replica()?.stage(write_id, payload)
    }

    async fn settle(&self, _: &Member, request: SettleRequest) -> SettleAnswer {
        match self.local.get() {
            Some(replica) => replica.settle(&request).await,
            None => SettleAnswer::NotFinal,
        }
    }

    async fn write(&self, _: &Member, request: WriteRequest) -> Result<Stored, WriteError> {
        let PeerPayload::Inline(bytes) = request.body.payload else {
            return Err(WriteError::NotNow(Reason::NoPayload));
        };
        self.learn(&request.channel).await;
        let content_type = request.body.content_type.as_deref();
        let write = Write {
            channel: request.channel,
            write_id: request.body.write_id,
            keyed: request.body.keyed,
            payload: Payload {
                content_type: content_type.and_then(ContentType::from_stored),
                bytes,
            },
            bulk: request.bulk,
            began: request.began,
            again: request.again,
            until: self.writes.until(request.began),
        };
        self.writes.coordinate(write, self.view.own()).await
    }

    async fn report(&self, _: &Member, request: ReportRequest) -> Result<Report, Refusal> {
        let report = self.replica()?.report(&request).await;
        report.map_err(|error| Refusal(error.to_string()))
    }

    async fn get(&self, _: &Member, channel: ChannelRef, key: ItemKey) -> GetAnswer {
        let Some(replica) = self.local.get() else {
            return GetAnswer::Unknown("the store is not open".to_owned());
        };
        // Before it is looked for: what it learns meanwhile may be this very item.
        let votes = replica.votes_at(key.millis);
        match replica.item_for_peer(channel.id, key).await {
            Ok(Some(item)) => GetAnswer::Found(item),
            Ok(None) => match replica.absent(votes, key) {
                Ok(Vote::Evicted) => GetAnswer::Evicted,
                Ok(_) => GetAnswer::No,
                Err(error) => GetAnswer::Unknown(error.to_string()),
            },
            Err(error) => GetAnswer::Unknown(error.to_string()),
        }
    }

    async fn digests(
        &self,
        from: &Member,
        (start, end): (Millis, Millis),
    ) -> Result<Vec<Digest>, Refusal> {
        let replica = self.replica()?;
        let mut digests = Vec::new();
        for channel in self.channels_of(from, start, end) {
            let of_channel = replica.digests(channel.id, start, end).await;
            digests.extend(of_channel.map_err(|error| refused(&error))?);
        }
        Ok(digests)
    }

    async fn inventory(
        &self,
        from: &Member,
        request: InventoryRequest,
    ) -> Result<Inventory, Refusal> {
        let replica = self.replica()?;
        if !replica.votes_between(request.from, request.to) {
            return Err(Refusal("the replica is warming".to_owned()));
        }
        let channels = match request.channel {
            Some(channel) => vec![channel],
            None => self.channels_of(from, request.from, request.to),
        };
        let limit = request.limit.clamp(1, LINES);
        // After they were listed: it goes up before anything goes.
        let page = |lines, more| Inventory {
            lines,
            more,
            holds_from: replica.holds_from(),
        };
        let mut lines = Vec::new();
        for channel in channels {
            let start = match request.after {
                Some((id, _)) if channel.id < id => continue,
                Some((id, key)) if channel.id == id => key.successor(),
                _ => ItemKey::first_of(request.from),
            };
            let left = limit - lines.len();
            let found = replica.lines(channel.id, start, request.to, left).await;
            lines.extend(found.map_err(|error| refused(&error))?);
            if lines.len() >= limit {
                return Ok(page(lines, true));
            }
        }
        Ok(page(lines, false))
    }

    async fn fetch(
        &self,
        _: &Member,
        items: Vec<(ChannelId, ItemKey)>,
    ) -> Result<Vec<(ChannelId, PeerItem)>, Refusal> {
        let replica = self.replica()?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for (channel, key) in items {
            if let Some(item) = replica
                .item_for_peer(channel, key)
                .await
                .map_err(|error| refused(&error))?
            {
                if let PeerPayload::Inline(payload) = &item.body.payload {
                    bytes += payload.len();
                }
                found.push((channel, item));
            }
            if bytes >= FETCH_BYTES {
                break;
            }
        }
        Ok(found)
    }
}

fn refused(error: &ReadError) -> Refusal {
    Refusal(error.to_string())
}
