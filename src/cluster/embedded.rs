//! Coordination for a hub that is alone: one process, kept in its data folder.
//!
//! The same promises as with ZooKeeper, kept by one database file that one process has open.

mod notes;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use hub_ring::{Member, RingHistory};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::{broadcast, watch};

use super::coordination::{
    ArchiveNote, ChannelNews, ChannelRecord, Coordination, CoordinationError, Incarnation,
    KeeperLock, Link, MemberRecord, Tombstone, VersionedRings,
};
use crate::env::{HubClock, Millis, move_into_place};

/// Name → id, version, configuration.
const CHANNELS: TableDefinition<'_, &str, (u64, u64, &[u8])> = TableDefinition::new("channels");
/// Name → document.
const DOCUMENTS: TableDefinition<'_, &str, &str> = TableDefinition::new("documents");
/// One row: version, history.
const RINGS: TableDefinition<'_, (), (u64, &[u8])> = TableDefinition::new("rings");
/// Id → when it was deleted: channels of which the archive may still have something.
const DELETED: TableDefinition<'_, u64, i64> = TableDefinition::new("deleted");
/// What was counted up to last.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// Coordination kept in one database file.
pub struct EmbeddedCoordination {
    db: Arc<Database>,
    clock: Arc<HubClock>,
    members: watch::Sender<Arc<BTreeMap<Member, MemberRecord>>>,
    rings: Arc<watch::Sender<VersionedRings>>,
    news: broadcast::Sender<ChannelNews>,
    link: watch::Sender<Link>,
    registered: Mutex<Option<Incarnation>>,
    /// Who is about to leave: this node, if any.
    leaving: Mutex<Option<String>>,
}

fn unavailable(error: impl std::fmt::Display) -> CoordinationError {
    CoordinationError::Unavailable {
        reason: error.to_string(),
    }
}

impl EmbeddedCoordination {
    /// Opens the database, making it if there is none. Waits for the disk.
    ///
    /// # Errors
    /// [`CoordinationError::Unavailable`] if it cannot be opened or read.
    pub fn open(path: &Path, clock: Arc<HubClock>) -> Result<Self, CoordinationError> {
        if !path.try_exists().map_err(unavailable)? {
            // Whoever is killed while it is made leaves none that cannot be opened.
            let draft = path.with_extension("tmp");
            let _ = std::fs::remove_file(&draft);
            drop(database(&draft, clock.now())?);
            move_into_place(&draft, path).map_err(unavailable)?;
        }
        let db = database(path, clock.now())?;
        let rings = read_rings(&db)?;
        let link = Link {
            connected: true,
            since: clock.boot(),
            why: String::new(),
            superseded: None,
        };
        Ok(Self {
            db: Arc::new(db),
            clock,
            members: watch::Sender::default(),
            rings: Arc::new(watch::Sender::new(rings)),
            news: broadcast::Sender::new(1),
            link: watch::Sender::new(link),
            registered: Mutex::new(None),
            leaving: Mutex::new(None),
        })
    }

    /// Works on the database, on a thread that may wait for the disk.
    async fn with_db<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, CoordinationError> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        with_db(&self.db, work).await
    }
}

async fn with_db<T: Send + 'static>(
    db: &Arc<Database>,
    work: impl FnOnce(&Database) -> Result<T, CoordinationError> + Send + 'static,
) -> Result<T, CoordinationError> {
    let db = Arc::clone(db);
    let work = tokio::task::spawn_blocking(move || work(&db));
    work.await.unwrap_or_else(|error| Err(unavailable(error)))
}

/// The lock of the only node there is.
struct OnlyKeeper {
    db: Arc<Database>,
    rings: Arc<watch::Sender<VersionedRings>>,
    members: watch::Receiver<Arc<BTreeMap<Member, MemberRecord>>>,
}

#[async_trait]
impl KeeperLock for OnlyKeeper {
    async fn observe(
        &self,
    ) -> Result<(BTreeMap<Member, MemberRecord>, VersionedRings), CoordinationError> {
        let rings = with_db(&self.db, read_rings).await?;
        let members = BTreeMap::clone(&self.members.borrow());
        Ok((members, rings))
    }

    async fn replace_rings(
        &self,
        expected: u64,
        history: &RingHistory,
    ) -> Result<u64, CoordinationError> {
        replace_rings(&self.db, &self.rings, expected, history).await
    }
}

