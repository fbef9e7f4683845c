//! What an archive takes: objects and bytes, by kind and by channel.
//!
//! It is told by names and sizes alone, a thousand with each request; only the items of one channel are counted
//! by looking at the ends of its objects, and not of too many.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::name::{Object, channel_of, hour_len, minute_len};
use super::object::{FOOTER_LEN, Footer, GONE_LEN};
use super::store::{Found, MARKER, Store, StoreError, Which};
use crate::env::Millis;
use crate::spoke::ChannelId;

/// How many objects are listed at a time.
const PAGE: usize = 1000;
/// How many requests a survey may cost: two million objects.
const PAGES_MAX: usize = 2_000;
/// The most objects that are looked at for how many items they have, and how many at the same time.
const LOOKED_AT_MAX: usize = 2_000;
const LOOKED_AT_ONCE: usize = 16;

/// Objects, and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// What there is of a channel, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Objects of hours.
    pub hours: Count,
    /// Those of minutes.
    pub minutes: Count,
    /// Those of single items.
    pub items: Count,
    /// Those that stand in the place of deleted items.
    pub gone: Count,
    /// The first time that there is something of.
    pub oldest: Option<Millis>,
    /// The first time after all of that.
    pub newest: Option<Millis>,
}

impl Tally {
    /// All objects.
    pub fn all(&self) -> Count {
        let mut all = self.hours;
        for count in [self.minutes, self.items, self.gone] {
            all.add(count);
        }
        all
    }

    /// Adds what another one counts.
    pub fn add(&mut self, other: &Self) {
        self.hours.add(other.hours);
        self.minutes.add(other.minutes);
        self.items.add(other.items);
        self.gone.add(other.gone);
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.newest = self.newest.max(other.newest);
    }

    fn count(&mut self, object: &Object, size: u64) {
        let kind = match object {
            Object::Hour(_) => &mut self.hours,
            Object::Minute(_) => &mut self.minutes,
            Object::Item(_) if size == GONE_LEN as u64 => &mut self.gone,
            Object::Item(_) => &mut self.items,
        };
        kind.add(Count {
            objects: 1,
            bytes: size,
        });
        let (start, end) = (object.start(), object.end());
        self.oldest = Some(self.oldest.map_or(start, |oldest| oldest.min(start)));
        self.newest = Some(self.newest.map_or(end, |newest| newest.max(end)));
    }
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Of each channel.
    pub channels: BTreeMap<ChannelId, Tally>,
    /// What is of no channel.
    pub others: Count,
    /// Whether everything was counted: there may be too much.
    pub complete: bool,
}

/// Counts the objects of all channels, or of one.
///
/// # Errors
/// [`StoreError`].
pub async fn survey(store: &Store, channel: Option<ChannelId>) -> Result<Survey, StoreError> {
    let mut survey = Survey::default();
    let folder = channel.map(channel_of).unwrap_or_default();
    let mut at = format!("{folder}/");
    for _ in 0..PAGES_MAX {
        let page = store.objects(&folder, &at, PAGE).await?;
        for Found { name, size, .. } in &page.objects {
            match Object::parse(name) {
                Ok((channel, object)) => {
                    let tally = survey.channels.entry(channel).or_default();
                    tally.count(&object, *size);
                }
                Err(_) if name == MARKER => {}
                Err(_) => survey.others.add(Count {
                    objects: 1,
                    bytes: *size,
                }),
            }
        }
        match page.objects.last() {
            Some(last) if page.more => at.clone_from(&last.name),
            _ => {
                survey.complete = true;
                break;
            }
        }
    }
    Ok(survey)
}

/// How many items a channel has, as its objects say; `None` if they are too many to be asked. Single items of a
/// minute or an hour that has an object are taken for its: they are, but for what was written past Spoke later.
///
/// # Errors
/// [`StoreError`].
pub async fn items(store: &Store, channel: ChannelId) -> Result<Option<u64>, StoreError> {
    let folder = channel_of(channel);
    let mut at = format!("{folder}/");
    let (mut items, mut looked_at) = (0, 0);
    // What is in the object of its hour is not counted again.
    let (mut hour_to, mut covered_to) = (Millis::MIN, Millis::MIN);
    for _ in 0..PAGES_MAX {
        let page = store.objects(&folder, &at, PAGE).await?;
        let mut many = Vec::new();
        for Found { name, size, .. } in &page.objects {
            match Object::parse(name) {
                Ok((_, Object::Hour(hour))) => {
                    hour_to = hour.plus(hour_len());
                    covered_to = hour_to;
                    many.push(name.clone());
                }
                Ok((_, Object::Minute(minute))) if minute >= hour_to => {
                    covered_to = minute.plus(minute_len());
                    many.push(name.clone());
                }
                Ok((_, Object::Item(key)))
                    if key.millis >= covered_to && *size != GONE_LEN as u64 =>
                {
                    items += 1;
                }
                _ => {}
            }
        }
        looked_at += many.len();
        if looked_at > LOOKED_AT_MAX {
            return Ok(None);
        }
        let counts = stream::iter(many).map(|name| items_of(store, name));
        let counts: Vec<u64> = counts.buffered(LOOKED_AT_ONCE).try_collect().await?;
        items += counts.iter().sum::<u64>();
        match page.objects.last() {
            Some(last) if page.more => at.clone_from(&last.name),
            _ => return Ok(Some(items)),
        }
    }
    Ok(None)
}

