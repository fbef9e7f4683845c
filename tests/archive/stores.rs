//! Stores of every kind, which all answer alike.

use std::time::Duration;

use bytes::Bytes;
use cluster_tests::s3::S3;
use hub::archive::store::{Created, OpenError, Patience, Store, Which};

use crate::PATIENCE;

/// What a store lives on.
enum Ground {
    Nothing,
    Folder(#[expect(dead_code, reason = "it is held, and dropped")] tempfile::TempDir),
    Server(#[expect(dead_code, reason = "it is held, and dropped")] S3),
}

/// Each kind of store, with what says which.
async fn stores() -> Vec<(&'static str, Store, Ground)> {
    let folder = tempfile::tempdir().unwrap();
    let local = Store::in_folder(folder.path()).unwrap();
    let server = S3::start().await.unwrap();
    server.bucket("bucket").await.unwrap();
    let open = |url| Store::of_url(url, &server.variables(), PATIENCE).unwrap();
    let (whole, part) = (open("s3://bucket"), open("s3://bucket/some/folder"));
    vec![
        ("memory", Store::in_memory(), Ground::Nothing),
        ("a folder", local, Ground::Folder(folder)),
        ("a folder of a bucket", part, Ground::Nothing),
        // Last: the one before is on it, too.
        ("a bucket", whole, Ground::Server(server)),
    ]
}

#[tokio::test]
async fn objects_are_created_once_and_read_whole_or_in_part() {
    for (which, store, _folder) in stores().await {
        let name = "c/2026-11/22/0102.minute";
        assert!(
            store.read(name, Which::All).await.unwrap().is_none(),
            "{which}"
        );
        let created = store.create(name, Bytes::from_static(b"0123456789")).await;
        assert_eq!(created.unwrap(), Created::Now, "{which}");
        let again = store.create(name, Bytes::from_static(b"other")).await;
        assert_eq!(again.unwrap(), Created::Before, "{which}");
        for (part, bytes) in [
            (Which::All, "0123456789"),
            (Which::These(2..5), "234"),
            (Which::These(3..3), ""),
            (Which::Last(4), "6789"),
            (Which::Last(100), "0123456789"),
        ] {
            let read = store.read(name, part.clone()).await.unwrap().unwrap();
            assert_eq!(read.bytes, bytes, "{which}: {part:?}");
        }
        assert_eq!(
            store
                .read(name, Which::Last(1))
                .await
                .unwrap()
                .unwrap()
                .length,
            10
        );
        store
            .replace(name, Bytes::from_static(b"new"))
            .await
            .unwrap();
        let read = store.read(name, Which::All).await.unwrap().unwrap();
        assert_eq!(read.bytes, "new", "{which}");
        store
            .delete(&[name.to_owned(), "c/none".to_owned()])
            .await
            .unwrap();
        assert!(
            store.read(name, Which::All).await.unwrap().is_none(),
            "{which}"
        );
    }
}

#[tokio::test]
async fn large_objects_are_sent_part_by_part() {
    for (which, store, _folder) in stores().await {
        let mut upload = store.upload("c/large").await.unwrap();
        let part = Bytes::from(vec![7; 3 << 20]);
        for _ in 0..5 {
            upload.put(part.clone()).await.unwrap();
        }
        assert!(
            store.read("c/large", Which::All).await.unwrap().is_none(),
            "{which}"
        );
        upload.end().await.unwrap();
        let read = store
            .read("c/large", Which::Last(10))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (read.length, &read.bytes[..]),
            (15 << 20, &[7; 10][..]),
            "{which}"
        );
        let mut upload = store.upload("c/given-up").await.unwrap();
        upload.put(part).await.unwrap();
        upload.abandon().await;
        assert_eq!(store.all_names("c").await.unwrap(), ["c/large"], "{which}");
    }
}

#[tokio::test]
async fn names_come_in_order_from_any_place_on() {
    for (which, store, _folder) in stores().await {
        let mut all: Vec<String> = Vec::new();
        for month in ["1851-01", "2026-02", "2026-11"] {
            for day in ["01", "30"] {
                for time in ["00.hour", "0000.minute", "000000123-a.item", "2359.minute"] {
                    all.push(format!("c/{month}/{day}/{time}"));
                }
            }
        }
        for name in &all {
            store.create(name, Bytes::from_static(b"x")).await.unwrap();
        }
        // Of another channel.
        store
            .create("d/2026-11/01/00.hour", Bytes::new())
            .await
            .unwrap();
        let afters = all.iter().map(String::as_str);
        for after in afters.chain(["c/", "c/1900-01/01/00", "c/2026-02/30/23", "c/3000-01"]) {
            let wanted: Vec<_> = all.iter().filter(|name| name.as_str() > after).collect();
            for most in [1, 3, 100] {
                let mut found: Vec<String> = Vec::new();
                let mut at = after.to_owned();
                loop {
                    let some = store.names("c", &at, most).await.unwrap();
                    found.extend(some.names);
                    if !some.more {
                        break;
                    }
                    at = found.last().unwrap().clone();
                }
                assert_eq!(
                    found.iter().collect::<Vec<_>>(),
                    wanted,
                    "{which}: after {after}"
                );
            }
        }
        let months = store.folders("c").await.unwrap();
        assert_eq!(months, ["c/1851-01", "c/2026-02", "c/2026-11"], "{which}");
        assert_eq!(
            store.folders("c/2026-02").await.unwrap(),
            ["c/2026-02/01", "c/2026-02/30"]
        );
        assert!(store.folders("e").await.unwrap().is_empty(), "{which}");
        let mut names = store.all_names("c").await.unwrap();
        names.sort();
        all.sort();
        assert_eq!(names, all, "{which}");
    }
}

#[test]
fn what_is_no_store_is_told() {
    for url in [
        "",
        "bucket",
        "http://h/bucket",
        "memory:///",
        "s3://",
        "file://host/folder",
    ] {
        let opened = Store::of_url(url, &[], PATIENCE);
        assert!(
            matches!(opened, Err(OpenError::Url { .. })),
            "{url}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_in_time() {
    let variables = [
        ("AWS_ENDPOINT", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "tests"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let patience = Patience {
        request: Duration::from_millis(500),
        retry: Duration::from_secs(1),
    };
    let store = Store::of_url("s3://bucket", &variables, patience).unwrap();
    let read = store.read("c/none", Which::All).await;
    let told = read.unwrap_err().to_string();
    assert!(
        told.starts_with("the archive did not read c/none: "),
        "{told}"
    );
    assert!(store.names("c", "c/", 10).await.is_err());
    assert!(store.create("c/one", Bytes::new()).await.is_err());
}

/// What lists a folder that is not there must not say that nothing is in it.
#[tokio::test]
async fn a_folder_that_is_not_there_is_not_an_empty_one() {
    let ground = tempfile::tempdir().unwrap();
    let folder = ground.path().join("archive");
    let store = Store::in_folder(&folder).unwrap();
    store.create("c/a", "x".into()).await.unwrap();
    assert_eq!(store.folders("").await.unwrap(), ["c"]);
    assert_eq!(store.names("", "", 9).await.unwrap().names, ["c/a"]);
    for file in [false, true] {
        std::fs::remove_dir_all(&folder).unwrap();
        if file {
            std::fs::write(&folder, b"").unwrap();
        }
        assert!(store.folders("").await.is_err());
        assert!(store.names("", "", 9).await.is_err());
        assert!(store.entries("").await.is_err());
        if !file {
            std::fs::create_dir(&folder).unwrap();
        }
    }
}
