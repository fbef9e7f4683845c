//! Write ids that come from a client's idempotency key, remembered for the dedup window.
//!
//! Nothing is forgotten early: when the memory for them is used up, a new one is refused.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ids::{ChannelId, WriteId};
use crate::env::Millis;
use crate::item::ItemKey;

/// What one remembered write takes, in bytes: its entry in the map and in the queue, with the room
/// that both keep spare.
const ENTRY_BYTES: u64 = 256;

/// The writes of the window.
#[derive(Debug)]
pub struct Dedup {
    window: i64,
    entries_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    writes: HashMap<WriteId, Write>,
    /// When each decided write may be forgotten, oldest first.
    order: VecDeque<(Millis, WriteId)>,
}

#[derive(Debug, Clone)]
enum Write {
    Undecided(Arc<Notify>),
    /// Under which key, and since when.
    Stored(ChannelId, ItemKey, Millis),
}

/// What is known of a write that begins.
#[derive(Debug)]
pub enum Known {
    /// Nothing: the caller tries it, and says how it ended.
    New,
    /// It is stored under that key.
    Stored(ChannelId, ItemKey),
    /// Somebody tries it now; this is notified when that has ended.
    Undecided(Arc<Notify>),
    /// Nothing, and no more can be remembered now.
    NoRoom,
}

impl Dedup {
    /// An empty window of that many milliseconds and bytes.
    pub fn new(window: i64, bytes: u64) -> Self {
        Self {
            window,
            entries_max: usize::try_from(bytes / ENTRY_BYTES).unwrap_or(usize::MAX),
            inner: Mutex::default(),
        }
    }

    /// A write begins; unless something is known of it, it is now undecided.
    pub fn begin(&self, id: WriteId, now: Millis) -> Known {
        let mut inner = self.inner.lock();
        inner.forget(now.minus(self.window));
        match inner.writes.get(&id) {
            Some(Write::Stored(channel, key, _)) => Known::Stored(*channel, *key),
            Some(Write::Undecided(notify)) => Known::Undecided(Arc::clone(notify)),
            None if inner.writes.len() >= self.entries_max => Known::NoRoom,
            None => {
                let undecided = Write::Undecided(Arc::new(Notify::new()));
                inner.writes.insert(id, undecided);
                Known::New
            }
        }
    }

    /// It is stored.
    pub fn stored(&self, id: WriteId, channel: ChannelId, key: ItemKey, now: Millis) {
        let mut inner = self.inner.lock();
        let before = inner.writes.insert(id, Write::Stored(channel, key, now));
        inner.order.push_back((now, id));
        if let Some(Write::Undecided(notify)) = before {
            notify.notify_waiters();
        }
    }

    /// It is known not to be stored: the next try is new.
    pub fn failed(&self, id: WriteId) {
        let before = self.inner.lock().writes.remove(&id);
        if let Some(Write::Undecided(notify)) = before {
            notify.notify_waiters();
        }
    }
}

impl Inner {
    fn forget(&mut self, before: Millis) {
        while let Some((at, id)) = self.order.front() {
            if *at >= before {
                return;
            }
            // After its window an id may have been used again: then that use stands.
            if matches!(self.writes.get(id), Some(Write::Stored(_, _, since)) if since == at) {
                self.writes.remove(id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis::new(1_790_000_000_000);

    #[test]
    fn remembers_for_the_window_and_not_longer() {
        let dedup = Dedup::new(1000, 1 << 20);
        assert!(matches!(dedup.begin(WriteId(1), NOW), Known::New));
        assert!(matches!(dedup.begin(WriteId(1), NOW), Known::Undecided(_)));
        dedup.stored(WriteId(1), ChannelId(1), ItemKey::MIN, NOW);
        let known = dedup.begin(WriteId(1), NOW.plus(1000));
        assert!(matches!(known, Known::Stored(ChannelId(1), ItemKey::MIN)));
        assert!(matches!(
            dedup.begin(WriteId(1), NOW.plus(1001)),
            Known::New
        ));
    }

    #[test]
    fn an_id_that_was_used_again_is_remembered_from_its_last_use_on() {
        let dedup = Dedup::new(1000, 1 << 20);
        // As they are found at a start.
        dedup.stored(WriteId(1), ChannelId(1), ItemKey::MIN, NOW);
        dedup.stored(WriteId(1), ChannelId(1), ItemKey::MIN, NOW.plus(900));
        let known = dedup.begin(WriteId(1), NOW.plus(1500));
        assert!(matches!(known, Known::Stored(..)));
    }

    #[test]
    fn a_failed_try_is_new_again() {
        let dedup = Dedup::new(1000, 1 << 20);
        assert!(matches!(dedup.begin(WriteId(1), NOW), Known::New));
        dedup.failed(WriteId(1));
        assert!(matches!(dedup.begin(WriteId(1), NOW), Known::New));
    }

    #[test]
    fn refuses_rather_than_forgets() {
        let dedup = Dedup::new(1000, 2 * ENTRY_BYTES);
        for id in [1, 2] {
            assert!(matches!(dedup.begin(WriteId(id), NOW), Known::New));
            dedup.stored(WriteId(id), ChannelId(1), ItemKey::MIN, NOW);
        }
        assert!(matches!(dedup.begin(WriteId(3), NOW), Known::NoRoom));
        assert!(matches!(dedup.begin(WriteId(1), NOW), Known::Stored(..)));
        assert!(matches!(
            dedup.begin(WriteId(3), NOW.plus(1001)),
            Known::New
        ));
    }
}
