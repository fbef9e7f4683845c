//! Walking backward: names are listed forward only, so from the months that there are to the days of the
//! last one, and to the end of that day.

use super::super::name::{self, Object, hour_len, minute_len};
use super::super::object::GONE_LEN;
use super::merger::Merger;
use super::names::{Page, There, day_of, days_of};
use super::{ArchiveReader, Listed, ReadArchiveError, Wanted};
use crate::env::Millis;
use crate::item::ItemKey;

const DAY: i64 = 24 * 3_600_000;

/// What was found so far of a walk backward.
struct Walk<'a> {
    wanted: &'a Wanted,
    /// What lies at or above that one is known.
    end: ItemKey,
    keys: Vec<ItemKey>,
    gone: Vec<ItemKey>,
}

/// All objects that can have items from a time on, up to where the walk is.
struct Tail {
    from: Millis,
    there: Vec<There>,
}

impl ArchiveReader {
    pub(super) async fn descending(&self, wanted: &Wanted) -> Result<Listed, ReadArchiveError> {
        let channel = wanted.channel;
        let mut walk = Walk {
            wanted,
            end: wanted.to,
            keys: Vec::new(),
            gone: Vec::new(),
        };
        self.go_on_from_memory(&mut walk).await?;
        let to = walk.last();
        let (first_month, last_month) = (
            name::month_of(channel, wanted.from.millis),
            name::month_of(channel, to),
        );
        let (first_day, last_day) = (
            name::day_of(channel, wanted.from.millis),
            name::day_of(channel, to),
        );
        let mut months = Vec::new();
        if !walk.is_over() {
            let folder = name::channel_of(channel);
            months = self
                .names
                .folders(&folder, &first_month, &last_month)
                .await?;
        }
        while let Some(month) = months.pop().filter(|_| !walk.is_over()) {
            if self.take_month(&mut walk, &month).await? {
                continue;
            }
            let mut days = self.names.folders(&month, &first_day, &last_day).await?;
            while let Some(day) = days.pop().filter(|_| !walk.is_over()) {
                let Some(start) = day_of(&day) else {
                    continue;
                };
                walk.end = walk.end.min(ItemKey::first_of(start.plus(DAY)));
                while walk.end > ItemKey::first_of(start) && !walk.is_over() {
                    let tail = self.tail(&walk, &day, start).await?;
                    self.take(&mut walk, tail).await?;
                }
            }
        }
        Ok(Listed::cut(walk.keys, walk.gone, wanted.limit))
    }

    /// Takes all of a month, if that is no more than is listed at a time: where items come far apart, or
    /// none has come for long, that is all there is to ask.
    async fn take_month(&self, walk: &mut Walk<'_>, month: &str) -> Result<bool, ReadArchiveError> {
        let Some((start, end)) = days_of(month) else {
            // It is none of the hub's.
            return Ok(true);
        };
        walk.end = walk.end.min(ItemKey::first_of(end));
        let settled = !walk.wanted.singles_from(start);
        let channel = walk.wanted.channel;
        let page = self.names.page(channel, month, month, settled).await?;
        if page.more {
            return Ok(false);
        }
        let there = within(&page, &walk.end);
        self.take(walk, Tail { from: start, there }).await?;
        Ok(true)
    }

    /// Goes on as far as the day's names are remembered from a page before.
    async fn go_on_from_memory(&self, walk: &mut Walk<'_>) -> Result<(), ReadArchiveError> {
        let Wanted { channel, from, .. } = *walk.wanted;
        let start = walk.last().floor_to(DAY);
        if walk.wanted.singles_from(start.max(from.millis)) {
            return Ok(());
        }
        let after = name::day_of(channel, start);
        // The last name that can matter.
        let to = if walk.end.suffix.is_empty() {
            name::before_items(channel, walk.last()) + "~"
        } else {
            Object::Item(walk.end).name(channel)
        };
        if let Some(page) = self.names.remembered(channel, &after, &to) {
            let there = within(&page, &walk.end);
            self.take(walk, Tail { from: start, there }).await?;
        }
        Ok(())
    }

    /// What there is at the end of a day, before where the walk is.
    async fn tail(
        &self,
        walk: &Walk<'_>,
        day: &str,
        start: Millis,
    ) -> Result<Tail, ReadArchiveError> {
        let channel = walk.wanted.channel;
        let settled = !walk.wanted.singles_from(start);
        let to = name::before_items(channel, walk.end.millis.plus(1));
        let page = self.names.page(channel, day, day, settled).await?;
        let there = within(&page, &walk.end);
        if page.reaches(&to) {
            return Ok(Tail { from: start, there });
        }
        // There is more than a page: something near `low`, nothing at or after `high`.
        let begin = |there: Option<&There>| there.map(|there| there.object.start());
        let (first, last) = (begin(there.first()), begin(there.last()));
        let mut low = last.unwrap_or(start).max(start);
        let mut high = walk.end.millis.plus(1);
        // A guess at where the last page begins: items come as close together as they did.
        let span = low.get() - first.unwrap_or(start).max(start).get();
        let mut middle = high.minus(span / 4 * 3);
        while low.plus(1) < high {
            if middle <= low || middle >= high {
                middle = low.plus((high.get() - low.get()) / 2);
            }
            let after = name::before_items(channel, middle);
            let page = self.names.page(channel, day, &after, false).await?;
            let there = within(&page, &walk.end);
            match there.last() {
                None => high = middle,
                Some(_) if page.reaches(&to) => {
                    return self.covered(walk, day, middle, there).await;
                }
                Some(last) => low = last.object.start().max(middle),
            }
            middle = Millis::MIN;
        }
        // One millisecond has more than a page.
        let mut there = Vec::new();
        let mut after = name::before_items(channel, low);
        loop {
            let page = self.names.page(channel, day, &after, false).await?;
            there.extend(within(&page, &walk.end));
            match page.last.clone().filter(|_| !page.reaches(&to)) {
                Some(last) => after = last,
                None => return self.covered(walk, day, low, there).await,
            }
        }
    }

