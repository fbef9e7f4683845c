//! The ring history as this node holds it: on disk first, then in its view.

use std::sync::Arc;

use hub_ring::{Adoption, AdoptionAlarm, AdoptionGuard, HistoryMark, RingHistory, RingMap};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;

use super::ring_file::{RingFile, RingFileError};
use super::view::RingView;
use crate::env::{BootTime, HubClock, Millis};

/// Why a history was not taken up.
#[derive(Debug, Error)]
pub(super) enum TakeUpError {
    /// It contradicts what this node knows.
    #[error("a ring history was refused, and an operator has to look: {0}")]
    Alarm(#[from] AdoptionAlarm),
    /// It could not be kept.
    #[error("the ring history could not be kept: {0}")]
    File(#[from] RingFileError),
}

/// An announcement that this node holds without the time from which it is in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) version: u64,
    /// The clock when it was first seen.
    pub(super) clock: Millis,
    /// The boot-time clock then.
    pub(super) boot: BootTime,
}

/// What this node has written to coordination without having heard yet that it is there.
#[derive(Debug, Default)]
struct Sent {
    mark: HistoryMark,
    under_way: usize,
}

/// The ring history as this node holds it.
pub(super) struct Rings {
    pub(super) view: Arc<RingView>,
    file: RingFile,
    clock: Arc<HubClock>,
    lease: i64,
    /// Histories are taken up one at a time.
    turn: tokio::sync::Mutex<()>,
    sent: Mutex<Sent>,
    seen: Mutex<Option<Seen>>,
    trouble: watch::Sender<Option<String>>,
}

impl Rings {
    /// Reads what is on disk, and takes it up.
    pub(super) async fn open(
        view: Arc<RingView>,
        file: RingFile,
        clock: Arc<HubClock>,
        lease: i64,
    ) -> Result<Self, RingFileError> {
        let rings = Self {
            view,
            file,
            clock,
            lease,
            turn: tokio::sync::Mutex::default(),
            sent: Mutex::default(),
            seen: Mutex::default(),
            trouble: watch::Sender::new(None),
        };
        let kept = Arc::new(rings.file.read().await?);
        if !kept.is_empty() {
            rings.note(&kept);
            rings.view.adopt(kept);
        }
        Ok(rings)
    }

    /// Takes a history up if it is newer than the own one and does not contradict it.
    pub(super) async fn take_up(&self, found: &Arc<RingHistory>) -> Result<Adoption, TakeUpError> {
        let _turn = self.turn.lock().await;
        let taken = self.try_take_up(found).await;
        let trouble = taken.as_ref().err().map(ToString::to_string);
        let news = self.trouble.send_if_modified(|known| {
            let news = *known != trouble;
            known.clone_from(&trouble);
            news
        });
        if let (true, Some(trouble)) = (news, trouble) {
            tracing::error!(trouble, "the ring history in use stays as it is");
        }
        taken
    }

    async fn try_take_up(&self, found: &Arc<RingHistory>) -> Result<Adoption, TakeUpError> {
        let own = self.view.history();
        let horizon = self.view.horizon();
        let guard = AdoptionGuard {
            horizon_millis: (horizon > Millis::MIN).then(|| horizon.get()),
            announcement_seen: self.seen().map(|seen| (seen.version, seen.clock.get())),
            lease_millis: self.lease,
        };
        let adoption = own.adopt(found, &guard)?;
        if adoption == Adoption::Newer {
            // On disk before it is acted upon.
            self.file.write(Arc::clone(found)).await?;
            self.note(found);
            self.view.adopt(Arc::clone(found));
            let newest = found.newest();
            tracing::info!(
                ring = newest.map(RingMap::version),
                members = newest.map(|map| map.members().len()),
                from = newest.and_then(RingMap::from_millis),
                maps = found.maps().len(),
                "took up a ring history"
            );
        }
        Ok(adoption)
    }

