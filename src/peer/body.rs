//! Bodies on their way: the version, frames, and the code over all of it behind them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::secret::{MAC_BYTES, Signer};
use super::wire::{Frame, VERSION};

/// Bodies up to this length are put together before they are sent.
const TOGETHER: usize = 64 * 1024;
/// How much is signed and given out at a time.
const PIECE: usize = 128 * 1024;

/// Frames that are to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Outgoing {
    pub(super) fn new(frames: impl IntoIterator<Item = Frame>) -> Self {
        let mut pieces = VecDeque::from([Bytes::from_static(&[VERSION])]);
        pieces.extend(frames.into_iter().flat_map(Frame::pieces));
        let length = pieces.iter().map(Bytes::len).sum();
        Self { pieces, length }
    }

    /// The length without the code behind it, in bytes.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The body, with its code.
    pub(super) fn signed(self, mut signer: Signer) -> SignedBody {
        if self.length > TOGETHER {
            return SignedBody {
                left: self.length + MAC_BYTES,
                pieces: self.pieces,
                signer: Some(signer),
            };
        }
        let mut whole = BytesMut::with_capacity(self.length + MAC_BYTES);
        for piece in &self.pieces {
            whole.extend_from_slice(piece);
        }
        signer.add(&whole);
        whole.put_slice(signer.end().bytes());
        SignedBody {
            left: whole.len(),
            pieces: VecDeque::from([whole.freeze()]),
            signer: None,
        }
    }
}

/// A body that is signed while it is sent.
pub(super) struct SignedBody {
    pieces: VecDeque<Bytes>,
    /// Until the code has been sent.
    signer: Option<Signer>,
    left: usize,
}

impl SignedBody {
    /// All of it, if it was put together already.
    pub(super) fn whole(&mut self) -> Option<Bytes> {
        match self.signer {
            None if self.pieces.len() == 1 => self.pieces.pop_front(),
            _ => None,
        }
    }

    /// What is left to be sent, in bytes.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let next = match self.pieces.front_mut() {
            Some(front) if front.len() > PIECE => front.split_to(PIECE),
            Some(_) => self.pieces.pop_front()?,
            None => Bytes::copy_from_slice(self.signer.take()?.end().bytes()),
        };
        if let Some(signer) = &mut self.signer {
            signer.add(&next);
        }
        self.left = self.left.saturating_sub(next.len());
        Some(next)
    }
}

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Untaken {
    /// It did not come, or not in time.
    Broken(String),
    /// It is not as long as was said.
    Length,
    /// Its code is wrong.
    Forged,
}

/// Reads a body of that length, and holds it against the code behind it.
pub(super) async fn take<B>(
    mut body: B,
    length: usize,
    mut signer: Signer,
    patience: Duration,
) -> Result<Bytes, Untaken>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let total = length + MAC_BYTES;
    let mut whole = BytesMut::new();
    let mut signed = 0;
    loop {
        let part = tokio::time::timeout(patience, body.frame())
            .await
            .map_err(|_| Untaken::Broken("its next part did not come in time".to_owned()))?;
        let Some(part) = part else { break };
        let part = part.map_err(|error| Untaken::Broken(error.to_string()))?;
        let Ok(data) = part.into_data() else { continue };
        if whole.len() + data.len() > total {
            return Err(Untaken::Length);
        }
        if whole.is_empty() && data.len() == total {
            // The usual case: all of it at once, and no copy.
            return check(data, length, signer);
        }
        // Only once something has come is there memory for what was promised.
        if whole.is_empty() {
            whole.reserve(total);
        }
        whole.extend_from_slice(&data);
        let now = whole.len().min(length);
        signer.add(whole.get(signed..now).unwrap_or_default());
        signed = now;
    }
    if whole.len() != total {
        return Err(Untaken::Length);
    }
    let code = whole.split_off(length);
    if !signer.end().is(&code) {
        return Err(Untaken::Forged);
    }
    Ok(whole.freeze())
}

fn check(mut whole: Bytes, length: usize, mut signer: Signer) -> Result<Bytes, Untaken> {
    let code = whole.split_off(length);
    signer.add(&whole);
    if !signer.end().is(&code) {
        return Err(Untaken::Forged);
    }
    Ok(whole)
}
