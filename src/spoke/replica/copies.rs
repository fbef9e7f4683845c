//! The second copy of an item, which commits it, and the copies after that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hub_ring::Member;
use tokio::time::Instant;

use super::write::Writing;
use super::{Replica, Stored, WriteError};
use crate::cluster::Incarnation;
use crate::env::Millis;
use crate::item::{Frontier, ItemKey};
use crate::spoke::accept::Reason;
use crate::spoke::dedup::Copy;
use crate::spoke::directory::Direction;
use crate::spoke::ids::WriteId;
use crate::spoke::peers::{
    AppendAnswer, AppendRequest, ChannelRef, Peers, Refusal, ReportRequest, SettleAnswer,
    SettleRequest,
};

/// The first pause before a replica is asked again, and the longest.
const AGAIN: Duration = Duration::from_millis(10);
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// How often a copy that is not needed for the commit is offered before it is left to repair.
const OFFERS: u32 = 5;
/// How much longer others than the first are waited for that take a payload ahead, and how long for
/// what they have promised.
const STAGE_MORE: Duration = Duration::from_millis(500);
/// How long a payload is kept whose append does not come.
const STAGED: Duration = Duration::from_mins(1);

/// A payload whose append is to come.
pub(super) struct Staged {
    payload: Bytes,
    since: Instant,
}

/// What came of looking for a second copy.
pub(super) enum Second {
    /// That member has it: the item is committed.
    Stored(Member),
    /// The write is committed under another key.
    Elsewhere(ItemKey),
    /// No replica that was named will ever take it under this key; a new one must be above both.
    Dead((Millis, Frontier)),
    /// As the one before, and every one of them had its disk full.
    Full,
    /// The key is dead, and that member coordinates the write itself, under that higher key.
    Theirs(Member, ItemKey),
    /// Those who may have it were declared lost: it is kept.
    Kept,
    /// The store was closed: whoever opens it again settles the item.
    Closed,
}

/// Who refused an item for good, and in which run: one that lost its disk since may have accepted it
/// from another member.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<Member, Refused>);

#[derive(Debug)]
struct Refused {
    /// The newest run that was known of the member when it was asked.
    run: Option<Incarnation>,
    /// Whether it said nothing, but the item never reached it.
    unsent: bool,
}

impl Refusals {
    /// A member refused; `run` is the newest one that was known of it when it was asked.
    pub(super) fn add(&mut self, member: Member, run: Option<Incarnation>) {
        let unsent = false;
        self.0.insert(member, Refused { run, unsent });
    }

    /// The item never reached a member in that run, nor will it.
    fn add_unsent(&mut self, member: Member, run: Option<Incarnation>) {
        let unsent = true;
        self.0.insert(member, Refused { run, unsent });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn holds(&self, member: &Member) -> bool {
        self.0.contains_key(member)
    }

    /// Takes back what members said that have started again since, and gives them.
    pub(super) fn outdated(&mut self, peers: &dyn Peers) -> Vec<Member> {
        self.take_back(|member, refused| peers.run_of(member) != refused.run)
    }

    /// Takes back what was concluded of members that the item never reached, and gives them.
    fn unsent(&mut self) -> Vec<Member> {
        self.take_back(|_, refused| refused.unsent)
    }

    fn take_back(&mut self, is_void: impl Fn(&Member, &Refused) -> bool) -> Vec<Member> {
        let void = self
            .0
            .extract_if(|member, refused| is_void(member, refused));
        void.map(|(member, _)| member).collect()
    }
}

impl Replica {
    /// The other replicas that an item may be sent to: those that are connected, and have its
    /// payload if that has to go ahead.
    pub(super) async fn reach(&self, writing: &Writing) -> Vec<Member> {
        let others = writing.place.others(self.clock.now());
        let connected = others.into_iter().filter(|m| self.peers.is_connected(m));
        if writing.payload.len() <= self.settings.stage_bytes {
            return connected.collect();
        }
        let mut staging: FuturesUnordered<_> = connected
            .map(|member| async {
                let payload = writing.payload.clone();
                let staged = self.peers.stage(&member, writing.write_id, payload).await;
                if let Err(error) = &staged {
                    tracing::debug!(peer = %member.as_str(), %error, "a payload was not staged");
                }
                staged.ok().map(|()| member)
            })
            .collect();
        // One that has it is enough: the others are not waited for much longer.
        let (mut reached, mut until) = (Vec::new(), writing.until);
        while let Ok(Some(staged)) = tokio::time::timeout_at(until, staging.next()).await {
            if let Some(member) = staged {
                reached.push(member);
                until = until.min(Instant::now() + STAGE_MORE);
            }
        }
        reached
    }

