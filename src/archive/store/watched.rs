//! A store in memory that counts what it is asked for, and fails where it is told to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Store;

/// What is watched, and what is told.
#[derive(Debug, Default)]
pub struct Watch {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// Requests whose name holds that text fail.
    failing: Mutex<Option<String>>,
    /// Puts and ends of uploads of names that hold that text wait.
    held: Mutex<Option<String>>,
    released: Notify,
    /// How often it is said of what is to be created that it was there: whether it is there then.
    lies: Mutex<Vec<bool>>,
    /// How many wait.
    waiting: Mutex<usize>,
    no_tails: bool,
    /// Lists begin with an empty page, and a token to go on with.
    pub begins_empty: AtomicBool,
    gives_way: AtomicBool,
}

impl Watch {
    /// How many requests of a kind came since this was last asked: put, upload, get, head, list, delete.
    pub fn take(&self, kind: &'static str) -> u64 {
        self.counts.lock().remove(kind).unwrap_or(0)
    }

    /// How many gets, heads and lists came since this was last asked.
    pub fn asked_to_read(&self) -> u64 {
        ["get", "head", "list"]
            .iter()
            .map(|kind| self.take(kind))
            .sum()
    }

    /// Lets each get let others go first.
    pub fn give_way(&self) {
        self.gives_way.store(true, Ordering::Relaxed);
    }

    /// Forgets what was counted.
    pub fn clear(&self) {
        self.counts.lock().clear();
    }

    /// Lets requests fail whose name holds a text; `None`: none any more.
    pub fn fail(&self, text: Option<&str>) {
        *self.failing.lock() = text.map(str::to_owned);
    }

    /// Lets puts wait of names that hold a text; `None`: none any more.
    pub fn hold(&self, text: Option<&str>) {
        *self.held.lock() = text.map(str::to_owned);
        self.released.notify_waiters();
    }

    /// Lets the next object that is to be created be said to have been there: after it was put, as where a
    /// request was done, not answered, and sent again; or without, as where another one was about to put it.
    pub fn lie(&self, put: bool) {
        self.lies.lock().push(put);
    }

    /// How many puts wait.
    pub fn waiting(&self) -> usize {
        *self.waiting.lock()
    }

    fn asked(&self, kind: &'static str, name: &str) -> Result<()> {
        *self.counts.lock().entry(kind).or_default() += 1;
        let failing = self.failing.lock();
        if failing.as_ref().is_some_and(|text| name.contains(text)) {
            return Err(Error::Generic {
                store: "watched",
                source: "it was told to fail".into(),
            });
        }
        Ok(())
    }

    async fn wait(&self, name: &str) {
        let holds = || {
            let held = self.held.lock();
            held.as_ref().is_some_and(|text| name.contains(text))
        };
        if !holds() {
            return;
        }
        *self.waiting.lock() += 1;
        loop {
            let released = self.released.notified();
            if !holds() {
                break;
            }
            released.await;
        }
        *self.waiting.lock() -= 1;
    }
}

/// A store and what watches it.
#[derive(Debug)]
struct Watched {
    inner: InMemory,
    watch: Arc<Watch>,
}

/// A store in memory, and what it is watched by.
pub fn watched() -> (Store, Arc<Watch>) {
    of(Watch::default())
}

/// One that cannot be asked for the last bytes of an object.
pub fn without_tails() -> (Store, Arc<Watch>) {
    let (store, watch) = of(Watch {
        no_tails: true,
        ..Watch::default()
    });
    let store = Store {
        has_tails: false,
        ..store
    };
    (store, watch)
}

