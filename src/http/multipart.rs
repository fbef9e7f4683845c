//! Reading `multipart/*` bodies (RFC 2046 §5.1) part by part, as they come.
//!
//! The rules are those of the API's contract, which are a little more lenient and a little stricter
//! than the RFC: a line of blanks ends a part's headers, and of the headers two are read. [`Parser`]
//! is pure: it is fed bytes in pieces of any size and says what they hold, and keeps no more of them
//! than one line of a header or the beginning of a boundary.

use bytes::{Buf as _, BytesMut};
use memchr::memmem;
use thiserror::Error;

/// The longest boundary. RFC 2046 allows 70 characters; some clients take more.
const BOUNDARY_MAX: usize = 256;
/// The longest line of a part's headers, in bytes.
const LINE_MAX: usize = 8 * 1024;
/// The most header lines of a part.
const LINES_MAX: usize = 64;

/// What a body holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part begins.
    Begin(PartHead),
    /// More of its payload.
    Data(&'a [u8]),
    /// It has ended.
    End,
}

/// What the headers of a part say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartHead {
    /// Its `Content-Type`, as it was sent; `None` if there is none, or a blank one.
    pub content_type: Option<String>,
    /// Whether it has a `Content-Key`.
    pub has_key: bool,
}

/// A body that is no multipart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A line of a part's headers is too long.
    #[error("a line of a part's headers has more than {LINE_MAX} bytes")]
    LongLine,
    /// A part has too many headers.
    #[error("a part has more than {LINES_MAX} lines of headers")]
    ManyLines,
}

/// The boundary that a `Content-Type` names: all that comes after `boundary=`, trimmed, without
/// quotes around it; `None` if it is no `multipart/*`, or names none.
pub fn boundary(content_type: &str) -> Option<&str> {
    let kind = content_type.trim_start().split('/').next()?;
    if !kind.eq_ignore_ascii_case("multipart") || !content_type.contains('/') {
        return None;
    }
    let name = b"boundary=";
    let at = content_type
        .as_bytes()
        .windows(name.len())
        .position(|window| window.eq_ignore_ascii_case(name))?;
    let text = content_type.get(at + name.len()..)?.trim();
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let text = inner.unwrap_or(text);
    (1..=BOUNDARY_MAX).contains(&text.len()).then_some(text)
}

/// Where in a body the parser is.
#[derive(Debug)]
enum At {
    /// Before the first boundary.
    Preamble,
    /// In a part's headers, of which so many lines were read.
    Headers(PartHead, usize),
    /// In a part's payload; at its beginning the end of the headers' last line is still there, as the
    /// beginning of a boundary that follows at once.
    Payload { is_new: bool },
    /// Behind the last boundary.
    Epilogue,
}

/// Takes a body apart.
#[derive(Debug)]
pub struct Parser {
    /// A line end, `--` and the boundary.
    delimiter: memmem::Finder<'static>,
    buffer: BytesMut,
    at: At,
}

