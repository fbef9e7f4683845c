//! Questions about writes that may or may not be stored: answering them, and asking them about what
//! this node coordinated before it restarted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hub_ring::Member;

use super::copies::Refusals;
use super::{KeyPlacement, Replica};
use crate::item::{Frontier, ItemKey};
use crate::spoke::dedup::Copy;
use crate::spoke::peers::{ChannelRef, SettleAnswer, SettleRequest};
use crate::spoke::store::Undecided;

/// The first pause before a member is asked again, and the longest.
const AGAIN: Duration = Duration::from_millis(20);
const AGAIN_MAX: Duration = Duration::from_secs(2);

/// What came of one look at the serial point.
enum Look {
    MarkBehind,
    /// It goes to the disk now: what it comes to is to be waited for.
    InFlight,
    Answer(SettleAnswer),
}

impl Replica {
    /// Says whether this replica holds a write, and, if it does not, promises that it never will at
    /// or below what it was asked.
    pub async fn settle(self: &Arc<Self>, request: &SettleRequest) -> SettleAnswer {
        if let Some(key) = request.key {
            match self.held(request.channel.id, key).await {
                Ok(Some(entry)) if entry.write_id == request.write_id && !entry.flags.pending => {
                    return SettleAnswer::Held(key);
                }
                Ok(_) => {}
                Err(_) => return SettleAnswer::NotFinal,
            }
        }
        loop {
            if self.is_clock_off() || self.mark_ahead().await.is_err() {
                return SettleAnswer::NotFinal;
            }
            match self.look(request) {
                Look::MarkBehind => {}
                Look::InFlight => self.changed(request.write_id).await,
                Look::Answer(answer) => return answer,
            }
        }
    }

    fn look(&self, request: &SettleRequest) -> Look {
        let limits = &self.settings.limits;
        let state = self.channel(request.channel.id);
        let mut promises = state.lock();
        let Some(clock) = self.clock_below_mark() else {
            return Look::MarkBehind;
        };
        match self.dedup.copy(request.write_id, clock) {
            Copy::Stored(key) | Copy::Elsewhere(key) => {
                return Look::Answer(SettleAnswer::Held(key));
            }
            Copy::Storing(_) => return Look::InFlight,
            // A coordinator that asks about its own key is not held up by another's try.
            Copy::Pending(key) if request.key.is_none() => {
                return Look::Answer(SettleAnswer::Pending(key));
            }
            Copy::Pending(_) | Copy::None => {}
        }
        let up_to = request.up_to;
        // Nobody stamps that far ahead, so whoever asks has a clock that is wrong.
        if up_to.millis() > clock.plus(2 * limits.max_skew) {
            return Look::Answer(SettleAnswer::NotFinal);
        }
        // Whoever asks about no key may have had it stored at any time of the dedup window.
        let since = match request.key {
            Some(_) => up_to.millis().minus(1),
            None => clock.minus(self.settings.dedup_window + 2 * limits.max_skew),
        };
        if !self.votes_between(since, up_to.millis().plus(1)) {
            return Look::Answer(SettleAnswer::NotFinal);
        }
        promises.raise(up_to);
        Look::Answer(SettleAnswer::No)
    }

    /// Settles an item that this node coordinated before it restarted: finds out whether a second
    /// copy exists, and removes it once it is sure that none does nor will. Where a member that may
    /// hold one was declared lost nobody can be sure, and the item is kept.
    pub async fn settle_own(
        self: Arc<Self>,
        item: Undecided,
        channel: ChannelRef,
        place: Arc<dyn KeyPlacement>,
    ) {
        let named: Vec<Member> = match &item.replicas {
            Some(names) => names.iter().filter_map(|n| Member::new(n).ok()).collect(),
            None => place.others(item.key.millis),
        };
        let request = SettleRequest {
            channel: channel.clone(),
            write_id: item.write_id,
            key: Some(item.key),
            up_to: Frontier::up_to(item.key),
        };
        let ask = |member: Member, pause: Duration| {
            let request = request.clone();
            let replica = &self;
            async move {
                tokio::time::sleep(pause).await;
                let run = replica.peers.run_of(&member);
                let answer = replica.peers.settle(&member, request).await;
                (member, run, answer)
            }
        };
        let mut pauses: HashMap<Member, Duration> = HashMap::new();
        let members = named.iter().cloned();
        let mut asking: FuturesUnordered<_> = members.map(|m| ask(m, Duration::ZERO)).collect();
        let mut denied = Refusals::default();
        let held = loop {
            let copy = self.dedup.copy(item.write_id, self.clock.now());
            if let Copy::Stored(key) | Copy::Elsewhere(key) = copy {
                // It came here as a committed copy meanwhile.
                break Some(key);
            }
            if denied.len() == named.len() {
                self.dropping.lock().insert((channel.id, item.key));
                let again = denied.outdated(&*self.peers);
                if again.is_empty() {
                    break None;
                }
                self.dropping.lock().remove(&(channel.id, item.key));
                asking.extend(again.into_iter().map(|member| ask(member, AGAIN)));
            }
            let now = self.clock.now();
            let mut silent = named.iter().filter(|member| !denied.holds(member));
            if silent.all(|member| place.is_lost(member, item.key.millis, now)) {
                tracing::warn!(key = %item.key, channel = %channel.name, "an undecided item is kept: who may hold it is lost");
                break Some(item.key);
            }
            let Some((member, run, answer)) = asking.next().await else {
                break None;
            };
            if self.is_closed() {
                return;
            }
            match answer {
                Ok(SettleAnswer::Held(key)) => break Some(key),
                Ok(SettleAnswer::No) => {
                    denied.add(member, run);
                }
                Ok(SettleAnswer::Pending(_) | SettleAnswer::NotFinal) | Err(_) => {
                    let pause = pauses.entry(member.clone()).or_insert(AGAIN / 2);
                    *pause = (*pause * 2).min(AGAIN_MAX);
                    let pause = *pause;
                    asking.push(ask(member, pause));
                }
            }
        };
        self.settled(&item, &channel, held).await;
    }

    async fn settled(&self, item: &Undecided, channel: &ChannelRef, held: Option<ItemKey>) {
        let (id, keyed, now) = (item.write_id, item.flags.keyed, self.clock.now());
        if held != Some(item.key) {
            tracing::debug!(key = %item.key, channel = %channel.name, "an item was never acknowledged");
            if let Err(error) = self.remove(channel.id, item.key, id).await {
                // It is settled again when the store has been opened again.
                tracing::warn!(%error, key = %item.key, "a settled item was not removed");
                return;
            }
        }
        match held {
            Some(key) if key == item.key => {
                self.dedup.stored(id, keyed, key, now);
            }
            Some(key) => self.dedup.elsewhere(id, keyed, key, now),
            None => self.dedup.failed(id, Some(&item.key)),
        }
        self.dropping.lock().remove(&(channel.id, item.key));
        self.own_decided(channel, &item.key);
    }
}
