//! A real ZooKeeper server, with a folder and an address of its own. What is installed of it is
//! used, the service that comes with the package is not.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::failure::{Failure, Outcome};
use crate::folder::Folder;
use crate::network::Host;
use crate::process::{Process, casualty, program};
use crate::wait::until;

/// Where sessions connect.
pub const PORT: u16 = 2181;
/// The longest that a server may take to answer, or to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a server may take for a word, in a look at whether it is there.
const WORD: Duration = Duration::from_secs(2);
/// Where Debian has the jars, and those that a server needs.
const DEBIAN: &str = "/usr/share/java";
const JARS: [&str; 7] = [
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-simple",
    "metrics-core",
    "snappy-java",
    "commons-cli",
];

/// A ZooKeeper server: its folder and its address, and the process if one runs.
pub struct ZooKeeper {
    /// Ends before its folder goes.
    process: Option<Process>,
    home: Folder,
    host: Host,
    java: PathBuf,
    classpath: String,
}

impl ZooKeeper {
    /// A server at that place; nothing runs yet.
    ///
    /// # Errors
    /// [`Failure`] that says what to install, if something is missing.
    pub fn at(host: Host, home: Folder) -> Outcome<Self> {
        Ok(Self {
            process: None,
            home,
            host,
            java: java()?,
            classpath: classpath()?,
        })
    }

    /// Where it is on the network.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where sessions connect, as settings name it.
    pub fn address(&self) -> String {
        format!("{}:{PORT}", self.host.address())
    }

    /// The file that it logs to.
    pub fn log(&self) -> PathBuf {
        self.home.path().join("zookeeper.log")
    }

    /// Starts it, and does not wait for it.
    ///
    /// # Errors
    /// [`Failure`] if it runs already, or cannot.
    pub fn spawn(&mut self) -> Outcome<()> {
        if self.process.is_some() {
            return Err(Failure::new("ZooKeeper runs already"));
        }
        let home = self.home.path();
        std::fs::write(home.join("zoo.cfg"), self.config()?)?;
        let mut program = Command::new(&self.java);
        // It starts in a second, and holds what a few hubs need.
        program.args([
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
        ]);
        program.arg(&self.classpath);
        program.args([
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            "zoo.cfg",
        ]);
        let mut command = self.host.command(program);
        command.current_dir(home);
        self.process = Some(Process::spawn("ZooKeeper", &command, &self.log())?);
        Ok(())
    }

    fn config(&self) -> Outcome<String> {
        let data = self.home.path().join("data");
        std::fs::create_dir_all(&data)?;
        let address = self.host.address();
        let mut text = String::new();
        for (name, value) in [
            ("dataDir", data.display().to_string()),
            ("clientPortAddress", address.to_string()),
            ("clientPort", PORT.to_string()),
            // Its HTTP server would listen on a port that all others have too.
            ("admin.enableServer", "false".to_owned()),
            ("4lw.commands.whitelist", "ruok,srvr,mntr,cons".to_owned()),
            ("maxClientCnxns", "0".to_owned()),
            // Sessions of a second are possible, so that tests need not wait long for one to end.
            ("tickTime", "500".to_owned()),
            ("minSessionTimeout", "1000".to_owned()),
            ("maxSessionTimeout", "60000".to_owned()),
            ("autopurge.snapRetainCount", "3".to_owned()),
            ("autopurge.purgeInterval", "1".to_owned()),
        ] {
            writeln!(text, "{name}={value}").map_err(|error| Failure(error.to_string()))?;
        }
        Ok(text)
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// [`Failure`] if it ends or takes too long.
    pub async fn ready(&mut self) -> Outcome<()> {
        let address = self.host.address();
        let process = self.process.as_mut();
        let process = process.ok_or_else(|| Failure::new("ZooKeeper was not started"))?;
        let waited = until("ZooKeeper serves", PATIENCE, async || {
            if let Some(status) = process.ended() {
                return Some(Err(Failure(format!("ZooKeeper ended with {status}"))));
            }
            // What listens and does not serve yet says that it does not.
            let said = word(address, "srvr").await.ok()?;
            said.contains("Mode: ").then_some(Ok(()))
        });
        match waited.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) | Err(error) => Err(process.explained(&error)),
        }
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn start(&mut self) -> Outcome<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// [`Failure`] if it does not.
    pub async fn stop(&mut self) -> Outcome<()> {
        let process = self.taken()?;
        process.signal(Signal::TERM)?;
        process.ends(PATIENCE).await?;
        Ok(())
    }

    /// Kills it, as `kill -9` does.
    ///
    /// # Errors
    /// [`Failure`] if it does not run.
    pub fn kill(&mut self) -> Outcome<()> {
        self.taken()?.kill()
    }

    fn taken(&mut self) -> Outcome<Process> {
        let process = self.process.take();
        process.ok_or_else(|| Failure::new("ZooKeeper does not run"))
    }

    /// Stops it where it is, or lets it go on.
    ///
    /// # Errors
    /// [`Failure`] if it does not run.
    pub fn pause(&self, paused: bool) -> Outcome<()> {
        let process = self.process.as_ref();
        let process = process.ok_or_else(|| Failure::new("ZooKeeper does not run"))?;
        process.signal(if paused { Signal::STOP } else { Signal::CONT })
    }

    /// The process that has ended by itself, if it has; then none runs.
    pub fn casualty(&mut self) -> Option<Failure> {
        casualty(&mut self.process)
    }

    /// Removes all that it knows.
    ///
    /// # Errors
    /// [`Failure`] if it runs.
    pub fn wipe(&mut self) -> Outcome<()> {
        if self.process.is_some() {
            return Err(Failure::new("ZooKeeper runs; stop it before it is wiped"));
        }
        let data = self.home.path().join("data");
        if data.exists() {
            std::fs::remove_dir_all(data)?;
        }
        Ok(())
    }
}

/// Asks a server one of its four-letter words.
async fn word(address: Ipv4Addr, word: &'static str) -> Outcome<String> {
    let asked = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&(address, PORT).into(), WORD)?;
        stream.set_read_timeout(Some(WORD))?;
        stream.write_all(word.as_bytes())?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    });
    let said = asked.await.map_err(|error| Failure(error.to_string()))?;
    Ok(said?)
}

fn java() -> Outcome<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let home = home.filter(|java| java.is_file());
    home.or_else(|| program("java"))
        .ok_or_else(|| missing("there is no java"))
}

/// `ZOOKEEPER_HOME` as it is downloaded, or Debian's package.
fn classpath() -> Outcome<String> {
    if let Some(home) = std::env::var_os("ZOOKEEPER_HOME") {
        let lib = Path::new(&home).join("lib");
        if lib.is_dir() {
            return Ok(format!("{}/*", lib.display()));
        }
        return Err(missing(&format!("{} is no folder", lib.display())));
    }
    let jars = JARS.map(|name| format!("{DEBIAN}/{name}.jar"));
    // The server itself is not there without its jar; of the others it may have other names.
    if Path::new(&jars[0]).is_file() {
        Ok(jars.join(":"))
    } else {
        Err(missing("ZooKeeper is not installed"))
    }
}

fn missing(what: &str) -> Failure {
    Failure(format!(
        "{what}. On Debian and Ubuntu: ./tools/need.sh zookeeper. Elsewhere: install Java 11 or \
         later, unpack ZooKeeper 3.6 or later from https://zookeeper.apache.org/releases.html, \
         and set ZOOKEEPER_HOME to its folder"
    ))
}
