use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hub_ring::{Member, RingHistory};
use tokio::sync::{Notify, broadcast, watch};

use super::*;
use crate::cluster::{
    ArchiveNote, ChannelNews, EmbeddedCoordination, Incarnation, KeeperLock, Link, MemberRecord,
    Tombstone, VersionedRings,
};
use crate::env::{Millis, SystemClock};

/// Coordination whose next answer about a channel can be held back once it is known.
struct Slow {
    inner: EmbeddedCoordination,
    hold: AtomicBool,
    held: Notify,
    go: Notify,
}

impl Slow {
    async fn answered<T>(&self, answer: T) -> T {
        if self.hold.swap(false, Ordering::SeqCst) {
            self.held.notify_one();
            self.go.notified().await;
        }
        answer
    }
}

type Answer<T> = Result<T, CoordinationError>;

#[async_trait]
impl Coordination for Slow {
    async fn register(&self, member: &Member, record: MemberRecord) -> Answer<Incarnation> {
        self.inner.register(member, record).await
    }

    async fn deregister(&self) -> Answer<()> {
        self.inner.deregister().await
    }

    fn members(&self) -> watch::Receiver<Arc<BTreeMap<Member, MemberRecord>>> {
        self.inner.members()
    }

    async fn rings(&self) -> Answer<VersionedRings> {
        self.inner.rings().await
    }

    fn watch_rings(&self) -> watch::Receiver<VersionedRings> {
        self.inner.watch_rings()
    }

    async fn replace_rings(&self, expected: u64, history: &RingHistory) -> Answer<u64> {
        self.inner.replace_rings(expected, history).await
    }

    async fn confirm(&self, version: u64) -> Answer<Millis> {
        self.inner.confirm(version).await
    }

    async fn channels(&self) -> Answer<Vec<ChannelRecord>> {
        self.inner.channels().await
    }

    async fn channel(&self, name: &str) -> Answer<Option<ChannelRecord>> {
        let answer = self.inner.channel(name).await;
        self.answered(answer).await
    }

    async fn tombstone(&self, name: &str) -> Answer<Option<Tombstone>> {
        self.inner.tombstone(name).await
    }

    async fn forget_tombstones(&self, before: Millis) -> Answer<usize> {
        self.inner.forget_tombstones(before).await
    }

    async fn deleted_channels(&self) -> Answer<BTreeMap<u64, Millis>> {
        self.inner.deleted_channels().await
    }

    async fn forget_deleted(&self, ids: &[u64]) -> Answer<()> {
        self.inner.forget_deleted(ids).await
    }

    fn watch_channels(&self) -> broadcast::Receiver<ChannelNews> {
        self.inner.watch_channels()
    }

    async fn create_channel(
        &self,
        name: &str,
        data: Vec<u8>,
        tombstone: Option<Tombstone>,
    ) -> Answer<ChannelRecord> {
        self.inner.create_channel(name, data, tombstone).await
    }

    async fn lock_keeper(&self) -> Answer<Box<dyn KeeperLock>> {
        self.inner.lock_keeper().await
    }

    async fn restore_channel(&self, record: ChannelRecord) -> Answer<()> {
        self.inner.restore_channel(record).await
    }
    async fn archive(&self) -> Answer<Option<ArchiveNote>> {
        self.inner.archive().await
    }
    async fn set_archive(&self, note: ArchiveNote) -> Answer<()> {
        self.inner.set_archive(note).await
    }
    async fn restoring(&self) -> Answer<Option<String>> {
        self.inner.restoring().await
    }
    async fn set_restoring(&self, what: Option<String>) -> Answer<()> {
        self.inner.set_restoring(what).await
    }
    async fn lock_shutdown(&self, holder: &str) -> Answer<Option<String>> {
        self.inner.lock_shutdown(holder).await
    }

    async fn shutdown_lock(&self) -> Answer<Option<String>> {
        self.inner.shutdown_lock().await
    }

    async fn reset_shutdown_lock(&self) -> Answer<()> {
        self.inner.reset_shutdown_lock().await
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.inner.link()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn replace_channel(
        &self,
        name: &str,
        expected: u64,
        data: Vec<u8>,
    ) -> Answer<ChannelRecord> {
        self.inner.replace_channel(name, expected, data).await
    }

    async fn delete_channel(&self, name: &str) -> Answer<()> {
        let answer = self.inner.delete_channel(name).await;
        self.answered(answer).await
    }

    async fn document(&self, name: &str) -> Answer<Option<String>> {
        self.inner.document(name).await
    }

    async fn set_document(&self, name: &str, text: Option<String>) -> Answer<bool> {
        self.inner.set_document(name, text).await
    }
}

struct Rig {
    _folder: tempfile::TempDir,
    slow: Arc<Slow>,
    channels: Arc<Channels>,
}

async fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
    let path = folder.path().join("coordination.redb");
    let slow = Arc::new(Slow {
        inner: EmbeddedCoordination::open(&path, Arc::clone(&clock)).unwrap(),
        hold: AtomicBool::new(false),
        held: Notify::new(),
        go: Notify::new(),
    });
    let coordination = Arc::clone(&slow) as Arc<dyn Coordination>;
    let channels = Channels::load(coordination, clock, Defaults::default());
    Rig {
        _folder: folder,
        slow: Arc::clone(&slow),
        channels: channels.await.unwrap(),
    }
}

