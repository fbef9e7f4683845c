//! The appends to one member, in their order and in batches.
//!
//! While one batch is on its way the next one gathers: a lone append waits for nothing, and a busy
//! member gets large batches. A batch that fails fails each append in it; the next one is sent
//! after it, so the order stays.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::oneshot;

use super::kind::Kind;
use super::link::Link;
use super::wire::{self, Frame};
use crate::cluster::PeerError;
use crate::spoke::peers::{AppendAnswer, AppendRequest};

/// A batch has at most so many bytes, unless one append alone has more.
const BATCH_BYTES: usize = 1024 * 1024;
/// And at most so many appends.
const BATCH_APPENDS: usize = 1024;
/// What an append takes beside its frame, in bytes, roughly.
const OVERHEAD: usize = 256;

/// The outcome of one append.
type Outcome = Result<AppendAnswer, PeerError>;

const WAITING: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

/// An append that waits for its turn.
struct Waiting {
    frame: Frame,
    answer: oneshot::Sender<Outcome>,
    /// Whoever asked may give up; whether it was sent by then decides what that means.
    stage: Arc<AtomicU8>,
}

/// What waits.
#[derive(Default)]
pub(super) struct Lane {
    waiting: VecDeque<Waiting>,
    /// Of what waits and of what is on its way.
    bytes: u64,
    /// Whether somebody sends.
    sending: bool,
}

impl Lane {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What goes next.
    fn batch(&mut self) -> Vec<Waiting> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(first) = self.waiting.front() {
            let length = first.frame.len();
            let full = bytes + length > BATCH_BYTES || batch.len() >= BATCH_APPENDS;
            if full && !batch.is_empty() {
                break;
            }
            bytes += length;
            batch.extend(self.waiting.pop_front());
        }
        batch
    }
}

/// Puts an append in its place, and waits for its outcome.
pub(super) async fn append(link: &Arc<Link>, request: AppendRequest) -> Outcome {
    let frame = wire::encode_append(request);
    let (answer, answered) = oneshot::channel();
    let stage = Arc::new(AtomicU8::new(WAITING));
    let weight = (frame.len() + OVERHEAD) as u64;
    let begin = {
        let mut lane = link.lane.lock();
        if lane.bytes > 0 && lane.bytes + weight > link.carrier.settings.queue_bytes {
            return Err(PeerError::Overloaded {
                member: link.member.clone(),
            });
        }
        lane.bytes += weight;
        lane.waiting.push_back(Waiting {
            frame,
            answer,
            stage: Arc::clone(&stage),
        });
        !std::mem::replace(&mut lane.sending, true)
    };
    if begin {
        tokio::spawn(send(Arc::clone(link)));
    }
    let patience = link.carrier.settings.append_timeout;
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(outcome)) => outcome,
        // Whoever sends always answers, unless the node stops.
        Ok(Err(_)) => Err(no_answer(link, "this node is stopping")),
        Err(_) => {
            let given_up =
                stage.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
            Err(match given_up {
                Ok(_) => PeerError::NotConnected {
                    member: link.member.clone(),
                    reason: "others are waiting before it".to_owned(),
                },
                Err(_) => no_answer(link, "not in time"),
            })
        }
    }
}

/// That it is not known what became of a question to that member.
pub(super) fn no_answer(link: &Link, reason: &str) -> PeerError {
    PeerError::NoAnswer {
        member: link.member.clone(),
        reason: reason.to_owned(),
    }
}

/// Sends batch after batch, until nothing waits.
async fn send(link: Arc<Link>) {
    loop {
        let batch = {
            let mut lane = link.lane.lock();
            let batch = lane.batch();
            if batch.is_empty() {
                lane.sending = false;
                return;
            }
            batch
        };
        let weight: usize = batch.iter().map(|w| w.frame.len() + OVERHEAD).sum();
        let (mut frames, mut answers) = (Vec::with_capacity(batch.len()), Vec::new());
        for waiting in batch {
            let begun =
                waiting
                    .stage
                    .compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire);
            // Nobody waits any more, and it must not be stored behind their back.
            if begun.is_ok() && !waiting.answer.is_closed() {
                frames.push(waiting.frame);
                answers.push(waiting.answer);
            }
        }
        if !frames.is_empty() {
            crate::metric::peer_batch(frames.len());
            deliver(&link, frames, answers).await;
        }
        link.lane.lock().bytes -= weight as u64;
    }
}

async fn deliver(link: &Arc<Link>, frames: Vec<Frame>, answers: Vec<oneshot::Sender<Outcome>>) {
    let patience = link.carrier.settings.append_timeout;
    let outcome = link.ask(Kind::Append, frames, patience).await;
    let outcome = outcome.and_then(|frames| {
        if frames.len() != answers.len() {
            return Err(no_answer(link, "some appends were not answered"));
        }
        Ok(frames)
    });
    match outcome {
        Ok(frames) => {
            for (answer, frame) in answers.into_iter().zip(frames) {
                let outcome = wire::decode_appended(frame)
                    .map_err(|malformed| no_answer(link, &malformed.to_string()));
                // Whoever gave up in the meantime does not want to know.
                let _ = answer.send(outcome);
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.clone()));
            }
        }
    }
}