    /// Whether this node stands in for a coordinator that comes before it, and has just begun to.
    pub(super) fn takes_over(&self, writing: &Writing) -> bool {
        let now = self.clock.now();
        let lately = now.minus(self.settings.limits.accept_window);
        let channel = self.channel(writing.channel.id);
        !writing.place.leads(now) && !channel.lock().stamped_since(lately)
    }

    /// Hears what the others have promised before the first key is stamped here. One who has taken
    /// more from the coordinator before than this node has would refuse it, and if another one dies
    /// with the same key on its way, nobody could tell for as long as that one is gone. Leaves those
    /// out of `reached` that turn out to be.
    pub(super) async fn hear_others(&self, writing: &Writing, reached: &mut Vec<Member>) {
        let now = self.clock.now();
        let request = ReportRequest {
            channel: writing.channel.clone(),
            from: ItemKey::first_of(now),
            to: ItemKey::first_of(now.plus(1)),
            direction: Direction::Ascending,
            limit: 0,
            undecided: false,
        };
        let mut asking: FuturesUnordered<_> = reached
            .iter()
            .map(|member| self.peers.report(member, request.clone()))
            .collect();
        let until = writing.until.min(Instant::now() + STAGE_MORE);
        while let Ok(Some(report)) = tokio::time::timeout_at(until, asking.next()).await {
            if let Ok(report) = report {
                self.heard_of(&writing.channel, report.frontier);
            }
        }
        drop(asking);
        reached.retain(|member| self.peers.is_connected(member));
    }

    /// Whether a member that learns was told of an undecided item.
    fn is_told(&self, channel: &ChannelRef, key: &ItemKey) -> bool {
        self.told.lock().contains(&(channel.id, *key))
    }

