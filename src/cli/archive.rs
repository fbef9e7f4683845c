//! `hub archive`: what the archive takes.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::args::parse_channel;
use super::client::Client;
use super::columns;
use super::error::CliError;
use super::operator::{OpsArgs, text};
use super::output::Output;
use super::recover::ask;

/// Arguments of `hub archive`.
#[derive(Debug, Clone, Args)]
pub struct ArchiveArgs {
    /// Who is asked.
    #[command(flatten)]
    pub ops: OpsArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: ArchiveCommand,
}

/// The commands of `hub archive`.
#[derive(Debug, Clone, Subcommand)]
pub enum ArchiveCommand {
    /// Print what the archive holds of each channel, or of one, and what was asked of it
    ///
    /// Objects are counted by their names: a request to the archive for each thousand of them.
    #[command(after_long_help = EXAMPLES)]
    Stats {
        /// The channel; else all of them
        #[arg(value_parser = parse_channel)]
        channel: Option<String>,
        /// Count the channel's items, too: up to some 4000 more requests
        #[arg(long, requires = "channel")]
        items: bool,
        /// Print the hub's answer as it is
        #[arg(long)]
        json: bool,
    },
}

/// The examples of `hub archive --help`.
pub const EXAMPLES: &str = "\
Examples:
  hub archive stats
  hub archive stats orders --items
  hub archive stats --ops http://hub-2:8082 --json";

/// Runs one of the commands.
///
/// # Errors
/// As [`Client::ask`].
pub async fn run(args: ArchiveArgs, out: &mut Output<'_>) -> Result<(), CliError> {
    let client = Client::new(&args.ops.ops)?;
    match args.command {
        ArchiveCommand::Stats {
            channel,
            items,
            json,
        } => {
            let segments = ["internal", "archive"]
                .into_iter()
                .chain(channel.as_deref());
            let mut url = client.url(&segments.collect::<Vec<_>>());
            if items {
                url.query_pairs_mut().append_pair("items", "true");
            }
            let page = ask(&client, Method::GET, url).await?;
            if json {
                return out.json(&page);
            }
            print(&page, out)
        }
    }
}

