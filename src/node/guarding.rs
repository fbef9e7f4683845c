//! Which archive the hub writes to: what the members agree on, and looking whether it still is that one.

use std::sync::Arc;
use std::time::Duration;

use crate::archive::store::{Guard, Looked};
use crate::cluster::{ArchiveNote, Coordination};
use crate::env::Random;

/// How often an archive that is as it must be is looked at: each look is a request.
const OFTEN: Duration = Duration::from_secs(10);
/// How often one that is not.
const SOON: Duration = Duration::from_secs(1);
/// How long a start waits to know which archive it is: it goes on without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks after an archive.
pub(super) struct Guarding {
    guard: Arc<Guard>,
    coordination: Arc<dyn Coordination>,
    /// Where the archive is, as it is configured.
    url: String,
    /// The number of a new one.
    fresh: String,
}

impl Guarding {
    pub(super) fn new(
        guard: Arc<Guard>,
        coordination: Arc<dyn Coordination>,
        url: String,
        random: &dyn Random,
    ) -> Self {
        let fresh = format!("{:032x}", random.next_u128());
        Self {
            guard,
            coordination,
            url,
            fresh,
        }
    }

    /// Finds out which archive it must be, and goes on looking whether it is. Returns once that is known, or
    /// after a while: an archive that is away holds up no start.
    pub(super) async fn start(self) {
        let known = tokio::time::timeout(PATIENCE, self.settle()).await;
        let is_known = matches!(known, Ok(true));
        tokio::spawn(self.go_on(is_known));
    }

    async fn go_on(self, known: bool) {
        let mut known = known;
        let mut right = known;
        loop {
            tokio::time::sleep(if right { OFTEN } else { SOON }).await;
            if !known {
                known = self.settle().await;
            }
            right = self.guard.look().await == Looked::Right;
        }
    }

    /// Learns which archive it must be, and looks whether it is; says whether that is known. One that is
    /// configured anew is the one that is there.
    async fn settle(&self) -> bool {
        match self.learn().await {
            Ok(id) => {
                self.guard.expect(id);
                self.guard.look().await;
                true
            }
            Err(why) => {
                self.guard.note_unknown(why);
                false
            }
        }
    }

    async fn learn(&self) -> Result<String, String> {
        let noted = self.coordination.archive().await;
        let noted = noted.map_err(|error| error.to_string())?;
        if let Some(note) = noted.filter(|note| note.url == self.url) {
            return Ok(note.id);
        }
        let marked = self.guard.mark(&self.fresh).await;
        let id = marked.map_err(|error| error.to_string())?;
        // After the marker is there: a note without it would say that it is another archive.
        let note = ArchiveNote {
            url: self.url.clone(),
            id: id.clone(),
        };
        let set = self.coordination.set_archive(note).await;
        set.map_err(|error| error.to_string())?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::store::{MARKER, Store};
    use crate::cluster::EmbeddedCoordination;
    use crate::env::{HubClock, ManualClock, Millis, OsRandom};

    async fn guarded(
        raw: &Store,
        coordination: &Arc<EmbeddedCoordination>,
        url: &str,
    ) -> (Store, Option<String>) {
        let guard = Guard::new(raw);
        let guarding = Guarding::new(
            Arc::clone(&guard),
            Arc::clone(coordination) as Arc<dyn Coordination>,
            url.to_owned(),
            &OsRandom,
        );
        assert!(guarding.settle().await);
        (raw.guarded(&guard), guard.trouble())
    }

    #[tokio::test]
    async fn an_archive_that_was_noted_must_be_that_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(HubClock::start(ManualClock::new(Millis::new(0))));
        let path = folder.path().join("coordination");
        let opened = EmbeddedCoordination::open(&path, clock).expect("it opens");
        let coordination = Arc::new(opened);
        let (first, empty) = (Store::in_memory(), Store::in_memory());

        let (_, trouble) = guarded(&first, &coordination, "s3://a").await;
        assert_eq!(trouble, None);
        let noted = coordination.archive().await.expect("read");
        let noted = noted.expect("it is noted");
        // Once more, and with an empty one in its place.
        let (_, trouble) = guarded(&first, &coordination, "s3://a").await;
        assert_eq!(trouble, None);
        let (_, trouble) = guarded(&empty, &coordination, "s3://a").await;
        assert!(trouble.is_some_and(|why| why.contains(MARKER)));
        // Nothing was put there, nor noted.
        assert!(
            empty
                .names("", "", 9)
                .await
                .expect("names")
                .names
                .is_empty()
        );
        assert_eq!(coordination.archive().await, Ok(Some(noted.clone())));
        // One that is configured is taken.
        let (_, trouble) = guarded(&empty, &coordination, "s3://b").await;
        assert_eq!(trouble, None);
        assert_ne!(coordination.archive().await, Ok(Some(noted)));
    }
}
