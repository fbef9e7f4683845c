//! Fetching what other replicas hold and this node lacks: once when it starts, and then minute by
//! minute.
//!
//! What is committed stands on two replicas of its set, so a copy that this node missed is held by
//! the others. A node whose disk may have lost something first learns from them what it may have
//! promised, ring by ring, the newest first.

mod catch_up;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hub_ring::Member;
use parking_lot::Mutex;

use super::placement::ChannelPlacement;
use super::registry::Channels;
use super::spoke_handle::LocalReplica;
use crate::cluster::RingView;
use crate::env::{HubClock, Millis};
use crate::item::ItemKey;
use crate::spoke::peers::{
    AppendAnswer, AppendRequest, ChannelRef, InventoryLine, InventoryRequest, PeerItem, Peers,
};
use crate::spoke::{ChannelId, Offered, Replica};

/// How many names of items are asked for at a time, and how many items.
const LINES: usize = 5_000;
const ITEMS: usize = 500;
/// The pause before a member that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// How far back minutes are compared, in milliseconds, and how fresh they may be.
const COMPARED: i64 = 55 * 60_000;
const FRESH: i64 = 60_000;
const COMPARED_AT_ONCE: i64 = 3 * 60_000;
const MINUTE: i64 = 60_000;

/// Fetches what this node lacks.
pub struct Repair {
    view: Arc<RingView>,
    local: Arc<LocalReplica>,
    channels: Arc<Channels>,
    peers: Arc<dyn Peers>,
    clock: Arc<HubClock>,
    max_skew: i64,
    /// Up to where the minutes were compared with each member.
    compared: Mutex<HashMap<Member, Millis>>,
}

/// What warming has come to so far, for those who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Warmed {
    /// The items that were looked at.
    pub seen: u64,
    /// Those that were fetched.
    pub fetched: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The parts that are done.
    pub parts: usize,
    /// Of so many.
    pub of: usize,
}

/// What becomes of items that a member coordinates and that are not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undecided {
    /// Those that were sent to this node are taken over as committed: it may have forgotten that it
    /// accepted them.
    Adopted,
    /// They are left to their coordinator. This node knows what it has accepted; what it has refused
    /// may be stamped again, and a copy under the old key would be a second item.
    Left,
}

/// A part of what a node may have forgotten: the time of one ring.
#[derive(Debug, Clone)]
pub struct Part {
    from: Millis,
    until: Millis,
    others: Vec<Member>,
}

impl Repair {
    /// A repair of this node's replica; `max_skew` in milliseconds.
    pub fn new(
        view: Arc<RingView>,
        local: Arc<LocalReplica>,
        channels: Arc<Channels>,
        peers: Arc<dyn Peers>,
        clock: Arc<HubClock>,
        max_skew: i64,
    ) -> Self {
        Self {
            view,
            local,
            channels,
            peers,
            clock,
            max_skew,
            compared: Mutex::default(),
        }
    }

    /// The times of the rings that this node was in before `began`, newest first.
    fn parts(&self, began: Millis) -> Vec<Part> {
        let tables = self.view.tables();
        let own = self.view.own();
        let mut until = Millis::MAX;
        let mut parts = Vec::new();
        for built in tables.rings().iter().rev() {
            let Some(from) = built.from_millis().map(Millis::new) else {
                continue;
            };
            let members = built.ring().members();
            if members.contains(own) && from < began {
                let now = self.clock.now().get();
                let others = members
                    .iter()
                    .filter(|m| *m != own && !built.is_lost(m, now));
                let others = others.cloned();
                parts.push(Part {
                    from,
                    until,
                    others: others.collect(),
                });
            }
            until = from;
        }
        parts
    }

    /// Says to a replica which promises it may have forgotten: all of those about the times of rings
    /// that this node was in, with others, before `began`. Gives them, for [`Self::learn`].
    pub fn forget(&self, replica: &Replica, began: Millis) -> Vec<Part> {
        let mut parts = self.parts(began);
        parts.retain(|part| !part.others.is_empty());
        replica.forget(parts.iter().map(|part| (part.from, part.until)).collect());
        parts
    }

    /// Where a part ends as is known now: a later ring may have come since it was taken down, about
    /// whose time nothing was promised before.
    fn end_of(&self, replica: &Replica, part: &Part) -> Millis {
        let tables = self.view.tables();
        let starts = tables
            .rings()
            .iter()
            .filter_map(hub_ring::BuiltRing::from_millis);
        let next = starts
            .map(Millis::new)
            .filter(|start| *start > part.from)
            .min();
        let end = next.unwrap_or(Millis::MAX).min(part.until);
        if end < part.until {
            replica.forgotten_until(part.from, end);
        }
        end
    }