fn of(watch: Watch) -> (Store, Arc<Watch>) {
    let watch = Arc::new(watch);
    let watched = Arc::new(Watched {
        inner: InMemory::new(),
        watch: Arc::clone(&watch),
    });
    (Store::watched(watched), watch)
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
        options: PutOptions,
    ) -> Result<PutResult> {
        self.watch.asked("put", location.as_ref())?;
        self.watch.wait(location.as_ref()).await;
        let lie = match options.mode {
            PutMode::Create => self.watch.lies.lock().pop(),
            _ => None,
        };
        match lie {
            None => return self.inner.put_opts(location, payload, options).await,
            Some(true) => drop(self.inner.put_opts(location, payload, options).await?),
            Some(false) => {}
        }
        Err(Error::AlreadyExists {
            path: location.to_string(),
            source: "it was told to say so".into(),
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.watch.asked("upload", location.as_ref())?;
        let upload = self.inner.put_multipart_opts(location, options).await?;
        self.watch.wait(location.as_ref()).await;
        Ok(upload)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let kind = if options.head { "head" } else { "get" };
        self.watch.asked(kind, location.as_ref())?;
        if self.watch.gives_way.load(Ordering::Relaxed) {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        if self.watch.no_tails && matches!(options.range, Some(GetRange::Suffix(_))) {
            return Err(Error::NotSupported {
                source: "it has no tails".into(),
            });
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let watch = Arc::clone(&self.watch);
        let locations = locations.map(move |location| {
            let location = location?;
            watch.asked("delete", location.as_ref())?;
            Ok(location)
        });
        self.inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.watch.asked("list", prefix.map_or("", Path::as_ref)) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.watch.asked("list", prefix.map_or("", Path::as_ref))?;
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
        options: PaginatedListOptions,
    ) -> Result<PaginatedListResult> {
        let prefix = prefix.unwrap_or_default();
        self.watch.asked("list", prefix)?;
        if options.page_token.is_none() && self.watch.begins_empty.load(Ordering::Relaxed) {
            return Ok(PaginatedListResult {
                result: ListResult {
                    common_prefixes: Vec::new(),
                    objects: Vec::new(),
                    extensions: http::Extensions::default(),
                },
                page_token: Some("more".to_owned()),
            });
        }
        let mut objects: Vec<ObjectMeta> = self.inner.list(None).try_collect().await?;
        let after = options.offset.unwrap_or_default();
        objects.retain(|object| {
            let name = object.location.as_ref();
            name.starts_with(prefix) && name > after.as_str()
        });
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        let most = options.max_keys.unwrap_or(1000);
        let more = objects.len() > most;
        objects.truncate(most);
        Ok(PaginatedListResult {
            result: ListResult {
                common_prefixes: Vec::new(),
                objects,
                extensions: http::Extensions::default(),
            },
            page_token: more.then(|| "more".to_owned()),
        })
    }
}

#[tokio::test]
async fn the_end_of_an_object_is_read_of_any_store() {
    use super::Which;
    for (store, watch) in [watched(), without_tails()] {
        assert!(store.read("c/a", Which::Last(4)).await.unwrap().is_none());
        let bytes = bytes::Bytes::from_static(b"0123456789");
        store.create("c/a", bytes).await.unwrap();
        watch.clear();
        for (count, wanted) in [(4, "6789"), (10, "0123456789"), (100, "0123456789")] {
            let read = store.read("c/a", Which::Last(count)).await.unwrap();
            let read = read.unwrap();
            assert_eq!((read.bytes.as_ref(), read.length), (wanted.as_bytes(), 10));
        }
        store.create("c/none", bytes::Bytes::new()).await.unwrap();
        let asked = (watch.take("get"), watch.take("head"));
        assert_eq!(asked, (3, if store.has_tails { 0 } else { 3 }));
    }
}

/// S3 and Azure may give pages that are short, or empty, where there is more.
#[tokio::test]
async fn an_empty_page_is_not_the_end_of_a_list() {
    let (store, watch) = watched();
    for name in ["c/a", "c/b"] {
        let put = store.create(name, bytes::Bytes::new()).await;
        put.unwrap();
    }
    watch.begins_empty.store(true, Ordering::Relaxed);
    let listed = store.names("c", "c/", 10).await.unwrap();
    assert_eq!(listed.names, ["c/a", "c/b"]);
    assert!(!listed.more);
}

#[tokio::test(start_paused = true)]
async fn deleting_takes_a_turn_for_each_request() {
    use object_store::ObjectStoreExt as _;
    let (store, watch) = watched();
    let names: Vec<String> = (0..30).map(|number| format!("c/{number}")).collect();
    for (deletes, millis) in [(1, 2_900), (10, 200)] {
        let store = Store {
            deletes,
            ..store.paced(std::num::NonZeroU32::new(10).unwrap())
        };
        for name in &names {
            store
                .inner
                .put(&Path::from(name.as_str()), PutPayload::new())
                .await
                .unwrap();
        }
        let began = tokio::time::Instant::now();
        store.delete(&names).await.unwrap();
        assert_eq!(began.elapsed().as_millis(), millis);
        assert_eq!(watch.take("delete"), 30);
    }
}