    /// What there is from a time on, with the objects that begin before it and go on behind it.
    async fn covered(
        &self,
        walk: &Walk<'_>,
        day: &str,
        from: Millis,
        mut there: Vec<There>,
    ) -> Result<Tail, ReadArchiveError> {
        let channel = walk.wanted.channel;
        let hour = Object::Hour(from.floor_to(hour_len()));
        let minute = Object::Minute(from.floor_to(minute_len()));
        for (object, after) in [
            (minute, name::before_minute(channel, from)),
            (hour, name::before(channel, from)),
        ] {
            let page = self.names.page(channel, day, &after, false).await?;
            if let Some(first) = page.there.first().filter(|first| first.object == object) {
                there.insert(0, first.clone());
            }
        }
        // Where the hour's object has all there is, the rest of the hour need not be looked for.
        let whole = there.first().is_some_and(|first| first.object == hour)
            && !walk.wanted.singles_from(hour.start());
        Ok(Tail {
            from: if whole { hour.start() } else { from },
            there,
        })
    }

    /// Takes what there is: its last objects first, and no more of them than are needed.
    async fn take(&self, walk: &mut Walk<'_>, tail: Tail) -> Result<(), ReadArchiveError> {
        for group in groups(&tail.there).into_iter().rev() {
            if walk.is_over() {
                return Ok(());
            }
            let limit = walk.wanted.limit - walk.keys.len();
            let deleted = group.ones.iter().filter(|(_, deleted)| *deleted).count();
            let from = walk.wanted.from.max(ItemKey::first_of(tail.from));
            let mut merger = Merger::new(from, walk.end, usize::MAX);
            if let Some(many) = group.many {
                let known = self.objects.known(many, walk.wanted.limit).await?;
                merger.many(known, limit.saturating_add(deleted));
            }
            let begin = group.many.map(|many| many.object.start());
            // Else the object of many has them all.
            if begin.is_none_or(|begin| walk.wanted.singles_from(begin)) {
                for (key, deleted) in &group.ones {
                    merger.one(*key, *deleted);
                }
            }
            merger.end();
            walk.add(merger);
        }
        walk.end = walk.end.min(ItemKey::first_of(tail.from));
        Ok(())
    }
}

impl Walk<'_> {
    /// The last time that is not known.
    fn last(&self) -> Millis {
        let none_in_it = self.end.suffix.is_empty();
        self.end.millis.minus(i64::from(none_in_it))
    }

    fn is_over(&self) -> bool {
        self.keys.len() >= self.wanted.limit || self.end <= self.wanted.from
    }

    fn add(&mut self, merger: Merger) {
        self.keys.extend(merger.keys.into_iter().rev());
        self.gone.extend(merger.gone);
    }
}

/// The objects of a page that can have keys below that one.
fn within(page: &Page, end: &ItemKey) -> Vec<There> {
    let there = page.there.iter();
    there
        .take_while(|there| ItemKey::first_of(there.object.start()) < *end)
        .cloned()
        .collect()
}

/// Objects that may have the same items: an hour's or a minute's, if it is there, and single ones.
#[derive(Default)]
struct Group<'a> {
    many: Option<&'a There>,
    ones: Vec<(ItemKey, bool)>,
    /// Where it ends.
    until: Millis,
}

/// Objects in the order of their names, in groups of which none has an item of another.
fn groups(there: &[There]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for there in there {
        let begin = there.object.start();
        let within = groups.last_mut().filter(|group| begin < group.until);
        match (there.object, within) {
            // The hour has what the minute has.
            (Object::Minute(_), Some(_)) => {}
            (Object::Hour(_) | Object::Minute(_), _) => groups.push(Group {
                many: Some(there),
                ones: Vec::new(),
                until: there.object.end(),
            }),
            (Object::Item(key), within) => {
                let one = (key, there.size == GONE_LEN as u64);
                match within {
                    Some(group) => group.ones.push(one),
                    None => groups.push(Group {
                        many: None,
                        ones: vec![one],
                        until: begin.floor_to(minute_len()).plus(minute_len()),
                    }),
                }
            }
        }
    }
    groups
}
