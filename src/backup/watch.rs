//! A node's look at the place where its hub's backups are: so that metrics tell when the last one was made.
//!
//! Backups are made by a command, which is gone when it is done, and perhaps on another machine. What counts is
//! what is there.

use std::time::Duration;

use super::document::Document;
use super::error::BackupError;
use super::place::Place;
use crate::env::Millis;
use crate::metric::Backup;

/// How a place looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The newest backup that can be read.
    pub newest: Option<Document>,
    /// How many there are.
    pub count: usize,
    /// How many of them cannot be read.
    pub damaged: usize,
}

/// Looks at a place; documents are read from the newest one on, until one can be.
///
/// # Errors
/// [`BackupError::Place`].
pub async fn look_at(place: &Place) -> Result<Standing, BackupError> {
    let ids = place.ids().await?;
    let mut standing = Standing {
        newest: None,
        count: ids.len(),
        damaged: 0,
    };
    for id in ids.iter().rev() {
        match place.document(id).await {
            Ok(document) => {
                standing.newest = Some(document);
                break;
            }
            Err(BackupError::Damaged(damages)) => {
                standing.damaged += 1;
                for damage in damages {
                    tracing::error!(name = %damage.name, reason = %damage.reason, "a backup is damaged");
                }
            }
            // It was removed meanwhile.
            Err(BackupError::NoBackup { .. }) => standing.count -= 1,
            Err(error) => return Err(error),
        }
    }
    Ok(standing)
}

fn told(newest: &Document) -> Backup {
    let seconds = |at: Millis| at.get() as f64 / 1000.0;
    Backup {
        ended: seconds(newest.ended),
        complete_to: seconds(newest.complete_to()),
        objects: newest.totals.objects,
        items: newest.totals.items,
        bytes: newest.totals.bytes,
        left_out: newest.left_out.len() as u64,
    }
}

/// Looks at a place every so often, for as long as the node runs; without one it waits that long.
pub async fn watch(place: Option<Place>, period: Duration) {
    let Some(place) = place else {
        return std::future::pending().await;
    };
    loop {
        match look_at(&place).await {
            Ok(standing) => {
                let newest = standing.newest.as_ref().map(told);
                crate::metric::backups(standing.count, standing.damaged, newest.as_ref());
            }
            Err(error) => {
                tracing::warn!(%error, "the backups could not be looked at");
                crate::metric::backups_not_seen();
            }
        }
        tokio::time::sleep(period).await;
    }
}
