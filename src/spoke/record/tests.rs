use proptest::collection::vec;
use proptest::prelude::*;

use super::super::header::{HEADER_LEN, SegmentHeader, StoreId, salt};
use super::super::ids::SegmentId;
use super::*;
use crate::item::Suffix;

fn keys() -> impl Strategy<Value = ItemKey> {
    let times = Millis::MIN.get()..=Millis::MAX.get();
    (times, "[0-9A-Za-z]{1,31}").prop_map(|(millis, suffix)| {
        ItemKey::new(Millis::new(millis), Suffix::parse(&suffix).unwrap())
    })
}

fn heads() -> impl Strategy<Value = ItemHead> {
    (
        (keys(), any::<u128>(), any::<bool>(), any::<bool>()),
        proptest::option::of("[a-z]{1,20}/[a-z;= é]{1,40}"),
        any::<u64>(),
        any::<u128>(),
        vec("[a-z.-]{1,60}", 0..4),
    )
        .prop_map(
            |((key, write, pending, keyed), content_type, size, digest, replicas)| {
                let flags = ItemFlags { pending, keyed };
                ItemHead {
                    key,
                    write_id: WriteId(write),
                    flags,
                    content_type,
                    size,
                    // What a flag does not announce is not stored.
                    digest: if keyed { digest } else { 0 },
                    replicas: if pending { replicas } else { Vec::new() },
                }
            },
        )
}

fn small_records() -> impl Strategy<Value = Record> {
    let times = || any::<i64>().prop_map(Millis::new);
    prop_oneof![
        (any::<u64>(), any::<u64>(), times()).prop_map(|(sequence, synced, mark)| {
            Record::Batch(BatchHead {
                sequence,
                synced,
                mark,
            })
        }),
        keys().prop_map(Record::CommitMark),
        (keys(), any::<u128>()).prop_map(|(key, write)| Record::Removal {
            key,
            write_id: WriteId(write),
        }),
        (keys(), vec(".{0,50}", 0..5)).prop_map(|(key, replicas)| Record::Named { key, replicas }),
        (any::<u64>(), times(), vec(any::<(u64, u64)>(), 0..700)).prop_map(
            |(sequence, mark, cuts)| Record::Seal(SealHead {
                sequence,
                mark,
                cuts,
            })
        ),
    ]
}

/// The bytes of a record at a place.
fn bytes_of(record: &Encoded, salt: u64, offset: u64) -> Vec<u8> {
    let mut out = record.frame().encode(salt, offset).to_vec();
    out.extend_from_slice(record.head());
    out.extend_from_slice(record.payload());
    assert_eq!(out.len() as u64, record.record_len());
    out
}

proptest! {
    #[test]
    fn an_item_comes_back(
        head in heads(),
        payload in vec(any::<u8>(), 0..300),
        (channel, salt, offset) in any::<(u64, u64, u64)>(),
    ) {
        let channel = ChannelId(channel);
        let encoded = Encoded::item(channel, &head, payload.clone().into()).unwrap();
        let bytes = bytes_of(&encoded, salt, offset);
        let frame = Frame::decode(&bytes, salt, offset).unwrap();
        prop_assert_eq!(frame, encoded.frame());
        prop_assert_eq!((frame.channel, frame.record_len()), (channel, bytes.len() as u64));
        let body = &bytes[FRAME_LEN..];
        prop_assert_eq!(xxh3_64(body), frame.body_sum);
        let (record, head_len) = decode_body(body).unwrap();
        prop_assert_eq!(record, Record::Item(head));
        prop_assert_eq!(&body[head_len..], &payload[..]);
        // The head can be read without the payload.
        prop_assert!(decode_body(&body[..head_len]).is_ok());
        prop_assert!(head_len == 0 || decode_body(&body[..head_len - 1]).is_err());
    }

    #[test]
    fn a_small_record_comes_back(record in small_records(), channel in any::<u64>()) {
        let encoded = Encoded::small(ChannelId(channel), &record).unwrap();
        let bytes = bytes_of(&encoded, 3, 5);
        let frame = Frame::decode(&bytes, 3, 5).unwrap();
        prop_assert_eq!(frame.channel, ChannelId(channel));
        let body = &bytes[FRAME_LEN..];
        prop_assert_eq!(decode_body(body).unwrap(), (record, body.len()));
    }

    #[test]
    fn a_frame_is_none_in_another_place(
        (salt, offset, other_salt, other_offset) in any::<(u64, u64, u64, u64)>(),
        flipped in 0..FRAME_LEN * 8,
    ) {
        let encoded = Encoded::small(ChannelId(1), &Record::CommitMark(ItemKey::MIN)).unwrap();
        let mut bytes = encoded.frame().encode(salt, offset);
        prop_assume!(salt.wrapping_add(offset) != other_salt.wrapping_add(other_offset));
        prop_assert!(Frame::decode(&bytes, other_salt, other_offset).is_err());
        bytes[flipped / 8] ^= 1 << (flipped % 8);
        prop_assert!(Frame::decode(&bytes, salt, offset).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..400), kind in 0u8..9) {
        let _ = Frame::decode(&bytes, 1, 2);
        let _ = decode_body(&bytes);
        let mut body = vec![kind];
        body.extend_from_slice(&bytes);
        if let Ok((_, length)) = decode_body(&body) {
            prop_assert!(length <= body.len());
        }
        let _ = SegmentHeader::decode(&bytes);
    }

    #[test]
    fn a_header_comes_back_and_no_other_bytes_are_one(
        (store, bucket, number) in (any::<u128>(), any::<i64>(), any::<u32>()),
        (width, boot, synced) in any::<(i64, u128, bool)>(),
        flipped in 0..HEADER_LEN * 8,
    ) {
        let header = SegmentHeader {
            format: 1,
            store: StoreId(store),
            id: SegmentId { bucket: Millis::new(bucket), number },
            width,
            boot,
            synced,
        };
        let mut bytes = header.encode();
        prop_assert_eq!(bytes.len(), HEADER_LEN);
        prop_assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        prop_assert_eq!(SegmentHeader::decode(&bytes[..HEADER_LEN - 1]), None);
        bytes[flipped / 8] ^= 1 << (flipped % 8);
        prop_assert_eq!(SegmentHeader::decode(&bytes), None);
    }
}

