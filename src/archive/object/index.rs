//! The index of an object: which records it has, and where they are.

use std::ops::Range;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Damaged, FOOTER_LEN, Footer};
use crate::archive::name::Object;
use crate::item::ItemKey;
use crate::spoke::ChannelId;

/// A block of payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins in the object.
    pub(super) at: u64,
    /// How long it is there.
    pub(super) len: u64,
    /// How long it is before it is compressed.
    pub(super) size: u64,
}

/// The block of a record that is in none: its payload is in an object of its own.
pub(super) const ELSEWHERE: u32 = u32::MAX;

/// What the index says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: ItemKey,
    /// The number of its media type, counted from 1; 0 for none.
    pub(super) kind: u32,
    pub(super) block: u32,
    /// Where its payload begins in its block.
    pub(super) offset: u64,
    pub(super) size: u64,
    /// The XXH3 of its payload.
    pub(super) sum: u64,
}

/// A record of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its key.
    pub key: ItemKey,
    /// Its media type.
    pub content_type: Option<&'a str>,
    /// The length of its payload, in bytes.
    pub size: u64,
    /// The XXH3 of its payload.
    pub sum: u64,
    /// The number of the block that its payload is in, counted from 0; nothing if it is
    /// [`elsewhere`](Self::is_elsewhere).
    pub number: u32,
    block: Block,
    offset: u64,
}

impl Record<'_> {
    /// The record without its media type.
    pub fn place(self) -> Record<'static> {
        Record {
            key: self.key,
            content_type: None,
            size: self.size,
            sum: self.sum,
            number: self.number,
            block: self.block,
            offset: self.offset,
        }
    }

    /// Whether its payload is not in this object, but in the one under the item's own name: it is a large item.
    pub fn is_elsewhere(&self) -> bool {
        self.number == ELSEWHERE
    }

    /// How long its block is before it is compressed, in bytes.
    pub fn block_size(&self) -> u64 {
        self.block.size
    }
}

/// The index of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    footer: Footer,
    blocks: Vec<Block>,
    types: Vec<String>,
    lines: Vec<Line>,
}

