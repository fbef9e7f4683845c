//! How far archiving has come: of each channel, and of all of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::env::Millis;
use crate::spoke::ChannelId;

/// The pause before a channel is tried again that something stands in the way of, and its longest.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_mins(2);
/// The longest pause before it is looked again for what another node is to write.
const LOOK_MAX: Duration = Duration::from_secs(20);

/// Where archiving a channel stopped before its end.
#[derive(Debug)]
pub(super) struct Stopped {
    /// How far it had come.
    pub(super) at: Millis,
    /// What stands in the way; `None` if it only waits for another node.
    pub(super) obstacle: Option<String>,
    /// Since when others are waited for that write nothing.
    pub(super) waiting: Option<Millis>,
}

/// A channel that is behind.
#[derive(Debug, Clone)]
struct Lagging {
    at: Millis,
    obstacle: Option<String>,
    waiting: Option<Millis>,
    /// How often it was tried, and when it is tried again.
    tries: u32,
    again: Instant,
}

/// A channel that is to be archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// From when on.
    pub(super) from: Millis,
    /// Since when others are waited for that write nothing.
    pub(super) waiting: Option<Millis>,
}

/// How far each channel has come.
#[derive(Debug)]
pub(super) struct Progress {
    /// Those that are not named have come so far.
    ahead: Millis,
    /// Up to where it is looked, or was.
    looked: Millis,
    /// Those that are behind.
    lagging: HashMap<ChannelId, Lagging>,
    /// From where on something was stored of a channel since it was looked at there last.
    touched: HashMap<ChannelId, Millis>,
    /// How much is about to be stored, minute by minute.
    storing: BTreeMap<Millis, usize>,
    /// What is on disk, or is on its way there.
    marked: Millis,
}

impl Progress {
    pub(super) fn new(marked: Millis) -> Self {
        Self {
            ahead: marked,
            looked: marked,
            lagging: HashMap::new(),
            touched: HashMap::new(),
            storing: BTreeMap::new(),
            marked,
        }
    }

    /// How far all of them have come.
    pub(super) fn reached(&self) -> Millis {
        let behind = self.lagging.values().map(|lagging| lagging.at);
        let behind = behind.chain(self.touched.values().copied());
        let behind = behind.chain(self.storing.keys().next().copied());
        behind.fold(self.ahead, Ord::min)
    }

    /// How far one of them has come.
    pub(super) fn reached_by(&self, channel: ChannelId) -> Millis {
        let lagging = self.lagging.get(&channel).map(|lagging| lagging.at);
        let touched = self.touched.get(&channel).copied();
        let behind = lagging.into_iter().chain(touched);
        behind.fold(self.ahead, Ord::min)
    }

    /// What stands in the way of the one that is furthest behind.
    pub(super) fn obstacle(&self) -> Option<String> {
        let all = self.lagging.values();
        let stopped = all.filter(|lagging| lagging.obstacle.is_some());
        stopped.min_by_key(|lagging| lagging.at)?.obstacle.clone()
    }

    /// How many are behind the others.
    pub(super) fn lagging(&self) -> usize {
        self.lagging.len()
    }

    /// Those that are not named have come so far.
    pub(super) fn ahead(&self) -> Millis {
        self.ahead
    }

    /// What is on disk, or may be.
    pub(super) fn marked(&self) -> Millis {
        self.marked
    }

    pub(super) fn set_marked(&mut self, marked: Millis) {
        self.marked = marked;
    }

    /// It is about to be looked up to there: what is stored below from now on is looked at again.
    pub(super) fn look_to(&mut self, end: Millis) {
        self.looked = self.looked.max(end);
    }

    /// Which of the channels that there are come next, and from where on.
    pub(super) fn due(
        &mut self,
        channels: impl IntoIterator<Item = ChannelId>,
        from: Millis,
        now: Instant,
    ) -> Vec<(ChannelId, Due)> {
        let channels: HashSet<ChannelId> = channels.into_iter().collect();
        // Of one that is deleted nothing is to be archived.
        self.lagging.retain(|channel, _| channels.contains(channel));
        self.touched.retain(|channel, _| channels.contains(channel));
        for (channel, at) in std::mem::take(&mut self.touched) {
            let lagging = self.lagging.entry(channel).or_insert(Lagging {
                at,
                obstacle: None,
                waiting: None,
                tries: 0,
                again: now,
            });
            lagging.at = lagging.at.min(at);
        }
        let due = channels.into_iter().filter_map(|channel| {
            let due = match self.lagging.get(&channel) {
                None => Due {
                    from,
                    waiting: None,
                },
                // Something may have been stored late of a time that the others have not come to either.
                Some(lagging) if lagging.again <= now => Due {
                    from: lagging.at.min(from),
                    waiting: lagging.waiting,
                },
                Some(_) => return None,
            };
            Some((channel, due))
        });
        due.collect()
    }

