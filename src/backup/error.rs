//! Why a backup was not made, read or restored.

use thiserror::Error;

use super::document::Unfit;
use crate::archive::store::{OpenError, StoreError};
use crate::cluster::CoordinationError;

/// Why a backup was not made, read or restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The place of the backups is none.
    #[error("the backup place {url}: {reason}")]
    NoPlace {
        /// Its URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The archive is none.
    #[error("the archive {url}: {reason}")]
    NoArchive {
        /// Its URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The place did not do what it was asked for.
    #[error("the backup place did not {} {}: {}", .0.what, .0.name, .0.reason)]
    Place(StoreError),
    /// The archive did not.
    #[error(transparent)]
    Archive(StoreError),
    /// Coordination did not.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// The backup is not what was written.
    #[error("the backup is damaged: {}", first(.0))]
    Damaged(Vec<Damage>),
    /// Objects of the archive are not what was written.
    #[error("the archive is damaged: {}", first(.0))]
    ArchiveDamaged(Vec<Damage>),
    /// An object went on changing while it was looked at.
    #[error("{folder} went on changing while it was copied")]
    Unsettled {
        /// Where it is.
        folder: String,
    },
    /// There is no such backup.
    #[error("{reason}")]
    NoBackup {
        /// Which one was looked for, and what there is.
        reason: String,
    },
    /// Somebody else works on the place.
    #[error("{reason}")]
    Busy {
        /// Who, and what to do.
        reason: String,
    },
    /// The hub to restore into is not empty.
    #[error("nothing was restored: {reason}")]
    NotEmpty {
        /// What it holds.
        reason: String,
    },
    /// What the archive holds is not what the backup needs.
    #[error("{reason}")]
    Refused {
        /// Why not.
        reason: String,
    },
    /// Something could not be written or read as it is stored.
    #[error("{what}: {unfit}")]
    Unfit {
        /// What.
        what: String,
        /// Why not.
        unfit: Unfit,
    },
    /// This machine did not do its part.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Something that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What it is called where it is.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// So many are named.
const NAMED: usize = 20;

fn first(damages: &[Damage]) -> String {
    let named = damages.iter().take(NAMED);
    let mut text: Vec<String> = named
        .map(|damage| format!("{}: {}", damage.name, damage.reason))
        .collect();
    if damages.len() > NAMED {
        text.push(format!("and {} more", damages.len() - NAMED));
    }
    text.join("; ")
}

impl BackupError {
    /// One thing of the backup that is not what was written.
    pub(super) fn damaged(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged(vec![Damage {
            name: name.into(),
            reason: reason.into(),
        }])
    }

    pub(super) fn no_place(url: &str, error: &OpenError) -> Self {
        Self::NoPlace {
            url: url.to_owned(),
            reason: reason_of(error),
        }
    }

    pub(crate) fn no_archive(url: &str, error: &OpenError) -> Self {
        Self::NoArchive {
            url: url.to_owned(),
            reason: reason_of(error),
        }
    }

    pub(super) fn unfit(what: impl Into<String>) -> impl FnOnce(Unfit) -> Self {
        let what = what.into();
        move |unfit| Self::Unfit { what, unfit }
    }

    pub(super) fn machine(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source }
    }
}

fn reason_of(error: &OpenError) -> String {
    match error {
        OpenError::Url { reason, .. } => reason.clone(),
        other @ OpenError::Folder { .. } => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_damages_are_counted() {
        let one = |number: usize| Damage {
            name: format!("objects/{number}"),
            reason: "it is missing".to_owned(),
        };
        let told = BackupError::Damaged(vec![one(1)]).to_string();
        assert_eq!(told, "the backup is damaged: objects/1: it is missing");
        let told = BackupError::Damaged((0..30).map(one).collect()).to_string();
        assert!(
            told.ends_with("objects/19: it is missing; and 10 more"),
            "{told}"
        );
    }
}
