//! Channels: their configuration, and the paths that writes and reads take to the replicas.
//!
//! [`Channels`] is what exists; [`Writes`] turns a payload into a key, by way of a coordinator and
//! the accept rule; [`Reads`] turns a range into keys, by way of a read quorum and the stable
//! bound, also where there is one replica; [`Trimmer`] sees to it that a channel keeps no more items
//! than its configuration says; [`Archiver`] to it that what is over is in the archive;
//! [`Historical`] writes there what belongs into the past. Configuration ([`config`], [`name`]) and merging
//! ([`merge`]) are pure.

mod archiving;
mod cache;
pub mod config;
pub mod doc;
mod following;
mod historical;
pub mod merge;
pub mod name;
mod placement;
mod read;
mod registry;
mod repair;
mod retention;
mod service;
mod spoke_handle;
mod trimming;
mod walk;
mod write;

pub use archiving::{
    ArchiveError, ArchiveSettings, Archiver, ArchiverParts, State as ArchiveState, Storing, Sweep,
};
pub use historical::{Historical, HistoricalError, Place};
pub use placement::ChannelPlacement;
pub use read::{Epoch, Page, Query, QueryError, ReadSettings, Reads};
pub use registry::{Channel, ChannelError, Channels, is_name};
pub use repair::{Part, Repair, Warmed};
pub use service::ReplicaService;
pub use spoke_handle::LocalReplica;
pub use trimming::{TrimError, Trimmer};
pub use walk::{Walk, WalkError, WalkQuery};
pub use write::{InsertError, WriteSettings, Writes, is_full, keyed_write_id};
