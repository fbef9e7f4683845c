//! The HTTP edge: from bytes on a connection to a typed request, and back.
//!
//! [`grammar`], [`params`], [`negotiate`] and [`links`] are pure: a path is parsed in one place and
//! written in one place, and the two are held against each other. [`edge`] owns connections and
//! their limits. [`api`] is what every request goes through; `channels`, `items`, `historical` and `queries`
//! answer, and `root` and [`openapi`] say what there is to ask. Every error has one form, in
//! [`reply`].

pub mod api;
pub mod body;
mod bulk;
mod channels;
pub mod edge;
pub mod grammar;
mod historical;
mod items;
pub mod links;
pub mod multipart;
pub mod negotiate;
pub mod openapi;
pub mod params;
mod queries;
pub mod reply;
mod root;
mod tags;
pub mod traces;
