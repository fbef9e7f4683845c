//! A hub process to ask, and clients that show everything of its answers.
//!
//! [`Hub::shared`] is one hub with every default, for tests that need nothing but channels of their
//! own; [`Setup`] starts others. With `HUB_TEST_HUBS=3` the shared one is a cluster of three, of
//! which each test asks one, by turns. A hub is killed with its last handle, and a test that panics shows
//! the log of its hub.

mod answer;
mod raw;

use std::any::Any;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

pub use answer::{Answer, Ask};
use cluster_tests::cluster::Cluster;
use http::Method;
pub use raw::Raw;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// After this long a condition is taken never to come true.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often conditions are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How much of a log is shown.
const LOG_LINES: usize = 60;

/// The version that the hub says it has.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Waits until `probe` gives something.
///
/// # Panics
/// If it does not within [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(PATIENCE, what, probe)
}

/// As [`eventually`], for what takes so long.
///
/// # Panics
/// If it takes longer.
#[track_caller]
pub fn within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(started.elapsed() < patience, "{caller}: never: {what}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Waits for something that must come.
///
/// # Panics
/// If it does not within [`PATIENCE`].
#[track_caller]
pub fn soon<T>(what: &str, coming: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        tokio::time::timeout(PATIENCE, coming)
            .await
            .unwrap_or_else(|_| panic!("{caller}: never: {what}"))
    }
}

/// A name that no other test of this process uses.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// An address that was free a moment ago; a hub says if it no longer is.
pub fn free_address() -> SocketAddr {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

/// The `hub` command, without the settings of whoever runs the tests.
pub fn hub_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hub"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUB_") {
            command.env_remove(name);
        }
    }
    command
}

/// How a hub is started. Starting it again after it has ended gives it its data back.
pub struct Setup {
    settings: Vec<(String, String)>,
    folder: Arc<TempDir>,
}

impl Setup {
    /// Every default, but for addresses and the pause before stopping.
    pub fn new() -> Self {
        Self {
            settings: Vec::new(),
            folder: Arc::new(TempDir::new().unwrap()),
        }
    }

    /// With that setting, by the name of its variable without `HUB_`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a number is shorter than a reference to it"
    )]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings
            .push((format!("HUB_{name}"), value.to_string()));
        self
    }

    /// The folder that holds the hub's data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `hub serve` with these settings.
    pub fn command(&self) -> Command {
        let mut command = hub_command();
        command
            .arg("serve")
            .env("HUB_HTTP_LISTEN", "127.0.0.1:0")
            .env("HUB_OPS_LISTEN", "127.0.0.1:0")
            .env("HUB_NODE_DATA_DIR", self.folder.path())
            .env("HUB_SHUTDOWN_DELAY_SECONDS", "0")
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a hub, and waits until it says that it is healthy.
    pub async fn start(&self) -> Hub {
        self.start_and_ask(None).await
    }

    /// As [`Self::start`], for a hub that says how it is at `health` only.
    pub async fn start_and_ask(&self, health: Option<SocketAddr>) -> Hub {
        let hub = self.start_only().await;
        let health = health.unwrap_or(hub.address());
        eventually("the hub is healthy", async || {
            // Its own connection each time: what a hub counts must not count this one.
            let mut raw = Raw::connect(health).await;
            raw.send("GET /health HTTP/1.0\r\n\r\n").await;
            (raw.answer().await.status == 200).then_some(())
        })
        .await;
        hub
    }

    /// Starts a hub, and waits only until it listens.
    pub async fn start_only(&self) -> Hub {
        let mut child = self.command().spawn().unwrap();
        let log = Log::read(&mut child);
        let process = Arc::new(Process {
            child: Mutex::new(Some(child)),
            address: Mutex::new(SocketAddr::from(([127, 0, 0, 1], 0))),
            log,
            _home: Arc::clone(&self.folder) as Arc<dyn Any + Send + Sync>,
        });
        let address = eventually("the hub listens", async || {
            let ended = process.ended();
            let log = process.log.text();
            assert!(ended.is_none(), "the hub ended with {ended:?}:\n{log}");
            address_in(&log)
        });
        *process.address.lock().unwrap() = address.await;
        Hub::of(process)
    }

    /// Runs a hub that is to end by itself; gives how, and its log.
    pub fn run_to_its_end(&self) -> (ExitStatus, String) {
        let ended = self.command().output().unwrap();
        (
            ended.status,
            String::from_utf8_lossy(&ended.stderr).into_owned(),
        )
    }
}

