//! Responses of HTTP/1.1, read as they arrive in pieces of any size.
//!
//! A response that breaks the protocol is an error, never a guess: a benchmark that misread its
//! answers would measure something else. What only matters to a browser is skipped: of the headers
//! just those are looked at that say where the response ends, and `Location`.

use std::io::BufRead as _;

use thiserror::Error;

/// The longest line of a head, or of what stands around chunks.
const LINE_MAX: usize = 64 * 1024;

/// Why bytes are no response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// It does not begin as one.
    #[error("no status line: {line:?}")]
    StatusLine {
        /// What came instead.
        line: String,
    },
    /// A line of the head, or after the last chunk, is no header.
    #[error("no header: {line:?}")]
    Header {
        /// What came instead.
        line: String,
    },
    /// Nothing says where the body ends, or two headers say it differently.
    #[error("no length to go by: {line:?}")]
    Length {
        /// The header.
        line: String,
    },
    /// A chunk does not begin with its size, or not end with a line's end.
    #[error("no chunk: {line:?}")]
    Chunk {
        /// What came instead.
        line: String,
    },
    /// A line is too long, or does not end as HTTP's lines do.
    #[error("a line that does not end with CR LF within {max} bytes", max = LINE_MAX)]
    Line,
    /// The connection ended first.
    #[error("the connection ended within a response")]
    Truncated,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Status,
    Header,
    /// So many bytes of the body.
    Body(u64),
    /// A body that ends with the connection.
    End,
    ChunkSize,
    /// So many bytes of the chunk.
    Chunk(u64),
    ChunkEnd,
    Trailer,
    Nothing,
}

/// Reads one response after the other.
#[derive(Debug)]
pub struct ResponseReader {
    expect: Expect,
    /// The line that is being read; an unfinished one waits here for its rest.
    line: Vec<u8>,
    status: u16,
    length: Option<u64>,
    chunked: bool,
    keep_alive: bool,
    location: Vec<u8>,
    body_len: u64,
    body: Vec<u8>,
    body_max: usize,
}

impl ResponseReader {
    /// Keeps the first `body_max` bytes of each body; longer ones are read and counted.
    pub const fn new(body_max: usize) -> Self {
        Self {
            expect: Expect::Status,
            line: Vec::new(),
            status: 0,
            length: None,
            chunked: false,
            keep_alive: true,
            location: Vec::new(),
            body_len: 0,
            body: Vec::new(),
            body_max,
        }
    }

    /// Forgets the last response and waits for the next. (The request must not be HEAD.)
    pub fn start(&mut self) {
        self.line.clear();
        self.body.clear();
        self.body_len = 0;
        self.start_head();
    }

    fn start_head(&mut self) {
        self.expect = Expect::Status;
        self.length = None;
        self.chunked = false;
        self.location.clear();
    }

