//! A node: everything wired together, from the first file to the last.
//!
//! The only module that knows all others.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hub_ring::Placement;
use hub_ring::keeper::KeeperPolicy;
use metrics_exporter_prometheus::PrometheusHandle;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::channel::config::Defaults;
use crate::channel::{
    ChannelError, Channels, Epoch, LocalReplica, Query, ReadSettings, Reads, Writes,
};
use crate::cluster::{
    Coordination, CoordinationError, DataFolder, EmbeddedCoordination, Identity, IdentityError,
    Incarnation, JoinError, Life, MemberRecord, MembershipSettings, Phase, RingView, join,
    keep_confirming,
};
use crate::config::{self, Config};
use crate::env::{HubClock, Millis, OsRandom, Random, SystemClock};
use crate::http::api::{Api, ApiSettings, Core, Operations, Surface};
use crate::http::body::{BodyLimits, Inflight};
use crate::http::edge::{Edge, EdgeLimits};
use crate::http::links::Authority;
use crate::item::{ItemKey, NodeSlot};
use crate::metric;
use crate::ops::{Node, NodeFacts};
use crate::spoke::accept::Limits;
use crate::spoke::{
    Direction, DiskFolder, Durability, LogStore, OpenError, Options, Replica, ReplicaSettings,
    StoreId,
};

