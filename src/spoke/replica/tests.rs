mod lost;
mod trio;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;

use super::*;
use crate::env::ManualClock;
use crate::item::Payload;
use crate::spoke::accept::Reason;
use crate::spoke::peers::NoPeers;
use crate::spoke::store::{Append, Done, Naming, Range, ReadError, Removal, StoredItem};
use crate::spoke::{Entry, ItemFlags, ItemHead, ReadMode, StoredPayload, WriteId, accept};

const NOW: i64 = 1_790_000_000_000;
const CHANNEL: ChannelId = ChannelId(1);

/// A store that answers when the test says so.
struct HeldStore {
    clock: Arc<HubClock>,
    waiting: Mutex<Vec<Append>>,
    stored: Mutex<BTreeMap<(ChannelId, ItemKey), StoredHead>>,
    mark: Mutex<Millis>,
    marking: Mutex<Vec<Done>>,
    hold_marks: bool,
    /// How often somebody asked whether it is full: each write does, before it is stamped.
    writes: AtomicUsize,
}

#[derive(Clone)]
struct StoredHead(ItemHead, Bytes);

impl HeldStore {
    fn new(hold_marks: bool) -> (Arc<Self>, Arc<ManualClock>, Arc<HubClock>) {
        let source = ManualClock::new(Millis::new(NOW));
        let clock = Arc::new(HubClock::start(source.clone()));
        let store = Arc::new(Self {
            clock: Arc::clone(&clock),
            waiting: Mutex::default(),
            stored: Mutex::default(),
            mark: Mutex::new(Millis::new(NOW - 5000)),
            marking: Mutex::default(),
            hold_marks,
            writes: AtomicUsize::new(0),
        });
        (store, source, clock)
    }

    /// Answers the append of that place in the order of arrival.
    fn answer(&self, place: usize, outcome: Result<(), AppendError>) {
        let append = self.waiting.lock().remove(place);
        if outcome.is_ok() {
            let body = [append.record.head(), append.record.payload()].concat();
            let (record, head_len) = crate::spoke::record::decode_body(&body).unwrap();
            let crate::spoke::record::Record::Item(head) = record else {
                unreachable!("only items are appended")
            };
            let payload = Bytes::copy_from_slice(&body[head_len..]);
            self.stored
                .lock()
                .insert((append.channel, append.key), StoredHead(head, payload));
        }
        (append.done)(outcome);
    }

    fn key_at(&self, place: usize) -> ItemKey {
        self.waiting.lock()[place].key
    }
}

impl SpokeStore for HeldStore {
    fn append(&self, append: Append) {
        self.waiting.lock().push(append);
    }

    fn remove(&self, removal: Removal) {
        self.stored.lock().remove(&(removal.channel, removal.key));
        (removal.done)(Ok(()));
    }

    fn advance_mark(&self, done: Done) {
        if self.hold_marks {
            self.marking.lock().push(done);
            return;
        }
        *self.mark.lock() = self.clock.now().plus(1000);
        done(Ok(()));
    }

    fn mark(&self) -> Millis {
        *self.mark.lock()
    }

    fn hold_mark(&self, _: bool) {}

    fn holds_from(&self) -> Millis {
        Millis::MIN
    }

    fn let_go(&self, _: Millis) -> std::io::Result<()> {
        Ok(())
    }

    fn find(&self, _: ChannelId, _: &ItemKey, _: ReadMode) -> Result<Option<Entry>, ReadError> {
        Ok(None)
    }

    fn range(&self, _: &Range, _: ReadMode) -> Result<Vec<Entry>, ReadError> {
        Ok(Vec::new())
    }

    fn read(&self, _: &Entry, _: ReadMode) -> Result<StoredItem, ReadError> {
        Err(ReadError::NotCached)
    }

