use hub_ring::{Placement, RingMap};

use super::*;
use crate::env::{ManualClock, SystemClock};

fn open(path: &Path) -> EmbeddedCoordination {
    let clock = Arc::new(HubClock::start(Arc::new(SystemClock)));
    EmbeddedCoordination::open(&path.join("coordination.redb"), clock).unwrap()
}

#[tokio::test]
async fn a_hub_that_lost_its_disk_gives_no_number_again() {
    let mut last = 0;
    for minute in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let now = Millis::new(1_790_000_000_000 + minute * 60_000);
            let clock = Arc::new(HubClock::start(ManualClock::new(now)));
            EmbeddedCoordination::open(&folder.path().join("coordination.redb"), clock).unwrap()
        };
        let coordination = open();
        for name in ["a", "b"] {
            let record = coordination.create_channel(name, Vec::new(), None).await;
            let id = record.unwrap().id;
            assert!(id > last);
            last = id;
        }
        drop(coordination);
        // One that is found again goes on.
        let record = open().create_channel("c", Vec::new(), None).await;
        last += 1;
        assert_eq!(record.unwrap().id, last);
    }
}

#[tokio::test]
async fn one_that_was_not_made_to_its_end_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let draft = folder.path().join("coordination.tmp");
    std::fs::write(&draft, b"half a database").unwrap();
    let coordination = open(folder.path());
    assert!(coordination.channels().await.unwrap().is_empty());
    assert!(!draft.exists());
}

#[tokio::test]
async fn channels_are_compared_and_set_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let first = {
        let coordination = open(folder.path());
        let record = coordination.create_channel("a", b"1".to_vec(), None).await;
        let record = record.unwrap();
        let again = coordination.create_channel("a", b"2".to_vec(), None).await;
        assert_eq!(again, Err(CoordinationError::Exists));
        let wrong = coordination.replace_channel("a", 7, b"2".to_vec()).await;
        assert_eq!(wrong, Err(CoordinationError::Conflict));
        let next = coordination.replace_channel("a", 1, b"2".to_vec()).await;
        assert_eq!((next.unwrap().version, record.version), (2, 1));
        record
    };
    let coordination = open(folder.path());
    let kept = coordination.channel("a").await.unwrap().unwrap();
    assert_eq!(
        (kept.id, kept.version, &*kept.data),
        (first.id, 2, &b"2"[..])
    );
    coordination.delete_channel("a").await.unwrap();
    assert_eq!(coordination.channel("a").await.unwrap(), None);
    let missing = coordination.delete_channel("a").await;
    assert_eq!(missing, Err(CoordinationError::Missing));
    // Its number stays until somebody says that nothing is left of it.
    let deleted = coordination.deleted_channels().await.unwrap();
    assert_eq!(deleted.keys().collect::<Vec<_>>(), [&first.id]);
    coordination.forget_deleted(&[first.id]).await.unwrap();
    assert!(coordination.deleted_channels().await.unwrap().is_empty());
    let anew = coordination
        .create_channel("a", Vec::new(), None)
        .await
        .unwrap();
    assert!(anew.id > first.id, "a new channel has a new id");
}

#[tokio::test]
async fn rings_are_compared_and_set_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let member = Member::new("one.example").unwrap();
    let mut history = RingHistory::new();
    {
        let coordination = open(folder.path());
        let map = RingMap::in_force(1, 5, [member], Placement::default()).unwrap();
        history.announce(map).unwrap();
        assert_eq!(coordination.replace_rings(0, &history).await, Ok(1));
        let late = coordination.replace_rings(0, &history).await;
        assert_eq!(late, Err(CoordinationError::Conflict));
        assert!(coordination.confirm(1).await.is_ok());
        let stale = coordination.confirm(0).await;
        assert_eq!(stale, Err(CoordinationError::Conflict));
    }
    let rings = open(folder.path()).rings().await.unwrap();
    assert_eq!((rings.version, &*rings.history), (1, &history));
}

#[tokio::test]
async fn a_document_goes_with_its_channel() {
    let folder = tempfile::tempdir().unwrap();
    let coordination = open(folder.path());
    coordination
        .create_channel("a", Vec::new(), None)
        .await
        .unwrap();
    let set = |text: Option<&str>| coordination.set_document("a", text.map(str::to_owned));
    assert_eq!(set(Some("# A")).await, Ok(false));
    assert_eq!(set(Some("# B")).await, Ok(true));
    let text = coordination.document("a").await.unwrap();
    assert_eq!(text.as_deref(), Some("# B"));
    coordination.delete_channel("a").await.unwrap();
    assert_eq!(coordination.document("a").await.unwrap(), None);
    let late = set(Some("# C")).await;
    assert_eq!(late, Err(CoordinationError::Missing));
}
