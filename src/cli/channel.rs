//! `hub channel`: list, create, show and delete channels.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use reqwest::{Body, Request};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::args::{ChannelCommand, CreateArgs};
use super::client::{Client, read_json};
use super::error::CliError;
use super::output::Output;

/// Runs one of the commands.
///
/// # Errors
/// As [`Client::ask`]; [`CliError::NobodyToAsk`] or [`CliError::Declined`] if a deletion was not
/// agreed to.
pub async fn run(
    command: ChannelCommand,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    match command {
        ChannelCommand::Ls { json } => list(client, json, out).await,
        ChannelCommand::Create(args) => create(args, client, out).await,
        ChannelCommand::Show { channel, json } => show(&channel, json, client, out).await,
        ChannelCommand::Rm { channel, yes } => remove(&channel, yes, client, out).await,
    }
}

#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "_links")]
    links: ListingLinks,
}

#[derive(Deserialize)]
struct ListingLinks {
    // A hub without channels may leave it out.
    #[serde(default)]
    channels: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
}

async fn list(client: &Client, json: bool, out: &mut Output<'_>) -> Result<(), CliError> {
    let url = client.url(&["channel"]);
    if json {
        let answer: Value = client.get_json(url).await?;
        return out.json(&answer);
    }
    let listing: Listing = client.get_json(url).await?;
    for channel in listing.links.channels {
        out.line(channel.name)?;
    }
    Ok(())
}

async fn create(args: CreateArgs, client: &Client, out: &mut Output<'_>) -> Result<(), CliError> {
    let json = args.json;
    let url = client.url(&["channel", &args.channel]);
    let mut request = Request::new(Method::POST, client.url(&["channel"]));
    set_json(&mut request, &config(args));
    let answer: Value = read_json(client.ask(request).await?).await?;
    if json {
        return out.json(&answer);
    }
    let href = answer.pointer("/_links/self/href").and_then(Value::as_str);
    out.line(href.unwrap_or(url.as_str()))
}

/// The channel's config, with only the fields that were given: the hub has the defaults.
fn config(args: CreateArgs) -> Value {
    let mut fields = Map::new();
    fields.insert("name".to_owned(), args.channel.into());
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    set("ttlDays", args.ttl_days.map(Value::from));
    set("maxItems", args.max_items.map(Value::from));
    set("keepForever", args.keep_forever.then_some(json!(true)));
    set("owner", args.owner.map(Value::from));
    set("description", args.description.map(Value::from));
    set("tags", (!args.tags.is_empty()).then(|| args.tags.into()));
    Value::Object(fields)
}

/// Makes a value the body of a request.
pub(super) fn set_json(request: &mut Request, value: &Value) {
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(CONTENT_TYPE, json);
    *request.body_mut() = Some(Body::from(value.to_string()));
}

async fn show(
    channel: &str,
    json: bool,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let answer: Value = client.get_json(client.url(&["channel", channel])).await?;
    if json {
        return out.json(&answer);
    }
    for (name, text) in described(&answer) {
        out.line(format_args!("{name:<12} {text}"))?;
    }
    Ok(())
}

/// A channel's config as a person wants it: what is at its default is left out, except for how
/// long items are kept.
fn described(config: &Value) -> Vec<(&'static str, String)> {
    let text = |name: &str| {
        let text = config.get(name).and_then(Value::as_str).unwrap_or_default();
        text.to_owned()
    };
    let number = |name: &str| config.get(name).and_then(Value::as_u64).unwrap_or(0);
    let is = |name: &str| config.get(name).and_then(Value::as_bool) == Some(true);
    let link = config.pointer("/_links/self/href").and_then(Value::as_str);
    let tags = config.get("tags").and_then(Value::as_array);
    let tags: Vec<_> = tags
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let days = number("ttlDays");
    let keeps = if is("keepForever") {
        "every item".to_owned()
    } else if number("maxItems") > 0 {
        format!("the newest {} items", number("maxItems"))
    } else if days > 0 {
        format!("items for {days} day{}", if days == 1 { "" } else { "s" })
    } else {
        "every item with a historical time".to_owned()
    };
    let flags: Vec<_> = [
        ("protect", "protected"),
        ("secondaryMetricsReporting", "secondary metrics"),
    ]
    .into_iter()
    .filter_map(|(name, shown)| is(name).then_some(shown))
    .collect();
    [
        ("name", text("name")),
        ("url", link.unwrap_or_default().to_owned()),
        ("keeps", keeps),
        ("owner", text("owner")),
        ("description", text("description")),
        ("tags", tags.join(" ")),
        ("historical", text("mutableTime")),
        ("copy of", text("replicationSource")),
        ("storage", text("storage")),
        ("flags", flags.join(", ")),
        ("created", text("creationDate")),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    .collect()
}

async fn remove(
    channel: &str,
    yes: bool,
    client: &Client,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    if !yes {
        let channel = channel.to_owned();
        match out.ask(format_args!("delete channel {channel} and all its items?"))? {
            Some(true) => {}
            Some(false) => return Err(CliError::Declined { channel }),
            None => return Err(CliError::NobodyToAsk { channel }),
        }
    }
    let url = client.url(&["channel", channel]);
    client.ask(Request::new(Method::DELETE, url)).await?;
    out.line(format_args!("deleted {channel}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> CreateArgs {
        CreateArgs {
            channel: "orders".to_owned(),
            ttl_days: None,
            max_items: None,
            keep_forever: false,
            owner: None,
            description: None,
            tags: Vec::new(),
            json: false,
        }
    }

    #[test]
    fn only_what_was_given_is_sent() {
        assert_eq!(config(args()), json!({"name": "orders"}));
        let full = CreateArgs {
            ttl_days: Some(7),
            keep_forever: true,
            owner: Some("shop".to_owned()),
            tags: vec!["eu".to_owned(), "x:y".to_owned()],
            ..args()
        };
        assert_eq!(
            config(full),
            json!({"name": "orders", "ttlDays": 7, "keepForever": true, "owner": "shop",
                   "tags": ["eu", "x:y"]})
        );
    }

    #[test]
    fn a_config_is_described() {
        let config = json!({
            "name": "orders", "creationDate": "2024-05-01T09:15:00.123Z", "description": "",
            "maxItems": 0, "mutableTime": "", "owner": "shop", "protect": true,
            "replicationSource": "", "storage": "BATCH", "tags": ["eu", "sales"], "ttlDays": 120,
            "keepForever": false, "_links": {"self": {"href": "http://hub/channel/orders"}},
        });
        let text: Vec<_> = described(&config)
            .into_iter()
            .map(|(name, text)| format!("{name}={text}"))
            .collect();
        assert_eq!(
            text,
            [
                "name=orders",
                "url=http://hub/channel/orders",
                "keeps=items for 120 days",
                "owner=shop",
                "tags=eu sales",
                "storage=BATCH",
                "flags=protected",
                "created=2024-05-01T09:15:00.123Z",
            ]
        );
        let keeps = |config: Value| {
            let mut lines = described(&config).into_iter();
            lines.find(|(name, _)| *name == "keeps").unwrap().1
        };
        assert_eq!(keeps(json!({"ttlDays": 1})), "items for 1 day");
        assert_eq!(keeps(json!({"maxItems": 9})), "the newest 9 items");
        assert_eq!(keeps(json!({"keepForever": true})), "every item");
    }
}
