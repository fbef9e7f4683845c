//! Objects as a store lists them: with their sizes, and what changes when they do.

use futures_util::TryStreamExt as _;
use object_store::ObjectMeta;
use tokio::time::Instant;

use super::{Store, StoreError, asks_again, counted, refused};
use crate::env::Millis;

/// An object, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length, in bytes.
    pub size: u64,
    /// What the store says of this version of it: another one of the same length has another mark.
    pub mark: String,
    /// When it was written, by the store's clock.
    pub modified: Millis,
}

impl Store {
    /// Every object of a folder, at any depth, in the order of their names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn entries(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let mut tries = 0;
        let listed = loop {
            self.turn("list", folder).await?;
            let began = Instant::now();
            let listing = self.inner.list(Some(&self.path(folder)));
            let listed = listing.try_collect::<Vec<ObjectMeta>>().await;
            let listed = listed.map_err(|error| refused("list", folder, &error));
            counted("list", began, &listed, 0);
            if !asks_again(&listed, &mut tries) {
                self.is_there("list", folder).await?;
                break listed;
            }
        };
        let entry = |object: ObjectMeta| Entry {
            name: self.name(&object.location),
            size: object.size,
            mark: mark_of(&object),
            modified: Millis::new(object.last_modified.timestamp_millis()),
        };
        let mut entries: Vec<Entry> = listed?.into_iter().map(entry).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }
}

/// What tells a version of an object: its tag, or when it was written. Visible characters only.
fn mark_of(object: &ObjectMeta) -> String {
    let tag = object.e_tag.as_deref().unwrap_or_default();
    let tag: String = tag.chars().filter(char::is_ascii_graphic).collect();
    if tag.is_empty() {
        return format!("at {}", object.last_modified.timestamp_millis());
    }
    tag
}
