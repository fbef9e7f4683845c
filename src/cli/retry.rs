//! How long to wait before the next try. Nothing here sleeps.

use std::time::Duration;

/// Waits that double from a first to a longest one.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// How long to wait now; the next one will be twice that, up to the longest.
    pub fn wait(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now
    }

    /// As [`Self::wait`], but not shorter than the hub asked for, as far as the longest wait
    /// allows.
    pub fn wait_at_least(&mut self, asked: Option<Duration>) -> Duration {
        let longest = self.longest;
        self.wait().max(asked.unwrap_or_default().min(longest))
    }

    /// It went well: the next wait is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000));
        let waits: Vec<_> = (0..6).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.wait_at_least(None), ms(100));
        assert_eq!(backoff.wait_at_least(Some(ms(700))), ms(700));
        assert_eq!(backoff.wait_at_least(Some(ms(60_000))), ms(1000));
        assert_eq!(backoff.wait_at_least(Some(ms(1))), ms(800));
    }
}
