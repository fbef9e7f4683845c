//! The read path: from a channel and a range to the keys in it, and from a key to its item.
//!
//! A range is asked of a read quorum of every replica set that was in force in it. The stable bound
//! follows from their frontiers, and the answer is the union of what they hold up to it. Where too
//! few can be asked the answer is "unavailable": never an empty or a shorter list.

mod archived;
mod ask;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hub_ring::{BuiltRing, Member, Staying};
use thiserror::Error;
use tokio::time::Instant;

use self::archived::{ArchiveBound, no_archive};
use self::ask::Said;
use super::merge::{stable_bound, union};
use super::registry::{Channel, Channels};
use super::spoke_handle::LocalReplica;
use crate::archive::reader::{ArchiveReader, ReadArchiveError, Single};
use crate::cluster::RingView;
use crate::env::{HubClock, Millis};
use crate::item::{Frontier, ItemKey};
use crate::spoke::accept::Limits;
use crate::spoke::peers::{Peers, Report, ReportRequest};
use crate::spoke::{Direction, ReadError, StoredItem};

/// What a query asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The lowest key that may be in the answer.
    pub from: ItemKey,
    /// The first key above the range; `None`: as far as there is anything.
    pub to: Option<ItemKey>,
    /// Which way to walk.
    pub direction: Direction,
    /// How many keys at the most.
    pub limit: usize,
    /// Whether only stable items are wanted.
    pub stable: bool,
    /// Which side of the channel's mutable time.
    pub epoch: Epoch,
    /// Whether the answer goes on one of which it was said that the range is stable to its end: then
    /// it is waited for until it is, through whichever replicas.
    pub whole: bool,
    /// Whether records are wanted: of a bulk insert the one that holds its items, and not each of them.
    pub records: bool,
}

/// Which items of a channel with a mutable time a query means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epoch {
    /// All of them.
    All,
    /// Those at or before it.
    Mutable,
    /// Those after it.
    Immutable,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Keys, in the order of the walk.
    pub keys: Vec<ItemKey>,
    /// Whether there may be more behind the last one.
    pub more: bool,
    /// Up to where all that is stable was known, whatever the limit has cut off; `None` if that was
    /// not asked, or nothing in the range can be listed.
    pub stable: Option<Frontier>,
}

/// Why a query was not answered.
#[derive(Debug, Error)]
pub enum QueryError {
    /// Too few replicas could be asked.
    #[error("{reason}")]
    Unavailable {
        /// What stands in the way.
        reason: String,
        /// The members that were missing.
        missing: Vec<String>,
    },
    /// The range is long over, but something in it is not decided.
    #[error("undecided items")]
    Undecided {
        /// Up to where everything is.
        decided: Frontier,
    },
    /// A replica could not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The archive could not.
    #[error(transparent)]
    Archive(#[from] ReadArchiveError),
}

/// The numbers that reads go by.
#[derive(Debug, Clone, Copy)]
pub struct ReadSettings {
    /// The limits of the accept rule.
    pub limits: Limits,
    /// The width of a fixed unstable window in milliseconds; 0: none.
    pub stable_millis: i64,
    /// A replica that has not answered for so long is not waited for alone.
    pub hedge: Duration,
}

/// The read path of this node.
pub struct Reads {
    view: Arc<RingView>,
    local: Arc<LocalReplica>,
    channels: Arc<Channels>,
    peers: Arc<dyn Peers>,
    clock: Arc<HubClock>,
    /// `None` without an archive.
    archive: Option<Arc<ArchiveReader>>,
    settings: ReadSettings,
}

/// How many keys are asked for at the least where many may be of deleted items.
const SPARE: usize = 500;
/// How long to wait for items of a range that is over to be decided.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

impl Reads {
    /// A read path.
    pub fn new(
        view: Arc<RingView>,
        local: Arc<LocalReplica>,
        channels: Arc<Channels>,
        peers: Arc<dyn Peers>,
        clock: Arc<HubClock>,
        archive: Option<Arc<ArchiveReader>>,
        settings: ReadSettings,
    ) -> Self {
        Self {
            view,
            local,
            channels,
            peers,
            clock,
            archive,
            settings,
        }
    }

