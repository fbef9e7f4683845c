//! Bodies: reading those of requests within their limits, and those of responses.

mod inflight;

use std::io::{self, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use thiserror::Error;
use tokio::time::Instant;

use self::inflight::Full;
pub use self::inflight::{Budgets, Inflight, Share};

/// The body of a response.
#[derive(Default)]
pub enum ReplyBody {
    /// None.
    #[default]
    Empty,
    /// In memory.
    Whole(Bytes),
    /// Made while it is sent.
    Parts(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>),
    /// Compressed while it is sent.
    Compressed(UnsyncBoxBody<Bytes, io::Error>),
}

impl From<String> for ReplyBody {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Parts(parts) => {
                let part = parts.as_mut().poll_next(context);
                if let Poll::Ready(None) = part {
                    // Whoever compresses asks once more after the end, which a stream need not bear.
                    *self = Self::Empty;
                }
                part.map(|part| part.map(|part| part.map(Frame::data)))
            }
            Self::Compressed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Parts(_) => false,
            Self::Compressed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Parts(_) => SizeHint::default(),
            Self::Compressed(body) => body.size_hint(),
        }
    }
}

impl From<Full> for BodyError {
    fn from(_: Full) -> Self {
        Self::Busy
    }
}

/// Why a request's body was not read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than allowed.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// How many bytes are allowed.
        limit: u64,
    },
    /// Too many bytes of other bodies are in flight.
    #[error("too many bytes are in flight")]
    Busy,
    /// Its next part did not come in time.
    #[error("no part of the body came for {} ms", patience.as_millis())]
    TooSlow {
        /// How long was waited.
        patience: Duration,
    },
    /// Its parts come, but too little by too little.
    #[error("only {length} bytes of the body came in {} ms", allowed.as_millis())]
    Trickle {
        /// How much came.
        length: u64,
        /// In which time.
        allowed: Duration,
    },
    /// The client went away, or sent what is no body.
    #[error("the body could not be read: {reason}")]
    Broken {
        /// What happened.
        reason: String,
    },
    /// It is coded in a way that the hub does not know.
    #[error("unknown Content-Encoding {coding:?}")]
    UnknownCoding {
        /// What the header says.
        coding: String,
    },
    /// It is not coded as its header says.
    #[error("the body is not valid {coding}")]
    BadCoding {
        /// What the header says.
        coding: &'static str,
    },
}

/// How bodies of requests are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As they are.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or what some clients send under the same name, RFC 1951.
    Deflate,
}

impl Coding {
    /// The coding that a `Content-Encoding` names.
    ///
    /// # Errors
    /// [`BodyError::UnknownCoding`].
    pub fn of(headers: &http::HeaderMap) -> Result<Self, BodyError> {
        let Some(value) = headers.get(http::header::CONTENT_ENCODING) else {
            return Ok(Self::Identity);
        };
        let text = value.to_str().unwrap_or("?").trim();
        match text.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            _ => Err(BodyError::UnknownCoding {
                coding: text.chars().take(100).collect(),
            }),
        }
    }
}

/// How bodies are read.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// The longest a body may be, decoded or not, in bytes.
    pub bytes: u64,
    /// The longest pause between two parts, and what a body as a whole may take beyond its time at
    /// the slowest allowed pace.
    pub patience: Duration,
}

/// The slowest that a body may come as a whole, in bytes a second.
const SLOWEST: u64 = 16 * 1024;

/// How long a body may take of which that many bytes have come. Without this limit a body could
/// hold its share of the bytes in flight for ever, with a byte now and then.
fn allowed(patience: Duration, length: u64) -> Duration {
    let at_slowest = Duration::from_millis(length.saturating_mul(1000) / SLOWEST);
    patience.saturating_add(at_slowest)
}

/// How fast a body comes. Only waiting takes a look at the clock.
struct Pace {
    patience: Duration,
    began: Option<Instant>,
}

