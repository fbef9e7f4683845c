//! Coordination for a hub that is alone: one process, kept in its data folder.
//!
//! The same promises as with ZooKeeper, kept by one database file that one process has open.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use hub_ring::{Member, RingHistory};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::watch;

use super::coordination::{
    ChannelRecord, Coordination, CoordinationError, Incarnation, MemberRecord, VersionedRings,
};
use crate::env::{HubClock, Millis};

/// Name → id, version, configuration.
const CHANNELS: TableDefinition<'_, &str, (u64, u64, &[u8])> = TableDefinition::new("channels");
/// Name → document.
const DOCUMENTS: TableDefinition<'_, &str, &str> = TableDefinition::new("documents");
/// One row: version, history.
const RINGS: TableDefinition<'_, (), (u64, &[u8])> = TableDefinition::new("rings");
/// What was counted up to last.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// Coordination kept in one database file.
pub struct EmbeddedCoordination {
    db: Arc<Database>,
    clock: Arc<HubClock>,
    members: watch::Sender<Arc<BTreeMap<Member, MemberRecord>>>,
    rings: watch::Sender<VersionedRings>,
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
        let db = Database::create(path).map_err(unavailable)?;
        let setup = db.begin_write().map_err(unavailable)?;
        setup.open_table(CHANNELS).map_err(unavailable)?;
        setup.open_table(DOCUMENTS).map_err(unavailable)?;
        setup.open_table(RINGS).map_err(unavailable)?;
        setup.open_table(COUNTERS).map_err(unavailable)?;
        setup.commit().map_err(unavailable)?;
        let rings = read_rings(&db)?;
        Ok(Self {
            db: Arc::new(db),
            clock,
            members: watch::Sender::default(),
            rings: watch::Sender::new(rings),
        })
    }

    /// Works on the database, on a thread that may wait for the disk.
    async fn with_db<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, CoordinationError> + Send + 'static,
    ) -> Result<T, CoordinationError> {
        let db = Arc::clone(&self.db);
        let work = tokio::task::spawn_blocking(move || work(&db));
        work.await.unwrap_or_else(|error| Err(unavailable(error)))
    }
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

/// The next number of a counter, from 1 on.
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
        let incarnation = self
            .with_db(|db| {
                let txn = db.begin_write().map_err(unavailable)?;
                let incarnation = Incarnation(count(&txn, "incarnation")?);
                txn.commit().map_err(unavailable)?;
                Ok(incarnation)
            })
            .await?;
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
        let bytes = history.encode().map_err(unavailable)?;
        let version = self
            .with_db(move |db| {
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
        self.rings.send_replace(VersionedRings { version, history });
        Ok(version)
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

    async fn create_channel(
        &self,
        name: &str,
        data: Vec<u8>,
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
        let name = name.to_owned();
        self.with_db(move |db| {
            let txn = db.begin_write().map_err(unavailable)?;
            let existed = {
                let mut documents = txn.open_table(DOCUMENTS).map_err(unavailable)?;
                documents.remove(name.as_str()).map_err(unavailable)?;
                let mut table = txn.open_table(CHANNELS).map_err(unavailable)?;
                let row = table.remove(name.as_str()).map_err(unavailable)?;
                row.is_some()
            };
            txn.commit().map_err(unavailable)?;
            existed.then_some(()).ok_or(CoordinationError::Missing)
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
mod tests {
    use hub_ring::{Placement, RingMap};

    use super::*;
    use crate::env::SystemClock;

    fn open(path: &Path) -> EmbeddedCoordination {
        let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
        EmbeddedCoordination::open(&path.join("coordination.redb"), clock).unwrap()
    }

    #[tokio::test]
    async fn channels_are_compared_and_set_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = {
            let coordination = open(folder.path());
            let record = coordination.create_channel("a", b"1".to_vec()).await;
            let record = record.unwrap();
            let again = coordination.create_channel("a", b"2".to_vec()).await;
            assert_eq!(again, Err(CoordinationError::Exists));
            let wrong = coordination.replace_channel("a", 7, b"2".to_vec()).await;
            assert_eq!(wrong, Err(CoordinationError::Conflict));
            let next = coordination.replace_channel("a", 1, b"2".to_vec()).await;
            assert_eq!((next.unwrap().version, record.version), (2, 1));
            record
        };
        let coordination = open(folder.path());
        let kept = coordination.channel("a").await.unwrap().unwrap();
        assert_eq!(
            (kept.id, kept.version, &*kept.data),
            (first.id, 2, &b"2"[..])
        );
        coordination.delete_channel("a").await.unwrap();
        assert_eq!(coordination.channel("a").await.unwrap(), None);
        let missing = coordination.delete_channel("a").await;
        assert_eq!(missing, Err(CoordinationError::Missing));
        let anew = coordination.create_channel("a", Vec::new()).await.unwrap();
        assert!(anew.id > first.id, "a new channel has a new id");
    }

    #[tokio::test]
    async fn rings_are_compared_and_set_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let member = Member::new("one.example").unwrap();
        let mut history = RingHistory::new();
        {
            let coordination = open(folder.path());
            let map = RingMap::in_force(1, 5, [member], Placement::default()).unwrap();
            history.announce(map).unwrap();
            assert_eq!(coordination.replace_rings(0, &history).await, Ok(1));
            let late = coordination.replace_rings(0, &history).await;
            assert_eq!(late, Err(CoordinationError::Conflict));
            assert!(coordination.confirm(1).await.is_ok());
            let stale = coordination.confirm(0).await;
            assert_eq!(stale, Err(CoordinationError::Conflict));
        }
        let rings = open(folder.path()).rings().await.unwrap();
        assert_eq!((rings.version, &*rings.history), (1, &history));
    }

    #[tokio::test]
    async fn a_document_goes_with_its_channel() {
        let folder = tempfile::tempdir().unwrap();
        let coordination = open(folder.path());
        coordination.create_channel("a", Vec::new()).await.unwrap();
        let set = |text: Option<&str>| coordination.set_document("a", text.map(str::to_owned));
        assert_eq!(set(Some("# A")).await, Ok(false));
        assert_eq!(set(Some("# B")).await, Ok(true));
        let text = coordination.document("a").await.unwrap();
        assert_eq!(text.as_deref(), Some("# B"));
        coordination.delete_channel("a").await.unwrap();
        assert_eq!(coordination.document("a").await.unwrap(), None);
        let late = set(Some("# C")).await;
        assert_eq!(late, Err(CoordinationError::Missing));
    }
}
