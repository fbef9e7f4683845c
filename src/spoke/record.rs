//! The records of a segment and their bytes (`docs/spoke-format.md`).
//!
//! A record is a frame and a body. The frame's own checksum is salted with the segment and the
//! offset, so that neither a record of another place nor a client's payload that looks like one
//! can be taken for a record here; the body's checksum is not, so that it can be computed before
//! anybody knows where the record will stand.

use bytes::Bytes;
use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

use super::ids::{ChannelId, WriteId};
use crate::env::Millis;
use crate::item::{ItemKey, KEY_BYTES_MAX};

/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"\xa7hr1";
/// The bytes of a frame: magic, body length, channel, body checksum, frame checksum.
pub const FRAME_LEN: usize = 4 + 4 + 8 + 8 + 8;
/// The longest a body may be, payload included.
pub const BODY_MAX: u64 = u32::MAX as u64;
/// The longest that the part of a body before the payload may be.
pub const HEAD_MAX: usize = 8 * 1024;

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the record ends too early")]
    Short,
    /// A checksum or a constant is not what it must be.
    #[error("the checksum does not match")]
    Checksum,
    /// The checksum holds, but the content makes no sense: another format, or a bug.
    #[error("unknown content: {what}")]
    Unknown {
        /// Which part.
        what: &'static str,
    },
}

/// What is known of a record before its body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The length of the body, in bytes.
    pub body_len: u32,
    /// The channel it is about; [`ChannelId::NONE`] for records about the store.
    pub channel: ChannelId,
    /// The checksum of the body.
    pub body_sum: u64,
}

impl Frame {
    /// The frame's bytes for that place: `salt` is the segment's, `offset` the frame's own.
    pub fn encode(&self, salt: u64, offset: u64) -> [u8; FRAME_LEN] {
        let mut out = [0; FRAME_LEN];
        let parts = [
            &MAGIC[..],
            &self.body_len.to_le_bytes(),
            &self.channel.0.to_le_bytes(),
            &self.body_sum.to_le_bytes(),
        ];
        let mut at = 0;
        for part in parts {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let sum = xxh3_64_with_seed(&out[..at], salt.wrapping_add(offset));
        out[at..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads a frame that stands at `offset`.
    ///
    /// # Errors
    /// [`Malformed`] if it is not one, or is one of another place.
    pub fn decode(bytes: &[u8], salt: u64, offset: u64) -> Result<Self, Malformed> {
        let bytes: &[u8; FRAME_LEN] = bytes.first_chunk().ok_or(Malformed::Short)?;
        let mut reader = Reader::new(bytes);
        if reader.array::<4>()? != MAGIC {
            return Err(Malformed::Checksum);
        }
        let frame = Self {
            body_len: u32::from_le_bytes(reader.array()?),
            channel: ChannelId(u64::from_le_bytes(reader.array()?)),
            body_sum: u64::from_le_bytes(reader.array()?),
        };
        let sum = u64::from_le_bytes(reader.array()?);
        let covered = &bytes[..FRAME_LEN - 8];
        if sum != xxh3_64_with_seed(covered, salt.wrapping_add(offset)) {
            return Err(Malformed::Checksum);
        }
        Ok(frame)
    }

    /// The bytes of frame and body together.
    pub fn record_len(&self) -> u64 {
        FRAME_LEN as u64 + u64::from(self.body_len)
    }
}

/// What kind of copy an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ItemFlags {
    /// Its coordinator does not know yet whether a second copy exists.
    pub pending: bool,
    /// Its write id comes from the client's idempotency key, and must be remembered.
    pub keyed: bool,
}

impl ItemFlags {
    const PENDING: u8 = 1;
    const KEYED: u8 = 2;

    /// As one byte.
    pub fn to_byte(self) -> u8 {
        u8::from(self.pending) * Self::PENDING + u8::from(self.keyed) * Self::KEYED
    }

    /// From one byte; bits of later formats are ignored.
    pub fn from_byte(byte: u8) -> Self {
        Self {
            pending: byte & Self::PENDING != 0,
            keyed: byte & Self::KEYED != 0,
        }
    }
}

/// The part of an item record before the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemHead {
    /// The item's key.
    pub key: ItemKey,
    /// The write that made it.
    pub write_id: WriteId,
    /// What kind of copy it is.
    pub flags: ItemFlags,
    /// The media type, if the client named one.
    pub content_type: Option<String>,
    /// The payload's length in bytes before any compression.
    pub size: u64,
    /// For a keyed write: what tells the payload from another one under the same key.
    pub digest: u128,
    /// For a pending item: the members that the append is about to be sent to.
    pub replicas: Vec<String>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An item; its payload follows the head.
    Item(ItemHead),
    /// The start of a batch.
    Batch(BatchHead),
    /// Every item of the channel that this node coordinates, up to and including that key, is
    /// decided: those that were not removed are committed.
    CommitMark(ItemKey),
    /// An item was removed: its key is dead, or another copy of its write holds.
    Removal {
        /// The key it had.
        key: ItemKey,
        /// The write it was of.
        write_id: WriteId,
    },
    /// A pending item is about to be sent to further members.
    Named {
        /// The item's key.
        key: ItemKey,
        /// The members.
        replicas: Vec<String>,
    },
    /// The segment is complete.
    Seal(SealHead),
}

/// What every batch says of the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// Counts the batches of the store, over all segments.
    pub sequence: u64,
    /// Below this offset everything in this segment had been synced when the batch was written.
    pub synced: u64,
    /// No promise about a later time than this was made before the batch was on disk.
    pub mark: Millis,
}