impl Parser {
    /// A parser of a body with that boundary.
    pub fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        let mut buffer = BytesMut::new();
        // As if a line had ended before the first one: a boundary may be the first.
        buffer.extend_from_slice(b"\r\n");
        Self {
            delimiter: memmem::Finder::new(delimiter.as_bytes()).into_owned(),
            buffer,
            at: At::Preamble,
        }
    }

    /// How many bytes it keeps until more come.
    pub fn kept(&self) -> usize {
        self.buffer.len()
    }

    /// Takes more of the body, and tells `sink` what there is in it.
    ///
    /// # Errors
    /// [`Malformed`], and what `sink` says; the parser is of no use afterwards.
    pub fn feed<E: From<Malformed>>(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if matches!(self.at, At::Epilogue) {
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        while self.step(sink)? {}
        Ok(())
    }

    /// Goes on as far as one part of the body; `false` once more bytes are needed.
    fn step<E: From<Malformed>>(
        &mut self,
        sink: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        match &mut self.at {
            At::Epilogue => {
                self.buffer.clear();
                Ok(false)
            }
            At::Preamble => {
                let (skipped, found) = self.delimited(0);
                self.buffer.advance(skipped);
                Ok(found && self.past_delimiter())
            }
            At::Headers(head, lines) => {
                let Some(end) = memmem::find(&self.buffer, b"\r\n") else {
                    let too_long = self.buffer.len() > LINE_MAX;
                    return if too_long {
                        Err(Malformed::LongLine)?
                    } else {
                        Ok(false)
                    };
                };
                let line = self.buffer.get(..end).unwrap_or_default();
                if end > LINE_MAX {
                    Err(Malformed::LongLine)?;
                }
                if line.trim_ascii().is_empty() {
                    let head = std::mem::take(head);
                    self.buffer.advance(end);
                    self.at = At::Payload { is_new: true };
                    sink(Event::Begin(head))?;
                    return Ok(true);
                }
                *lines += 1;
                if *lines > LINES_MAX {
                    Err(Malformed::ManyLines)?;
                }
                head.take(line);
                self.buffer.advance(end + 2);
                Ok(true)
            }
            At::Payload { is_new } => {
                let is_new = *is_new;
                let (data, found) = self.delimited(0);
                if is_new && !found && data <= 2 {
                    return Ok(false);
                }
                let front = if is_new { data.min(2) } else { 0 };
                let payload = self.buffer.get(front..data).unwrap_or_default();
                if !payload.is_empty() {
                    sink(Event::Data(payload))?;
                }
                self.buffer.advance(data);
                self.at = At::Payload { is_new: false };
                if !found {
                    return Ok(false);
                }
                sink(Event::End)?;
                Ok(self.past_delimiter())
            }
        }
    }

    /// How many bytes from the front are sure to be before the next boundary, and whether it follows
    /// on them.
    fn delimited(&self, from: usize) -> (usize, bool) {
        let length = self.delimiter.needle().len();
        let mut at = from;
        loop {
            let rest = self.buffer.get(at..).unwrap_or_default();
            let Some(found) = self.delimiter.find(rest) else {
                // What may be the beginning of one stays.
                return (self.buffer.len().saturating_sub(length - 1).max(at), false);
            };
            let start = at + found;
            match self.buffer.get(start + length..start + length + 2) {
                Some(b"\r\n" | b"--") => return (start, true),
                // A longer word that begins like it.
                Some(_) => at = start + 2,
                None => return (start, false),
            }
        }
    }

    /// Steps over a boundary that stands at the front; `false` if it was the last.
    fn past_delimiter(&mut self) -> bool {
        let length = self.delimiter.needle().len();
        let is_last = self.buffer.get(length..length + 2) == Some(b"--");
        self.buffer.advance(length + 2);
        self.at = if is_last {
            self.buffer.clear();
            At::Epilogue
        } else {
            At::Headers(PartHead::default(), 0)
        };
        !is_last
    }
}

impl PartHead {
    /// Takes a line of a part's headers.
    fn take(&mut self, line: &[u8]) {
        let Some(colon) = memchr::memchr(b':', line) else {
            return;
        };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-type") {
            let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
            let value = value.trim();
            self.content_type = (!value.is_empty()).then(|| value.to_owned());
        } else if name.eq_ignore_ascii_case(b"content-key") {
            self.has_key = true;
        }
    }
}

/// Takes any bytes apart, in pieces whose length the first byte gives.
///
/// # Panics
/// If more is kept or given than was fed: that is what a fuzzer looks for.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let Some((piece, rest)) = data.split_first() else {
        return;
    };
    let (boundary, body) = match rest.iter().position(|byte| *byte == 0) {
        Some(at) => (rest.get(..at), rest.get(at + 1..)),
        None => (Some(&b"b"[..]), Some(rest)),
    };
    let text = String::from_utf8_lossy(boundary.unwrap_or_default());
    let header = format!("multipart/mixed; boundary={text}");
    let (Some(boundary), Some(body)) = (self::boundary(&header), body) else {
        return;
    };
    let mut parser = Parser::new(boundary);
    let mut given = 0;
    for piece in body.chunks(usize::from(*piece).max(1)) {
        let fed = parser.feed(piece, &mut |event| {
            if let Event::Data(data) = event {
                given += data.len();
            }
            Ok::<(), Malformed>(())
        });
        let kept = parser.kept();
        assert!(
            kept <= LINE_MAX + piece.len() + boundary.len() + 8,
            "{kept} bytes are kept"
        );
        if fed.is_err() {
            return;
        }
    }
    assert!(given <= body.len());
}

#[cfg(test)]
mod tests;
