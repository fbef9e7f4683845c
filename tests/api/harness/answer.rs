//! Requests, and what is expected of their answers.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// A request on its way to be sent.
pub struct Ask {
    pub(super) about: String,
    pub(super) request: reqwest::RequestBuilder,
}

impl Ask {
    /// With one more header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        let _ = write!(self.about, " [{name}: {value:?}]");
        self.request = self.request.header(name, value);
        self
    }

    /// With these headers.
    pub fn headers(self, headers: &[(&str, &str)]) -> Self {
        headers
            .iter()
            .fold(self, |ask, (name, value)| ask.header(name, value))
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// With a body that is sent in chunks, without its length.
    pub fn chunked(self, parts: Vec<Bytes>) -> Self {
        let parts = parts.into_iter().map(Ok::<_, std::io::Error>);
        self.body(reqwest::Body::wrap_stream(futures_util::stream::iter(
            parts,
        )))
    }

    /// Sends it; the answer, whatever it is.
    pub async fn send(self) -> Answer {
        let response = self.request.send().await;
        let response = response.unwrap_or_else(|error| panic!("{}: {error:?}", self.about));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await;
        Answer {
            status,
            headers,
            body: body.unwrap_or_else(|error| panic!("{}: {error:?}", self.about)),
            about: self.about,
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What was asked.
    pub about: String,
}

impl Answer {
    /// The answer, if it has that status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        let (about, text) = (&self.about, self.text_lossy());
        let text: String = text.chars().take(500).collect();
        assert_eq!(self.status, status, "{about}: {text}");
        self
    }

    /// The answer, if it has that status and no body.
    #[track_caller]
    pub fn expect_empty(self, status: u16) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.text(), "", "{}", answer.about);
        answer
    }

    /// The answer, if it has that status and exactly that body.
    #[track_caller]
    pub fn expect_text(self, status: u16, text: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.text(), text, "{}", answer.about);
        answer
    }

    /// An error as JSON of that status, about that field, saying what is wrong and what is allowed.
    #[track_caller]
    pub fn expect_error(self, status: u16, field: &str) -> Value {
        let answer = self.expect(status);
        let body = answer.json();
        let about = &answer.about;
        assert_eq!(body["field"], field, "{about}: {body}");
        for part in ["error", "rule"] {
            let text = body[part].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{about}: no {part} in {body}");
        }
        body
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as text, with a sign in the place of what is none.
    pub fn text_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON, under exactly JSON's name.
    #[track_caller]
    pub fn json(&self) -> Value {
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/json"), "{}", self.about);
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error} in {}", self.about, self.text()))
    }

    /// A header that is there at most once.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers_of(name);
        assert!(values.len() < 2, "{}: {name}: {values:?}", self.about);
        values.first().copied()
    }

    /// Every value of a header.
    #[track_caller]
    pub fn headers_of(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }

    /// Where it leads.
    #[track_caller]
    pub fn location(&self) -> &str {
        let location = self.header("location");
        location.unwrap_or_else(|| panic!("{}: no location", self.about))
    }

    /// A link of a body of JSON.
    #[track_caller]
    pub fn link(&self, name: &str) -> Option<String> {
        let body = self.json();
        let href = body["_links"].get(name)?["href"].as_str();
        Some(
            href.unwrap_or_else(|| panic!("{name} in {body}"))
                .to_owned(),
        )
    }

    /// The links of a list other than its items, by name.
    #[track_caller]
    pub fn link_names(&self) -> Vec<String> {
        let body = self.json();
        let links = body["_links"].as_object().unwrap();
        let names = links.keys().filter(|name| *name != "uris");
        names.cloned().collect()
    }

    /// What a list lists.
    #[track_caller]
    pub fn uris(&self) -> Vec<String> {
        let body = self.json();
        let uris = body["_links"]["uris"].as_array();
        let uris = uris.unwrap_or_else(|| panic!("{}: no uris in {body}", self.about));
        let uris = uris.iter().map(|uri| uri.as_str().unwrap().to_owned());
        uris.collect()
    }
}
