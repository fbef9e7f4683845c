//! The commands, against a stand-in for a hub, with an archive and a place in folders.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::archive::name::{MINUTE, Object};
use crate::archive::object::ObjectWriter;
use crate::archive::store::{MARKER, Store};
use crate::cli::exit::Exit;
use crate::cli::stub::{Ran, Stub, json as json_answer, run_at};
use crate::env::Millis;
use crate::item::{ItemKey, Suffix};
use crate::spoke::ChannelId;

const CHANNEL: ChannelId = ChannelId(7);

fn url(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

/// Has an archive say of itself that it is that one.
fn mark(archive: &Path, id: &str) {
    let text = json!({"archive": id, "format": 1}).to_string();
    std::fs::write(archive.join(MARKER), text).unwrap();
}

/// A hub, its archive and the place of its backups.
struct World {
    folder: TempDir,
    hub: Stub,
}

impl World {
    /// Of a hub that says it is that time, and how far its archive is.
    async fn new(now: Millis, archived_to: Option<Millis>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        let store = Store::in_folder(&archive).unwrap();
        let mut writer = ObjectWriter::new(CHANNEL);
        let key = ItemKey::new(Millis::new(1), Suffix::parse("0").unwrap());
        writer.push(key, None, b"x").unwrap();
        let name = Object::Minute(Millis::new(0)).name(CHANNEL);
        store.create(&name, writer.finish().unwrap()).await.unwrap();
        mark(&archive, "7");
        let said = json!({
            "now": now.iso(),
            "hub": "1",
            "cluster": "hub",
            "archive": url(&archive),
            "archiveId": "7",
            "archivedTo": archived_to.map(Millis::iso),
            "state": {
                "channels": [{
                    "name": "clicks",
                    "id": "0000000000000007",
                    "data": {"name": "clicks", "ttlDays": 0, "maxItems": 0, "keepForever": true,
                        "storage": "BATCH", "strictTiming": false, "creationDate": 0},
                }],
                "rings": {"newest": 0, "history": ""},
            },
            // As its archive's page tells.
            "total": {"bytes": 5},
        });
        let hub = Stub::start(move |_| json_answer(200, &said)).await;
        Self { folder, hub }
    }

    /// Runs `hub backup`.
    async fn run(&self, line: &[&str]) -> Ran {
        let place = url(&self.folder.path().join("place"));
        let (hub, place) = (self.hub.url(), ["--place", place.as_str()]);
        let ops = ["--ops", hub.as_str()];
        let ops: &[&str] = if line[0] == "create" { &ops } else { &[] };
        let line: Vec<&str> = ["backup"]
            .iter()
            .chain(line)
            .chain(&place)
            .chain(ops)
            .copied()
            .collect();
        run_at(hub.as_str(), &line, None).await
    }

    /// Restores into a hub that was never there.
    async fn restore(&self, name: &str, until: &str) -> Ran {
        let file = self.folder.path().join(format!("{name}.toml"));
        let data = self.folder.path().join(name);
        let config = format!("[node]\ndata_dir = {:?}\n", data.display().to_string());
        std::fs::write(&file, config).unwrap();
        let file = file.display().to_string();
        let line = [
            "restore",
            "--config",
            file.as_str(),
            "--until",
            until,
            "--json",
        ];
        self.run(&line).await
    }
}

fn at(minute: i64) -> Millis {
    Millis::new(minute * MINUTE)
}

#[tokio::test]
async fn an_archive_that_is_not_the_hubs_or_not_apart_is_refused() {
    let world = World::new(at(60), Some(at(60))).await;
    // A disk that is not mounted, another hub's, and one that somebody has emptied.
    let empty = world.folder.path().join("unmounted");
    std::fs::create_dir(&empty).unwrap();
    let place = url(&empty);
    for (id, told) in [
        (None, "it has no hub-archive.json"),
        (Some("8"), "says \"8\", and not \"7\""),
        (Some("7"), "the hub says that its archive has 5 bytes"),
    ] {
        if let Some(id) = id {
            mark(&empty, id);
        }
        let line = ["create", "--with-items", "--archive", place.as_str()];
        let ran = world.run(&line).await;
        assert_eq!(ran.exit, Exit::Failed, "{}", ran.err);
        assert!(ran.err.contains(told), "{}", ran.err);
    }
    assert!(!world.folder.path().join("place/backups").exists());
    // A place in the archive, or around it.
    let inside = url(&world.folder.path().join("place/archive"));
    let around = url(world.folder.path());
    for archive in [inside, around] {
        std::fs::create_dir_all(archive.strip_prefix("file://").unwrap()).unwrap();
        let line = ["create", "--archive", archive.as_str()];
        let ran = world.run(&line).await;
        assert_eq!(ran.exit, Exit::Failed, "{}", ran.err);
        assert!(ran.err.contains("lie in one another"), "{}", ran.err);
    }
}

#[test]
fn places_overlap_where_one_lies_in_the_other() {
    use super::overlap;
    assert!(overlap("s3://b/a", "s3://b/a/"));
    assert!(overlap("s3://b", "s3://b/backups"));
    assert!(overlap("file:///a/b/c", "file:///a/b"));
    for (one, other) in [
        ("s3://b/a", "s3://c/a"),
        ("s3://b/archive", "s3://b/archives"),
        ("gs://b/a", "s3://b/a"),
        ("file:///a/b", "file:///a/c"),
        ("nonsense", "file:///a"),
    ] {
        assert!(!overlap(one, other), "{one} {other}");
    }
}

#[tokio::test]
async fn a_backup_without_what_was_waited_for_is_made_and_is_no_success() {
    let world = World::new(at(9), Some(at(5))).await;
    let line = ["create", "--with-items", "--wait", "1"];
    let ran = world.run(&line).await;
    assert_eq!(ran.exit, Exit::Failed, "{ran:?}");
    assert!(ran.err.contains("did not have within 1 s"), "{ran:?}");
    let listed = world.run(&["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    // Once there is nothing to wait for, it is one.
    let ran = world.run(&["create", "--with-items"]).await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
}

#[tokio::test]
async fn a_place_that_is_not_there_is_not_made_by_who_looks_for_backups() {
    let world = World::new(at(9), None).await;
    let place = world.folder.path().join("place");
    for line in [&["list"][..], &["verify"], &["prune"], &["drill"]] {
        let ran = world.run(line).await;
        assert_ne!(ran.exit, Exit::Done, "{line:?}: {ran:?}");
        let there_is_none = format!("there is no folder {}", place.display());
        assert!(ran.err.contains(&there_is_none), "{line:?}: {ran:?}");
        assert!(!place.exists(), "{line:?}");
    }
}

#[tokio::test]
async fn the_list_of_backups_is_a_table() {
    let world = World::new(at(9), None).await;
    let made = world.run(&["create", "--with-items"]).await;
    assert!(made.err.contains("complete to unknown"), "{made:?}");
    let id = made.out.trim();
    let place = world.folder.path().join("place");
    std::fs::write(place.join("backups/x"), "{}").unwrap();
    let listed = world.run(&["list"]).await;
    assert_eq!(listed.exit, Exit::Done, "{listed:?}");
    let rows: Vec<Vec<&str>> = listed
        .out
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    let head = [
        "BACKUP",
        "COMPLETE TO",
        "CHANNELS",
        "OBJECTS",
        "ITEMS",
        "BYTES",
        "HAS ITEMS",
    ];
    assert_eq!(rows[0], head);
    let bytes = rows[1][5];
    assert_eq!(rows[1], [id, "unknown", "1", "1", "1", bytes, "yes"]);
    assert!(bytes.ends_with(" B"), "{bytes}");
    assert_eq!(rows[2][0], "x");
    assert!(rows[2][1].contains("the backup is damaged"), "{rows:?}");
    assert_eq!(rows.len(), 3);
}

#[tokio::test]
async fn a_restore_that_falls_short_of_its_time_says_so() {
    let world = World::new(at(9), Some(at(5))).await;
    let ran = world.run(&["create", "--with-items"]).await;
    assert_eq!(ran.exit, Exit::Done, "{ran:?}");
    let (reached, beyond) = (at(5).iso(), at(10).iso());
    let short = world.restore("short", &beyond).await;
    assert_eq!(short.exit, Exit::Failed, "{short:?}");
    assert!(
        short.err.contains(&reached) && short.err.contains(&beyond),
        "{short:?}"
    );
    // It was restored, for all that.
    let restored: Value = serde_json::from_str(&short.out).unwrap();
    assert_eq!(
        (&restored["channels"], &restored["objects"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&restored["completeTo"], &restored["until"]),
        (&json!(reached), &json!(beyond))
    );
}

#[tokio::test]
async fn what_a_backup_left_out_is_told_whenever_it_is_read() {
    let world = World::new(at(9), Some(at(9))).await;
    let archive = Store::in_folder(&world.folder.path().join("archive")).unwrap();
    let name = Object::Minute(at(1)).name(CHANNEL);
    archive.create(&name, "no object".into()).await.unwrap();
    let dir = world.folder.path().join("drill").display().to_string();
    for line in [
        &["create", "--with-items", "--skip-damaged"][..],
        &["verify"],
        &["verify", "--json"],
        &["drill", "--dir", &dir],
        &["drill", "--dir", &dir, "--json"],
    ] {
        let ran = world.run(line).await;
        assert_eq!(ran.exit, Exit::Failed, "{line:?} {ran:?}");
        let told = format!("lacks what was damaged in the archive: {name}");
        assert!(ran.err.contains(&told), "{line:?} {ran:?}");
        assert!(!ran.out.is_empty() || line.len() == 1, "{line:?} {ran:?}");
    }
}

#[tokio::test]
async fn a_damaged_copy_is_removed_if_that_is_wanted_and_made_anew() {
    let world = World::new(at(9), Some(at(9))).await;
    let create = ["create", "--with-items"];
    assert_eq!(world.run(&create).await.exit, Exit::Done);
    let place = world.folder.path().join("place");
    let names = Store::in_folder(&place).unwrap().all_names("objects").await;
    let name = names.unwrap().pop().unwrap();
    let copy = place.join(&name);
    let mut bytes = std::fs::read(&copy).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&copy, bytes).unwrap();
    // It is named, and stays unless it is to go; the next backup has it, too.
    assert_eq!(world.run(&create).await.exit, Exit::Done);
    let found = world.run(&["verify", "--all"]).await;
    assert!(
        found.exit == Exit::Failed && found.err.contains(&name),
        "{found:?}"
    );
    assert!(copy.exists());
    let removed = world.run(&["verify", "--remove-damaged"]).await;
    let told = format!("removed {name}");
    assert!(
        removed.exit == Exit::Failed && removed.err.contains(&told),
        "{removed:?}"
    );
    assert!(!copy.exists());
    assert_eq!(world.run(&create).await.exit, Exit::Done);
    let whole = world.run(&["verify", "--all", "--json"]).await;
    assert_eq!(whole.exit, Exit::Done, "{whole:?}");
    assert_eq!(
        serde_json::from_str::<Value>(&whole.out).unwrap()["removed"],
        json!([])
    );
}
