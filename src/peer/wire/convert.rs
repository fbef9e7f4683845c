//! Messages and what they mean: what several of them share, rings, channels, and questions about
//! writes.

use std::sync::Arc;

use bytes::Bytes;
use hub_ring::{HistoryMark, RingHistory};

use super::frame::{Frame, Malformed, message};
use super::messages as m;
use crate::cluster::{ChannelRecord, Incarnation, KnownChannels, Vouched};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey};
use crate::spoke::accept::Reason;
use crate::spoke::peers::{ChannelRef, SettleAnswer, SettleRequest};
use crate::spoke::{ChannelId, Stored, WriteError, WriteId};

pub(super) fn key_bytes(key: &ItemKey) -> Bytes {
    key.to_bytes().into()
}

pub(super) fn key(bytes: &[u8]) -> Result<ItemKey, Malformed> {
    ItemKey::from_bytes(bytes).ok_or(Malformed("not a key"))
}

pub(super) fn key_if_any(bytes: &[u8]) -> Result<Option<ItemKey>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    key(bytes).map(Some)
}

pub(super) fn frontier_at(frontier: &Frontier) -> m::FrontierAt {
    let key = frontier.key();
    m::FrontierAt {
        key: key_bytes(&key),
        inclusive: frontier.covers(&key),
    }
}

pub(super) fn frontier(at: Option<m::FrontierAt>) -> Result<Frontier, Malformed> {
    let at = at.ok_or(Malformed("a frontier is missing"))?;
    let key = key(&at.key)?;
    Ok(if at.inclusive {
        Frontier::up_to(key)
    } else {
        Frontier::below(key)
    })
}

pub(super) fn wide_bytes(number: u128) -> Bytes {
    if number == 0 {
        return Bytes::new();
    }
    Bytes::copy_from_slice(&number.to_be_bytes())
}

pub(super) fn wide(bytes: &[u8]) -> Result<u128, Malformed> {
    if bytes.is_empty() {
        return Ok(0);
    }
    let bytes = bytes
        .try_into()
        .map_err(|_| Malformed("not a number of 128 bits"))?;
    Ok(u128::from_be_bytes(bytes))
}

pub(super) fn write_id(bytes: &[u8]) -> Result<WriteId, Malformed> {
    wide(bytes).map(WriteId)
}

pub(super) fn channel_of(channel: &ChannelRef) -> m::Channel {
    m::Channel {
        id: channel.id.0,
        name: (*channel.name).to_owned(),
    }
}

pub(super) fn channel(channel: Option<m::Channel>) -> Result<ChannelRef, Malformed> {
    let channel = channel.ok_or(Malformed("a channel is missing"))?;
    Ok(ChannelRef {
        id: ChannelId(channel.id),
        name: channel.name.into(),
    })
}

pub(super) fn reason_code(reason: Reason) -> u32 {
    match reason {
        Reason::NotPlaced => 1,
        Reason::PastHorizon => 2,
        Reason::AheadOfClock => 3,
        Reason::OldChannel => 4,
        Reason::DiskFull => 5,
        Reason::Warming => 6,
        Reason::ClockOff => 7,
        Reason::NoPeer => 8,
        Reason::NoPayload => 9,
        Reason::TooLate => 10,
        Reason::Backlog => 11,
    }
}

/// `None`: of a later version.
pub(super) fn reason(code: u32) -> Option<Reason> {
    Some(match code {
        1 => Reason::NotPlaced,
        2 => Reason::PastHorizon,
        3 => Reason::AheadOfClock,
        4 => Reason::OldChannel,
        5 => Reason::DiskFull,
        6 => Reason::Warming,
        7 => Reason::ClockOff,
        8 => Reason::NoPeer,
        9 => Reason::NoPayload,
        10 => Reason::TooLate,
        11 => Reason::Backlog,
        _ => return None,
    })
}

pub(in crate::peer) fn encode_settle(request: &SettleRequest) -> Frame {
    Frame::of(&m::Settle {
        channel: Some(channel_of(&request.channel)),
        write_id: wide_bytes(request.write_id.0),
        key: request.key.as_ref().map(key_bytes).unwrap_or_default(),
        up_to: Some(frontier_at(&request.up_to)),
    })
}

pub(in crate::peer) fn decode_settle(bytes: Bytes) -> Result<SettleRequest, Malformed> {
    let settle: m::Settle = message(bytes)?;
    Ok(SettleRequest {
        channel: channel(settle.channel)?,
        write_id: write_id(&settle.write_id)?,
        key: key_if_any(&settle.key)?,
        up_to: frontier(settle.up_to)?,
    })
}

pub(in crate::peer) fn encode_settled(answer: SettleAnswer) -> Frame {
    let (kind, key) = match answer {
        SettleAnswer::Held(key) => (1, Some(key)),
        SettleAnswer::Pending(key) => (2, Some(key)),
        SettleAnswer::No => (3, None),
        SettleAnswer::NotFinal => (4, None),
    };
    Frame::of(&m::Answer {
        kind,
        key: key.as_ref().map(key_bytes).unwrap_or_default(),
        ..m::Answer::default()
    })
}

