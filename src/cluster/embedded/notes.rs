//! What a hub notes for its later runs: which archive it is, and what is being restored.

use redb::{Database, ReadableDatabase as _, TableDefinition, WriteTransaction};

use super::super::coordination::{ArchiveNote, CoordinationError};
use super::unavailable;

/// One row: URL and number of the archive.
const ARCHIVE: TableDefinition<'_, (), (&str, &str)> = TableDefinition::new("archive");
/// One row, while something is being restored: what.
const RESTORING: TableDefinition<'_, (), &str> = TableDefinition::new("restoring");

/// Makes the tables.
pub(super) fn make(setup: &WriteTransaction) -> Result<(), CoordinationError> {
    setup.open_table(ARCHIVE).map_err(unavailable)?;
    setup.open_table(RESTORING).map_err(unavailable)?;
    Ok(())
}

/// Which archive the hub writes to.
pub(super) fn archive(db: &Database) -> Result<Option<ArchiveNote>, CoordinationError> {
    let read = db.begin_read().map_err(unavailable)?;
    let table = read.open_table(ARCHIVE).map_err(unavailable)?;
    let row = table.get(()).map_err(unavailable)?;
    Ok(row.map(|row| {
        let (url, id) = row.value();
        ArchiveNote {
            url: url.to_owned(),
            id: id.to_owned(),
        }
    }))
}

/// Notes which archive it writes to.
pub(super) fn set_archive(db: &Database, note: &ArchiveNote) -> Result<(), CoordinationError> {
    let txn = db.begin_write().map_err(unavailable)?;
    {
        let mut table = txn.open_table(ARCHIVE).map_err(unavailable)?;
        let row = (note.url.as_str(), note.id.as_str());
        table.insert((), row).map_err(unavailable)?;
    }
    txn.commit().map_err(unavailable)
}

/// What is being restored.
pub(super) fn restoring(db: &Database) -> Result<Option<String>, CoordinationError> {
    let read = db.begin_read().map_err(unavailable)?;
    let table = read.open_table(RESTORING).map_err(unavailable)?;
    let row = table.get(()).map_err(unavailable)?;
    Ok(row.map(|row| row.value().to_owned()))
}

/// Notes what is being restored, or that it is done.
pub(super) fn set_restoring(db: &Database, what: Option<&str>) -> Result<(), CoordinationError> {
    let txn = db.begin_write().map_err(unavailable)?;
    {
        let mut table = txn.open_table(RESTORING).map_err(unavailable)?;
        let before = match what {
            Some(what) => table.insert((), what),
            None => table.remove(()),
        };
        drop(before.map_err(unavailable)?);
    }
    txn.commit().map_err(unavailable)
}
