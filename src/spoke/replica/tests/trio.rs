//! Three replicas on stores in memory, joined by a network that loses, delays and repeats: what is
//! acknowledged stays, once, in order, and a stable read never changes.
//!
//! Time is tokio's paused time, so a run is quick, and follows from its seed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

use async_trait::async_trait;
use tokio::time::Instant;

use super::*;
use crate::channel::merge::stable_bound;
use crate::cluster::{Incarnation, PeerError};
use crate::env::{BootTime, ClockSource};
use crate::spoke::peers::*;
use crate::spoke::{Direction, MemoryStore};

const WAIT: Duration = Duration::from_millis(500);

/// Paused time, with this node's clock off by so much.
struct PausedClock {
    began: Instant,
    off: i64,
}

impl ClockSource for PausedClock {
    fn wall(&self) -> Millis {
        Millis::new(NOW + self.off + self.began.elapsed().as_millis() as i64)
    }

    fn boot(&self) -> BootTime {
        self.began.elapsed() + Duration::from_secs(1)
    }
}

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

struct Node {
    /// Which run of the node this is: what was sent to an earlier one is lost.
    run: u64,
    store: Arc<MemoryStore>,
    clock: Arc<HubClock>,
    replica: Option<Arc<Replica>>,
}

pub(super) struct Net {
    nodes: Mutex<Vec<Node>>,
    dice: Mutex<Dice>,
    pub(super) faults: AtomicBool,
}

thread_local! {
    /// Those that an operator declared lost. A test runs on one thread, its own.
    pub(super) static LOST: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
}

fn member(at: usize) -> Member {
    Member::new(["a", "b", "c"][at]).unwrap()
}

pub(super) fn channel() -> ChannelRef {
    ChannelRef {
        id: CHANNEL,
        name: "c".into(),
    }
}

/// The three of them, as one of them sees it.
pub(super) struct Trio(pub(super) usize);

impl KeyPlacement for Trio {
    fn is_placed(&self, _: &ItemKey) -> bool {
        true
    }

    fn horizon(&self) -> Millis {
        Millis::MAX
    }

    fn is_current(&self) -> bool {
        true
    }

    fn others(&self, _: Millis) -> Vec<Member> {
        (0..3).filter(|at| *at != self.0).map(member).collect()
    }

    fn leads(&self, _: Millis) -> bool {
        self.0 == 0
    }

    fn stamps_from(&self, _: Millis) -> Millis {
        Millis::MIN
    }

    fn earlier_sets(&self, _: Millis, _: Millis) -> Vec<EarlierSet> {
        Vec::new()
    }

    fn is_lost(&self, asked: &Member, _: Millis, _: Millis) -> bool {
        LOST.with_borrow(|lost| lost.iter().any(|at| member(*at) == *asked))
    }
}

/// How one node reaches the others.
struct Link(Weak<Net>, usize);

impl Link {
    /// Carries a question to a member and its answer back, or does not.
    async fn carry<T, F>(
        &self,
        to: &Member,
        ask: impl FnOnce(Arc<Replica>) -> F + Send + 'static,
    ) -> Result<T, PeerError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let lost = |reason: &str| PeerError::NoAnswer {
            member: to.clone(),
            reason: reason.to_owned(),
        };
        let net = self.0.upgrade().ok_or_else(|| lost("over"))?;
        if !self.is_connected(to) {
            return Err(PeerError::NotConnected {
                member: to.clone(),
                reason: "down".to_owned(),
            });
        }
        let at = (0..3).find(|at| member(*at) == *to).unwrap();
        let (run, own_run) = {
            let nodes = net.nodes.lock();
            (nodes[at].run, nodes[self.1].run)
        };
        let (there, back, loses) = net.weather();
        let from = self.1;
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(there).await;
            let replica = {
                let nodes = net.nodes.lock();
                // Neither an earlier run's message nor one to it is delivered.
                let same = nodes[at].run == run && nodes[from].run == own_run;
                nodes[at].replica.clone().filter(|_| same)
            };
            if let Some(replica) = replica
                && loses != 0
            {
                let said = ask(replica).await;
                tokio::time::sleep(back).await;
                let same = net.nodes.lock()[at].run == run;
                if loses != 1 && same {
                    let _ = answer.send(said);
                }
            }
        });
        match tokio::time::timeout(WAIT, answered).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(_)) => Err(lost("lost")),
            Err(_) => Err(lost("late")),
        }
    }
}

impl Net {
    pub(super) fn replica(&self, at: usize) -> Arc<Replica> {
        self.nodes.lock()[at].replica.clone().unwrap()
    }

    pub(super) fn store(&self, at: usize) -> Arc<MemoryStore> {
        Arc::clone(&self.nodes.lock()[at].store)
    }

