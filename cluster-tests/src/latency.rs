//! Times of requests, and what is said of them.

use std::fmt;
use std::time::Duration;

/// The times of many requests of one kind.
#[derive(Debug, Clone, Default)]
pub struct Latency(Vec<Duration>);

impl Latency {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many in a hundred stayed below; zero if there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted
            .get(last * percent / 100)
            .copied()
            .unwrap_or_default()
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.percentile(100)
    }
}

impl Extend<Duration> for Latency {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, times: I) {
        self.0.extend(times);
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {} p99 {}",
            millis(self.percentile(50)),
            millis(self.percentile(99))
        )
    }
}

/// A time in milliseconds, as it is printed.
pub fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
