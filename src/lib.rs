//! Hub: channels of immutable items, ordered by time, over HTTP.
//!
//! `ARCHITECTURE.md` says how the parts fit. A module depends on those above it in this list, not
//! on those below: `config`, `env`, `item`, `cluster`, `spoke`, `archive`, `channel`, `backup`, `http`, `peer`, `ops`. Only
//! [`node`] and [`cli`] know all of them, and [`metric`] is for everybody.

pub mod archive;
pub mod backup;
pub mod channel;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod env;
pub mod http;
pub mod item;
pub mod metric;
pub mod node;
pub mod ops;
pub mod peer;
pub mod spoke;