    /// Offers an item that is stored here to the replicas that its record names, until it is decided.
    pub(super) async fn second_copy(
        &self,
        writing: &Writing,
        key: ItemKey,
        named: &[Member],
    ) -> Second {
        let request = self.offer_of(writing, key, false);
        let mut pauses: HashMap<Member, Duration> = HashMap::new();
        let ask = |member: Member, pause: Duration, stage: bool| {
            let request = request.clone();
            async move {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                if stage {
                    let payload = writing.payload.clone();
                    // If it does not arrive the append says so again.
                    let _ = self.peers.stage(&member, writing.write_id, payload).await;
                }
                let run = self.peers.run_of(&member);
                let answer = self.peers.append(&member, request).await;
                (member, run, answer)
            }
        };
        let members = named.iter().cloned();
        let mut asking: FuturesUnordered<_> =
            members.map(|m| ask(m, Duration::ZERO, false)).collect();
        let turn = writing.turn.lock().take();
        let mut first = None;
        if let Some(turn) = turn {
            let sent = turn.come().await;
            // Polled once, all of them have their places in the lanes.
            if let Poll::Ready(answered) = futures_util::poll!(asking.next()) {
                first = answered;
            }
            // The next one may have given up waiting.
            let _ = sent.send(());
        }
        let mut refused = Refusals::default();
        let mut full: HashSet<Member> = HashSet::new();
        // Those that an append may have reached, answered or not.
        let mut reached: Vec<Member> = Vec::new();
        let mut above = (Millis::MIN, Frontier::NOTHING);
        let mut theirs = None;
        loop {
            if refused.len() == named.len() {
                self.dropping.lock().insert((writing.channel.id, key));
                let mut again = refused.outdated(&*self.peers);
                if self.is_told(&writing.channel, &key) {
                    again.extend(refused.unsent());
                }
                if again.is_empty() {
                    return match theirs {
                        Some((member, held)) => Second::Theirs(member, held),
                        None if full.len() == named.len() => Second::Full,
                        None => Second::Dead(above),
                    };
                }
                self.dropping.lock().remove(&(writing.channel.id, key));
                asking.extend(again.into_iter().map(|member| ask(member, AGAIN, false)));
            }
            let change = self.dedup.change(writing.write_id);
            match self.dedup.copy(writing.write_id, self.clock.now()) {
                Copy::Stored(held) | Copy::Elsewhere(held) if held != key => {
                    return Second::Elsewhere(held);
                }
                _ => {}
            }
            let now = self.clock.now();
            let is_lost = |member: &&Member| writing.place.is_lost(member, key.millis, now);
            let mut silent = named.iter().filter(|member| !refused.holds(member));
            if silent.all(|member| is_lost(&member)) {
                tracing::warn!(%key, "an undecided item is kept: who may hold it is lost");
                return Second::Kept;
            }
            let changed = async {
                match &change {
                    Some(change) => change.notified().await,
                    None => std::future::pending().await,
                }
            };
            let earlier = first.take();
            let answered = async {
                match earlier {
                    Some(answered) => Some(answered),
                    None => asking.next().await,
                }
            };
            let (member, run, answer) = tokio::select! {
                biased;
                Some(answered) = answered => answered,
                () = changed => continue,
            };
            if self.is_closed() {
                return Second::Closed;
            }
            match answer {
                Ok(AppendAnswer::Stored) => return Second::Stored(member),
                Ok(AppendAnswer::Duplicate(held)) => return Second::Elsewhere(held),
                Ok(AppendAnswer::Covered {
                    frontier,
                    clock,
                    higher,
                }) => {
                    above = (above.0.max(clock), above.1.max(frontier));
                    // What is stamped next here is not to be refused for the same reason.
                    self.heard_of(&writing.channel, frontier);
                    if let Some(held) = higher {
                        theirs = Some((member.clone(), held));
                    }
                    refused.add(member, run);
                }
                // It has seen nothing of this item and, as it is asked no more, never will: it cannot
                // hold it.
                Err(error)
                    if error.is_harmless()
                        && !reached.contains(&member)
                        && !self.peers.is_connected(&member)
                        && !self.is_told(&writing.channel, &key) =>
                {
                    refused.add_unsent(member, run);
                }
                other => {
                    reached.push(member.clone());
                    tracing::debug!(peer = %member.as_str(), key = %key, answer = ?other, "not yet");
                    if matches!(other, Ok(AppendAnswer::NotNow(Reason::OldChannel)))
                        && !writing.place.is_current()
                    {
                        // The channel is gone, here as well: what is in it is nobody's any more.
                        return Second::Dead(above);
                    }
                    if matches!(other, Ok(AppendAnswer::NotNow(Reason::DiskFull))) {
                        full.insert(member.clone());
                    }
                    let pause = pauses.entry(member.clone()).or_insert(AGAIN / 2);
                    *pause = (*pause * 2).min(AGAIN_MAX);
                    let pause = *pause;
                    let stage = matches!(other, Ok(AppendAnswer::NotNow(Reason::NoPayload)));
                    asking.push(ask(member, pause, stage));
                }
            }
        }
    }

