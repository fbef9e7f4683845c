//! The first bytes of a segment, and the salt of its checksums.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::ids::SegmentId;
use super::record::Reader;
use crate::env::Millis;

/// The bytes of a header.
pub const HEADER_LEN: usize = 96;
/// The version of the format written here; readers refuse a greater one.
pub const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"HUBSPOKE";

/// One store, by a number drawn when its folder was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub u128);

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The version of its format.
    pub format: u32,
    /// The store that wrote it.
    pub store: StoreId,
    /// Which segment it is.
    pub id: SegmentId,
    /// How long its bucket is, in milliseconds.
    pub width: i64,
    /// The boot of the machine that it was written in.
    pub boot: u128,
    /// Whether its items were synced before they were acknowledged.
    pub synced: bool,
}

impl SegmentHeader {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.format.to_le_bytes());
        out.extend_from_slice(&self.id.number.to_le_bytes());
        out.extend_from_slice(&self.store.0.to_le_bytes());
        out.extend_from_slice(&self.id.bucket.get().to_le_bytes());
        out.extend_from_slice(&self.width.to_le_bytes());
        out.extend_from_slice(&self.boot.to_le_bytes());
        out.push(u8::from(self.synced));
        out.resize(HEADER_LEN - 8, 0);
        out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
        out
    }

    /// Reads a header; `None` if the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let (covered, sum) = bytes.split_last_chunk::<8>()?;
        if u64::from_le_bytes(*sum) != xxh3_64(covered) {
            return None;
        }
        let mut reader = Reader::new(covered);
        if reader.array::<8>().ok()? != MAGIC {
            return None;
        }
        let format = u32::from_le_bytes(reader.array().ok()?);
        let number = u32::from_le_bytes(reader.array().ok()?);
        let store = StoreId(u128::from_le_bytes(reader.array().ok()?));
        let bucket = Millis::new(i64::from_le_bytes(reader.array().ok()?));
        Some(Self {
            format,
            store,
            id: SegmentId { bucket, number },
            width: i64::from_le_bytes(reader.array().ok()?),
            boot: u128::from_le_bytes(reader.array().ok()?),
            synced: reader.byte().ok()? != 0,
        })
    }
}

/// What salts the checksums of a segment's frames and index blocks. It follows from the store and
/// the segment's name, so that a damaged header costs nothing else.
pub fn salt(store: StoreId, id: SegmentId) -> u64 {
    let seed = xxh3_64(&store.0.to_le_bytes());
    let mut name = [0; 12];
    name[..8].copy_from_slice(&id.bucket.get().to_le_bytes());
    name[8..].copy_from_slice(&id.number.to_le_bytes());
    xxh3_64_with_seed(&name, seed)
}
