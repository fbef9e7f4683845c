//! Lanes: each posts the rows of its channels one after the other, and tries again where that may
//! help.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use csv::StringRecord;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use reqwest::{Body, Request, Url};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::flights::channel_name;
use super::past::{Times, key_of};
use super::table::{Row, Table};
use crate::cli::client::{Client, header_value, read_body};
use crate::cli::error::CliError;
use crate::cli::retry::Backoff;
use crate::item::ItemKey;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often one row is tried: with the waits above, for some two minutes if each try fails at once.
const TRIES: u32 = 30;

/// A row on its way.
#[derive(Debug)]
pub struct PostedRow {
    /// Whose row it is.
    pub carrier: String,
    /// Its number in the file, counted from 1.
    pub number: u64,
    /// What tells the hub that it is this row again, if it is.
    pub key: RowKey,
    /// The row as JSON.
    pub json: Bytes,
}

/// What tells a row from all others.
#[derive(Debug)]
pub enum RowKey {
    /// An idempotency key.
    Idempotency(String),
    /// Where it belongs.
    Place(ItemKey),
}

/// What is done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It is posted.
    Post,
    /// It is read, and must be as it was posted.
    Check,
}

/// What all lanes have done so far.
#[derive(Debug, Default)]
pub struct Posted {
    rows: AtomicU64,
    retries: AtomicU64,
}

impl Posted {
    /// Rows that the hub has acknowledged.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Tries that came to nothing.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}

/// Which lane each carrier's rows take, so that the fullest lane is not much fuller than it must
/// be: the largest carrier first, each to the lane with the least so far.
pub fn assign(rows_by_carrier: &BTreeMap<String, u64>, lanes: usize) -> BTreeMap<String, usize> {
    let mut carriers: Vec<_> = rows_by_carrier.iter().collect();
    carriers.sort_by_key(|(_, rows)| std::cmp::Reverse(**rows));
    let mut loads = vec![0; lanes.clamp(1, carriers.len().max(1))];
    let mut lane_of = BTreeMap::new();
    for (carrier, rows) in carriers {
        let least = loads.iter_mut().enumerate().min_by_key(|(_, load)| **load);
        if let Some((lane, load)) = least {
            *load += rows;
            lane_of.insert(carrier.clone(), lane);
        }
    }
    lane_of
}

/// Reads a table to its end or its first `limit` rows, and hands over each row until `take` says
/// that nobody wants any more.
///
/// # Errors
/// As [`Table::next`].
pub fn feed(
    mut table: Table,
    limit: Option<u64>,
    key_prefix: &str,
    timed: bool,
    mut take: impl FnMut(PostedRow) -> bool,
) -> Result<(), CliError> {
    let carrier_column = table.column("carrier")?;
    let times = timed.then(|| Times::of(&table)).transpose()?;
    let mut values = StringRecord::new();
    let mut number = 0;
    while limit.is_none_or(|limit| number < limit) && table.next(&mut values)? {
        number += 1;
        let row = Row {
            columns: table.columns(),
            values: &values,
        };
        let wrong = |error: String| CliError::Table {
            path: key_prefix.to_owned(),
            reason: format!("row {number}: {error}"),
        };
        let json = serde_json::to_vec(&row).map_err(|error| wrong(error.to_string()))?;
        let key = match &times {
            Some(times) => RowKey::Place(key_of(times.at(&values).map_err(wrong)?, &json)),
            None => RowKey::Idempotency(format!("{key_prefix}-{number}")),
        };
        let wanted = take(PostedRow {
            carrier: values.get(carrier_column).unwrap_or_default().to_owned(),
            number,
            key,
            json: json.into(),
        });
        if !wanted {
            break;
        }
    }
    Ok(())
}

/// One row after the other.
pub struct Lane {
    client: Arc<Client>,
    posted: Arc<Posted>,
    work: Work,
    channels: BTreeMap<String, Url>,
}

impl Lane {
    /// A lane that counts what it does in `posted`.
    pub fn new(client: Arc<Client>, posted: Arc<Posted>, work: Work) -> Self {
        Self {
            client,
            posted,
            work,
            channels: BTreeMap::new(),
        }
    }

    /// Posts every row that comes.
    ///
    /// # Errors
    /// The last error of a row that was tried often enough, or the first that no later try can
    /// mend.
    pub async fn run(mut self, mut rows: mpsc::Receiver<PostedRow>) -> Result<(), CliError> {
        while let Some(row) = rows.recv().await {
            self.post(&row).await?;
            self.posted.rows.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn post(&mut self, row: &PostedRow) -> Result<(), CliError> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let mut tries = 1;
        loop {
            // The same key each time: a hub that has stored the row, though nobody heard of it,
            // answers with the item that it has.
            let tried = match self.work {
                Work::Post => self.post_once(row).await,
                Work::Check => self.check_once(row).await,
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(error) if error.may_pass() && tries < TRIES => {
                    self.posted.retries.fetch_add(1, Ordering::Relaxed);
                    tries += 1;
                    sleep(backoff.wait_at_least(error.retry_after())).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn post_once(&mut self, row: &PostedRow) -> Result<(), CliError> {
        let mut request = Request::new(Method::POST, self.url(row));
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let RowKey::Idempotency(key) = &row.key {
            headers.insert("Idempotency-Key", header_value("idempotency key", key)?);
        }
        *request.body_mut() = Some(Body::from(row.json.clone()));
        let response = self.client.ask(request).await?;
        // Read to its end, so that the connection can carry the next row.
        read_body(response).await?;
        Ok(())
    }

    async fn check_once(&mut self, row: &PostedRow) -> Result<(), CliError> {
        let url = self.url(row);
        let shown = url.to_string();
        let response = self.client.ask(Request::new(Method::GET, url)).await?;
        if read_body(response).await? == row.json {
            return Ok(());
        }
        Err(CliError::Differs {
            url: shown,
            row: row.number,
        })
    }

    /// Where a row is posted to, and read from if it has a place of its own.
    fn url(&mut self, row: &PostedRow) -> Url {
        if !self.channels.contains_key(&row.carrier) {
            let url = self.client.url(&["channel", &channel_name(&row.carrier)]);
            self.channels.insert(row.carrier.clone(), url);
        }
        let channel = self.channels.get(&row.carrier);
        let mut url = channel.cloned().unwrap_or_else(|| self.client.url(&[]));
        if let RowKey::Place(key) = &row.key {
            let path = format!("{}/{key}", url.path());
            url.set_path(&path);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carriers(rows: &[(&str, u64)]) -> BTreeMap<String, u64> {
        rows.iter()
            .map(|(carrier, rows)| ((*carrier).to_owned(), *rows))
            .collect()
    }

    #[test]
    fn lanes_are_filled_evenly() {
        let rows = carriers(&[("A", 10), ("B", 6), ("C", 5), ("D", 4), ("E", 1)]);
        let loads = |lanes: usize| {
            let mut loads = vec![0; lanes];
            for (carrier, lane) in assign(&rows, lanes) {
                loads[lane] += rows[&carrier];
            }
            loads
        };
        assert_eq!(loads(1), [26]);
        assert_eq!(loads(2), [14, 12]);
        assert_eq!(loads(5), [10, 6, 5, 4, 1]);
        // More lanes than carriers stay empty.
        assert_eq!(assign(&rows, 99).values().max(), Some(&4));
        assert!(assign(&BTreeMap::new(), 3).is_empty());
    }
}
