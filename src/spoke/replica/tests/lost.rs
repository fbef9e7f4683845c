//! Items that are not decided, and those who may hold them, who are gone for good.

use super::trio::{LOST, Net, Trio, channel, restart, start};
use super::*;
use crate::spoke::Direction;
use crate::spoke::peers::{AppendAnswer, AppendRequest};

type Writing = tokio::task::JoinHandle<Result<Stored, WriteError>>;

const A_WHILE: Duration = Duration::from_secs(4);

/// A write through the first of the three, whose append the other two never saw: both are dead.
async fn undecided() -> (Arc<Net>, ItemKey, Writing) {
    let net = quiet().await;
    let writing = undecided_with(&net, &[1, 2]).await;
    (net, writing.0, writing.1)
}

async fn quiet() -> Arc<Net> {
    let net = start(1);
    net.faults.store(false, Ordering::SeqCst);
    // Past what may have been promised before this run.
    tokio::time::sleep(A_WHILE).await;
    net
}

/// A write through the first of the three, while whose append is on its way these die.
async fn undecided_with(net: &Arc<Net>, dying: &[usize]) -> (ItemKey, Writing) {
    let replica = net.replica(0);
    let write = write("lonely", None);
    let task = tokio::spawn({
        let replica = Arc::clone(&replica);
        async move { replica.coordinate(write, Arc::new(Trio(0))).await }
    });
    // Time stands still meanwhile: what was sent is still on its way.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    for at in dying {
        net.kill(*at);
    }
    tokio::time::sleep(A_WHILE).await;
    let (count, lowest) = replica.undecided();
    assert_eq!(count, 1);
    assert!(!task.is_finished());
    (lowest.unwrap(), task)
}

/// The second one takes an item over from the first, as it does when it learns.
async fn learn(net: &Arc<Net>, key: ItemKey) {
    let item = net.replica(0).item_for_peer(CHANNEL, key).await.unwrap();
    let learned = Offered {
        request: AppendRequest {
            channel: channel(),
            key,
            committed: true,
            body: item.unwrap().body,
        },
        place: Arc::new(Trio(1)),
    };
    let answers = net.replica(1).take(vec![learned]).await;
    assert_eq!(answers, [AppendAnswer::Stored]);
}

fn declare_lost(lost: impl IntoIterator<Item = usize>) {
    LOST.set(lost.into_iter().collect());
}