    /// The item of a key, whether it is decided or not; `None` if there is none.
    ///
    /// # Errors
    /// [`QueryError`]: neither "found" nor "not found".
    pub async fn item(
        &self,
        channel: &Channel,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, QueryError> {
        // A record may begin below the first of its items that is kept.
        let floor = self.channels.grace_floor(channel);
        if *key
            < if key.is_bulk() {
                floor.record_floor()
            } else {
                floor
            }
        {
            return Ok(None);
        }
        match self.single(channel, key).await? {
            Single::Item(item) => return Ok(Some(item)),
            Single::Gone => return Ok(None),
            Single::Neither => {}
        }
        // Nobody stamps or accepts a key further ahead than its clock may be, and its clock is no
        // further ahead of this one.
        if key.millis > self.clock.now().plus(2 * self.settings.limits.max_skew) {
            return Ok(None);
        }
        behind(self.view.horizon(), key.millis)?;
        let name = channel.config.name.key();
        let Staying { members, needed } = self.view.staying(name, key.millis, self.clock.now());
        // Where no ring was in force, and where only members had it that are lost, the archive is all
        // there is.
        if members.is_empty() {
            return self.archived(channel, key).await;
        }
        let asked = channel.as_ref();
        // Who has let go of it found it in the archive, if there was such an item: that is asked first.
        let soon = self.archive.is_some();
        let (mut said, mut missing) = self.ask_for(&members, needed, &asked, *key, soon).await;
        if soon && matches!(said, Said::Evicted) {
            if let Some(item) = self.archived(channel, key).await? {
                return Ok(Some(item));
            }
            // Or never had it: then others may hold it still.
            (said, missing) = self.ask_for(&members, needed, &asked, *key, false).await;
        }
        let error = match said {
            Said::Found(item) => return Ok(Some(item)),
            Said::No if self.archive.is_none() && channel.is_historical(key) => {
                return Err(no_archive());
            }
            Said::No => return Ok(None),
            // They may have let go of it only just now.
            Said::Evicted if soon => return self.archived(channel, key).await,
            Said::Evicted => return Err(no_archive()),
            Said::Nothing(error) => error,
        };
        // What is in the archive is final, whoever is silent.
        match self.archived(channel, key).await {
            Ok(Some(item)) => Ok(Some(item)),
            _ if members.len() == 1 => Err(error.into()),
            _ => Err(too_few(&missing, Some(&error))),
        }
    }

    /// Whether a key is older than anything that its channel still answers.
    pub fn has_expired(&self, channel: &Channel, key: &ItemKey) -> bool {
        *key < self.channels.grace_floor(channel)
    }

    /// Up to where a channel is stable now.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn stable_time(&self, channel: &Channel) -> Result<Millis, QueryError> {
        let now = self.clock.now();
        let limits = &self.settings.limits;
        // Long enough ago for an earlier ring to bound no more.
        let since = now.minus(limits.accept_window + 2 * limits.max_skew);
        let range = ReportRequest {
            channel: channel.as_ref(),
            from: ItemKey::first_of(since),
            to: ItemKey::first_of(now.plus(1)),
            direction: Direction::Ascending,
            limit: 0,
            undecided: false,
        };
        let bound = self.ask(&range, false).await?.bound;
        Ok(self.bounded(bound).millis().min(now))
    }

    /// A page of a query's answer.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn page(&self, channel: &Channel, query: &Query) -> Result<Page, QueryError> {
        let (mut page, mut short) = self.part(channel, query, channel.historical_to).await?;
        while let Some(reached) = short.filter(|_| page.keys.len() < query.limit) {
            let mut rest = Query {
                limit: query.limit.max(SPARE),
                ..*query
            };
            match query.direction {
                Direction::Ascending => rest.from = reached,
                Direction::Descending => rest.to = Some(reached),
            }
            let (next, later) = self.part(channel, &rest, channel.historical_to).await?;
            page.keys.extend(next.keys);
            page.more = next.more || page.keys.len() > query.limit;
            page.keys.truncate(query.limit);
            short = later;
        }
        Ok(page)
    }

