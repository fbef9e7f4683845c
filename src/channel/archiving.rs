//! Archiving: what this node holds of minutes that are over goes to the archive.
//!
//! What is archived is what a stable read gives for the whole minute, so whoever writes it writes the
//! same. The first live member of the channel's replica set does; the others look whether it is there
//! and whether it is what they read, and write it themselves if it does not come. A node goes on to
//! the next time once everything that it holds of this one was found in the archive, and keeps on
//! disk how far it has come: nothing waits in memory, and a start goes on where the last run stopped.

mod book;
mod hours;
mod minute;
mod progress;
mod sending;
mod single;
mod source;
mod sweeping;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

use self::book::Book;
pub use self::progress::Storing;
use self::progress::{Due, Progress};
use self::sending::Bounds;
use self::source::Source;
pub use self::sweeping::Sweep;
use self::sweeping::Swept;
use super::read::{QueryError, Reads};
use super::registry::{Channel, ChannelError, Channels};
use super::spoke_handle::LocalReplica;
use super::write::Writes;
use crate::archive::name::{hour_len, minute_len};
use crate::archive::object::{Damaged, Index};
use crate::archive::stats::{self, Survey};
use crate::archive::store::{Looked, Store, StoreError};
use crate::cluster::RingView;
use crate::env::{HubClock, Millis, replace_file};
use crate::spoke::{Archived, ChannelId, ReadError};

/// Channels that are archived at the same time: each has up to 8 MiB of an object in memory.
const AT_ONCE: usize = 32;