    /// Learns from the others what this node may have promised, ring by ring, and fetches what it
    /// should hold. Gives the parts that had to be left out because their members are gone.
    pub async fn learn(
        &self,
        replica: &Arc<Replica>,
        parts: Vec<Part>,
        told: impl Fn(Warmed),
    ) -> Vec<Part> {
        let mut warmed = Warmed {
            of: parts.len(),
            ..Warmed::default()
        };
        let mut left_out = Vec::new();
        for part in parts {
            let mut waiting: BTreeSet<Member> = part.others.iter().cloned().collect();
            loop {
                let tables = self.view.tables();
                let ring = tables.at(part.from.get());
                let now = self.clock.now().get();
                // An operator may have given somebody up meanwhile.
                waiting.retain(|member| !ring.is_some_and(|ring| ring.is_lost(member, now)));
                if waiting.is_empty() {
                    break;
                }
                told(warmed);
                let mut heard = Vec::new();
                for member in &waiting {
                    let end = self.end_of(replica, &part);
                    let near = self.clock.now().plus(self.max_skew * 2);
                    let range = (part.from, end.min(near));
                    let merging = self.merge(
                        replica,
                        member,
                        range,
                        Undecided::Adopted,
                        &mut warmed,
                        &told,
                    );
                    if merging.await.is_ok() {
                        heard.push(member.clone());
                    }
                }
                waiting.retain(|member| !heard.contains(member));
                let gone = |member: &Member| {
                    let newest = self.view.history();
                    let newest = newest.newest();
                    !newest.is_some_and(|map| map.contains(member))
                        && !self.peers.is_connected(member)
                };
                if !waiting.is_empty() && waiting.iter().all(gone) {
                    let names: Vec<&str> = waiting.iter().map(Member::as_str).collect();
                    tracing::warn!(
                        from = %part.from,
                        members = names.join(", "),
                        "the members that know what this node promised are gone"
                    );
                    self.end_of(replica, &part);
                    left_out.push(part.clone());
                    break;
                }
                if !waiting.is_empty() {
                    tokio::time::sleep(AGAIN).await;
                }
            }
            if waiting.is_empty() {
                replica.learned(part.from);
            }
            warmed.parts += 1;
            told(warmed);
        }
        left_out
    }

