//! The sealed index of a segment (`docs/spoke-format.md`): where each item stands in the log, in
//! the order of channel and key.
//!
//! Entries stand in blocks of about 4 KiB, each with its checksum. A table of fences, the first
//! entry of each block, is kept in memory while the segment is in use, so that finding a key reads
//! one block. The index is derived from the log: lost or damaged, it is made again.

mod write;

use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::files::{LogFile, read_exact};
use super::ids::{ChannelId, WriteId};
use super::record::{ItemFlags, Malformed, Reader, put_key};
use crate::env::Millis;
use crate::item::ItemKey;

pub use write::write_index;

const BLOCK: usize = 4096;
const MAGIC: [u8; 8] = *b"HUBINDEX";
/// 2 counts the undecided entries. An index of an earlier format is made again from its log.
const FORMAT: u32 = 2;
const FOOTER_LEN: usize = 8 + 4 + 4 + 8 * 11 + 8;

/// Where an item stands in a segment's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The channel.
    pub channel: ChannelId,
    /// The item's key.
    pub key: ItemKey,
    /// Where its record's frame begins in the log.
    pub offset: u64,
    /// The length of the record's body.
    pub body_len: u32,
    /// What kind of copy it is.
    pub flags: ItemFlags,
    /// Whether it was removed: then the entry hides the item wherever else it stands.
    pub removed: bool,
    /// The write that made it.
    pub write_id: WriteId,
}

impl Entry {
    const REMOVED: u8 = 0x80;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.channel.0.to_le_bytes());
        put_key(out, &self.key);
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.push(self.flags.to_byte() | if self.removed { Self::REMOVED } else { 0 });
        out.extend_from_slice(&self.write_id.0.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let channel = ChannelId(u64::from_le_bytes(reader.array()?));
        let key = reader.key()?;
        let offset = u64::from_le_bytes(reader.array()?);
        let body_len = u32::from_le_bytes(reader.array()?);
        let flags = reader.byte()?;
        Ok(Self {
            channel,
            key,
            offset,
            body_len,
            flags: ItemFlags::from_byte(flags),
            removed: flags & Self::REMOVED != 0,
            write_id: WriteId(u128::from_le_bytes(reader.array()?)),
        })
    }

    /// What entries are ordered by.
    pub fn position(&self) -> (ChannelId, ItemKey) {
        (self.channel, self.key)
    }
}

/// What a segment holds of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelSummary {
    /// The channel.
    pub channel: ChannelId,
    /// How many entries.
    pub items: u64,
    /// The bytes of their records.
    pub bytes: u64,
    /// The lowest key.
    pub first: ItemKey,
    /// The highest key.
    pub last: ItemKey,
}

/// What is kept in memory of every sealed segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexMeta {
    /// The log's length when it was sealed.
    pub log_len: u64,
    /// How many entries.
    pub items: u64,
    /// How many of them matter to what is remembered of writes: those written under an idempotency
    /// key, and removals.
    pub remembered: u64,
    /// How many stand for items that were undecided when the index was written.
    pub undecided: u64,
    /// The bytes of the index file.
    pub index_len: u64,
    /// The latest clock mark in the segment.
    pub mark: Millis,
    /// The highest batch in the segment.
    pub sequence: u64,
}

/// Why an index cannot be used.
#[derive(Debug, Error)]
pub enum IndexError {
    /// The file is not what was written.
    #[error("the index is damaged: {0}")]
    Damaged(#[from] Malformed),
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The read would have to wait for the disk.
    #[error("not in memory")]
    NotCached,
}

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// It may: only on a thread that may block.
    Blocking,
    /// It may not: it fails where it would.
    Cached,
}

/// Reads exactly that many bytes, waiting or not.
pub(super) fn read_mode(
    file: &dyn LogFile,
    offset: u64,
    length: usize,
    mode: ReadMode,
) -> Result<Vec<u8>, IndexError> {
    match mode {
        ReadMode::Blocking => Ok(read_exact(file, offset, length)?),
        ReadMode::Cached => {
            let mut buf = vec![0; length];
            match file.read_cached_at(&mut buf, offset)? {
                Some(read) if read == length => Ok(buf),
                _ => Err(IndexError::NotCached),
            }
        }
    }
}

struct Footer {
    blocks: u32,
    tables_at: u64,
    tables_len: u64,
    fences_len: u64,
    channels: u64,
    tables_sum: u64,
    meta: IndexMeta,
}

