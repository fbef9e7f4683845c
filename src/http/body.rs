//! Bodies: reading those of requests within their limits, and those of responses.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
            Self::Parts(parts) => parts
                .as_mut()
                .poll_next(context)
                .map(|part| part.map(|part| part.map(Frame::data))),
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

/// The bytes of all bodies that are in flight, bounded.
#[derive(Debug, Clone)]
pub struct Inflight {
    permits: Arc<Semaphore>,
    total: usize,
}

/// One permit stands for this many bytes.
const PERMIT_BYTES: u64 = 1024;

/// A share of the bytes in flight, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    inflight: Inflight,
    permits: Option<OwnedSemaphorePermit>,
    bytes: u64,
}

impl Inflight {
    /// At most that many bytes.
    pub fn new(bytes: u64) -> Self {
        let total = usize::try_from(bytes / PERMIT_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(total)),
            total,
        }
    }

    /// How many bytes are in flight, roughly.
    pub fn bytes(&self) -> u64 {
        (self.total - self.permits.available_permits().min(self.total)) as u64 * PERMIT_BYTES
    }

    fn share(&self) -> Share {
        Share {
            inflight: self.clone(),
            permits: None,
            bytes: 0,
        }
    }
}

impl Share {
    /// Grows to that many bytes.
    fn cover(&mut self, bytes: u64) -> Result<(), BodyError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let wanted = bytes.div_ceil(PERMIT_BYTES) - self.bytes.div_ceil(PERMIT_BYTES);
        let wanted = u32::try_from(wanted).map_err(|_| BodyError::Busy)?;
        let more = Arc::clone(&self.inflight.permits).try_acquire_many_owned(wanted);
        let more = more.map_err(|_| BodyError::Busy)?;
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            None => self.permits = Some(more),
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// How bodies are read.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// The longest a body may be, decoded or not, in bytes.
    pub bytes: u64,
    /// The longest pause between two parts.
    pub patience: Duration,
}

