//! What an item carries.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

/// A media type as the hub stores it: `type/subtype;name=value`, no blanks around `/`, `;` and
/// `=`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentType(Arc<str>);

/// A `Content-Type` that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a content type is type/subtype with optional ;name=value, at most {max} bytes")]
pub struct ContentTypeError {
    /// The longest one allowed, in bytes.
    pub max: usize,
}

impl ContentType {
    /// The longest media type stored, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Reads a header's value and brings it into the stored form.
    ///
    /// # Errors
    /// [`ContentTypeError`] if it is not a media type (RFC 9110 §8.3.1) or too long.
    pub fn parse(text: &str) -> Result<Self, ContentTypeError> {
        let error = ContentTypeError { max: Self::MAX_LEN };
        if text.len() > Self::MAX_LEN {
            return Err(error);
        }
        let parts = split_parameters(text);
        let (kind, subtype) = parts
            .first()
            .and_then(|media| media.split_once('/'))
            .ok_or(error.clone())?;
        let (kind, subtype) = (kind.trim(), subtype.trim());
        if !is_token(kind) || !is_token(subtype) {
            return Err(error);
        }
        let mut out = String::with_capacity(text.len());
        out.push_str(kind);
        out.push('/');
        out.push_str(subtype);
        for parameter in parts.iter().skip(1) {
            // A lone or trailing `;` is common and means nothing.
            if parameter.trim().is_empty() {
                continue;
            }
            let (name, value) = parameter.split_once('=').ok_or(error.clone())?;
            let (name, value) = (name.trim(), value.trim());
            if !is_token(name) || !(is_token(value) || is_quoted(value)) {
                return Err(error);
            }
            out.push(';');
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
        Ok(Self(out.into()))
    }

    /// A stored form that was parsed before; `None` if it is not one.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    /// The stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `type/subtype` without parameters.
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default()
    }
}

/// Splits at semicolons that are outside quoted strings.
fn split_parameters(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// A token of RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A quoted string of RFC 9110 §5.6.4, without control characters.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return false;
    };
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            // Also behind a backslash: it is written into headers.
            c if c.is_ascii_control() || !c.is_ascii() => return false,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            _ => {}
        }
    }
    !escaped
}

/// What a client posted: bytes, and what it said they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload {
    /// The media type, if the client named one.
    pub content_type: Option<ContentType>,
    /// The bytes, after any transfer or content coding was undone.
    pub bytes: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_lose_their_blanks_and_nothing_else() {
        let stored = |text| ContentType::parse(text).map(|t| t.as_str().to_owned());
        for (sent, kept) in [
            ("text/plain", "text/plain"),
            ("multipart/mixed; boundary=x", "multipart/mixed;boundary=x"),
            (
                "application/json ; charset=UTF-8 ;",
                "application/json;charset=UTF-8",
            ),
            ("a/b; c=\"d; e\"", "a/b;c=\"d; e\""),
            ("application/vnd.x+json", "application/vnd.x+json"),
        ] {
            assert_eq!(stored(sent).unwrap(), kept);
            assert_eq!(stored(kept).unwrap(), kept, "the stored form is stable");
        }
        for bad in [
            "",
            "text",
            "text/",
            "/plain",
            "te xt/plain",
            "a/b;c",
            "a/b;c=",
            "a/b;c=\"d",
            "a/b;c=\"\\\nd\"",
            "a/b;c=\"\\\u{e9}\"",
            "a/b;=d",
            "a/b c",
        ] {
            assert!(stored(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(stored(&format!("a/{}", "b".repeat(1024))).is_err());
    }
}
