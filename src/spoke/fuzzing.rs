//! What the fuzzers call: logs and indexes made of any bytes, opened and read.
//!
//! Neither function may ever panic, but where the store has lost or made up an item: for bytes that
//! were a valid file before they were changed, every record whose own bytes are as they were must
//! be found, and nothing that was never written.

use std::sync::mpsc;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::directory::Direction;
use super::files::Files as _;
use super::files::sim::{Crash, SimFolder};
use super::header::{HEADER_LEN, SegmentHeader, StoreId, salt};
use super::housekeeping::{Keeps, Retention, mend_all};
use super::ids::{ChannelId, SegmentId, WriteId};
use super::index::{Entry, ReadMode, write_index};
use super::log::{Durability, Options, Shared};
use super::logstore::LogStore;
use super::record::{FRAME_LEN, ItemFlags, ItemHead, Reader};
use super::recover;
use super::store::{Append, Range, ReadError, Removal, SpokeStore as _};
use crate::env::{HubClock, ManualClock, Millis};
use crate::item::{ItemKey, NodeSlot};

const STORE: StoreId = StoreId(0xf022);
const START: Millis = Millis::new(1_795_309_320_000);
const MINUTE: i64 = 60_000;
const CHANNELS: [ChannelId; 2] = [ChannelId(1), ChannelId(2)];

/// An item of the valid store that everything is made from.
struct Known {
    channel: ChannelId,
    key: ItemKey,
    payload: Bytes,
    segment: SegmentId,
    /// Where its record stands in the log, and where the one that removes it does.
    record: (usize, usize),
    removal: Option<(usize, usize)>,
}

struct Base {
    folder: Arc<SimFolder>,
    items: Vec<Known>,
}

struct KeepAll;

impl Retention for KeepAll {
    fn keeps(&self, _: ChannelId) -> Keeps {
        Keeps::All
    }
}

fn options() -> Options {
    Options {
        durability: Durability::Fsync,
        bucket_millis: MINUTE,
        segment_bytes: 1 << 20,
        segment_items: 1000,
        sync_interval_millis: 1000,
        late_millis: 0,
        reserve_bytes: 0,
        open_segments: 4,
        dedup_millis: 10 * MINUTE,
        has_peers: false,
    }
}

fn segment(minute: i64) -> SegmentId {
    SegmentId {
        bucket: START.plus(minute * MINUTE),
        number: 0,
    }
}

fn base() -> &'static Base {
    static BASE: OnceLock<Option<Base>> = OnceLock::new();
    let base = BASE.get_or_init(build).as_ref();
    assert!(base.is_some(), "the valid store could not be made");
    base.unwrap_or_else(|| std::process::abort())
}

/// A store of two minutes: the first sealed, the second not.
fn build() -> Option<Base> {
    let folder = SimFolder::new(1);
    let source = ManualClock::new(START);
    let clock = Arc::new(HubClock::start(source.clone()));
    let files = Arc::clone(&folder);
    let store = LogStore::open(files, options(), STORE, 1, clock, Arc::new(KeepAll)).ok()?;
    let mut items = Vec::new();
    let mut after = ItemKey::MIN;
    for minute in 0..2 {
        for number in 0..12usize {
            let slot = NodeSlot::new(7)?;
            let key = ItemKey::stamp(&after, START.plus(minute * MINUTE), slot);
            after = key;
            let channel = CHANNELS[usize::from(number % 3 == 0)];
            let sizes = [0, 1, 40, 700];
            let payload = Bytes::from(vec![number as u8; sizes[number % sizes.len()]]);
            let flags = ItemFlags {
                pending: number % 4 == 1,
                keyed: number % 5 == 1,
            };
            let head = ItemHead {
                key,
                write_id: WriteId(number as u128),
                flags,
                content_type: (number % 2 == 0).then(|| "text/plain".to_owned()),
                size: payload.len() as u64,
                digest: if flags.keyed { 5 } else { 0 },
                replicas: Vec::new(),
            };
            let (send, done) = mpsc::channel();
            let answer = Box::new(move |outcome| drop(send.send(outcome)));
            store.append(Append::new(channel, &head, payload.clone(), answer).ok()?);
            done.recv().ok()?.ok()?;
            let entry = store.find(channel, &key, ReadMode::Blocking).ok()??;
            items.push(Known {
                channel,
                key,
                payload,
                segment: segment(minute),
                record: record_of(&entry),
                removal: None,
            });
        }
        let removed = items.last_mut()?;
        let (send, done) = mpsc::channel();
        store.remove(Removal {
            channel: removed.channel,
            key: removed.key,
            write_id: WriteId(1),
            done: Box::new(move |outcome| drop(send.send(outcome))),
        });
        done.recv().ok()?.ok()?;
        let log = folder.bytes(&segment(minute).log_name()).len();
        // It is the last record, and as long as its key makes it.
        let length = FRAME_LEN + 1 + 1 + removed.key.to_bytes().len() + 16;
        removed.removal = Some((log - length, log));
        if minute == 0 {
            source.advance(MINUTE);
            for _ in 0..2 {
                let (send, done) = mpsc::channel();
                store.advance_mark(Box::new(move |outcome| drop(send.send(outcome))));
                done.recv().ok()?.ok()?;
            }
            store.tidy();
        }
    }
    // What the fuzzers change is as a kill leaves it.
    let folder = folder.crash(Crash::Kill, 0);
    Some(Base { folder, items })
}

