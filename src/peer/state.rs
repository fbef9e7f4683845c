//! How another member stands, as a pure function of what happened.
//!
//! - *connected*: it answered lately;
//! - *suspect*: it did not answer an append, or whether it is there, in time;
//! - *down*: there is no connection to it, it said nothing several times, or it turns this member
//!   away.
//!
//! An answer brings it back at once, with one exception: a member that answers questions and lets
//! appends wait, as with a disk that hangs, stays suspect for a while after each such append,
//! longer each time, unless an append succeeds.

use std::time::Duration;

use serde::Serialize;

use crate::env::BootTime;

/// A member from which nothing was heard for so long is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How soon a suspect member is asked again.
const SUSPECT_AGAIN: Duration = Duration::from_millis(100);
/// How soon one that is down is asked again, at first and at the most.
const DOWN_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// After so many tries in a row a member that says nothing counts as down.
const SILENT_MAX: u32 = 3;
/// How long a member stays suspect that answers, but not appends: at first and at the most.
const APPENDS_LATE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// How another member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Nothing has been tried yet.
    New,
    /// It answers.
    Connected,
    /// It did not answer in time.
    Suspect,
    /// There is no connection to it.
    Down,
}

impl PeerState {
    /// Its number in metrics.
    pub(super) const fn level(self) -> u8 {
        match self {
            Self::Connected => 2,
            Self::Suspect => 1,
            Self::New | Self::Down => 0,
        }
    }
}

/// What happened with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It answered.
    Answered,
    /// It answered an append.
    Appended,
    /// It did not answer whether it is there in time.
    Silent,
    /// It did not answer an append in time.
    AppendLate,
    /// A connection could not be made, or broke, or whoever answers turns this member away.
    Cut,
}

/// How a member stands, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: PeerState,
    pub(super) since: BootTime,
    /// When it was last heard.
    heard: BootTime,
    /// Tries in a row that failed.
    failures: u32,
    /// Appends in a row that were late, and when the last one was found to be.
    late: u32,
    late_at: BootTime,
}

/// The step at the start, doubled with each further one, up to the most.
fn doubled((first, most): (Duration, Duration), steps: u32) -> Duration {
    first
        .saturating_mul(1 << steps.saturating_sub(1).min(16))
        .min(most)
}

impl Standing {
    pub(super) fn new(now: BootTime) -> Self {
        Self {
            state: PeerState::New,
            since: now,
            heard: now,
            failures: 0,
            late: 0,
            late_at: now,
        }
    }

    /// Takes up what happened.
    pub(super) fn step(&mut self, event: Event, now: BootTime) {
        let state = match event {
            Event::Answered | Event::Appended => {
                self.heard = now;
                self.failures = 0;
                if event == Event::Appended {
                    self.late = 0;
                }
                let held = self.late > 0 && now < self.late_at + doubled(APPENDS_LATE, self.late);
                if held {
                    PeerState::Suspect
                } else {
                    PeerState::Connected
                }
            }
            Event::AppendLate => {
                // Those of one batch are one.
                if self.state != PeerState::Suspect || self.late == 0 {
                    self.late = self.late.saturating_add(1);
                }
                self.late_at = now;
                self.failed()
            }
            Event::Silent => match self.failed() {
                _ if self.failures >= SILENT_MAX => PeerState::Down,
                state => state,
            },
            Event::Cut => {
                self.failures = self.failures.saturating_add(1);
                PeerState::Down
            }
        };
        if state != self.state {
            self.state = state;
            self.since = now;
        }
    }