    /// What the node still does reaches nothing.
    pub(super) fn kill(&self, at: usize) {
        let mut nodes = self.nodes.lock();
        nodes[at].run += 1;
        nodes[at].replica = None;
        nodes[at].store.fail("killed");
    }

    /// How long a message takes, and its answer, and whether it is lost (0), or its answer (1).
    fn weather(&self) -> (Duration, Duration, u64) {
        let mut dice = self.dice.lock();
        if !self.faults.load(Ordering::SeqCst) {
            return (Duration::from_millis(1), Duration::from_millis(1), 2);
        }
        let slow = if dice.roll(8) == 0 { 2500 } else { 20 };
        let there = Duration::from_millis(dice.roll(slow));
        let back = Duration::from_millis(dice.roll(20));
        (there, back, dice.roll(15))
    }
}

#[async_trait]
impl Peers for Link {
    fn is_connected(&self, to: &Member) -> bool {
        self.0.upgrade().is_some_and(|net| {
            let at = (0..3).find(|at| member(*at) == *to).unwrap();
            net.nodes.lock()[at].replica.is_some()
        })
    }

    fn run_of(&self, to: &Member) -> Option<Incarnation> {
        let net = self.0.upgrade()?;
        let at = (0..3).find(|at| member(*at) == *to).unwrap();
        let run = net.nodes.lock()[at].run;
        Some(Incarnation(run))
    }

    async fn append(&self, to: &Member, r: AppendRequest) -> Result<AppendAnswer, PeerError> {
        let at = (0..3).find(|at| member(*at) == *to).unwrap();
        self.carry(to, move |replica| async move {
            let place = Arc::new(Trio(at));
            let offered = Offered { request: r, place };
            replica.take(vec![offered]).await.remove(0)
        })
        .await
    }

    async fn stage(&self, to: &Member, id: WriteId, payload: Bytes) -> Result<(), PeerError> {
        let staged = self
            .carry(to, move |replica| async move { replica.stage(id, payload) })
            .await?;
        staged.map_err(|error| PeerError::Refused {
            member: to.clone(),
            reason: error.to_string(),
        })
    }

    async fn settle(&self, to: &Member, r: SettleRequest) -> Result<SettleAnswer, PeerError> {
        self.carry(to, move |replica| async move { replica.settle(&r).await })
            .await
    }

    async fn write(
        &self,
        to: &Member,
        r: WriteRequest,
    ) -> Result<Result<Stored, WriteError>, PeerError> {
        let at = (0..3).find(|at| member(*at) == *to).unwrap();
        self.carry(to, move |replica| coordinate(replica, at, r))
            .await
    }

    async fn report(&self, to: &Member, r: ReportRequest) -> Result<Report, PeerError> {
        let report = self
            .carry(to, move |replica| async move { replica.report(&r).await })
            .await?;
        report.map_err(|error| PeerError::Refused {
            member: to.clone(),
            reason: error.to_string(),
        })
    }

    async fn get(&self, to: &Member, c: ChannelRef, key: ItemKey) -> Result<GetAnswer, PeerError> {
        self.carry(to, move |replica| async move {
            match replica.item_for_peer(c.id, key).await {
                Ok(Some(item)) => GetAnswer::Found(item),
                Ok(None) => GetAnswer::No,
                Err(error) => GetAnswer::Unknown(error.to_string()),
            }
        })
        .await
    }

    async fn digests(&self, to: &Member, _: Millis, _: Millis) -> Result<Vec<Digest>, PeerError> {
        unreachable!("{}", to.as_str())
    }

    async fn inventory(&self, to: &Member, _: InventoryRequest) -> Result<Inventory, PeerError> {
        unreachable!("{}", to.as_str())
    }

    async fn fetch(
        &self,
        to: &Member,
        _: Vec<(ChannelId, ItemKey)>,
    ) -> Result<Vec<(ChannelId, PeerItem)>, PeerError> {
        unreachable!("{}", to.as_str())
    }
}

async fn coordinate(
    replica: Arc<Replica>,
    at: usize,
    request: WriteRequest,
) -> Result<Stored, WriteError> {
    let PeerPayload::Inline(bytes) = request.body.payload else {
        unreachable!("a write has its payload")
    };
    let write = Write {
        channel: request.channel,
        write_id: request.body.write_id,
        keyed: request.body.keyed,
        payload: Payload {
            content_type: None,
            bytes,
        },
        bulk: request.bulk,
        began: request.began,
        again: request.again,
        until: Instant::now() + Duration::from_secs(8),
    };
    replica.coordinate(write, Arc::new(Trio(at))).await
}

