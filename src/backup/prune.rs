//! Removing old backups, and what only they referred to.

use std::collections::HashSet;
use std::sync::Arc;

use super::document::Document;
use super::error::BackupError;
use super::lock::{Kind, Lock, lost};
use super::place::{OBJECTS, PARTS, Place, sum_in};
use super::progress::Progress;
use super::sum::Sum;
use crate::env::Millis;

/// How many names are deleted at a time.
const AT_ONCE: usize = 500;
const DAY: i64 = 86_400_000;

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruned {
    /// The backups that are no more.
    pub removed: Vec<String>,
    /// Those that stay.
    pub kept: Vec<String>,
    /// Copies and parts that nothing referred to any more.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The backups that are kept no longer: those that are more than so many days old, but never the newest one, nor the
/// newest one with items.
pub fn expired(documents: &[Document], now: Millis, days: u32) -> Vec<&str> {
    let newest = |with_items: bool| {
        let some = documents.iter();
        let some = some.filter(|document| document.with_items || !with_items);
        some.max_by_key(|document| (document.taken, &document.id))
    };
    let spared = [newest(false), newest(true)].map(|spared| spared.map(|spared| &spared.id));
    let oldest = now.minus(i64::from(days) * DAY);
    documents
        .iter()
        .filter(|document| document.taken < oldest)
        .filter(|document| !spared.contains(&Some(&document.id)))
        .map(|document| document.id.as_str())
        .collect()
}

/// Removes the backups that are kept no longer, and then what no other one refers to.
///
/// # Errors
/// [`BackupError`]; in particular [`BackupError::Busy`] while a backup is being made, and
/// [`BackupError::Damaged`] if one that is kept cannot be read: what it refers to is not known then.
pub async fn prune(
    place: &Arc<Place>,
    now: Millis,
    days: u32,
    id: &str,
    progress: &Progress,
) -> Result<Pruned, BackupError> {
    let lock = Lock::take(place, Kind::Prune, id).await?;
    let pruning = Box::pin(prune_alone(place, now, days, &lock, progress));
    let pruned = lock.hold(pruning).await;
    lock.release().await?;
    pruned
}

async fn prune_alone(
    place: &Place,
    now: Millis,
    days: u32,
    lock: &Lock,
    progress: &Progress,
) -> Result<Pruned, BackupError> {
    progress.begin("reading backups", 0);
    let others = lock.is_alone().await?;
    // Whoever wakes up again finds that it is gone, and stops.
    let left: Vec<String> = others.into_iter().map(|other| other.name).collect();
    place.delete(&left).await?;

    let listed = place.list().await?;
    let mut documents = Vec::new();
    for backup in listed {
        documents.push(backup.document?);
    }
    let gone: Vec<String> = expired(&documents, now, days)
        .into_iter()
        .map(str::to_owned)
        .collect();
    documents.retain(|document| !gone.contains(&document.id));

    progress.begin("reading backups", documents.len());
    let mut referred = HashSet::new();
    for document in &documents {
        refer(place, document, &mut referred).await?;
        progress.step();
    }
    place.remove_documents(&gone).await?;

    let mut pruned = Pruned {
        removed: gone,
        kept: documents.into_iter().map(|document| document.id).collect(),
        ..Pruned::default()
    };
    let mut unreferred = Vec::new();
    for folder in [PARTS, OBJECTS] {
        for entry in place.entries(folder).await? {
            // What is not called like one is not ours.
            if sum_in(&entry.name).is_some_and(|sum| !referred.contains(&sum)) {
                pruned.objects += 1;
                pruned.bytes += entry.size;
                unreferred.push(entry.name);
            }
        }
    }
    progress.begin("removing", unreferred.len());
    for names in unreferred.chunks(AT_ONCE) {
        if !lock.is_held().await? {
            return Err(lost());
        }
        place.delete(names).await?;
        for _ in names {
            progress.step();
        }
    }
    Ok(pruned)
}

/// What a backup refers to.
async fn refer(
    place: &Place,
    document: &Document,
    referred: &mut HashSet<Sum>,
) -> Result<(), BackupError> {
    referred.insert(document.state.sha256);
    referred.insert(document.months.sha256);
    for month in place.months(document).await? {
        // A list that another backup has too was read before.
        if referred.insert(month.list.sha256) {
            for held in place.objects(&month).await? {
                referred.insert(held.sha256);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::document::tests::document_of;
    use super::*;

    proptest! {
        #[test]
        fn only_what_is_old_goes_and_never_the_last(
            all in proptest::collection::vec((0i64..100, any::<bool>()), 0..12),
            days in 0u32..60,
        ) {
            let now = Millis::new(100 * DAY);
            let mut documents = Vec::new();
            for (number, (day, with_items)) in all.iter().enumerate() {
                let taken = Millis::new(day * DAY + number as i64);
                documents.push(document_of(&format!("{number}"), taken, *with_items));
            }
            let gone = expired(&documents, now, days);
            let is_gone = |document: &&Document| gone.contains(&document.id.as_str());
            for document in documents.iter().filter(is_gone) {
                let newer = |other: &&Document| {
                    other.taken > document.taken && (other.with_items || !document.with_items)
                };
                prop_assert!(document.taken < now.minus(i64::from(days) * DAY));
                // It can be done without: a newer one that stays has as much.
                prop_assert!(documents.iter().filter(newer).any(|other| !is_gone(&other)));
            }
            let stays = documents.iter().filter(|document| !is_gone(document));
            prop_assert_eq!(stays.count() == 0, documents.is_empty());
            let old = documents.iter().filter(|document| {
                document.taken < now.minus(i64::from(days) * DAY)
            });
            prop_assert!(old.count() - gone.len() <= 2);
        }
    }
}
