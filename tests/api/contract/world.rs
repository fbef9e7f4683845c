//! What there is for a row, and the names by which its texts know it.
//!
//! | name | what it stands for |
//! |---|---|
//! | `{base}`, `{host}`, `{port}` | where the hub is that is asked: its URL, `host:port`, port |
//! | `{node}`, `{version}` | what that hub says it is |
//! | `{new}`, `{tag}` | a name of a channel, and of a tag, that nobody else has |
//! | `{channel}`, `{other}` | names of channels that were made |
//! | `{own}`, `{url}` | the path and the URL of `{channel}` |
//! | `{first}` to `{fifth}`, `{last}` | keys of the items, in the order in which they were inserted |
//! | `{location}` | where the last step led to: a path |
//!
//! After a name may follow, with a dot: of a key its `day`, `hour`, `minute`, `second` and `milli`, its
//! `date` in ISO 8601, how it is spelt `bare` of zeros, and the `path` and the `url` of the item; of
//! any name `upper`. A word in double braces stands for itself in single ones.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::row::{Body, Request, Step};
use crate::harness::{Answer, Hub, VERSION, eventually, key_of, period_of, unique};

const ITEMS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// What there is for a row.
pub struct World {
    writer: Hub,
    asked: Hub,
    /// Values by name.
    known: BTreeMap<String, String>,
    /// Paths of items.
    items: Vec<String>,
}

impl World {
    /// Nothing but two hubs of a cluster, or one twice: for what is there before, and to ask.
    pub async fn new(writer: Hub, asked: Hub) -> Self {
        let live = asked.get("/health/live").await;
        let mut world = Self {
            writer,
            asked,
            known: BTreeMap::new(),
            items: Vec::new(),
        };
        world.learn("base", world.asked.base());
        world.learn("host", world.asked.address().to_string());
        world.learn("port", world.asked.address().port().to_string());
        world.learn("node", live.header("hub-node").unwrap_or_default());
        world.learn("version", VERSION);
        world.learn("new", unique("New"));
        world.learn("tag", unique("tag"));
        world
    }

    /// Gives a value a name.
    pub fn learn(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if name == "channel" {
            let own = format!("/channel/{value}");
            self.learn("url", format!("{}{own}", self.asked.base()));
            self.learn("own", own);
        }
        self.known.insert(name.to_owned(), value);
    }

    fn learn_item(&mut self, path: &str) {
        if let Some(name) = ITEMS.get(self.items.len()) {
            self.learn_key(name, path);
        }
        self.learn_key("last", path);
        self.items.push(path.to_owned());
    }

    fn learn_key(&mut self, name: &str, path: &str) {
        self.learn(name, key_of(path));
        self.learn(&format!("{name}.path"), path);
        self.learn(&format!("{name}.url"), self.asked.url(path));
    }

    /// A text with what its names stand for.
    ///
    /// # Panics
    /// If it has a name that is not known: whoever wrote the row meant another.
    pub fn filled(&self, text: &str) -> String {
        fill(text, |name| self.value(name))
    }

    fn value(&self, name: &str) -> Option<String> {
        if let Some(value) = self.known.get(name) {
            return Some(value.clone());
        }
        let (name, part) = name.split_once('.')?;
        let value = self.known.get(name)?;
        let path = format!("/channel/x/{value}");
        Some(match part {
            "day" => period_of(&path, 3),
            "hour" => period_of(&path, 4),
            "minute" => period_of(&path, 5),
            "second" => period_of(&path, 6),
            "milli" => period_of(&path, 7),
            "bare" => {
                let segment =
                    |text: &str| text.parse::<u32>().map_or(text.into(), |n| n.to_string());
                // The hash may be one of digits.
                let (fields, hash) = value.rsplit_once('/')?;
                let fields: Vec<String> = fields.split('/').map(segment).collect();
                format!("{}/{hash}", fields.join("/"))
            }
            "date" => {
                let parts: Vec<&str> = value.split('/').collect();
                let [year, month, day, hour, minute, second, milli, _] = parts[..] else {
                    return None;
                };
                format!("{year}-{month}-{day}T{hour}:{minute}:{second}.{milli}Z")
            }
            "upper" => value.to_uppercase(),
            _ => return None,
        })
    }

    /// Brings a step about.
    ///
    /// # Panics
    /// If it does not come about.
    pub async fn take(&mut self, step: &Step) {
        match step {
            Step::Channel(name, config) => self.make(name, config).await,
            Step::Items(channels, count) => self.insert(channels, *count).await,
            Step::Request(request) => {
                let answer = self.sent(&self.asked, request).await;
                let base = self.asked.base();
                self.learn_from(&answer, &base);
            }
            Step::Elsewhere(request) => {
                let answer = self.sent(&self.writer, request).await;
                let base = self.writer.base();
                self.learn_from(&answer, &base);
            }
        }
    }

