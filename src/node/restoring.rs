//! The hub that a configuration describes, as a restore finds it: nothing of it may run.

use std::sync::Arc;

use super::NodeError;
use super::joining::{embedded, zookeeper};
use super::settings::{archive_store, archive_url};
use crate::archive::store::Store;
use crate::backup::Target;
use crate::cluster::DataFolder;
use crate::config::Config;
use crate::env::{HubClock, clock_source};

/// What the data folder of a hub that has not run may hold.
const ALLOWED: [&str; 5] = [
    "VERSION",
    "LOCK",
    "coordination.redb",
    // What a restore that was killed has left of it.
    "coordination.tmp",
    "archive",
];

/// A hub that is to be restored into.
pub struct EmptyHub {
    /// Its coordination and its archive.
    pub target: Target,
    /// The data folder of a hub that is alone: no other process has it.
    _folder: Option<DataFolder>,
}

impl EmptyHub {
    /// Opens what the hub's members agree through, and its archive.
    ///
    /// # Errors
    /// [`NodeError`]; in particular [`NodeError::NotEmpty`] if a hub has run in the data folder.
    pub async fn open(config: &Config) -> Result<Self, NodeError> {
        let clock = Arc::new(HubClock::start(clock_source()));
        let (coordination, folder) = if let Some(coordination) = zookeeper(config, &clock)? {
            (coordination, None)
        } else {
            let folder = DataFolder::open(&config.node.data_dir)?;
            look_into(&folder)?;
            (embedded(&folder, &clock).await?, Some(folder))
        };
        // As the hub has it, once it runs.
        let local = config.node.data_dir.join("archive");
        let (archive, _) = archive_store(config, &local)?.ok_or(NodeError::NoArchive)?;
        let target = Target {
            coordination,
            archive,
            archive_url: archive_url(config, &local).unwrap_or_default(),
        };
        Ok(Self {
            target,
            _folder: folder,
        })
    }

    /// Gives all of it back, so that a hub can start there; its archive can still be read.
    pub fn close(self) -> Store {
        self.target.archive
    }
}

/// Looks whether a hub has run there.
fn look_into(folder: &DataFolder) -> Result<(), NodeError> {
    let path = folder.path().to_owned();
    let wrong = |source| NodeError::Folder {
        path: path.clone(),
        source,
    };
    for entry in std::fs::read_dir(&path).map_err(wrong)? {
        let name = entry.map_err(wrong)?.file_name();
        if !ALLOWED.iter().any(|allowed| name == *allowed) {
            return Err(NodeError::NotEmpty {
                path: path.join(name),
            });
        }
    }
    Ok(())
}
