//! A folder in memory that fails, tears and forgets on demand.
//!
//! It keeps apart what a reader sees, what is on disk for sure, and what is on its way there, for
//! contents and for names, so that a test can ask what a process would find after this one was
//! killed, or after the power went. What is random follows from a seed.

mod disk;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use self::disk::{Change, Content, below, one_in};
use super::{Files, LogFile, Room};
use crate::env::{Random, SeededRandom};

/// What the store asks of a folder or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Files::list`].
    List,
    /// [`Files::create`].
    Create,
    /// [`Files::open`].
    Open,
    /// [`Files::rename`].
    Rename,
    /// [`Files::remove`].
    Remove,
    /// [`Files::sync_folder`].
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
    /// With an I/O error, and nothing was done. A sync that fails loses what it was to sync: later
    /// reads still show it, and later syncs succeed.
    Error,
    /// A write gets that far, and then fails with an I/O error.
    Short(usize),
    /// A write gets that far, and then the disk is full.
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

impl SimFolder {
    /// An empty folder on a disk without end.
    pub fn new(seed: u64) -> Arc<Self> {
        Self::of(State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            namings: Vec::new(),
            files: HashMap::new(),
            next_id: 0,
            random: SeededRandom::new(seed),
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
        })
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

    /// Waits until a call waits.
    pub fn wait_held(&self) {
        let mut state = self.state();
        while state.waiting == 0 {
            self.state.1.wait(&mut state);
        }
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
            random,
            faults: Vec::new(),
            chaos: None,
            free: state.free,
            total: state.total,
            cold: false,
            counts: HashMap::new(),
            changes: 0,
            stop_at: None,
            stopped: false,
            in_flight: None,
            held: None,
            waiting: 0,
            releases: 0,
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
        Arc::new(SimFile {
            folder: Self {
                state: Arc::clone(&self.state),
            },
            id,
            name: name.to_owned(),
        })
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

impl Files for SimFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let (state, trouble) = self.begin(Call::List, "")?;
        match trouble {
            Some(_) => Err(broken()),
            None => Ok(state.names.keys().cloned().collect()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut made = 0;
        self.name(Call::Create, name, |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.next_id += 1;
            made = state.next_id;
            state.files.insert(made, Content::default());
            Ok(Naming::Set(name.to_owned(), made))
        })?;
        Ok(self.file(made, name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let (state, trouble) = self.begin(Call::Open, name)?;
        if trouble.is_some() {
            return Err(broken());
        }
        let id = state.names.get(name).copied();
        let id = id.ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(self.file(id, name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name(Call::Rename, from, |state| {
            let id = state.names.get(from).copied();
            let id = id.ok_or(io::ErrorKind::NotFound)?;
            Ok(Naming::Move(from.to_owned(), to.to_owned(), id))
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.name(Call::Remove, name, |state| {
            let id = state.names.get(name).copied();
            let id = id.ok_or(io::ErrorKind::NotFound)?;
            let length = state.content(id)?.cached.len() as u64;
            state.free += length;
            Ok(Naming::Unset(name.to_owned()))
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        let (mut state, trouble) = self.begin(Call::SyncFolder, "")?;
        if state.ends() {
            return Err(gone());
        }
        if trouble.is_some() {
            return Err(broken());
        }
        for naming in std::mem::take(&mut state.namings) {
            naming.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn room(&self) -> io::Result<Room> {
        let state = self.state();
        Ok(Room {
            free: state.free,
            total: state.total,
        })
    }
}

/// An open file.
struct SimFile {
    folder: SimFolder,
    id: FileId,
    name: String,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("name", &self.name).finish()
    }
}

impl LogFile for SimFile {
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let (mut state, trouble) = self.folder.begin(Call::Write, &self.name)?;
        let at = offset as usize;
        if state.ends() {
            state.in_flight = Some(InFlight::Change(self.id, Change::Write(at, bytes)));
            return Err(gone());
        }
        let mut outcome = Ok(());
        match trouble {
            Some(Trouble::Error) => return Err(broken()),
            Some(Trouble::Short(written)) => {
                bytes.truncate(written);
                outcome = Err(broken());
            }
            Some(Trouble::NoSpace(written)) => {
                bytes.truncate(written);
                outcome = Err(full());
            }
            None => {}
        }
        let before = state.content(self.id)?.cached.len();
        let room = usize::try_from(state.free).unwrap_or(usize::MAX);
        if (at + bytes.len()).saturating_sub(before) > room {
            bytes.truncate((before + room).saturating_sub(at));
            outcome = Err(full());
        }
        state.free -= (at + bytes.len()).saturating_sub(before) as u64;
        state.content(self.id)?.change(Change::Write(at, bytes));
        outcome
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut state, trouble) = self.folder.begin(Call::Read, &self.name)?;
        if trouble.is_some() {
            return Err(broken());
        }
        let bytes = &state.content(self.id)?.cached;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..read), rest.get(..read)) {
            to.copy_from_slice(from);
        }
        Ok(read)
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        if self.folder.state().cold {
            return Ok(None);
        }
        let read = self.read_at(buf, offset)?;
        Ok((read == buf.len()).then_some(read))
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, trouble) = self.folder.begin(Call::Sync, &self.name)?;
        if state.ends() {
            return Err(gone());
        }
        if trouble.is_some() {
            let random = SeededRandom::new(state.random.next_u64());
            state.content(self.id)?.lose(&random);
            return Err(broken());
        }
        state.content(self.id)?.sync();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.folder.state().content(self.id)?.cached.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let (mut state, trouble) = self.folder.begin(Call::Truncate, &self.name)?;
        let change = Change::Truncate(length as usize);
        if state.ends() {
            state.in_flight = Some(InFlight::Change(self.id, change));
            return Err(gone());
        }
        if trouble.is_some() {
            return Err(broken());
        }
        let content = state.content(self.id)?;
        let freed = (content.cached.len() as u64).saturating_sub(length);
        content.change(change);
        state.free += freed;
        Ok(())
    }

    fn forget_cached(&self) -> io::Result<()> {
        self.folder.state().content(self.id)?.forget_cached();
        Ok(())
    }
}
