//! What a table of flights says about airlines: their channels, tags and numbers of rows.

use std::collections::BTreeMap;
use std::path::Path;

use csv::StringRecord;
use xxhash_rust::xxh3::Xxh3;

use super::past::Times;
use super::table::Table;
use crate::cli::error::CliError;
use crate::env::Millis;

/// The longest tag.
const TAG_CHARS: usize = 48;

/// The channel of an airline.
pub fn channel_name(carrier: &str) -> String {
    format!("flights-{carrier}")
}

/// The tag that comes nearest to a name: what a tag cannot hold becomes one `-`, and none is at
/// the ends. `None` if nothing is left.
pub fn tag_of(name: &str) -> Option<String> {
    let mut tag = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == ':' {
            tag.push(c);
        } else if !tag.is_empty() && !tag.ends_with('-') {
            tag.push('-');
        }
    }
    tag.truncate(TAG_CHARS);
    let tag = tag.trim_end_matches('-');
    (!tag.is_empty()).then(|| tag.to_owned())
}

/// The names of airlines by carrier, from a table with these two columns.
///
/// # Errors
/// [`CliError::File`] or [`CliError::Table`] if it cannot be read.
pub fn airlines(path: &Path) -> Result<BTreeMap<String, String>, CliError> {
    let mut table = Table::open(path)?;
    let (carrier, name) = (table.column("carrier")?, table.column("name")?);
    let mut names = BTreeMap::new();
    let mut row = StringRecord::new();
    while table.next(&mut row)? {
        if let (Some(carrier), Some(name)) = (row.get(carrier), row.get(name)) {
            names.insert(carrier.to_owned(), name.to_owned());
        }
    }
    Ok(names)
}

/// What a first reading of a table of flights tells.
#[derive(Debug)]
pub struct Survey {
    /// How many rows each carrier has, of those to be posted.
    pub rows_by_carrier: BTreeMap<String, u64>,
    /// What the idempotency keys of this file begin with: its name and a digest of its content,
    /// so that a file that was changed does not pass for the one it was.
    pub key_prefix: String,
    /// When the last flight of the file is to leave, if that was asked.
    pub until: Option<Millis>,
}

impl Survey {
    /// Reads all of a table, and counts its first `limit` rows. `timed`: every flight must say when it is
    /// to leave.
    ///
    /// # Errors
    /// [`CliError::File`] or [`CliError::Table`] if it cannot be read to its end, or a carrier
    /// cannot be part of a channel's name.
    pub fn of(path: &Path, limit: Option<u64>, timed: bool) -> Result<Self, CliError> {
        let mut table = Table::open(path)?;
        let carrier_column = table.column("carrier")?;
        let times = timed.then(|| Times::of(&table)).transpose()?;
        let mut until = None;
        let mut digest = Xxh3::new();
        let mut rows_by_carrier = BTreeMap::new();
        let mut row = StringRecord::new();
        let mut number = 0;
        for column in table.columns() {
            digest.update(column.as_bytes());
            digest.update(b"\0");
        }
        while table.next(&mut row)? {
            number += 1;
            for value in &row {
                digest.update(value.as_bytes());
                digest.update(b"\0");
            }
            // Of rows that are not posted, too: the next time they may be.
            if let Some(times) = &times {
                let at = times.at(&row).map_err(|reason| CliError::Table {
                    path: path.display().to_string(),
                    reason: format!("row {number}: {reason}"),
                })?;
                until = until.max(Some(at));
            }
            if limit.is_some_and(|limit| number > limit) {
                continue;
            }
            let carrier = row.get(carrier_column).unwrap_or_default();
            if let Some(rows) = rows_by_carrier.get_mut(carrier) {
                *rows += 1;
                continue;
            }
            if !fits_a_channel(carrier) {
                return Err(CliError::Table {
                    path: path.display().to_string(),
                    reason: format!(
                        "row {number}: the carrier is {carrier:?}, but must be 1 to 40 letters, \
                         digits, `_` and `-`"
                    ),
                });
            }
            rows_by_carrier.insert(carrier.to_owned(), 1);
        }
        Ok(Self {
            rows_by_carrier,
            key_prefix: key_prefix(path, digest.digest()),
            until,
        })
    }

    /// How many rows there are to post.
    pub fn rows(&self) -> u64 {
        self.rows_by_carrier.values().sum()
    }
}

/// Whether `flights-` and this is the name of a channel.
fn fits_a_channel(carrier: &str) -> bool {
    (1..=40).contains(&carrier.len())
        && carrier
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// The file's name as far as a key can hold it, and the digest.
fn key_prefix(path: &Path, digest: u64) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '-' })
        .take(64)
        .collect();
    format!("{name}-{digest:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "carrier,dep_time\nUA,517\nAA,\n";

    #[test]
    fn names_become_tags() {
        for (name, tag) in [
            ("Endeavor Air Inc.", "Endeavor-Air-Inc"),
            ("JetBlue Airways", "JetBlue-Airways"),
            ("  A & B: c--d  ", "A-B:-c-d"),
            ("Ünited", "nited"),
        ] {
            assert_eq!(tag_of(name).as_deref(), Some(tag));
        }
        assert_eq!(tag_of("…"), None);
        assert_eq!(tag_of(&"x".repeat(99)).unwrap().len(), 48);
        assert_eq!(tag_of(&format!("{} y", "x".repeat(47))).unwrap().len(), 47);
    }

    #[test]
    fn a_survey_counts_the_rows_to_post() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two flights.csv");
        std::fs::write(&path, TABLE).unwrap();
        let all = Survey::of(&path, None, false).unwrap();
        assert_eq!(all.rows(), 2);
        assert_eq!(all.rows_by_carrier["UA"], 1);
        assert!(all.key_prefix.starts_with("two-flights.csv-"));
        // The same file has the same keys, however much of it is posted.
        let one = Survey::of(&path, Some(1), false).unwrap();
        assert_eq!(one.rows(), 1);
        assert_eq!(one.key_prefix, all.key_prefix);
        std::fs::write(&path, TABLE.replace("517", "518")).unwrap();
        assert_ne!(
            Survey::of(&path, None, false).unwrap().key_prefix,
            all.key_prefix
        );
        std::fs::write(&path, "carrier\na b\n").unwrap();
        let error = Survey::of(&path, None, false).unwrap_err();
        assert!(error.to_string().contains("row 1"), "{error}");
    }
}
