//! A node as operators see it: its health and its metrics.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use http::header::HeaderValue;
use hub_ring::Member;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use super::admin::AdminGate;
use super::channels::Working;
use super::leaving::Leaving;
use super::membership::Membership;
use super::others::Others;
use super::times::TimeSource;
use crate::channel::{Channels, LocalReplica};
use crate::cluster::{Life, Phase, RingPeers, RingView};
use crate::env::{HubClock, Millis};
use crate::http::api::{NodeCall, Operations};
use crate::http::body::Budgets;
use crate::http::grammar::Route;
use crate::http::links::BaseUri;
use crate::http::reply::{self, Reply};
use crate::http::traces::Traces;
use crate::metric::{self, Levels};
use crate::spoke::{Durability, StoreStatus};

/// What does not change while a node runs.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The hub's version.
    pub version: &'static str,
    /// `host:port` of the node.
    pub node: String,
    /// When it started.
    pub started: Millis,
    /// When an item counts as stored.
    pub durability: Durability,
    /// Whether nothing may be changed through it.
    pub read_only: bool,
    /// Whether no channel may be deleted by others than local callers.
    pub protect: bool,
    /// Whether clients reach it, and every other node, over TLS.
    pub tls: bool,
    /// How long a member may be away before a ring is made without it.
    pub grace_seconds: u64,
    /// The cluster's name.
    pub cluster: String,
    /// The archive's URL, if there is one.
    pub archive: Option<String>,
    /// What clients know settings by, with their values.
    pub properties: Vec<(&'static str, String)>,
}

/// The node, as operators see it.
pub struct Node {
    /// What does not change.
    pub facts: NodeFacts,
    /// How far it has come.
    pub life: Arc<Life>,
    /// Its clock.
    pub clock: Arc<HubClock>,
    /// The rings as it knows them.
    pub view: Arc<RingView>,
    /// Its replica, while the store is open.
    pub local: Arc<LocalReplica>,
    /// Its part in the cluster.
    pub membership: Arc<Membership>,
    /// How other nodes are asked over HTTP.
    pub others: Others,
    /// Who may change something.
    pub admin: AdminGate,
    /// The channels, once they are loaded.
    pub channels: Arc<std::sync::OnceLock<Arc<Channels>>>,
    /// What reads and trims them, once the store was opened.
    pub working: Arc<std::sync::OnceLock<Working>>,
    /// What requests are and were served.
    pub traces: Arc<Traces>,
    /// How it is made to leave.
    pub leaving: Leaving,
    /// Whose clock it tells.
    pub time: TimeSource,
    /// The bodies in flight.
    pub budgets: Budgets,
    /// Where metrics are rendered.
    pub metrics: PrometheusHandle,
}

const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

#[async_trait]
impl Operations for Node {
    async fn answer(&self, call: NodeCall<'_>) -> Option<Reply> {
        Some(match call.route {
            Route::Health => self.health_page(call.base),
            Route::HealthLive => reply::json(StatusCode::OK, &json!({"live": true})),
            Route::HealthMetrics => {
                reply::json(StatusCode::OK, &json!({"openFiles": open_files()}))
            }
            Route::Metrics => reply::with_body(StatusCode::OK, METRICS, self.metrics()),
            Route::Internal(route) => self.internal(*route, &call).await,
            Route::RingsOf { channel } => self.rings_of(channel, call.query),
            Route::OnNode(route) => self.on_node(route, &call).await,
            _ => return None,
        })
    }

    fn health(&self) -> (bool, String) {
        self.ability(&self.life.phase())
    }
}

