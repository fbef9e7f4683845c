use std::io::Write as _;

use futures_util::{FutureExt as _, stream};
use http_body_util::{Full, StreamBody};

use super::*;

const LIMITS: BodyLimits = BodyLimits {
    bytes: 10_000,
    patience: Duration::from_millis(50),
};

async fn read_full(bytes: &[u8], coding: Coding) -> Result<Bytes, BodyError> {
    let body = Full::new(Bytes::copy_from_slice(bytes));
    let inflight = Inflight::new(1 << 20);
    read(body, coding, &LIMITS, &inflight).await
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
    assert_eq!(&read_full(b"", Coding::Gzip).await.unwrap()[..], b"");
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

#[test]
fn a_body_is_given_time_for_what_has_come() {
    let patience = Duration::from_secs(30);
    for (length, seconds) in [
        (0, 30),
        (16 << 10, 31),
        (1 << 20, 94),
        (40 << 20, 30 + 2560),
    ] {
        assert_eq!(allowed(patience, length), Duration::from_secs(seconds));
    }
    assert_eq!(allowed(patience, 1), patience);
    assert!(allowed(Duration::MAX, u64::MAX) == Duration::MAX);
}

#[tokio::test]
async fn a_body_that_trickles_is_too_slow() {
    let limits = BodyLimits {
        bytes: 10_000,
        patience: Duration::from_millis(400),
    };
    let bytes = stream::unfold(0, async |sent| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let frame = Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"x")));
        (sent < 100).then_some((frame, sent + 1))
    });
    let inflight = Inflight::new(1 << 20);
    let body = StreamBody::new(Box::pin(bytes));
    let read = read(body, Coding::Identity, &limits, &inflight).await;
    let wrong = read.unwrap_err();
    // On a machine that stands still, a pause may be too long.
    let slow = matches!(wrong, BodyError::Trickle { .. } | BodyError::TooSlow { .. });
    assert!(slow, "{wrong}");
    assert_eq!(inflight.bytes(), 0);
}

/// A body that says how long it is, of which nothing comes.
struct Promised(u64);

impl Body for Promised {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn what_has_not_come_takes_no_room() {
    let inflight = Inflight::new(8192);
    let whole = {
        let mut promised =
            std::pin::pin!(read(Promised(8000), Coding::Identity, &LIMITS, &inflight));
        assert!(promised.as_mut().now_or_never().is_none());
        assert_eq!(inflight.bytes(), 0);
        let whole = Full::new(Bytes::from(vec![1; 8000]));
        let read = read(whole, Coding::Identity, &LIMITS, &inflight).await;
        read.unwrap()
    };
    assert_eq!((whole.len(), inflight.bytes()), (8000, 8192));
    // What cannot fit is not waited for, and what never can is told so.
    for (length, wrong) in [
        (1, BodyError::Busy),
        (8192, BodyError::Busy),
        (8193, BodyError::TooLarge { limit: 8192 }),
    ] {
        let refused = read(Promised(length), Coding::Identity, &LIMITS, &inflight).await;
        assert_eq!(refused.unwrap_err(), wrong);
    }
    drop(whole);
    assert_eq!(inflight.bytes(), 0);
}

#[tokio::test]
async fn what_a_body_decodes_to_is_in_flight_while_it_is_decoded() {
    const DECODED: u64 = 64 << 20;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::copy(&mut io::repeat(7).take(DECODED), &mut gzip).unwrap();
    let bomb = Bytes::from(gzip.finish().unwrap());
    let inflight = Inflight::new(2 << 20);
    let mut share = inflight.share();
    let refused = decode_bounded(&bomb, Coding::Gzip, DECODED, &mut share);
    let limit = inflight.most();
    assert_eq!(refused.unwrap_err(), BodyError::TooLarge { limit });
    // It stopped while it fitted, and not once all of it was there.
    let most = limit - STEP..=limit;
    assert!(most.contains(&inflight.bytes()), "{}", inflight.bytes());
    // Another one finds no room, for now.
    let mut second = inflight.share();
    let refused = decode_bounded(&bomb, Coding::Gzip, DECODED, &mut second);
    assert_eq!(refused.unwrap_err(), BodyError::Busy);
    drop(share);
    // Where it fits, what is left in flight is what came out.
    let inflight = Inflight::new(DECODED + (2 << 20));
    let limits = BodyLimits {
        bytes: DECODED,
        ..LIMITS
    };
    let read = read(Full::new(bomb), Coding::Gzip, &limits, &inflight).await;
    let decoded = read.unwrap();
    assert_eq!(decoded.len() as u64, DECODED);
    assert_eq!(inflight.bytes(), DECODED);
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_and_given_back() {
    let inflight = Inflight::new(8192);
    let body = || parts(vec![Bytes::from(vec![1; 3000]), Bytes::from(vec![2; 3000])]);
    let bytes = read(body(), Coding::Identity, &LIMITS, &inflight)
        .await
        .unwrap();
    assert_eq!((bytes.len(), inflight.bytes()), (6000, 6144));
    let second = read(body(), Coding::Identity, &LIMITS, &inflight).await;
    assert_eq!(second.unwrap_err(), BodyError::Busy);
    // Any part of them is as good as all.
    let part = bytes.slice(10..20);
    drop(bytes);
    assert_eq!(inflight.bytes(), 6144);
    drop(part);
    assert_eq!(inflight.bytes(), 0);
    assert!(
        read(body(), Coding::Identity, &LIMITS, &inflight)
            .await
            .is_ok()
    );
}
