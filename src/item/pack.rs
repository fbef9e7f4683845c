//! The payload of a bulk insert's record: all of its items, with a table by which one of them is
//! found without reading the others.
//!
//! ```text
//! pack    := item* entry* trailer
//! item    := type_len:u16 type payload       no content type: type_len 0
//! entry   := end:u32 sum:u64                 where the item ends; XXH3 of its bytes
//! trailer := count:u32 version:u32           version 1
//! ```
//!
//! Numbers are little-endian. Nothing here does I/O.

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::payload::{ContentType, Payload};
use super::suffix::Suffix;

/// How many bytes stand at the end of a pack.
pub const TRAILER_LEN: usize = 8;
/// How many bytes an item has in the table.
pub const ENTRY_LEN: usize = 12;
const VERSION: u32 = 1;

/// A pack that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the items of a bulk insert cannot be told apart: its record is damaged")]
pub struct BadPack;

/// Why an item does not go into a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PackFull {
    /// There are too many.
    #[error("a bulk insert has at most {} items", Suffix::BULK_MAX)]
    Items,
    /// They are too long.
    #[error("a bulk insert has at most {} bytes", u32::MAX)]
    Bytes,
}

/// Makes a pack, item by item, each in parts as they come.
#[derive(Default)]
pub struct PackBuilder {
    items: BytesMut,
    table: BytesMut,
    count: u32,
    /// Where the item that is being added begins, and where its payload does.
    open: Option<(usize, usize)>,
    sum: Xxh3,
}

impl PackBuilder {
    /// Begins an item.
    ///
    /// # Errors
    /// [`PackFull`].
    pub fn begin(&mut self, content_type: Option<&ContentType>) -> Result<(), PackFull> {
        if self.count >= Suffix::BULK_MAX {
            return Err(PackFull::Items);
        }
        let text = content_type.map_or("", ContentType::as_str);
        let start = self.items.len();
        let length = u16::try_from(text.len()).unwrap_or_default();
        self.sum = Xxh3::new();
        self.put(&length.to_le_bytes())?;
        self.put(text.as_bytes())?;
        self.open = Some((start, self.items.len()));
        Ok(())
    }

    /// Adds to the payload of the item that was begun.
    ///
    /// # Errors
    /// [`PackFull`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), PackFull> {
        let long = self.items.len() + bytes.len();
        u32::try_from(long).map_err(|_| PackFull::Bytes)?;
        self.items.extend_from_slice(bytes);
        self.sum.update(bytes);
        Ok(())
    }

    /// How many bytes the payload has of the item that was begun.
    pub fn payload_len(&self) -> usize {
        self.open.map_or(0, |(_, at)| self.items.len() - at)
    }

    /// Takes back the item that was begun.
    pub fn take_back(&mut self) {
        if let Some((start, _)) = self.open.take() {
            self.items.truncate(start);
        }
    }

    /// Ends the item that was begun.
    pub fn end(&mut self) {
        if self.open.take().is_some() {
            let end = self.items.len() as u32;
            self.table.extend_from_slice(&end.to_le_bytes());
            self.table
                .extend_from_slice(&self.sum.digest().to_le_bytes());
            self.count += 1;
        }
    }

    /// How many items there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes it takes so far.
    pub fn len(&self) -> usize {
        self.items.len() + self.table.len() + TRAILER_LEN
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.open.is_none()
    }

    /// The pack. An item that was begun and not ended is not in it.
    pub fn finish(mut self) -> Bytes {
        self.take_back();
        self.items.extend_from_slice(&self.table);
        self.items.extend_from_slice(&self.count.to_le_bytes());
        self.items.extend_from_slice(&VERSION.to_le_bytes());
        self.items.freeze()
    }
}

/// Where an item of a pack is to be looked up: the offset of what of the table says where it is, and
/// how many bytes that is; `None` if there is no such item.
///
/// # Errors
/// [`BadPack`] if this is no trailer of a pack of that length.
pub fn entry_of(trailer: &[u8], length: u64, at: u32) -> Result<Option<(u64, usize)>, BadPack> {
    let (count, version) = trailer.split_first_chunk::<4>().ok_or(BadPack)?;
    let count = u32::from_le_bytes(*count);
    if version != VERSION.to_le_bytes() {
        return Err(BadPack);
    }
    let table = u64::from(count) * ENTRY_LEN as u64 + TRAILER_LEN as u64;
    let table = length.checked_sub(table).ok_or(BadPack)?;
    if at >= count {
        return Ok(None);
    }
    // The entry of the one before says where this one begins.
    let before = u64::from(at.saturating_sub(1)) * ENTRY_LEN as u64;
    let entries = if at == 0 { 1 } else { 2 };
    Ok(Some((table + before, entries * ENTRY_LEN)))
}

