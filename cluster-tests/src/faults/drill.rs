//! A hub is backed up, tried out, and lost, and put back from its backup alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::Bar;
use crate::client::Client;
use crate::command::HubCommand;
use crate::failure::{Failure, Outcome, ensure};
use crate::folder::Folder;
use crate::hub::Hub;
use crate::wait::now;

/// How much is done.
#[derive(Debug, Clone)]
pub struct Size {
    /// How many rows of the table of flights are loaded. Beyond its end it is loaded again, under other names.
    pub rows: u64,
    /// The table; `None`: the month of the demo.
    pub table: Option<PathBuf>,
    /// How long the whole drill may take; `None`: only told.
    pub longest: Option<Duration>,
}

/// The folder of the hub's archive.
const ARCHIVE: &str = "archive";

/// Runs it in that size.
pub async fn rehearse(size: &Size) -> Bar {
    Bar::of("drill", run(size).await)
}

async fn run(size: &Size) -> Outcome<String> {
    let folder = Folder::temporary("hub-drill-test-")?;
    let url = |name: &str| format!("file://{}", folder.path().join(name).display());
    let mut hub = Hub::new()?
        .with("HUB_ARCHIVE_SETTLE_SECONDS", 1)
        // Loading is not what is tried here.
        .with("HUB_SPOKE_DURABILITY", "replicated")
        .with("HUB_ARCHIVE_URL", url(ARCHIVE));
    hub.start().await?;
    let client = hub.client();
    let command = hub.command().with("HUB_BACKUP_URL", url("place"));

    let began = now();
    let mut items = load(&command, size, folder.path()).await?;
    let loaded = began.elapsed();
    items += others(&client).await?;
    let before = listed(&client).await?;

    let began = now();
    let create = [
        "backup",
        "create",
        "--with-items",
        "--wait",
        "300",
        "--json",
    ];
    let made = command.json(&create).await?;
    ensure(made["items"].as_u64() >= Some(items), || {
        format!("{items} items were inserted, and the backup has {made}")
    })?;
    let created = began.elapsed();
    // Nothing is new, so nothing is copied.
    let again = command.json(&create).await?;
    ensure(again["added"]["objects"] == 0, || again.to_string())?;

    // From here on there is only the backup.
    hub.kill()?;
    hub.wipe()?;
    std::fs::remove_dir_all(folder.path().join(ARCHIVE))?;
    let began = now();
    let dir = folder.path().display().to_string();
    let line = ["backup", "drill", "--json", "--dir", &dir];
    let drill = command.json(&line).await?;
    let drilled = began.elapsed();
    ensure(drill["itemsCompared"] == items, || {
        format!("{items} items were inserted, and the drill read {drill}")
    })?;
    if let Some(longest) = size.longest {
        ensure(drilled <= longest, || format!("the drill took {drilled:?}"))?;
    }
    damaged(&command, folder.path(), &line).await?;

    let began = now();
    command.json(&["backup", "restore", "--json"]).await?;
    let restored = began.elapsed();
    hub.start().await?;
    let after = listed(&hub.client()).await?;
    ensure(before == after, || {
        format!("{} channels came back as {}", before.len(), after.len())
    })?;
    Ok(format!(
        "{items} items loaded in {:.1} s; backed up in {:.1} s with the wait for the archive; drill {:.1} s: {}; restored in {:.1} s",
        loaded.as_secs_f64(),
        created.as_secs_f64(),
        drilled.as_secs_f64(),
        told(&drill),
        restored.as_secs_f64(),
    ))
}

/// What a drill says of itself.
fn told(drill: &Value) -> String {
    let seconds = |name: &str| drill[name].as_f64().unwrap_or(-1.0);
    format!(
        "{} objects, {} bytes, restored in {:.1} s and served {:.1} s later (RTO {:.1} s), all read back in {:.1} s, RPO {:.0} s",
        drill["objects"],
        drill["bytes"],
        seconds("restoreSeconds"),
        seconds("startSeconds"),
        seconds("rtoSeconds"),
        seconds("compareSeconds"),
        seconds("rpoSeconds"),
    )
}

