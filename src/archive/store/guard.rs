//! Which archive it is. An object in it says so, so that an empty disk mounted in its place, or another
//! bucket, is not taken for an archive without items: what was promised would read as if it had never been,
//! and Spoke would let go of what is nowhere else.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Created, Store, StoreError, Which};

/// The object that says which archive it is, at its root.
pub const MARKER: &str = "hub-archive.json";
/// The version of what it says.
const FORMAT: u32 = 1;

/// What that object says.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    /// A number drawn when the archive was begun, in hex digits.
    archive: String,
    format: u32,
}

/// What is known of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Not which one it is.
    Unknown(String),
    /// It is the one that it must be.
    Right,
    /// It was, and does not answer now.
    Away(String),
    /// It is another one.
    Wrong(String),
}

/// What a look at an archive found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// It is the right one.
    Right,
    /// It does not answer, or it is not known which one it must be.
    Away,
    /// It is another one.
    Wrong,
}

/// Lets requests through to the archive that it must be, and to no other.
#[derive(Debug)]
pub struct Guard {
    raw: Store,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// What the marker must say.
    id: Option<String>,
    standing: Standing,
    /// What told the marker from a copy of it when it was right last.
    stamp: Option<u64>,
    /// The marker's file, where it is one on this machine, as it was then.
    file: Option<FileStamp>,
}

/// What tells a file from another of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    written: (i64, i64),
}

impl FileStamp {
    async fn of(folder: &Path) -> Option<Self> {
        let found = tokio::fs::metadata(folder.join(MARKER)).await.ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            written: (found.mtime(), found.mtime_nsec()),
        })
    }
}

impl Guard {
    /// Lets nothing through to a store until it is known which one it must be, and that it is.
    pub fn new(store: &Store) -> Arc<Self> {
        Arc::new(Self {
            raw: store.clone(),
            known: Mutex::new(Known {
                id: None,
                standing: Standing::Unknown("it was not asked yet".to_owned()),
                stamp: None,
                file: None,
            }),
        })
    }

    /// The number in the marker; `None` if there is no marker.
    ///
    /// # Errors
    /// [`StoreError`]; also if what is there is no marker.
    pub async fn id(&self) -> Result<Option<String>, StoreError> {
        Ok(self.marker().await?.map(|(id, _)| id))
    }

    async fn marker(&self) -> Result<Option<(String, u64)>, StoreError> {
        let Some(part) = self.raw.read(MARKER, Which::All).await? else {
            return Ok(None);
        };
        let marker: Marker =
            serde_json::from_slice(&part.bytes).map_err(|error| unreadable(&error))?;
        Ok(Some((marker.archive, part.stamp)))
    }