/// How many items an object has; none if it has gone since it was listed.
async fn items_of(store: &Store, name: String) -> Result<u64, StoreError> {
    let end = store.read(&name, Which::Last(FOOTER_LEN as u64)).await?;
    let Some(end) = end else {
        return Ok(0);
    };
    let footer = Footer::parse(&end.bytes, end.length);
    footer
        .map(|footer| footer.items)
        .map_err(|damaged| StoreError {
            what: "read",
            reason: damaged.to_string(),
            cut_off: false,
            name,
        })
}

#[cfg(test)]
mod tests {
    use super::super::name::{HOUR, MINUTE};
    use super::super::object::{ObjectWriter, gone};
    use super::super::store::watched::watched;
    use super::*;
    use crate::item::{ItemKey, Suffix};

    const A: ChannelId = ChannelId(1);
    const B: ChannelId = ChannelId(2);
    const NOON: Millis = Millis::new(1_790_000_000_000 / HOUR * HOUR);

    fn key(at: Millis) -> ItemKey {
        ItemKey::new(at, Suffix::parse("000a00").unwrap())
    }

    /// Puts an object of so many records, and says how long it is.
    async fn put(store: &Store, channel: ChannelId, object: Object, records: i64) -> u64 {
        let mut writer = ObjectWriter::new(channel);
        for at in 0..records {
            let key = key(object.start().plus(at));
            writer.push(key, None, b"payload").unwrap();
        }
        let bytes = writer.finish().unwrap();
        let length = bytes.len() as u64;
        store.create(&object.name(channel), bytes).await.unwrap();
        length
    }

    #[tokio::test]
    async fn objects_are_counted_by_kind_and_channel() {
        let (store, watch) = watched();
        let hour = put(&store, A, Object::Hour(NOON), 5).await;
        // It is in the hour's object, and is about to go.
        let first = put(&store, A, Object::Minute(NOON), 2).await;
        let next = NOON.plus(HOUR);
        let second = put(&store, A, Object::Minute(next.plus(MINUTE)), 3).await;
        let old = NOON.minus(1_000 * HOUR);
        let item = put(&store, A, Object::Item(key(old)), 1).await;
        let deleted = Object::Item(key(old.plus(1))).name(A);
        store.create(&deleted, gone(A)).await.unwrap();
        let other = put(&store, B, Object::Minute(NOON), 1).await;
        store.create("notes/x", "abc".into()).await.unwrap();
        watch.clear();
        let all = survey(&store, None).await.unwrap();
        assert!(all.complete);
        assert_eq!(
            all.others,
            Count {
                objects: 1,
                bytes: 3
            }
        );
        assert_eq!(watch.take("list"), 1);
        let count = |objects, bytes| Count { objects, bytes };
        let of_a = Tally {
            hours: count(1, hour),
            minutes: count(2, first + second),
            items: count(1, item),
            gone: count(1, GONE_LEN as u64),
            oldest: Some(old),
            newest: Some(next.plus(2 * MINUTE)),
        };
        assert_eq!(all.channels[&A], of_a);
        assert_eq!(all.channels[&B].all(), count(1, other));
        let alone = survey(&store, Some(A)).await.unwrap();
        assert_eq!(alone.channels.into_iter().collect::<Vec<_>>(), [(A, of_a)]);
        let mut total = Tally::default();
        for tally in all.channels.values() {
            total.add(tally);
        }
        assert_eq!(total.all().objects, 6);
        assert_eq!((total.oldest, total.newest), (of_a.oldest, of_a.newest));
        assert_eq!(items(&store, A).await.unwrap(), Some(5 + 3 + 1));
        // Kept both ways, it counts once.
        put(&store, A, Object::Item(key(next.plus(MINUTE + 1))), 1).await;
        put(&store, A, Object::Item(key(NOON.plus(MINUTE + 1))), 1).await;
        assert_eq!(items(&store, A).await.unwrap(), Some(5 + 3 + 1));
        put(&store, A, Object::Item(key(next.plus(2 * MINUTE))), 1).await;
        assert_eq!(items(&store, A).await.unwrap(), Some(5 + 3 + 1 + 1));
        assert_eq!(items(&store, ChannelId(3)).await.unwrap(), Some(0));
    }
}