impl Footer {
    fn encode(&self, salt: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        for number in [
            self.tables_at,
            self.tables_len,
            self.fences_len,
            self.channels,
            self.tables_sum,
            self.meta.log_len,
            self.meta.items,
            self.meta.remembered,
            self.meta.undecided,
            self.meta.mark.get() as u64,
            self.meta.sequence,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let sum = xxh3_64_with_seed(&out, salt);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], salt: u64, index_len: u64) -> Result<Self, Malformed> {
        let bytes: &[u8; FOOTER_LEN] = bytes.first_chunk().ok_or(Malformed::Short)?;
        let (covered, sum) = bytes.split_last_chunk::<8>().ok_or(Malformed::Short)?;
        if u64::from_le_bytes(*sum) != xxh3_64_with_seed(covered, salt) {
            return Err(Malformed::Checksum);
        }
        let mut reader = Reader::new(covered);
        if reader.array::<8>()? != MAGIC || u32::from_le_bytes(reader.array()?) != FORMAT {
            return Err(Malformed::Unknown { what: "format" });
        }
        let blocks = u32::from_le_bytes(reader.array()?);
        let mut number = || reader.array().map(u64::from_le_bytes);
        let (tables_at, tables_len, fences_len) = (number()?, number()?, number()?);
        let (channels, tables_sum) = (number()?, number()?);
        let meta = IndexMeta {
            log_len: number()?,
            items: number()?,
            remembered: number()?,
            undecided: number()?,
            index_len,
            mark: Millis::new(number()? as i64),
            sequence: number()?,
        };
        if fences_len > tables_len || tables_at.saturating_add(tables_len) > index_len {
            return Err(Malformed::Unknown { what: "footer" });
        }
        Ok(Self {
            blocks,
            tables_at,
            tables_len,
            fences_len,
            channels,
            tables_sum,
            meta,
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Fence {
    channel: ChannelId,
    key: ItemKey,
    offset: u64,
    length: u32,
}

/// An open index: its fences in memory, its blocks on disk.
#[derive(Debug)]
pub struct SealedIndex {
    file: Arc<dyn LogFile>,
    salt: u64,
    fences: Vec<Fence>,
    channels: Vec<ChannelSummary>,
    meta: IndexMeta,
}

impl SealedIndex {
    /// Opens an index and checks its tables. Blocks are checked as they are read.
    ///
    /// # Errors
    /// [`IndexError`] if it is damaged, of another segment, or cannot be read.
    pub fn open(file: Arc<dyn LogFile>, salt: u64) -> Result<Self, IndexError> {
        let length = file.length()?;
        let footer_at = length
            .checked_sub(FOOTER_LEN as u64)
            .ok_or(Malformed::Short)?;
        let footer = Footer::decode(&read_exact(&*file, footer_at, FOOTER_LEN)?, salt, length)?;
        let tables = read_exact(&*file, footer.tables_at, footer.tables_len as usize)?;
        if xxh3_64_with_seed(&tables, salt) != footer.tables_sum {
            return Err(Malformed::Checksum.into());
        }
        let split = tables.split_at_checked(footer.fences_len as usize);
        let (fence_bytes, channel_bytes) = split.ok_or(Malformed::Short)?;
        let mut reader = Reader::new(fence_bytes);
        let mut fences = Vec::new();
        for _ in 0..footer.blocks {
            let fence = Fence {
                channel: ChannelId(u64::from_le_bytes(reader.array()?)),
                key: reader.key()?,
                offset: u64::from_le_bytes(reader.array()?),
                length: u32::from_le_bytes(reader.array()?),
            };
            // What it says is read into memory as it is.
            let end = fence.offset.saturating_add(u64::from(fence.length) + 8);
            if end > footer.tables_at {
                return Err(Malformed::Unknown { what: "fence" }.into());
            }
            fences.push(fence);
        }
        let mut reader = Reader::new(channel_bytes);
        let mut channels = Vec::new();
        for _ in 0..footer.channels {
            channels.push(ChannelSummary {
                channel: ChannelId(u64::from_le_bytes(reader.array()?)),
                items: u64::from_le_bytes(reader.array()?),
                bytes: u64::from_le_bytes(reader.array()?),
                first: reader.key()?,
                last: reader.key()?,
            });
        }
        Ok(Self {
            file,
            salt,
            fences,
            channels,
            meta: footer.meta,
        })
    }

    /// What is kept of it in memory for good.
    pub fn meta(&self) -> &IndexMeta {
        &self.meta
    }

    /// What it holds of each channel, in order.
    pub fn channels(&self) -> &[ChannelSummary] {
        &self.channels
    }

    /// The memory that its tables take, in bytes.
    pub fn weight(&self) -> usize {
        self.fences.len() * size_of::<Fence>()
            + self.channels.len() * size_of::<ChannelSummary>()
            + size_of::<Self>()
    }

    /// The entry of that position.
    ///
    /// # Errors
    /// [`IndexError`] if the block cannot be read or is damaged.
    pub fn find(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        mode: ReadMode,
    ) -> Result<Option<Entry>, IndexError> {
        let Some(block) = self.block_of((channel, *key)) else {
            return Ok(None);
        };
        let block = self.block(block, mode)?;
        for entry in entries(&block) {
            let entry = entry?;
            match entry.position().cmp(&(channel, *key)) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(Some(entry)),
                Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// Gives the entries of `channel` from `from` on, in key order, to `take` until it answers
    /// false.
    ///
    /// # Errors
    /// [`IndexError`] if a block cannot be read or is damaged.
    pub fn ascend(
        &self,
        channel: ChannelId,
        from: &ItemKey,
        mode: ReadMode,
        mut take: impl FnMut(&Entry) -> bool,
    ) -> Result<(), IndexError> {
        let start = (channel, *from);
        for block in self.block_of(start).unwrap_or(0)..self.fences.len() {
            for entry in self.read_block(block, mode)? {
                if entry.position() >= start && (entry.channel != channel || !take(&entry)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// As [`Self::ascend`], downwards from `from`.
    ///
    /// # Errors
    /// [`IndexError`] if a block cannot be read or is damaged.
    pub fn descend(
        &self,
        channel: ChannelId,
        from: &ItemKey,
        mode: ReadMode,
        mut take: impl FnMut(&Entry) -> bool,
    ) -> Result<(), IndexError> {
        let start = (channel, *from);
        let Some(first) = self.block_of(start) else {
            return Ok(());
        };
        for block in (0..=first).rev() {
            for entry in self.read_block(block, mode)?.iter().rev() {
                if entry.position() <= start && (entry.channel != channel || !take(entry)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Gives every entry, in order.
    ///
    /// # Errors
    /// [`IndexError`] if a block cannot be read or is damaged.
    pub fn each(&self, mut take: impl FnMut(&Entry)) -> Result<(), IndexError> {
        for block in 0..self.fences.len() {
            self.read_block(block, ReadMode::Blocking)?
                .iter()
                .for_each(&mut take);
        }
        Ok(())
    }

    /// The block that would hold a position; `None` if it lies before all of them.
    fn block_of(&self, position: (ChannelId, ItemKey)) -> Option<usize> {
        let after = |fence: &Fence| (fence.channel, fence.key) <= position;
        self.fences.partition_point(after).checked_sub(1)
    }

    /// The bytes of a block's entries, checked.
    fn block(&self, block: usize, mode: ReadMode) -> Result<Vec<u8>, IndexError> {
        let fence = self.fences.get(block).ok_or(Malformed::Short)?;
        let length = fence.length as usize;
        let mut bytes = read_mode(&*self.file, fence.offset, length + 8, mode)?;
        let (block, sum) = bytes.split_last_chunk::<8>().ok_or(Malformed::Short)?;
        let seed = self.salt.wrapping_add(fence.offset);
        if u64::from_le_bytes(*sum) != xxh3_64_with_seed(block, seed) {
            return Err(Malformed::Checksum.into());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn read_block(&self, block: usize, mode: ReadMode) -> Result<Vec<Entry>, IndexError> {
        let block = self.block(block, mode)?;
        let read: Result<Vec<Entry>, Malformed> = entries(&block).collect();
        Ok(read?)
    }
}

/// The entries that stand in those bytes, up to the first that makes no sense.
fn entries(block: &[u8]) -> impl Iterator<Item = Result<Entry, Malformed>> {
    let mut reader = Reader::new(block);
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || reader.rest().is_empty() {
            return None;
        }
        let entry = Entry::read(&mut reader);
        failed = entry.is_err();
        Some(entry)
    })
}