    /// Takes what arrived; gives back how many bytes belong to this response. They are fewer than
    /// there are only if it is complete.
    pub fn read(&mut self, input: &[u8]) -> Result<usize, WireError> {
        let mut rest = input;
        while !rest.is_empty() && self.expect != Expect::Nothing {
            match self.expect {
                Expect::Body(left) => {
                    self.expect = match self.take(&mut rest, left) {
                        0 => Expect::Nothing,
                        left => Expect::Body(left),
                    }
                }
                Expect::Chunk(left) => {
                    self.expect = match self.take(&mut rest, left) {
                        0 => Expect::ChunkEnd,
                        left => Expect::Chunk(left),
                    }
                }
                Expect::End => {
                    self.take(&mut rest, u64::MAX);
                }
                _ => self.read_line(&mut rest)?,
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Takes the end of the connection.
    pub fn finish(&mut self) -> Result<(), WireError> {
        match self.expect {
            Expect::Nothing | Expect::End => {
                self.expect = Expect::Nothing;
                Ok(())
            }
            _ => Err(WireError::Truncated),
        }
    }

    /// Whether the response is complete.
    pub fn is_done(&self) -> bool {
        self.expect == Expect::Nothing
    }

    /// Whether no byte of it has come yet.
    pub fn is_unbegun(&self) -> bool {
        self.expect == Expect::Status && self.line.is_empty()
    }

    /// Its status.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Whether the connection takes a further request.
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The value of `Location`; empty if there is none.
    pub fn location(&self) -> &[u8] {
        &self.location
    }

    /// How long the body is.
    pub const fn body_len(&self) -> u64 {
        self.body_len
    }

    /// The body, as far as it is kept.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes at most `left` bytes of a body; gives back how many are still missing.
    fn take(&mut self, rest: &mut &[u8], left: u64) -> u64 {
        let here = left.min(rest.len() as u64) as usize;
        let (taken, after) = rest.split_at(here);
        let room = self.body_max.saturating_sub(self.body.len());
        let kept = taken.get(..room).unwrap_or(taken);
        self.body.extend_from_slice(kept);
        self.body_len += here as u64;
        *rest = after;
        left - here as u64
    }

    fn read_line(&mut self, rest: &mut &[u8]) -> Result<(), WireError> {
        let mut line = std::mem::take(&mut self.line);
        // Reading from memory cannot fail.
        rest.read_until(b'\n', &mut line).unwrap_or_default();
        if line.len() > LINE_MAX {
            return Err(WireError::Line);
        }
        if line.ends_with(b"\n") {
            let text = line.strip_suffix(b"\r\n").ok_or(WireError::Line)?;
            self.expect = self.take_line(text)?;
            line.clear();
        }
        self.line = line;
        Ok(())
    }

    /// Takes a line; gives back what follows it.
    fn take_line(&mut self, line: &[u8]) -> Result<Expect, WireError> {
        match self.expect {
            Expect::Status => {
                (self.status, self.keep_alive) =
                    status(line).ok_or_else(|| WireError::StatusLine { line: text(line) })?;
                Ok(Expect::Header)
            }
            Expect::Header if line.is_empty() => Ok(self.take_head()),
            Expect::Header => {
                self.take_header(line)?;
                Ok(Expect::Header)
            }
            Expect::Trailer if line.is_empty() => Ok(Expect::Nothing),
            Expect::Trailer => {
                header(line)?;
                Ok(Expect::Trailer)
            }
            Expect::ChunkSize => match chunk_size(line) {
                Some(0) => Ok(Expect::Trailer),
                Some(size) => Ok(Expect::Chunk(size)),
                None => Err(WireError::Chunk { line: text(line) }),
            },
            Expect::ChunkEnd if line.is_empty() => Ok(Expect::ChunkSize),
            Expect::ChunkEnd => Err(WireError::Chunk { line: text(line) }),
            Expect::Body(_) | Expect::Chunk(_) | Expect::End | Expect::Nothing => Ok(self.expect),
        }
    }

    fn take_header(&mut self, line: &[u8]) -> Result<(), WireError> {
        let (name, value) = header(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value, 10).ok_or_else(|| WireError::Length { line: text(line) })?;
            if self
                .length
                .replace(length)
                .is_some_and(|other| other != length)
            {
                return Err(WireError::Length { line: text(line) });
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(WireError::Length { line: text(line) });
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if token.eq_ignore_ascii_case(b"close") {
                    self.keep_alive = false;
                } else if token.eq_ignore_ascii_case(b"keep-alive") {
                    self.keep_alive = true;
                }
            }
        } else if name.eq_ignore_ascii_case(b"location") {
            self.location.clear();
            self.location.extend_from_slice(value);
        }
        Ok(())
    }

    /// Takes the end of the head; gives back what follows it.
    fn take_head(&mut self) -> Expect {
        match (self.status, self.chunked, self.length) {
            (100..=199, _, _) => {
                self.start_head();
                Expect::Status
            }
            (204 | 304, _, _) | (_, false, Some(0)) => Expect::Nothing,
            (_, true, _) => Expect::ChunkSize,
            (_, false, Some(length)) => Expect::Body(length),
            (_, false, None) => {
                self.keep_alive = false;
                Expect::End
            }
        }
    }
}

/// The status, and whether its version keeps connections.
fn status(line: &[u8]) -> Option<(u16, bool)> {
    let (minor, rest) = line.strip_prefix(b"HTTP/1.")?.split_first()?;
    let (digits, after) = rest.strip_prefix(b" ")?.split_first_chunk::<3>()?;
    let status = number(digits, 10).filter(|status| (100..=599).contains(status))?;
    let ends = after.first().is_none_or(|&byte| byte == b' ');
    (ends && minor.is_ascii_digit()).then_some((status as u16, *minor != b'0'))
}

fn header(line: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let mut halves = line.splitn(2, |&byte| byte == b':');
    match (halves.next(), halves.next()) {
        (Some(name), Some(value)) if is_name(name) => Ok((name, value.trim_ascii())),
        _ => Err(WireError::Header { line: text(line) }),
    }
}

/// Whether it is the name of a header: a blank before the colon, or a folded line, is none.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|&byte| byte == b';').next()?;
    number(size.trim_ascii_end(), 16)
}

/// The number; `None` if there is anything else than its digits, or it is too large.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    u64::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
}

/// The beginning of a line, for a message.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(80).collect()
}

#[cfg(test)]
mod tests;
