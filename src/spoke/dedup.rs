//! The writes that a replica has seen lately, by their ids: a write that is tried again, here or
//! through another coordinator, must not become two items.
//!
//! Those that come from a client's idempotency key are remembered for the dedup window, and nothing
//! is forgotten early: when the memory for them is used up, a new one is refused. The others are
//! remembered for as long as somebody may still try them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::accept::Held;
use super::ids::WriteId;
use super::store::RECALL;
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
    /// How many of them come from an idempotency key.
    keyed: usize,
    /// When each decided write may be forgotten, oldest first: those with an idempotency key, and
    /// the others.
    order: [VecDeque<(Millis, WriteId)>; 2],
}

#[derive(Debug)]
struct Write {
    keyed: bool,
    state: State,
    /// Notified when the state changes, if somebody waits for that.
    changed: Option<Arc<Notify>>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Tried here, and nothing of it stored.
    Begun,
    /// On its way to the disk, as another's copy.
    Storing(ItemKey),
    /// Held as the coordinator's own copy, undecided.
    Pending(ItemKey),
    /// Under which key, and since when.
    Stored(ItemKey, Millis),
    /// Committed under that key, by copies of others, as they said then.
    Elsewhere(ItemKey, Millis),
}

/// What is known of a write that begins.
#[derive(Debug)]
pub enum Known {
    /// Nothing: the caller tries it, and says how it ended.
    New,
    /// It is stored under that key.
    Stored(ItemKey),
    /// Somebody tries it now; this is notified when that has ended.
    Undecided(Arc<Notify>),
    /// Nothing, and no more can be remembered now.
    NoRoom,
}

/// What a replica holds of a write, and under which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// Nothing.
    None,
    /// Another coordinator's item, which goes to the disk now.
    Storing(ItemKey),
    /// Its own item, undecided.
    Pending(ItemKey),
    /// A committed item.
    Stored(ItemKey),
    /// No copy, but others have it committed.
    Elsewhere(ItemKey),
}

impl Copy {
    /// What the accept rule makes of it, for an item that is offered under `key`.
    pub fn held(self, key: &ItemKey) -> Held {
        match self {
            Self::None => Held::No,
            // The copy that is offered is not here yet.
            Self::Elsewhere(held) if held == *key => Held::No,
            Self::Storing(held) | Self::Pending(held) | Self::Stored(held) if held == *key => {
                Held::Here
            }
            Self::Storing(held) | Self::Pending(held) => Held::Pending(held),
            Self::Stored(held) | Self::Elsewhere(held) => Held::Committed(held),
        }
    }
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
    pub fn begin(&self, id: WriteId, keyed: bool, now: Millis) -> Known {
        let mut inner = self.inner.lock();
        inner.forget(now, self.window);
        let room = inner.keyed < self.entries_max;
        match inner.writes.get_mut(&id) {
            Some(write) => match write.state {
                State::Stored(key, _) | State::Elsewhere(key, _) => Known::Stored(key),
                _ => Known::Undecided(Arc::clone(write.changed.get_or_insert_default())),
            },
            None if keyed && !room => Known::NoRoom,
            None => {
                inner.set(id, keyed, State::Begun);
                Known::New
            }
        }
    }

    /// What this replica holds of a write.
    pub fn copy(&self, id: WriteId, now: Millis) -> Copy {
        let mut inner = self.inner.lock();
        inner.forget(now, self.window);
        match inner.writes.get(&id).map(|write| write.state) {
            None | Some(State::Begun) => Copy::None,
            Some(State::Storing(key)) => Copy::Storing(key),
            Some(State::Pending(key)) => Copy::Pending(key),
            Some(State::Stored(key, _)) => Copy::Stored(key),
            Some(State::Elsewhere(key, _)) => Copy::Elsewhere(key),
        }
    }

    /// Notified when what is known of a write changes; `None` if it is decided or not known.
    pub fn change(&self, id: WriteId) -> Option<Arc<Notify>> {
        let mut inner = self.inner.lock();
        let write = inner.writes.get_mut(&id)?;
        match write.state {
            State::Stored(..) | State::Elsewhere(..) => None,
            _ => Some(Arc::clone(write.changed.get_or_insert_default())),
        }
    }

    /// It goes to the disk here under that key, as another's copy.
    pub fn storing(&self, id: WriteId, keyed: bool, key: ItemKey) {
        self.inner.lock().set(id, keyed, State::Storing(key));
    }

    /// It was stamped here with that key.
    pub fn pending(&self, id: WriteId, keyed: bool, key: ItemKey) {
        self.inner.lock().set(id, keyed, State::Pending(key));
    }

    /// It is stored.
    pub fn stored(&self, id: WriteId, keyed: bool, key: ItemKey, now: Millis) {
        let mut inner = self.inner.lock();
        inner.set(id, keyed, State::Stored(key, now));
        inner.order[usize::from(!keyed)].push_back((now, id));
    }

