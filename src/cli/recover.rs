//! `hub cluster recover`: what would be lost without members that are gone, and going on.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use reqwest::{Request, Url};
use serde_json::Value;

use super::client::{Client, read_json};
use super::error::CliError;
use super::operator::{at_ops, text, texts};
use super::output::Output;

/// The variable that holds the admin token: an argument could be seen by everybody on the machine.
const TOKEN: &str = "HUB_ADMIN_TOKEN";
/// So many channels are named.
const NAMED: usize = 10;

/// Prints the choices; makes the one that is named, if that is agreed to.
pub(super) async fn run(
    client: &Client,
    without: &[String],
    yes: bool,
    json: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let mut url = client.url(&["internal", "cluster", "recover"]);
    if !without.is_empty() {
        url.query_pairs_mut()
            .append_pair("without", &without.join(","));
    }
    let found = ask(client, Method::GET, url).await?;
    let choices = found["choices"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if json && !yes {
        out.json(&found)?;
    } else if !json {
        explain(&found, choices, out)?;
    }
    if !yes {
        return if without.is_empty() {
            Ok(())
        } else {
            Err(CliError::NotAgreed)
        };
    }
    let [choice] = choices else {
        let reason = if choices.is_empty() {
            "every member of the ring is there: there is nothing to do"
        } else {
            "there is more than one choice: name who is gone for good with --without"
        };
        return Err(CliError::NoSuchChoice {
            reason: reason.to_owned(),
        });
    };
    if choice["losses"].is_null() {
        return Err(CliError::NoSuchChoice {
            reason: "what would be lost is not known: the node has not read its channels yet; \
                     ask again, or ask another one"
                .to_owned(),
        });
    }
    let mut url = client.url(&["internal", "cluster", "recover"]);
    url.query_pairs_mut()
        .append_pair("without", &texts(&choice["without"]).join(","))
        .append_pair("ring", &text(&found["ring"]));
    let done = ask(client, Method::POST, url).await?;
    if json {
        return out.json(&done);
    }
    let members = texts(&done["members"]);
    out.line(format_args!(
        "announced ring {}: {}",
        text(&done["version"]),
        members.join(" ")
    ))?;
    match done["from"].as_str() {
        Some(from) => out.line(format_args!("it is in force from {from}")),
        None => out.line("it gets its time in a moment: see `hub ring show`"),
    }
}

/// Asks as an administrator.
///
/// # Errors
/// As [`Client::ask`].
pub(super) async fn ask(client: &Client, method: Method, url: Url) -> Result<Value, CliError> {
    let mut request = Request::new(method, url);
    if let Ok(token) = std::env::var(TOKEN)
        && !token.trim().is_empty()
    {
        let bearer = format!("Bearer {}", token.trim());
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| CliError::NoSuchChoice {
            reason: format!("{TOKEN} holds what is no token"),
        })?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    let answer = client.ask(request).await.map_err(at_ops)?;
    read_json(answer).await
}

fn explain(found: &Value, choices: &[Value], out: &mut Output<'_>) -> Result<(), CliError> {
    let away = texts(&found["away"]);
    out.line(format_args!(
        "ring {} has {} members, {} of them away{}{}",
        text(&found["ring"]),
        text(&found["members"]),
        away.len(),
        if away.is_empty() { "" } else { ": " },
        away.join(" ")
    ))?;
    if !away.is_empty() {
        out.line("A member that is away brings back what it holds when it starts again.")?;
        out.line("Leave it out only if it, or its disk, is gone for good.")?;
    }
    for choice in choices {
        out.line("")?;
        out.line(format_args!(
            "--without {}",
            texts(&choice["without"]).join(" --without ")
        ))?;
        if let Some(refused) = choice["refused"].as_str() {
            out.line(format_args!("  cannot be done: {refused}"))?;
        } else {
            let left = texts(&choice["members"]);
            out.line(format_args!("  leaves {}: {}", left.len(), left.join(" ")))?;
        }
        let losses = &choice["losses"];
        if losses.is_null() {
            out.line("  what it loses is not known: the node has not read its channels yet")?;
            continue;
        }
        spans("loses every copy", &losses["lost"], out)?;
        spans("may lose items", &losses["atRisk"], out)?;
        let none = |kind: &str| losses[kind]["channels"] == 0;
        if none("lost") && none("atRisk") {
            out.line("  loses nothing that was acknowledged")?;
        }
    }
    Ok(())
}

/// The channels that lose something, and the times.
fn spans(what: &str, list: &Value, out: &mut Output<'_>) -> Result<(), CliError> {
    let count = list["channels"].as_u64().unwrap_or(0);
    if count == 0 {
        return Ok(());
    }
    let plural = if count == 1 { "" } else { "s" };
    out.line(format_args!("  {what} of {count} channel{plural}:"))?;
    let first = list["first"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    for span in first.iter().take(NAMED) {
        let (channel, from, until) = (
            text(&span["channel"]),
            text(&span["from"]),
            text(&span["until"]),
        );
        out.line(format_args!("    {channel}, from {from} to {until}"))?;
    }
    let more = count.saturating_sub(first.len().min(NAMED) as u64);
    if more > 0 {
        out.line(format_args!("    and {more} more"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::exit::Exit;
    use super::super::stub::{Stub, json as answer};

    #[tokio::test]
    async fn nothing_is_done_before_it_is_agreed_to() {
        let hub = Stub::start(|asked| {
            if asked.method == http::Method::POST {
                let done = json!({"version": 4, "from": "T2", "members": ["a"]});
                return answer(200, &done);
            }
            let none = json!({"channels": 0, "first": []});
            let some =
                json!({"channels": 11, "first": [{"channel": "x", "from": "T0", "until": "T1"}]});
            let choice = |without: &[&str]| {
                json!({"without": without, "members": ["a"], "refused": null,
                       "losses": {"lost": some, "atRisk": none}})
            };
            let mut choices = vec![choice(&["b", "c"])];
            if !asked.target.contains("without") {
                choices.push(json!({"without": ["c"], "members": null, "refused": "no",
                                    "losses": {"lost": none, "atRisk": none}}));
            }
            answer(
                200,
                &json!({"ring": 3, "members": 3, "away": ["b", "c"], "choices": choices}),
            )
        })
        .await;
        let ops = hub.url();
        let run = async |line: &[&str]| {
            let start = ["cluster", "recover", "--ops", ops.as_str()];
            let line: Vec<&str> = start.iter().chain(line).copied().collect();
            hub.run(&line).await
        };
        let looked = run(&[]).await;
        assert_eq!(looked.exit, Exit::Done);
        assert_eq!(
            looked.out,
            "ring 3 has 3 members, 2 of them away: b c\n\
             A member that is away brings back what it holds when it starts again.\n\
             Leave it out only if it, or its disk, is gone for good.\n\
             \n\
             --without b --without c\n  leaves 1: a\n  loses every copy of 11 channels:\n    \
             x, from T0 to T1\n    and 10 more\n\
             \n\
             --without c\n  cannot be done: no\n  loses nothing that was acknowledged\n"
        );
        let named = ["--without", "b", "--without", "c"];
        let unsure = run(&named).await;
        assert_eq!(unsure.exit, Exit::Usage);
        assert!(unsure.err.contains("--yes"), "{}", unsure.err);
        let vague = run(&["--yes"]).await;
        assert_eq!(vague.exit, Exit::Failed);
        assert!(
            hub.asked()
                .iter()
                .all(|asked| asked.method == http::Method::GET)
        );
        let done = run(&[&named[..], &["--yes"]].concat()).await;
        assert_eq!(done.exit, Exit::Done, "{}", done.err);
        assert!(
            done.out
                .ends_with("announced ring 4: a\nit is in force from T2\n"),
            "{}",
            done.out
        );
        let posted = hub.asked().pop().unwrap();
        assert_eq!(
            posted.line(),
            "POST /internal/cluster/recover?without=b%2Cc&ring=3"
        );
    }

    #[tokio::test]
    async fn nothing_is_done_while_the_losses_are_not_known() {
        let hub = Stub::start(|_| {
            let choice = json!({"without": ["b"], "members": ["a"], "refused": null,
                                "losses": null});
            answer(
                200,
                &json!({"ring": 3, "members": 2, "away": ["b"], "choices": [choice]}),
            )
        })
        .await;
        let ops = hub.url();
        let line = ["cluster", "recover", "--ops", ops.as_str(), "--yes"];
        let line: Vec<&str> = line.into_iter().chain(["--without", "b"]).collect();
        let asked = hub.run(&line).await;
        assert_eq!(asked.exit, Exit::Failed);
        assert!(asked.out.contains("is not known"), "{}", asked.out);
        assert!(asked.err.contains("is not known"), "{}", asked.err);
        let posted = hub.asked().pop().unwrap();
        assert_eq!(posted.method, http::Method::GET);
    }
}
