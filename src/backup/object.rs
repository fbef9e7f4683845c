//! Objects of the archive, read from one end to the other: what they are, and whether they still are.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::error::BackupError;
use super::sum::{Sum, Summing};
use crate::archive::name::Object;
use crate::archive::object::{Damaged, FOOTER_LEN, Footer, GONE_LEN, Index, gone};
use crate::archive::store::{Store, StoreError, Which};
use crate::env::Millis;
use crate::spoke::ChannelId;

/// Objects up to this size are read at once, in bytes.
pub(super) const WHOLE: u64 = 16 << 20;
/// How much of a larger one is read at a time.
const PART: u64 = 8 << 20;

/// What the name of an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It holds items: those of an hour, of a minute, or one; or it says that the one was deleted.
    Items(Object),
    /// It is none of the archive's.
    Other,
}

impl Kind {
    /// What a name says; the channel is that of its folder.
    pub(super) fn of(name: &str) -> (Option<ChannelId>, Self) {
        match Object::parse(name) {
            Ok((channel, object)) => (Some(channel), Self::Items(object)),
            Err(_) => (None, Self::Other),
        }
    }

    /// Whether what it says may change while its name stays: of an item, which historical channels
    /// write again, or take away.
    pub(super) fn may_change(self) -> bool {
        matches!(self, Self::Items(Object::Item(_)))
    }

    /// Whether an object of that kind and length says that its item was deleted.
    pub(super) fn says_deleted(self, size: u64) -> bool {
        self.may_change() && size == GONE_LEN as u64
    }

    /// The first time that it can be about.
    pub(super) fn start(self) -> Option<Millis> {
        match self {
            Self::Items(object) => Some(object.start()),
            Self::Other => None,
        }
    }
}

/// What an object is, as was found by reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) size: u64,
    pub(super) sha256: Sum,
    pub(super) items: u64,
    pub(super) newest: Option<Millis>,
}

/// What came of reading an object.
#[derive(Debug)]
pub(super) enum Found {
    /// It is what it should be; its bytes, if it is not too large to be held.
    Whole(Looked, Option<Bytes>),
    /// It is not.
    Damaged(Sum, String),
    /// There is none.
    Missing,
}

/// Reads an object from one end to the other, and holds it against its own checksums.
///
/// `named` is what it is called in the archive; `name` where it is read from.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn look(
    store: &Store,
    name: &str,
    named: &str,
    size: u64,
) -> Result<Found, StoreError> {
    let (channel, kind) = Kind::of(named);
    if size > WHOLE {
        return look_by_parts(store, name, channel, kind).await;
    }
    let Some(read) = store.read(name, Which::All).await? else {
        return Ok(Found::Missing);
    };
    let bytes = read.bytes;
    let looking = tokio::task::spawn_blocking(move || {
        let sha256 = Sum::of(&bytes);
        (sha256, facts(&bytes, channel, kind), bytes)
    });
    let (sha256, facts, bytes) = looking.await.map_err(|error| StoreError {
        what: "read",
        name: name.to_owned(),
        reason: error.to_string(),
        cut_off: false,
    })?;
    Ok(match facts {
        Ok((items, newest)) => {
            let looked = Looked {
                size: bytes.len() as u64,
                sha256,
                items,
                newest,
            };
            Found::Whole(looked, Some(bytes))
        }
        Err(damaged) => Found::Damaged(sha256, damaged.0.to_owned()),
    })
}

/// How many items an object has and the time of the newest, if it is what was written.
fn facts(
    bytes: &[u8],
    channel: Option<ChannelId>,
    kind: Kind,
) -> Result<(u64, Option<Millis>), Damaged> {
    let Kind::Items(object) = kind else {
        return Ok((0, None));
    };
    // What stands in the place of an item that was deleted is known by all of its bytes.
    let deleted = channel.map(gone);
    if matches!(object, Object::Item(_)) && deleted.is_some_and(|deleted| deleted == bytes) {
        return Ok((0, None));
    }
    of_index(&Index::of_object(bytes)?, channel)
}

fn of_index(index: &Index, channel: Option<ChannelId>) -> Result<(u64, Option<Millis>), Damaged> {
    if Some(index.channel()) != channel {
        return Err(Damaged("it is of another channel than its name"));
    }
    let newest = index.records().next_back().map(|record| record.key.millis);
    Ok((index.footer().items, newest))
}

