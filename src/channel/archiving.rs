//! Archiving: what this node holds of minutes that are over goes to the archive.
//!
//! What is archived is what a stable read gives for the whole minute, so whoever writes it writes the
//! same. The first live member of the channel's replica set does; the others look whether it is there
//! and whether it is what they read, and write it themselves if it does not come. A node goes on to
//! the next time once everything that it holds of this one was found in the archive, and keeps on
//! disk how far it has come: nothing waits in memory, and a start goes on where the last run stopped.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use thiserror::Error;

use super::config::Storage;
use super::read::{Epoch, Query, QueryError, Reads};
use super::registry::{Channel, Channels};
use super::spoke_handle::LocalReplica;
use super::write::Writes;
use crate::archive::name::{HOUR, MINUTE, Object};
use crate::archive::object::{Damaged, Index, ObjectWriter};
use crate::archive::store::{Store, StoreError, Upload};
use crate::env::{HubClock, Millis, replace_file};
use crate::item::{ContentType, ItemKey, pack};
use crate::spoke::{Direction, ReadError};

/// Channels that are archived at the same time.
const AT_ONCE: usize = 4;
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
    /// The file that says how far this node has come.
    pub mark: PathBuf,
}

/// Sees to it that what this node holds is in the archive.
pub struct Archiver {
    local: Arc<LocalReplica>,
    channels: Arc<Channels>,
    reads: Arc<Reads>,
    writes: Arc<Writes>,
    clock: Arc<HubClock>,
    store: Arc<Store>,
    settings: ArchiveSettings,
    state: Mutex<State>,
}