fn update(json: &str) -> ConfigUpdate {
    ConfigUpdate::parse(json.as_bytes()).unwrap()
}

/// An answer that is on its way while the channel changes must not undo the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_overtaken_changes_nothing() {
    let rig = rig().await;
    let channels = &rig.channels;
    channels.put("c", &update("{}")).await.unwrap();
    for delete in [false, true] {
        rig.slow.hold.store(true, Ordering::SeqCst);
        let fetching = tokio::spawn({
            let channels = Arc::clone(channels);
            async move { channels.fetch("c").await.map(drop) }
        });
        rig.slow.held.notified().await;
        // It has the old answer in hand, and waits.
        let changing = tokio::spawn({
            let channels = Arc::clone(channels);
            async move {
                if delete {
                    channels.delete("c").await
                } else {
                    let longer = update("{\"ttlDays\": 9}");
                    channels.put("c", &longer).await.map(drop)
                }
            }
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        rig.slow.go.notify_one();
        fetching.await.unwrap().unwrap();
        changing.await.unwrap().unwrap();
        let known = channels.get("c").map(|channel| channel.config.ttl_days);
        assert_eq!(known, (!delete).then_some(9));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_taken_up_though_its_client_has_gone() {
    let rig = rig().await;
    let channels = &rig.channels;
    channels.put("c", &update("{}")).await.unwrap();
    rig.slow.hold.store(true, Ordering::SeqCst);
    let deleting = tokio::spawn({
        let channels = Arc::clone(channels);
        async move { channels.delete("c").await }
    });
    rig.slow.held.notified().await;
    deleting.abort();
    assert!(deleting.await.unwrap_err().is_cancelled());
    rig.slow.go.notify_one();
    // Nobody asks about it, and it goes all the same.
    let gone = async {
        while channels.get("c").is_some() {
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(patience, gone).await.is_ok());
}

/// Names that nobody knows must not queue for ever while coordination does not answer.
#[tokio::test(start_paused = true)]
async fn a_turn_is_not_waited_for_without_end() {
    let rig = rig().await;
    rig.slow.hold.store(true, Ordering::SeqCst);
    let channels = Arc::clone(&rig.channels);
    let first = tokio::spawn(async move { channels.fetch("c").await.map(drop) });
    rig.slow.held.notified().await;
    let late = tokio::time::timeout(TURN * 2, rig.channels.fetch("c")).await;
    let refused = late.unwrap().map(drop);
    assert!(
        matches!(
            refused,
            Err(ChannelError::Coordination(
                CoordinationError::Unavailable { .. }
            ))
        ),
        "{refused:?}"
    );
    rig.slow.go.notify_one();
    first.await.unwrap().unwrap();
    rig.channels.fetch("c").await.unwrap();
}

#[test]
fn the_cache_takes_no_step_back() {
    let channel = |id, version, days: u64| {
        let config = create(
            &update("{}"),
            Some("c"),
            &Defaults::default(),
            Millis::new(0),
        );
        let mut config = config.unwrap();
        config.ttl_days = days;
        Channel {
            id: ChannelId(id),
            version,
            config,
            kept_from: ItemKey::MIN,
            historical_to: None,
        }
    };
    let mut cache = Cache::default();
    for (id, version, stands) in [(2, 1, 1), (2, 3, 2), (2, 2, 2), (1, 9, 2), (3, 1, 5)] {
        cache.put(channel(id, version, stands));
        let config = &cache.named("c").unwrap().config;
        assert_eq!(config.ttl_days, stands, "after {id} in version {version}");
    }
    assert!(cache.numbered(ChannelId(2)).is_none());

    // What two nodes know in common shows, however they came to know it.
    let mut other = Cache::default();
    other.put(channel(3, 1, 5));
    assert_eq!(other.digest(), cache.digest());
    cache.remove("c");
    assert_eq!(cache.digest(), Cache::default().digest());
    // A node that has not heard that it is gone does not bring it back; a later one may come.
    cache.put_heard(channel(3, 7, 5));
    assert!(cache.named("c").is_none());
    other.drop_up_to("c", 2);
    assert!(other.named("c").is_some());
    for (name, id) in cache.dropped() {
        other.drop_up_to(&name, id);
    }
    assert!(other.named("c").is_none());
    cache.put_heard(channel(4, 1, 5));
    assert!(cache.named("c").is_some() && cache.dropped().is_empty());
}