impl Pace {
    /// Waits for the next part of a body of which that many bytes have come.
    async fn wait<T>(
        &mut self,
        length: u64,
        next: impl Future<Output = T>,
    ) -> Result<T, BodyError> {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let patience = self.patience;
        let allowed = allowed(patience, length);
        let left = allowed.saturating_sub(now.duration_since(began));
        let waited = tokio::time::timeout(left.min(patience), next).await;
        waited.map_err(|_| {
            if left < patience {
                BodyError::Trickle { length, allowed }
            } else {
                BodyError::TooSlow { patience }
            }
        })
    }
}

/// Reads a body whole, and decodes it. Its bytes count as in flight until the last of them is let go
/// of, whoever has them then: a client that has gone may leave its item before a slow disk.
///
/// # Errors
/// [`BodyError`]; too large a body is refused as soon as that is known.
pub async fn read<B>(
    mut body: B,
    coding: Coding,
    limits: &BodyLimits,
    inflight: &Inflight,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut frames = Frames::of(&mut body, limits, inflight)?;
    let mut share = inflight.share();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(data) = frames.next().await? {
        share.cover(frames.length)?;
        if first.is_empty() {
            // Most bodies come in one part, which needs no copy.
            first = data;
        } else {
            if rest.is_empty() {
                rest.reserve(frames.declared.min(STEP) as usize);
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&data);
        }
    }
    let raw = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    match coding {
        Coding::Identity => Ok(share.of(raw)),
        // Clients say how they code bodies also where they send none.
        _ if raw.is_empty() => Ok(raw),
        coding => decode(raw, coding, limits.bytes, share).await,
    }
}

/// Reads a body piece by piece, and keeps none of it: `take` is told each piece, and says how many
/// bytes it holds then. Gives those a share of the bytes in flight.
///
/// # Errors
/// As [`read`], and what `take` says.
pub async fn read_pieces<B, E>(
    mut body: B,
    coding: Coding,
    limits: &BodyLimits,
    inflight: &Inflight,
    mut take: impl FnMut(&[u8]) -> Result<usize, E>,
) -> Result<Held, E>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
    E: From<BodyError>,
{
    let mut share = inflight.share();
    if coding == Coding::Identity {
        let mut frames = Frames::of(&mut body, limits, inflight)?;
        while let Some(data) = frames.next().await? {
            let held = take(&data)? as u64;
            share.cover(held).map_err(BodyError::from)?;
        }
    } else {
        let decoded = read(body, coding, limits, inflight).await?;
        for piece in decoded.chunks(STEP as usize) {
            let held = take(piece)? as u64;
            share.cover(held).map_err(BodyError::from)?;
            tokio::task::yield_now().await;
        }
    }
    Ok(Held(share))
}

/// A share of the bytes in flight for what was made of a body.
#[derive(Debug)]
pub struct Held(Share);

impl Held {
    /// The bytes that it is for: it is given back with the last of them.
    ///
    /// # Errors
    /// [`BodyError::Busy`] if they are more than it was asked for, and there is no more.
    pub fn of(mut self, bytes: Bytes) -> Result<Bytes, BodyError> {
        self.0.cover(bytes.len() as u64)?;
        self.0.give_back_to(bytes.len() as u64);
        Ok(self.0.of(bytes))
    }
}

/// The frames of a body, with a limit to how many bytes they are and how long they take.
struct Frames<'b, B> {
    body: &'b mut B,
    limit: u64,
    declared: u64,
    length: u64,
    pace: Pace,
}

