//! What a hub must give back of an archive: every item, in order, with its checksum.
//!
//! Read from the objects themselves, and not by the code that serves them.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::error::BackupError;
use super::object::Kind;
use crate::archive::name::{Object, hour_len};
use crate::archive::object::{DELETED, Index, Record};
use crate::archive::reader;
use crate::archive::store::Store;
use crate::env::Millis;
use crate::item::{ContentType, ItemKey, pack};

/// An item, as a hub must give it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its key.
    pub key: ItemKey,
    /// Its media type.
    pub kind: Option<String>,
    /// Its length, in bytes.
    pub size: u64,
    /// The XXH3 of its bytes.
    pub sum: u64,
}

/// The items of a folder of an archive (a month of a channel), in the order of their keys.
///
/// # Errors
/// [`BackupError`]: the archive does not answer, or is damaged.
pub async fn items_of(archive: &Store, folder: &str) -> Result<Vec<Expected>, BackupError> {
    let names = archive.all_names(folder).await;
    let names = names.map_err(BackupError::Archive)?;
    let mut hours: HashSet<Millis> = HashSet::new();
    for name in &names {
        if let Kind::Items(Object::Hour(start)) = Kind::of(name).1 {
            hours.insert(start);
        }
    }
    let mut items: BTreeMap<ItemKey, Expected> = BTreeMap::new();
    let mut deleted: Vec<ItemKey> = Vec::new();
    for name in &names {
        let Kind::Items(object) = Kind::of(name).1 else {
            continue;
        };
        if matches!(object, Object::Minute(start) if hours.contains(&start.floor_to(hour_len()))) {
            continue;
        }
        let Some(found) = items_in(archive, name).await? else {
            if let Object::Item(key) = object {
                deleted.push(key);
            }
            continue;
        };
        for item in found {
            // An item with an object of its own is what that says.
            if matches!(object, Object::Item(_)) {
                items.insert(item.key, item);
            } else {
                items.entry(item.key).or_insert(item);
            }
        }
    }
    for key in deleted {
        items.remove(&key);
    }
    Ok(items.into_values().collect())
}

/// What is in an object; `None` if it says that its item was deleted.
async fn items_in(archive: &Store, name: &str) -> Result<Option<Vec<Expected>>, BackupError> {
    let damaged = |reason: String| {
        let name = name.to_owned();
        BackupError::ArchiveDamaged(vec![super::Damage { name, reason }])
    };
    let index = reader::index(archive, name).await;
    let index = index.map_err(BackupError::Archive)?;
    let index: Index = match index.ok_or_else(|| damaged("it is missing".to_owned()))? {
        Ok(index) => index,
        Err(DELETED) => return Ok(None),
        Err(error) => return Err(damaged(error.0.to_owned())),
    };
    let mut items = Vec::with_capacity(index.records().len());
    for record in index.records() {
        if !record.key.is_bulk() {
            items.push(single(&record));
            continue;
        }
        let read = reader::payload(archive, name, &index, &record).await;
        let read = read.map_err(BackupError::Archive)?;
        let payload: Bytes = read
            .ok_or_else(|| damaged("it is missing".to_owned()))?
            .map_err(|error| damaged(error.0.to_owned()))?;
        for (number, key) in record.key.items().enumerate() {
            let item = pack::item(&payload, number as u32);
            let item = item.map_err(|error| damaged(error.to_string()))?;
            let item = item.ok_or_else(|| damaged(format!("it lacks {key}")))?;
            items.push(Expected {
                key,
                kind: item.content_type.as_ref().map(kind_of),
                size: item.bytes.len() as u64,
                sum: xxh3_64(&item.bytes),
            });
        }
    }
    Ok(Some(items))
}

fn kind_of(kind: &ContentType) -> String {
    kind.as_str().to_owned()
}

fn single(record: &Record<'_>) -> Expected {
    Expected {
        key: record.key,
        kind: record.content_type.map(str::to_owned),
        size: record.size,
        sum: record.sum,
    }
}