/// Why a channel's minute is not in the archive, as far as this node knows.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// What belongs there could not be read.
    #[error("its items could not be read: {0}")]
    Query(#[from] QueryError),
    /// What this node holds could not be looked up.
    #[error("this node's items could not be read: {0}")]
    Read(#[from] ReadError),
    /// The archive did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object was not made.
    #[error("an object could not be made: {0}")]
    Object(#[from] io::Error),
    /// It is not known which channels there are, or how they are.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// An object is there and is not what was written.
    #[error("{name}: {damaged}")]
    Damaged {
        /// The object.
        name: String,
        /// What is wrong with it.
        damaged: Damaged,
    },
    /// An object is there, and holds other items than a stable read gives.
    #[error("{name} differs from what the replicas hold: {difference}")]
    Differs {
        /// The object.
        name: String,
        /// In which way.
        difference: String,
    },
}

/// The numbers that archiving goes by.
#[derive(Debug, Clone)]
pub struct ArchiveSettings {
    /// How long a minute is over before it is archived, in milliseconds.
    pub settle: i64,
    /// How long after that one that its writer has not archived is written by another, in milliseconds.
    pub takeover: i64,
    /// The most requests to the archive in a second; `None`: as many as there are to make.
    pub requests_per_second: Option<NonZeroU32>,
    /// The file that says how far this node has come, and in which archive.
    pub mark: PathBuf,
    /// The file that says how far it has come with hours.
    pub rolled: PathBuf,
    /// How long minutes stay once they are in the object of their hour.
    pub rollup_pause: Duration,
    /// How long a channel must have been unknown before its objects go.
    pub deleted_pause: Duration,
    /// From that size on, in bytes, an item has an object of its own, to which its minute's points.
    pub large_item: u64,
    /// The archive's URL.
    pub url: String,
}

/// What an archiver works with.
pub struct ArchiverParts {
    /// The rings.
    pub view: Arc<RingView>,
    /// This node's replica.
    pub local: Arc<LocalReplica>,
    /// The channels.
    pub channels: Arc<Channels>,
    /// The read path: what it gives is archived.
    pub reads: Arc<Reads>,
    /// The write path, which knows who is first in a replica set.
    pub writes: Arc<Writes>,
    /// The clock.
    pub clock: Arc<HubClock>,
}

/// Sees to it that what this node holds is in the archive.
pub struct Archiver {
    source: Arc<dyn Source>,
    store: Store,
    settings: ArchiveSettings,
    bounds: Bounds,
    /// The archive that what was kept on disk is about: what tells it from a copy of it.
    of: Mutex<Option<u64>>,
    progress: Arc<Mutex<Progress>>,
    book: Mutex<Book>,
    swept: Mutex<Swept>,
    /// How far it has come, as it is kept on disk.
    kept: AtomicI64,
    /// Held by whoever writes the file.
    keeping: tokio::sync::Mutex<()>,
    /// Whether it was said that the archive is on this machine and the cluster is not.
    warned: AtomicBool,
}

/// How far it has come.
#[derive(Debug, Clone)]
pub struct State {
    /// Everything that this node held of the time before is in the archive.
    pub archived_to: Millis,
    /// Why what comes next is not, if that was tried and is not just being waited for.
    pub obstacle: Option<String>,
    /// How many channels are behind the others.
    pub lagging: usize,
    /// Up to where the minutes of hours are put together.
    pub rolled_to: Millis,
    /// Why those of the next hour are not, if that was tried.
    pub rollup_obstacle: Option<String>,
    /// What is odd about it, though it may be meant so.
    pub advice: Option<String>,
}

impl Archiver {
    /// An archiver that goes on from what its file says.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn new(parts: ArchiverParts, store: &Store, settings: ArchiveSettings) -> io::Result<Self> {
        Self::of(Arc::new(parts), store, settings)
    }

    fn of(source: Arc<dyn Source>, store: &Store, settings: ArchiveSettings) -> io::Result<Self> {
        let mark = read_mark(&settings.mark, &settings.url)?;
        let (archived_to, of) = mark.map_or((None, None), |(mark, of)| (Some(mark), of));
        let rolled = read_mark(&settings.rolled, &settings.url)?;
        let rolled_to = rolled.map(|(mark, _)| mark);
        let marked = archived_to.unwrap_or(Millis::new(0));
        let book = Book::new(rolled_to, marked);
        let store = match settings.requests_per_second {
            Some(most) => store.paced(most),
            None => store.clone(),
        };
        Ok(Self {
            source,
            store,
            settings,
            bounds: Bounds::default(),
            of: Mutex::new(of),
            progress: Arc::new(Mutex::new(Progress::new(marked))),
            book: Mutex::new(book),
            swept: Mutex::default(),
            kept: AtomicI64::new(marked.get()),
            keeping: tokio::sync::Mutex::default(),
            warned: AtomicBool::new(false),
        })
    }

    /// Up to where everything that this node held is in the archive. Costs nothing.
    pub fn archived_to(&self) -> Millis {
        Millis::new(self.kept.load(Ordering::Acquire))
    }

    /// Whether what counts as archived is in the archive that is there, as far as one can say.
    pub fn is_where_it_was(&self) -> bool {
        let stamp = self.store.stamp();
        stamp.is_some() && *self.of.lock() == stamp
    }

    /// What the archive says of itself; `None` while it is not known to be the right one.
    pub fn archive_id(&self) -> Option<String> {
        self.store.id()
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        let advice = self.advice().or_else(|| self.unaccounted());
        let (rolled_to, rollup_obstacle) = {
            let book = self.book.lock();
            (book.kept(), book.obstacle())
        };
        let progress = self.progress.lock();
        State {
            rolled_to,
            rollup_obstacle,
            archived_to: self.archived_to(),
            obstacle: match self.store.stamp() {
                None => self.store.trouble(),
                Some(_) => progress.obstacle().or_else(|| self.store.trouble()),
            },
            lagging: progress.lagging(),
            advice,
        }
    }

    /// Where the archive is.
    pub fn url(&self) -> &str {
        &self.settings.url
    }

    /// What the archive holds of a channel, or of all of them: a request for each thousand objects.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn survey(&self, channel: Option<ChannelId>) -> Result<Survey, StoreError> {
        stats::survey(&self.store, channel).await
    }

    /// How many items it holds of a channel, at a request or so for each object; `None` if they are too many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn items(&self, channel: ChannelId) -> Result<Option<u64>, StoreError> {
        stats::items(&self.store, channel).await
    }

    /// What is odd about an archive in a folder of one machine that several share.
    fn advice(&self) -> Option<String> {
        let members = self.source.members();
        let is_local = self.settings.url.starts_with("file:");
        (is_local && members > 1).then(|| {
            let url = &self.settings.url;
            format!(
                "{url} is a folder of this machine: is it the same one for all {members} members?"
            )
        })
    }

    /// To be called before something is stored of a time that may have been archived already: what is
    /// stored while the answer is held is looked for in the archive before anything of its time counts as
    /// archived. Costs a look if that does not count yet, else a write of a small file.
    ///
    /// # Errors
    /// If that was not kept on disk: what was to be stored must not be.
    pub async fn lower(&self, channel: ChannelId, at: Millis) -> io::Result<Storing> {
        let minute = at.floor_to(minute_len());
        let storing = Storing::begin(&self.progress, channel, minute);
        if self.progress.lock().marked() > minute {
            self.keep(Keep::Lower).await?;
        }
        Ok(storing)
    }

    /// Archives what is over, hour by hour; what something stands in the way of is tried again another
    /// time.
    ///
    /// # Errors
    /// If how far it has come was not kept.
    pub async fn archive(&self) -> Result<(), ArchiveError> {
        if let Some(advice) = self.advice()
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("archive.url: {advice}");
        }
        if !self.is_known_archive().await? {
            return Ok(());
        }
        // What is past the horizon is not known by anybody here.
        let now = self.source.now().min(self.source.horizon());
        let end = now.minus(self.settings.settle).floor_to(minute_len());
        loop {
            let mut from = {
                let mut progress = self.progress.lock();
                progress.look_to(end);
                progress.ahead()
            };
            if from >= end {
                from = end;
            } else if end.get() - from.get() > hour_len() {
                // Far behind, as at the first start: what holds nothing is passed over.
                from = self.first_held(from, end).await;
            }
            let to = from.floor_to(hour_len()).plus(hour_len()).min(end);
            self.archive_to(from, to).await;
            self.progress.lock().came_to(to);
            // What was written and found may have been in another archive, since the last look.
            match self.store.look().await {
                Looked::Right if self.is_where_it_was() => self.keep(Keep::Raise).await?,
                Looked::Away => {}
                Looked::Right | Looked::Wrong => {
                    self.progress.lock().go_back(self.archived_to());
                    return Ok(());
                }
            }
            if to >= end {
                return Ok(());
            }
        }
    }

    /// Whether it is known which archive is there. What counts as archived begins anew where it is not the
    /// one that this is about: a copy of it may lack what came last, or everything.
    async fn is_known_archive(&self) -> io::Result<bool> {
        let Some(stamp) = self.store.stamp() else {
            return Ok(false);
        };
        if *self.of.lock() == Some(stamp) {
            return Ok(true);
        }
        let _turn = self.keeping.lock().await;
        let (mark, before) = (self.settings.mark.clone(), self.archived_to());
        let removed = tokio::task::spawn_blocking(move || remove_file(&mark)).await;
        removed.map_err(io::Error::other)??;
        if before > Millis::new(0) {
            tracing::warn!(%before, "it is another archive than the one before, or a copy of it: what is here is looked for in it");
        }
        self.progress.lock().begin_anew();
        self.kept.store(0, Ordering::Release);
        *self.of.lock() = Some(stamp);
        Ok(true)
    }

    /// The first minute between two times of which this node holds anything; `to` if it holds nothing. Channels
    /// that cannot be looked up stay behind by themselves.
    async fn first_held(&self, from: Millis, to: Millis) -> Millis {
        let mut first = to;
        for channel in self.source.channels() {
            match self.source.next_held(channel.id, from, to).await {
                Ok(held) => first = held.unwrap_or(to).min(first),
                Err(error) => {
                    let name = channel.config.name.as_str();
                    let obstacle = format!("{name}: {}", ArchiveError::from(error));
                    let mut progress = self.progress.lock();
                    progress.stay_behind(channel.id, from, obstacle, Instant::now());
                }
            }
        }
        first
    }

    /// Archives each channel up to there: from where it was left, or from `from` on.
    async fn archive_to(&self, from: Millis, to: Millis) {
        let channels = self.source.channels();
        let channels: HashMap<ChannelId, Arc<Channel>> = channels
            .into_iter()
            .map(|channel| (channel.id, channel))
            .collect();
        let ids = channels.keys().copied();
        let mut due = self.progress.lock().due(ids, from, Instant::now());
        // Those furthest behind first: they hold back the mark.
        due.sort_by_key(|(id, due)| (due.from, *id));
        let archiving =
            stream::iter(due).for_each_concurrent(AT_ONCE, async |(id, due): (_, Due)| {
                let Some(channel) = channels.get(&id) else {
                    return;
                };
                let archived = self.archive_channel(channel, due, to).await;
                self.progress.lock().note(id, archived, to, Instant::now());
            });
        archiving.await;
    }

    /// An object's index; `None` if there is no such object.
    async fn index(&self, name: &str) -> Result<Option<Index>, ArchiveError> {
        let damaged = |damaged| ArchiveError::Damaged {
            name: name.to_owned(),
            damaged,
        };
        let found = crate::archive::reader::index(&self.store, name).await?;
        found.transpose().map_err(damaged)
    }

    /// Keeps on disk how far it has come, if that is more than before, or less.
    async fn keep(&self, which: Keep) -> io::Result<()> {
        let _turn = self.keeping.lock().await;
        let reached = {
            let mut progress = self.progress.lock();
            let (reached, marked) = (progress.reached(), progress.marked());
            let is_due = match which {
                Keep::Raise => reached > self.archived_to(),
                Keep::Lower => reached < marked,
            };
            if !is_due {
                return Ok(());
            }
            if which == Keep::Raise {
                // Who stores something from now on sees that it is on its way there.
                progress.set_marked(reached);
            }
            reached
        };
        let of = *self.of.lock();
        keep_file(&self.settings.mark, reached, &self.settings.url, of).await?;
        self.progress.lock().set_marked(reached);
        self.kept.store(reached.get(), Ordering::Release);
        Ok(())
    }
}

