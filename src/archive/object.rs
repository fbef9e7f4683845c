//! Objects of many items: one for each minute of a channel, and one for each hour.
//!
//! An object is written from its front, block by block, so that a large one is never held whole; and read
//! from its end, where the index is, so that one item costs one more request and not the object. Every
//! item has a checksum, the index has one, and so has the object.
//!
//! ```text
//! object := head block* index footer
//! head   := magic version:u32 channel:u64
//! block  := a zstd frame: payloads, one after the other
//! index  := a zstd frame: blocks types records
//! footer := see below, 80 bytes
//! ```
//!
//! A *record* is what Spoke stores under one key: an item, or all items of a bulk insert.

mod index;
mod writer;

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

pub use index::{Index, Record, cut, unpack};
pub use writer::ObjectWriter;

use crate::spoke::ChannelId;

/// The version of the format.
pub const VERSION: u32 = 1;
/// What an object begins with, and ends with.
const MAGIC: &[u8; 8] = b"hub-arc\n";
/// The length of the head, in bytes.
pub const HEAD_LEN: usize = 20;
/// The length of the footer, in bytes.
pub const FOOTER_LEN: usize = 80;
/// The part of it that it has a checksum of itself of.
const FIELDS_LEN: usize = 64;
/// The largest index that is read, in bytes before it is compressed: some twenty million records.
const INDEX_MAX: u64 = 1 << 30;

/// An object that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the object is damaged: {0}")]
pub struct Damaged(pub &'static str);

/// What is found in the place of an item that was deleted.
pub const DELETED: Damaged = Damaged("it stands in the place of an item that was deleted");
/// What the object in the place of a deleted item begins with.
const GONE: &[u8; 8] = b"hub-gone";
/// How long it is, in bytes: shorter than every other.
pub const GONE_LEN: usize = 20;

/// The object in the place of an item of that channel which was deleted: whoever else has the item does
/// not count.
pub fn gone(channel: ChannelId) -> Bytes {
    let mut bytes = GONE.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&channel.0.to_le_bytes());
    bytes.into()
}

/// The end of an object, which says where the rest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// The channel.
    pub channel: ChannelId,
    /// How many records there are.
    pub records: u64,
    /// How many items they are.
    pub items: u64,
    /// Where the index begins, in bytes; the blocks end there.
    pub index_at: u64,
    /// How long it is.
    pub index_len: u64,
    /// How long it is before it is compressed.
    index_size: u64,
    /// The XXH3 of the index, compressed.
    index_sum: u64,
    /// The XXH3 of all that stands before the footer.
    pub object_sum: u64,
}

impl Footer {
    /// The bytes that an object ends with.
    pub fn to_bytes(self) -> [u8; FOOTER_LEN] {
        let mut bytes = [0; FOOTER_LEN];
        let numbers = [
            self.channel.0,
            self.records,
            self.items,
            self.index_at,
            self.index_len,
            // A length that is read below 2^30 leaves room for the version.
            self.index_size | u64::from(VERSION) << 32,
            self.index_sum,
            self.object_sum,
        ];
        for (field, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        let (fields, rest) = bytes.split_at_mut(FIELDS_LEN);
        let sum = xxh3_64(fields).to_le_bytes();
        for (byte, end) in rest.iter_mut().zip(sum.iter().chain(MAGIC)) {
            *byte = *end;
        }
        bytes
    }

    /// The footer that the last bytes of an object hold; `length` is that of the object.
    ///
    /// # Errors
    /// [`Damaged`] if they hold none that fits; [`DELETED`] if they are the object of a deleted item.
    pub fn parse(tail: &[u8], length: u64) -> Result<Self, Damaged> {
        if length == GONE_LEN as u64 && tail.starts_with(GONE) {
            return Err(DELETED);
        }
        let bytes = tail
            .last_chunk::<FOOTER_LEN>()
            .ok_or(Damaged("it is too short"))?;
        if !bytes.ends_with(MAGIC) {
            return Err(Damaged("it does not end as one"));
        }
        let (fields, rest) = bytes.split_at(FIELDS_LEN);
        if !rest.starts_with(&xxh3_64(fields).to_le_bytes()) {
            return Err(Damaged("its end is not what was written"));
        }
        let mut numbers = fields.chunks_exact(8).map(|field| {
            let field = field.first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(field)
        });
        let mut next = || numbers.next().unwrap_or_default();
        let (channel, records, items, index_at, index_len) =
            (next(), next(), next(), next(), next());
        let (size_and_version, index_sum, object_sum) = (next(), next(), next());
        if size_and_version >> 32 != u64::from(VERSION) {
            return Err(Damaged("it is of a version that this hub does not know"));
        }
        let index_size = size_and_version & u64::from(u32::MAX);
        let ends = index_at.checked_add(index_len);
        let ends = ends.and_then(|end| end.checked_add(FOOTER_LEN as u64));
        if ends != Some(length) || index_at < HEAD_LEN as u64 || index_size > INDEX_MAX {
            return Err(Damaged("its parts do not fit"));
        }
        Ok(Self {
            channel: ChannelId(channel),
            records,
            items,
            index_at,
            index_len,
            index_size,
            index_sum,
            object_sum,
        })
    }
}

/// Reads any bytes as an object, and as what its index is before it is compressed: checksums would keep
/// nearly all of them from what is behind.
///
/// # Panics
/// If what is read does not hold together: that is what a fuzzer looks for.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let _ = Index::of_object(data);
    index::fuzz(data);
}

#[cfg(test)]
mod tests;
