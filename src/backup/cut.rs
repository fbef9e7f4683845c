//! An object without its later items.

use std::ops::Range;

use bytes::Bytes;

use super::error::BackupError;
use super::object::Kind;
use crate::archive::object::{Damaged, Index, ObjectWriter};
use crate::archive::reader;
use crate::archive::store::{Store, StoreError, Upload, Which};
use crate::env::Millis;

/// How much is sent at a time, in bytes; what is not longer is put at once.
const AT_ONCE: usize = 8 << 20;

/// Puts an object that has those records of another one whose times are not later than `until`. If there are none, there
/// is nothing to put.
///
/// `bytes` are those of the one to cut, if they were read; it is known to be what was written.
///
/// # Errors
/// [`BackupError`].
pub(super) async fn cut(
    from: (&Store, &str),
    bytes: Option<Bytes>,
    to: (&Store, &str),
    until: Millis,
) -> Result<(), BackupError> {
    let damaged = |damaged: Damaged| BackupError::damaged(from.1, damaged.0);
    let missing = || BackupError::damaged(from.1, "it is missing");
    let index = match &bytes {
        Some(bytes) => Index::of_object(bytes),
        None => {
            let read = reader::index(from.0, from.1).await;
            read.map_err(BackupError::Place)?.ok_or_else(missing)?
        }
    };
    let index = index.map_err(damaged)?;
    let (Some(channel), Kind::Items(_)) = Kind::of(to.1) else {
        return Err(BackupError::damaged(to.1, "it cannot be cut"));
    };
    let mut writer = ObjectWriter::new(channel);
    let mut sending = Sending { to, upload: None };
    let mut block: (Range<u64>, Bytes) = (0..0, Bytes::new());
    for record in index.records().filter(|record| record.key.millis <= until) {
        if record.is_elsewhere() {
            let pushed = writer.point(record.key, record.content_type, record.size, record.sum);
            pushed.map_err(BackupError::machine("cutting an object"))?;
            continue;
        }
        let range = index.block_of(&record);
        if block.0 != range {
            let read = match &bytes {
                Some(bytes) => bytes.slice(range.start as usize..range.end as usize),
                None => {
                    let part = from.0.read(from.1, Which::These(range.clone())).await;
                    part.map_err(BackupError::Place)?.ok_or_else(missing)?.bytes
                }
            };
            block = (range, read);
        }
        let payload = index.payload(&record, &block.1).map_err(damaged)?;
        let pushed = writer.push(record.key, record.content_type, &payload);
        pushed.map_err(BackupError::machine("cutting an object"))?;
        if writer.waiting() > AT_ONCE {
            let sent = sending.send(writer.take()).await;
            sending.or_abandon(sent).await?;
        }
    }
    if writer.is_empty() {
        return Ok(());
    }
    let last = writer.finish();
    let last = last.map_err(BackupError::machine("cutting an object"))?;
    sending.end(last).await
}

/// An object on its way, in one part or many.
struct Sending<'a> {
    to: (&'a Store, &'a str),
    upload: Option<Upload>,
}

impl Sending<'_> {
    async fn send(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => self.upload.insert(self.to.0.upload(self.to.1).await?),
        };
        upload.put(bytes).await
    }

    async fn or_abandon(&mut self, sent: Result<(), StoreError>) -> Result<(), BackupError> {
        if sent.is_err()
            && let Some(upload) = self.upload.take()
        {
            upload.abandon().await;
        }
        sent.map_err(BackupError::Archive)
    }

    async fn end(mut self, last: Bytes) -> Result<(), BackupError> {
        if self.upload.is_none() && last.len() <= AT_ONCE {
            let put = self.to.0.create(self.to.1, last).await;
            return put.map(drop).map_err(BackupError::Archive);
        }
        let sent = self.send(last).await;
        self.or_abandon(sent).await?;
        match self.upload {
            Some(upload) => upload.end().await.map_err(BackupError::Archive),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::item::{ItemKey, Suffix};
    use crate::spoke::ChannelId;

    const NAME: &str = "000000000000001f/1970-01/01/00.hour";

    fn key(at: i64) -> ItemKey {
        ItemKey::new(Millis::new(at), Suffix::parse("0").unwrap())
    }

    fn object(times: &[i64], size: usize) -> Bytes {
        let mut writer = ObjectWriter::new(ChannelId(0x1f));
        for at in times {
            let kind = (at % 2 == 0).then_some("text/plain");
            writer.push(key(*at), kind, &vec![*at as u8; size]).unwrap();
        }
        writer.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn an_object_that_is_cut_is_the_one_that_would_have_been_written_then(
            times in proptest::collection::btree_set(0i64..1000, 1..60),
            until in 0i64..1000,
            size in prop_oneof![Just(0usize), Just(100), Just(100_000)],
            held in any::<bool>(),
        ) {
            let times: Vec<i64> = times.into_iter().collect();
            let wanted: Vec<i64> = times.iter().copied().filter(|at| *at <= until).collect();
            let whole = object(&times, size);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let found = runtime.block_on(async {
                let (from, to) = (Store::in_memory(), Store::in_memory());
                from.create("copy", whole.clone()).await.unwrap();
                let bytes = held.then_some(whole);
                cut((&from, "copy"), bytes, (&to, NAME), Millis::new(until)).await.unwrap();
                to.read(NAME, Which::All).await.unwrap().map(|part| part.bytes)
            });
            let wanted = (!wanted.is_empty()).then(|| object(&wanted, size));
            prop_assert_eq!(found, wanted);
        }
    }

    #[tokio::test]
    async fn a_large_object_is_sent_part_by_part() {
        let times: Vec<i64> = (0..30).collect();
        // Bytes that do not compress.
        let mut writer = ObjectWriter::new(ChannelId(0x1f));
        let mut noise = 1u64;
        for at in &times {
            let payload: Vec<u8> = (0..1_000_000)
                .map(|_| {
                    noise = noise
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (noise >> 56) as u8
                })
                .collect();
            writer.push(key(*at), None, &payload).unwrap();
        }
        let (from, to) = (Store::in_memory(), Store::in_memory());
        from.create("copy", writer.finish().unwrap()).await.unwrap();
        cut((&from, "copy"), None, (&to, NAME), Millis::new(19))
            .await
            .unwrap();
        let found = to.read(NAME, Which::All).await.unwrap().unwrap().bytes;
        let index = Index::of_object(&found).unwrap();
        assert_eq!(index.records().len(), 20);
        assert!(found.len() > 2 * AT_ONCE);
    }
}
