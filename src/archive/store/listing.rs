//! Names in their order.

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::{Pages, Store, StoreError, asks_again, counted, refused};

/// Some names of a folder, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The names.
    pub names: Vec<String>,
    /// Whether there may be more behind the last one.
    pub more: bool,
}

/// An object as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// What tells it from another that had its name before.
    pub stamp: u64,
}

/// Some objects of a folder, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects {
    /// The objects.
    pub objects: Vec<Found>,
    /// Whether there may be more behind the last one.
    pub more: bool,
}

/// The most names that a store lists at a time.
const MOST: usize = 1000;

impl Store {
    /// The first names of a folder, at any depth, that come after a place: about `most` of them, or all if
    /// they are fewer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn names(&self, folder: &str, after: &str, most: usize) -> Result<Names, StoreError> {
        let Objects { objects, more } = self.objects(folder, after, most).await?;
        let names = objects.into_iter().map(|found| found.name).collect();
        Ok(Names { names, more })
    }

    /// As [`Self::names`], with what else is known of the objects.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn objects(
        &self,
        folder: &str,
        after: &str,
        most: usize,
    ) -> Result<Objects, StoreError> {
        let mut tries = 0;
        loop {
            self.turn("list", folder).await?;
            let began = Instant::now();
            let listed = match &self.pages {
                Some(pages) => self.page(&**pages, folder, after, most.min(MOST)).await,
                None => self.walked(folder, after, most).await,
            };
            counted("list", began, &listed, 0);
            if !asks_again(&listed, &mut tries) {
                self.is_there("list", folder).await?;
                return listed;
            }
        }
    }

    /// Which of some objects there are, if that is found sooner one by one than in a list: on this machine, where
    /// a folder is listed whole. `None` elsewhere.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn which(&self, names: &[String]) -> Result<Option<Vec<Found>>, StoreError> {
        if self.pages.is_some() {
            return Ok(None);
        }
        if let Some(guard) = &self.guard {
            guard.admits("look for", names.first().map_or("", String::as_str))?;
        }
        let mut found = Vec::new();
        for name in names {
            match self.inner.head(&self.path(name)).await {
                Ok(object) => found.push(self.found(&object)),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(refused("look for", name, &error)),
            }
        }
        if found.len() < names.len() {
            self.is_there("look for", names.first().map_or("", String::as_str))
                .await?;
        }
        Ok(Some(found))
    }

    /// The folders in a folder, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let mut tries = 0;
        let listed = loop {
            self.turn("list", folder).await?;
            let began = Instant::now();
            let listed = self
                .inner
                .list_with_delimiter(Some(&self.path(folder)))
                .await;
            let listed = listed.map_err(|error| refused("list", folder, &error));
            counted("list", began, &listed, 0);
            if !asks_again(&listed, &mut tries) {
                self.is_there("list", folder).await?;
                break listed;
            }
        };
        let mut names: Vec<_> = listed?
            .common_prefixes
            .iter()
            .map(|path| self.name(path))
            .collect();
        names.sort();
        Ok(names)
    }

    /// One page, as the store gives it.
    async fn page(
        &self,
        pages: &dyn Pages,
        folder: &str,
        after: &str,
        most: usize,
    ) -> Result<Objects, StoreError> {
        let prefix = self.path(folder);
        let prefix = (!prefix.as_ref().is_empty()).then(|| format!("{prefix}/"));
        let mut token = None;
        // A store may give an empty page, and a token to go on with: that is not the end.
        let listed = loop {
            let options = PaginatedListOptions {
                offset: Some(self.path(after).to_string()),
                max_keys: Some(most),
                page_token: token,
                ..PaginatedListOptions::default()
            };
            let listed = pages.list_paginated(prefix.as_deref(), options).await;
            let listed = listed.map_err(|error| refused("list", folder, &error))?;
            if !listed.result.objects.is_empty() || listed.page_token.is_none() {
                break listed;
            }
            token = listed.page_token;
        };
        let objects = listed.result.objects.iter();
        let mut objects: Vec<_> = objects.map(|object| self.found(object)).collect();
        objects.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Objects {
            objects,
            more: listed.page_token.is_some(),
        })
    }

    /// As [`Self::page`], of a store that lists everything or nothing: folder by folder, and no more of
    /// them than are needed.
    async fn walked(&self, folder: &str, after: &str, most: usize) -> Result<Objects, StoreError> {
        let wrong = |error| refused("list", folder, &error);
        let mut objects = Vec::new();
        let mut open = vec![self.path(folder)];
        let after = self.path(after).to_string();
        // Depth first, the last one open being the next: so names come in order.
        while let Some(next) = open.pop() {
            if objects.len() >= most {
                return Ok(Objects {
                    objects,
                    more: true,
                });
            }
            let listed = self
                .inner
                .list_with_delimiter(Some(&next))
                .await
                .map_err(wrong)?;
            let mut found = listed.objects;
            found.retain(|object| object.location.as_ref() > after.as_str());
            found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            objects.extend(found.iter().map(|object| self.found(object)));
            let mut folders = listed.common_prefixes;
            // One that begins like the place may hold names on either side of it.
            folders
                .retain(|path| path.as_ref() >= after.as_str() || after.starts_with(path.as_ref()));
            folders.sort_by(|a, b| b.cmp(a));
            open.extend(folders);
        }
        Ok(Objects {
            objects,
            more: false,
        })
    }

    /// Every name of a folder, in no order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.turn("list", folder).await?;
        let began = Instant::now();
        let listing = self.inner.list(Some(&self.path(folder)));
        let names = listing.map(|object| object.map(|object| self.name(&object.location)));
        let names = names.try_collect().await;
        let names = names.map_err(|error| refused("list", folder, &error));
        counted("list", began, &names, 0);
        self.is_there("list", folder).await?;
        names
    }

    fn found(&self, object: &ObjectMeta) -> Found {
        let stamp = match &object.e_tag {
            Some(tag) => xxh3_64(tag.as_bytes()),
            None => object.last_modified.timestamp_millis() as u64,
        };
        Found {
            name: self.name(&object.location),
            size: object.size,
            stamp,
        }
    }

    /// The name that a path in the store stands for.
    pub(super) fn name(&self, path: &Path) -> String {
        let text = path.as_ref();
        let root = self.root.as_ref();
        let name = text.strip_prefix(root).unwrap_or(text);
        name.trim_start_matches('/').to_owned()
    }
}