fn open(net: &Arc<Net>, at: usize, store: Arc<MemoryStore>, clock: &Arc<HubClock>) {
    let settings = ReplicaSettings {
        limits: accept::Limits {
            accept_window: 1000,
            max_skew: 500,
        },
        slot: NodeSlot::new(at as u16).unwrap(),
        dedup_window: 600_000,
        dedup_bytes: 1 << 20,
        patience: Duration::from_secs(5),
        stage_bytes: 40,
        staged_bytes_max: 1_000_000,
    };
    let (replica, undecided) = Replica::new(
        Arc::clone(&store) as Arc<dyn SpokeStore>,
        Arc::clone(clock),
        Arc::new(Link(Arc::downgrade(net), at)),
        member(at),
        settings,
    );
    {
        let mut nodes = net.nodes.lock();
        nodes[at].run += 1;
        nodes[at].store = store;
        nodes[at].replica = Some(Arc::clone(&replica));
    }
    for item in undecided {
        let place = Arc::new(Trio(at));
        tokio::spawn(Arc::clone(&replica).settle_own(item, channel(), place));
    }
}

pub(super) fn start(seed: u64) -> Arc<Net> {
    let began = Instant::now();
    let mut dice = Dice(seed);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let off = dice.roll(400) as i64 - 200;
        let clock = Arc::new(HubClock::start(Arc::new(PausedClock { began, off })));
        nodes.push(Node {
            run: 0,
            store: Arc::new(MemoryStore::new(Arc::clone(&clock), 600_000)),
            clock,
            replica: None,
        });
    }
    let net = Arc::new(Net {
        nodes: Mutex::new(nodes),
        dice: Mutex::new(dice),
        faults: AtomicBool::new(true),
    });
    for at in 0..3 {
        let (store, clock) = {
            let nodes = net.nodes.lock();
            (Arc::clone(&nodes[at].store), Arc::clone(&nodes[at].clock))
        };
        open(&net, at, store, &clock);
    }
    net
}

/// Starts a killed node again, with all that its store had answered.
pub(super) async fn restart(net: &Arc<Net>, at: usize) {
    let (store, clock) = {
        let nodes = net.nodes.lock();
        (Arc::clone(&nodes[at].store), Arc::clone(&nodes[at].clock))
    };
    let store = Arc::new(store.reopened(Arc::clone(&clock), true));
    while clock.now() <= store.mark() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    open(net, at, store, &clock);
}

