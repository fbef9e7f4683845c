//! Coordination through ZooKeeper.
//!
//! One task, the supervisor ([`session`]), owns the connection: it makes a session, registers the
//! node in it, watches what matters and lists it, and begins anew with another session when one has
//! expired. Everybody else borrows its client for one call at a time, with a time limit round it.
//!
//! Under the chroot `/<cluster name>`:
//!
//! | path | kind | holds |
//! | --- | --- | --- |
//! | `members/<fqdn>` | ephemeral | a [`MemberRecord`] and the run that wrote it |
//! | `confirm/<fqdn>` | ephemeral, unwatched | nothing: it is written to confirm the ring history |
//! | `epoch` | persistent | when the cluster was first seen here: what numbers begin at |
//! | `rings` | persistent | the ring history, compare-and-set on its version |
//! | `channels/<2 hex>/<name>` | persistent | a channel's configuration; its number follows the czxid |
//! | `docs/<2 hex>/<name>` | persistent | a channel's document |
//! | `deleted/<2 hex>/<name>` | persistent | the number of a deleted channel, and when it went |
//! | `locks/keeper` | ephemeral | the keeper's lock |
//! | `locks/shutdown` | ephemeral | the node that is about to leave |
//!
//! [`MemberRecord`]: super::MemberRecord

mod calls;
mod channels;
mod keeper;
mod nodes;
mod notes;
mod registration;
mod session;
mod shutdown;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hub_ring::{Member, RingHistory};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::AbortHandle;
use zookeeper_client::{Acls, Client};

use super::coordination::{
    ArchiveNote, ChannelNews, ChannelRecord, Coordination, CoordinationError, Incarnation,
    KeeperLock, Link, MemberRecord, Tombstone, VersionedRings,
};
use crate::env::{HubClock, Millis};

/// The most news about channels that may wait for a listener; one that is further behind reads all
/// of them again.
const NEWS: usize = 4_096;

/// What the connection goes by.
#[derive(Clone)]
pub struct ZooKeeperSettings {
    /// The servers, as `host:port` with commas between them.
    pub servers: String,
    /// The cluster's name.
    pub cluster: String,
    /// How long ZooKeeper waits before a node that it does not hear of counts as gone.
    pub session_timeout: Duration,
    /// `user:password` for digest authentication. What is created is then that user's alone.
    pub auth: Option<String>,
    /// Tells this run of the node from others.
    pub run: u128,
}

impl ZooKeeperSettings {
    /// How long a call may take.
    fn patience(&self) -> Duration {
        (self.session_timeout / 2).clamp(Duration::from_millis(250), Duration::from_secs(5))
    }

    fn acls(&self) -> Acls<'static> {
        if self.auth.is_some() {
            Acls::creator_all()
        } else {
            Acls::anyone_all()
        }
    }
}

/// What this node wants to be registered as.
#[derive(Clone)]
struct Wanted {
    member: Member,
    record: MemberRecord,
}

/// What the supervisor shares with those who call.
struct Shared {
    settings: ZooKeeperSettings,
    clock: Arc<HubClock>,
    /// The client of the present session, once it is set up.
    client: watch::Sender<Option<Client>>,
    link: watch::Sender<Link>,
    members: watch::Sender<Arc<BTreeMap<Member, MemberRecord>>>,
    rings: watch::Sender<VersionedRings>,
    news: broadcast::Sender<ChannelNews>,
    wanted: Mutex<Option<Wanted>>,
    /// The run of this node, once it has registered for the first time.
    registered: watch::Sender<Option<Incarnation>>,
    /// What numbers begin at; read before the first client is lent.
    base: Mutex<nodes::Base>,
    /// Wakes the supervisor: what is wanted has changed.
    poke: Notify,
}

/// Coordination through ZooKeeper.
pub struct ZooKeeperCoordination {
    shared: Arc<Shared>,
    supervisor: AbortHandle,
}

impl ZooKeeperCoordination {
    /// Begins to connect, and goes on for as long as the process runs. Within a runtime.
    pub fn start(settings: ZooKeeperSettings, clock: Arc<HubClock>) -> Self {
        let link = Link {
            connected: false,
            since: clock.boot(),
            why: "connecting to ZooKeeper".to_owned(),
            superseded: None,
        };
        let shared = Arc::new(Shared {
            settings,
            clock,
            client: watch::Sender::new(None),
            link: watch::Sender::new(link),
            members: watch::Sender::default(),
            rings: watch::Sender::default(),
            news: broadcast::Sender::new(NEWS),
            wanted: Mutex::new(None),
            registered: watch::Sender::new(None),
            base: Mutex::default(),
            poke: Notify::new(),
        });
        let supervisor = tokio::spawn(session::keep_up(Arc::clone(&shared))).abort_handle();
        Self { shared, supervisor }
    }
}

impl Drop for ZooKeeperCoordination {
    fn drop(&mut self) {
        self.supervisor.abort();
        // The session closes with its last client.
        self.shared.client.send_replace(None);
    }
}

