//! What is written is read, and what is damaged is told.

use proptest::prelude::*;

use super::*;
use crate::env::Millis;
use crate::item::{ItemKey, Suffix};

const CHANNEL: ChannelId = ChannelId(7);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sample {
    key: ItemKey,
    kind: Option<String>,
    payload: Vec<u8>,
}

fn key(at: u32) -> ItemKey {
    let suffix = Suffix::parse(&format!("{:06}", at % 1000)).unwrap();
    ItemKey::new(
        Millis::new(1_700_000_000_000 + i64::from(at / 1000)),
        suffix,
    )
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let payload = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (0usize..600_000, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ];
    let kind = prop::option::of("[a-z]{1,5}/[a-z]{1,5}");
    let sample = (1u32..3000, kind, payload);
    prop::collection::vec(sample, 0..40).prop_map(|samples| {
        let mut at = 0;
        let sample = |(step, kind, payload)| {
            at += step;
            let key = key(at);
            Sample { key, kind, payload }
        };
        samples.into_iter().map(sample).collect()
    })
}

/// An object of them, taken in parts.
fn object(samples: &[Sample]) -> Vec<u8> {
    let mut writer = ObjectWriter::new(CHANNEL);
    let mut out = Vec::new();
    for sample in samples {
        writer
            .push(sample.key, sample.kind.as_deref(), &sample.payload)
            .unwrap();
        if writer.waiting() > 1000 {
            out.extend_from_slice(&writer.take());
        }
        assert!(writer.len() >= out.len() as u64);
    }
    out.extend_from_slice(&writer.finish().unwrap());
    out
}

fn read(object: &[u8]) -> Result<Vec<Sample>, Damaged> {
    let index = Index::of_object(object)?;
    let read = |record: Record<'_>| {
        let range = index.block_of(&record);
        let block = object
            .get(range.start as usize..range.end as usize)
            .unwrap();
        Ok(Sample {
            key: record.key,
            kind: record.content_type.map(str::to_owned),
            payload: index.payload(&record, block)?.to_vec(),
        })
    };
    index.records().map(read).collect()
}

#[test]
fn an_object_is_these_bytes() {
    let samples = [
        Sample {
            key: key(1),
            kind: None,
            payload: b"one".to_vec(),
        },
        Sample {
            key: key(2).bulk(3).unwrap(),
            kind: Some("text/plain".to_owned()),
            payload: Vec::new(),
        },
    ];
    let bytes = object(&samples);
    let index = Index::of_object(&bytes).unwrap();
    assert_eq!((index.footer().records, index.footer().items), (2, 4));
    assert_eq!(&bytes[..HEAD_LEN], b"hub-arc\n\x01\0\0\0\x07\0\0\0\0\0\0\0");
    assert!(bytes.ends_with(b"hub-arc\n"));
    // Of another release of zstd they may differ; of another format they must not.
    let index = &bytes[index.footer().index_at as usize..bytes.len() - FOOTER_LEN];
    let plain = zstd::bulk::decompress(index, 1000).unwrap();
    let golden = [
        // One block: at 20, 12 bytes long, 3 before.
        &b"\x01\0\0\0\x14\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"[..],
        // One media type.
        b"\x01\0\0\0\x0a\0text/plain",
        // Two records: key, media type and block, offset and size, checksum.
        b"\x02\0\0\0\x0e\x80\0\x01\x8b\xcf\xe5\x68\x00000001",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0",
        b"\xa0\xe1\x1f\x32\xa7\xab\x1f\x91",
        b"\x15\x80\0\x01\x8b\xcf\xe5\x68\x00000002!000003",
        b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\xc2\x94\xd3\x38\x05\x80\x06\x2d",
    ];
    assert_eq!(plain, golden.concat());
}

