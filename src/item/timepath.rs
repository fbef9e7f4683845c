//! Periods of time as paths: `2026/11/22/01/02` and its neighbours.

use std::fmt::{self, Write as _};

use jiff::civil::{Date, DateTime, Time};
use thiserror::Error;

use super::key::ItemKey;
use super::suffix::{Suffix, SuffixError};
use crate::env::Millis;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// One UTC day.
    Day,
    /// One hour.
    Hour,
    /// One minute.
    Minute,
    /// One second.
    Second,
}

impl Unit {
    /// Every unit, longest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Hour, Self::Minute, Self::Second];

    /// Its length in milliseconds (UTC has no leap seconds here, so it is fixed).
    pub const fn millis(self) -> i64 {
        match self {
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1_000,
        }
    }

    /// `day`, `hour`, `minute` or `second`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
        }
    }

    /// The unit of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name() == name)
    }
}

/// A day, hour, minute or second of UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimePath {
    start: Millis,
    unit: Unit,
}

/// A date field that is a number, but not one the calendar has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is {value}, but must be {rule}")]
pub struct FieldError {
    /// `year`, `month`, `day`, `hour`, `minute`, `second` or `millisecond`.
    pub field: &'static str,
    /// What was sent.
    pub value: String,
    /// What is allowed.
    pub rule: String,
}

/// Why segments of a path are no time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimePathError {
    /// One of them is no integer: there is no such path.
    #[error("not a number")]
    NotANumber,
    /// One is out of the calendar's range.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// The numbers of a path, from the year down to at most the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFields {
    /// The start of the period that they name.
    pub start: Millis,
    /// How many fields were given: 3 for a day up to 7 for a millisecond.
    pub depth: usize,
}

const FIELDS: [(&str, i64, i64); 7] = [
    ("year", 1, 9999),
    ("month", 1, 12),
    ("day", 1, 31),
    ("hour", 0, 23),
    ("minute", 0, 59),
    ("second", 0, 59),
    ("millisecond", 0, 999),
];

impl KeyFields {
    /// Reads 3 to 7 path segments: year, month, day, hour, minute, second, millisecond. Numbers
    /// may come unpadded.
    ///
    /// # Errors
    /// [`TimePathError::NotANumber`] for another text or another count of segments;
    /// [`TimePathError::Field`] for a number that the calendar does not have.
    pub fn parse(segments: &[&str]) -> Result<Self, TimePathError> {
        if !(3..=7).contains(&segments.len()) {
            return Err(TimePathError::NotANumber);
        }
        let mut values = [0i64; 7];
        // Every field is checked to be a number before any is checked to be in range: a path that
        // does not exist is "not found" whatever else is wrong with it.
        for (value, segment) in values.iter_mut().zip(segments) {
            *value = parse_integer(segment)?;
        }
        for ((value, segment), (field, low, high)) in values.iter().zip(segments).zip(FIELDS) {
            if !(low..=high).contains(value) {
                return Err(TimePathError::Field(FieldError {
                    field,
                    value: (*segment).to_owned(),
                    rule: format!("{low} to {high}"),
                }));
            }
        }
        let [year, month, day, hour, minute, second, milli] = values;
        let date = Date::new(year as i16, month as i8, day as i8).map_err(|_| FieldError {
            field: "day",
            value: segments.get(2).copied().unwrap_or_default().to_owned(),
            rule: format!("a day that {year:04}-{month:02} has"),
        })?;
        let time = Time::constant(
            hour as i8,
            minute as i8,
            second as i8,
            milli as i32 * 1_000_000,
        );
        let start = Millis::from_civil(DateTime::from_parts(date, time));
        Ok(Self {
            start,
            depth: segments.len(),
        })
    }

    /// The period that 3 to 6 fields name; `None` for a millisecond.
    pub fn time_path(self) -> Option<TimePath> {
        let unit = match self.depth {
            3 => Unit::Day,
            4 => Unit::Hour,
            5 => Unit::Minute,
            6 => Unit::Second,
            _ => return None,
        };
        Some(TimePath::of(unit, self.start))
    }

    /// The key of that millisecond and suffix.
    ///
    /// # Errors
    /// [`SuffixError`] if the text is no suffix.
    pub fn key(self, suffix: &str) -> Result<ItemKey, SuffixError> {
        Ok(ItemKey::new(self.start, Suffix::parse(suffix)?))
    }
}

/// An integer as clients write one: an optional sign and digits. One that does not fit is out of
/// every range, so it is cut to the ends of `i64`.
fn parse_integer(text: &str) -> Result<i64, TimePathError> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TimePathError::NotANumber);
    }
    Ok(text.parse().unwrap_or(if text.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    }))
}

impl TimePath {
    /// The period of that unit which holds `at`.
    pub fn of(unit: Unit, at: Millis) -> Self {
        Self {
            start: at.floor_to(unit.millis()),
            unit,
        }
    }

