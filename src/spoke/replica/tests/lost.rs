//! Items that are not decided, and those who may hold them, who are gone for good.

use super::trio::{LOST, Net, Trio, channel, restart, start};
use super::*;
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
