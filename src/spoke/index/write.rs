//! Writing the index of a segment.

use std::io::{self, IoSlice};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{BLOCK, ChannelSummary, Entry, FOOTER_LEN, Footer, IndexMeta};
use crate::env::Millis;
use crate::spoke::files::{Files, LogFile};
use crate::spoke::ids::SegmentId;
use crate::spoke::record::put_key;

/// Writes the index of a segment beside its log, under its own name once it is complete.
///
/// `entries` come in order, one for a position.
///
/// # Errors
/// What the folder says; nothing is left behind under the index's name then.
pub fn write_index(
    files: &dyn Files,
    id: SegmentId,
    salt: u64,
    log_len: u64,
    mark: Millis,
    sequence: u64,
    entries: impl Iterator<Item = Entry>,
) -> io::Result<IndexMeta> {
    let draft = format!("{}.tmp", id.index_name());
    // A draft left by a run that was cut off here is of no use.
    let _ = files.remove(&draft);
    let file = files.create(&draft)?;
    let mut out = IndexWriter {
        file: &*file,
        buf: Vec::with_capacity(1024 * 1024),
        at: 0,
    };
    let mut fences = Vec::new();
    let mut channels: Vec<ChannelSummary> = Vec::new();
    let mut block = Vec::with_capacity(BLOCK + 256);
    let (mut items, mut remembered, mut undecided, mut blocks) = (0u64, 0u64, 0u64, 0u32);
    for entry in entries {
        items += 1;
        remembered += u64::from(entry.flags.keyed || entry.removed);
        undecided += u64::from(entry.flags.pending);
        summarise(&mut channels, &entry);
        if block.is_empty() {
            fences.extend_from_slice(&entry.channel.0.to_le_bytes());
            put_key(&mut fences, &entry.key);
        }
        entry.write(&mut block);
        if block.len() >= BLOCK {
            blocks += 1;
            out.block(&mut block, &mut fences, salt)?;
        }
    }
    if !block.is_empty() {
        blocks += 1;
        out.block(&mut block, &mut fences, salt)?;
    }
    let mut tables = fences;
    let fences_len = tables.len() as u64;
    for summary in &channels {
        tables.extend_from_slice(&summary.channel.0.to_le_bytes());
        tables.extend_from_slice(&summary.items.to_le_bytes());
        tables.extend_from_slice(&summary.bytes.to_le_bytes());
        put_key(&mut tables, &summary.first);
        put_key(&mut tables, &summary.last);
    }
    let meta = IndexMeta {
        log_len,
        items,
        remembered,
        undecided,
        index_len: out.at + tables.len() as u64 + FOOTER_LEN as u64,
        mark,
        sequence,
    };
    let footer = Footer {
        blocks,
        tables_at: out.at,
        tables_len: tables.len() as u64,
        fences_len,
        channels: channels.len() as u64,
        tables_sum: xxh3_64_with_seed(&tables, salt),
        meta: meta.clone(),
    };
    out.put(&tables)?;
    out.put(&footer.encode(salt))?;
    out.flush()?;
    file.sync()?;
    files.rename(&draft, &id.index_name())?;
    files.sync_folder()?;
    Ok(meta)
}

fn summarise(channels: &mut Vec<ChannelSummary>, entry: &Entry) {
    let bytes = u64::from(entry.body_len);
    match channels.last_mut() {
        Some(last) if last.channel == entry.channel => {
            last.items += 1;
            last.bytes += bytes;
            last.last = entry.key;
        }
        _ => channels.push(ChannelSummary {
            channel: entry.channel,
            items: 1,
            bytes,
            first: entry.key,
            last: entry.key,
        }),
    }
}

/// Writes through a buffer, and knows where it is.
struct IndexWriter<'a> {
    file: &'a dyn LogFile,
    buf: Vec<u8>,
    at: u64,
}

impl IndexWriter<'_> {
    /// Writes a block with its checksum, and completes its fence.
    fn block(&mut self, block: &mut Vec<u8>, fences: &mut Vec<u8>, salt: u64) -> io::Result<()> {
        let sum = xxh3_64_with_seed(block, salt.wrapping_add(self.at));
        fences.extend_from_slice(&self.at.to_le_bytes());
        fences.extend_from_slice(&(block.len() as u32).to_le_bytes());
        self.put(block)?;
        self.put(&sum.to_le_bytes())?;
        block.clear();
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buf.extend_from_slice(bytes);
        self.at += bytes.len() as u64;
        if self.buf.len() >= 1024 * 1024 {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let start = self.at - self.buf.len() as u64;
        self.file.write_at(&[IoSlice::new(&self.buf)], start)?;
        self.buf.clear();
        Ok(())
    }
}
