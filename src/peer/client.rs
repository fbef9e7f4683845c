//! Asking other members.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hub_ring::{Member, RingHistory};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::gets;
use super::identity::PeerIdentity;
use super::kind::Kind;
use super::lane;
use super::link::{Link, PeerSnapshot, REPLY_MAX};
use super::resolver::PeerResolver;
use super::wire::{self, Frame, Malformed};
use crate::cluster::{Incarnation, KnownChannels, MemberRecord, PeerError, RingPeers, Vouched};
use crate::env::Millis;
use crate::http::body::Inflight;
use crate::item::ItemKey;
use crate::spoke::peers::{
    AppendAnswer, AppendRequest, ChannelRef, Digest, GetAnswer, Inventory, InventoryRequest,
    PeerItem, Peers, Report, ReportRequest, SettleAnswer, SettleRequest, WriteRequest,
};
use crate::spoke::{ChannelId, Stored, WriteError, WriteId};

/// Connections to a member that are kept open while nothing is asked, for each purpose.
const IDLE_MAX: usize = 32;
/// And for how long.
pub(super) const IDLE: Duration = Duration::from_mins(1);
/// Requests larger than this go where they hold up nothing else.
const LARGE: usize = 256 * 1024;
/// A large request or answer gets a second more for each so many bytes.
const BYTES_PER_SECOND: usize = 4 * 1024 * 1024;

/// How much longer one of that many bytes may take.
pub(super) fn transfer(bytes: usize) -> Duration {
    Duration::from_secs((bytes / BYTES_PER_SECOND) as u64)
}
/// All channels together are never larger, in bytes.
const CHANNELS_MAX: usize = 256 * 1024 * 1024;

/// How other members are asked.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long an append may take to be answered.
    pub append_timeout: Duration,
    /// What may wait for one member, in bytes.
    pub queue_bytes: u64,
    /// What bounds the bytes of items that others answered with, for as long as anybody here has them.
    pub answers: Inflight,
    /// The largest item, in bytes.
    pub item_bytes: u64,
    /// The port of members that have not registered theirs.
    pub default_port: u16,
}

/// Why other members cannot be asked at all.
#[derive(Debug, Error)]
#[error("the client for other members could not be made: {0}")]
pub struct PeerClientError(#[from] reqwest::Error);

/// What carries questions.
pub(super) struct Carrier {
    pub(super) identity: Arc<PeerIdentity>,
    pub(super) settings: PeerSettings,
    pub(super) resolver: Option<PeerResolver>,
    /// For appends, one after the other.
    appends: reqwest::Client,
    /// For questions that are small.
    questions: reqwest::Client,
    /// For what is large, so that it holds up nothing.
    large: reqwest::Client,
}

impl Carrier {
    pub(super) fn client(&self, kind: Kind, length: usize) -> &reqwest::Client {
        match kind {
            Kind::Append => &self.appends,
            Kind::Fetch => &self.large,
            _ if length > LARGE => &self.large,
            _ => &self.questions,
        }
    }

    /// The longest reply that is taken.
    pub(super) fn reply_max(&self, kind: Kind) -> usize {
        if !kind.fetches_much() {
            return REPLY_MAX;
        }
        let item = usize::try_from(self.settings.item_bytes).unwrap_or(usize::MAX);
        item.saturating_add(REPLY_MAX).max(CHANNELS_MAX)
    }
}

/// What requests are made of. Which one is quicker is measured, in `docs/adr/0009-peer-protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    One,
    #[cfg(test)]
    Two,
}

fn client(settings: &PeerSettings, http: Http) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder();
    let builder = match http {
        Http::One => builder.http1_only(),
        #[cfg(test)]
        Http::Two => builder.http2_prior_knowledge(),
    };
    builder
        // Members are where they say they are, whatever the environment says.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        .build()
}

/// Asks other members, and keeps in touch with them.
pub struct PeerClient {
    carrier: Arc<Carrier>,
    links: RwLock<HashMap<Member, (Arc<Link>, Keeper)>>,
    registered: Mutex<Arc<BTreeMap<Member, MemberRecord>>>,
    in_rings: Mutex<BTreeSet<Member>>,
    watching: Mutex<Option<Keeper>>,
}

