//! Names and contents of the nodes in ZooKeeper.

use hub_ring::{Member, RingHistory};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;
use zookeeper_client::{Error, Stat};

use super::super::coordination::{
    ChannelRecord, CoordinationError, Incarnation, MemberRecord, Tombstone, VersionedRings,
};
use crate::env::Millis;

pub(super) const MEMBERS: &str = "/members";
pub(super) const CONFIRM: &str = "/confirm";
pub(super) const RINGS: &str = "/rings";
pub(super) const CHANNELS: &str = "/channels";
pub(super) const DOCS: &str = "/docs";
pub(super) const DELETED: &str = "/deleted";
/// Deleted channels, by their numbers, of which the archive may still have something.
pub(super) const LEFT: &str = "/left";
/// When the cluster was first seen in this ZooKeeper: what its counts begin at.
pub(super) const EPOCH: &str = "/epoch";
/// Which archive the members write to.
pub(super) const ARCHIVE: &str = "/archive";
/// What is being restored; there only while that lasts.
pub(super) const RESTORING: &str = "/restoring";
pub(super) const LOCKS: &str = "/locks";
pub(super) const KEEPER: &str = "/locks/keeper";
/// Who is about to leave.
pub(super) const SHUTDOWN: &str = "/locks/shutdown";

/// The folders that every cluster has.
pub(super) const FOLDERS: [&str; 7] = [MEMBERS, CONFIRM, CHANNELS, DOCS, DELETED, LEFT, LOCKS];

pub(super) fn member(member: &Member) -> String {
    format!("{MEMBERS}/{member}")
}

pub(super) fn confirm(member: &Member) -> String {
    format!("{CONFIRM}/{member}")
}

/// The folder of a channel's node: one flat folder of 100,000 names does not fit one answer.
pub(super) fn shard(folder: &str, name: &str) -> String {
    format!("{folder}/{:02x}", xxh3_64(name.as_bytes()) & 0xff)
}

/// The node of a channel, by its name in lower case.
pub(super) fn sharded(folder: &str, name: &str) -> String {
    format!("{}/{name}", shard(folder, name))
}

/// The node of a deleted channel, by its number.
pub(super) fn left(id: u64) -> String {
    sharded(LEFT, &left_name(id))
}

/// What it is called in its folder.
pub(super) fn left_name(id: u64) -> String {
    format!("{id:016x}")
}

/// The name in the path of a channel's node; `None` for folders.
pub(super) fn name_in(path: &str) -> Option<&str> {
    let (_, name) = path
        .strip_prefix(CHANNELS)?
        .strip_prefix('/')?
        .split_once('/')?;
    Some(name)
}

/// What a member's node holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Registered {
    /// The run that wrote it, as 32 hexadecimal digits.
    pub(super) run: String,
    /// The record; its incarnation is 0 where the czxid of the node says it.
    pub(super) record: MemberRecord,
}

impl Registered {
    /// Reads a member's node.
    pub(super) fn read(data: &[u8], stat: &Stat, base: Base) -> Result<Self, serde_json::Error> {
        let mut read: Self = serde_json::from_slice(data)?;
        if read.record.incarnation == Incarnation(0) {
            read.record.incarnation = Incarnation(base.number(stat.czxid));
        }
        Ok(read)
    }
}

/// What the numbers of runs and channels begin at.
///
/// They are the order in which ZooKeeper created nodes (the czxid), and that begins again when its
/// data is lost, though members still hold items by the old numbers. So the time at which the
/// cluster was first seen in this ZooKeeper goes before it: a later one has greater numbers, as long
/// as there were fewer than a million writes a millisecond and an election every four seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Base(u64);

impl Base {
    /// Reads the time that the cluster's node holds (UTC milliseconds, as digits).
    pub(super) fn read(data: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(data).map_err(Failure::unreadable)?;
        let millis: u64 = text.parse().map_err(Failure::unreadable)?;
        Ok(Self(millis << 20))
    }

    /// The number of what was created by that transaction.
    pub(super) fn number(self, czxid: i64) -> u64 {
        self.0.saturating_add(number(czxid))
    }
}

/// A count of ZooKeeper's; they are not negative.
pub(super) fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// The version of a node that was read, in ZooKeeper's own terms; `None` if it cannot be one.
pub(super) fn version(expected: u64) -> Result<i32, CoordinationError> {
    i32::try_from(expected).map_err(|_| CoordinationError::Conflict)
}

