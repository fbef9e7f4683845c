//! Fetching what a node missed while it was away, before it counts as ready.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hub_ring::{BuiltRing, Member, read_quorum};
use tokio::time::Instant;

use super::{AGAIN, Repair, Undecided, Warmed};
use crate::env::Millis;
use crate::spoke::Replica;

/// For how long others are waited for of whom nothing comes: a whole cluster that starts must get to
/// serve though some of it does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether each replica set of a ring with this node is left with a read quorum, itself included, by
/// those of the ring that were not heard.
fn is_enough(built: &BuiltRing, own: &Member, heard: &BTreeSet<Member>, now: Millis) -> bool {
    let ring = built.ring();
    let replicas = ring.placement().replicas(ring.members().len());
    let missing = ring.members().iter().filter(|&member| {
        let lost = built.is_lost(member, now.get());
        member != own && !heard.contains(member) && !lost
    });
    missing.count() <= replicas.saturating_sub(read_quorum(replicas))
}

impl Repair {
    /// Fetches what this node missed since a time. Waits until a read quorum was heard of each
    /// replica set: a member that has just started, as this one, may not be connected yet. What those
    /// know that are not heard is compared later on.
    pub async fn catch_up(&self, replica: &Arc<Replica>, since: Millis, told: impl Fn(Warmed)) {
        let to = self.clock.now();
        let own = self.view.own();
        let mut warmed = Warmed::default();
        let mut heard: BTreeSet<Member> = BTreeSet::new();
        let mut until = Instant::now() + PATIENCE;
        loop {
            let (tables, now) = (self.view.tables(), self.clock.now());
            let rings: Vec<&BuiltRing> = tables
                .overlapping(since.get(), to.plus(1).get())
                .filter(|built| built.ring().contains(own))
                .collect();
            let mut missing: BTreeSet<&Member> = BTreeSet::new();
            for built in &rings {
                let members = built.ring().members().iter();
                missing.extend(members.filter(|&member| {
                    let lost = built.is_lost(member, now.get());
                    member != own && !heard.contains(member) && !lost
                }));
            }
            warmed.of = heard.len() + missing.len();
            told(warmed);
            let before = (heard.len(), warmed.fetched);
            for member in missing {
                if !self.peers.is_connected(member) {
                    continue;
                }
                let left = Undecided::Left;
                let merging = self.merge(replica, member, (since, to), left, &mut warmed, &told);
                match merging.await {
                    Ok(()) => {
                        heard.insert(member.clone());
                        warmed.parts += 1;
                        told(warmed);
                    }
                    Err(reason) => {
                        tracing::warn!(peer = %member.as_str(), reason, "could not catch up with a member");
                    }
                }
            }
            let now = self.clock.now();
            if rings.iter().all(|built| is_enough(built, own, &heard, now)) {
                return;
            }
            if (heard.len(), warmed.fetched) != before {
                until = Instant::now() + PATIENCE;
            } else if Instant::now() >= until {
                tracing::warn!(
                    heard = heard.len(),
                    of = warmed.of,
                    "too few members answer to catch up with; the rest is compared when they do"
                );
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;
    use hub_ring::{Placement, RingHistory, RingMap, RingTables};

    use super::*;
    use crate::channel::config::Defaults;
    use crate::channel::{Channels, LocalReplica};
    use crate::cluster::{Coordination, EmbeddedCoordination, Incarnation, PeerError, RingView};
    use crate::env::{HubClock, SystemClock};
    use crate::item::{ItemKey, NodeSlot};
    use crate::spoke::accept::Limits;
    use crate::spoke::peers::{
        AppendAnswer, AppendRequest, ChannelRef, Digest, GetAnswer, Inventory, InventoryRequest,
        PeerItem, Peers, ReportRequest, SettleAnswer, SettleRequest, WriteRequest,
    };
    use crate::spoke::{
        ChannelId, MemoryStore, ReplicaSettings, Report, Stored, WriteError, WriteId,
    };

    const NOW: i64 = 1_500_000_000_000;

    fn member(name: &str) -> Member {
        Member::new(name).unwrap()
    }

    fn history(names: &str) -> RingHistory {
        let members = names.split_whitespace().map(member);
        let map = RingMap::in_force(1, NOW, members, Placement::default());
        let mut history = RingHistory::new();
        history.announce(map.unwrap()).unwrap();
        history
    }

    #[test]
    fn so_many_must_be_heard() {
        let enough = |ring: &str, heard: &str| {
            let tables = RingTables::new(&history(ring), &RingTables::default());
            let heard = heard.split_whitespace().map(member).collect();
            let built = tables.newest().unwrap();
            is_enough(built, &member("a"), &heard, Millis::new(NOW + 1))
        };
        assert!(enough("a", ""));
        // Of two, each holds all that was acknowledged.
        assert!(enough("a b", ""));
        assert!(!enough("a b c", ""));
        assert!(enough("a b c", "b"));
        // One that is missing leaves each set one other member, and two may leave it none.
        assert!(!enough("a b c d e", "b c"));
        assert!(enough("a b c d e", "b c d"));
    }

    /// Members that hold nothing: one that is connected after so many looks, and one that never is.
    struct Late {
        looks: AtomicUsize,
        refuses: AtomicUsize,
        asked: AtomicUsize,
        never: bool,
    }

    fn gone<T>(member: &Member) -> Result<T, PeerError> {
        Err(PeerError::NotConnected {
            member: member.clone(),
            reason: "late".to_owned(),
        })
    }

    #[async_trait]
    impl Peers for Late {
        fn run_of(&self, _: &Member) -> Option<Incarnation> {
            None
        }

        fn is_connected(&self, member: &Member) -> bool {
            let looks = self.looks.fetch_add(1, Ordering::SeqCst);
            !self.never && member.as_str() == "b" && looks > 20
        }

        async fn inventory(
            &self,
            to: &Member,
            _: InventoryRequest,
        ) -> Result<Inventory, PeerError> {
            if self.refuses.fetch_sub(1, Ordering::SeqCst) > 1 {
                return gone(to);
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            Ok(Inventory::default())
        }

        async fn append(&self, to: &Member, _: AppendRequest) -> Result<AppendAnswer, PeerError> {
            gone(to)
        }

        async fn stage(&self, to: &Member, _: WriteId, _: Bytes) -> Result<(), PeerError> {
            gone(to)
        }

        async fn settle(&self, to: &Member, _: SettleRequest) -> Result<SettleAnswer, PeerError> {
            gone(to)
        }

        async fn write(
            &self,
            to: &Member,
            _: WriteRequest,
        ) -> Result<Result<Stored, WriteError>, PeerError> {
            gone(to)
        }

        async fn report(&self, to: &Member, _: ReportRequest) -> Result<Report, PeerError> {
            gone(to)
        }

        async fn get(
            &self,
            to: &Member,
            _: ChannelRef,
            _: ItemKey,
        ) -> Result<GetAnswer, PeerError> {
            gone(to)
        }

        async fn digests(
            &self,
            to: &Member,
            _: Millis,
            _: Millis,
        ) -> Result<Vec<Digest>, PeerError> {
            gone(to)
        }

        async fn fetch(
            &self,
            to: &Member,
            _: Vec<(ChannelId, ItemKey)>,
        ) -> Result<Vec<(ChannelId, PeerItem)>, PeerError> {
            gone(to)
        }
    }

    /// Catches up by these members; says whether one of them was heard, and how long it took.
    async fn caught_up(never: bool) -> (bool, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
        let path = folder.path().join("coordination.redb");
        let coordination = EmbeddedCoordination::open(&path, Arc::clone(&clock)).unwrap();
        let coordination = Arc::new(coordination) as Arc<dyn Coordination>;
        let channels = Channels::load(coordination, Arc::clone(&clock), Defaults::default());
        let view = RingView::new(member("a"));
        view.adopt(Arc::new(history("a b c")));
        let peers = Arc::new(Late {
            looks: AtomicUsize::new(0),
            refuses: AtomicUsize::new(3),
            asked: AtomicUsize::new(0),
            never,
        });
        let max_skew = 500;
        let (accept_window, megabyte) = (1_000, 1 << 20);
        let settings = ReplicaSettings {
            limits: Limits {
                accept_window,
                max_skew,
            },
            slot: NodeSlot::new(1).unwrap(),
            dedup_window: 60_000,
            dedup_bytes: megabyte,
            patience: Duration::from_secs(1),
            stage_bytes: megabyte as usize,
            staged_bytes_max: megabyte as usize,
        };
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock), 60_000));
        let others = Arc::clone(&peers) as Arc<dyn Peers>;
        let (replica, _) = Replica::new(
            store,
            Arc::clone(&clock),
            Arc::clone(&others),
            member("a"),
            settings,
        );
        let repair = Repair::new(
            view,
            Arc::new(LocalReplica::default()),
            channels.await.unwrap(),
            others,
            Arc::clone(&clock),
            max_skew,
        );
        let began = Instant::now();
        let since = clock.now().minus(10_000);
        repair.catch_up(&replica, since, |_| {}).await;
        (peers.asked.load(Ordering::SeqCst) > 0, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_connects_late_and_does_not_answer_at_once_is_waited_for() {
        let (heard, took) = caught_up(false).await;
        assert!(heard && took < PATIENCE, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_gets_to_serve_though_nobody_else_comes() {
        let (heard, took) = caught_up(true).await;
        assert!(
            !heard && took >= PATIENCE && took < PATIENCE * 2,
            "{took:?}"
        );
    }
}
