//! A folder in memory that fails, tears and forgets on demand.
//!
//! It keeps apart what a reader sees, what is on disk for sure, and what is on its way there, for
//! contents and for names, so that a test can ask what a process would find after this one was
//! killed, or after the power went. What is random follows from a seed.

mod calls;
mod disk;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use self::calls::SimFile;
use self::disk::{Change, Content, below, one_in};
use super::LogFile;
use crate::env::SeededRandom;

/// What the store asks of a folder or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Files::list`](crate::spoke::Files::list).
    List,
    /// [`Files::create`](crate::spoke::Files::create).
    Create,
    /// [`Files::open`](crate::spoke::Files::open).
    Open,
    /// [`Files::rename`](crate::spoke::Files::rename).
    Rename,
    /// [`Files::remove`](crate::spoke::Files::remove).
    Remove,
    /// [`Files::sync_folder`](crate::spoke::Files::sync_folder).
    SyncFolder,
    /// [`LogFile::write_at`].
    Write,
    /// [`LogFile::read_at`] and [`LogFile::read_cached_at`].
    Read,
    /// [`LogFile::sync`].
    Sync,
    /// [`LogFile::truncate`].
    Truncate,
}

impl Call {
    /// Whether it changes anything: only such calls count for [`SimFolder::stop_at`].
    fn changes(self) -> bool {
        !matches!(self, Self::List | Self::Open | Self::Read)
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// With an I/O error, and nothing was done. A sync that fails, with whatever error, loses what
    /// it was to sync: later reads still show it, and later syncs succeed.
    Error,
    /// A write gets that far, and then fails with an I/O error.
    Short(usize),
    /// A write gets that far, and then the disk is full; other calls do nothing and say so.
    NoSpace(usize),
}

/// A fault to come: the call of that kind, on a file whose name ends so, after `after` others.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which call.
    pub call: Call,
    /// How the file's name ends; empty for any.
    pub ending: &'static str,
    /// How many such calls still succeed.
    pub after: u64,
    /// How it fails.
    pub trouble: Trouble,
}

/// What ends a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// It is killed: the system has what was written, and part of the write in flight.
    Kill,
    /// The power goes: the disk has what was synced, and any part of the rest.
    PowerLoss,
}

