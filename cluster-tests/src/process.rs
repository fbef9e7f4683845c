//! A process that the harness starts: it logs to a file, and it is gone when its owner is.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Failure, Outcome};
use crate::wait::{now, until};

/// How much of a log a failure shows.
const LOG_LINES: usize = 15;

/// A process that runs, or has ended by itself.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Process {
    /// Starts it. `what` names it for people; what it prints is appended to `log`.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be run.
    pub fn spawn(what: &str, command: &Command, log: &Path) -> Outcome<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        let child = bound_to_us(command)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| Failure(format!("{what} cannot be run: {error}")))?;
        Ok(Self {
            what: what.to_owned(),
            child,
            log: log.to_owned(),
            started: now(),
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`Failure`] if it is gone.
    pub fn signal(&self, signal: Signal) -> Outcome<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| Failure(format!("{}: {error}", self.what)))
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// [`Failure`] if it had ended before.
    pub fn kill(mut self) -> Outcome<()> {
        self.child.kill()?;
        let status = self.child.wait()?;
        if status.signal() == Some(9) {
            return Ok(());
        }
        let what = &self.what;
        let error = format!("{what} had ended before it was killed: {status}");
        Err(self.explained(&Failure(error)))
    }

    /// Waits until it has ended, as it was asked to; gives how it did.
    ///
    /// # Errors
    /// [`Failure`] if it does not end within that time.
    pub async fn ends(mut self, patience: Duration) -> Outcome<ExitStatus> {
        let what = format!("{} stops", self.what);
        let ended = until(&what, patience, async || self.ended()).await;
        ended.map_err(|error| self.explained(&error))
    }

    /// A failure with the end of the log.
    pub fn explained(&self, error: &Failure) -> Failure {
        explained(error, &self.log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; nothing of it is left either way.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that has ended by itself, if it has, is none any more; gives how it ended.
pub fn casualty(slot: &mut Option<Process>) -> Option<Failure> {
    let status = slot.as_mut()?.ended()?;
    let process = slot.take()?;
    let error = Failure(format!("{} ended with {status}", process.what));
    Some(process.explained(&error))
}

/// A failure with the end of that log.
pub fn explained(error: &Failure, log: &Path) -> Failure {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
    Failure(format!("{error}; its log ends:\n{}", tail.join("\n")))
}

/// The command, run so that the kernel kills it when the thread that starts it ends, however that
/// comes: a harness that is killed leaves nothing behind. It is in a process group of its own, so
/// that Ctrl-C reaches the harness alone, which then stops all it has started in order.
fn bound_to_us(command: &Command) -> Command {
    let Some(setpriv) = program("setpriv") else {
        return copy_of(command, Command::new(command.get_program()));
    };
    let mut bound = Command::new(setpriv);
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .process_group(0);
    copy_of(command, bound)
}

/// Arguments, folder and variables of the one for the other, and no other variables.
fn copy_of(command: &Command, mut to: Command) -> Command {
    to.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            to.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        to.current_dir(folder);
    }
    // Programs start others by name: `ip` has to find the one that it is given.
    to.env("PATH", search_path());
    to
}

/// `PATH`, with the folders of what only administrators are expected to run.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Where a program of that name is.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = search_path();
    let mut found = path.split(':').map(|folder| Path::new(folder).join(name));
    found.find(|path| path.is_file())
}
