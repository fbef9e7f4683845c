//! The blocks of objects: fetched one by one, or many at once where items are read one after the other.

use std::ops::Range;

use bytes::Bytes;
use tokio::sync::watch;

use super::super::object::{Damaged, Record, cut, unpack};
use super::super::store::Which;
use super::ReadArchiveError;
use super::known::{Known, Objects};

/// The most bytes of an object that are fetched at once, unless one block is larger.
const RUN_MAX: u64 = 8 << 20;
/// How much more is fetched each time that a walk along the blocks goes on.
const FASTER: u64 = 8;
/// Blocks that are larger before they are compressed are decompressed where they hold nobody up.
const LARGE: u64 = 1 << 20;

/// A block in memory.
#[derive(Debug, Clone)]
pub(super) enum Block {
    /// As it stands in the object.
    Packed(Bytes),
    /// Decompressed.
    Plain(Bytes),
}

impl Block {
    pub(super) fn bytes(&self) -> &Bytes {
        match self {
            Self::Packed(bytes) | Self::Plain(bytes) => bytes,
        }
    }
}

/// What is fetched of an object.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Which blocks are on their way; who fetches them drops the sender when they are there.
    open: Vec<(Range<usize>, watch::Receiver<()>)>,
    /// The blocks that were fetched last, and up to how many bytes at once.
    last: Range<usize>,
    most: u64,
}

impl Runs {
    /// Which blocks to fetch when that one is asked for: it alone, or more and more of those that come next
    /// in the direction of a walk.
    fn next(&mut self, known: &Known, block: usize) -> Range<usize> {
        let size = |block: usize| {
            let range = known.index.block_at(block);
            range.map_or(0, |range| range.end - range.start)
        };
        let forward = block == self.last.end && block > 0;
        let backward = block + 1 == self.last.start;
        self.most = if forward || backward {
            (self.most.max(size(block)) * FASTER).min(RUN_MAX)
        } else {
            size(block)
        };
        let mut run = block..block + 1;
        let mut bytes = size(block);
        while bytes < self.most {
            let more = if backward {
                run.start.checked_sub(1)
            } else {
                (run.end < known.index.blocks()).then_some(run.end)
            };
            let Some(more) = more.filter(|more| bytes + size(*more) <= self.most) else {
                break;
            };
            bytes += size(more);
            run = run.start.min(more)..run.end.max(more + 1);
        }
        self.last = run.clone();
        run
    }
}

/// That some blocks are on their way, for as long as it lives.
struct Fetching<'a> {
    known: &'a Known,
    run: Range<usize>,
    _sender: watch::Sender<()>,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let mut runs = self.known.runs.lock();
        runs.open.retain(|(run, _)| *run != self.run);
    }
}

/// What to do for a block that is not in memory.
enum Turn<'a> {
    Fetch(Fetching<'a>),
    Wait(watch::Receiver<()>),
}

impl Objects {
    /// A record's payload.
    pub(super) async fn payload(
        &self,
        known: &Known,
        record: &Record<'_>,
    ) -> Result<Bytes, ReadArchiveError> {
        let plain = self.plain(known, record).await?;
        cut(record, &plain).map_err(|damaged| known.damaged(damaged))
    }

    /// The payloads of a record's block.
    async fn plain(&self, known: &Known, record: &Record<'_>) -> Result<Bytes, ReadArchiveError> {
        let key = (known.id, record.number);
        let mut waited = false;
        let packed = loop {
            match self.blocks.get(&key).await {
                Some(Block::Plain(plain)) => {
                    crate::metric::archive_kept("block", !waited);
                    return Ok(plain);
                }
                Some(Block::Packed(packed)) => {
                    crate::metric::archive_kept("block", !waited);
                    break packed;
                }
                None => {}
            }
            match turn(known, record.number as usize) {
                Turn::Wait(mut there) if !waited => {
                    waited = true;
                    // It ends when the sender is dropped.
                    while there.changed().await.is_ok() {}
                }
                Turn::Wait(_) => {
                    // It was fetched and there was no room for it.
                    let alone = record.number as usize..record.number as usize + 1;
                    break self.fetch(known, alone, record).await?;
                }
                // It may have come between the two looks.
                Turn::Fetch(_) if self.blocks.contains_key(&key) => {}
                Turn::Fetch(fetching) => {
                    crate::metric::archive_kept("block", false);
                    break self.fetch(known, fetching.run.clone(), record).await?;
                }
            }
        };
        let plain = unpacked(record, packed).await;
        let plain = plain.map_err(|damaged| known.damaged(damaged))?;
        self.blocks.insert(key, Block::Plain(plain.clone())).await;
        Ok(plain)
    }

    /// Fetches blocks of which a record's is one, and gives that one.
    async fn fetch(
        &self,
        known: &Known,
        run: Range<usize>,
        record: &Record<'_>,
    ) -> Result<Bytes, ReadArchiveError> {
        let begin = known
            .index
            .block_at(run.start)
            .map_or(0, |range| range.start);
        let end = run.end.saturating_sub(1);
        let end = known.index.block_at(end).map_or(begin, |range| range.end);
        let read = self
            .store
            .read(&known.name, Which::These(begin..end))
            .await?;
        let read = match read {
            Some(read) => read.bytes,
            None => {
                self.forget(&known.name).await;
                let name = known.name.clone();
                return Err(ReadArchiveError::Missing { name });
            }
        };
        let own = known.index.block_of(record);
        let own = (own.start - begin) as usize..(own.end - begin) as usize;
        let packed = read
            .get(own)
            .map(Bytes::copy_from_slice)
            .unwrap_or_default();
        if run.len() > 1 {
            self.keep_blocks(known, run, begin, &read).await;
        }
        Ok(packed)
    }

    /// Keeps blocks, out of the bytes of an object from some place on.
    pub(super) async fn keep_blocks(
        &self,
        known: &Known,
        run: Range<usize>,
        begin: u64,
        bytes: &Bytes,
    ) {
        for block in run {
            let range = known.index.block_at(block).unwrap_or_default();
            let range = range
                .start
                .checked_sub(begin)
                .zip(range.end.checked_sub(begin));
            let part = range.and_then(|(start, end)| bytes.get(start as usize..end as usize));
            if let Some(part) = part {
                // Each by itself: they are dropped one by one.
                let packed = Block::Packed(Bytes::copy_from_slice(part));
                self.blocks.insert((known.id, block as u32), packed).await;
            }
        }
    }
}

/// Whether to fetch a block, and which with it, or to wait for who does.
fn turn(known: &Known, block: usize) -> Turn<'_> {
    let mut runs = known.runs.lock();
    let open = runs.open.iter().find(|(run, _)| run.contains(&block));
    if let Some((_, there)) = open {
        return Turn::Wait(there.clone());
    }
    let run = runs.next(known, block);
    let (sender, there) = watch::channel(());
    runs.open.push((run.clone(), there));
    Turn::Fetch(Fetching {
        known,
        run,
        _sender: sender,
    })
}

/// A record's block as it was before it was compressed; large ones where they hold nobody up.
pub(super) async fn unpacked(record: &Record<'_>, packed: Bytes) -> Result<Bytes, Damaged> {
    if record.block_size() <= LARGE {
        return unpack(record, &packed);
    }
    let record = record.place();
    let plain = tokio::task::spawn_blocking(move || unpack(&record, &packed)).await;
    plain.unwrap_or(Err(Damaged("a block was not decompressed")))
}