/// As [`look`], of an object that is too large to be held.
async fn look_by_parts(
    store: &Store,
    name: &str,
    channel: Option<ChannelId>,
    kind: Kind,
) -> Result<Found, StoreError> {
    let mut sha256 = Summing::new();
    let mut check = Checking::default();
    let mut parts = Parts::new(store, name);
    while let Some(part) = parts.next().await? {
        sha256.update(&part);
        check.update(&part);
    }
    let Some(size) = parts.size else {
        return Ok(Found::Missing);
    };
    let sha256 = sha256.finish();
    let damaged = |damaged: Damaged| Found::Damaged(sha256, damaged.0.to_owned());
    let mut looked = Looked {
        size,
        sha256,
        items: 0,
        newest: None,
    };
    if matches!(kind, Kind::Items(_)) {
        let footer = match check.footer(size) {
            Ok(footer) => footer,
            Err(error) => return Ok(damaged(error)),
        };
        let range = footer.index_at..footer.index_at + footer.index_len;
        let Some(index) = store.read(name, Which::These(range)).await? else {
            return Ok(Found::Missing);
        };
        let index = Index::parse(&index.bytes, &footer);
        match index.and_then(|index| of_index(&index, channel)) {
            Ok((items, newest)) => (looked.items, looked.newest) = (items, newest),
            Err(error) => return Ok(damaged(error)),
        }
    }
    Ok(Found::Whole(looked, None))
}

/// Holds an object's bytes against its footer, as they come.
#[derive(Default)]
struct Checking {
    sum: Xxh3,
    /// The last bytes that came: they may be the footer.
    tail: Vec<u8>,
}

impl Checking {
    fn update(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let before = self.tail.len().saturating_sub(FOOTER_LEN);
        self.sum.update(self.tail.get(..before).unwrap_or_default());
        self.tail.drain(..before);
    }

    fn footer(&self, size: u64) -> Result<Footer, Damaged> {
        let footer = Footer::parse(&self.tail, size)?;
        if self.sum.digest() != footer.object_sum {
            return Err(Damaged("it is not what was written"));
        }
        Ok(footer)
    }
}

/// An object, part by part.
pub(super) struct Parts<'a> {
    store: &'a Store,
    name: &'a str,
    at: u64,
    /// How long it is, once that is known.
    size: Option<u64>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(store: &'a Store, name: &'a str) -> Self {
        Self {
            store,
            name,
            at: 0,
            size: None,
        }
    }

    /// The next part; `None` at its end, or if it is not there.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.size.is_some_and(|size| self.at >= size) {
            return Ok(None);
        }
        let end = self.at + PART;
        let end = self.size.map_or(end, |size| end.min(size));
        let which = Which::These(self.at..end);
        let Some(part) = self.store.read(self.name, which).await? else {
            self.size = None;
            return Ok(None);
        };
        if self.size.is_some_and(|size| size != part.length) {
            return Err(StoreError {
                what: "read",
                name: self.name.to_owned(),
                reason: "it was changed meanwhile".to_owned(),
                cut_off: false,
            });
        }
        self.size = Some(part.length);
        self.at += part.bytes.len() as u64;
        Ok(Some(part.bytes))
    }
}

