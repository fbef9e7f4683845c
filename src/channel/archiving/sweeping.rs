//! What the archive need not keep any more: what lies below a channel's retention, and what is left of
//! channels that were deleted.
//!
//! Nothing goes on doubt: not without an answer of coordination, asked for this; not what is in part below;
//! not a folder without a record that its channel was deleted, a while ago.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;

use super::{ArchiveError, Archiver};
use crate::archive::name::{Object, channel_of};
use crate::archive::store::Looked;
use crate::channel::registry::Channel;
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::ChannelId;

/// Channels that are swept at the same time.
const AT_ONCE: usize = 8;
/// How many names are listed, and objects deleted, at a time.
const NAMES: usize = 1000;

/// What is kept in mind from one sweep to the next.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// Where the first object begins that a channel has; nothing of it goes before that time is below its
    /// retention.
    first: HashMap<ChannelId, Millis>,
    /// Folders whose channel neither exists nor was deleted.
    strange: usize,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sweep {
    /// Objects that were past their channel's retention.
    pub expired: u64,
    /// Objects of channels that are deleted.
    pub deleted: u64,
}

impl Archiver {
    /// Removes what need not be kept of the channels that this node leads, and, on the first member of the
    /// ring, of channels that were deleted. What could not be done now is left to the next time.
    pub async fn sweep(&self) -> Sweep {
        // What is past retention goes for all members, so only a clock that others vouch for counts; and nothing of
        // another archive goes.
        let is_late = self.source.now() >= self.source.horizon();
        if is_late || self.store.look().await != Looked::Right {
            return Sweep::default();
        }
        let total = Mutex::new(Sweep::default());
        let mut led = self.source.channels();
        led.retain(|channel| self.source.leads(channel));
        let sweeping = stream::iter(led).for_each_concurrent(AT_ONCE, async |channel| {
            match self.sweep_channel(&channel).await {
                Ok(expired) => total.lock().expired += expired,
                Err(error) => {
                    let name = channel.config.name.as_str();
                    tracing::warn!(%error, channel = name, "expired objects stay in the archive for now");
                }
            }
        });
        sweeping.await;
        if self.source.is_first() {
            match self.sweep_deleted().await {
                Ok(deleted) => total.lock().deleted = deleted,
                Err(error) => {
                    tracing::warn!(%error, "objects of deleted channels stay in the archive for now");
                }
            }
        }
        let total = *total.lock();
        if total != Sweep::default() {
            let Sweep { expired, deleted } = total;
            tracing::info!(expired, deleted, "objects were removed from the archive");
        }
        total
    }

    /// Removes the objects of a channel that lie below all that it keeps.
    async fn sweep_channel(&self, channel: &Channel) -> Result<u64, ArchiveError> {
        let id = channel.id;
        let first = self.swept.lock().first.get(&id).copied();
        let is_below =
            |floor: ItemKey| floor > ItemKey::MIN && first.is_none_or(|first| first < floor.millis);
        if !is_below(self.source.grace_floor(channel)) {
            return Ok(0);
        }
        // What is cached here may be older than a change that keeps more.
        let Some(channel) = self.source.fetch(channel).await? else {
            return Ok(0);
        };
        let floor = self.source.grace_floor(&channel);
        if channel.id != id || !is_below(floor) {
            return Ok(0);
        }
        let began = self.source.now();
        let folder = channel_of(id);
        let (mut at, mut expired) = (format!("{folder}/"), 0);
        let mut stays = None;
        let first = loop {
            let names = self.store.names(&folder, &at, NAMES).await?;
            let objects = names
                .names
                .iter()
                .map(|name| (name, Object::parse(name).ok()));
            let objects: Vec<_> = objects
                .filter_map(|(name, object)| Some((name, object?.1)))
                .collect();
            let below = objects.iter().filter(|(_, object)| expires(object, &floor));
            let below: Vec<String> = below.map(|(name, _)| (*name).clone()).collect();
            if !below.is_empty() {
                self.store.delete(&below).await?;
                expired += below.len() as u64;
                crate::metric::archive_expired("expired", below.len());
            }
            let mut above = objects
                .iter()
                .filter(|(_, object)| !expires(object, &floor));
            stays = stays.or(above.next().map(|(_, object)| object.start()));
            let last = objects.last().map(|(_, object)| object.start());
            if let Some(first) = stays.filter(|_| last.is_some_and(|last| last >= floor.millis)) {
                break first;
            }
            match names.names.last() {
                Some(last) if names.more => at.clone_from(last),
                // Of an empty folder: what is archived from now on is later.
                _ => break stays.unwrap_or(began),
            }
        };
        // One that is in part below stays, and is looked at again when all of it is.
        self.swept.lock().first.insert(id, first);
        Ok(expired)
    }

