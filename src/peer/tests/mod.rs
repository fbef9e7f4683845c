//! Members that ask each other over real sockets; what answers is scripted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hub_ring::{HistoryMark, Member, RingHistory};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::cluster::{Incarnation, KnownChannels, MemberRecord, RingService, Vouched};
use crate::env::{HubClock, Millis, OsRandom, SystemClock};
use crate::http::body::Inflight;
use crate::http::edge::EdgeLimits;
use crate::item::{Frontier, ItemKey};
use crate::spoke::peers::{
    AppendAnswer, AppendRequest, ChannelRef, Digest, GetAnswer, Inventory, InventoryRequest,
    ItemBody, PeerItem, PeerPayload, PeerService, Refusal, Report, ReportRequest, SettleAnswer,
    SettleRequest, WriteRequest,
};
use crate::spoke::{ChannelId, Stored, WriteError, WriteId};

mod auth;
mod dns;
mod faults;
mod measure;
mod questions;

const SECRET: &[u8] = b"a secret of more than sixteen bytes";

fn member(name: &str) -> Member {
    Member::new(name).unwrap()
}

fn channel() -> ChannelRef {
    ChannelRef {
        id: ChannelId(7),
        name: "c".into(),
    }
}

fn key(number: u64) -> ItemKey {
    ItemKey::first_of(Millis::new(number as i64))
}

fn body(number: u64, payload: Bytes) -> ItemBody {
    ItemBody {
        write_id: WriteId(number.into()),
        keyed: false,
        content_type: None,
        size: payload.len() as u64,
        digest: 0,
        payload: PeerPayload::Inline(payload),
    }
}

fn append(number: u64, payload: Bytes) -> AppendRequest {
    AppendRequest {
        channel: channel(),
        key: key(number),
        committed: false,
        body: body(number, payload),
    }
}

/// Items from this key on are small.
const SMALL_FROM: ItemKey = ItemKey::first_of(Millis::new(1_000_000));

/// What a member answers in these tests.
#[derive(Default)]
struct Scripted {
    /// The sizes of the batches of appends, and their write ids in the order they came.
    batches: Mutex<Vec<usize>>,
    appended: Mutex<Vec<u128>>,
    /// The lengths of staged payloads.
    staged: Mutex<Vec<usize>>,
    /// How long an append takes.
    delay: Mutex<Duration>,
    /// What a `get` finds; from [`SMALL_FROM`] on it finds little.
    payload: Mutex<Bytes>,
    /// Appends that were begun and are not answered yet.
    inside: AtomicUsize,
}

#[async_trait]
impl PeerService for Scripted {
    async fn append(&self, _: &Member, requests: Vec<AppendRequest>) -> Vec<AppendAnswer> {
        assert_eq!(
            self.inside.fetch_add(1, Ordering::SeqCst),
            0,
            "one after the other"
        );
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.batches.lock().push(requests.len());
        let ids = requests.iter().map(|request| request.body.write_id.0);
        self.appended.lock().extend(ids);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        let answer = |request: &AppendRequest| AppendAnswer::Duplicate(request.key);
        requests.iter().map(answer).collect()
    }

    async fn stage(&self, _: &Member, _: WriteId, payload: Bytes) -> Result<(), Refusal> {
        if payload.is_empty() {
            return Err(Refusal("nothing to keep".to_owned()));
        }
        self.staged.lock().push(payload.len());
        Ok(())
    }

    async fn settle(&self, _: &Member, request: SettleRequest) -> SettleAnswer {
        request.key.map_or(SettleAnswer::No, SettleAnswer::Held)
    }

    async fn write(&self, _: &Member, request: WriteRequest) -> Result<Stored, WriteError> {
        if request.again {
            return Err(WriteError::KeyReused);
        }
        Ok(Stored {
            key: ItemKey::first_of(request.began),
            repeated: true,
        })
    }

    async fn report(&self, _: &Member, request: ReportRequest) -> Result<Report, Refusal> {
        if request.limit == 0 {
            return Err(Refusal("not that many".to_owned()));
        }
        Ok(Report {
            frontier: Frontier::up_to(request.to),
            keys: vec![request.from, request.to],
            complete_to: Some(request.to),
            holds_from: Millis::new(5),
        })
    }

