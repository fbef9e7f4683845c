//! Health, metrics and the internal pages of one node.

use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use super::rings;
use crate::channel::{Channels, LocalReplica};
use crate::cluster::{Life, Phase, RingView};
use crate::env::{HubClock, Millis};
use crate::http::api::Operations;
use crate::http::body::Inflight;
use crate::http::grammar::{InternalRoute, Route};
use crate::http::links::BaseUri;
use crate::http::reply::{self, Reply};
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
    /// How long a member may be away before a ring is made without it.
    pub grace_seconds: u64,
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
    /// The channels, once they are loaded.
    pub channels: Arc<std::sync::OnceLock<Arc<Channels>>>,
    /// The bodies in flight.
    pub inflight: Inflight,
    /// Where metrics are rendered.
    pub metrics: PrometheusHandle,
}

const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

impl Operations for Node {
    fn answer(&self, route: &Route<'_>, base: &BaseUri) -> Option<Reply> {
        Some(match route {
            Route::Health => self.health(base),
            Route::HealthLive => reply::json(StatusCode::OK, &json!({"live": true})),
            Route::HealthMetrics => {
                reply::json(StatusCode::OK, &json!({"openFiles": open_files()}))
            }
            Route::Metrics => reply::with_body(StatusCode::OK, METRICS, self.metrics()),
            Route::Internal(route) => self.internal(*route, base),
            Route::RingsOf { channel } => self.rings_of(channel),
            _ => return None,
        })
    }
}

impl Node {
    fn health(&self, base: &BaseUri) -> Reply {
        let phase = self.life.phase();
        let now = self.clock.read();
        let (healthy, within) = (self.is_healthy(), self.is_within_ring());
        let description = if phase == Phase::Ready && !within {
            "the ring has not been confirmed in time".to_owned()
        } else {
            phase.describe()
        };
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
            "checks": self.checks(now.offset_millis),
        });
        if let (Some(replica), Some(fields)) = (self.local.get(), body.as_object_mut()) {
            fields.insert("store".to_owned(), store(&replica.status()));
        }
        let status = if healthy {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        reply::json(status, &body)
    }

    /// Whether the ring is known for now: past its horizon, no write and no read may rely on it.
    fn is_within_ring(&self) -> bool {
        self.clock.now() < self.view.horizon()
    }

    /// Whether the node can serve.
    fn is_healthy(&self) -> bool {
        self.life.is_ready() && self.is_within_ring()
    }

    /// What could keep the node from its work, and whether it does.
    fn checks(&self, offset: i64) -> Value {
        let check = |ok: bool, why: String| json!({"ok": ok, "why": why});
        let horizon = self.view.horizon();
        let status = self.local.get().map(|replica| replica.status());
        let (open, full, damaged) = match &status {
            None => (check(false, "the store is not open".to_owned()), None, None),
            Some(status) => (
                check(
                    status.failed.is_none(),
                    status.failed.clone().unwrap_or_else(|| "open".to_owned()),
                ),
                Some(check(
                    !status.full,
                    format!("{} bytes are free on the disk", status.free),
                )),
                Some(check(
                    status.damaged == 0,
                    format!("{} damaged ranges", status.damaged),
                )),
            ),
        };
        json!({
            "store": open,
            "disk": full,
            "damage": damaged,
            "ring": check(
                self.is_within_ring(),
                format!("the ring is known up to {horizon}"),
            ),
            "clock": check(
                offset.abs() < 1000,
                format!("the wall clock is {offset} ms from the hub's clock"),
            ),
        })
    }

    fn metrics(&self) -> String {
        self.update_levels();
        self.metrics.render()
    }

    fn update_levels(&self) {
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
            inflight_bytes: self.inflight.bytes(),
            ready: self.is_healthy(),
        });
    }

    fn rings_of(&self, channel: &str) -> Reply {
        match rings::of_channel(&self.view, channel, self.clock.now(), &self.facts.node) {
            Some(body) => reply::json(StatusCode::OK, &body),
            None => reply::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({"error": "no ring is known yet", "channel": channel}),
            ),
        }
    }

    fn internal(&self, route: InternalRoute, base: &BaseUri) -> Reply {
        let node = &self.facts.node;
        let own = |path: &str| format!("http://{node}{path}");
        let servers = |path: &str| (json!(own(path)), json!([own(path)]));
        let now = self.clock.now();
        let body = match route {
            InternalRoute::Index => {
                let link = |path, what| json!({"description": what, "href": base.join(path)});
                json!({"_links": {
                    "self": {"href": base.join("internal")},
                    "properties": link("internal/properties", "the settings that clients read"),
                    "deploy": link("internal/deploy", "the nodes of the cluster"),
                    "health": link("internal/health", "the health of every node"),
                    "rings": link("internal/rings", "the rings, and who is away"),
                    "time": link("internal/time", "the hub's clock"),
                }})
            }
            InternalRoute::Properties => {
                let (server, servers) = servers("/internal/properties");
                let properties: serde_json::Map<String, Value> = self
                    .facts
                    .properties
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), json!(value)))
                    .collect();
                json!({"server": server, "servers": servers, "properties": properties})
            }
            InternalRoute::Deploy => json!([node]),
            InternalRoute::DeployText => {
                let host = node
                    .rsplit_once(':')
                    .map_or(node.as_str(), |(host, _)| host);
                return reply::text(StatusCode::OK, host);
            }
            InternalRoute::Health => {
                let health =
                    json!({"healthy": self.is_healthy(), "state": self.life.phase().name()});
                json!({own("/health"): health})
            }
            InternalRoute::Time => {
                let (server, servers) = servers("/internal/time");
                let link = |path| json!({"href": base.join(path)});
                json!({"server": server, "servers": servers, "remote": false, "_links": {
                    "self": link("internal/time"),
                    "millis": link("internal/time/millis"),
                    "local": link("internal/time/local"),
                    "remote": link("internal/time/remote"),
                }})
            }
            InternalRoute::Rings => rings::history(&self.view, now, self.facts.grace_seconds, node),
            InternalRoute::TimeLocal | InternalRoute::TimeMillis => json!(now.get()),
            InternalRoute::TimeRemote => {
                let text = "there is no other node to ask for the time";
                return reply::text(StatusCode::INTERNAL_SERVER_ERROR, text);
            }
        };
        reply::json(StatusCode::OK, &body)
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
    use hub_ring::{Member, Placement, RingHistory, RingMap};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::env::ManualClock;
    use crate::http::links::{Authority, Scheme};

    #[test]
    fn a_node_past_its_ring_horizon_is_not_healthy() {
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
                grace_seconds: 600,
                properties: Vec::new(),
            },
            life,
            clock,
            view: Arc::clone(&view),
            local: Arc::default(),
            channels: Arc::default(),
            inflight: Inflight::new(1024),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        };
        let base = BaseUri::new(Scheme::Http, &Authority::parse("hub:1").unwrap());
        assert!(!node.is_healthy(), "no ring is known yet");
        view.confirmed(Millis::new(NOW), 10_000);
        assert!(node.is_healthy());
        assert_eq!(node.health(&base).status(), StatusCode::OK);
        source.advance(10_000);
        assert!(!node.is_healthy());
        let status = node.health(&base).status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        view.confirmed(Millis::new(NOW + 10_000), 10_000);
        assert!(node.is_healthy());
    }
}