    /// As [`Self::page`], without what is in the archive alone because it was written there, past the
    /// replicas.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn held(&self, channel: &Channel, query: &Query) -> Result<Page, QueryError> {
        Ok(self.part(channel, query, None).await?.0)
    }

    /// A page, and where it is to be gone on from if deleted items have used up some of its limit.
    /// `singles_to`: up to where there may be items that were written past the replicas, or deleted.
    async fn part(
        &self,
        channel: &Channel,
        query: &Query,
        singles_to: Option<Millis>,
    ) -> Result<(Page, Option<ItemKey>), QueryError> {
        let Some((from, to)) = self.clamp(channel, query) else {
            let nothing = Page {
                keys: Vec::new(),
                more: false,
                stable: None,
            };
            return Ok((nothing, None));
        };
        // An end of the range may lie among the items of a bulk insert, whose record is then asked for
        // as a whole; what of it lies outside uses up nothing of the limit.
        let floor = from.record_floor();
        let spare = if floor == from && to.record_floor() == to {
            0
        } else {
            2
        };
        let mut range = ReportRequest {
            channel: channel.as_ref(),
            from: floor,
            to,
            direction: query.direction,
            limit: query.limit.max(1) + spare,
            undecided: !query.stable,
        };
        let mut waiting: Option<Instant> = None;
        let mut stable: Option<Frontier> = None;
        loop {
            // What is not decided on some may be on the others.
            let all = waiting.is_some();
            let heard = self.ask(&range, all).await?;
            let mut reports = heard.reports;
            let archived = ArchiveBound {
                singles_to: singles_to.filter(|singles| *singles >= range.from.millis),
                ..heard.archived
            };
            let bound = self.bounded(heard.bound);
            if !query.stable {
                let gone = self.add_archived(&range, archived, &mut reports).await?;
                let (keys, complete_to) = union(reports, query.direction);
                let keys = items_of(&keys, &gone, (from, to), complete_to, query);
                return Ok(cut(keys, complete_to, query.limit, None, &gone));
            }
            if self.is_undecided(query, &bound) {
                let since = waiting.get_or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE {
                    return Err(QueryError::Undecided { decided: bound });
                }
                tokio::time::sleep(LOOK).await;
                continue;
            }
            // What a first look left out is left out, however far a second one reaches.
            let lowest = stable.map_or(bound, |before| before.min(bound));
            stable = Some(lowest);
            let reaches = range.to <= bound.end();
            if query.direction == Direction::Descending && !reaches {
                // What lies above the bound must not use up the limit: ask again below it.
                range.to = bound.end();
                if range.to <= range.from {
                    return Ok(cut(Vec::new(), None, query.limit, stable, &[]));
                }
                continue;
            }
            let gone = self.add_archived(&range, archived, &mut reports).await?;
            let (mut keys, complete_to) = union(reports, query.direction);
            let before = keys.len();
            keys.retain(|key| bound.covers(key));
            // Ascending, the first key that is not stable yet ends the answer.
            let ended = keys.len() < before && query.direction == Direction::Ascending;
            let complete_to = complete_to.filter(|_| !ended);
            let keys = items_of(&keys, &gone, (from, to), complete_to, query);
            return Ok(cut(keys, complete_to, query.limit, stable, &gone));
        }
    }

    /// The range of a query without what no query may list; `None` if nothing is left.
    fn clamp(&self, channel: &Channel, query: &Query) -> Option<(ItemKey, ItemKey)> {
        let end = ItemKey::first_of(Millis::MAX);
        let mut from = query.from.max(self.channels.floor(channel));
        let mut to = query.to.unwrap_or(end);
        if let Some(mutable) = channel.config.mutable_time {
            let first_immutable = ItemKey::first_of(mutable.plus(1));
            match query.epoch {
                Epoch::All => {}
                Epoch::Mutable => to = to.min(first_immutable),
                Epoch::Immutable => from = from.max(first_immutable),
            }
        }
        (from < to).then_some((from, to))
    }

    /// Asks a read quorum of every ring that was in force in a range, or all of its replicas; gives
    /// what they hold and the stable bound over all of them.
    async fn ask(&self, range: &ReportRequest, all: bool) -> Result<Heard, QueryError> {
        let now = self.clock.now();
        // It goes with the rings as they are known now: it may move on while others are asked, and
        // what comes into force behind it is then none of these.
        let horizon = self.view.horizon();
        // Nothing is known of times at or past it; an open end reaches to the present.
        behind(horizon, range.to.millis.min(now))?;
        let tables = self.view.tables();
        let mut reports: HashMap<Member, Report> = HashMap::new();
        let mut bound: Option<Frontier> = None;
        let mut fanned = Fanned::default();
        let mut archived = ArchiveBound::NOTHING;
        let first = tables.rings().first().and_then(BuiltRing::from_millis);
        if let Some(first) = first {
            // Before there was nobody, or nobody is known any more.
            archived.nobody = Millis::new(first);
        }
        // A ring that is to come into force holds nothing yet.
        let near = now.plus(2 * self.settings.limits.max_skew).get();
        let end = range.to.millis.get().min(near).saturating_add(1);
        let rings = tables.overlapping(range.from.millis.get(), end);
        let mut rings = rings.peekable();
        while let Some(ring) = rings.next() {
            let Staying {
                members: set,
                needed,
            } = ring.staying(&range.channel.name, now.get());
            if set.is_empty() {
                // All of them are lost: there is nobody to wait for.
                let until = rings.peek().and_then(|later| later.from_millis());
                archived.nobody = until.map_or(now, Millis::new);
                continue;
            }
            let (known, rest): (Vec<Member>, Vec<Member>) =
                set.iter().cloned().partition(|m| reports.contains_key(m));
            let asked = if known.len() >= needed && !all {
                None
            } else {
                let needed = needed.saturating_sub(known.len());
                Some(self.ask_range(&rest, needed, all, range).await)
            };
            fanned.add(&set, asked.as_ref().map_or(0, |asked| asked.count));
            let (missing, own) = match asked {
                None => (Vec::new(), None),
                Some(asked) => {
                    reports.extend(asked.reports);
                    (asked.missing, asked.own)
                }
            };
            let of_set = set.iter().filter_map(|member| reports.get(member));
            let frontiers: Vec<_> = of_set.map(|report| report.frontier).collect();
            let Some(of_ring) = stable_bound(needed, &frontiers) else {
                return Err(match own {
                    Some(error) if set.len() == 1 => error.into(),
                    error => too_few(&missing, error.as_ref()),
                });
            };
            // Nothing of an earlier ring lies past the end of its time: once it is stable up to there
            // it bounds no more.
            let until = rings.peek().and_then(|later| later.from_millis());
            if until.is_some_and(|until| of_ring >= Frontier::before(Millis::new(until))) {
                continue;
            }
            bound = Some(bound.map_or(of_ring, |b| b.min(of_ring)));
        }
        fanned.count(tables.newest());
        // Before the first ring there was nobody to store anything.
        let bound = bound.unwrap_or(Frontier::before(
            now.minus(self.settings.limits.accept_window),
        ));
        let later = tables.rings().iter().filter_map(BuiltRing::from_millis);
        let later = later.filter(|from| *from > near).min();
        let bound = later.map_or(bound, |from| bound.min(Frontier::before(Millis::new(from))));
        let bound = bound.min(Frontier::before(horizon));
        let reports: Vec<Report> = reports.into_values().collect();
        let let_go = reports.iter().map(|report| report.holds_from).max();
        archived.let_go = let_go.unwrap_or(Millis::MIN);
        Ok(Heard {
            reports,
            bound,
            archived,
        })
    }

    /// A stable bound no further than a fixed window allows, where one is set.
    fn bounded(&self, mut bound: Frontier) -> Frontier {
        if self.settings.stable_millis > 0 {
            let edge = self.clock.now().minus(self.settings.stable_millis);
            bound = bound.min(Frontier::before(edge.floor_to(1000)));
        }
        bound
    }

    /// Whether a range is long over, or was said to be stable, and is not to its end.
    fn is_undecided(&self, query: &Query, bound: &Frontier) -> bool {
        let Some(to) = query.to else {
            return false;
        };
        let limits = &self.settings.limits;
        let fixed = match self.settings.stable_millis {
            0 => 0,
            // Its edge is a whole second.
            width => width + 1000,
        };
        let window = limits.accept_window + limits.max_skew + fixed;
        let over = to.millis.plus(window) < self.clock.now();
        (over || query.whole) && bound.end() < to
    }
}

