//! A walk along the items of several channels at once: one merged order, one stable bound.
//!
//! Each channel has a cursor with a few keys ahead, and the nearest of them all comes next (a k-way
//! merge: Knuth, "The Art of Computer Programming" 3, §5.4.1). So however many channels there are, no
//! more is held than some keys of each. The stable bound is the lowest of all channels', taken when
//! the walk begins: an item above it could be followed by one below it in another channel.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::read::{Epoch, Page, Query, QueryError, Reads};
use super::registry::Channel;
use crate::env::Millis;
use crate::item::{Frontier, ItemKey};
use crate::spoke::Direction;

/// How many channels are asked at a time.
const ASKED: usize = 32;
/// The fewest and the most keys that are fetched of a channel at a time.
const KEYS: (usize, usize) = (4, 2000);
/// About how many keys a walk holds at the most, of all its channels together.
const KEYS_HELD: usize = 100_000;

/// Where a walk begins, and what it takes in.
#[derive(Debug, Clone)]
pub struct WalkQuery {
    /// The lowest key.
    pub from: ItemKey,
    /// The first key above the range; `None`: as far as there is anything.
    pub to: Option<ItemKey>,
    /// Which way to walk.
    pub direction: Direction,
    /// Whether only stable items are wanted.
    pub stable: bool,
    /// Which side of channels' mutable times.
    pub epoch: Epoch,
    /// About how many items are wanted; it may go on.
    pub wanted: usize,
    /// Where several channels have an item at the key that the walk begins behind: the channel of
    /// that one item, in lower case. The order is by key, and then by channel.
    pub behind: Option<String>,
}

/// Why a walk did not go on.
#[derive(Debug)]
pub struct WalkError {
    /// The channel.
    pub channel: String,
    /// What is wrong with it.
    pub error: QueryError,
}

/// A walk.
pub struct Walk {
    reads: Arc<Reads>,
    cursors: Vec<Cursor>,
    nearest: Nearest,
    /// The cursor whose key was given last, and which has not moved on yet.
    moved: Option<usize>,
    stable: Option<Frontier>,
}

struct Cursor {
    channel: Arc<Channel>,
    query: Query,
    keys: VecDeque<ItemKey>,
    more: bool,
    /// The most keys that are fetched at a time.
    most: usize,
}

/// The next key of each cursor: the one that is nearest comes first.
enum Nearest {
    Ascending(BinaryHeap<Reverse<(ItemKey, usize)>>),
    Descending(BinaryHeap<(ItemKey, usize)>),
}

impl Nearest {
    fn push(&mut self, next: (ItemKey, usize)) {
        match self {
            Self::Ascending(heap) => heap.push(Reverse(next)),
            Self::Descending(heap) => heap.push(next),
        }
    }

    fn pop(&mut self) -> Option<(ItemKey, usize)> {
        match self {
            Self::Ascending(heap) => heap.pop().map(|Reverse(next)| next),
            Self::Descending(heap) => heap.pop(),
        }
    }

    fn peek(&self) -> Option<ItemKey> {
        match self {
            Self::Ascending(heap) => heap.peek().map(|Reverse((key, _))| *key),
            Self::Descending(heap) => heap.peek().map(|(key, _)| *key),
        }
    }
}

impl Cursor {
    fn take(&mut self, page: Page) {
        if let Some(last) = page.keys.last() {
            match self.query.direction {
                Direction::Ascending => self.query.from = last.successor(),
                Direction::Descending => self.query.to = Some(*last),
            }
        }
        self.more = page.more && !page.keys.is_empty();
        self.keys = page.keys.into();
        self.query.limit = (self.query.limit * 4).min(self.most);
    }

    fn wrong(&self, error: QueryError) -> WalkError {
        WalkError {
            channel: self.channel.config.name.as_str().to_owned(),
            error,
        }
    }
}

/// The range of a channel in a walk that begins behind an item of another one, or of its own.
fn range_of(query: &WalkQuery, name: &str) -> (ItemKey, Option<ItemKey>) {
    let (mut from, mut to) = (query.from, query.to);
    if let Some(behind) = &query.behind {
        match query.direction {
            // The item's own key counts only in the channels that come after its own.
            Direction::Ascending if name <= behind.as_str() => from = from.successor(),
            Direction::Descending if name < behind.as_str() => to = to.map(|to| to.successor()),
            _ => {}
        }
    }
    (from, to)
}