    fn get(
        &self,
        channel: ChannelId,
        key: &ItemKey,
        _: ReadMode,
    ) -> Result<Option<StoredItem>, ReadError> {
        let found = self.stored.lock().get(&(channel, *key)).cloned();
        Ok(found.map(|StoredHead(head, bytes)| StoredItem {
            head,
            payload: StoredPayload::Whole(bytes),
        }))
    }

    fn decided_to(&self, _: ChannelId, _: ItemKey) {}

    fn name(&self, naming: Naming) {
        (naming.done)(Ok(()));
    }

    fn undecided(&self) -> Vec<Undecided> {
        Vec::new()
    }

    fn recent_writes(&self) -> Vec<(ChannelId, ItemKey, WriteId, ItemFlags)> {
        Vec::new()
    }

    fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }

    fn is_full(&self) -> bool {
        self.writes.fetch_add(1, Ordering::SeqCst);
        false
    }

    fn failure(&self) -> Option<String> {
        None
    }

    fn made_whole(&self, done: Done) {
        done(Ok(()));
    }

    fn close(&self, _: Millis) -> bool {
        true
    }
}

struct Anywhere;

impl KeyPlacement for Anywhere {
    fn is_placed(&self, _: &ItemKey) -> bool {
        true
    }

    fn horizon(&self) -> Millis {
        Millis::new(NOW + 1_000_000)
    }

    fn is_current(&self) -> bool {
        true
    }

    fn others(&self, _: Millis) -> Vec<Member> {
        Vec::new()
    }

    fn leads(&self, _: Millis) -> bool {
        true
    }

    fn stamps_from(&self, _: Millis) -> Millis {
        Millis::MIN
    }

    fn earlier_sets(&self, _: Millis, _: Millis) -> Vec<EarlierSet> {
        Vec::new()
    }

    fn is_lost(&self, _: &Member, _: Millis, _: Millis) -> bool {
        false
    }
}

fn replica(store: &Arc<HeldStore>, clock: &Arc<HubClock>) -> Arc<Replica> {
    let settings = ReplicaSettings {
        limits: accept::Limits {
            accept_window: 1000,
            max_skew: 500,
        },
        slot: NodeSlot::new(0).unwrap(),
        dedup_window: 600_000,
        dedup_bytes: 1 << 20,
        patience: Duration::from_secs(5),
        stage_bytes: 1000,
        staged_bytes_max: 10_000,
    };
    let (replica, undecided) = Replica::new(
        Arc::clone(store) as Arc<dyn SpokeStore>,
        Arc::clone(clock),
        Arc::new(NoPeers),
        Member::new("a").unwrap(),
        settings,
    );
    assert_eq!(undecided, []);
    replica
}

fn write(text: &'static str, key: Option<u128>) -> Write {
    Write {
        channel: ChannelRef {
            id: CHANNEL,
            name: "c".into(),
        },
        began: Millis::new(NOW),
        again: false,
        until: tokio::time::Instant::now() + Duration::from_secs(10),
        write_id: WriteId(key.unwrap_or(u128::from(text.len() as u64) << 64)),
        keyed: key.is_some(),
        bulk: None,
        payload: Payload {
            content_type: None,
            bytes: Bytes::from_static(text.as_bytes()),
        },
    }
}

/// Starts a write and waits until it stands before the store.
async fn begin(
    replica: &Arc<Replica>,
    store: &Arc<HeldStore>,
    write: Write,
) -> tokio::task::JoinHandle<Result<Stored, WriteError>> {
    let before = store.waiting.lock().len();
    let replica = Arc::clone(replica);
    let task = tokio::spawn(async move { replica.coordinate(write, Arc::new(Anywhere)).await });
    while store.waiting.lock().len() == before {
        tokio::task::yield_now().await;
    }
    task
}

