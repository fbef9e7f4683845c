//! `hub cluster`: how a cluster is, and going on without members that are gone.

use serde_json::Value;

use super::client::Client;
use super::columns;
use super::error::CliError;
use super::operator::{ClusterArgs, ClusterCommand, get, text};
use super::output::Output;
use super::recover;

/// Runs one of the commands.
///
/// # Errors
/// As [`Client::ask`]; [`CliError::NotAgreed`] for a change that nobody said yes to.
pub async fn run(args: ClusterArgs, out: &mut Output<'_>) -> Result<(), CliError> {
    let client = Client::new(&args.ops.ops)?;
    match args.command {
        ClusterCommand::Status { json } => status(&client, json, out).await,
        ClusterCommand::Recover { without, yes, json } => {
            recover::run(&client, &without, yes, json, out).await
        }
    }
}

async fn status(client: &Client, json: bool, out: &mut Output<'_>) -> Result<(), CliError> {
    let mut page = get(client, client.url(&["internal", "cluster"])).await?;
    let health = get(client, client.url(&["internal", "health"])).await?;
    if json {
        if let Some(fields) = page.as_object_mut() {
            fields.insert("health".to_owned(), health);
        }
        return out.json(&page);
    }
    for (name, text) in standing(&page, &health) {
        out.line(format_args!("{name:<13} {text}"))?;
    }
    out.line("")?;
    columns::print(&table(&page, &health), out)?;
    for line in troubles(&page, &health) {
        out.line(line)?;
    }
    Ok(())
}

/// What the node says of the cluster as a whole.
fn standing(page: &Value, health: &Value) -> Vec<(&'static str, String)> {
    let ring = &page["ring"];
    let members = ring["members"].as_array().map_or(0, Vec::len);
    let in_force = if ring.is_null() {
        "none is in force".to_owned()
    } else {
        format!(
            "{} of {members} members, in force since {}",
            text(&ring["version"]),
            text(&ring["from"])
        )
    };
    let announced = &page["announced"];
    let announced = (!announced.is_null()).then(|| {
        let members = announced["members"].as_array().map_or(0, Vec::len);
        let from = announced["from"].as_str();
        let from = from.map_or_else(
            || "not yet with a time".to_owned(),
            |from| format!("from {from}"),
        );
        format!(
            "{} of {members} members, {from}",
            text(&announced["version"])
        )
    });
    let link = &page["coordination"];
    let coordination = match link["connected"].as_bool() {
        Some(true) => format!("connected since {}", text(&link["since"])),
        _ => format!(
            "NOT connected since {}: {}",
            text(&link["since"]),
            text(&link["why"])
        ),
    };
    let clock = &page["clock"];
    let bounds = if clock["withinBounds"] == false {
        ", OUT OF BOUNDS"
    } else {
        ""
    };
    let clock = format!(
        "{} ms behind the middle one of {} others{bounds}",
        text(&clock["behindMillis"]),
        text(&clock["comparedWith"])
    );
    let mut lines = vec![
        (
            "asked",
            format!("{} ({})", text(&page["member"]), text(&page["state"])),
        ),
        ("ring", in_force),
    ];
    lines.extend(announced.map(|announced| ("announced", announced)));
    lines.push(("known until", text(&page["horizon"])));
    lines.push(("keeper", keeper(page, health)));
    lines.push(("coordination", coordination));
    lines.push(("clock", clock));
    let undecided = &page["undecided"];
    if !undecided.is_null() {
        let oldest = undecided["oldestSeconds"].as_u64();
        let oldest = oldest
            .map(|age| format!(", the oldest {age} s old"))
            .unwrap_or_default();
        lines.push((
            "undecided",
            format!("{}{oldest}", text(&undecided["count"])),
        ));
    }
    lines
}

/// The one member that has something to say as the keeper.
fn keeper(page: &Value, health: &Value) -> String {
    if let Some(says) = page["keeper"].as_str() {
        return format!("{}: {says}", text(&page["member"]));
    }
    let all = health.as_object().into_iter().flat_map(|all| all.values());
    let mut keepers = all.filter_map(|node| {
        let says = node["keeper"].as_str()?;
        Some(format!("{}: {says}", text(&node["member"])))
    });
    keepers
        .next()
        .unwrap_or_else(|| "none was found".to_owned())
}

/// What a node said of its health.
fn health_of<'h>(member: &Value, health: &'h Value) -> Option<&'h Value> {
    let public = member["public"].as_str()?;
    health.get(format!("http://{public}/health"))
}

