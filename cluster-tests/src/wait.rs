//! Real time, and waiting for conditions in it.

use std::time::{Duration, Instant};

use crate::failure::{Failure, Outcome};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The time. The hub is another process here, so its time is everybody's.
pub fn now() -> Instant {
    #[allow(
        clippy::disallowed_methods,
        reason = "real processes are measured in real time"
    )]
    Instant::now()
}

/// Waits until the condition gives something, and gives that.
///
/// # Errors
/// [`Failure`] if it does not within that time; `what` says what was waited for.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Outcome<T> {
    let started = now();
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        if started.elapsed() > within {
            return Err(Failure(format!("{what}: not within {within:?}")));
        }
        tokio::time::sleep(LOOK).await;
    }
}
