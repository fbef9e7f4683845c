//! A hub process: the words that scenarios are written in.
//!
//! A [`Hub`] outlives its processes: it is a data folder, an address and settings, on which one
//! process after the other is started. Each has an address of its own, so that hubs of tests that
//! run at the same time, and the nodes of one cluster, can all use the same ports.

mod binary;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use self::binary::binary;
use crate::address::free_address;
use crate::client::Client;
use crate::command::HubCommand;
use crate::failure::{Failure, Outcome, ensure};
use crate::folder::Folder;
use crate::network::Host;
use crate::process::{Process, casualty, explained};
use crate::wait::until;

/// The longest that a hub may take to get ready or to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// The name of every hub here.
pub const MEMBER: &str = "hub-under-test";
/// Where clients connect.
pub const HTTP_PORT: u16 = 8080;
/// Where other hubs connect.
pub const PEER_PORT: u16 = 8081;
/// Where operators connect.
pub const OPS_PORT: u16 = 8082;

/// A hub: its folder, its address and its settings, and the process if one runs.
pub struct Hub {
    /// Ends before its folder goes.
    process: Option<Process>,
    binary: PathBuf,
    /// A folder of its own, for its log and, mostly, its data.
    home: Folder,
    data: PathBuf,
    host: Host,
    settings: BTreeMap<String, String>,
    open_files: Option<u64>,
}

impl Hub {
    /// A hub alone, with a new folder; nothing runs yet.
    ///
    /// # Errors
    /// [`Failure`] if there is no hub program to run.
    pub fn new() -> Outcome<Self> {
        let host = Host::here(free_address()?);
        Self::at(host, Folder::temporary("hub-fault-")?, MEMBER)
    }

    /// A hub of that name at that place; nothing runs yet.
    ///
    /// # Errors
    /// [`Failure`] if there is no hub program to run.
    pub fn at(host: Host, home: Folder, fqdn: &str) -> Outcome<Self> {
        let data = home.path().join("data");
        let address = host.address();
        let mut hub = Self {
            process: None,
            binary: binary()?,
            home,
            data: PathBuf::new(),
            host,
            settings: BTreeMap::new(),
            open_files: None,
        };
        hub.keep_data_in(&data);
        hub.set("HUB_NODE_FQDN", fqdn);
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
        self.home.path().join("hub.log")
    }

    /// The base of its URLs, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}:{HTTP_PORT}", self.host.address())
    }

    /// Where clients connect.
    pub fn address(&self) -> std::net::SocketAddr {
        (self.ip(), HTTP_PORT).into()
    }

    /// Its address, without a port.
    pub fn ip(&self) -> Ipv4Addr {
        self.host.address()
    }

    /// The base of its URLs for operators, without a slash at the end.
    pub fn ops_url(&self) -> String {
        format!("http://{}:{OPS_PORT}", self.ip())
    }

    /// Where on the network it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether a process of it was started and not ended by us.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(&self.url())
    }

    /// The command of the same program, which finds this hub, and has its settings.
    pub fn command(&self) -> HubCommand {
        let mut command = HubCommand::new(&self.binary)
            .with("HUB_URL", self.url())
            .with("HUB_OPS_URL", self.ops_url());
        for (name, value) in &self.settings {
            command = command.with(name, value);
        }
        command
    }

    /// The number of the process that runs.
    ///
    /// # Errors
    /// [`Failure`] if none does.
    pub fn pid(&self) -> Outcome<u32> {
        let process = self.process.as_ref();
        process
            .map(Process::pid)
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
        let program = match self.open_files {
            None => Command::new(&self.binary),
            Some(limit) => {
                // A limit is inherited, and only a process can lower its own without a race.
                let mut command = Command::new("/bin/sh");
                let script = format!("ulimit -S -n {limit} && exec \"$0\" \"$@\"");
                command.arg("-c").arg(script).arg(&self.binary);
                command
            }
        };
        let mut command = self.host.command(program);
        command
            .arg("serve")
            .env("RUST_BACKTRACE", "1")
            .envs(&self.settings)
            .current_dir(self.home.path());
        self.process = Some(Process::spawn("the hub", &command, &self.log())?);
        Ok(())
    }

    /// Waits until it is ready; gives how long after its start that was.
    ///
    /// # Errors
    /// [`Failure`] if it ends or takes too long.
    pub async fn ready(&mut self) -> Outcome<Duration> {
        let client = self.client();
        let process = self.process.as_mut();
        let process = process.ok_or_else(|| Failure::new("the hub was not started"))?;
        let started = process.started();
        let waited = until("/health answers 200", PATIENCE, async || {
            if let Some(status) = process.ended() {
                return Some(Err(Failure(format!("the hub ended with {status}"))));
            }
            match client.health().await {
                Ok((200, _)) => Some(Ok(started.elapsed())),
                _ => None,
            }
        });
        match waited.await {
            Ok(Ok(took)) => Ok(took),
            Ok(Err(error)) | Err(error) => Err(process.explained(&error)),
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
        let process = self.process.take();
        process
            .ok_or_else(|| Failure::new("there is no hub to kill"))?
            .kill()
    }

    /// Asks the process to stop, and waits until it has.
    ///
    /// # Errors
    /// [`Failure`] if it does not end, or not in order.
    pub async fn stop(&mut self) -> Outcome<()> {
        self.ask_to_stop()?;
        self.stopped().await
    }

    /// Asks the process to stop.
    ///
    /// # Errors
    /// [`Failure`] if none runs.
    pub fn ask_to_stop(&self) -> Outcome<()> {
        self.signal(Signal::TERM)
    }

    /// Waits until the process that was asked to stop has.
    ///
    /// # Errors
    /// [`Failure`] if it does not end, or not in order.
    pub async fn stopped(&mut self) -> Outcome<()> {
        let process = self.process.take();
        let process = process.ok_or_else(|| Failure::new("there is no hub to stop"))?;
        let status = process.ends(PATIENCE).await?;
        ensure(status.success(), || format!("the hub ended with {status}"))
            .map_err(|error| explained(&error, &self.log()))
    }

    /// Removes its data.
    ///
    /// # Errors
    /// [`Failure`] if it runs.
    pub fn wipe(&mut self) -> Outcome<()> {
        ensure(!self.runs(), || {
            "the hub runs; stop it before it is wiped".to_owned()
        })?;
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data)?;
        }
        Ok(())
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
        let process = self.process.as_ref();
        process
            .ok_or_else(|| Failure::new("the hub does not run"))?
            .signal(signal)
    }

    /// The process that has ended by itself, if it has; then none runs.
    pub fn casualty(&mut self) -> Option<Failure> {
        casualty(&mut self.process)
    }
}