async fn replace_rings(
    db: &Arc<Database>,
    rings: &watch::Sender<VersionedRings>,
    expected: u64,
    history: &RingHistory,
) -> Result<u64, CoordinationError> {
    let bytes = history.encode().map_err(unavailable)?;
    let version = with_db(db, move |db| {
        let txn = db.begin_write().map_err(unavailable)?;
        {
            let mut table = txn.open_table(RINGS).map_err(unavailable)?;
            let row = table.get(()).map_err(unavailable)?;
            let version = row.map_or(0, |row| row.value().0);
            if version != expected {
                return Err(CoordinationError::Conflict);
            }
            let row = (expected + 1, bytes.as_slice());
            table.insert((), row).map_err(unavailable)?;
        }
        txn.commit().map_err(unavailable)?;
        Ok(expected + 1)
    })
    .await?;
    let history = Arc::new(history.clone());
    rings.send_replace(VersionedRings { version, history });
    Ok(version)
}

fn read_rings(db: &Database) -> Result<VersionedRings, CoordinationError> {
    let read = db.begin_read().map_err(unavailable)?;
    let table = read.open_table(RINGS).map_err(unavailable)?;
    let Some(row) = table.get(()).map_err(unavailable)? else {
        return Ok(VersionedRings::default());
    };
    let (version, bytes) = row.value();
    let history = RingHistory::decode(bytes).map_err(unavailable)?;
    Ok(VersionedRings {
        version,
        history: Arc::new(history),
    })
}

/// The database in a file, with all of its tables.
fn database(path: &Path, now: Millis) -> Result<Database, CoordinationError> {
    let db = Database::create(path).map_err(unavailable)?;
    let setup = db.begin_write().map_err(unavailable)?;
    setup.open_table(CHANNELS).map_err(unavailable)?;
    setup.open_table(DOCUMENTS).map_err(unavailable)?;
    setup.open_table(RINGS).map_err(unavailable)?;
    setup.open_table(COUNTERS).map_err(unavailable)?;
    notes::make(&setup)?;
    setup.open_table(DELETED).map_err(unavailable)?;
    begin_counting(&setup, now)?;
    setup.commit().map_err(unavailable)?;
    Ok(db)
}

/// Lets the numbers of channels begin where none was given before: a hub that lost its disk and kept its archive
/// would else find items of the channels that it had in those that it makes. As with ZooKeeper, the time times
/// 2^20.
fn begin_counting(txn: &redb::WriteTransaction, now: Millis) -> Result<(), CoordinationError> {
    let mut table = txn.open_table(COUNTERS).map_err(unavailable)?;
    let is_new = table.get("channel").map_err(unavailable)?.is_none();
    if is_new {
        let begin = u64::try_from(now.get())
            .unwrap_or(0)
            .saturating_mul(1 << 20);
        table.insert("channel", begin).map_err(unavailable)?;
    }
    Ok(())
}

/// The next number of a counter.
fn count(txn: &redb::WriteTransaction, counter: &str) -> Result<u64, CoordinationError> {
    let mut table = txn.open_table(COUNTERS).map_err(unavailable)?;
    let last = table.get(counter).map_err(unavailable)?;
    let next = last.map_or(0, |row| row.value()) + 1;
    table.insert(counter, next).map_err(unavailable)?;
    Ok(next)
}

#[async_trait]
impl Coordination for EmbeddedCoordination {
    async fn register(
        &self,
        member: &Member,
        mut record: MemberRecord,
    ) -> Result<Incarnation, CoordinationError> {
        let known = *self.registered.lock();
        let incarnation = match known {
            Some(incarnation) => incarnation,
            None => {
                self.with_db(|db| {
                    let txn = db.begin_write().map_err(unavailable)?;
                    let incarnation = Incarnation(count(&txn, "incarnation")?);
                    txn.commit().map_err(unavailable)?;
                    Ok(incarnation)
                })
                .await?
            }
        };
        *self.registered.lock() = Some(incarnation);
        record.incarnation = incarnation;
        let members = BTreeMap::from([(member.clone(), record)]);
        self.members.send_replace(Arc::new(members));
        Ok(incarnation)
    }

    async fn deregister(&self) -> Result<(), CoordinationError> {
        self.members.send_replace(Arc::default());
        Ok(())
    }

    fn members(&self) -> watch::Receiver<Arc<BTreeMap<Member, MemberRecord>>> {
        self.members.subscribe()
    }

    async fn rings(&self) -> Result<VersionedRings, CoordinationError> {
        self.with_db(read_rings).await
    }

    fn watch_rings(&self) -> watch::Receiver<VersionedRings> {
        self.rings.subscribe()
    }

    async fn replace_rings(
        &self,
        expected: u64,
        history: &RingHistory,
    ) -> Result<u64, CoordinationError> {
        replace_rings(&self.db, &self.rings, expected, history).await
    }

