//! The object store, as the archive asks it.
//!
//! Whatever store it is: objects are created and not changed, read whole or in part, and listed by
//! name, in order, from any place on. Every request is counted.

mod listing;
mod open;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    WriteMultipart,
};
use thiserror::Error;
use tokio::time::Instant;

pub use listing::{Found, Names, Objects};
pub use open::{OpenError, Patience};

/// How much of an object goes out at a time where it is not put at once, in bytes.
const PART: usize = 8 << 20;
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
#[derive(Debug)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    /// How it is listed from a place on; `None` where that costs no request: on this machine.
    pages: Option<Arc<dyn Pages>>,
    /// Where in it the archive is.
    root: Path,
}

/// A store that lists page by page.
pub trait Pages: PaginatedListStore + std::fmt::Debug {}
impl<T: PaginatedListStore + std::fmt::Debug> Pages for T {}

impl Store {
    /// A store in memory, which is gone when it is dropped.
    pub fn in_memory() -> Self {
        Self {
            inner: Arc::new(object_store::memory::InMemory::new()),
            pages: None,
            root: Path::default(),
        }
    }

    /// A store that a test watches.
    #[cfg(test)]
    pub(crate) fn watched<T: Pages + ObjectStore>(store: Arc<T>) -> Self {
        Self {
            inner: Arc::clone(&store) as Arc<dyn ObjectStore>,
            pages: Some(store),
            root: Path::default(),
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
        let began = Instant::now();
        let begun = self.inner.put_multipart(&self.path(name)).await;
        let begun = begun.map_err(|error| refused("write", name, &error));
        counted("upload", began, &begun, 0);
        Ok(Upload {
            name: name.to_owned(),
            writing: WriteMultipart::new_with_chunk_size(begun?, PART),
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
                }));
            }
            Which::These(range) => Some(GetRange::Bounded(range)),
            Which::Last(count) => Some(GetRange::Suffix(count)),
        };
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        let began = Instant::now();
        let read = self.read_with(name, options).await;
        let length = read.as_ref().ok().and_then(Option::as_ref);
        counted(
            "get",
            began,
            &read,
            length.map_or(0, |part| part.bytes.len() as u64),
        );
        read
    }

    async fn read_with(&self, name: &str, options: GetOptions) -> Result<Option<Part>, StoreError> {
        let wrong = |error: object_store::Error| refused("read", name, &error);
        let found = match self.inner.get_opts(&self.path(name), options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(wrong(error)),
        };
        let (length, wanted) = (found.meta.size, found.range.end - found.range.start);
        let bytes = found.bytes().await.map_err(wrong)?;
        if bytes.len() as u64 != wanted {
            return Err(StoreError {
                what: "read",
                name: name.to_owned(),
                reason: format!("{} of {wanted} bytes came", bytes.len()),
            });
        }
        Ok(Some(Part { bytes, length }))
    }

    /// Deletes objects; those that are not there count as deleted.
    ///
    /// # Errors
    /// [`StoreError`] of the first that was not: others may be gone.
    pub async fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        let paths: Vec<_> = names.iter().map(|name| Ok(self.path(name))).collect();
        let began = Instant::now();
        let deleting = self.inner.delete_stream(stream::iter(paths).boxed());
        let deleted = deleting
            .filter(|done| {
                let gone = matches!(done, Err(object_store::Error::NotFound { .. }));
                std::future::ready(!gone)
            })
            .try_for_each(|_| std::future::ready(Ok(())))
            .await;
        let first = names.first().map_or("", String::as_str);
        let deleted = deleted.map_err(|error| refused("delete", first, &error));
        counted("delete", began, &deleted, 0);
        deleted
    }
}

/// An object that is being sent.
pub struct Upload {
    name: String,
    writing: WriteMultipart,
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
            self.writing.put(bytes.split_to(bytes.len().min(PART)));
        }
        Ok(())
    }

    /// Ends it: now it is there, in place of one that may have been.
    ///
    /// # Errors
    /// [`StoreError`]: it may be there or not.
    pub async fn end(self) -> Result<(), StoreError> {
        let ended = self.writing.finish().await;
        ended
            .map(drop)
            .map_err(|error| refused("write", &self.name, &error))
    }

    /// Gives it up.
    pub async fn abandon(self) {
        if let Err(error) = self.writing.abort().await {
            // A rule of the bucket deletes what is left of uploads.
            tracing::warn!(name = %self.name, %error, "an upload was not given up");
        }
    }
}

fn refused(what: &'static str, name: &str, error: &object_store::Error) -> StoreError {
    StoreError {
        what,
        name: name.to_owned(),
        reason: error.to_string(),
    }
}

fn counted<T>(kind: &'static str, began: Instant, result: &Result<T, StoreError>, bytes: u64) {
    let result = if result.is_ok() { "ok" } else { "failed" };
    crate::metric::archive_request(kind, result, began.elapsed(), bytes);
}
