//! Archiving: what this node holds of minutes that are over goes to the archive.
//!
//! What is archived is what a stable read gives for the whole minute, so whoever writes it writes the
//! same. The first live member of the channel's replica set does; the others look whether it is there
//! and whether it is what they read, and write it themselves if it does not come. A node goes on to
//! the next time once everything that it holds of this one was found in the archive, and keeps on
//! disk how far it has come: nothing waits in memory, and a start goes on where the last run stopped.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

use super::config::Storage;
use super::read::{Epoch, Query, QueryError, Reads};
use super::registry::{Channel, Channels};
use super::spoke_handle::LocalReplica;
use super::write::Writes;
use crate::archive::name::{HOUR, MINUTE, Object};
use crate::archive::object::{Damaged, Index, ObjectWriter};
use crate::archive::store::{Store, StoreError, Upload};
use crate::cluster::RingView;
use crate::env::{HubClock, Millis, replace_file};
use crate::item::{ContentType, ItemKey, pack};
use crate::spoke::{ChannelId, Direction, ReadError};

/// Channels that are archived at the same time.
const AT_ONCE: usize = 16;
/// The pause before a channel is tried again that something stands in the way of, and its longest.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_mins(2);
/// How many keys are read at a time.
const PAGE: usize = 5_000;
/// An object is put at once up to this size, and part by part above, in bytes.
const AT_ONCE_MAX: usize = 8 << 20;

/// Why a channel's minute is not in the archive, as far as this node knows.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// What belongs there could not be read.
    #[error("its items could not be read: {0}")]
    Query(#[from] QueryError),
    /// What this node holds could not be looked up.
    #[error("this node's items could not be read: {0}")]
    Read(#[from] ReadError),
    /// The archive did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object was not made.
    #[error("an object could not be made: {0}")]
    Object(#[from] io::Error),
    /// An object is there and is not what was written.
    #[error("{name}: {damaged}")]
    Damaged {
        /// The object.
        name: String,
        /// What is wrong with it.
        damaged: Damaged,
    },
    /// An object is there, and holds other items than a stable read gives.
    #[error("{name} differs from what the replicas hold: {difference}")]
    Differs {
        /// The object.
        name: String,
        /// In which way.
        difference: String,
    },
}

/// The numbers that archiving goes by.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    /// How long a minute is over before it is archived, in milliseconds.
    pub settle: i64,
    /// How long after that one that its writer has not archived is written by another, in milliseconds.
    pub takeover: i64,
    /// The file that says how far this node has come, and in which archive.
    pub mark: PathBuf,
    /// The archive's URL.
    pub url: String,
}

/// What an archiver works with.
pub struct ArchiverParts {
    /// The rings.
    pub view: Arc<RingView>,
    /// This node's replica.
    pub local: Arc<LocalReplica>,
    /// The channels.
    pub channels: Arc<Channels>,
    /// The read path: what it gives is archived.
    pub reads: Arc<Reads>,
    /// The write path, which knows who is first in a replica set.
    pub writes: Arc<Writes>,
    /// The clock.
    pub clock: Arc<HubClock>,
}

/// Sees to it that what this node holds is in the archive.
pub struct Archiver {
    parts: ArchiverParts,
    store: Arc<Store>,
    settings: ArchiveSettings,
    /// How far it has come, as it is kept on disk.
    kept: Mutex<Millis>,
    progress: Mutex<Progress>,
}

/// How far it has come.
#[derive(Debug, Clone)]
pub struct State {
    /// Everything that this node held of the time before is in the archive.
    pub archived_to: Millis,
    /// Why what comes next is not, if that was tried and is not just being waited for.
    pub obstacle: Option<String>,
}

/// How far each channel has come.
#[derive(Debug)]
struct Progress {
    /// Those that are not named have come so far.
    ahead: Millis,
    /// Those behind that.
    lagging: HashMap<ChannelId, Lagging>,
}

/// A channel that something stands in the way of.
#[derive(Debug, Clone)]
struct Lagging {
    /// How far it has come.
    at: Millis,
    /// What stands in its way; `None` if it only waits for another node.
    obstacle: Option<String>,
    /// How often it was tried, and when it is tried again.
    tries: u32,
    again: Instant,
}

impl Progress {
    /// How far all of them have come.
    fn reached(&self) -> Millis {
        let behind = self.lagging.values().map(|lagging| lagging.at);
        behind.chain([self.ahead]).min().unwrap_or(self.ahead)
    }

    fn obstacle(&self) -> Option<String> {
        let first = self
            .lagging
            .values()
            .filter(|lagging| lagging.obstacle.is_some());
        first.min_by_key(|lagging| lagging.at)?.obstacle.clone()
    }
}

/// What has become of a channel's minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It is in the archive.
    Archived,
    /// Another one is to write it, and still has time to.
    Waits,
}