    /// Takes up what has become of a channel that was due, up to `to`.
    pub(super) fn note(
        &mut self,
        channel: ChannelId,
        archived: Result<(), Stopped>,
        to: Millis,
        now: Instant,
    ) {
        let stopped = match archived {
            Ok(()) => {
                let behind = self.lagging.get(&channel);
                // What is to be looked at again behind that was not.
                if behind.is_some_and(|lagging| lagging.at < to) {
                    self.lagging.remove(&channel);
                }
                return;
            }
            Err(stopped) => stopped,
        };
        let before = self.lagging.get(&channel);
        let same = before.filter(|before| before.at == stopped.at);
        let tries = same.map_or(0, |before| before.tries + 1);
        let longest = match stopped.obstacle {
            Some(_) => AGAIN_MAX,
            None => LOOK_MAX,
        };
        let pause = AGAIN.saturating_mul(1 << tries.min(6)).min(longest);
        let lagging = Lagging {
            at: stopped.at,
            obstacle: stopped.obstacle,
            waiting: stopped.waiting,
            tries,
            again: now + pause,
        };
        self.lagging.insert(channel, lagging);
    }

    /// A channel that could not be looked up stays behind: where it was, or at `at` if it was not behind.
    pub(super) fn stay_behind(
        &mut self,
        channel: ChannelId,
        at: Millis,
        obstacle: String,
        now: Instant,
    ) {
        let before = self.lagging.get(&channel).map(|lagging| lagging.at);
        let at = before.into_iter().fold(at, Ord::min);
        let stopped = Stopped {
            at,
            obstacle: Some(obstacle),
            waiting: None,
        };
        self.note(channel, Err(stopped), at, now);
    }

    /// Those that are not behind have come so far.
    pub(super) fn came_to(&mut self, to: Millis) {
        self.ahead = self.ahead.max(to);
    }

    /// All of them have come so far and no further: what came after that does not count.
    pub(super) fn go_back(&mut self, to: Millis) {
        self.ahead = self.ahead.min(to);
        // They begin there, or are to be looked at again below.
        self.lagging.retain(|_, lagging| lagging.at < to);
        self.touched.retain(|_, at| *at < to);
    }

    /// Nothing of what is stored has been found.
    pub(super) fn begin_anew(&mut self) {
        let begin = Millis::new(0);
        self.go_back(begin);
        self.marked = begin;
    }

    /// Lets nothing go past a minute that something is about to be stored of.
    pub(super) fn begin_storing(&mut self, minute: Millis) {
        *self.storing.entry(minute).or_default() += 1;
    }

    fn end_storing(&mut self, channel: ChannelId, minute: Millis) {
        if let Some(count) = self.storing.get_mut(&minute) {
            *count -= 1;
            if *count == 0 {
                self.storing.remove(&minute);
            }
        }
        // What is to be looked at yet is seen then.
        if minute < self.looked.max(self.ahead) {
            let touched = self.touched.entry(channel).or_insert(minute);
            *touched = (*touched).min(minute);
        }
    }
}

/// Something is about to be stored of a minute, which does not count as archived until this is dropped and
/// it was looked at again.
#[must_use = "it is to be held until what is to be stored is"]
pub struct Storing {
    progress: Arc<Mutex<Progress>>,
    channel: ChannelId,
    minute: Millis,
}