impl Node {
    fn health_page(&self, base: &BaseUri) -> Reply {
        let (healthy, body) = self.health_body(base);
        let status = if healthy {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        reply::json(status, &body)
    }

    /// Whether the node can serve, and which and why: `OK` if it can.
    fn ability(&self, phase: &Phase) -> (bool, String) {
        let obstacle = self.obstacle();
        let healthy = *phase == Phase::Ready && obstacle.is_none();
        let description = match obstacle {
            Some(obstacle) if *phase == Phase::Ready => obstacle,
            // Why it does not join is more than that it does.
            Some(obstacle) if matches!(phase, Phase::Joining(_)) => {
                format!("{}: {obstacle}", phase.describe())
            }
            _ => phase.describe(),
        };
        (healthy, description)
    }

    /// Whether the node can serve, and everything that is to say about that.
    pub(super) fn health_body(&self, base: &BaseUri) -> (bool, Value) {
        let phase = self.life.phase();
        let (healthy, description) = self.ability(&phase);
        let keeper = self.membership.cluster();
        let keeper = keeper.and_then(|cluster| cluster.status().keeper);
        let now = self.clock.read();
        let up = now.now.since(self.facts.started).as_secs() / 3600;
        let mut body = json!({
            "healthy": healthy,
            "description": description,
            "version": self.facts.version,
            "readOnly": self.facts.read_only,
            "startTime": self.facts.started.iso(),
            "upTimeHours": up,
            "_links": {"metrics": {"href": base.join("health/metrics")}},
            "state": phase.name(),
            "member": self.view.own().as_str(),
            "durability": self.facts.durability.name(),
            "ring": self.view.history().newest().map(hub_ring::RingMap::version),
            "keeper": keeper,
            "checks": self.checks(),
        });
        if let (Some(replica), Some(fields)) = (self.local.get(), body.as_object_mut()) {
            fields.insert("store".to_owned(), store(&replica.status()));
        }
        (healthy, body)
    }

    /// Whether the ring is known for now: past its horizon, no write and no read may rely on it.
    pub(super) fn is_within_ring(&self) -> bool {
        self.clock.now() < self.view.horizon()
    }

    /// Whether the node can serve.
    fn is_healthy(&self) -> bool {
        self.life.is_ready() && self.obstacle().is_none()
    }

    /// Whether a member answers. This node answers itself.
    pub(super) fn is_connected(&self, member: &Member) -> bool {
        let peers = self.membership.peers();
        member == self.view.own()
            || peers.is_some_and(|peers| RingPeers::is_connected(&**peers, member))
    }

    fn metrics(&self) -> String {
        self.update_levels();
        self.metrics.render()
    }

    /// How far archiving is behind, in seconds; `None` without an archive.
    fn archive_lag(&self) -> Option<f64> {
        let archiver = self.working.get()?.archiver.as_ref()?;
        let behind = self.clock.now().since(archiver.state().archived_to);
        Some(behind.as_secs_f64())
    }

    fn update_levels(&self) {
        if let Some(peers) = self.membership.peers() {
            peers.measure();
        }
        let reading = self.clock.read();
        let replica = self.local.get();
        let status = replica.as_ref().map(|r| r.status()).unwrap_or_default();
        let (undecided, lowest) = replica.map_or((0, None), |r| r.undecided());
        let lag = lowest.map_or(0.0, |key| reading.now.since(key.millis).as_secs_f64());
        metric::levels(&Levels {
            items: status.items,
            bytes: status.bytes,
            segments: status.segments,
            free: status.free,
            damaged: status.damaged,
            frontier_lag: lag,
            undecided,
            channels: self.channels.get().map_or(0, |c| c.len() as u64),
            clock_offset: reading.offset_millis as f64 / 1000.0,
            inflight_bytes: self.budgets.bodies.bytes(),
            answer_bytes: self.budgets.answers.bytes() + self.budgets.ahead.bytes(),
            archive_lag: self.archive_lag(),
            ready: self.is_healthy(),
        });
    }
}

fn store(status: &StoreStatus) -> Value {
    json!({
        "items": status.items,
        "bytes": status.bytes,
        "segments": status.segments,
        "activeSegments": status.active,
        "freeBytes": status.free,
        "nearlyFull": status.full,
        "damagedRanges": status.damaged,
        "intact": status.intact,
    })
}

/// How many file handles this process has; 0 where the system does not say.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use hub_ring::{Placement, RingHistory, RingMap};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::env::ManualClock;
    use crate::http::links::{Authority, Scheme};
    use crate::item::NodeSlot;
    use crate::spoke::accept::Limits;
    use crate::spoke::peers::NoPeers;
    use crate::spoke::{MemoryStore, Replica, ReplicaSettings};

    #[test]
    fn a_node_past_its_ring_horizon_or_with_a_failed_store_is_not_healthy() {
        const NOW: i64 = 1_500_000_000_000;
        let source = ManualClock::new(Millis::new(NOW));
        let clock = Arc::new(HubClock::start(Arc::clone(&source) as Arc<_>));
        let member = Member::new("hub").unwrap();
        let map = RingMap::in_force(1, NOW, [member.clone()], Placement::default());
        let mut history = RingHistory::new();
        history.announce(map.unwrap()).unwrap();
        let view = RingView::new(member);
        view.adopt(Arc::new(history));
        let life = Arc::new(Life::default());
        life.enter(Phase::Ready);
        let node = Node {
            facts: NodeFacts {
                version: "1",
                node: "hub:1".to_owned(),
                started: clock.now(),
                durability: Durability::Fsync,
                read_only: false,
                protect: false,
                tls: false,
                grace_seconds: 600,
                cluster: "hub".to_owned(),
                archive: None,
                properties: Vec::new(),
            },
            life,
            clock,
            view: Arc::clone(&view),
            local: Arc::default(),
            membership: Arc::default(),
            others: Others::default(),
            admin: AdminGate::default(),
            channels: Arc::default(),
            working: Arc::default(),
            traces: Arc::default(),
            leaving: Leaving::default(),
            time: TimeSource::default(),
            budgets: Budgets::new(1024),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        };
        let base = BaseUri::new(Scheme::Http, &Authority::parse("hub:1").unwrap());
        assert!(!node.is_healthy(), "no ring is known yet");
        view.confirmed(Millis::new(NOW), 10_000);
        assert!(node.is_healthy());
        assert_eq!(node.health_page(&base).status(), StatusCode::OK);
        source.advance(10_000);
        assert!(!node.is_healthy());
        let status = node.health_page(&base).status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        view.confirmed(Millis::new(NOW + 10_000), 10_000);
        assert!(node.is_healthy());
        let store = Arc::new(MemoryStore::new(Arc::clone(&node.clock), 60_000));
        let limits = Limits {
            accept_window: 1_000,
            max_skew: 500,
        };
        let settings = ReplicaSettings {
            limits,
            slot: NodeSlot::new(1).unwrap(),
            dedup_window: 60_000,
            dedup_bytes: 1 << 20,
            patience: std::time::Duration::from_secs(1),
            stage_bytes: 1 << 20,
            staged_bytes_max: 1 << 20,
        };
        let (held, clock) = (Arc::clone(&store), Arc::clone(&node.clock));
        let own = view.own().clone();
        let (replica, _) = Replica::new(held, clock, Arc::new(NoPeers), own, settings);
        node.local.set(replica);
        assert!(node.is_healthy());
        // Said at once, and not only when it is opened again.
        store.fail("no space");
        let (healthy, body) = node.health_body(&base);
        assert!(!healthy);
        assert_eq!(body["description"], "the store failed: no space");
    }
}
