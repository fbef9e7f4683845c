//! What would be lost if members never came back.
//!
//! An acknowledged item is on a write quorum of its replica set. So it is on one of those that stay
//! if they are a read quorum; with fewer it may be, and with none it is not. The ring by which an
//! item was placed is that of its time, so every ring that is remembered counts.

use std::collections::{BTreeMap, BTreeSet};

use hub_ring::{Member, RingTables};
use serde_json::{Value, json};

use crate::env::Millis;

/// So many channels are listed by name.
const LISTED: usize = 100;

/// A channel, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Its name as clients spell it.
    pub(super) name: String,
    /// Below this it keeps nothing.
    pub(super) floor: Millis,
}

/// The time from which items are concerned, and the end of it.
type Span = (Millis, Millis);

/// What would be lost, by channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Every replica of these times is gone.
    lost: BTreeMap<String, Span>,
    /// Fewer replicas stay than a read quorum: an item whose copies were all on the others is gone.
    at_risk: BTreeMap<String, Span>,
}

impl Losses {
    /// What is lost with these members, by what is held now. Members that were declared lost before,
    /// and those that are `away` for other reasons, keep nothing for them.
    pub(super) fn of(
        tables: &RingTables,
        channels: &[Held],
        gone: &BTreeSet<Member>,
        away: &BTreeSet<Member>,
        now: Millis,
    ) -> Self {
        let mut losses = Self::default();
        let rings = tables.rings();
        for (number, built) in rings.iter().enumerate() {
            let Some(from) = built.from_millis().map(Millis::new) else {
                continue;
            };
            let until = rings
                .get(number + 1)
                .and_then(hub_ring::BuiltRing::from_millis);
            let until = until.map_or(now, |until| Millis::new(until).min(now));
            let ring = built.ring();
            if !gone.iter().any(|member| ring.contains(member)) {
                continue;
            }
            for channel in channels {
                let span = (from.max(channel.floor), until);
                if span.0 >= span.1 {
                    continue;
                }
                let set = ring.replica_set(&channel.name.to_ascii_lowercase());
                if !set.iter().any(|member| gone.contains(member)) {
                    // Whatever it lacks, it lacks already.
                    continue;
                }
                let stays = |member: &&Member| {
                    let lost = built.is_lost(member, now.get());
                    !lost && !gone.contains(*member) && !away.contains(*member)
                };
                let staying = set.iter().filter(stays).count();
                let list = if staying == 0 {
                    &mut losses.lost
                } else if staying < set.read_quorum() {
                    &mut losses.at_risk
                } else {
                    continue;
                };
                let known = list.entry(channel.name.clone()).or_insert(span);
                *known = (known.0.min(span.0), known.1.max(span.1));
            }
        }
        losses
    }

    pub(super) fn to_json(&self) -> Value {
        let listed = |spans: &BTreeMap<String, Span>| {
            let named: Vec<Value> = spans
                .iter()
                .take(LISTED)
                .map(|(name, (from, until))| {
                    json!({"channel": name, "from": from.iso(), "until": until.iso()})
                })
                .collect();
            json!({"channels": spans.len(), "first": named})
        };
        json!({"lost": listed(&self.lost), "atRisk": listed(&self.at_risk)})
    }
}

#[cfg(test)]
mod tests {
    use hub_ring::{Placement, RingHistory, RingMap};

    use super::*;

    const NOW: i64 = 1_500_000_000_000;

    fn members(names: &str) -> BTreeSet<Member> {
        names
            .split_whitespace()
            .map(|name| Member::new(name).unwrap())
            .collect()
    }

    /// Rings of these members, a second apart.
    fn tables(rings: &[&str]) -> RingTables {
        RingTables::new(&history(rings), &RingTables::default())
    }

    fn history(rings: &[&str]) -> RingHistory {
        let mut history = RingHistory::new();
        for (number, names) in rings.iter().enumerate() {
            let (version, from) = (number as u64 + 1, NOW + number as i64 * 1_000);
            let (members, placement) = (members(names), Placement::default());
            if number == 0 {
                history
                    .announce(RingMap::in_force(1, from, members, placement).unwrap())
                    .unwrap();
            } else {
                history
                    .announce(RingMap::announced(version, members, placement).unwrap())
                    .unwrap();
                history.set_from(version, from).unwrap();
            }
        }
        history
    }

    fn held(floor: i64) -> Vec<Held> {
        let floor = Millis::new(floor);
        vec![Held {
            name: "Orders".to_owned(),
            floor,
        }]
    }

    fn losses(rings: &[&str], floor: i64, gone: &str) -> (bool, bool) {
        let now = Millis::new(NOW + 10_000);
        let found = Losses::of(
            &tables(rings),
            &held(floor),
            &members(gone),
            &members(""),
            now,
        );
        (!found.lost.is_empty(), !found.at_risk.is_empty())
    }

    #[test]
    fn a_read_quorum_that_stays_has_every_item() {
        assert_eq!(losses(&["a b c"], 0, "a"), (false, false));
        assert_eq!(losses(&["a b c"], 0, "a b"), (false, true));
        assert_eq!(losses(&["a b c"], 0, "a b c"), (true, false));
        // Of two, both hold every item that was acknowledged.
        assert_eq!(losses(&["a b"], 0, "a"), (false, false));
        assert_eq!(losses(&["a"], 0, "a"), (true, false));
        assert_eq!(losses(&["b c"], 0, "a"), (false, false));
    }

    #[test]
    fn who_is_gone_already_keeps_nothing() {
        let now = Millis::new(NOW + 10_000);
        let found = |tables: &RingTables, gone: &str, away: &str| {
            let found = Losses::of(tables, &held(0), &members(gone), &members(away), now);
            (!found.lost.is_empty(), !found.at_risk.is_empty())
        };
        // An operator went on without c; then b is gone as well.
        let mut rings = history(&["a b c"]);
        let next = RingMap::announced(2, members("a b"), Placement::default());
        rings.announce(next.unwrap()).unwrap();
        rings.declare_lost(members("c"));
        rings.set_from(2, NOW + 1_000).unwrap();
        let lost = RingTables::new(&rings, &RingTables::default());
        assert_eq!(found(&lost, "b", ""), (false, true));
        assert_eq!(found(&lost, "a b", ""), (true, false));
        // c left by itself, and does not answer.
        let left = tables(&["a b c", "a b"]);
        assert_eq!(found(&left, "b", ""), (false, false));
        assert_eq!(found(&left, "b", "c"), (false, true));
        // Of what a choice changes nothing about it says nothing.
        let other = tables(&["b c", "a d"]);
        assert_eq!(found(&other, "d", "b c"), (false, false));
    }

    #[test]
    fn every_ring_counts_whose_time_the_channel_still_keeps() {
        assert_eq!(losses(&["a", "a b"], 0, "a"), (true, false));
        assert_eq!(losses(&["a", "a b"], NOW + 1_000, "a"), (false, false));
        let now = Millis::new(NOW + 10_000);
        let found = Losses::of(
            &tables(&["a", "a b", "a"]),
            &held(NOW + 500),
            &members("a"),
            &members(""),
            now,
        );
        let said = found.to_json();
        assert_eq!(said["lost"]["channels"], 1);
        let first = &said["lost"]["first"][0];
        assert_eq!(first["channel"], "Orders");
        assert_eq!(first["from"], Millis::new(NOW + 500).iso());
        assert_eq!(first["until"], now.iso());
        assert_eq!(said["atRisk"]["channels"], 0);
    }
}
