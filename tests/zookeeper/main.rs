//! Coordination through a real ZooKeeper, which these tests start for themselves: Debian's package
//! `zookeeper`, on a free port, with a folder and a configuration of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and measure by the machine's clock"
)]

mod channels;
mod cluster;
mod harness;
mod members;
mod rings;
