//! A node: everything wired together, from the first file to the last.
//!
//! The only module that knows all others.

mod error;
mod guarding;
mod joining;
mod keeping;
mod opener;
mod restoring;
mod running;
mod settings;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::error::NodeError;
use self::guarding::Guarding;
use self::joining::{full_host_name, register};
use self::keeping::Keeping;
use self::opener::Opener;
pub use self::restoring::EmptyHub;
use self::running::{Running, archive, either, repair, trim, upkeep};
use self::settings::{
    api_settings, archive_settings, archive_store, archive_url, backup_place, durability, edges_of,
    millis, properties, store_options, tls_acceptor,
};
use crate::archive::reader::ArchiveReader;
use crate::archive::store::Guard;
use crate::backup;
use crate::channel::config::Defaults;
use crate::channel::{
    Archiver, ArchiverParts, ChannelError, Channels, Historical, LocalReplica, ReadSettings, Reads,
    Repair, ReplicaService, Trimmer, WriteSettings, Writes,
};
use crate::cluster::{ChannelBook, DataFolder, Identity, Life, Phase, RingService, RingView};
use crate::config::Config;
use crate::env::{HubClock, OsRandom, Random, clock_source};
use crate::http::api::{Api, Core, Operations};
use crate::http::body::{Budgets, Inflight};
use crate::http::links::Authority;
use crate::item::{NodeSlot, PastStamps};
use crate::metric;
use crate::ops::{AdminGate, Leaving, Membership, Node, NodeFacts, Others, TimeSource, Working};
use crate::spoke::accept::Limits;
use crate::spoke::{ReplicaSettings, Retention as _, StoreId};

/// The version of the hub.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a node is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    No,
    /// Stop when load balancers have noticed.
    Drain,
    /// Stop as soon as what is in flight is answered.
    Now,
}

/// The pause before coordination is asked again at a start.
const AGAIN: Duration = Duration::from_millis(250);