    async fn make(&mut self, name: &str, config: &str) {
        let config = serde_json::from_str(&self.filled(config)).unwrap();
        let made = self.writer.channel_with("Contract", &config).await;
        let path = format!("/channel/{made}");
        eventually("the other hub knows the channel", async || {
            (self.asked.get(&path).await.status == 200).then_some(())
        })
        .await;
        self.learn(name, made);
    }

    async fn insert(&mut self, channels: &[&str], count: usize) {
        for number in 0..count {
            let channel = self.filled(&format!("{{{}}}", channels[number % channels.len()]));
            let item = self.writer.insert(&channel, format!("item {number}")).await;
            let path = self.writer.path_of(&item).to_owned();
            self.learn_item(&path);
            self.millisecond_is_over().await;
        }
        let of_all = if channels.len() > 1 {
            "/tag/{tag}"
        } else {
            "{own}"
        };
        let list = self.filled(&format!("{of_all}/latest/99"));
        self.all_are_stable(&list).await;
    }

    /// Learns from the answer of a hub that has that base.
    fn learn_from(&mut self, answer: &Answer, base: &str) {
        let text = answer.text_lossy();
        assert!(answer.status < 400, "before: {}: {text}", answer.about);
        let path = |url: &str| url.strip_prefix(base).unwrap_or(url).to_owned();
        if let Some(location) = answer.header("location") {
            self.learn("location", path(location));
        }
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        for uri in body["_links"]["uris"].as_array().into_iter().flatten() {
            self.learn_item(&path(uri.as_str().unwrap()));
        }
    }

    /// Waits until the millisecond of the last item is over: items of two channels that have the same
    /// one are not in the order in which they were inserted.
    async fn millisecond_is_over(&self) {
        let date = self.filled("{last.date}");
        let stamp: jiff::Timestamp = date.parse().unwrap();
        eventually("the millisecond is over", async || {
            (self.writer.now().await > stamp.as_millisecond()).then_some(())
        })
        .await;
    }

    /// Waits until queries that ask for what is stable list all items.
    async fn all_are_stable(&self, path: &str) {
        if self.items.is_empty() {
            return;
        }
        eventually("all items are stable", async || {
            let listed = self.asked.get(path).await;
            (listed.status == 200 && listed.uris().len() == self.items.len()).then_some(())
        })
        .await;
    }

    /// Sends a request to the hub that is asked.
    pub async fn send(&self, request: &Request) -> Answer {
        self.sent(&self.asked, request).await
    }

    async fn sent(&self, hub: &Hub, request: &Request) -> Answer {
        let ask = self.filled(request.ask);
        let (method, path) = ask.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut ask = hub.ask(method, path);
        for (name, value) in &request.headers {
            ask = ask.header(name, self.filled(value));
        }
        let ask = match &request.body {
            Body::Text(text) if text.is_empty() => ask,
            Body::Text(text) => ask.body(self.filled(text)),
            Body::Bytes(bytes) => ask.body(bytes.clone()),
            Body::Chunks(chunks) => {
                let chunks = chunks
                    .iter()
                    .map(|chunk| Bytes::from_static(chunk.as_bytes()));
                ask.chunked(chunks.collect())
            }
        };
        ask.send().await
    }
}

/// A text with the values of the names that it has in braces.
fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let escaped = after.strip_prefix('{');
        if let Some((name, behind)) = escaped.and_then(|inner| name_before(inner, "}}")) {
            filled.extend(["{", name, "}"]);
            rest = behind;
        } else if let Some((name, behind)) = name_before(after, "}") {
            let value = value(name);
            filled += &value.unwrap_or_else(|| panic!("{{{name}}} is not known"));
            rest = behind;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled + rest
}

/// The name that a text begins with, if it ends so; and what follows that.
fn name_before<'t>(text: &'t str, end: &str) -> Option<(&'t str, &'t str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let (name, behind) = text.split_at(text.find(|c| !is_name(c))?);
    let behind = behind.strip_prefix(end)?;
    (!name.is_empty()).then_some((name, behind))
}

#[test]
fn names_in_braces_are_filled_in() {
    let value = |name: &str| (name != "unknown").then(|| name.to_uppercase());
    for (text, filled) in [
        ("", ""),
        ("/a/{b}/c{d.e}", "/a/B/cD.E"),
        (r#"{"a": {"b": "{c}"}}"#, r#"{"a": {"b": "C"}}"#),
        ("{{unknown}}{?x}{}{", "{unknown}{?x}{}{"),
    ] {
        assert_eq!(fill(text, value), filled);
    }
    assert!(std::panic::catch_unwind(|| fill("{unknown}", value)).is_err());
}
