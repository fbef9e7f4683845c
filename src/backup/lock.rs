//! Who works on a place: a backup that is being made keeps others from removing what it goes by.
//!
//! Whoever makes a backup has a lock, and whoever removes one has another. Each writes its own first and looks for
//! others then, so of two that begin at once at least one sees the other. A holder writes its lock again
//! now and then; one that was not written for long is left over from somebody who was killed. Ages
//! are taken by the store's clock alone, so no other matters.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::error::BackupError;
use super::place::{LOCKS, Place};
use crate::env::{BootTime, ClockSource, Millis, SystemClock};

/// What a lock is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A backup is being made.
    Create,
    /// Backups are being removed.
    Prune,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Prune => "prune",
        }
    }
}

/// How often a lock is written again.
#[cfg(not(test))]
const AGAIN: Duration = Duration::from_mins(1);
/// As often as a test has the patience for.
#[cfg(test)]
const AGAIN: Duration = Duration::from_millis(20);
/// A lock that was not written for so long, in milliseconds, is left over.
const LEFT_OVER: i64 = 30 * 60_000;
/// A holder that could not write its lock for so long stops: others may soon take it for left over.
const UNSURE: Duration = Duration::from_mins(15);

/// A lock that is held.
pub(super) struct Lock {
    held: Arc<Holding>,
    /// Who writes it again, and how to stop that.
    keeping: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// What is known of it.
struct Holding {
    place: Arc<Place>,
    name: String,
    /// When it was last written, by the clock that goes on while the machine sleeps.
    written: Mutex<BootTime>,
    clock: Arc<dyn ClockSource>,
    /// Whether it is held no longer.
    lost: watch::Sender<bool>,
}

/// Another one's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) left_over: bool,
}

/// The locks of others among the names and times in a place, as seen by whoever has just written `own`.
fn others(entries: &[(String, Millis)], own: &str) -> Vec<Other> {
    // It was written a moment ago: that is what time it is there.
    let now = entries.iter().find(|(name, _)| name == own);
    let other = |(name, modified): &(String, Millis)| {
        let rest = name.strip_prefix("locks/")?;
        let kinds = [Kind::Create, Kind::Prune];
        let kind = kinds
            .into_iter()
            .find(|kind| rest.starts_with(kind.name()))?;
        let left_over = now.is_some_and(|(_, now)| now.get() - modified.get() > LEFT_OVER);
        (name != own).then(|| Other {
            name: name.clone(),
            kind,
            left_over,
        })
    };
    entries.iter().filter_map(other).collect()
}

impl Lock {
    /// Writes a lock, and keeps it written.
    pub(super) async fn take(
        place: &Arc<Place>,
        kind: Kind,
        id: &str,
    ) -> Result<Self, BackupError> {
        Self::take_by(place, kind, id, Arc::new(SystemClock)).await
    }

    /// As [`Self::take`], by a clock.
    async fn take_by(
        place: &Arc<Place>,
        kind: Kind,
        id: &str,
        clock: Arc<dyn ClockSource>,
    ) -> Result<Self, BackupError> {
        let held = Arc::new(Holding {
            place: Arc::clone(place),
            name: format!("{LOCKS}/{}-{id}", kind.name()),
            written: Mutex::new(clock.boot()),
            clock,
            lost: watch::Sender::new(false),
        });
        write(place, &held.name).await?;
        let keeper = Arc::clone(&held);
        let (stop, stopped) = oneshot::channel::<()>();
        let keeping = tokio::spawn(async move {
            let mut stopped = stopped;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => {}
                    _ = &mut stopped => return,
                }
                match keeper.write_again().await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => tracing::warn!(%error, "a lock was not written again"),
                }
            }
        });
        Ok(Self {
            held,
            keeping: Some((stop, keeping)),
        })
    }

    /// Who else has a lock.
    ///
    /// # Errors
    /// [`BackupError::Busy`] if this one is held no longer; [`BackupError::Place`].
    pub(super) async fn others(&self) -> Result<Vec<Other>, BackupError> {
        if !self.held.write_again().await? {
            return Err(lost());
        }
        let entries = self.held.place.entries(LOCKS).await?;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| (entry.name, entry.modified))
            .collect();
        Ok(others(&entries, &self.held.name))
    }

    /// Whether nobody else has one; gives those that are left over.
    ///
    /// # Errors
    /// [`BackupError::Busy`] if somebody has; and as [`Self::others`].
    pub(super) async fn is_alone(&self) -> Result<Vec<Other>, BackupError> {
        let others = self.others().await?;
        let Some(other) = others.iter().find(|other| !other.left_over) else {
            return Ok(others);
        };
        let does = match other.kind {
            Kind::Create => "a backup is being made",
            Kind::Prune => "backups are being removed already",
        };
        Err(BackupError::Busy {
            reason: format!(
                "{does} ({}); if whoever began it was killed, wait for half an hour",
                other.name
            ),
        })
    }

    /// Whether nobody can have taken it for left over.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn is_held(&self) -> Result<bool, BackupError> {
        self.held.is_there().await
    }

    /// Does something for as long as it is held.
    ///
    /// # Errors
    /// [`BackupError::Busy`] once it is not any more, and whatever the work fails with.
    pub(super) async fn hold<T>(
        &self,
        work: impl Future<Output = Result<T, BackupError>>,
    ) -> Result<T, BackupError> {
        let mut known = self.held.lost.subscribe();
        tokio::select! {
            done = work => done,
            // Its sender is there for as long as this lock is.
            _ = known.wait_for(|lost| *lost) => Err(lost()),
        }
    }

    /// Gives it back.
    pub(super) async fn release(mut self) -> Result<(), BackupError> {
        if let Some((stop, keeping)) = self.keeping.take() {
            // What is being written may come to be there after all: it has to be over before it is removed. A keeper that
            // has stopped by itself writes nothing any more.
            let _ = stop.send(());
            let _ = keeping.await;
        }
        let name = std::slice::from_ref(&self.held.name);
        self.held.place.delete(name).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What is left of it ages.
        if let Some((_, keeping)) = &self.keeping {
            keeping.abort();
        }
    }
}

