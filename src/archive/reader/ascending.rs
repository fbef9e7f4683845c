//! Walking forward: by the names, in their order.

use super::super::name::{self, Object, hour_len, minute_len};
use super::super::object::GONE_LEN;
use super::merger::Merger;
use super::{ArchiveReader, Listed, ReadArchiveError, Wanted};
use crate::env::Millis;
use crate::item::ItemKey;

impl ArchiveReader {
    pub(super) async fn ascending(&self, wanted: &Wanted) -> Result<Listed, ReadArchiveError> {
        let channel = wanted.channel;
        let folder = name::channel_of(channel);
        let start = wanted.from.millis;
        let mut merger = Merger::new(wanted.from, wanted.to, wanted.limit);
        let mut after = name::before(channel, start);
        // Up to where an object of many records was taken, which are all there are.
        let mut taken = Millis::MIN;
        'pages: loop {
            let settled = !wanted.singles_from(start);
            let remembered = settled.then(|| self.names.remembered(channel, &after, &after));
            let page = match remembered.flatten() {
                Some(page) => page,
                None => self.names.page(channel, &folder, &after, settled).await?,
            };
            for there in page.there.iter() {
                let begin = there.object.start();
                if ItemKey::first_of(begin) >= wanted.to {
                    break 'pages;
                }
                merger.settle(&ItemKey::first_of(begin));
                let first = match there.object {
                    Object::Item(key) => key,
                    Object::Hour(_) | Object::Minute(_) => ItemKey::first_of(begin),
                };
                if merger.is_done(&first) {
                    break 'pages;
                }
                match there.object {
                    Object::Hour(_) | Object::Minute(_) if merger.is_full() => {}
                    _ if there.object.end() <= start => {}
                    Object::Minute(_) if begin < taken => {}
                    Object::Hour(_) | Object::Minute(_) => {
                        let known = self.objects.known(there, wanted.limit).await?;
                        merger.many(known, usize::MAX);
                        let end = there.object.end();
                        taken = end;
                        if !wanted.singles_from(begin) {
                            merger.settle(&ItemKey::first_of(end));
                        }
                    }
                    Object::Item(_) if begin < taken && !wanted.singles_from(begin) => {}
                    Object::Item(key) => merger.one(key, there.size == GONE_LEN as u64),
                }
                // Items of a bulk insert that were deleted are said to be behind it.
                if merger.is_full() && !(merger.ends_in_bulk() && wanted.singles_from(begin)) {
                    break 'pages;
                }
            }
            let Some(last) = page.last.filter(|_| page.more) else {
                break;
            };
            after = last;
            // What need not be seen is stepped over.
            let mut steps = Vec::new();
            if !wanted.singles_from(taken.minus(hour_len())) && taken > Millis::MIN {
                steps.push(at_or_behind(wanted, taken));
            }
            for step in [
                name::before_minute(channel, start),
                name::before_items(channel, start),
            ] {
                // One after the other: the object of the minute may be between the two.
                if step > after {
                    steps.push(step);
                    break;
                }
            }
            after = steps.into_iter().fold(after, Ord::max);
        }
        merger.end();
        Ok(Listed::cut(merger.keys, merger.gone, wanted.limit))
    }
}

/// Right before everything that begins at a time, the end of a minute or an hour.
fn at_or_behind(wanted: &Wanted, at: Millis) -> String {
    if at.floor_to(hour_len()) == at {
        name::before(wanted.channel, at)
    } else {
        name::before_minute(wanted.channel, at.floor_to(minute_len()))
    }
}
