//! How many requests go out in a second.

use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How much of what was not used may be used at once.
const BURST: Duration = Duration::from_secs(1);

/// Spreads requests over time: no more than so many in a second, but for those that a quiet second before
/// them has left.
#[derive(Debug)]
pub struct Pace {
    step: Duration,
    /// When the next one could go if each went as soon as it may.
    next: Mutex<Instant>,
}

impl Pace {
    /// So many requests in a second.
    pub fn new(per_second: NonZeroU32) -> Self {
        Self {
            step: Duration::from_secs(1) / per_second.get(),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until one more may go.
    pub async fn turn(&self) {
        let at = {
            let mut next = self.next.lock();
            let now = Instant::now();
            let at = now.checked_sub(BURST).map_or(*next, |rest| rest.max(*next));
            *next = at + self.step;
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_more_go_than_may() {
        let pace = Pace::new(NonZeroU32::new(10).unwrap());
        let began = Instant::now();
        for _ in 0..30 {
            pace.turn().await;
        }
        assert_eq!(began.elapsed(), Duration::from_millis(2_900));
        // What was not used for long counts for a second's.
        tokio::time::advance(Duration::from_mins(1)).await;
        let began = Instant::now();
        for _ in 0..30 {
            pace.turn().await;
        }
        assert_eq!(began.elapsed(), Duration::from_millis(1_900));
    }
}