    /// Fetches what a member holds of a time and this node, which should, does not.
    async fn merge(
        &self,
        replica: &Arc<Replica>,
        member: &Member,
        (from, to): (Millis, Millis),
        undecided: Undecided,
        warmed: &mut Warmed,
        told: &impl Fn(Warmed),
    ) -> Result<(), String> {
        let mut request = InventoryRequest {
            from,
            to,
            channel: None,
            after: None,
            limit: LINES,
        };
        loop {
            let page = self.peers.inventory(member, request.clone()).await;
            let page = page.map_err(|error| error.to_string())?;
            if undecided == Undecided::Adopted {
                // What the member has let go of this node does not have either, and may have had.
                let noted = replica.let_go(page.holds_from).await;
                noted.map_err(|error| error.to_string())?;
            }
            let Some(last) = page.lines.last() else {
                return Ok(());
            };
            request.after = Some((last.channel, last.key));
            warmed.seen += page.lines.len() as u64;
            let lacking = self.lacking(replica, member, &page.lines, undecided).await;
            self.fetch(replica, member, lacking, warmed).await?;
            told(*warmed);
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Those of a list that this node should hold and does not.
    async fn lacking(
        &self,
        replica: &Replica,
        member: &Member,
        lines: &[InventoryLine],
        undecided: Undecided,
    ) -> Vec<(ChannelId, ItemKey)> {
        let own = self.view.own();
        let mut lacking = Vec::new();
        for line in lines {
            let skipped = match (&line.named, undecided) {
                (None, _) => false,
                (Some(_), Undecided::Left) => true,
                // Never sent here.
                (Some(named), Undecided::Adopted) => !named.contains(own),
            };
            if skipped || !self.is_for_us(line, member) {
                continue;
            }
            let held = replica.holds(line.channel, line.key).await;
            // What cannot be read is fetched again.
            if !held.unwrap_or(false) {
                lacking.push((line.channel, line.key));
            }
        }
        lacking
    }

    /// Whether both this node and the member are in the replica set of an item. What is not for this
    /// node it would refuse.
    fn is_for_us(&self, line: &InventoryLine, member: &Member) -> bool {
        let channel = self.channels.numbered(line.channel);
        channel.is_some_and(|channel| {
            let name = channel.config.name.key();
            self.view.is_placed(name, line.key.millis, member)
        })
    }

    async fn fetch(
        &self,
        replica: &Arc<Replica>,
        member: &Member,
        mut lacking: Vec<(ChannelId, ItemKey)>,
        warmed: &mut Warmed,
    ) -> Result<(), String> {
        while !lacking.is_empty() {
            let asked: Vec<_> = lacking.iter().take(ITEMS).copied().collect();
            let items = self.peers.fetch(member, asked.clone()).await;
            let items = items.map_err(|error| error.to_string())?;
            let got: BTreeSet<_> = items.iter().map(|(id, item)| (*id, item.key)).collect();
            if got.is_empty() {
                // Gone there as well since it was listed.
                lacking.drain(..asked.len());
                continue;
            }
            let last = asked
                .iter()
                .rposition(|name| got.contains(name))
                .unwrap_or(0);
            lacking.drain(..=last);
            self.keep(replica, member, items, warmed).await?;
        }
        Ok(())
    }

    async fn keep(
        &self,
        replica: &Arc<Replica>,
        member: &Member,
        items: Vec<(ChannelId, PeerItem)>,
        warmed: &mut Warmed,
    ) -> Result<(), String> {
        let mut batch = Vec::with_capacity(items.len());
        for (id, item) in items {
            // A channel that is gone has no items.
            let Some(channel) = self.channels.numbered(id) else {
                continue;
            };
            let channel = (*channel).as_ref();
            warmed.bytes += item.body.size;
            batch.push(self.offered(channel, item, member));
        }
        let answers = replica.take(batch).await;
        let mut refused = 0;
        for answer in answers {
            match answer {
                AppendAnswer::Stored | AppendAnswer::Duplicate(_) => warmed.fetched += 1,
                other => {
                    refused += 1;
                    tracing::debug!(answer = ?other, "a fetched item was not stored");
                }
            }
        }
        if refused > 0 {
            return Err(format!("{refused} items could not be stored"));
        }
        Ok(())
    }

    fn offered(&self, channel: ChannelRef, item: PeerItem, member: &Member) -> Offered {
        Offered {
            place: Arc::new(ChannelPlacement {
                view: Arc::clone(&self.view),
                channels: Arc::clone(&self.channels),
                channel: channel.clone(),
                coordinator: member.clone(),
                max_skew: self.max_skew,
            }),
            request: AppendRequest {
                channel,
                key: item.key,
                committed: true,
                body: item.body,
            },
        }
    }

    /// Compares the minutes that were closed since the last time with every member that is connected,
    /// and fetches what differs.
    pub async fn compare(&self) {
        let Some(replica) = self.local.get() else {
            return;
        };
        let now = self.clock.now();
        let to = now.minus(FRESH).floor_to(MINUTE);
        let oldest = now.minus(COMPARED).floor_to(MINUTE);
        // What went to the archive is not missed here.
        let oldest = oldest.max(replica.holds_from());
        for member in self.others() {
            if !self.peers.is_connected(&member) {
                continue;
            }
            let known = self.compared.lock().get(&member).copied();
            // One that is yet to come is of a clock that was ahead and was set back.
            let known = known.filter(|known| *known <= to);
            let mut from = known.unwrap_or(oldest).max(oldest);
            // Some minutes at a time: the digests of all of them may be more than one answer holds.
            while from < to {
                let until = from.plus(COMPARED_AT_ONCE).min(to);
                match self.compare_with(&replica, &member, from, until).await {
                    Ok(fetched) => {
                        crate::metric::repaired(fetched);
                        if fetched > 0 {
                            tracing::info!(peer = %member.as_str(), items = fetched, "repaired");
                        }
                        self.compared.lock().insert(member.clone(), until);
                        from = until;
                    }
                    Err(reason) => {
                        tracing::debug!(peer = %member.as_str(), reason, "could not compare");
                        break;
                    }
                }
            }
        }
    }

    /// The members of all rings but this one.
    fn others(&self) -> BTreeSet<Member> {
        let history = self.view.history();
        let members = history.members().into_iter();
        members.filter(|m| *m != self.view.own()).cloned().collect()
    }

    async fn compare_with(
        &self,
        replica: &Arc<Replica>,
        member: &Member,
        from: Millis,
        to: Millis,
    ) -> Result<u64, String> {
        let theirs = self.peers.digests(member, from, to).await;
        let theirs = theirs.map_err(|error| error.to_string())?;
        let mut ours = HashMap::new();
        let channels: BTreeSet<ChannelId> = theirs.iter().map(|digest| digest.channel).collect();
        for channel in channels {
            let digests = replica.digests(channel, from, to).await;
            let digests = digests.unwrap_or_default();
            ours.extend(digests.into_iter().map(|d| ((d.channel, d.minute), d)));
        }
        let mut warmed = Warmed::default();
        for digest in theirs {
            if ours.get(&(digest.channel, digest.minute)) == Some(&digest) {
                continue;
            }
            // Gone to the archive since.
            if digest.minute < replica.holds_from() {
                continue;
            }
            let Some(channel) = self.channels.numbered(digest.channel) else {
                continue;
            };
            let mut request = InventoryRequest {
                from: digest.minute.max(from),
                to: digest.minute.plus(MINUTE).min(to),
                channel: Some((*channel).as_ref()),
                after: None,
                limit: LINES,
            };
            loop {
                let page = self.peers.inventory(member, request.clone()).await;
                let page = page.map_err(|error| error.to_string())?;
                let left = Undecided::Left;
                let lacking = self.lacking(replica, member, &page.lines, left).await;
                self.fetch(replica, member, lacking, &mut warmed).await?;
                match page.lines.last() {
                    Some(last) if page.more => request.after = Some((last.channel, last.key)),
                    _ => break,
                }
            }
        }
        Ok(warmed.fetched)
    }
}
