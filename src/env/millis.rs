//! Points in time, as the hub counts them.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A point in time: UTC milliseconds since 1970-01-01T00:00:00Z, negative before it.
///
/// Confined to the years 0001 to 9999, so that it always prints as four digits of year.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(i64);

impl Millis {
    /// 0001-01-01T00:00:00.000Z, the earliest time there is a path for.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-30T00:00:00.000Z, the latest: a day short of what the calendar library holds, so
    /// that the period after any period exists.
    pub const MAX: Self = Self(253_402_128_000_000);

    /// The time that many milliseconds after 1970 (before it, if negative), moved into
    /// [`Self::MIN`]..=[`Self::MAX`].
    pub const fn new(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since 1970.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// That much later.
    pub const fn plus(self, millis: i64) -> Self {
        Self::new(self.0.saturating_add(millis))
    }

    /// That much earlier.
    pub const fn minus(self, millis: i64) -> Self {
        Self::new(self.0.saturating_sub(millis))
    }

    /// The start of the step of `width` milliseconds that holds this time.
    pub const fn floor_to(self, width: i64) -> Self {
        Self::new(self.0.div_euclid(width) * width)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The calendar date and time in UTC.
    pub fn civil(self) -> DateTime {
        // MIN and MAX lie inside the library's range, so the fallback is never taken.
        let timestamp = Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        Offset::UTC.to_datetime(timestamp)
    }

    /// The time at which the calendar in UTC shows `civil`.
    pub fn from_civil(civil: DateTime) -> Self {
        Offset::UTC
            .to_timestamp(civil)
            .map_or(Self::MAX, |timestamp| Self::new(timestamp.as_millisecond()))
    }

    /// ISO 8601 with exactly three fraction digits and `Z`: `2026-11-22T01:02:03.456Z`.
    pub fn iso(self) -> String {
        let mut text = String::with_capacity(24);
        self.push_fields(&mut text, ['-', '-', 'T', ':', ':', '.']);
        text.push('Z');
        text
    }

    /// Appends year, month, day, hour, minute, second and millisecond, each with all its digits and
    /// the given separators between them. Every link and every answer has some of these, so it
    /// works on digits.
    pub fn push_fields(self, out: &mut String, separators: [char; 6]) {
        let t = self.civil();
        let year = u32::from(t.year().unsigned_abs());
        push_two_digits(out, year / 100);
        push_two_digits(out, year % 100);
        let parts = [t.month(), t.day(), t.hour(), t.minute(), t.second()];
        let [between @ .., before_millis] = separators;
        for (part, separator) in parts.into_iter().zip(between) {
            out.push(separator);
            push_two_digits(out, u32::from(part.unsigned_abs()));
        }
        out.push(before_millis);
        let milli = u32::from(t.millisecond().unsigned_abs());
        out.push(char::from(b'0' + (milli / 100) as u8));
        push_two_digits(out, milli % 100);
    }

    /// Reads an ISO 8601 date with optional time and offset; without an offset it is UTC.
    ///
    /// # Errors
    /// Says what is wrong with the text, in words for a person.
    pub fn parse_iso(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if is_leap_second(text) {
            return Err(format!("{text:?} has a second that is not 00 to 59"));
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(Self::new(timestamp.as_millisecond()));
        }
        // The library accepts more than ISO 8601 dates (durations' cousins, zone annotations);
        // a civil date or date and time is all that is left to allow.
        text.parse::<DateTime>()
            .map(Self::from_civil)
            .map_err(|_| format!("{text:?} is not an ISO 8601 date with optional time and offset"))
    }
}

/// Whether a date with a time is of a leap second, which the library takes for the second before it.
fn is_leap_second(text: &str) -> bool {
    let time = text
        .split_once(['T', 't', ' '])
        .map_or("", |(_, time)| time);
    // With colons between the digits or without.
    let digits = time.bytes().filter(|byte| *byte != b':');
    let mut digits = digits.take_while(u8::is_ascii_digit).skip(4);
    (digits.next(), digits.next()) == (Some(b'6'), Some(b'0'))
}

fn push_two_digits(out: &mut String, number: u32) {
    out.push(char::from(b'0' + (number / 10) as u8));
    out.push(char::from(b'0' + (number % 10) as u8));
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso())
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_three_fraction_digits() {
        assert_eq!(Millis::new(0).iso(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Millis::new(-1).iso(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Millis::MIN.iso(), "0001-01-01T00:00:00.000Z");
        assert_eq!(Millis::MAX.iso(), "9999-12-30T00:00:00.000Z");
    }

    #[test]
    fn reads_dates_with_and_without_time_and_offset() {
        let at = |text| Millis::parse_iso(text).map(Millis::iso);
        assert_eq!(at("2024-05-01").unwrap(), "2024-05-01T00:00:00.000Z");
        assert_eq!(
            at("2024-05-01T08:00:00").unwrap(),
            "2024-05-01T08:00:00.000Z"
        );
        assert_eq!(
            at("2024-05-01T08:00:00+02:00").unwrap(),
            "2024-05-01T06:00:00.000Z"
        );
        assert_eq!(
            at(" 2024-05-01T08:00:00.5Z ").unwrap(),
            "2024-05-01T08:00:00.500Z"
        );
        for bad in ["", "yesterday", "2024-13-01", "2024-02-30", "12"] {
            assert!(at(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn a_minute_has_sixty_seconds() {
        for bad in [
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:60.999Z",
            " 2016-12-31T23:59:60",
            "2016-12-31 23:59:60+01:00",
            "2016-12-31T235960Z",
            "20161231T235960Z",
            "20161231T235960",
            "20161231T23:59:60",
            "+002016-12-31T23:59:60Z",
        ] {
            assert!(Millis::parse_iso(bad).is_err(), "{bad} was accepted");
        }
        for fine in [
            "2016-12-31T23:59:59Z",
            "2016-12-31T23:59:59.60",
            "20161231T235959.60Z",
            "2016-12-31T23:59",
        ] {
            assert!(Millis::parse_iso(fine).is_ok(), "{fine} was refused");
        }
    }

    #[test]
    fn floors_before_1970_too() {
        assert_eq!(Millis::new(-1).floor_to(1000), Millis::new(-1000));
        assert_eq!(Millis::new(1999).floor_to(1000), Millis::new(1000));
    }
}