fn address_in(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("listening "))?;
    let (_, rest) = line.split_once(" listen=")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What a process said.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    fn read(child: &mut Child) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stream = BufReader::new(child.stderr.take().unwrap());
        let kept = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in stream.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { lines }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

struct Process {
    /// `None` if it is one of a cluster, which has the process.
    child: Mutex<Option<Child>>,
    address: Mutex<SocketAddr>,
    log: Log,
    _home: Arc<dyn Any + Send + Sync>,
}

impl Process {
    /// How the process has ended, if it has.
    fn ended(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap();
        child.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    fn pid(&self) -> Pid {
        let child = self.child.lock().unwrap();
        Pid::from_child(child.as_ref().expect("a hub of its own"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = child.as_mut() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A cluster, and the thread that started it: its processes end with that.
struct Keeper {
    addresses: Vec<SocketAddr>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    fn start(size: u8) -> Self {
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, addresses) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let archive = TempDir::new().unwrap();
            let mut cluster = Cluster::new(size).unwrap();
            let url = format!("file://{}", archive.path().display());
            cluster.set("HUB_ARCHIVE_URL", url);
            let numbers: Vec<String> = (1..=size).map(|number| number.to_string()).collect();
            let script = format!(
                "start zk; wait until zk ready; start all; wait until all ready; \
                 wait until all ring {}",
                numbers.join(",")
            );
            runtime.block_on(cluster.play(&script)).unwrap();
            let address = |number| {
                let url = cluster.hub(number).unwrap().url();
                url.trim_start_matches("http://").parse().unwrap()
            };
            started.send((1..=size).map(address).collect()).unwrap();
            // Until whoever sends nothing is gone.
            let _ = stopped.recv();
        });
        Self {
            addresses: addresses.recv().expect("a cluster that starts"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A running hub.
pub struct Hub {
    process: Arc<Process>,
    client: reqwest::Client,
}

impl Drop for Hub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.process.log.text();
            let lines: Vec<&str> = log.lines().collect();
            let shown = lines.len().saturating_sub(LOG_LINES);
            eprintln!("the hub's log:\n{}", lines[shown..].join("\n"));
        }
    }
}

/// A client that adds nothing, follows nothing and keeps to HTTP/1.1.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only([])
        .http1_only()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

impl Hub {
    fn of(process: Arc<Process>) -> Self {
        Self {
            process,
            client: client(),
        }
    }

    /// A hub with every default that tests share, or one of a cluster of such.
    pub async fn shared() -> Self {
        if let Some(size) = std::env::var_os("HUB_TEST_HUBS") {
            return Self::of_cluster(size.to_str().unwrap().parse().unwrap()).await;
        }
        Self::alone().await
    }

    /// A hub with every default that tests share, always one that is alone: for what is said of such a
    /// one, and for what is stable the moment it is acknowledged, which in a cluster takes some
    /// milliseconds.
    pub async fn alone() -> Self {
        static SHARED: tokio::sync::Mutex<Weak<Process>> =
            tokio::sync::Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(process) = shared.upgrade() {
            return Self::of(process);
        }
        let hub = Setup::new().start().await;
        *shared = Arc::downgrade(&hub.process);
        hub
    }

    /// One of the hubs of a cluster that tests share.
    async fn of_cluster(size: u8) -> Self {
        static SHARED: tokio::sync::Mutex<Weak<Keeper>> =
            tokio::sync::Mutex::const_new(Weak::new());
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let mut shared = SHARED.lock().await;
        let keeper = if let Some(keeper) = shared.upgrade() {
            keeper
        } else {
            let keeper = Arc::new(Keeper::start(size));
            *shared = Arc::downgrade(&keeper);
            keeper
        };
        let turn = TURN.fetch_add(1, Ordering::Relaxed) % keeper.addresses.len();
        Self::of(Arc::new(Process {
            child: Mutex::new(None),
            address: Mutex::new(keeper.addresses[turn]),
            log: Log {
                lines: Arc::default(),
            },
            _home: keeper,
        }))
    }

    /// Another handle, with a connection pool of its own.
    pub fn again(&self) -> Self {
        Self::of(Arc::clone(&self.process))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        *self.process.address.lock().unwrap()
    }

    /// What links start with when it is asked by its address: no slash at the end.
    pub fn base(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The URL of a path; a URL stays as it is.
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base())
        }
    }

    /// The path of a URL of this hub.
    #[track_caller]
    pub fn path_of<'u>(&self, url: &'u str) -> &'u str {
        let path = url.strip_prefix(&self.base());
        path.unwrap_or_else(|| panic!("{url} is not of {}", self.base()))
    }

    /// Its number among processes.
    pub fn pid(&self) -> u32 {
        self.process.pid().as_raw_nonzero().get().cast_unsigned()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log.text()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process.pid(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> ExitStatus {
        eventually("the hub ends", async || self.process.ended()).await
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Ends it as a loss of power of the process would.
    pub async fn kill(self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Begins a request.
    pub fn ask(&self, method: Method, path: &str) -> Ask {
        let url = self.url(path);
        Ask {
            about: format!("{method} {url}"),
            request: self.client.request(method, url),
        }
    }

    /// GETs a path or URL.
    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).send().await
    }

    /// Sends JSON.
    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.ask(method, path)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
    }

    /// Creates a channel with a name of its own.
    pub async fn channel(&self, prefix: &str) -> String {
        self.channel_with(prefix, &serde_json::json!({})).await
    }

    /// Creates a channel with that configuration and a name of its own.
    pub async fn channel_with(&self, prefix: &str, config: &Value) -> String {
        let name = unique(prefix);
        let path = format!("/channel/{name}");
        self.send_json(Method::PUT, &path, config).await.expect(201);
        name
    }

    /// Posts a body to a channel.
    pub async fn post(&self, channel: &str, body: impl Into<reqwest::Body>) -> Answer {
        let path = format!("/channel/{channel}");
        self.ask(Method::POST, &path).body(body).send().await
    }

    /// Inserts an item; gives its URL. Of the hubs that tests share it is stable then.
    pub async fn insert(&self, channel: &str, body: impl Into<reqwest::Body>) -> String {
        let answer = self.post(channel, body).await.expect(201);
        let location = answer.location().to_owned();
        self.is_stable(&location).await;
        location
    }

    /// Inserts that many items, one after the other; gives their URLs.
    pub async fn insert_many(&self, channel: &str, count: usize) -> Vec<String> {
        let mut urls = Vec::with_capacity(count);
        for number in 0..count {
            urls.push(self.insert(channel, format!("item {number}")).await);
        }
        urls
    }

    /// Waits until an item is stable, which in a cluster takes some milliseconds.
    pub async fn is_stable(&self, item: &str) {
        if self.process.child.lock().unwrap().is_some() {
            // Alone, it is the moment it is acknowledged, or is not to be.
            return;
        }
        let (own, key) = item.split_at(item.len() - key_of(item).len());
        let latest = format!("{own}latest");
        soon("an item is stable", async {
            loop {
                let answer = self.get(&latest).await;
                // Or a later one, of somebody else.
                if answer
                    .header("location")
                    .is_some_and(|url| key_of(url) >= key)
                {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// A connection of its own.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address()).await
    }

    /// The hub's clock, in milliseconds.
    pub async fn now(&self) -> i64 {
        let answer = self.get("/internal/time/local").await.expect(200);
        answer.text().parse().unwrap()
    }
}

/// The path of an item's URL below its channel: its key.
#[track_caller]
pub fn key_of(url: &str) -> &str {
    let (_, below) = url.split_once("/channel/").unwrap();
    below.split_once('/').unwrap().1
}

/// The first segments of a key: 3 are its day, 6 its second.
pub fn period_of(url: &str, segments: usize) -> String {
    let parts: Vec<&str> = key_of(url).split('/').take(segments).collect();
    parts.join("/")
}
