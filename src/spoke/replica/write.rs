//! Coordinating a write: a key for it at the serial point of its channel, this node's own copy, and
//! then, where the channel has other replicas, a second one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::copies::Second;
use super::keyed::{Attempt, digest};
use super::order::Turn;
use super::outcome::{Stored, WriteError};
use super::{EarlierSet, KeyPlacement, Replica};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey, Payload};
use crate::spoke::accept::{Held, Offer, Promises, Reason, Standing, Verdict, decide};
use crate::spoke::dedup::Copy;
use crate::spoke::ids::WriteId;
use crate::spoke::peers::{ChannelRef, ItemBody, PeerPayload};
use crate::spoke::record::{ItemFlags, ItemHead};
use crate::spoke::store::{Append, AppendError};

/// A write to coordinate.
pub struct Write {
    /// The channel.
    pub channel: ChannelRef,
    /// What stays the same however often it is tried.
    pub write_id: WriteId,
    /// Whether `write_id` comes from a client's idempotency key.
    pub keyed: bool,
    /// What to store.
    pub payload: Payload,
    /// Of how many items the payload is the pack, if it is a bulk insert.
    pub bulk: Option<u32>,
    /// When the write began, by the clock of the node that took it.
    pub began: Millis,
    /// Whether another coordinator may have tried it before.
    pub again: bool,
    /// After this nobody waits for it: it is not stamped again.
    pub until: Instant,
}

/// A write on its way, as its parts are needed.
pub(super) struct Writing {
    pub(super) channel: ChannelRef,
    pub(super) write_id: WriteId,
    pub(super) keyed: bool,
    pub(super) content_type: Option<String>,
    pub(super) payload: Bytes,
    bulk: Option<u32>,
    pub(super) digest: u128,
    pub(super) until: Instant,
    pub(super) place: Arc<dyn KeyPlacement>,
    /// Since when it may have been tried, and which earlier sets were asked about that.
    since: Millis,
    settled: Vec<EarlierSet>,
    /// Whether this node is the whole replica set.
    alone: bool,
    /// When it is to be sent, once it is stamped.
    pub(super) turn: Mutex<Option<Turn>>,
}

impl Writing {
    /// What every copy carries; `staged` if the payload went ahead.
    pub(super) fn body(&self, staged: bool) -> ItemBody {
        ItemBody {
            write_id: self.write_id,
            keyed: self.keyed,
            content_type: self.content_type.clone(),
            size: self.payload.len() as u64,
            digest: self.digest,
            payload: if staged {
                PeerPayload::Staged
            } else {
                PeerPayload::Inline(self.payload.clone())
            },
        }
    }

    fn head(&self, key: ItemKey, replicas: Option<Vec<String>>) -> ItemHead {
        ItemHead {
            key,
            write_id: self.write_id,
            flags: ItemFlags {
                pending: replicas.is_some(),
                keyed: self.keyed,
            },
            content_type: self.content_type.clone(),
            size: self.payload.len() as u64,
            digest: self.digest,
            replicas: replicas.unwrap_or_default(),
        }
    }
}

/// What a write takes beside its payload while it is under way, about.
const UNDECIDED_BYTES: u64 = 4096;

/// A share of what writes that are under way may take: their clients may have gone, and with them
/// what bounds the bodies of requests.
struct Share {
    taken: Arc<AtomicU64>,
    bytes: u64,
}