impl Archiver {
    /// An archiver that goes on from what its file says.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(
        parts: ArchiverParts,
        store: Arc<Store>,
        settings: ArchiveSettings,
    ) -> io::Result<Self> {
        let archived_to = match std::fs::read_to_string(&settings.mark) {
            Ok(text) => match text.trim().split_once('\n') {
                Some((mark, url)) if url == settings.url => {
                    Millis::parse_iso(mark).map_err(io::Error::other)?
                }
                // What is in another archive is not in this one.
                _ => Millis::new(0),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Millis::new(0),
            Err(error) => return Err(error),
        };
        Ok(Self {
            parts,
            store,
            settings,
            kept: Mutex::new(archived_to),
            progress: Mutex::new(Progress {
                ahead: archived_to,
                lagging: HashMap::new(),
            }),
        })
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        let progress = self.progress.lock();
        State {
            archived_to: *self.kept.lock(),
            obstacle: progress.obstacle(),
        }
    }

    /// Archives what is over, hour by hour; what something stands in the way of is tried again another
    /// time.
    ///
    /// # Errors
    /// If how far it has come was not kept, or what this node holds could not be looked up.
    pub async fn archive(&self) -> Result<(), ArchiveError> {
        // What is past the horizon is not known by anybody here.
        let now = self.parts.clock.now().min(self.parts.view.horizon());
        let end = now.minus(self.settings.settle).floor_to(MINUTE);
        loop {
            let mut from = self.progress.lock().ahead;
            if from >= end {
                from = end;
            } else if end.get() - from.get() > HOUR {
                // Far behind, as at the first start: what holds nothing is passed over.
                from = self
                    .first_held(from)
                    .await?
                    .unwrap_or(end)
                    .min(end)
                    .floor_to(MINUTE);
            }
            let to = from.floor_to(HOUR).plus(HOUR).min(end);
            self.archive_to(from, to).await;
            let reached = {
                let mut progress = self.progress.lock();
                progress.ahead = progress.ahead.max(to);
                progress.reached()
            };
            if reached > *self.kept.lock() {
                self.keep(reached).await?;
            }
            if to >= end {
                return Ok(());
            }
        }
    }

    /// The first time from `from` on of which anything is held here; `None` if nothing is.
    async fn first_held(&self, from: Millis) -> Result<Option<Millis>, ReadError> {
        let closed = || ReadError::Closed {
            reason: "the store is not open".to_owned(),
        };
        let replica = self.parts.local.get().ok_or_else(closed)?;
        let mut earliest: Option<Millis> = None;
        for channel in self.parts.channels.list() {
            let first = replica.first_held(channel.id, from).await?;
            earliest = earliest.into_iter().chain(first).min();
        }
        Ok(earliest)
    }

    /// Archives each channel up to there: from where it was left, or from `from` on.
    async fn archive_to(&self, from: Millis, to: Millis) {
        let now = Instant::now();
        let mut due = Vec::new();
        {
            let mut progress = self.progress.lock();
            let channels = self.parts.channels.list();
            let known: HashSet<ChannelId> = channels.iter().map(|channel| channel.id).collect();
            // Of one that is deleted nothing is to be archived.
            progress
                .lagging
                .retain(|channel, _| known.contains(channel));
            for channel in channels {
                match progress.lagging.get(&channel.id) {
                    None => due.push((channel, from)),
                    Some(lagging) if lagging.again <= now => due.push((channel, lagging.at)),
                    Some(_) => {}
                }
            }
        }
        let archiving = stream::iter(due).for_each_concurrent(AT_ONCE, async |(channel, at)| {
            let archived = self.archive_channel(&channel, at, to).await;
            self.note(&channel, archived);
        });
        archiving.await;
    }

    /// Takes up what has become of a channel.
    fn note(&self, channel: &Channel, archived: Result<(), (Millis, Option<ArchiveError>)>) {
        let mut progress = self.progress.lock();
        let (at, error) = match archived {
            Ok(()) => {
                progress.lagging.remove(&channel.id);
                return;
            }
            Err(obstacle) => obstacle,
        };
        let name = channel.config.name.as_str();
        if let Some(error) = &error {
            tracing::warn!(%error, channel = name, minute = %at, "a minute is not in the archive");
            crate::metric::archive_failed();
        }
        let before = progress
            .lagging
            .get(&channel.id)
            .filter(|before| before.at == at);
        let tries = before.map_or(0, |before| before.tries + 1);
        let pause = AGAIN.saturating_mul(1 << tries.min(6)).min(AGAIN_MAX);
        let lagging = Lagging {
            at,
            obstacle: error.map(|error| format!("{name}: {error}")),
            tries,
            again: Instant::now() + pause,
        };
        progress.lagging.insert(channel.id, lagging);
    }

    async fn archive_channel(
        &self,
        channel: &Arc<Channel>,
        from: Millis,
        to: Millis,
    ) -> Result<(), (Millis, Option<ArchiveError>)> {
        let Some(replica) = self.parts.local.get() else {
            return Err((from, None));
        };
        let held = replica.digests(channel.id, from, to).await;
        let held = held.map_err(|error| (from, Some(error.into())))?;
        for digest in held {
            match self.settle(channel, digest.minute).await {
                Ok(Settled::Archived) => {}
                Ok(Settled::Waits) => return Err((digest.minute, None)),
                Err(error) => return Err((digest.minute, Some(error))),
            }
        }
        Ok(())
    }

    /// Sees to it that a channel's minute is in the archive.
    async fn settle(&self, channel: &Channel, minute: Millis) -> Result<Settled, ArchiveError> {
        // As it is now: its retention may have been changed, or it may be gone.
        let Some(channel) = &self.parts.channels.numbered(channel.id) else {
            return Ok(Settled::Archived);
        };
        let keys = self.keys(channel, minute).await?;
        let storage = channel.config.storage;
        let mut settled = Settled::Archived;
        if matches!(storage, Storage::Batch | Storage::Both) && !keys.is_empty() {
            settled = self.settle_batch(channel, minute, &keys).await?;
        }
        if matches!(storage, Storage::Single | Storage::Both) && settled == Settled::Archived {
            for key in keys {
                settled = self.settle_single(channel, key).await?;
                if settled == Settled::Waits {
                    break;
                }
            }
        }
        Ok(settled)
    }

    /// All records of a minute that is over, as a stable read gives them.
    async fn keys(&self, channel: &Channel, minute: Millis) -> Result<Vec<ItemKey>, QueryError> {
        let mut keys: Vec<ItemKey> = Vec::new();
        let mut query = Query {
            from: ItemKey::first_of(minute),
            to: Some(ItemKey::first_of(minute.plus(MINUTE))),
            direction: Direction::Ascending,
            limit: PAGE,
            stable: true,
            epoch: Epoch::All,
            whole: true,
            records: true,
        };
        loop {
            let page = self.parts.reads.page(channel, &query).await?;
            keys.extend(&page.keys);
            match keys.last() {
                Some(last) if page.more => query.from = last.successor(),
                _ => return Ok(keys),
            }
        }
    }

    /// Whether this node is to write a minute: it is first in the channel's replica set, or whoever is has
    /// let its time pass.
    fn is_to_write(&self, channel: &Channel, minute: Millis) -> bool {
        let end = minute.plus(MINUTE);
        let late = end.plus(self.settings.settle + self.settings.takeover) < self.parts.clock.now();
        late || self.parts.writes.leads_at(channel, end)
    }

    async fn settle_batch(
        &self,
        channel: &Arc<Channel>,
        minute: Millis,
        keys: &[ItemKey],
    ) -> Result<Settled, ArchiveError> {
        let name = Object::Minute(minute).name(channel.id);
        if let Some(index) = self.index(&name).await? {
            self.check(channel, &name, &index, keys)?;
            return Ok(Settled::Archived);
        }
        if !self.is_to_write(channel, minute) {
            return Ok(Settled::Waits);
        }
        self.write(channel, &name, keys).await?;
        // What is in it was read back by nobody yet: the next look does.
        let index = self.index(&name).await?;
        let missing = || ArchiveError::Differs {
            name: name.clone(),
            difference: "it is not there after it was written".to_owned(),
        };
        self.check(channel, &name, &index.ok_or_else(missing)?, keys)?;
        Ok(Settled::Archived)
    }

    /// Holds an object against a stable read. It must have all that was read: this node lets go of what it
    /// finds there. It may have more, which others knew or which has expired since; what has not is told
    /// of.
    fn check(
        &self,
        channel: &Channel,
        name: &str,
        index: &Index,
        keys: &[ItemKey],
    ) -> Result<(), ArchiveError> {
        let differs = |difference| {
            let name = name.to_owned();
            Err(ArchiveError::Differs { name, difference })
        };
        if index.channel() != channel.id {
            return differs("it is of another channel".to_owned());
        }
        let (lacking, besides) = compare(index, keys);
        // It may have expired since it was read.
        let floor = self.parts.channels.floor(channel).record_floor();
        if let Some(key) = lacking.filter(|key| *key >= floor) {
            return differs(format!("{key} is not in it"));
        }
        if let Some(key) = besides.filter(|key| *key >= floor) {
            tracing::warn!(name, %key, "an archived object has an item that no replica lists");
            crate::metric::archive_surplus();
        }
        Ok(())
    }

    /// An object's index; `None` if there is no such object.
    async fn index(&self, name: &str) -> Result<Option<Index>, ArchiveError> {
        let damaged = |damaged| ArchiveError::Damaged {
            name: name.to_owned(),
            damaged,
        };
        let found = crate::archive::reader::index(&self.store, name).await?;
        found.transpose().map_err(damaged)
    }

    /// Writes an object of those records, unless there is one of its name meanwhile.
    async fn write(
        &self,
        channel: &Arc<Channel>,
        name: &str,
        keys: &[ItemKey],
    ) -> Result<(), ArchiveError> {
        let mut writer = ObjectWriter::new(channel.id);
        let mut upload: Option<Upload> = None;
        let written = async {
            for key in keys {
                let payload = self.payload(channel, key).await?;
                let (kind, bytes) = payload;
                writer.push(*key, kind.as_deref(), &bytes)?;
                if writer.waiting() > AT_ONCE_MAX {
                    let sending = match &mut upload {
                        Some(upload) => upload,
                        None => upload.insert(self.store.upload(name).await?),
                    };
                    sending.put(writer.take()).await?;
                }
            }
            Ok::<_, ArchiveError>(writer.finish()?)
        };
        let last = written.await;
        match (upload, last) {
            (None, last) => self.put(name, last?).await,
            (Some(mut upload), Ok(last)) => {
                if let Err(error) = upload.put(last).await {
                    upload.abandon().await;
                    return Err(error.into());
                }
                self.end(name, upload).await
            }
            (Some(upload), Err(error)) => {
                upload.abandon().await;
                Err(error)
            }
        }
    }

    /// A record's media type and payload, from whichever replica has it.
    async fn payload(
        &self,
        channel: &Channel,
        key: &ItemKey,
    ) -> Result<(Option<String>, Bytes), ArchiveError> {
        let found = self.parts.reads.item(channel, key).await?;
        let found = found.ok_or_else(|| {
            io::Error::other(format!("{key} is listed as stable and was not found"))
        })?;
        let kind = found.head.content_type.clone();
        let payload = tokio::task::spawn_blocking(move || found.into_payload()).await;
        Ok((kind, payload.map_err(io::Error::other)??.bytes))
    }

    /// Sees to it that each item of a record has an object of its own.
    async fn settle_single(
        &self,
        channel: &Arc<Channel>,
        record: ItemKey,
    ) -> Result<Settled, ArchiveError> {
        let mut whole = None;
        for (number, key) in record.items().enumerate() {
            let name = Object::Item(key).name(channel.id);
            if let Some(index) = self.index(&name).await? {
                self.check(channel, &name, &index, &[key])?;
                continue;
            }
            if !self.is_to_write(channel, key.millis.floor_to(MINUTE)) {
                return Ok(Settled::Waits);
            }
            let (kind, bytes) = match &whole {
                Some(whole) => whole,
                None => whole.insert(self.payload(channel, &record).await?),
            };
            let mut writer = ObjectWriter::new(channel.id);
            if record.is_bulk() {
                let item = pack::item(bytes, number as u32).map_err(io::Error::other)?;
                let item = item.ok_or_else(|| io::Error::other(format!("{key} is not there")))?;
                let kind = item.content_type.as_ref().map(ContentType::as_str);
                writer.push(key, kind, &item.bytes)?;
            } else {
                writer.push(key, kind.as_deref(), bytes)?;
            }
            self.put(&name, writer.finish()?).await?;
        }
        Ok(Settled::Archived)
    }

    /// Puts an object that is there whole, unless there is one of its name.
    async fn put(&self, name: &str, mut bytes: Bytes) -> Result<(), ArchiveError> {
        if bytes.len() <= AT_ONCE_MAX {
            // Somebody else may have taken over too: what is there is looked at next.
            self.store.create(name, bytes).await?;
            return Ok(());
        }
        let mut upload = self.store.upload(name).await?;
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(AT_ONCE_MAX));
            if let Err(error) = upload.put(part).await {
                upload.abandon().await;
                return Err(error.into());
            }
        }
        self.end(name, upload).await
    }

    /// Ends an upload, unless another node has ended its own meanwhile: that one stands.
    async fn end(&self, name: &str, upload: Upload) -> Result<(), ArchiveError> {
        match self.index(name).await {
            Ok(None) => Ok(upload.end().await?),
            there => {
                upload.abandon().await;
                there.map(drop)
            }
        }
    }

    /// Keeps on disk how far it has come.
    async fn keep(&self, reached: Millis) -> io::Result<()> {
        let path = self.settings.mark.clone();
        let text = format!("{}\n{}\n", reached.iso(), self.settings.url);
        let kept = tokio::task::spawn_blocking(move || replace_file(&path, text.as_bytes())).await;
        kept.map_err(io::Error::other)??;
        *self.kept.lock() = reached;
        Ok(())
    }
}

