use std::fmt::Debug;

use bytes::Bytes;
use hub_ring::{HistoryMark, Member};
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::*;
use crate::cluster::{ChannelRecord, Incarnation, KnownChannels, Vouched};
use crate::env::Millis;
use crate::item::{Frontier, ItemKey, Suffix};
use crate::spoke::accept::Reason;
use crate::spoke::peers::{
    AppendAnswer, AppendRequest, ChannelRef, Digest, GetAnswer, Inventory, InventoryLine,
    InventoryRequest, ItemBody, PeerItem, PeerPayload, Report, ReportRequest, SettleAnswer,
    SettleRequest, WriteRequest,
};
use crate::spoke::{ChannelId, Direction, Stored, WriteError, WriteId};

fn millis() -> impl Strategy<Value = Millis> {
    any::<i64>().prop_map(Millis::new)
}

fn key() -> impl Strategy<Value = ItemKey> {
    let key = (millis(), "[0-9A-Za-z]{0,31}").prop_map(|(millis, suffix)| {
        let suffix = Suffix::parse(&suffix).unwrap_or(Suffix::EMPTY);
        ItemKey::new(millis, suffix)
    });
    (key, 0u32..3).prop_map(|(key, count)| key.bulk(count).unwrap_or(key))
}

fn frontier() -> impl Strategy<Value = Frontier> {
    (key(), any::<bool>()).prop_map(|(key, inclusive)| {
        if inclusive {
            Frontier::up_to(key)
        } else {
            Frontier::below(key)
        }
    })
}

fn channel() -> impl Strategy<Value = ChannelRef> {
    (any::<u64>(), ".{0,20}").prop_map(|(id, name)| ChannelRef {
        id: ChannelId(id),
        name: name.into(),
    })
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from),
        // On both sides of the size from which it is not copied.
        1 => (16_380_usize..16_390).prop_map(|length| vec![7; length].into()),
    ]
}

fn body(staged: bool) -> BoxedStrategy<ItemBody> {
    let payload = if staged {
        prop_oneof![
            payload().prop_map(PeerPayload::Inline),
            Just(PeerPayload::Staged)
        ]
        .boxed()
    } else {
        payload().prop_map(PeerPayload::Inline).boxed()
    };
    let numbers = (any::<u128>(), any::<bool>(), any::<u64>(), any::<u128>());
    (numbers, prop::option::of(".{0,20}"), payload)
        .prop_map(
            |((id, keyed, size, digest), content_type, payload)| ItemBody {
                write_id: WriteId(id),
                keyed,
                content_type,
                size,
                digest,
                payload,
            },
        )
        .boxed()
}

fn item() -> impl Strategy<Value = PeerItem> {
    (key(), any::<bool>(), body(false)).prop_map(|(key, pending, body)| PeerItem {
        key,
        pending,
        body,
    })
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::NotPlaced),
        Just(Reason::PastHorizon),
        Just(Reason::AheadOfClock),
        Just(Reason::OldChannel),
        Just(Reason::DiskFull),
        Just(Reason::Warming),
        Just(Reason::ClockOff),
        Just(Reason::NoPeer),
        Just(Reason::NoPayload),
        Just(Reason::TooLate),
        Just(Reason::Backlog),
    ]
}

fn appended() -> impl Strategy<Value = AppendAnswer> {
    let covered = (frontier(), millis(), prop::option::of(key()));
    prop_oneof![
        Just(AppendAnswer::Stored),
        key().prop_map(AppendAnswer::Duplicate),
        covered.prop_map(|(frontier, clock, higher)| AppendAnswer::Covered {
            frontier,
            clock,
            higher
        }),
        reason().prop_map(AppendAnswer::NotNow),
        Just(AppendAnswer::Busy),
        ".{0,20}".prop_map(AppendAnswer::Unknown),
    ]
}

fn written() -> impl Strategy<Value = Result<Stored, WriteError>> {
    prop_oneof![
        (key(), any::<bool>()).prop_map(|(key, repeated)| Ok(Stored { key, repeated })),
        reason().prop_map(|reason| Err(WriteError::NotNow(reason))),
        Just(Err(WriteError::Full)),
        Just(Err(WriteError::NotOpen)),
        Just(Err(WriteError::NoRoomForKey)),
        Just(Err(WriteError::KeyReused)),
        ".{0,20}".prop_map(|text| Err(WriteError::Unstorable(text))),
        ".{0,20}".prop_map(|reason| Err(WriteError::Unknown { reason })),
    ]
}

