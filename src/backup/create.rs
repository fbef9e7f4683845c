//! Making a backup.
//!
//! What coordination held comes first, and then the archive is gone through, month by month of each channel: so every
//! channel of the backup is there with all that was archived before. An object that the store says is the
//! one of an earlier backup is not read again. The document comes last; a backup that was not finished is none,
//! and the next one finds the copies that it made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::document::{
    ChannelFolder, Document, Draft, Held, Month, PartRef, State, Totals, Unfit, list_to_bytes,
};
use super::error::{BackupError, Damage};
use super::lock::{Kind, Lock, lost};
use super::object::{Found, Kind as ObjectKind, Looked, copy_by_parts, look};
use super::place::{OBJECTS, PARTS, Place, copy_name};
use super::progress::Progress;
use super::sum::Sum;
use crate::archive::name::{Object, hour_len};
use crate::archive::store::{self, Entry, Store};
use crate::env::Millis;

/// Objects that are read at the same time, and months that are listed.
const AT_ONCE: usize = 8;
/// How many times a month is listed in which hours are put together meanwhile.
const LISTINGS: usize = 10;
/// How often it is looked whether somebody is still removing backups, and how many times.
const WAIT: Duration = Duration::from_secs(1);
const WAITS: usize = 30 * 60;

/// What the hub said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When, by its clock.
    pub now: Millis,
    /// Its version.
    pub hub: String,
    /// The cluster's name.
    pub cluster: String,
    /// The archive's URL.
    pub archive: String,
    /// What every member held of earlier times was in the archive by then; `None` if one did not say.
    pub archived_to: Option<Millis>,
    /// What coordination holds.
    pub state: State,
}

/// How a backup is to be made.
#[derive(Debug, Clone)]
pub struct CreateSettings {
    /// Its name: [`super::new_id`].
    pub id: String,
    /// Whether the objects are copied.
    pub with_items: bool,
    /// Whether damaged objects are left out; else there is no backup.
    pub skip_damaged: bool,
}

/// What is worked with.
struct Work<'a> {
    place: &'a Place,
    archive: &'a Store,
    settings: &'a CreateSettings,
    progress: &'a Progress,
    /// The copies that there are, with their lengths.
    copies: Mutex<HashMap<Sum, u64>>,
    /// The parts that there are.
    parts: HashMap<Sum, u64>,
    /// The lists of the backup before, by folder.
    before: HashMap<String, Month>,
    /// How many objects may still be read at the same time.
    turns: Semaphore,
    damages: Mutex<Vec<Damage>>,
    added: Mutex<Totals>,
}

/// Makes a backup.
///
/// # Errors
/// [`BackupError`]: there is none then.
pub async fn create(
    place: &Arc<Place>,
    archive: &Store,
    told: Told,
    settings: &CreateSettings,
    ended: impl FnOnce() -> Millis,
    progress: &Progress,
) -> Result<Document, BackupError> {
    let lock = Lock::take(place, Kind::Create, &settings.id).await?;
    let made = async {
        wait_for_others(&lock, progress).await?;
        let making = Box::pin(make(place, archive, told, settings, ended, progress));
        let document = lock.hold(making).await?;
        // What was listed may have been another one's, or nobody's.
        is_right(archive).await?;
        // Somebody who took the lock for left over may have removed what it goes by.
        if !lock.is_held().await? {
            return Err(lost());
        }
        place.put_document(&document).await?;
        Ok(document)
    };
    let made = made.await;
    let released = lock.release().await;
    let document = made?;
    if let Err(error) = released {
        tracing::warn!(%error, "the lock of a backup that is done was not removed");
    }
    Ok(document)
}

/// Whether it is the hub's archive, as far as its guard can tell.
async fn is_right(archive: &Store) -> Result<(), BackupError> {
    if archive.look().await == store::Looked::Right {
        return Ok(());
    }
    Err(BackupError::Refused {
        reason: archive.trouble().unwrap_or_default(),
    })
}

/// Waits until nobody removes backups.
async fn wait_for_others(lock: &Lock, progress: &Progress) -> Result<(), BackupError> {
    for _ in 0..WAITS {
        let others = lock.others().await?;
        let prunes = others
            .iter()
            .any(|other| other.kind == Kind::Prune && !other.left_over);
        if !prunes {
            return Ok(());
        }
        progress.begin("waiting until backups are removed", 0);
        tokio::time::sleep(WAIT).await;
    }
    Err(BackupError::Busy {
        reason: "somebody has been removing backups for too long".to_owned(),
    })
}