    async fn confirm(&self, version: u64) -> Result<Millis, CoordinationError> {
        // Only this process can change the history, and it knows when it has.
        if self.rings.borrow().version == version {
            Ok(self.clock.now())
        } else {
            Err(CoordinationError::Conflict)
        }
    }

    async fn channels(&self) -> Result<Vec<ChannelRecord>, CoordinationError> {
        self.with_db(|db| {
            let read = db.begin_read().map_err(unavailable)?;
            let table = read.open_table(CHANNELS).map_err(unavailable)?;
            let mut records = Vec::new();
            for row in table.iter().map_err(unavailable)? {
                let (name, value) = row.map_err(unavailable)?;
                records.push(record(name.value(), value.value()));
            }
            Ok(records)
        })
        .await
    }

    async fn channel(&self, name: &str) -> Result<Option<ChannelRecord>, CoordinationError> {
        let name = name.to_owned();
        self.with_db(move |db| {
            let read = db.begin_read().map_err(unavailable)?;
            let table = read.open_table(CHANNELS).map_err(unavailable)?;
            let row = table.get(name.as_str()).map_err(unavailable)?;
            Ok(row.map(|row| record(&name, row.value())))
        })
        .await
    }

    async fn tombstone(&self, _name: &str) -> Result<Option<Tombstone>, CoordinationError> {
        // Nobody else could go on writing to a channel that was deleted.
        Ok(None)
    }

    async fn forget_tombstones(&self, _before: Millis) -> Result<usize, CoordinationError> {
        Ok(0)
    }

    async fn deleted_channels(&self) -> Result<BTreeMap<u64, Millis>, CoordinationError> {
        self.with_db(|db| {
            let read = db.begin_read().map_err(unavailable)?;
            let table = read.open_table(DELETED).map_err(unavailable)?;
            let rows = table.iter().map_err(unavailable)?;
            rows.map(|row| {
                let (id, at) = row.map_err(unavailable)?;
                Ok((id.value(), Millis::new(at.value())))
            })
            .collect()
        })
        .await
    }

    async fn forget_deleted(&self, ids: &[u64]) -> Result<(), CoordinationError> {
        let ids = ids.to_vec();
        self.with_db(move |db| {
            let txn = db.begin_write().map_err(unavailable)?;
            {
                let mut table = txn.open_table(DELETED).map_err(unavailable)?;
                for id in ids {
                    table.remove(id).map_err(unavailable)?;
                }
            }
            txn.commit().map_err(unavailable)
        })
        .await
    }

    fn watch_channels(&self) -> broadcast::Receiver<ChannelNews> {
        // There is none: only this process changes channels, and it knows when it does.
        self.news.subscribe()
    }

    async fn create_channel(
        &self,
        name: &str,
        data: Vec<u8>,
        _tombstone: Option<Tombstone>,
    ) -> Result<ChannelRecord, CoordinationError> {
        let name = name.to_owned();
        self.with_db(move |db| {
            let txn = db.begin_write().map_err(unavailable)?;
            let id = count(&txn, "channel")?;
            {
                let mut table = txn.open_table(CHANNELS).map_err(unavailable)?;
                if table.get(name.as_str()).map_err(unavailable)?.is_some() {
                    return Err(CoordinationError::Exists);
                }
                let row = (id, 1, data.as_slice());
                table.insert(name.as_str(), row).map_err(unavailable)?;
            }
            txn.commit().map_err(unavailable)?;
            Ok(record(&name, (id, 1, &data)))
        })
        .await
    }

    async fn restore_channel(&self, record: ChannelRecord) -> Result<(), CoordinationError> {
        self.with_db(move |db| {
            let txn = db.begin_write().map_err(unavailable)?;
            {
                let mut counters = txn.open_table(COUNTERS).map_err(unavailable)?;
                let last = counters.get("channel").map_err(unavailable)?;
                let last = last.map_or(0, |row| row.value());
                counters
                    .insert("channel", last.max(record.id))
                    .map_err(unavailable)?;
                let mut table = txn.open_table(CHANNELS).map_err(unavailable)?;
                let name = record.name.as_str();
                if table.get(name).map_err(unavailable)?.is_some() {
                    return Err(CoordinationError::Exists);
                }
                let row = (record.id, 1, record.data.as_slice());
                table.insert(name, row).map_err(unavailable)?;
            }
            txn.commit().map_err(unavailable)
        })
        .await
    }

    async fn archive(&self) -> Result<Option<ArchiveNote>, CoordinationError> {
        self.with_db(notes::archive).await
    }

    async fn set_archive(&self, note: ArchiveNote) -> Result<(), CoordinationError> {
        self.with_db(move |db| notes::set_archive(db, &note)).await
    }

