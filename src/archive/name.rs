//! What objects are called.
//!
//! ```text
//! {channel:016x}/{year}-{month}/{day}/{hour}.hour                     an hour's items
//! {channel:016x}/{year}-{month}/{day}/{hour}{minute}.minute           a minute's
//! {channel:016x}/{year}-{month}/{day}/{hour}{minute}{second}{ms}-{hash}.item   one
//! ```
//!
//! Numbers are padded, so names sort as times do: whoever looks for what comes after a time asks for
//! the names behind it, and time in which there is nothing costs nothing. Who looks for what comes
//! before asks for the months that there are, then for the days of one.

use std::fmt::{self, Write as _};

use crate::env::Millis;
use crate::item::{ItemKey, Suffix};
use crate::spoke::ChannelId;

#[cfg(test)]
pub(crate) const MINUTE: i64 = 60_000;
#[cfg(test)]
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// How long a minute is, in milliseconds: the time that an object of many items is of.
#[cfg(not(feature = "faults"))]
pub const fn minute_len() -> i64 {
    60_000
}

/// How long a minute is, in milliseconds: a test may have shorter ones, to see a day of them.
#[cfg(feature = "faults")]
pub fn minute_len() -> i64 {
    crate::env::faults::minute_millis()
}

/// How long an hour is, in milliseconds: sixty minutes.
pub fn hour_len() -> i64 {
    60 * minute_len()
}

/// An object of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Object {
    /// The items of the hour that begins then.
    Hour(Millis),
    /// The items of the minute that begins then.
    Minute(Millis),
    /// The item of that key.
    Item(ItemKey),
}

/// A name that is none of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoName;

impl Object {
    /// The first time that it can have items of.
    pub fn start(&self) -> Millis {
        match self {
            Self::Hour(start) | Self::Minute(start) => *start,
            Self::Item(key) => key.millis,
        }
    }

    /// The first time after those.
    pub fn end(&self) -> Millis {
        match self {
            Self::Hour(start) => start.plus(hour_len()),
            Self::Minute(start) => start.plus(minute_len()),
            Self::Item(key) => key.millis.plus(1),
        }
    }

    /// Its name.
    pub fn name(&self, channel: ChannelId) -> String {
        let mut name = day_of(channel, self.start());
        let fields = Fields(self.start());
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Hour(_) => write!(name, "/{}.hour", fields.of(hour_digits())),
            Self::Minute(_) => write!(name, "/{}.minute", fields.of(minute_digits())),
            Self::Item(key) => write!(name, "/{}-{}.item", fields.of(9), key.suffix),
        };
        name
    }

    /// The object of that name, and its channel.
    ///
    /// # Errors
    /// [`NoName`].
    pub fn parse(name: &str) -> Result<(ChannelId, Self), NoName> {
        let object = Self::parts(name).ok_or(NoName)?;
        // Another spelling of a name is another object.
        (object.1.name(object.0) == name)
            .then_some(object)
            .ok_or(NoName)
    }

    fn parts(name: &str) -> Option<(ChannelId, Self)> {
        let mut segments = name.split('/');
        let channel = u64::from_str_radix(segments.next()?, 16).ok()?;
        let (year, month) = segments.next()?.split_once('-')?;
        let day = segments.next()?;
        let (time, kind) = segments.next()?.split_once('.')?;
        let (time, suffix) = match time.split_once('-') {
            Some((time, suffix)) => (time, Some(suffix)),
            None => (time, None),
        };
        let number = |from: usize, to: usize| match time.get(from..to) {
            Some(digits) => digits.parse::<u16>().ok(),
            None => Some(0),
        };
        let iso = format!(
            "{year}-{month}-{day}T{:02}:{:02}:{:02}.{:03}Z",
            number(0, 2)?,
            number(2, 4)?,
            number(4, 6)?,
            number(6, 9)?
        );
        let start = Millis::parse_iso(&iso).ok()?;
        let object = match (kind, suffix) {
            ("hour", None) => Self::Hour(start),
            ("minute", None) => Self::Minute(start),
            ("item", Some(suffix)) => Self::Item(ItemKey::new(start, Suffix::parse(suffix).ok()?)),
            _ => return None,
        };
        segments
            .next()
            .is_none()
            .then_some((ChannelId(channel), object))
    }
}

/// The folder of a channel.
pub fn channel_of(channel: ChannelId) -> String {
    format!("{:016x}", channel.0)
}

/// The folder of a channel's month.
pub fn month_of(channel: ChannelId, at: Millis) -> String {
    let date = at.civil().date();
    format!("{:016x}/{:04}-{:02}", channel.0, date.year(), date.month())
}

/// The folder of a channel's day.
pub fn day_of(channel: ChannelId, at: Millis) -> String {
    let date = at.civil().date();
    let (year, month, day) = (date.year(), date.month(), date.day());
    format!("{:016x}/{year:04}-{month:02}/{day:02}", channel.0)
}

/// A position right before all objects that can have items at or after a time.
pub fn before(channel: ChannelId, at: Millis) -> String {
    let begin = at.floor_to(hour_len());
    // A point sorts before every digit: the hour's own object is the first of the hour's.
    let mut name = day_of(channel, begin);
    let _ = write!(name, "/{}", Fields(begin).of(hour_digits()));
    name
}