    /// Sets a marker with that number where there is none; gives the number that is there now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark(&self, id: &str) -> Result<String, StoreError> {
        if let Some(before) = self.id().await? {
            return Ok(before);
        }
        let marker = Marker {
            archive: id.to_owned(),
            format: FORMAT,
        };
        let text = serde_json::to_vec(&marker).map_err(|error| unreadable(&error))?;
        match self.raw.create(MARKER, Bytes::from(text)).await? {
            Created::Now => Ok(id.to_owned()),
            // Another member has been faster.
            Created::Before => {
                let there = self.id().await?;
                there.ok_or_else(|| unreadable(&"it came and went"))
            }
        }
    }

    /// Says which one it must be.
    pub fn expect(&self, id: String) {
        self.known.lock().id = Some(id);
    }

    /// Notes why it is not known which one it must be.
    pub fn note_unknown(&self, why: String) {
        let mut known = self.known.lock();
        if known.id.is_none() {
            known.standing = Standing::Unknown(why);
        }
    }

    /// Looks which one it is.
    pub async fn look(&self) -> Looked {
        let Some(id) = self.known.lock().id.clone() else {
            return Looked::Away;
        };
        // Before it is read: what comes after is seen as another one.
        let file = match &self.raw.folder {
            Some(folder) => FileStamp::of(folder).await,
            None => None,
        };
        let found = self.marker().await;
        let mut known = self.known.lock();
        let stamp = found
            .as_ref()
            .ok()
            .and_then(|found| Some(found.as_ref()?.1));
        let found = found.map(|found| found.map(|(id, _)| id));
        let next = next(&known.standing, &id, found);
        if next != known.standing {
            match next.trouble() {
                None => tracing::info!("the archive is there, and the one that it must be"),
                Some(trouble) => tracing::warn!("{trouble}"),
            }
            known.standing = next;
        }
        match &known.standing {
            Standing::Right => {
                (known.stamp, known.file) = (stamp, file);
                Looked::Right
            }
            Standing::Unknown(_) | Standing::Away(_) => Looked::Away,
            Standing::Wrong(_) => Looked::Wrong,
        }
    }

    /// Looks again, if it is in a folder of this machine whose marker is not as it was: that costs little.
    pub(super) fn is_still<'a>(&'a self, folder: &'a Path) -> BoxFuture<'a, ()> {
        // The store asks here and is asked from here.
        Box::pin(async move {
            let file = FileStamp::of(folder).await;
            let before = self.known.lock().file;
            if file.is_none() || file != before {
                self.look().await;
            }
        })
    }

    /// What is wrong with the archive, if anything is.
    pub fn trouble(&self) -> Option<String> {
        self.known.lock().standing.trouble()
    }

    /// What tells it from a copy of it; `None` while it is not known to be the right one.
    pub fn stamp(&self) -> Option<u64> {
        let known = self.known.lock();
        let is_right = matches!(known.standing, Standing::Right | Standing::Away(_));
        known.stamp.filter(|_| is_right)
    }

    /// The number that it has; `None` while it is not known to be the right one.
    pub fn right_id(&self) -> Option<String> {
        self.stamp()?;
        self.known.lock().id.clone()
    }

    /// Whether a request may go to it.
    pub(super) fn admits(&self, what: &'static str, name: &str) -> Result<(), StoreError> {
        let known = self.known.lock();
        let reason = match &known.standing {
            // One that does not answer says so itself.
            Standing::Right | Standing::Away(_) => return Ok(()),
            standing @ (Standing::Unknown(_) | Standing::Wrong(_)) => standing.trouble(),
        };
        Err(StoreError {
            what,
            name: name.to_owned(),
            reason: reason.unwrap_or_default(),
            cut_off: false,
        })
    }
}

impl Standing {
    fn trouble(&self) -> Option<String> {
        match self {
            Self::Right => None,
            Self::Unknown(why) => Some(format!("which archive it is is not known yet: {why}")),
            Self::Away(why) => Some(why.clone()),
            Self::Wrong(why) => Some(format!(
                "it is not the archive that this hub writes to: {why}"
            )),
        }
    }
}

/// What is known of an archive that must have a number, once its marker was asked for.
fn next(before: &Standing, id: &str, found: Result<Option<String>, StoreError>) -> Standing {
    match found {
        Ok(Some(there)) if there == id => Standing::Right,
        Ok(Some(there)) => Standing::Wrong(format!(
            "its {MARKER} says {there:?}, and not {id:?}: mount or configure the right one"
        )),
        Ok(None) => Standing::Wrong(format!(
            "it has no {MARKER}: mount or configure the right one; if what it held is lost for good, put \
             {{\"archive\":{id:?},\"format\":{FORMAT}}} there under that name"
        )),
        Err(error) => match before {
            Standing::Unknown(_) => Standing::Unknown(error.to_string()),
            Standing::Right | Standing::Away(_) => Standing::Away(error.to_string()),
            Standing::Wrong(why) => Standing::Wrong(why.clone()),
        },
    }
}

