//! Lists of items as JSON.

use std::fmt::Write as _;

use http::StatusCode;
use serde_json::{Value, json};

use crate::env::Millis;
use crate::http::api::Call;
use crate::http::links::{ChannelLinks, Link};
use crate::http::params::{Order, Params};
use crate::http::reply::{self, JSON, Reply};
use crate::item::ItemKey;

/// A list of items with its links.
pub(super) fn list(
    call: &Call<'_>,
    own: Link,
    around: &[(&str, Link)],
    mut keys: Vec<ItemKey>,
    params: &Params,
    start: Millis,
) -> Reply {
    let links = call.links();
    let repeat = params.repeat();
    let mut body = String::with_capacity(512 + keys.len() * 96);
    body.push_str("{\"_links\":{\"self\":{\"href\":\"");
    links.push(&mut body, own);
    body.push_str(repeat);
    body.push_str("\"}");
    for (name, link) in around {
        push_link(&mut body, name, &links, *link, repeat);
    }
    if params.order == Order::Descending {
        keys.reverse();
    }
    body.push_str(",\"uris\":[");
    push_uris(&mut body, &links, &keys);
    body.push_str("]}");
    body.push_str(&trace(call, params, start, &keys, false));
    body.push('}');
    reply::with_body(StatusCode::OK, JSON, body)
}

/// Diagnostics, if they are asked for, as further fields of an object.
pub(super) fn trace(
    call: &Call<'_>,
    params: &Params,
    start: Millis,
    listed: &[impl ToString],
    more: bool,
) -> String {
    let mut out = String::new();
    if params.trace {
        let first = listed.first().map(ToString::to_string);
        let steps = [
            format!("start {start}"),
            format!("stable {}", params.stable),
            format!(
                "listed {}{}",
                listed.len(),
                if more { " and more" } else { "" }
            ),
        ];
        let fields: [(&str, Value); 5] = [
            ("first", json!(first)),
            ("id", json!(call.name)),
            ("start", json!(start.iso())),
            ("millis", json!(call.api.clock.now().get())),
            ("trace", json!(steps)),
        ];
        for (name, value) in fields {
            // Writing to a string cannot fail.
            let _ = write!(out, ",\"{name}\":{value}");
        }
    }
    out
}

pub(super) fn push_link(
    out: &mut String,
    name: &str,
    links: &ChannelLinks,
    link: Link,
    repeat: &str,
) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":{\"href\":\"");
    links.push(out, link);
    out.push_str(repeat);
    out.push_str("\"}");
}

/// URLs of items as strings of JSON; nothing in them needs escaping (see [`crate::http::links`]).
pub(super) fn push_uris(out: &mut String, links: &ChannelLinks, keys: &[ItemKey]) {
    for (at, key) in keys.iter().enumerate() {
        out.push_str(if at == 0 { "\"" } else { ",\"" });
        links.push_item(out, key);
        out.push('"');
    }
}
