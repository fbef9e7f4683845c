//! The object store, as the archive asks it.
//!
//! Whatever store it is: objects are created and not changed, read whole or in part, and listed by
//! name, in order, from any place on. Every request is counted.

mod entries;
mod guard;
mod listing;
mod open;
mod pace;
#[cfg(test)]
pub mod watched;

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, WriteMultipart,
};
use thiserror::Error;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use pace::Pace;

pub use entries::Entry;
pub use guard::{Guard, Looked, MARKER};
pub use listing::{Found, Names, Objects};
pub use open::{OpenError, Patience};

/// How much of an object goes out at a time where it is not put at once, in bytes.
const PART: usize = 8 << 20;
/// How often an answer that was cut off is asked for again.
const AGAIN: u32 = 5;
/// How many parts of one are on their way at a time.
const PARTS_AT_ONCE: usize = 4;

/// Why the store did not do what it was asked for.
#[derive(Debug, Clone, Error)]
#[error("the archive did not {what} {name}: {reason}")]
pub struct StoreError {
    /// What was asked for: "read", "write", "list" or "delete".
    pub what: &'static str,
    /// The object.
    pub name: String,
    /// What the store said.
    pub reason: String,
    /// Whether there was an answer that was cut off.
    pub cut_off: bool,
}

/// What became of an object that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was.
    Now,
    /// There is one of that name.
    Before,
}

/// Some bytes of an object.
#[derive(Debug, Clone)]
pub struct Part {
    /// The bytes.
    pub bytes: Bytes,
    /// How long the object is.
    pub length: u64,
    /// What tells it from another that has, or had, its name: also from a copy of it.
    pub stamp: u64,
}

/// Which bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// These.
    These(Range<u64>),
    /// The last so many, or all if there are fewer.
    Last(u64),
}

/// An object store, or a folder in one.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    /// How it is listed from a place on; `None` where that costs no request: on this machine.
    pages: Option<Arc<dyn Pages>>,
    /// Where in it the archive is.
    root: Path,
    /// Whether it can be asked for the last bytes of an object.
    has_tails: bool,
    /// Its folder on this machine, if it is one.
    folder: Option<Arc<std::path::Path>>,
    /// How many objects it deletes by one request.
    deletes: usize,
    /// How fast it is asked; `None`: as fast as may be.
    pace: Option<Arc<Pace>>,
    /// Who says whether it is the right one; `None`: it is whatever it is.
    guard: Option<Arc<Guard>>,
}

/// A store that lists page by page.
pub trait Pages: PaginatedListStore + std::fmt::Debug {}
impl<T: PaginatedListStore + std::fmt::Debug> Pages for T {}

impl Store {
    /// A store in memory, which is gone when it is dropped.
    pub fn in_memory() -> Self {
        Self::on_this_machine(Arc::new(object_store::memory::InMemory::new()))
    }

