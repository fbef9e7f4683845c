//! The supervisor of the session.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::JoinSet;
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState, StateWatcher,
    WatchedEvent,
};

use super::super::coordination::{ChannelNews, VersionedRings};
use super::nodes::{self, Base, Failure};
use super::{Shared, calls, registration};

/// The pauses between two tries to make a session.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The pause before a supervisor that has ended is begun anew.
const RESTART: Duration = Duration::from_secs(1);
/// After how long a reading that failed is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// For how long news of one kind are gathered before they are acted upon.
const GATHER: Duration = Duration::from_millis(20);

/// Supervises until it is aborted, whatever becomes of the supervisor: with nobody to say that the
/// connection is lost, a node would go by what it was told last.
pub(super) async fn keep_up(shared: Arc<Shared>) {
    keep_running(&shared, || supervise(Arc::clone(&shared))).await;
}

async fn keep_running<F>(shared: &Shared, task: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        // Aborted with this.
        let mut tasks = JoinSet::new();
        tasks.spawn(task());
        let ended = tasks.join_next().await.and_then(Result::err);
        let reason = ended.map_or_else(|| "for no reason".to_owned(), |error| error.to_string());
        tracing::error!(
            reason,
            "the supervisor of ZooKeeper's session has ended; it is begun anew"
        );
        shared.client.send_replace(None);
        shared.disconnected("the supervisor of the session has ended");
        tokio::time::sleep(RESTART).await;
    }
}

