//! What archiving asks of the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use hub_ring::Member;

use super::ArchiverParts;
use crate::archive::name::minute_len;
use crate::channel::read::{Epoch, Query, QueryError};
use crate::channel::registry::{Channel, ChannelError};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey};
use crate::spoke::{ChannelId, Direction, ReadError, StoredItem};

/// The most records that are read from this node's disk at a time, and about how many bytes of them.
const SOME: usize = 256;
const SOME_BYTES: u64 = 1 << 20;
/// How many keys are read at a time.
const PAGE: usize = 5_000;

/// What archiving goes by, and what it archives.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// The clock.
    fn now(&self) -> Millis;

    /// Up to where this node knows the rings.
    fn horizon(&self) -> Millis;

    /// How many members the newest ring has.
    fn members(&self) -> usize;

    /// The channels that exist.
    fn channels(&self) -> Vec<Arc<Channel>>;

    /// The channel of that number; `None` if it does not exist any more.
    fn channel(&self, id: ChannelId) -> Option<Arc<Channel>>;

    /// The lowest record of which a channel lists anything.
    fn floor(&self, channel: &Channel) -> ItemKey;

    /// The place of this node among those that are to write a channel's items between two times: 0 if it is
    /// the first that is there. No two have the same one otherwise.
    fn place(&self, channel: &Channel, from: Millis, to: Millis) -> usize;

    /// Whether this node is one of those that hold a channel's items of a time.
    fn is_replica(&self, channel: &Channel, at: Millis) -> bool;

    /// Whether this node is the first of those that hold a channel's items now.
    fn leads(&self, channel: &Channel) -> bool;

    /// Whether this node is the first member of the newest ring.
    fn is_first(&self) -> bool;

    /// The lowest record that can still be read by a key of a channel.
    fn grace_floor(&self, channel: &Channel) -> ItemKey;

    /// The channel of that one's name, as coordination has it now; `None` if there is none.
    async fn fetch(&self, channel: &Channel) -> Result<Option<Arc<Channel>>, ChannelError>;

    /// All channels that exist, as coordination says now.
    async fn known(&self) -> Result<BTreeSet<ChannelId>, ChannelError>;

    /// The channels that were deleted and of which the archive may still have something, with when that was.
    async fn deleted(&self) -> Result<BTreeMap<ChannelId, Millis>, ChannelError>;

    /// Forgets deleted channels of which the archive has nothing any more.
    async fn forget_deleted(&self, ids: &[ChannelId]) -> Result<(), ChannelError>;

    /// The first minute between two times of which this node holds anything of a channel, or may have held
    /// what it cannot read any more.
    async fn next_held(
        &self,
        channel: ChannelId,
        from: Millis,
        to: Millis,
    ) -> Result<Option<Millis>, ReadError>;

    /// The lowest time of what is on its way to this node's disk, or not decided yet, of a channel.
    fn undecided_from(&self, channel: ChannelId) -> Option<Millis>;

    /// All records between two times, as a stable read gives them.
    async fn keys(
        &self,
        channel: &Channel,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<ItemKey>, QueryError>;

    /// A record, from whichever replica has it.
    async fn record(
        &self,
        channel: &Channel,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, QueryError>;

    /// The first of some records as this node holds them, if it does: at least one, and no more than may be in memory
    /// at a time.
    async fn own_some(
        &self,
        channel: ChannelId,
        keys: &[ItemKey],
    ) -> Vec<Result<Option<StoredItem>, ReadError>>;

    /// A record as this node holds it; `None` if it does not.
    async fn own(&self, channel: ChannelId, key: ItemKey) -> Result<Option<StoredItem>, ReadError>;
}

/// The place of a member that is not the first live one of a replica set. Those of the ring before may hold
/// what nobody of this one does: they come after it.
fn place_in(own: &Member, set: &[Member], before: &[Member]) -> usize {
    let position = |set: &[Member]| set.iter().position(|member| member == own);
    let place = position(set)
        .or_else(|| position(before).map(|at| set.len() + at))
        .unwrap_or(set.len() + before.len());
    place.max(1)
}

fn closed() -> ReadError {
    ReadError::Closed {
        reason: "the store is not open".to_owned(),
    }
}

/// A look for the first minute of which anything is held, or may have been: what is damaged here may be whole
/// elsewhere, and is archived as well.
struct Look {
    /// What is looked through next.
    from: Millis,
    to: Millis,
    /// Up to where it is looked in the end.
    end: Millis,
}

impl Look {
    /// Takes up the first time that is held of what was looked through. `None`: there is more to look through.
    fn found(
        &mut self,
        first: Result<Option<Millis>, ReadError>,
    ) -> Option<Result<Option<Millis>, ReadError>> {
        match first {
            Ok(Some(first)) => Some(Ok(Some(first.floor_to(minute_len())))),
            Ok(None) if self.to < self.end => {
                (self.from, self.to) = (self.to, self.end);
                None
            }
            // What lies before is whole.
            Err(ReadError::Incomplete { segment }) if segment.bucket > self.from => {
                self.to = segment.bucket;
                None
            }
            Err(ReadError::Incomplete { .. }) => Some(Ok(Some(self.from.floor_to(minute_len())))),
            nothing => Some(nothing),
        }
    }
}

#[async_trait]
impl Source for ArchiverParts {
    fn now(&self) -> Millis {
        self.clock.now()
    }

    fn horizon(&self) -> Millis {
        self.view.horizon()
    }

    fn members(&self) -> usize {
        let history = self.view.history();
        history.newest().map_or(0, |map| map.members().len())
    }

    fn channels(&self) -> Vec<Arc<Channel>> {
        self.channels.list()
    }

    fn channel(&self, id: ChannelId) -> Option<Arc<Channel>> {
        self.channels.numbered(id)
    }

    fn floor(&self, channel: &Channel) -> ItemKey {
        self.channels.floor(channel).record_floor()
    }

    fn place(&self, channel: &Channel, from: Millis, to: Millis) -> usize {
        if self.writes.leads_at(channel, to) {
            return 0;
        }
        let name = channel.config.name.key();
        let (set, before) = (
            self.view.replica_set(name, to),
            self.view.replica_set(name, from),
        );
        place_in(self.view.own(), &set, &before)
    }

    fn is_replica(&self, channel: &Channel, at: Millis) -> bool {
        let set = self.view.replica_set(channel.config.name.key(), at);
        set.contains(self.view.own())
    }

    fn leads(&self, channel: &Channel) -> bool {
        self.writes.leads(channel)
    }

    fn is_first(&self) -> bool {
        let history = self.view.history();
        let newest = history.newest();
        newest.and_then(|map| map.members().first()) == Some(self.view.own())
    }

    fn grace_floor(&self, channel: &Channel) -> ItemKey {
        self.channels.grace_floor(channel).record_floor()
    }

    async fn fetch(&self, channel: &Channel) -> Result<Option<Arc<Channel>>, ChannelError> {
        self.channels.fetch(channel.config.name.key()).await
    }

    async fn known(&self) -> Result<BTreeSet<ChannelId>, ChannelError> {
        let known = self.channels.coordination.channels().await?;
        Ok(known
            .into_iter()
            .map(|channel| ChannelId(channel.id))
            .collect())
    }

    async fn deleted(&self) -> Result<BTreeMap<ChannelId, Millis>, ChannelError> {
        let deleted = self.channels.coordination.deleted_channels().await?;
        let numbered = deleted.into_iter().map(|(id, at)| (ChannelId(id), at));
        Ok(numbered.collect())
    }

    async fn forget_deleted(&self, ids: &[ChannelId]) -> Result<(), ChannelError> {
        let ids: Vec<u64> = ids.iter().map(|id| id.0).collect();
        Ok(self.channels.coordination.forget_deleted(&ids).await?)
    }

    async fn next_held(
        &self,
        channel: ChannelId,
        from: Millis,
        to: Millis,
    ) -> Result<Option<Millis>, ReadError> {
        let replica = self.local.get().ok_or_else(closed)?;
        let mut look = Look { from, to, end: to };
        loop {
            let first = replica.first_held(channel, look.from, look.to).await;
            if let Some(found) = look.found(first) {
                return found;
            }
        }
    }

    fn undecided_from(&self, channel: ChannelId) -> Option<Millis> {
        self.local.get()?.undecided_from(channel)
    }

    async fn keys(
        &self,
        channel: &Channel,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<ItemKey>, QueryError> {
        let mut keys: Vec<ItemKey> = Vec::new();
        let mut query = Query {
            from: ItemKey::first_of(from),
            to: Some(ItemKey::first_of(to)),
            direction: Direction::Ascending,
            limit: PAGE,
            stable: true,
            epoch: Epoch::All,
            whole: true,
            records: true,
        };
        loop {
            let page = self.reads.held(channel, &query).await?;
            keys.extend(&page.keys);
            match keys.last() {
                Some(last) if page.more => query.from = Frontier::up_to(*last).end(),
                _ => return Ok(keys),
            }
        }
    }

    async fn record(
        &self,
        channel: &Channel,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, QueryError> {
        self.reads.item(channel, key).await
    }

    async fn own_some(
        &self,
        channel: ChannelId,
        keys: &[ItemKey],
    ) -> Vec<Result<Option<StoredItem>, ReadError>> {
        let Some(replica) = self.local.get() else {
            return vec![Err(closed())];
        };
        let keys = keys.iter().take(SOME).copied().collect();
        replica.get_some(channel, keys, SOME_BYTES).await
    }

    async fn own(&self, channel: ChannelId, key: ItemKey) -> Result<Option<StoredItem>, ReadError> {
        let replica = self.local.get().ok_or_else(closed)?;
        replica.get(channel, key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_here_is_looked_at_and_what_lies_around_it() {
        use crate::spoke::SegmentId;
        const MINUTE: i64 = 60_000;
        // Held in the minutes 1, 4 and 7; of the bucket of 4 to 5 a record is damaged.
        let look = |from: Millis, to: Millis| {
            let damaged = Millis::new(4 * MINUTE);
            let held = [1, 4, 7].map(|minute| Millis::new(minute * MINUTE + 5));
            let first = held.into_iter().find(|at| *at >= from && *at < to);
            let last = first.unwrap_or(to.minus(1));
            if from < damaged.plus(2 * MINUTE) && last >= damaged {
                return Err(ReadError::Incomplete {
                    segment: SegmentId {
                        bucket: damaged,
                        number: 0,
                    },
                });
            }
            Ok(first)
        };
        let mut held = Vec::new();
        let (mut at, end) = (Millis::new(0), Millis::new(10 * MINUTE));
        loop {
            let mut next = Look {
                from: at,
                to: end,
                end,
            };
            let found = loop {
                if let Some(found) = next.found(look(next.from, next.to)) {
                    break found.unwrap();
                }
            };
            let Some(minute) = found else { break };
            held.push(minute.get() / MINUTE);
            at = minute.plus(MINUTE);
        }
        assert_eq!(held, [1, 4, 5, 7]);
        // Another error is one.
        let mut next = Look {
            from: at,
            to: end,
            end,
        };
        assert!(matches!(next.found(Err(closed())), Some(Err(_))));
    }

    #[test]
    fn no_two_members_have_the_same_place() {
        let member = |name: &&str| Member::new(name).unwrap();
        let set: Vec<Member> = ["a", "b", "c"].iter().map(member).collect();
        let before: Vec<Member> = ["d", "b", "e"].iter().map(member).collect();
        for (own, place) in [("b", 1), ("c", 2), ("d", 3), ("e", 5), ("f", 6)] {
            assert_eq!(place_in(&member(&own), &set, &before), place, "{own}");
        }
        // The first one, where it is not the first that is there.
        assert_eq!(place_in(&member(&"a"), &set, &before), 1);
    }
}
