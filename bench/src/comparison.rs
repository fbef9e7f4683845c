//! What a comparison found, as tables and as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::histogram::median;
use crate::host::Host;
use crate::query::Scaling;
use crate::summary::{Summary, grouped, three_digits};
use crate::table::{Style, Table};

/// The share of the machine that others may use without harm to the numbers.
const OTHERS_MAX: f64 = 0.05;

/// How it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// How often each pair was measured.
    pub rounds: usize,
    /// How long each time.
    pub seconds: f64,
    /// How long before that, unmeasured.
    pub warmup_seconds: f64,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Threads that they shared.
    pub client_threads: usize,
    /// How long an item was.
    pub item_bytes: usize,
    /// Channels that items went to.
    pub channels: usize,
    /// Items that were read by key.
    pub items: usize,
    /// Sizes of the channels that were asked for a second.
    pub query_items: Vec<u64>,
    /// How many items that second had, about.
    pub query_second_items: usize,
    /// How long an item of these channels was.
    pub query_item_bytes: usize,
}

impl Settings {
    /// How long each measurement takes.
    pub fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long to go before that.
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_seconds)
    }
}

/// One measurement of one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// What the clients saw.
    #[serde(flatten)]
    pub summary: Summary,
    /// The processor time of the server for each request, in microseconds.
    pub cpu_us: Option<f64>,
}

/// The medians of a server's rounds, and the rounds.
#[derive(Debug, Serialize)]
pub struct Side {
    /// Answers per second.
    pub rate: f64,
    /// Latencies, in milliseconds.
    pub p50_ms: f64,
    /// That 99 in a hundred requests did not exceed.
    pub p99_ms: f64,
    /// The processor time of the server for each request, in microseconds.
    pub cpu_us: Option<f64>,
    /// All of them.
    pub rounds: Vec<Sample>,
}

/// An operation on both servers.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The operation.
    pub operation: &'static str,
    /// When the hub acknowledged it, where that makes a difference.
    pub durability: Option<&'static str>,
    /// The bare server.
    pub bare: Side,
    /// The hub.
    pub hub: Side,
    /// The hub's rate divided by the bare server's in the same round: the median.
    pub ratio: f64,
    /// The lowest.
    pub ratio_min: f64,
    /// The highest.
    pub ratio_max: f64,
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Where it was measured.
    pub host: Host,
    /// How it was measured.
    pub settings: Settings,
    /// The hub beside the bare server.
    pub rows: Vec<Row>,
    /// One second of channels of different sizes.
    pub queries: Vec<Scaling>,
    /// How many cores were busy with something else during the rounds.
    pub other_cores: Option<f64>,
}

impl Side {
    fn of(rounds: Vec<Sample>) -> Self {
        let middle = |number: fn(&Sample) -> Option<f64>| median(rounds.iter().filter_map(number));
        Self {
            rate: middle(|sample| Some(sample.summary.rate)).unwrap_or_default(),
            p50_ms: middle(|sample| Some(sample.summary.p50_ms)).unwrap_or_default(),
            p99_ms: middle(|sample| Some(sample.summary.p99_ms)).unwrap_or_default(),
            cpu_us: middle(|sample| sample.cpu_us),
            rounds,
        }
    }
}