    fn failed(&mut self) -> PeerState {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            PeerState::Down => PeerState::Down,
            _ => PeerState::Suspect,
        }
    }

    /// How long until it is to be asked whether it is there; `jitter` is any number.
    pub(super) fn ask_in(&self, now: BootTime, jitter: u64) -> Duration {
        match self.state {
            PeerState::New => Duration::ZERO,
            PeerState::Connected => (self.heard + HEARTBEAT).saturating_sub(now),
            PeerState::Suspect => SUSPECT_AGAIN,
            PeerState::Down => {
                let most = doubled(DOWN_AGAIN, self.failures);
                // Between half of it and all of it, so that not all ask at once.
                let half = most / 2;
                let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).max(1);
                half + Duration::from_micros(jitter % spread)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn after(events: &[(u64, Event)]) -> Standing {
        let mut standing = Standing::new(ms(0));
        for (at, event) in events {
            standing.step(*event, ms(*at));
        }
        standing
    }

    #[test]
    fn a_member_comes_goes_and_comes_back() {
        use Event::{Answered, Appended, Cut, Silent};
        use PeerState::{Connected, Down, New, Suspect};
        for (events, state, since) in [
            (&[][..], New, 0),
            (&[(5, Answered)], Connected, 5),
            (&[(5, Answered), (9, Appended)], Connected, 5),
            (&[(5, Answered), (9, Silent)], Suspect, 9),
            (&[(5, Answered), (9, Silent), (11, Answered)], Connected, 11),
            (&[(5, Answered), (9, Cut)], Down, 9),
            // Silence proves less than a refused connection.
            (&[(5, Answered), (9, Cut), (12, Silent)], Down, 9),
            (&[(5, Cut), (9, Cut), (12, Answered)], Connected, 12),
            (&[(5, Silent), (9, Cut)], Down, 9),
            (&[(5, Silent), (6, Silent)], Suspect, 5),
            (&[(5, Silent), (6, Silent), (7, Silent)], Down, 7),
        ] {
            let standing = after(events);
            assert_eq!((standing.state, standing.since), (state, ms(since)));
        }
    }

    #[test]
    fn a_member_that_lets_appends_wait_stays_suspect_for_longer_each_time() {
        use Event::{Answered, AppendLate, Appended};
        let mut standing = after(&[(0, Answered), (500, AppendLate), (501, AppendLate)]);
        standing.step(Answered, ms(600));
        assert_eq!(standing.state, PeerState::Suspect);
        standing.step(Answered, ms(751));
        assert_eq!(standing.state, PeerState::Connected);
        standing.step(AppendLate, ms(1_000));
        standing.step(Answered, ms(1_499));
        assert_eq!(standing.state, PeerState::Suspect);
        standing.step(Answered, ms(1_500));
        assert_eq!(standing.state, PeerState::Connected);
        for (round, hold) in [1_000, 2_000, 2_000, 2_000].into_iter().enumerate() {
            let at = 10_000 * (round as u64 + 1);
            standing.step(AppendLate, ms(at));
            standing.step(Answered, ms(at + hold - 1));
            assert_eq!(standing.state, PeerState::Suspect);
            standing.step(Answered, ms(at + hold));
            assert_eq!(standing.state, PeerState::Connected);
        }
        standing.step(AppendLate, ms(53_000));
        standing.step(Appended, ms(53_001));
        assert_eq!(standing.state, PeerState::Connected);
    }

    #[test]
    fn it_is_asked_often_while_it_is_away_and_seldom_while_it_is_heard() {
        let mut standing = Standing::new(ms(0));
        assert_eq!(standing.ask_in(ms(7), 3), ms(0));
        standing.step(Event::Answered, ms(10));
        assert_eq!(standing.ask_in(ms(10), 3), ms(1_000));
        assert_eq!(standing.ask_in(ms(700), 3), ms(310));
        assert_eq!(standing.ask_in(ms(5_000), 3), ms(0));
        let mut longest = ms(0);
        for failures in 0..100 {
            standing.step(Event::Cut, ms(20));
            for jitter in [0, 1, 12_345, u64::MAX] {
                let wait = standing.ask_in(ms(20), jitter);
                assert!(wait >= ms(25) && wait <= ms(500), "{failures} {wait:?}");
                longest = longest.max(wait);
            }
        }
        assert!(longest > ms(250));
    }
}