/// What the node of a restored channel begins with; its number comes next, in 8 bytes. No
/// configuration begins so.
const RESTORED: u8 = 0;
/// How long that is.
const RESTORED_LEN: usize = 9;

/// What the node of a channel holds that has a number of its own, and not the one of its node.
pub(super) fn restored(id: u64, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(RESTORED_LEN + data.len());
    out.push(RESTORED);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(data);
    out
}

/// The number of a restored channel, out of what its node holds.
pub(super) fn restored_id(data: &[u8]) -> Option<u64> {
    let id = data.strip_prefix(&[RESTORED])?.first_chunk()?;
    Some(u64::from_be_bytes(*id))
}

/// The number of a channel.
pub(super) fn channel_id(data: &[u8], stat: &Stat, base: Base) -> u64 {
    restored_id(data).unwrap_or_else(|| base.number(stat.czxid))
}

pub(super) fn channel(name: &str, mut data: Vec<u8>, stat: &Stat, base: Base) -> ChannelRecord {
    let id = channel_id(&data, stat, base);
    if restored_id(&data).is_some() {
        data.drain(..RESTORED_LEN);
    }
    ChannelRecord {
        name: name.to_owned(),
        id,
        version: number(stat.version.into()),
        data,
    }
}

pub(super) fn rings(data: &[u8], stat: &Stat) -> Result<VersionedRings, Failure> {
    let history = if data.is_empty() {
        RingHistory::new()
    } else {
        RingHistory::decode(data).map_err(Failure::unreadable)?
    };
    Ok(VersionedRings {
        version: number(stat.version.into()),
        history: history.into(),
    })
}

/// What a deleted channel's node holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Deleted {
    pub(super) id: u64,
    pub(super) at: i64,
}

impl Deleted {
    pub(super) fn read(data: &[u8], stat: &Stat) -> Result<Tombstone, Failure> {
        let read: Self = serde_json::from_slice(data).map_err(Failure::unreadable)?;
        Ok(Tombstone {
            id: read.id,
            deleted: Millis::new(read.at),
            version: number(stat.version.into()),
        })
    }
}

/// Why something was not done in ZooKeeper.
#[derive(Debug)]
pub(super) enum Failure {
    /// ZooKeeper or the connection to it.
    ZooKeeper(Error),
    /// What it means here.
    Meant(CoordinationError),
}

impl Failure {
    pub(super) fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::Meant(CoordinationError::Unavailable {
            reason: format!("what ZooKeeper holds cannot be read: {error}"),
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::ZooKeeper(error)
    }
}

impl From<CoordinationError> for Failure {
    fn from(error: CoordinationError) -> Self {
        Self::Meant(error)
    }
}

impl From<zookeeper_client::MultiWriteError> for Failure {
    fn from(error: zookeeper_client::MultiWriteError) -> Self {
        Self::ZooKeeper(error.into())
    }
}

impl From<Failure> for CoordinationError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Meant(error) => error,
            Failure::ZooKeeper(Error::NoNode) => Self::Missing,
            Failure::ZooKeeper(Error::NodeExists) => Self::Exists,
            Failure::ZooKeeper(Error::BadVersion | Error::RuntimeInconsistent) => Self::Conflict,
            Failure::ZooKeeper(error) => Self::Unavailable {
                reason: format!("ZooKeeper: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_spread_over_folders_for_ever_in_the_same_way() {
        assert_eq!(sharded(CHANNELS, "clicks"), "/channels/a7/clicks");
        assert_eq!(sharded(DOCS, "clicks"), "/docs/a7/clicks");
        assert_eq!(name_in("/channels/a7/clicks"), Some("clicks"));
        assert_eq!(name_in("/channels/a7"), None);
        assert_eq!(name_in("/channels"), None);
    }

    #[test]
    fn a_restored_channel_keeps_its_number() {
        let data = restored(0x1f, b"{}");
        assert_eq!(restored_id(&data), Some(0x1f));
        assert_eq!(&data[RESTORED_LEN..], b"{}");
        assert_eq!(restored_id(b"{}"), None);
        assert_eq!(restored_id(&data[..8]), None);
    }

    #[test]
    fn numbers_grow_though_zookeeper_is_replaced() {
        let lost = Base::read(b"1795000000000").unwrap();
        let found = Base::read(b"1795086400000").unwrap();
        let elections = 10_000;
        assert!(lost.number(5) < lost.number(6));
        assert!(lost.number((elections << 32) + 1_000_000) < found.number(1));
        assert!(Base::read(b"").is_err());
    }
}
