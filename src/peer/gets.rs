//! Items asked of one member: those that wait while others are on their way go together.
//!
//! A lone question waits for nothing. Under load one request carries many, and the codes and headers
//! of a request are paid once for all of them. Some requests are on their way at a time, so that one
//! item which has to be read from the disk does not hold up all others.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::client::transfer;
use super::kind::Kind;
use super::lane::no_answer;
use super::link::Link;
use super::wire::{self, Frame};
use crate::cluster::PeerError;
use crate::item::ItemKey;
use crate::spoke::peers::{ChannelRef, GetAnswer};

/// The most requests on their way to a member at a time, and the most items asked for by one.
const FLYING: usize = 3;
const BATCH: usize = 64;
/// The most that are left out of those.
const GROUNDED: usize = 8;
/// The most questions that wait.
const WAITING: usize = 16 * 1024;

type Outcome = Result<GetAnswer, PeerError>;

/// A question that waits for its turn.
struct Waiting {
    frame: Frame,
    answer: oneshot::Sender<Outcome>,
    /// Whether it goes alone: together with others its answer was too much to be held.
    alone: bool,
}

/// What waits.
#[derive(Default)]
pub(super) struct Gets {
    waiting: VecDeque<Waiting>,
    flying: usize,
    /// Requests that wait for room for their answers, or for these to come: they hold up no others.
    grounded: usize,
}

/// A request that is left out of those that are on their way, for as long as this is there.
pub(super) struct Grounded(Arc<Link>);

impl Grounded {
    /// Leaves out a request to that member; `None` if too many are.
    pub(super) fn of(link: &Arc<Link>) -> Option<Self> {
        let mut gets = link.gets.lock();
        if gets.grounded >= GROUNDED {
            return None;
        }
        gets.grounded += 1;
        // No more go in their place than are to be on their way: they come back from here, too.
        if gets.waiting.is_empty() || gets.flying > FLYING {
            gets.flying -= 1;
        } else {
            // Another one goes in its place.
            tokio::spawn(send(Arc::clone(link)));
        }
        drop(gets);
        Some(Self(Arc::clone(link)))
    }
}

impl Drop for Grounded {
    fn drop(&mut self) {
        let mut gets = self.0.gets.lock();
        gets.grounded -= 1;
        gets.flying += 1;
    }
}

/// Asks for an item.
pub(super) async fn get(link: &Arc<Link>, channel: &ChannelRef, key: &ItemKey) -> Outcome {
    let (answer, answered) = oneshot::channel();
    let frame = wire::encode_get(channel, key);
    let begin = {
        let mut gets = link.gets.lock();
        if gets.waiting.len() >= WAITING {
            return Err(PeerError::Overloaded {
                member: link.member.clone(),
            });
        }
        gets.waiting.push_back(Waiting {
            frame,
            answer,
            alone: false,
        });
        let begin = gets.flying < FLYING;
        gets.flying += usize::from(begin);
        begin
    };
    if begin {
        tokio::spawn(send(Arc::clone(link)));
    }
    // It waits for those before it as long as for itself; each of them may be of any size.
    let largest = usize::try_from(link.carrier.settings.item_bytes).unwrap_or(usize::MAX);
    let patience = 4 * Kind::Get.patience() + 2 * transfer(largest);
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(no_answer(link, "this node is stopping")),
        Err(_) => Err(no_answer(link, "not in time")),
    }
}

/// Sends what waits, until nothing does.
async fn send(link: Arc<Link>) {
    loop {
        let mut batch = {
            let mut gets = link.gets.lock();
            // Whoever gave up in the meantime does not want to know.
            gets.waiting.retain(|waiting| !waiting.answer.is_closed());
            let together = gets.waiting.iter().take(BATCH);
            let together = together.take_while(|waiting| !waiting.alone).count();
            let count = together.max(1).min(gets.waiting.len());
            let batch: VecDeque<Waiting> = gets.waiting.drain(..count).collect();
            if batch.is_empty() {
                gets.flying -= 1;
                return;
            }
            batch
        };
        let frames: Vec<Frame> = batch.iter().map(|waiting| waiting.frame.clone()).collect();
        let asked = tokio::select! {
            asked = ask(&link, frames) => asked,
            // Nobody wants to know any more: what it would take is there for others.
            () = all_closed(&mut batch) => continue,
        };
        match asked {
            Ok(answers) => {
                for frame in answers {
                    let Some(waiting) = batch.pop_front() else {
                        break;
                    };
                    let outcome = wire::decode_got(frame)
                        .map_err(|malformed| no_answer(&link, &malformed.to_string()));
                    let _ = waiting.answer.send(outcome);
                }
                // An answer that would be too long leaves out the rest: they come first now.
                let mut gets = link.gets.lock();
                for waiting in batch.into_iter().rev() {
                    gets.waiting.push_front(waiting);
                }
            }
            // A small item is not to go without because it was asked for with large ones.
            Err(PeerError::Overloaded { .. }) if batch.len() > 1 => {
                let mut gets = link.gets.lock();
                for waiting in batch.into_iter().rev() {
                    gets.waiting.push_front(Waiting {
                        alone: true,
                        ..waiting
                    });
                }
            }
            Err(error) => {
                for waiting in batch {
                    let _ = waiting.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

async fn all_closed(batch: &mut VecDeque<Waiting>) {
    for waiting in batch {
        waiting.answer.closed().await;
    }
}

async fn ask(link: &Arc<Link>, frames: Vec<Frame>) -> Result<Vec<bytes::Bytes>, PeerError> {
    let length: usize = frames.iter().map(Frame::len).sum();
    let patience = Kind::Get.patience();
    let _charge = link.charge(length, patience).await?;
    let answers = link.ask(Kind::Get, frames, patience).await?;
    if answers.is_empty() {
        return Err(no_answer(link, "an answer without items"));
    }
    Ok(answers)
}
