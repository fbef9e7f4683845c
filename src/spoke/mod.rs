//! Spoke, the short-term store: the segmented log on a node's disk, and the rule by which a
//! replica accepts items into it.
//!
//! Items are immutable, arrive almost in key order, are read by key or by range, and expire
//! together. The store is shaped by that: a segment per minute, appended to by one thread, indexed
//! once when it is sealed, and unlinked whole; nothing is written twice. `docs/spoke-format.md`
//! draws the files byte by byte.
//!
//! What it guarantees: an append that was answered "stored" is found by every later read and, with
//! `fsync`, survives a power loss; a damaged record is reported as damage, never as an item that
//! does not exist; opening never loses an intact record. What it does not: decide which keys may
//! be written. That is the accept rule's business, in `accept`, and `replica` applies it.

pub mod accept;
mod batch;
mod bulk;
mod clockfile;
mod damage;
mod dedup;
mod directory;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod housekeeping;
mod ids;
mod index;
mod large;
mod log;
mod logstore;
mod memory;
pub mod peers;
mod query;
mod queue;
mod record;
mod recover;
mod replay;
mod replica;
mod scan;
mod segment;
mod several;
mod store;
mod writer;

pub use directory::Direction;
#[doc(hidden)]
pub use files::sim;
pub use files::{DiskFolder, Files, LogFile, Room};
pub use header::StoreId;
pub use housekeeping::{Keeps, Retention};
pub use ids::{ChannelId, SegmentId, WriteId};
pub use index::{Entry, ReadMode};
pub use large::LargePayload;
pub use log::{Durability, Options};
pub use logstore::LogStore;
pub use memory::MemoryStore;
pub use peers::Report;
pub use record::{ItemFlags, ItemHead, Malformed};
pub use recover::OpenError;
pub use replica::{
    Archived, EarlierSet, KeyPlacement, Offered, Replica, ReplicaSettings, Stored, Vote, Write,
    WriteError,
};
pub use store::{
    Append, AppendError, Done, Naming, RECALL, Range, ReadError, Removal, SpokeStore, StoreStatus,
    StoredItem, StoredPayload, Undecided,
};

#[cfg(test)]
mod tests;
