//! A ZooKeeper server of a test's own, and nodes that use it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use hub::cluster::{
    Cluster, ClusterSettings, Coordination, Incarnation, KnownChannels, MemberRecord, PeerError,
    RingPeers, RingService, RingView, Vouched, ZooKeeperCoordination, ZooKeeperSettings,
};
use hub::env::{BootTime, ClockSource, HubClock, Millis, SystemClock};
use hub_ring::keeper::KeeperPolicy;
use hub_ring::{Member, RingHistory};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Where Debian puts the jars.
const JAR: &str = "/usr/share/java/zookeeper.jar";
/// That, and what it logs by: without, the server ends at once.
const JARS: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar";

/// A port that nobody has. Below those that the system gives out: a connection to one of those,
/// tried while nobody listens there, can come about with itself and keep the port from the server.
fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let spread = u64::from(std::process::id()) * 37 + next;
        let port = 12_000 + u16::try_from(spread % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A ZooKeeper server; it goes with the value, or with the process of the test.
pub struct Server {
    port: u16,
    folder: TempDir,
    running: Mutex<Option<Running>>,
}

struct Running {
    shell: Child,
    /// Closed, it ends the server.
    ends: ChildStdin,
    pid: String,
}

impl Server {
    /// A server that is alone.
    pub fn start() -> Self {
        let server = Self::new("");
        server.run();
        server
    }

    /// Servers that agree by majority.
    pub fn start_three() -> Vec<Self> {
        let place = |n| format!("server.{n}=127.0.0.1:{}:{}\n", free_port(), free_port());
        let places: String = (1..=3).map(place).collect();
        let more = format!("initLimit=100\nsyncLimit=60\n{places}");
        let servers: Vec<Self> = (0..3).map(|_| Self::new(&more)).collect();
        for (n, server) in servers.iter().enumerate() {
            let data = server.folder.path().join("data");
            std::fs::create_dir(&data).unwrap();
            std::fs::write(data.join("myid"), (n + 1).to_string()).unwrap();
            server.spawn();
        }
        for server in &servers {
            server.wait();
        }
        servers
    }

    fn new(more: &str) -> Self {
        assert!(
            Path::new(JAR).exists(),
            "these tests need Debian's package zookeeper (tools/test.sh says how)"
        );
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let config = format!(
            "tickTime=100\nmaxSessionTimeout=60000\ndataDir={}\nclientPort={port}\n\
             clientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             4lw.commands.whitelist=*\nmaxClientCnxns=0\n{more}",
            data.display()
        );
        std::fs::write(folder.path().join("zoo.cfg"), config).unwrap();
        Self {
            port,
            folder,
            running: Mutex::new(None),
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the process, and waits until it serves.
    pub fn run(&self) {
        self.spawn();
        self.wait();
    }

    fn spawn(&self) {
        let log = self.folder.path().join("log");
        // The shell ends the server when its input does, however the test ends.
        let script = "\"$@\" >>\"$0\" 2>&1 </dev/null & echo $!; read -r _; kill -9 $!";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .arg(log)
            .args(["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", JARS])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.folder.path().join("zoo.cfg"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        let out = shell.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut pid).unwrap();
        let ends = shell.stdin.take().unwrap();
        *self.running.lock() = Some(Running {
            shell,
            ends,
            pid: pid.trim().to_owned(),
        });
    }

    fn wait(&self) {
        for _ in 0..600 {
            if self.say("srvr").contains("Mode: ") {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("ZooKeeper does not start");
    }

    /// Whether it leads the others.
    pub fn leads(&self) -> bool {
        self.say("srvr").contains("Mode: leader")
    }

    /// Ends the process as a crash would.
    pub fn kill(&self) {
        if let Some(mut running) = self.running.lock().take() {
            drop(running.ends);
            let _ = running.shell.wait();
        }
    }

    /// Sends the process a signal: `STOP` or `CONT`. Once this returns every thread of it has stopped,
    /// or none is: one that waits for the disk stops only when that is done with it.
    pub fn signal(&self, signal: &str) {
        let pid = self.running.lock().as_ref().unwrap().pid.clone();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(&pid)
            .status();
        assert!(sent.unwrap().success());
        let stopped = |task: &Path| {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            // Behind the name, which is in brackets. A thread that has gone has stopped as well.
            stat.rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with('T'))
        };
        let tasks = format!("/proc/{pid}/task");
        while signal == "STOP"
            && !std::fs::read_dir(&tasks)
                .unwrap()
                .all(|task| task.is_ok_and(|task| stopped(&task.path())))
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A client that is no node's.
    pub async fn client(&self) -> zookeeper_client::Client {
        let address = self.address();
        let client = zookeeper_client::Client::connector().connect(&address);
        client.await.unwrap()
    }

    /// A command of four letters.
    fn say(&self, word: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(self.address()) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = stream.write_all(word.as_bytes());
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server for all tests that leave it alone.
pub fn shared() -> &'static Server {
    static SHARED: LazyLock<Server> = LazyLock::new(Server::start);
    tokio::task::block_in_place(|| &*SHARED)
}

/// A name that no other test has.
pub fn fresh(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn clock() -> Arc<HubClock> {
    clock_ahead(Arc::default())
}

/// A clock that is ahead of the machine's, in milliseconds, which a test may change.
fn clock_ahead(millis: Arc<AtomicI64>) -> Arc<HubClock> {
    struct Ahead(Arc<AtomicI64>);
    impl ClockSource for Ahead {
        fn wall(&self) -> Millis {
            SystemClock.wall().plus(self.0.load(Ordering::Relaxed))
        }

        fn boot(&self) -> BootTime {
            SystemClock.boot()
        }
    }
    Arc::new(HubClock::start(Arc::new(Ahead(millis))))
}

pub fn settings(server: &Server, cluster: &str, run: u128) -> ZooKeeperSettings {
    ZooKeeperSettings {
        servers: server.address(),
        cluster: cluster.to_owned(),
        session_timeout: Duration::from_secs(2),
        auth: None,
        run,
    }
}

pub fn connect(server: &Server, cluster: &str, run: u128) -> Arc<ZooKeeperCoordination> {
    let settings = settings(server, cluster, run);
    Arc::new(ZooKeeperCoordination::start(settings, clock()))
}

pub fn member(name: &str) -> Member {
    Member::new(name).unwrap()
}

pub fn record(name: &str) -> MemberRecord {
    MemberRecord {
        incarnation: Incarnation(0),
        ip: Some([127, 0, 0, 1].into()),
        peer_port: 8081,
        public: format!("{name}:8080"),
        public_url: None,
        version: "0.0.0".to_owned(),
        state: "joining".to_owned(),
        started: 0,
        ring: 0,
    }
}

/// Waits until something is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// Holds a wait against its bar where times are measured (`HUB_TEST_TIMES`); elsewhere, on machines
/// that others use too, only against what cannot be mistaken for it.
pub fn in_time(took: Duration, bar: Duration) {
    let measured = std::env::var_os("HUB_TEST_TIMES").is_some();
    let allowed = if measured { bar } else { 20 * bar };
    assert!(took < allowed, "{took:?}");
}

/// Registers, however long the connection takes.
pub async fn register(coordination: &dyn Coordination, name: &str) -> Incarnation {
    for _ in 0..100 {
        if let Ok(run) = coordination.register(&member(name), record(name)).await {
            return run;
        }
    }
    panic!("{name} could not register");
}

/// Nodes of one process, each with links to the others that a test may cut.
#[derive(Default)]
pub struct Net {
    nodes: Mutex<BTreeMap<Member, Arc<Cluster>>>,
    /// Members that nobody reaches.
    pub gone: Mutex<BTreeSet<Member>>,
}

/// The links of one node.
struct Links {
    own: Member,
    net: Arc<Net>,
}

impl Links {
    fn to(&self, member: &Member) -> Result<Arc<Cluster>, PeerError> {
        let gone = self.net.gone.lock();
        let node = self.net.nodes.lock().get(member).cloned();
        node.filter(|_| !gone.contains(member) && !gone.contains(&self.own))
            .ok_or_else(|| PeerError::NotConnected {
                member: member.clone(),
                reason: "cut".to_owned(),
            })
    }
}

#[async_trait]
impl RingPeers for Links {
    fn is_connected(&self, member: &Member) -> bool {
        self.to(member).is_ok()
    }

    async fn vouch(&self, member: &Member) -> Result<Vouched, PeerError> {
        Ok(RingService::vouch(&*self.to(member)?, &self.own).await)
    }

    async fn history(&self, member: &Member) -> Result<Arc<RingHistory>, PeerError> {
        Ok(RingService::history(&*self.to(member)?, &self.own).await)
    }

    async fn channels(&self, member: &Member) -> Result<KnownChannels, PeerError> {
        Ok(RingService::channels(&*self.to(member)?, &self.own).await)
    }
}

/// A node that takes part, without channels or items.
pub struct Node {
    pub cluster: Arc<Cluster>,
    pub coordination: Arc<ZooKeeperCoordination>,
    pub tasks: tokio::task::JoinHandle<()>,
    /// How far its wall clock is ahead of the machine's, in milliseconds.
    pub ahead: Arc<AtomicI64>,
    net: Arc<Net>,
    _folder: TempDir,
}

pub fn policy() -> KeeperPolicy {
    KeeperPolicy {
        grace_millis: 4_000,
        away_millis: 1_000,
        settle_millis: 200,
        complete_after_millis: 1_000,
        lease_millis: 1_500,
        max_skew_millis: 500,
        bootstrap_expect: 3,
        ..KeeperPolicy::default()
    }
}

/// Tells the runs of nodes apart.
static RUNS: AtomicU64 = AtomicU64::new(1_000);

impl Node {
    pub async fn start(server: &Server, cluster: &str, name: &str, net: &Arc<Net>) -> Self {
        Self::start_ahead(server, cluster, name, net, 0).await
    }

    /// A node whose clock is ahead of the others', in milliseconds.
    pub async fn start_ahead(
        server: &Server,
        cluster: &str,
        name: &str,
        net: &Arc<Net>,
        ahead: i64,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let coordination = connect(server, cluster, run.into());
        let settings = ClusterSettings {
            record: record(name),
            policy: policy(),
            rings: folder.path().join("rings"),
        };
        let shared = Arc::clone(&coordination) as Arc<dyn Coordination>;
        let view = RingView::new(member(name));
        let ahead = Arc::new(AtomicI64::new(ahead));
        let cluster = Cluster::open(settings, shared, view, clock_ahead(Arc::clone(&ahead)));
        let cluster = cluster.await.unwrap();
        cluster.register().await;
        net.nodes.lock().insert(member(name), Arc::clone(&cluster));
        let links = Links {
            own: member(name),
            net: Arc::clone(net),
        };
        let tasks = cluster.start(Arc::new(links));
        Self {
            cluster,
            coordination,
            tasks,
            ahead,
            net: Arc::clone(net),
            _folder: folder,
        }
    }

    pub fn history(&self) -> Arc<RingHistory> {
        self.cluster.view().history()
    }

    /// The version of the newest map, and whether it has its time.
    pub fn mark(&self) -> (u64, bool) {
        let mark = self.history().mark();
        (mark.version, mark.has_from)
    }

    pub fn horizon(&self) -> i64 {
        self.cluster.view().horizon().get()
    }

    /// Ends the node as a stop would.
    pub async fn stop(self) {
        self.net.nodes.lock().remove(self.cluster.own());
        self.coordination.deregister().await.unwrap();
        self.tasks.abort();
    }
}
