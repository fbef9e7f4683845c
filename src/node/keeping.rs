//! What a node's store keeps: what channels keep, and of that, with an archive, only what is recent or
//! not archived yet.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::archive::name::minute_len;
use crate::channel::{Archiver, Channels};
use crate::env::{BootTime, HubClock, Millis};
use crate::spoke::{ChannelId, Keeps, Retention};

/// How long something has been found in the archive before it goes here: readers may have asked the
/// archive for its names a moment before they ask here.
const PAUSE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Keeping {
    channels: Arc<Channels>,
    /// `None` without an archive.
    archiver: Option<Arc<Archiver>>,
    clock: Arc<HubClock>,
    /// How long what is archived stays, in milliseconds.
    ttl: i64,
    archived: Mutex<Delayed>,
}

impl Keeping {
    /// What stays in the store: all that channels keep, or with an archiver what it has not found in
    /// the archive, and the rest for `ttl` milliseconds.
    pub(super) fn new(
        channels: Arc<Channels>,
        archiver: Option<Arc<Archiver>>,
        clock: Arc<HubClock>,
        ttl: i64,
    ) -> Self {
        let archived = Mutex::new(Delayed::new(clock.boot()));
        Self {
            channels,
            archiver,
            clock,
            ttl,
            archived,
        }
    }
}

impl Retention for Keeping {
    fn keeps(&self, channel: ChannelId) -> Keeps {
        self.channels.keeps(channel)
    }

    fn evicts_to(&self) -> Millis {
        let Some(archiver) = &self.archiver else {
            return Millis::MIN;
        };
        if !archiver.is_where_it_was() {
            return Millis::MIN;
        }
        let archived_to = archiver.archived_to();
        let archived_to = self.archived.lock().take(archived_to, self.clock.boot());
        let old = self.clock.now().minus(self.ttl).floor_to(minute_len());
        archived_to.min(old)
    }
}

/// A mark as it was a while ago, or lower, if it has gone down since.
struct Delayed {
    /// What it has been for [`PAUSE`] at the least.
    settled: Millis,
    /// What it was then, or lower.
    next: Millis,
    since: BootTime,
}

impl Delayed {
    fn new(now: BootTime) -> Self {
        Self {
            settled: Millis::MIN,
            next: Millis::MIN,
            since: now,
        }
    }

    /// The mark is that now; gives what it has been for a while.
    fn take(&mut self, mark: Millis, now: BootTime) -> Millis {
        self.next = self.next.min(mark);
        self.settled = self.settled.min(mark);
        if now.saturating_sub(self.since) >= PAUSE {
            self.settled = self.settled.max(self.next);
            self.next = mark;
            self.since = now;
        }
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_counts_once_it_has_stood_for_a_while() {
        let (at, second) = (Millis::new, Duration::from_secs);
        let mut mark = Delayed::new(second(100));
        assert_eq!(mark.take(at(5), second(101)), Millis::MIN);
        assert_eq!(mark.take(at(5), second(110)), Millis::MIN);
        assert_eq!(mark.take(at(7), second(119)), Millis::MIN);
        assert_eq!(mark.take(at(9), second(120)), at(5));
        assert_eq!(mark.take(at(9), second(131)), at(9));
        // It goes down at once, and comes back as slowly as it came.
        assert_eq!(mark.take(at(3), second(132)), at(3));
        assert_eq!(mark.take(at(9), second(133)), at(3));
        assert_eq!(mark.take(at(9), second(142)), at(3));
        assert_eq!(mark.take(at(9), second(152)), at(9));
    }
}