#[test]
fn a_large_item_is_pointed_to() {
    let mut writer = ObjectWriter::new(CHANNEL);
    writer.push(key(1), None, b"").unwrap();
    writer.point(key(2), Some("text/plain"), 77, 99).unwrap();
    writer.push(key(3), None, b"three").unwrap();
    writer.point(key(4), None, 0, 1).unwrap();
    let bytes = writer.finish().unwrap();
    let index = Index::of_object(&bytes).unwrap();
    assert_eq!((index.footer().records, index.blocks()), (4, 1));
    for (at, is_elsewhere) in [(1, false), (2, true), (3, false), (4, true)] {
        let record = index.find(&key(at)).unwrap();
        assert_eq!(record.is_elsewhere(), is_elsewhere);
        let range = index.block_of(&record);
        let block = &bytes[range.start as usize..range.end as usize];
        assert_eq!(index.payload(&record, block).is_err(), is_elsewhere);
    }
    let pointer = index.find(&key(2)).unwrap();
    let said = (pointer.content_type, pointer.size, pointer.sum);
    assert_eq!(said, (Some("text/plain"), 77, 99));
    // Only an item has a name of its own.
    let mut writer = ObjectWriter::new(CHANNEL);
    let bulk = key(2).bulk(2).unwrap();
    writer.point(bulk, None, 77, 99).unwrap();
    assert!(Index::of_object(&writer.finish().unwrap()).is_err());
}

#[test]
fn nothing_is_made_that_nobody_can_read() {
    let mut writer = ObjectWriter::new(CHANNEL);
    writer.push(key(5), None, b"five").unwrap();
    for again in [key(5), key(4)] {
        assert!(writer.push(again, None, b"again").is_err());
        assert!(writer.point(again, None, 1, 1).is_err());
    }
    writer.push(key(6), None, b"six").unwrap();
    let index = Index::of_object(&writer.finish().unwrap()).unwrap();
    assert_eq!(index.footer().records, 2);
}

#[test]
fn one_without_records_is_one() {
    let bytes = object(&[]);
    assert_eq!(read(&bytes).unwrap(), []);
    assert_eq!(Index::of_object(&bytes).unwrap().channel(), CHANNEL);
}

#[test]
fn a_range_of_records_is_found() {
    let samples: Vec<_> = (0..100)
        .map(|at| Sample {
            key: key(at * 10),
            kind: None,
            payload: vec![at as u8],
        })
        .collect();
    let bytes = object(&samples);
    let index = Index::of_object(&bytes).unwrap();
    for (from, to) in [(0, 990), (5, 6), (10, 11), (300, 200), (0, 0), (990, 5000)] {
        let found: Vec<_> = index.between(&key(from), &key(to)).map(|r| r.key).collect();
        let wanted = samples.iter().map(|sample| sample.key);
        let wanted: Vec<_> = wanted.filter(|k| *k >= key(from) && *k < key(to)).collect();
        assert_eq!(found, wanted, "{from} to {to}");
    }
    assert_eq!(index.find(&key(20)).unwrap().key, key(20));
    assert!(index.find(&key(21)).is_none());
}

proptest! {
    #[test]
    fn what_was_written_is_read(samples in samples()) {
        let bytes = object(&samples);
        prop_assert_eq!(read(&bytes).unwrap(), samples);
    }

    #[test]
    fn the_same_records_are_the_same_bytes(samples in samples()) {
        prop_assert_eq!(object(&samples), object(&samples));
    }

    #[test]
    fn a_damaged_byte_is_told(samples in samples(), at in any::<prop::sample::Index>(), by in 1u8..) {
        let mut bytes = object(&samples);
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        prop_assert!(read(&bytes).is_err(), "byte {at} of {}", bytes.len());
    }

    #[test]
    fn a_truncated_object_is_told(samples in samples(), at in any::<prop::sample::Index>()) {
        let bytes = object(&samples);
        let at = at.index(bytes.len());
        prop_assert!(read(&bytes[..at]).is_err());
    }
}
