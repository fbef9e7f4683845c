//! Nodes that are asked to leave: one at a time.
//!
//! Who is to leave takes a lock that the whole cluster shares and that ends with the node's session,
//! and then stops as it does at SIGTERM. Where another node has it, this one goes on serving until
//! that one is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::health::Node;
use crate::cluster::{Coordination, CoordinationError};
use crate::http::api::NodeCall;
use crate::http::links::BaseUri;
use crate::http::reply::{self, Reply};

/// How often a lock that another node has is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// How this node is made to leave.
#[derive(Clone, Default)]
pub struct Leaving {
    /// Whether it is to stop now.
    stop: Arc<watch::Sender<bool>>,
    /// Whether it waits for its turn, or has had it.
    begun: Arc<AtomicBool>,
}

impl Leaving {
    /// Says when the node is to stop.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Waits for the lock, in the background, and then stops the node.
    fn wait(&self, coordination: Arc<dyn Coordination>, node: String) {
        let stop = Arc::clone(&self.stop);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                match coordination.lock_shutdown(&node).await {
                    Ok(None) => break,
                    Ok(Some(_)) => {}
                    Err(error) => {
                        tracing::debug!(%error, "the shutdown lock could not be asked for");
                    }
                }
            }
            stop.send_replace(true);
        });
    }
}

impl Node {
    /// Where nodes take turns to leave, once there is such a place.
    fn turns(&self) -> Option<Arc<dyn Coordination>> {
        let cluster = self.membership.cluster()?;
        Some(Arc::clone(cluster.coordination()))
    }

    /// Who is about to leave.
    pub(super) async fn shutdown_page(&self, base: &BaseUri) -> Reply {
        let Some(coordination) = self.turns() else {
            return self.not_ready();
        };
        let holder = match coordination.shutdown_lock().await {
            Ok(holder) => holder,
            Err(error) => return unavailable(&error),
        };
        let link = |path, what| json!({"description": what, "href": base.join(path)});
        let body = json!({
            "shutdownLock": shown(holder),
            "_links": {
                "self": {"href": base.join("internal/shutdown")},
                "shutdown": link(
                    "internal/shutdown",
                    "POST, on this machine: this node leaves once no other one is leaving",
                ),
                "resetLock": link(
                    "internal/shutdown/resetLock",
                    "POST, on this machine: takes its turn from the node that has it",
                ),
            },
        });
        reply::json(StatusCode::OK, &body)
    }

    /// Stops this node in its turn.
    pub(super) async fn leave(&self, call: &NodeCall<'_>) -> Reply {
        if let Some(refusal) = call.refuse_unless_local() {
            return refusal;
        }
        let Some(coordination) = self.turns() else {
            return self.not_ready();
        };
        let node = &self.facts.node;
        let holder = match coordination.lock_shutdown(node).await {
            Ok(holder) => holder,
            Err(error) => return unavailable(&error),
        };
        let waits = holder.is_some();
        if !waits {
            tracing::info!("asked to leave");
            self.leaving.begun.store(true, Ordering::Relaxed);
            self.leaving.stop.send_replace(true);
        } else if !self.leaving.begun.swap(true, Ordering::Relaxed) {
            tracing::info!(
                holder,
                "asked to leave, and waiting for another node to be gone"
            );
            self.leaving.wait(coordination, node.clone());
        }
        let holder = holder.unwrap_or_else(|| node.clone());
        let body = json!({"shutdownLock": holder, "waiting": waits});
        reply::json(StatusCode::OK, &body)
    }

    /// Takes its turn from the node that has it.
    pub(super) async fn reset_lock(&self, call: &NodeCall<'_>) -> Reply {
        if let Some(refusal) = call.refuse_unless_local() {
            return refusal;
        }
        let Some(coordination) = self.turns() else {
            return self.not_ready();
        };
        match coordination.reset_shutdown_lock().await {
            Ok(()) => reply::json(StatusCode::OK, &json!({"shutdownLock": shown(None)})),
            Err(error) => unavailable(&error),
        }
    }
}

fn shown(holder: Option<String>) -> Value {
    holder.unwrap_or_else(|| "none".to_owned()).into()
}

fn unavailable(error: &CoordinationError) -> Reply {
    let text = "the shutdown lock could not be read or written";
    reply::unavailable(text, &error.to_string(), None, &[])
}
