//! Health, metrics and the internal pages of one node.

use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use crate::channel::{Channels, LocalReplica};
use crate::cluster::{Life, RingView};
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
            _ => return None,
        })
    }
}

impl Node {
    fn health(&self, base: &BaseUri) -> Reply {
        let phase = self.life.phase();
        let ready = self.life.is_ready();
        let now = self.clock.read();
        let up = now.now.since(self.facts.started).as_secs() / 3600;
        let mut body = json!({
            "healthy": ready,
            "description": phase.describe(),
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
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        reply::json(status, &body)
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
                self.clock.now() < horizon,
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
            ready: self.life.is_ready(),
        });
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
                    json!({"healthy": self.life.is_ready(), "state": self.life.phase().name()});
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