/// A task that ends when nobody wants it any more.
struct Keeper(AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PeerClient {
    /// A client that keeps in touch with the members that are registered, and those of the rings
    /// that it is told of ([`Self::set_ring_members`]). It stops when it is dropped.
    ///
    /// Without a resolver only members are found that have registered their address, or are named
    /// by it.
    ///
    /// # Errors
    /// [`PeerClientError`].
    pub fn start(
        identity: Arc<PeerIdentity>,
        settings: PeerSettings,
        resolver: Option<PeerResolver>,
        members: watch::Receiver<Arc<BTreeMap<Member, MemberRecord>>>,
    ) -> Result<Arc<Self>, PeerClientError> {
        Self::start_with(identity, settings, resolver, members, Http::One)
    }

    pub(super) fn start_with(
        identity: Arc<PeerIdentity>,
        settings: PeerSettings,
        resolver: Option<PeerResolver>,
        mut members: watch::Receiver<Arc<BTreeMap<Member, MemberRecord>>>,
        http: Http,
    ) -> Result<Arc<Self>, PeerClientError> {
        let carrier = Carrier {
            appends: client(&settings, http)?,
            questions: client(&settings, http)?,
            large: client(&settings, http)?,
            identity,
            settings,
            resolver,
        };
        let peers = Arc::new(Self {
            carrier: Arc::new(carrier),
            links: RwLock::default(),
            registered: Mutex::default(),
            in_rings: Mutex::default(),
            watching: Mutex::default(),
        });
        let first = Arc::clone(&members.borrow_and_update());
        peers.set_registered(first);
        let weak = Arc::downgrade(&peers);
        let watching = tokio::spawn(async move {
            while members.changed().await.is_ok() {
                let now = Arc::clone(&members.borrow_and_update());
                let Some(peers) = weak.upgrade() else { return };
                peers.set_registered(now);
            }
        });
        *peers.watching.lock() = Some(Keeper(watching.abort_handle()));
        Ok(peers)
    }

    fn set_registered(&self, members: Arc<BTreeMap<Member, MemberRecord>>) {
        for (member, record) in &*members {
            self.carrier.identity.heard_of(member, record.incarnation);
        }
        *self.registered.lock() = members;
        self.settle_links();
    }

    /// The members of all rings that are still needed: they are kept in touch with, registered or
    /// not.
    pub fn set_ring_members(&self, members: BTreeSet<Member>) {
        *self.in_rings.lock() = members;
        self.settle_links();
    }

    /// Makes a link to every member that there is, and drops those to others.
    fn settle_links(&self) {
        let own = self.carrier.identity.member();
        let mut links = self.links.write();
        // Read in here: of two callers the one that comes last must go by the latest.
        let registered = Arc::clone(&self.registered.lock());
        let in_rings = self.in_rings.lock().clone();
        links.retain(|member, _| registered.contains_key(member) || in_rings.contains(member));
        for member in registered.keys().chain(&in_rings) {
            if member == own {
                continue;
            }
            let (link, _) = links.entry(member.clone()).or_insert_with(|| {
                let link = Link::new(member.clone(), Arc::clone(&self.carrier));
                let task = tokio::spawn(keep_in_touch(Arc::clone(&link)));
                (link, Keeper(task.abort_handle()))
            });
            if let Some(record) = registered.get(member) {
                link.registered(record);
            }
        }
    }

    fn link(&self, member: &Member) -> Result<Arc<Link>, PeerError> {
        let links = self.links.read();
        let (link, _) = links.get(member).ok_or_else(|| PeerError::NotConnected {
            member: member.clone(),
            reason: "no such member is known".to_owned(),
        })?;
        Ok(Arc::clone(link))
    }

    /// What is known of every member.
    pub fn snapshot(&self) -> Vec<PeerSnapshot> {
        let links = self.links.read();
        let mut all: Vec<_> = links.values().map(|(link, _)| link.snapshot()).collect();
        all.sort_by(|a, b| a.member.cmp(&b.member));
        all
    }

    /// How often DNS was asked for a member's address.
    pub fn dns_lookups(&self) -> u64 {
        let resolver = self.carrier.resolver.as_ref();
        resolver.map_or(0, PeerResolver::lookups)
    }

    /// Sets the gauges that are looked at when the metrics are scraped.
    pub fn measure(&self) {
        for (link, _) in self.links.read().values() {
            let name = link.member.as_str();
            crate::metric::peer_queue_bytes(name, link.queue_bytes());
            crate::metric::peer_state(name, link.state().level());
        }
    }

    fn connected(&self, member: &Member) -> bool {
        let links = self.links.read();
        links
            .get(member)
            .is_some_and(|(link, _)| link.is_connected())
    }

    /// Asks for one answer.
    async fn one<T>(
        &self,
        member: &Member,
        kind: Kind,
        frames: Vec<Frame>,
        patience: Duration,
        decode: impl FnOnce(Bytes) -> Result<T, Malformed>,
    ) -> Result<T, PeerError> {
        let mut answers = self.ask(member, kind, frames, patience).await?;
        let answer = answers.pop().ok_or(Malformed("an empty answer"));
        answer
            .and_then(decode)
            .map_err(|malformed| unreadable(member, &malformed))
    }

    async fn ask(
        &self,
        member: &Member,
        kind: Kind,
        frames: Vec<Frame>,
        patience: Duration,
    ) -> Result<Vec<Bytes>, PeerError> {
        let link = self.link(member)?;
        let length: usize = frames.iter().map(Frame::len).sum();
        let _charge = link.charge(length, patience).await?;
        link.ask(kind, frames, patience + transfer(length)).await
    }
}

fn unreadable(member: &Member, malformed: &Malformed) -> PeerError {
    PeerError::NoAnswer {
        member: member.clone(),
        reason: malformed.to_string(),
    }
}

/// Asks a member whether it is there, as often as its standing wants.
async fn keep_in_touch(link: Arc<Link>) {
    loop {
        let wait = link.ask_in();
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {
                    // It may have been heard in the meantime.
                    if link.is_connected() && !link.ask_in().is_zero() {
                        continue;
                    }
                }
                () = link.kick.notified() => {}
            }
        }
        link.locate().await;
        link.ping().await;
    }
}