/// As [`before`], for where nothing is asked of the object of the hour: right before the object of the
/// time's minute.
pub fn before_minute(channel: ChannelId, at: Millis) -> String {
    let at = at.floor_to(minute_len());
    let mut name = day_of(channel, at);
    let _ = write!(name, "/{}", Fields(at).of(minute_digits()));
    name
}

/// As [`before_minute`], for where nothing is asked of that object either: right before the single items
/// of the time.
pub fn before_items(channel: ChannelId, at: Millis) -> String {
    let mut name = day_of(channel, at);
    let _ = write!(name, "/{}", Fields(at).of(9));
    name
}

/// How many digits of the time of day say which minute it is: more where minutes are shorter.
fn minute_digits() -> usize {
    if minute_len() < 60_000 { 6 } else { 4 }
}

/// As [`minute_digits`], for the hour.
fn hour_digits() -> usize {
    if minute_len() < 60_000 { 4 } else { 2 }
}

/// The digits of a time of day.
struct Fields(Millis);

impl Fields {
    /// The first so many: hours, minutes, seconds, milliseconds.
    fn of(&self, count: usize) -> impl fmt::Display + use<> {
        let time = self.0.civil().time();
        let mut text = format!(
            "{:02}{:02}{:02}{:03}",
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        );
        text.truncate(count);
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHANNEL: ChannelId = ChannelId(0x1f);

    fn millis() -> impl Strategy<Value = Millis> {
        // The years 1 to 9998.
        (-62_135_596_800_000i64..253_370_764_800_000).prop_map(Millis::new)
    }

    fn object() -> impl Strategy<Value = Object> {
        let suffix = "[0-9A-Za-z]{1,12}".prop_map(|text| Suffix::parse(&text).unwrap());
        prop_oneof![
            millis().prop_map(|at| Object::Hour(at.floor_to(HOUR))),
            millis().prop_map(|at| Object::Minute(at.floor_to(MINUTE))),
            (millis(), suffix).prop_map(|(at, suffix)| Object::Item(ItemKey::new(at, suffix))),
        ]
    }

    #[test]
    fn names_are_these() {
        let at = Millis::parse_iso("2026-11-22T01:02:03.456Z").unwrap();
        let key = ItemKey::new(at, Suffix::parse("000aXb").unwrap());
        for (object, name) in [
            (
                Object::Hour(at.floor_to(HOUR)),
                "000000000000001f/2026-11/22/01.hour",
            ),
            (
                Object::Minute(at.floor_to(MINUTE)),
                "000000000000001f/2026-11/22/0102.minute",
            ),
            (
                Object::Item(key),
                "000000000000001f/2026-11/22/010203456-000aXb.item",
            ),
        ] {
            assert_eq!(object.name(CHANNEL), name);
        }
        assert_eq!(before(CHANNEL, at), "000000000000001f/2026-11/22/01");
        assert_eq!(month_of(CHANNEL, at), "000000000000001f/2026-11");
    }

    #[test]
    fn what_is_no_name_is_told() {
        for name in [
            "",
            "1f/2026-11/22/01.hour",
            "000000000000001f/2026-11/22/0102.hour",
            "000000000000001f/2026-11/22/01.minute",
            "000000000000001f/2026-11/31/01.hour",
            "000000000000001f/2026-11/22/0160.minute",
            "000000000000001f/2026-11/22/01.hour/x",
            "000000000000001f/2026-11/22/010203456-.item",
            "000000000000001f/2026-11/22/010203456-a-b.item",
            "000000000000001f/2026-11/22/0102.other",
        ] {
            assert_eq!(Object::parse(name), Err(NoName), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(object in object()) {
            let name = object.name(CHANNEL);
            prop_assert_eq!(Object::parse(&name), Ok((CHANNEL, object)));
            prop_assert!(name.starts_with(&day_of(CHANNEL, object.start())));
            prop_assert!(name.starts_with(&month_of(CHANNEL, object.start())));
        }

        #[test]
        fn what_may_have_later_items_comes_behind(object in object(), at in millis()) {
            let name = object.name(CHANNEL);
            if object.end() > at {
                prop_assert!(name > before(CHANNEL, at));
            } else if object.end() <= at.floor_to(HOUR) {
                prop_assert!(name < before(CHANNEL, at));
            }
            if !matches!(object, Object::Hour(_)) {
                prop_assert_eq!(name > before_minute(CHANNEL, at), object.end() > at.floor_to(MINUTE));
            }
            if let Object::Item(key) = object {
                prop_assert_eq!(name > before_items(CHANNEL, at), key.millis >= at);
            }
        }

        #[test]
        fn names_sort_as_times_do(a in object(), b in object()) {
            // Of an hour the whole comes first, and of a minute.
            if a.end() <= b.start() && a.start().floor_to(HOUR) < b.start().floor_to(HOUR) {
                prop_assert!(a.name(CHANNEL) < b.name(CHANNEL));
            }
        }
    }
}