    /// Notes whether the newest map is announced without a time, and since when that is known.
    fn note(&self, history: &RingHistory) {
        let announced = history.newest().filter(|map| map.from_millis().is_none());
        let mut seen = self.seen.lock();
        // What was seen of a map stays for the check of its time.
        if let Some(map) = announced
            && seen.is_none_or(|seen| seen.version != map.version())
        {
            *seen = Some(Seen {
                version: map.version(),
                clock: self.clock.now(),
                boot: self.clock.boot(),
            });
        }
    }

    /// Takes up that the clock was set: when an announcement was seen is told by the clock as it is
    /// now, or its time would look too early.
    pub(super) fn clock_was_set(&self) {
        if let Some(seen) = &mut *self.seen.lock() {
            let held = self.clock.boot().saturating_sub(seen.boot).as_millis();
            let held = i64::try_from(held).unwrap_or(i64::MAX);
            seen.clock = self.clock.now().minus(held);
        }
    }

    fn seen(&self) -> Option<Seen> {
        *self.seen.lock()
    }

    /// Since when the newest map has been held without a time, by the boot-time clock; `None` if it
    /// has one.
    pub(super) fn announced_since(&self) -> Option<BootTime> {
        let history = self.view.history();
        let map = history.newest().filter(|map| map.from_millis().is_none())?;
        let seen = self.seen()?;
        (seen.version == map.version()).then_some(seen.boot)
    }

    /// Why a history was not taken up, for as long as that is so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// The newest history that this node knows of: what it has sent counts as known before it is
    /// sent.
    pub(super) fn knows(&self) -> HistoryMark {
        let held = self.view.history().mark();
        held.max(self.sent.lock().mark)
    }

    /// Counts a history as known that is about to be written.
    pub(super) fn sending(&self, mark: HistoryMark) -> Sending<'_> {
        let mut sent = self.sent.lock();
        let before = sent.mark;
        sent.mark = sent.mark.max(mark);
        sent.under_way += 1;
        Sending {
            rings: self,
            before,
        }
    }

    /// What was sent and never heard of again, at the time of asking and with nothing under way.
    pub(super) fn doubtful(&self) -> Option<HistoryMark> {
        let sent = self.sent.lock();
        (sent.under_way == 0 && sent.mark > HistoryMark::default()).then_some(sent.mark)
    }

    /// Takes up that what was sent had not been written when a later write was: it never will be.
    pub(super) fn was_not_written(&self, doubtful: HistoryMark) {
        let mut sent = self.sent.lock();
        if sent.under_way == 0 && sent.mark == doubtful {
            *sent = Sent::default();
        }
    }
}

/// A write of a history that is under way. Dropped, it stays counted as known.
pub(super) struct Sending<'a> {
    rings: &'a Rings,
    before: HistoryMark,
}