fn golden_head() -> ItemHead {
    ItemHead {
        key: ItemKey::new(
            Millis::new(1_795_309_323_456),
            Suffix::parse("000aXb").unwrap(),
        ),
        write_id: WriteId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        flags: ItemFlags {
            pending: true,
            keyed: true,
        },
        content_type: Some("text/plain".to_owned()),
        size: 5,
        digest: 0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20,
        replicas: vec!["b".to_owned(), "cd".to_owned()],
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of one item, part by part. Should this test fail, logs on disk are not read any more:
/// a change of the format needs a new number of it, and a reader of the old one.
#[test]
fn the_bytes_of_an_item_are_these() {
    let payload = Bytes::from_static(b"hello");
    let record = Encoded::item(ChannelId(42), &golden_head(), payload).unwrap();
    let bytes = bytes_of(&record, 0x5a17, 96);
    let expected = [
        // Magic, body length, channel, checksum of the body, checksum of the frame.
        "a7687231",
        "53000000",
        "2a00000000000000",
        "de73ff15c48296f7",
        "45113a27f99bbf6e",
        // Item, pending and keyed, stored as it is.
        "01",
        "03",
        "00",
        // The key: its length, its time, its suffix.
        "0e",
        "800001a200c644c0",
        "303030615862",
        // Write id, size, digest.
        "100f0e0d0c0b0a090807060504030201",
        "0500000000000000",
        "201f1e1d1c1b1a191817161514131211",
        // The media type, two replicas, the payload.
        "0a00",
        "746578742f706c61696e",
        "02",
        "0100",
        "62",
        "0200",
        "6364",
        "68656c6c6f",
    ];
    assert_eq!(hex(&bytes), expected.concat());
}

#[test]
fn the_bytes_of_a_header_are_these() {
    let header = SegmentHeader {
        format: 1,
        store: StoreId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        id: SegmentId {
            bucket: Millis::new(1_795_309_320_000),
            number: 3,
        },
        width: 60_000,
        boot: 0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20,
        synced: true,
    };
    let expected = [
        "48554253504f4b45",
        "01000000",
        "03000000",
        "100f0e0d0c0b0a090807060504030201",
        "4037c600a2010000",
        "60ea000000000000",
        "201f1e1d1c1b1a191817161514131211",
        "01",
        &"00".repeat(23),
        "faf2005483d2e1d1",
    ];
    assert_eq!(hex(&header.encode()), expected.concat());
    assert_eq!(salt(header.store, header.id), 0x88c1_762c_1801_e31c);
}

#[test]
fn items_beyond_the_format_are_refused_before_they_are_written() {
    let mut head = golden_head();
    head.content_type = Some("x".repeat(HEAD_MAX));
    assert!(Encoded::item(ChannelId(1), &head, Bytes::new()).is_err());
    head.content_type = Some("x".repeat(usize::from(u16::MAX) + 7));
    assert!(Encoded::item(ChannelId(1), &head, Bytes::new()).is_err());
    head.content_type = None;
    head.replicas = vec!["replica.example".to_owned(); 300];
    let many = Encoded::item(ChannelId(1), &head, Bytes::from_static(b"x")).unwrap();
    let (record, length) = decode_body(many.head()).unwrap();
    let Record::Item(read) = record else {
        panic!("it is no item any more");
    };
    assert_eq!((read.replicas.len(), length), (255, many.head().len()));
}

/// A reader of this version refuses what a later one may write.
#[test]
fn unknown_kinds_and_codecs_are_refused() {
    let record = Encoded::item(ChannelId(1), &golden_head(), Bytes::new()).unwrap();
    let mut body = record.head().to_vec();
    for (at, what) in [(2, "codec"), (0, "kind")] {
        body[at] = 9;
        assert_eq!(decode_body(&body), Err(Malformed::Unknown { what }));
    }
    assert_eq!(decode_body(&[]), Err(Malformed::Short));
}
