//! The file layer: everything the log asks of a disk, as two small traits.
//!
//! One implementation is a folder on disk, the other (in tests) a folder in memory that fails,
//! tears and forgets on demand. Nothing in `spoke` touches a file in any other way.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, fadvise, statvfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev};

pub mod sim;

/// A folder of files.
pub trait Files: Send + Sync + 'static {
    /// The names of the files in it.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes a file that does not exist yet, for writing and reading.
    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Opens a file that exists, for writing and reading.
    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>>;
    /// Renames a file over another one, in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; readers that have it open keep it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals survive a power loss.
    fn sync_folder(&self) -> io::Result<()>;
    /// How much room the disk has.
    fn room(&self) -> io::Result<Room>;
}

/// How much room a disk has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What this process may still write.
    pub free: u64,
    /// The size of the whole.
    pub total: u64,
}

/// An open file that is written at its end and read anywhere.
pub trait LogFile: Send + Sync + fmt::Debug {
    /// Writes all slices, one after the other, from `offset` on. After an error any part of them
    /// may have been written.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Fills `buf` from `offset` on, or as much of it as the file has; gives how much.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// As [`Self::read_at`], but only what needs no disk: `None` where it would have to wait.
    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>>;
    /// Makes what was written before survive a power loss.
    fn sync(&self) -> io::Result<()>;
    /// The file's length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file to that length.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Drops what the system keeps of the file in memory, so that the next read shows the disk.
    fn forget_cached(&self) -> io::Result<()>;
}

/// A folder on disk.
#[derive(Debug)]
pub struct DiskFolder {
    path: PathBuf,
    folder: File,
}

impl DiskFolder {
    /// Opens the folder, making it (and those above it) if it does not exist.
    ///
    /// # Errors
    /// Whatever the system says of the path.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self {
            path: path.to_owned(),
            folder: File::open(path)?,
        })
    }
}

impl Files for DiskFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // A name that is no text was not written by the hub.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(DiskFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    fn room(&self) -> io::Result<Room> {
        let stat = statvfs(&self.path)?;
        Ok(Room {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

/// The most slices the system takes in one call.
const SLICES_MAX: usize = 1024;

#[derive(Debug)]
struct DiskFile(File);

impl LogFile for DiskFile {
    fn write_at(&self, slices: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        for chunk in slices.chunks(SLICES_MAX) {
            let mut rest: Vec<&[u8]> = chunk.iter().map(|s| &**s).collect();
            while !rest.is_empty() {
                let vector: Vec<IoSlice<'_>> = rest.iter().map(|s| IoSlice::new(s)).collect();
                let mut written = match pwritev(&self.0, &vector, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => written,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                };
                offset += written as u64;
                // A short write stops inside a slice: go on from there.
                rest.retain_mut(|slice| {
                    let taken = written.min(slice.len());
                    written -= taken;
                    *slice = slice.get(taken..).unwrap_or_default();
                    !slice.is_empty()
                });
            }
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_cached_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let wanted = buf.len();
        let mut slices = [IoSliceMut::new(buf)];
        match preadv2(&self.0, &mut slices, offset, ReadWriteFlags::NOWAIT) {
            // A short count may be the file's end or the cache's: only a waiting read can tell.
            Ok(read) if read == wanted => Ok(Some(read)),
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn forget_cached(&self) -> io::Result<()> {
        fadvise(&self.0, 0, None, Advice::DontNeed)?;
        Ok(())
    }
}

/// Whether an error says that the disk, or this user's share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Reads exactly `length` bytes; an error if the file ends before.
///
/// # Errors
/// What the file says; `UnexpectedEof` where it is too short.
pub fn read_exact(file: &dyn LogFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buf = vec![0; length];
    if file.read_at(&mut buf, offset)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(buf)
}
