//! The data folder of a node, and who the node is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use hub_ring::{Member, MemberError};
use redb::{Database, ReadableDatabase as _, TableDefinition};
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use crate::env::Random;

/// The version of the folder's layout.
const LAYOUT: &str = "1";
const IDENTITY: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("identity");

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The disk did not answer.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the data folder {path} is in use by process {pid}", path = path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process that has it, as far as it has said.
        pid: String,
    },
    /// It was laid out by a later version.
    #[error("the data folder {path} has layout {found:?}; this version knows {LAYOUT:?}", path = path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// Its database cannot be read.
    #[error("{path}: {reason}", path = path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// The node's name cannot be one.
    #[error("node.fqdn: {0}")]
    Name(#[from] MemberError),
    /// The folder is another member's.
    #[error(
        "the data folder belongs to member {found}, but node.fqdn is {configured}: \
         use {found}, or another folder"
    )]
    OtherMember {
        /// Whose it is.
        found: Member,
        /// Who was to use it.
        configured: Member,
    },
}

/// The data folder, held by this process.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    // The lock goes when the file is closed, however the process ends.
    _lock: File,
}

impl DataFolder {
    /// Opens the folder, making it if there is none, and locks it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| IdentityError::Io { path, source }
        };
        std::fs::create_dir_all(path).map_err(io(path))?;
        let lock_path = path.join("LOCK");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(io(&lock_path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            // Whoever holds it may not have written its number yet.
            let _ = lock.read_to_string(&mut pid);
            return Err(IdentityError::Locked {
                path: path.to_owned(),
                pid: pid.trim().to_owned(),
            });
        }
        let write_pid = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        if let Err(error) = write_pid {
            // Only the message to a second process is poorer for it; a full disk must not matter.
            tracing::debug!(%error, "the lock file does not name this process");
        }
        check_layout(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The path of something in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn check_layout(folder: &Path) -> Result<(), IdentityError> {
    let path = folder.join("VERSION");
    let io = |source| IdentityError::Io {
        path: path.clone(),
        source,
    };
    match std::fs::read_to_string(&path) {
        Ok(found) if found.trim() == LAYOUT => Ok(()),
        Ok(found) if !found.trim().is_empty() => Err(IdentityError::Layout {
            path: folder.to_owned(),
            found: found.trim().to_owned(),
        }),
        // Empty: a first start that was cut off here.
        Ok(_) => std::fs::write(&path, LAYOUT).map_err(io),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::write(&path, LAYOUT).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

/// Who this node is. It is decided at the first start and stays with the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its name in the cluster.
    pub member: Member,
    /// Its store, by a number drawn at the first start.
    pub store: u128,
}

impl Identity {
    /// Reads who the node is, or decides it. Waits for the disk.
    ///
    /// `configured` is `node.fqdn`, where it is set; `host` is the host's own name, which a new
    /// folder takes and an old one need not match: a laptop changes its name with its network.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn load(
        folder: &DataFolder,
        configured: Option<&str>,
        host: &str,
        random: &dyn Random,
    ) -> Result<Self, IdentityError> {
        let path = folder.join("node.redb");
        let broken = |error: String| IdentityError::Database {
            path: path.clone(),
            reason: error,
        };
        let db = Database::create(&path).map_err(|e| broken(e.to_string()))?;
        let configured = configured.map(Member::new).transpose()?;
        if let Some(found) = read(&db).map_err(broken)? {
            return match configured {
                Some(name) if name != found.member => Err(IdentityError::OtherMember {
                    found: found.member,
                    configured: name,
                }),
                _ => Ok(found),
            };
        }
        let member = match configured {
            Some(member) => member,
            None => Member::new(host)?,
        };
        let identity = Self {
            member,
            store: random.next_u128(),
        };
        write(&db, &identity).map_err(broken)?;
        Ok(identity)
    }
}

fn read(db: &Database) -> Result<Option<Identity>, String> {
    let read = db.begin_read().map_err(|e| e.to_string())?;
    let table = match read.open_table(IDENTITY) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let get = |key: &str| {
        let row = table.get(key).map_err(|e| e.to_string())?;
        let row = row.ok_or(format!("{key} is missing"))?;
        Ok::<_, String>(row.value().to_vec())
    };
    let name = String::from_utf8(get("member")?).map_err(|e| e.to_string())?;
    let store = get("store")?;
    let store = store.try_into().map_err(|_| "store is malformed")?;
    Ok(Some(Identity {
        member: Member::new(&name).map_err(|e| e.to_string())?,
        store: u128::from_le_bytes(store),
    }))
}

fn write(db: &Database, identity: &Identity) -> Result<(), String> {
    let txn = db.begin_write().map_err(|e| e.to_string())?;
    {
        let mut table = txn.open_table(IDENTITY).map_err(|e| e.to_string())?;
        let rows = [
            ("member", identity.member.as_str().as_bytes()),
            ("store", &identity.store.to_le_bytes()),
        ];
        for (key, value) in rows {
            table.insert(key, value).map_err(|e| e.to_string())?;
        }
    }
    txn.commit().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededRandom;

    #[test]
    fn a_folder_keeps_its_member_and_store() {
        let temp = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(temp.path()).unwrap();
        let random = SeededRandom::new(1);
        let load = |name, host| Identity::load(&folder, name, host, &random);
        let first = load(None, "laptop").unwrap();
        assert_eq!(first.member.as_str(), "laptop");
        assert_eq!(load(None, "laptop.cafe").unwrap(), first);
        assert_eq!(load(Some("laptop"), "x").unwrap(), first);
        let other = load(Some("other"), "x");
        assert!(matches!(other, Err(IdentityError::OtherMember { .. })));
    }

    #[test]
    fn a_second_process_is_told_who_has_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let _held = DataFolder::open(temp.path()).unwrap();
        let error = DataFolder::open(temp.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }

    #[test]
    fn a_later_layout_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("VERSION"), "2\n").unwrap();
        let error = DataFolder::open(temp.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Layout { .. }), "{error}");
    }
}
