//! The internal pages of a node, and what the nodes of a cluster say of themselves together.

use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::health::Node;
use super::rings;
use crate::cluster::RingPeers;
use crate::env::Millis;
use crate::http::api::NodeCall;
use crate::http::grammar::InternalRoute;
use crate::http::links::{Authority, BaseUri, Scheme};
use crate::http::params;
use crate::http::reply::{self, Reply};
use crate::item::FieldError;

/// So many other nodes are asked at a time.
const ASKED_AT_ONCE: usize = 32;

impl Node {
    pub(super) async fn internal(&self, route: InternalRoute, call: &NodeCall<'_>) -> Reply {
        let node = &self.facts.node;
        let now = self.clock.now();
        let body = match route {
            InternalRoute::Index => index(call.base),
            InternalRoute::Properties => {
                let properties = self.facts.properties.iter();
                let properties: Map<String, Value> = properties
                    .map(|(name, value)| ((*name).to_owned(), json!(value)))
                    .collect();
                let mut body = self.servers("/internal/properties");
                body.insert("properties".to_owned(), properties.into());
                body.into()
            }
            InternalRoute::Deploy => json!(self.nodes()),
            InternalRoute::DeployText => {
                let host = |node: &String| {
                    let host = node
                        .rsplit_once(':')
                        .map_or(node.as_str(), |(host, _)| host);
                    host.to_owned()
                };
                let hosts: Vec<String> = self.nodes().iter().map(host).collect();
                return reply::text(StatusCode::OK, hosts.join(" "));
            }
            InternalRoute::Health => self.health_of_all().await,
            InternalRoute::Cluster => self.cluster_page(call.base),
            InternalRoute::Time => {
                let link = |path| json!({"href": call.base.join(path)});
                let mut body = self.servers("/internal/time");
                body.insert("remote".to_owned(), self.time.is_remote().into());
                let links = json!({
                    "self": link("internal/time"),
                    "millis": link("internal/time/millis"),
                    "local": link("internal/time/local"),
                    "remote": link("internal/time/remote"),
                });
                body.insert("_links".to_owned(), links);
                body.into()
            }
            InternalRoute::Rings => rings::history(&self.view, now, self.facts.grace_seconds, node),
            InternalRoute::TimeMillis if self.time.is_remote() => return Self::told_elsewhere(),
            InternalRoute::TimeLocal | InternalRoute::TimeMillis => json!(now.get()),
            InternalRoute::TimeRemote => return self.remote_time().await,
            InternalRoute::Backup => return self.backup(call).await,
            InternalRoute::Recovery => return self.recovery(call).await,
            InternalRoute::Recover => return self.recover(call).await,
        };
        reply::json(StatusCode::OK, &body)
    }

    /// `host:port` of all registered nodes, and of this one if it is not registered yet.
    pub(super) fn nodes(&self) -> Vec<String> {
        let registered = self.membership.registered();
        let mut nodes: Vec<String> = registered
            .values()
            .map(|record| record.public.clone())
            .collect();
        if !nodes.contains(&self.facts.node) {
            nodes.insert(0, self.facts.node.clone());
        }
        nodes
    }

    /// The same path on this node, and on all of them.
    pub(super) fn servers(&self, path: &str) -> Map<String, Value> {
        let url = |node: &String| Value::from(format!("http://{node}{path}"));
        let servers: Vec<Value> = self.nodes().iter().map(url).collect();
        Map::from_iter([
            ("server".to_owned(), url(&self.facts.node)),
            ("servers".to_owned(), servers.into()),
        ])
    }

    /// What every registered node says of its health. It asks for their `/health`, which asks
    /// nobody, so that no question goes round.
    async fn health_of_all(&self) -> Value {
        let url = |node: &str| format!("http://{node}/health");
        let own = Authority::parse(&self.facts.node);
        let base = own.map(|own| BaseUri::new(Scheme::Http, &own));
        let own = base.map_or(Value::Null, |base| self.health_body(&base).1);
        let mut all: Map<String, Value> = futures_util::stream::iter(self.other_nodes())
            .map(|record| async move {
                let health = self.others.health(&record, self.facts.tls).await;
                (url(&record.public), health)
            })
            .buffer_unordered(ASKED_AT_ONCE)
            .collect()
            .await;
        all.insert(url(&self.facts.node), own);
        all.into()
    }

    /// The time by the clock of another node, asked over the peer link.
    async fn remote_time(&self) -> Reply {
        let registered = self.membership.registered();
        let others: Vec<_> = registered
            .keys()
            .filter(|member| *member != self.view.own())
            .collect();
        let (Some(peers), false) = (self.membership.peers(), others.is_empty()) else {
            let text = "there is no other node to ask for the time";
            return reply::json_text(StatusCode::INTERNAL_SERVER_ERROR, text);
        };
        let mut reason = "none is connected".to_owned();
        for member in others {
            if !self.is_connected(member) {
                continue;
            }
            match peers.vouch(member).await {
                Ok(vouched) => return reply::json(StatusCode::OK, &json!(vouched.clock.get())),
                Err(error) => reason = error.to_string(),
            }
        }
        reply::unavailable("no other node told the time", &reason, None, &[])
    }

    /// The replicas of a channel, now or at a time.
    pub(super) fn rings_of(&self, channel: &str, query: Option<&str>) -> Reply {
        let at = match params::value(query, "at") {
            None => None,
            Some(text) => match Millis::parse_iso(&text) {
                Ok(at) => Some(at),
                Err(_) => {
                    return reply::bad_field(&FieldError {
                        field: "at",
                        value: text.into_owned(),
                        rule: "an ISO 8601 time, as in 2026-11-22T09:00:00Z".to_owned(),
                    });
                }
            },
        };
        let known = self.view.history();
        let when = at.unwrap_or(self.clock.now());
        match rings::of_channel(&self.view, channel, when, &self.facts.node) {
            Some(body) => reply::json(StatusCode::OK, &body),
            None if at.is_some() && !known.is_empty() => reply::json(
                StatusCode::NOT_FOUND,
                &json!({
                    "error": "no ring of that time is remembered",
                    "channel": channel,
                    "at": when.iso(),
                }),
            ),
            None => reply::json(
                StatusCode::SERVICE_UNAVAILABLE,
                &json!({"error": "no ring is known yet", "channel": channel}),
            ),
        }
    }
}

fn index(base: &BaseUri) -> Value {
    let link = |path, what| json!({"description": what, "href": base.join(path)});
    json!({"_links": {
        "self": {"href": base.join("internal")},
        "properties": link("internal/properties", "the settings that clients read"),
        "deploy": link("internal/deploy", "the nodes of the cluster"),
        "health": link("internal/health", "the health of every node"),
        "cluster": link("internal/cluster", "the cluster as this node sees it"),
        "rings": link("internal/rings", "the rings, and who is away"),
        "archive": link("internal/archive", "what the archive holds"),
        "backup": link("internal/backup", "what a backup holds of the channels and the rings"),
        "time": link("internal/time", "the hub's clock"),
        "channel": link("internal/channel", "what can be asked of all channels"),
        "traces": link("internal/traces", "the requests that are served, were last, and took longest"),
        "shutdown": link("internal/shutdown", "which node is about to leave"),
    }})
}
