//! Folders that go with what they are for, or stay.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::failure::Outcome;

/// A folder for the files of a process or of a cluster.
#[derive(Debug)]
pub enum Folder {
    /// It goes with its owner, unless a test failed.
    Temporary(Option<TempDir>),
    /// It stays.
    Lasting(PathBuf),
}

impl Folder {
    /// A new one that goes with its owner.
    ///
    /// # Errors
    /// [`crate::failure::Failure`] if there cannot be one.
    pub fn temporary(prefix: &str) -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir()?;
        Ok(Self::Temporary(Some(folder)))
    }

    /// That one, which is made if it is not there.
    ///
    /// # Errors
    /// [`crate::failure::Failure`] if it cannot be made.
    pub fn lasting(path: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self::Lasting(path.canonicalize()?))
    }

    /// A folder in it, which lasts as long as it does.
    ///
    /// # Errors
    /// [`crate::failure::Failure`] if it cannot be made.
    pub fn within(&self, name: &str) -> Outcome<Self> {
        Self::lasting(&self.path().join(name))
    }

    /// It stays, for somebody to look at; gives where.
    pub fn keep(&mut self) -> &Path {
        if let Self::Temporary(folder) = self
            && let Some(folder) = folder.take()
        {
            *self = Self::Lasting(folder.keep());
        }
        self.path()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.as_ref().map_or(Path::new("."), TempDir::path),
            Self::Lasting(path) => path,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if matches!(self, Self::Temporary(Some(_))) && std::thread::panicking() {
            let _ = File::create(self.keep().join("KEPT-BECAUSE-A-TEST-FAILED"));
        }
    }
}
