//! Why a node does not run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::archive::store::OpenError as ArchiveOpenError;
use crate::backup::BackupError;
use crate::channel::ChannelError;
use crate::cluster::{ClusterError, CoordinationError, IdentityError};
use crate::ops::AdminTokenError;
use crate::peer::{PeerClientError, SecretError};
use crate::spoke::OpenError;

/// Why a node does not run.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Its data folder cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A listener cannot be opened.
    #[error(
        "{setting} {address}: {source}; is another hub running? Set {setting} to a free address"
    )]
    Listen {
        /// The setting.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("tls: {reason}")]
    Tls {
        /// What is wrong.
        reason: String,
    },
    /// Coordination did not start.
    #[error("coordination: {0}")]
    Coordination(#[from] CoordinationError),
    /// It cannot take part in the cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The secret of the cluster cannot be used.
    #[error("cluster.secret_file: {0}")]
    Secret(#[from] SecretError),
    /// The admin token cannot be used.
    #[error("ops.admin_token_file: {0}")]
    AdminToken(#[from] AdminTokenError),
    /// Other members cannot be asked.
    #[error(transparent)]
    Peers(#[from] PeerClientError),
    /// The archive's store cannot be asked.
    #[error(transparent)]
    Archive(#[from] ArchiveOpenError),
    /// How far archiving has come cannot be read.
    #[error("{}: {source}", path.display())]
    ArchiveMark {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The backups cannot be looked at.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// A hub has run where one is to be restored.
    #[error("nothing was restored: the data folder is not empty: it has {}", path.display())]
    NotEmpty {
        /// What is there.
        path: PathBuf,
    },
    /// A hub without an archive cannot be restored.
    #[error("nothing was restored: the new hub has no archive; set archive.url")]
    NoArchive,
    /// It would serve half of a hub.
    #[error(
        "the hub is being restored, and that is not done: {what}; run `hub backup restore` again"
    )]
    Restoring {
        /// What is being restored.
        what: String,
    },
    /// Other members would not find it.
    #[error("this host is called localhost, by which other nodes do not find it: set node.fqdn")]
    Localhost,
    /// The channels could not be read.
    #[error(transparent)]
    Channels(#[from] ChannelError),
    /// The store did not open.
    #[error("the store: {0}")]
    Store(#[from] OpenError),
    /// The folder of the store cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has its name.
    #[error(
        "a later run of this member ({by}) has registered, so this one has stopped; \
         is another hub running with the same node.fqdn?"
    )]
    Superseded {
        /// The number of that run.
        by: u64,
    },
    /// Something inside ended that should not have.
    #[error("{what} ended: please report it")]
    Ended {
        /// What it was.
        what: &'static str,
    },
}
