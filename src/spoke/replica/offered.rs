//! Taking what other coordinators offer.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{KeyPlacement, Replica};
use crate::item::Frontier;
use crate::item::ItemKey;
use crate::spoke::accept::{Held, Offer, Promises, Reason, Standing, Verdict, decide};
use crate::spoke::dedup::Copy;
use crate::spoke::index::Entry;
use crate::spoke::peers::{AppendAnswer, AppendRequest, PeerPayload};
use crate::spoke::record::{ItemFlags, ItemHead};
use crate::spoke::store::{Append, AppendError, ReadError};

/// An item that another member offers.
pub struct Offered {
    /// What it sent.
    pub request: AppendRequest,
    /// What the rings say about it.
    pub place: Arc<dyn KeyPlacement>,
}

/// What the serial point made of it.
enum Step {
    /// The clock has passed the mark meanwhile.
    MarkBehind,
    /// That is the answer.
    Now(AppendAnswer),
    /// It is held under this key, and goes to the disk now: to be asked again then.
    InFlight,
    /// It was accepted: the store says how it ends.
    Accepted(oneshot::Receiver<Result<(), AppendError>>),
}

/// Writes this much older than the clock may have been forgotten by all but the store, in
/// milliseconds.
const OLD: i64 = crate::spoke::store::RECALL / 2;

/// The answer where it could not be kept that something is stored late.
fn unmarked(error: &io::Error) -> AppendAnswer {
    AppendAnswer::Unknown(format!("the archive's mark: {error}"))
}

impl Replica {
    /// Takes a batch in its order, and answers once all of it is as safe as the durability asks.
    pub async fn take(self: &Arc<Self>, batch: Vec<Offered>) -> Vec<AppendAnswer> {
        let mut steps = Vec::with_capacity(batch.len());
        let mut late = Vec::new();
        for offered in &batch {
            match self.late(offered).await {
                Ok(noted) => {
                    late.extend(noted);
                    steps.push(self.begin(offered).await);
                }
                Err(error) => {
                    steps.push(Step::Now(unmarked(&error)));
                }
            }
        }
        let mut answers = Vec::with_capacity(batch.len());
        for (mut step, offered) in steps.into_iter().zip(&batch) {
            let write_id = offered.request.body.write_id;
            let answer = loop {
                match step {
                    Step::Now(answer) => break answer,
                    Step::Accepted(outcome) => {
                        break match outcome.await {
                            Ok(Ok(())) => AppendAnswer::Stored,
                            Ok(Err(AppendError::Full)) => AppendAnswer::NotNow(Reason::DiskFull),
                            Ok(Err(AppendError::Closed)) => AppendAnswer::NotNow(Reason::Warming),
                            Ok(Err(error)) => AppendAnswer::Unknown(error.to_string()),
                            Err(_) => AppendAnswer::Unknown("the store went away".to_owned()),
                        };
                    }
                    Step::InFlight | Step::MarkBehind => {
                        self.changed(write_id).await;
                        // It may have become late by now.
                        step = match self.late(offered).await {
                            Ok(noted) => {
                                late.extend(noted);
                                self.begin(offered).await
                            }
                            Err(error) => Step::Now(unmarked(&error)),
                        };
                    }
                }
            };
            answers.push(answer);
        }
        answers
    }