/// The end of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealHead {
    /// As in [`BatchHead`].
    pub sequence: u64,
    /// As in [`BatchHead`].
    pub mark: Millis,
    /// Ranges of bytes that were found unreadable when it was recovered, and were never synced:
    /// where the writer was cut off.
    pub cuts: Vec<(u64, u64)>,
}

/// A record ready to be written: its head, a payload that follows, and the checksum of both.
#[derive(Debug, Clone)]
pub struct Encoded {
    channel: ChannelId,
    head: Vec<u8>,
    payload: Bytes,
    sum: u64,
}

impl Encoded {
    /// An item of `channel`.
    ///
    /// # Errors
    /// [`Malformed::Unknown`] if it is larger than the format holds.
    pub fn item(channel: ChannelId, head: &ItemHead, payload: Bytes) -> Result<Self, Malformed> {
        let mut out = Vec::with_capacity(128);
        out.push(kind::ITEM);
        out.push(head.flags.to_byte());
        out.push(codec::IDENTITY);
        put_key(&mut out, &head.key);
        out.extend_from_slice(&head.write_id.0.to_le_bytes());
        out.extend_from_slice(&head.size.to_le_bytes());
        if head.flags.keyed {
            out.extend_from_slice(&head.digest.to_le_bytes());
        }
        put_text(&mut out, head.content_type.as_deref().unwrap_or_default());
        if head.flags.pending {
            put_texts(&mut out, &head.replicas);
        }
        if out.len() > HEAD_MAX {
            return Err(Malformed::Unknown { what: "head" });
        }
        Self::with_payload(channel, out, payload)
    }

    /// A record without a payload.
    pub fn small(channel: ChannelId, record: &Record) -> Result<Self, Malformed> {
        let mut out = Vec::with_capacity(64);
        match record {
            Record::Item(head) => return Self::item(channel, head, Bytes::new()),
            Record::Batch(batch) => {
                out.push(kind::BATCH);
                out.extend_from_slice(&batch.sequence.to_le_bytes());
                out.extend_from_slice(&batch.synced.to_le_bytes());
                out.extend_from_slice(&batch.mark.get().to_le_bytes());
            }
            Record::CommitMark(key) => {
                out.push(kind::COMMIT_MARK);
                put_key(&mut out, key);
            }
            Record::Removal { key, write_id } => {
                out.push(kind::REMOVAL);
                put_key(&mut out, key);
                out.extend_from_slice(&write_id.0.to_le_bytes());
            }
            Record::Named { key, replicas } => {
                out.push(kind::NAMED);
                put_key(&mut out, key);
                put_texts(&mut out, replicas);
            }
            Record::Seal(seal) => {
                out.push(kind::SEAL);
                out.extend_from_slice(&seal.sequence.to_le_bytes());
                out.extend_from_slice(&seal.mark.get().to_le_bytes());
                out.extend_from_slice(&(seal.cuts.len() as u32).to_le_bytes());
                for (from, to) in &seal.cuts {
                    out.extend_from_slice(&from.to_le_bytes());
                    out.extend_from_slice(&to.to_le_bytes());
                }
            }
        }
        Self::with_payload(channel, out, Bytes::new())
    }

    fn with_payload(channel: ChannelId, head: Vec<u8>, payload: Bytes) -> Result<Self, Malformed> {
        if head.len() as u64 + payload.len() as u64 > BODY_MAX {
            return Err(Malformed::Unknown { what: "length" });
        }
        let sum = if payload.is_empty() {
            xxh3_64(&head)
        } else {
            let mut hasher = Xxh3::new();
            hasher.update(&head);
            hasher.update(&payload);
            hasher.digest()
        };
        Ok(Self {
            channel,
            head,
            payload,
            sum,
        })
    }