/// Keeps a session with ZooKeeper, one after the other.
async fn supervise(shared: Arc<Shared>) {
    let mut pause = PAUSE_MIN;
    loop {
        let ended = match Session::open(&shared).await {
            Ok(session) => {
                pause = PAUSE_MIN;
                session.run(&shared).await
            }
            Err(failure) => describe(&failure),
        };
        shared.client.send_replace(None);
        shared.disconnected(&ended);
        // Nodes that lost ZooKeeper together do not come back together.
        let jitter = shared.clock.boot().subsec_nanos() % 1_000;
        tokio::time::sleep(pause.mul_f64(0.5 + f64::from(jitter) / 1_000.0)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

impl Shared {
    fn disconnected(&self, why: &str) {
        let now = self.clock.boot();
        let news = self.link.send_if_modified(|link| {
            let news = link.connected || link.why != why;
            if link.connected {
                link.since = now;
            }
            link.connected = false;
            why.clone_into(&mut link.why);
            news
        });
        if news {
            tracing::warn!(reason = why, "no connection to ZooKeeper");
        }
    }

    fn connected(&self) {
        let now = self.clock.boot();
        let news = self.link.send_if_modified(|link| {
            let news = !link.connected;
            if news {
                link.since = now;
            }
            link.connected = true;
            link.why.clear();
            news
        });
        if news {
            tracing::info!("connected to ZooKeeper");
        }
    }
}

/// What has to be read or written before the node is up to date.
#[allow(
    clippy::struct_excessive_bools,
    reason = "five things, each of which may be due"
)]
struct Due {
    /// The watches are to be made again.
    watches: bool,
    registration: bool,
    members: bool,
    rings: bool,
    channels: bool,
}

impl Due {
    const ALL: Self = Self {
        watches: false,
        registration: true,
        members: true,
        rings: true,
        channels: true,
    };

    fn any(&self) -> bool {
        self.watches || self.registration || self.members || self.rings || self.channels
    }
}

/// A session and its watches.
struct Session {
    client: Client,
    /// Which node of the rings was read in this session, by its czxid.
    made: Option<i64>,
    state: StateWatcher,
    members: PersistentWatcher,
    rings: PersistentWatcher,
    channels: PersistentWatcher,
}

/// Watches members, rings and channels.
async fn watch(client: &Client) -> Result<[PersistentWatcher; 3], Failure> {
    let watch = |path| client.watch(path, AddWatchMode::PersistentRecursive);
    let (members, rings) = (watch(nodes::MEMBERS).await?, watch(nodes::RINGS).await?);
    Ok([members, rings, watch(nodes::CHANNELS).await?])
}

impl Session {
    /// Makes a session, the folders, and the watches.
    async fn open(shared: &Shared) -> Result<Self, Failure> {
        let settings = &shared.settings;
        let opening = async {
            let mut connector = Client::connector()
                .with_session_timeout(settings.session_timeout)
                .with_connection_timeout(settings.session_timeout / 3);
            if let Some(auth) = &settings.auth {
                connector = connector.with_auth("digest", auth.as_bytes());
            }
            let client = connector.connect(&settings.servers).await?;
            let root = format!("/{}", settings.cluster);
            client.mkdir(&root, &shared.persistent()).await?;
            let client = client
                .chroot(root)
                .map_err(|_| Failure::unreadable("the cluster's name is no path"))?;
            for folder in nodes::FOLDERS {
                create(shared, &client, folder).await?;
            }
            create(shared, &client, nodes::RINGS).await?;
            *shared.base.lock() = base(shared, &client).await?;
            // Before the watches, of which those made before a reconnection are not there any more:
            // it is seen, and all are made again.
            let mut state = client.state_watcher();
            state.state();
            // Before anything is listed: what changes after that is told.
            let [members, rings, channels] = watch(&client).await?;
            Ok(Self {
                state,
                client,
                made: None,
                members,
                rings,
                channels,
            })
        };
        let limit = settings.session_timeout * 2 + Duration::from_secs(1);
        tokio::time::timeout(limit, opening)
            .await
            .unwrap_or(Err(Error::Timeout.into()))
    }

    /// Follows the session to its end; gives the reason.
    async fn run(mut self, shared: &Shared) -> String {
        let mut due = Due::ALL;
        let mut connected = true;
        let mut told = None;
        loop {
            if connected && due.any() {
                match self.catch_up(shared, &mut due).await {
                    Ok(()) => {
                        told = None;
                        if self.client.state() == SessionState::SyncConnected {
                            self.publish(shared);
                        }
                    }
                    Err(failure) => {
                        let said = Some(describe(&failure));
                        if told != said {
                            tracing::warn!(error = said, "ZooKeeper could not be read");
                            told = said;
                        }
                    }
                }
            }
            tokio::select! {
                event = self.members.changed() => match kind(&event) {
                    Kind::Ended(why) => return why,
                    Kind::Session => {}
                    Kind::Node => due.members = true,
                },
                event = self.rings.changed() => match kind(&event) {
                    Kind::Ended(why) => return why,
                    Kind::Session => {}
                    Kind::Node => due.rings = true,
                },
                event = self.channels.changed() => match kind(&event) {
                    Kind::Ended(why) => return why,
                    Kind::Session => {}
                    Kind::Node => tell(&shared.news, &event.path),
                },
                state = self.state.changed() => match state {
                    SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                        connected = false;
                        shared.disconnected("the connection is lost");
                    }
                    SessionState::SyncConnected => {
                        connected = true;
                        // Watches can miss what happened in between, and the client does not set
                        // recursive ones again.
                        due = Due {
                            watches: true,
                            ..Due::ALL
                        };
                    }
                    ended => return format!("the session has ended: {ended}"),
                },
                () = shared.poke.notified() => due.registration = true,
                () = tokio::time::sleep(RETRY), if connected && due.any() => {}
            }
            if due.members && connected {
                // Several that come or go together are one listing.
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Reads and writes what is due.
    async fn catch_up(&mut self, shared: &Shared, due: &mut Due) -> Result<(), Failure> {
        let patience = shared.settings.patience();
        if due.watches {
            let made = within(patience, watch(&self.client)).await?;
            [self.members, self.rings, self.channels] = made;
            due.watches = false;
        }
        if due.registration {
            within(patience, registration::register(shared, &self.client)).await?;
            due.registration = false;
            due.members = true;
        }
        if due.rings {
            let read = within(patience, calls::rings(&self.client)).await?;
            let Some((rings, stat)) = read else {
                // Somebody has taken it away; members publish what they hold into a new one.
                within(patience, create(shared, &self.client, nodes::RINGS)).await?;
                return Err(Error::NoNode.into());
            };
            due.rings = false;
            // Another node's versions are others.
            let same = self.made.replace(stat.czxid) == Some(stat.czxid);
            shared
                .rings
                .send_if_modified(|known| take(known, rings, same));
        }
        if due.members {
            let members = within(patience, calls::members(shared, &self.client)).await?;
            due.members = false;
            let own = shared.wanted.lock().as_ref().map(|w| w.member.clone());
            if let Some(own) = own {
                let found = members.get(&own).map(|(_, run)| run.as_str());
                // Somebody has taken it away; whether it may be had back is seen there.
                due.registration = !registration::stands(shared, found);
            }
            let members = members
                .into_iter()
                .map(|(member, (record, _))| (member, record))
                .collect();
            let members = Arc::new(members);
            shared.members.send_if_modified(|known| {
                let news = **known != *members;
                *known = members;
                news
            });
        }
        if due.channels {
            due.channels = false;
            let _ = shared.news.send(ChannelNews::Relist);
        }
        Ok(())
    }

    /// Lets others use the session.
    fn publish(&self, shared: &Shared) {
        let set = shared.client.borrow().as_ref().map(Client::session_id);
        if set != Some(self.client.session_id()) {
            shared.client.send_replace(Some(self.client.clone()));
        }
        shared.connected();
    }
}

/// Takes up the rings that were read. While the node is the same its versions only grow, and a write
/// of this process may have been answered since it was read.
fn take(known: &mut VersionedRings, read: VersionedRings, same: bool) -> bool {
    let news = !same || read.version >= known.version;
    if news {
        *known = read;
    }
    news
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let done = tokio::time::timeout(patience, work).await;
    done.unwrap_or(Err(Error::Timeout.into()))
}

/// What numbers begin at; decided by whoever comes first.
async fn base(shared: &Shared, client: &Client) -> Result<Base, Failure> {
    let now = shared.clock.now().get().to_string();
    match client
        .create(nodes::EPOCH, now.as_bytes(), &shared.persistent())
        .await
    {
        Ok(_) | Err(Error::NodeExists) => {}
        Err(error) => return Err(error.into()),
    }
    let (data, _) = client.get_data(nodes::EPOCH).await?;
    Base::read(&data)
}

async fn create(shared: &Shared, client: &Client, path: &str) -> Result<(), Failure> {
    match client.create(path, b"", &shared.persistent()).await {
        Ok(_) | Err(Error::NodeExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What an event of a watch says.
enum Kind {
    /// A node has changed.
    Node,
    /// The connection has; the state says the same.
    Session,
    /// The session is over, and the watch must not be asked again.
    Ended(String),
}

fn kind(event: &WatchedEvent) -> Kind {
    if event.event_type != EventType::Session {
        return Kind::Node;
    }
    let state = event.session_state;
    if state.is_terminated() {
        Kind::Ended(format!("the session has ended: {state}"))
    } else {
        Kind::Session
    }
}

/// Passes on that a channel's node has changed. Folders are of no interest: what is made in one is
/// told by itself.
fn tell(news: &broadcast::Sender<ChannelNews>, path: &str) {
    if let Some(name) = nodes::name_in(path) {
        // Nobody may be listening yet: then all channels are still to be read.
        let _ = news.send(ChannelNews::Touched(name.to_owned()));
    }
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::ZooKeeper(error) => error.to_string(),
        Failure::Meant(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{ZooKeeperCoordination, ZooKeeperSettings};
    use super::*;
    use crate::env::{HubClock, SystemClock};

    #[test]
    fn an_older_reading_undoes_no_write() {
        let of = |version| VersionedRings {
            version,
            ..VersionedRings::default()
        };
        let mut known = of(7);
        assert!(!take(&mut known, of(6), true));
        assert!(take(&mut known, of(7), true) && take(&mut known, of(8), true));
        assert_eq!(known.version, 8);
        // Of another session, or of a node that was made anew.
        assert!(take(&mut known, of(2), false));
        assert_eq!(known.version, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_panics_is_begun_anew_and_the_link_is_down() {
        let settings = ZooKeeperSettings {
            servers: "127.0.0.1:1".to_owned(),
            cluster: "none".to_owned(),
            session_timeout: Duration::from_secs(2),
            auth: None,
            run: 1,
        };
        let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
        let coordination = ZooKeeperCoordination::start(settings, clock);
        coordination.supervisor.abort();
        let shared = &coordination.shared;
        shared.connected();
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let task = move || {
            let count = Arc::clone(&count);
            async move {
                assert!(count.fetch_add(1, Ordering::SeqCst) > 0, "the first ends");
                std::future::pending::<()>().await;
            }
        };
        let running = tokio::time::timeout(RESTART * 2, keep_running(shared, task));
        assert!(running.await.is_err());
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert!(!shared.link.borrow().connected);
    }
}
