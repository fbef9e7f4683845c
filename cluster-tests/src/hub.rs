//! A hub process: the words that scenarios are written in.
//!
//! A [`Hub`] outlives its processes: it is a data folder, an address and settings, on which one
//! process after the other is started. Each has a loopback address of its own, so that hubs of
//! tests that run at the same time, and later the nodes of one cluster, do not meet.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::failure::{Failure, Outcome};
use crate::wait::{now, until};

/// The longest that a hub may take to get ready or to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// The name of every hub here.
pub const MEMBER: &str = "hub-under-test";
const HTTP_PORT: u16 = 8080;
const OPS_PORT: u16 = 8082;

/// A hub: its folder, its address and its settings, and the process if one runs.
pub struct Hub {
    binary: PathBuf,
    /// A folder of its own, which goes with it, unless the test failed.
    home: Option<TempDir>,
    data: PathBuf,
    address: Ipv4Addr,
    settings: BTreeMap<String, String>,
    open_files: Option<u64>,
    process: Option<Child>,
    started: Instant,
}

impl Hub {
    /// A hub with a new folder; nothing runs yet.
    ///
    /// # Errors
    /// [`Failure`] if there is no hub program to run.
    pub fn new() -> Outcome<Self> {
        let home = tempfile::Builder::new().prefix("hub-fault-").tempdir()?;
        let data = home.path().join("data");
        let address = free_address()?;
        let mut hub = Self {
            binary: binary()?,
            home: Some(home),
            data: PathBuf::new(),
            address,
            settings: BTreeMap::new(),
            open_files: None,
            process: None,
            started: now(),
        };
        hub.keep_data_in(&data);
        hub.set("HUB_NODE_FQDN", MEMBER);
        hub.set("HUB_HTTP_LISTEN", format!("{address}:{HTTP_PORT}"));
        hub.set("HUB_OPS_LISTEN", format!("{address}:{OPS_PORT}"));
        hub.set("HUB_SHUTDOWN_DELAY_SECONDS", 0);
        Ok(hub)
    }

    /// Its data is in that folder, which somebody else cares for; its log is not.
    #[must_use]
    pub fn with_data_in(mut self, folder: &Path) -> Self {
        self.keep_data_in(folder);
        self
    }

    fn keep_data_in(&mut self, folder: &Path) {
        folder.clone_into(&mut self.data);
        self.set("HUB_NODE_DATA_DIR", folder.display());
    }

