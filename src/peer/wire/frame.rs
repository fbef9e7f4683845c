//! Frames: a length, and a message with its payload last.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use thiserror::Error;

/// The version of the frames and of what they mean.
pub(in crate::peer) const VERSION: u8 = 1;
/// The tag of a message's payload and its kind (15, bytes), as they are encoded. No message has a
/// field above it.
const PAYLOAD_KEY: u8 = 15 << 3 | 2;
/// Smaller payloads are copied to stand beside their message: one piece is sent faster than two.
const COPIED: usize = 16 * 1024;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("malformed: {0}")]
pub(in crate::peer) struct Malformed(pub(in crate::peer) &'static str);

/// A message that is ready to be sent.
#[derive(Debug, Clone)]
pub(in crate::peer) struct Frame {
    head: Bytes,
    payload: Option<Bytes>,
}

impl Frame {
    /// Of a message without payload.
    pub(in crate::peer) fn of<M: Message>(message: &M) -> Self {
        Self::with(message, Bytes::new())
    }

    /// Of a message whose payload field is empty, and the payload.
    pub(in crate::peer) fn with<M: Message>(message: &M, payload: Bytes) -> Self {
        let fields = message.encoded_len();
        let mut tail = BytesMut::new();
        if !payload.is_empty() {
            tail.put_u8(PAYLOAD_KEY);
            prost::encoding::encode_varint(payload.len() as u64, &mut tail);
        }
        let copied = if payload.len() <= COPIED {
            payload.len()
        } else {
            0
        };
        let length = fields + tail.len() + payload.len();
        let mut head = BytesMut::with_capacity(4 + fields + tail.len() + copied);
        // Items are below 4 GiB, and so is all that is said about them.
        head.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        message.encode_raw(&mut head);
        head.extend_from_slice(&tail);
        let payload = if payload.len() <= COPIED {
            head.extend_from_slice(&payload);
            None
        } else {
            Some(payload)
        };
        Self {
            head: head.freeze(),
            payload,
        }
    }

    /// The bytes that it takes.
    pub(in crate::peer) fn len(&self) -> usize {
        self.head.len() + self.payload.as_ref().map_or(0, Bytes::len)
    }

    /// Its pieces, in their order.
    pub(in crate::peer) fn pieces(self) -> impl Iterator<Item = Bytes> {
        std::iter::once(self.head).chain(self.payload)
    }
}

/// The messages of a body.
pub(in crate::peer) fn frames(mut body: Bytes) -> Result<Vec<Bytes>, Malformed> {
    if body.first() != Some(&VERSION) {
        return Err(Malformed("not of this version"));
    }
    let _version = body.split_to(1);
    let mut frames = Vec::new();
    while !body.is_empty() {
        let length = body
            .first_chunk::<4>()
            .ok_or(Malformed("a frame's length is cut off"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let _length = body.split_to(4);
        if body.len() < length {
            return Err(Malformed("a frame is cut off"));
        }
        frames.push(body.split_to(length));
    }
    Ok(frames)
}

/// Reads a message.
pub(in crate::peer) fn message<M: Message + Default>(bytes: Bytes) -> Result<M, Malformed> {
    M::decode(bytes).map_err(|_| Malformed("not a message of that kind"))
}
