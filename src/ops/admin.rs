//! Who may change something: the one place that looks at admin credentials.
//!
//! A call may if it comes from this machine, or carries the token of `ops.admin_token_file`. What a
//! load balancer passes on comes from elsewhere, whatever its address; so does what a browser sends
//! on behalf of a page (`Origin`), which may be anybody's.

use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use thiserror::Error;

use crate::http::api::Origin;
use crate::http::reply::{self, Reply};

/// A token has at least so many bytes.
const TOKEN_MIN: usize = 16;
/// And at most so many: a file that holds more is not a token.
const TOKEN_MAX: usize = 4096;

/// Why the admin token cannot be used.
#[derive(Debug, Error)]
pub enum AdminTokenError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too short, too long, or cannot be sent in a header.
    #[error(
        "{path}: a token is {TOKEN_MIN} to {TOKEN_MAX} visible ASCII characters; this one is not",
        path = path.display()
    )]
    NotAToken {
        /// Which file.
        path: PathBuf,
    },
}

/// Tells who may change something. It holds the hash of the token, not the token.
#[derive(Debug, Clone, Default)]
pub struct AdminGate {
    token: Option<Digest>,
}

impl AdminGate {
    /// A gate for the token in that file; without one, for callers on this machine alone. Waits for
    /// the disk.
    ///
    /// # Errors
    /// [`AdminTokenError`].
    pub fn read(path: Option<&Path>) -> Result<Self, AdminTokenError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read(path).map_err(|source| AdminTokenError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::of(&text).ok_or_else(|| AdminTokenError::NotAToken {
            path: path.to_owned(),
        })
    }

    /// A gate for a token, without the white space around it; `None` if it cannot be one.
    fn of(token: &[u8]) -> Option<Self> {
        let token = token.trim_ascii();
        let fits = (TOKEN_MIN..=TOKEN_MAX).contains(&token.len());
        (fits && token.iter().all(u8::is_ascii_graphic)).then(|| Self {
            token: Some(digest(&SHA256, token)),
        })
    }

    /// Lets a call through, or gives the answer that says why not and what to do.
    ///
    /// # Errors
    /// The answer: 403.
    pub fn admit(&self, origin: Origin, headers: &HeaderMap) -> Result<(), Box<Reply>> {
        let reason = match (headers.get(AUTHORIZATION), &self.token) {
            // A wrong token is a mistake that the caller wants to know of, wherever it is.
            (Some(sent), Some(token)) if is_token(sent.as_bytes(), token) => return Ok(()),
            (Some(_), Some(_)) => "the Authorization header does not hold this hub's admin token",
            (Some(_), None) => {
                "a token was sent, and this hub has none: ops.admin_token_file is not set"
            }
            (None, _) if headers.contains_key(ORIGIN) => {
                "no admin token was sent, and the call comes from a web page"
            }
            (None, _) if origin.is_this_machine(headers) => return Ok(()),
            (None, _) => {
                "no admin token was sent, and the call does not come from the hub's machine"
            }
        };
        let advice = if self.token.is_some() {
            "send the token of ops.admin_token_file as \"Authorization: Bearer TOKEN\" (commands \
             take it from HUB_ADMIN_TOKEN), or ask ops.listen from the hub's machine without one"
        } else {
            "ask ops.listen from the hub's machine without a token, or give the hub one with \
             ops.admin_token_file"
        };
        Err(Box::new(reply::json(
            StatusCode::FORBIDDEN,
            &json!({"error": "only an administrator may do this", "reason": reason, "advice": advice}),
        )))
    }
}

/// Compares in a time that says nothing of where two tokens differ, or of their lengths.
fn is_token(header: &[u8], token: &Digest) -> bool {
    let Some((scheme, sent)) = header.split_at_checked(7) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ")
        && verify_slices_are_equal(digest(&SHA256, sent.trim_ascii()).as_ref(), token.as_ref())
            .is_ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http_body_util::BodyExt as _;
    use serde_json::Value;

    use super::*;
    use crate::http::api::Surface;
    use crate::http::links::Scheme;

    const TOKEN: &str = "0123456789abcdef";

    fn origin(ip: [u8; 4]) -> Origin {
        Origin {
            peer: (ip, 1).into(),
            scheme: Scheme::Http,
            surface: Surface::Ops,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[tokio::test]
    async fn callers_are_admitted_from_this_machine_or_by_the_token() {
        let (open, closed) = (
            AdminGate::default(),
            AdminGate::of(TOKEN.as_bytes()).unwrap(),
        );
        let here = [127, 0, 0, 1];
        let there = [10, 0, 0, 1];
        let bearer = format!("Bearer {TOKEN}");
        for (gate, ip, sent, admitted) in [
            (&open, here, &[][..], true),
            (&open, there, &[], false),
            (&open, here, &[("x-forwarded-for", "10.0.0.1")], false),
            (&open, here, &[("forwarded", "for=10.0.0.1")], false),
            (&open, here, &[("origin", "http://evil.example")], false),
            (&open, here, &[("authorization", bearer.as_str())], false),
            (&closed, here, &[], true),
            (&closed, there, &[], false),
            (&closed, there, &[("authorization", &bearer)], true),
            (
                &closed,
                there,
                &[("authorization", "bearer 0123456789abcdef")],
                true,
            ),
            (
                &closed,
                there,
                &[("authorization", "Bearer 0123456789abcdeF")],
                false,
            ),
            (
                &closed,
                there,
                &[("authorization", "Bearer 0123456789abcde")],
                false,
            ),
            (&closed, there, &[("authorization", "Bearer")], false),
            (
                &closed,
                there,
                &[("authorization", "Basic 0123456789abcdef")],
                false,
            ),
            (&closed, here, &[("authorization", "Bearer no")], false),
        ] {
            let found = gate.admit(origin(ip), &headers(sent));
            assert_eq!(found.is_ok(), admitted, "{ip:?} {sent:?}");
            let Err(refusal) = found else { continue };
            assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
            let body = refusal.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert!(body["reason"].is_string() && body["advice"].is_string());
            assert!(!body.to_string().contains(TOKEN));
        }
    }

    #[test]
    fn a_token_is_long_enough_and_fits_in_a_header() {
        assert!(AdminGate::of(b" 0123456789abcdef\n").is_some());
        for bad in [
            &b""[..],
            b"short",
            b"0123456789 abcdef",
            b"0123456789abcde\xff",
        ] {
            assert!(AdminGate::of(bad).is_none(), "{bad:?}");
        }
        let missing = AdminGate::read(Some(Path::new("/no/such/file"))).unwrap_err();
        assert!(missing.to_string().contains("/no/such/file"));
        assert!(!format!("{:?}", AdminGate::of(TOKEN.as_bytes())).contains(TOKEN));
    }
}
