//! What must be in a hub before it can be measured.

use std::ops::Range;
use std::sync::Arc;

use http::Uri;
use tokio::task::JoinSet;

use crate::client::{Connection, Target, ask, first_line};
use crate::error::BenchError;
use crate::load::Inserts;

/// Connections that put things in.
const LANES: usize = 16;
/// How much of an answer's body is kept, for messages.
const BODY_MAX: usize = 256;

/// Connects, for some requests of the benchmark's own.
pub async fn connect(target: &Target, body_max: usize) -> Result<Connection, BenchError> {
    let connection = Connection::open(target, body_max).await;
    connection.map_err(|source| BenchError::Request {
        request: "connecting".to_owned(),
        source,
    })
}

/// Creates so many channels; gives back their paths.
pub async fn channels(target: &Target, count: usize) -> Result<Vec<String>, BenchError> {
    let paths: Vec<String> = (0..count)
        .map(|number| format!("/channel/bench-{number:03}"))
        .collect();
    let mut connection = connect(target, BODY_MAX).await?;
    for path in &paths {
        channel(target, &mut connection, path).await?;
    }
    Ok(paths)
}

/// Creates the channel of that path.
pub async fn channel(
    target: &Target,
    connection: &mut Connection,
    path: &str,
) -> Result<(), BenchError> {
    let mut request = Vec::new();
    target.write_request("PUT", path, None, &mut request);
    ask(connection, &request, 201).await
}

/// Posts so many items; gives back the paths of their URLs, in no order.
pub async fn items(
    target: &Target,
    inserts: &Arc<Inserts>,
    count: usize,
) -> Result<Vec<String>, BenchError> {
    let mut tasks = JoinSet::new();
    for lane in 0..LANES {
        let numbers = count * lane / LANES..count * (lane + 1) / LANES;
        tasks.spawn(some_items(target.clone(), Arc::clone(inserts), numbers));
    }
    let mut paths = Vec::with_capacity(count);
    while let Some(end) = tasks.join_next().await {
        paths.extend(end.map_err(|_| BenchError::Interrupted)??);
    }
    Ok(paths)
}

async fn some_items(
    target: Target,
    inserts: Arc<Inserts>,
    numbers: Range<usize>,
) -> Result<Vec<String>, BenchError> {
    let mut paths = Vec::with_capacity(numbers.len());
    if numbers.is_empty() {
        return Ok(paths);
    }
    let mut connection = connect(&target, BODY_MAX).await?;
    let mut request = Vec::new();
    for number in numbers {
        inserts.write(&target, number, &mut request);
        ask(&mut connection, &request, 201).await?;
        let location = connection.answer().location();
        let path = path_of(location).ok_or_else(|| BenchError::Answer {
            request: first_line(&request),
            reason: format!("its Location is {:?}", String::from_utf8_lossy(location)),
        })?;
        paths.push(path);
    }
    Ok(paths)
}

/// The path of a URL; `None` if it has none.
fn path_of(url: &[u8]) -> Option<String> {
    let uri = Uri::try_from(url).ok()?;
    (uri.path().len() > 1).then(|| uri.path().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_urls() {
        let path = path_of(b"http://h:1/channel/c/2024/05/01?x=1");
        assert_eq!(path.as_deref(), Some("/channel/c/2024/05/01"));
        assert_eq!(path_of(b"/channel/c").as_deref(), Some("/channel/c"));
        for none in ["", "http://h:1", "http://h:1/", "a b"] {
            assert_eq!(path_of(none.as_bytes()), None, "{none}");
        }
    }
}
