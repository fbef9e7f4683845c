//! The clock mark of a store that has nothing to append.
//!
//! Every batch carries the mark, but a hub that is only read would need a segment a minute for it,
//! and one whose disk is full could not promise its readers anything. So it also has a file of its
//! own, of fixed size: two slots written in turn, in place, each with a checksum. A write that is
//! cut off costs the slot it was in, and the other one holds the mark before it.

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
}

/// The file, open.
#[derive(Debug)]
pub struct ClockFile {
    file: Arc<dyn LogFile>,
    next: usize,
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
        Ok((Self { file, next }, mark))
    }

    /// Replaces the older of the two marks, and syncs it.
    ///
    /// # Errors
    /// What the file says; the newer mark is untouched then.
    pub fn write(&mut self, mark: &ClockMark) -> io::Result<()> {
        let at = (self.next * SLOT) as u64;
        self.file.write_at(&[IoSlice::new(&encode(mark))], at)?;
        self.file.sync()?;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn encode(mark: &ClockMark) -> Vec<u8> {
    let mut out = Vec::with_capacity(SLOT);
    out.extend_from_slice(&mark.sequence.to_le_bytes());
    out.extend_from_slice(&mark.mark.get().to_le_bytes());
    out.push(u8::from(mark.clean));
    // Never zero, so that an empty slot is no mark.
    out.push(1);
    out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
    out.resize(SLOT, 0);
    out
}

fn decode(bytes: &[u8]) -> Option<ClockMark> {
    let mut reader = Reader::new(bytes);
    let mark = ClockMark {
        sequence: u64::from_le_bytes(reader.array().ok()?),
        mark: reader.millis().ok()?,
        clean: reader.byte().ok()? != 0,
    };
    reader.byte().ok().filter(|format| *format == 1)?;
    let covered = bytes.get(..bytes.len() - reader.rest().len())?;
    (u64::from_le_bytes(reader.array().ok()?) == xxh3_64(covered)).then_some(mark)
}