/// What was heard of a range.
struct Heard {
    /// What replicas hold.
    reports: Vec<Report>,
    /// Up to where it is stable.
    bound: Frontier,
    /// Up to where the archive is to be asked as well.
    archived: ArchiveBound,
}

/// How far a read spread.
#[derive(Debug, Default)]
struct Fanned {
    concerned: BTreeSet<Member>,
    asked: usize,
}

impl Fanned {
    fn add(&mut self, set: &[Member], asked: usize) {
        self.concerned.extend(set.iter().cloned());
        self.asked += asked;
    }

    /// A read that asked as many as there are, though fewer have to do with it, is counted: there is
    /// to be none.
    fn count(&self, newest: Option<&BuiltRing>) {
        let members = newest.map_or(0, |ring| ring.ring().members().len());
        if self.asked >= members && self.concerned.len() < members {
            crate::metric::full_fanout();
        }
    }
}

/// Refuses to speak of a time at or past a horizon.
fn behind(horizon: Millis, at: Millis) -> Result<(), QueryError> {
    if at < horizon {
        return Ok(());
    }
    Err(QueryError::Unavailable {
        reason: "this node could not confirm that it knows the newest ring".to_owned(),
        missing: Vec::new(),
    })
}

fn too_few(missing: &[Member], error: Option<&ReadError>) -> QueryError {
    QueryError::Unavailable {
        reason: match error {
            Some(error) => format!("too few replicas could answer: {error}"),
            None => "too few replicas could answer".to_owned(),
        },
        missing: missing.iter().map(|m| m.as_str().to_owned()).collect(),
    }
}