fn record_of(entry: &Entry) -> (usize, usize) {
    let from = entry.offset as usize;
    (from, from + FRAME_LEN + entry.body_len as usize)
}

fn open(folder: Arc<SimFolder>) -> Option<Arc<Shared>> {
    let clock = Arc::new(HubClock::start(ManualClock::new(START.plus(2 * MINUTE))));
    let opened = recover::open(
        &(folder as Arc<dyn crate::spoke::Files>),
        options(),
        STORE,
        1,
        clock,
    );
    opened.ok().map(|opened| opened.shared)
}

/// The payload under a key.
fn get(store: &Shared, known: &Known) -> Result<Option<Bytes>, ReadError> {
    let mode = ReadMode::Blocking;
    let Some(entry) = store.find(known.channel, &known.key, mode)? else {
        return Ok(None);
    };
    let item = store.read(&entry, mode)?;
    let io = |source| ReadError::Io {
        segment: known.segment,
        source,
    };
    Ok(Some(item.into_payload().map_err(io)?.bytes))
}

/// Reads all there is, by key and by range; gives every key that a range shows.
fn read_all(store: &Shared, channel: ChannelId) -> Vec<ItemKey> {
    let mut keys = Vec::new();
    for (direction, limit) in [(Direction::Ascending, 1000), (Direction::Descending, 3)] {
        let range = Range {
            channel,
            from: ItemKey::MIN,
            to: ItemKey::first_of(Millis::MAX),
            direction,
            limit,
        };
        for entry in store.range(&range, ReadMode::Blocking).unwrap_or_default() {
            let _ = store.read(&entry, ReadMode::Blocking);
            keys.push(entry.key);
        }
    }
    keys
}

/// A log made of any bytes, or a valid one changed as they say.
#[doc(hidden)]
pub fn fuzz_log(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else {
        return;
    };
    let base = base();
    let id = segment(i64::from(mode & 1));
    let folder = base.folder.crash(Crash::Kill, 0);
    if mode & 2 != 0 {
        let _ = folder.remove(&id.index_name());
    }
    let original = folder.bytes(&id.log_name());
    let changed = match mode & 0x0c {
        0 => data.to_vec(),
        4 => {
            let mut bytes = original.get(..HEADER_LEN).unwrap_or_default().to_vec();
            bytes.extend_from_slice(data);
            bytes
        }
        _ => change(&original, data),
    };
    folder.put(&id.log_name(), changed.clone());
    let Some(store) = open(folder) else {
        assert!(is_refused(&changed, id), "the store does not open");
        return;
    };
    let whole = |(from, to): (usize, usize)| changed.get(from..to) == original.get(from..to);
    for known in &base.items {
        let touched = known.segment == id && !whole(known.record);
        let removal = known.removal.filter(|at| known.segment != id || whole(*at));
        let found = get(&store, known);
        if let Ok(Some(found)) = &found {
            assert_eq!(*found, known.payload, "{:?} has changed", known.key);
        }
        if removal.is_some() && !touched {
            assert!(matches!(found, Ok(None)), "{:?} was removed", known.key);
        } else if known.removal.is_none() && !touched {
            assert!(
                matches!(found, Ok(Some(_))),
                "{:?} is lost: {found:?}",
                known.key
            );
        }
    }
    no_strangers(&store);
}