/// How far it has come.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Everything that this node held of the time before is in the archive.
    pub archived_to: Millis,
    /// Why what comes next is not, if that was tried.
    pub obstacle: Option<String>,
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
        local: Arc<LocalReplica>,
        channels: Arc<Channels>,
        reads: Arc<Reads>,
        writes: Arc<Writes>,
        clock: Arc<HubClock>,
        store: Arc<Store>,
        settings: ArchiveSettings,
    ) -> io::Result<Self> {
        let archived_to = match std::fs::read_to_string(&settings.mark) {
            Ok(text) => Millis::parse_iso(text.trim()).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Millis::new(0),
            Err(error) => return Err(error),
        };
        Ok(Self {
            local,
            channels,
            reads,
            writes,
            clock,
            store,
            settings,
            state: Mutex::new(State {
                archived_to,
                obstacle: None,
            }),
        })
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    /// Archives what is over, hour by hour, until something stands in the way or all of it is; says
    /// whether it is.
    pub async fn archive(&self) -> bool {
        loop {
            let end = self
                .clock
                .now()
                .minus(self.settings.settle)
                .floor_to(MINUTE);
            let mut from = self.state.lock().archived_to;
            if end.get() - from.get() > HOUR {
                // Far behind, as at the first start: what holds nothing is passed over.
                match self.first_held(from).await {
                    Ok(first) => from = first.unwrap_or(end).min(end),
                    Err(error) => {
                        self.state.lock().obstacle = Some(error.to_string());
                        return false;
                    }
                }
            }
            let to = from.floor_to(HOUR).plus(HOUR).min(end);
            if from >= to {
                return true;
            }
            let done = self.archive_between(from, to).await;
            let (reached, obstacle) = match done {
                Ok(()) => (to, None),
                Err((at, obstacle)) => (at, Some(obstacle)),
            };
            if reached > from
                && let Err(error) = self.keep(reached).await
            {
                tracing::error!(%error, "how far archiving has come was not kept");
                return false;
            }
            let stops = obstacle.is_some();
            self.state.lock().obstacle = obstacle;
            if stops {
                return false;
            }
        }
    }

    /// The first time from `from` on of which anything is held here; `None` if nothing is.
    async fn first_held(&self, from: Millis) -> Result<Option<Millis>, ReadError> {
        let closed = || ReadError::Closed {
            reason: "the store is not open".to_owned(),
        };
        let replica = self.local.get().ok_or_else(closed)?;
        let mut earliest: Option<Millis> = None;
        for channel in self.channels.list() {
            let first = replica.first_held(channel.id, from).await?;
            earliest = earliest.into_iter().chain(first).min();
        }
        Ok(earliest)
    }

    /// Archives the time between, which lies within an hour; or says up to where everything is, and why
    /// not what comes next.
    async fn archive_between(&self, from: Millis, to: Millis) -> Result<(), (Millis, String)> {
        let channels = stream::iter(self.channels.list());
        let reached = channels.map(|channel| async move {
            let name = channel.config.name.as_str();
            match self.archive_channel(&channel, from, to).await {
                Ok(()) => None,
                Err((at, None)) => Some((at, format!("{name} waits for its writer"))),
                Err((at, Some(error))) => {
                    tracing::warn!(%error, channel = name, minute = %at, "a minute is not in the archive");
                    crate::metric::archive_failed();
                    Some((at, format!("{name}: {error}")))
                }
            }
        });
        let reached = reached.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        let first = reached.into_iter().flatten().min_by_key(|(at, _)| *at);
        first.map_or(Ok(()), Err)
    }

    async fn archive_channel(
        &self,
        channel: &Arc<Channel>,
        from: Millis,
        to: Millis,
    ) -> Result<(), (Millis, Option<ArchiveError>)> {
        let Some(replica) = self.local.get() else {
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
    async fn settle(
        &self,
        channel: &Arc<Channel>,
        minute: Millis,
    ) -> Result<Settled, ArchiveError> {
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
            let page = self.reads.page(channel, &query).await?;
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
        let late = end.plus(self.settings.settle + self.settings.takeover) < self.clock.now();
        late || self.writes.leads_at(channel, end)
    }

    async fn settle_batch(
        &self,
        channel: &Arc<Channel>,
        minute: Millis,
        keys: &[ItemKey],
    ) -> Result<Settled, ArchiveError> {
        let name = Object::Minute(minute).name(channel.id);
        if let Some(index) = self.index(&name).await? {
            compare(&name, &index, keys)?;
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
        compare(&name, &index.ok_or_else(missing)?, keys)?;
        Ok(Settled::Archived)
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
                upload.put(last).await?;
                Ok(upload.end().await?)
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
        let found = self.reads.item(channel, key).await?;
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
                compare(&name, &index, &[key])?;
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
        Ok(upload.end().await?)
    }

    /// Keeps on disk how far it has come.
    async fn keep(&self, reached: Millis) -> io::Result<()> {
        let path = self.settings.mark.clone();
        let text = reached.iso();
        let kept = tokio::task::spawn_blocking(move || replace_file(&path, text.as_bytes())).await;
        kept.map_err(io::Error::other)??;
        self.state.lock().archived_to = reached;
        Ok(())
    }
}

/// Whether an object holds just those records.
fn compare(name: &str, index: &Index, keys: &[ItemKey]) -> Result<(), ArchiveError> {
    let mut records = index.records().map(|record| record.key);
    let mut wanted = keys.iter().copied();
    let difference = loop {
        match (wanted.next(), records.next()) {
            (None, None) => return Ok(()),
            (wanted, found) if wanted == found => {}
            (Some(wanted), Some(found)) if found < wanted => break format!("it has {found}, too"),
            (None, Some(found)) => break format!("it has {found}, too"),
            (Some(wanted), _) => break format!("{wanted} is not in it"),
        }
    };
    Err(ArchiveError::Differs {
        name: name.to_owned(),
        difference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Suffix;
    use crate::spoke::ChannelId;

    fn key(at: i64) -> ItemKey {
        ItemKey::new(Millis::new(at), Suffix::parse("0").unwrap())
    }

    #[test]
    fn an_object_holds_just_what_a_stable_read_gives() {
        let mut writer = ObjectWriter::new(ChannelId(1));
        for at in [2, 4, 6] {
            writer.push(key(at), None, b"x").unwrap();
        }
        let index = Index::of_object(&writer.finish().unwrap()).unwrap();
        for (keys, difference) in [
            (&[2, 4, 6][..], None),
            (&[2, 4], Some((6, "too"))),
            (&[4, 6], Some((2, "too"))),
            (&[2, 6], Some((4, "too"))),
            (&[2, 4, 6, 8], Some((8, "is not"))),
            (&[1, 2, 4, 6], Some((1, "is not"))),
            (&[2, 3, 4, 6], Some((3, "is not"))),
            (&[], Some((2, "too"))),
        ] {
            let wanted: Vec<_> = keys.iter().map(|at| key(*at)).collect();
            let told = compare("o", &index, &wanted)
                .err()
                .map(|error| error.to_string());
            let fits = match (&told, difference) {
                (None, None) => true,
                (Some(told), Some((at, how))) => {
                    told.contains(&key(at).to_string()) && told.contains(how)
                }
                _ => false,
            };
            assert!(fits, "{keys:?}: {told:?}");
        }
    }
}
