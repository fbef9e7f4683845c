//! Real hub processes under faults, and what a client saw of them.
//!
//! [`hub::Hub`] is a hub process that can be started, stopped, killed and paused;
//! [`load`] writes to it and notes every answer in a [`history::History`]; [`survey`] reads back
//! all there is, in every way that a client can; and [`check`] says where the two do not agree
//! with what the hub promises. [`faults`] puts them together, a module for each fault, in two
//! sizes: a small one for `cargo test`, and the full one for the `rehearse` program.
//!
//! [`cluster::Cluster`] is several hubs and a real ZooKeeper, [`script`] the language in which it is
//! said what is done to them, and [`scenarios`] are to clusters what [`faults`] are to a hub alone.
//! The `hub-cluster` program (`make cluster`) runs one to try things on.
//!
//! What a run shows is what it did: a fault that never came, or a load that was never answered,
//! fails a run just as a lost item does.

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot go on has failed, and says so"
)]

pub mod address;
pub mod balancer;
pub mod check;
pub mod client;
pub mod cluster;
pub mod command;
pub mod disk;
pub mod failure;
pub mod faults;
pub mod folder;
pub mod history;
pub mod hub;
pub mod item;
pub mod latency;
pub mod load;
pub mod metrics;
pub mod network;
pub mod process;
pub mod random;
pub mod rings;
pub mod s3;
pub mod scenarios;
pub mod script;
pub mod skew;
pub mod storm;
pub mod survey;
pub mod wait;
pub mod zookeeper;
