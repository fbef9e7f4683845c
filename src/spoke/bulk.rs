//! One item of a bulk insert's record, read without the others: by the table at the record's end.
//!
//! The record's own checksum would take all of it; each item has one of its own, which also tells a
//! table that leads to the wrong place.

use std::sync::Arc;

use bytes::Bytes;

use super::files::LogFile;
use super::index::{Entry, IndexError, ReadMode, read_mode};
use super::large::LargePayload;
use super::query::{read_item, wrong};
use super::record::{FRAME_LEN, Frame, HEAD_MAX, Record, decode_body};
use super::scan::checksum;
use super::segment::Segment;
use super::store::{ReadError, StoredItem, StoredPayload};
use crate::item::ContentType;
use crate::item::pack::{self, BadPack, TRAILER_LEN};

/// A record of no more bytes than this is read whole.
const SMALL: u32 = 32 * 1024;
/// An item of more bytes than this is read part by part.
const LARGE: usize = 1024 * 1024;

/// The item of that number; `None` if the record has fewer.
pub(super) fn read_one(
    log: &Arc<dyn LogFile>,
    segment: &Segment,
    entry: &Entry,
    number: u32,
    mode: ReadMode,
) -> Result<Option<StoredItem>, ReadError> {
    let damaged = || ReadError::Damaged {
        segment: segment.id,
        offset: entry.offset,
    };
    if entry.body_len <= SMALL {
        let record = read_item(log, segment, entry, mode)?;
        return record.one(number).map_err(|BadPack| damaged());
    }
    let read = |at: u64, length: usize| {
        let bytes = read_mode(&**log, at, length, mode);
        bytes.map(Bytes::from).map_err(|e| wrong(segment, entry, e))
    };
    let first = read(
        entry.offset,
        FRAME_LEN + HEAD_MAX.min(entry.body_len as usize),
    )?;
    let frame = Frame::decode(&first, segment.salt, entry.offset).map_err(|_| damaged())?;
    let decoded = decode_body(first.get(FRAME_LEN..).unwrap_or_default());
    let Ok((Record::Item(head), head_len)) = decoded else {
        return Err(damaged());
    };
    let is_it = frame.body_len == entry.body_len && frame.channel == entry.channel;
    if !is_it || head.key != entry.key {
        return Err(damaged());
    }
    let start = entry.offset + (FRAME_LEN + head_len) as u64;
    let length = u64::from(entry.body_len).saturating_sub(head_len as u64);
    let trailer = length.checked_sub(TRAILER_LEN as u64).ok_or_else(damaged)?;
    let trailer = read(start + trailer, TRAILER_LEN)?;
    let found = pack::entry_of(&trailer, length, number).map_err(|BadPack| damaged())?;
    let Some((at, wanted)) = found else {
        return Ok(None);
    };
    let entries = read(start + at, wanted)?;
    let (at, wanted, sum) = pack::place_of(&entries).map_err(|BadPack| damaged())?;
    if at + wanted as u64 > length {
        return Err(damaged());
    }
    let record = StoredItem {
        head,
        payload: StoredPayload::Whole(Bytes::new()),
    };
    if wanted <= LARGE {
        let item = pack::item_of(&read(start + at, wanted)?, sum);
        return Ok(Some(record.with(item.map_err(|BadPack| damaged())?)));
    }
    if mode == ReadMode::Cached {
        return Err(ReadError::NotCached);
    }
    let found = checksum(&**log, start + at, wanted as u64);
    if found.map_err(|e| wrong(segment, entry, IndexError::Io(e)))? != sum {
        return Err(damaged());
    }
    let front = read(start + at, 2 + ContentType::MAX_LEN)?;
    let (kind, behind) = pack::type_of(&front).map_err(|BadPack| damaged())?;
    let payload = LargePayload::new(
        Arc::clone(log),
        start + at + behind as u64,
        (wanted - behind) as u64,
    );
    let mut item = record;
    item.head.content_type = kind.map(|kind| kind.as_str().to_owned());
    item.head.size = payload.len();
    item.payload = StoredPayload::Large(payload);
    Ok(Some(item))
}