/// The index, before it is compressed:
///
/// ```text
/// index   := count:u32 block* count:u32 type* count:u32 record*
/// block   := at:u64 len:u64 size:u64
/// type    := len:u16 text
/// record  := key_len:u8 key kind:u32 block:u32 offset:u64 size:u64 sum:u64
/// ```
///
/// The block of a record whose payload is elsewhere is the greatest number there is.
pub(super) fn encode(blocks: &[Block], types: &[String], lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::with_capacity(12 + blocks.len() * 24 + lines.len() * 48);
    out.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
    for block in blocks {
        for number in [block.at, block.len, block.size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out.extend_from_slice(&(types.len() as u32).to_le_bytes());
    for text in types {
        // A media type is shorter: it came in a header.
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&(lines.len() as u32).to_le_bytes());
    for line in lines {
        let at = out.len();
        out.push(0);
        line.key.write_bytes(&mut out);
        let length = out.len() - at - 1;
        if let Some(byte) = out.get_mut(at) {
            *byte = length as u8;
        }
        out.extend_from_slice(&line.kind.to_le_bytes());
        out.extend_from_slice(&line.block.to_le_bytes());
        for number in [line.offset, line.size, line.sum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out
}

/// What is still to be read of an index.
struct Rest<'a>(&'a [u8]);

/// The fewest bytes of a record: those of a key are its milliseconds at the least.
const LINE_MIN: usize = 1 + 8 + 32;
/// The largest block that is read, in bytes before it is compressed: no item is larger.
const BLOCK_MAX: u64 = 2 << 30;
const SHORT: Damaged = Damaged("its index is too short");

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.first_chunk().copied().ok_or(SHORT)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count of what takes at least so many bytes each.
    fn count(&mut self, least: usize) -> Result<usize, Damaged> {
        let count = self.u32()? as usize;
        (count <= self.0.len() / least)
            .then_some(count)
            .ok_or(SHORT)
    }
}

impl Index {
    /// The index that stands in these bytes of an object, with what its footer says of it.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn parse(bytes: &[u8], footer: &Footer) -> Result<Self, Damaged> {
        if bytes.len() as u64 != footer.index_len || xxh3_64(bytes) != footer.index_sum {
            return Err(Damaged("its index is not what was written"));
        }
        // What it is said to hold is not made room for until its frame says the same.
        let said = zstd::zstd_safe::get_frame_content_size(bytes)
            .ok()
            .flatten();
        if said != Some(footer.index_size) {
            return Err(Damaged("its index is not what was written"));
        }
        let plain = zstd::bulk::decompress(bytes, footer.index_size as usize)
            .map_err(|_| Damaged("its index does not decompress"))?;
        let index = Self::read(&plain, footer)?;
        let items = index.lines.iter().map(|line| u64::from(line.key.count()));
        if index.lines.len() as u64 != footer.records || items.sum::<u64>() != footer.items {
            return Err(Damaged("its index does not go with its footer"));
        }
        Ok(index)
    }

    /// The index, of the bytes that it is before it is compressed.
    fn read(plain: &[u8], footer: &Footer) -> Result<Self, Damaged> {
        let mut rest = Rest(plain);
        let count = rest.count(24)?;
        let mut blocks = Vec::with_capacity(count);
        let mut behind = 0;
        for _ in 0..count {
            let (at, len, size) = (rest.u64()?, rest.u64()?, rest.u64()?);
            if at < behind {
                return Err(Damaged("its blocks are out of order"));
            }
            behind = at.saturating_add(len);
            if at.checked_add(len).is_none_or(|end| end > footer.index_at) || size > BLOCK_MAX {
                return Err(Damaged("a block lies outside"));
            }
            blocks.push(Block { at, len, size });
        }
        let count = rest.count(2)?;
        if count as u64 > footer.items {
            return Err(Damaged("it has more media types than items"));
        }
        let mut types = Vec::new();
        for _ in 0..count {
            let length = u16::from_le_bytes(rest.array()?);
            let text = std::str::from_utf8(rest.take(length.into())?);
            types.push(
                text.map_err(|_| Damaged("a media type is no text"))?
                    .to_owned(),
            );
        }
        let count = rest.count(LINE_MIN)?;
        let mut lines: Vec<Line> = Vec::with_capacity(count);
        for _ in 0..count {
            let [length] = rest.array()?;
            let key = ItemKey::from_bytes(rest.take(length.into())?);
            let key = key.ok_or(Damaged("a key is none"))?;
            let line = Line {
                key,
                kind: rest.u32()?,
                block: rest.u32()?,
                offset: rest.u64()?,
                size: rest.u64()?,
                sum: rest.u64()?,
            };
            let fits = if line.block == ELSEWHERE {
                // Only items have names of their own.
                line.offset == 0 && !key.is_bulk()
            } else {
                let block = blocks.get(line.block as usize);
                let end = line.offset.checked_add(line.size);
                block.zip(end).is_some_and(|(block, end)| end <= block.size)
            };
            if !fits || line.kind as usize > types.len() {
                return Err(Damaged("a record lies outside its block"));
            }
            if lines.last().is_some_and(|last| last.key >= key) {
                return Err(Damaged("its records are out of order"));
            }
            lines.push(line);
        }
        if !rest.0.is_empty() {
            return Err(Damaged("its index is too long"));
        }
        Ok(Self {
            footer: *footer,
            blocks,
            types,
            lines,
        })
    }

    /// The index of a whole object, all of which is what was written.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn of_object(bytes: &[u8]) -> Result<Self, Damaged> {
        let footer = Footer::parse(bytes, bytes.len() as u64)?;
        let before = bytes.get(..bytes.len() - FOOTER_LEN).unwrap_or_default();
        if xxh3_64(before) != footer.object_sum {
            return Err(Damaged("it is not what was written"));
        }
        let index = before.get(footer.index_at as usize..).unwrap_or_default();
        Self::parse(index, &footer)
    }

    /// What the object's end says.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The channel.
    pub fn channel(&self) -> ChannelId {
        self.footer.channel
    }

    /// That it is the index of the object of that name: one that was copied there from elsewhere is not.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn is_named(&self, name: &str) -> Result<(), Damaged> {
        let Ok((channel, object)) = Object::parse(name) else {
            return Ok(());
        };
        let belongs = |line: &Line| match object {
            Object::Item(key) => line.key == key,
            _ => (object.start()..object.end()).contains(&line.key.millis),
        };
        // They are in order.
        let ends = self.lines.first().into_iter().chain(self.lines.last());
        let is_it = self.channel() == channel && ends.into_iter().all(belongs);
        is_it
            .then_some(())
            .ok_or(Damaged("it is another object, under this name"))
    }

    /// The records, in the order of their keys.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = Record<'_>> + ExactSizeIterator {
        self.lines.iter().map(|line| self.record(line))
    }

    /// Those with keys at or above `from` and below `to`.
    pub fn between(
        &self,
        from: &ItemKey,
        to: &ItemKey,
    ) -> impl DoubleEndedIterator<Item = Record<'_>> + ExactSizeIterator {
        let start = self.lines.partition_point(|line| line.key < *from);
        let end = self.lines.partition_point(|line| line.key < *to).max(start);
        let lines = self.lines.get(start..end).unwrap_or_default();
        lines.iter().map(|line| self.record(line))
    }

    /// How many records have keys below that one.
    pub fn below(&self, key: &ItemKey) -> usize {
        self.lines.partition_point(|line| line.key < *key)
    }

    /// The key of the record of that number, counted from 0 in the order of keys.
    pub fn key(&self, at: usize) -> Option<ItemKey> {
        self.lines.get(at).map(|line| line.key)
    }

    /// The record that has an item, or that is it, and which of the record's items it is.
    pub fn holder(&self, key: &ItemKey) -> Option<(Record<'_>, Option<u32>)> {
        if let Some(record) = self.find(key) {
            return Some((record, None));
        }
        let (number, from, to) = key.in_bulk()?;
        let record = self.between(&from, &to).next()?;
        (number < record.key.count()).then_some((record, Some(number)))
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Which bytes of the object the block of that number is.
    pub fn block_at(&self, number: usize) -> Option<Range<u64>> {
        let block = self.blocks.get(number)?;
        Some(block.at..block.at + block.len)
    }

    /// The record of that very key; `None` if there is none.
    pub fn find(&self, key: &ItemKey) -> Option<Record<'_>> {
        let at = self.lines.binary_search_by(|line| line.key.cmp(key)).ok()?;
        self.lines.get(at).map(|line| self.record(line))
    }

    fn record(&self, line: &Line) -> Record<'_> {
        let kind = (line.kind as usize).checked_sub(1);
        let empty = Block {
            at: 0,
            len: 0,
            size: 0,
        };
        Record {
            key: line.key,
            content_type: kind.and_then(|at| self.types.get(at)).map(String::as_str),
            size: line.size,
            sum: line.sum,
            number: line.block,
            // It was looked at when the index was read.
            block: self
                .blocks
                .get(line.block as usize)
                .copied()
                .unwrap_or(empty),
            offset: line.offset,
        }
    }

    /// The bytes of the object that hold a record's payload.
    pub fn block_of(&self, record: &Record<'_>) -> Range<u64> {
        record.block.at..record.block.at + record.block.len
    }

    /// About how much memory this takes, in bytes.
    pub fn weight(&self) -> usize {
        let types: usize = self.types.iter().map(String::len).sum();
        size_of::<Self>()
            + self.blocks.len() * size_of::<Block>()
            + self.lines.len() * size_of::<Line>()
            + types
    }

    /// A record's payload, out of the bytes that [`Self::block_of`] names.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn payload(&self, record: &Record<'_>, block: &[u8]) -> Result<Bytes, Damaged> {
        let plain = unpack(record, block)?;
        cut(record, &plain)
    }
}

