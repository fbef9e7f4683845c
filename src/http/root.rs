//! `GET /`: where everything is, for programs as links and for people as a page.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, VARY};
use serde_json::json;

use super::links::{BaseUri, ChannelLinks};
use super::reply::{self, Reply};
use crate::channel::Channel;

/// The most channels that the page lists.
const CHANNELS_MAX: usize = 500;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// The page needs its own style, and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
);

const STYLE: &str = "body{font:1em/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;\
padding:0 1rem}h1{margin:0}ul{padding-left:1.2rem}.channels{columns:14rem}";

/// What the page says.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// The base of links.
    pub base: &'a BaseUri,
    /// The hub's version.
    pub version: &'a str,
    /// `host:port` of the node.
    pub node: &'a str,
    /// Whether the node can serve.
    pub healthy: bool,
    /// Which state that is and why; `None` where nothing is told of the node, so that there are no
    /// pages about it to link to either.
    pub why: Option<&'a str>,
    /// The channels; `None` while they are not known.
    pub channels: Option<&'a [Arc<Channel>]>,
}

/// The links of the hub.
pub(super) fn links(base: &BaseUri) -> Reply {
    let href = |path| json!({"href": base.join(path)});
    let links = json!({"_links": {
        "self": {"href": base.as_str()},
        "documentation": href("openapi.json"),
        "channel": href("channel"),
        "health": href("health"),
        "tag": href("tag"),
        "webhook": href("webhook"),
        "internal": href("internal"),
    }});
    varied(reply::json(StatusCode::OK, &links))
}

/// The page.
pub(super) fn page(page: &Page<'_>) -> Reply {
    let mut reply = reply::with_body(StatusCode::OK, HTML, html(page));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    varied(reply)
}

/// Says that the answer depends on what is accepted.
fn varied(mut reply: Reply) -> Reply {
    let accept = HeaderValue::from_static("accept");
    reply.headers_mut().insert(VARY, accept);
    reply
}

fn html(page: &Page<'_>) -> String {
    let listed = page.channels.map_or(0, |all| all.len().min(CHANNELS_MAX));
    let mut out = String::with_capacity(2048 + listed * 128);
    let node = escaped(page.node);
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Writing to a string cannot fail; so it is below.
    let _ = write!(
        out,
        "<title>Hub at {node}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>Hub</h1>\n<p>A hub stores immutable items in named channels, ordered by time, and \
         serves them over HTTP. This is version {version} at {node}.</p>\n",
        version = escaped(page.version),
    );
    let state = if page.healthy { "Healthy" } else { "Not ready" };
    let _ = match page.why {
        Some(why) => writeln!(
            out,
            "<p role=\"status\"><strong>{state}</strong>: {}</p>",
            escaped(why)
        ),
        None => writeln!(out, "<p role=\"status\"><strong>{state}</strong></p>"),
    };
    out.push_str("<h2>Pages</h2>\n<ul>\n");
    let mut link = |path: &'static str, text: &str| {
        let href = page.base.join(path);
        let _ = writeln!(out, "<li><a href=\"{}\">{text}</a></li>", escaped(&href));
    };
    link("openapi.json", "The API, as OpenAPI 3.1");
    link("channel", "The channels, as JSON");
    if page.why.is_some() {
        link("health", "Health");
        link("metrics", "Metrics, for Prometheus");
        link("internal", "Pages about the node and its cluster");
    }
    out.push_str("</ul>\n<h2>Channels</h2>\n");
    channels(&mut out, page);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn channels(out: &mut String, page: &Page<'_>) {
    let Some(all) = page.channels else {
        out.push_str("<p>They are not known until this node is ready.</p>\n");
        return;
    };
    if all.is_empty() {
        out.push_str("<p>There are none yet.</p>\n");
        return;
    }
    if all.len() > CHANNELS_MAX {
        let count = all.len();
        let _ = writeln!(out, "<p>The first {CHANNELS_MAX} of {count}, by name.</p>");
    }
    out.push_str("<ul class=\"channels\">\n");
    for channel in all.iter().take(CHANNELS_MAX) {
        let name = channel.config.name.as_str();
        let links = ChannelLinks::new(page.base, name);
        let (href, name) = (escaped(links.channel()), escaped(name));
        let _ = writeln!(out, "<li><a href=\"{href}\">{name}</a></li>");
    }
    out.push_str("</ul>\n");
}

/// A text as it stands in HTML, in an attribute as well.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::links::{Authority, Scheme};

    fn shown(why: Option<&str>, healthy: bool) -> String {
        let base = BaseUri::new(Scheme::Http, &Authority::parse("hub:1").unwrap());
        html(&Page {
            base: &base,
            version: "1",
            node: "<hub>:1",
            healthy,
            why,
            channels: None,
        })
    }

    #[test]
    fn a_page_before_the_node_is_ready_says_so_and_escapes() {
        let text = shown(Some("joining: <script>\"a\" & 'b'"), false);
        assert!(text.contains("<strong>Not ready</strong>"), "{text}");
        let why = "joining: &lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;";
        assert!(text.contains(why), "{text}");
        assert!(text.contains("&lt;hub&gt;:1") && !text.contains("<hub>"));
        assert!(text.contains("not known until"), "{text}");
        assert!(text.contains("href=\"http://hub:1/health\""), "{text}");
    }

    #[test]
    fn a_listener_without_pages_about_the_node_does_not_link_to_them() {
        let text = shown(None, true);
        assert!(text.contains("<strong>Healthy</strong></p>"), "{text}");
        for path in ["health", "metrics", "internal"] {
            assert!(!text.contains(&format!("hub:1/{path}\"")), "{text}");
        }
        assert!(text.contains("http://hub:1/openapi.json"), "{text}");
    }
}
