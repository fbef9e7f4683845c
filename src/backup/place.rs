//! Where backups are: a folder of any object store.
//!
//! ```text
//! backups/{id}            a backup's document; there once all that it names is
//! parts/{2}/{sha256}      what coordination held, and lists of objects
//! objects/{2}/{sha256}    copies of the archive's objects
//! locks/{kind}-{id}       who works on the place
//! ```
//!
//! Parts and copies are called what is in them, so whoever writes one again writes the same, and
//! backups share what they have in common.

use std::collections::HashMap;

use bytes::Bytes;

use super::document::{self, Document, Month, PartRef, State};
use super::error::BackupError;
use super::sum::Sum;
use crate::archive::store::{Created, Entry, Patience, Store, Which};
use crate::env::{Millis, Random};

/// A place of backups.
#[derive(Debug)]
pub struct Place {
    store: Store,
    url: String,
}

/// A backup, or what is in its place.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// What it says of itself, if it can be read.
    pub document: Result<Document, BackupError>,
}

/// The folder of documents.
const BACKUPS: &str = "backups";
/// The folder of parts.
pub(super) const PARTS: &str = "parts";
/// The folder of copies.
pub(super) const OBJECTS: &str = "objects";
/// The folder of locks.
pub(super) const LOCKS: &str = "locks";

/// What a place's own variables begin with, so that it may be with another provider than the archive.
const OWN: &str = "BACKUP_";

/// The variables that a place is opened by: those that begin with `BACKUP_`, without that, or where there is
/// none of those, the ones that the archive is opened by.
pub fn variables(all: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    for (name, value) in all {
        match name.strip_prefix(OWN) {
            Some(name) if is_cloud(name) => own.push((name.to_owned(), value)),
            None if is_cloud(&name) => shared.push((name, value)),
            _ => {}
        }
    }
    if own.is_empty() { shared } else { own }
}

/// The variables of this process that a place is opened by.
pub fn environment() -> Vec<(String, String)> {
    let all = std::env::vars_os();
    variables(
        all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )
}

fn is_cloud(name: &str) -> bool {
    let clouds = ["AWS_", "GOOGLE_", "AZURE_"];
    clouds.iter().any(|cloud| name.starts_with(cloud))
}

/// The name of a new backup: the time, so that names sort as backups do, and some random digits, so that
/// two that begin at once have two.
pub fn new_id(now: Millis, random: &dyn Random) -> String {
    format!("{}-{:08x}", moment(now), random.next_u64() as u32)
}

