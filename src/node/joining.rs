//! Joining: coordination, this node's part in the cluster, and its way to the other members.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hub_ring::Member;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::NodeError;
use super::settings::{edge_limits, member_record, policy};
use crate::cluster::{
    self, Cluster, ClusterSettings, Coordination, DataFolder, EmbeddedCoordination, RingPeers,
    RingService, RingView, ZooKeeperCoordination, ZooKeeperSettings,
};
use crate::config::Config;
use crate::env::{HubClock, OsRandom, Random as _};
use crate::http::body::Inflight;
use crate::ops::Membership;
use crate::peer::{
    PeerClient, PeerIdentity, PeerResolver, PeerServer, PeerServerLimits, PeerSettings, Secret,
};
use crate::spoke::peers::{NoPeers, PeerService, Peers};

/// How long an address found by DNS is kept.
const ADDRESS_KEPT: Duration = Duration::from_secs(30);
/// How often the members to keep in touch with are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// This node among the others.
pub(super) struct Joined {
    pub(super) cluster: Arc<Cluster>,
    pub(super) peers: Arc<dyn Peers>,
    /// `None` for a hub that is alone.
    pub(super) link: Option<PeerLink>,
}

/// This node's way to the others, and theirs to it.
pub(super) struct PeerLink {
    pub(super) client: Arc<PeerClient>,
    pub(super) identity: Arc<PeerIdentity>,
}

/// Opens coordination and registers the node.
pub(super) async fn register(
    config: &Config,
    folder: &DataFolder,
    view: &Arc<RingView>,
    clock: &Arc<HubClock>,
    public: &str,
    membership: &Membership,
    answers: Inflight,
) -> Result<Joined, NodeError> {
    let coordination = coordination(config, folder, clock).await?;
    let mut record = member_record(config, clock.now(), public);
    record.ip = own_ip(config);
    let settings = ClusterSettings {
        record,
        policy: policy(config),
        rings: folder.join("rings"),
    };
    let (shared, members) = (coordination.is_shared(), coordination.members());
    let cluster =
        Cluster::open(settings, coordination, Arc::clone(view), Arc::clone(clock)).await?;
    // Before it is registered: that may take long, and operators want to know why.
    membership.has_cluster(Arc::clone(&cluster));
    let incarnation = cluster.register().await;
    tracing::info!(incarnation = incarnation.0, "registered");
    if !shared {
        return Ok(Joined {
            cluster,
            peers: Arc::new(NoPeers),
            link: None,
        });
    }
    let secret = match &config.cluster.secret_file {
        Some(path) => Secret::read(path)?,
        // The settings do not go together without it.
        None => Secret::new(&[])?,
    };
    let identity = PeerIdentity::new(
        &config.cluster.name,
        view.own().clone(),
        secret,
        Arc::clone(clock),
        Arc::new(OsRandom),
    );
    identity.set_incarnation(incarnation);
    let settings = PeerSettings {
        connect_timeout: Duration::from_millis(config.peer.connect_timeout_ms),
        append_timeout: Duration::from_millis(config.peer.append_timeout_ms),
        queue_bytes: config.peer.queue_bytes,
        answers,
        item_bytes: config.limits.item_bytes,
        default_port: config.peer.listen.port(),
    };
    let resolver = match PeerResolver::of_file(Path::new("/etc/resolv.conf"), ADDRESS_KEPT) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            tracing::warn!(%error, "members are found by the addresses that they register, only");
            None
        }
    };
    let client = PeerClient::start(Arc::clone(&identity), settings, resolver, members)?;
    membership.has_peers(Arc::clone(&client));
    let peers = Arc::clone(&client) as Arc<dyn Peers>;
    let link = Some(PeerLink { client, identity });
    Ok(Joined {
        cluster,
        peers,
        link,
    })
}

impl Joined {
    /// How other members are asked about the rings.
    pub(super) fn ring_peers(&self) -> Arc<dyn RingPeers> {
        match &self.link {
            Some(link) => Arc::clone(&link.client) as Arc<dyn RingPeers>,
            None => Arc::new(cluster::NoPeers),
        }
    }
}