#[async_trait]
impl RingPeers for PeerClient {
    fn is_connected(&self, member: &Member) -> bool {
        self.connected(member)
    }

    async fn vouch(&self, member: &Member) -> Result<Vouched, PeerError> {
        let kind = Kind::Vouch;
        self.one(
            member,
            kind,
            Vec::new(),
            kind.patience(),
            wire::decode_vouched,
        )
        .await
    }

    async fn history(&self, member: &Member) -> Result<Arc<RingHistory>, PeerError> {
        let kind = Kind::History;
        self.one(
            member,
            kind,
            Vec::new(),
            kind.patience(),
            wire::decode_history,
        )
        .await
    }

    async fn channels(&self, member: &Member) -> Result<KnownChannels, PeerError> {
        let kind = Kind::Channels;
        self.one(
            member,
            kind,
            Vec::new(),
            kind.patience(),
            wire::decode_channels,
        )
        .await
    }
}

#[async_trait]
impl Peers for PeerClient {
    fn is_connected(&self, member: &Member) -> bool {
        self.connected(member)
    }

    fn run_of(&self, member: &Member) -> Option<Incarnation> {
        self.carrier.identity.run_of(member)
    }

    async fn append(
        &self,
        member: &Member,
        request: AppendRequest,
    ) -> Result<AppendAnswer, PeerError> {
        let link = self.link(member)?;
        lane::append(&link, request).await
    }

    async fn stage(
        &self,
        member: &Member,
        write_id: WriteId,
        payload: Bytes,
    ) -> Result<(), PeerError> {
        let link = self.link(member)?;
        let frame = wire::encode_stage(write_id, payload);
        let length = frame.len();
        // A few at a time: more would only share the same way.
        let Ok(_turn) = link.stages.acquire().await else {
            return Err(PeerError::Overloaded {
                member: member.clone(),
            });
        };
        let _charge = link.charge(length, Kind::Stage.patience()).await?;
        let patience = Kind::Stage.patience() + transfer(length);
        link.ask(Kind::Stage, vec![frame], patience).await?;
        Ok(())
    }

    async fn settle(
        &self,
        member: &Member,
        request: SettleRequest,
    ) -> Result<SettleAnswer, PeerError> {
        let frames = vec![wire::encode_settle(&request)];
        let kind = Kind::Settle;
        self.one(member, kind, frames, kind.patience(), wire::decode_settled)
            .await
    }

    async fn write(
        &self,
        member: &Member,
        request: WriteRequest,
    ) -> Result<Result<Stored, WriteError>, PeerError> {
        let patience = Duration::from_millis(request.patience);
        let patience = patience.saturating_add(self.carrier.settings.append_timeout);
        let frames = vec![wire::encode_write(request)];
        self.one(member, Kind::Write, frames, patience, wire::decode_written)
            .await
    }

    async fn report(&self, member: &Member, request: ReportRequest) -> Result<Report, PeerError> {
        let frames = vec![wire::encode_report_request(&request)];
        let kind = Kind::Report;
        self.one(member, kind, frames, kind.patience(), wire::decode_report)
            .await
    }

    async fn get(
        &self,
        member: &Member,
        channel: ChannelRef,
        key: ItemKey,
    ) -> Result<GetAnswer, PeerError> {
        gets::get(&self.link(member)?, &channel, &key).await
    }

    async fn digests(
        &self,
        member: &Member,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Digest>, PeerError> {
        let frames = vec![wire::encode_digests_range(from, to)];
        let kind = Kind::Digests;
        self.one(member, kind, frames, kind.patience(), wire::decode_digests)
            .await
    }

    async fn inventory(
        &self,
        member: &Member,
        request: InventoryRequest,
    ) -> Result<Inventory, PeerError> {
        let frames = vec![wire::encode_inventory_request(&request)];
        let kind = Kind::Inventory;
        self.one(
            member,
            kind,
            frames,
            kind.patience(),
            wire::decode_inventory,
        )
        .await
    }

    async fn fetch(
        &self,
        member: &Member,
        items: Vec<(ChannelId, ItemKey)>,
    ) -> Result<Vec<(ChannelId, PeerItem)>, PeerError> {
        let frames = vec![wire::encode_fetch(&items)];
        let kind = Kind::Fetch;
        let answers = self.ask(member, kind, frames, kind.patience()).await?;
        answers
            .into_iter()
            .map(wire::decode_fetched)
            .collect::<Result<_, _>>()
            .map_err(|malformed| unreadable(member, &malformed))
    }
}