impl Share {
    /// `None` if that is more than is left. One may always be under way.
    fn of(taken: &Arc<AtomicU64>, bytes: u64, max: u64) -> Option<Self> {
        let more = |taken: u64| (taken == 0 || taken + bytes <= max).then_some(taken + bytes);
        let added = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        let taken = Arc::clone(taken);
        added.is_ok().then_some(Self { taken, bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// What came of one look at the serial point.
enum Stamped {
    /// The clock has passed the mark meanwhile.
    MarkBehind,
    /// The set of members changes about now: to be tried again at that time.
    NotBefore(Millis),
    /// Another coordinator's copy of the write goes to the disk here.
    InFlight,
    Done(Result<Stored, WriteError>),
}

impl Replica {
    /// Coordinates a write: stamps it, stores it, and says under which key once it is safe.
    ///
    /// Cancelling the caller does not cancel the write.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn coordinate(
        self: &Arc<Self>,
        write: Write,
        place: Arc<dyn KeyPlacement>,
    ) -> Result<Stored, WriteError> {
        let (keyed, channel) = (write.keyed, write.channel.clone());
        let digest = if keyed {
            digest(&write.payload, write.bulk)
        } else {
            0
        };
        let stored = self.coordinated(write, digest, Arc::clone(&place)).await?;
        if keyed && stored.repeated && self.is_other(&channel, stored.key, digest, &*place).await? {
            return Err(WriteError::KeyReused);
        }
        Ok(stored)
    }

    async fn coordinated(
        self: &Arc<Self>,
        write: Write,
        digest: u128,
        place: Arc<dyn KeyPlacement>,
    ) -> Result<Stored, WriteError> {
        // Where there are others to coordinate, two tries may meet here.
        let alone = place.others(self.clock.now()).is_empty();
        let tried = write.keyed || write.again || !alone;
        if tried && let Some(stored) = self.earlier_try(&write).await? {
            return Ok(stored);
        }
        // Until the store has it nothing is stored, whatever ends this: the next try is a new one.
        let attempt = tried.then(|| Attempt::new(&self.dedup, write.write_id));
        let since = self.may_have_begun(&write);
        let settled = if tried {
            place.earlier_sets(since, self.clock.now())
        } else {
            Vec::new()
        };
        if let Some(key) = self.settle_earlier(&write, &settled).await? {
            let (id, now) = (write.write_id, self.clock.now());
            self.dedup.elsewhere(id, write.keyed, key, now);
            return Ok(Stored {
                key,
                repeated: true,
            });
        }
        let writing = Writing {
            channel: write.channel,
            write_id: write.write_id,
            keyed: write.keyed,
            content_type: write.payload.content_type.map(|t| t.as_str().to_owned()),
            payload: write.payload.bytes,
            bulk: write.bulk,
            digest,
            until: write.until,
            place,
            since,
            settled,
            alone,
            turn: Mutex::default(),
        };
        if alone {
            // The only copy there is to be is its own proof.
            let stamped = self.stamp(&writing, None).await?;
            if let Some(attempt) = attempt {
                attempt.handed_over();
            }
            if !stamped.repeated {
                self.store_own(&writing, stamped.key, None).await?;
            }
            return Ok(stamped);
        }
        let bytes = writing.payload.len() as u64 + UNDECIDED_BYTES;
        let Some(share) = Share::of(
            &self.undecided_bytes,
            bytes,
            self.settings.staged_bytes_max as u64,
        ) else {
            return Err(WriteError::NotNow(Reason::Backlog));
        };
        if let Some(attempt) = attempt {
            attempt.handed_over();
        }
        let (answer, outcome) = oneshot::channel();
        let replica = Arc::clone(self);
        // It goes on if the client has gone: what was stamped is to be decided.
        tokio::spawn(async move {
            replica.replicate(writing, answer).await;
            drop(share);
        });
        outcome.await.unwrap_or_else(|_| {
            Err(WriteError::Unknown {
                reason: "the write ended early".to_owned(),
            })
        })
    }

    /// Sees a write through to its second copy, and then to the others.
    async fn replicate(
        self: Arc<Self>,
        writing: Writing,
        answer: oneshot::Sender<Result<Stored, WriteError>>,
    ) {
        let mut answer = Some(answer);
        let mut say = move |outcome: Result<Stored, WriteError>| {
            if let Some(answer) = answer.take() {
                // The client may have gone.
                let _ = answer.send(outcome);
            }
        };
        let id = writing.write_id;
        let mut not_before = None;
        loop {
            let mut reached = self.reach(&writing).await;
            if self.takes_over(&writing) {
                self.hear_others(&writing, &mut reached).await;
            }
            let stamped = if reached.is_empty() {
                Err(WriteError::NotNow(Reason::NoPeer))
            } else {
                self.stamp(&writing, not_before).await
            };
            let key = match stamped {
                Ok(Stored {
                    key,
                    repeated: false,
                }) => key,
                Ok(stored) => {
                    say(Ok(stored));
                    return;
                }
                Err(error) => {
                    self.dedup.failed(id, None);
                    say(Err(error));
                    return;
                }
            };
            let set = writing.place.others(key.millis);
            let named: Vec<_> = set.into_iter().filter(|m| reached.contains(m)).collect();
            if named.is_empty() {
                writing.turn.lock().take();
                self.dedup.failed(id, Some(&key));
                self.own_decided(&writing.channel, &key);
                say(Err(WriteError::NotNow(Reason::NoPeer)));
                return;
            }
            let names = named.iter().map(|m| m.as_str().to_owned()).collect();
            if let Err(error) = self.store_own(&writing, key, Some(names)).await {
                writing.turn.lock().take();
                say(Err(error));
                return;
            }
            let second = self.second_copy(&writing, key, &named).await;
            match second {
                Second::Stored(_) | Second::Kept => {
                    let at = match second {
                        Second::Stored(member) => Some(member),
                        _ => None,
                    };
                    self.commit(&writing, key);
                    say(Ok(Stored {
                        key,
                        repeated: false,
                    }));
                    self.spread(&writing, key, at).await;
                    return;
                }
                Second::Elsewhere(held) => {
                    let dropped = self.drop_own(&writing, key).await;
                    if dropped.is_ok() {
                        let (keyed, now) = (writing.keyed, self.clock.now());
                        self.dedup.elsewhere(id, keyed, held, now);
                    }
                    say(dropped.map(|()| Stored {
                        key: held,
                        repeated: true,
                    }));
                    return;
                }
                Second::Dead(above) => {
                    if let Err(error) = self.drop_own(&writing, key).await {
                        say(Err(error));
                        return;
                    }
                    // Who took the write from the client finds the coordinator of the present set.
                    if Instant::now() >= writing.until
                        || !writing
                            .place
                            .is_placed(&ItemKey::first_of(self.clock.now()))
                    {
                        self.dedup.failed(id, Some(&key));
                        say(Err(WriteError::NotNow(Reason::NotPlaced)));
                        return;
                    }
                    // Another try that waits for this one goes on waiting.
                    self.dedup.begun_again(id, &key);
                    not_before = Some(above);
                }
                Second::Full => {
                    let outcome = self.drop_own(&writing, key).await;
                    self.dedup.failed(id, Some(&key));
                    say(outcome.and(Err(WriteError::NotNow(Reason::DiskFull))));
                    return;
                }
                Second::Closed => {
                    say(Err(WriteError::Unknown {
                        reason: "the store was closed".to_owned(),
                    }));
                    return;
                }
                Second::Theirs(member, held) => {
                    let outcome = match self.drop_own(&writing, key).await {
                        Ok(()) => {
                            self.dedup.failed(id, Some(&key));
                            self.theirs(&writing, &member, held).await
                        }
                        Err(error) => Err(error),
                    };
                    say(outcome);
                    return;
                }
            }
        }
    }

    /// Takes up that a second copy of an item stamped here exists.
    pub(super) fn commit(&self, writing: &Writing, key: ItemKey) {
        let (id, now) = (writing.write_id, self.clock.now());
        self.dedup.stored(id, writing.keyed, key, now);
        self.own_decided(&writing.channel, &key);
    }

    /// Removes an item stamped here that is not to be. It is pending until it is gone.
    async fn drop_own(&self, writing: &Writing, key: ItemKey) -> Result<(), WriteError> {
        let removed = self.remove(writing.channel.id, key, writing.write_id);
        removed.await.map_err(|error| WriteError::Unknown {
            reason: error.to_string(),
        })?;
        self.dropping.lock().remove(&(writing.channel.id, key));
        self.own_decided(&writing.channel, &key);
        Ok(())
    }

    /// Stamps a key and accepts it: the serial point of the channel. Above `above`, if that is
    /// given. If the write is held already, committed, that is the answer.
    async fn stamp(
        self: &Arc<Self>,
        writing: &Writing,
        above: Option<(Millis, Frontier)>,
    ) -> Result<Stored, WriteError> {
        let channel = self.channel(writing.channel.id);
        loop {
            if self.is_clock_off() {
                return Err(WriteError::NotNow(Reason::ClockOff));
            }
            self.mark_ahead().await?;
            match self.try_stamp(&channel, writing, above) {
                Stamped::Done(outcome) => return outcome,
                Stamped::MarkBehind => {}
                Stamped::InFlight => self.changed(writing.write_id).await,
                Stamped::NotBefore(at) => {
                    let wait = at.get() - self.clock.now().get();
                    let wait = std::time::Duration::from_millis(wait.max(1) as u64);
                    if Instant::now() + wait > writing.until {
                        return Err(WriteError::NotNow(Reason::PastHorizon));
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn try_stamp(
        &self,
        channel: &Mutex<Promises>,
        writing: &Writing,
        above: Option<(Millis, Frontier)>,
    ) -> Stamped {
        let limits = &self.settings.limits;
        let full = self.store.is_full();
        let mut promises = channel.lock();
        // Read in here: a clock that was read before, and a process that was stopped in between,
        // would stamp a key below what a reader has been promised since.
        let Some(clock) = self.clock_below_mark() else {
            return Stamped::MarkBehind;
        };
        let mut frontier = promises.frontier(self.promising(clock), limits);
        let mut earliest = clock;
        if let Some((named, promised)) = above {
            frontier = frontier.max(promised);
            earliest = earliest.max(named);
        }
        let stamp = self.stamps.stamp(&frontier.key(), earliest);
        let key = match writing.bulk {
            None => Some(stamp),
            Some(count) => stamp.bulk(count),
        };
        let Some(key) = key else {
            let reason = "a bulk insert of so many items".to_owned();
            return Stamped::Done(Err(WriteError::Unstorable(reason)));
        };
        let (id, place) = (writing.write_id, &writing.place);
        // As the accept rule has it: what is held is tested first. Another coordinator's copy may
        // have come since this one began.
        match self.dedup.copy(id, clock) {
            Copy::Stored(key) | Copy::Elsewhere(key) => {
                let repeated = true;
                return Stamped::Done(Ok(Stored { key, repeated }));
            }
            Copy::Storing(_) | Copy::Pending(_) => return Stamped::InFlight,
            Copy::None => {}
        }
        // Others may have stored it meanwhile and, after that long, have forgotten that they did.
        if Instant::now() >= writing.until {
            return Stamped::Done(Err(WriteError::NotNow(Reason::TooLate)));
        }
        // The ring may have changed since the write began here: then it begins anew, and asks whom it
        // must.
        let changed = place.others(key.millis).is_empty() != writing.alone
            || (!writing.alone && place.earlier_sets(writing.since, key.millis) != writing.settled);
        if changed {
            return Stamped::Done(Err(WriteError::NotNow(Reason::NotPlaced)));
        }
        let from = place.stamps_from(key.millis);
        if clock < from {
            return Stamped::NotBefore(from);
        }
        let standing = Standing {
            clock,
            horizon: place.horizon(),
            placed: place.is_placed(&key),
            current: place.is_current(),
            full,
        };
        if self.is_clock_off() {
            return Stamped::Done(Err(WriteError::NotNow(Reason::ClockOff)));
        }
        if !self.votes_at(key.millis) {
            return Stamped::Done(Err(WriteError::NotNow(Reason::Warming)));
        }
        let offer = Offer { key, write_id: id };
        let verdict = decide(&offer, &Held::No, &frontier, &standing, limits);
        Stamped::Done(match verdict {
            Verdict::Accept => {
                promises.accept(key, id, true);
                if !writing.alone {
                    *writing.turn.lock() = Some(self.order.take(writing.channel.id));
                }
                self.dedup.pending(id, writing.keyed, key);
                let repeated = false;
                Ok(Stored { key, repeated })
            }
            Verdict::NotNow(reason) => Err(WriteError::NotNow(reason)),
            // A key just stamped is above the frontier, and its write is held nowhere.
            other => Err(WriteError::Unstorable(format!(
                "{key} was judged {other:?}"
            ))),
        })
    }

    /// Stores an item under the key that was stamped for it: decided, or, if it is to be sent to
    /// `named`, pending until that is decided.
    async fn store_own(
        self: &Arc<Self>,
        writing: &Writing,
        key: ItemKey,
        named: Option<Vec<String>>,
    ) -> Result<(), WriteError> {
        let alone = named.is_none();
        let head = writing.head(key, named);
        let (id, keyed, channel_id) = (writing.write_id, writing.keyed, writing.channel.id);
        let promises = self.channel(channel_id);
        let (answer, outcome) = oneshot::channel();
        let replica = Arc::clone(self);
        let done = Box::new(move |result: Result<(), AppendError>| {
            match &result {
                Ok(()) if alone => {
                    let now = replica.clock.now();
                    replica.dedup.stored(id, keyed, key, now);
                    promises.lock().decided(&key);
                }
                // Nobody knows: it stays pending until the store has been opened again.
                Ok(()) | Err(AppendError::Failed { .. }) => {}
                Err(_) => {
                    replica.dedup.failed(id, Some(&key));
                    promises.lock().decided(&key);
                }
            }
            // The client may have gone: its item is stored all the same.
            let _ = answer.send(result);
        });
        match Append::new(channel_id, &head, writing.payload.clone(), done) {
            Ok(append) => self.store.append(append),
            Err(error) => {
                self.dedup.failed(id, Some(&key));
                self.channel(channel_id).lock().decided(&key);
                return Err(WriteError::Unstorable(error.to_string()));
            }
        }
        let gone = || AppendError::Failed {
            reason: "the store went away".to_owned(),
        };
        Ok(outcome.await.unwrap_or_else(|_| Err(gone()))?)
    }
}
