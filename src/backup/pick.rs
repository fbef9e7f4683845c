//! Which backup is restored, and which objects of it. All pure.

use std::collections::{BTreeMap, HashSet};

use super::document::{Document, Held};
use super::object::Kind;
use crate::archive::name::{Object, hour_len};
use crate::env::Millis;

/// Which state of the hub is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The newest there is.
    Newest,
    /// That of a backup.
    Named(String),
    /// That of a time.
    Until(Millis),
}

impl Choice<'_> {
    /// Every item with an earlier time is in what is put together; `None` if nobody knows.
    pub fn complete_to(&self) -> Option<Millis> {
        let both = self.later.into_iter().chain([self.base]);
        both.filter_map(Document::complete_to).max()
    }
}

impl Wanted {
    /// The last time that items may have.
    pub fn until(&self) -> Option<Millis> {
        match self {
            Self::Until(until) => Some(*until),
            Self::Newest | Self::Named(_) => None,
        }
    }
}

/// The backups that a state is put together from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// Channels come from this one, and what it has of their items.
    pub base: &'a Document,
    /// What came between it and the time that is wanted is in this one.
    pub later: Option<&'a Document>,
}

/// Chooses among the backups there are.
///
/// For a time that is the newest one at or before it, for the channels that there were then; and where a later one
/// reaches past it, items of these channels come from there too, up to the time.
///
/// # Errors
/// What there is not, in words.
pub fn choose<'a>(
    documents: &'a [Document],
    wanted: &Wanted,
    items: bool,
) -> Result<Choice<'a>, String> {
    let mut fit: Vec<&Document> = documents.iter().collect();
    if let Wanted::Named(id) = wanted {
        let named = fit.iter().find(|document| document.id == *id);
        let base = *named.ok_or_else(|| format!("there is no backup {id}"))?;
        if items && !base.with_items {
            return Err(format!(
                "backup {id} was made without --with-items: its channels can be restored beside an \
                 archive that is still there (--state-only)"
            ));
        }
        return Ok(Choice { base, later: None });
    }
    if items {
        fit.retain(|document| document.with_items);
    }
    fit.sort_by_key(|document| (document.taken, &document.id));
    let what = if items { "backup with items" } else { "backup" };
    let Wanted::Until(until) = wanted else {
        let base = fit.last().ok_or_else(|| format!("there is no {what}"))?;
        return Ok(Choice { base, later: None });
    };
    let split = fit.partition_point(|document| document.taken <= *until);
    let (before, after) = fit.split_at(split);
    let Some(base) = before.last() else {
        return Err(match after.first() {
            Some(first) => format!(
                "there is no {what} of {until} or before: the oldest one is of {}",
                first.taken
            ),
            None => format!("there is no {what}"),
        });
    };
    let same = |document: &&&Document| document.archive == base.archive;
    // Up to that time, and not including it, is everything there.
    let reaches = |document: &Document| document.complete_to().is_some_and(|to| to > *until);
    let later = if items && !reaches(base) {
        let reaching = after.iter().filter(same).find(|document| reaches(document));
        reaching.or_else(|| after.iter().rfind(same))
    } else {
        None
    };
    Ok(Choice {
        base,
        later: later.copied(),
    })
}

/// An object to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The object.
    pub held: Held,
    /// Its items with later times are left out.
    pub cut: Option<Millis>,
}

