//! Which hours of which channels are to be looked after.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::archive::name::hour_len;
use crate::channel::registry::Channel;
use crate::env::Millis;
use crate::spoke::ChannelId;

/// The pause before one is looked at again that something stands in the way of, and its longest.
const AGAIN: Duration = Duration::from_secs(15);
const AGAIN_MAX: Duration = Duration::from_mins(5);
/// As many hours of a run before this one are opened at a time, or those of one hour.
const OPEN_MAX: usize = 10_000;

/// What is known of a channel's hour.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// The end of the hour's object, and the minutes of which all is in it.
    pub(super) covered: Option<(Bytes, Vec<Millis>)>,
    /// When it is looked at again.
    again: Option<Instant>,
    /// How often something stood in the way.
    pub(super) tries: u32,
    obstacle: Option<Obstacle>,
}

/// What stands in the way of an hour.
#[derive(Debug, Clone)]
pub(super) struct Obstacle {
    pub(super) what: String,
    /// Whether it lasts until somebody does something about it: the hour is tried again and told of, and those
    /// that come next do not wait for it.
    pub(super) lasts: bool,
}

/// What has become of an hour.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is nothing more to do.
    Done,
    /// All of these minutes is in the hour's object, whose end is that; they go after that pause.
    Covers(Bytes, Vec<Millis>, Duration),
    /// Something is to come first.
    Again,
}

/// The hours that are open.
#[derive(Debug)]
pub(super) struct Book {
    open: BTreeMap<(Millis, ChannelId), Entry>,
    /// The hours before are done, as it is kept on disk.
    kept: Millis,
    /// The hours of which it is not known which channels have something.
    unknown: Option<(Millis, Millis)>,
}

impl Book {
    /// A book of a node that has kept how far it came in each: `kept` with hours, `archived_to` with minutes.
    pub(super) fn new(kept: Option<Millis>, archived_to: Millis) -> Self {
        let began = archived_to.floor_to(hour_len());
        let from = kept.unwrap_or(began).floor_to(hour_len());
        Self {
            open: BTreeMap::new(),
            kept: kept.unwrap_or(Millis::new(0)),
            unknown: (from < archived_to).then_some((from, archived_to)),
        }
    }

    pub(super) fn kept(&self) -> Millis {
        self.kept
    }

    pub(super) fn set_kept(&mut self, kept: Millis) {
        self.kept = kept;
    }

    /// The next hour of the run before of which it is to be said which channels may have something, if not so
    /// many are open that it can wait.
    pub(super) fn take_unknown(&mut self) -> Option<Millis> {
        let (hour, end) = self.unknown.filter(|_| self.open.len() < OPEN_MAX)?;
        let next = hour.plus(hour_len());
        self.unknown = (next < end).then_some((next, end));
        Some(hour)
    }

    /// A channel has, or may have, minutes in the hour of that time.
    pub(super) fn expect(&mut self, channel: ChannelId, at: Millis) {
        self.open
            .entry((at.floor_to(hour_len()), channel))
            .or_default();
    }

    /// The hours to look at now: those of which `is_due` gives the channel; those of which it gives nothing at
    /// all are closed.
    pub(super) fn due(
        &mut self,
        now: Instant,
        is_due: impl Fn(ChannelId, Millis) -> Option<Option<Arc<Channel>>>,
    ) -> Vec<(Millis, Entry, Arc<Channel>)> {
        let mut due = Vec::new();
        self.open.retain(|at, entry| {
            if entry.again.is_some_and(|again| again > now) {
                return true;
            }
            match is_due(at.1, at.0) {
                None => return false,
                Some(None) => {}
                Some(Some(channel)) => due.push((at.0, entry.clone(), channel)),
            }
            true
        });
        due
    }

    /// Takes up what has become of one.
    pub(super) fn note(
        &mut self,
        at: (Millis, ChannelId),
        outcome: Result<Outcome, Obstacle>,
        now: Instant,
    ) {
        let entry = self.open.entry(at).or_default();
        let (covered, pause, obstacle) = match outcome {
            Ok(Outcome::Done) => {
                self.open.remove(&at);
                return;
            }
            Ok(Outcome::Covers(footer, minutes, pause)) => {
                (Some((footer, minutes)), Some(pause), None)
            }
            Ok(Outcome::Again) => (None, None, None),
            Err(obstacle) => (entry.covered.take(), None, Some(obstacle)),
        };
        entry.tries = if pause.is_some() { 0 } else { entry.tries + 1 };
        let doubled = AGAIN.saturating_mul(1 << entry.tries.saturating_sub(1).min(6));
        entry.again = Some(now + pause.unwrap_or(doubled.min(AGAIN_MAX)));
        entry.covered = covered;
        entry.obstacle = obstacle;
    }

    /// Up to where everything is done, given up to where everything is archived.
    pub(super) fn done_to(&self, archived_to: Millis) -> Millis {
        let lasts = |entry: &Entry| entry.obstacle.as_ref().is_some_and(|it| it.lasts);
        let mut open = self.open.iter().filter(|(_, entry)| !lasts(entry));
        let first = open.next().map(|((hour, _), _)| *hour);
        let unknown = self.unknown.map(|(from, _)| from);
        let first = first.into_iter().chain(unknown).min();
        first.map_or(archived_to, |first| first.min(archived_to))
    }

    /// What stands in the way of the first hour that something stands in the way of.
    pub(super) fn obstacle(&self) -> Option<String> {
        let mut all = self
            .open
            .values()
            .filter_map(|entry| entry.obstacle.as_ref());
        all.next().map(|obstacle| obstacle.what.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::name::HOUR;

    fn hour(number: i64) -> Millis {
        Millis::new(number * HOUR)
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_that_stays_as_it_is_holds_back_no_other() {
        let mut book = Book::new(Some(hour(10)), hour(10));
        let now = Instant::now();
        let (a, b) = (ChannelId(1), ChannelId(2));
        for (channel, at) in [(a, 10), (b, 11), (a, 12)] {
            book.expect(channel, hour(at));
        }
        assert_eq!(book.done_to(hour(13)), hour(10));
        for (lasts, done_to) in [(false, 10), (true, 11)] {
            let what = "it differs".to_owned();
            let obstacle = Obstacle { what, lasts };
            book.note((hour(10), a), Err(obstacle), now);
            assert_eq!(book.done_to(hour(13)), hour(done_to));
        }
        book.note((hour(11), b), Ok(Outcome::Done), now);
        assert_eq!(book.done_to(hour(13)), hour(12));
        assert_eq!(book.obstacle().as_deref(), Some("it differs"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_time_is_opened_hour_by_hour() {
        let mut book = Book::new(Some(hour(0)), hour(100));
        let mut opened = Vec::new();
        while let Some(at) = book.take_unknown() {
            opened.push(at);
            for channel in 0..1_000 {
                book.expect(ChannelId(channel), at);
            }
        }
        assert_eq!(opened.len(), OPEN_MAX / 1_000);
        assert_eq!(book.done_to(hour(100)), hour(0));
        for at in opened {
            for channel in 0..1_000 {
                book.note((at, ChannelId(channel)), Ok(Outcome::Done), Instant::now());
            }
        }
        assert_eq!(book.done_to(hour(100)), hour(10));
        assert_eq!(book.take_unknown(), Some(hour(10)));
    }
}
