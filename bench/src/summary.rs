//! What a measurement comes down to, and how numbers are written.

use std::time::Duration;

use serde::Serialize;

use crate::histogram::Histogram;

/// How fast requests were answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many answers came within the measured time.
    pub requests: u64,
    /// The measured time.
    pub seconds: f64,
    /// Answers per second.
    pub rate: f64,
    /// The latency that half of the requests did not exceed, in milliseconds, as all that follow.
    pub p50_ms: f64,
    /// That nine in ten did not exceed.
    pub p90_ms: f64,
    /// That 99 in a hundred did not exceed.
    pub p99_ms: f64,
    /// That 999 in a thousand did not exceed.
    pub p999_ms: f64,
    /// That none exceeded.
    pub max_ms: f64,
}

impl Summary {
    /// The summary of these times, taken within `measured`.
    pub fn of(times: &Histogram, measured: Duration) -> Self {
        let seconds = measured.as_secs_f64();
        Self {
            requests: times.count(),
            seconds,
            rate: if seconds > 0.0 {
                times.count() as f64 / seconds
            } else {
                0.0
            },
            p50_ms: milliseconds(times.percentile(500)),
            p90_ms: milliseconds(times.percentile(900)),
            p99_ms: milliseconds(times.percentile(990)),
            p999_ms: milliseconds(times.percentile(999)),
            max_ms: milliseconds(times.max()),
        }
    }
}

/// A time as a number of milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `12,345`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with three digits that count: `0.123`, `1.23`, `12.3`, `123`, `1,234`.
pub fn three_digits(number: f64) -> String {
    match number {
        _ if number < 1.0 => format!("{number:.3}"),
        _ if number < 10.0 => format!("{number:.2}"),
        _ if number < 100.0 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_to_be_read() {
        for (number, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1_000.0, "1,000"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in [
            (0.0, "0.000"),
            (0.1234, "0.123"),
            (1.0, "1.00"),
            (12.34, "12.3"),
            (1_234.5, "1,234"),
        ] {
            assert_eq!(three_digits(number), text);
        }
    }

    #[test]
    fn a_summary_counts_and_divides() {
        let mut times = Histogram::default();
        for millis in 1..=100 {
            times.record(Duration::from_millis(millis));
        }
        let summary = Summary::of(&times, Duration::from_secs(2));
        assert_eq!((summary.requests, summary.max_ms), (100, 100.0));
        assert!((summary.rate - 50.0).abs() < 1e-9, "{summary:?}");
        assert!((summary.p50_ms - 50.0).abs() < 0.5, "{summary:?}");
        assert!((summary.p99_ms - 99.0).abs() < 1.0, "{summary:?}");
        assert!(Summary::of(&times, Duration::ZERO).rate.abs() < 1e-9);
    }
}
