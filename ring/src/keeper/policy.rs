//! What the keeper is configured to do.

use crate::placement::Placement;

/// The numbers of the keeper's rules; the defaults are those of the configuration. Times are in
/// milliseconds and not negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperPolicy {
    /// How long a member may be away before it leaves the ring, if the ring can do without it so
    /// long (`ring.grace`, 10 minutes: a host that is patched and rebooted is back by then).
    pub grace_millis: i64,
    /// How long members must have been away before they leave a ring that cannot do without them
    /// (`ring.away`, 10 s: a ring change takes as long, so less would hardly be noticed).
    pub away_millis: i64,
    /// For how long changes are gathered into one announcement (`ring.settle`, 2 s).
    pub settle_millis: i64,
    /// After how long a member that is not the keeper completes an announcement left without its
    /// time (1 s).
    pub complete_after_millis: i64,
    /// How long a confirmation of the newest history holds (`ring.lease`, 10 s).
    pub lease_millis: i64,
    /// The bound of the difference of any two clocks (`max_skew`, 500 ms).
    pub max_skew_millis: i64,
    /// The fewest members of a ring that the keeper makes by leaving members out
    /// (`ring.min_members`, 2).
    pub min_members: usize,
    /// The number of members that the first ring waits for (`ring.bootstrap_expect`, 1).
    pub bootstrap_expect: usize,
    /// How the first ring places channels. Every later one takes over the placement of the one
    /// before.
    pub placement: Placement,
}

impl KeeperPolicy {
    /// The time from which an announcement is in force whose write had returned when the clock
    /// showed `now_millis`: the lease later, when no node that has not heard of it acts any more,
    /// and the skew, for their clocks (all in UTC milliseconds).
    pub fn from_millis(&self, now_millis: i64) -> i64 {
        now_millis
            .saturating_add(self.lease_millis)
            .saturating_add(self.max_skew_millis)
    }
}

impl Default for KeeperPolicy {
    fn default() -> Self {
        Self {
            grace_millis: 600_000,
            away_millis: 10_000,
            settle_millis: 2_000,
            complete_after_millis: 1_000,
            lease_millis: 10_000,
            max_skew_millis: 500,
            min_members: 2,
            bootstrap_expect: 1,
            placement: Placement::default(),
        }
    }
}