#[async_trait]
impl Archived for Archiver {
    async fn late(&self, channel: ChannelId, at: Millis) -> io::Result<Box<dyn Send>> {
        Ok(Box::new(self.lower(channel, at).await?))
    }
}

/// Which way a mark goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Up: all of it is in the archive by now.
    Raise,
    /// Down: something is about to be stored below.
    Lower,
}

/// How far the last run had come, and in what; `None` if the archive was at another place, or there was none.
fn read_mark(path: &Path, url: &str) -> io::Result<Option<(Millis, Option<u64>)>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mut lines = text.lines();
            let (mark, at, of) = (lines.next(), lines.next(), lines.next());
            // What is in another archive is not in this one.
            let Some(mark) = mark.filter(|_| at == Some(url)) else {
                return Ok(None);
            };
            let mark = Millis::parse_iso(mark).map_err(io::Error::other)?;
            let of = of.and_then(|of| u64::from_str_radix(of, 16).ok());
            Ok(Some((mark, of)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps on disk how far this run has come, and in which archive.
async fn keep_file(path: &Path, mark: Millis, url: &str, of: Option<u64>) -> io::Result<()> {
    let mark = mark.iso();
    let text = match of {
        Some(of) => format!("{mark}\n{url}\n{of:016x}\n"),
        None => format!("{mark}\n{url}\n"),
    };
    let path = path.to_owned();
    let kept = tokio::task::spawn_blocking(move || replace_file(&path, text.as_bytes())).await;
    kept.map_err(io::Error::other)?
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