impl Sending<'_> {
    /// It was refused: nobody will ever see it.
    pub(super) fn refused(self) {
        let mut sent = self.rings.sent.lock();
        // Another write under way may be what it is now known for.
        if sent.under_way == 1 {
            sent.mark = self.before;
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.rings.sent.lock().under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use hub_ring::{Member, Placement};

    use super::*;
    use crate::env::ManualClock;

    const NOW: i64 = 1_700_000_000_000;

    fn first() -> RingHistory {
        let mut history = RingHistory::new();
        let members = ["a", "b", "c"].map(|name| Member::new(name).unwrap());
        let map = RingMap::in_force(1, NOW, members, Placement::default());
        history.announce(map.unwrap()).unwrap();
        history
    }

    fn announced() -> RingHistory {
        let mut history = first();
        let members = ["a", "b"].map(|name| Member::new(name).unwrap());
        let map = RingMap::announced(2, members, Placement::default());
        history.announce(map.unwrap()).unwrap();
        history
    }

    async fn open(folder: &std::path::Path) -> Rings {
        open_by(folder, ManualClock::new(Millis::new(NOW))).await
    }

    async fn open_by(folder: &std::path::Path, wall: Arc<ManualClock>) -> Rings {
        let clock = Arc::new(HubClock::start(wall));
        let view = RingView::new(Member::new("a").unwrap());
        let file = RingFile::new(folder.join("rings"));
        Rings::open(view, file, clock, 10_000).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_taken_up_is_kept_and_never_given_up_for_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let (older, newer) = (Arc::new(first()), Arc::new(announced()));
        {
            let rings = open(folder.path()).await;
            assert!(rings.view.history().is_empty());
            assert_eq!(rings.take_up(&newer).await.unwrap(), Adoption::Newer);
            assert!(rings.announced_since().is_some());
        }
        let rings = open(folder.path()).await;
        assert_eq!(rings.view.history(), newer);
        assert!(
            rings.announced_since().is_some(),
            "it has been held all the time"
        );
        assert_eq!(rings.take_up(&older).await.unwrap(), Adoption::Older);
        assert_eq!(rings.take_up(&newer).await.unwrap(), Adoption::Same);
        assert_eq!(rings.view.history(), newer);
        // A time from before the announcement was seen: somebody's clock is behind.
        let mut early = announced();
        early.set_from(2, NOW - 3_600_000 + 1).unwrap_err();
        early.set_from(2, NOW + 1).unwrap();
        assert_eq!(
            rings.take_up(&Arc::new(early)).await.unwrap(),
            Adoption::Newer
        );
        assert!(rings.announced_since().is_none());
    }

    #[tokio::test]
    async fn what_was_seen_by_a_wrong_clock_is_no_alarm_once_it_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let wall = ManualClock::new(Millis::new(NOW + 10_800_000));
        let rings = open_by(folder.path(), Arc::clone(&wall)).await;
        rings.take_up(&Arc::new(announced())).await.unwrap();
        let mut right = announced();
        right.set_from(2, NOW + 10_500).unwrap();
        let right = Arc::new(right);
        assert!(rings.take_up(&right).await.is_err());
        wall.step_wall(-10_800_000);
        rings.view.set_clock(&rings.clock);
        rings.clock_was_set();
        assert_eq!(rings.take_up(&right).await.unwrap(), Adoption::Newer);
    }

    #[tokio::test]
    async fn a_time_before_the_horizon_is_an_alarm() {
        let folder = tempfile::tempdir().unwrap();
        let rings = open(folder.path()).await;
        rings.take_up(&Arc::new(first())).await.unwrap();
        rings.view.confirmed(Millis::new(NOW), 10_000);
        let mut early = announced();
        early.set_from(2, NOW + 9_999).unwrap();
        let refused = rings.take_up(&Arc::new(early)).await;
        assert!(matches!(refused, Err(TakeUpError::Alarm(_))));
        assert!(rings.trouble().is_some());
        assert_eq!(rings.view.history().mark(), first().mark());
        let mut right = announced();
        right.set_from(2, NOW + 10_500).unwrap();
        rings.take_up(&Arc::new(right)).await.unwrap();
        assert_eq!(rings.trouble(), None);
    }

    #[tokio::test]
    async fn what_was_sent_counts_as_known_until_it_is_sure_that_it_was_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let rings = open(folder.path()).await;
        rings.take_up(&Arc::new(first())).await.unwrap();
        let (held, next) = (first().mark(), announced().mark());
        let sending = rings.sending(next);
        assert_eq!(rings.knows(), next);
        assert_eq!(rings.doubtful(), None, "it is still under way");
        sending.refused();
        assert_eq!(rings.knows(), held);
        // Nobody knows what became of this one.
        drop(rings.sending(next));
        assert_eq!(rings.knows(), next);
        let doubtful = rings.doubtful().unwrap();
        // One that is sent meanwhile is another matter.
        let again = rings.sending(next);
        rings.was_not_written(doubtful);
        assert_eq!(rings.knows(), next);
        drop(again);
        rings.was_not_written(doubtful);
        assert_eq!(rings.knows(), held);
    }
}