/// Loads as many rows; gives their number.
async fn load(command: &HubCommand, size: &Size, folder: &Path) -> Outcome<u64> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo");
    let airlines = demo.join("airlines.csv").display().to_string();
    let table = size.table.clone();
    let table = table.unwrap_or_else(|| demo.join("flights-2013-01.csv.gz"));
    let mut rows = 0;
    for copy in 0.. {
        if rows == size.rows {
            break;
        }
        // A row of a file of another name is another item.
        let file = folder.join(format!("flights-{copy}.csv.gz"));
        std::fs::copy(&table, &file)?;
        let file = file.display().to_string();
        let limit = (size.rows - rows).to_string();
        let line = [
            "load",
            "flights",
            &file,
            "--airlines",
            &airlines,
            "--limit",
            &limit,
            "--json",
            "--connections",
            "16",
        ];
        let loaded = command.json(&line).await?;
        let more = loaded["rows"].as_u64().filter(|more| *more > 0);
        rows += more.ok_or_else(|| Failure(format!("nothing was loaded: {loaded}")))?;
        std::fs::remove_file(file)?;
    }
    Ok(rows)
}

/// Makes channels of other kinds; gives the number of their items.
async fn others(client: &Client) -> Outcome<u64> {
    let mut items = 0;
    let said = |error: reqwest::Error| Failure(error.to_string());
    for storage in ["BATCH", "SINGLE", "BOTH"] {
        let path = format!("/channel/{}", storage.to_lowercase());
        let request = client.request(Method::PUT, &path);
        let request = request.header(CONTENT_TYPE, "application/json");
        let config = format!(r#"{{"storage": "{storage}", "keepForever": true}}"#);
        let answer = request.body(config).send().await.map_err(said)?;
        ensure(answer.status() == 201, || {
            format!("{path}: {}", answer.status())
        })?;
        for (kind, body) in [
            (None, Vec::new()),
            (Some("text/plain"), b"text".to_vec()),
            (Some("application/octet-stream"), vec![7; 300_000]),
        ] {
            let answer = client
                .insert_bytes(&path[9..], kind, None, body.into())
                .await;
            ensure(matches!(answer, crate::client::Answer::Acked(_)), || {
                format!("{path}: {answer:?}")
            })?;
            items += 1;
        }
        let parts = "--b\r\n\r\none\r\n--b\r\nContent-Type: text/css\r\n\r\ntwo\r\n--b--";
        let request = client.request(Method::POST, &format!("{path}/bulk"));
        let request = request.header(CONTENT_TYPE, "multipart/mixed; boundary=b");
        let answer = request.body(parts).send().await.map_err(said)?;
        ensure(answer.status() == 201, || {
            format!("{path}/bulk: {}", answer.status())
        })?;
        items += 2;
    }
    let request = client.request(Method::PUT, "/channel/both/doc");
    let answer = request.body("# Both").send().await.map_err(said)?;
    ensure(answer.status().is_success(), || {
        format!("doc: {}", answer.status())
    })?;
    Ok(items)
}

/// The channels, as they are configured, with their documents.
async fn listed(client: &Client) -> Outcome<Vec<(Value, String)>> {
    let (_, body) = client.send(Method::GET, "/channel").await?;
    let list: Value = serde_json::from_slice(&body).map_err(|error| Failure(error.to_string()))?;
    let channels = list["_links"]["channels"].as_array().cloned();
    let mut all = Vec::new();
    for channel in channels.unwrap_or_default() {
        let name = channel["name"].as_str().unwrap_or_default();
        let (_, body) = client
            .send(Method::GET, &format!("/channel/{name}"))
            .await?;
        let mut config: Value =
            serde_json::from_slice(&body).map_err(|error| Failure(error.to_string()))?;
        if let Some(fields) = config.as_object_mut() {
            fields.remove("_links");
        }
        let path = format!("/channel/{name}/doc");
        let (status, body) = client.send(Method::GET, &path).await?;
        all.push((
            config,
            format!("{status} {}", String::from_utf8_lossy(&body)),
        ));
    }
    ensure(!all.is_empty(), || "there are no channels".to_owned())?;
    Ok(all)
}

/// One byte of one copy is another: that is refused, and said of which.
async fn damaged(command: &HubCommand, folder: &Path, drill: &[&str]) -> Outcome<()> {
    let mut copies = Vec::new();
    for shard in std::fs::read_dir(folder.join("place/objects"))? {
        for copy in std::fs::read_dir(shard?.path())? {
            copies.push(copy?.path());
        }
    }
    copies.sort();
    let path = copies
        .first()
        .ok_or_else(|| Failure::new("there are no copies"))?;
    let whole = std::fs::read(path)?;
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    std::fs::write(path, broken)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for line in [&["backup", "verify"][..], drill] {
        let told = command.refused(line).await?;
        ensure(told.contains(&*name), || {
            format!("{name} is damaged, and told is: {told}")
        })?;
    }
    std::fs::write(path, whole)?;
    command
        .json(&["backup", "verify", "--all", "--json"])
        .await?;
    Ok(())
}