fn print(page: &Value, out: &mut Output<'_>) -> Result<(), CliError> {
    let mut lines = vec![
        ("archive", text(&page["archive"])),
        ("asked", text(&page["node"])),
        ("archived to", text(&page["archivedTo"])),
        ("rolled up to", text(&page["rolledUpTo"])),
    ];
    if !page["items"].is_null() {
        lines.push(("items", text(&page["items"])));
    }
    let total = &page["total"];
    lines.push(("oldest", text(&total["oldest"])));
    lines.push(("newest", text(&total["newest"])));
    for (name, text) in lines {
        out.line(format_args!("{name:<13} {text}"))?;
    }
    if page["complete"] == false {
        out.line("There are too many objects to count all of them: these are the first.")?;
    }
    out.line("")?;
    columns::print(&kinds(page), out)?;
    if page["channels"].is_array() {
        out.line("")?;
        columns::print(&channels(page), out)?;
    }
    out.line("")?;
    columns::print(&requests(page), out)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Objects and bytes by kind.
fn kinds(page: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![row(["KIND", "OBJECTS", "BYTES"])];
    let total = &page["total"];
    let mut add = |name: &str, count: &Value| {
        rows.push(vec![
            name.to_owned(),
            text(&count["objects"]),
            text(&count["bytes"]),
        ]);
    };
    add("hours", &total["hours"]);
    add("minutes", &total["minutes"]);
    add("single items", &total["singleItems"]);
    add("deleted items", &total["deletedItems"]);
    if page["others"]["objects"].as_u64().unwrap_or(0) > 0 {
        add("others", &page["others"]);
    }
    add("all", total);
    rows
}

/// A row for each channel.
fn channels(page: &Value) -> Vec<Vec<String>> {
    let header = [
        "CHANNEL", "OBJECTS", "BYTES", "HOURS", "MINUTES", "ITEMS", "OLDEST", "NEWEST",
    ];
    let mut rows = vec![row(header)];
    let listed = page["channels"].as_array().map(Vec::as_slice);
    for channel in listed.unwrap_or_default() {
        let name = match channel["channel"].as_str() {
            Some(name) => name.to_owned(),
            None => format!("{} (deleted)", text(&channel["id"])),
        };
        rows.push(vec![
            name,
            text(&channel["objects"]),
            text(&channel["bytes"]),
            text(&channel["hours"]["objects"]),
            text(&channel["minutes"]["objects"]),
            text(&channel["singleItems"]["objects"]),
            text(&channel["oldest"]),
            text(&channel["newest"]),
        ]);
    }
    rows
}

/// What the node has asked of the archive since it started.
fn requests(page: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![row(["REQUEST", "COUNT", "FAILED", "BYTES"])];
    let kinds = page["requests"].as_object();
    for (kind, asked) in kinds.into_iter().flatten() {
        rows.push(vec![
            kind.clone(),
            text(&asked["requests"]),
            text(&asked["failed"]),
            text(&asked["bytes"]),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::exit::Exit;
    use super::super::stub::{Stub, json as answer};
    use super::*;

    #[tokio::test]
    async fn what_the_archive_takes_is_shown() {
        let count = |objects: u64, bytes: u64| json!({"objects": objects, "bytes": bytes});
        let total = json!({
            "objects": 6, "bytes": 60, "hours": count(1, 10), "minutes": count(2, 20),
            "singleItems": count(3, 30), "deletedItems": count(0, 0), "oldest": "T0", "newest": "T9",
        });
        let page = json!({
            "node": "hub-1:8080", "archive": "s3://bucket", "archivedTo": "T3", "rolledUpTo": "T2",
            "complete": true, "total": total,
            "requests": {"put": {"requests": 7, "failed": 1, "bytes": 70}},
        });
        let hub = Stub::start(move |asked| {
            let mut page = page.clone();
            match asked.target.as_str() {
                "/internal/archive" => {
                    let mut known = total.clone();
                    known["channel"] = json!("orders");
                    known["id"] = json!("000000000000001f");
                    let mut deleted = known.clone();
                    deleted["channel"] = Value::Null;
                    page["channels"] = json!([known, deleted]);
                    page["others"] = count(1, 5);
                }
                "/internal/archive/x%20y?items=true" => {
                    page["items"] = json!(42);
                    page["complete"] = json!(false);
                }
                other => unreachable!("{other}"),
            }
            answer(200, &page)
        })
        .await;
        let ops = hub.url();
        let run = async |line: &[&str]| {
            let line: Vec<&str> = [line, &["--ops", ops.as_str()]].concat();
            let ran = hub.run(&line).await;
            assert_eq!(ran.exit, Exit::Done, "{}", ran.err);
            ran.out
        };
        let head = "archive       s3://bucket\nasked         hub-1:8080\narchived to   T3\n\
                    rolled up to  T2\n";
        let kinds = "KIND           OBJECTS  BYTES\nhours          1        10\n\
                     minutes        2        20\nsingle items   3        30\n\
                     deleted items  0        0\n";
        let requests = "\nREQUEST  COUNT  FAILED  BYTES\nput      7      1       70\n";
        assert_eq!(
            run(&["archive", "stats"]).await,
            format!(
                "{head}oldest        T0\nnewest        T9\n\n{kinds}\
                 others         1        5\nall            6        60\n\n\
                 CHANNEL                     OBJECTS  BYTES  HOURS  MINUTES  ITEMS  OLDEST  NEWEST\n\
                 orders                      6        60     1      2        3      T0      T9\n\
                 000000000000001f (deleted)  6        60     1      2        3      T0      T9\n\
                 {requests}"
            )
        );
        assert_eq!(
            run(&["archive", "stats", "x y", "--items"]).await,
            format!(
                "{head}items         42\noldest        T0\nnewest        T9\n\
                 There are too many objects to count all of them: these are the first.\n\n\
                 {kinds}all            6        60\n{requests}"
            )
        );
        let shown = run(&["archive", "stats", "--json"]).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["total"]["objects"], 6);
    }
}
