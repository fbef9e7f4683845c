//! The contract of the HTTP API, asked of a real hub.
//!
//! Each module has a theme; most of what it says stands in tables. Tests wait for conditions and
//! never for times, so a slow machine makes them slow and not wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test fails by a panic, says why on standard error, and takes the time as it is"
)]

mod harness;

mod agreement;
mod bulk;
mod channel_rules;
mod channels;
mod cli;
mod coding;
mod contents;
mod contract;
mod conventions;
mod dates;
mod documents;
mod edges;
mod forwarded;
mod historical;
mod idempotency;
mod inserts;
mod internal;
mod items;
mod large;
mod life;
mod limits;
mod neighbours;
mod openapi;
mod ordering;
mod parameters;
mod periods;
mod read_only;
mod retention;
mod root;
mod seconds;
mod spelling;
mod stable;
mod startup;
mod tags;
mod times;
mod tls;
mod tour;
mod upkeep;