/// The version of the hub.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why a node does not run.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Its data folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A listener cannot be opened.
    #[error(
        "{setting} {address}: {source}; is another hub running? Set {setting} to a free address"
    )]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("tls: {reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
    /// Coordination did not start.
    #[error("coordination: {0}")]
    Coordination(#[from] CoordinationError),
    /// It did not get into the ring.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The channels could not be read.
    #[error(transparent)]
    Channels(#[from] ChannelError),
    /// The store did not open.
    #[error("the store: {0}")]
    Store(#[from] OpenError),
    /// The folder of the store cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something inside ended that should not have.
    #[error("{what} ended: please report it")]
    Ended {
        /// What it was.
        what: &'static str,
    },
}

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

/// How long a client waits for a write at the most.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// How often the store is looked at for a failure.
const WATCH_STORE: Duration = Duration::from_millis(200);
/// The longest pause between two tries to open a store that failed.
const REOPEN_MAX: Duration = Duration::from_secs(5);
/// A wall clock this far behind the clock mark, in milliseconds, is said to be wrong.
const CLOCK_WRONG: i64 = 10_000;

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
    let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
    let folder = DataFolder::open(&config.node.data_dir)?;
    let host = host_name();
    let identity = Identity::load(&folder, config.node.fqdn.as_deref(), &host, &random)?;
    let life = Arc::new(Life::default());
    let view = RingView::new(identity.member.clone());
    let local = Arc::new(LocalReplica::default());
    let channels = Arc::new(OnceLock::new());
    let inflight = Inflight::new(config.limits.inflight_bytes);
    let tls = tls_acceptor(&config)?;

    let public = listen("http.listen", config.http.listen).await?;
    let ops = listen("ops.listen", config.ops.listen).await?;
    let public_address = public.local_addr().unwrap_or(config.http.listen);
    let node_name = format!("{host}:{}", public_address.port());
    // A host's name need not be one that a URL may hold; its address always is.
    let own = Authority::parse(&node_name)
        .or_else(|| Authority::parse(&public_address.to_string()))
        .ok_or(NodeError::Ended {
            what: "the supply of names",
        })?;
    let node = Arc::new(Node {
        facts: NodeFacts {
            version: VERSION,
            node: node_name.clone(),
            started: clock.now(),
            durability: durability(&config),
            read_only: config.node.read_only,
            properties: properties(&config),
        },
        life: Arc::clone(&life),
        clock: Arc::clone(&clock),
        view: Arc::clone(&view),
        local: Arc::clone(&local),
        channels: Arc::clone(&channels),
        inflight: inflight.clone(),
        metrics: metrics.clone(),
    });
    let api = Api::new(
        api_settings(&config, &identity, &node_name, own),
        Arc::clone(&clock),
        inflight,
        Arc::clone(&life),
        Arc::clone(&node) as Arc<dyn Operations>,
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
        channels: &channels,
    };
    let mut stopping = stop.clone();
    // A node that is told to stop while it starts does not finish starting.
    let started = tokio::select! {
        started = starting.run(&api, &random) => Some(started?),
        _ = stopping.wait_for(|stop| *stop != Stop::No) => None,
    };
    if let Some(running) = &started {
        let upkeep = tokio::spawn(upkeep(Arc::clone(running), metrics));
        wait_for_stop(&config, &life, stop.clone()).await;
        upkeep.abort();
    }
    life.enter(Phase::Draining);
    // The receivers live in the edges, which end by it.
    let _ = stop_edges.send(true);
    let patience = Duration::from_secs(config.shutdown.wait_seconds);
    let ended = tokio::time::timeout(patience, async {
        while edges.join_next().await.is_some() {}
    });
    if ended.await.is_err() {
        tracing::warn!("some requests were not finished in time and are cut off");
        edges.abort_all();
    }
    if let Some(running) = started {
        running.close().await;
    }
    life.enter(Phase::Stopped);
    Ok(())
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
    channels: &'a Arc<OnceLock<Arc<Channels>>>,
}

impl Starting<'_> {
    async fn run(self, api: &Api, random: &dyn Random) -> Result<Arc<Running>, NodeError> {
        let Self { config, clock, .. } = self;
        self.life.enter(Phase::Joining);
        let path = self.folder.join("coordination.redb");
        let opening = {
            let clock = Arc::clone(clock);
            tokio::task::spawn_blocking(move || EmbeddedCoordination::open(&path, clock))
        };
        let coordination = opening.await.map_err(|_| NodeError::Ended {
            what: "opening the coordination database",
        })??;
        let coordination: Arc<dyn Coordination> = Arc::new(coordination);
        let settings = membership(config, clock.now());
        let (incarnation, slot) = join(&*coordination, self.view, clock, &settings).await?;
        tracing::info!(
            incarnation = incarnation.0,
            ring = self.view.history().newest().map(hub_ring::RingMap::version),
            "joined"
        );
        let lease = settings.policy.lease_millis;
        let confirming = tokio::spawn(keep_confirming(
            Arc::clone(&coordination),
            Arc::clone(self.view),
            Arc::clone(clock),
            lease,
        ));
        let defaults = Defaults {
            ttl_days: config.channel.ttl_days,
            protect: config.channel.protect,
        };
        let loaded = Channels::load(Arc::clone(&coordination), Arc::clone(clock), defaults);
        let channels = loaded.await?;
        // Set once, here.
        let _ = self.channels.set(Arc::clone(&channels));
        let limits = Limits {
            accept_window: millis(config.spoke.accept_window_ms),
            max_skew: millis(config.cluster.max_skew_ms),
        };
        let reads = Arc::new(Reads::new(
            Arc::clone(self.view),
            Arc::clone(self.local),
            Arc::clone(&channels),
            Arc::clone(clock),
            ReadSettings {
                limits,
                stable_millis: millis(config.read.stable_seconds.saturating_mul(1000)),
            },
        ));
        let opener = Opener {
            path: self.folder.join("spoke"),
            options: store_options(config),
            id: StoreId(self.identity.store),
            boot: boot_id(),
            clock: Arc::clone(clock),
            channels: Arc::clone(&channels),
            settings: ReplicaSettings {
                limits,
                slot: NodeSlot::new(slot.number()).ok_or(NodeError::Ended {
                    what: "the supply of node slots",
                })?,
                dedup_window: millis(config.spoke.idempotency_minutes.saturating_mul(60_000)),
                dedup_bytes: config.spoke.idempotency_bytes,
                patience: WRITE_DEADLINE,
            },
            life: Arc::clone(self.life),
        };
        self.life
            .enter(Phase::Warming("opening the store".to_owned()));
        let replica = opener.open().await?;
        self.local.set(replica);
        api.open(Core {
            channels: Arc::clone(&channels),
            writes: Writes::new(
                Arc::clone(self.view),
                Arc::clone(self.local),
                Arc::clone(clock),
                random,
                WRITE_DEADLINE,
            ),
            reads: Arc::clone(&reads),
        });
        self.life.enter(Phase::Ready);
        Ok(Arc::new(Running {
            opener,
            local: Arc::clone(self.local),
            life: Arc::clone(self.life),
            channels,
            reads,
            coordination,
            confirming,
        }))
    }
}

/// Opens the store, again and again if it must be.
struct Opener {
    path: PathBuf,
    options: Options,
    id: StoreId,
    boot: u128,
    clock: Arc<HubClock>,
    channels: Arc<Channels>,
    settings: ReplicaSettings,
    life: Arc<Life>,
}

impl Opener {
    /// Opens the store, and waits until its replica may keep its promises.
    async fn open(&self) -> Result<Arc<Replica>, NodeError> {
        let started = self.clock.boot();
        let path = self.path.clone();
        let (options, id, boot) = (self.options.clone(), self.id, self.boot);
        let (clock, channels) = (Arc::clone(&self.clock), Arc::clone(&self.channels));
        let opening = tokio::task::spawn_blocking(move || {
            let folder = DiskFolder::open(&path).map_err(|source| NodeError::Folder {
                path: path.clone(),
                source,
            })?;
            let store = LogStore::open(Arc::new(folder), options, id, boot, clock, channels)?;
            Ok::<_, NodeError>(store)
        });
        let store = opening.await.map_err(|_| NodeError::Ended {
            what: "opening the store",
        })??;
        let store = Arc::new(store);
        let status = crate::spoke::SpokeStore::status(&*store);
        tracing::info!(
            items = status.items,
            bytes = status.bytes,
            segments = status.segments,
            damaged = status.damaged,
            intact = status.intact,
            elapsed_ms = self.clock.boot().saturating_sub(started).as_millis(),
            "the store is open"
        );
        self.wait_for_clock(crate::spoke::SpokeStore::mark(&*store))
            .await;
        let replica = Replica::new(store, Arc::clone(&self.clock), self.settings);
        let from = replica.coordinates_from();
        while self.clock.now() < from {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(replica)
    }

    /// Waits until the clock has passed the mark: nothing may be promised about times of which
    /// something may have been promised before.
    async fn wait_for_clock(&self, mark: Millis) {
        let mut told = false;
        loop {
            self.clock.set_to_wall();
            let behind = mark.get() - self.clock.now().get();
            if behind < 0 {
                return;
            }
            if behind > CLOCK_WRONG && !told {
                told = true;
                let what = format!(
                    "the wall clock is {} s behind what it was before the restart; set it right",
                    behind / 1000
                );
                tracing::error!(behind_ms = behind, "the wall clock has gone back");
                self.life.enter(Phase::Warming(what));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A node that serves.
struct Running {
    opener: Opener,
    local: Arc<LocalReplica>,
    life: Arc<Life>,
    channels: Arc<Channels>,
    reads: Arc<Reads>,
    coordination: Arc<dyn Coordination>,
    confirming: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Opens a store that has failed again, until it opens.
    async fn reopen(&self, reason: String) {
        self.life.enter(Phase::Failed(reason));
        if let Some(failed) = self.local.take() {
            close(failed).await;
        }
        let mut pause = Duration::from_secs(1);
        loop {
            match self.opener.open().await {
                Ok(replica) => {
                    self.local.set(replica);
                    self.life.enter(Phase::Ready);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the store does not open; trying again");
                    self.life.enter(Phase::Failed(error.to_string()));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REOPEN_MAX);
        }
    }

    /// Counts the items of channels that keep a number of them.
    async fn count_items(&self) {
        for channel in self.channels.list() {
            let keep = channel.config.max_items as usize;
            if keep == 0 {
                continue;
            }
            let query = Query {
                from: ItemKey::MIN,
                to: None,
                direction: Direction::Descending,
                limit: keep,
                stable: true,
                epoch: Epoch::Immutable,
            };
            match self.reads.page(&channel, &query).await {
                Ok(page) if page.keys.len() >= keep => {
                    if let Some(lowest) = page.keys.last() {
                        self.channels.counted(channel.id, *lowest);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let channel = channel.config.name.as_str();
                    tracing::warn!(%error, channel, "items could not be counted");
                }
            }
        }
    }

    async fn close(&self) {
        if let Some(replica) = self.local.take() {
            close(replica).await;
        }
        self.confirming.abort();
        if let Err(error) = self.coordination.deregister().await {
            tracing::warn!(%error, "could not deregister");
        }
    }
}

async fn close(replica: Arc<Replica>) {
    let closing = tokio::task::spawn_blocking(move || replica.close());
    if closing.await.is_err() {
        tracing::error!("closing the store ended early");
    }
}

/// What is done every so often while a node serves.
async fn upkeep(running: Arc<Running>, metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(WATCH_STORE);
    let mut count = 0u64;
    loop {
        ticks.tick().await;
        count += 1;
        let failure = running.local.get().and_then(|replica| replica.failure());
        if let Some(reason) = failure {
            running.reopen(reason).await;
        }
        if count.is_multiple_of(25) {
            metrics.run_upkeep();
            if let Some(replica) = running.local.get() {
                replica.forget_idle();
            }
        }
        if count.is_multiple_of(300) {
            running.count_items().await;
        }
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

fn edges_of(
    config: &Config,
    public: TcpListener,
    ops: TcpListener,
    tls: Option<TlsAcceptor>,
) -> [Edge; 2] {
    let limits = EdgeLimits {
        head: Duration::from_millis(config.http.head_timeout_ms),
        idle: Duration::from_millis(config.http.idle_timeout_ms),
        write: Duration::from_millis(config.http.write_timeout_ms),
        connections: config.http.connections_max,
    };
    [
        Edge {
            name: "public",
            listener: public,
            surface: if config.http.ops_routes {
                Surface::Public
            } else {
                Surface::PublicOnly
            },
            tls,
            limits: limits.clone(),
        },
        Edge {
            name: "ops",
            listener: ops,
            surface: Surface::Ops,
            tls: None,
            limits,
        },
    ]
}

fn tls_acceptor(config: &Config) -> Result<Option<TlsAcceptor>, NodeError> {
    let (Some(certificate), Some(key)) = (&config.tls.certificate_file, &config.tls.key_file)
    else {
        return Ok(None);
    };
    let wrong = |what: String| NodeError::Tls { reason: what };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(format!("{}: {error}", certificate.display())))?;
    let key_der = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| wrong(format!("{}: {error}", key.display())))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|error| wrong(error.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

fn api_settings(config: &Config, identity: &Identity, node: &str, own: Authority) -> ApiSettings {
    let patience = Duration::from_millis(config.http.body_timeout_ms);
    ApiSettings {
        version: VERSION,
        member: identity.member.clone(),
        node: node.to_owned(),
        own,
        durability: durability(config),
        item_limits: BodyLimits {
            bytes: config.limits.item_bytes,
            patience,
        },
        config_limits: BodyLimits {
            bytes: config.limits.config_bytes,
            patience,
        },
        large_item_bytes: config.channel.large_item_bytes,
        count_limit: config.read.direction_count_limit,
        read_only: config.node.read_only,
        protect: config.channel.protect,
        access_log: config.log.access,
    }
}

fn membership(config: &Config, now: Millis) -> MembershipSettings {
    let virtual_nodes = u16::try_from(config.ring.virtual_nodes).unwrap_or(u16::MAX);
    let replicas = u8::try_from(config.ring.replicas).unwrap_or(u8::MAX);
    MembershipSettings {
        record: MemberRecord {
            incarnation: Incarnation(0),
            public: config.http.listen.to_string(),
            version: VERSION.to_owned(),
            started: now.get(),
        },
        policy: KeeperPolicy {
            lease_millis: millis(config.ring.lease_ms),
            max_skew_millis: millis(config.cluster.max_skew_ms),
            placement: Placement::new(replicas, virtual_nodes).unwrap_or_default(),
            ..KeeperPolicy::default()
        },
    }
}

fn store_options(config: &Config) -> Options {
    let spoke = &config.spoke;
    Options {
        durability: durability(config),
        bucket_millis: millis(spoke.bucket_seconds.saturating_mul(1000)),
        segment_bytes: spoke.segment_bytes,
        segment_items: spoke.segment_items as u64,
        sync_interval_millis: spoke.sync_interval_ms,
        // Until then an item of the bucket may still be accepted.
        late_millis: millis(spoke.accept_window_ms + config.cluster.max_skew_ms),
        reserve_bytes: spoke.disk_reserve_bytes,
        open_segments: spoke.open_files as u64,
        dedup_millis: millis(spoke.idempotency_minutes.saturating_mul(60_000)),
    }
}

fn durability(config: &Config) -> Durability {
    match config.spoke.durability {
        config::Durability::Fsync => Durability::Fsync,
        config::Durability::Replicated => Durability::Replicated,
    }
}

/// The settings that clients read, under the names that they know them by.
fn properties(config: &Config) -> Vec<(&'static str, String)> {
    let url = config.node.public_url.as_ref();
    vec![
        ("app.name", "hub".to_owned()),
        ("app.environment", config.cluster.name.clone()),
        (
            "app.url",
            url.map(|url| format!("{url}/")).unwrap_or_default(),
        ),
        ("app.stable_seconds", config.read.stable_seconds.to_string()),
        (
            "app.large.payload.MB",
            (config.channel.large_item_bytes >> 20).to_string(),
        ),
        (
            "app.directionCountLimit",
            config.read.direction_count_limit.to_string(),
        ),
        (
            "app.shutdown_delay_seconds",
            config.shutdown.delay_seconds.to_string(),
        ),
        (
            "app.shutdown_wait_seconds",
            config.shutdown.wait_seconds.to_string(),
        ),
        ("hub.protect.channels", config.channel.protect.to_string()),
        ("hub.read.only", config.node.read_only.to_string()),
        ("hub.type", "test".to_owned()),
    ]
}

fn millis(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn host_name() -> String {
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