    async fn restoring(&self) -> Result<Option<String>, CoordinationError> {
        self.with_db(notes::restoring).await
    }

    async fn set_restoring(&self, what: Option<String>) -> Result<(), CoordinationError> {
        self.with_db(move |db| notes::set_restoring(db, what.as_deref()))
            .await
    }

    async fn replace_channel(
        &self,
        name: &str,
        expected: u64,
        data: Vec<u8>,
    ) -> Result<ChannelRecord, CoordinationError> {
        let name = name.to_owned();
        self.with_db(move |db| {
            let txn = db.begin_write().map_err(unavailable)?;
            let id = {
                let mut table = txn.open_table(CHANNELS).map_err(unavailable)?;
                let row = table.get(name.as_str()).map_err(unavailable)?;
                let (id, version) = row
                    .map(|row| (row.value().0, row.value().1))
                    .ok_or(CoordinationError::Missing)?;
                if version != expected {
                    return Err(CoordinationError::Conflict);
                }
                let row = (id, expected + 1, data.as_slice());
                table.insert(name.as_str(), row).map_err(unavailable)?;
                id
            };
            txn.commit().map_err(unavailable)?;
            Ok(record(&name, (id, expected + 1, &data)))
        })
        .await
    }

    async fn delete_channel(&self, name: &str) -> Result<(), CoordinationError> {
        let (name, now) = (name.to_owned(), self.clock.now());
        self.with_db(move |db| {
            let txn = db.begin_write().map_err(unavailable)?;
            {
                let mut documents = txn.open_table(DOCUMENTS).map_err(unavailable)?;
                documents.remove(name.as_str()).map_err(unavailable)?;
                let mut table = txn.open_table(CHANNELS).map_err(unavailable)?;
                let row = table.remove(name.as_str()).map_err(unavailable)?;
                let id = row.ok_or(CoordinationError::Missing)?.value().0;
                let mut deleted = txn.open_table(DELETED).map_err(unavailable)?;
                deleted.insert(id, now.get()).map_err(unavailable)?;
            }
            txn.commit().map_err(unavailable)
        })
        .await
    }

    async fn document(&self, name: &str) -> Result<Option<String>, CoordinationError> {
        let name = name.to_owned();
        self.with_db(move |db| {
            let read = db.begin_read().map_err(unavailable)?;
            let table = read.open_table(DOCUMENTS).map_err(unavailable)?;
            let row = table.get(name.as_str()).map_err(unavailable)?;
            Ok(row.map(|row| row.value().to_owned()))
        })
        .await
    }

    async fn set_document(
        &self,
        name: &str,
        text: Option<String>,
    ) -> Result<bool, CoordinationError> {
        let name = name.to_owned();
        self.with_db(move |db| {
            let txn = db.begin_write().map_err(unavailable)?;
            let channels = txn.open_table(CHANNELS).map_err(unavailable)?;
            // Else it would show up on the next channel of that name.
            if channels.get(name.as_str()).map_err(unavailable)?.is_none() {
                return Err(CoordinationError::Missing);
            }
            drop(channels);
            let existed = {
                let mut table = txn.open_table(DOCUMENTS).map_err(unavailable)?;
                let before = match &text {
                    Some(text) => table.insert(name.as_str(), text.as_str()),
                    None => table.remove(name.as_str()),
                };
                before.map_err(unavailable)?.is_some()
            };
            txn.commit().map_err(unavailable)?;
            Ok(existed)
        })
        .await
    }

    async fn lock_keeper(&self) -> Result<Box<dyn KeeperLock>, CoordinationError> {
        Ok(Box::new(OnlyKeeper {
            db: Arc::clone(&self.db),
            rings: Arc::clone(&self.rings),
            members: self.members.subscribe(),
        }))
    }

    async fn lock_shutdown(&self, holder: &str) -> Result<Option<String>, CoordinationError> {
        // There is nobody else.
        *self.leaving.lock() = Some(holder.to_owned());
        Ok(None)
    }

    async fn shutdown_lock(&self) -> Result<Option<String>, CoordinationError> {
        Ok(self.leaving.lock().clone())
    }

    async fn reset_shutdown_lock(&self) -> Result<(), CoordinationError> {
        *self.leaving.lock() = None;
        Ok(())
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn is_shared(&self) -> bool {
        false
    }
}

fn record(name: &str, (id, version, data): (u64, u64, &[u8])) -> ChannelRecord {
    ChannelRecord {
        name: name.to_owned(),
        id,
        version,
        data: data.to_vec(),
    }
}

#[cfg(test)]
mod tests;