/// What an object lacks of those records, and what it has besides: the first of each.
fn compare(index: &Index, keys: &[ItemKey]) -> (Option<ItemKey>, Option<ItemKey>) {
    let wanted: HashSet<&ItemKey> = keys.iter().collect();
    let lacking = keys.iter().find(|key| index.find(key).is_none()).copied();
    let mut found = index.records().map(|record| record.key);
    (lacking, found.find(|key| !wanted.contains(key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Suffix;

    fn key(at: i64) -> ItemKey {
        ItemKey::new(Millis::new(at), Suffix::parse("0").unwrap())
    }

    #[test]
    fn an_object_is_held_against_a_stable_read() {
        let mut writer = ObjectWriter::new(ChannelId(1));
        for at in [2, 4, 6] {
            writer.push(key(at), None, b"x").unwrap();
        }
        let index = Index::of_object(&writer.finish().unwrap()).unwrap();
        for (keys, lacking, besides) in [
            (&[2, 4, 6][..], None, None),
            (&[2, 4], None, Some(6)),
            (&[4, 6], None, Some(2)),
            (&[2, 4, 6, 8], Some(8), None),
            (&[1, 2, 3, 4, 6], Some(1), None),
            (&[2, 3, 6], Some(3), Some(4)),
            (&[], None, Some(2)),
        ] {
            let wanted: Vec<_> = keys.iter().map(|at| key(*at)).collect();
            assert_eq!(
                compare(&index, &wanted),
                (lacking.map(key), besides.map(key)),
                "{keys:?}"
            );
        }
    }
}