    /// A setting, for the next start.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, value);
        self
    }

    /// A setting, for the next start.
    #[allow(clippy::needless_pass_by_value, reason = "callers pass literals")]
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.settings.insert(name.to_owned(), value.to_string());
    }

    /// Starts its processes with that soft limit of open files.
    #[must_use]
    pub fn with_open_files(mut self, limit: u64) -> Self {
        self.open_files = Some(limit);
        self
    }

    fn home(&self) -> &Path {
        self.home.as_ref().map_or(Path::new("."), TempDir::path)
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of its segments.
    pub fn spoke(&self) -> PathBuf {
        self.data().join("spoke")
    }

    /// The file that its processes log to.
    pub fn log(&self) -> PathBuf {
        self.home().join("hub.log")
    }

    /// The base of its URLs, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}:{HTTP_PORT}", self.address)
    }

    /// Where clients connect.
    pub fn address(&self) -> std::net::SocketAddr {
        (self.address, HTTP_PORT).into()
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// The number of the process that runs.
    ///
    /// # Errors
    /// [`Failure`] if none does.
    pub fn pid(&self) -> Outcome<u32> {
        let process = self.process.as_ref();
        process
            .map(Child::id)
            .ok_or_else(|| Failure::new("the hub does not run"))
    }

    /// Starts a process, and does not wait for it.
    ///
    /// # Errors
    /// [`Failure`] if one runs already, or the program cannot be run.
    pub fn spawn(&mut self) -> Outcome<()> {
        if self.process.is_some() {
            return Err(Failure::new("the hub runs already"));
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut command = match self.open_files {
            None => Command::new(&self.binary),
            Some(limit) => {
                // A limit is inherited, and only a process can lower its own without a race.
                let mut command = Command::new("/bin/sh");
                let script = format!("ulimit -S -n {limit} && exec \"$0\" \"$@\"");
                command.arg("-c").arg(script).arg(&self.binary);
                command
            }
        };
        let process = command
            .arg("serve")
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .envs(&self.settings)
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.started = now();
        self.process = Some(process);
        Ok(())
    }

    /// Waits until it is ready; gives how long after its start that was.
    ///
    /// # Errors
    /// [`Failure`] if it ends or takes too long.
    pub async fn ready(&mut self) -> Outcome<Duration> {
        let client = self.client();
        let started = self.started;
        let waited = until("/health answers 200", PATIENCE, async || {
            if let Some(status) = self.ended() {
                return Some(Err(Failure(format!("the hub ended with {status}"))));
            }
            match client.health().await {
                Ok((200, _)) => Some(Ok(started.elapsed())),
                _ => None,
            }
        });
        match waited.await {
            Ok(Ok(took)) => Ok(took),
            Ok(Err(error)) | Err(error) => Err(self.explained(&error)),
        }
    }

    /// Starts a process and waits until it is ready; gives how long that took.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn start(&mut self) -> Outcome<Duration> {
        self.spawn()?;
        self.ready().await
    }

    /// Kills the process, as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// [`Failure`] if none runs.
    pub fn kill(&mut self) -> Outcome<()> {
        let mut process = self
            .process
            .take()
            .ok_or_else(|| Failure::new("there is no hub to kill"))?;
        process.kill()?;
        let status = process.wait()?;
        if status.signal() == Some(9) {
            Ok(())
        } else {
            let error = Failure(format!("the hub had ended before it was killed: {status}"));
            Err(self.explained(&error))
        }
    }

    /// Asks the process to stop, and waits until it has.
    ///
    /// # Errors
    /// [`Failure`] if it does not end, or not in order.
    pub async fn stop(&mut self) -> Outcome<()> {
        self.signal(Signal::TERM)?;
        let ended = until("the hub stops", PATIENCE, async || self.ended()).await;
        match ended {
            Ok(status) if status.success() => {
                self.process = None;
                Ok(())
            }
            Ok(status) => Err(self.explained(&Failure(format!("the hub ended with {status}")))),
            Err(error) => Err(self.explained(&error)),
        }
    }

    /// Stops the process where it is, until it is resumed.
    ///
    /// # Errors
    /// [`Failure`] if none runs.
    pub fn pause(&self) -> Outcome<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// [`Failure`] if none runs.
    pub fn resume(&self) -> Outcome<()> {
        self.signal(Signal::CONT)
    }

    /// What `/health` says, whatever its status.
    ///
    /// # Errors
    /// [`Failure`] if it does not answer.
    pub async fn health(&self) -> Outcome<(u16, Value)> {
        self.client().health().await
    }

    /// The names of the files of its store that end so.
    pub fn files(&self, ending: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.spoke()) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
        names.sort();
        names
    }

    /// A line of `/proc/PID/status`, in bytes: `VmRSS` is its memory now, `VmHWM` at its highest.
    ///
    /// # Errors
    /// [`Failure`] if no process runs.
    pub fn memory(&self, line: &str) -> Outcome<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let found = text.lines().find_map(|text| text.strip_prefix(line));
        let kib = found.and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u64>().ok());
        let kib = kib.ok_or_else(|| Failure(format!("no {line} in /proc/PID/status")))?;
        Ok(kib * 1024)
    }

    /// The soft limit of open files of the process.
    ///
    /// # Errors
    /// [`Failure`] if none runs.
    pub fn open_files_limit(&self) -> Outcome<(u64, u64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/limits", self.pid()?))?;
        let line = text
            .lines()
            .find_map(|text| text.strip_prefix("Max open files"));
        let mut numbers = line
            .unwrap_or_default()
            .split_whitespace()
            .map_while(|word| word.parse().ok());
        let limits = numbers.next().zip(numbers.next());
        limits.ok_or_else(|| Failure::new("no limit of open files in /proc/PID/limits"))
    }

    fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::new("the process has no number"))?;
        kill_process(pid, signal).map_err(|error| Failure(error.to_string()))
    }

    /// How the process has ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.try_wait().ok().flatten()
    }

    /// A failure with the end of the log.
    fn explained(&self, error: &Failure) -> Failure {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(15)..];
        Failure(format!("{error}; its log ends:\n{}", tail.join("\n")))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; nothing of it is left either way.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking()
            && let Some(home) = self.home.take()
        {
            let kept = home.keep();
            let _ = File::create(kept.join("KEPT-BECAUSE-A-TEST-FAILED"));
        }
    }
}

/// A loopback address that nobody listens at. A hub keeps its address when it restarts, and no
/// client is ever given it as its own: those start from 127.0.0.1.
fn free_address() -> Outcome<Ipv4Addr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..500 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let second = 100 + (number % 100) as u8;
        let address = Ipv4Addr::new(127, second, high, low.clamp(1, 254));
        let free = |port| TcpListener::bind((address, port)).is_ok();
        if free(HTTP_PORT) && free(OPS_PORT) {
            return Ok(address);
        }
    }
    Err(Failure::new("no loopback address is free"))
}

/// The hub program: `HUB_BIN`, or the one in the target folder that this program is of.
fn binary() -> Outcome<PathBuf> {
    if let Some(named) = std::env::var_os("HUB_BIN") {
        let named = PathBuf::from(named);
        if named.is_file() {
            // Processes have a working directory of their own.
            return Ok(named.canonicalize()?);
        }
        return Err(Failure(format!("HUB_BIN is {}: no file", named.display())));
    }
    let own = std::env::current_exe()?;
    // target/PROFILE/rehearse, or target/PROFILE/deps/TEST-HASH
    let folders = own.ancestors().skip(1).take(3);
    let mut found = folders.clone().map(|folder| folder.join("hub"));
    if let Some(found) = found.find(|path| path.is_file()) {
        return Ok(found);
    }
    let target = folders.last().unwrap_or(Path::new("target"));
    let profiles = ["rehearse", "release", "debug"].iter();
    let mut found = profiles.map(|profile| target.join(profile).join("hub"));
    found.find(|path| path.is_file()).ok_or_else(|| {
        Failure(format!(
            "there is no hub program under {}: `make test` builds it first; \
             or run `cargo build`, or set HUB_BIN",
            target.display()
        ))
    })
}
