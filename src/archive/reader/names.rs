//! Which objects there are, as far as that is known without asking.
//!
//! Whoever walks through a channel asks for the same names again and again, page after page. So the last
//! listing of a channel is remembered, for a moment, and only up to the last object in it: what may come
//! behind that one is asked for each time.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use super::super::name::{self, Object, hour_len};
use super::super::store::{Found, Store, StoreError};
use crate::env::Millis;
use crate::spoke::ChannelId;

/// How long a listing is remembered, and the longest that its request may have taken. Twice that is less
/// than what is archived stays in Spoke for the sake of those who have listed it before.
pub(super) const MOMENT: Duration = Duration::from_secs(3);
/// As many names as a store gives at a time.
const PAGE: usize = 1000;

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct There {
    /// Which.
    pub(super) object: Object,
    /// Its name.
    pub(super) name: String,
    /// Its length in bytes.
    pub(super) size: u64,
    /// What tells it from another of that name.
    pub(super) stamp: u64,
}

impl There {
    /// An object of a channel; `None` if it is none.
    fn of(channel: ChannelId, found: Found) -> Option<Self> {
        let (of, object) = Object::parse(&found.name).ok()?;
        (of == channel).then_some(Self {
            object,
            name: found.name,
            size: found.size,
            stamp: found.stamp,
        })
    }
}

/// The objects that come after a place, in order.
#[derive(Debug, Clone)]
pub(super) struct Page {
    after: String,
    pub(super) there: Arc<[There]>,
    /// The name that the listing ends with, which may be of none that is known here.
    pub(super) last: Option<String>,
    /// Whether there may be more.
    pub(super) more: bool,
}

impl Page {
    /// Whether it says what there is up to that place.
    pub(super) fn reaches(&self, place: &str) -> bool {
        !self.more || self.last.as_deref().is_some_and(|last| last >= place)
    }

    /// Up to where it goes on being right for a moment.
    fn stands_to(&self, channel: ChannelId) -> Option<String> {
        let last = self.there.last()?;
        Some(match last.object {
            // Where an hour's object is no other matters.
            Object::Hour(start) if start.plus(hour_len()) > start => {
                name::before(channel, start.plus(hour_len()))
            }
            _ => last.name.clone(),
        })
    }

    fn weight(&self) -> u32 {
        let names: usize = self.there.iter().map(|there| there.name.len()).sum();
        u32::try_from(names + self.there.len() * size_of::<There>()).unwrap_or(u32::MAX)
    }
}

/// Lists names.
#[derive(Debug)]
pub(super) struct Names {
    store: Arc<Store>,
    /// How many names are asked for at a time.
    pub(super) most: usize,
    recent: Cache<ChannelId, (String, Page)>,
    moment: Duration,
}

impl Names {
    /// Names of a store; some of them are remembered for a moment, up to so many bytes.
    pub(super) fn new(store: Arc<Store>, bytes: u64, moment: Duration) -> Self {
        let recent = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, (_, page): &(String, Page)| page.weight())
            .time_to_live(moment)
            .build();
        Self {
            store,
            most: PAGE,
            recent,
            moment,
        }
    }

    /// The first objects after a place in a folder of a channel. Where none of them can have changed
    /// lately, as `settled` says, they are remembered.
    pub(super) async fn page(
        &self,
        channel: ChannelId,
        folder: &str,
        after: &str,
        settled: bool,
    ) -> Result<Page, StoreError> {
        let began = Instant::now();
        let listed = self.store.objects(folder, after, self.most).await?;
        // It is as old as its request.
        let settled = settled && began.elapsed() < self.moment;
        let last = listed.objects.last().map(|found| found.name.clone());
        let there = listed.objects.into_iter();
        let there = there.filter_map(|found| There::of(channel, found));
        let page = Page {
            after: after.to_owned(),
            there: there.collect(),
            last,
            more: listed.more,
        };
        if settled && let Some(to) = page.stands_to(channel) {
            self.recent.insert(channel, (to, page.clone()));
        }
        Ok(page)
    }

    /// Which of some objects of a channel there are, where that costs less than a listing.
    pub(super) async fn which(
        &self,
        channel: ChannelId,
        objects: impl Iterator<Item = Object>,
    ) -> Result<Option<Vec<There>>, StoreError> {
        let names: Vec<String> = objects.map(|object| object.name(channel)).collect();
        let found = self.store.which(&names).await?;
        Ok(found.map(|found| {
            let there = found.into_iter();
            there
                .filter_map(|found| There::of(channel, found))
                .collect()
        }))
    }

    /// What is remembered of the names after a place, as far as it goes, if that is beyond another one.
    pub(super) fn remembered(&self, channel: ChannelId, after: &str, to: &str) -> Option<Page> {
        let (known_to, page) = self.recent.get(&channel)?;
        if page.after.as_str() > after || to >= known_to.as_str() {
            return None;
        }
        let there = page.there.iter();
        let there = there.filter(|there| there.name.as_str() > after).cloned();
        Some(Page {
            after: after.to_owned(),
            there: there.collect(),
            // Behind these it is asked for again.
            last: Some(known_to),
            more: true,
        })
    }

    /// Remembers nothing of a channel.
    pub(super) fn forget(&self, channel: ChannelId) {
        self.recent.invalidate(&channel);
    }

    /// The months or days in a folder, ascending, of those from one to another.
    pub(super) async fn folders(
        &self,
        folder: &str,
        from: &str,
        to: &str,
    ) -> Result<Vec<String>, StoreError> {
        let mut folders = self.store.folders(folder).await?;
        folders.retain(|name| name.as_str() >= from && name.as_str() <= to);
        Ok(folders)
    }
}

/// The month that a folder is of: its first day, and the first one after it.
pub(super) fn days_of(folder: &str) -> Option<(Millis, Millis)> {
    let (_, month) = folder.split_once('/')?;
    let first = |month: &str| Millis::parse_iso(&format!("{month}-01T00:00:00.000Z")).ok();
    let start = first(month)?;
    // Longer than any month.
    let next = start.plus(32 * 24 * 3_600_000).civil().date();
    let end = first(&format!("{:04}-{:02}", next.year(), next.month()))?;
    Some((start, end))
}

/// The day that a folder is of.
pub(super) fn day_of(folder: &str) -> Option<Millis> {
    let (_, date) = folder.split_once('/')?;
    Millis::parse_iso(&format!("{}T00:00:00.000Z", date.replace('/', "-"))).ok()
}