/// Where an item of a pack is, and its checksum, from what [`entry_of`] led to.
///
/// # Errors
/// [`BadPack`].
pub fn place_of(entries: &[u8]) -> Result<(u64, usize, u64), BadPack> {
    let end_of = |entry: &[u8]| {
        let end = entry.first_chunk::<4>().ok_or(BadPack)?;
        Ok(u32::from_le_bytes(*end))
    };
    let (start, last) = match entries.split_at_checked(ENTRY_LEN) {
        Some((before, last)) if !last.is_empty() => (end_of(before)?, last),
        _ => (0, entries),
    };
    let end = end_of(last)?;
    let sum = last.get(4..).and_then(|sum| sum.first_chunk::<8>());
    let sum = u64::from_le_bytes(*sum.ok_or(BadPack)?);
    let length = end.checked_sub(start).ok_or(BadPack)?;
    Ok((u64::from(start), length as usize, sum))
}

/// The item whose bytes these are.
///
/// # Errors
/// [`BadPack`] if they are not what was stored.
pub fn item_of(bytes: &Bytes, sum: u64) -> Result<Payload, BadPack> {
    if xxh3_64(bytes) != sum {
        return Err(BadPack);
    }
    let (content_type, payload) = type_of(bytes)?;
    Ok(Payload {
        content_type,
        bytes: bytes.slice(payload..),
    })
}

/// The media type of the item that begins with these bytes, and where its payload begins.
///
/// # Errors
/// [`BadPack`].
pub fn type_of(front: &[u8]) -> Result<(Option<ContentType>, usize), BadPack> {
    let length = front.first_chunk::<2>().ok_or(BadPack)?;
    let payload = 2 + usize::from(u16::from_le_bytes(*length));
    let text = front.get(2..payload).ok_or(BadPack)?;
    let text = std::str::from_utf8(text).map_err(|_| BadPack)?;
    Ok((ContentType::from_stored(text), payload))
}

/// The item of that number of a whole pack; `None` if there is no such one.
///
/// # Errors
/// [`BadPack`].
pub fn item(pack: &Bytes, at: u32) -> Result<Option<Payload>, BadPack> {
    let trailer = pack.len().checked_sub(TRAILER_LEN).ok_or(BadPack)?;
    let Some((offset, length)) = entry_of(&pack[trailer..], pack.len() as u64, at)? else {
        return Ok(None);
    };
    let slice = |offset: u64, length: usize| {
        let start = usize::try_from(offset).map_err(|_| BadPack)?;
        let end = start.checked_add(length).ok_or(BadPack)?;
        (end <= pack.len())
            .then(|| pack.slice(start..end))
            .ok_or(BadPack)
    };
    let (start, length, sum) = place_of(&slice(offset, length)?)?;
    item_of(&slice(start, length)?, sum).map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(items: &[(Option<&str>, Vec<u8>)]) -> Bytes {
        let mut pack = PackBuilder::default();
        for (kind, payload) in items {
            let kind = kind.map(|kind| ContentType::parse(kind).unwrap());
            pack.begin(kind.as_ref()).unwrap();
            for part in payload.chunks(3) {
                pack.put(part).unwrap();
            }
            assert_eq!(pack.payload_len(), payload.len());
            pack.end();
        }
        assert_eq!(pack.count() as usize, items.len());
        pack.finish()
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out(
            items in proptest::collection::vec((
                proptest::option::of(Just("text/plain;charset=utf-8")),
                proptest::collection::vec(any::<u8>(), 0..40),
            ), 0..20),
        ) {
            let pack = packed(&items);
            for (at, (kind, payload)) in items.iter().enumerate() {
                let found = item(&pack, at as u32).unwrap().unwrap();
                prop_assert_eq!(found.content_type.as_ref().map(ContentType::as_str), *kind);
                prop_assert_eq!(&found.bytes[..], &payload[..]);
            }
            prop_assert_eq!(item(&pack, items.len() as u32), Ok(None));
        }

        #[test]
        fn any_bytes_are_a_pack_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in 0u32..5) {
            // Without a panic.
            let _ = item(&bytes.into(), at);
        }

        #[test]
        fn a_flipped_bit_is_seen(at in 0usize..50, bit in 0u8..8) {
            let items = [(None, b"one".to_vec()), (Some("a/b"), b"two".to_vec())];
            let pack = packed(&items);
            let at = at % (pack.len() - TRAILER_LEN);
            let mut damaged = pack.to_vec();
            damaged[at] ^= 1 << bit;
            let damaged = Bytes::from(damaged);
            let seen = |number| item(&damaged, number) != item(&pack, number);
            prop_assert!(seen(0) || seen(1));
            for number in 0..2 {
                prop_assert!(!seen(number) || item(&damaged, number) == Err(BadPack));
            }
        }
    }

    #[test]
    fn what_is_taken_back_or_not_ended_is_not_there() {
        let mut pack = PackBuilder::default();
        pack.begin(None).unwrap();
        pack.put(b"gone").unwrap();
        pack.take_back();
        pack.begin(None).unwrap();
        pack.put(b"kept").unwrap();
        pack.end();
        pack.begin(None).unwrap();
        pack.put(b"cut").unwrap();
        let pack = pack.finish();
        assert_eq!(item(&pack, 0).unwrap().unwrap().bytes, "kept");
        assert_eq!(item(&pack, 1), Ok(None));
    }
}