/// The time, as it begins a backup's name.
pub(super) fn moment(at: Millis) -> String {
    let iso = at.iso();
    iso.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// What a part is called.
fn part_name(folder: &str, sum: Sum) -> String {
    let text = sum.to_string();
    let shard = text.get(..2).unwrap_or_default();
    format!("{folder}/{shard}/{text}")
}

/// What a copy is called.
pub fn copy_name(sum: Sum) -> String {
    part_name(OBJECTS, sum)
}

/// The SHA-256 in the name of a part or a copy.
pub(super) fn sum_in(name: &str) -> Option<Sum> {
    Sum::parse(name.rsplit('/').next()?).ok()
}

impl Place {
    /// The place of that URL.
    ///
    /// # Errors
    /// [`BackupError::NoPlace`].
    pub fn open(
        url: &str,
        variables: &[(String, String)],
        patience: Patience,
    ) -> Result<Self, BackupError> {
        let store = Store::of_url(url, variables, patience);
        Ok(Self {
            store: store.map_err(|error| BackupError::no_place(url, &error))?,
            url: url.to_owned(),
        })
    }

    /// A place on a store.
    pub fn on(store: Store, url: &str) -> Self {
        Self {
            store,
            url: url.to_owned(),
        }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it is on.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The names of all backups, oldest first.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub async fn ids(&self) -> Result<Vec<String>, BackupError> {
        let entries = self.entries(BACKUPS).await?;
        let ids = entries
            .iter()
            .filter_map(|entry| entry.name.strip_prefix("backups/"));
        Ok(ids.map(str::to_owned).collect())
    }

    /// All backups, oldest first.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub async fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let mut listed = Vec::new();
        for id in self.ids().await? {
            let document = match self.document(&id).await {
                Err(error @ BackupError::Damaged(_)) => Err(error),
                // It was removed meanwhile.
                Err(BackupError::NoBackup { .. }) => continue,
                found => Ok(found?),
            };
            listed.push(Listed { id, document });
        }
        Ok(listed)
    }

    /// What a backup says of itself.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] if it is not what was written; [`BackupError::NoBackup`].
    pub async fn document(&self, id: &str) -> Result<Document, BackupError> {
        let name = format!("{BACKUPS}/{id}");
        let read = self.store.read(&name, Which::All).await;
        let Some(read) = read.map_err(BackupError::Place)? else {
            let reason = format!("there is no backup {id} in {}", self.url);
            return Err(BackupError::NoBackup { reason });
        };
        Document::parse(&read.bytes, id).map_err(|unfit| BackupError::damaged(name, unfit.0))
    }

    /// Puts a document: now the backup is there.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn put_document(&self, document: &Document) -> Result<(), BackupError> {
        let name = format!("{BACKUPS}/{}", document.id);
        let bytes = document.to_bytes();
        let bytes = bytes.map_err(BackupError::unfit(name.as_str()))?;
        let put = self.store.create(&name, bytes.into()).await;
        put.map(drop).map_err(BackupError::Place)
    }

    /// Removes backups; what they alone refer to stays.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn remove_documents(&self, ids: &[String]) -> Result<(), BackupError> {
        let names: Vec<String> = ids.iter().map(|id| format!("{BACKUPS}/{id}")).collect();
        self.delete(&names).await
    }

    /// A part, as it was before it was compressed.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] if it is not what was written, or not there.
    pub(super) async fn part(&self, part: &PartRef, what: &str) -> Result<Vec<u8>, BackupError> {
        let name = part_name(PARTS, part.sha256);
        let called = || format!("{name} ({what})");
        let read = self.store.read(&name, Which::All).await;
        let Some(read) = read.map_err(BackupError::Place)? else {
            return Err(BackupError::damaged(called(), "it is missing"));
        };
        if Sum::of(&read.bytes) != part.sha256 {
            return Err(BackupError::damaged(called(), "it is not what was written"));
        }
        document::unpack(&read.bytes).map_err(|unfit| BackupError::damaged(called(), unfit.0))
    }

    /// Puts a part, if it is not there yet. `known` are those that are, with their lengths.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn put_part(
        &self,
        plain: &[u8],
        known: &HashMap<Sum, u64>,
    ) -> Result<PartRef, BackupError> {
        let packed = document::pack(plain).map_err(BackupError::unfit("a part"))?;
        let part = PartRef {
            sha256: Sum::of(&packed),
            size: packed.len() as u64,
        };
        if known.get(&part.sha256) != Some(&part.size) {
            let name = part_name(PARTS, part.sha256);
            self.put(&name, packed.into(), known.contains_key(&part.sha256))
                .await?;
        }
        Ok(part)
    }

    /// Puts what is called what is in it; in place of one that is not, if that was seen.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn put(
        &self,
        name: &str,
        bytes: Bytes,
        instead: bool,
    ) -> Result<(), BackupError> {
        let put = if instead {
            self.store.replace(name, bytes).await
        } else {
            self.store.create(name, bytes).await.map(|_: Created| ())
        };
        put.map_err(BackupError::Place)
    }

    /// What coordination held.
    ///
    /// # Errors
    /// As [`Self::part`].
    pub async fn state(&self, document: &Document) -> Result<State, BackupError> {
        let what = format!("the channels of backup {}", document.id);
        let plain = self.part(&document.state, &what).await?;
        serde_json::from_slice(&plain)
            .map_err(|error| BackupError::damaged(what, error.to_string()))
    }

    /// The lists that a backup has.
    ///
    /// # Errors
    /// As [`Self::part`].
    pub async fn months(&self, document: &Document) -> Result<Vec<Month>, BackupError> {
        let what = format!("the months of backup {}", document.id);
        let plain = self.part(&document.months, &what).await?;
        serde_json::from_slice(&plain)
            .map_err(|error| BackupError::damaged(what, error.to_string()))
    }

    /// The objects of a month.
    ///
    /// # Errors
    /// As [`Self::part`].
    pub async fn objects(&self, month: &Month) -> Result<Vec<document::Held>, BackupError> {
        let what = format!("the list of {}", month.folder);
        let plain = self.part(&month.list, &what).await?;
        document::list_of_bytes(&plain, &month.folder)
            .map_err(|unfit| BackupError::damaged(what, unfit.0))
    }

    /// What there is in a folder.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn entries(&self, folder: &str) -> Result<Vec<Entry>, BackupError> {
        self.store.entries(folder).await.map_err(BackupError::Place)
    }

    /// The parts or copies that there are, with their lengths.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn sums(&self, folder: &str) -> Result<HashMap<Sum, u64>, BackupError> {
        let entries = self.entries(folder).await?;
        let sums = entries
            .iter()
            .filter_map(|entry| Some((sum_in(&entry.name)?, entry.size)));
        Ok(sums.collect())
    }

    /// Deletes objects of the place.
    ///
    /// # Errors
    /// [`BackupError::Place`].
    pub(super) async fn delete(&self, names: &[String]) -> Result<(), BackupError> {
        if names.is_empty() {
            return Ok(());
        }
        self.store.delete(names).await.map_err(BackupError::Place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededRandom;

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        all.iter().map(pair).collect()
    }

    #[test]
    fn a_place_may_have_variables_of_its_own() {
        let shared = [("AWS_REGION", "a"), ("PATH", "p"), ("BACKUP_DAYS", "3")];
        assert_eq!(variables(pairs(&shared)), pairs(&[("AWS_REGION", "a")]));
        let own = [("AWS_SESSION_TOKEN", "a"), ("BACKUP_AWS_REGION", "b")];
        assert_eq!(variables(pairs(&own)), pairs(&[("AWS_REGION", "b")]));
    }

    #[test]
    fn ids_sort_as_backups_do() {
        let random = SeededRandom::new(1);
        let at = Millis::parse_iso("2026-11-22T01:02:03.456Z").unwrap();
        let first = new_id(at, &random);
        assert_eq!(first.split('-').next(), Some("20261122T010203456Z"));
        assert!(first < new_id(at.plus(1), &random));
        assert_ne!(new_id(at, &random), new_id(at, &random));
    }
}
