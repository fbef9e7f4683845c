//! Notices that the reader of a pipe has left while there is nothing to write to it.

use std::future;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

/// Returns when nobody can read any more what is written to `stream`; never for a stream that
/// cannot say so, as a file cannot.
pub async fn reader_left(stream: Option<impl AsFd>) {
    // Unchecked: the stream is not to become non-blocking, for others write to it. Here it is
    // watched and nothing else.
    let watched = stream
        .and_then(|stream| stream.as_fd().try_clone_to_owned().ok())
        .and_then(|stream| Sender::from_owned_fd_unchecked(stream).ok());
    let Some(watched) = watched else {
        return future::pending().await;
    };
    if watched.ready(Interest::ERROR).await.is_err() {
        future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_pipe_says_when_its_reader_leaves() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut left = Box::pin(reader_left(Some(writer)));
        assert!(timeout(MOMENT, &mut left).await.is_err());
        drop(reader);
        timeout(MOMENT * 50, left).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_says_nothing() {
        let file = tempfile::tempfile().unwrap();
        assert!(timeout(MOMENT, reader_left(Some(file))).await.is_err());
        let none: Option<std::fs::File> = None;
        assert!(timeout(MOMENT, reader_left(none)).await.is_err());
    }
}