    /// Removes the folders of channels that were deleted a while ago, and forgets those of which nothing was
    /// left the last time.
    async fn sweep_deleted(&self) -> Result<u64, ArchiveError> {
        // First the folders: a channel that is created after coordination has answered is in none of them.
        let folders = self.store.folders("").await?;
        let folders: BTreeSet<ChannelId> = folders.iter().filter_map(|name| id_of(name)).collect();
        let known = self.source.known().await?;
        let gone = self.source.deleted().await?;
        {
            let mut swept = self.swept.lock();
            swept.first.retain(|id, _| known.contains(id));
            swept.strange = folders
                .iter()
                .filter(|id| !known.contains(id) && !gone.contains_key(id))
                .count();
        }
        let pause = i64::try_from(self.settings.deleted_pause.as_millis()).unwrap_or(i64::MAX);
        let before = self.source.now().minus(pause);
        let due = gone.iter().filter(|(id, at)| {
            // By no means one that exists after all: it was restored.
            **at <= before && !known.contains(id) && self.source.channel(**id).is_none()
        });
        let (left, empty): (Vec<ChannelId>, Vec<ChannelId>) =
            due.map(|(id, _)| *id).partition(|id| folders.contains(id));
        let mut deleted = 0;
        for id in left {
            deleted += self.remove_folder(id).await?;
        }
        // Of those removed just now a late request may still bring something: next time.
        if !empty.is_empty() {
            self.source.forget_deleted(&empty).await?;
        }
        Ok(deleted)
    }

    async fn remove_folder(&self, id: ChannelId) -> Result<u64, ArchiveError> {
        let folder = channel_of(id);
        let (mut at, mut deleted) = (format!("{folder}/"), 0);
        loop {
            let names = self.store.names(&folder, &at, NAMES).await?;
            if !names.names.is_empty() {
                self.store.delete(&names.names).await?;
                deleted += names.names.len() as u64;
                crate::metric::archive_expired("deleted", names.names.len());
            }
            match names.names.last() {
                Some(last) if names.more => at.clone_from(last),
                _ => return Ok(deleted),
            }
        }
    }

    /// What stays in the archive that no channel of this cluster accounts for, if anything does.
    pub(super) fn unaccounted(&self) -> Option<String> {
        let strange = self.swept.lock().strange;
        (strange > 0).then(|| {
            format!(
                "the archive has {strange} folders of channels that this cluster neither has nor has \
                 deleted; they stay: another cluster may be using the same archive.url, or channels are \
                 missing after a restore from an earlier backup"
            )
        })
    }
}

/// Whether all that an object can have lies below a channel's retention.
fn expires(object: &Object, floor: &ItemKey) -> bool {
    match object {
        Object::Item(key) => key < floor,
        object => ItemKey::first_of(object.end()) <= *floor,
    }
}

/// The channel whose folder that is.
fn id_of(folder: &str) -> Option<ChannelId> {
    let id = ChannelId(u64::from_str_radix(folder, 16).ok()?);
    (channel_of(id) == folder).then_some(id)
}
