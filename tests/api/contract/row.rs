//! A row as data: what it needs, what it asks, and what it expects.

use std::fmt;

use bytes::Bytes;

/// A row of a table.
pub struct Row {
    says: &'static str,
    pub(super) steps: Vec<Step>,
    pub(super) request: Request,
    pub(super) status: u16,
    pub(super) expected: Vec<Expected>,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.says, self.request.ask)
    }
}

/// What has to be there before the request, one after the other.
pub enum Step {
    /// A channel of that placeholder's name, with that configuration.
    Channel(&'static str, String),
    /// So many more items, in the channels of these placeholders by turns.
    Items(&'static [&'static str], usize),
    /// A request that succeeds. Where its `Location` leads is known as `{location}` after it, and
    /// what it lists in `uris` as `{first}` and so on.
    Request(Request),
    /// The same, sent to the hub through which the channels and items were written.
    Elsewhere(Request),
}

/// A request, in texts with placeholders.
pub struct Request {
    /// Its method and path.
    pub(super) ask: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

/// The body of a request.
pub enum Body {
    /// A text with placeholders.
    Text(String),
    /// Bytes as they are.
    Bytes(Bytes),
    /// Text in chunks, without a length.
    Chunks(&'static [&'static str]),
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl Request {
    fn new(ask: &'static str) -> Self {
        Self {
            ask,
            headers: Vec::new(),
            body: Body::Text(String::new()),
        }
    }

    fn with(ask: &'static str, headers: &[Pair], body: impl Into<Body>) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        Self {
            ask,
            headers: headers.collect(),
            body: body.into(),
        }
    }
}

/// A header.
type Pair = (&'static str, &'static str);

/// What is expected of an answer beside its status.
///
/// Texts have placeholders, and `…` in them stands for anything; alone, for anything but nothing. In
/// JSON the text `…` stands for any value, `#` for any number, null for what is not there, and an
/// array that begins with `…` for one that has the others somewhere; fields that are not named may be
/// there.
pub enum Expected {
    /// A header, once.
    Header(&'static str, String),
    /// No such header.
    NoHeader(&'static str),
    /// A header with exactly these values, in this order.
    Headers(&'static str, &'static [&'static str]),
    /// The body, as text.
    Text(String),
    /// The body, as `application/json`.
    Json(String),
    /// The fields of the body, or of its field of that name, all of them.
    Keys(&'static str, &'static str),
    /// The `uris` of the body: these items, with that query.
    Lists(&'static str, &'static str),
}

/// What a row has to have before it asks.
pub struct Given {
    says: &'static str,
    steps: Vec<Step>,
}

impl Given {
    /// Nothing yet.
    pub const fn that(says: &'static str) -> Self {
        Self {
            says,
            steps: Vec::new(),
        }
    }

    /// A channel `{channel}` with that configuration.
    pub fn channel(self, config: impl Into<String>) -> Self {
        self.step(Step::Channel("channel", config.into()))
    }

    /// A channel `{other}` with that configuration.
    pub fn other(self, config: impl Into<String>) -> Self {
        self.step(Step::Channel("other", config.into()))
    }

    /// So many items in `{channel}`, which is made with every default if there is none.
    pub fn items(mut self, count: usize) -> Self {
        let is_channel = |step: &Step| matches!(step, Step::Channel("channel", _));
        if !self.steps.iter().any(is_channel) {
            self = self.channel("{}");
        }
        self.step(Step::Items(&["channel"], count))
    }

    /// Channels `{channel}` and `{other}` with the tag `{tag}`, and so many items in them by turns.
    pub fn tagged(self, count: usize) -> Self {
        let config = r#"{"tags": ["{tag}"]}"#;
        let both = self.channel(config).other(config);
        both.step(Step::Items(&["channel", "other"], count))
    }

    /// A request with that body, which succeeds.
    pub fn before(self, ask: &'static str, body: impl Into<Body>) -> Self {
        self.before_with(ask, &[], body)
    }

    /// A request with these headers and that body, which succeeds.
    pub fn before_with(self, ask: &'static str, headers: &[Pair], body: impl Into<Body>) -> Self {
        self.step(Step::Request(Request::with(ask, headers, body)))
    }

    /// The same through another hub, in a cluster.
    pub fn elsewhere(self, ask: &'static str, headers: &[Pair], body: impl Into<Body>) -> Self {
        self.step(Step::Elsewhere(Request::with(ask, headers, body)))
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The request: its method and path.
    pub fn ask(self, ask: &'static str) -> Asked {
        Asked {
            given: self,
            request: Request::new(ask),
        }
    }
}

/// A row whose request is there, but for headers and a body.
pub struct Asked {
    given: Given,
    request: Request,
}

impl Asked {
    /// With one more header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.request.headers.push((name, value.into()));
        self
    }

    /// With a body: a text, or bytes.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.request.body = body.into();
        self
    }

    /// With a body of JSON.
    pub fn json(self, text: impl Into<String>) -> Self {
        self.header("content-type", "application/json")
            .body(&*text.into())
    }

    /// With a body in chunks.
    pub fn chunked(mut self, chunks: &'static [&'static str]) -> Self {
        self.request.body = Body::Chunks(chunks);
        self
    }

    /// What is expected of the answer: its status.
    pub fn is(self, status: u16) -> Row {
        Row {
            says: self.given.says,
            steps: self.given.steps,
            request: self.request,
            status,
            expected: Vec::new(),
        }
    }
}

impl Row {
    fn and(mut self, expected: Expected) -> Self {
        self.expected.push(expected);
        self
    }

    /// And such a header, once.
    pub fn header(self, name: &'static str, value: impl Into<String>) -> Self {
        self.and(Expected::Header(name, value.into()))
    }

    /// And no such header.
    pub fn no_header(self, name: &'static str) -> Self {
        self.and(Expected::NoHeader(name))
    }

    /// And such a header with exactly these values.
    pub fn headers(self, name: &'static str, values: &'static [&'static str]) -> Self {
        self.and(Expected::Headers(name, values))
    }

    /// And it leads there.
    pub fn location(self, url: impl Into<String>) -> Self {
        self.header("location", url)
    }

    /// And that body.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.and(Expected::Text(text.into()))
    }

    /// And no body.
    pub fn empty(self) -> Self {
        self.text("")
    }

    /// And a body of JSON that has this.
    pub fn json(self, text: impl Into<String>) -> Self {
        self.and(Expected::Json(text.into()))
    }

    /// And a body of JSON with exactly these fields.
    pub fn keys(self, names: &'static str) -> Self {
        self.and(Expected::Keys("", names))
    }

    /// And exactly these links.
    pub fn links(self, names: &'static str) -> Self {
        self.and(Expected::Keys("_links", names))
    }

    /// And a list of exactly these items.
    pub fn lists(self, items: &'static str) -> Self {
        self.lists_with(items, "")
    }

    /// And a list of exactly these items, each with that query.
    pub fn lists_with(self, items: &'static str, query: &'static str) -> Self {
        self.and(Expected::Lists(items, query))
    }

    /// And an error as JSON, about that field, that says what is wrong and what is allowed.
    pub fn error(self, field: &'static str) -> Self {
        self.json(format!(
            r#"{{"error": "…", "field": "{field}", "rule": "…"}}"#
        ))
    }
}