/// The first of the three starts again.
async fn restarted(net: &Arc<Net>) -> Arc<Replica> {
    net.kill(0);
    restart(net, 0).await;
    tokio::time::sleep(A_WHILE).await;
    net.replica(0)
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_replicas_are_declared_lost_is_kept() {
    let (net, key, task) = undecided().await;
    declare_lost([1]);
    tokio::time::sleep(A_WHILE).await;
    assert!(!task.is_finished(), "the other one may come back with it");
    declare_lost([1, 2]);
    let repeated = false;
    assert_eq!(task.await.unwrap(), Ok(Stored { key, repeated }));
    let replica = net.replica(0);
    assert_eq!(replica.undecided(), (0, None));
    assert!(replica.holds(CHANNEL, key).await.unwrap());
    tokio::time::sleep(A_WHILE).await;
    let frontier = replica.frontier(CHANNEL).await.unwrap();
    assert!(frontier.covers(&key), "{frontier:?}");
}

#[tokio::test(start_paused = true)]
async fn so_is_one_that_is_settled_after_a_restart() {
    let (net, key, _) = undecided().await;
    let replica = restarted(&net).await;
    // One comes back that never had it.
    restart(&net, 1).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(replica.undecided(), (1, Some(key)));
    declare_lost([2]);
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(replica.undecided(), (0, None));
    assert!(replica.holds(CHANNEL, key).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_all_of_them_deny_goes() {
    let (net, key, _) = undecided().await;
    let replica = restarted(&net).await;
    declare_lost([]);
    for other in [1, 2] {
        restart(&net, other).await;
    }
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(replica.undecided(), (0, None));
    assert!(!replica.holds(CHANNEL, key).await.unwrap());
}

/// One refuses, loses its disk, and learns the item from its coordinator: its former self might have
/// accepted it. What that one refused counts no more.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_refused_is_asked_again() {
    let net = quiet().await;
    let refusing = net.replica(1);
    let near = refusing.clock.now().plus(450);
    refusing.heard_of(&channel(), Frontier::before(near));
    let (key, task) = undecided_with(&net, &[2]).await;
    net.kill(1);
    restart(&net, 1).await;
    learn(&net, key).await;
    // What this one promised before it died covers the key, so it refuses, too.
    restart(&net, 2).await;
    tokio::time::sleep(A_WHILE).await;
    let repeated = false;
    assert_eq!(task.await.unwrap(), Ok(Stored { key, repeated }));
    let replica = net.replica(0);
    assert!(replica.holds(CHANNEL, key).await.unwrap());
    assert_eq!(replica.undecided(), (0, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_about_to_go_is_not_listed_and_cuts_no_list_short() {
    let net = quiet().await;
    let replica = net.replica(0);
    let mut keys = Vec::new();
    for text in ["a", "bb", "ccc"] {
        let stored = replica
            .coordinate(write(text, None), Arc::new(Trio(0)))
            .await;
        keys.push(stored.unwrap().key);
    }
    replica.dropping.lock().insert((CHANNEL, keys[0]));
    let end = replica.clock.now().plus(1);
    let lines = replica.lines(CHANNEL, ItemKey::MIN, end, 2).await.unwrap();
    let listed: Vec<ItemKey> = lines.iter().map(|line| line.key).collect();
    assert_eq!(listed, keys[1..]);
}

/// One dies before the item is sent to it, and a moment before it has learned of it, as it had begun
/// to: it may come back with a copy. So the item may not go because the other one refuses it.
#[tokio::test(start_paused = true)]
async fn what_a_learner_was_told_of_is_asked_of_it() {
    let net = quiet().await;
    let refusing = net.replica(2);
    let near = refusing.clock.now().plus(450);
    refusing.heard_of(&channel(), Frontier::before(near));
    let replica = net.replica(0);
    let store = net.store(0);
    // Where the mark is far enough ahead nothing but the item waits for the store.
    let _ = replica.frontier(CHANNEL).await.unwrap();
    store.hold();
    let task = tokio::spawn({
        let replica = Arc::clone(&replica);
        let write = write("told", None);
        async move { replica.coordinate(write, Arc::new(Trio(0))).await }
    });
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let (count, key) = replica.undecided();
    assert_eq!(count, 1, "{key:?}");
    let key = key.unwrap();
    net.kill(1);
    while store.step() {}
    let end = key.millis.plus(1);
    let lines = replica.lines(CHANNEL, ItemKey::first_of(key.millis), end, 9);
    let lines = lines.await.unwrap();
    assert!(lines.iter().any(|line| line.key == key), "{lines:?}");
    store.release();
    tokio::time::sleep(A_WHILE).await;
    assert!(!task.is_finished());
    assert_eq!(replica.undecided(), (1, Some(key)));
    // It has learned it.
    restart(&net, 1).await;
    learn(&net, key).await;
    tokio::time::sleep(A_WHILE).await;
    let repeated = false;
    assert_eq!(task.await.unwrap(), Ok(Stored { key, repeated }));
}

/// A mark that a wrong clock wrote would close the store until the right one has come so far.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_moves_no_mark_at_the_end_either() {
    let net = quiet().await;
    let (replica, store) = (net.replica(0), net.store(0));
    replica.frontier(CHANNEL).await.unwrap();
    let mark = store.mark();
    replica.set_clock_right(false);
    tokio::time::sleep(Duration::from_mins(5)).await;
    let (answer, whole) = oneshot::channel();
    store.remove(crate::spoke::store::Removal {
        channel: CHANNEL,
        key: ItemKey::first_of(mark).successor(),
        write_id: WriteId(1),
        done: Box::new(move |result| answer.send(result).unwrap()),
    });
    whole.await.unwrap().unwrap();
    assert_eq!(store.mark(), mark);
    replica.close();
    assert!(store.mark() <= mark);
}

/// However much was stamped above an undecided item, a stable read looks at the store once.
#[tokio::test(start_paused = true)]
async fn what_lies_above_an_undecided_item_is_not_walked() {
    let (net, key, _) = undecided().await;
    restart(&net, 1).await;
    tokio::time::sleep(A_WHILE).await;
    let replica = net.replica(0);
    for number in 0..20 {
        let another = Write {
            write_id: WriteId(1000 + number),
            ..write("more", None)
        };
        let stored = replica.coordinate(another, Arc::new(Trio(0))).await;
        assert!(stored.unwrap().key > key);
    }
    for direction in [Direction::Ascending, Direction::Descending] {
        let request = crate::spoke::peers::ReportRequest {
            channel: channel(),
            from: key,
            to: ItemKey::first_of(replica.clock.now().plus(1)),
            direction,
            limit: 1,
            undecided: false,
        };
        let before = net.store(0).ranges();
        let report = replica.report(&request).await.unwrap();
        assert_eq!((report.keys, report.complete_to), (Vec::new(), None));
        assert!(net.store(0).ranges() <= before + 1);
    }
}