/// A client that writes one item after the other, each through coordinators in some order, with one
/// write id. Gives what was acknowledged, in order.
async fn client(net: Arc<Net>, who: u64, keyed: bool, writes: u64) -> Vec<(ItemKey, Bytes)> {
    let mut acknowledged = Vec::new();
    for number in 0..writes {
        let text = if number % 5 == 0 {
            format!("{who}/{number}, which is longer than what goes with its append")
        } else {
            format!("{who}/{number}")
        };
        let bytes = Bytes::from(text);
        let until = Instant::now() + Duration::from_secs(10);
        let mut again = false;
        let first = net.dice.lock().roll(3) as usize;
        let mut turn = 0;
        while Instant::now() < until {
            let at = (first + turn) % 3;
            turn += 1;
            let replica = net.nodes.lock()[at].replica.clone();
            let Some(replica) = replica else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let request = WriteRequest {
                channel: channel(),
                body: ItemBody {
                    write_id: WriteId(u128::from(who) << 64 | u128::from(number)),
                    keyed,
                    content_type: None,
                    size: bytes.len() as u64,
                    digest: 0,
                    payload: PeerPayload::Inline(bytes.clone()),
                },
                bulk: None,
                began: Millis::new(NOW),
                again,
                patience: 500,
            };
            let outcome = tokio::time::timeout(WAIT, coordinate(replica, at, request)).await;
            match outcome {
                Ok(Ok(stored)) => {
                    acknowledged.push((stored.key, bytes.clone()));
                    break;
                }
                Ok(Err(WriteError::NotNow(_))) => {}
                Ok(Err(WriteError::Unknown { .. })) | Err(_) => again = true,
                Ok(Err(error)) => unreachable!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    acknowledged
}

/// A stable read of everything by two of the three: the bound, and the keys up to it.
async fn stable(net: &Arc<Net>, pair: [usize; 2]) -> Option<(Frontier, BTreeSet<ItemKey>)> {
    let mut reports = Vec::new();
    for at in pair {
        let replica = net.nodes.lock()[at].replica.clone()?;
        let request = ReportRequest {
            channel: channel(),
            from: ItemKey::MIN,
            to: ItemKey::first_of(Millis::MAX),
            direction: Direction::Ascending,
            limit: 100_000,
            undecided: false,
        };
        reports.push(replica.report(&request).await.ok()?);
    }
    let frontiers: Vec<Frontier> = reports.iter().map(|r| r.frontier).collect();
    let bound = stable_bound(2, &frontiers)?;
    let keys = reports.into_iter().flat_map(|r| r.keys);
    Some((bound, keys.filter(|key| bound.covers(key)).collect()))
}

const PAIRS: [[usize; 2]; 3] = [[0, 1], [1, 2], [0, 2]];

async fn run(seed: u64) {
    let net = start(seed);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let clients: Vec<_> = (0..3)
        .map(|who| tokio::spawn(client(Arc::clone(&net), who + 1, who == 1, 25)))
        .collect();
    let reader = tokio::spawn({
        let net = Arc::clone(&net);
        async move {
            let mut seen: Option<(Frontier, BTreeSet<ItemKey>)> = None;
            let mut reads = 0u32;
            loop {
                let pair = PAIRS[net.dice.lock().roll(3) as usize];
                if let Some((bound, keys)) = stable(&net, pair).await {
                    reads += 1;
                    if let Some((before, known)) = &seen {
                        let both = bound.min(*before);
                        let cut = |keys: &BTreeSet<ItemKey>| -> BTreeSet<ItemKey> {
                            keys.iter()
                                .filter(|key| both.covers(key))
                                .copied()
                                .collect()
                        };
                        assert_eq!(cut(&keys), cut(known), "a stable read changed, seed {seed}");
                    }
                    if seen.as_ref().is_none_or(|(before, _)| bound >= *before) {
                        seen = Some((bound, keys));
                    }
                }
                if !net.faults.load(Ordering::SeqCst) {
                    return reads;
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    });
    // Now and then a node is killed, and comes back with all that was answered.
    let killer = tokio::spawn({
        let net = Arc::clone(&net);
        async move {
            while net.faults.load(Ordering::SeqCst) {
                let pause = net.dice.lock().roll(4000);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let at = net.dice.lock().roll(3) as usize;
                net.kill(at);
                let pause = net.dice.lock().roll(1500);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                restart(&net, at).await;
            }
        }
    });
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.push(client.await.unwrap());
    }
    net.faults.store(false, Ordering::SeqCst);
    killer.await.unwrap();
    let reads = reader.await.unwrap();
    assert!(reads > 10, "the reader was never answered, seed {seed}");
    // Faults over: nothing stays undecided.
    let patience = Instant::now() + Duration::from_mins(2);
    loop {
        let waiting: Vec<(usize, Option<ItemKey>)> = {
            let nodes = net.nodes.lock();
            let of = |node: &Node| node.replica.as_ref().map(|r| r.undecided());
            let all = nodes.iter().map(of).enumerate();
            let pending = all.filter(|(_, u)| u.is_some_and(|(count, _)| count > 0));
            pending.map(|(at, u)| (at, u.unwrap().1)).collect()
        };
        if waiting.is_empty() {
            break;
        }
        assert!(
            Instant::now() < patience,
            "undecided for ever: {waiting:?}, seed {seed}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut all = Vec::new();
    for pair in PAIRS {
        let (bound, keys) = stable(&net, pair).await.unwrap();
        for (key, _) in acknowledged.iter().flatten() {
            assert!(bound.covers(key));
            assert!(keys.contains(key), "{key} is lost to {pair:?}, seed {seed}");
        }
        all.push(keys);
    }
    assert!(
        all.iter().all(|keys| *keys == all[0]),
        "readers differ, seed {seed}"
    );
    let mut writes: BTreeMap<Bytes, ItemKey> = BTreeMap::new();
    for key in &all[0] {
        let mut found = None;
        for at in 0..3 {
            let replica = net.nodes.lock()[at].replica.clone().unwrap();
            if let Some(item) = replica.get(CHANNEL, *key).await.unwrap() {
                found = Some(item.into_payload().unwrap().bytes);
            }
        }
        let earlier = writes.insert(found.unwrap(), *key);
        assert_eq!(earlier, None, "one write under two keys, seed {seed}");
    }
    let mut count = 0;
    for of_client in &acknowledged {
        let ordered = of_client.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(ordered, "sequential writes lost their order, seed {seed}");
        for (key, bytes) in of_client {
            assert_eq!(writes.get(bytes), Some(key), "another item, seed {seed}");
            count += 1;
        }
    }
    assert!(
        count > 20,
        "only {count} writes were acknowledged, seed {seed}"
    );
}

fn seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(seed));
    }
}

#[test]
fn three_replicas_under_loss_delay_and_kills_keep_their_promises() {
    seeds(0..30);
}

#[test]
#[ignore = "the full size: make rehearse"]
fn three_replicas_keep_their_promises_at_length() {
    seeds(1000..3000);
}