    /// Gives a committed item to the other replicas of its set, `at` excepted, which has it.
    pub(super) async fn spread(&self, writing: &Writing, key: ItemKey, at: Option<Member>) {
        let others = writing.place.others(key.millis);
        let others = others
            .into_iter()
            .filter(|other| Some(other) != at.as_ref());
        let offering: FuturesUnordered<_> = others
            .map(|member| async move {
                let mut pause = AGAIN;
                for _ in 0..OFFERS {
                    if !self.peers.is_connected(&member) {
                        // What it misses repair brings.
                        return;
                    }
                    let request = self.offer_of(writing, key, true);
                    match self.peers.append(&member, request).await {
                        Ok(AppendAnswer::Stored | AppendAnswer::Duplicate(_)) => return,
                        Ok(AppendAnswer::NotNow(Reason::NoPayload)) => {
                            let payload = writing.payload.clone();
                            // If it does not arrive the append says so again.
                            let _ = self.peers.stage(&member, writing.write_id, payload).await;
                        }
                        _ => tokio::time::sleep(pause).await,
                    }
                    pause *= 4;
                }
            })
            .collect();
        offering.collect::<()>().await;
    }

    fn offer_of(&self, writing: &Writing, key: ItemKey, committed: bool) -> AppendRequest {
        let staged = writing.payload.len() > self.settings.stage_bytes;
        AppendRequest {
            channel: writing.channel.clone(),
            key,
            committed,
            body: writing.body(staged),
        }
    }

    /// Waits for what comes of a write that another member coordinates.
    pub(super) async fn theirs(
        self: &Arc<Self>,
        writing: &Writing,
        member: &Member,
        held: ItemKey,
    ) -> Result<Stored, WriteError> {
        let request = SettleRequest {
            channel: writing.channel.clone(),
            write_id: writing.write_id,
            key: None,
            up_to: Frontier::NOTHING,
        };
        let mut pause = AGAIN;
        while Instant::now() < writing.until {
            // It may have come here as a committed copy meanwhile.
            let copy = self.dedup.copy(writing.write_id, self.clock.now());
            if let Copy::Stored(key) | Copy::Elsewhere(key) = copy {
                let repeated = true;
                return Ok(Stored { key, repeated });
            }
            match self.peers.settle(member, request.clone()).await {
                Ok(SettleAnswer::Held(key)) => {
                    let repeated = true;
                    return Ok(Stored { key, repeated });
                }
                // It was given up there under that key; it may be about to be stamped again.
                Ok(SettleAnswer::No) => break,
                Ok(SettleAnswer::Pending(_) | SettleAnswer::NotFinal) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
        Err(WriteError::Unknown {
            reason: format!("{} has it undecided under {held}", member.as_str()),
        })
    }

    /// Keeps a payload until its append comes.
    ///
    /// # Errors
    /// [`Refusal`] if payloads that wait take all the memory they may.
    pub fn stage(&self, write_id: WriteId, payload: Bytes) -> Result<(), Refusal> {
        let mut staged = self.staged.lock();
        let waiting: usize = staged.values().map(|other| other.payload.len()).sum();
        if waiting + payload.len() > self.settings.staged_bytes_max {
            return Err(Refusal(
                "too many payloads wait for their appends".to_owned(),
            ));
        }
        let since = Instant::now();
        staged.insert(write_id, Staged { payload, since });
        Ok(())
    }

    /// The payload that came ahead of an append.
    pub(super) fn staged_payload(&self, write_id: WriteId) -> Option<Bytes> {
        let staged = self.staged.lock();
        staged.get(&write_id).map(|staged| staged.payload.clone())
    }

    /// The item is stored, or will not be.
    pub(super) fn unstage(&self, write_id: WriteId) {
        self.staged.lock().remove(&write_id);
    }

    pub(super) fn forget_staged(&self) {
        self.staged
            .lock()
            .retain(|_, staged| staged.since.elapsed() < STAGED);
    }
}
