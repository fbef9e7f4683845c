//! Whether to take over a history that was read from elsewhere.

use super::{HistoryMark, RingHistory};

/// What to do with a history that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// It is newer: take it over.
    Newer,
    /// It is as new as the own one: nothing to do.
    Same,
    /// The own one is newer: never take the older one over, say so, and publish the own one again.
    Older,
}

/// What a node knows that a newer history must agree with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdoptionGuard {
    /// The node's ring horizon (UTC milliseconds); `None` if it has none.
    pub horizon_millis: Option<i64>,
    /// The version of an announced map that the node has seen without its time, and the node's
    /// clock when it first saw it (UTC milliseconds).
    pub announcement_seen: Option<(u64, i64)>,
    /// How long a confirmation of the newest history holds (`ring.lease`), in milliseconds.
    pub lease_millis: i64,
}

/// A history that must not be taken over: something is badly wrong with a clock, or with the store
/// that it came from. An operator has to look.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptionAlarm {
    /// Two histories disagree on a ring map that both hold.
    #[error("ring map {version} differs from the one this node holds under that version")]
    MapDiffers {
        /// The version of the map.
        version: u64,
    },
    /// A map would be in force at times for which the node has already acted on an older one.
    #[error(
        "ring map {version} is in force from {from_millis}, before this node's ring horizon {horizon_millis}"
    )]
    FromBeforeHorizon {
        /// The version of the map.
        version: u64,
        /// The time from which it is in force (UTC milliseconds).
        from_millis: i64,
        /// The node's ring horizon (UTC milliseconds).
        horizon_millis: i64,
    },
    /// A map is in force from long before the announcement was seen: whoever set the time has a
    /// clock that is behind.
    #[error(
        "ring map {version} is in force from {from_millis}, though it was announced without a time at {seen_millis}"
    )]
    FromTooEarly {
        /// The version of the map.
        version: u64,
        /// The time from which it is in force (UTC milliseconds).
        from_millis: i64,
        /// When this node first saw the map without a time, by its own clock (UTC milliseconds).
        seen_millis: i64,
    },
}

impl RingHistory {
    /// Whether to take over a history that was found, in coordination or at a peer.
    ///
    /// That each time is after the one before holds for every history that could be decoded. Here
    /// it is checked against what this node knows: a map that is new to it cannot be in force
    /// before its ring horizon (that is what the lease is for), nor more than a lease before it saw
    /// the announcement.
    ///
    /// # Errors
    ///
    /// [`AdoptionAlarm`] if the history contradicts what this node knows. It keeps its own.
    pub fn adopt(&self, found: &Self, guard: &AdoptionGuard) -> Result<Adoption, AdoptionAlarm> {
        let (own, other): (HistoryMark, HistoryMark) = (self.mark(), found.mark());
        for map in found.maps() {
            let version = map.version();
            let held = self.map(version);
            if let Some(held) = held
                && (!held.same_ring(map)
                    || matches!((held.from_millis(), map.from_millis()), (Some(a), Some(b)) if a != b))
            {
                return Err(AdoptionAlarm::MapDiffers { version });
            }
            let Some(from_millis) = map.from_millis() else {
                continue;
            };
            let dated_before = held.is_some_and(|held| held.from_millis().is_some());
            if version < own.version || dated_before {
                continue;
            }
            if let Some(horizon_millis) = guard.horizon_millis
                && from_millis < horizon_millis
            {
                return Err(AdoptionAlarm::FromBeforeHorizon {
                    version,
                    from_millis,
                    horizon_millis,
                });
            }
            if let Some((seen, seen_millis)) = guard.announcement_seen
                && seen == version
                && from_millis < seen_millis.saturating_sub(guard.lease_millis)
            {
                return Err(AdoptionAlarm::FromTooEarly {
                    version,
                    from_millis,
                    seen_millis,
                });
            }
        }
        Ok(match other.cmp(&own) {
            std::cmp::Ordering::Greater => Adoption::Newer,
            std::cmp::Ordering::Equal => Adoption::Same,
            std::cmp::Ordering::Less => Adoption::Older,
        })
    }
}