/// Copies an object that is too large to be held; gives the SHA-256 of what was copied, and `None` if it is not
/// there. It is in its new place only if that is the one that was expected.
///
/// # Errors
/// [`BackupError`], as `read_error` and `write_error` make it of the stores'.
pub(super) async fn copy_by_parts(
    from: (&Store, &str, fn(StoreError) -> BackupError),
    to: (&Store, &str, fn(StoreError) -> BackupError),
    expected: Sum,
) -> Result<Option<Sum>, BackupError> {
    let mut parts = Parts::new(from.0, from.1);
    let mut sum = Summing::new();
    let mut upload = to.0.upload(to.1).await.map_err(to.2)?;
    loop {
        let sent = match parts.next().await {
            Ok(Some(part)) => {
                sum.update(&part);
                upload.put(part).await.map_err(to.2)
            }
            Ok(None) => break,
            Err(error) => Err(from.2(error)),
        };
        if let Err(error) = sent {
            upload.abandon().await;
            return Err(error);
        }
    }
    if parts.size.is_none() {
        upload.abandon().await;
        return Ok(None);
    }
    let sum = sum.finish();
    if sum == expected {
        upload.end().await.map_err(to.2)?;
    } else {
        upload.abandon().await;
    }
    Ok(Some(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::object::ObjectWriter;
    use crate::item::{ItemKey, Suffix};

    const NAMED: &str = "0000000000000001/1970-01/01/0000.minute";

    fn object(channel: u64, items: i64) -> Bytes {
        let mut writer = ObjectWriter::new(ChannelId(channel));
        for at in 0..items {
            let key = ItemKey::new(Millis::new(at), Suffix::parse("0").unwrap());
            writer.push(key, None, &[at as u8; 1000]).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn names_say_what_objects_are() {
        let at = Millis::parse_iso("2026-11-22T01:02:03.456Z").unwrap();
        let channel = Some(ChannelId(0x1f));
        let of = |text: &str| Kind::of(&format!("000000000000001f/2026-11/22/{text}"));
        let item = of("010203456-a.item");
        assert_eq!((item.0, item.1.start()), (channel, Some(at)));
        assert!(item.1.may_change() && item.1.says_deleted(20) && !item.1.says_deleted(200));
        assert!(!of("0102.minute").1.says_deleted(20));
        assert!(!of("0102.minute").1.may_change());
        assert_eq!(of("0102.minute").1.start(), Some(at.floor_to(60_000)));
        assert_eq!(of("x"), (None, Kind::Other));
    }

    #[tokio::test]
    async fn whatever_is_changed_in_an_object_is_seen() {
        let store = Store::in_memory();
        let good = object(1, 3);
        let (size, newest) = (good.len() as u64, Some(Millis::new(2)));
        store.create("good", good.clone()).await.unwrap();
        // At once, and part by part.
        for by_parts in [false, true] {
            let look = async |name: &str| {
                let (channel, kind) = Kind::of(NAMED);
                if by_parts {
                    look_by_parts(&store, name, channel, kind).await.unwrap()
                } else {
                    look(&store, name, NAMED, size).await.unwrap()
                }
            };
            let Found::Whole(looked, bytes) = look("good").await else {
                panic!("it is good");
            };
            let sha256 = Sum::of(&good);
            let wanted = Looked {
                size,
                sha256,
                items: 3,
                newest,
            };
            assert_eq!((looked, bytes.is_none()), (wanted, by_parts));
            assert!(matches!(look("none").await, Found::Missing));
            for at in (1..good.len()).step_by(7) {
                let mut bad = good.to_vec();
                bad[at] ^= 1;
                store.replace("bad", bad.into()).await.unwrap();
                assert!(matches!(look("bad").await, Found::Damaged(..)), "{at}");
                let cut = good.slice(..at);
                store.replace("bad", cut).await.unwrap();
                assert!(matches!(look("bad").await, Found::Damaged(..)), "{at}");
            }
            store.replace("bad", object(2, 3)).await.unwrap();
            assert!(matches!(look("bad").await, Found::Damaged(..)));
        }
    }

    #[tokio::test]
    async fn what_says_that_an_item_was_deleted_is_no_damage() {
        let store = Store::in_memory();
        let item = "0000000000000001/1970-01/01/000000001-a.item";
        let said = gone(ChannelId(1));
        store.create("gone", said.clone()).await.unwrap();
        store.create("other", gone(ChannelId(2))).await.unwrap();
        let look = async |name: &str, named: &str| look(&store, name, named, 20).await.unwrap();
        let Found::Whole(looked, _) = look("gone", item).await else {
            panic!("it is none");
        };
        assert_eq!((looked.items, looked.newest), (0, None));
        assert_eq!(looked.sha256, Sum::of(&said));
        assert!(matches!(look("other", item).await, Found::Damaged(..)));
        assert!(matches!(look("gone", NAMED).await, Found::Damaged(..)));
    }

    #[tokio::test]
    async fn a_large_object_is_copied_part_by_part_if_it_is_the_right_one() {
        let (from, to) = (Store::in_memory(), Store::in_memory());
        let bytes = Bytes::from(vec![7; (PART + 5) as usize]);
        from.create("a", bytes.clone()).await.unwrap();
        let copy = async |name: &str, expected| {
            let (reads, writes) = (BackupError::Archive, BackupError::Place);
            copy_by_parts((&from, name, reads), (&to, "b", writes), expected).await
        };
        let sum = Sum::of(&bytes);
        assert_eq!(copy("none", sum).await.unwrap(), None);
        assert_eq!(copy("a", Sum::of(b"")).await.unwrap(), Some(sum));
        assert!(to.read("b", Which::All).await.unwrap().is_none());
        assert_eq!(copy("a", sum).await.unwrap(), Some(sum));
        assert_eq!(
            to.read("b", Which::All).await.unwrap().unwrap().bytes,
            bytes
        );
    }
}
