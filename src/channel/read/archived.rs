//! What the archive has to say: of times that replicas have let go of, and of those before there was
//! anybody to hold them.

use super::{QueryError, Reads};
use crate::archive::reader::{Listed, Single, Wanted};
use crate::channel::registry::Channel;
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::peers::{Report, ReportRequest};
use crate::spoke::{Direction, StoredItem};

/// Up to where the archive is to be asked as well as the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ArchiveBound {
    /// Replicas have let go of times before this one.
    pub(super) let_go: Millis,
    /// Of times before this one there is nobody left who would know.
    pub(super) nobody: Millis,
    /// Up to this time there may be items that were written past the replicas, or deleted there.
    pub(super) singles_to: Option<Millis>,
}

impl ArchiveBound {
    /// Nothing is asked of the archive.
    pub(super) const NOTHING: Self = Self {
        let_go: Millis::MIN,
        nobody: Millis::MIN,
        singles_to: None,
    };

    fn end(&self) -> ItemKey {
        let singles = self.singles_to.map_or(Millis::MIN, |to| to.plus(1));
        ItemKey::first_of(self.let_go.max(self.nobody).max(singles))
    }
}

/// The part of a range that is asked of the archive, given what the replicas hold of it; `None` if there
/// is none, or what they hold comes first and is all that was asked for.
fn part_of(
    range: &ReportRequest,
    bound: ArchiveBound,
    reports: &[Report],
) -> Option<(ItemKey, ItemKey)> {
    let to = range.to.min(bound.end());
    if range.limit == 0 || range.from >= to {
        return None;
    }
    let cut_above = |report: &Report| report.complete_to.is_some_and(|key| key >= to);
    let enough = range.direction == Direction::Descending && reports.iter().any(cut_above);
    (!enough).then_some((range.from, to))
}

impl Reads {
    /// Asks the archive for what it is to be asked of a range, and adds it to the reports. Gives the items
    /// of the range that are deleted, whoever else has them, in the order of their keys.
    pub(super) async fn add_archived(
        &self,
        range: &ReportRequest,
        bound: ArchiveBound,
        reports: &mut Vec<Report>,
    ) -> Result<Vec<ItemKey>, QueryError> {
        let Some((from, to)) = part_of(range, bound, reports) else {
            return Ok(Vec::new());
        };
        let Some(archive) = &self.archive else {
            return if range.from.millis < bound.let_go || bound.singles_to.is_some() {
                Err(no_archive())
            } else {
                Ok(Vec::new())
            };
        };
        let wanted = Wanted {
            channel: range.channel.id,
            from,
            to,
            direction: range.direction,
            limit: range.limit,
            singles_to: bound.singles_to,
        };
        let Listed {
            keys,
            mut gone,
            complete_to,
        } = archive.list(&wanted).await?;
        gone.sort_unstable();
        if !gone.is_empty() {
            for report in reports.iter_mut() {
                report.keys.retain(|key| gone.binary_search(key).is_err());
            }
        }
        reports.push(Report {
            frontier: crate::item::Frontier::NOTHING,
            keys,
            complete_to,
            holds_from: Millis::MIN,
        });
        Ok(gone)
    }

    /// What stands in the archive under the name of an item that may have been written past the replicas.
    pub(super) async fn single(
        &self,
        channel: &Channel,
        key: &ItemKey,
    ) -> Result<Single, QueryError> {
        match &self.archive {
            Some(archive) if channel.is_historical(key) => {
                Ok(archive.single(channel.id, key).await?)
            }
            _ => Ok(Single::Neither),
        }
    }

    /// The item of a key, if the archive has it; `None` as well if there is no archive.
    pub(super) async fn archived(
        &self,
        channel: &Channel,
        key: &ItemKey,
    ) -> Result<Option<StoredItem>, QueryError> {
        match &self.archive {
            Some(archive) => Ok(archive.item(channel.id, key).await?),
            None => Ok(None),
        }
    }
}

/// What is asked for has gone to an archive that this node does not know.
pub(super) fn no_archive() -> QueryError {
    QueryError::Unavailable {
        reason: "items of that time have gone to the archive, and archive.url is not set"
            .to_owned(),
        missing: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::channel::merge::union;
    use crate::item::Frontier;
    use crate::spoke::ChannelId;
    use crate::spoke::peers::ChannelRef;

    fn key(millis: i64) -> ItemKey {
        ItemKey::first_of(Millis::new(millis)).successor()
    }

    fn range(from: i64, to: i64, direction: Direction, limit: usize) -> ReportRequest {
        ReportRequest {
            channel: ChannelRef {
                id: ChannelId(1),
                name: Arc::from("c"),
            },
            from: ItemKey::first_of(Millis::new(from)),
            to: ItemKey::first_of(Millis::new(to)),
            direction,
            limit,
            undecided: false,
        }
    }

    /// What somebody who has those items answers to a range.
    fn report(all: &[i64], range: &ReportRequest, holds_from: i64) -> Report {
        let inside = |key: &ItemKey| (range.from..range.to).contains(key);
        let mut keys: Vec<ItemKey> = all.iter().map(|at| key(*at)).filter(inside).collect();
        if range.direction == Direction::Descending {
            keys.reverse();
        }
        keys.truncate(range.limit);
        let last = keys.last().copied();
        Report {
            frontier: Frontier::NOTHING,
            complete_to: last.filter(|_| keys.len() >= range.limit),
            keys,
            holds_from: Millis::new(holds_from),
        }
    }

    proptest! {
        /// Whatever the replicas have let go of: with what is asked of the archive, an answer is as
        /// complete as it says.
        #[test]
        fn together_they_have_everything(
            all in proptest::collection::btree_set(0i64..60, 0..30),
            let_go in proptest::collection::vec(0i64..60, 1..3),
            from in 0i64..60,
            to in 0i64..60,
            down in any::<bool>(),
            limit in 1usize..12,
        ) {
            let direction = if down { Direction::Descending } else { Direction::Ascending };
            let all: Vec<i64> = all.into_iter().collect();
            let range = range(from, to, direction, limit);
            let held = |from: i64| all.iter().copied().filter(move |at| *at >= from).collect::<Vec<_>>();
            let mut reports: Vec<Report> =
                let_go.iter().map(|from| report(&held(*from), &range, *from)).collect();
            let bound = ArchiveBound {
                let_go: reports.iter().map(|report| report.holds_from).max().unwrap(),
                nobody: Millis::MIN,
                singles_to: None,
            };
            if let Some((from, to)) = part_of(&range, bound, &reports) {
                let part = ReportRequest { from, to, ..range.clone() };
                reports.push(report(&all, &part, i64::MIN));
            }
            let whole = report(&all, &ReportRequest { limit: usize::MAX, ..range.clone() }, 0).keys;
            let (keys, complete_to) = union(reports, direction);
            prop_assert!(whole.starts_with(&keys));
            prop_assert!(complete_to.is_some() || keys == whole);
            prop_assert!(keys.len() >= limit.min(whole.len()));
        }
    }
}
