//! A request body that is read while it is sent, from a file or a pipe of any length.

use std::io::{self, Read};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::{Body, Request, Response};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::client::{Client, SILENCE, silent};
use super::error::CliError;

const CHUNK_BYTES: usize = 64 * 1024;
/// How many chunks are read ahead of the network.
const CHUNKS_AHEAD: usize = 4;

/// Who is to act next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The source has no bytes ready. It may take its time: it may be a person typing.
    Source,
    /// The hub is to take bytes, or to answer.
    Hub,
}

/// A body, and what is known of its progress.
struct Upload {
    body: Body,
    turn: watch::Receiver<Turn>,
    failure: Arc<OnceLock<io::Error>>,
}

/// Sends `request` with everything that `source` holds as its body. `name` names the source in
/// errors.
///
/// # Errors
/// [`CliError::File`] if the source fails: then the hub has stored nothing.
/// [`CliError::Unreachable`] if the hub takes nothing, or says nothing, for [`SILENCE`].
pub async fn send(
    client: &Client,
    mut request: Request,
    source: impl Read + Send + 'static,
    name: &str,
) -> Result<Response, CliError> {
    let url = request.url().clone();
    let Upload {
        body,
        turn,
        failure,
    } = start(source);
    *request.body_mut() = Some(body);
    let answer = tokio::select! {
        answer = client.send_unhurried(request) => answer,
        () = stalled(turn, SILENCE) => Err(silent(&url)),
    };
    match failure.get() {
        // What the network made of a body without an end is beside the point.
        Some(error) => Err(CliError::File {
            action: "read",
            path: name.to_owned(),
            source: io::Error::new(error.kind(), error.to_string()),
        }),
        None => answer,
    }
}

/// Begins to read on a thread of its own, since reading may block for as long as it likes.
fn start(source: impl Read + Send + 'static) -> Upload {
    let (chunks, queue) = mpsc::channel(CHUNKS_AHEAD);
    let (turn_sender, turn) = watch::channel(Turn::Source);
    let failure = Arc::new(OnceLock::new());
    let noted = Arc::clone(&failure);
    thread::spawn(move || read_all(source, &chunks, &noted));
    let body = Body::wrap_stream(stream::unfold(
        (queue, turn_sender),
        |(mut queue, turn)| async move {
            turn.send_replace(Turn::Source);
            let chunk = queue.recv().await?;
            turn.send_replace(Turn::Hub);
            Some((chunk, (queue, turn)))
        },
    ));
    Upload {
        body,
        turn,
        failure,
    }
}

fn read_all(
    mut source: impl Read,
    chunks: &mpsc::Sender<io::Result<Bytes>>,
    failure: &OnceLock<io::Error>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.resize(CHUNK_BYTES, 0);
        let chunk = match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok(buffer.split_to(length).freeze()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let kind = error.kind();
                let _ = failure.set(error);
                Err(kind.into())
            }
        };
        let last = chunk.is_err();
        // Nobody takes it if the hub has answered before the end, or the request has failed.
        if chunks.blocking_send(chunk).is_err() || last {
            return;
        }
    }
}

/// Returns when it has been the hub's turn for that long.
async fn stalled(mut turn: watch::Receiver<Turn>, limit: Duration) {
    loop {
        let now = *turn.borrow_and_update();
        match now {
            Turn::Source => {
                if turn.changed().await.is_err() {
                    break;
                }
            }
            Turn::Hub => match timeout(limit, turn.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break,
                Err(_) => return,
            },
        }
    }
    // The body has been handed over; what is left is the answer.
    sleep(limit).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn the_source_may_take_its_time_and_the_hub_may_not() {
        let (sender, turn) = watch::channel(Turn::Source);
        let watched = tokio::spawn(stalled(turn, LIMIT));
        sleep(LIMIT * 3).await;
        assert!(!watched.is_finished());
        sender.send_replace(Turn::Hub);
        sender.send_replace(Turn::Source);
        sleep(LIMIT * 3).await;
        assert!(!watched.is_finished());
        sender.send_replace(Turn::Hub);
        watched.await.unwrap();
        drop(sender);
    }

    #[tokio::test]
    async fn the_answer_may_not_take_for_ever() {
        let (sender, turn) = watch::channel(Turn::Source);
        drop(sender);
        stalled(turn, LIMIT).await;
    }
}