#[tokio::test]
async fn the_reported_frontier_stays_below_what_is_not_stored_yet() {
    let (store, _, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let first = begin(&replica, &store, write("a", None)).await;
    let second = begin(&replica, &store, write("bb", None)).await;
    let (low, high) = (store.key_at(0), store.key_at(1));
    assert!(low < high);
    // The later one is stored first: a reader may not be told that the earlier one is absent.
    store.answer(1, Ok(()));
    assert_eq!(second.await.unwrap().unwrap().key, high);
    let reported = replica.frontier(CHANNEL).await.unwrap();
    assert_eq!(reported, Frontier::below(low));
    assert_eq!(replica.undecided(), (1, Some(low)));
    store.answer(0, Ok(()));
    assert_eq!(first.await.unwrap().unwrap().key, low);
    let reported = replica.frontier(CHANNEL).await.unwrap();
    assert_eq!(reported, Frontier::up_to(high));
}

#[tokio::test]
async fn an_unknown_outcome_holds_the_frontier_and_a_known_one_does_not() {
    let (store, _, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let full = begin(&replica, &store, write("a", None)).await;
    store.answer(0, Err(AppendError::Full));
    assert_eq!(full.await.unwrap(), Err(WriteError::Full));
    assert_eq!(replica.undecided(), (0, None));
    let lost = begin(&replica, &store, write("bb", None)).await;
    let key = store.key_at(0);
    let reason = "gone".to_owned();
    store.answer(0, Err(AppendError::Failed { reason }));
    assert!(matches!(
        lost.await.unwrap(),
        Err(WriteError::Unknown { .. })
    ));
    let reported = replica.frontier(CHANNEL).await.unwrap();
    assert_eq!(reported, Frontier::below(key));
}

#[tokio::test]
async fn a_client_that_leaves_does_not_take_its_write_along() {
    let (store, _, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let task = begin(&replica, &store, write("a", None)).await;
    let key = store.key_at(0);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(replica.undecided(), (1, Some(key)));
    store.answer(0, Ok(()));
    assert_eq!(replica.undecided(), (0, None));
    assert!(replica.get(CHANNEL, key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_client_that_leaves_early_can_come_back_with_its_key() {
    let (store, _, clock) = HeldStore::new(true);
    let replica = replica(&store, &clock);
    let task = tokio::spawn({
        let replica = Arc::clone(&replica);
        async move {
            replica
                .coordinate(write("a", Some(7)), Arc::new(Anywhere))
                .await
        }
    });
    // It waits for the mark, and nothing has been handed to the store.
    while store.marking.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    *store.mark.lock() = clock.now().plus(1000);
    let again = begin(&replica, &store, write("a", Some(7))).await;
    store.answer(0, Ok(()));
    assert!(!again.await.unwrap().unwrap().repeated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_stamps_nothing_below_what_was_promised_since() {
    let (store, source, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let channel = replica.channel(CHANNEL);
    let (writing, reported) = {
        // The writer is held up on its way to the serial point, and time passes.
        let promises = channel.lock();
        let writing = tokio::spawn({
            let replica = Arc::clone(&replica);
            async move {
                replica
                    .coordinate(write("a", None), Arc::new(Anywhere))
                    .await
            }
        });
        while store.writes.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        source.advance(5000);
        let reported = promises.reported(clock.now(), &replica.settings.limits);
        (writing, reported)
    };
    while store.waiting.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!reported.covers(&store.key_at(0)));
    store.answer(0, Ok(()));
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn tries_under_one_key_are_one_write() {
    let (store, _, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let first = begin(&replica, &store, write("a", Some(7))).await;
    let again = tokio::spawn({
        let replica = Arc::clone(&replica);
        async move {
            replica
                .coordinate(write("a", Some(7)), Arc::new(Anywhere))
                .await
        }
    });
    // The second one waits for the first, and reaches the store never.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.waiting.lock().len(), 1);
    store.answer(0, Ok(()));
    let key = first.await.unwrap().unwrap().key;
    let repeated = again.await.unwrap().unwrap();
    assert_eq!((repeated.key, repeated.repeated), (key, true));
    let other = replica
        .coordinate(write("other", Some(7)), Arc::new(Anywhere))
        .await;
    assert_eq!(other, Err(WriteError::KeyReused));
}

#[tokio::test]
async fn a_try_that_failed_for_sure_leaves_its_key_to_the_next() {
    let (store, _, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let first = begin(&replica, &store, write("a", Some(7))).await;
    store.answer(0, Err(AppendError::Full));
    assert_eq!(first.await.unwrap(), Err(WriteError::Full));
    let second = begin(&replica, &store, write("a", Some(7))).await;
    store.answer(0, Ok(()));
    assert!(!second.await.unwrap().unwrap().repeated);
}

#[tokio::test]
async fn nothing_is_promised_past_the_mark_on_disk() {
    let (store, _, clock) = HeldStore::new(true);
    let replica = replica(&store, &clock);
    let asking = tokio::spawn({
        let replica = Arc::clone(&replica);
        async move { replica.frontier(CHANNEL).await }
    });
    while store.marking.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!asking.is_finished(), "the mark is behind the clock");
    *store.mark.lock() = clock.now().plus(1000);
    let done = store.marking.lock().remove(0);
    done(Ok(()));
    let reported = asking.await.unwrap().unwrap();
    assert_eq!(reported, Frontier::before(clock.now().minus(1000)));
}

#[tokio::test]
async fn a_start_promises_nothing_less_than_the_run_before() {
    let (store, source, clock) = HeldStore::new(false);
    *store.mark.lock() = Millis::new(NOW);
    let replica = replica(&store, &clock);
    assert_eq!(replica.coordinates_from(), Millis::new(NOW + 500));
    // Its first key would be past the skew until the clock is near what was promised.
    let early = replica
        .coordinate(write("a", None), Arc::new(Anywhere))
        .await;
    assert_eq!(early, Err(WriteError::NotNow(Reason::AheadOfClock)));
    source.advance(500);
    let task = begin(&replica, &store, write("a", None)).await;
    assert!(store.key_at(0).millis >= Millis::new(NOW + 1000));
    store.answer(0, Ok(()));
    assert!(task.await.unwrap().is_ok());
}

#[tokio::test]
async fn idle_channels_are_forgotten_and_busy_ones_are_not() {
    let (store, source, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let task = begin(&replica, &store, write("a", None)).await;
    let key = store.key_at(0);
    source.advance(60_000);
    *store.mark.lock() = clock.now().plus(1000);
    replica.forget_idle();
    let reported = replica.frontier(CHANNEL).await.unwrap();
    assert_eq!(reported, Frontier::below(key), "it is still pending");
    store.answer(0, Ok(()));
    assert!(task.await.unwrap().is_ok());
    replica.forget_idle();
    assert!(replica.channels.read().is_empty());
    let reported = replica.frontier(CHANNEL).await.unwrap();
    assert!(reported.covers(&key), "the clock promises as much");
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_is_not_stamped() {
    let (store, _, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let late = Write {
        until: tokio::time::Instant::now(),
        ..write("late", None)
    };
    let outcome = replica.coordinate(late, Arc::new(Anywhere)).await;
    assert_eq!(outcome, Err(WriteError::NotNow(Reason::TooLate)));
    assert!(store.waiting.lock().is_empty());
}

#[tokio::test]
async fn a_clock_that_is_off_moves_no_mark() {
    let (store, source, clock) = HeldStore::new(false);
    let replica = replica(&store, &clock);
    let before = replica.frontier(CHANNEL).await.unwrap();
    replica.set_clock_right(false);
    source.advance(300_000);
    let mark = store.mark();
    let outcome = replica
        .coordinate(write("off", None), Arc::new(Anywhere))
        .await;
    assert_eq!(outcome, Err(WriteError::NotNow(Reason::ClockOff)));
    assert!(replica.frontier(CHANNEL).await.unwrap() <= before);
    assert_eq!(store.mark(), mark);
}
