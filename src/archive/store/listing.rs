//! Names in their order.

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;
use tokio::time::Instant;

use super::{Pages, Store, StoreError, counted, refused};

/// Some names of a folder, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The names.
    pub names: Vec<String>,
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
        let began = Instant::now();
        let listed = match &self.pages {
            Some(pages) => self.page(&**pages, folder, after, most.min(MOST)).await,
            None => self.walked(folder, after, most).await,
        };
        counted("list", began, &listed, 0);
        listed
    }

    /// The folders in a folder, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let began = Instant::now();
        let listed = self
            .inner
            .list_with_delimiter(Some(&self.path(folder)))
            .await;
        let listed = listed.map_err(|error| refused("list", folder, &error));
        counted("list", began, &listed, 0);
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
    ) -> Result<Names, StoreError> {
        let options = PaginatedListOptions {
            offset: Some(self.path(after).to_string()),
            max_keys: Some(most),
            ..PaginatedListOptions::default()
        };
        let prefix = self.path(folder);
        let prefix = (!prefix.as_ref().is_empty()).then(|| format!("{prefix}/"));
        let listed = pages.list_paginated(prefix.as_deref(), options).await;
        let listed = listed.map_err(|error| refused("list", folder, &error))?;
        let objects = listed.result.objects.iter();
        let mut names: Vec<_> = objects.map(|object| self.name(&object.location)).collect();
        names.sort();
        Ok(Names {
            names,
            more: listed.page_token.is_some(),
        })
    }

    /// As [`Self::page`], of a store that lists everything or nothing: folder by folder, and no more of
    /// them than are needed.
    async fn walked(&self, folder: &str, after: &str, most: usize) -> Result<Names, StoreError> {
        let wrong = |error| refused("list", folder, &error);
        let mut names = Vec::new();
        let mut open = vec![self.path(folder)];
        let after = self.path(after).to_string();
        // Depth first, the last one open being the next: so names come in order.
        while let Some(next) = open.pop() {
            if names.len() >= most {
                return Ok(Names { names, more: true });
            }
            let listed = self
                .inner
                .list_with_delimiter(Some(&next))
                .await
                .map_err(wrong)?;
            let found = listed.objects.into_iter().map(|object| object.location);
            let mut found: Vec<Path> = found
                .filter(|path| path.as_ref() > after.as_str())
                .collect();
            found.sort();
            names.extend(found.iter().map(|path| self.name(path)));
            let mut folders = listed.common_prefixes;
            // One that begins like the place may hold names on either side of it.
            folders
                .retain(|path| path.as_ref() >= after.as_str() || after.starts_with(path.as_ref()));
            folders.sort_by(|a, b| b.cmp(a));
            open.extend(folders);
        }
        Ok(Names { names, more: false })
    }

    /// Every name of a folder, in no order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let began = Instant::now();
        let listing = self.inner.list(Some(&self.path(folder)));
        let names = listing.map(|object| object.map(|object| self.name(&object.location)));
        let names = names.try_collect().await;
        let names = names.map_err(|error| refused("list", folder, &error));
        counted("list", began, &names, 0);
        names
    }

    /// The name that a path in the store stands for.
    fn name(&self, path: &Path) -> String {
        let text = path.as_ref();
        let root = self.root.as_ref();
        let name = text.strip_prefix(root).unwrap_or(text);
        name.trim_start_matches('/').to_owned()
    }
}
