//! An error that the hub answered with, as a person reads it.

use std::fmt;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

/// The longest text of the hub that a message repeats, in characters.
const SHOWN_CHARS: usize = 500;

/// What was asked, and how the hub refused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The method of the request.
    pub method: Method,
    /// Its URL.
    pub url: String,
    /// The status of the answer.
    pub status: StatusCode,
    /// How long the hub asked to wait.
    pub retry_after: Option<Duration>,
    /// What the body says: names and texts, in the order in which they are shown.
    said: Vec<(&'static str, String)>,
}

impl Refusal {
    /// Reads the body of an answer: a JSON object with `error`, `field`, `value`, `rule` and
    /// `reason` as far as they apply, or any text.
    pub fn new(
        method: Method,
        url: impl Into<String>,
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Self {
        Self {
            method,
            url: url.into(),
            status,
            retry_after,
            said: read(body),
        }
    }

    /// What the user can do next.
    pub fn advice(&self) -> Option<String> {
        let advice = match self.status {
            StatusCode::NOT_FOUND if self.url.contains("/channel/") => {
                "`hub channel ls` lists the channels, `hub channel create NAME` makes one"
            }
            StatusCode::NOT_FOUND => "check that --server or HUB_URL is the address of a hub",
            StatusCode::CONFLICT => "`hub channel show NAME` shows the one that is there",
            StatusCode::UNPROCESSABLE_ENTITY => {
                "use another key, or the payload that this one was first used with"
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                return Some(match self.retry_after {
                    Some(wait) => format!("try again in {} s", wait.as_secs().max(1)),
                    None => "try again in a moment".to_owned(),
                });
            }
            StatusCode::INSUFFICIENT_STORAGE => {
                "make room on the hub's disk, or delete a channel with `hub channel rm NAME`"
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.method, self.url, self.status)?;
        for (name, text) in &self.said {
            write!(f, "\n  {name}: {text}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

fn read(body: &[u8]) -> Vec<(&'static str, String)> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        let text = shown(&String::from_utf8_lossy(body));
        return if text.is_empty() {
            Vec::new()
        } else {
            vec![("said", text)]
        };
    };
    [
        "error", "field", "value", "rule", "reason", "channel", "missing", "advice",
    ]
    .into_iter()
    .filter_map(|name| {
        let text = match fields.get(name)? {
            Value::Null => return None,
            // A name or a sentence is shown as it is; what was sent, as it was sent.
            Value::String(text) if name != "value" => shown(text),
            other => shown(&other.to_string()),
        };
        Some((name, text))
    })
    .collect()
}

/// The text on one line, without what would move a terminal's cursor, and not too long.
fn shown(text: &str) -> String {
    let mut out: String = text
        .trim()
        .chars()
        .take(SHOWN_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.trim().chars().nth(SHOWN_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::new(
            Method::POST,
            "http://hub/channel",
            StatusCode::from_u16(status).unwrap(),
            None,
            body.as_bytes(),
        )
    }

    #[test]
    fn shows_field_value_and_rule() {
        let body = r#"{"rule":"1 to 48 characters","error":"bad name","field":"name","value":"a b","more":1}"#;
        assert_eq!(
            refusal(400, body).to_string(),
            "POST http://hub/channel: 400 Bad Request\n  error: bad name\n  field: name\n  \
             value: \"a b\"\n  rule: 1 to 48 characters"
        );
    }

    #[test]
    fn shows_any_other_body() {
        let said = |body: &str| {
            let text = refusal(500, body).to_string();
            text.split_once("Error").unwrap().1.to_owned()
        };
        assert_eq!(said(""), "");
        assert_eq!(said("500 Internal error\n"), "\n  said: 500 Internal error");
        assert_eq!(said("\u{1b}[2Jx"), "\n  said:  [2Jx");
        assert_eq!(said("[1,2]"), "\n  said: [1,2]");
        assert_eq!(
            said(r#"{"error":"e","value":null,"missing":["a","b"]}"#),
            "\n  error: e\n  missing: [\"a\",\"b\"]"
        );
        assert!(said(&"x".repeat(9999)).ends_with("x…"));
    }

    #[test]
    fn says_what_to_do_next() {
        let mut busy = refusal(503, "");
        assert_eq!(busy.advice().unwrap(), "try again in a moment");
        busy.retry_after = Some(Duration::from_secs(7));
        assert_eq!(busy.advice().unwrap(), "try again in 7 s");
        assert_eq!(refusal(400, "").advice(), None);
    }
}