/// The items of records that lie in a range and are not deleted, in the order of the walk, as far as it is
/// complete: one more than the limit at the most.
fn items_of(
    records: &[ItemKey],
    gone: &[ItemKey],
    (mut from, mut to): (ItemKey, ItemKey),
    complete_to: Option<ItemKey>,
    query: &Query,
) -> Vec<ItemKey> {
    let most = query.limit.saturating_add(1);
    if query.records {
        // A record is where its items are: the first one of a range may stand before it.
        let is_inside = |record: &&ItemKey| record.items_between(&from, &to).next().is_some();
        return records
            .iter()
            .filter(is_inside)
            .take(most)
            .copied()
            .collect();
    }
    match (complete_to, query.direction) {
        (Some(reached), Direction::Ascending) => to = to.min(reached),
        (Some(reached), Direction::Descending) => from = from.max(reached),
        (None, _) => {}
    }
    let is_there = |key: &ItemKey| gone.binary_search(key).is_err();
    let mut items = Vec::with_capacity(records.len().min(most));
    for record in records {
        let left = most - items.len();
        let inside = record.items_between(&from, &to);
        match query.direction {
            Direction::Ascending => items.extend(inside.filter(is_there).take(left)),
            Direction::Descending => items.extend(inside.rev().filter(is_there).take(left)),
        }
        if items.len() >= most {
            break;
        }
    }
    items
}

/// A page of those keys, and where it is to be gone on from if it is short of the limit for the items that
/// are deleted.
fn cut(
    mut keys: Vec<ItemKey>,
    complete_to: Option<ItemKey>,
    limit: usize,
    stable: Option<Frontier>,
    gone: &[ItemKey],
) -> (Page, Option<ItemKey>) {
    let more = complete_to.is_some() || keys.len() > limit;
    let short = complete_to.filter(|_| keys.len() < limit && !gone.is_empty());
    keys.truncate(limit);
    (Page { keys, more, stable }, short)
}

#[cfg(test)]
mod tests;
