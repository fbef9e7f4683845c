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
    /// The newest backup with items that can be read.
    pub newest: Option<Document>,
    /// How many there are.
    pub count: usize,
    /// How many of those that are newer than it cannot be read.
    pub damaged: usize,
}

/// Looks at a place; documents are read from the newest one on, until one with items can be: the others do
/// not replace an archive.
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
            Ok(document) if document.with_items => {
                standing.newest = Some(document);
                break;
            }
            Ok(_) => {}
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
        complete_to: newest.complete_to().map(seconds),
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

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::super::document::tests::document_of;
    use super::*;
    use crate::archive::store::Store;

    #[tokio::test]
    async fn the_newest_with_items_counts_and_what_is_gone_does_not() {
        let place = Place::on(Store::in_memory(), "memory");
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let look = async || {
            let standing = look_at(&place).await.unwrap();
            let newest = standing.newest.as_ref().map(told);
            metrics::with_local_recorder(&recorder, || {
                crate::metric::backups(standing.count, standing.damaged, newest.as_ref());
            });
            let text = handle.render();
            move |name: &str| {
                let lines = text.lines().filter(|line| !line.starts_with('#'));
                let mut fields = lines.filter_map(|line| line.split_once(' '));
                let found = fields.find(|(named, _)| *named == name);
                found.map(|(_, value)| value.to_owned())
            }
        };
        let ended = "hub_backup_last_success_timestamp_seconds";
        let complete = "hub_backup_complete_to_timestamp_seconds";
        let nothing = Some("NaN".to_owned());
        let value = |text: &str| Some(text.to_owned());

        let seen = look().await;
        assert_eq!(
            (seen(ended), seen("hub_backup_with_items")),
            (nothing.clone(), value("0"))
        );
        let document = |id, at: i64, with_items| {
            let mut document = document_of(id, Millis::new(at), with_items);
            document.ended = Millis::new(at);
            document
        };
        place
            .put_document(&document("a", 1000, true))
            .await
            .unwrap();
        place
            .put_document(&document("b", 9000, false))
            .await
            .unwrap();
        let seen = look().await;
        assert_eq!((seen(ended), seen(complete)), (value("1"), value("1")));
        assert_eq!(seen("hub_backup_backups_count"), value("2"));
        assert_eq!(
            (seen("hub_backup_bytes"), seen("hub_backup_with_items")),
            (value("3"), value("1"))
        );

        // Nobody said how far the archive was.
        let mut unknown = document("c", 10_000, true);
        unknown.archived_to = None;
        place.put_document(&unknown).await.unwrap();
        let seen = look().await;
        assert_eq!(
            (seen(ended), seen(complete)),
            (value("10"), nothing.clone())
        );

        place
            .remove_documents(&["a".to_owned(), "c".to_owned()])
            .await
            .unwrap();
        let seen = look().await;
        let gone = [
            ended,
            complete,
            "hub_backup_bytes",
            "hub_backup_left_out_objects",
        ];
        assert_eq!(
            gone.map(seen),
            [const { None::<()> }; 4].map(|_| nothing.clone())
        );
    }
}