async fn make(
    place: &Place,
    archive: &Store,
    told: Told,
    settings: &CreateSettings,
    ended: impl FnOnce() -> Millis,
    progress: &Progress,
) -> Result<Document, BackupError> {
    progress.begin("looking at what there is", 0);
    let copies = if settings.with_items {
        place.sums(OBJECTS).await?
    } else {
        HashMap::new()
    };
    let work = Work {
        place,
        archive,
        settings,
        progress,
        copies: Mutex::new(copies),
        parts: place.sums(PARTS).await?,
        before: before(place, &told.archive).await?,
        turns: Semaphore::new(AT_ONCE),
        damages: Mutex::default(),
        added: Mutex::default(),
    };
    let channels = told.state.channels.iter();
    let folders: Vec<Vec<String>> = stream::iter(channels.map(|channel| channel.id))
        .map(async |id: ChannelFolder| archive.folders(&id.name()).await)
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .map_err(BackupError::Archive)?;
    let folders: Vec<String> = folders.into_iter().flatten().collect();
    progress.begin("months", folders.len());
    let mut months = Vec::new();
    let mut newest = None;
    let taking = stream::iter(folders).map(async |folder: String| work.month(&folder).await);
    let mut taking = std::pin::pin!(taking.buffered(AT_ONCE));
    while let Some((objects, month)) = taking.try_next().await? {
        newest = objects
            .iter()
            .filter_map(|held| held.newest)
            .chain(newest)
            .max();
        if month.totals.objects > 0 {
            months.push(month);
        }
        progress.step();
    }
    let damages = std::mem::take(&mut *work.damages.lock());
    if !damages.is_empty() && !settings.skip_damaged {
        return Err(BackupError::ArchiveDamaged(damages));
    }
    let mut totals = Totals::default();
    for month in &months {
        totals.add(month.totals);
    }
    let added = *work.added.lock();
    Ok(Document::new(Draft {
        id: settings.id.clone(),
        taken: told.now,
        ended: ended(),
        hub: told.hub,
        cluster: told.cluster,
        archive: told.archive,
        archived_to: told.archived_to,
        with_items: settings.with_items,
        channels: told.state.channels.len() as u64,
        totals,
        newest,
        added,
        left_out: damages.into_iter().map(|damage| damage.name).collect(),
        state: work.json("the channels", &told.state).await?,
        months: work.json("the months", &months).await?,
    }))
}