    /// A store that costs nothing to ask.
    fn on_this_machine(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            pages: None,
            root: Path::default(),
            has_tails: true,
            folder: None,
            deletes: 1,
            pace: None,
            guard: None,
        }
    }

    /// The same store, asked for nothing while it is not the right one.
    #[must_use]
    pub fn guarded(&self, guard: &Arc<Guard>) -> Self {
        Self {
            guard: Some(Arc::clone(guard)),
            ..self.clone()
        }
    }

    /// What is wrong with it, as far as its guard knows.
    pub fn trouble(&self) -> Option<String> {
        self.guard.as_ref().and_then(|guard| guard.trouble())
    }

    /// What tells the archive from a copy of it; `None` if it is not known to be the right one.
    pub fn stamp(&self) -> Option<u64> {
        self.guard.as_ref().map_or(Some(0), |guard| guard.stamp())
    }

    /// The number in its marker; `None` if it is not known to be the right one.
    pub fn id(&self) -> Option<String> {
        self.guard.as_ref().and_then(|guard| guard.right_id())
    }

    /// Looks whether it is the right one, now.
    pub async fn look(&self) -> Looked {
        match &self.guard {
            Some(guard) => guard.look().await,
            None => Looked::Right,
        }
    }

    /// The same store, asked no more than so many times in a second by those who have it from here.
    #[must_use]
    pub fn paced(&self, per_second: NonZeroU32) -> Self {
        Self {
            pace: Some(Arc::new(Pace::new(per_second))),
            ..self.clone()
        }
    }

    /// That its folder is there, where it is one, and the right one: a disk that is not mounted is not an archive
    /// without objects. To be asked before something is written there, and after something was not found.
    async fn is_there(&self, what: &'static str, name: &str) -> Result<(), StoreError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        if let Some(guard) = &self.guard {
            guard.is_still(folder).await;
            return guard.admits(what, name);
        }
        let reason = match tokio::fs::metadata(folder).await {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => "it is no folder".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(StoreError {
            what,
            name: folder.display().to_string(),
            reason,
            cut_off: false,
        })
    }

    /// Waits for its turn to ask for that.
    async fn turn(&self, what: &'static str, name: &str) -> Result<(), StoreError> {
        if let Some(pace) = &self.pace {
            pace.turn().await;
        }
        match &self.guard {
            Some(guard) => guard.admits(what, name),
            None => Ok(()),
        }
    }

    /// As [`Self::turn`], for what is about to be changed.
    async fn turn_to_change(&self, what: &'static str, name: &str) -> Result<(), StoreError> {
        self.turn(what, name).await?;
        if self.guard.is_some() {
            self.is_there(what, name).await?;
        }
        Ok(())
    }

    /// A store that a test watches.
    #[cfg(test)]
    pub(crate) fn watched<T: Pages + ObjectStore>(store: Arc<T>) -> Self {
        Self {
            pages: Some(Arc::clone(&store) as Arc<dyn Pages>),
            ..Self::on_this_machine(store)
        }
    }

    fn path(&self, name: &str) -> Path {
        // Names are made of letters, digits and `/-._`: nothing of them is encoded.
        let parts = name.split('/').filter(|part| !part.is_empty());
        parts.fold(self.root.clone(), Path::join)
    }

    /// Puts an object that is not there yet. One that is stays as it is.
    ///
    /// # Errors
    /// [`StoreError`]: it may be there or not.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, StoreError> {
        self.turn_to_change("write", name).await?;
        let options = PutOptions::from(PutMode::Create);
        let length = bytes.len() as u64;
        let began = Instant::now();
        let put = self
            .inner
            .put_opts(&self.path(name), PutPayload::from(bytes), options)
            .await;
        let created = match put {
            Ok(_) => Ok(Created::Now),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Before),
            Err(error) => Err(refused("write", name, &error)),
        };
        counted("put", began, &created, length);
        created
    }

    /// Puts an object, in place of one that may be there.
    ///
    /// # Errors
    /// [`StoreError`]: it may be there or not.
    pub async fn replace(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.turn_to_change("write", name).await?;
        let length = bytes.len() as u64;
        let began = Instant::now();
        let put = self
            .inner
            .put(&self.path(name), PutPayload::from(bytes))
            .await;
        let put = put
            .map(drop)
            .map_err(|error| refused("write", name, &error));
        counted("put", began, &put, length);
        put
    }

    /// Begins an object that is sent part by part, and is there once it is ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn upload(&self, name: &str) -> Result<Upload, StoreError> {
        self.turn_to_change("write", name).await?;
        let began = Instant::now();
        let begun = self.inner.put_multipart(&self.path(name)).await;
        let begun = begun.map_err(|error| refused("write", name, &error));
        counted("upload", began, &begun, 0);
        Ok(Upload {
            name: name.to_owned(),
            writing: WriteMultipart::new_with_chunk_size(begun?, PART),
            pace: self.pace.clone(),
            began,
            sent: 0,
        })
    }

    /// Reads an object, or some of it; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(&self, name: &str, which: Which) -> Result<Option<Part>, StoreError> {
        let range = match which {
            Which::All => None,
            Which::These(range) if range.is_empty() => {
                return Ok(Some(Part {
                    bytes: Bytes::new(),
                    length: range.end,
                    stamp: 0,
                }));
            }
            Which::These(range) => Some(GetRange::Bounded(range)),
            Which::Last(count) if self.has_tails => Some(GetRange::Suffix(count)),
            Which::Last(count) => return self.read_tail(name, count).await,
        };
        self.ask_for(name, range).await
    }

    /// The last bytes of an object, of a store that has to be told where they are.
    async fn read_tail(&self, name: &str, count: u64) -> Result<Option<Part>, StoreError> {
        self.turn("read", name).await?;
        let began = Instant::now();
        let length = match self.inner.head(&self.path(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(refused("read", name, &error)),
        };
        counted("head", began, &length, 0);
        match length? {
            None => {
                if self.guard.is_some() {
                    self.is_there("read", name).await?;
                }
                Ok(None)
            }
            Some(0) => Ok(Some(Part {
                bytes: Bytes::new(),
                length: 0,
                stamp: 0,
            })),
            Some(length) => {
                let range = GetRange::Bounded(length.saturating_sub(count)..length);
                self.ask_for(name, Some(range)).await
            }
        }
    }

    async fn ask_for(
        &self,
        name: &str,
        range: Option<GetRange>,
    ) -> Result<Option<Part>, StoreError> {
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        // What is asked now and then, and for nobody, is told apart.
        let kind = if name == MARKER { "look" } else { "get" };
        let mut tries = 0;
        loop {
            self.turn("read", name).await?;
            let began = Instant::now();
            let read = self.read_with(name, options.clone()).await;
            let length = read.as_ref().ok().and_then(Option::as_ref);
            counted(
                kind,
                began,
                &read,
                length.map_or(0, |part| part.bytes.len() as u64),
            );
            if !asks_again(&read, &mut tries) {
                if matches!(read, Ok(None)) && self.guard.is_some() {
                    self.is_there("read", name).await?;
                }
                return read;
            }
        }
    }

    async fn read_with(&self, name: &str, options: GetOptions) -> Result<Option<Part>, StoreError> {
        let wrong = |error: object_store::Error| refused("read", name, &error);
        let found = match self.inner.get_opts(&self.path(name), options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(wrong(error)),
        };
        let (length, wanted) = (found.meta.size, found.range.end - found.range.start);
        let stamp = stamp_of(&found.meta);
        let bytes = found.bytes().await.map_err(|error| StoreError {
            cut_off: true,
            ..wrong(error)
        })?;
        if bytes.len() as u64 != wanted {
            return Err(StoreError {
                what: "read",
                name: name.to_owned(),
                reason: format!("{} of {wanted} bytes came", bytes.len()),
                cut_off: true,
            });
        }
        Ok(Some(Part {
            bytes,
            length,
            stamp,
        }))
    }

    /// Deletes objects; those that are not there count as deleted.
    ///
    /// # Errors
    /// [`StoreError`] of the first that was not: others may be gone.
    pub async fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        if let Some(guard) = &self.guard {
            let first = names.first().map_or("", String::as_str);
            guard.admits("delete", first)?;
            self.is_there("delete", first).await?;
        }
        let began = Instant::now();
        let paths = names.iter().map(|name| self.path(name));
        let paths: Vec<_> = paths.enumerate().collect();
        let (pace, deletes) = (self.pace.clone(), self.deletes);
        let paths = stream::iter(paths).then(move |(number, path)| {
            let pace = pace.clone().filter(|_| number % deletes == 0);
            async move {
                if let Some(pace) = pace {
                    pace.turn().await;
                }
                Ok(path)
            }
        });
        let deleting = self.inner.delete_stream(paths.boxed());
        let deleted = deleting
            .filter(|done| {
                let gone = matches!(done, Err(object_store::Error::NotFound { .. }));
                std::future::ready(!gone)
            })
            .try_for_each(|_| std::future::ready(Ok(())))
            .await;
        let first = names.first().map_or("", String::as_str);
        let deleted = deleted.map_err(|error| refused("delete", first, &error));
        let requests = names.len().div_ceil(self.deletes) as u64;
        counted_as("delete", requests, began, &deleted, 0);
        deleted
    }
}

