//! Reading a backup from one end to the other.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::document::{Document, Held, Month, Totals};
use super::error::{BackupError, Damage};
use super::lock::{Kind, Lock, lost};
use super::object::{Found, look};
use super::place::{Place, copy_name};
use super::progress::Progress;
use super::sum::Sum;

/// Copies that are read at the same time.
const AT_ONCE: usize = 8;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// Copies, each counted once.
    pub copies: Totals,
    /// What is not what was written.
    pub damages: Vec<Damage>,
    /// The copies among that whose bytes are not those that their names say.
    pub damaged_copies: Vec<Held>,
    /// What the backups say they lack, for it was damaged in the archive when they were made.
    pub left_out: Vec<String>,
}

/// Reads backups, and everything that they refer to; each copy once.
///
/// # Errors
/// [`BackupError`] if the place does not answer. What is damaged is told in what was found.
pub async fn verify(
    place: &Place,
    ids: &[String],
    progress: &Progress,
) -> Result<Verified, BackupError> {
    let mut verified = Verified::default();
    let mut months = Vec::new();
    let mut lists = HashSet::new();
    for id in ids {
        let found = async {
            let document = place.document(id).await?;
            place.state(&document).await?;
            let months = place.months(&document).await?;
            Ok::<_, BackupError>((document, months))
        };
        let Some((document, found)) = noted(found.await, &mut verified)? else {
            continue;
        };
        add_up(&document, &found, &mut verified);
        verified.left_out.extend(document.left_out.iter().cloned());
        for month in found {
            if lists.insert((month.list.sha256, document.with_items)) {
                months.push((month, document.with_items));
            }
        }
    }
    verified.left_out.sort();
    verified.left_out.dedup();
    progress.begin("months", months.len());
    let mut seen: HashSet<Sum> = HashSet::new();
    let listing = stream::iter(months)
        .map(async |(month, with_items): (Month, bool)| (place.objects(&month).await, with_items));
    let mut listing = std::pin::pin!(listing.buffered(AT_ONCE));
    while let Some((objects, with_items)) = listing.next().await {
        if let Some(objects) = noted(objects, &mut verified)? {
            let copies = objects
                .into_iter()
                .filter(|held| with_items && seen.insert(held.sha256))
                .collect();
            read(place, copies, progress, &mut verified).await?;
        }
        progress.step();
    }
    Ok(verified)
}

/// Takes up damage, and goes on.
fn noted<T>(
    found: Result<T, BackupError>,
    verified: &mut Verified,
) -> Result<Option<T>, BackupError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(BackupError::Damaged(damages)) => {
            verified.damages.extend(damages);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Holds what a document says of all its months against them.
fn add_up(document: &Document, months: &[Month], verified: &mut Verified) {
    let mut totals = Totals::default();
    for month in months {
        totals.add(month.totals);
    }
    if totals != document.totals {
        verified.damages.push(Damage {
            name: format!("backups/{}", document.id),
            reason: "its months do not add up to what it says".to_owned(),
        });
    }
}

async fn read(
    place: &Place,
    copies: Vec<Held>,
    progress: &Progress,
    verified: &mut Verified,
) -> Result<(), BackupError> {
    let reading = stream::iter(copies).map(async |held: Held| {
        let found = found(place, &held).await;
        progress.read(held.size);
        (held, found)
    });
    let mut reading = std::pin::pin!(reading.buffered(AT_ONCE));
    while let Some((held, found)) = reading.next().await {
        let found = found?;
        let Some(reason) = wrong(&held, &found) else {
            verified.copies.add(held.totals());
            continue;
        };
        let name = format!("{} ({})", copy_name(held.sha256), held.name);
        verified.damages.push(Damage { name, reason });
        if is_other(&held, &found) {
            verified.damaged_copies.push(held);
        }
    }
    Ok(())
}

/// A copy, as it is.
async fn found(place: &Place, held: &Held) -> Result<Found, BackupError> {
    let copy = copy_name(held.sha256);
    let found = look(place.store(), &copy, &held.name, held.size).await;
    // Its bytes are not looked at any more.
    Ok(match found.map_err(BackupError::Place)? {
        Found::Whole(looked, _) => Found::Whole(looked, None),
        other => other,
    })
}

/// Whether a copy that is there has other bytes than its name says.
fn is_other(held: &Held, found: &Found) -> bool {
    match found {
        Found::Missing => false,
        Found::Damaged(sum, _) => *sum != held.sha256,
        Found::Whole(looked, _) => looked.sha256 != held.sha256,
    }
}

/// Removes copies whose bytes are not those that their names say, so that the next backup copies the objects
/// anew, while the archive has them: it reads no copy that is there. Each is read once more before it goes. Gives the names of
/// those that went; `id` is that of the lock.
///
/// # Errors
/// [`BackupError::Busy`] while a backup is being made, which may refer to one of them, or others are removed;
/// [`BackupError::Place`].
pub async fn remove_damaged(
    place: &Arc<Place>,
    copies: &[Held],
    id: &str,
) -> Result<Vec<String>, BackupError> {
    if copies.is_empty() {
        return Ok(Vec::new());
    }
    let lock = Lock::take(place, Kind::Prune, id).await?;
    let removed = async {
        lock.is_alone().await?;
        let mut removed = Vec::new();
        for held in copies {
            if !is_other(held, &found(place, held).await?) {
                continue;
            }
            if !lock.is_held().await? {
                return Err(lost());
            }
            let name = copy_name(held.sha256);
            place.delete(std::slice::from_ref(&name)).await?;
            removed.push(name);
        }
        Ok(removed)
    };
    let removed = lock.hold(removed).await;
    lock.release().await?;
    removed
}

/// What is wrong with a copy, as it was found.
pub(super) fn wrong(held: &Held, found: &Found) -> Option<String> {
    match found {
        Found::Missing => Some("it is missing".to_owned()),
        Found::Damaged(sum, reason) if *sum == held.sha256 => {
            Some(format!("it was damaged when it was copied: {reason}"))
        }
        Found::Damaged(..) => Some("it is not what was written".to_owned()),
        Found::Whole(looked, _) if looked.sha256 != held.sha256 => {
            Some("it is not what was written".to_owned())
        }
        Found::Whole(looked, _)
            if (looked.size, looked.items, looked.newest)
                != (held.size, held.items, held.newest) =>
        {
            Some("its list says something else of it".to_owned())
        }
        Found::Whole(..) => None,
    }
}
