//! Making an object, and sending it while it is made.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ArchiveError;
use crate::archive::object::ObjectWriter;
use crate::archive::store::{Created, Store, Upload};
use crate::item::ItemKey;
use crate::spoke::ChannelId;

/// An object is put at once up to this size, and part by part above, in bytes.
pub(super) const AT_ONCE_MAX: usize = 8 << 20;
/// So much is compressed at a time, in bytes of payloads and in records.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_RECORDS: usize = 512;
/// Records larger than this take turns for memory, in bytes.
const LARGE: u64 = 4 << 20;
/// Objects that are sent part by part at the same time: each has some parts in memory.
const UPLOADS: usize = 3;
/// The memory for records larger than [`LARGE`], in KiB: each takes its size three times, as it was
/// read and as it is compressed, but no more than there is.
const LARGE_KIB: u32 = 512 * 1024;

/// What keeps large objects from taking all memory.
#[derive(Debug)]
pub(super) struct Bounds {
    uploads: Arc<Semaphore>,
    /// Large items that are sent while the object that points to them is made: it may hold one of the
    /// others' turns meanwhile.
    aside: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Bulk inserts larger than [`LARGE`] that are taken apart: one at a time.
    packs: Arc<Semaphore>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            aside: Arc::new(Semaphore::new(1)),
            large: Arc::new(Semaphore::new(LARGE_KIB as usize)),
            packs: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Bounds {
    /// What is to be held while a bulk insert of that size is in memory.
    pub(super) async fn pack(&self, size: u64) -> io::Result<Option<OwnedSemaphorePermit>> {
        if size <= LARGE {
            return Ok(None);
        }
        take(&self.packs, 1).await.map(Some)
    }
}

async fn take(semaphore: &Arc<Semaphore>, count: u32) -> io::Result<OwnedSemaphorePermit> {
    let taken = Arc::clone(semaphore).acquire_many_owned(count).await;
    taken.map_err(io::Error::other)
}

/// A record that waits to be compressed.
struct Waiting {
    key: ItemKey,
    content_type: Option<String>,
    payload: Payload,
}

enum Payload {
    Here(Bytes),
    /// In an object of its own: its size and XXH3.
    Elsewhere(u64, u64),
}

/// An object that is being made and sent.
pub(super) struct Sending<'a> {
    store: &'a Store,
    bounds: &'a Bounds,
    /// Whose turn it is to send part by part.
    turns: &'a Arc<Semaphore>,
    name: String,
    /// `None` while it is compressed into elsewhere, and for good if that failed.
    writer: Option<ObjectWriter>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    upload: Option<(Upload, OwnedSemaphorePermit)>,
}

/// What was made.
pub(super) struct Made {
    /// Its end, which tells it from any other.
    pub(super) footer: Bytes,
    /// Whether it is there now; else another one may have been before.
    pub(super) created: Created,
}

impl<'a> Sending<'a> {
    pub(super) fn new(
        store: &'a Store,
        bounds: &'a Bounds,
        channel: ChannelId,
        name: &str,
    ) -> Self {
        Self {
            store,
            bounds,
            turns: &bounds.uploads,
            name: name.to_owned(),
            writer: Some(ObjectWriter::new(channel)),
            waiting: Vec::new(),
            waiting_bytes: 0,
            upload: None,
        }
    }

    /// As one that is sent while another object is made.
    pub(super) fn aside(mut self) -> Self {
        self.turns = &self.bounds.aside;
        self
    }

    /// What is to be held while a record of that size is read and given to [`Self::push`]; `None` for those
    /// that need no room kept.
    pub(super) async fn room(
        &mut self,
        size: u64,
    ) -> Result<Option<OwnedSemaphorePermit>, ArchiveError> {
        if size <= LARGE {
            return Ok(None);
        }
        // Whoever holds room for a record waits for nothing else: those that send have begun to.
        self.begin().await?;
        let kib = (3 * size.div_ceil(1024)).min(LARGE_KIB.into());
        let room = take(&self.bounds.large, kib as u32).await?;
        Ok(Some(room))
    }

