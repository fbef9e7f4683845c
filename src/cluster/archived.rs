//! Which ring maps nobody needs any more: all that was stored in their time is in the archive, as each of
//! their members says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hub_ring::{Member, RingHistory};
use tokio::time::timeout;

use super::handle::Cluster;
use crate::env::Millis;

/// How often members are asked, and how long one may take.
const ASK: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are asked at a time.
const AT_ONCE: usize = 16;

/// Asks the members of all rings how far they have come, for as long as there is more than one ring.
pub(super) async fn ask(cluster: Arc<Cluster>) {
    loop {
        tokio::time::sleep(ASK).await;
        let history = cluster.view().history();
        let Some(peers) = cluster.peers.get().filter(|_| history.maps().len() > 1) else {
            continue;
        };
        let members: Vec<Member> = history.members().into_iter().cloned().collect();
        let asked = stream::iter(members).map(async |member| {
            if member == *cluster.own() {
                let archived = cluster.archived_to();
                return Some((member, archived));
            }
            let answer = timeout(PATIENCE, peers.vouch(&member)).await.ok()?.ok()?;
            Some((member, answer.archived_to))
        });
        let heard: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        // Who does not answer now may come back without what it has said.
        *cluster.archived.lock() = heard.into_iter().flatten().collect();
    }
}

/// The time before which no map is needed, by how far each member has come: those that were not heard of
/// keep the maps that they are in, unless they are declared lost. `None` if all are needed.
pub(super) fn needed_from(
    history: &RingHistory,
    archived: &BTreeMap<Member, Millis>,
) -> Option<i64> {
    let mut needed = None;
    for (map, next) in history.maps().iter().zip(history.maps().iter().skip(1)) {
        let end = next.from_millis()?;
        let is_done = |member: &Member| {
            let is_lost = history
                .lost()
                .get(member)
                .is_some_and(|since| map.version() < *since);
            is_lost || archived.get(member).is_some_and(|to| to.get() >= end)
        };
        if !map.members().iter().all(is_done) {
            break;
        }
        needed = Some(end);
    }
    needed
}

#[cfg(test)]
mod tests {
    use hub_ring::{Placement, RingMap};

    use super::*;

    fn member(name: &str) -> Member {
        Member::new(name).unwrap()
    }

    /// Rings of `a b`, `a b c`, `b c` and `c`, from 100, 200, 300 and 400 on.
    fn history() -> RingHistory {
        let mut history = RingHistory::new();
        let rings = ["a b", "a b c", "b c", "c"];
        for ((version, from), names) in (1..).zip([100, 200, 300, 400]).zip(rings) {
            let members = names.split(' ').map(member);
            let placement = Placement::default();
            if version == 1 {
                let first = RingMap::in_force(version, from, members, placement).unwrap();
                history.announce(first).unwrap();
                continue;
            }
            let map = RingMap::announced(version, members, placement).unwrap();
            history.announce(map).unwrap();
            history.set_from(version, from).unwrap();
        }
        history
    }

    fn needed(history: &RingHistory, archived: &[(&str, i64)]) -> Option<i64> {
        let archived = archived
            .iter()
            .map(|(name, to)| (member(name), Millis::new(*to)));
        needed_from(history, &archived.collect())
    }

    #[test]
    fn a_map_is_needed_until_every_member_has_archived_its_time() {
        let history = history();
        assert_eq!(needed(&history, &[]), None);
        assert_eq!(needed(&history, &[("a", 1000)]), None);
        assert_eq!(needed(&history, &[("a", 200), ("b", 199)]), None);
        assert_eq!(needed(&history, &[("a", 200), ("b", 200)]), Some(200));
        // The second one is needed, and what comes after it stays with it.
        let all_but_c = [("a", 1000), ("b", 1000), ("c", 250)];
        assert_eq!(needed(&history, &all_but_c), Some(200));
        let all = [("a", 1000), ("b", 1000), ("c", 1000)];
        assert_eq!(needed(&history, &all), Some(400));
    }

    #[test]
    fn who_is_lost_is_not_waited_for() {
        let mut history = history();
        assert_eq!(needed(&history, &[("b", 1000), ("c", 1000)]), None);
        assert!(history.declare_lost([member("a")]));
        assert_eq!(needed(&history, &[("b", 1000), ("c", 1000)]), Some(400));
    }

    #[test]
    fn one_ring_is_always_needed() {
        let mut history = RingHistory::new();
        let map = RingMap::in_force(1, 100, [member("a")], Placement::default()).unwrap();
        history.announce(map).unwrap();
        assert_eq!(needed(&history, &[("a", 1000)]), None);
    }
}