/// An object that is being sent.
pub struct Upload {
    name: String,
    writing: WriteMultipart,
    pace: Option<Arc<Pace>>,
    began: Instant,
    sent: u64,
}

impl Upload {
    /// Sends some more of it, once there is room.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let room = self.writing.wait_for_capacity(PARTS_AT_ONCE).await;
            room.map_err(|error| refused("write", &self.name, &error))?;
            let some = bytes.split_to(bytes.len().min(PART));
            let parts = self.sent / PART as u64;
            self.sent += some.len() as u64;
            // What fills a part sends it.
            if let Some(pace) = &self.pace
                && self.sent / PART as u64 > parts
            {
                pace.turn().await;
            }
            self.writing.put(some);
        }
        Ok(())
    }

    /// Waits until what was given so far is there, but for the last part, which is sent with its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle(&mut self) -> Result<(), StoreError> {
        let sent = self.writing.wait_for_capacity(0).await;
        sent.map_err(|error| refused("write", &self.name, &error))
    }

    /// Ends it: now it is there, in place of one that may have been.
    ///
    /// # Errors
    /// [`StoreError`]: it may be there or not.
    pub async fn end(self) -> Result<(), StoreError> {
        let Self {
            name,
            writing,
            began,
            sent,
            ..
        } = self;
        let ended = writing.finish().await.map(drop);
        let ended = ended.map_err(|error| refused("write", &name, &error));
        counted("part", began, &ended, sent);
        ended
    }

    /// Gives it up.
    pub async fn abandon(self) {
        counted("part", self.began, &Ok::<_, StoreError>(()), self.sent);
        if let Err(error) = self.writing.abort().await {
            // A rule of the bucket deletes what is left of uploads.
            tracing::warn!(name = %self.name, %error, "an upload was not given up");
        }
    }
}

