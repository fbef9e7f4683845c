//! The API as OpenAPI 3.1.
//!
//! The document is a file, to be read and edited by hand. It is held to the code from three sides:
//! the tests here hold its paths and methods to the grammar, those of `tests/api/openapi` its
//! answers to a real hub's, and `tools/openapi.sh` sends a real hub what it allows.

use http::StatusCode;

use super::body::ReplyBody;
use super::reply::{self, JSON, Reply};

/// The document.
pub const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(super) fn document() -> Reply {
    let body = ReplyBody::Whole(DOCUMENT.as_bytes().into());
    reply::with_body(StatusCode::OK, JSON, body)
}

#[cfg(test)]
mod tests;
