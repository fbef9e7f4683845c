//! Reading a segment's log from its start, whatever has happened to it.
//!
//! The scan gives every intact record and names every range of bytes that is none. After a range
//! it cannot read it looks for the next frame whose salted checksum holds, so a damaged record
//! costs itself and nothing else.

use std::io;

use memchr::memmem;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::files::LogFile;
use super::header::{HEADER_LEN, SegmentHeader};
use super::ids::ChannelId;
use super::record::{FRAME_LEN, Frame, HEAD_MAX, MAGIC, Record, decode_body};

const WINDOW: usize = 1024 * 1024;

/// One step of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An intact record.
    Record {
        /// Where its frame stands.
        offset: u64,
        /// Its frame.
        frame: Frame,
        /// What it says.
        record: Record,
    },
    /// Bytes that are no record.
    Gap(Gap),
}

/// A range of a log that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first byte of it.
    pub from: u64,
    /// The first byte behind it.
    pub to: u64,
    /// The channel of the record that stood there, if its frame still says so.
    pub channel: Option<ChannelId>,
}

impl Gap {
    /// Records of any channel are lost, nobody can tell from where.
    pub const SOMEWHERE: Self = Self {
        from: 0,
        to: 0,
        channel: None,
    };
}

/// A scan of one log.
pub struct Scan<'a> {
    file: &'a dyn LogFile,
    salt: u64,
    length: u64,
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scan<'a> {
    /// A scan from the first record on. `salt` is the segment's; the header was read already, or
    /// could not be.
    ///
    /// # Errors
    /// What the file says of its length.
    pub fn new(file: &'a dyn LogFile, salt: u64) -> io::Result<Self> {
        Ok(Self {
            file,
            salt,
            length: file.length()?,
            at: HEADER_LEN as u64,
            window: Vec::new(),
            window_at: 0,
        })
    }

    /// The log's length when the scan began.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next record or gap; `None` at the end.
    ///
    /// # Errors
    /// What the file says when it is read: not a damaged record, but a disk that does not answer.
    pub fn next(&mut self) -> io::Result<Option<Found>> {
        if self.at >= self.length {
            return Ok(None);
        }
        let offset = self.at;
        let (salt, length) = (self.salt, self.length);
        let Ok(frame) = Frame::decode(self.bytes(offset, FRAME_LEN)?, salt, offset) else {
            let to = self.next_frame(offset + 1)?;
            self.at = to;
            return Ok(Some(Found::Gap(Gap {
                from: offset,
                to,
                channel: None,
            })));
        };
        let end = offset + frame.record_len();
        let gap = Gap {
            from: offset,
            to: end.min(length),
            channel: Some(frame.channel),
        };
        self.at = gap.to;
        if end > length {
            return Ok(Some(Found::Gap(gap)));
        }
        Ok(Some(match self.body(offset, &frame)? {
            Some(record) => Found::Record {
                offset,
                frame,
                record,
            },
            None => Found::Gap(gap),
        }))
    }

    /// The record whose frame stands at `offset`, if its body is intact.
    fn body(&mut self, offset: u64, frame: &Frame) -> io::Result<Option<Record>> {
        let start = offset + FRAME_LEN as u64;
        let length = frame.body_len as usize;
        let intact = if length <= WINDOW {
            xxh3_64(self.bytes(start, length)?) == frame.body_sum
        } else {
            checksum(self.file, start, u64::from(frame.body_len))? == frame.body_sum
        };
        if !intact {
            return Ok(None);
        }
        // A payload need not be here, but a seal with many cuts is longer than any item's head.
        let head = self.bytes(start, if length <= WINDOW { length } else { HEAD_MAX })?;
        Ok(decode_body(head).ok().map(|(record, _)| record))
    }

    /// The offset of the first frame at or behind `from`; the log's end if there is none.
    fn next_frame(&mut self, from: u64) -> io::Result<u64> {
        let (salt, length) = (self.salt, self.length);
        let mut from = from;
        while from < length {
            let bytes = self.bytes(from, WINDOW)?;
            let finder = memmem::Finder::new(&MAGIC);
            let mut candidate = None;
            for at in finder.find_iter(bytes) {
                let offset = from + at as u64;
                let rest = bytes.get(at..).unwrap_or_default();
                if rest.len() < FRAME_LEN && offset + (FRAME_LEN as u64) <= length {
                    // The window ends inside this frame: look at it in the next one.
                    candidate = Some((offset, false));
                    break;
                }
                if Frame::decode(rest, salt, offset).is_ok() {
                    candidate = Some((offset, true));
                    break;
                }
            }
            match candidate {
                Some((offset, true)) => return Ok(offset),
                Some((offset, false)) => from = offset,
                // The magic may straddle the window's end.
                None => {
                    let step = bytes.len().saturating_sub(MAGIC.len() - 1).max(1);
                    from += step as u64;
                }
            }
        }
        Ok(length)
    }

    /// Up to `wanted` bytes from `offset` on; fewer only where the log ends.
    fn bytes(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let inside = offset >= self.window_at
            && offset + wanted as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            self.window.resize(WINDOW.max(wanted).min(left), 0);
            let read = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(read);
            self.window_at = offset;
        }
        let start = (offset - self.window_at) as usize;
        let end = (start + wanted).min(self.window.len());
        Ok(self.window.get(start..end).unwrap_or_default())
    }
}

/// The checksum of a range of a file, read in parts so that a large one needs no memory.
///
/// # Errors
/// What the file says when it is read; `UnexpectedEof` if it is too short.
pub fn checksum(file: &dyn LogFile, from: u64, length: u64) -> io::Result<u64> {
    let mut hasher = Xxh3::new();
    let mut buf = vec![0; 256 * 1024];
    let mut done = 0;
    while done < length {
        let wanted = (buf.len() as u64).min(length - done) as usize;
        let part = buf.get_mut(..wanted).unwrap_or_default();
        if file.read_at(part, from + done)? < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(part);
        done += wanted as u64;
    }
    Ok(hasher.digest())
}

/// Reads the header at the front of a log; `None` if it is damaged.
///
/// # Errors
/// What the file says when it is read.
pub fn read_header(file: &dyn LogFile) -> io::Result<Option<SegmentHeader>> {
    let mut bytes = [0; HEADER_LEN];
    let read = file.read_at(&mut bytes, 0)?;
    Ok(SegmentHeader::decode(bytes.get(..read).unwrap_or_default()))
}
