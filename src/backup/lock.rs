//! Who works on a place: a backup that is being made keeps others from removing what it goes by.
//!
//! Whoever makes a backup has a lock, and whoever removes one has another. Each writes its own first and looks for
//! others then, so of two that begin at once at least one sees the other. A holder writes its lock again
//! now and then; one that was not written for long is left over from somebody who was killed. Ages
//! are taken by the store's clock alone, so no other matters.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::error::BackupError;
use super::place::{LOCKS, Place};
use crate::env::Millis;

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
const AGAIN: Duration = Duration::from_mins(1);
/// A lock that was not written for so long, in milliseconds, is left over.
const LEFT_OVER: i64 = 30 * 60_000;
/// A holder that could not write its lock for so long stops: others may soon take it for left over.
const UNSURE: Duration = Duration::from_mins(15);

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Lock {
    place: Arc<Place>,
    name: String,
    /// When it was last written.
    written: Arc<Mutex<Instant>>,
    keeping: AbortHandle,
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
        let name = format!("{LOCKS}/{}-{id}", kind.name());
        write(place, &name).await?;
        let written = Arc::new(Mutex::new(Instant::now()));
        let (keeper, known, at) = (Arc::clone(place), Arc::clone(&written), name.clone());
        let keeping = tokio::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                let began = Instant::now();
                // Somebody may have seen it as left over by now: it is given up for good.
                if known.lock().elapsed() > UNSURE {
                    return;
                }
                match write(&keeper, &at).await {
                    Ok(()) => *known.lock() = began,
                    Err(error) => tracing::warn!(%error, "a lock was not written again"),
                }
            }
        });
        Ok(Self {
            place: Arc::clone(place),
            name,
            written,
            keeping: keeping.abort_handle(),
        })
    }

    /// Who else has a lock.
    pub(super) async fn others(&self) -> Result<Vec<Other>, BackupError> {
        write(&self.place, &self.name).await?;
        let entries = self.place.entries(LOCKS).await?;
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| (entry.name, entry.modified))
            .collect();
        Ok(others(&entries, &self.name))
    }

    /// Whether nobody can have taken it for left over.
    pub(super) async fn is_held(&self) -> Result<bool, BackupError> {
        if self.written.lock().elapsed() > UNSURE {
            return Ok(false);
        }
        let entries = self.place.entries(LOCKS).await?;
        Ok(entries.iter().any(|entry| entry.name == self.name))
    }

    /// Gives it back.
    pub(super) async fn release(self) -> Result<(), BackupError> {
        self.keeping.abort();
        self.place.delete(std::slice::from_ref(&self.name)).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What is left of it ages.
        self.keeping.abort();
    }
}

async fn write(place: &Place, name: &str) -> Result<(), BackupError> {
    let pid = format!("process {}\n", std::process::id());
    place.put(name, pid.into(), true).await
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
