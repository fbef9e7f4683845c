//! The messages as they are encoded. Numbers of fields are never used again for something else.

use bytes::Bytes;
use prost::Message;

/// What is said with every request, authenticated before anything else is looked at.
#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Head {
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    #[prost(string, tag = "2")]
    pub cluster: String,
    #[prost(string, tag = "3")]
    pub from: String,
    #[prost(uint64, tag = "4")]
    pub from_incarnation: u64,
    #[prost(string, tag = "5")]
    pub to: String,
    #[prost(uint64, optional, tag = "6")]
    pub to_incarnation: Option<u64>,
    #[prost(uint64, tag = "7")]
    pub ring_version: u64,
    /// Milliseconds since 1970, by the sender's clock.
    #[prost(sint64, tag = "8")]
    pub time: i64,
    /// 16 bytes, drawn by the sender for each member that it speaks to.
    #[prost(bytes = "bytes", tag = "9")]
    pub session: Bytes,
    /// Counts the requests of the session: with it, a nonce.
    #[prost(uint64, tag = "10")]
    pub counter: u64,
    /// The body's length without the code behind it.
    #[prost(uint64, tag = "11")]
    pub body: u64,
}

/// The first frame of every reply.
#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct ReplyHead {
    #[prost(string, tag = "1")]
    pub from: String,
    #[prost(uint64, tag = "2")]
    pub incarnation: u64,
    #[prost(sint64, tag = "3")]
    pub clock: i64,
    #[prost(uint64, tag = "4")]
    pub ring_version: u64,
    /// Why it refused; 0 if it did not.
    #[prost(uint32, tag = "5")]
    pub refused: u32,
    #[prost(string, tag = "6")]
    pub reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Channel {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Item {
    #[prost(bytes = "bytes", tag = "1")]
    pub write_id: Bytes,
    #[prost(bool, tag = "2")]
    pub keyed: bool,
    #[prost(string, optional, tag = "3")]
    pub content_type: Option<String>,
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// Empty: 0.
    #[prost(bytes = "bytes", tag = "5")]
    pub digest: Bytes,
    #[prost(bool, tag = "6")]
    pub staged: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Append {
    #[prost(message, optional, tag = "1")]
    pub channel: Option<Channel>,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    #[prost(bool, tag = "3")]
    pub committed: bool,
    #[prost(message, optional, tag = "4")]
    pub item: Option<Item>,
    #[prost(bytes = "bytes", tag = "15")]
    pub payload: Bytes,
}

/// An answer of several kinds: which fields mean something depends on `kind`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Answer {
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    #[prost(message, optional, tag = "3")]
    pub frontier: Option<FrontierAt>,
    #[prost(sint64, tag = "4")]
    pub clock: i64,
    #[prost(uint32, tag = "5")]
    pub reason: u32,
    #[prost(string, tag = "6")]
    pub text: String,
    #[prost(bool, tag = "7")]
    pub flag: bool,
    #[prost(message, optional, tag = "8")]
    pub item: Option<Item>,
    #[prost(bytes = "bytes", tag = "15")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct FrontierAt {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bool, tag = "2")]
    pub inclusive: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Stage {
    #[prost(bytes = "bytes", tag = "1")]
    pub write_id: Bytes,
    #[prost(bytes = "bytes", tag = "15")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Settle {
    #[prost(message, optional, tag = "1")]
    pub channel: Option<Channel>,
    #[prost(bytes = "bytes", tag = "2")]
    pub write_id: Bytes,
    /// Empty: none.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    #[prost(message, optional, tag = "4")]
    pub up_to: Option<FrontierAt>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Write {
    #[prost(message, optional, tag = "1")]
    pub channel: Option<Channel>,
    #[prost(message, optional, tag = "2")]
    pub item: Option<Item>,
    #[prost(sint64, tag = "3")]
    pub began: i64,
    #[prost(bool, tag = "4")]
    pub again: bool,
    #[prost(uint64, tag = "5")]
    pub patience: u64,
    #[prost(uint32, optional, tag = "6")]
    pub bulk: Option<u32>,
    #[prost(bytes = "bytes", tag = "15")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct ReportWanted {
    #[prost(message, optional, tag = "1")]
    pub channel: Option<Channel>,
    #[prost(bytes = "bytes", tag = "2")]
    pub from: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub to: Bytes,
    #[prost(bool, tag = "4")]
    pub descending: bool,
    #[prost(uint64, tag = "5")]
    pub limit: u64,
    #[prost(bool, tag = "6")]
    pub undecided: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Reported {
    #[prost(message, optional, tag = "1")]
    pub frontier: Option<FrontierAt>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub keys: Vec<Bytes>,
    /// Empty: to the end of the range.
    #[prost(bytes = "bytes", tag = "3")]
    pub complete_to: Bytes,
    #[prost(sint64, tag = "4")]
    pub holds_from: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Get {
    #[prost(message, optional, tag = "1")]
    pub channel: Option<Channel>,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Span {
    #[prost(sint64, tag = "1")]
    pub from: i64,
    #[prost(sint64, tag = "2")]
    pub to: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Digests {
    #[prost(message, repeated, tag = "1")]
    pub digests: Vec<DigestOf>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct DigestOf {
    #[prost(uint64, tag = "1")]
    pub channel: u64,
    #[prost(sint64, tag = "2")]
    pub minute: i64,
    #[prost(uint64, tag = "3")]
    pub items: u64,
    #[prost(fixed64, tag = "4")]
    pub hash: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Position {
    #[prost(uint64, tag = "1")]
    pub channel: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct InventoryWanted {
    #[prost(message, optional, tag = "1")]
    pub span: Option<Span>,
    #[prost(message, optional, tag = "2")]
    pub channel: Option<Channel>,
    #[prost(message, optional, tag = "3")]
    pub after: Option<Position>,
    #[prost(uint64, tag = "4")]
    pub limit: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Line {
    #[prost(uint64, tag = "1")]
    pub channel: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub write_id: Bytes,
    #[prost(bool, tag = "4")]
    pub undecided: bool,
    #[prost(string, repeated, tag = "5")]
    pub named: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Listed {
    #[prost(message, repeated, tag = "1")]
    pub lines: Vec<Line>,
    #[prost(bool, tag = "2")]
    pub more: bool,
    #[prost(sint64, tag = "3")]
    pub holds_from: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Fetch {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Position>,
}

/// One item of several that were fetched.
#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Fetched {
    #[prost(uint64, tag = "1")]
    pub channel: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    #[prost(bool, tag = "3")]
    pub pending: bool,
    #[prost(message, optional, tag = "4")]
    pub item: Option<Item>,
    #[prost(bytes = "bytes", tag = "15")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Vouch {
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    #[prost(uint64, tag = "2")]
    pub version: u64,
    #[prost(bool, tag = "3")]
    pub has_from: bool,
    #[prost(uint64, tag = "4")]
    pub revision: u64,
    #[prost(sint64, tag = "5")]
    pub clock: i64,
    #[prost(fixed64, tag = "6")]
    pub channels: u64,
    #[prost(sint64, tag = "7")]
    pub archived_to: i64,
}

/// A ring history in its stored form.
#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct History {
    #[prost(bytes = "bytes", tag = "15")]
    pub payload: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct KnownChannel {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint64, tag = "2")]
    pub id: u64,
    #[prost(uint64, tag = "3")]
    pub version: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::peer) struct Channels {
    #[prost(message, repeated, tag = "1")]
    pub channels: Vec<KnownChannel>,
    #[prost(message, repeated, tag = "2")]
    pub deleted: Vec<Channel>,
}
