//! A store like S3, which counts what it is asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// See the module.
#[derive(Debug, Default)]
pub struct Watched {
    inner: InMemory,
    /// The gets and lists so far.
    asked: AtomicUsize,
    /// Whether a get lets others go first.
    pub slow: AtomicBool,
}

impl Watched {
    /// How often it was asked since this was asked last.
    pub fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    fn count(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.count();
        if self.slow.load(Ordering::Relaxed) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count();
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count();
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl PaginatedListStore for Watched {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        opts: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        self.count();
        let prefix = prefix.unwrap_or_default();
        let after = opts.offset.unwrap_or_default();
        let mut objects: Vec<ObjectMeta> = self.inner.list(None).boxed().try_collect().await?;
        objects.retain(|object| {
            let name = object.location.as_ref();
            name.starts_with(prefix) && name > after.as_str()
        });
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        let most = opts.max_keys.unwrap_or(1000);
        let page_token = (objects.len() > most).then(|| "more".to_owned());
        objects.truncate(most);
        Ok(PaginatedListResult {
            result: ListResult {
                common_prefixes: Vec::new(),
                objects,
                extensions: http::Extensions::default(),
            },
            page_token,
        })
    }
}

/// A store and what it is asked for.
pub fn watched() -> (Arc<Watched>, Arc<super::Store>) {
    let watched = Arc::new(Watched::default());
    let store = super::Store::watched(Arc::clone(&watched));
    (watched, Arc::new(store))
}