/// Reads a body whole, and decodes it. The share is to be held until the bytes are no longer
/// needed.
///
/// # Errors
/// [`BodyError`]; too large a body is refused as soon as that is known.
pub async fn read<B>(
    mut body: B,
    coding: Coding,
    limits: &BodyLimits,
    inflight: &Inflight,
) -> Result<(Bytes, Share), BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let too_large = || BodyError::TooLarge {
        limit: limits.bytes,
    };
    let hint = body.size_hint();
    if hint.lower() > limits.bytes {
        return Err(too_large());
    }
    let mut share = inflight.share();
    share.cover(hint.lower())?;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut length = 0u64;
    loop {
        let frame = match next_now(&mut body).await {
            Some(frame) => frame,
            None => tokio::time::timeout(limits.patience, body.frame())
                .await
                .map_err(|_| BodyError::TooSlow {
                    patience: limits.patience,
                })?,
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| BodyError::Broken {
            reason: error.to_string(),
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len() as u64;
        if length > limits.bytes {
            return Err(too_large());
        }
        share.cover(length)?;
        if first.is_empty() {
            // Most bodies come in one part, which needs no copy.
            first = data;
        } else {
            if rest.is_empty() {
                rest.reserve((hint.lower().max(length)) as usize);
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
    let bytes = match coding {
        Coding::Identity => raw,
        coding => decode(raw, coding, limits.bytes, &mut share).await?,
    };
    Ok((bytes, share))
}

/// How much of a body that nobody wants is read on, in bytes.
const DRAIN_BYTES: u64 = 64 << 20;
/// And for how long.
const DRAIN: Duration = Duration::from_secs(5);

/// Reads what is left of a body that nobody wants, aside, so that its sender gets to see the
/// answer: a connection that closes on unread bytes is reset, and the answer may be lost with it.
///
/// Gives up on what is too long or takes too long; then the connection does close.
pub async fn drain<B>(mut body: B)
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
        let mut left = DRAIN_BYTES;
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
    share: &mut Share,
) -> Result<Bytes, BodyError> {
    // A small body may decode to a large one, and that takes a processor's time.
    let decoding = tokio::task::spawn_blocking(move || decode_bounded(&raw, coding, limit));
    let bytes = decoding.await.map_err(|error| BodyError::Broken {
        reason: error.to_string(),
    })??;
    share.cover(bytes.len() as u64)?;
    Ok(bytes)
}

fn decode_bounded(raw: &[u8], coding: Coding, limit: u64) -> Result<Bytes, BodyError> {
    use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
    let decoded = match coding {
        Coding::Identity => Ok(raw.to_vec()),
        Coding::Gzip => read_bounded(MultiGzDecoder::new(raw), limit),
        Coding::Deflate => read_bounded(ZlibDecoder::new(raw), limit)
            .or_else(|_| read_bounded(DeflateDecoder::new(raw), limit)),
    };
    let decoded = decoded.map_err(|_| BodyError::BadCoding {
        coding: match coding {
            Coding::Deflate => "deflate",
            _ => "gzip",
        },
    })?;
    if decoded.len() as u64 > limit {
        return Err(BodyError::TooLarge { limit });
    }
    Ok(decoded.into())
}

fn read_bounded(reader: impl io::Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(reader, limit.saturating_add(1)),
        &mut out,
    )?;
    Ok(out)
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

/// An error that cannot be, as an I/O error, for bodies that cannot fail.
pub fn never(error: Infallible) -> io::Error {
    match error {}
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::stream;
    use http_body_util::{Full, StreamBody};

    use super::*;

    const LIMITS: BodyLimits = BodyLimits {
        bytes: 10_000,
        patience: Duration::from_millis(50),
    };

    async fn read_full(bytes: &[u8], coding: Coding) -> Result<Bytes, BodyError> {
        let body = Full::new(Bytes::copy_from_slice(bytes));
        let inflight = Inflight::new(1 << 20);
        read(body, coding, &LIMITS, &inflight).await.map(|(b, _)| b)
    }

    fn parts(parts: Vec<Bytes>) -> impl Body<Data = Bytes, Error = io::Error> + Unpin {
        StreamBody::new(stream::iter(parts.into_iter().map(Frame::data).map(Ok)))
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_in_any_form() {
        let limit = BodyError::TooLarge { limit: 10_000 };
        let at = vec![7; 10_000];
        let over = vec![7; 10_001];
        assert_eq!(
            read_full(&at, Coding::Identity).await.unwrap().len(),
            10_000
        );
        assert_eq!(read_full(&over, Coding::Identity).await.unwrap_err(), limit);
        // Without a length, as soon as it is over.
        let chunks = parts(vec![Bytes::from(at.clone()), Bytes::from_static(b"x")]);
        let inflight = Inflight::new(1 << 20);
        let chunked = read(chunks, Coding::Identity, &LIMITS, &inflight).await;
        assert_eq!(chunked.unwrap_err(), limit);
        // Small on the wire, large once decoded.
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&over).unwrap();
        let bomb = gzip.finish().unwrap();
        assert_eq!(read_full(&bomb, Coding::Gzip).await.unwrap_err(), limit);
    }

    #[tokio::test]
    async fn codings_are_undone() {
        let text = b"hello hello hello";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(&read_full(&gzip, Coding::Gzip).await.unwrap()[..], text);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(text).unwrap();
        let zlib = zlib.finish().unwrap();
        assert_eq!(&read_full(&zlib, Coding::Deflate).await.unwrap()[..], text);
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        raw.write_all(text).unwrap();
        let raw = raw.finish().unwrap();
        assert_eq!(&read_full(&raw, Coding::Deflate).await.unwrap()[..], text);
        let broken = read_full(b"no gzip", Coding::Gzip).await;
        assert_eq!(broken.unwrap_err(), BodyError::BadCoding { coding: "gzip" });
    }

    #[tokio::test]
    async fn a_body_that_stops_is_too_slow() {
        let body = StreamBody::new(stream::pending::<io::Result<Frame<Bytes>>>());
        let inflight = Inflight::new(1 << 20);
        let read = read(body, Coding::Identity, &LIMITS, &inflight).await;
        let patience = LIMITS.patience;
        assert_eq!(read.unwrap_err(), BodyError::TooSlow { patience });
    }

    #[tokio::test]
    async fn bytes_in_flight_are_bounded_and_given_back() {
        let inflight = Inflight::new(8192);
        let body = || parts(vec![Bytes::from(vec![1; 3000]), Bytes::from(vec![2; 3000])]);
        let (bytes, share) = read(body(), Coding::Identity, &LIMITS, &inflight)
            .await
            .unwrap();
        assert_eq!((bytes.len(), inflight.bytes()), (6000, 6144));
        let second = read(body(), Coding::Identity, &LIMITS, &inflight).await;
        assert_eq!(second.unwrap_err(), BodyError::Busy);
        drop(share);
        assert_eq!(inflight.bytes(), 0);
        assert!(
            read(body(), Coding::Identity, &LIMITS, &inflight)
                .await
                .is_ok()
        );
    }
}
