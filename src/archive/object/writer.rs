//! Writing an object, block by block.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};
use zstd::bulk::Compressor;

use super::index::{Block, ELSEWHERE, Line, encode};
use super::{Footer, HEAD_LEN, INDEX_MAX, MAGIC, VERSION};
use crate::item::ItemKey;
use crate::spoke::ChannelId;

/// How many bytes of payloads a block has before it is compressed: enough to compress well, and little
/// enough to be read for one item. A larger item has a block of its own.
pub const BLOCK: usize = 256 * 1024;
/// How hard zstd tries.
const LEVEL: i32 = 3;

/// Makes an object out of the records of a channel, which come in the order of their keys.
pub struct ObjectWriter {
    channel: ChannelId,
    /// What has been written and not been taken.
    out: Vec<u8>,
    /// How many bytes were taken.
    taken: u64,
    sum: Xxh3,
    blocks: Vec<Block>,
    types: Vec<String>,
    type_numbers: HashMap<String, u32>,
    lines: Vec<Line>,
    items: u64,
    /// The payloads of the block that is being filled.
    open: Vec<u8>,
    /// Whether there are records of that block.
    is_named: bool,
}

impl ObjectWriter {
    /// An object of that channel without records.
    pub fn new(channel: ChannelId) -> Self {
        let mut out = Vec::with_capacity(BLOCK);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&channel.0.to_le_bytes());
        debug_assert_eq!(out.len(), HEAD_LEN);
        Self {
            channel,
            out,
            taken: 0,
            sum: Xxh3::new(),
            blocks: Vec::new(),
            types: Vec::new(),
            type_numbers: HashMap::new(),
            lines: Vec::new(),
            items: 0,
            open: Vec::new(),
            is_named: false,
        }
    }

    /// Adds a record, whose key is above that of the one before.
    ///
    /// # Errors
    /// If it is not, or if it does not compress, for want of memory.
    pub fn push(
        &mut self,
        key: ItemKey,
        content_type: Option<&str>,
        payload: &[u8],
    ) -> io::Result<()> {
        self.is_next(&key)?;
        if !self.open.is_empty() && self.open.len() + payload.len() > BLOCK {
            self.end_block()?;
        }
        let kind = content_type.map_or(0, |text| self.number_of(text));
        self.lines.push(Line {
            key,
            kind,
            block: self.blocks.len() as u32,
            offset: self.open.len() as u64,
            size: payload.len() as u64,
            sum: xxh3_64(payload),
        });
        self.items += u64::from(key.count());
        self.open.extend_from_slice(payload);
        self.is_named = true;
        if self.open.len() >= BLOCK {
            self.end_block()?;
        }
        Ok(())
    }

    /// Adds a large item whose payload is in the object under its own name, of that size and XXH3.
    ///
    /// # Errors
    /// If its key is not above that of the record before.
    pub fn point(
        &mut self,
        key: ItemKey,
        content_type: Option<&str>,
        size: u64,
        sum: u64,
    ) -> io::Result<()> {
        self.is_next(&key)?;
        let kind = content_type.map_or(0, |text| self.number_of(text));
        self.lines.push(Line {
            key,
            kind,
            block: ELSEWHERE,
            offset: 0,
            size,
            sum,
        });
        self.items += u64::from(key.count());
        Ok(())
    }

    /// Nobody could read an object whose records are out of order, and nothing takes its place.
    fn is_next(&self, key: &ItemKey) -> io::Result<()> {
        match self.lines.last() {
            Some(last) if last.key >= *key => Err(io::Error::other(format!(
                "{key} is not above {}, the record before it",
                last.key
            ))),
            _ => Ok(()),
        }
    }

    /// How many bytes were written, taken or not.
    pub fn len(&self) -> u64 {
        self.taken + self.out.len() as u64
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Takes what has been written so far.
    pub fn take(&mut self) -> Bytes {
        self.taken += self.out.len() as u64;
        self.sum.update(&self.out);
        std::mem::take(&mut self.out).into()
    }

    /// Ends the object: gives the rest of it.
    ///
    /// # Errors
    /// As [`Self::push`], or if its index would be larger than any that is read.
    pub fn finish(mut self) -> io::Result<Bytes> {
        self.end_block()?;
        let index_at = self.len();
        let plain = encode(&self.blocks, &self.types, &self.lines);
        if plain.len() as u64 > INDEX_MAX {
            // It would not be read.
            return Err(io::Error::other("it has too many records for one object"));
        }
        let index = compress(&plain)?;
        self.out.extend_from_slice(&index);
        self.sum.update(&self.out);
        let footer = Footer {
            channel: self.channel,
            records: self.lines.len() as u64,
            items: self.items,
            index_at,
            index_len: index.len() as u64,
            index_size: plain.len() as u64,
            index_sum: xxh3_64(&index),
            object_sum: self.sum.digest(),
        };
        self.out.extend_from_slice(&footer.to_bytes());
        Ok(self.out.into())
    }

    /// The number of a media type, counted from 1.
    fn number_of(&mut self, text: &str) -> u32 {
        if let Some(number) = self.type_numbers.get(text) {
            return *number;
        }
        self.types.push(text.to_owned());
        let number = self.types.len() as u32;
        self.type_numbers.insert(text.to_owned(), number);
        number
    }

    fn end_block(&mut self) -> io::Result<()> {
        // One that has only records without bytes is a block all the same: they name it.
        if !self.is_named {
            return Ok(());
        }
        let at = self.len();
        let frame = compress(&self.open)?;
        self.out.extend_from_slice(&frame);
        self.blocks.push(Block {
            at,
            len: frame.len() as u64,
            size: self.open.len() as u64,
        });
        self.open.clear();
        self.is_named = false;
        Ok(())
    }
}

thread_local! {
    /// What a thread compresses with: to make it costs as much as to compress a small block.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take() {
            Some(kept) => kept,
            None => Compressor::new(LEVEL)?,
        };
        let compressed = compressor.compress(bytes)?;
        // One that has failed is made anew.
        *kept = Some(compressor);
        Ok(compressed)
    })
}
