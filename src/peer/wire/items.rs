//! Messages and what they mean: items, ranges and what repair compares.

use bytes::Bytes;
use hub_ring::Member;

use super::convert::{
    channel, channel_of, frontier, frontier_at, key, key_bytes, key_if_any, reason, reason_code,
    wide, wide_bytes, write_id,
};
use super::frame::{Frame, Malformed, message};
use super::messages as m;
use crate::env::Millis;
use crate::item::ItemKey;
use crate::spoke::peers::{
    AppendAnswer, AppendRequest, ChannelRef, Digest, GetAnswer, Inventory, InventoryLine,
    InventoryRequest, ItemBody, PeerItem, PeerPayload, Report, ReportRequest, WriteRequest,
};
use crate::spoke::{ChannelId, Direction, WriteId};

/// What is said of an item, and its payload.
fn item_of(body: ItemBody) -> (m::Item, Bytes) {
    let (staged, payload) = match body.payload {
        PeerPayload::Inline(payload) => (false, payload),
        PeerPayload::Staged => (true, Bytes::new()),
    };
    let item = m::Item {
        write_id: wide_bytes(body.write_id.0),
        keyed: body.keyed,
        content_type: body.content_type,
        size: body.size,
        digest: wide_bytes(body.digest),
        staged,
    };
    (item, payload)
}

fn body(item: Option<m::Item>, payload: Bytes) -> Result<ItemBody, Malformed> {
    let item = item.ok_or(Malformed("an item is missing"))?;
    Ok(ItemBody {
        write_id: write_id(&item.write_id)?,
        keyed: item.keyed,
        content_type: item.content_type,
        size: item.size,
        digest: wide(&item.digest)?,
        payload: if item.staged {
            PeerPayload::Staged
        } else {
            PeerPayload::Inline(payload)
        },
    })
}

pub(in crate::peer) fn encode_append(request: AppendRequest) -> Frame {
    let (item, payload) = item_of(request.body);
    let append = m::Append {
        channel: Some(channel_of(&request.channel)),
        key: key_bytes(&request.key),
        committed: request.committed,
        item: Some(item),
        payload: Bytes::new(),
    };
    Frame::with(&append, payload)
}

pub(in crate::peer) fn decode_append(bytes: Bytes) -> Result<AppendRequest, Malformed> {
    let append: m::Append = message(bytes)?;
    Ok(AppendRequest {
        channel: channel(append.channel)?,
        key: key(&append.key)?,
        committed: append.committed,
        body: body(append.item, append.payload)?,
    })
}

pub(in crate::peer) fn encode_appended(answer: AppendAnswer) -> Frame {
    let plain = m::Answer::default();
    Frame::of(&match answer {
        AppendAnswer::Stored => m::Answer { kind: 1, ..plain },
        AppendAnswer::Duplicate(key) => m::Answer {
            kind: 2,
            key: key_bytes(&key),
            ..plain
        },
        AppendAnswer::Covered {
            frontier,
            clock,
            higher,
        } => m::Answer {
            kind: 3,
            frontier: Some(frontier_at(&frontier)),
            clock: clock.get(),
            key: higher.as_ref().map(key_bytes).unwrap_or_default(),
            ..plain
        },
        AppendAnswer::NotNow(reason) => m::Answer {
            kind: 4,
            reason: reason_code(reason),
            ..plain
        },
        AppendAnswer::Busy => m::Answer { kind: 5, ..plain },
        AppendAnswer::Unknown(text) => m::Answer {
            kind: 6,
            text,
            ..plain
        },
    })
}

pub(in crate::peer) fn decode_appended(bytes: Bytes) -> Result<AppendAnswer, Malformed> {
    let answer: m::Answer = message(bytes)?;
    Ok(match answer.kind {
        1 => AppendAnswer::Stored,
        2 => AppendAnswer::Duplicate(key(&answer.key)?),
        3 => AppendAnswer::Covered {
            frontier: frontier(answer.frontier)?,
            clock: Millis::new(answer.clock),
            higher: key_if_any(&answer.key)?,
        },
        4 => reason(answer.reason).map_or_else(
            || AppendAnswer::Unknown(format!("refused for reason {}", answer.reason)),
            AppendAnswer::NotNow,
        ),
        5 => AppendAnswer::Busy,
        6 => AppendAnswer::Unknown(answer.text),
        // What a later version says beyond these proves nothing.
        other => AppendAnswer::Unknown(format!("an answer of kind {other}")),
    })
}

pub(in crate::peer) fn encode_stage(write_id: WriteId, payload: Bytes) -> Frame {
    let stage = m::Stage {
        write_id: wide_bytes(write_id.0),
        payload: Bytes::new(),
    };
    Frame::with(&stage, payload)
}

pub(in crate::peer) fn decode_stage(bytes: Bytes) -> Result<(WriteId, Bytes), Malformed> {
    let stage: m::Stage = message(bytes)?;
    Ok((write_id(&stage.write_id)?, stage.payload))
}