/// A block's payloads, of which a record is one.
///
/// # Errors
/// [`Damaged`].
pub fn unpack(record: &Record<'_>, block: &[u8]) -> Result<Bytes, Damaged> {
    let size = usize::try_from(record.block.size).map_err(|_| Damaged("a block is too large"))?;
    // What a block is said to hold is not made room for until its frame says the same.
    let said = zstd::zstd_safe::get_frame_content_size(block)
        .ok()
        .flatten();
    if said != Some(record.block.size) {
        return Err(Damaged("a block is not what was written"));
    }
    let plain = zstd::bulk::decompress(block, size);
    let plain = plain.map_err(|_| Damaged("a block does not decompress"))?;
    if plain.len() != size {
        return Err(Damaged("a block is not what was written"));
    }
    Ok(plain.into())
}

/// A record's payload in those of its block.
///
/// # Errors
/// [`Damaged`].
pub fn cut(record: &Record<'_>, plain: &Bytes) -> Result<Bytes, Damaged> {
    if record.is_elsewhere() {
        return Err(Damaged("an item is not in it"));
    }
    let start = record.offset as usize;
    let range = start..start.saturating_add(record.size as usize);
    if plain
        .get(range.clone())
        .is_none_or(|bytes| xxh3_64(bytes) != record.sum)
    {
        return Err(Damaged("an item is not what was written"));
    }
    Ok(plain.slice(range))
}

/// Reads any bytes as an index, and some of what it names out of themselves.
pub(super) fn fuzz(data: &[u8]) {
    let footer = Footer {
        channel: ChannelId(1),
        records: 0,
        items: 0,
        index_at: data.len() as u64,
        index_len: 0,
        index_size: 0,
        index_sum: 0,
        object_sum: 0,
    };
    let Ok(index) = Index::read(data, &footer) else {
        return;
    };
    for record in index.records().take(100) {
        assert_eq!(index.find(&record.key), Some(record));
        let block = index.block_of(&record);
        let bytes = data.get(block.start as usize..block.end as usize);
        let _ = index.payload(&record, bytes.unwrap_or_default());
    }
    let keys: Vec<_> = index.records().map(|record| record.key).collect();
    if let (Some(first), Some(last)) = (keys.first(), keys.last()) {
        assert_eq!(index.between(first, last).len(), keys.len() - 1);
    }
}