impl Walk {
    /// Begins a walk along those channels. `query.from` (or, descending, `query.to`) is the item's key
    /// itself where the walk begins behind one of several.
    ///
    /// # Errors
    /// [`WalkError`] if one of the channels cannot be asked.
    pub async fn begin(
        reads: Arc<Reads>,
        mut channels: Vec<Arc<Channel>>,
        query: &WalkQuery,
    ) -> Result<Self, WalkError> {
        channels.sort_by(|a, b| a.config.name.key().cmp(b.config.name.key()));
        let share = query.wanted.div_ceil(channels.len().max(1)) * 2;
        let most = (KEYS_HELD / channels.len().max(1)).clamp(KEYS.0, KEYS.1);
        let cursor_of = |channel: Arc<Channel>| {
            let (from, to) = range_of(query, channel.config.name.key());
            let query = Query {
                from,
                to,
                direction: query.direction,
                limit: share.clamp(KEYS.0, most).min(query.wanted.max(1) + 1),
                stable: query.stable,
                epoch: query.epoch,
                whole: false,
                records: false,
            };
            Cursor {
                channel,
                query,
                keys: VecDeque::new(),
                more: false,
                most,
            }
        };
        let cursors: Vec<Cursor> = channels.into_iter().map(cursor_of).collect();
        let asked_through = Arc::clone(&reads);
        let asking = stream::iter(cursors).map(move |mut cursor| {
            let reads = Arc::clone(&asked_through);
            async move {
                let page = reads.page(&cursor.channel, &cursor.query).await;
                let page = page.map_err(|error| cursor.wrong(error))?;
                let stable = page.stable;
                cursor.take(page);
                Ok((cursor, stable))
            }
        });
        let asked: Vec<_> = asking.buffered(ASKED).try_collect().await?;
        let stable = asked.iter().filter_map(|(_, stable)| *stable).min();
        let mut walk = Self {
            reads,
            cursors: asked.into_iter().map(|(cursor, _)| cursor).collect(),
            nearest: match query.direction {
                Direction::Ascending => Nearest::Ascending(BinaryHeap::new()),
                Direction::Descending => Nearest::Descending(BinaryHeap::new()),
            },
            moved: None,
            stable,
        };
        if let Some(stable) = walk.stable {
            // What follows is stable up to there, by whichever replicas: they are waited for until they
            // know it, or what they do not list would be missing between what others do.
            for cursor in &mut walk.cursors {
                let end = stable.end();
                cursor.query.to = Some(cursor.query.to.map_or(end, |to| to.min(end)));
                cursor.query.whole = true;
            }
        }
        for at in 0..walk.cursors.len() {
            walk.go_on(at).await?;
        }
        Ok(walk)
    }

    /// Up to where all channels were stable when the walk began; `None` if that was not asked.
    pub fn stable(&self) -> Option<Frontier> {
        self.stable
    }

    /// The next item: its channel and its key; `None` at the end.
    ///
    /// # Errors
    /// [`WalkError`].
    pub async fn next(&mut self) -> Result<Option<(Arc<Channel>, ItemKey)>, WalkError> {
        loop {
            self.catch_up().await?;
            let Some((key, at)) = self.nearest.pop() else {
                return Ok(None);
            };
            self.moved = Some(at);
            if self.stable.is_none_or(|stable| stable.covers(&key)) {
                let channel = self.cursors.get(at).map(|cursor| &cursor.channel);
                return Ok(channel.map(|channel| (Arc::clone(channel), key)));
            }
            // What is not stable in the order of all of them ends a walk upwards.
            if matches!(self.nearest, Nearest::Ascending(_)) {
                self.nearest = Nearest::Ascending(BinaryHeap::new());
                self.moved = None;
                return Ok(None);
            }
        }
    }

    /// The key of the next item, if there is one.
    ///
    /// # Errors
    /// [`WalkError`].
    pub async fn peek(&mut self) -> Result<Option<ItemKey>, WalkError> {
        self.catch_up().await?;
        let next = self.nearest.peek();
        Ok(next.filter(|key| self.stable.is_none_or(|stable| stable.covers(key))))
    }

    async fn catch_up(&mut self) -> Result<(), WalkError> {
        match self.moved.take() {
            Some(at) => self.go_on(at).await,
            None => Ok(()),
        }
    }

    /// Takes up a cursor's next key, and fetches more of them where none is left.
    async fn go_on(&mut self, at: usize) -> Result<(), WalkError> {
        let Some(cursor) = self.cursors.get_mut(at) else {
            return Ok(());
        };
        while cursor.keys.is_empty() && cursor.more {
            let page = self.reads.page(&cursor.channel, &cursor.query).await;
            let page = page.map_err(|error| cursor.wrong(error))?;
            cursor.take(page);
        }
        if let Some(key) = cursor.keys.pop_front() {
            self.nearest.push((key, at));
        }
        Ok(())
    }
}

impl Reads {
    /// Up to where all of those channels are stable now; `None` if there are none.
    ///
    /// # Errors
    /// [`WalkError`].
    pub async fn stable_time_of(
        self: Arc<Self>,
        channels: Vec<Arc<Channel>>,
    ) -> Result<Option<Millis>, WalkError> {
        let asking = stream::iter(channels).map(move |channel| {
            let reads = Arc::clone(&self);
            async move {
                let stable = reads.stable_time(&channel).await;
                stable.map_err(|error| WalkError {
                    channel: channel.config.name.as_str().to_owned(),
                    error,
                })
            }
        });
        let times: Vec<Millis> = asking.buffer_unordered(ASKED).try_collect().await?;
        Ok(times.into_iter().min())
    }
}