/// The lists of the newest backup of that archive that can be read, by folder.
async fn before(place: &Place, archive: &str) -> Result<HashMap<String, Month>, BackupError> {
    for listed in place.list().await?.into_iter().rev() {
        let Ok(document) = listed.document else {
            continue;
        };
        if document.archive != archive {
            continue;
        }
        match place.months(&document).await {
            Ok(months) => {
                let months = months.into_iter();
                return Ok(months.map(|month| (month.folder.clone(), month)).collect());
            }
            // It only saves work.
            Err(BackupError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(HashMap::new())
}

/// What came of reading an object.
enum Taken {
    /// It is taken up.
    Up(Held),
    /// It is damaged.
    Damaged(Damage),
    /// It went, or was changed, meanwhile.
    Gone,
}

impl Work<'_> {
    /// Takes up what a month of a channel has.
    ///
    /// While it is listed, a roll-up may put an hour's object where the listing has been, and take its minutes away where
    /// it comes next. Then the next listing has that hour: so a month in which anything is new is listed
    /// again, until no hour is. Whatever was read by then stays, if it is gone meanwhile, or has changed, or not;
    /// what else came since was not there when the backup began.
    async fn month(&self, folder: &str) -> Result<(Vec<Held>, Month), BackupError> {
        let mut known = self.known(folder).await?;
        // With the versions of them that were read.
        let mut damaged: HashMap<String, String> = HashMap::new();
        // Those that were listed and were not there, or changed while they were read.
        let mut gone: HashSet<String> = HashSet::new();
        for listing in 0..LISTINGS {
            let entries = self.archive.entries(folder).await;
            let mut entries = entries.map_err(BackupError::Archive)?;
            entries.retain(|entry| damaged.get(&entry.name) != Some(&entry.mark));
            let (same, mut other) = compare(entries, &known, |held| self.lacks(held));
            if listing == 0 {
                if other.is_empty() && same.len() == known.len() {
                    let month = self.listed(folder, &same).await?;
                    return Ok((same, month));
                }
                // What is gone since the backup before is none of this one.
                known = same.into_iter().map(named).collect();
            } else {
                other.retain(|entry| !(known.contains_key(&entry.name) && is_item(&entry.name)));
            }
            let settled = listing > 0 && is_settled(&other, &known, &gone);
            if settled {
                // Large items are there before the minutes that point to them, so none of those lacks one now.
                other.retain(|entry| is_item(&entry.name));
            }
            gone = self.take_all(other, &mut known, &mut damaged).await?;
            if settled {
                let objects = without_rolled_up(known);
                let month = self.listed(folder, &objects).await?;
                return Ok((objects, month));
            }
        }
        Err(BackupError::Unsettled {
            folder: folder.to_owned(),
        })
    }

    /// Reads objects, and takes them up if they are what was written; gives those that were not there any more.
    async fn take_all(
        &self,
        entries: Vec<Entry>,
        known: &mut HashMap<String, Held>,
        damaged: &mut HashMap<String, String>,
    ) -> Result<HashSet<String>, BackupError> {
        let mut gone = HashSet::new();
        let taking = stream::iter(entries).map(async |entry: Entry| {
            let taken = self.take(&entry).await?;
            Ok::<_, BackupError>((entry, taken))
        });
        let mut taking = std::pin::pin!(taking.buffer_unordered(AT_ONCE));
        while let Some((entry, taken)) = taking.try_next().await? {
            match taken {
                Taken::Up(held) => {
                    known.insert(entry.name, held);
                }
                Taken::Damaged(damage) => {
                    self.damages.lock().push(damage);
                    known.remove(&entry.name);
                    damaged.insert(entry.name, entry.mark);
                }
                Taken::Gone => {
                    gone.insert(entry.name);
                }
            }
        }
        Ok(gone)
    }

    /// What the backup before had of a month.
    async fn known(&self, folder: &str) -> Result<HashMap<String, Held>, BackupError> {
        let Some(month) = self.before.get(folder) else {
            return Ok(HashMap::new());
        };
        match self.place.objects(month).await {
            Ok(objects) => Ok(objects.into_iter().map(named).collect()),
            // It only saves work.
            Err(BackupError::Damaged(_)) => Ok(HashMap::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether an object is still to be copied.
    fn lacks(&self, held: &Held) -> bool {
        self.settings.with_items && self.copies.lock().get(&held.sha256) != Some(&held.size)
    }

    /// Reads an object, and copies it if that is wanted.
    async fn take(&self, entry: &Entry) -> Result<Taken, BackupError> {
        // Those of all months together, for each is held while it is copied.
        let _turn = self.turns.acquire().await;
        let name = entry.name.as_str();
        let found = look(self.archive, name, name, entry.size).await;
        let (looked, bytes) = match found.map_err(BackupError::Archive)? {
            Found::Whole(looked, bytes) => (looked, bytes),
            Found::Missing => return Ok(Taken::Gone),
            Found::Damaged(_, reason) => {
                let name = name.to_owned();
                return Ok(Taken::Damaged(Damage { name, reason }));
            }
        };
        self.progress.read(looked.size);
        if self.settings.with_items {
            let known = self.copies.lock().get(&looked.sha256).copied();
            if known != Some(looked.size) {
                if !self.copy(name, &looked, bytes, known.is_some()).await? {
                    return Ok(Taken::Gone);
                }
                self.copies.lock().insert(looked.sha256, looked.size);
            }
        }
        let held = Held {
            name: name.to_owned(),
            size: looked.size,
            items: looked.items,
            newest: looked.newest,
            sha256: looked.sha256,
            mark: entry.mark.clone(),
        };
        self.added.lock().add(held.totals());
        Ok(Taken::Up(held))
    }

    /// Copies an object; says whether it is still what was read.
    async fn copy(
        &self,
        name: &str,
        looked: &Looked,
        bytes: Option<Bytes>,
        instead: bool,
    ) -> Result<bool, BackupError> {
        let copy = copy_name(looked.sha256);
        if let Some(bytes) = bytes {
            self.place.put(&copy, bytes, instead).await?;
            return Ok(true);
        }
        let from = (self.archive, name, BackupError::Archive as fn(_) -> _);
        let to = (
            self.place.store(),
            copy.as_str(),
            BackupError::Place as fn(_) -> _,
        );
        let copied = copy_by_parts(from, to, looked.sha256).await?;
        Ok(copied == Some(looked.sha256))
    }

    /// Puts the list of a month.
    async fn listed(&self, folder: &str, objects: &[Held]) -> Result<Month, BackupError> {
        let mut totals = Totals::default();
        for held in objects {
            totals.add(held.totals());
        }
        let list = self
            .place
            .put_part(&list_to_bytes(objects), &self.parts)
            .await?;
        Ok(Month {
            folder: folder.to_owned(),
            totals,
            list,
        })
    }

    /// Puts a part that is JSON.
    async fn json(&self, what: &str, value: &impl Serialize) -> Result<PartRef, BackupError> {
        let plain = serde_json::to_vec(value).map_err(|error| BackupError::Unfit {
            what: what.to_owned(),
            unfit: Unfit(error.to_string()),
        })?;
        self.place.put_part(&plain, &self.parts).await
    }
}

fn named(held: Held) -> (String, Held) {
    (held.name.clone(), held)
}

/// Whether an object is a single item, of which new ones come at any time.
fn is_item(name: &str) -> bool {
    matches!(ObjectKind::of(name).1, ObjectKind::Items(Object::Item(_)))
}

/// Whether nothing of what a later listing has besides what is known is an hour, or a minute that was changed.
fn is_settled(other: &[Entry], known: &HashMap<String, Held>, gone: &HashSet<String>) -> bool {
    let unsettles = |entry: &Entry| match ObjectKind::of(&entry.name).1 {
        ObjectKind::Items(Object::Hour(_)) => true,
        // What was not there when it was read, and is.
        _ => known.contains_key(&entry.name) || gone.contains(&entry.name),
    };
    !other.iter().any(unsettles)
}

/// What was read, without the minutes of hours that were, too; in the order of the names.
fn without_rolled_up(known: HashMap<String, Held>) -> Vec<Held> {
    let hours: HashSet<Millis> = known
        .keys()
        .filter_map(|name| match ObjectKind::of(name).1 {
            ObjectKind::Items(Object::Hour(start)) => Some(start),
            _ => None,
        })
        .collect();
    let mut objects: Vec<Held> = known.into_values().collect();
    objects.retain(|held| match ObjectKind::of(&held.name).1 {
        ObjectKind::Items(Object::Minute(start)) => !hours.contains(&start.floor_to(hour_len())),
        _ => true,
    });
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    objects
}

/// Those of the listed objects that are what is known of them, and those that are to be read.
fn compare(
    entries: Vec<Entry>,
    known: &HashMap<String, Held>,
    lacks: impl Fn(&Held) -> bool,
) -> (Vec<Held>, Vec<Entry>) {
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for entry in entries {
        let held = known.get(&entry.name);
        match held.filter(|held| held.size == entry.size && held.mark == entry.mark) {
            Some(held) if !lacks(held) => same.push(held.clone()),
            _ => other.push(entry),
        }
    }
    (same, other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each object as the store lists it, as it is known, and whether its copy is there.
        #[test]
        fn only_what_is_known_and_the_same_and_copied_is_not_read(
            listed in proptest::collection::btree_map(0u8..20, (0u64..2, 0u8..2), 0..10),
            known in proptest::collection::btree_map(0u8..20, (0u64..2, 0u8..2, any::<bool>()), 0..10),
        ) {
            let entries: Vec<Entry> = listed
                .iter()
                .map(|(name, (size, mark))| Entry {
                    name: name.to_string(),
                    size: *size,
                    mark: mark.to_string(),
                    modified: Millis::new(0),
                })
                .collect();
            let held: HashMap<String, Held> = known
                .iter()
                .map(|(name, (size, mark, copied))| {
                    named(Held {
                        name: name.to_string(),
                        size: *size,
                        items: u64::from(*copied),
                        newest: None,
                        sha256: Sum::of(&[*name]),
                        mark: mark.to_string(),
                    })
                })
                .collect();
            let (same, other) = compare(entries, &held, |held| held.items == 0);
            let same: Vec<u8> = same.iter().map(|held| held.name.parse().unwrap()).collect();
            let other: Vec<u8> = other.iter().map(|entry| entry.name.parse().unwrap()).collect();
            for (name, (size, mark)) in listed {
                let is_same = known.get(&name) == Some(&(size, mark, true));
                prop_assert_eq!(same.contains(&name), is_same);
                prop_assert_eq!(other.contains(&name), !is_same);
            }
        }
    }
}