    /// When it begins.
    pub fn start(&self) -> Millis {
        self.start
    }

    /// When it ends: the first millisecond that is not in it.
    pub fn end(&self) -> Millis {
        self.start.plus(self.unit.millis())
    }

    /// Its unit.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The period after it.
    pub fn next(&self) -> Self {
        self.moved(1)
    }

    /// The period before it.
    pub fn previous(&self) -> Self {
        self.moved(-1)
    }

    /// The period that many steps later, or earlier if negative; the calendar's first or last one
    /// where it ends.
    pub fn moved(&self, steps: i64) -> Self {
        Self::of(
            self.unit,
            self.start.plus(steps.saturating_mul(self.unit.millis())),
        )
    }

    /// Appends `YYYY/MM/DD`, `/hh`, `/mm`, `/ss` as far as the unit goes.
    pub fn write_path(&self, out: &mut String) {
        let t = self.start.civil();
        // Writing to a string cannot fail.
        let _ = write!(out, "{:04}/{:02}/{:02}", t.year(), t.month(), t.day());
        if self.unit >= Unit::Hour {
            let _ = write!(out, "/{:02}", t.hour());
        }
        if self.unit >= Unit::Minute {
            let _ = write!(out, "/{:02}", t.minute());
        }
        if self.unit >= Unit::Second {
            let _ = write!(out, "/{:02}", t.second());
        }
    }
}

/// Appends `YYYY/MM/DD/hh/mm/ss/SSS`.
pub(super) fn write_millis(at: Millis, out: &mut String) {
    at.push_fields(out, ['/'; 6]);
}

impl fmt::Display for TimePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::with_capacity(20);
        self.write_path(&mut path);
        f.write_str(&path)
    }
}

impl fmt::Debug for TimePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segments(path: &str) -> Vec<&str> {
        path.split('/').collect()
    }

    fn parse(path: &str) -> Result<KeyFields, TimePathError> {
        KeyFields::parse(&segments(path))
    }

    proptest! {
        #[test]
        fn periods_print_and_parse(ms in Millis::MIN.get()..=Millis::MAX.get(), unit in 0usize..4) {
            let path = TimePath::of(Unit::ALL[unit], Millis::new(ms));
            prop_assert!(path.start() <= Millis::new(ms) && Millis::new(ms) < path.end() || path.end() == Millis::MAX);
            prop_assert_eq!(parse(&path.to_string()).unwrap().time_path(), Some(path));
            if path.start() > Millis::MIN.plus(Unit::Day.millis()) && path.end() < Millis::MAX {
                prop_assert_eq!(path.next().previous(), path);
                prop_assert_eq!(path.next().start(), path.end());
            }
        }

        #[test]
        fn keys_print_and_parse(ms in Millis::MIN.get()..=Millis::MAX.get(), suffix in "[0-9A-Za-z]{1,31}") {
            let key = ItemKey::new(Millis::new(ms), Suffix::parse(&suffix).unwrap());
            let text = key.to_string();
            let (time, hash) = text.rsplit_once('/').unwrap();
            prop_assert_eq!(parse(time).unwrap().key(hash).unwrap(), key);
        }

        #[test]
        fn no_text_panics(text in "[-+/0-9a-z]{0,40}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn unpadded_numbers_are_read() {
        let short = parse("2024/5/1/9/5/7/3").unwrap();
        assert_eq!(short, parse("2024/05/01/09/05/07/003").unwrap());
        assert_eq!(short.start.iso(), "2024-05-01T09:05:07.003Z");
    }

    #[test]
    fn what_the_calendar_lacks_names_the_field() {
        for (path, field) in [
            ("0/01/01", "year"),
            ("10000/01/01", "year"),
            ("2024/0/01", "month"),
            ("2024/13/01", "month"),
            ("2024/01/0", "day"),
            ("2024/01/32", "day"),
            ("2024/02/30", "day"),
            ("2023/02/29", "day"),
            ("2024/01/01/24", "hour"),
            ("2024/01/01/00/60", "minute"),
            ("2024/01/01/00/00/60", "second"),
            ("2024/01/01/00/00/-1", "second"),
            ("2024/01/01/00/00/00/1000", "millisecond"),
            ("2024/01/01/00/00/99999999999999999999", "second"),
        ] {
            match parse(path) {
                Err(TimePathError::Field(error)) => assert_eq!(error.field, field, "{path}"),
                other => unreachable!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_number_is_no_path() {
        for path in [
            "2024/01",
            "2024/01/x",
            "2024/01/01/",
            "2024/01/01/1.5",
            "a/99/99",
            "2024/99/-",
        ] {
            assert_eq!(parse(path), Err(TimePathError::NotANumber), "{path}");
        }
    }
}