    /// Adds a record, whose key is above that of the one before.
    pub(super) async fn push(
        &mut self,
        key: ItemKey,
        content_type: Option<String>,
        payload: Bytes,
    ) -> Result<(), ArchiveError> {
        self.waiting_bytes += payload.len();
        let payload = Payload::Here(payload);
        self.add(key, content_type, payload).await
    }

    /// Adds a large item whose payload has an object of its own, of that size and XXH3, in its place among
    /// the records.
    pub(super) async fn point(
        &mut self,
        key: ItemKey,
        content_type: Option<String>,
        size: u64,
        sum: u64,
    ) -> Result<(), ArchiveError> {
        let payload = Payload::Elsewhere(size, sum);
        self.add(key, content_type, payload).await
    }

    async fn add(
        &mut self,
        key: ItemKey,
        content_type: Option<String>,
        payload: Payload,
    ) -> Result<(), ArchiveError> {
        self.waiting.push(Waiting {
            key,
            content_type,
            payload,
        });
        if self.waiting_bytes >= BATCH_BYTES || self.waiting.len() >= BATCH_RECORDS {
            self.compress().await?;
        }
        Ok(())
    }

    /// Begins to send it part by part.
    async fn begin(&mut self) -> Result<(), ArchiveError> {
        if self.upload.is_none() {
            let turn = take(self.turns, 1).await?;
            self.upload = Some((self.store.upload(&self.name).await?, turn));
        }
        Ok(())
    }

    async fn compress(&mut self) -> Result<(), ArchiveError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let mut writer = self.writer.take().ok_or_else(given_up)?;
        let compressing = tokio::task::spawn_blocking(move || {
            for record in waiting {
                let kind = record.content_type.as_deref();
                match record.payload {
                    Payload::Here(bytes) => writer.push(record.key, kind, &bytes)?,
                    Payload::Elsewhere(size, sum) => writer.point(record.key, kind, size, sum)?,
                }
            }
            Ok::<_, io::Error>(writer)
        });
        let mut writer = compressing.await.map_err(io::Error::other)??;
        let more = (writer.waiting() > AT_ONCE_MAX).then(|| writer.take());
        self.writer = Some(writer);
        if let Some(more) = more {
            self.begin().await?;
            self.send(more).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), ArchiveError> {
        if let Some((upload, _)) = &mut self.upload {
            upload.put(bytes).await?;
        }
        Ok(())
    }

    /// Ends it: it is there then, unless another one was before, or `is_there` says so of one that is to be
    /// sent in parts, right before its end.
    pub(super) async fn finish(
        mut self,
        is_there: impl AsyncFnOnce() -> Result<bool, ArchiveError>,
    ) -> Result<Made, ArchiveError> {
        let finished = self.finish_with(is_there).await;
        self.give_up().await;
        finished
    }

    async fn finish_with(
        &mut self,
        is_there: impl AsyncFnOnce() -> Result<bool, ArchiveError>,
    ) -> Result<Made, ArchiveError> {
        self.compress().await?;
        let writer = self.writer.take().ok_or_else(given_up)?;
        let finishing = tokio::task::spawn_blocking(move || writer.finish());
        let last = finishing.await.map_err(io::Error::other)??;
        let end = last
            .len()
            .saturating_sub(crate::archive::object::FOOTER_LEN);
        let footer = last.slice(end..);
        if self.upload.is_none() && last.len() <= AT_ONCE_MAX {
            let created = self.store.create(&self.name, last).await?;
            return Ok(Made { footer, created });
        }
        self.begin().await?;
        self.send(last).await?;
        // As little time as can be is between that look and the end, which takes the place of what came since.
        if let Some((upload, _)) = &mut self.upload {
            upload.settle().await?;
        }
        if is_there().await? {
            let created = Created::Before;
            return Ok(Made { footer, created });
        }
        if let Some((upload, _)) = self.upload.take() {
            upload.end().await?;
        }
        let created = Created::Now;
        Ok(Made { footer, created })
    }

    /// Lets go of what was sent and not ended.
    pub(super) async fn give_up(self) {
        if let Some((upload, _)) = self.upload {
            upload.abandon().await;
        }
    }
}

fn given_up() -> io::Error {
    io::Error::other("it was given up before")
}