/// Whether a log says by its own header that it is not this store's, or not to be read.
fn is_refused(log: &[u8], id: SegmentId) -> bool {
    SegmentHeader::decode(log).is_some_and(|header| {
        header.store != STORE || header.id != id || header.width != MINUTE || header.format != 1
    })
}

fn no_strangers(store: &Shared) {
    for channel in CHANNELS {
        for key in read_all(store, channel) {
            let known = |item: &Known| item.channel == channel && item.key == key;
            assert!(base().items.iter().any(known), "{key:?} was never written");
        }
    }
}

/// An index made of any bytes, a valid one changed as they say, or one that holds together and
/// says what they say.
#[doc(hidden)]
pub fn fuzz_index(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else {
        return;
    };
    let base = base();
    let id = segment(0);
    let folder = base.folder.crash(Crash::Kill, 0);
    let original = folder.bytes(&id.index_name());
    if mode.trailing_zeros() >= 2 {
        forged(&folder, id, data);
        return;
    }
    let changed = if mode & 3 == 1 {
        data.to_vec()
    } else {
        change(&original, data)
    };
    folder.put(&id.index_name(), changed);
    let store = open(folder);
    assert!(store.is_some(), "the store does not open");
    let Some(store) = store else { return };
    for mended in [false, true] {
        if mended {
            mend_all(&store);
        }
        for known in &base.items {
            match get(&store, known) {
                Ok(Some(found)) => assert_eq!(found, known.payload),
                Ok(None) => assert!(known.removal.is_some(), "{:?} is denied", known.key),
                Err(error) => assert!(!mended, "{:?} is not found again: {error}", known.key),
            }
        }
        no_strangers(&store);
    }
}

/// An index whose checksums hold, with entries that make no sense.
fn forged(folder: &Arc<SimFolder>, id: SegmentId, data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut entries = Vec::new();
    while let (Ok(channel), Ok(flags), Ok(offset), Ok(length)) = (
        reader.byte(),
        reader.byte(),
        reader.array::<8>(),
        reader.array::<4>(),
    ) {
        let Ok(key) = reader.key() else { break };
        entries.push(Entry {
            channel: ChannelId(u64::from(channel % 4)),
            key,
            offset: u64::from_le_bytes(offset),
            body_len: u32::from_le_bytes(length),
            flags: ItemFlags::from_byte(flags),
            removed: flags & 0x80 != 0,
            write_id: WriteId(0),
        });
    }
    let _ = folder.remove(&id.index_name());
    let (files, log_len) = (&**folder, u64::from(data.len() as u32) * 16);
    let written = write_index(
        files,
        id,
        salt(STORE, id),
        log_len,
        START,
        1,
        entries.into_iter(),
    );
    if written.is_err() {
        return;
    }
    if let Some(store) = open(Arc::clone(folder)) {
        for known in &base().items {
            let _ = get(&store, known);
        }
        for channel in 0..4 {
            read_all(&store, ChannelId(channel));
        }
        mend_all(&store);
    }
}

/// Changes bytes as other bytes say: flips, runs, copies from elsewhere, cuts and additions.
fn change(original: &[u8], script: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let mut reader = Reader::new(script);
    while let (Ok(what), Ok(at), Ok(value)) = (
        reader.byte(),
        reader.array::<2>().map(u16::from_le_bytes),
        reader.byte(),
    ) {
        if bytes.is_empty() {
            break;
        }
        let at = usize::from(at) % bytes.len();
        let to = (at + usize::from(value) + 1).min(bytes.len());
        match what % 8 {
            0..=2 => bytes[at] ^= value.max(1),
            3 => bytes[at..to].fill(0),
            4 => bytes[at..to].fill(what),
            5 => {
                let from = usize::from(what) * 13 % bytes.len();
                let until = (from + to - at).min(bytes.len());
                let into = at.min(bytes.len() - (until - from));
                bytes.copy_within(from..until, into);
            }
            6 => bytes.truncate(at + 1),
            _ => {
                let part = original.get(at..to).unwrap_or_default().to_vec();
                bytes.extend_from_slice(&part);
            }
        }
    }
    bytes
}