#[async_trait]
impl Coordination for ZooKeeperCoordination {
    async fn register(
        &self,
        member: &Member,
        record: MemberRecord,
    ) -> Result<Incarnation, CoordinationError> {
        *self.shared.wanted.lock() = Some(Wanted {
            member: member.clone(),
            record,
        });
        self.shared.poke.notify_one();
        let mut registered = self.shared.registered.subscribe();
        let waiting = registered.wait_for(Option::is_some);
        match tokio::time::timeout(self.shared.settings.patience(), waiting).await {
            Ok(Ok(incarnation)) => {
                incarnation.ok_or_else(|| self.shared.unavailable("not registered"))
            }
            // It goes on being tried, so that whoever asks again finds it done.
            _ => Err(self.shared.unavailable("not registered yet")),
        }
    }

    async fn deregister(&self) -> Result<(), CoordinationError> {
        // First, so that it does not register again what was just taken back.
        self.supervisor.abort();
        let gone = registration::withdraw(&self.shared).await;
        self.shared.client.send_replace(None);
        gone
    }

    fn members(&self) -> watch::Receiver<Arc<BTreeMap<Member, MemberRecord>>> {
        self.shared.members.subscribe()
    }

    async fn rings(&self) -> Result<VersionedRings, CoordinationError> {
        self.shared
            .call(async |client| calls::present_rings(&client).await)
            .await
    }

    fn watch_rings(&self) -> watch::Receiver<VersionedRings> {
        self.shared.rings.subscribe()
    }

    async fn replace_rings(
        &self,
        expected: u64,
        history: &RingHistory,
    ) -> Result<u64, CoordinationError> {
        keeper::replace_rings(&self.shared, None, expected, history).await
    }

    async fn confirm(&self, version: u64) -> Result<Millis, CoordinationError> {
        calls::confirm(&self.shared, version).await
    }

    async fn channels(&self) -> Result<Vec<ChannelRecord>, CoordinationError> {
        channels::all(&self.shared).await
    }

    async fn channel(&self, name: &str) -> Result<Option<ChannelRecord>, CoordinationError> {
        channels::one(&self.shared, name).await
    }

    async fn tombstone(&self, name: &str) -> Result<Option<Tombstone>, CoordinationError> {
        channels::tombstone(&self.shared, name).await
    }

    async fn deleted_channels(&self) -> Result<BTreeMap<u64, Millis>, CoordinationError> {
        channels::left(&self.shared).await
    }

    async fn forget_deleted(&self, ids: &[u64]) -> Result<(), CoordinationError> {
        channels::forget_left(&self.shared, ids).await
    }

    async fn forget_tombstones(&self, before: Millis) -> Result<usize, CoordinationError> {
        channels::forget_tombstones(&self.shared, before).await
    }

    fn watch_channels(&self) -> broadcast::Receiver<ChannelNews> {
        self.shared.news.subscribe()
    }

    async fn create_channel(
        &self,
        name: &str,
        data: Vec<u8>,
        tombstone: Option<Tombstone>,
    ) -> Result<ChannelRecord, CoordinationError> {
        channels::create(&self.shared, name, data, tombstone).await
    }

    async fn restore_channel(&self, record: ChannelRecord) -> Result<(), CoordinationError> {
        channels::restore(&self.shared, &record).await
    }

    async fn archive(&self) -> Result<Option<ArchiveNote>, CoordinationError> {
        notes::archive(&self.shared).await
    }

    async fn set_archive(&self, note: ArchiveNote) -> Result<(), CoordinationError> {
        notes::set_archive(&self.shared, note).await
    }

    async fn restoring(&self) -> Result<Option<String>, CoordinationError> {
        notes::restoring(&self.shared).await
    }

    async fn set_restoring(&self, what: Option<String>) -> Result<(), CoordinationError> {
        notes::set_restoring(&self.shared, what).await
    }

    async fn replace_channel(
        &self,
        name: &str,
        expected: u64,
        data: Vec<u8>,
    ) -> Result<ChannelRecord, CoordinationError> {
        channels::replace(&self.shared, name, expected, data).await
    }

    async fn delete_channel(&self, name: &str) -> Result<(), CoordinationError> {
        channels::delete(&self.shared, name).await
    }

    async fn document(&self, name: &str) -> Result<Option<String>, CoordinationError> {
        channels::document(&self.shared, name).await
    }

    async fn set_document(
        &self,
        name: &str,
        text: Option<String>,
    ) -> Result<bool, CoordinationError> {
        channels::set_document(&self.shared, name, text).await
    }

    async fn lock_keeper(&self) -> Result<Box<dyn KeeperLock>, CoordinationError> {
        keeper::lock(&self.shared).await
    }

    async fn lock_shutdown(&self, holder: &str) -> Result<Option<String>, CoordinationError> {
        shutdown::lock(&self.shared, holder).await
    }

    async fn shutdown_lock(&self) -> Result<Option<String>, CoordinationError> {
        shutdown::holder(&self.shared).await
    }

    async fn reset_shutdown_lock(&self) -> Result<(), CoordinationError> {
        shutdown::reset(&self.shared).await
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    fn is_shared(&self) -> bool {
        true
    }
}