fn position() -> impl Strategy<Value = (ChannelId, ItemKey)> {
    (any::<u64>().prop_map(ChannelId), key())
}

/// What a frame holds once it has been sent.
fn sent(frame: Frame) -> Bytes {
    let length = frame.len();
    let mut body = vec![VERSION];
    for piece in frame.pieces() {
        body.extend_from_slice(&piece);
    }
    assert_eq!(body.len(), length + 1);
    let mut frames = frames(body.into()).unwrap();
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

fn comes_back<T: PartialEq + Debug>(
    value: &T,
    frame: Frame,
    decode: impl Fn(Bytes) -> Result<T, Malformed>,
) {
    let bytes = sent(frame);
    assert_eq!(decode(bytes.clone()).as_ref(), Ok(value));
    // Whatever is cut off or changed, reading it ends well.
    for at in 0..bytes.len().min(200) {
        let _ = decode(bytes.slice(..at));
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        let _ = decode(changed.into());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn appends_and_their_answers_come_back(
        channel in channel(), key in key(), committed: bool, body in body(true),
        answer in appended(),
    ) {
        let request = AppendRequest { channel, key, committed, body };
        comes_back(&request, encode_append(request.clone()), decode_append);
        comes_back(&answer, encode_appended(answer.clone()), decode_appended);
    }

    #[test]
    fn writes_and_their_outcomes_come_back(
        channel in channel(), body in body(false), began in millis(), again: bool, patience: u64,
        outcome in written(), id: u128, payload in payload(), bulk: Option<u32>,
    ) {
        let request = WriteRequest { channel, body, bulk, began, again, patience };
        comes_back(&request, encode_write(request.clone()), decode_write);
        comes_back(&outcome, encode_written(outcome.clone()), decode_written);
        let stage = (WriteId(id), payload.clone());
        comes_back(&stage, encode_stage(stage.0, payload), decode_stage);
    }

    #[test]
    fn questions_about_writes_come_back(
        channel in channel(), id: u128, own in prop::option::of(key()), up_to in frontier(),
        held in key(),
    ) {
        let request = SettleRequest { channel, write_id: WriteId(id), key: own, up_to };
        comes_back(&request, encode_settle(&request), decode_settle);
        for answer in [
            SettleAnswer::Held(held),
            SettleAnswer::Pending(held),
            SettleAnswer::No,
            SettleAnswer::NotFinal,
        ] {
            comes_back(&answer, encode_settled(answer), decode_settled);
        }
    }

    #[test]
    fn ranges_come_back(
        channel in channel(), from in key(), to in key(), descending: bool, limit: usize,
        undecided: bool, keys in prop::collection::vec(key(), 0..20), complete_to in prop::option::of(key()),
        frontier in frontier(), holds_from in millis(),
    ) {
        let direction = if descending { Direction::Descending } else { Direction::Ascending };
        let request = ReportRequest { channel, from, to, direction, limit, undecided };
        comes_back(&request, encode_report_request(&request), decode_report_request);
        let report = Report { frontier, keys, complete_to, holds_from };
        comes_back(&report, encode_report(&report), decode_report);
    }

    #[test]
    fn items_come_back(
        channel in channel(), key in key(), item in item(), id: u64,
        wanted in prop::collection::vec(position(), 0..20),
    ) {
        let get = (channel, key);
        comes_back(&get, encode_get(&get.0, &get.1), decode_get);
        for answer in [
            GetAnswer::Found(item.clone()),
            GetAnswer::No,
            GetAnswer::Evicted,
            GetAnswer::Unknown("why".to_owned()),
        ] {
            comes_back(&answer, encode_got(answer.clone()), decode_got);
        }
        comes_back(&wanted, encode_fetch(&wanted), decode_fetch);
        let fetched = (ChannelId(id), item);
        comes_back(&fetched, encode_fetched(fetched.0, fetched.1.clone()), decode_fetched);
    }

    #[test]
    fn what_repair_compares_comes_back(
        range in (millis(), millis()), channel in prop::option::of(channel()),
        after in prop::option::of(position()), limit: usize, more: bool,
        digests in prop::collection::vec((any::<u64>(), millis(), any::<u64>(), any::<u64>()), 0..9),
        lines in prop::collection::vec(
            (position(), any::<u128>(), prop::option::of(prop::collection::vec("[a-z]{1,5}", 0..3))),
            0..9
        ),
    ) {
        comes_back(&range, encode_digests_range(range.0, range.1), decode_digests_range);
        let (from, to) = range;
        let request = InventoryRequest { from, to, channel, after, limit };
        comes_back(&request, encode_inventory_request(&request), decode_inventory_request);
        let digest = |(id, minute, items, hash)| {
            Digest { channel: ChannelId(id), minute, items, hash }
        };
        let digests: Vec<_> = digests.into_iter().map(digest).collect();
        comes_back(&digests, encode_digests(&digests), decode_digests);
        let line = |((channel, key), id, named): (_, _, Option<Vec<String>>)| InventoryLine {
            channel,
            key,
            write_id: WriteId(id),
            named: named.map(|names| names.iter().map(|n| Member::new(n).unwrap()).collect()),
        };
        let lines = lines.into_iter().map(line).collect();
        let inventory = Inventory { lines, more, holds_from: from };
        comes_back(&inventory, encode_inventory(&inventory), decode_inventory);
    }

    #[test]
    fn rings_and_channels_come_back(
        numbers: [u64; 4], has_from: bool, clock in millis(),
        records in prop::collection::vec(
            (".{0,9}", any::<[u64; 2]>(), prop::collection::vec(any::<u8>(), 0..9)), 0..9
        ),
    ) {
        let [run, version, revision, channels] = numbers;
        let vouched = Vouched {
            incarnation: Incarnation(run),
            knows: HistoryMark { version, has_from, revision },
            clock,
            channels,
            archived_to: clock.plus(1),
        };
        comes_back(&vouched, encode_vouched(&vouched), decode_vouched);
        let deleted = records.iter().map(|(name, [id, _], _)| (name.clone(), *id)).collect();
        let record = |(name, [id, version], data): (_, [u64; 2], _)| {
            ChannelRecord { name, id, version, data }
        };
        let known = KnownChannels {
            channels: records.into_iter().map(record).collect(),
            deleted,
        };
        comes_back(&known, encode_channels(known.clone()), decode_channels);
    }

    #[test]
    fn any_bytes_end_well(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = frames(bytes.clone());
        let _ = decode_append(bytes.clone());
        let _ = decode_got(bytes.clone());
        let _ = decode_inventory(bytes.clone());
        let _ = decode_history(bytes.clone());
        let _ = decode_channels(bytes);
    }
}

#[test]
fn a_ring_history_comes_back() {
    let history = hub_ring::RingHistory::new();
    let frame = encode_history(&history).unwrap();
    assert_eq!(*decode_history(sent(frame)).unwrap(), history);
}

#[test]
fn a_length_that_is_only_said_allocates_nothing() {
    for bytes in [
        &[][..],
        &[2],
        &[VERSION, 0, 0],
        &[VERSION, 255, 255, 255, 255, 1],
        &[VERSION, 0, 0, 0, 2, 1],
    ] {
        assert!(frames(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
    }
    assert_eq!(frames(Bytes::from_static(&[VERSION])).unwrap().len(), 0);
    // A payload of 2^40 bytes, of which three are there.
    let lying = [0x7a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 2, 3];
    assert!(decode_append(Bytes::copy_from_slice(&lying)).is_err());
}

/// Fields that this version does not know are passed over.
#[test]
fn what_a_later_version_adds_is_passed_over() {
    let request = SettleRequest {
        channel: ChannelRef {
            id: ChannelId(7),
            name: "c".into(),
        },
        write_id: WriteId(9),
        key: None,
        up_to: Frontier::NOTHING,
    };
    let mut bytes = sent(encode_settle(&request)).to_vec();
    bytes.extend_from_slice(&[14 << 3 | 2, 3, 1, 2, 3]);
    assert_eq!(decode_settle(bytes.into()), Ok(request));
    let answer = messages::Answer {
        kind: 99,
        ..messages::Answer::default()
    };
    let answer = sent(Frame::of(&answer));
    assert_eq!(decode_settled(answer.clone()), Ok(SettleAnswer::NotFinal));
    assert!(matches!(
        decode_appended(answer),
        Ok(AppendAnswer::Unknown(_))
    ));
}