fn table(page: &Value, health: &Value) -> Vec<Vec<String>> {
    let header = [
        "MEMBER", "STATE", "HEALTH", "RING", "LINK", "TRIP", "QUEUED", "VERSION", "ADDRESS",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let members = page["members"].as_array().map(Vec::as_slice);
    for member in members.unwrap_or_default() {
        let said = health_of(member, health).map_or(&Value::Null, |node| &node["state"]);
        let state = match (&member["registered"], &member["state"]) {
            (Value::Bool(true), Value::Null) => text(said),
            (Value::Bool(true), state) => text(state),
            _ => "away".to_owned(),
        };
        let healthy = match health_of(member, health).map(|node| node["healthy"] == true) {
            Some(true) => "ok",
            Some(false) => "NOT OK",
            None => "-",
        };
        let ring = match (member["inRing"] == true, member["inNewestRing"] == true) {
            (true, true) => "in",
            (true, false) => "leaves",
            (false, true) => "joins",
            (false, false) => "out",
        };
        let trip = member["roundTripMillis"].as_f64();
        let trip = trip.map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1} ms"));
        rows.push(vec![
            text(&member["member"]),
            state,
            healthy.to_owned(),
            ring.to_owned(),
            text(&member["link"]),
            trip,
            text(&member["queueBytes"]),
            text(&member["version"]),
            text(&member["public"]),
        ]);
    }
    rows
}

/// Everything that is not as it should be, in words.
fn troubles(page: &Value, health: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |who: &Value, what: String| lines.push(format!("! {}: {what}", text(who)));
    if let Some(trouble) = page["trouble"].as_str() {
        say(&page["member"], trouble.to_owned());
    }
    for member in page["members"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        let absent = &member["absent"];
        if !absent.is_null() {
            let left = text(&absent["graceLeftSeconds"]);
            say(
                &member["member"],
                format!(
                    "away since {}, {left} s of its grace left",
                    text(&absent["since"])
                ),
            );
        }
        if member["link"] == "down" || member["link"] == "suspect" {
            say(
                &member["member"],
                format!("{}: {}", text(&member["link"]), text(&member["lastError"])),
            );
        }
        let Some(node) = health_of(member, health) else {
            continue;
        };
        if node["healthy"] != true {
            say(&member["member"], text(&node["description"]));
        }
        for (name, check) in node["checks"].as_object().into_iter().flatten() {
            if check["ok"] == false {
                say(
                    &member["member"],
                    format!("{name}: {}", text(&check["why"])),
                );
            }
        }
    }
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::exit::Exit;
    use super::super::stub::{Stub, json as answer, run_at};
    use super::*;

    #[tokio::test]
    async fn a_cluster_is_told_in_a_table() {
        let page = json!({
            "member": "a", "state": "ready", "keeper": null, "trouble": null, "horizon": "T2",
            "ring": {"version": 3, "from": "T1", "members": ["a", "b"]}, "announced": null,
            "coordination": {"connected": false, "since": "T0", "why": "refused"},
            "clock": {"comparedWith": 2, "behindMillis": 4, "withinBounds": true},
            "undecided": {"count": 1, "oldest": "T", "oldestSeconds": 9},
            "members": [
                {"member": "a", "registered": true, "state": "ready", "inRing": true,
                 "inNewestRing": true, "link": "self", "version": "1", "public": "a:1"},
                {"member": "b", "registered": false, "inRing": true, "inNewestRing": true,
                 "link": "down", "lastError": "gone", "public": "b:1", "queueBytes": 7,
                 "roundTripMillis": 1.25, "absent": {"since": "T", "graceLeftSeconds": 5}},
            ],
        });
        let health = json!({
            "http://a:1/health": {"healthy": true, "member": "a", "checks":
                {"disk": {"ok": false, "why": "nearly full"}, "ring": {"ok": true, "why": ""}}},
            "http://b:1/health": {"healthy": false, "member": "b", "description": "no answer",
                "keeper": "waits"},
        });
        let hub = Stub::start(move |asked| match asked.target.as_str() {
            "/internal/cluster" => answer(200, &page),
            _ => answer(200, &health),
        })
        .await;
        let ops = hub.url();
        let ran = hub.run(&["cluster", "status", "--ops", ops.as_str()]).await;
        assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
        assert_eq!(
            ran.out,
            "asked         a (ready)\n\
             ring          3 of 2 members, in force since T1\n\
             known until   T2\n\
             keeper        b: waits\n\
             coordination  NOT connected since T0: refused\n\
             clock         4 ms behind the middle one of 2 others\n\
             undecided     1, the oldest 9 s old\n\
             \n\
             MEMBER  STATE  HEALTH  RING  LINK  TRIP    QUEUED  VERSION  ADDRESS\n\
             a       ready  ok      in    self  -       -       1        a:1\n\
             b       away   NOT OK  in    down  1.2 ms  7       -        b:1\n\
             \n\
             ! a: disk: nearly full\n\
             ! b: away since T, 5 s of its grace left\n\
             ! b: down: gone\n\
             ! b: no answer\n"
        );
        let json = hub
            .run(&["cluster", "status", "--json", "--ops", ops.as_str()])
            .await;
        let json: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["health"]["http://a:1/health"]["healthy"], true);
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_right_address() {
        let line = ["cluster", "status", "--ops", "http://127.0.0.1:1"];
        let ran = run_at("http://127.0.0.1:2", &line, None).await;
        assert_eq!(ran.exit, Exit::Unreachable);
        assert!(
            ran.err.contains("--ops") && ran.err.contains("HUB_OPS_URL"),
            "{}",
            ran.err
        );
    }
}