fn unreadable(why: &dyn std::fmt::Display) -> StoreError {
    StoreError {
        what: "read",
        name: MARKER.to_owned(),
        reason: why.to_string(),
        cut_off: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> StoreError {
        unreadable(&"no answer")
    }

    #[test]
    fn what_was_seen_stands_while_it_does_not_answer() {
        let unknown = Standing::Unknown(String::new());
        let right = next(&unknown, "7", Ok(Some("7".to_owned())));
        assert_eq!(right, Standing::Right);
        for found in [None, Some("8".to_owned())] {
            let wrong = next(&right, "7", Ok(found));
            assert!(matches!(wrong, Standing::Wrong(_)));
            assert_eq!(next(&wrong, "7", Err(away())), wrong);
            assert_eq!(next(&wrong, "7", Ok(Some("7".to_owned()))), Standing::Right);
        }
        let gone = next(&right, "7", Err(away()));
        assert!(matches!(gone, Standing::Away(_)));
        assert!(matches!(next(&gone, "7", Err(away())), Standing::Away(_)));
        let still = next(&unknown, "7", Err(away()));
        assert!(matches!(still, Standing::Unknown(_)));
    }

    #[tokio::test]
    async fn nothing_goes_to_another_archive_nor_comes_from_it() {
        let raw = Store::in_memory();
        let guard = Guard::new(&raw);
        let store = raw.guarded(&guard);
        let refused = async || {
            assert!(store.create("a", Bytes::new()).await.is_err());
            assert!(store.replace("a", Bytes::new()).await.is_err());
            assert!(store.upload("a").await.is_err());
            assert!(store.read("a", Which::All).await.is_err());
            assert!(store.names("", "", 10).await.is_err());
            assert!(store.folders("").await.is_err());
            assert!(store.entries("").await.is_err());
            assert!(store.all_names("").await.is_err());
            assert!(store.which(&["a".to_owned()]).await.is_err());
            let error = store.delete(&["a".to_owned()]).await;
            error.expect_err("it is not the right one").to_string()
        };
        assert!(refused().await.contains("not known yet"));

        assert_eq!(guard.mark("7").await.expect("there is none"), "7");
        assert_eq!(guard.mark("8").await.expect("there is one"), "7");
        guard.expect("7".to_owned());
        assert_eq!(guard.look().await, Looked::Right);
        store.create("a", Bytes::new()).await.expect("it is right");

        raw.delete(&[MARKER.to_owned()]).await.expect("it goes");
        assert_eq!(guard.look().await, Looked::Wrong);
        assert!(refused().await.contains("has no hub-archive.json"));
        assert!(raw.read("a", Which::All).await.expect("read").is_some());
        let other = br#"{"archive":"8","format":1}"#;
        raw.replace(MARKER, Bytes::from_static(other))
            .await
            .expect("put");
        assert_eq!(guard.look().await, Looked::Wrong);
        assert_eq!(guard.stamp(), None);
        assert!(refused().await.contains("says \"8\", and not \"7\""));
        let own = br#"{"archive":"7","format":1}"#;
        raw.replace(MARKER, Bytes::from_static(own))
            .await
            .expect("put");
        assert_eq!(guard.look().await, Looked::Right);
        assert_eq!(guard.trouble(), None);
        assert!(store.read("a", Which::All).await.expect("read").is_some());
    }

    /// A mount point is left when its disk goes: what is asked then is not answered from there, from the first
    /// request on.
    #[tokio::test]
    async fn a_folder_that_is_another_one_is_seen_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (archive, aside) = (folder.path().join("archive"), folder.path().join("aside"));
        let raw = Store::in_folder(&archive).expect("it is made");
        let guard = Guard::new(&raw);
        guard.mark("7").await.expect("it is marked");
        guard.expect("7".to_owned());
        guard.look().await;
        let store = raw.guarded(&guard);
        store.create("c/a", Bytes::new()).await.expect("put");
        for request in 0..8 {
            assert!(store.read("c/a", Which::All).await.is_ok());
            std::fs::rename(&archive, &aside).expect("it goes");
            std::fs::create_dir(&archive).expect("an empty one");
            let name = "c/a".to_owned();
            let refused = match request {
                0 => store.read(&name, Which::All).await.err(),
                1 => store.read(&name, Which::Last(9)).await.err(),
                2 => store.which(std::slice::from_ref(&name)).await.err(),
                3 => store.names("c", "c", 10).await.err(),
                4 => store.folders("").await.err(),
                5 => store.create("c/b", Bytes::new()).await.err(),
                6 => store.delete(std::slice::from_ref(&name)).await.err(),
                _ => store.entries("c").await.err(),
            };
            let refused = refused.unwrap_or_else(|| panic!("request {request}"));
            assert!(refused.reason.contains(MARKER), "{request}: {refused}");
            assert_eq!(std::fs::read_dir(&archive).expect("read").count(), 0);
            std::fs::remove_dir(&archive).expect("it goes");
            std::fs::rename(&aside, &archive).expect("it is back");
            assert_eq!(guard.look().await, Looked::Right);
        }
    }
}