impl PeerLink {
    /// Answers other members, on a listener, until told to stop.
    pub(super) fn serve(
        &self,
        config: &Config,
        listener: TcpListener,
        replica: Arc<dyn PeerService>,
        rings: Arc<dyn RingService>,
        stop: watch::Receiver<bool>,
    ) -> tokio::task::JoinHandle<()> {
        let limits = PeerServerLimits {
            item_bytes: config.limits.item_bytes,
            inflight_bytes: config.limits.inflight_bytes,
        };
        let server = PeerServer::new(Arc::clone(&self.identity), replica, rings, limits);
        tokio::spawn(server.serve(listener, edge_limits(config), stop))
    }

    /// Keeps in touch with the members of every ring that is still needed.
    pub(super) fn follow(&self, view: Arc<RingView>) -> tokio::task::JoinHandle<()> {
        let (client, identity) = (Arc::clone(&self.client), Arc::clone(&self.identity));
        tokio::spawn(async move {
            let mut known = None;
            loop {
                let history = view.history();
                let mark = history.mark();
                if known != Some(mark) {
                    known = Some(mark);
                    identity.set_ring_version(mark.version);
                    let members = history.members().into_iter().cloned();
                    client.set_ring_members(members.collect());
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

async fn coordination(
    config: &Config,
    folder: &DataFolder,
    clock: &Arc<HubClock>,
) -> Result<Arc<dyn Coordination>, NodeError> {
    match zookeeper(config, clock)? {
        Some(coordination) => Ok(coordination),
        None => embedded(folder, clock).await,
    }
}

/// Coordination through ZooKeeper, if there is one.
pub(super) fn zookeeper(
    config: &Config,
    clock: &Arc<HubClock>,
) -> Result<Option<Arc<dyn Coordination>>, NodeError> {
    let Some(servers) = &config.zookeeper.servers else {
        return Ok(None);
    };
    let auth = match &config.zookeeper.auth_file {
        Some(path) => Some(read_auth(path)?),
        None => None,
    };
    let settings = ZooKeeperSettings {
        servers: servers.clone(),
        cluster: config.cluster.name.clone(),
        session_timeout: Duration::from_millis(config.zookeeper.session_timeout_ms),
        auth,
        run: OsRandom.next_u128(),
    };
    let coordination = ZooKeeperCoordination::start(settings, Arc::clone(clock));
    Ok(Some(Arc::new(coordination)))
}

/// Coordination of a hub that is alone.
pub(super) async fn embedded(
    folder: &DataFolder,
    clock: &Arc<HubClock>,
) -> Result<Arc<dyn Coordination>, NodeError> {
    let path = folder.join("coordination.redb");
    let clock = Arc::clone(clock);
    let opening = tokio::task::spawn_blocking(move || EmbeddedCoordination::open(&path, clock));
    let coordination = opening.await.map_err(|_| NodeError::Ended {
        what: "opening the coordination database",
    })??;
    Ok(Arc::new(coordination))
}

fn read_auth(path: &Path) -> Result<String, NodeError> {
    let text = std::fs::read_to_string(path).map_err(|source| NodeError::Folder {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim().to_owned())
}

/// The address that other members reach this node by: the one it listens on, or, where it listens on
/// all of them, the one from which it reaches ZooKeeper.
fn own_ip(config: &Config) -> Option<IpAddr> {
    let listen = config.peer.listen.ip();
    if !listen.is_unspecified() {
        return Some(listen);
    }
    let servers = config.zookeeper.servers.as_ref()?;
    let mut found = servers.split(',').filter_map(|server| {
        let to = server.to_socket_addrs().ok()?.next()?;
        // Nothing is sent: it only asks the system for the way.
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    found.next()
}

/// The fully qualified name of this host, where the system knows one.
pub(super) fn full_host_name() -> Option<String> {
    let said = std::process::Command::new("hostname").arg("-f").output();
    let said = said.ok().filter(|out| out.status.success())?;
    let name = String::from_utf8(said.stdout)
        .ok()?
        .trim()
        .to_ascii_lowercase();
    Member::new(&name).ok().map(|_| name)
}