    /// Its frame.
    pub fn frame(&self) -> Frame {
        Frame {
            body_len: (self.head.len() + self.payload.len()) as u32,
            channel: self.channel,
            body_sum: self.sum,
        }
    }

    /// The body's first part.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The body's second part.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The bytes it takes in the segment.
    pub fn record_len(&self) -> u64 {
        self.frame().record_len()
    }
}

/// Reads a body's head. Gives the record and how many bytes its head took: an item's payload is
/// the rest of the body. `body` may end anywhere after the head.
///
/// # Errors
/// [`Malformed`] if it is none.
pub fn decode_body(body: &[u8]) -> Result<(Record, usize), Malformed> {
    let mut reader = Reader::new(body);
    let record = match reader.byte()? {
        kind::ITEM => {
            let flags = ItemFlags::from_byte(reader.byte()?);
            if reader.byte()? != codec::IDENTITY {
                return Err(Malformed::Unknown { what: "codec" });
            }
            let key = reader.key()?;
            let write_id = WriteId(u128::from_le_bytes(reader.array()?));
            let size = u64::from_le_bytes(reader.array()?);
            let digest = if flags.keyed {
                u128::from_le_bytes(reader.array()?)
            } else {
                0
            };
            let content_type = Some(reader.text()?).filter(|text| !text.is_empty());
            let replicas = if flags.pending {
                reader.texts()?
            } else {
                Vec::new()
            };
            Record::Item(ItemHead {
                key,
                write_id,
                flags,
                content_type,
                size,
                digest,
                replicas,
            })
        }
        kind::BATCH => Record::Batch(BatchHead {
            sequence: u64::from_le_bytes(reader.array()?),
            synced: u64::from_le_bytes(reader.array()?),
            mark: reader.millis()?,
        }),
        kind::COMMIT_MARK => Record::CommitMark(reader.key()?),
        kind::REMOVAL => Record::Removal {
            key: reader.key()?,
            write_id: WriteId(u128::from_le_bytes(reader.array()?)),
        },
        kind::NAMED => Record::Named {
            key: reader.key()?,
            replicas: reader.texts()?,
        },
        kind::SEAL => {
            let sequence = u64::from_le_bytes(reader.array()?);
            let mark = reader.millis()?;
            let count = u32::from_le_bytes(reader.array()?);
            let mut cuts = Vec::new();
            for _ in 0..count {
                let from = u64::from_le_bytes(reader.array()?);
                cuts.push((from, u64::from_le_bytes(reader.array()?)));
            }
            Record::Seal(SealHead {
                sequence,
                mark,
                cuts,
            })
        }
        _ => return Err(Malformed::Unknown { what: "kind" }),
    };
    Ok((record, body.len() - reader.rest.len()))
}

mod kind {
    pub const ITEM: u8 = 1;
    pub const BATCH: u8 = 2;
    pub const COMMIT_MARK: u8 = 3;
    pub const REMOVAL: u8 = 4;
    pub const NAMED: u8 = 5;
    pub const SEAL: u8 = 6;
}

/// How a payload is stored. Others may follow; a reader refuses those it does not know.
mod codec {
    pub const IDENTITY: u8 = 0;
}

pub(super) fn put_key(out: &mut Vec<u8>, key: &ItemKey) {
    let at = out.len();
    out.push(0);
    key.write_bytes(out);
    // At most KEY_BYTES_MAX, which fits.
    out[at] = (out.len() - at - 1) as u8;
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&text[..usize::from(len)]);
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    let count = u8::try_from(texts.len()).unwrap_or(u8::MAX);
    out.push(count);
    for text in texts.iter().take(usize::from(count)) {
        put_text(out, text);
    }
}

/// Takes fields off the front of bytes, never past their end.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk().ok_or(Malformed::Short)?;
        self.rest = tail;
        Ok(*head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(Malformed::Short)?;
        self.rest = tail;
        Ok(head)
    }

    pub(super) fn key(&mut self) -> Result<ItemKey, Malformed> {
        let len = usize::from(self.byte()?);
        if len > KEY_BYTES_MAX {
            return Err(Malformed::Unknown { what: "key" });
        }
        ItemKey::from_bytes(self.bytes(len)?).ok_or(Malformed::Unknown { what: "key" })
    }

    pub(super) fn millis(&mut self) -> Result<Millis, Malformed> {
        Ok(Millis::new(i64::from_le_bytes(self.array()?)))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let text = std::str::from_utf8(self.bytes(len)?);
        Ok(text
            .map_err(|_| Malformed::Unknown { what: "text" })?
            .to_owned())
    }

    fn texts(&mut self) -> Result<Vec<String>, Malformed> {
        let count = self.byte()?;
        (0..count).map(|_| self.text()).collect()
    }
}

#[cfg(test)]
mod tests;
