//! The clock mark of a store that has nothing to append.
//!
//! Every batch carries the mark, but a hub that is only read would need a segment a minute for it,
//! and one whose disk is full could not promise its readers anything. So it also has a file of its
//! own, of fixed size: two slots written in turn, in place, each with a checksum. A write that is
//! cut off costs the slot it was in, and the other one holds the mark before it.
//!
//! It also says whether the store was closed in order, and whether something that it promised may
//! be missing, and from which time on it still holds everything. The latter two are said in both slots,
//! so that no single damaged one brings back what was true before.

use std::io::{self, IoSlice};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::files::{Files, LogFile};
use super::record::Reader;
use crate::env::Millis;

/// The file's name.
pub const NAME: &str = "CLOCK";
/// A slot is a sector, so that one write touches one slot.
const SLOT: usize = 512;

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockMark {
    /// The place of this mark in the order of batches.
    pub sequence: u64,
    /// No promise about a later time was made before this was on disk.
    pub mark: Millis,
    /// The store was closed in order at that time, and nothing was promised past it.
    pub clean: bool,
    /// Something that was promised may be missing, and has not been fetched from elsewhere yet.
    pub doubt: bool,
    /// Items of times before it may have gone to the archive, and be here no more.
    pub holds_from: Millis,
}

/// The format of a slot; the one before had no `holds_from`.
const FORMAT: u8 = 2;
const CLEAN: u8 = 1;
const DOUBT: u8 = 2;

/// The file, open.
#[derive(Debug)]
pub struct ClockFile {
    file: Arc<dyn LogFile>,
    next: usize,
    mark: Millis,
    doubt: bool,
    holds_from: Millis,
}

impl ClockFile {
    /// Opens the file, or makes it; gives what it says, if it says anything.
    ///
    /// # Errors
    /// What the folder says.
    pub fn open(files: &dyn Files) -> io::Result<(Self, Option<ClockMark>)> {
        let file = match files.open(NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = files.create(NAME)?;
                file.write_at(&[IoSlice::new(&[0; 2 * SLOT])], 0)?;
                file.sync()?;
                files.sync_folder()?;
                file
            }
            Err(error) => return Err(error),
        };
        let mut slots = [None; 2];
        for (number, slot) in slots.iter_mut().enumerate() {
            let mut bytes = [0; SLOT];
            file.read_at(&mut bytes, (number * SLOT) as u64)?;
            *slot = decode(&bytes);
        }
        let newest = |slot: &Option<ClockMark>| slot.map(|mark| mark.sequence);
        let next = usize::from(newest(&slots[0]) >= newest(&slots[1]));
        let mark = slots.into_iter().max_by_key(newest).flatten();
        let open = Self {
            file,
            next,
            mark: mark.map_or(Millis::MIN, |mark| mark.mark),
            doubt: mark.is_some_and(|mark| mark.doubt),
            holds_from: mark.map_or(Millis::MIN, |mark| mark.holds_from),
        };
        Ok((open, mark))
    }

    /// The mark that was written last.
    pub fn mark(&self) -> Millis {
        self.mark
    }

    /// Whether something that was promised may be missing.
    pub fn doubt(&self) -> bool {
        self.doubt
    }

    /// From which time on the store still holds everything.
    pub fn holds_from(&self) -> Millis {
        self.holds_from
    }

    /// Replaces the older of the two marks, and syncs it.
    ///
    /// # Errors
    /// What the file says; the newer mark is untouched then.
    pub fn write(&mut self, sequence: u64, mark: Millis, clean: bool) -> io::Result<()> {
        let slot = encode(&ClockMark {
            sequence,
            mark,
            clean,
            doubt: self.doubt,
            holds_from: self.holds_from,
        });
        let at = (self.next * SLOT) as u64;
        self.file.write_at(&[IoSlice::new(&slot)], at)?;
        self.file.sync()?;
        self.next = 1 - self.next;
        self.mark = mark;
        Ok(())
    }

    /// Replaces both marks, by ones that are not clean.
    ///
    /// # Errors
    /// What the file says; one of the earlier marks may still be there then.
    pub fn replace(&mut self, sequence: u64, mark: Millis, doubt: bool) -> io::Result<()> {
        let before = std::mem::replace(&mut self.doubt, doubt);
        let twice = [(); 2]
            .iter()
            .try_for_each(|()| self.write(sequence, mark, false));
        if twice.is_err() {
            // A doubt is only ever lifted on disk.
            self.doubt |= before;
        }
        twice
    }

    /// Says that items of times before `holds_from` may be here no more: both marks do. It only ever
    /// goes up.
    ///
    /// # Errors
    /// As [`Self::replace`]; then nothing of them may go.
    pub fn let_go(
        &mut self,
        sequence: [u64; 2],
        mark: Millis,
        holds_from: Millis,
    ) -> io::Result<()> {
        self.holds_from = self.holds_from.max(holds_from);
        let [first, second] = sequence;
        self.write(first, mark, false)?;
        self.write(second, mark, false)
    }
}

fn encode(mark: &ClockMark) -> Vec<u8> {
    let mut out = Vec::with_capacity(SLOT);
    out.extend_from_slice(&mark.sequence.to_le_bytes());
    out.extend_from_slice(&mark.mark.get().to_le_bytes());
    out.push(u8::from(mark.clean) * CLEAN + u8::from(mark.doubt) * DOUBT);
    // Never zero, so that an empty slot is no mark.
    out.push(FORMAT);
    out.extend_from_slice(&mark.holds_from.get().to_le_bytes());
    out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
    out.resize(SLOT, 0);
    out
}

fn decode(bytes: &[u8]) -> Option<ClockMark> {
    let mut reader = Reader::new(bytes);
    let sequence = u64::from_le_bytes(reader.array().ok()?);
    let mark = reader.millis().ok()?;
    let flags = reader.byte().ok()?;
    let holds_from = match reader.byte().ok()? {
        // Nothing ever went to an archive.
        1 => Millis::MIN,
        FORMAT => reader.millis().ok()?,
        _ => return None,
    };
    let covered = bytes.get(..bytes.len() - reader.rest().len())?;
    let intact = u64::from_le_bytes(reader.array().ok()?) == xxh3_64(covered);
    intact.then_some(ClockMark {
        sequence,
        mark,
        clean: flags & CLEAN != 0,
        doubt: flags & DOUBT != 0,
        holds_from,
    })
}