impl Storing {
    pub(super) fn begin(
        progress: &Arc<Mutex<Progress>>,
        channel: ChannelId,
        minute: Millis,
    ) -> Self {
        progress.lock().begin_storing(minute);
        Self {
            progress: Arc::clone(progress),
            channel,
            minute,
        }
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        let mut progress = self.progress.lock();
        progress.end_storing(self.channel, self.minute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ChannelId = ChannelId(1);
    const B: ChannelId = ChannelId(2);

    fn at(minutes: i64) -> Millis {
        Millis::new(minutes * 60_000)
    }

    fn stopped(minutes: i64, obstacle: Option<&str>) -> Result<(), Stopped> {
        Err(Stopped {
            at: at(minutes),
            obstacle: obstacle.map(str::to_owned),
            waiting: None,
        })
    }

    /// Looks at all channels up to there, with that outcome for A.
    fn look(progress: &mut Progress, to: i64, outcome: Result<(), Stopped>, now: Instant) {
        progress.look_to(at(to));
        let from = progress.ahead();
        for (channel, _) in progress.due([A, B], from, now) {
            if channel == B {
                progress.note(B, Ok(()), at(to), now);
            }
        }
        progress.note(A, outcome, at(to), now);
        progress.came_to(at(to));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_behind_holds_back_no_other_but_the_mark() {
        let mut progress = Progress::new(at(0));
        let now = Instant::now();
        look(&mut progress, 10, stopped(3, Some("why")), now);
        assert_eq!(progress.reached(), at(3));
        assert_eq!(progress.ahead(), at(10));
        assert_eq!(progress.reached_by(A), at(3));
        assert_eq!(progress.reached_by(B), at(10));
        assert_eq!(progress.obstacle().as_deref(), Some("why"));
        // It is tried again after a pause, which grows while nothing changes.
        assert_eq!(progress.due([A, B], at(10), now).len(), 1);
        let mut pauses = Vec::new();
        let mut now = now;
        for _ in 0..7 {
            let before = now;
            while progress.due([A], at(10), now).is_empty() {
                now += Duration::from_secs(1);
            }
            pauses.push((now - before).as_secs());
            progress.note(A, stopped(3, Some("why")), at(10), now);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 120, 120]);
        let due = progress.due([A], at(10), now + AGAIN_MAX);
        let due_at_3 = Due {
            from: at(3),
            waiting: None,
        };
        assert_eq!(due, [(A, due_at_3)]);
        progress.note(A, Ok(()), at(10), now);
        assert_eq!((progress.reached(), progress.obstacle()), (at(10), None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_deleted_holds_nothing_back() {
        let mut progress = Progress::new(at(0));
        let now = Instant::now();
        look(&mut progress, 10, stopped(3, Some("why")), now);
        let _ = progress.due([B], at(10), now);
        assert_eq!((progress.reached(), progress.lagging()), (at(10), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stored_late_is_looked_at_again() {
        let now = Instant::now();
        let progress = Arc::new(Mutex::new(Progress::new(at(0))));
        look(&mut progress.lock(), 10, Ok(()), now);
        assert_eq!(progress.lock().reached(), at(10));
        // While it is being stored, whatever is found meanwhile.
        let storing = Storing::begin(&progress, A, at(4));
        let also = Storing::begin(&progress, A, at(4));
        look(&mut progress.lock(), 20, Ok(()), now);
        assert_eq!(progress.lock().reached(), at(4));
        drop(storing);
        drop(also);
        assert_eq!(progress.lock().reached(), at(4));
        assert_eq!(progress.lock().reached_by(B), at(20));
        // It is due from there, and then is done.
        let due = progress.lock().due([A, B], at(20), now);
        let from = due.iter().find(|(channel, _)| *channel == A).unwrap();
        assert_eq!(from.1.from, at(4));
        progress.lock().note(A, Ok(()), at(20), now);
        assert_eq!(progress.lock().reached(), at(20));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stored_while_it_is_looked_at_is_looked_at_again() {
        let now = Instant::now();
        let progress = Arc::new(Mutex::new(Progress::new(at(0))));
        progress.lock().look_to(at(10));
        let _ = progress.lock().due([A, B], at(0), now);
        drop(Storing::begin(&progress, A, at(4)));
        // Of a time that is not looked at yet nothing needs to be known.
        drop(Storing::begin(&progress, B, at(12)));
        for channel in [A, B] {
            progress.lock().note(channel, Ok(()), at(10), now);
        }
        progress.lock().came_to(at(10));
        assert_eq!(progress.lock().reached(), at(4));
        assert_eq!(progress.lock().reached_by(B), at(10));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_looked_up_stays_where_it_was() {
        let mut progress = Progress::new(at(0));
        let now = Instant::now();
        look(&mut progress, 60, stopped(3, Some("why")), now);
        for channel in [A, B] {
            progress.stay_behind(channel, at(60), "it is unreadable".to_owned(), now);
        }
        progress.came_to(at(120));
        assert_eq!(progress.reached_by(A), at(3));
        assert_eq!(progress.reached_by(B), at(60));
        assert_eq!(progress.obstacle().as_deref(), Some("it is unreadable"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_stored_late_ahead_of_all_skips_nothing() {
        let now = Instant::now();
        let progress = Arc::new(Mutex::new(Progress::new(at(0))));
        // Far behind, and looked at hour by hour; meanwhile something comes of a later one.
        progress.lock().look_to(at(180));
        drop(Storing::begin(&progress, B, at(119)));
        for hour in 0..3 {
            let (from, to) = (at(60 * hour), at(60 * hour + 60));
            let due = progress.lock().due([A, B], from, now);
            assert_eq!(due.len(), 2);
            assert!(due.iter().all(|(_, due)| due.from == from), "{due:?}");
            for (channel, _) in due {
                progress.lock().note(channel, Ok(()), to, now);
            }
            progress.lock().came_to(to);
            assert_eq!(progress.lock().reached(), to);
        }
        assert_eq!(progress.lock().lagging(), 0);
    }
}