impl Holding {
    /// Writes it again, if it is there: somebody who saw it as left over may have removed it, and goes by that. Says
    /// whether it is held.
    async fn write_again(&self) -> Result<bool, BackupError> {
        let began = self.clock.boot();
        if !self.is_there().await? {
            return Ok(false);
        }
        write(&self.place, &self.name).await?;
        *self.written.lock() = began;
        Ok(true)
    }

    /// Whether it is held; once it is not it is given up for good.
    async fn is_there(&self) -> Result<bool, BackupError> {
        let is_old = || self.clock.boot().saturating_sub(*self.written.lock()) > UNSURE;
        let gone = *self.lost.borrow() || is_old() || {
            let entries = self.place.entries(LOCKS).await?;
            // It may have taken long to ask.
            is_old() || entries.iter().all(|entry| entry.name != self.name)
        };
        if gone {
            self.lost.send_replace(true);
        }
        Ok(!gone)
    }
}

/// What whoever has lost a lock ends with.
pub(super) fn lost() -> BackupError {
    BackupError::Busy {
        reason: format!(
            "the lock in {LOCKS}/ was lost, after too long without a sign of life: begin again"
        ),
    }
}

async fn write(place: &Place, name: &str) -> Result<(), BackupError> {
    let pid = format!("process {}\n", std::process::id());
    place.put(name, pid.into(), true).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::store::Store;
    use crate::archive::store::watched::watched;
    use crate::env::ManualClock;

    #[test]
    fn what_was_not_written_for_long_is_left_over() {
        let at = |name: &str, minutes: i64| (name.to_owned(), Millis::new(minutes * 60_000));
        let own = "locks/prune-a";
        let entries = [
            at(own, 100),
            at("locks/create-b", 99),
            at("locks/create-c", 69),
            at("locks/prune-d", 101),
            at("locks/other", 101),
        ];
        let found = others(&entries, own);
        let found: Vec<_> = found
            .iter()
            .map(|other| (other.name.as_str(), other.kind, other.left_over))
            .collect();
        assert_eq!(
            found,
            [
                ("locks/create-b", Kind::Create, false),
                ("locks/create-c", Kind::Create, true),
                ("locks/prune-d", Kind::Prune, false),
            ]
        );
    }
    #[tokio::test]
    async fn a_lock_that_is_given_back_while_it_is_written_does_not_come_back() {
        let (store, asked) = watched();
        let place = Arc::new(Place::on(store, "memory"));
        let lock = Lock::take(&place, Kind::Create, "a").await.unwrap();
        asked.hold(Some(LOCKS));
        while asked.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let mut releasing = Box::pin(lock.release());
        let is_over = futures_util::poll!(&mut releasing).is_ready();
        assert!(!is_over, "it is being written");
        asked.hold(None);
        releasing.await.unwrap();
        assert!(place.entries(LOCKS).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_lock_that_was_not_written_for_long_or_is_gone_is_given_up_for_good() {
        for slept in [false, true] {
            let place = Arc::new(Place::on(Store::in_memory(), "memory"));
            let clock = ManualClock::new(Millis::new(0));
            let source = Arc::clone(&clock) as Arc<dyn ClockSource>;
            let lock = Lock::take_by(&place, Kind::Create, "a", source)
                .await
                .unwrap();
            assert!(lock.is_held().await.unwrap());
            let held = lock.hold(async {
                if slept {
                    // As a machine does that is suspended: no other clock goes on.
                    clock.advance(16 * 60_000);
                } else {
                    place.delete(&["locks/create-a".to_owned()]).await?;
                }
                std::future::pending::<Result<(), BackupError>>().await
            });
            let told = held.await.unwrap_err();
            assert!(matches!(told, BackupError::Busy { .. }), "{told}");
            assert!(!lock.is_held().await.unwrap());
            let others = lock.others().await;
            assert!(
                matches!(others, Err(BackupError::Busy { .. })),
                "{others:?}"
            );
            let left = place.entries(LOCKS).await.unwrap().len();
            assert_eq!(left, usize::from(slept));
        }
    }
}