/// How long a client waits for a write at the most.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Runs a node until it is asked to stop and has.
///
/// # Errors
/// [`NodeError`] if it does not get to serve.
pub async fn run(
    config: Config,
    metrics: PrometheusHandle,
    stop: watch::Receiver<Stop>,
) -> Result<(), NodeError> {
    let random = OsRandom;
    let clock = Arc::new(HubClock::start(clock_source()));
    let folder = DataFolder::open(&config.node.data_dir)?;
    let clustered = config.zookeeper.servers.is_some();
    let full = clustered.then(full_host_name).flatten();
    let host = config.node.fqdn.clone().or(full).unwrap_or_else(host_name);
    if clustered && host == "localhost" {
        return Err(NodeError::Localhost);
    }
    let identity = Identity::load(&folder, config.node.fqdn.as_deref(), &host, &random)?;
    let life = Arc::new(Life::default());
    let view = RingView::new(identity.member.clone());
    let local = Arc::new(LocalReplica::default());
    let membership = Arc::new(Membership::default());
    let channels = Arc::new(OnceLock::new());
    let working = Arc::new(OnceLock::new());
    let leaving = Leaving::default();
    let stop = either(stop, leaving.watch());
    let budgets = Budgets::new(config.limits.inflight_bytes);
    let tls = tls_acceptor(&config)?;
    let backups = backup_place(&config)?;

    let public = listen("http.listen", config.http.listen).await?;
    let ops = listen("ops.listen", config.ops.listen).await?;
    let peer_listener = match &config.zookeeper.servers {
        Some(_) => Some(listen("peer.listen", config.peer.listen).await?),
        None => None,
    };
    let public_address = public.local_addr().unwrap_or(config.http.listen);
    let node_name = format!("{host}:{}", public_address.port());
    // A host's name need not be one that a URL may hold; its address always is.
    let own = Authority::parse(&node_name)
        .or_else(|| Authority::parse(&public_address.to_string()))
        .ok_or(NodeError::Ended {
            what: "the supply of names",
        })?;
    let path = folder.join("time-source");
    let time = TimeSource::read(path.clone());
    let time = time.map_err(|source| NodeError::Folder { path, source })?;
    let traces = Arc::default();
    let node = Arc::new(Node {
        facts: NodeFacts {
            version: VERSION,
            node: node_name.clone(),
            started: clock.now(),
            durability: durability(&config),
            read_only: config.node.read_only,
            protect: config.channel.protect,
            tls: tls.is_some(),
            grace_seconds: config.ring.grace_seconds,
            cluster: config.cluster.name.clone(),
            archive: archive_url(&config, &folder.join("archive")),
            properties: properties(&config),
        },
        life: Arc::clone(&life),
        clock: Arc::clone(&clock),
        view: Arc::clone(&view),
        local: Arc::clone(&local),
        membership: Arc::clone(&membership),
        others: Others::default(),
        admin: AdminGate::read(config.ops.admin_token_file.as_deref())?,
        channels: Arc::clone(&channels),
        working: Arc::clone(&working),
        traces: Arc::clone(&traces),
        leaving,
        time,
        budgets: budgets.clone(),
        metrics: metrics.clone(),
    });
    let api = Api::new(
        api_settings(&config, &node_name, own),
        Arc::clone(&clock),
        budgets.clone(),
        Arc::clone(&life),
        Arc::clone(&node) as Arc<dyn Operations>,
        traces,
        random.next_u64() as u32,
    );

    let (stop_edges, edges_stopped) = watch::channel(false);
    let mut edges = tokio::task::JoinSet::new();
    for edge in edges_of(&config, public, ops, tls) {
        let (api, clock, stop) = (Arc::clone(&api), Arc::clone(&clock), edges_stopped.clone());
        edges.spawn(edge.serve(api, clock, stop));
    }
    tracing::info!(
        listen = %public_address,
        ops = %config.ops.listen,
        member = %identity.member.as_str(),
        version = VERSION,
        "listening"
    );

    let starting = Starting {
        config: &config,
        folder: &folder,
        identity: &identity,
        clock: &clock,
        life: &life,
        view: &view,
        local: &local,
        membership: &membership,
        answers: &budgets.answers,
        channels: &channels,
        working: &working,
        public: &node_name,
        peer_listener,
        stopped: edges_stopped.clone(),
    };
    let mut stopping = stop.clone();
    // A node that is told to stop while it starts does not finish starting.
    let begun = tokio::select! {
        started = starting.run(&api, &random) => started.map(Some),
        _ = stopping.wait_for(|stop| *stop != Stop::No) => Ok(None),
        error = superseded(&membership) => Err(error),
    };
    let (mut started, mut ended) = match begun {
        Ok(started) => (started, None),
        Err(error) => (None, Some(error)),
    };
    if let Some((running, confirming)) = &mut started {
        let mut upkeep = tokio::spawn(upkeep(Arc::clone(running), metrics));
        let mut repairing = tokio::spawn(repair(Arc::clone(&running.opener.repair)));
        let period = Duration::from_secs(config.channel.max_items_minutes * 60);
        let mut trimming = tokio::spawn(trim(Arc::clone(&running.trimmer), period));
        let sweep = Duration::from_secs(config.archive.sweep_minutes * 60);
        let mut archiving = tokio::spawn(archive(running.archiver.clone(), sweep));
        let look = Duration::from_secs(config.backup.look_minutes * 60);
        let mut looking = tokio::spawn(backup::watch(backups, look));
        // A node that has lost one of these would look as if it worked, and not for long.
        ended = tokio::select! {
            () = wait_for_stop(&config, &life, stop.clone()) => None,
            error = superseded(&membership) => Some(error),
            _ = &mut upkeep => Some(NodeError::Ended { what: "the upkeep of the node" }),
            _ = confirming => Some(NodeError::Ended { what: "the confirming of the ring" }),
            _ = &mut repairing => Some(NodeError::Ended { what: "the repair" }),
            _ = &mut trimming => Some(NodeError::Ended { what: "the counting of items" }),
            _ = &mut archiving => Some(NodeError::Ended { what: "the archiving" }),
            _ = &mut looking => Some(NodeError::Ended { what: "the look at the backups" }),
        };
        looking.abort();
        archiving.abort();
        trimming.abort();
        repairing.abort();
        upkeep.abort();
        // It may be about to open the store again, which is then to be closed like any other.
        if !upkeep.is_finished() {
            let _ = upkeep.await;
        }
    }
    let started = started.map(|(running, _)| running);
    life.enter(Phase::Draining);
    // The receivers live in the edges, which end by it.
    let _ = stop_edges.send(true);
    let patience = Duration::from_secs(config.shutdown.wait_seconds);
    let finished = tokio::time::timeout(patience, async {
        while edges.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!("some requests were not finished in time and are cut off");
        edges.abort_all();
    }
    if let Some(running) = started {
        running.close().await;
    }
    // Also one that has not got to serve: others would wait for it until its session is over.
    if let Some(cluster) = membership.cluster()
        && let Err(error) = cluster.coordination().deregister().await
    {
        tracing::warn!(%error, "could not deregister");
    }
    life.enter(Phase::Stopped);
    ended.map_or(Ok(()), Err)
}

/// Waits until another process has registered under this node's name: peers answer this one no more,
/// whatever becomes of the other.
async fn superseded(membership: &Membership) -> NodeError {
    loop {
        if let Some(cluster) = membership.cluster() {
            let mut link = cluster.coordination().link();
            if let Ok(link) = link.wait_for(|link| link.superseded.is_some()).await
                && let Some(by) = link.superseded
            {
                return NodeError::Superseded { by: by.0 };
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until the node is asked to stop, and then as long as that says.
async fn wait_for_stop(config: &Config, life: &Life, mut stop: watch::Receiver<Stop>) {
    // The sender outlives the node.
    let _ = stop.wait_for(|stop| *stop != Stop::No).await;
    life.enter(Phase::Draining);
    if *stop.borrow() == Stop::Drain {
        let delay = Duration::from_secs(config.shutdown.delay_seconds);
        tracing::info!(
            seconds = delay.as_secs(),
            "serving on until load balancers have noticed"
        );
        let _ = tokio::time::timeout(delay, stop.wait_for(|stop| *stop == Stop::Now)).await;
    }
}

/// What a node needs to start, borrowed from [`run`].
struct Starting<'a> {
    config: &'a Config,
    folder: &'a DataFolder,
    identity: &'a Identity,
    clock: &'a Arc<HubClock>,
    life: &'a Arc<Life>,
    view: &'a Arc<RingView>,
    local: &'a Arc<LocalReplica>,
    membership: &'a Membership,
    /// What bounds the items held for answers.
    answers: &'a Inflight,
    channels: &'a Arc<OnceLock<Arc<Channels>>>,
    working: &'a OnceLock<Working>,
    /// `host:port` of the listener for clients.
    public: &'a str,
    /// The listener for other members, in a cluster.
    peer_listener: Option<TcpListener>,
    /// When it is to stop answering them.
    stopped: watch::Receiver<bool>,
}

impl Starting<'_> {
    /// Gives the node that serves, and the task that keeps it confirmed.
    async fn run(
        self,
        api: &Api,
        random: &dyn Random,
    ) -> Result<(Arc<Running>, JoinHandle<()>), NodeError> {
        let Self { config, clock, .. } = self;
        // Who asks a node that does not get further sees what keeps it.
        let registers = match &config.zookeeper.servers {
            Some(servers) => format!("registering with ZooKeeper at {servers}"),
            None => "alone, without ZooKeeper".to_owned(),
        };
        self.life.enter(Phase::Joining(registers));
        let began = clock.boot();
        let joined = register(
            config,
            self.folder,
            self.view,
            clock,
            self.public,
            self.membership,
            self.answers.clone(),
        )
        .await?;
        let cluster = &joined.cluster;
        let coordination = Arc::clone(cluster.coordination());
        let defaults = Defaults {
            ttl_days: config.channel.ttl_days,
            protect: config.channel.protect,
        };
        let channels = loop {
            let loading = Channels::load(Arc::clone(&coordination), Arc::clone(clock), defaults);
            match loading.await {
                Err(ChannelError::Coordination(error)) if joined.link.is_some() => {
                    tracing::warn!(%error, "the channels could not be read yet");
                    tokio::time::sleep(AGAIN).await;
                }
                other => break other?,
            }
        };
        if let Some(what) = coordination.restoring().await? {
            return Err(NodeError::Restoring { what });
        }
        let window = millis(config.spoke.idempotency_minutes.saturating_mul(60_000));
        channels.set_remembered(window);
        let waits = "waiting for a ring with this node, and for its confirmation".to_owned();
        self.life.enter(Phase::Joining(waits));
        // Set once, here.
        let _ = self.channels.set(Arc::clone(&channels));
        cluster.set_channels(Arc::clone(&channels) as Arc<dyn ChannelBook>);
        tokio::spawn(Arc::clone(&channels).follow());
        let limits = Limits {
            accept_window: millis(config.spoke.accept_window_ms),
            max_skew: millis(config.cluster.max_skew_ms),
        };
        let peers = Arc::clone(&joined.peers);
        let archive = archive_store(config, &self.folder.join("archive"))?;
        let archive = match archive {
            None => None,
            Some((store, name)) => {
                let guard = Guard::new(&store);
                let kept = Arc::clone(&coordination);
                let guarding = Guarding::new(Arc::clone(&guard), kept, name.clone(), random);
                guarding.start().await;
                Some((Arc::new(store.guarded(&guard)), name))
            }
        };
        let reader = archive.as_ref().map(|(store, _)| {
            let reader = ArchiveReader::new(
                Arc::clone(store),
                config.archive.cache_bytes,
                self.answers.clone(),
            );
            Arc::new(reader)
        });
        let past = archive.as_ref().zip(reader.as_ref());
        let past = past.map(|((store, _), reader)| (Arc::clone(store), Arc::clone(reader)));
        let reads = Arc::new(Reads::new(
            Arc::clone(self.view),
            Arc::clone(self.local),
            Arc::clone(&channels),
            Arc::clone(&peers),
            Arc::clone(clock),
            reader,
            ReadSettings {
                limits,
                stable_millis: millis(config.read.stable_seconds.saturating_mul(1000)),
                hedge: Duration::from_millis(config.peer.hedge_ms),
            },
        ));
        let repair = Arc::new(Repair::new(
            Arc::clone(self.view),
            Arc::clone(self.local),
            Arc::clone(&channels),
            Arc::clone(&peers),
            Arc::clone(clock),
            limits.max_skew,
        ));
        let writes = Arc::new(Writes::new(
            Arc::clone(self.view),
            Arc::clone(self.local),
            Arc::clone(&channels),
            Arc::clone(&peers),
            Arc::clone(clock),
            random,
            WriteSettings {
                deadline: WRITE_DEADLINE,
                patience: Duration::from_millis(config.peer.append_timeout_ms * 3 / 2),
                max_skew: limits.max_skew,
            },
        ));
        let archiver = match archive {
            None => None,
            Some((store, name)) => {
                let mark = self.folder.join("archived");
                let settings = archive_settings(config, mark.clone(), name);
                let parts = ArchiverParts {
                    view: Arc::clone(self.view),
                    local: Arc::clone(self.local),
                    channels: Arc::clone(&channels),
                    reads: Arc::clone(&reads),
                    writes: Arc::clone(&writes),
                    clock: Arc::clone(clock),
                };
                let archiver = Archiver::new(parts, &store, settings);
                let wrong = |source| NodeError::ArchiveMark { path: mark, source };
                Some(Arc::new(archiver.map_err(wrong)?))
            }
        };
        // What a client may ask once more about stays as well.
        let ttl = millis(config.spoke.ttl_seconds.saturating_mul(1000)).max(window);
        let keeping = Keeping::new(
            Arc::clone(&channels),
            archiver.clone(),
            Arc::clone(clock),
            ttl,
        );
        let keeping = Arc::new(keeping);
        let saying = Arc::clone(&keeping);
        cluster.set_archived(move || saying.evicts_to());
        if let (Some(link), Some(listener)) = (&joined.link, self.peer_listener) {
            let service = ReplicaService::new(
                Arc::clone(self.view),
                Arc::clone(self.local),
                Arc::clone(&channels),
                Arc::clone(&writes),
                limits.max_skew,
            );
            let rings = Arc::clone(cluster) as Arc<dyn RingService>;
            link.serve(config, listener, Arc::new(service), rings, self.stopped);
            link.follow(Arc::clone(self.view));
        }
        let confirming = cluster.start(joined.ring_peers());
        tokio::spawn(Arc::clone(cluster).follow_life(Arc::clone(self.life)));
        let slot = cluster.joined().await;
        tracing::info!(
            ring = self.view.history().newest().map(hub_ring::RingMap::version),
            "joined"
        );
        let own_slot = NodeSlot::new(slot.number()).ok_or(NodeError::Ended {
            what: "the supply of node slots",
        })?;
        let opener = Opener {
            path: self.folder.join("spoke"),
            options: store_options(config),
            id: StoreId(self.identity.store),
            boot: boot_id(),
            clock: Arc::clone(clock),
            channels: Arc::clone(&channels),
            keeping,
            archiver: archiver.clone(),
            settings: ReplicaSettings {
                limits,
                slot: own_slot,
                dedup_window: window,
                dedup_bytes: config.spoke.idempotency_bytes,
                patience: WRITE_DEADLINE,
                stage_bytes: usize::try_from(config.peer.stage_bytes).unwrap_or(usize::MAX),
                staged_bytes_max: usize::try_from(config.limits.inflight_bytes)
                    .unwrap_or(usize::MAX),
            },
            life: Arc::clone(self.life),
            view: Arc::clone(self.view),
            cluster: Arc::clone(cluster),
            peers: Arc::clone(&peers),
            repair,
        };
        self.life
            .enter(Phase::Warming("opening the store".to_owned()));
        let opened = opener.open(began).await?;
        self.local.set(Arc::clone(&opened.replica));
        let trimmer = Trimmer::new(
            Arc::clone(&channels),
            Arc::clone(&reads),
            Arc::clone(&writes),
        );
        let trimmer = Arc::new(trimmer);
        // Set once, here.
        let _ = self.working.set(Working {
            reads: Arc::clone(&reads),
            trimmer: Arc::clone(&trimmer),
            archiver: archiver.clone(),
        });
        let historical = Historical::new(
            past,
            Arc::clone(&channels),
            PastStamps::new(own_slot, OsRandom.next_u64()),
            WRITE_DEADLINE,
        );
        api.open(Core {
            channels,
            writes,
            reads,
            historical: Arc::new(historical),
        });
        let running = Running {
            opener: Arc::new(opener),
            warming: Mutex::default(),
            local: Arc::clone(self.local),
            life: Arc::clone(self.life),
            trimmer,
            archiver,
            cluster: Arc::clone(cluster),
            confirming: confirming.abort_handle(),
        };
        running.warm(opened);
        Ok((Arc::new(running), confirming))
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| NodeError::Listen {
            setting,
            address,
            source,
        })
}

/// The name of this host; `localhost` if it has none.
pub(crate) fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().to_ascii_lowercase();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// What tells one boot of the machine from another; a random number where the system does not say,
/// so that two boots are never taken for one.
fn boot_id() -> u128 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&hex, 16).unwrap_or_else(|_| OsRandom.next_u128())
}

/// Says what the metrics mean, once they are recorded.
pub fn describe_metrics() {
    metric::describe(VERSION);
}