    async fn get(&self, from: &Member, _: ChannelRef, key: ItemKey) -> GetAnswer {
        if key == ItemKey::MIN {
            return GetAnswer::Unknown(from.to_string());
        }
        let payload = if key >= SMALL_FROM {
            Bytes::from_static(b"small")
        } else {
            self.payload.lock().clone()
        };
        GetAnswer::Found(PeerItem {
            key,
            pending: true,
            body: body(3, payload),
        })
    }

    async fn digests(&self, _: &Member, range: (Millis, Millis)) -> Result<Vec<Digest>, Refusal> {
        Ok(vec![Digest {
            channel: ChannelId(1),
            minute: range.0,
            items: 2,
            hash: u64::MAX,
        }])
    }

    async fn inventory(
        &self,
        from: &Member,
        request: InventoryRequest,
    ) -> Result<Inventory, Refusal> {
        let (channel, key) = request.after.ok_or(Refusal("after what?".to_owned()))?;
        let line = crate::spoke::peers::InventoryLine {
            channel,
            key,
            write_id: WriteId(1),
            named: Some(vec![from.clone()]),
        };
        Ok(Inventory {
            lines: vec![line],
            more: true,
            holds_from: Millis::new(6),
        })
    }

    async fn fetch(
        &self,
        _: &Member,
        items: Vec<(ChannelId, ItemKey)>,
    ) -> Result<Vec<(ChannelId, PeerItem)>, Refusal> {
        let item = |(channel, key)| {
            let body = body(1, Bytes::from(vec![9; 40_000]));
            let pending = false;
            (channel, PeerItem { key, pending, body })
        };
        Ok(items.into_iter().map(item).collect())
    }
}

#[async_trait]
impl RingService for Scripted {
    async fn vouch(&self, _: &Member) -> Vouched {
        Vouched {
            incarnation: Incarnation(1),
            knows: HistoryMark::default(),
            clock: Millis::new(1),
            channels: 5,
            archived_to: Millis::MIN,
        }
    }

    async fn history(&self, _: &Member) -> Arc<RingHistory> {
        Arc::default()
    }

    async fn channels(&self, from: &Member) -> KnownChannels {
        KnownChannels {
            channels: Vec::new(),
            deleted: vec![(from.to_string(), 4)],
        }
    }
}

fn identity_of(cluster: &str, name: &str, run: u64, secret: &[u8]) -> Arc<PeerIdentity> {
    let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
    let secret = Secret::new(secret).unwrap();
    let identity = PeerIdentity::new(cluster, member(name), secret, clock, Arc::new(OsRandom));
    identity.set_incarnation(Incarnation(run));
    identity
}

fn identity(name: &str, run: u64) -> Arc<PeerIdentity> {
    identity_of("test", name, run, SECRET)
}