/// Whether an answer was cut off to something that is asked for again then: requests that are refused, or
/// not answered at all, the client sends again by itself.
fn asks_again<T>(answer: &Result<T, StoreError>, tries: &mut u32) -> bool {
    *tries += 1;
    *tries <= AGAIN && matches!(answer, Err(error) if error.cut_off)
}

/// What tells an object from a copy of it: when it was written, besides what the store calls it.
fn stamp_of(meta: &ObjectMeta) -> u64 {
    let tag = meta.e_tag.as_deref().unwrap_or_default();
    let written = meta.last_modified.timestamp_millis();
    xxh3_64_with_seed(tag.as_bytes(), written as u64)
}

fn refused(what: &'static str, name: &str, error: &object_store::Error) -> StoreError {
    StoreError {
        what,
        name: name.to_owned(),
        reason: error.to_string(),
        // It is not told apart in another way.
        cut_off: error.to_string().contains("response body"),
    }
}

fn counted<T>(kind: &'static str, began: Instant, result: &Result<T, StoreError>, bytes: u64) {
    // Of an object that is sent in parts, each is a request, and so are its begin and its end.
    let requests = match kind {
        "part" => bytes.div_ceil(PART as u64) + 2,
        _ => 1,
    };
    counted_as(kind, requests, began, result, bytes);
}

fn counted_as<T>(
    kind: &'static str,
    requests: u64,
    began: Instant,
    result: &Result<T, StoreError>,
    bytes: u64,
) {
    let result = if result.is_ok() { "ok" } else { "failed" };
    crate::metric::archive_request(kind, result, requests, began.elapsed(), bytes);
}
