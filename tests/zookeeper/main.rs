//! Coordination through a real ZooKeeper, which these tests start for themselves: Debian's package
//! `zookeeper`, on a free port, with a folder and a configuration of its own.

mod channels;
mod cluster;
mod harness;
mod members;
mod rings;
