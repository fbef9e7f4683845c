//! Servers that are started to be measured, each a process of its own.
//!
//! None of them outlives the benchmark. Dropping a [`Server`] ends its process; if the benchmark is
//! killed itself, the system does it: the process starts as this program, asks for a signal on the
//! death of its parent, and then becomes the server.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::args::{Durability, GuardedArgs};
use crate::client::{Connection, Target, ask};
use crate::clock;
use crate::error::BenchError;

/// How long a server may take until it serves.
const START_MAX: Duration = Duration::from_mins(1);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How many lines of its log are shown when something went wrong.
const LOG_LINES: usize = 20;

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where it serves.
    pub target: Target,
}

/// A hub to start.
#[derive(Debug, Clone, Copy)]
pub struct Hub<'a> {
    /// Its program.
    pub program: &'a Path,
    /// The folder for its data and its log.
    pub folder: &'a Path,
    /// When it acknowledges writes.
    pub durability: Durability,
    /// Further settings.
    pub settings: &'a [(&'a str, String)],
}

impl Server {
    /// A bare server, whose log goes to `folder`.
    pub async fn bare(folder: &Path, item_bytes: usize) -> Result<Self, BenchError> {
        let [listen] = free_addresses()?;
        let mut command = vec![this_program()?, "bare".into()];
        command.extend(["--listen".into(), listen.to_string().into()]);
        command.extend(["--item-bytes".into(), item_bytes.to_string().into()]);
        Self::start("bare".to_owned(), listen, &command, folder, |_| ()).await
    }

    /// A hub on its own.
    pub async fn hub(hub: Hub<'_>) -> Result<Self, BenchError> {
        let program = hub
            .program
            .canonicalize()
            .map_err(|_| BenchError::NoProgram {
                path: hub.program.to_owned(),
            })?;
        let durability = hub.durability.name();
        let folder = hub.folder.join(format!("hub-{durability}"));
        fs::create_dir(&folder).map_err(BenchError::io(format!("create {}", folder.display())))?;
        let [listen, ops] = free_addresses()?;
        let command = [program.into_os_string(), "serve".into()];
        let set = |command: &mut Command| {
            // What is set where the benchmark runs is not meant for this hub.
            for (name, _) in std::env::vars_os() {
                if name.to_string_lossy().starts_with("HUB_") {
                    command.env_remove(name);
                }
            }
            command
                .env("HUB_HTTP_LISTEN", listen.to_string())
                .env("HUB_OPS_LISTEN", ops.to_string())
                .env("HUB_NODE_DATA_DIR", folder.join("data"))
                .env("HUB_SPOKE_DURABILITY", durability)
                .env("HUB_LOG_LEVEL", "warn")
                .envs(hub.settings.iter().map(|(name, value)| (name, value)))
                .current_dir(&folder);
        };
        Self::start(
            format!("hub-{durability}"),
            listen,
            &command,
            hub.folder,
            set,
        )
        .await
    }

    async fn start(
        name: String,
        listen: SocketAddr,
        server: &[OsString],
        folder: &Path,
        set: impl FnOnce(&mut Command),
    ) -> Result<Self, BenchError> {
        let log = folder.join(format!("{name}.log"));
        let cannot = || BenchError::io(format!("write {}", log.display()));
        let out = File::create(&log).map_err(cannot())?;
        let errors = out.try_clone().map_err(cannot())?;
        let mut command = Command::new(this_program()?);
        command
            .args(["guarded", "--parent", &std::process::id().to_string(), "--"])
            .args(server)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors);
        set(&mut command);
        let child = command
            .spawn()
            .map_err(BenchError::io(format!("start {name}")))?;
        let mut started = Self {
            name,
            child,
            log,
            target: Target::at(listen),
        };
        started.wait().await?;
        Ok(started)
    }

    /// Waits until it says that it can serve.
    async fn wait(&mut self) -> Result<(), BenchError> {
        let end = clock::now() + START_MAX;
        loop {
            let Err(error) = healthy(&self.target).await else {
                return Ok(());
            };
            let ended = self
                .child
                .try_wait()
                .map_err(BenchError::io("wait for a process"))?;
            if let Some(status) = ended {
                return Err(self.failed(format!("ended before it served: {status}")));
            }
            if clock::now() >= end {
                return Err(self.failed(format!("does not serve after {START_MAX:?}: {error}")));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What went wrong with it, and the end of its log.
    pub fn failed(&self, what: impl Into<String>) -> BenchError {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        BenchError::Server {
            server: self.name.clone(),
            what: what.into(),
            log: last_lines(&text),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data is thrown away: nothing is lost without a proper end. An error means that it has
        // ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes a server that ends when its parent does; comes back only if that fails.
pub fn become_guarded(args: &GuardedArgs) -> BenchError {
    if let Err(error) = end_with_parent() {
        return BenchError::io("ask for a signal")(error.into());
    }
    // The parent may have ended before the signal was asked for.
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get() as u32);
    let Some((program, rest)) = args
        .command
        .split_first()
        .filter(|_| parent == Some(args.parent))
    else {
        return BenchError::Interrupted;
    };
    let error = Command::new(program).args(rest).exec();
    BenchError::io(format!("start {}", program.display()))(error)
}

#[cfg(target_os = "linux")]
fn end_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent() -> rustix::io::Result<()> {
    Ok(())
}

async fn healthy(target: &Target) -> Result<(), BenchError> {
    let mut request = Vec::new();
    target.write_request("GET", "/health", None, &mut request);
    let mut connection =
        Connection::open(target, 1_024)
            .await
            .map_err(|source| BenchError::Request {
                request: "GET /health".to_owned(),
                source,
            })?;
    ask(&mut connection, &request, 200).await
}

fn this_program() -> Result<OsString, BenchError> {
    let path = std::env::current_exe().map_err(BenchError::io("find this program"))?;
    Ok(path.into_os_string())
}

/// Addresses of this machine at which nothing listens: each was free a moment ago.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N], BenchError> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    let mut held = Vec::with_capacity(N);
    for address in &mut addresses {
        let listener = TcpListener::bind(*address);
        let bound = listener.and_then(|listener| {
            let bound = listener.local_addr()?;
            held.push(listener);
            io::Result::Ok(bound)
        });
        *address = bound.map_err(BenchError::io("find a free port"))?;
    }
    Ok(addresses)
}

/// The end of a log, on lines of its own.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.len().saturating_sub(LOG_LINES);
    let shown = lines.iter().skip(start).map(|line| format!("\n  | {line}"));
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_addresses_differ() {
        let [one, two, three] = free_addresses().unwrap();
        assert!(one != two && two != three && one != three);
        TcpListener::bind(one).unwrap();
    }

    #[test]
    fn the_end_of_a_log_is_what_is_shown() {
        assert_eq!(last_lines(""), "");
        assert_eq!(last_lines("a\nb\n"), "\n  | a\n  | b");
        let long: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        assert!(last_lines(&long.join("\n")).starts_with("\n  | 30\n"));
    }
}