pub(in crate::peer) fn decode_settled(bytes: Bytes) -> Result<SettleAnswer, Malformed> {
    let answer: m::Answer = message(bytes)?;
    Ok(match answer.kind {
        1 => SettleAnswer::Held(key(&answer.key)?),
        2 => SettleAnswer::Pending(key(&answer.key)?),
        3 => SettleAnswer::No,
        // What a later version says beyond these promises nothing.
        _ => SettleAnswer::NotFinal,
    })
}

pub(in crate::peer) fn encode_written(outcome: Result<Stored, WriteError>) -> Frame {
    let plain = m::Answer::default();
    let answer = match outcome {
        Ok(stored) => m::Answer {
            kind: 1,
            key: key_bytes(&stored.key),
            flag: stored.repeated,
            ..plain
        },
        Err(error) => {
            let (kind, reason, text) = match error {
                WriteError::NotNow(reason) => (2, reason_code(reason), String::new()),
                WriteError::Full => (3, 0, String::new()),
                WriteError::NotOpen => (4, 0, String::new()),
                WriteError::NoRoomForKey => (5, 0, String::new()),
                WriteError::KeyReused => (6, 0, String::new()),
                WriteError::Unstorable(text) => (7, 0, text),
                WriteError::Unknown { reason } => (8, 0, reason),
            };
            m::Answer {
                kind,
                reason,
                text,
                ..plain
            }
        }
    };
    Frame::of(&answer)
}

pub(in crate::peer) fn decode_written(
    bytes: Bytes,
) -> Result<Result<Stored, WriteError>, Malformed> {
    let answer: m::Answer = message(bytes)?;
    let unknown = |reason: String| WriteError::Unknown { reason };
    Ok(Err(match answer.kind {
        1 => {
            return Ok(Ok(Stored {
                key: key(&answer.key)?,
                repeated: answer.flag,
            }));
        }
        2 => reason(answer.reason).map_or_else(
            || unknown(format!("refused for reason {}", answer.reason)),
            WriteError::NotNow,
        ),
        3 => WriteError::Full,
        4 => WriteError::NotOpen,
        5 => WriteError::NoRoomForKey,
        6 => WriteError::KeyReused,
        7 => WriteError::Unstorable(answer.text),
        8 => unknown(answer.text),
        other => unknown(format!("an outcome of kind {other}")),
    }))
}

pub(in crate::peer) fn encode_vouched(vouched: &Vouched) -> Frame {
    Frame::of(&m::Vouch {
        incarnation: vouched.incarnation.0,
        version: vouched.knows.version,
        has_from: vouched.knows.has_from,
        revision: vouched.knows.revision,
        clock: vouched.clock.get(),
        channels: vouched.channels,
        archived_to: vouched.archived_to.get(),
    })
}

pub(in crate::peer) fn decode_vouched(bytes: Bytes) -> Result<Vouched, Malformed> {
    let vouch: m::Vouch = message(bytes)?;
    Ok(Vouched {
        incarnation: Incarnation(vouch.incarnation),
        knows: HistoryMark {
            version: vouch.version,
            has_from: vouch.has_from,
            revision: vouch.revision,
        },
        clock: Millis::new(vouch.clock),
        channels: vouch.channels,
        archived_to: Millis::new(vouch.archived_to),
    })
}

pub(in crate::peer) fn encode_history(history: &RingHistory) -> Result<Frame, Malformed> {
    let stored = history
        .encode()
        .map_err(|_| Malformed("the ring history is too large"))?;
    Ok(Frame::with(&m::History::default(), stored.into()))
}

pub(in crate::peer) fn decode_history(bytes: Bytes) -> Result<Arc<RingHistory>, Malformed> {
    let history: m::History = message(bytes)?;
    RingHistory::decode(&history.payload)
        .map(Arc::new)
        .map_err(|_| Malformed("not a ring history"))
}

pub(in crate::peer) fn encode_channels(known: KnownChannels) -> Frame {
    let channel = |record: ChannelRecord| m::KnownChannel {
        name: record.name,
        id: record.id,
        version: record.version,
        data: record.data.into(),
    };
    let deleted = |(name, id)| m::Channel { id, name };
    Frame::of(&m::Channels {
        channels: known.channels.into_iter().map(channel).collect(),
        deleted: known.deleted.into_iter().map(deleted).collect(),
    })
}

pub(in crate::peer) fn decode_channels(bytes: Bytes) -> Result<KnownChannels, Malformed> {
    let known: m::Channels = message(bytes)?;
    let channel = |channel: m::KnownChannel| ChannelRecord {
        name: channel.name,
        id: channel.id,
        version: channel.version,
        data: channel.data.into(),
    };
    Ok(KnownChannels {
        channels: known.channels.into_iter().map(channel).collect(),
        deleted: known.deleted.into_iter().map(|c| (c.name, c.id)).collect(),
    })
}