impl<'b, B> Frames<'b, B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    fn of(body: &'b mut B, limits: &BodyLimits, inflight: &Inflight) -> Result<Self, BodyError> {
        // A body that is larger than all that may be in flight never fits.
        let limit = limits.bytes.min(inflight.most());
        let declared = body.size_hint().lower();
        if declared > limit {
            return Err(BodyError::TooLarge { limit });
        }
        // What does not fit now is not waited for. What does takes room only as it comes: a client
        // that merely says that it will send much holds nothing.
        if declared > inflight.room() {
            return Err(BodyError::Busy);
        }
        Ok(Self {
            body,
            limit,
            declared,
            length: 0,
            pace: Pace {
                patience: limits.patience,
                began: None,
            },
        })
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let frame = match next_now(self.body).await {
                Some(frame) => frame,
                None => self.pace.wait(self.length, self.body.frame()).await?,
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| BodyError::Broken {
                reason: error.to_string(),
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.length += data.len() as u64;
            if self.length > self.limit {
                return Err(BodyError::TooLarge { limit: self.limit });
            }
            return Ok(Some(data));
        }
    }
}

/// How many bytes are made room for ahead, and decoded at a time.
const STEP: u64 = 256 * 1024;

/// The longest that a body is read on that nobody wants.
const DRAIN: Duration = Duration::from_secs(30);

/// Reads what is left of a body that nobody wants, aside, so that its sender gets to see the
/// answer: a connection that closes on unread bytes is reset, and the answer may be lost with it.
///
/// Gives up on more than so many bytes, and on what takes too long; then the connection does close.
pub async fn drain<B>(mut body: B, most: u64)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    if body.is_end_stream() {
        return;
    }
    // Most were read to their end, which of chunks is known only now.
    if let Some(None | Some(Err(_))) = next_now(&mut body).await {
        return;
    }
    tokio::spawn(tokio::time::timeout(DRAIN, async move {
        let mut left = most;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    }));
}

/// The next frame if it is there without waiting, so that only a body that is waited for needs a
/// timer.
async fn next_now<B: Body + Unpin>(
    body: &mut B,
) -> Option<Option<Result<Frame<B::Data>, B::Error>>> {
    std::future::poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(frame) => Some(frame),
            Poll::Pending => None,
        })
    })
    .await
}

async fn decode(
    raw: Bytes,
    coding: Coding,
    limit: u64,
    mut share: Share,
) -> Result<Bytes, BodyError> {
    // A small body may decode to a large one, and that takes a processor's time. The share goes
    // along: the bytes are there until the decoding ends, also if nobody waits for it any more.
    let decoding = tokio::task::spawn_blocking(move || {
        let decoded = decode_bounded(&raw, coding, limit, &mut share)?;
        drop(raw);
        share.give_back_to(decoded.len() as u64);
        Ok(share.of(decoded))
    });
    decoding.await.map_err(|error| BodyError::Broken {
        reason: error.to_string(),
    })?
}

fn decode_bounded(
    raw: &[u8],
    coding: Coding,
    limit: u64,
    share: &mut Share,
) -> Result<Bytes, BodyError> {
    use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
    let mut inflate = |reader: &mut dyn io::Read, coding| {
        let mut out = Vec::new();
        loop {
            let step = io::Read::take(&mut *reader, STEP).read_to_end(&mut out);
            let step = step.map_err(|_| BodyError::BadCoding { coding })?;
            if out.len() as u64 > limit {
                return Err(BodyError::TooLarge { limit });
            }
            let needed = (raw.len() + out.len()) as u64;
            let most = share.most();
            if needed > most {
                // It would never fit, however quiet the hub.
                return Err(BodyError::TooLarge { limit: most });
            }
            share.cover(needed)?;
            if step == 0 {
                return Ok(Bytes::from(out));
            }
        }
    };
    match coding {
        Coding::Identity => Ok(Bytes::copy_from_slice(raw)),
        Coding::Gzip => inflate(&mut MultiGzDecoder::new(raw), "gzip"),
        Coding::Deflate => match inflate(&mut ZlibDecoder::new(raw), "deflate") {
            Err(BodyError::BadCoding { coding }) => inflate(&mut DeflateDecoder::new(raw), coding),
            decided => decided,
        },
    }
}

/// A body that is compressed while it is sent, boxed.
pub fn compressed<B>(body: B) -> ReplyBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = body.map_err(|error| io::Error::other(error.into()));
    ReplyBody::Compressed(body.boxed_unsync())
}

#[cfg(test)]
mod tests;