/// The objects of a month to restore, out of what the backup has of it and what a later one has.
///
/// Where they differ in an object that may change (an item of a historical channel), the one before the time counts.
/// What is said to be deleted counts only if it was by then. A minute is left out where its hour is there.
pub fn objects(base: Vec<Held>, later: Vec<Held>, until: Option<Millis>) -> Vec<Job> {
    let mut all: BTreeMap<String, Held> = BTreeMap::new();
    for held in later {
        if !Kind::of(&held.name).1.says_deleted(held.size) {
            all.insert(held.name.clone(), held);
        }
    }
    for held in base {
        if all.contains_key(&held.name) && !Kind::of(&held.name).1.may_change() {
            continue;
        }
        all.insert(held.name.clone(), held);
    }
    let hours: HashSet<Millis> = all
        .keys()
        .filter_map(|name| match Kind::of(name).1 {
            Kind::Items(Object::Hour(start)) => Some(start),
            _ => None,
        })
        .collect();
    let wanted = |held: &Held| {
        let kind = Kind::of(&held.name).1;
        if let Kind::Items(Object::Minute(start)) = kind
            && hours.contains(&start.floor_to(hour_len()))
        {
            return false;
        }
        // What has no time is none of the archive's objects.
        kind.start()
            .is_some_and(|start| until.is_none_or(|until| start <= until))
    };
    all.into_values()
        .filter(wanted)
        .map(|held| {
            let cut = until.filter(|until| held.newest.is_some_and(|newest| newest > *until));
            Job { held, cut }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::document::tests::document_of;
    use super::super::sum::Sum;
    use super::*;
    use crate::archive::name::MINUTE;
    use crate::spoke::ChannelId;

    fn at(minute: i64) -> Millis {
        Millis::new(minute * MINUTE)
    }

    #[test]
    fn a_time_has_the_backup_before_it_and_the_items_of_the_one_after() {
        let document = |id: &str, minute, with_items| document_of(id, at(minute), with_items);
        let documents = [
            document("a", 10, true),
            document("b", 20, false),
            document("c", 30, true),
            document("d", 40, true),
        ];
        let chosen = |wanted: &Wanted, items| {
            let chosen = choose(&documents, wanted, items);
            chosen.map(|choice| {
                let later = choice.later.map(|later| later.id.as_str());
                (choice.base.id.as_str(), later)
            })
        };
        let until = |minute| Wanted::Until(at(minute));
        assert_eq!(chosen(&Wanted::Newest, true), Ok(("d", None)));
        assert_eq!(chosen(&until(25), true), Ok(("a", Some("c"))));
        assert_eq!(chosen(&until(25), false), Ok(("b", None)));
        // What it has comes to an end right before the time.
        assert_eq!(chosen(&until(30), true), Ok(("c", Some("d"))));
        assert_eq!(chosen(&until(31), true), Ok(("c", Some("d"))));
        assert_eq!(chosen(&until(99), true), Ok(("d", None)));
        assert!(
            chosen(&until(9), true)
                .unwrap_err()
                .contains("the oldest one is of")
        );
        assert_eq!(chosen(&Wanted::Named("a".into()), true), Ok(("a", None)));
        assert!(chosen(&Wanted::Named("b".into()), true).is_err());
        assert_eq!(chosen(&Wanted::Named("b".into()), false), Ok(("b", None)));
        assert!(chosen(&Wanted::Named("x".into()), false).is_err());
        assert!(choose(&[], &Wanted::Newest, false).is_err());
    }

    #[test]
    fn one_that_does_not_reach_far_enough_is_better_than_none() {
        let mut late = document_of("b", at(20), true);
        late.archived_to = Some(at(15));
        let documents = [document_of("a", at(10), true), late];
        let choice = choose(&documents, &Wanted::Until(at(18)), true).unwrap();
        assert_eq!(choice.later.map(|later| later.id.as_str()), Some("b"));
        assert_eq!(choice.complete_to(), Some(at(15)));
    }

    #[test]
    fn one_of_which_nobody_knows_how_far_it_reaches_is_not_relied_on() {
        let mut unknown = document_of("b", at(20), true);
        unknown.archived_to = None;
        let mut documents = vec![document_of("a", at(10), true), unknown];
        let chosen = |documents: &[Document], minute| {
            let choice = choose(documents, &Wanted::Until(at(minute)), true).unwrap();
            let later = choice.later.map(|later| later.id.clone());
            (choice.base.id.clone(), later, choice.complete_to())
        };
        let both = |later: Option<&str>| later.map(str::to_owned);
        assert_eq!(
            chosen(&documents, 15),
            ("a".to_owned(), both(Some("b")), Some(at(10)))
        );
        assert_eq!(chosen(&documents, 25), ("b".to_owned(), None, None));
        documents.push(document_of("c", at(30), true));
        let wanted = (both(Some("c")), Some(at(30)));
        assert_eq!(
            chosen(&documents, 15),
            ("a".to_owned(), wanted.0.clone(), wanted.1)
        );
        assert_eq!(chosen(&documents, 25), ("b".to_owned(), wanted.0, wanted.1));
    }

    fn held(name: &str, newest: Option<Millis>, version: u8) -> Held {
        Held {
            name: format!("000000000000001f/1970-01/01/{name}"),
            size: if newest.is_some() { 1 } else { 20 },
            items: 1,
            newest,
            sha256: Sum::of(&[version]),
            mark: String::new(),
        }
    }

    #[test]
    fn what_may_change_is_as_it_was_before_and_what_may_not_as_it_was_after() {
        let base = vec![
            held("0000.minute", Some(at(0)), 1),
            held("000000001-a.item", Some(Millis::new(1)), 1),
            held("000000002-b.item", None, 1),
        ];
        let later = vec![
            held("00.hour", Some(at(59)), 2),
            held("000000001-a.item", Some(Millis::new(1)), 2),
            held("000000002-b.item", Some(Millis::new(2)), 2),
            held("000000003-c.item", None, 2),
            held("000000004-d.item", Some(Millis::new(4)), 2),
            held("0100.minute", Some(at(60)), 2),
        ];
        let jobs = objects(base, later, Some(at(30)));
        let jobs: Vec<_> = jobs
            .iter()
            .map(|job| {
                (
                    &job.held.name[28..],
                    job.held.sha256 == Sum::of(&[1]),
                    job.cut,
                )
            })
            .collect();
        assert_eq!(
            jobs,
            [
                ("00.hour", false, Some(at(30))),
                ("000000001-a.item", true, None),
                ("000000002-b.item", true, None),
                ("000000004-d.item", false, None),
            ]
        );
    }

    proptest! {
        /// Hours and minutes as a hub leaves them: an hour has all that its minutes had.
        #[test]
        fn every_item_up_to_the_time_is_in_what_is_restored_once(
            times in proptest::collection::btree_set(0i64..300, 1..40),
            seen in 0usize..40,
            until in 0i64..300,
            rolled in (0i64..5, 0i64..5),
        ) {
            let times: Vec<i64> = times.into_iter().collect();
            let list = |times: &[i64], rolled: i64| -> Vec<(Held, Vec<i64>)> {
                let mut objects: BTreeMap<String, (Held, Vec<i64>)> = BTreeMap::new();
                for minute in times {
                    let object = if minute / 60 < rolled {
                        Object::Hour(at(minute / 60 * 60))
                    } else {
                        Object::Minute(at(*minute))
                    };
                    let name = object.name(ChannelId(0x1f));
                    let short = name.rsplit("01/").next().unwrap_or_default().to_owned();
                    let entry = objects
                        .entry(name)
                        .or_insert_with(|| (held(&short, None, 0), Vec::new()));
                    entry.1.push(*minute);
                    entry.0.newest = Some(at(*minute));
                }
                objects.into_values().collect()
            };
            let seen = times.len().min(seen);
            let (first, second) = (rolled.0.min(rolled.1), rolled.0.max(rolled.1));
            let base = list(&times[..seen], first);
            let later = list(&times, second);
            let of = |list: &[(Held, Vec<i64>)]| list.iter().map(|(held, _)| held.clone()).collect();
            let jobs = objects(of(&base), of(&later), Some(at(until)));
            let mut found = Vec::new();
            for job in jobs {
                let in_later = later.iter().find(|(held, _)| *held == job.held);
                let known = in_later.or_else(|| base.iter().find(|(held, _)| *held == job.held));
                let items = known.map(|(_, items)| items.clone()).unwrap_or_default();
                let kept = items.iter().filter(|minute| job.cut.is_none_or(|cut| at(**minute) <= cut));
                found.extend(kept.copied());
            }
            found.sort_unstable();
            let wanted: Vec<i64> = times.iter().copied().filter(|minute| *minute <= until).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
