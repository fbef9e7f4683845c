//! Where the keys of one channel may be stored, as the accept rule asks it.

use std::sync::Arc;

use hub_ring::{Member, RingTables, Staying};

use super::registry::Channels;
use crate::cluster::RingView;
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::peers::ChannelRef;
use crate::spoke::{EarlierSet, KeyPlacement};

/// What the rings say of one channel, and of who stamps its keys.
pub struct ChannelPlacement {
    /// The rings.
    pub view: Arc<RingView>,
    /// The channels.
    pub channels: Arc<Channels>,
    /// The channel.
    pub channel: ChannelRef,
    /// Who stamps the key.
    pub coordinator: Member,
    /// How far any two clocks may differ, in milliseconds.
    pub max_skew: i64,
}

impl KeyPlacement for ChannelPlacement {
    fn is_placed(&self, key: &ItemKey) -> bool {
        let (view, name) = (&self.view, &self.channel.name);
        view.is_placed(name, key.millis, &self.coordinator)
    }

    fn horizon(&self) -> Millis {
        self.view.horizon()
    }

    fn is_current(&self) -> bool {
        self.channels.is_current(&self.channel)
    }

    fn others(&self, at: Millis) -> Vec<Member> {
        let own = self.view.own();
        let mut set = self.view.replica_set(&self.channel.name, at);
        set.retain(|member| member != own);
        set
    }

    fn leads(&self, at: Millis) -> bool {
        let set = self.view.replica_set(&self.channel.name, at);
        set.first() == Some(self.view.own())
    }

    fn stamps_from(&self, key: Millis) -> Millis {
        stamps_from(&self.view.tables(), &self.channel.name, key, self.max_skew)
    }

    fn earlier_sets(&self, since: Millis, until: Millis) -> Vec<EarlierSet> {
        earlier_sets(&self.view.tables(), &self.channel.name, since, until)
    }

    fn is_lost(&self, member: &Member, key: Millis, now: Millis) -> bool {
        let tables = self.view.tables();
        let built = tables.at(key.get());
        built.is_some_and(|built| built.is_lost(member, now.get()))
    }
}

/// From when on, by the coordinator's clock, a key of that time may be stamped.
///
/// Where the set of members changes at `t`, nobody stamps a key from `t` until every clock has
/// passed `t`: by then nothing new is stamped for the old set.
fn stamps_from(tables: &RingTables, channel: &str, key: Millis, max_skew: i64) -> Millis {
    let mut from = Millis::MIN;
    let mut earlier = None;
    // A key is at most the skew ahead of the clock that stamps it.
    for built in tables.overlapping(key.minus(2 * max_skew).get(), key.plus(1).get()) {
        let set = built.ring().replica_set(channel);
        let (Some(before), Some(start)) = (earlier.replace(set), built.from_millis()) else {
            continue;
        };
        if !set.same_members(&before) {
            from = Millis::new(start).plus(max_skew);
        }
    }
    from
}

/// The replica sets in force between two times that have other members than the one at the later
/// time, as far as they are not lost, with the end of the time of each; the latest end of those with
/// the same members.
fn earlier_sets(
    tables: &RingTables,
    channel: &str,
    since: Millis,
    until: Millis,
) -> Vec<EarlierSet> {
    let Some(present) = tables.replica_set(channel, until.get()) else {
        return Vec::new();
    };
    let rings: Vec<_> = tables
        .overlapping(since.get(), until.plus(1).get())
        .collect();
    let mut sets: Vec<EarlierSet> = Vec::new();
    for pair in rings.windows(2) {
        let [earlier, later] = pair else { continue };
        let set = earlier.ring().replica_set(channel);
        let Some(end) = later.from_millis().map(Millis::new) else {
            continue;
        };
        if set.same_members(&present) {
            continue;
        }
        let Staying { members, needed } = earlier.staying(channel, until.get());
        sets.retain(|known| {
            known.members.len() != members.len()
                || !known.members.iter().all(|m| members.contains(m))
        });
        sets.push(EarlierSet {
            members,
            needed,
            until: end,
        });
    }
    sets
}

#[cfg(test)]
mod tests {
    use hub_ring::{Placement, RingHistory, RingMap};

    use super::*;

    fn tables() -> RingTables {
        let names = |names: &[&str]| -> Vec<Member> {
            names
                .iter()
                .map(|name| Member::new(name).unwrap())
                .collect()
        };
        let mut history = RingHistory::new();
        let placement = Placement::default();
        let first = RingMap::in_force(1, 1000, names(&["a"]), placement).unwrap();
        history.announce(first).unwrap();
        let changes = [
            (2, 20_000, &["a", "b"][..]),
            (3, 30_000, &["b", "a"]),
            (4, 40_000, &["b"]),
        ];
        for (version, from, members) in changes {
            let map = RingMap::announced(version, names(members), placement).unwrap();
            history.announce(map).unwrap();
            history.set_from(version, from).unwrap();
        }
        RingTables::new(&history, &RingTables::default())
    }

    #[test]
    fn nobody_stamps_across_a_change_of_members_before_every_clock_has_passed_it() {
        let tables = tables();
        let from = |key| stamps_from(&tables, "c", Millis::new(key), 500).get();
        assert_eq!(from(19_999), Millis::MIN.get(), "before the change");
        assert_eq!(from(20_000), 20_500);
        assert_eq!(from(20_499), 20_500);
        assert_eq!(from(20_999), 20_500, "whose clock may be behind it still");
        assert_eq!(from(21_001), Millis::MIN.get(), "whose clock is past it");
        assert_eq!(from(30_000), Millis::MIN.get(), "the same members");
        assert_eq!(from(40_100), 40_500);
    }

    #[test]
    fn every_set_that_may_hold_a_write_is_asked_once() {
        let tables = tables();
        let sets = |since, until| {
            let sets = earlier_sets(&tables, "c", Millis::new(since), Millis::new(until));
            let ends: Vec<(usize, i64)> = sets
                .iter()
                .map(|set| (set.members.len(), set.until.get()))
                .collect();
            ends
        };
        assert_eq!(sets(5_000, 15_000), []);
        assert_eq!(sets(5_000, 25_000), [(1, 20_000)]);
        assert_eq!(
            sets(25_000, 35_000),
            [],
            "the same members, listed in another order"
        );
        assert_eq!(sets(5_000, 45_000), [(1, 20_000), (2, 40_000)]);
        assert_eq!(sets(45_000, 46_000), []);
    }
}
