//! Coming into the ring, and staying sure of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hub_ring::keeper::{self, Decision, KeeperPolicy, Presence};
use hub_ring::{Member, NodeSlot, RingHistory};
use thiserror::Error;

use super::coordination::{Coordination, CoordinationError, Incarnation, MemberRecord};
use super::view::RingView;
use crate::env::{HubClock, Millis};

/// What joining goes by.
#[derive(Debug, Clone)]
pub struct MembershipSettings {
    /// What this node says of itself.
    pub record: MemberRecord,
    /// The keeper's numbers.
    pub policy: KeeperPolicy,
}

/// Why a node did not get into the ring.
#[derive(Debug, Error)]
pub enum JoinError {
    /// Coordination did not do its part.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// The keeper's rules do not let this node in.
    #[error("this node is not in the ring: {reason}")]
    NotInRing {
        /// What the rules say.
        reason: String,
    },
    /// The history does not take the change.
    #[error("the ring history: {0}")]
    History(#[from] hub_ring::HistoryError),
}

/// How many times a change of the ring history is tried again when somebody else was faster.
const TRIES: usize = 10;

/// Registers this node, and brings it into the ring; gives its run and its node slot.
///
/// # Errors
/// [`JoinError`].
pub async fn join(
    coordination: &dyn Coordination,
    view: &RingView,
    clock: &HubClock,
    settings: &MembershipSettings,
) -> Result<(Incarnation, NodeSlot), JoinError> {
    let record = settings.record.clone();
    let incarnation = coordination.register(view.own(), record).await?;
    let observed = BTreeMap::from([(view.own().clone(), Presence::default())]);
    let mut reason = String::new();
    for _ in 0..TRIES {
        let rings = coordination.rings().await?;
        if let Some(slot) = slot_in(&rings.history, view.own()) {
            let sent = clock.now();
            coordination.confirm(rings.version).await?;
            view.adopt(rings.history);
            view.confirmed(sent, settings.policy.lease_millis);
            return Ok((incarnation, slot));
        }
        let now = clock.now().get();
        let policy = &settings.policy;
        let decision = keeper::decide(&rings.history, &observed, &BTreeMap::new(), now, policy);
        let mut history = RingHistory::clone(&rings.history);
        match decision {
            Decision::Bootstrap { map } => history.announce(map)?,
            Decision::Announce(announcement) => history.announce(announcement.map)?,
            Decision::Complete {
                version,
                from_millis,
            } => history.set_from(version, from_millis)?,
            Decision::Nothing { reason: why, .. } => {
                reason = why.to_string();
                break;
            }
        }
        match coordination.replace_rings(rings.version, &history).await {
            Ok(_) | Err(CoordinationError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(JoinError::NotInRing { reason })
}

/// This node's slot, if it is in the newest ring and that is in force.
fn slot_in(history: &RingHistory, own: &Member) -> Option<NodeSlot> {
    let newest = history.newest()?;
    newest.from_millis()?;
    newest
        .contains(own)
        .then(|| history.node_slot(own))
        .flatten()
}

/// Moves the ring horizon for as long as the node runs: confirms the newest history three times a
/// lease, and takes up what changes.
pub async fn keep_confirming(
    coordination: Arc<dyn Coordination>,
    view: Arc<RingView>,
    clock: Arc<HubClock>,
    lease: i64,
) {
    let pause = Duration::from_millis(u64::try_from(lease / 3).unwrap_or(1).max(1));
    let mut rings = coordination.watch_rings();
    loop {
        let known = rings.borrow_and_update().clone();
        if known.history.mark() != view.history().mark() {
            view.adopt(Arc::clone(&known.history));
        }
        let sent: Millis = clock.now();
        match tokio::time::timeout(pause, coordination.confirm(known.version)).await {
            Ok(Ok(_)) => {
                view.confirmed(sent, lease);
            }
            Ok(Err(error)) => tracing::warn!(%error, "the ring horizon was not confirmed"),
            Err(_) => tracing::warn!("the ring horizon was not confirmed in time"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = rings.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}