/// A file, whatever its names.
type FileId = u64;

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
enum Naming {
    Set(String, FileId),
    Move(String, String, FileId),
    Unset(String),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Set(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Move(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
            Self::Unset(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum InFlight {
    Change(FileId, Change),
    Naming(Naming),
}

#[derive(Debug)]
struct State {
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    namings: Vec<Naming>,
    files: HashMap<FileId, Content>,
    next_id: FileId,
    random: SeededRandom,
    faults: Vec<Fault>,
    /// Every write, sync, truncation and creation fails once in so many times.
    chaos: Option<usize>,
    free: u64,
    total: u64,
    cold: bool,
    counts: HashMap<(Call, String), u64>,
    changes: u64,
    stop_at: Option<u64>,
    stopped: bool,
    in_flight: Option<InFlight>,
    held: Option<(Call, &'static str)>,
    waiting: usize,
    /// Counts the times that those who waited were let go.
    releases: u64,
}

/// A folder in memory.
pub struct SimFolder {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl fmt::Debug for SimFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFolder").finish_non_exhaustive()
    }
}

impl State {
    /// Of an empty folder on a disk without end, to which nothing is to happen.
    fn empty(random: SeededRandom) -> Self {
        Self {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            namings: Vec::new(),
            files: HashMap::new(),
            next_id: 0,
            random,
            faults: Vec::new(),
            chaos: None,
            free: 1 << 40,
            total: 1 << 41,
            cold: false,
            counts: HashMap::new(),
            changes: 0,
            stop_at: None,
            stopped: false,
            in_flight: None,
            held: None,
            waiting: 0,
            releases: 0,
        }
    }
}

impl SimFolder {
    /// An empty folder on a disk without end.
    pub fn new(seed: u64) -> Arc<Self> {
        Self::of(State::empty(SeededRandom::new(seed)))
    }

    fn of(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::new((Mutex::new(state), Condvar::new())),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock()
    }

    /// Plans a fault.
    pub fn fail(&self, call: Call, ending: &'static str, after: u64, trouble: Trouble) {
        self.state().faults.push(Fault {
            call,
            ending,
            after,
            trouble,
        });
    }

    /// From now on every write, sync, truncation and creation fails once in so many times; never
    /// again with `None`.
    pub fn chaos(&self, one_in: Option<usize>) {
        self.state().chaos = one_in;
    }

    /// Forgets the faults that were planned.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.chaos = None;
    }

    /// Sets how much room is left, of how much.
    pub fn set_room(&self, free: u64, total: u64) {
        let mut state = self.state();
        (state.free, state.total) = (free, total);
    }

    /// Whether reads that may not wait find nothing in memory.
    pub fn set_cold(&self, cold: bool) {
        self.state().cold = cold;
    }

    /// The process ends at the call that is the `nth` from now to change anything: that one is in
    /// flight, and it and all later ones fail.
    pub fn stop_at(&self, nth: u64) {
        let mut state = self.state();
        state.stop_at = Some(state.changes + nth);
    }

    /// Whether the process has ended.
    pub fn stopped(&self) -> bool {
        self.state().stopped
    }

    /// Calls of that kind, on files whose name ends so, wait for [`Self::release`].
    pub fn hold(&self, call: Call, ending: &'static str) {
        self.state().held = Some((call, ending));
    }

    /// Waits until a call waits; gives whether one does, after a time that is enough for any
    /// machine.
    #[must_use]
    pub fn wait_held(&self) -> bool {
        let mut state = self.state();
        let calls = |state: &mut State| state.waiting == 0;
        let patience = Duration::from_secs(20);
        self.state.1.wait_while_for(&mut state, calls, patience);
        state.waiting > 0
    }

    /// Holds no further calls; those that wait go on waiting.
    pub fn hold_no_more(&self) {
        self.state().held = None;
    }

    /// Lets the calls that wait go on, and holds no further ones.
    pub fn release(&self) {
        let mut state = self.state();
        state.held = None;
        state.releases += 1;
        self.state.1.notify_all();
    }

    /// How many calls of that kind there were on files whose name ends so.
    pub fn calls(&self, call: Call, ending: &str) -> u64 {
        let state = self.state();
        let counts = state.counts.iter();
        let of = counts.filter(|((kind, name), _)| *kind == call && name.ends_with(ending));
        of.map(|(_, count)| count).sum()
    }

    /// How many calls changed anything.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// What a reader sees in a file; nothing if there is none.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        let content = state.names.get(name).and_then(|id| state.files.get(id));
        content.map(|c| c.cached.clone()).unwrap_or_default()
    }

    /// Makes a file of these bytes, or replaces one, on disk at once.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        state.next_id += 1;
        let id = state.next_id;
        let content = Content {
            cached: bytes.clone(),
            disk: bytes,
            dirty: Vec::new(),
        };
        state.files.insert(id, content);
        state.names.insert(name.to_owned(), id);
        state.durable_names.insert(name.to_owned(), id);
    }

    /// The names that end so.
    pub fn names(&self, ending: &str) -> Vec<String> {
        let state = self.state();
        let names = state.names.keys().filter(|name| name.ends_with(ending));
        names.cloned().collect()
    }

    /// A folder as the next process finds it if this one ends so, now or where it was stopped.
    /// Planned faults are forgotten; this folder is left as it is.
    pub fn crash(&self, crash: Crash, seed: u64) -> Arc<Self> {
        let state = self.state();
        let random = SeededRandom::new(seed);
        let mut names = state.names.clone();
        let mut durable_names = state.durable_names.clone();
        let mut namings = state.namings.clone();
        let mut files = state.files.clone();
        match &state.in_flight {
            Some(InFlight::Change(id, change)) => {
                if let (Some(change), Some(content)) = (part_of(change, &random), files.get_mut(id))
                {
                    content.change(change);
                }
            }
            Some(InFlight::Naming(naming)) if one_in(&random, 2) => {
                naming.apply(&mut names);
                namings.push(naming.clone());
            }
            Some(InFlight::Naming(_)) | None => {}
        }
        if crash == Crash::PowerLoss {
            for naming in namings.drain(..) {
                if one_in(&random, 2) {
                    naming.apply(&mut durable_names);
                }
            }
            names.clone_from(&durable_names);
            // In the order of their ids, so that the seed alone decides.
            let mut ids: Vec<FileId> = files.keys().copied().collect();
            ids.sort_unstable();
            for id in ids {
                let content = files.entry(id).or_default();
                content.disk = content.after_power_loss(&random);
                content.cached.clone_from(&content.disk);
                content.dirty.clear();
            }
        }
        let (next, dur) = (&names, &durable_names);
        files.retain(|id, _| next.values().chain(dur.values()).any(|named| named == id));
        Self::of(State {
            names,
            durable_names,
            namings,
            files,
            next_id: state.next_id,
            free: state.free,
            total: state.total,
            ..State::empty(random)
        })
    }

    /// Begins a call: counts it, lets it wait, and says how it is to fail.
    fn begin(
        &self,
        call: Call,
        name: &str,
    ) -> io::Result<(MutexGuard<'_, State>, Option<Trouble>)> {
        let mut state = self.state();
        *state.counts.entry((call, name.to_owned())).or_default() += 1;
        let held = state.held;
        if held.is_some_and(|(held, ending)| held == call && name.ends_with(ending)) {
            let releases = state.releases;
            state.waiting += 1;
            self.state.1.notify_all();
            while state.releases == releases {
                self.state.1.wait(&mut state);
            }
            state.waiting -= 1;
        }
        if call.changes() {
            if state.stopped {
                return Err(gone());
            }
            state.changes += 1;
        }
        let trouble = state.trouble(call, name);
        Ok((state, trouble))
    }

    /// Changes names, unless the call fails or the process ends with it.
    fn name(
        &self,
        call: Call,
        name: &str,
        change: impl FnOnce(&mut State) -> io::Result<Naming>,
    ) -> io::Result<()> {
        let (mut state, trouble) = self.begin(call, name)?;
        match trouble {
            Some(Trouble::NoSpace(_)) => return Err(full()),
            Some(_) => return Err(broken()),
            None => {}
        }
        let naming = change(&mut state)?;
        if state.ends() {
            state.in_flight = Some(InFlight::Naming(naming));
            return Err(gone());
        }
        naming.apply(&mut state.names);
        state.namings.push(naming);
        Ok(())
    }

    fn file(&self, id: FileId, name: &str) -> Arc<dyn LogFile> {
        let folder = Self {
            state: Arc::clone(&self.state),
        };
        Arc::new(SimFile::new(folder, id, name.to_owned()))
    }
}

impl State {
    fn trouble(&mut self, call: Call, name: &str) -> Option<Trouble> {
        let mut due = None;
        for (at, fault) in self.faults.iter_mut().enumerate() {
            if fault.call == call && name.ends_with(fault.ending) {
                match fault.after.checked_sub(1) {
                    Some(left) => fault.after = left,
                    None => due = Some(at),
                }
            }
        }
        if let Some(at) = due {
            // A fault happens once.
            return Some(self.faults.remove(at).trouble);
        }
        let prone = matches!(
            call,
            Call::Write | Call::Sync | Call::Truncate | Call::Create
        );
        match self.chaos.filter(|_| prone) {
            Some(times) if one_in(&self.random, times) => Some(match below(&self.random, 4) {
                0 => Trouble::Short(below(&self.random, 4096)),
                1 => Trouble::NoSpace(below(&self.random, 4096)),
                _ => Trouble::Error,
            }),
            _ => None,
        }
    }

    /// Whether the process ends with the call that is under way.
    fn ends(&mut self) -> bool {
        self.stopped |= self.stop_at.is_some_and(|at| self.changes >= at);
        self.stopped
    }

    fn content(&mut self, id: FileId) -> io::Result<&mut Content> {
        let content = self.files.get_mut(&id);
        content.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// What a write or truncation in flight may have got to.
fn part_of(change: &Change, random: &SeededRandom) -> Option<Change> {
    match change {
        Change::Write(offset, bytes) => {
            let length = below(random, bytes.len() + 1);
            let part = bytes.get(..length).unwrap_or_default();
            (length > 0).then(|| Change::Write(*offset, part.to_vec()))
        }
        Change::Truncate(length) => one_in(random, 2).then_some(Change::Truncate(*length)),
    }
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())
}

fn gone() -> io::Error {
    io::Error::other("the process has ended")
}