    /// It is committed under that key, and this replica has no copy.
    pub fn elsewhere(&self, id: WriteId, keyed: bool, key: ItemKey, now: Millis) {
        let mut inner = self.inner.lock();
        let known = inner.writes.get(&id).map(|write| write.state);
        // A copy has come meanwhile, or comes now.
        if matches!(known, Some(State::Stored(..) | State::Storing(_))) {
            return;
        }
        inner.set(id, keyed, State::Elsewhere(key, now));
        inner.order[usize::from(!keyed)].push_back((now, id));
    }

    /// The key that it was stamped with is dead; it is tried under another one.
    pub fn begun_again(&self, id: WriteId, key: &ItemKey) {
        let mut inner = self.inner.lock();
        if let Some(write) = inner.writes.get_mut(&id)
            && matches!(write.state, State::Pending(held) if held == *key)
        {
            write.state = State::Begun;
        }
    }

    /// The copy under `key` is gone, and nothing else is known of it: the next try is new.
    pub fn failed(&self, id: WriteId, key: Option<&ItemKey>) {
        let mut inner = self.inner.lock();
        let gone = match inner.writes.get(&id).map(|write| write.state) {
            Some(State::Begun) => key.is_none(),
            Some(State::Storing(held) | State::Pending(held)) => key == Some(&held),
            // Another copy has settled it.
            Some(State::Stored(..) | State::Elsewhere(..)) | None => false,
        };
        if gone {
            inner.remove(id);
        }
    }
}

impl Inner {
    fn set(&mut self, id: WriteId, keyed: bool, state: State) {
        let before = self.writes.remove(&id);
        let was_keyed = before.as_ref().is_some_and(|write| write.keyed);
        self.keyed = self.keyed + usize::from(keyed) - usize::from(was_keyed);
        let write = Write {
            keyed,
            state,
            changed: None,
        };
        self.writes.insert(id, write);
        if let Some(changed) = before.and_then(|write| write.changed) {
            changed.notify_waiters();
        }
    }

    fn remove(&mut self, id: WriteId) {
        let Some(write) = self.writes.remove(&id) else {
            return;
        };
        self.keyed -= usize::from(write.keyed);
        if let Some(changed) = write.changed {
            changed.notify_waiters();
        }
    }

    fn forget(&mut self, now: Millis, window: i64) {
        for (queue, window) in [(0, window), (1, RECALL.min(window))] {
            let before = now.minus(window);
            while let Some((at, id)) = self.order[queue].front().copied() {
                if at >= before {
                    break;
                }
                // After its window an id may have been used again: then that use stands.
                let state = self.writes.get(&id).map(|write| write.state);
                if matches!(
                    state,
                    Some(State::Stored(_, since) | State::Elsewhere(_, since)) if since == at
                ) {
                    self.remove(id);
                }
                self.order[queue].pop_front();
            }
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
        assert!(matches!(dedup.begin(WriteId(1), true, NOW), Known::New));
        assert!(matches!(
            dedup.begin(WriteId(1), true, NOW),
            Known::Undecided(_)
        ));
        dedup.stored(WriteId(1), true, ItemKey::MIN, NOW);
        let known = dedup.begin(WriteId(1), true, NOW.plus(1000));
        assert!(matches!(known, Known::Stored(ItemKey::MIN)));
        assert!(matches!(
            dedup.begin(WriteId(1), true, NOW.plus(1001)),
            Known::New
        ));
    }

    #[test]
    fn an_id_that_was_used_again_is_remembered_from_its_last_use_on() {
        let dedup = Dedup::new(1000, 1 << 20);
        // As they are found at a start.
        dedup.stored(WriteId(1), true, ItemKey::MIN, NOW);
        dedup.stored(WriteId(1), true, ItemKey::MIN, NOW.plus(900));
        let known = dedup.begin(WriteId(1), true, NOW.plus(1500));
        assert!(matches!(known, Known::Stored(..)));
    }

    #[test]
    fn a_failed_try_is_new_again() {
        let dedup = Dedup::new(1000, 1 << 20);
        assert!(matches!(dedup.begin(WriteId(1), true, NOW), Known::New));
        dedup.failed(WriteId(1), None);
        assert!(matches!(dedup.begin(WriteId(1), true, NOW), Known::New));
    }

    #[test]
    fn refuses_rather_than_forgets() {
        let dedup = Dedup::new(1000, 2 * ENTRY_BYTES);
        for id in [1, 2] {
            assert!(matches!(dedup.begin(WriteId(id), true, NOW), Known::New));
            dedup.stored(WriteId(id), true, ItemKey::MIN, NOW);
        }
        assert!(matches!(dedup.begin(WriteId(3), true, NOW), Known::NoRoom));
        assert!(matches!(
            dedup.begin(WriteId(1), true, NOW),
            Known::Stored(..)
        ));
        assert!(matches!(
            dedup.begin(WriteId(3), true, NOW.plus(1001)),
            Known::New
        ));
    }
}