pub(in crate::peer) fn encode_write(request: WriteRequest) -> Frame {
    let (item, payload) = item_of(request.body);
    let write = m::Write {
        channel: Some(channel_of(&request.channel)),
        item: Some(item),
        bulk: request.bulk,
        began: request.began.get(),
        again: request.again,
        patience: request.patience,
        payload: Bytes::new(),
    };
    Frame::with(&write, payload)
}

pub(in crate::peer) fn decode_write(bytes: Bytes) -> Result<WriteRequest, Malformed> {
    let write: m::Write = message(bytes)?;
    Ok(WriteRequest {
        channel: channel(write.channel)?,
        body: body(write.item, write.payload)?,
        bulk: write.bulk,
        began: Millis::new(write.began),
        again: write.again,
        patience: write.patience,
    })
}

fn number(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

pub(in crate::peer) fn encode_report_request(request: &ReportRequest) -> Frame {
    Frame::of(&m::ReportWanted {
        channel: Some(channel_of(&request.channel)),
        from: key_bytes(&request.from),
        to: key_bytes(&request.to),
        descending: request.direction == Direction::Descending,
        limit: request.limit as u64,
        undecided: request.undecided,
    })
}

pub(in crate::peer) fn decode_report_request(bytes: Bytes) -> Result<ReportRequest, Malformed> {
    let wanted: m::ReportWanted = message(bytes)?;
    Ok(ReportRequest {
        channel: channel(wanted.channel)?,
        from: key(&wanted.from)?,
        to: key(&wanted.to)?,
        direction: if wanted.descending {
            Direction::Descending
        } else {
            Direction::Ascending
        },
        limit: number(wanted.limit),
        undecided: wanted.undecided,
    })
}

pub(in crate::peer) fn encode_report(report: &Report) -> Frame {
    Frame::of(&m::Reported {
        frontier: Some(frontier_at(&report.frontier)),
        keys: report.keys.iter().map(key_bytes).collect(),
        complete_to: report
            .complete_to
            .as_ref()
            .map(key_bytes)
            .unwrap_or_default(),
        holds_from: report.holds_from.get(),
    })
}

pub(in crate::peer) fn decode_report(bytes: Bytes) -> Result<Report, Malformed> {
    let reported: m::Reported = message(bytes)?;
    Ok(Report {
        frontier: frontier(reported.frontier)?,
        keys: reported
            .keys
            .iter()
            .map(|bytes| key(bytes))
            .collect::<Result<_, _>>()?,
        complete_to: key_if_any(&reported.complete_to)?,
        holds_from: Millis::new(reported.holds_from),
    })
}

pub(in crate::peer) fn encode_get(channel: &ChannelRef, key: &ItemKey) -> Frame {
    Frame::of(&m::Get {
        channel: Some(channel_of(channel)),
        key: key_bytes(key),
    })
}

pub(in crate::peer) fn decode_get(bytes: Bytes) -> Result<(ChannelRef, ItemKey), Malformed> {
    let get: m::Get = message(bytes)?;
    Ok((channel(get.channel)?, key(&get.key)?))
}

pub(in crate::peer) fn encode_got(answer: GetAnswer) -> Frame {
    let plain = m::Answer::default();
    let answer = match answer {
        GetAnswer::Found(item) => {
            let (key, flag) = (key_bytes(&item.key), item.pending);
            let (item, payload) = item_of(item.body);
            let found = m::Answer {
                kind: 1,
                key,
                flag,
                item: Some(item),
                ..plain
            };
            return Frame::with(&found, payload);
        }
        GetAnswer::No => m::Answer { kind: 2, ..plain },
        GetAnswer::Evicted => m::Answer { kind: 3, ..plain },
        GetAnswer::Unknown(text) => m::Answer {
            kind: 4,
            text,
            ..plain
        },
    };
    Frame::of(&answer)
}

pub(in crate::peer) fn decode_got(bytes: Bytes) -> Result<GetAnswer, Malformed> {
    let answer: m::Answer = message(bytes)?;
    Ok(match answer.kind {
        1 => GetAnswer::Found(PeerItem {
            key: key(&answer.key)?,
            pending: answer.flag,
            body: body(answer.item, answer.payload)?,
        }),
        2 => GetAnswer::No,
        3 => GetAnswer::Evicted,
        4 => GetAnswer::Unknown(answer.text),
        other => GetAnswer::Unknown(format!("an answer of kind {other}")),
    })
}

pub(in crate::peer) fn encode_digests_range(from: Millis, to: Millis) -> Frame {
    Frame::of(&m::Span {
        from: from.get(),
        to: to.get(),
    })
}

pub(in crate::peer) fn decode_digests_range(bytes: Bytes) -> Result<(Millis, Millis), Malformed> {
    let span: m::Span = message(bytes)?;
    Ok((Millis::new(span.from), Millis::new(span.to)))
}

pub(in crate::peer) fn encode_digests(digests: &[Digest]) -> Frame {
    let digests = digests.iter().map(|digest| m::DigestOf {
        channel: digest.channel.0,
        minute: digest.minute.get(),
        items: digest.items,
        hash: digest.hash,
    });
    Frame::of(&m::Digests {
        digests: digests.collect(),
    })
}

pub(in crate::peer) fn decode_digests(bytes: Bytes) -> Result<Vec<Digest>, Malformed> {
    let digests: m::Digests = message(bytes)?;
    let digests = digests.digests.into_iter().map(|digest| Digest {
        channel: ChannelId(digest.channel),
        minute: Millis::new(digest.minute),
        items: digest.items,
        hash: digest.hash,
    });
    Ok(digests.collect())
}

pub(in crate::peer) fn encode_inventory_request(request: &InventoryRequest) -> Frame {
    let after = request.after.as_ref().map(|(channel, key)| m::Position {
        channel: channel.0,
        key: key_bytes(key),
    });
    Frame::of(&m::InventoryWanted {
        span: Some(m::Span {
            from: request.from.get(),
            to: request.to.get(),
        }),
        channel: request.channel.as_ref().map(channel_of),
        after,
        limit: request.limit as u64,
    })
}

pub(in crate::peer) fn decode_inventory_request(
    bytes: Bytes,
) -> Result<InventoryRequest, Malformed> {
    let wanted: m::InventoryWanted = message(bytes)?;
    let span = wanted.span.ok_or(Malformed("a range is missing"))?;
    let after = match wanted.after {
        Some(position) => Some((ChannelId(position.channel), key(&position.key)?)),
        None => None,
    };
    Ok(InventoryRequest {
        from: Millis::new(span.from),
        to: Millis::new(span.to),
        channel: match wanted.channel {
            None => None,
            some => Some(channel(some)?),
        },
        after,
        limit: number(wanted.limit),
    })
}

pub(in crate::peer) fn encode_inventory(inventory: &Inventory) -> Frame {
    let names = |named: &[Member]| named.iter().map(|m| m.as_str().to_owned()).collect();
    let lines = inventory.lines.iter().map(|line| m::Line {
        channel: line.channel.0,
        key: key_bytes(&line.key),
        write_id: wide_bytes(line.write_id.0),
        undecided: line.named.is_some(),
        named: line.named.as_deref().map(names).unwrap_or_default(),
    });
    Frame::of(&m::Listed {
        lines: lines.collect(),
        more: inventory.more,
        holds_from: inventory.holds_from.get(),
    })
}

pub(in crate::peer) fn decode_inventory(bytes: Bytes) -> Result<Inventory, Malformed> {
    let lines: m::Listed = message(bytes)?;
    let line = |line: m::Line| {
        let member = |name: &String| Member::new(name).map_err(|_| Malformed("not a member"));
        let named: Vec<_> = line.named.iter().map(member).collect::<Result<_, _>>()?;
        Ok(InventoryLine {
            channel: ChannelId(line.channel),
            key: key(&line.key)?,
            write_id: write_id(&line.write_id)?,
            named: line.undecided.then_some(named),
        })
    };
    Ok(Inventory {
        lines: lines
            .lines
            .into_iter()
            .map(line)
            .collect::<Result<_, _>>()?,
        more: lines.more,
        holds_from: Millis::new(lines.holds_from),
    })
}

pub(in crate::peer) fn encode_fetch(items: &[(ChannelId, ItemKey)]) -> Frame {
    let items = items.iter().map(|(channel, key)| m::Position {
        channel: channel.0,
        key: key_bytes(key),
    });
    Frame::of(&m::Fetch {
        items: items.collect(),
    })
}

pub(in crate::peer) fn decode_fetch(bytes: Bytes) -> Result<Vec<(ChannelId, ItemKey)>, Malformed> {
    let fetch: m::Fetch = message(bytes)?;
    fetch
        .items
        .iter()
        .map(|position| Ok((ChannelId(position.channel), key(&position.key)?)))
        .collect()
}

pub(in crate::peer) fn encode_fetched(channel: ChannelId, item: PeerItem) -> Frame {
    let (key, pending) = (key_bytes(&item.key), item.pending);
    let (item, payload) = item_of(item.body);
    let fetched = m::Fetched {
        channel: channel.0,
        key,
        pending,
        item: Some(item),
        payload: Bytes::new(),
    };
    Frame::with(&fetched, payload)
}

pub(in crate::peer) fn decode_fetched(bytes: Bytes) -> Result<(ChannelId, PeerItem), Malformed> {
    let fetched: m::Fetched = message(bytes)?;
    let item = PeerItem {
        key: key(&fetched.key)?,
        pending: fetched.pending,
        body: body(fetched.item, fetched.payload)?,
    };
    Ok((ChannelId(fetched.channel), item))
}
