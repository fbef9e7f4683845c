//! Writes that carry an idempotency key: one item, however often they are sent.

use sha2::{Digest as _, Sha256};

use super::{Replica, Stored, Write, WriteError};
use crate::item::{ItemKey, Payload};
use crate::spoke::dedup::{Dedup, Known};
use crate::spoke::ids::{ChannelId, WriteId};
use crate::spoke::store::ReadError;

/// A try of a keyed write that the store does not have yet. Dropped, it counts as failed: the
/// client that sent it may have gone, and must be able to come back.
pub(super) struct Attempt<'a> {
    dedup: &'a Dedup,
    id: Option<WriteId>,
}

impl<'a> Attempt<'a> {
    /// The write is known to be new, and undecided from now on.
    pub(super) fn new(dedup: &'a Dedup, id: WriteId) -> Self {
        Self {
            dedup,
            id: Some(id),
        }
    }

    /// From now on the store says how it ends.
    pub(super) fn handed_over(mut self) {
        self.id = None;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.dedup.failed(id);
        }
    }
}

impl Replica {
    /// What an earlier try of a keyed write came to; `None` if there was none.
    pub(super) async fn earlier_try(
        &self,
        write: &Write,
        digest: u128,
    ) -> Result<Option<Stored>, WriteError> {
        let waiting = async {
            loop {
                match self.dedup.begin(write.write_id, self.clock.now()) {
                    Known::New => return Ok(None),
                    Known::NoRoom => return Err(WriteError::NoRoomForKey),
                    Known::Stored(channel, key) => {
                        return self.same_payload(channel, key, digest).await.map(Some);
                    }
                    Known::Undecided(notify) => {
                        let ended = notify.notified();
                        tokio::pin!(ended);
                        ended.as_mut().enable();
                        // It may have ended before this one listened.
                        let again = self.dedup.begin(write.write_id, self.clock.now());
                        match again {
                            Known::Undecided(_) => ended.await,
                            Known::New => return Ok(None),
                            _ => {}
                        }
                    }
                }
            }
        };
        let waited = tokio::time::timeout(self.settings.patience, waiting).await;
        waited.unwrap_or_else(|_| {
            Err(WriteError::Unknown {
                reason: "an earlier try of this write is not decided".to_owned(),
            })
        })
    }

    async fn same_payload(
        &self,
        channel: ChannelId,
        key: ItemKey,
        digest: u128,
    ) -> Result<Stored, WriteError> {
        let unknown = |error: ReadError| WriteError::Unknown {
            reason: error.to_string(),
        };
        match self.get(channel, key).await.map_err(unknown)? {
            Some(item) if item.head.digest != digest => Err(WriteError::KeyReused),
            // Gone again, with its channel: the key it had is still the answer.
            _ => Ok(Stored {
                key,
                repeated: true,
            }),
        }
    }
}

/// What tells one payload from another under the same idempotency key: the first 128 bits of a
/// SHA-256 of the media type and the bytes.
pub(super) fn digest(payload: &Payload) -> u128 {
    let content_type = payload.content_type.as_ref().map_or("", |t| t.as_str());
    let hash = Sha256::new()
        .chain_update(content_type)
        .chain_update([0])
        .chain_update(&payload.bytes)
        .finalize();
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(digest)
}
