//! `hub ring`: which nodes hold what.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::client::Client;
use super::columns;
use super::error::CliError;
use super::operator::{RingArgs, RingCommand, get, text, texts};
use super::output::Output;

/// Runs one of the commands.
///
/// # Errors
/// As [`Client::get_json`].
pub async fn run(args: RingArgs, out: &mut Output<'_>) -> Result<(), CliError> {
    let client = Client::new(&args.ops.ops)?;
    match args.command {
        RingCommand::Show { json } => show(&client, json, out).await,
        RingCommand::History { json } => history(&client, json, out).await,
        RingCommand::Where { channel, at, json } => {
            place(&client, &channel, at.as_deref(), json, out).await
        }
    }
}

async fn show(client: &Client, json: bool, out: &mut Output<'_>) -> Result<(), CliError> {
    let page = get(client, client.url(&["internal", "cluster"])).await?;
    if json {
        return out.json(&json!({
            "ring": page["ring"], "announced": page["announced"], "horizon": page["horizon"],
        }));
    }
    match &page["ring"] {
        Value::Null => out.line("no ring is in force")?,
        ring => {
            let (version, from) = (text(&ring["version"]), text(&ring["from"]));
            out.line(format_args!("ring {version}, in force since {from}"))?;
            members(ring, &page, out)?;
        }
    }
    let announced = &page["announced"];
    if !announced.is_null() {
        let version = text(&announced["version"]);
        match announced["from"].as_str() {
            Some(from) => out.line(format_args!(
                "ring {version}, announced, in force from {from}"
            ))?,
            None => out.line(format_args!(
                "ring {version}, announced, not yet with a time"
            ))?,
        }
        members(announced, &page, out)?;
    }
    Ok(())
}

/// The members of a ring, with what is odd about each.
fn members(ring: &Value, page: &Value, out: &mut Output<'_>) -> Result<(), CliError> {
    let known = page["members"].as_array().map(Vec::as_slice);
    for name in texts(&ring["members"]) {
        let member = known
            .unwrap_or_default()
            .iter()
            .find(|m| m["member"] == name);
        let absent = member
            .map(|member| &member["absent"])
            .filter(|absent| !absent.is_null());
        match absent {
            None => out.line(format_args!("  {name}"))?,
            Some(absent) => out.line(format_args!(
                "  {name}  away since {}, {} s of its grace left",
                text(&absent["since"]),
                text(&absent["graceLeftSeconds"]),
            ))?,
        }
    }
    Ok(())
}

async fn history(client: &Client, json: bool, out: &mut Output<'_>) -> Result<(), CliError> {
    let answer = get(client, client.url(&["internal", "rings"])).await?;
    if json {
        return out.json(&answer);
    }
    columns::print(&changes(&answer), out)
}

/// Each ring, with who came and who went.
fn changes(answer: &Value) -> Vec<Vec<String>> {
    let header = ["RING", "FROM", "UNTIL", "MEMBERS", "CHANGE"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut before = BTreeSet::new();
    for ring in answer["rings"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        let members: BTreeSet<&str> = texts(&ring["members"]).into_iter().collect();
        let came = members.difference(&before).map(|name| format!("+{name}"));
        let went = before.difference(&members).map(|name| format!("-{name}"));
        let change: Vec<String> = came.chain(went).collect();
        let from = ring["from"].as_str().unwrap_or("announced");
        rows.push(vec![
            text(&ring["version"]),
            from.to_owned(),
            text(&ring["until"]),
            members.len().to_string(),
            change.join(" "),
        ]);
        before = members;
    }
    rows
}

async fn place(
    client: &Client,
    channel: &str,
    at: Option<&str>,
    json: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let mut url = client.url(&["internal", "rings", channel]);
    if let Some(at) = at {
        url.query_pairs_mut().append_pair("at", at);
    }
    let answer = get(client, url).await?;
    if json {
        return out.json(&answer);
    }
    let (ring, at) = (text(&answer["version"]), text(&answer["at"]));
    out.line(format_args!("{channel} at {at}, by ring {ring}"))?;
    for (number, name) in texts(&answer["replicas"]).into_iter().enumerate() {
        let role = if number == 0 { "  coordinator" } else { "" };
        out.line(format_args!("  {name}{role}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::super::stub::{Stub, json as answer};
    use super::*;

    #[tokio::test]
    async fn rings_are_shown() {
        let hub = Stub::start(|asked| match asked.target.as_str() {
            "/internal/cluster" => answer(
                200,
                &json!({
                    "ring": {"version": 3, "from": "T1", "members": ["a", "b"]},
                    "announced": {"version": 4, "from": null, "members": ["a"]},
                    "horizon": "T2",
                    "members": [
                        {"member": "a", "absent": null},
                        {"member": "b", "absent": {"since": "T0", "graceLeftSeconds": 7}},
                    ],
                }),
            ),
            "/internal/rings" => answer(
                200,
                &json!({"rings": [
                    {"version": 3, "from": "T1", "until": null, "members": ["a", "b"]},
                    {"version": 4, "from": null, "until": null, "members": ["a", "c"]},
                ]}),
            ),
            "/internal/rings/x%20y?at=2026-11-22T09%3A00%3A00Z" => answer(
                200,
                &json!({"version": 3, "at": "T", "replicas": ["b", "a"]}),
            ),
            other => unreachable!("{other}"),
        })
        .await;
        let ops = hub.url();
        let run = async |line: &[&str]| {
            let line: Vec<&str> = line
                .iter()
                .copied()
                .chain(["--ops", ops.as_str()])
                .collect();
            let ran = hub.run(&line).await;
            assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
            ran.out
        };
        assert_eq!(
            run(&["ring", "show"]).await,
            "ring 3, in force since T1\n  a\n  b  away since T0, 7 s of its grace left\n\
             ring 4, announced, not yet with a time\n  a\n"
        );
        assert_eq!(
            run(&["ring", "history"]).await,
            "RING  FROM       UNTIL  MEMBERS  CHANGE\n\
             3     T1         -      2        +a +b\n\
             4     announced  -      2        +c -b\n"
        );
        let at = ["ring", "where", "x y", "--at", "2026-11-22T09:00:00Z"];
        assert_eq!(
            run(&at).await,
            "x y at T, by ring 3\n  b  coordinator\n  a\n"
        );
        let shown: Value = serde_json::from_str(&run(&["ring", "show", "--json"]).await).unwrap();
        assert_eq!(shown["ring"]["version"], 3);
    }
}
