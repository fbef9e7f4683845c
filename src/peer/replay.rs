//! Requests that were seen already.
//!
//! A sender counts its requests to a member, in a session that it draws at random. A member keeps
//! of each session which of the last [`WINDOW`] numbers it has seen, so that none is taken twice,
//! whatever the rate, in bounded memory. Sessions that nobody speaks in are forgotten once what was
//! said in them is too old to be taken; what was said to an earlier run of this member names that
//! run and is refused for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hub_ring::Member;

use crate::env::BootTime;

/// How many of a session's numbers are told apart. A request that is overtaken by more is refused.
const WINDOW: u64 = 1 << 14;
const WORDS: usize = (WINDOW / 64) as usize;
/// How many sessions one sender may have that are not forgotten yet.
const SESSIONS: usize = 16;

/// The order of a session's appends: the number of the last batch that was taken.
pub(super) type AppendTurn = Arc<tokio::sync::Mutex<u64>>;

/// A session, by what its sender drew.
pub(super) type SessionId = [u8; 16];

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// It was taken already, or is older than what is remembered.
    Seen,
    /// Its sender has begun too many sessions.
    TooManySessions,
}

/// The requests that were seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    senders: HashMap<Member, HashMap<SessionId, Session>>,
}

#[derive(Debug)]
struct Session {
    highest: u64,
    /// Bit `n % WINDOW` says whether `n` was seen, for the `WINDOW` numbers up to `highest`.
    bits: Box<[u64; WORDS]>,
    last: BootTime,
    turn: AppendTurn,
}

impl Session {
    fn new(now: BootTime) -> Self {
        Self {
            highest: 0,
            bits: Box::new([0; WORDS]),
            last: now,
            turn: AppendTurn::default(),
        }
    }

    fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            // What falls out of the window leaves its bits to what comes in.
            if number - self.highest >= WINDOW {
                self.bits.fill(0);
            } else {
                for passed in self.highest + 1..number {
                    self.set(passed, false);
                }
            }
            self.highest = number;
            self.set(number, true);
            return true;
        }
        let fresh = self.highest - number < WINDOW && !self.is_set(number);
        if fresh {
            self.set(number, true);
        }
        fresh
    }

    fn place(number: u64) -> (usize, u64) {
        let bit = number % WINDOW;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn is_set(&self, number: u64) -> bool {
        let (word, mask) = Self::place(number);
        self.bits.get(word).is_none_or(|bits| bits & mask != 0)
    }

    fn set(&mut self, number: u64, seen: bool) {
        let (word, mask) = Self::place(number);
        if let Some(bits) = self.bits.get_mut(word) {
            if seen {
                *bits |= mask;
            } else {
                *bits &= !mask;
            }
        }
    }
}

impl Seen {
    /// Takes a request that was authenticated, once. `keep`: for how long something said may be
    /// taken for new by its time alone.
    pub(super) fn take(
        &mut self,
        from: &Member,
        session: SessionId,
        number: u64,
        now: BootTime,
        keep: Duration,
    ) -> Result<AppendTurn, Stale> {
        if !self.senders.contains_key(from) {
            self.forget(now, keep);
            self.senders.insert(from.clone(), HashMap::new());
        }
        let Some(sessions) = self.senders.get_mut(from) else {
            return Err(Stale::TooManySessions);
        };
        if !sessions.contains_key(&session) {
            sessions.retain(|_, session| session.last + keep > now);
            if sessions.len() >= SESSIONS {
                return Err(Stale::TooManySessions);
            }
        }
        let entry = sessions.entry(session).or_insert_with(|| Session::new(now));
        entry.last = now;
        if !entry.take(number) {
            return Err(Stale::Seen);
        }
        Ok(Arc::clone(&entry.turn))
    }

    /// Forgets the senders that have been silent.
    fn forget(&mut self, now: BootTime, keep: Duration) {
        for sessions in self.senders.values_mut() {
            sessions.retain(|_, session| session.last + keep > now);
        }
        self.senders.retain(|_, sessions| !sessions.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const KEEP: Duration = Duration::from_secs(120);

    fn member() -> Member {
        Member::new("a").unwrap()
    }

    proptest! {
        #[test]
        fn each_number_is_taken_once_and_what_is_too_old_never(
            numbers in prop::collection::vec(
                prop_oneof![1_u64..50, 1..3 * WINDOW, any::<u64>()], 1..200
            )
        ) {
            let mut seen = Seen::default();
            let (mut taken, mut highest) = (HashSet::new(), 0);
            for number in numbers {
                let outcome = seen.take(&member(), [7; 16], number, Duration::ZERO, KEEP);
                let old = number <= highest && highest - number >= WINDOW;
                let number_is_zero = number == 0;
                let expected = !number_is_zero && !old && !taken.contains(&number);
                if !number_is_zero {
                    prop_assert_eq!(outcome.is_ok(), expected, "{}", number);
                }
                if outcome.is_ok() {
                    taken.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }

    #[test]
    fn sessions_are_bounded_and_forgotten_when_they_are_too_old_to_matter() {
        let mut seen = Seen::default();
        let at = Duration::from_secs;
        for session in 0..SESSIONS as u8 {
            seen.take(&member(), [session; 16], 1, at(0), KEEP).unwrap();
        }
        let more = seen.take(&member(), [99; 16], 1, at(119), KEEP);
        assert_eq!(more.unwrap_err(), Stale::TooManySessions);
        seen.take(&member(), [0; 16], 2, at(119), KEEP).unwrap();
        seen.take(&member(), [99; 16], 1, at(120), KEEP).unwrap();
        let again = seen.take(&member(), [0; 16], 2, at(120), KEEP);
        assert_eq!(again.unwrap_err(), Stale::Seen);
        let other = Member::new("b").unwrap();
        seen.take(&other, [0; 16], 1, at(500), KEEP).unwrap();
        assert_eq!(seen.senders.len(), 1);
    }
}
