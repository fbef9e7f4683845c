//! The calls of the file layer, on a folder in memory.

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::disk::{Change, Content};
use super::{Call, FileId, InFlight, Naming, SimFolder, Trouble, broken, full, gone};
use crate::env::{Random as _, SeededRandom};
use crate::spoke::files::{Files, LogFile, Room};

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
pub(super) struct SimFile {
    folder: SimFolder,
    id: FileId,
    name: String,
}

impl SimFile {
    pub(super) fn new(folder: SimFolder, id: FileId, name: String) -> Self {
        Self { folder, id, name }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("name", &self.name)
            .finish_non_exhaustive()
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
        if let Some(trouble) = trouble {
            let random = SeededRandom::new(state.random.next_u64());
            state.content(self.id)?.lose(&random);
            return Err(match trouble {
                Trouble::NoSpace(_) => full(),
                _ => broken(),
            });
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
