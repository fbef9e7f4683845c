//! Hub: channels of immutable items, ordered by time, over HTTP.
//!
//! `ARCHITECTURE.md` says how the parts fit. A module depends on those above it in this list, not
//! on those below, except for [`cli`] and [`node`], which put everything together.

pub mod config;
pub mod env;
pub mod item;
pub mod metric;
pub mod spoke;
