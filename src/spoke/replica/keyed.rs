//! Writes that may have been tried before: one item, however often they are sent, and through
//! however many coordinators.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hub_ring::Member;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::{EarlierSet, KeyPlacement, Replica, Stored, Write, WriteError};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey, Payload};
use crate::spoke::dedup::{Dedup, Known};
use crate::spoke::ids::WriteId;
use crate::spoke::peers::{ChannelRef, GetAnswer, SettleAnswer, SettleRequest};
use crate::spoke::store::ReadError;

/// The pause before a member of an earlier set is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// A try of a write that the store does not have yet. Dropped, it counts as failed: the client that
/// sent it may have gone, and must be able to come back.
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

    /// From now on somebody else says how it ends.
    pub(super) fn handed_over(mut self) {
        self.id = None;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.dedup.failed(id, None);
        }
    }
}

impl Replica {
    /// What an earlier try of a write came to; `None` if there was none here.
    pub(super) async fn earlier_try(&self, write: &Write) -> Result<Option<Stored>, WriteError> {
        let (id, keyed) = (write.write_id, write.keyed);
        let waiting = async {
            loop {
                match self.dedup.begin(id, keyed, self.clock.now()) {
                    Known::New => return Ok(None),
                    Known::NoRoom => return Err(WriteError::NoRoomForKey),
                    Known::Stored(key) => {
                        let repeated = true;
                        return Ok(Some(Stored { key, repeated }));
                    }
                    Known::Undecided(notify) => {
                        let ended = notify.notified();
                        tokio::pin!(ended);
                        ended.as_mut().enable();
                        // It may have ended before this one listened.
                        let again = self.dedup.begin(id, keyed, self.clock.now());
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

    /// Whether what is stored under a key has another payload than the one of that digest. An item
    /// that is gone again, with its channel, is as good as the same: its key is still the answer.
    pub(super) async fn is_other(
        &self,
        channel: &ChannelRef,
        key: ItemKey,
        digest: u128,
        place: &dyn KeyPlacement,
    ) -> Result<bool, WriteError> {
        let unknown = |error: ReadError| WriteError::Unknown {
            reason: error.to_string(),
        };
        if let Some(item) = self.get(channel.id, key).await.map_err(unknown)? {
            return Ok(item.head.digest != digest);
        }
        // Committed by others' copies.
        let mut silent = None;
        let now = self.clock.now();
        for member in place.others(key.millis) {
            match self.peers.get(&member, channel.clone(), key).await {
                Ok(GetAnswer::Found(item)) => return Ok(item.body.digest != digest),
                Ok(GetAnswer::No | GetAnswer::Evicted) => {}
                Ok(GetAnswer::Unknown(reason)) => silent = Some(reason),
                // What only those had is lost.
                Err(_) if place.is_lost(&member, key.millis, now) => {}
                Err(error) => silent = Some(error.to_string()),
            }
        }
        match silent {
            // One of those may have it, with another payload.
            Some(reason) => Err(WriteError::Unknown { reason }),
            None => Ok(false),
        }
    }

    /// Makes sure that a write which may have been tried before the channel's set of members changed
    /// is not stored by an earlier set, now or later; gives its key if it is.
    pub(super) async fn settle_earlier(
        self: &Arc<Self>,
        write: &Write,
        sets: &[EarlierSet],
    ) -> Result<Option<ItemKey>, WriteError> {
        // Of those that nobody is left of nobody can say anything.
        for set in sets.iter().filter(|set| set.needed > 0) {
            if let Some(key) = self.settle_with(write, set).await? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The earliest key time under which a write may have been tried.
    pub(super) fn may_have_begun(&self, write: &Write) -> Millis {
        let now = self.clock.now();
        let since = if write.keyed {
            now.minus(self.settings.dedup_window)
        } else {
            write.began.min(now)
        };
        // A coordinator whose clock is behind stamps earlier than the write began by another's.
        since.minus(self.settings.limits.max_skew)
    }

    /// Asks a read quorum of an earlier set.
    async fn settle_with(
        self: &Arc<Self>,
        write: &Write,
        set: &EarlierSet,
    ) -> Result<Option<ItemKey>, WriteError> {
        let request = SettleRequest {
            channel: write.channel.clone(),
            write_id: write.write_id,
            key: None,
            up_to: Frontier::before(set.until),
        };
        let ask = |member: Member, pause: Duration| {
            let request = request.clone();
            async move {
                tokio::time::sleep(pause).await;
                let answer = if member == self.own {
                    Ok(self.settle(&request).await)
                } else {
                    self.peers.settle(&member, request).await
                };
                (member, answer)
            }
        };
        let members = set.members.iter().cloned();
        let mut asking: FuturesUnordered<_> = members.map(|m| ask(m, Duration::ZERO)).collect();
        let mut denials = 0;
        while let Ok(Some((member, answer))) =
            tokio::time::timeout_at(write.until, asking.next()).await
        {
            match answer {
                Ok(SettleAnswer::Held(key)) => return Ok(Some(key)),
                Ok(SettleAnswer::No) => denials += 1,
                Ok(SettleAnswer::Pending(_) | SettleAnswer::NotFinal) | Err(_) => {
                    asking.push(ask(member, AGAIN));
                }
            }
            if denials >= set.needed {
                return Ok(None);
            }
            if Instant::now() >= write.until {
                break;
            }
        }
        Err(WriteError::Unknown {
            reason: "the replicas of the ring before cannot say whether it is stored".to_owned(),
        })
    }
}

/// What tells one payload from another under the same idempotency key: the first 128 bits of a
/// SHA-256 of the media type and the bytes, and of how many items they are in a bulk insert.
pub(super) fn digest(payload: &Payload, bulk: Option<u32>) -> u128 {
    let content_type = payload.content_type.as_ref().map_or("", |t| t.as_str());
    let hash = Sha256::new()
        .chain_update(content_type)
        .chain_update([0])
        .chain_update(&payload.bytes)
        .chain_update(bulk.map_or([0; 4], u32::to_be_bytes))
        .finalize();
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(digest)
}
