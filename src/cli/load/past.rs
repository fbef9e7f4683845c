//! Flights at their own times: where each row belongs, and channels that take it.

use http::{Method, StatusCode};
use reqwest::Request;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use csv::StringRecord;

use super::flights::channel_name;
use super::table::Table;
use crate::cli::channel::set_json;
use crate::cli::client::{Client, read_json};
use crate::cli::error::CliError;
use crate::env::Millis;
use crate::item::{ItemKey, Suffix};

/// The digits of base 62.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Enough of them for 64 bits. No other suffix that a hub makes has as many.
const SUFFIX_CHARS: usize = 11;
const MINUTE: i64 = 60_000;

/// The columns that say when a flight is to leave.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    hour: usize,
    minute: usize,
}

impl Times {
    /// Those of a table.
    ///
    /// # Errors
    /// [`CliError::Table`] if it has none.
    pub fn of(table: &Table) -> Result<Self, CliError> {
        Ok(Self {
            hour: table.column("time_hour")?,
            minute: table.column("minute")?,
        })
    }

    /// When a row's flight is to leave: the hour in UTC, and the minute.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn at(&self, row: &StringRecord) -> Result<Millis, String> {
        let hour = row.get(self.hour).unwrap_or_default();
        let minute = row.get(self.minute).unwrap_or_default();
        let begin = Millis::parse_iso(hour).map_err(|_| {
            format!("time_hour is {hour:?}, but must be a time as 2013-01-01T10:00:00Z")
        })?;
        let minutes = minute
            .parse()
            .ok()
            .filter(|minute| (0..60).contains(minute));
        let minutes: i64 =
            minutes.ok_or_else(|| format!("minute is {minute:?}, but must be 0 to 59"))?;
        Ok(begin.plus(minutes * MINUTE))
    }
}

/// The key of a row: its time, and what follows from its content, so that whoever loads it again, out of
/// whichever file, puts it where it is.
pub fn key_of(at: Millis, json: &[u8]) -> ItemKey {
    let mut rest = xxh3_64(json);
    let mut text = [b'0'; SUFFIX_CHARS];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    let suffix = std::str::from_utf8(&text).ok().map(Suffix::parse);
    // Eleven letters and digits are a suffix.
    ItemKey::new(at, suffix.and_then(Result::ok).unwrap_or(Suffix::EMPTY))
}

/// Makes sure that the channel of an airline is there, and takes items up to that time.
///
/// # Errors
/// As [`Client::ask`].
pub async fn create_channel(
    client: &Client,
    carrier: &str,
    until: Millis,
    mut config: Map<String, Value>,
) -> Result<(), CliError> {
    let url = client.url(&["channel", &channel_name(carrier)]);
    let existing = client.ask(Request::new(Method::GET, url.clone())).await;
    let takes = match existing {
        Ok(answer) => {
            let existing: Value = read_json(answer).await?;
            let text = existing["mutableTime"].as_str().unwrap_or_default();
            Millis::parse_iso(text).is_ok_and(|time| time >= until)
        }
        Err(error) if error.is_status(StatusCode::NOT_FOUND) => false,
        Err(error) => return Err(error),
    };
    // It only ever moves back: one that is late enough stays.
    if !takes {
        config.insert("mutableTime".to_owned(), json!(until.iso()));
        for (field, value) in [
            ("storage", json!("SINGLE")),
            ("ttlDays", json!(0)),
            ("maxItems", json!(0)),
        ] {
            config.insert(field.to_owned(), value);
        }
    }
    let mut request = Request::new(Method::PUT, url);
    set_json(&mut request, &Value::Object(config));
    client.ask(request).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str) -> Vec<Result<String, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let mut table = Table::open(&path).unwrap();
        let times = Times::of(&table).unwrap();
        let mut row = StringRecord::new();
        let mut found = Vec::new();
        while table.next(&mut row).unwrap() {
            found.push(times.at(&row).map(Millis::iso));
        }
        found
    }

    #[test]
    fn a_flight_leaves_at_its_minute() {
        let found = times(
            "minute,time_hour\n15,2013-01-01T10:00:00Z\n0,2013-12-31T23:00:00Z\n60,2013-01-01T10:00:00Z\n,2013-01-01T10:00:00Z\n5,NA\n",
        );
        assert_eq!(found[0].as_deref(), Ok("2013-01-01T10:15:00.000Z"));
        assert_eq!(found[1].as_deref(), Ok("2013-12-31T23:00:00.000Z"));
        for (at, column) in [(2, "minute"), (3, "minute"), (4, "time_hour")] {
            let wrong = found[at].as_ref().unwrap_err();
            assert!(wrong.starts_with(column), "{wrong}");
        }
    }

    #[test]
    fn a_row_has_one_key_and_others_have_others() {
        let at = Millis::new(5);
        let one = key_of(at, b"{\"flight\":1}");
        assert_eq!(one, key_of(at, b"{\"flight\":1}"));
        assert_ne!(one, key_of(at, b"{\"flight\":2}"));
        assert_eq!((one.millis, one.suffix.as_str().len()), (at, SUFFIX_CHARS));
        assert_eq!(one.in_bulk(), None);
    }
}