/// A member that answers.
struct Node {
    identity: Arc<PeerIdentity>,
    service: Arc<Scripted>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Node {
    async fn start(name: &str, run: u64) -> Self {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_at(identity(name, run), local).await
    }

    async fn start_at(identity: Arc<PeerIdentity>, address: SocketAddr) -> Self {
        Self::start_with(identity, address, 256 << 20).await
    }

    async fn start_with(
        identity: Arc<PeerIdentity>,
        address: SocketAddr,
        inflight_bytes: u64,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Arc::new(Scripted::default());
        let limits = PeerServerLimits {
            item_bytes: 100 << 20,
            inflight_bytes,
        };
        let server = PeerServer::new(
            Arc::clone(&identity),
            service.clone(),
            service.clone(),
            limits,
        );
        let (stop, stopped) = watch::channel(false);
        let limits = EdgeLimits {
            head: Duration::from_secs(5),
            idle: Duration::from_mins(1),
            write: Duration::from_secs(5),
            connections: 1_000,
        };
        let serving = tokio::spawn(server.serve(listener, limits, stopped));
        Self {
            identity,
            service,
            address,
            stop,
            serving,
        }
    }

    fn record(&self) -> MemberRecord {
        record(
            self.identity.incarnation(),
            Some(self.address.ip()),
            self.address.port(),
        )
    }

    fn entry(&self) -> (Member, MemberRecord) {
        (self.identity.member().clone(), self.record())
    }

    async fn end(self) -> SocketAddr {
        self.stop.send_replace(true);
        self.serving.await.unwrap();
        self.address
    }
}

pub(super) fn record(incarnation: Incarnation, ip: Option<IpAddr>, peer_port: u16) -> MemberRecord {
    MemberRecord {
        incarnation,
        ip,
        peer_port,
        public: String::new(),
        public_url: None,
        version: String::new(),
        state: String::new(),
        started: 0,
        ring: 0,
    }
}

fn settings() -> PeerSettings {
    PeerSettings {
        answers: Inflight::new(64 << 20),
        connect_timeout: Duration::from_secs(1),
        append_timeout: Duration::from_millis(500),
        queue_bytes: 8 << 20,
        item_bytes: 100 << 20,
        default_port: 1,
    }
}

type Members = Arc<BTreeMap<Member, MemberRecord>>;

/// A client of a member, and what says who is registered.
fn client_of(
    identity: Arc<PeerIdentity>,
    members: impl IntoIterator<Item = (Member, MemberRecord)>,
) -> (Arc<PeerClient>, watch::Sender<Members>) {
    client_with(settings(), identity, members)
}

fn client_with(
    settings: PeerSettings,
    identity: Arc<PeerIdentity>,
    members: impl IntoIterator<Item = (Member, MemberRecord)>,
) -> (Arc<PeerClient>, watch::Sender<Members>) {
    let (sender, members) = watch::channel(Arc::new(members.into_iter().collect()));
    let client = PeerClient::start(identity, settings, None, members).unwrap();
    (client, sender)
}

fn is_connected(client: &PeerClient, member: &Member) -> bool {
    crate::spoke::peers::Peers::is_connected(client, member)
}

/// Waits until something holds; says how long that took.
async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_mins(1), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

/// Holds a wait against its bar where times are measured (`HUB_TEST_TIMES`); elsewhere, on machines
/// that others use too, only against what cannot be mistaken for it.
fn in_time(took: Duration, bar: Duration) {
    let measured = std::env::var_os("HUB_TEST_TIMES").is_some();
    let allowed = if measured { bar } else { 20 * bar };
    assert!(took < allowed, "{took:?}");
}

/// Two members, the first of which asks the second.
async fn pair() -> (Arc<PeerClient>, Node) {
    let node = Node::start("b", 5).await;
    let (client, sender) = client_of(identity("a", 3), [node.entry()]);
    // What is registered stays so.
    std::mem::forget(sender);
    until("connected", || {
        is_connected(&client, node.identity.member())
    })
    .await;
    (client, node)
}

#[tokio::test]
async fn members_that_are_registered_or_in_a_ring_are_kept_in_touch_with() {
    let (b, c) = (Node::start("b", 5).await, Node::start("c", 6).await);
    let (client, sender) = client_of(identity("a", 3), [b.entry()]);
    let names = |client: &PeerClient| {
        let all = client.snapshot().into_iter();
        all.map(|peer| peer.member).collect::<Vec<_>>()
    };
    assert_eq!(names(&client), ["b"]);
    sender.send_replace(Arc::new([c.entry()].into()));
    until("c is known", || names(&client) == ["c"]).await;
    until("c is connected", || is_connected(&client, &member("c"))).await;
    // One that has gone from the registry, and is in a ring still, stays where it was.
    client.set_ring_members(BTreeSet::from([member("a"), member("c")]));
    sender.send_replace(Arc::default());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(names(&client), ["c"]);
    assert!(is_connected(&client, &member("c")));
    let seen = client.snapshot().remove(0);
    assert_eq!(seen.incarnation, Some(Incarnation(6)));
    assert_eq!(seen.state, PeerState::Connected);
    assert_eq!(seen.address, Some(c.address));
    assert!(seen.clock_offset_millis.unwrap().abs() < 1_000, "{seen:?}");
    client.set_ring_members(BTreeSet::new());
    assert_eq!(names(&client), [""; 0]);
    assert!(!is_connected(&client, &member("c")));
}