    /// Sees to it that what is stored of a time that was archived is looked for in the archive.
    async fn late(&self, offered: &Offered) -> io::Result<Option<Box<dyn Send>>> {
        let request = &offered.request;
        let at = request.key.millis;
        let limits = &self.settings.limits;
        // Nothing younger is archived: what a stable read gives does not reach to it.
        let recent = self
            .clock
            .now()
            .minus(limits.accept_window + limits.max_skew);
        match self.archived.get() {
            Some(archived) if at < recent => archived.late(request.channel.id, at).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn begin(self: &Arc<Self>, offered: &Offered) -> Step {
        let request = &offered.request;
        let (channel, key, id) = (&request.channel, request.key, request.body.write_id);
        if key.millis < self.clock.now().minus(OLD) {
            match self.held(channel.id, key).await {
                Ok(Some(entry)) if entry.write_id == id => {
                    return Step::Now(AppendAnswer::Stored);
                }
                Ok(_) => {}
                Err(error) => return Step::Now(AppendAnswer::Unknown(error.to_string())),
            }
        }
        loop {
            if self.is_clock_off() {
                return Step::Now(AppendAnswer::NotNow(Reason::ClockOff));
            }
            if let Err(error) = self.mark_ahead().await {
                return Step::Now(AppendAnswer::Unknown(error.to_string()));
            }
            match self.try_accept(offered) {
                Step::MarkBehind => {}
                step => return step,
            }
        }
    }

    /// Whether an item is held.
    ///
    /// # Errors
    /// [`ReadError`]: it may have been, and cannot be read.
    pub async fn holds(
        &self,
        channel: crate::spoke::ChannelId,
        key: ItemKey,
    ) -> Result<bool, ReadError> {
        Ok(self.held(channel, key).await?.is_some())
    }

    /// The entry of a key, whatever it takes to find it.
    pub(super) async fn held(
        &self,
        channel: crate::spoke::ChannelId,
        key: ItemKey,
    ) -> Result<Option<Entry>, ReadError> {
        self.reading(move |store, mode| store.find(channel, &key, mode))
            .await
    }

    /// The serial point of the channel.
    fn try_accept(self: &Arc<Self>, offered: &Offered) -> Step {
        let AppendRequest {
            channel,
            key,
            committed,
            body,
        } = &offered.request;
        let limits = &self.settings.limits;
        let payload = match &body.payload {
            PeerPayload::Inline(payload) => Some(payload.clone()),
            PeerPayload::Staged => self.staged_payload(body.write_id),
        };
        let full = self.store.is_full();
        let state = self.channel(channel.id);
        let mut promises = state.lock();
        let Some(clock) = self.clock_below_mark() else {
            return Step::MarkBehind;
        };
        let copy = self.dedup.copy(body.write_id, clock);
        if copy == Copy::Storing(*key) {
            return Step::InFlight;
        }
        let standing = Standing {
            clock,
            horizon: offered.place.horizon(),
            placed: offered.place.is_placed(key),
            current: offered.place.is_current(),
            full,
        };
        let offer = Offer {
            key: *key,
            write_id: body.write_id,
        };
        let promised = promises.frontier(self.promising(clock), limits);
        let (held, frontier) = match (*committed, copy.held(key)) {
            // No frontier refuses what is committed, and it settles what is pending here.
            (true, Held::Pending(_)) => (Held::No, Frontier::NOTHING),
            (true, held) => (held, Frontier::NOTHING),
            (false, held) => (held, promised),
        };
        match decide(&offer, &held, &frontier, &standing, limits) {
            Verdict::Yes => {
                self.unstage(body.write_id);
                return Step::Now(AppendAnswer::Stored);
            }
            Verdict::Duplicate(key) => {
                self.unstage(body.write_id);
                return Step::Now(AppendAnswer::Duplicate(key));
            }
            Verdict::Covered {
                frontier,
                clock,
                higher,
            } => {
                return Step::Now(if self.votes_at(key.millis) {
                    AppendAnswer::Covered {
                        frontier,
                        clock,
                        higher,
                    }
                } else {
                    AppendAnswer::NotNow(Reason::Warming)
                });
            }
            Verdict::NotNow(reason) => return Step::Now(AppendAnswer::NotNow(reason)),
            Verdict::Busy => return Step::Now(AppendAnswer::Busy),
            Verdict::Accept => {}
        }
        if !committed && !self.votes_at(key.millis) {
            return Step::Now(AppendAnswer::NotNow(Reason::Warming));
        }
        if self.is_clock_off() {
            return Step::Now(AppendAnswer::NotNow(Reason::ClockOff));
        }
        let Some(payload) = payload else {
            return Step::Now(AppendAnswer::NotNow(Reason::NoPayload));
        };
        // What lies below a promise was reported by others already, and raises none.
        if !promised.covers(key) {
            promises.accept(*key, body.write_id, false);
        }
        self.dedup.storing(body.write_id, body.keyed, *key);
        drop(promises);
        self.store_offered(&offered.request, payload, state)
    }

    fn store_offered(
        self: &Arc<Self>,
        request: &AppendRequest,
        payload: bytes::Bytes,
        state: Arc<Mutex<Promises>>,
    ) -> Step {
        let (channel, key, body) = (request.channel.id, request.key, &request.body);
        let head = ItemHead {
            key,
            write_id: body.write_id,
            // A copy anywhere but at its coordinator proves that there are two.
            flags: ItemFlags {
                pending: false,
                keyed: body.keyed,
            },
            content_type: body.content_type.clone(),
            size: body.size,
            digest: body.digest,
            replicas: Vec::new(),
        };
        let (answer, outcome) = oneshot::channel();
        let (replica, id, keyed) = (Arc::clone(self), body.write_id, body.keyed);
        let decided = move |result: Result<(), AppendError>| {
            match &result {
                Ok(()) => {
                    let now = replica.clock.now();
                    replica.dedup.stored(id, keyed, key, now);
                    state.lock().decided(&key);
                    replica.unstage(id);
                }
                // Nobody knows: it stays pending until the store has been opened again.
                Err(AppendError::Failed { .. }) => {}
                Err(_) => {
                    replica.dedup.failed(id, Some(&key));
                    state.lock().decided(&key);
                }
            }
            // The coordinator may have given up waiting.
            let _ = answer.send(result);
        };
        match Append::new(channel, &head, payload, Box::new(|_| {})) {
            Ok(append) => self.store.append(Append {
                done: Box::new(decided),
                ..append
            }),
            Err(error) => decided(Err(AppendError::Refused {
                reason: error.to_string(),
            })),
        }
        Step::Accepted(outcome)
    }
}
