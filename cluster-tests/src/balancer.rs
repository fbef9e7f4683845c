//! HAProxy in front of hubs, as `config/haproxy.cfg` has it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddrV4, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::folder::Folder;
use crate::process::{Process, program};
use crate::wait::until;

const CONFIG: &str = include_str!("../../config/haproxy.cfg");
/// The slots that the configuration has.
pub const SLOTS: u8 = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// A load balancer that runs.
pub struct Balancer {
    /// Ends before its folder goes.
    process: Process,
    _home: Folder,
}

impl Balancer {
    /// Starts one on a port of localhost, without hubs.
    ///
    /// # Errors
    /// [`Failure`] that says what to do, if HAProxy is not installed or the port is taken.
    pub async fn start(port: u16, home: Folder) -> Outcome<Self> {
        let haproxy = program("haproxy").ok_or_else(|| {
            Failure::new(
                "HAProxy is not installed. On Debian and Ubuntu: ./tools/need.sh haproxy. \
                 Elsewhere: install HAProxy 2.4 or later, so that haproxy is on the PATH",
            )
        })?;
        std::fs::write(home.path().join("haproxy.cfg"), CONFIG)?;
        let _ = std::fs::remove_file(home.path().join("admin.sock"));
        let mut command = Command::new(haproxy);
        command
            .args(["-db", "-f", "haproxy.cfg"])
            .env("HUB_LISTEN", listen(port)?)
            // The name of a socket has to be short, and the way to it may be long.
            .current_dir(home.path());
        let process = Process::spawn("HAProxy", &command, &home.path().join("haproxy.log"))?;
        let mut balancer = Self {
            process,
            _home: home,
        };
        let answers = until("HAProxy answers", PATIENCE, async || {
            if let Some(status) = balancer.process.ended() {
                return Some(Err(Failure(format!("HAProxy ended with {status}"))));
            }
            balancer.ask("show version").ok().map(|_| Ok(()))
        });
        match answers.await {
            Ok(Ok(())) => Ok(balancer),
            Ok(Err(error)) | Err(error) => Err(balancer.process.explained(&error)),
        }
    }

    /// Puts a hub into the slot with that number, from 1. It gets requests once it is healthy.
    ///
    /// # Errors
    /// [`Failure`] if HAProxy does not take it.
    pub fn serve(&self, slot: u8, hub: SocketAddrV4) -> Outcome<()> {
        if slot == 0 || slot > SLOTS {
            return Err(Failure(format!("there are slots from 1 to {SLOTS}")));
        }
        let (ip, port) = (hub.ip(), hub.port());
        self.tell(&format!("set server hubs/hub-{slot} addr {ip} port {port}"))?;
        self.tell(&format!("set server hubs/hub-{slot} state ready"))
    }

    /// How it has ended, if it has by itself.
    pub fn ended(&mut self) -> Option<Failure> {
        let status = self.process.ended()?;
        let error = Failure(format!("HAProxy ended with {status}"));
        Some(self.process.explained(&error))
    }

    /// A command that answers nothing, or what it has changed.
    fn tell(&self, command: &str) -> Outcome<()> {
        let said = self.ask(command)?;
        let said = said.trim();
        if said.is_empty() || said.contains("changed from") || said.contains("no need to change") {
            return Ok(());
        }
        Err(Failure(format!("HAProxy: {command}: {said}")))
    }

    fn ask(&self, command: &str) -> Outcome<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    }

    fn socket(&self) -> PathBuf {
        // As it sees it: the way through its folder may be longer than a socket's name can be.
        format!("/proc/{}/cwd/admin.sock", self.process.pid()).into()
    }
}

/// What to bind to for localhost, in both families if this machine has both.
fn listen(port: u16) -> Outcome<String> {
    let taken = |error: std::io::Error| {
        Failure(format!(
            "localhost:{port}: {error}; is a hub running there, of `make run`? Stop it first"
        ))
    };
    drop(TcpListener::bind(("127.0.0.1", port)).map_err(taken)?);
    let both = format!("127.0.0.1:{port},[::1]:{port}");
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Ok(_) => Ok(both),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(taken(error)),
        // There is no IPv6 here.
        Err(_) => Ok(format!("127.0.0.1:{port}")),
    }
}