impl Row {
    /// What the rounds come to; in each, the bare server stands first.
    pub fn of(
        operation: &'static str,
        durability: Option<&'static str>,
        rounds: &[[Sample; 2]],
    ) -> Self {
        let ratios: Vec<f64> = rounds
            .iter()
            .filter(|[bare, _]| bare.summary.rate > 0.0)
            .map(|[bare, hub]| hub.summary.rate / bare.summary.rate)
            .collect();
        Self {
            operation,
            durability,
            bare: Side::of(rounds.iter().map(|&[bare, _]| bare).collect()),
            hub: Side::of(rounds.iter().map(|&[_, hub]| hub).collect()),
            ratio: median(ratios.iter().copied()).unwrap_or_default(),
            ratio_min: ratios.iter().copied().reduce(f64::min).unwrap_or_default(),
            ratio_max: ratios.iter().copied().reduce(f64::max).unwrap_or_default(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let latency = |side: &Side| {
            format!(
                "{} / {}",
                three_digits(side.p50_ms),
                three_digits(side.p99_ms)
            )
        };
        let cpu = |side: &Side| side.cpu_us.map_or("?".to_owned(), three_digits);
        vec![
            self.operation.to_owned(),
            self.durability.unwrap_or("any").to_owned(),
            grouped(self.bare.rate),
            grouped(self.hub.rate),
            format!(
                "{:.2} ({:.2}-{:.2})",
                self.ratio, self.ratio_min, self.ratio_max
            ),
            latency(&self.bare),
            latency(&self.hub),
            format!("{} / {}", cpu(&self.bare), cpu(&self.hub)),
        ]
    }
}

impl Comparison {
    /// The tables and what is to be said about them.
    pub fn text(&self, style: Style) -> String {
        let Settings {
            rounds,
            seconds,
            connections,
            client_threads,
            item_bytes,
            channels,
            ..
        } = &self.settings;
        let mut table = Table::new(
            2,
            &[
                "operation",
                "durability",
                "bare/s",
                "hub/s",
                "ratio (range)",
                "bare p50 / p99 ms",
                "hub p50 / p99 ms",
                "CPU us bare / hub",
            ],
        );
        for row in &self.rows {
            table.row(row.cells());
        }
        let mut text = format!(
            "{}\n\nConnections: {connections} (client threads: {client_threads}). Items: {item_bytes} \
             bytes, into {channels} channels.\nMedians of {rounds} rounds of {seconds} s \
             each. Ratio: the hub's rate divided by the bare server's\nin the same round. CPU: the \
             server's processor time for a request.\n{}\n{}",
            self.host.sentence(),
            self.others(),
            table.render(style),
        );
        if !self.queries.is_empty() {
            let head = [
                "items in the channel",
                "items in the second",
                "p50 ms",
                "p99 ms",
            ];
            let mut table = Table::new(0, &head);
            for query in &self.queries {
                table.row(vec![
                    grouped(query.channel_items as f64),
                    grouped(query.second_items as f64),
                    three_digits(query.summary.p50_ms),
                    three_digits(query.summary.p99_ms),
                ]);
            }
            text.push_str("\nOne second of a channel, one request at a time:\n\n");
            text.push_str(&table.render(style));
        }
        text
    }

    /// What else the machine did, on a line of its own.
    fn others(&self) -> String {
        let Some(others) = self.other_cores else {
            return String::new();
        };
        let advice = if others > OTHERS_MAX * self.host.cores as f64 {
            ": the rates are worth little, measure\nagain when the machine is idle"
        } else {
            ""
        };
        format!("Other processes kept {others:.2} cores busy meanwhile{advice}.\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rate: f64) -> Sample {
        Sample {
            summary: Summary {
                requests: rate as u64,
                seconds: 1.0,
                rate,
                p50_ms: 1.0,
                p90_ms: 2.0,
                p99_ms: 3.0,
                p999_ms: 4.0,
                max_ms: 5.0,
            },
            cpu_us: Some(20.0),
        }
    }

    fn row() -> Row {
        let rounds = [
            [sample(100.0), sample(50.0)],
            [sample(200.0), sample(20.0)],
            [sample(400.0), sample(100.0)],
        ];
        Row::of("insert", Some("fsync"), &rounds)
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let row = row();
        let near = |left: f64, right: f64| (left - right).abs() < 1e-9;
        // The ratio of the medians would be another: 50 / 200.
        assert!(near(row.ratio, 0.25) && near(row.ratio_min, 0.1) && near(row.ratio_max, 0.5));
        assert!(near(row.bare.rate, 200.0) && near(row.hub.rate, 50.0));
        let none = Row::of("insert", None, &[[sample(0.0), sample(1.0)]]);
        assert!(near(none.ratio, 0.0));
    }

    #[test]
    fn a_row_is_a_line() {
        let cells = row().cells().join("|");
        let wanted = "insert|fsync|200|50|0.25 (0.10-0.50)|1.00 / 3.00|1.00 / 3.00|20.0 / 20.0";
        assert_eq!(cells, wanted);
    }
}
